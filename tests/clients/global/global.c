/* SPDX-License-Identifier: MIT */
/*
 * Loads each program of an object alone: those named ok_ load, those named bad_ do not, those
 * named safer_ only in the kernel.
 */
#include <bpf/libbpf.h>
#include <ferry/ferry.h>

#include <stdbool.h>

#include "test.h"

static char log_buf[1 << 20];

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level, (void)fmt, (void)ap;
	return 0;
}

/* 0 or -errno; the log's end in buf. */
static int load_only(const char *name, char *buf, size_t size)
{
	struct bpf_object *obj = bpf_object__open_file(getenv("GLOBAL_OBJECT"), NULL);
	struct bpf_program *p;
	int err;

	assert_non_null(obj);
	bpf_object__for_each_program(p, obj) {
		bpf_program__set_autoload(p, !strcmp(bpf_program__name(p), name));
		bpf_program__set_log_buf(p, buf, size);
		bpf_program__set_log_level(p, 1);
	}
	buf[0] = '\0';
	err = bpf_object__load(obj);
	bpf_object__close(obj);
	return err;
}

/* The end of a log on one line, as TAP wants it. */
static const char *reason(char *s)
{
	size_t n = strlen(s);
	char *c;

	for (c = s; *c; c++)
		if (*c == '\n')
			*c = ' ';
	return n > 600 ? s + n - 600 : s;
}

static void global_functions_have_the_verdicts_they_are_named_after(void **state)
{
	struct bpf_object *obj = bpf_object__open_file(getenv("GLOBAL_OBJECT"), NULL);
	struct bpf_program *p;
	int n = 0, wrong = 0;

	(void)state;
	assert_non_null(obj);
	bpf_object__for_each_program(p, obj) {
		const char *name = bpf_program__name(p);
		bool good = !strncmp(name, "ok_", 3) || (getenv("FERRY") && !strncmp(name, "safer_", 6));
		int err = load_only(name, log_buf, sizeof(log_buf));

		n++;
		if (!err == good && (!err || err == -EINVAL || err == -EACCES))
			continue;
		wrong++;
		print_message("# %s: %d, %s\n", name, err,
			      reason(log_buf));
	}
	bpf_object__close(obj);
	assert_true(n > 20);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(global_functions_have_the_verdicts_they_are_named_after),
	};
	libbpf_set_print(quiet);
	ferry_hook();
	if (getenv("FERRY") && load_only("ok_number", log_buf, sizeof(log_buf)))
		return skip_all("this machine's kernel has no bpf(2)");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
