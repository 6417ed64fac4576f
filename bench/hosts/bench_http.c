/* SPDX-License-Identifier: MIT */
/*
 * The filter of one web server in C, as an eBPF program, and in LuaJIT: nanoseconds a decision,
 * inside a request that is being answered; then whole requests; then requests while the filter is
 * exchanged all the time. bench_http filter.bpf.o filter2.bpf.o filter.lua [POLICY] With a policy,
 * the program runs with the budget that it gives it.
 */
#include <bpf/bpf.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hosts.h"
#include "http/client.h"
#include "http/filter.h"

#define DECISIONS 20000
#define REQUESTS  1000
#define HEADERS   "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAuthorization: Bearer sesame\r\n"

/* native_filter.c; called filter there. */
int native_filter(const struct http_request *request, struct http_reply *reply,
		  struct MHD_Connection *connection);

/* What native_filter.c calls: as filter.c has it for programs. */
int http_header(struct MHD_Connection *connection, const char *name, char *value, unsigned int size)
{
	const char *s = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
	size_t n = s ? strlen(s) : 0, copied = n < size ? n : size;

	if (copied)
		memcpy(value, s, copied);
	memset(value + copied, 0, size - copied);
	return s ? (int)n : -1;
}

static lua_State *lua;
static int lua_filter_ref;

static int lua_filter(const struct http_request *request, struct http_reply *reply,
		      struct MHD_Connection *connection)
{
	const char *error;

	lua_args[0] = request;
	lua_args[1] = reply;
	lua_args[2] = connection;
	error = lua_run(lua, lua_filter_ref);
	if (error)
		fprintf(stderr, "%s\n", error);
	return error ? -1 : 0;
}

/* The server's filter: one of three, for the benchmark many times. */
static server_filter filters[3];
static _Atomic int chosen;
static double decisions[3][ROUNDS];

static int time_all(const struct http_request *request, struct http_reply *reply,
		    struct MHD_Connection *connection)
{
	int bad = 0;

	for (int r = -1; r < ROUNDS; r++) /* once to warm up */
		for (int f = 0; f < 3; f++) {
			double t = used();

			for (int i = 0; i < DECISIONS; i++)
				bad |= filters[f](request, reply, connection) ||
				       reply->status != 200;
			decisions[f][r < 0 ? 0 : r] = (used() - t) / DECISIONS;
		}
	return bad;
}

static int choose(const struct http_request *request, struct http_reply *reply,
		  struct MHD_Connection *connection)
{
	return chosen < 3 ? filters[chosen](request, reply, connection)
			  : time_all(request, reply, connection);
}

static int ask(int fd, int n)
{
	struct client_reply reply;
	int lost = 0;

	for (int i = 0; i < n; i++)
		lost += client_get(fd, "/api/ferries", HEADERS, &reply) || reply.status != 200;
	return lost;
}

static _Atomic int stop, reloads;
static struct filter *program;

static void *exchange(void *arg)
{
	char **objects = arg;

	while (!stop) {
		if (filter_reload(program, objects[reloads & 1]))
			return "refused";
		reloads++;
	}
	return NULL;
}

static int measure(unsigned short port, char **objects)
{
	double requests[3][ROUNDS], t;
	int fd = client_connect(port, 2), lost = 0;
	pthread_t thread;
	void *failed = NULL;

	chosen = 3;
	if (fd < 0 || ask(fd, 1))
		return -1;
	print_row("a decision", decisions[0], decisions[1], decisions[2]);
	for (int r = 0; r < ROUNDS; r++)
		for (chosen = 0; chosen < 3; chosen++) {
			t = now();
			lost += ask(fd, REQUESTS);
			requests[chosen][r] = (now() - t) / REQUESTS;
		}
	print_row("a request, client and server", requests[0], requests[1], requests[2]);
	chosen = 1;
	if (pthread_create(&thread, NULL, exchange, objects))
		return -1;
	t = now();
	lost += ask(fd, 20 * REQUESTS);
	t = now() - t;
	stop = 1;
	pthread_join(thread, &failed);
	printf("hot reload: %d requests in %.2f s, %d reloads (verified and compiled each), "
	       "requests lost: %d\n",
	       20 * REQUESTS, t / 1e9, reloads, lost);
	close(fd);
	return failed ? -1 : lost;
}

int main(int argc, char **argv)
{
	unsigned int zero = 0, most = 1000000000;
	struct server *server;
	int err;

	if (argc < 4 || (argc > 4 && ferry_policy_load(argv[4])) ||
	    !(program = filter_open(argv[1])) || !(lua = lua_load_file(argv[3])))
		return 1;
	lua_filter_ref = lua_function(lua, "filter");
	filters[0] = native_filter;
	filters[1] = filter_function(program);
	filters[2] = lua_filter;
	bpf_map_update_elem(filter_map(program, "limit"), &zero, &most, BPF_ANY);
	server = server_start(0, choose);
	if (!server)
		return 1;
	printf("%-34s %8s %8s %8s %8s %8s %8s\n", "web server: ns", "C", "Ferry", "LuaJIT",
	       "Ferry/C", "Lua/C", "F/Lua");
	err = measure(server_port(server), argv + 1);
	server_stop(server);
	filter_close(program);
	lua_close(lua);
	return err ? 1 : 0;
}
