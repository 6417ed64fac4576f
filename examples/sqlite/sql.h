/* SPDX-License-Identifier: MIT */
/*
 * SQL functions and an authoriser from an object file. Every program of section "closure" becomes a
 * function of its name: NAME_step and NAME_final together an aggregate NAME, `authorize' the
 * authoriser.
 */
#ifndef SQL_H
#define SQL_H

#include <sqlite3.h>

struct sql;

/* Opens and verifies the object; NULL: refused, and the log says why. Used by any number of
 * connections. */
struct sql *sql_open(const char *object);
/* Lets a connection use the functions, until it is closed. SQLITE_OK, or an error of SQLite's. */
int sql_bind(struct sql *sql, sqlite3 *db);
/*
 * Exchanges all programs for those of another object, while queries run: a call runs the old or the
 * new one. -1: it is refused, or lacks a function; then all is as before.
 */
int sql_reload(struct sql *sql, const char *object);
void sql_close(struct sql *sql); /* after the connections */

/* What an authoriser decides about (sqlite3_set_authorizer): strings are cut to fit, absent ones
 * empty. */
#define SQL_ACCESS "struct sql_access { int action; char object[64], detail[64], database[32]; };"
struct sql_access {
	int action; /* SQLITE_READ, SQLITE_DELETE... */
	char object[64], detail[64], database[32];
};

#endif
