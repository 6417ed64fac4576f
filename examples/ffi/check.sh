#!/bin/sh
# Runs the examples and compares what they say: check.sh ADD BIND. TAP.
# SPDX-License-Identifier: MIT
n=0
bad=0
says() { # PROGRAM TEXT
	n=$((n + 1))
	got=$("$1" 2>&1)
	if [ "$got" = "$2" ]; then
		echo "ok $n - $(basename "$1")"
	else
		echo "not ok $n - $(basename "$1"): $got"
		bad=1
	fi
}
says "$1" "result: 5"
says "$2" "libffi return func1 value: 3
libffi return func value: str-5"
echo "1..$n"
exit $bad
