#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Measure memfd_tripwire beside the alternatives:
#   bench.sh run	measure (13 minutes), draw and report in build/bench
#   bench.sh report	draw and report again from the last measurement
#   bench.sh profile	list the functions that take the instructions of a path
#   bench.sh check	count instructions; fail if a path has grown by over 3%
#   bench.sh check --update	keep the counted instructions as the new table
#   bench.sh pristine	compare plain memfds with an unpatched kernel's
. "$(dirname "$0")/lib.sh"

results=$top/build/bench
parts=$top/scripts/bench
table=$parts/instructions-$base
growth=3			# per cent that a path may grow by
growth_of_others=0.5		# per cent that our patches may add to a plain memfd
quiet=0.2			# busy CPUs of the host that disturb wall times
others=0			# the most that were busy when a guest was started

# The groups that depend on the number of CPUs, and those that can be counted.
by_cpus='baseline doorbell roundtrip rearm'
counted='paths plain-paths baseline doorbell held roundtrip rate ring rearm report mappers watches huge'

# Measure three seconds: the load average still contains an earlier build.
look_around() {
	others=$({ sed q /proc/stat; sleep 3; sed q /proc/stat; } | awk -v most="$others" '
	{
		total[NR] = 0
		for (i = 2; i <= 9; i++) total[NR] += $i
		idle[NR] = $5 + $6
	}
	END {
		spent = total[2] - total[1]
		"nproc" | getline cpus
		busy = spent ? cpus * (1 - (idle[2] - idle[1]) / spent) : 0
		printf "%.2f", (busy > most ? busy : most)
	}')
}

measure() { # FILE CPUS|icount ARGS...
	lines=$results/$1; shift
	case $1 in
	icount) say "benchmark: instructions, counted on 1 CPU" ;;
	*) say "benchmark: wall time on $1 CPU$([ "$1" = 1 ] || echo s)" ;;
	esac
	look_around
	"$top/scripts/bench-guest.sh" run "$@" || die "the benchmark failed; see $run/bench-$1.out"
	tr -d '\r' < "$run/bench-$1.out" | grep '^bench	' > "$lines" ||
		die "the benchmark has no results; see $run/bench-$1.out"
}

# The machine, for the report and the captions. qemu.sh has probed KVM before.
describe() {
	accel=$(cat "$cache/accelerator-$(cat /proc/sys/kernel/random/boot_id)" 2> /dev/null ||
		echo tcg)
	kernel=$(sed -n 's/^guest: hello from \([^ ]*\).*/\1/p' "$run/bench-2.out")
	cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
	qemu=$(qemu-system-x86_64 --version | sed -n '1s/^[^0-9]*\([0-9.]*\).*/\1/p')
	printf '%s\t%s\n' \
		kernel "Linux $kernel, scripts/config/demo.config" \
		'wall time' "QEMU $qemu, $accel, 2 CPUs unless stated otherwise" \
		instructions "QEMU $qemu, tcg, -icount shift=0, 1 CPU; user, kernel and idle time" \
		host "$cpu, $(nproc) CPUs, $others of them busy with other work" \
		date "$(date -u '+%Y-%m-%d %H:%M UTC')" \
		producer 'on CPU 0, with a mapping of its own; waits until a sleeping consumer is blocked (state S)' \
		consumer 'on CPU 1, in another process; uffd-async and soft-dirty scan every 1 ms' \
		> "$results/machine"
	[ "$accel" = tcg ] || accel=kvm
	echo "$accel" > "$results/accel"
	awk -v most=$quiet -v others="$others" 'BEGIN {
		if (others > most) print others " of its CPUs were busy with it" }' > "$results/busy"
	echo "Guest: QEMU $qemu ($accel), CPUS, Linux $kernel, demo.config. Host: $cpu, $(nproc) CPUs, $others busy with other work." \
		> "$results/caption"
}

extract() { # NAME BOOTS VARIABLES...
	name=$1 boots=$2; shift 2
	set -- "$@" -f "$parts/data.awk"
	for boot in $boots; do set -- "$@" "$results/$boot.tsv"; done
	awk "$@" > "$results/$name.dat"
}

draw() { # NAME SCRIPT CAPTION SETTINGS
	grep -q '[0-9]' "$results/$1.dat" || { say "nothing to draw for $1"; return 0; }
	files="svg = '$results/$1.svg'; data = '$results/$1.dat'; style = '$parts/style.gp'"
	curves=$(sed -n 's/^# //p' "$results/$1.dat" | tr '\n' ' ')
	gnuplot -e "$files; curves = '$curves'; caption = \"$3\"; $4" "$parts/$2.gp" > "$results/gnuplot.log" 2>&1 || {
		cat "$results/gnuplot.log" >&2
		die "gnuplot cannot draw $1"
	}
	plots="$plots $1.svg"
}

caption() { # BOOT REMARK
	case $1 in
	icount) edit='s/([a-z]*), CPUS/(tcg, -icount shift=0), 1 CPU/; s/^/Instructions, user and kernel. /' ;;
	cpus) edit='s/CPUS/1, 2 and 4 CPUs/' ;;
	*) edit='s/CPUS/2 CPUs/' ;;
	esac
	printf '%s\\n%s\n' "$2" "$(sed "$edit" "$results/caption")"
}

# Two plots, one by each clock.
curves() { # NAME GROUP METRIC X WANT HEADING ACROSS REMARK [UNIT]
	for boot in 2 icount; do
		unit=${9:-ns}
		[ $boot = 2 ] || unit=$(echo "$unit" | sed 's/^ns/instructions/')
		extract "$1-$boot" $boot -v kind=lines -v "group=$2" -v "metric=$3" -v "x=$4" \
			-v "want=$5"
		draw "$1-$boot" lines "$(caption "$boot" "$8")" \
			"heading = '$6'; unit = '$unit'; across = '$7'"
	done
}

# The pages that the group 'report' searches for one: fewer in a small guest.
searched() { # BOOT
	sed -n 's/^bench	report	.*resident=\([0-9]*\)MiB	.*/\1/p' "$results/$1.tsv" |
		awk 'NR == 1 { print $1 * 256 }'
}

# PAGES in the heading stands for the pages that the group 'report' searched.
bars() { # NAME GROUP COLUMNS HEADING REMARK [PARAMETER [SETTING]]
	for boot in 2 icount; do
		heading=$(echo "$4" | sed "s/PAGES/$(searched "$boot")/")
		unit=ns
		[ $boot = 2 ] || unit=instructions
		extract "$1-$boot" $boot -v kind=bars -v "group=$2" -v "columns=$3" -v "only=${6:-}"
		nr=$(($(sed q "$results/$1-$boot.dat" | wc -w) - 1))
		draw "$1-$boot" bars "$(caption "$boot" "$5")" \
			"heading = '$heading'; unit = '$unit'; bars = $nr; ${7:-}"
	done
}

report() {
	plots=
	rm -f "$results"/*.svg "$results"/*.dat
	bars doorbell doorbell '*:p50:p50 *:p99:p99 *:p99.9:p99.9' \
		'Latency of one doorbell: from the store until the consumer has its value' \
		'The consumer sleeps; with uffd-async and soft-dirty it scans every 1 ms, with busy it spins.'
	bars held held '*:p50:consumer-waits alone:p50:no-consumer' \
		'Delay of the producer by one doorbell' \
		'Median, with two clock reads in it. uffd-wp and vfio-user always need a consumer.'
	bars roundtrip roundtrip 'asleep:p50:consumer-asleep awake:p50:consumer-awake' \
		'Round trip: one doorbell and the reply of the consumer over an eventfd' \
		'Median. Awake: the consumer retries without sleeping.'
	curves consumer rate consumer-cpu rate '' 'CPU time of the consumer' 'doorbells per second' \
		'Median of 3 runs. 100 % is one CPU.' '% of a CPU'
	curves producer rate producer-cost rate '' 'CPU time of the producer for one doorbell' \
		'doorbells per second' \
		'Without the wait between doorbells; on 1 CPU with the sleep between them.' ns
	curves written rearm rearm pages resident=256MiB 'Re-arming written pages of 256 MiB resident' \
		'pages written, spread evenly' 'Median. uffd-wp and mprotect do not report which pages.'
	curves resident rearm rearm resident pages=1 'Re-arming one written page' \
		'MiB resident; the last point is a sparse file of 1 TiB' \
		'Median. For 1 TiB userfaultfd would need 2 GiB of page tables.'
	curves mappers mappers rearm processes pages=64 \
		'Re-arming 64 pages that every process has written' 'processes that map them' \
		'Median. uffd-wp: one ioctl for each process.'
	for metric in store read; do
		curves watches-$metric watches $metric watches '' \
			"$([ $metric = store ] && echo 'A store that raises an event on one watch' ||
				echo 'Reading that watch')" \
			'disjoint watches on the file, a page each' 'Median.'
	done
	extract cpus '1 2 4' -v kind=cpus -v group=doorbell -v metric=p50
	draw cpus lines "$(caption cpus "Median; the consumer sleeps, scans or spins. The host has $(nproc) CPUs, which more virtual ones share.")" \
		"heading = 'Latency of one doorbell by virtual CPUs'; unit = 'ns'; across = 'CPUs'"
	extract paths icount -v kind=bars -v group=paths -v 'columns=*:cost:instructions'
	draw paths bars "$(caption icount 'Median of 300.')" \
		"heading = 'Single paths of the kernel'; unit = 'instructions'; bars = 1"

	bars huge huge '*:store:store *:rearm:re-arm' \
		'One huge page of 2 MiB: the store that raises an event, and re-arming' \
		'Median. TCG drops all translations to flush a huge page; hardware does not.' \
		'pages=1,size=2MiB'
	bars report report '*:rearm:re-arm' \
		'Finding and re-arming 1 written page among PAGES' 'Median.'
	bars ring ring '*:time:doorbell' 'Writing 64 KiB of payload and ringing its doorbell' \
		'Median.' 'payload=64KiB' 'linear = 1'
	extract memory 2 -v kind=bars -v group=memory -v 'columns=file:slab:file watch:slab:watch'
	draw memory bars "$(caption 2 'Slab memory for each, as a mean of 4,000. A file includes its inode.')" \
		"heading = 'Memory for each file and watch'; unit = 'bytes'; bars = 2; linear = 1"

	judged html > "$results/report.html"
	judged text
	say "the report, with plots and every figure, is $results/report.html"
}

judged() { # text|html
	awk -v form="$1" -v dir="$results" -v plots="$plots" -v accel="$(cat "$results/accel")" \
		-v busy="$(cat "$results/busy")" \
		-f "$parts/values.awk" -f "$parts/targets.awk" -f "$parts/opening.awk" \
		-f "$parts/report.awk" \
		"$results/2.tsv" "$results/1.tsv" "$results/4.tsv" "$results/icount.tsv" \
		"$results/profile.tsv"
}

run_all() {
	mkdir -p "$results"
	# shellcheck disable=SC2086 # lists of words
	{
		measure 2.tsv 2
		measure 1.tsv 1 $by_cpus
		measure 4.tsv 4 $by_cpus
		measure icount.tsv icount -i $counted
	}
	profile
	describe
	[ ! -s "$results/busy" ] || say "the host had other work ($(cat "$results/busy")): wall times are disturbed"
	report
}

profile() {
	mkdir -p "$results"
	say "benchmark: instructions of each path by function"
	grep ' [tTwW] ' "$tree/obj-demo/System.map" | sort > "$results/System.map"
	"$top/scripts/bench-guest.sh" profile awk -v turns=1 -f "$parts/profile.awk" \
		"$results/System.map" "$run/profile.out" > "$results/profile.new"
	sort -t "$(printf '\t')" -k 6,6nr "$results/profile.new" > "$results/profile.tsv"
	rm -f "$results/System.map" "$results/profile.new"
}

show_profile() {
	sort -t "$(printf '\t')" -k 3,3 -k 6,6nr "$results/profile.tsv" | awk -F '\t' '
	$3 != path { path = $3; print path ":" }
	$6 >= 10 { printf "%8d  %s\n", $6, $4 }'
}

# The table is 'path instructions', in the order of the program.
pristine() {
	bare=$out/pristine/linux
	mkdir -p "$results"
	[ -f "$bare/obj-off/arch/x86/boot/bzImage" ] || copy_pristine "$bare"
	MEMFD_TRIPWIRE_TREE=$bare "$top/scripts/build.sh" kernel off
	measure plain.tsv icount -i plain-paths
	export MEMFD_TRIPWIRE_TREE="$bare" FLAVOUR=off
	measure pristine.tsv icount -i plain-paths
	awk -F '\t' -v most=$growth_of_others '
	$5 != "cost" { next }
	FNR == NR { was[$3] = $6; next }
	{
		change = 100 * ($6 - was[$3]) / was[$3]
		printf "%-28s %10d %10d %+8.2f%%\n", $3, was[$3], $6, change
		if (change > most) failed++
		seen++
	}
	END { exit failed > 0 || !seen }' "$results/pristine.tsv" "$results/plain.tsv" ||
		die "the patches add more than $growth_of_others% to a path of plain memfds"
	say "no path of plain memfds has grown by over $growth_of_others%"
}

check() { # [--update]
	mkdir -p "$results"
	measure check.tsv icount -i paths plain-paths
	awk -F '\t' '$2 == "paths" && $5 == "cost" && $7 == "instructions" { print $3, $6 }' \
		"$results/check.tsv" > "$results/instructions"
	[ -s "$results/instructions" ] || die "no path was counted; see $run/bench-icount.out"
	if [ "${1:-}" = --update ]; then
		{
			echo "# Instructions of single paths, Linux $base, demo.config; see scripts/bench.sh"
			cat "$results/instructions"
		} > "$table"
		say "$table is up to date: $(grep -vc '^#' "$table") paths"
		return 0
	fi
	[ -f "$table" ] || die "there is no $table; 'scripts/bench.sh check --update' makes it"
	awk -v most=$growth '
	/^#/ { next }
	!counted { was[$1] = $2; next }
	{
		now[$1] = 1
		if (!($1 in was)) {
			printf "%-28s %10s %10d           not in the table\n", $1, "-", $2
			failed++
			next
		}
		change = 100 * ($2 - was[$1]) / (was[$1] ? was[$1] : 1)
		printf "%-28s %10d %10d %+8.2f%%", $1, was[$1], $2, change
		if (change > most) { printf "  has grown"; failed++ }
		if (change < -most) printf "  has shrunk: --update"
		print ""
	}
	END {
		for (path in was)
			if (!(path in now)) {
				printf "%-28s %10d %10s           was not counted\n", path, was[path], "-"
				failed++
			}
		exit failed > 0
	}' "$table" counted=1 "$results/instructions" ||
		die "paths have grown by over $growth%, are new or are missing; if that is intended, run: scripts/bench.sh check --update"
	say "no path has grown by over $growth%"
}

only_one "$out/lock" 9
case ${1:-} in
run) run_all ;;
report) report ;;
profile) profile; show_profile ;;
check) shift; check "$@" ;;
pristine) pristine ;;
*) die "usage: bench.sh run | report | profile | check [--update] | pristine" ;;
esac
