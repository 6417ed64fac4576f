/* SPDX-License-Identifier: MIT */
/* Comparators for qsort() and bsearch(), as programs. Built like any BPF object; read by sort.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/*
 * The host's struct may be larger, and its members elsewhere: what is read here is found by name
 * (CO-RE) when the host has a module whose types declare it.
 */
struct city {
	char name[24];
	unsigned int people;
	int altitude;
} __attribute__((preserve_access_index));

SEC("closure") int by_people(const struct city *a, const struct city *b)
{
	return a->people < b->people ? -1 : a->people > b->people;
}

SEC("closure") int by_altitude(const struct city *a, const struct city *b)
{
	return a->altitude < b->altitude ? -1 : a->altitude > b->altitude;
}

SEC("closure") int by_name(const struct city *a, const struct city *b)
{
	for (int i = 0; i < (int)sizeof(a->name); i++) {
		if (a->name[i] != b->name[i])
			return (unsigned char)a->name[i] < (unsigned char)b->name[i] ? -1 : 1;
		if (!a->name[i])
			break;
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
