/* SPDX-License-Identifier: MIT */
/* What the benchmarks of real hosts share: time, medians, a Lua function. */
#ifndef HOSTS_H
#define HOSTS_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#define ROUNDS 9

double now(void);  /* nanoseconds */
double used(void); /* nanoseconds of processor that this thread has used: others do not count */
double median(double *v);                   /* of ROUNDS; sorts them */
lua_State *lua_load_file(const char *path); /* NULL: what is wrong is on stderr */
/*
 * A call of a function of the file. Its arguments are in an array that Lua knows, `call': LuaJIT
 * compiles no code for pointers given as values. NULL, or what is wrong.
 */
extern const void *lua_args[3];
int lua_function(lua_State *lua, const char *name);
const char *lua_run(lua_State *lua, int function);
/* Prints a row of nanoseconds with the ratios to the first; all of ROUNDS. */
void print_row(const char *what, double *c, double *ferry, double *lua);

#endif
