/* SPDX-License-Identifier: MIT */
/*
 * Runs the programs of zlib.bpf.o and compares what they computed with zlib and libm called from C; then tries
 * to load those of refused.bpf.o.   zlib zlib.ferry.so libm.ferry.so zlib.bpf.o refused.bpf.o
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

struct page {
	unsigned int text_len, packed_len, back_len;
	unsigned int crc;
	int packed, unpacked;
	double angle, sine, power, hypotenuse;
	unsigned char text[1024], pack[1200], back[1024];
};

static int tests, bad;

static void check(int ok, const char *name)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", ++tests, name);
	bad |= !ok;
}

static int run(struct bpf_object *obj, const char *name)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, name);
	uint64_t ret = 99;

	return prog && !ferry_prog_run(bpf_program__fd(prog), NULL, 0, &ret) ? (int)ret : -1;
}

static void compute(struct bpf_object *obj)
{
	struct page in = { .angle = 0.75 }, out;
	unsigned char back[sizeof(in.text)];
	int map = bpf_object__find_map_fd_by_name(obj, "pages"), i;
	uLongf n = sizeof(back);
	unsigned int key = 0;
	double angle;

	for (i = 0; i < 60; i++)
		in.text_len += (unsigned int)sprintf((char *)in.text + in.text_len, "line %d of it\n", i);
	bpf_map_update_elem(map, &key, &in, BPF_ANY);
	check(run(obj, "pack") == 0 && run(obj, "measure") == 0, "the programs run");
	bpf_map_lookup_elem(map, &key, &out);
	check(out.crc == crc32(0, in.text, in.text_len), "crc32 is zlib's");
	check(uncompress(back, &n, out.pack, out.packed_len) == Z_OK && n == in.text_len &&
	      !memcmp(back, in.text, n) && out.packed_len < in.text_len / 2, "what was packed unpacks to the text");
	check(out.unpacked == Z_OK && out.back_len == in.text_len && !memcmp(out.back, in.text, in.text_len),
	      "the program unpacked it too");
	angle = in.angle;
	check(out.sine == sin(angle) && out.power == pow(angle, sin(angle) + 2.5) && out.hypotenuse == 5.0,
	      "sin, pow and hypot are libm's, to the bit");
}

/* The verifier's words, and the argument that they name. */
static void refused(const char *path, const char *name, const char *rule, const char *arg)
{
	static char log[1 << 16];
	struct bpf_object *obj = bpf_object__open_file(path, NULL);
	struct bpf_program *prog = obj ? bpf_object__find_program_by_name(obj, name) : NULL;
	char what[128];

	if (prog) {
		bpf_program__set_autoload(prog, true);
		bpf_program__set_log_buf(prog, log, sizeof(log));
		bpf_program__set_log_level(prog, 1);
	}
	snprintf(what, sizeof(what), "%s is refused", name);
	log[0] = '\0';
	check(prog && bpf_object__load(obj) && strstr(log, rule) && strstr(log, arg), what);
	if (!strstr(log, rule) || !strstr(log, arg))
		printf("# wanted '%s' and '%s' in: %.2000s\n", rule, arg, log);
	bpf_object__close(obj);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level, (void)fmt, (void)ap;
	return 0;
}

int main(int argc, char **argv)
{
	struct bpf_object *obj;

	if (argc != 5 || ferry_module_load(argv[1]) || ferry_module_load(argv[2]))
		return 2;
	obj = bpf_object__open_file(argv[3], NULL);
	check(obj && !bpf_object__load(obj), "programs that call zlib and libm load");
	if (bad)
		return 1;
	compute(obj);
	bpf_object__close(obj);
	libbpf_set_print(quiet);
	refused(argv[4], "unbounded", "unbounded memory access", "crc32(), argument 2, buf");
	refused(argv[4], "too_much_room", "invalid access to map value", "compress2(), argument 1, dest");
	refused(argv[4], "shared_size", "a size is read from the stack", "destLen");
	refused(argv[4], "bad_level", "not proved to be in [-1, 9]", "arg#4 of compress2() (R5");
	refused(argv[4], "overlap", "overlaps the variable that holds its size", "arg#0 of uncompress()");
	printf("1..%d\n", tests);
	return bad;
}
