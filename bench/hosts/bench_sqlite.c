/* SPDX-License-Identifier: MIT */
/*
 * SQL functions of the same application in C, as eBPF programs, and in LuaJIT: nanoseconds a row.
 *   bench_sqlite functions.bpf.o functions.lua [POLICY]
 * With a policy, programs run with the budget that it gives them.
 */
#include <ferry/ferry.h>
#include <stdio.h>
#include <stdlib.h>

#include "hosts.h"
#include "sqlite/sql.h"

#define ROWS "20000"

struct args {
	int count;
	sqlite3_value **values;
};

/* native_functions.c */
int distance(sqlite3_context *ctx, const struct args *args);
int similarity(sqlite3_context *ctx, const struct args *args);

static lua_State *lua;

static void in_c(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	int (*fn)(sqlite3_context *, const struct args *) =
		*(int (**)(sqlite3_context *, const struct args *))sqlite3_user_data(ctx);
	const struct args args = { argc, argv };

	if (fn(ctx, &args))
		sqlite3_result_error(ctx, "failed", -1);
}

static void in_lua(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	const char *error;

	(void)argc;
	lua_args[0] = ctx;
	lua_args[1] = argv;
	error = lua_run(lua, *(int *)sqlite3_user_data(ctx));
	if (error)
		sqlite3_result_error(ctx, error, -1);
}

/* The sum, which all have to agree on; -1: the query failed. */
static long long run(sqlite3 *db, const char *query, double *ns)
{
	sqlite3_stmt *stmt = NULL;
	long long sum = -1;
	double t = used();

	if (!sqlite3_prepare_v2(db, query, -1, &stmt, NULL) && sqlite3_step(stmt) == SQLITE_ROW)
		sum = sqlite3_column_int64(stmt, 0);
	else
		fprintf(stderr, "%s: %s\n", query, sqlite3_errmsg(db));
	sqlite3_finalize(stmt);
	*ns = (used() - t) / atoi(ROWS);
	return sum;
}

static int measure(sqlite3 *db, const char *name, const char *args)
{
	static const char *const variants[] = { "c_", "", "lua_" };
	double ns[3][ROUNDS];
	long long sums[3];
	char query[256];

	for (int r = -1; r < ROUNDS; r++) /* once to warm up */
		for (int i = 0; i < 3; i++) {
			snprintf(query, sizeof(query), "select sum(%s%s(%s)) from place",
				 variants[i], name, args);
			sums[i] = run(db, query, &ns[i][r < 0 ? 0 : r]);
			if (sums[i] < 0 || sums[i] != sums[0])
				return -1;
		}
	print_row(name, ns[0], ns[1], ns[2]);
	return 0;
}

int main(int argc, char **argv)
{
	static int (*c_fns[])(sqlite3_context *, const struct args *) = { distance, similarity };
	static const char *const names[] = { "distance", "similarity" };
	int lua_fns[2];
	struct sql *sql;
	sqlite3 *db;
	char name[32];

	if (argc < 3 || (argc > 3 && ferry_policy_load(argv[3])) || !(sql = sql_open(argv[1])) ||
	    !(lua = lua_load_file(argv[2])) || sqlite3_open(":memory:", &db))
		return 1;
	sqlite3_exec(
		db,
		"create table place(name text, x int, y int);"
		"with recursive n(i) as (select 1 union all select i + 1 from n where i < " ROWS ")"
		"insert into place select substr('Vilnius Kaunas Palanga Trakai', i % 20, 5 + i % "
		"11), "
		"i * 7919 % 20011, i * 104729 % 9973 from n",
		NULL, NULL, NULL);
	if (sql_bind(sql, db))
		return 1;
	for (int i = 0; i < 2; i++) {
		lua_fns[i] = lua_function(lua, names[i]);
		snprintf(name, sizeof(name), "c_%s", names[i]);
		sqlite3_create_function(db, name, -1, SQLITE_UTF8, &c_fns[i], in_c, NULL, NULL);
		snprintf(name, sizeof(name), "lua_%s", names[i]);
		sqlite3_create_function(db, name, -1, SQLITE_UTF8, &lua_fns[i], in_lua, NULL, NULL);
	}
	printf("%-34s %8s %8s %8s %8s %8s %8s\n", "SQLite: ns a row", "C", "Ferry", "LuaJIT",
	       "Ferry/C", "Lua/C", "F/Lua");
	if (measure(db, "distance", "x, y, 500, 500") ||
	    measure(db, "similarity", "name, 'Palanga'"))
		return 1;
	sqlite3_close(db);
	sql_close(sql);
	lua_close(lua);
	return 0;
}
