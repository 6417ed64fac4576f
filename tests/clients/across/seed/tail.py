# SPDX-License-Identifier: MIT
"""Tail calls: a program for each system call that is of interest, one for the rest."""
import ctypes as ct

from bcc import BPF

program = r"""
BPF_PROG_ARRAY(syscall, 512);
int hello(struct bpf_raw_tracepoint_args *ctx){
    int opcode = ctx->args[1];

    syscall.call(ctx, opcode);
    return 0;
}
int hello_exec(void *ctx){
    bpf_trace_printk("Executing a program");
    return 0;
}
int hello_directory(struct bpf_raw_tracepoint_args *ctx){
    int opcode = ctx->args[1];

    switch (opcode) {
    case 83: bpf_trace_printk("Creating a directory"); break;
    case 84: bpf_trace_printk("Removing a directory"); break;
    }
    return 0;
}
"""
b = BPF(text=program)
b.attach_raw_tracepoint(tp="sys_enter", fn_name="hello")
exec_fn = b.load_func("hello_exec", BPF.RAW_TRACEPOINT)
directory_fn = b.load_func("hello_directory", BPF.RAW_TRACEPOINT)
prog_array = b.get_table("syscall")
prog_array[ct.c_int(59)] = ct.c_int(exec_fn.fd)
prog_array[ct.c_int(83)] = ct.c_int(directory_fn.fd)
prog_array[ct.c_int(84)] = ct.c_int(directory_fn.fd)
b.trace_print()
