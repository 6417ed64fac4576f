// SPDX-License-Identifier: MIT

// A client on cilium/ebpf, which enters the kernel without libc: maps, batches, a program.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"
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

// An XDP program that hands the first eight bytes of a packet to a helper: r2 is their address.
func sender(call asm.Instructions) *ebpf.Program {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: append(asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, 8),
		asm.JGT.Reg(asm.R4, asm.R3, "out"),
		asm.LoadMem(asm.R2, asm.R2, 0, asm.DWord),
		asm.StoreMem(asm.RFP, -8, asm.R2, asm.DWord),
	}, append(call,
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return())...)})
	must("program", err)
	return p
}

func send(p *ebpf.Program, number uint64) {
	packet := make([]byte, 64)
	binary.LittleEndian.PutUint64(packet, number)
	_, _, err := p.Test(packet)
	must("test run", err)
}

// 1, 2, 3 at once, then one after a while, when the reader sleeps.
func sends(p *ebpf.Program) {
	for i := uint64(1); i <= 3; i++ {
		send(p, i)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		send(p, 40)
	}()
}

func ring() {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 4096})
	must("map", err)
	p := sender(asm.Instructions{
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.Mov.Imm(asm.R3, 8),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRingbufOutput.Call(),
	})
	r, err := ringbuf.NewReader(m)
	must("reader", err)
	for round := 0; round < 100; round++ { // more than fit at once
		send(p, 1)
		_, err = r.Read()
		must("read", err)
	}
	sends(p)
	sum := uint64(0)
	for i := 0; i < 4; i++ {
		rec, err := r.Read()
		must("read", err)
		sum += binary.LittleEndian.Uint64(rec.RawSample)
	}
	fmt.Println("records", sum)
	go func() {
		time.Sleep(100 * time.Millisecond)
		r.Close()
	}()
	_, err = r.Read()
	fmt.Println("closed", errors.Is(err, ringbuf.ErrClosed))
}

func perfbuf() {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerfEventArray})
	must("map", err)
	p := sender(asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, m.FD()),
		asm.LoadImm(asm.R3, 0xffffffff, asm.DWord),
		asm.Mov.Reg(asm.R4, asm.RFP),
		asm.Add.Imm(asm.R4, -8),
		asm.Mov.Imm(asm.R5, 8),
		asm.FnPerfEventOutput.Call(),
	})
	r, err := perf.NewReader(m, 4096)
	must("reader", err)
	sends(p)
	sum := uint64(0)
	for i := 0; i < 4; i++ {
		rec, err := r.Read()
		must("read", err)
		sum += binary.LittleEndian.Uint64(rec.RawSample)
	}
	fmt.Println("samples", sum)
	must("pause", r.Pause())
	send(p, 5)
	must("resume", r.Resume())
	must("close", r.Close())
}

func pins() {
	path := filepath.Join("/sys/fs/bpf", fmt.Sprintf("ferry_go_%d", os.Getpid()))
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	must("map", err)
	must("put", m.Put(uint32(0), uint64(99)))
	must("pin", m.Pin(path))
	must("pin elsewhere", m.Pin(path+"_moved"))
	must("close", m.Close())
	again, err := ebpf.LoadPinnedMap(path+"_moved", nil)
	must("load pinned", err)
	var v uint64
	must("lookup", again.Lookup(uint32(0), &v))
	fmt.Println("pinned", v, again.Type())
	must("unpin", again.Unpin())
	_, err = ebpf.LoadPinnedMap(path+"_moved", nil)
	fmt.Println("unpinned", errors.Is(err, os.ErrNotExist))
	id, err := ebpf.MapGetNextID(0)
	must("next id", err)
	byID, err := ebpf.NewMapFromID(id)
	must("by id", err)
	byID.Close()
	fmt.Println("by id", id != 0)
}

func links() {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.RawTracepoint, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	must("program", err)
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sched_process_exec", Program: p})
	must("attach", err)
	info, err := l.Info()
	must("info", err)
	fmt.Println("link", info.Type, info.Program != 0)
	must("close", l.Close())
}

func main() {
	steps := map[string]func(){"maps": maps, "batch": batch, "program": program, "ring": ring, "perf": perfbuf, "pins": pins,
		"links": links}
	steps[os.Args[1]]()
}
