/* SPDX-License-Identifier: MIT */
/* A server's filter that is a program: see filter.h. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <stdlib.h>
#include <string.h>

#include "filter.h"

#define PROTOTYPE "int (const struct http_request *, struct http_reply *, struct MHD_Connection *)"

struct filter {
	struct bpf_object *object;
	struct ferry_closure *closure;
};

/* ---- what filters may call ------------------------------------------------------------------- */

/* The value of a header, with zeros behind: its length; -1 without such a header. */
static int http_header(struct MHD_Connection *connection, const char *name, char *value,
		       unsigned int size)
{
	const char *s = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
	size_t n = s ? strlen(s) : 0, copied = n < size ? n : size;

	if (copied)
		memcpy(value, s, copied);
	memset(value + copied, 0, size - copied);
	return s ? (int)n : -1;
}

__attribute__((constructor)) static void offer(void)
{
	static const struct ferry_func functions[] = {
		FERRY_FUNC("int http_header(struct MHD_Connection *connection, const char *name "
			   "__str, "
			   "char *value __uninit __size(size), unsigned int size)",
			   http_header),
	};
	static const struct ferry_module module = { sizeof(module), "http", server_types, functions,
						    1 };

	ferry_module_register(&module);
}

/* ---- loading --------------------------------------------------------------------------------- */

/* The new object counts on where the old one is. Maps of the compiler's (.rodata) are its own. */
static int take_over(struct bpf_object *object, const struct bpf_object *old)
{
	struct bpf_map *map, *from;
	int err = 0;

	bpf_object__for_each_map(map, object)
	{
		from = old ? bpf_object__find_map_by_name(old, bpf_map__name(map)) : NULL;
		if (from && !bpf_map__is_internal(map) && !err &&
		    bpf_map__type(map) == bpf_map__type(from) &&
		    bpf_map__key_size(map) == bpf_map__key_size(from) &&
		    bpf_map__value_size(map) == bpf_map__value_size(from))
			err = bpf_map__reuse_fd(map, bpf_map__fd(from));
	}
	return err;
}

static struct bpf_object *load(const char *path, const struct bpf_object *old)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "filter");
	struct bpf_object *object;
	int err;

	ferry_policy_object("filter");
	object = bpf_object__open_file(path, &opts);
	err = object ? take_over(object, old) : -1;
	if (!err)
		err = bpf_object__load(object);
	ferry_policy_object(NULL);
	if (!err)
		return object;
	bpf_object__close(object);
	return NULL;
}

static int program(const struct bpf_object *object)
{
	return bpf_program__fd(bpf_object__find_program_by_name(object, "filter"));
}

struct filter *filter_open(const char *path)
{
	const struct ferry_closure_opts opts = { sizeof(opts), server_types, (uint64_t)-1 };
	struct filter *filter = calloc(1, sizeof(*filter));

	if (!filter)
		return NULL;
	filter->object = load(path, NULL);
	if (filter->object &&
	    !ferry_closure(program(filter->object), PROTOTYPE, &opts, &filter->closure))
		return filter;
	bpf_object__close(filter->object);
	free(filter);
	return NULL;
}

server_filter filter_function(const struct filter *filter)
{
	return (server_filter)ferry_closure_code(filter->closure);
}

int filter_reload(struct filter *filter, const char *path)
{
	struct bpf_object *object = load(path, filter->object), *old = filter->object;

	if (!object || ferry_closure_update(filter->closure, program(object))) {
		bpf_object__close(object);
		return -1;
	}
	filter->object = object;
	bpf_object__close(old);
	return 0;
}

int filter_map(const struct filter *filter, const char *name)
{
	return bpf_object__find_map_fd_by_name(filter->object, name);
}

void filter_close(struct filter *filter)
{
	if (!filter)
		return;
	ferry_closure_free(filter->closure);
	bpf_object__close(filter->object);
	free(filter);
}
