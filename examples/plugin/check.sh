#!/bin/sh
# Runs the example and compares what it says: check.sh HOST OBJECT. TAP.
# SPDX-License-Identifier: MIT
got=$("$1" "$2" 2>&1)
want="40 tables put in place, wrong or lost calls: 0
served by builtin, strict and lax: yes"
echo "1..1"
if [ "$got" = "$want" ]; then
	echo "ok 1 - tables are exchanged under load without a wrong or lost call"
else
	echo "not ok 1 - tables are exchanged under load without a wrong or lost call"
	echo "$got" | sed 's/^/# /'
	exit 1
fi
