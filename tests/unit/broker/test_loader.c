/* SPDX-License-Identifier: MIT */
/*
 * A loader that asks other processes for what bpf(2) would have refused it: programs on events that have
 * another context than theirs. Each process checks that itself; none is harmed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bpf/sys_test.h"
#include "bpf/event/attach.h"
#include "bpf/session/session.h"
#include "bpf/session/share.h"
#include "broker/broker.h"
#include "file_offset.h"

#define LOAD(dst, off) INSN(BPF_LDX | BPF_MEM | BPF_DW, dst, 1, off, 0)

static char dir[SESSION_DIR_MAX], exe[512];
static u64 offset;
static pid_t server, target;
static int stop[2], ready[2];

__attribute__((noipa)) static int probed(int a)
{
	__asm__ volatile("" : "+r"(a));
	return a + 1;
}

static void be_target(void)
{
	char c = 'r';
	int i;

	close(stop[1]);
	sys_session_enter(dir);
	broker_join();
	if (write(ready[1], &c, 1) < 0)
		_exit(1);
	for (i = 0; i < 100000; i++) { /* until it is killed, or some minutes later */
		probed(i);
		getppid();
		usleep(200);
	}
	_exit(0);
}

static int setup(void **state)
{
	struct broker *b;
	char c;

	(void)state;
	offset = file_offset((const void *)probed);
	if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) <= 0 || sys_session_make(dir) || pipe(stop) || pipe(ready) ||
	    broker_new(dir, false, &b))
		return -1;
	server = fork();
	if (!server) {
		close(stop[1]);
		broker_run(b, stop[0]);
		broker_free(b);
		exit(0);
	}
	broker_free(b);
	target = fork();
	if (!target)
		be_target();
	if (read(ready[0], &c, 1) != 1)
		return -1;
	sys_session_enter(dir);
	broker_join();
	return 0;
}

static int teardown(void **state)
{
	int status;

	(void)state;
	kill(target, SIGKILL);
	waitpid(target, NULL, 0);
	broker_leave();
	close(stop[1]);
	waitpid(server, &status, 0);
	sys_session_remove(dir);
	return status;
}

/* On an event of the target's, not asking bpf(2): 0 or what the target says. Hit some times. */
static int ask(enum sys_attach_kind kind, int prog, const char *name, u64 off)
{
	struct prog *p = sys_fd_prog(prog);
	struct sys_attach what = { .p = p, .name = name, .offset = off, .pid = target, .cpu = -1, .period = 1 };
	struct text why = { 0 };
	void *event;
	int err;

	assert_non_null(p);
	err = sys_shared()->attach(kind, &what, &event, &why);
	if (!err) {
		usleep(20000);
		sys_shared()->detach(event);
	}
	text_free(&why);
	sys_prog_put(p);
	return err;
}

static void programs_run_only_where_their_context_is(void **state)
{
	const struct bpf_insn packet[] = { INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0),
					   INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 4, 0),
					   INSN(BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0),
					   INSN(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 8),
					   INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 1, 0),
					   INSN(BPF_ST | BPF_MEM | BPF_DW, 2, 0, 0, -1), MOV(0, 0), EXIT() };
	const struct bpf_insn far[] = { LOAD(0, 40), EXIT() };
	int xdp = load_insns(sys_bpf, BPF_PROG_TYPE_XDP, packet, ARRAY_SIZE(packet));
	int raw = load_insns(sys_bpf, BPF_PROG_TYPE_RAW_TRACEPOINT, far, ARRAY_SIZE(far));
	int point = make_prog(sys_bpf, BPF_PROG_TYPE_TRACEPOINT), probe = make_prog(sys_bpf, BPF_PROG_TYPE_KPROBE);

	(void)state;
	assert_true(xdp >= 0 && raw >= 0 && point >= 0 && probe >= 0);
	assert_int_equal(ask(SYS_ATTACH_UPROBE, probe, exe, offset), 0);
	assert_int_equal(ask(SYS_ATTACH_UPROBE, xdp, exe, offset), -EINVAL);
	assert_int_equal(ask(SYS_ATTACH_URETPROBE, xdp, exe, offset), -EINVAL);
	assert_int_equal(ask(SYS_ATTACH_UPROBE, raw, exe, offset), -EINVAL);
	assert_int_equal(ask(SYS_ATTACH_CLOCK, xdp, NULL, 0), -EINVAL);
	assert_int_equal(ask(SYS_ATTACH_CLOCK, probe, NULL, 0), -EINVAL);
	assert_int_equal(ask(SYS_ATTACH_TRACEPOINT, probe, "syscalls:sys_enter_getppid", 0), -EINVAL);
	assert_int_equal(ask(SYS_ATTACH_RAW_TRACEPOINT, point, "sys_enter", 0), -EINVAL);
	assert_int_equal(ask(SYS_ATTACH_KPROBE, raw, "__x64_sys_getppid", 0), -EINVAL);
	/* Arguments that the event has not: the kernel's answer as well (__bpf_probe_register()). */
	assert_int_equal(ask(SYS_ATTACH_RAW_TRACEPOINT, raw, "sched_process_fork", 0), -EINVAL);
	assert_int_equal(ask(SYS_ATTACH_RAW_TRACEPOINT, raw, "sys_enter", 0), -EINVAL);
	/* Events without the name that they need. */
	assert_int_equal(ask(SYS_ATTACH_TRACEPOINT, point, NULL, 0), -EINVAL);
	assert_int_equal(ask(SYS_ATTACH_UPROBE, probe, NULL, 0), -EINVAL);
	assert_int_equal(waitpid(target, NULL, WNOHANG), 0);
	close(xdp);
	close(raw);
	close(point);
	close(probe);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(programs_run_only_where_their_context_is, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
