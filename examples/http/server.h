/* SPDX-License-Identifier: MIT */
/*
 * A small HTTP server with one hook: a C function that decides about each request. It knows nothing
 * of programs; filter.h makes such a function of one.
 */
#ifndef SERVER_H
#define SERVER_H

#include <microhttpd.h>

/* Also the types of the filter's prototype, as text (filter.c). */
#define SERVER_TYPES(...)                                                                          \
	__VA_ARGS__                                                                                \
	static const char server_types[] __attribute__((unused)) =                                 \
		"struct MHD_Connection;" #__VA_ARGS__

SERVER_TYPES(
	struct http_request {
		char method[8];
		char path[120];      /* without the query; cut to fit */
		unsigned int client; /* IPv4 address, in network order */
	};
	struct http_reply {
		int status; /* 200 to go on with the page */
		unsigned int page;
		unsigned int version; /* of who decided: header X-Filter */
	};
);
enum { PAGE_HOME, PAGE_API, PAGES };

/* Called by several threads at once. Other than 0: it failed, and the client gets 500. */
typedef int (*server_filter)(const struct http_request *request, struct http_reply *reply,
			     struct MHD_Connection *connection);

struct server;
/* Listens on 127.0.0.1; port 0: any. NULL: it cannot. */
struct server *server_start(unsigned short port, server_filter filter);
unsigned short server_port(const struct server *server);
void server_stop(struct server *server);

#endif
