#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Run the selftests in guests:
#   selftests.sh test CPUS... [-- PROGRAM...]	all programs by default
#   selftests.sh one CPUS PROGRAM TEST		one test; 1 when it fails
#   selftests.sh soak ROUNDS			the random test, from a new seed
#   selftests.sh faults		see that each kind of failure fails a run
. "$(dirname "$0")/lib.sh"
. "$top/scripts/qemu.sh"

progress() {
	grep --line-buffered -E '^(ok|not ok|# not ok)|ACK|# SKIP|faults for' || :
}

selftests() { # CPUS... [-- PROGRAM...]
	shown() { progress; }
	cpus='' only='' memory=1536 seconds=900
	while [ $# -gt 0 ] && [ "$1" != -- ]; do cpus="$cpus $1"; shift; done
	[ $# = 0 ] || shift
	for program; do only="$only -t memfd_tripwire:$program"; done
	if [ "$flavour" = debug ]; then
		memory=4096 seconds=2400
		# Times and costs mean nothing on this kernel.
		only="$only -S memfd_tripwire:cost_test -S memfd_tripwire:scale_test"
	fi
	job="cd /selftests && sh ./run_kselftest.sh $only"
	if [ "$flavour" = debug ]; then
		# The console reports a leak; the second scan confirms it.
		job="$job; rc=\$?
			for i in 1 2; do echo scan > /sys/kernel/debug/kmemleak; sleep 6; done
			cat /sys/kernel/debug/kmemleak; exit \$rc"
	fi
	make_initrd "$flavour" "$job" "$(selftest_files)"
	: > "$run/tap"
	failed=0
	for n in $cpus; do
		say "selftests on $n CPU$([ "$n" = 1 ] || echo s), $flavour kernel"
		boot "$flavour-$n" "$n" $memory $seconds || failed=1
		cat "$verdict" >> "$run/tap"
	done
	tr -d '\r' < "$run/tap" | tally || failed=1
	return $failed
}

# Subtests are '# ok', programs 'ok'. A program that died counts as one failure.
tally() {
	awk '
	/^# ok .*# SKIP/ { skipped++; print "unexpected SKIP: " $0; next }
	/^# ok / { passed++ }
	/^# not ok / { failed++ }
	/^ok .*# SKIP/ { skipped++; print "unexpected SKIP: " $0 }
	/^not ok / { if (failed == before) failed++ }
	/^(not )?ok / { before = failed }
	END {
		printf "%d passed, %d failed\n", passed, failed + skipped
		exit !(passed && !failed && !skipped)
	}'
}

# 1: the test failed, as a test does; 2: anything else.
one() { # CPUS PROGRAM TEST
	make_initrd one "cd /selftests/memfd_tripwire && ./$2 -t $3" "$(selftest_files)"
	if boot one "$1" 1536 300; then
		grep -q '^# PASSED: [1-9]' "$verdict" || return 2
	else
		grep -q '^not ok' "$verdict" || return 2
		return 1
	fi
}

soak() { # ROUNDS
	shown() { progress; }
	seed=$(date +%s)
	say "the random test from seed $seed, $1 rounds, up to $1 minutes"
	make_initrd soak "cd /selftests/memfd_tripwire && ./model_test -s $seed -r $1 -n 3000" \
		"$(selftest_files)"
	boot soak 4 1536 $(($1 * 60 + 120)) && tail -n 2 "$verdict" || die "see $verdict"
}

# A planted failure that passed would make every other run worthless.
faults() {
	fault 'echo "<4>WARNING: planted" > /dev/kmsg' 'kernel complained'
	fault 'reboot -f' 'no verdict'
	fault 'exit 3' 'verdict is 3'
	fault 'sleep 100' 'in time' 8
	make_initrd fault 'exit 0'
	boot fault 1 512 60 || die "a run without a fault failed"
	say "a planted splat, a missing verdict, a failing job and a late guest each fail a run"
}

fault() { # JOB MESSAGE [SECONDS]
	make_initrd fault "$1"
	if boot fault 1 512 "${3:-60}" 2> "$run/fault.said"; then die "went unnoticed: $1"; fi
	grep -q "$2" "$run/fault.said" || {
		cat "$run/fault.said" >&2
		die "failed for another reason than it should: $1"
	}
}

only_one "$out/lock" 9
case ${1:-} in
test) shift; selftests "$@" ;;
one) shift; one "$@" ;;
soak) shift; soak "$@" ;;
faults) faults ;;
*) die "usage: selftests.sh test CPUS... [-- PROGRAM...] | one CPUS PROGRAM TEST | soak ROUNDS | faults" ;;
esac
