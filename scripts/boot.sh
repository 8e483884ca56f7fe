#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Boot a kernel with a job in QEMU, and judge what it did.
#   boot.sh demo [FILE]		stream FILE through tripwire memory
#   boot.sh test CPUS... [-- T...]	run the selftests (of those names) on so many CPUs each
#   boot.sh one CPUS PROGRAM T	run the test T of PROGRAM; 1 when it fails
#   boot.sh soak ROUNDS		the random test, so many rounds from a new seed
#   boot.sh bench CPUS|icount ARGS	the benchmark; icount: the clock counts instructions
#   boot.sh profile COMMAND...	its paths again and again; each instruction goes to COMMAND
#   boot.sh faults		prove that a splat and a missing verdict fail a run
#   boot.sh shell		an interactive guest
. "$(dirname "$0")/lib.sh"

tree=${MEMFD_TRIPWIRE_TREE:-$tree}
flavour=${FLAVOUR:-test}
options='ignore_loglevel panic=-1 hung_task_panic=1 numa=fake=2 brd.rd_size=65536
	kho=on kho_scratch=16M,16M,16M liveupdate=on'
complaints='WARNING:|BUG:|INFO: possible|INFO: task|INFO: rcu|KASAN:|UBSAN:|Bad page|Oops|kmemleak: [0-9]+ new|Kernel panic'

# In the place of the shell that it is called in: what is killed later is QEMU itself.
qemu() { # OPTIONS...
	exec qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
		-kernel "$tree/obj-$flavour/arch/x86/boot/bzImage" "$@"
}

# The initramfs: busybox, our init, the job, and what else the caller lists.
make_initrd() { # NAME JOB [LINE OF gen_init_cpio]...
	initrd=$run/$1.initrd
	printf '%s\n' "$2" > "$run/$1.job"
	{
		printf 'dir /%s 0755 0 0\n' bin dev proc sys tmp
		echo 'nod /dev/console 0600 0 0 c 5 1'
		echo "file /bin/busybox $(static_busybox) 0755 0 0"
		echo 'slink /bin/sh busybox 0755 0 0'
		echo "file /init $top/scripts/guest-init.sh 0755 0 0"
		echo "file /job $run/$1.job 0644 0 0"
		shift 2
		[ $# = 0 ] || printf '%s\n' "$@"
	} > "$initrd.list"
	"$tree/obj-$flavour/usr/gen_init_cpio" "$initrd.list" > "$initrd"
}

# Is there a KVM on which our own init answers? Asked once per boot of this machine.
accelerator() {
	asked=$cache/accelerator-$(cat /proc/sys/kernel/random/boot_id)
	if [ ! -f "$asked" ]; then
		mkdir -p "$cache"
		rm -f "$cache"/accelerator-*
		answer=tcg
		if [ -w /dev/kvm ]; then
			# A subshell: it has an initrd of its own.
			(make_initrd hello :
			 : > "$run/hello.out"
			 timeout --foreground 10 qemu-system-x86_64 -accel kvm -cpu host -m 256 \
				-nodefaults -no-user-config -display none -no-reboot \
				-kernel "$tree/obj-$flavour/arch/x86/boot/bzImage" \
				-initrd "$initrd" -append 'console=ttyS0 panic=-1 tripwire=hello' \
				-serial null -serial "file:$run/hello.out") > /dev/null 2>&1 || :
			! grep -q '^guest: hello' "$run/hello.out" || answer=kvm
		fi
		echo $answer > "$asked"
	fi
	cat "$asked"
}

# Boot $initrd, show what the guest says on the verdict channel, and judge it.
boot() { # NAME CPUS MEMORY_MB SECONDS
	name=$1 verdict=$run/$1.out console=$run/$1.console
	case ${counting:-$(accelerator)} in
	icount) accel='-accel tcg,thread=single -icount shift=0,sleep=off -cpu max' ;;
	kvm) accel='-accel kvm -cpu host' ;;
	*) accel='-accel tcg,thread=multi -cpu max' ;;
	esac
	: > "$verdict"
	# shellcheck disable=SC2086 # two options in a word each
	qemu $accel -smp "$2" -m "$3" -initrd "$initrd" \
		-append "console=ttyS0 $(echo $options)" \
		-serial "file:$console" -serial "file:$verdict" \
		> "$run/$1.qemu" 2>&1 < /dev/null & guest=$!
	rm -f "$run/$1.late"
	(sleep "$4" & trap "kill $!; exit" TERM; wait $!
	 echo late > "$run/$1.late"; kill $guest) > /dev/null 2>&1 9>&- & watchdog=$!
	trap 'kill $guest $watchdog 2> /dev/null' EXIT
	tail -q -n +1 -f --pid=$guest "$verdict" | sed -u 's/\r//' | shown "$1"
	wait $guest && rc=0 || rc=$?
	kill $watchdog 2> /dev/null || :
	trap - EXIT
	judge $rc
}
trap 'exit 130' INT TERM HUP

shown() {
	case $1 in
	demo*) grep --line-buffered '^demo:' || : ;;
	fault*|one*) cat > /dev/null ;;
	bench*) sed -un 's/^# \(.* took\)/bench: \1/p' ;;
	*) grep --line-buffered -E '^(ok|not ok|# not ok)|ACK|# SKIP|faults for' || : ;;
	esac
}

judge() { # RC OF QEMU
	if [ -f "$run/$name.late" ]; then
		say "$name: the guest did not finish in time; see $console"; return 1
	elif [ "$1" != 0 ]; then
		say "$name: QEMU failed ($1): $(cat "$run/$name.qemu")"; return 1
	fi
	if grep -qE "$complaints" "$console"; then
		say "$name: the guest's kernel complained:"
		grep -E -A12 "$complaints" "$console" | head -40 >&2
		say "the whole log is in $console"; return 1
	fi
	said=$(tr -d '\r' < "$verdict" | sed -n 's/^guest: verdict //p')
	case $said in
	0) return 0 ;;
	'') say "$name: the guest gave no verdict:"
	    tail -20 "$console" >&2
	    say "the whole log is in $console"; return 1 ;;
	*) say "$name: the guest's verdict is $said; see $verdict"; return 1 ;;
	esac
}

demo() { # [FILE]
	flavour=demo
	file=${1:-}
	[ -n "$file" ] || file=$(default_file)
	[ -f "$file" ] && [ -r "$file" ] || die "FILE=$file cannot be read"
	size=$(stat -L -c %s "$file")
	# The guest holds it three times: the initrd, unpacked, and the copy; and
	# QEMU wants the initrd below 2 GiB.
	spare=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
	most=$(((spare - 512) / 3))
	[ $most -lt 1900 ] || most=1900
	megabytes=$((size / 1048576))
	[ $megabytes -le $most ] ||
		die "FILE=$file has $megabytes MB; the guest takes $most MB at most here"
	say "streaming $file ($size bytes) through tripwire memory"
	ln -sfn "$(realpath "$file")" "$run/demo.file"
	make_initrd demo '
		/tripwire_demo /file /tmp/copy || exit
		sha256sum /file /tmp/copy | sed "s/^/sum: /"
		cmp /file /tmp/copy' \
		"file /tripwire_demo $out/selftests-demo/memfd_tripwire/tripwire_demo 0755 0 0" \
		"file /file $run/demo.file 0644 0 0"
	boot demo "${CPUS:-2}" $((megabytes * 3 + 384)) 900 || die "the demo failed"
	rm -f "$initrd"
	sums=$( { sha256sum < "$file"; sed -n 's/^sum: //p' "$run/demo.out"; } |
		cut -c 1-64 | uniq -c | awk '{ print $1, $2 }')
	case $sums in
	"3 "*) echo "demo: SHA-256 ${sums#3 } at both ends: the file crossed unchanged" ;;
	*) die "the copy differs from $file; see $run/demo.out" ;;
	esac
}

default_file() {
	if [ -n "${KERNEL:-}" ]; then
		echo "$tree/obj-demo/vmlinux"
	else
		"$top/scripts/tree.sh" tarball
	fi
}

# The installed selftests as lines of gen_init_cpio.
selftest_files() {
	installed=$out/selftests-test
	find "$installed" -type d -printf 'dir /selftests/%P 0755 0 0\n' | sed 's,/ 0755, 0755,'
	find "$installed" -type f -printf "file /selftests/%P %p 0%m 0 0\n"
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

selftests() { # CPUS... [-- PROGRAM]
	cpus='' only='' memory=1536 seconds=900
	while [ $# -gt 0 ] && [ "$1" != -- ]; do cpus="$cpus $1"; shift; done
	[ $# = 0 ] || shift
	for name; do only="$only -t memfd_tripwire:$name"; done
	if [ "$flavour" = debug ]; then
		memory=4096 seconds=2400
		# What these two measure says nothing here.
		only="$only -S memfd_tripwire:cost_test -S memfd_tripwire:scale_test"
	fi
	job="cd /selftests && sh ./run_kselftest.sh $only"
	if [ "$flavour" = debug ]; then
		# A leak is reported on the console; the second look is the sure one.
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

# Subtests are '# ok', whole programs 'ok'; a program that died counts for itself.
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

soak() { # ROUNDS
	seed=$(date +%s)
	say "the random test from seed $seed, $1 rounds"
	make_initrd soak "cd /selftests/memfd_tripwire && ./model_test -s $seed -r $1 -n 3000" \
		"$(selftest_files)"
	boot soak 4 1536 $(($1 * 60 + 120)) && tail -n 2 "$verdict" || die "see $verdict"
}

# A clock that Linux takes for unstable would be a slow one.
bench() { # CPUS|icount ARGS...
	flavour=${FLAVOUR:-demo} options='panic=-1 tsc=reliable' counting=''
	name=bench-$1 memory=3000
	if [ "$1" = icount ]; then counting=icount cpus=1 memory=1024; else cpus=$1; fi
	shift
	spare=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
	[ $((spare - 512)) -ge $memory ] || memory=1024
	make_initrd bench "/bench $*" \
		"file /bench $out/bench/bench 0755 0 0"
	boot "$name" "$cpus" $memory 1800
}

# QEMU's monitor has it log each instruction to a pipe, once the guest is ready.
profile() { # COMMAND..., whose last argument will be the log
	flavour=demo verdict=$run/profile.out
	make_initrd profile "/bench -i profile" \
		"file /bench $out/bench/bench 0755 0 0"
	rm -f "$run"/profile.monitor.* "$run/profile.log"
	mkfifo "$run/profile.monitor.in" "$run/profile.monitor.out" "$run/profile.log"
	: > "$verdict"
	qemu -accel tcg,thread=single -icount shift=0,sleep=off -cpu max -smp 1 -m 1024 \
		-initrd "$initrd" -append 'console=ttyS0 panic=-1 tsc=reliable nokaslr' \
		-serial "file:$run/profile.console" -serial "file:$verdict" \
		-chardev "pipe,id=monitor,path=$run/profile.monitor" -mon chardev=monitor \
		> "$run/profile.qemu" 2>&1 < /dev/null & guest=$!
	cat "$run/profile.monitor.out" > /dev/null & said=$!
	trap 'kill $guest $said 2> /dev/null' EXIT
	waited=0
	until grep -q '^# profile: ready' "$verdict"; do
		waited=$((waited + 1))
		kill -0 $guest 2> /dev/null && [ $waited -lt 300 ] ||
			die "the guest does not get ready; see $run/profile.console"
		sleep 1
	done
	# The first of these is what newer versions of QEMU call the second.
	printf '%s\n' 'one-insn-per-tb on' 'singlestep on' "logfile $run/profile.log" \
		'log nochain,exec' > "$run/profile.monitor.in"
	"$@" "$run/profile.log" || die "no profile came out; see $run/profile.qemu"
	kill $guest $said 2> /dev/null || :
	trap - EXIT
}

# A run that should have failed and did not would make every other worth nothing.
faults() {
	fault 'echo "<4>WARNING: planted" > /dev/kmsg' 'kernel complained'
	fault 'reboot -f' 'no verdict'
	fault 'exit 3' 'verdict is 3'
	make_initrd fault 'exit 0'
	boot fault 1 512 60 || die "a run without a fault failed"
	say "a planted splat, a missing verdict and a failing job each fail a run"
}

fault() { # JOB WHAT IS SAID OF IT
	make_initrd fault "$1"
	if boot fault 1 512 60 2> "$run/fault.said"; then die "went unnoticed: $1"; fi
	grep -q "$2" "$run/fault.said" || {
		cat "$run/fault.said" >&2
		die "failed for another reason than it should: $1"
	}
}

shell() {
	make_initrd shell : "$(selftest_files)"
	say "the selftests are in /selftests; leave with exit or Ctrl-A x"
	qemu -accel tcg,thread=multi -cpu max -smp "${CPUS:-2}" -m 1536 -initrd "$initrd" \
		-serial mon:stdio -append "console=ttyS0 panic=-1 quiet tripwire=shell"
}

mkdir -p "$run"
[ "${1:-}" = shell ] || only_one "$out/lock" 9
case ${1:-} in
demo) shift; demo "$@" ;;
test) shift; selftests "$@" ;;
one) shift; one "$@" ;;
soak) shift; soak "$@" ;;
bench) shift; bench "$@" ;;
profile) shift; profile "$@" ;;
faults) faults ;;
shell) shell ;;
*) die "usage: boot.sh demo [FILE] | test CPUS... [-- NAME...] | one CPUS PROGRAM TEST | soak ROUNDS | bench CPUS|icount ARGS... | profile COMMAND... | faults | shell" ;;
esac
