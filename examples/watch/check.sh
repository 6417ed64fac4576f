#!/bin/sh
# A process is watched while it makes a known number of calls: check.sh FERRY WATCH OBJECT. TAP.
# SPDX-License-Identifier: MIT
set -u
ferry=$1 watch=$2 object=$3
calls=3000
bad=0
check() { # NAME PATTERN
	n=$((n + 1))
	if echo "$out" | grep -q -- "$2"; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		echo "$out" | sed 's/^/# /'
		bad=1
	fi
}
if ! python3 -c 'import zlib; raise SystemExit("libz" not in open("/proc/self/maps").read())'; then
	echo "1..0 # SKIP this python3 has no shared libz"
	exit 0
fi
# The target waits for a line, calls, and waits for the end.
target="import zlib, sys
sys.stdin.readline()
for i in range($calls): zlib.crc32(b'ferry')
sys.stdin.readline()"
session='
mkfifo "$dir/in" && { "$python" -c "$target" <"$dir/in" & }
pid=$!
exec 3>"$dir/in"
until grep -q libz /proc/$pid/maps; do sleep 0.05; done
"$watch" "$object" $pid libz crc32_z 2 >"$dir/out" 2>&1 &
w=$!
until grep -q "crc32_z in" "$dir/out"; do kill -0 $w 2>/dev/null || break; sleep 0.05; done
echo >&3
wait $w
cat "$dir/out"
echo >&3
wait $pid
echo "target: $?"'
dir=$(mktemp -d) && trap 'rm -r "$dir"' EXIT
python=$(command -v python3)
export dir python target watch object
n=0
out=$(timeout 50 "$ferry" exec --private -- sh -c "$session" 2>&1)
check every_call_of_a_running_process_is_timed "^$calls calls"
check the_process_goes_on "^target: 0"
out=$("$ferry" exec --private -- "$watch" "$object" $$ libnothing f 1 2>&1)
check a_library_that_is_not_there_is_named "has no file 'libnothing'"
echo "1..$n"
exit $bad
