/* SPDX-License-Identifier: MIT */
/* A small HTTP server on libmicrohttpd: see server.h. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

struct server {
	struct MHD_Daemon *daemon;
	server_filter filter;
};

static enum MHD_Result send_reply(struct MHD_Connection *connection, const struct http_reply *reply)
{
	static const char *const pages[PAGES] = { "<h1>Ferry</h1>\n", "{ \"ferries\": 3 }\n" };
	const char *text = reply->status == 200 && reply->page < PAGES ? pages[reply->page] : "";
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result ok = MHD_NO;
	char version[16];

	snprintf(version, sizeof(version), "%u", reply->version);
	if (response && MHD_add_response_header(response, "X-Filter", version))
		ok = MHD_queue_response(connection, (unsigned int)reply->status, response);
	MHD_destroy_response(response);
	return ok;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **seen)
{
	const struct server *server = arg;
	const union MHD_ConnectionInfo *info;
	const struct sockaddr_in *from;
	struct http_request request = { 0 };
	struct http_reply reply = { .status = 200 };

	(void)version, (void)upload;
	if (!*seen) { /* the headers; the body follows */
		*seen = connection;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	from = info ? (const struct sockaddr_in *)info->client_addr : NULL;
	request.client = from ? from->sin_addr.s_addr : 0;
	snprintf(request.method, sizeof(request.method), "%s", method);
	snprintf(request.path, sizeof(request.path), "%s", url);
	if (server->filter(&request, &reply, connection) || reply.status < 200 ||
	    reply.status > 599)
		reply.status = 500;
	return send_reply(connection, &reply);
}

struct server *server_start(unsigned short port, server_filter filter)
{
	const struct sockaddr_in at = { .sin_family = AF_INET,
					.sin_port = htons(port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->filter = filter;
	server->daemon = MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, port,
					  NULL, NULL, answer, server, MHD_OPTION_SOCK_ADDR, &at,
					  MHD_OPTION_THREAD_POOL_SIZE, 2u, MHD_OPTION_END);
	if (server->daemon)
		return server;
	free(server);
	return NULL;
}

unsigned short server_port(const struct server *server)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);

	return info ? info->port : 0;
}

void server_stop(struct server *server)
{
	if (server)
		MHD_stop_daemon(server->daemon);
	free(server);
}
