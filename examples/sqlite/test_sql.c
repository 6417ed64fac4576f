/* SPDX-License-Identifier: MIT */
/* SQLite with functions that are programs; what SQL itself computes is the oracle. */
#include "test.h"

#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "said.h"
#include "sql.h"

static struct sql *sql;
static sqlite3 *db;

static const char *object(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s.bpf.o", getenv("SQL_OBJECTS"), name);
	return path;
}

/* The first column of the first row as text, or the error. */
static const char *ask(sqlite3 *from, const char *query)
{
	static _Thread_local char answer[256];
	sqlite3_stmt *stmt = NULL;
	const char *text;

	if (sqlite3_prepare_v2(from, query, -1, &stmt, NULL) || sqlite3_step(stmt) != SQLITE_ROW)
		text = sqlite3_errmsg(from);
	else
		text = (const char *)sqlite3_column_text(stmt, 0);
	snprintf(answer, sizeof(answer), "%s", text ? text : "NULL");
	sqlite3_finalize(stmt);
	return answer;
}

static int setup(void **state)
{
	(void)state;
	keep_what_is_said();
	assert_int_equal(ferry_policy_load(getenv("SQL_POLICY")), 0);
	sql = sql_open(object("functions"));
	assert_non_null(sql);
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				      "create table place(name text, x int, y int, secret text);"
				      "with recursive n(i) as (select 0 union all select i + 1 "
				      "from n where i < 499)"
				      "insert into place select 'place ' || (i % 7), i * 7919 % "
				      "20011 - 10000, i * 104729 % 9973, 's' from n;"
				      "create table removed(x)",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sql_bind(sql, db), SQLITE_OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sqlite3_close(db);
	sql_close(sql);
	return 0;
}

static void numbers_are_what_sql_computes(void **state)
{
	(void)state;
	assert_string_equal(ask(db, "select count(*) from (select x*x + y*y as square, distance(0, "
				    "0, x, y) as d from place)"
				    " where d*d <= square and (d+1)*(d+1) > square"),
			    "500");
	assert_string_equal(ask(db, "select count(*) from (select spread(x) s, max(x) - min(x) m "
				    "from place group by name)"
				    " where s = m"),
			    "7");
	assert_string_equal(ask(db, "select spread(x) from place where 0"), "NULL");
}

static void texts_of_any_length_and_type_are_read(void **state)
{
	static const char *const cases[][2] = {
		{ "select similarity('kitten', 'Sitting')", "33" }, /* it, tt: 2 of 6 */
		{ "select similarity('Vilnius', 'vilnius')", "100" },
		{ "select similarity('abc', 'xyz')", "0" },
		{ "select similarity('', '')", "0" },
		{ "select similarity(12345, '12345')", "100" },
		{ "select similarity(x'6162', 'ab')", "100" },
		{ "select similarity(hex(zeroblob(100000)), '00000000000000000000000000000000000')",
		  "100" },
		{ "select similarity('a', null)", "NULL" },
		{ "select similarity()", "NULL" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(ask(db, cases[i][0]), cases[i][1]);
}

static void the_authoriser_decides(void **state)
{
	(void)state;
	assert_string_equal(ask(db, "select secret from place"), "NULL");
	assert_string_equal(ask(db, "select name from place"), "place 0");
	assert_string_equal(ask(db, "delete from place"), "not authorized");
	assert_string_equal(ask(db, "drop table removed"), "not authorized");
	assert_string_equal(ask(db, "select count(*) from place"), "500");
}

static void what_is_refused_changes_nothing(void **state)
{
	static const char *const cases[][2] = {
		{ "mistake1", "check the number against a lower and an upper bound first" },
		{ "mistake2", "possibly NULL" },
		{ "mistake3", "expects an object of the host's" },
		{ "mistake4", "allow similarity helper probe_read_kernel" },
		{ "mistake5",
		  "" }, /* rules_version was exchanged already when distance was missing */
		{ "no_such_object", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		*said = '\0';
		assert_int_equal(sql_reload(sql, object(cases[i][0])), -1);
		if (!strstr(said, cases[i][1]))
			fail_msg("%s: %s", cases[i][0], said);
		assert_string_equal(ask(db, "select similarity('ab', 'ab') + rules_version()"),
				    "101");
	}
}

static void a_program_that_does_not_end_fails_its_query(void **state)
{
	struct sql *endless = sql_open(object("mistake6"));
	sqlite3 *other;
	time_t start = time(NULL);

	(void)state;
	assert_non_null(endless);
	assert_int_equal(sqlite3_open(":memory:", &other), SQLITE_OK);
	assert_int_equal(sql_bind(endless, other), SQLITE_OK);
	assert_string_equal(ask(other, "select similarity('a', 'b')"),
			    "similarity failed or was ended");
	assert_true(time(NULL) - start < 30);
	assert_string_equal(ask(other, "select 1"), "1");
	sqlite3_close(other);
	sql_close(endless);
}

static _Atomic int stop, answers[3];

static void *query(void *arg)
{
	static char other[256];
	sqlite3 *own;

	(void)arg;
	if (sqlite3_open(":memory:", &own) || sql_bind(sql, own))
		return "cannot open";
	while (!stop) {
		const char *answer =
			ask(own, "with recursive n(i) as (select 1 union all select i + 1 from n "
				 "where i < 50)"
				 "select (min(rules_version()) + similarity('ab', 'ab') * 10"
				 " + spread(i) * 100000) from n");
		int version = atoi(answer) - 4901000;

		answers[version == 1 || version == 2 ? version : 0]++;
		if (version != 1 && version != 2)
			return strcpy(other, answer);
	}
	sqlite3_close(own);
	return NULL;
}

static void programs_are_exchanged_while_queries_run(void **state)
{
	pthread_t threads[3];
	void *failed;

	(void)state;
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, query, NULL);
	for (int i = 0; i < 20 || (i < 2000 && (!answers[1] || !answers[2])); i++) {
		assert_int_equal(sql_reload(sql, object(i & 1 ? "functions" : "functions2")), 0);
		usleep(2000);
	}
	stop = 1;
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &failed);
		if (failed)
			fail_msg("%s", (const char *)failed);
	}
	print_message("# answers of version 1: %d, 2: %d\n", answers[1], answers[2]);
	assert_int_equal(answers[0], 0);
	assert_true(answers[1] && answers[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_what_sql_computes),
		cmocka_unit_test(texts_of_any_length_and_type_are_read),
		cmocka_unit_test(the_authoriser_decides),
		cmocka_unit_test(what_is_refused_changes_nothing),
		cmocka_unit_test(a_program_that_does_not_end_fails_its_query),
		cmocka_unit_test(programs_are_exchanged_while_queries_run),
	};

	return cmocka_run_group_tests_name("sqlite", tests, setup, teardown);
}
