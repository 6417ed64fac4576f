/* SPDX-License-Identifier: MIT */
/* SQL functions and an authoriser from an object file: see sql.h. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql.h"

#define MAX_PROGRAMS 64

/* ---- what programs may call ------------------------------------------------------------------ */

struct sql_args {
	int count;
	sqlite3_value **values;
};

static sqlite3_value *sql_arg(const struct sql_args *args, int n)
{
	return n >= 0 && n < args->count ? args->values[n] : NULL;
}

static int sql_text(sqlite3_value *value, char *text, unsigned int size)
{
	const unsigned char *s = sqlite3_value_text(value);
	int n = s ? sqlite3_value_bytes(value) : 0;
	unsigned int copied = (unsigned int)n < size ? (unsigned int)n : size;

	if (copied)
		memcpy(text, s, copied);
	memset(text + copied, 0, size - copied);
	return n;
}

static void sql_result_text(sqlite3_context *ctx, const char *text, unsigned int size)
{
	sqlite3_result_text(ctx, text, (int)strnlen(text, size), SQLITE_TRANSIENT);
}

/* Programs have no floating point of their own. */
static unsigned int sql_root(unsigned long long square)
{
	unsigned long long root = (unsigned long long)sqrt((double)square);

	root = root > 0xffffffff ? 0xffffffff : root;
	return (unsigned int)(root - (root * root > square)); /* beyond 2^53 a double is rounded */
}

/*
 * SQLite takes the size from whoever asks first; so that no program finds less than it asked for,
 * there is one size. A group is the context under a name that only aggregates are given.
 */
static void *sql_state(sqlite3_context *group)
{
	return sqlite3_aggregate_context(group, 64);
}

/* SQLite's own functions need no wrapper: their prototypes say what is safe. */
static const struct ferry_func functions[] = {
	FERRY_FUNC("struct sqlite3_value *sql_arg(const struct sql_args *args, int n) __nullable",
		   sql_arg),
	FERRY_FUNC("int sqlite3_value_type(struct sqlite3_value *value)", sqlite3_value_type),
	FERRY_FUNC("long long sqlite3_value_int64(struct sqlite3_value *value)",
		   sqlite3_value_int64),
	FERRY_FUNC("int sql_text(struct sqlite3_value *value, char *text __uninit __size(size), "
		   "unsigned int size)",
		   sql_text),
	FERRY_FUNC("unsigned int sql_root(unsigned long long square)", sql_root),
	FERRY_FUNC("void *sql_state(struct sql_group *group) __nullable __size(64)", sql_state),
	FERRY_FUNC("void sqlite3_result_int64(struct sqlite3_context *ctx, long long n)",
		   sqlite3_result_int64),
	FERRY_FUNC("void sqlite3_result_null(struct sqlite3_context *ctx)", sqlite3_result_null),
	FERRY_FUNC(
		"void sql_result_text(struct sqlite3_context *ctx, const char *text __size(size), "
		"unsigned int size)",
		sql_result_text),
};
#define HANDLES "struct sqlite3_context; struct sqlite3_value; struct sql_args; struct sql_group;"
static const struct ferry_module module = { sizeof(module), "sqlite", HANDLES, functions,
					    sizeof(functions) / sizeof(functions[0]) };

__attribute__((constructor)) static void offer(void)
{
	ferry_module_register(&module);
}

/* ---- programs of an object as functions ------------------------------------------------------ */

enum kind { CALL, STEP, FINAL, AUTHORIZE };
static const char *const prototypes[] = {
	[CALL] = "int (struct sqlite3_context *, const struct sql_args *)",
	[STEP] = "int (struct sql_group *, const struct sql_args *)",
	[FINAL] = "int (struct sql_group *, struct sqlite3_context *)",
	[AUTHORIZE] = "int (const struct sql_access *)",
};

struct program {
	char name[64];
	enum kind kind;
	struct ferry_closure *closure;
	int (*fn)(void *, const void *);
	struct program *final; /* of a step */
};

struct sql {
	struct bpf_object *object;
	pthread_mutex_t reloading;
	struct program programs[MAX_PROGRAMS];
	int count;
};

static int ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n > k && !strcmp(s + n - k, end);
}

static enum kind kind_of(const char *name)
{
	return ends_with(name, "_step")    ? STEP
	       : ends_with(name, "_final") ? FINAL
	       : strcmp(name, "authorize") ? CALL
					   : AUTHORIZE;
}

static struct bpf_object *load(const char *path)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "sql");
	struct bpf_object *object;
	int err;

	ferry_policy_object("sql");
	object = bpf_object__open_file(path, &opts);
	err = object ? bpf_object__load(object) : -1;
	ferry_policy_object(NULL);
	if (!err)
		return object;
	bpf_object__close(object);
	return NULL;
}

static int add(struct sql *sql, struct bpf_program *prog)
{
	const struct ferry_closure_opts opts = { sizeof(opts), HANDLES SQL_ACCESS, (uint64_t)-1 };
	struct program *p = &sql->programs[sql->count];

	if (sql->count == MAX_PROGRAMS)
		return -1;
	snprintf(p->name, sizeof(p->name), "%s", bpf_program__name(prog));
	p->kind = kind_of(p->name);
	if (ferry_closure(bpf_program__fd(prog), prototypes[p->kind], &opts, &p->closure))
		return -1;
	p->fn = (int (*)(void *, const void *))ferry_closure_code(p->closure);
	sql->count++;
	return 0;
}

/* The final function of an aggregate: its name with another ending. */
static struct program *final_of(struct sql *sql, const struct program *step)
{
	int stem = (int)(strlen(step->name) - strlen("_step"));

	for (int i = 0; i < sql->count; i++)
		if (sql->programs[i].kind == FINAL &&
		    !strncmp(sql->programs[i].name, step->name, stem) &&
		    !strcmp(sql->programs[i].name + stem, "_final"))
			return &sql->programs[i];
	fprintf(stderr, "sql: %s has no %.*s_final\n", step->name, stem, step->name);
	return NULL;
}

struct sql *sql_open(const char *path)
{
	struct sql *sql = calloc(1, sizeof(*sql));
	struct bpf_program *prog;
	int err = 0;

	if (!sql)
		return NULL;
	pthread_mutex_init(&sql->reloading, NULL);
	sql->object = load(path);
	err = sql->object ? 0 : -1;
	if (!err)
		bpf_object__for_each_program(prog, sql->object) err = err ? err : add(sql, prog);
	for (int i = 0; i < sql->count && !err; i++)
		if (sql->programs[i].kind == STEP)
			err = (sql->programs[i].final = final_of(sql, &sql->programs[i])) ? 0 : -1;
	if (!err)
		return sql;
	sql_close(sql);
	return NULL;
}

static int find(const struct bpf_object *object, const char *name)
{
	const struct bpf_program *prog = bpf_object__find_program_by_name(object, name);

	if (!prog)
		fprintf(stderr, "sql: the new object has no function %s\n", name);
	return prog ? bpf_program__fd(prog) : -1;
}

static int exchange(struct sql *sql, const struct bpf_object *object)
{
	int err = 0, i;

	for (i = 0; i < sql->count && !err; i++)
		err = ferry_closure_update(sql->programs[i].closure,
					   find(object, sql->programs[i].name));
	while (err && --i > 0)
		ferry_closure_update(sql->programs[i - 1].closure,
				     find(sql->object, sql->programs[i - 1].name));
	return err;
}

int sql_reload(struct sql *sql, const char *path)
{
	struct bpf_object *object = load(path), *old = object;
	int err;

	pthread_mutex_lock(&sql->reloading);
	err = object ? exchange(sql, object) : -1;
	if (!err) {
		old = sql->object;
		sql->object = object;
	}
	pthread_mutex_unlock(&sql->reloading);
	bpf_object__close(old);
	return err ? -1 : 0;
}

void sql_close(struct sql *sql)
{
	for (int i = 0; sql && i < sql->count; i++)
		ferry_closure_free(sql->programs[i].closure);
	if (sql)
		bpf_object__close(sql->object);
	free(sql);
}

/* ---- the functions as SQLite sees them ------------------------------------------------------- */

static void fail(sqlite3_context *ctx, const struct program *p)
{
	char text[128];

	snprintf(text, sizeof(text), "%s failed or was ended", p->name);
	sqlite3_result_error(ctx, text, -1);
}

static void call(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	const struct program *p = sqlite3_user_data(ctx);
	const struct sql_args args = { argc, argv };

	/* A step function gets the context too, as a group. */
	if (p->fn(ctx, &args))
		fail(ctx, p);
}

static void finish(sqlite3_context *ctx)
{
	const struct program *p = ((const struct program *)sqlite3_user_data(ctx))->final;

	if (p->fn(ctx, ctx))
		fail(ctx, p);
}

static int authorize(void *arg, int action, const char *object, const char *detail,
		     const char *database, const char *trigger)
{
	const struct program *p = arg;
	int (*decide)(const struct sql_access *) =
		(int (*)(const struct sql_access *))ferry_closure_code(p->closure);
	struct sql_access access = { .action = action };

	(void)trigger;
	snprintf(access.object, sizeof(access.object), "%s", object ? object : "");
	snprintf(access.detail, sizeof(access.detail), "%s", detail ? detail : "");
	snprintf(access.database, sizeof(access.database), "%s", database ? database : "");
	switch (decide(&access)) {
	case SQLITE_OK: return SQLITE_OK;
	case SQLITE_IGNORE: return SQLITE_IGNORE;
	default: return SQLITE_DENY; /* also when it was ended */
	}
}

int sql_bind(struct sql *sql, sqlite3 *db)
{
	const int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY;
	int err = SQLITE_OK;

	for (int i = 0; i < sql->count && !err; i++) {
		struct program *p = &sql->programs[i];
		char name[64];

		switch (p->kind) {
		case CALL:
			err = sqlite3_create_function(db, p->name, -1, flags, p, call, NULL, NULL);
			break;
		case STEP:
			snprintf(name, sizeof(name), "%.*s",
				 (int)(strlen(p->name) - strlen("_step")), p->name);
			err = sqlite3_create_function(db, name, -1, flags, p, NULL, call, finish);
			break;
		case AUTHORIZE: err = sqlite3_set_authorizer(db, authorize, p); break;
		case FINAL: break;
		}
	}
	return err;
}
