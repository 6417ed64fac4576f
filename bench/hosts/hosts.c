/* SPDX-License-Identifier: MIT */
/* What the benchmarks of real hosts share: see hosts.h. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "hosts.h"

static double read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

double used(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static int by_double(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return d < 0 ? -1 : d > 0;
}

double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_double);
	return v[ROUNDS / 2];
}

const void *lua_args[3];

lua_State *lua_load_file(const char *path)
{
	lua_State *lua = luaL_newstate();

	if (!lua)
		return NULL;
	luaL_openlibs(lua);
	lua_pushlightuserdata(lua, lua_args);
	lua_setglobal(lua, "call");
	if (!luaL_dofile(lua, path))
		return lua;
	fprintf(stderr, "%s\n", lua_tostring(lua, -1));
	lua_close(lua);
	return NULL;
}

int lua_function(lua_State *lua, const char *name)
{
	lua_getglobal(lua, name);
	return luaL_ref(lua, LUA_REGISTRYINDEX);
}

const char *lua_run(lua_State *lua, int function)
{
	lua_rawgeti(lua, LUA_REGISTRYINDEX, function);
	return lua_pcall(lua, 0, 0, 0) ? lua_tostring(lua, -1) : NULL;
}

void print_row(const char *what, double *c, double *ferry, double *lua)
{
	double base = median(c), f = median(ferry), l = median(lua);

	printf("%-34s %8.0f %8.0f %8.0f %8.2f %8.2f %8.2f\n", what, base, f, l, f / base, l / base,
	       f / l);
}
