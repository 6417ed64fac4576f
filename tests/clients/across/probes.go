// SPDX-License-Identifier: MIT

// A client on cilium/ebpf that counts what another process does: probes FILE SYMBOL PID. It says "attached", then, for
// each line of stdin, the counts of a uprobe, a uretprobe, a tracepoint and a raw tracepoint.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

func must(what string, err error) {
	if err != nil {
		fmt.Println(what, err)
		os.Exit(1)
	}
}

// A program that counts in element `key` of the array when the process is `pid`.
func counter(t ebpf.ProgramType, counts *ebpf.Map, key, pid int) *ebpf.Program {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: t, License: "GPL", Instructions: asm.Instructions{
		asm.FnGetCurrentPidTgid.Call(),
		asm.RSh.Imm(asm.R0, 32),
		asm.JNE.Imm(asm.R0, int32(pid), "out"),
		asm.StoreImm(asm.RFP, -4, int64(key), asm.Word),
		asm.LoadMapPtr(asm.R1, counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	}})
	must("program", err)
	return p
}

func main() {
	file, symbol := os.Args[1], os.Args[2]
	pid, err := strconv.Atoi(os.Args[3])
	must("pid", err)
	counts, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 4})
	must("map", err)
	ex, err := link.OpenExecutable(file)
	must("executable", err)
	entry, err := ex.Uprobe(symbol, counter(ebpf.Kprobe, counts, 0, pid), &link.UprobeOptions{PID: pid})
	must("uprobe", err)
	back, err := ex.Uretprobe(symbol, counter(ebpf.Kprobe, counts, 1, pid), nil)
	must("uretprobe", err)
	point, err := link.Tracepoint("syscalls", "sys_enter_getppid", counter(ebpf.TracePoint, counts, 2, pid), nil)
	must("tracepoint", err)
	raw, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_exit",
		Program: counter(ebpf.RawTracepoint, counts, 3, pid)})
	must("raw tracepoint", err)
	fmt.Println("attached")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "detach" {
			must("detach", entry.Close())
		}
		n := make([]uint64, 4)
		for i := range n {
			must("lookup", counts.Lookup(uint32(i), &n[i]))
		}
		fmt.Println(n[0], n[1], n[2], n[3])
	}
	back.Close()
	point.Close()
	raw.Close()
}
