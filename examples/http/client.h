/* SPDX-License-Identifier: MIT */
/* A client for tests and the benchmark: one connection that is kept. */
#ifndef CLIENT_H
#define CLIENT_H

/* From 127.0.0.`host' to the server: the socket, or -1. */
int client_connect(unsigned short port, unsigned char host);
struct client_reply {
	int status;
	int version; /* X-Filter */
	int length;  /* of the body, which has come whole */
};
/* `headers' end with \r\n each. 0; -1: the connection was lost. */
int client_get(int fd, const char *path, const char *headers, struct client_reply *reply);

#endif
