/* SPDX-License-Identifier: MIT */
/* Helpers of traffic control on a packet of 64 zero bytes: what they return and what they leave. */
#include <unistd.h>

#include "scenario.h"

/* Runs each program and says what it returned. */
static void run_all(struct scenario *s, const char *const *sources, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		int p = scenario_prog(s, BPF_PROG_TYPE_SCHED_CLS, sources[i], NULL, 0);

		SAY(s, "%ld ", p < 0 ? p : scenario_run(s, p));
		if (p >= 0)
			close(p);
	}
}

/* The 16 bits at offset 20 after a call, or the call's error. */
#define SUM(call)                                                                                  \
	"r6 = r1\n" call "if r0 != 0 goto out\nr1 = r6\nr2 = 20\nr3 = r10\nr3 += -8\nr4 = 2\n"     \
	"call bpf_skb_load_bytes\nr0 = *(u16 *)(r10 - 8)\nout:\nexit\n"
#define CSUM(name, off, from, to, flags)                                                           \
	SUM("r1 = r6\nr2 = " off "\nr3 = " from "\nr4 = " to "\nr5 = " flags "\ncall bpf_" name    \
	    "\n")

static void checksums(struct scenario *s)
{
	static const char *const sources[] = {
		CSUM("l3_csum_replace", "20", "0", "0x1234", "2"),
		CSUM("l3_csum_replace", "20", "0x4321", "0x1234", "2"),
		CSUM("l3_csum_replace", "20", "0x43215678", "0x12349abc", "4"),
		CSUM("l3_csum_replace", "20", "0", "0x12349abc", "0"),
		CSUM("l3_csum_replace", "20", "1", "0x12349abc", "0"),
		CSUM("l3_csum_replace", "20", "1", "2", "3"),
		CSUM("l3_csum_replace", "20", "1", "2", "16"),
		CSUM("l3_csum_replace", "21", "1", "2", "2"),
		CSUM("l3_csum_replace", "64", "1", "2", "2"),
		CSUM("l3_csum_replace", "65536", "1", "2", "2"),
		CSUM("l4_csum_replace", "20", "0x4321", "0x1234", "2"),
		CSUM("l4_csum_replace", "20", "0x43215678", "0x12349abc", "4"),
		CSUM("l4_csum_replace", "20", "0x43215678", "0x12349abc", "0x14"),
		CSUM("l4_csum_replace", "20", "0x4321", "0x1234", "0x22"),
		CSUM("l4_csum_replace", "20", "0x4321", "0x1234", "0x62"),
		CSUM("l4_csum_replace", "20", "0", "0xffff", "0x60"),
		CSUM("l4_csum_replace", "20", "0", "0x12349abc", "0x10"),
		SUM("r1 = r6\nr2 = 7\ncall bpf_csum_update\n"),
		SUM("r1 = r6\nr2 = 0\ncall bpf_csum_level\n"),
		SUM("r1 = r6\nr2 = 3\ncall bpf_csum_level\n"),
		SUM("r1 = r6\nr2 = 4\ncall bpf_csum_level\n"),
	};

	run_all(s, sources, ARRAY_SIZE(sources));
}

/* The packet's length after a call, or the call's error. */
#define LEN(call) "r6 = r1\n" call "if r0 != 0 goto out\nr0 = *(u32 *)(r6 + 0)\nout:\nexit\n"

static void sizes(struct scenario *s)
{
	static const char *const sources[] = {
		LEN("r2 = 100\nr3 = 0\ncall bpf_skb_change_tail\n"),
		LEN("r2 = 20\nr3 = 0\ncall bpf_skb_change_tail\n"),
		LEN("r2 = 13\nr3 = 0\ncall bpf_skb_change_tail\n"),
		LEN("r2 = 100\nr3 = 1\ncall bpf_skb_change_tail\n"),
		LEN("r2 = 16\nr3 = 0\ncall bpf_skb_change_head\n"),
		LEN("r2 = 16\nr3 = 1\ncall bpf_skb_change_head\n"),
		LEN("r2 = 64\ncall bpf_skb_pull_data\n"),
		LEN("r2 = 0\ncall bpf_skb_pull_data\n"),
		LEN("r2 = 65\ncall bpf_skb_pull_data\n"),
		LEN("r2 = 3\ncall bpf_skb_change_type\n"),
		LEN("r2 = 4\ncall bpf_skb_change_type\n"),
		"r6 = r1\nr2 = 77\ncall bpf_set_hash\nr1 = r6\ncall bpf_get_hash_recalc\nexit\n",
	};

	run_all(s, sources, ARRAY_SIZE(sources));
}

#define REL(off, size, start)                                                                      \
	"r2 = " off "\nr3 = r10\nr3 += -64\nr4 = " size "\nr5 = " start                            \
	"\ncall bpf_skb_load_bytes_relative\nexit\n"

static void relative(struct scenario *s)
{
	static const char *const sources[] = {
		REL("0", "64", "0"), REL("1", "64", "0"), REL("0", "50", "1"),
		REL("0", "51", "1"), REL("0", "4", "2"),  REL("65536", "1", "0"),
	};

	run_all(s, sources, ARRAY_SIZE(sources));
}

int main(int argc, char **argv)
{
	static const struct scenario_case cases[] = {
		{ "checksums_follow_what_changes", checksums, "60875 12525 60584 21263 -22 -22 -22 -14 -14 -14 12525 60584 60584 0 12525 65535 21263 -524 -13 0 -22 " },
		{ "packets_grow_and_shrink", sizes, "100 20 -22 -22 80 -22 64 64 -12 64 -22 77 " },
		{ "loads_start_at_either_header", relative, "0 -14 0 -14 -14 -14 " },
	};

	return scenario_main(argc, argv, cases, ARRAY_SIZE(cases));
}
