/* SPDX-License-Identifier: MIT */
/*
 * An application with a program inside: opens it with plain libbpf, offers it a native function,
 * asks it about each word of a text, and reads its map and ring buffer back.
 *   cc embed.c -lferry -lbpf
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <stdio.h>
#include <string.h>

struct word {
	char text[32];
	unsigned int length;
};

static int is_palindrome(const char *s, unsigned int size)
{
	unsigned int i;

	for (i = 0; i < size / 2; i++)
		if (s[i] != s[size - 1 - i])
			return 0;
	return 1;
}

static int print_found(void *ctx, void *data, size_t size)
{
	(void)ctx;
	printf("  palindrome: %.*s\n", (int)size, (const char *)data);
	return 0;
}

static int judge_all(struct ferry_runner *judge)
{
	static const char *const words[] = { "never", "odd", "or", "even", "level", "noon", "ferry", "kayak" };
	struct word w;
	size_t i;
	int n = 0;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		memset(&w, 0, sizeof(w));
		w.length = (unsigned int)strlen(words[i]);
		memcpy(w.text, words[i], w.length);
		n += (int)ferry_runner_run(judge, &w) == 1;
	}
	return n;
}

static void print_lengths(int map)
{
	unsigned int *prev = NULL, key;
	unsigned long long count;

	for (; !bpf_map_get_next_key(map, prev, &key); prev = &key)
		if (!bpf_map_lookup_elem(map, &key, &count))
			printf("  %llu word%s of length %u\n", count, count == 1 ? "" : "s", key);
}

int main(int argc, char **argv)
{
	static const struct ferry_func funcs[] = {
		FERRY_FUNC("int is_palindrome(const char *s, unsigned int s__sz)", is_palindrome),
	};
	static const struct ferry_module words = { sizeof(words), "words", NULL, funcs, 1 };
	struct ferry_runner *judge = NULL;
	struct ring_buffer *rb = NULL;
	struct bpf_object *obj;
	int err = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: %s embed.bpf.o\n", argv[0]);
		return 2;
	}
	if (ferry_module_register(&words) < 0)
		return 1;
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj))
		goto out;
	if (ferry_runner_new(bpf_program__fd(bpf_object__find_program_by_name(obj, "judge")),
			     sizeof(struct word), &judge) < 0)
		goto out;
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "found"), print_found, NULL, NULL);
	if (!rb)
		goto out;
	printf("%d palindromes\n", judge_all(judge));
	ring_buffer__poll(rb, 100);
	print_lengths(bpf_object__find_map_fd_by_name(obj, "lengths"));
	err = 0;
out:
	ring_buffer__free(rb);
	ferry_runner_free(judge);
	bpf_object__close(obj);
	return err;
}
