# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154,SC2034 # variables of others
# Start a guest in QEMU with a job, watch it and judge it. The jobs source it:
# demo.sh, selftests.sh, bench-guest.sh, shell.sh.

tree=${MEMFD_TRIPWIRE_TREE:-$tree}
flavour=${FLAVOUR:-test}
options='ignore_loglevel panic=-1 hung_task_panic=1 numa=fake=2 brd.rd_size=65536
	kho=on kho_scratch=16M,16M,16M liveupdate=on'
complaints='WARNING:|BUG:|INFO: possible|INFO: task|INFO: rcu|KASAN:|UBSAN:|Bad page|Oops|kmemleak: [0-9]+ new|Kernel panic'
machine=			# kvm, tcg or icount; empty: kvm if it works, else tcg

mkdir -p "$run"
trap 'exit 130' INT TERM HUP

# The lines of the verdict channel that are shown; each job has its own filter.
shown() { cat > /dev/null; }

# The initramfs: busybox, our init, the job, and the files that the job lists.
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

# The installed selftests as lines of gen_init_cpio.
selftest_files() {
	installed=$out/selftests-test
	find "$installed" -type d -printf 'dir /selftests/%P 0755 0 0\n' | sed 's,/ 0755, 0755,'
	find "$installed" -type f -printf "file /selftests/%P %p 0%m 0 0\n"
}

# QEMU itself is the child: no process is left when it is killed.
start() { # SECONDS OPTIONS...
	limit=$1; shift
	exec timeout --foreground -k 5 "$limit" qemu-system-x86_64 -nodefaults -no-user-config \
		-display none -no-reboot -kernel "$tree/obj-$flavour/arch/x86/boot/bzImage" "$@"
}

# Does our own init answer on KVM? Asked once per boot of this machine.
accelerator() {
	asked=$cache/accelerator-$(cat /proc/sys/kernel/random/boot_id)
	if [ ! -f "$asked" ]; then
		mkdir -p "$cache"
		rm -f "$cache"/accelerator-*
		answer=tcg
		if [ -w /dev/kvm ]; then
			# Its own shell reports an aborted QEMU to /dev/null.
			# shellcheck disable=SC3045 # Debian's sh has it
			(ulimit -c 0
			 make_initrd hello :
			 : > "$run/hello.out"
			 (start 10 -accel kvm -cpu host -m 256 -initrd "$initrd" \
				-append 'console=ttyS0 panic=-1 tripwire=hello' \
				-serial null -serial "file:$run/hello.out") || :
			) > /dev/null 2>&1 < /dev/null
			! grep -q '^guest: hello' "$run/hello.out" || answer=kvm
		fi
		echo $answer > "$asked"
	fi
	cat "$asked"
}

cpu_options() {
	case ${machine:-$(accelerator)} in
	icount) echo '-accel tcg,thread=single -icount shift=0,sleep=off -cpu max' ;;
	kvm) echo '-accel kvm -cpu host' ;;
	*) echo '-accel tcg,thread=multi -cpu max' ;;
	esac
}

# Boot $initrd, show the verdict channel meanwhile, and judge the guest.
boot() { # NAME CPUS MEMORY_MB SECONDS
	name=$1 verdict=$run/$1.out console=$run/$1.console
	cpu=$(cpu_options)
	: > "$verdict"
	# shellcheck disable=SC2086,SC2116,SC2046 # several options each
	start "$4" $cpu -smp "$2" -m "$3" -initrd "$initrd" \
		-append "console=ttyS0 $(echo $options)" \
		-serial "file:$console" -serial "file:$verdict" \
		> "$run/$1.qemu" 2>&1 < /dev/null & guest=$!
	trap 'kill $guest 2> /dev/null' EXIT
	tail -q -n +1 -f --pid=$guest "$verdict" | sed -u 's/\r//' | shown
	wait $guest && rc=0 || rc=$?
	trap - EXIT
	judge "$rc"
}

judge() { # RC OF QEMU, or of timeout
	case $1 in
	0) ;;
	124 | 137) say "$name: the guest did not finish in time; see $console"; return 1 ;;
	*) say "$name: QEMU failed ($1): $(cat "$run/$name.qemu")"; return 1 ;;
	esac
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

# MB of memory that this machine can give to a guest.
spare_memory() {
	awk '/^MemAvailable/ { print int($2 / 1024) - 512 }' /proc/meminfo
}
