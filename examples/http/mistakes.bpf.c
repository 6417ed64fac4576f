/* SPDX-License-Identifier: MIT */
/* Filters that go wrong, each in its own way; built one by one (MISTAKE) for the test. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct http_request {
	char method[8];
	char path[120];
	unsigned int client;
};

struct http_reply {
	int status;
	unsigned int page, version;
};

struct MHD_Connection;
extern int http_header(struct MHD_Connection *connection, const char *name__str,
		       char *value__uninit, unsigned int value__sz) __ksym;

SEC("closure")
int filter(const struct http_request *req, struct http_reply *reply,
	   struct MHD_Connection *connection)
{
#if MISTAKE == 1 /* reads behind the path */
	int n = 0;

	while (n < 200 && req->path[n] != '?')
		n++;
	reply->status = n;
#elif MISTAKE == 2 /* changes what was asked for */
	((struct http_request *)req)->path[0] = 'x';
#elif MISTAKE == 3 /* more is said to be in the buffer than there is room */
	char value[16];

	reply->status = http_header(connection, "Host", value, 64);
#elif MISTAKE == 4 /* another type, as a filter has */
	reply->status =
		http_header((struct MHD_Connection *)reply, "Host", (char *)&reply->page, 4);
#endif
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
