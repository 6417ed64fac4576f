/* SPDX-License-Identifier: MIT */
/* The assembler against llvm-mc, with what the version at hand can assemble. */
#include "test.h"

#include <unistd.h>

#include "golden.h"

/* Runs a command and reads what it prints: the length, or -1. */
static int read_command(const char *command, char *out, size_t size)
{
	FILE *f = popen(command, "r");
	size_t n;

	if (!f)
		return -1;
	n = fread(out, 1, size - 1, f);
	out[n] = '\0';
	return pclose(f) == 0 ? (int)n : -1;
}

static int llvm_version(void)
{
	char out[4096];
	const char *p;

	if (read_command("llvm-mc --version 2>/dev/null", out, sizeof(out)) < 0)
		return 0;
	p = strstr(out, "LLVM version ");
	return p ? atoi(p + 13) : 0;
}

static void llvm_mc_makes_the_same_bytes(void **state)
{
	char path[] = "/tmp/ferry-isa-XXXXXX", command[256], out[16384];
	int version = llvm_version(), fd, n;
	struct bpf_insn *insns;
	FILE *f;
	size_t i, at = 0;
	u32 cnt;

	(void)state;
	fd = mkstemp(path);
	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	for (i = 0; i < ARRAY_SIZE(golden); i++) {
		if (golden[i].llvm_from && golden[i].llvm_from <= version)
			fprintf(f, "%s\n", golden[i].llvm ? golden[i].llvm : golden[i].text);
	}
	fclose(f);
	snprintf(command, sizeof(command),
		 "llvm-mc -triple bpfel -mattr=+alu32 -filetype=obj %s -o %s.o && "
		 "llvm-objcopy -O binary --only-section=.text %s.o %s.bin && cat %s.bin",
		 path, path, path, path, path);
	n = read_command(command, out, sizeof(out));
	snprintf(command, sizeof(command), "rm -f %s %s.o %s.bin", path, path, path);
	assert_int_equal(system(command), 0);
	assert_true(n > 0);
	for (i = 0; i < ARRAY_SIZE(golden); i++) {
		const char *text = golden[i].llvm ? golden[i].llvm : golden[i].text;

		if (!golden[i].llvm_from || golden[i].llvm_from > version)
			continue;
		insns = NULL;
		cnt = 0;
		assert_int_equal(isa_assemble(text, &insns, &cnt, NULL), 0);
		assert_true(at + cnt * 8 <= (size_t)n);
		if (memcmp(out + at, insns, cnt * 8))
			fail_msg("%s: llvm-mc makes other bytes", text);
		at += cnt * 8;
		base_free(insns);
	}
	assert_int_equal(at, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(llvm_mc_makes_the_same_bytes),
	};

	if (!llvm_version()) {
		printf("1..0 # SKIP no llvm-mc here\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
