# SPDX-License-Identifier: MIT
"""A program on the software clock, counted for each process."""
import os
import time

from bcc import BPF, PerfSWConfig, PerfType

PROGRAM = r"""
#include <uapi/linux/bpf_perf_event.h>
BPF_HASH(counts, u32, u64);
int tick(struct bpf_perf_event_data *ctx) {
    counts.increment(bpf_get_current_pid_tgid() >> 32);
    return 0;
}
"""
b = BPF(text=PROGRAM)
b.attach_perf_event(ev_type=PerfType.SOFTWARE, ev_config=PerfSWConfig.CPU_CLOCK, fn_name="tick", sample_freq=99,
                    pid=os.getpid())
end = time.monotonic() + 0.5
while time.monotonic() < end and len(b["counts"]) == 0:
    pass
hits = {k.value: v.value for k, v in b["counts"].items()}
print("ticks", list(hits) == [os.getpid()] and hits[os.getpid()] > 0)
