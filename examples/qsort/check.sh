#!/bin/sh
# Runs the example with each comparator; sort(1) says what is right: check.sh SORT OBJECT. TAP.
# SPDX-License-Identifier: MIT
export LC_ALL=C
n=0
bad=0
check() { # COMPARATOR SORT_ARGS...
	n=$((n + 1))
	program=$1
	shift
	out=$("$bin" "$object" "$program") || out="failed"
	list=$(echo "$out" | grep -v '^found')
	if [ "$list" = "$(echo "$list" | sort -s "$@")" ] && [ "$(echo "$list" | wc -l)" = 8 ] &&
	   echo "$out" | grep -q '^found: Vienna'; then
		echo "ok $n - $program"
	else
		echo "not ok $n - $program"
		echo "$out" | sed 's/^/# /'
		bad=1
	fi
}
bin=$1
object=$2
check by_people -k2,2n
check by_name -k1,1
check by_altitude -k4,4n
echo "1..$n"
exit $bad
