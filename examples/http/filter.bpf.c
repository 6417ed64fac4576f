/* SPDX-License-Identifier: MIT */
/* A filter for server.c: who may ask for what how often, and which page answers. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifndef VERSION
#define VERSION 1
#endif

struct http_request {
	char method[8];
	char path[120];
	unsigned int client;
} __attribute__((preserve_access_index));

struct http_reply {
	int status;
	unsigned int page, version;
} __attribute__((preserve_access_index));

enum { PAGE_HOME, PAGE_API };

struct MHD_Connection;
extern int http_header(struct MHD_Connection *connection, const char *name__str,
		       char *value__uninit, unsigned int value__sz) __ksym;

/* What an operator may change while the server runs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32); /* requests a second of each client; 0: any number */
} limit SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 600);
	__type(key, __u32); /* status */
	__type(value, __u64);
} answers SEC(".maps");

struct window {
	__u64 second, requests;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32); /* address */
	__type(value, struct window);
} clients SEC(".maps");

static int too_many(__u32 client)
{
	struct window *w, first = { bpf_ktime_get_ns() / 1000000000, 1 };
	__u32 zero = 0, *most = bpf_map_lookup_elem(&limit, &zero);

	if (!most || !*most)
		return 0;
	w = bpf_map_lookup_elem(&clients, &client);
	if (!w)
		return bpf_map_update_elem(&clients, &client, &first, BPF_ANY) < 0;
	if (w->second != first.second) {
		w->second = first.second;
		w->requests = 0;
	}
	return __sync_fetch_and_add(&w->requests, 1) >= *most;
}

static int is_robot(struct MHD_Connection *connection)
{
	char agent[64];

	if (http_header(connection, "User-Agent", agent, sizeof(agent)) < 3)
		return 0;
	for (int i = 0; i + 2 < (int)sizeof(agent); i++)
		if ((agent[i] | 32) == 'b' && (agent[i + 1] | 32) == 'o' &&
		    (agent[i + 2] | 32) == 't')
			return 1;
	return 0;
}

static int has_token(struct MHD_Connection *connection)
{
	char given[32];

	http_header(connection, "Authorization", given, sizeof(given));
	return !bpf_strncmp(given, sizeof(given), "Bearer sesame");
}

static int decide(const struct http_request *req, struct http_reply *reply,
		  struct MHD_Connection *connection)
{
	if (too_many(req->client))
		return 429;
	if (bpf_strncmp(req->method, sizeof(req->method), "GET"))
		return 405;
	if (is_robot(connection))
		return 403;
	if (req->path[0] == '/' && !req->path[1]) {
		reply->page = PAGE_HOME;
		return 200;
	}
	if (!bpf_strncmp(req->path, 5, "/api/")) {
		reply->page = PAGE_API;
		return has_token(connection) ? 200 : 401;
	}
	return 404;
}

SEC("closure")
int filter(const struct http_request *req, struct http_reply *reply,
	   struct MHD_Connection *connection)
{
	__u32 status = decide(req, reply, connection);
	__u64 *count = bpf_map_lookup_elem(&answers, &status);

	if (count)
		__sync_fetch_and_add(count, 1);
	reply->status = status;
	reply->version = VERSION;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
