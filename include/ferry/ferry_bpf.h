/* SPDX-License-Identifier: MIT */
/* For BPF programs (clang -target bpf): what Ferry's tools understand beyond libbpf's headers. */
#ifndef FERRY_BPF_H
#define FERRY_BPF_H

/*
 * Says that the records of the ring buffer `map` are of struct `type`, so that `ferry run` prints them by
 * their fields:  FERRY_RECORDS(events, event);  A pointer nobody uses: it keeps the type in the BTF.
 */
#define FERRY_RECORDS(map, type) const struct type *ferry_records_##map

#endif
