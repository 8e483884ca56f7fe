#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Take the safeguards out, one at a time; the test of each must fail without it.
#   mutants.sh [NAME | AREA | AREA/NAME]...	all by default
# scripts/mutants/AREA/NAME.diff takes a safeguard out of the patched tree. Its
# line 'test: PROGRAM NAME [CPUS]' names the test. windows/NAME.diff is the
# delay that opens the window of a race: with it alone the test must pass, and
# with NAME.diff on top of it the test must fail.
. "$(dirname "$0")/lib.sh"

mutants=$top/scripts/mutants
patched=$tree
tree=$out/mutants/linux
export MEMFD_TRIPWIRE_TREE="$tree"

all() {
	(cd "$mutants" && ls ./*/*.diff) | sed 's,^\./,,; s/\.diff$//; /^windows\//d'
}

named() { # NAME, AREA or AREA/NAME
	all | awk -F / -v name="$1" '$0 == name || $1 == name || $2 == name'
}

put() { # DIFF
	patch -d "$tree" -p1 -F0 -s --no-backup-if-mismatch < "$1" && applied="$1 $applied"
}

take_out() {
	for diff in $applied; do
		patch -d "$tree" -R -p1 -F0 -s --no-backup-if-mismatch < "$diff" || return 1
	done
	applied=
}

# 0 or 1: the test passes or fails; anything else: there is no answer.
run_test() { # WHAT PROGRAM TEST [CPUS]
	(quietly "$out/logs/mutant.log" "building $1" "$top/scripts/build.sh" kernel test) || return 3
	"$top/scripts/selftests.sh" one "${4:-2}" "$2" "$3" 2> "$out/logs/mutant.said" || return $?
}

verdict() { # AREA/NAME: a line that says why it is not ok, and 1
	window=$mutants/windows/${1##*/}.diff
	# shellcheck disable=SC2046 # words of the line
	set -- "$1" $(sed -n 's/^test: //p' "$mutants/$1.diff")
	[ $# -ge 3 ] || { echo "it names no test"; return 1; }
	if [ -f "$window" ]; then
		put "$window" || { echo "its window does not apply"; return 1; }
		rc=0; run_test "window ${1##*/}" "$2" "$3" "${4:-2}" || rc=$?
		[ $rc = 0 ] || { reason $rc "with the window alone"; return 1; }
	fi
	put "$mutants/$1.diff" || { echo "it does not apply"; return 1; }
	rc=0; run_test "$1" "$2" "$3" "${4:-2}" || rc=$?
	[ $rc = 1 ] || { reason $rc "without the safeguard"; return 1; }
}

reason() { # RC WHEN
	case $1 in
	0) echo "its test passes $2" ;;
	1) echo "its test fails $2" ;;
	3) echo "the kernel does not build $2; see $out/logs/mutant.log"; return ;;
	*) echo "its test gives no answer $2" ;;
	esac
	[ ! -s "$out/logs/mutant.said" ] || sed 's/^/# /' "$out/logs/mutant.said"
}

chosen=$(all)
[ $# = 0 ] || chosen=$(for name; do
	found=$(named "$name")
	[ -n "$found" ] || die "there is no mutant or area $name"
	echo "$found"
done)
only_one "$out/mutants/lock" 7
mkdir -p "$tree"
say "copying the tree and its objects"
rsync -a --delete --exclude='/obj-check' --exclude='/obj-off' --exclude='/obj-demo' \
	--exclude='/obj-debug' "$patched/" "$tree/"
killed=0 survived=0
for name in $chosen; do
	applied=
	if verdict "$name" > "$out/logs/mutant.why"; then
		killed=$((killed + 1)); echo "ok $name: its test fails"
	else
		survived=$((survived + 1)); echo "not ok $name: $(cat "$out/logs/mutant.why")"
	fi
	take_out || die "cannot undo $applied in $tree"
done
echo "$killed passed, $survived failed"
[ $survived = 0 ]
