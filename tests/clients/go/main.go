// SPDX-License-Identifier: MIT

// A client on cilium/ebpf, which enters the kernel without libc: maps, batches, a program.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

func must(what string, err error) {
	if err != nil {
		fmt.Println(what, err)
		os.Exit(1)
	}
}

func maps() {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "squares", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 64})
	must("map", err)
	defer m.Close()
	for i := uint32(0); i < 50; i++ {
		must("put", m.Put(i, uint64(i)*uint64(i)))
	}
	var value, sum uint64
	must("lookup", m.Lookup(uint32(7), &value))
	fmt.Println("lookup", value)
	fmt.Println("again", errors.Is(m.Update(uint32(7), uint64(1), ebpf.UpdateNoExist), ebpf.ErrKeyExist))
	must("delete", m.Delete(uint32(7)))
	fmt.Println("gone", errors.Is(m.Lookup(uint32(7), &value), ebpf.ErrKeyNotExist))
	var key uint32
	n := 0
	for it := m.Iterate(); it.Next(&key, &value); n++ {
		sum += value
	}
	fmt.Println("iterate", n, sum)
	info, err := m.Info()
	must("info", err)
	fmt.Println("info", info.Name, info.Type, info.MaxEntries)
}

func batch() {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 64})
	must("map", err)
	defer m.Close()
	n, err := m.BatchUpdate([]uint32{1, 2, 3}, []uint32{10, 20, 30}, nil)
	must("batch update", err)
	keys, values := make([]uint32, 8), make([]uint32, 8)
	var next uint32
	got, err := m.BatchLookup(nil, &next, keys, values, nil)
	sum := uint32(0)
	for i := 0; i < got; i++ {
		sum += keys[i] * values[i]
	}
	fmt.Println("batch", n, got, sum, errors.Is(err, ebpf.ErrKeyNotExist))
	n, err = m.BatchDelete([]uint32{1, 2}, nil)
	must("batch delete", err)
	fmt.Println("batch delete", n)
}

func program() {
	_, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{asm.Return()}})
	var why *ebpf.VerifierError
	fmt.Println("refused", errors.As(err, &why) && len(why.Log) > 0)

	calls, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	must("array", err)
	defer calls.Close()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "answer", Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.LoadMapPtr(asm.R1, calls.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, 7).WithSymbol("out"),
			asm.Return(),
		}})
	must("program", err)
	defer p.Close()
	ret, _, err := p.Test(make([]byte, 14))
	must("test run", err)
	fmt.Println("test run", ret)
	var n uint64
	must("count", calls.Lookup(uint32(0), &n))
	info, err := p.Info()
	must("info", err)
	fmt.Println("called", n, info.Name, info.Type)
}

func main() {
	steps := map[string]func(){"maps": maps, "batch": batch, "program": program}
	steps[os.Args[1]]()
}
