#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Run the benchmark program in a guest, for bench.sh:
#   bench-guest.sh run CPUS|icount ARGS...
#	run it on CPUS CPUs, or on one CPU whose clock counts instructions
#   bench-guest.sh profile COMMAND...
#	run COMMAND with the log of all instructions of the paths as an argument
. "$(dirname "$0")/lib.sh"
. "$top/scripts/qemu.sh"

flavour=${FLAVOUR:-demo}
options='panic=-1 tsc=reliable'		# without it Linux may choose a slow clock
program="file /bench $out/bench/bench 0755 0 0"

shown() { sed -un 's/^# \(.* took\)/bench: \1/p'; }

measure() { # CPUS|icount ARGS...
	label=bench-$1 cpus=$1 memory=3000; shift
	if [ "$cpus" = icount ]; then machine=icount cpus=1 memory=1024; fi
	[ "$(spare_memory)" -ge $memory ] || memory=1024
	make_initrd bench "/bench $*" "$program"
	boot "$label" "$cpus" $memory 1800
}

# The monitor makes QEMU log each instruction to a pipe once the guest is ready.
profile() { # COMMAND..., to which the log is added as the last argument
	verdict=$run/profile.out machine=icount
	make_initrd profile "/bench -i profile" "$program"
	rm -f "$run"/profile.monitor.* "$run/profile.log"
	mkfifo "$run/profile.monitor.in" "$run/profile.monitor.out" "$run/profile.log"
	: > "$verdict"
	# shellcheck disable=SC2046 # several options
	start 1800 $(cpu_options) -smp 1 -m 1024 -initrd "$initrd" \
		-append "console=ttyS0 $options nokaslr" \
		-serial "file:$run/profile.console" -serial "file:$verdict" \
		-chardev "pipe,id=monitor,path=$run/profile.monitor" -mon chardev=monitor \
		> "$run/profile.qemu" 2>&1 < /dev/null & guest=$!
	cat "$run/profile.monitor.out" > /dev/null & said=$!
	trap 'kill $guest $said 2> /dev/null' EXIT
	waited=0
	until grep -q '^# profile: ready' "$verdict"; do
		waited=$((waited + 1))
		kill -0 $guest 2> /dev/null && [ $waited -lt 300 ] ||
			die "the guest has ended or is not ready; see $run/profile.console"
		sleep 1
	done
	# Newer versions of QEMU know one-insn-per-tb, older ones singlestep.
	printf '%s\n' 'one-insn-per-tb on' 'singlestep on' "logfile $run/profile.log" \
		'log nochain,exec' > "$run/profile.monitor.in"
	"$@" "$run/profile.log" || die "there is no profile; see $run/profile.qemu"
	kill $guest $said 2> /dev/null || :
	trap - EXIT
}

only_one "$out/lock" 9
case ${1:-} in
run) shift; measure "$@" ;;
profile) shift; profile "$@" ;;
*) die "usage: bench-guest.sh run CPUS|icount ARGS... | profile COMMAND..." ;;
esac
