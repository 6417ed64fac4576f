/* SPDX-License-Identifier: MIT */
/* Helpers that put room into packets or take it out: VLAN tags, encapsulation; marks of congestion. */
#include <unistd.h>

#include "scenario.h"

#define SIZE 80

/* An Ethernet frame of this type: addresses 1 to 12, then bytes that count up. */
static void frame(u8 *p, u16 type, u8 tos)
{
	u32 i;

	for (i = 0; i < SIZE; i++)
		p[i] = (u8)(i + 1);
	p[0] = 2; /* of one station */
	p[12] = (u8)(type >> 8);
	p[13] = (u8)type;
	p[14] = type == 0x86dd ? (u8)(0x60 | tos >> 4) : 0x45;
	p[15] = type == 0x86dd ? (u8)(tos << 4) : tos;
}

/* What the program returns, the length of the packet that it leaves, and a sum of its bytes. */
static void run(struct scenario *s, const char *source, u16 type, u8 tos)
{
	u8 in[SIZE], out[1024] = { 0 };
	union bpf_attr a = { 0 };
	int p = scenario_prog(s, BPF_PROG_TYPE_SCHED_CLS, source, NULL, 0);
	u32 i, sum = 0;

	frame(in, type, tos);
	a.test.prog_fd = (u32)p;
	a.test.data_in = PTR(in);
	a.test.data_size_in = sizeof(in);
	a.test.data_out = PTR(out);
	a.test.data_size_out = sizeof(out);
	if (p < 0 || s->bpf(BPF_PROG_TEST_RUN, &a, sizeof(a))) {
		SAY(s, "%d failed ", p);
		return;
	}
	close(p);
	for (i = 0; i < sizeof(out); i++)
		sum = (sum ^ out[i]) * 16777619u;
	SAY(s, "%d:%u:%04x ", (int)a.test.retval, a.test.data_size_out, sum >> 16);
}

/* A call on the context, in r6, and then what the packet's fields are. */
#define CALL(setup, name) "r1 = r6\n" setup "call bpf_" name "\nif r0 != 0 goto out\n"
#define FIELDS                                                                                     \
	"r0 = *(u32 *)(r6 + 20)\nr0 <<= 8\nr1 = *(u32 *)(r6 + 24)\nr0 ^= r1\nr0 <<= 3\nr1 = *(u32 *)(r6 + 28)\n" \
	"r0 ^= r1\nr1 = *(u32 *)(r6 + 16)\nr1 <<= 1\nr0 ^= r1\nout:\nexit\n"
#define PUSH(proto, tci) CALL("r2 = " proto "\nr3 = " tci "\n", "skb_vlan_push")
#define POP              CALL("", "skb_vlan_pop")

static void vlan(struct scenario *s)
{
	static const char *const sources[] = {
		"r6 = r1\n" PUSH("0x81", "5") FIELDS,
		"r6 = r1\n" PUSH("0x81", "5") PUSH("0xa888", "0x1234") FIELDS,
		"r6 = r1\n" PUSH("7", "0xffff") PUSH("0x81", "1") PUSH("0x81", "2") FIELDS,
		"r6 = r1\n" PUSH("0x81", "5") POP FIELDS,
		"r6 = r1\n" PUSH("0x81", "5") PUSH("0x81", "6") POP FIELDS,
		"r6 = r1\n" PUSH("0x81", "5") PUSH("0xa888", "6") POP POP FIELDS,
		"r6 = r1\n" POP FIELDS,
		"r6 = r1\n" POP POP FIELDS,
		"r6 = r1\n" POP POP POP FIELDS,
	};

	for (u32 i = 0; i < ARRAY_SIZE(sources); i++) {
		run(s, sources[i], 0x0800, 0);
		run(s, sources[i], 0x8100, 0);
		run(s, sources[i], 0x88a8, 0);
	}
}

#define ROOM(diff, mode, flags)                                                                    \
	"r6 = r1\n" CALL("r2 = " diff "\nr3 = " mode "\nr4 = " flags "\n", "skb_adjust_room")         \
	"r0 = *(u32 *)(r6 + 0)\nr1 = *(u32 *)(r6 + 16)\nr0 ^= r1\nout:\nexit\n"
#define TWICE(diff, mode, flags)                                                                   \
	"r6 = r1\n" CALL("r2 = " diff "\nr3 = " mode "\nr4 = " flags "\n", "skb_adjust_room")         \
	CALL("r2 = " diff "\nr3 = " mode "\nr4 = " flags "\n", "skb_adjust_room") "out:\nexit\n"

static void room(struct scenario *s)
{
	static const char *const sources[] = {
		ROOM("8", "0", "0"), ROOM("8", "1", "0"), ROOM("8", "2", "0"), ROOM("-8", "0", "0"), ROOM("-8", "1", "0"),
		ROOM("-46", "1", "0"), ROOM("-47", "1", "0"), ROOM("-26", "0", "0"), ROOM("-27", "0", "0"), ROOM("-66", "0", "0"),
		ROOM("100", "1", "0"), ROOM("600", "1", "0"), ROOM("4095", "2", "0"), ROOM("4096", "1", "0"),
		ROOM("-4096", "1", "0"), ROOM("20", "1", "2"), ROOM("40", "1", "4"), ROOM("28", "1", "18"),
		ROOM("24", "1", "10"), ROOM("24", "1", "26"), ROOM("24", "1", "6"), ROOM("38", "1", "0x0e00000000000042 ll"),
		ROOM("8", "1", "0x0e00000000000042 ll"), ROOM("38", "1", "0x0d00000000000042 ll"), ROOM("8", "1", "1"),
		ROOM("8", "1", "32"), ROOM("-8", "1", "2"), ROOM("-8", "1", "33"), ROOM("8", "1", "4096"),
		ROOM("0", "1", "0"), TWICE("20", "1", "2"), TWICE("20", "1", "0"),
	};

	for (u32 i = 0; i < ARRAY_SIZE(sources); i++) {
		run(s, sources[i], 0x0800, 0);
		run(s, sources[i], 0x86dd, 0);
		run(s, sources[i], 0x0806, 0);
	}
}

static void congestion(struct scenario *s)
{
	static const char source[] = "call bpf_skb_ecn_set_ce\nexit\n";
	static const u16 types[] = { 0x0800, 0x86dd, 0x0806 };

	for (u32 t = 0; t < ARRAY_SIZE(types); t++)
		for (u8 ecn = 0; ecn < 4; ecn++)
			run(s, source, types[t], (u8)(0xb8 | ecn));
}

int main(int argc, char **argv)
{
	static const struct scenario_case cases[] = {
		{ "vlan_tags_are_beside_and_in_the_packet", vlan,
		  "2233:80:0ec0 2475:80:25d1 88505:80:1001 12330:84:52f1 12330:84:8c84 12330:84:dadf "
		  "2451:88:676e 2451:88:d05d 2451:88:3d59 16:80:0ec0 132259:76:a004 175274:76:a004 "
		  "2233:80:0ec0 2475:80:25d1 88505:80:1001 16:80:0ec0 132259:76:a004 175274:76:a004 "
		  "16:80:0ec0 9250:76:a004 9250:76:a004 16:80:0ec0 9250:76:a004 9250:76:a004 16:80:0ec0 "
		  "9250:76:a004 9250:76:a004 " },
		{ "room_comes_and_goes_behind_headers", room,
		  "80:88:e4c5 56798:88:b97e -524:80:41ca 80:88:cef6 56798:88:b676 -524:80:41ca -524:80:0ec0 "
		  "-524:80:21c9 -524:80:41ca 64:72:6782 56782:72:1c0f -524:80:41ca 64:72:82c9 56782:72:0521 "
		  "-524:80:41ca 42:34:1346 -524:80:21c9 -524:80:41ca -524:80:0ec0 -524:80:21c9 -524:80:41ca "
		  "62:54:5fe7 56752:54:8c9f -524:80:41ca 61:53:c8a0 -524:80:21c9 -524:80:41ca -524:80:0ec0 "
		  "-524:80:21c9 -524:80:41ca 188:180:defd 56626:180:93e3 -524:80:41ca 672:680:ef2a "
		  "57134:680:b9a2 -524:80:41ca -524:80:0ec0 -524:80:21c9 -524:80:41ca -14:80:0ec0 "
		  "-14:80:21c9 -14:80:41ca -14:80:0ec0 -14:80:21c9 -14:80:41ca 108:100:8656 108:100:e147 "
		  "-524:80:41ca 56830:120:ec7f 56830:120:885a -524:80:41ca 100:108:e5f9 100:108:adec "
		  "-524:80:41ca 96:104:db67 96:104:8fed -524:80:41ca -22:80:0ec0 -22:80:21c9 -524:80:41ca "
		  "-22:80:0ec0 -22:80:21c9 -524:80:41ca 126:118:ee03 126:118:1034 -524:80:41ca -22:80:0ec0 "
		  "-22:80:21c9 -524:80:41ca -22:80:0ec0 -22:80:21c9 -524:80:41ca 80:88:cef6 56798:88:b676 "
		  "-524:80:41ca 80:88:cef6 56798:88:b676 -524:80:41ca -22:80:0ec0 -22:80:21c9 -524:80:41ca "
		  "64:72:82c9 56782:72:0521 -524:80:41ca -22:80:0ec0 -22:80:21c9 -22:80:41ca 88:80:0ec0 "
		  "56790:80:21c9 -524:80:41ca -114:100:8656 -114:100:e147 -524:80:41ca 0:120:ec7f 0:120:885a "
		  "-524:80:41ca " },
		{ "congestion_is_marked_with_its_checksum", congestion,
		  "0:80:a76e 1:80:59d9 1:80:0769 1:80:1ccf 0:80:1da7 1:80:6177 1:80:6177 1:80:6177 0:80:bf40 "
		  "0:80:1a8a 0:80:8222 0:80:dcfa " },
	};

	return scenario_main(argc, argv, cases, ARRAY_SIZE(cases));
}
