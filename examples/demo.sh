#!/bin/sh
# Runs the examples: demo.sh BUILD shows them, demo.sh BUILD --check [short] tests that they say what they should (TAP).
# SPDX-License-Identifier: MIT
set -u
build=$1
here=$build/examples
source=$(dirname "$0")
ferry=$build/src/cli/ferry

bold= dim= plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$(printf '\033[1m') dim=$(printf '\033[2m') plain=$(printf '\033[0m')
fi

step=0
title() { # WHAT WHY: a heading, and what to look at
	step=$((step + 1))
	printf '\n%s%d. %s%s\n   %s\n\n' "$bold" $step "$1" "$plain" "$2"
}
shown() { printf '   %s$ %s%s\n\n' "$bold" "$*" "$plain"; }
source_of() { # FILE PATTERN: lines of an example
	grep -E -- "$2" "$source/$1" | sed "s|^[[:space:]]*|   $dim$1:$plain  |"
}

# An Ethernet frame: IPv4, TCP, port 23 (telnet).
packet() {
	printf '\377\377\377\377\377\377\000\000\000\000\000\001\010\000'
	printf '\105\000\000\050\000\000\000\000\100\006\000\000\177\000\000\001\177\000\000\001'
	printf '\000\000\000\027\000\000\000\000\000\000\000\000\120\002\000\000\000\000\000\000'
}

demo() {
	echo "${bold}Ferry${plain}: eBPF programs in ordinary processes, verified and compiled, calling C and called from C."
	echo "No privilege, no kernel eBPF. The examples are in examples/, the command is $ferry."

	title "A program calls C" "The host describes a function once; the program declares it and calls it, as it would one of the kernel."
	source_of tour_module.c 'FERRY_FUNC\("long norm1'
	source_of tour.bpf.c 'extern long norm1|distance = norm1'
	echo
	shown "ferry run --module tour_module.so tour.bpf.o"
	"$ferry" run --module "$here/tour_module.so" "$here/tour.bpf.o" || exit 1

	title "What was not offered cannot be called" "The same program without the module."
	shown "ferry run tour.bpf.o"
	"$ferry" run "$here/tour.bpf.o" 2>&1 && exit 1

	title "What is not safe does not run" "zlib, opened from its header; the verifier shows where this program goes wrong, and how to mend it."
	shown "ferry verify --module zlib.ferry.so --prog unbounded refused.bpf.o"
	"$ferry" verify --module "$here/zlib/zlib.ferry.so" --prog unbounded "$here/zlib/refused.bpf.o" 2>&1 && exit 1

	title "C calls a program" "It becomes a C function pointer; here it is the comparator of qsort(3)."
	source_of qsort/sort.bpf.c 'int by_people|a->people < '
	source_of qsort/sort.c 'ferry_closure_code|^[[:space:]]qsort\('
	echo
	shown "./sort sort.bpf.o by_people"
	"$here/qsort/sort" "$here/qsort/sort.bpf.o" by_people || exit 1

	title "An application with a program inside" "Plain libbpf opens it, reads its map and its ring buffer (examples/embed.c, 100 lines)."
	shown "./embed embed.bpf.o"
	"$here/embed" "$here/embed.bpf.o" || exit 1

	title "Compiled to machine code" "A packet filter, a million times on one packet (1 is XDP_DROP), and what its first lines became."
	shown "ferry run --data telnet.bin --repeat 1m packets.bpf.o; ferry disasm --jit packets.bpf.o"
	packet | "$ferry" run --data - --repeat 1m "$here/packets.bpf.o" || exit 1
	"$ferry" disasm --jit "$here/packets.bpf.o" | head -n 18

	title "Running processes can be watched" "How long a function of a library takes, by a tool that knows only libbpf."
	shown "ferry exec -- ./watch watch.bpf.o PID libz deflate 1"
	"$ferry" exec --private -- python3 -c "$watched" "$here/watch" || exit 1

	printf '\n%sNext%s: README.md; examples/README.md (SQLite, a web server); ./dev bench against rivals; ferry --help\n' "$bold" "$plain"
}

# In one session: a process that packs data, and the tool that looks at it.
watched='
import os, subprocess, sys, zlib
data = os.urandom(2000) * 20
zlib.compress(data)
tool = subprocess.Popen([sys.argv[1] + "/watch", sys.argv[1] + "/watch.bpf.o", str(os.getpid()), "libz", "deflate", "1"])
while tool.poll() is None:
    zlib.compress(data)
sys.exit(tool.returncode)'

n=0
check() { # NAME EXPECTED-EXIT PATTERN COMMAND...
	n=$((n + 1))
	name=$1 code=$2 pattern=$3
	shift 3
	out=$("$@" 2>&1)
	got=$?
	if [ $got = "$code" ] && printf '%s\n' "$out" | grep -q -- "$pattern"; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		printf '%s\n' "exit code $got, expected $code; wanted '$pattern' in:" "$out" | sed 's/^/# /'
	fi
}

packet_run() { packet | "$ferry" run --data - "$@"; }

checks() {
	run="$ferry run --module $here/tour_module.so"
	# 0+1+2+...: the k-th step lies 3 * k * (k + 1) / 2 away, for k = 0..5 that is 0 3 9 18 30 45.
	check native_functions_of_a_library_are_called 0 'returned 105' $run "$here/tour.bpf.o"
	check hash_map_has_typed_keys 0 'SHAPE_FAR' $run "$here/tour.bpf.o"
	check ring_buffer_records_are_typed 0 'distance' $run "$here/tour.bpf.o"
	check trace_printk_is_shown 0 'walked 6 steps, 105 in all' $run "$here/tour.bpf.o"
	check json_is_json 0 '"return":105' $run --json "$here/tour.bpf.o"
	check unregistered_function_is_named 1 'norm1' "$ferry" run "$here/tour.bpf.o"
	check embedded_program_judges 0 '^3 palindromes' "$here/embed" "$here/embed.bpf.o"
	check embedded_ring_buffer 0 'palindrome: kayak' "$here/embed" "$here/embed.bpf.o"
	check packet_is_dropped 0 'filter returned 1$' packet_run "$here/packets.bpf.o"
	check default_packet_passes 0 'filter returned 2$' "$ferry" run "$here/packets.bpf.o"
	check verify_accepts 0 'accepted  filter' "$ferry" verify "$here/packets.bpf.o"
	check disasm_shows_machine_code 0 'mov' "$ferry" disasm --jit "$here/packets.bpf.o"
	check missing_file_is_named 3 'nowhere.o: No such file' "$ferry" run nowhere.o
	check text_is_not_elf 3 'not an ELF file' "$ferry" run "$0"
	check wrong_machine_is_told 3 'another machine' "$ferry" run "$ferry"
	check unknown_verb_is_corrected 2 "did you mean 'run'" "$ferry" rum
	check help_exits_0 0 'Usage: ferry run' "$ferry" run --help
	[ "$1" = short ] || check the_whole_demo_runs 0 'found: Vienna' sh "$0" "$build"
	echo "1..$n"
}

if [ "${2:-}" = --check ]; then checks "${3:-}"; else demo; fi
