/* SPDX-License-Identifier: MIT */
/* A server whose filter is a program: what it decides, and that no request is lost when it is
 * exchanged. */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <unistd.h>

#include "client.h"
#include "filter.h"
#include "said.h"

static struct filter *filter;
static struct server *server;

static const char *object(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s.bpf.o", getenv("HTTP_OBJECTS"), name);
	return path;
}

static int setup(void **state)
{
	(void)state;
	keep_what_is_said();
	assert_int_equal(ferry_policy_load(getenv("HTTP_POLICY")), 0);
	filter = filter_open(object("filter"));
	if (!filter)
		fail_msg("%s", said);
	server = server_start(0, filter_function(filter));
	assert_non_null(server);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	server_stop(server);
	filter_close(filter);
	return 0;
}

static int status_of(unsigned char host, const char *path, const char *headers)
{
	int fd = client_connect(server_port(server), host);
	struct client_reply reply;

	assert_true(fd >= 0);
	assert_int_equal(client_get(fd, path, headers, &reply), 0);
	close(fd);
	return reply.status;
}

static unsigned long long count(unsigned int status)
{
	unsigned long long n = 0;

	assert_int_equal(bpf_map_lookup_elem(filter_map(filter, "answers"), &status, &n), 0);
	return n;
}

static void paths_and_headers_decide(void **state)
{
	static const struct {
		const char *path, *headers;
		int status;
	} cases[] = {
		{ "/", "", 200 },
		{ "/?a=b", "", 200 },
		{ "/other", "", 404 },
		{ "/", "User-Agent: Mozilla/5.0\r\n", 200 },
		{ "/", "User-Agent: GoogleBot\r\n", 403 },
		{ "/", "User-Agent: \r\n", 200 },
		{ "/api/ferries", "", 401 },
		{ "/api/ferries", "Authorization: Bearer sesam\r\n", 401 },
		{ "/api/ferries", "Authorization: Bearer sesame\r\n", 200 },
		{ "/api/ferries", "Authorization: Bearer sesame2\r\n", 401 },
		{ "/api", "", 404 },
	};
	unsigned long long good = count(200);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(status_of(1, cases[i].path, cases[i].headers), cases[i].status);
	assert_int_equal(count(200) - good, 5);
}

static void each_client_has_a_rate_of_its_own(void **state)
{
	unsigned int zero = 0, most = 3;
	int served = 0, refused = 0, status, i;

	(void)state;
	assert_int_equal(bpf_map_update_elem(filter_map(filter, "limit"), &zero, &most, BPF_ANY),
			 0);
	/* However slow this runs, some second has more than three of so many. */
	for (i = 0; i < 5000 && !refused; i++) {
		status = status_of(5, "/", "");
		served += status == 200;
		refused += status == 429;
	}
	assert_int_equal(refused, 1);
	assert_true(served >= 3);
	assert_int_equal(status_of(6, "/", ""), 200);
	most = 0;
	assert_int_equal(bpf_map_update_elem(filter_map(filter, "limit"), &zero, &most, BPF_ANY),
			 0);
	assert_int_equal(status_of(5, "/", ""), 200);
}

static void what_is_refused_changes_nothing(void **state)
{
	static const char *const cases[][2] = {
		{ "mistake1", "mem_size=132 off=132" },
		{ "mistake2", "cannot write into rdonly_mem" },
		{ "mistake3", "invalid write to stack R3 off=-16 size=64" },
		{ "mistake4", "arg#0 of http_header()" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		*said = '\0';
		assert_int_equal(filter_reload(filter, object(cases[i][0])), -1);
		if (!strstr(said, cases[i][1]))
			fail_msg("%s: %s", cases[i][0], said);
		assert_int_equal(status_of(1, "/", ""), 200);
	}
}

#define THREADS  3
#define REQUESTS 1500
static _Atomic int done, lost, by_version[3];

static void *ask_often(void *arg)
{
	int fd = client_connect(server_port(server), (unsigned char)(10 + *(int *)arg));
	struct client_reply reply;

	for (int i = 0; i < REQUESTS; i++) {
		/* Now and then a new connection. */
		if (i % 500 == 499) {
			close(fd);
			fd = client_connect(server_port(server), (unsigned char)(10 + *(int *)arg));
		}
		if (client_get(fd, "/", "User-Agent: test\r\n", &reply) || reply.status != 200 ||
		    reply.length != 15 || reply.version < 1 || reply.version > 2)
			lost++;
		else
			by_version[reply.version]++;
		done++;
	}
	close(fd);
	return NULL;
}

static void no_request_is_lost_while_filters_are_exchanged(void **state)
{
	int n[THREADS], reloads = 0;
	unsigned long long before = count(200);
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++) {
		n[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &n[i]), 0);
	}
	while (done < THREADS * REQUESTS) {
		reloads++;
		if (filter_reload(filter, object(reloads & 1 ? "filter2" : "filter")))
			lost += 1000000;
		if (reloads % 4 == 0 && !filter_reload(filter, object("mistake1")))
			lost += 1000000;
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	print_message("# %d requests, %d reloads; version 1 answered %d, version 2 %d\n", done,
		      reloads, by_version[1], by_version[2]);
	assert_int_equal(lost, 0);
	assert_int_equal(by_version[1] + by_version[2], THREADS * REQUESTS);
	assert_true(by_version[1] && by_version[2]);
	/* What the filters counted went from one to the next. */
	assert_int_equal(count(200) - before, THREADS * REQUESTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_and_headers_decide),
		cmocka_unit_test(each_client_has_a_rate_of_its_own),
		cmocka_unit_test(what_is_refused_changes_nothing),
		cmocka_unit_test(no_request_is_lost_while_filters_are_exchanged),
	};

	return cmocka_run_group_tests_name("http", tests, setup, teardown);
}
