/* SPDX-License-Identifier: MIT */
/* A server's filter that is a program: `filter' of section "closure" in an object file. */
#ifndef FILTER_H
#define FILTER_H

#include "server.h"

struct filter;

struct filter *filter_open(const char *object); /* NULL: refused, and the log says why */
server_filter filter_function(const struct filter *filter);
/*
 * Lets the same function run the program of another object, while requests come in. Maps of the
 * same name and kind are taken over, with what is in them. -1: refused, and all is as before.
 */
int filter_reload(struct filter *filter, const char *object);
int filter_map(const struct filter *filter,
	       const char *name);         /* its descriptor, until the next reload; -1 */
void filter_close(struct filter *filter); /* after the server has stopped */

#endif
