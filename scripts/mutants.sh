#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Take the handlings out, one at a time, and demand that the test which watches it
# fails. A mutant is a diff against the patched tree, with a line that names its
# test ('test: PROGRAM NAME [CPUS]'). Those that need a window opened bring their
# delay along; its other half, NAME.control, has the delay and the handling, and
# must pass.
#   mutants.sh [NAME...]	all by default
. "$(dirname "$0")/lib.sh"

source=$tree
tree=$out/mutants/linux
export MEMFD_TRIPWIRE_TREE=$tree
only_one "$out/mutants/lock" 7
mkdir -p "$tree"
say "copying the tree and its objects"
rsync -a --delete --exclude='/obj-check' --exclude='/obj-off' --exclude='/obj-demo' \
	--exclude='/obj-debug' "$source/" "$tree/"

killed=0 survived=0
verdict() { # DIFF: what the test says with it
	patch -d "$tree" -p1 -F0 -s --no-backup-if-mismatch < "$1" ||
		die "$1 does not apply; make it anew"
	# shellcheck disable=SC2046 # words of the line
	set -- "$1" $(sed -n 's/^test: //p' "$1")
	quietly "$out/logs/mutant.log" "$(basename "$1")" "$top/scripts/build.sh" kernel test
	"$top/scripts/selftests.sh" one "${4:-2}" "$2" "$3" 2> "$out/logs/mutant.said" && said=0 || said=$?
	patch -d "$tree" -R -p1 -F0 -s --no-backup-if-mismatch < "$1"
	return $said
}

if [ $# = 0 ]; then
	set -- $(cd "$top/scripts/mutants" && ls ./*.diff | sed 's,^\./,,; s/\.diff$//')
fi
for name; do
	mutant=$top/scripts/mutants/$name
	[ -f "$mutant.diff" ] || die "there is no mutant $name"
	if [ -f "$mutant.control" ]; then
		verdict "$mutant.control" || die "the control of $name fails its test:" \
			"$(cat "$out/logs/mutant.said")"
	fi
	verdict "$mutant.diff" && rc=0 || rc=$?
	case $rc in
	1) killed=$((killed + 1)); echo "ok $name: its test fails" ;;
	*) survived=$((survived + 1)); echo "not ok $name: its test said $rc"
	   cat "$out/logs/mutant.said" ;;
	esac
done
echo "$killed passed, $survived failed"
[ $survived = 0 ]
