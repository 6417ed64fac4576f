/* SPDX-License-Identifier: MIT */
/* A client for tests and the benchmark: see client.h. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"

int client_connect(unsigned short port, unsigned char host)
{
	struct sockaddr_in from = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(0x7f000000u | host) };
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!bind(fd, (struct sockaddr *)&from, sizeof(from)) &&
	    !connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return fd;
	close(fd);
	return -1;
}

static int number_behind(const char *text, const char *name)
{
	const char *at = strcasestr(text, name);

	return at ? atoi(at + strlen(name)) : -1;
}

int client_get(int fd, const char *path, const char *headers, struct client_reply *reply)
{
	char buf[4096], *end = NULL;
	int n = snprintf(buf, sizeof(buf), "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, headers),
	    got = 0;

	if (n >= (int)sizeof(buf) || send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
		return -1;
	for (;;) {
		n = (int)recv(fd, buf + got, sizeof(buf) - 1 - (size_t)got, 0);
		if (n <= 0)
			return -1;
		got += n;
		buf[got] = '\0';
		end = end ? end : strstr(buf, "\r\n\r\n");
		if (end && (reply->length = number_behind(buf, "Content-Length:")) >= 0 &&
		    got >= end + 4 - buf + reply->length)
			break;
	}
	reply->version = number_behind(buf, "X-Filter:");
	return sscanf(buf, "HTTP/1.1 %d", &reply->status) == 1 ? 0 : -1;
}
