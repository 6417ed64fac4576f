#!/bin/sh
# Runs the examples: demo.sh BUILD shows them, demo.sh BUILD --check tests that they say what they should (TAP).
# SPDX-License-Identifier: MIT
set -u
build=$1
here=$build/examples
ferry=$build/src/cli/ferry

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
shown() { printf '   $ %s\n\n' "$*"; }

# An Ethernet frame: IPv4, TCP, port 23 (telnet).
packet() {
	printf '\377\377\377\377\377\377\000\000\000\000\000\001\010\000'
	printf '\105\000\000\050\000\000\000\000\100\006\000\000\177\000\000\001\177\000\000\001'
	printf '\000\000\000\027\000\000\000\000\000\000\000\000\120\002\000\000\000\000\000\000'
}

demo() {
	[ -t 1 ] || { title() { printf '\n== %s\n' "$*"; }; }
	title "A program that calls native functions of a shared library"
	shown "ferry run --module tour_module.so tour.bpf.o"
	"$ferry" run --module "$here/tour_module.so" "$here/tour.bpf.o" || exit 1
	title "The same function, not registered: refused at load"
	shown "ferry run tour.bpf.o"
	"$ferry" run "$here/tour.bpf.o" && exit 1
	title "An application with a program inside"
	shown "./embed embed.bpf.o"
	"$here/embed" "$here/embed.bpf.o" || exit 1
	title "A packet filter, a million times on one packet (2 is XDP_PASS, 1 is XDP_DROP)"
	shown "ferry run --data telnet.bin --repeat 1m packets.bpf.o"
	packet | "$ferry" run --data - --repeat 1m "$here/packets.bpf.o" || exit 1
	title "Its first instructions and the machine code made of them"
	shown "ferry disasm --jit packets.bpf.o"
	"$ferry" disasm --jit "$here/packets.bpf.o" | head -n 24
	title "A running process: how long a function of a library takes, by a tool that knows only libbpf"
	shown "ferry exec -- ./watch watch.bpf.o PID libz deflate 1"
	"$ferry" exec --private -- sh -c "$watched" watch "$here/watch" || exit 1
	echo
}

# In one session: a process that packs data, and the tool that looks at it.
watched='
python3 -c "import zlib, os
data = os.urandom(2000) * 20
while os.getppid() > 1: zlib.compress(data)" &
target=$!
until grep -q libz /proc/$target/maps || ! kill -0 $target; do sleep 0.1; done
"$1/watch" "$1/watch.bpf.o" $target libz deflate 1
code=$?
kill $target
exit $code'

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
	echo "1..$n"
}

if [ "${2:-}" = --check ]; then checks; else demo; fi
