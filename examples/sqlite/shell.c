/* SPDX-License-Identifier: MIT */
/*
 * A small shell for a database whose functions and authoriser are programs:
 *   sql functions.bpf.o functions.policy [DATABASE]
 * It reads statements, a line each; `.reload OBJECT' exchanges the functions.
 */
#include <ferry/ferry.h>
#include <stdio.h>
#include <string.h>

#include "sql.h"

static int print_row(void *arg, int n, char **values, char **names)
{
	(void)arg, (void)names;
	for (int i = 0; i < n; i++)
		printf("%s%s", i ? "|" : "", values[i] ? values[i] : "");
	printf("\n");
	return 0;
}

static void run(struct sql *sql, sqlite3 *db, char *line)
{
	char *error = NULL;

	line[strcspn(line, "\n")] = '\0';
	if (!strncmp(line, ".reload ", 8))
		printf(sql_reload(sql, line + 8) ? "refused: the functions stay\n" : "reloaded\n");
	else if (sqlite3_exec(db, line, print_row, NULL, &error))
		printf("error: %s\n", error ? error : sqlite3_errmsg(db));
	sqlite3_free(error);
}

int main(int argc, char **argv)
{
	char line[4096];
	struct sql *sql;
	sqlite3 *db;
	int err;

	if (argc < 3) {
		fprintf(stderr, "usage: %s OBJECT POLICY [DATABASE]\n", argv[0]);
		return 2;
	}
	if (ferry_policy_load(argv[2]) || !(sql = sql_open(argv[1])))
		return 1;
	err = sqlite3_open(argc > 3 ? argv[3] : ":memory:", &db) || sql_bind(sql, db);
	while (!err && fgets(line, sizeof(line), stdin)) {
		run(sql, db, line);
		fflush(stdout);
	}
	sqlite3_close(db);
	sql_close(sql);
	return err;
}
