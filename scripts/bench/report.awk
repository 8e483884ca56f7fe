# SPDX-License-Identifier: GPL-2.0
# The report as one HTML file. Variables: dir, the directory of the plots and of
# the file 'machine'; plots, their names; accel, tcg or kvm; busy, the other
# work of the host, or "". Follows values.awk, targets.awk and opening.awk.

function esc(s) {
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	gsub(/>/, "\\&gt;", s)
	return s
}

function include(file,	line) {
	while ((getline line < file) > 0)
		if (line !~ /^<\?xml|^<!DOCTYPE|^ *"http:.*dtd">/) print line
	close(file)
}

function better_ours(boot, group, param, metric,	a, b) {
	a = get(boot, group, "tripwire-ack", param, metric)
	b = get(boot, group, "tripwire-watch", param, metric)
	if (a == "" || (b != "" && b + 0 < a + 0)) { which = "tripwire-watch"; return b }
	which = "tripwire-ack"
	return a
}

# Compare by one clock: which mechanisms are over 5% below the better of ours,
# and which are over 5% above it.
function compare(boot, clock, what, group, param, metric,	our, i, n, mech, q, wins, loses, ties) {
	our = better_ours(boot, group, param, metric)
	if (our == "") return
	n = mechanisms[boot, group]
	for (i = 1; i <= n; i++) {
		mech = mechanism[boot, group, i]
		if (mech ~ /^tripwire/) continue
		q = ratio(get(boot, group, mech, param, metric), our)
		if (q == "") continue
		if (q < 0.95)
			wins = wins (wins ? ", " : "") "<b>" mech "</b> " number(q)
		else if (q > 1.05)
			loses = loses (loses ? ", " : "") mech " " number(q)
		else
			ties = ties (ties ? ", " : "") mech
		# The figures of a disturbed clock are in the table only.
		if (clock == "wall" && busy != "") continue
		if (!(mech in place)) { place[mech] = ++contenders; contender[contenders] = mech }
		if (!((mech, what) in compared_in)) { compared_in[mech, what] = 1; compared[mech]++ }
		if (q < 0.95) note_win(mech, what, clock, q)
	}
	rows = rows "<tr><td>" what "<td>" clock "<td>" which ": " \
		amount(our, unit_of[boot, group, which, param == "waiting" ? "asleep" : param, metric]) \
		"<td>" (wins ? wins : "none") "<td>" (ties ? ties : "") "<td>" \
		(loses ? loses : "none") "\n"
}

# Remember a win for the list of alternatives.
function note_win(mech, what, clock, q) {
	if (!((mech, what) in win_text)) {
		won_what[mech, ++won[mech]] = what
		win_ratio[mech, what] = q
	}
	if (q < win_ratio[mech, what]) win_ratio[mech, what] = q
	win_text[mech, what] = win_text[mech, what] ((mech, what) in win_text && \
		win_text[mech, what] != "" ? ", " : "") clock " " times(q)
}

# The greatest wins of a mechanism, MOST of them.
function greatest_wins(mech, most,	text, n, i, what, best) {
	for (n = 0; n < most && n < won[mech]; n++) {
		best = ""
		for (i = 1; i <= won[mech]; i++) {
			what = won_what[mech, i]
			if ((mech, what) in named) continue
			if (best == "" || win_ratio[mech, what] < win_ratio[mech, best]) best = what
		}
		named[mech, best] = 1
		text = text (text == "" ? "" : "; ") best " (" win_text[mech, best] ")"
	}
	return text
}

function both(what, group, param, metric) {
	compare("2", "wall", what, group, param, metric)
	compare("icount", "instr.", what, group, param, metric)
}

function all_comparisons(	size, n, i) {
	both("latency of a doorbell, p50", "doorbell", "waiting", "p50")
	both("latency of a doorbell, p99", "doorbell", "waiting", "p99")
	both("delay of the producer, consumer waiting", "held", "waiting", "p50")
	both("delay of the producer, no consumer", "held", "alone", "p50")
	both("round trip, consumer asleep", "roundtrip", "asleep", "p50")
	both("round trip, consumer awake", "roundtrip", "awake", "p50")
	both("consumer's CPU per doorbell, 1,000/s", "rate", "1000/s", "consumer-cost")
	both("consumer's CPU per doorbell, 10,000/s", "rate", "10000/s", "consumer-cost")
	both("consumer's CPU per doorbell, 100,000/s", "rate", "100000/s", "consumer-cost")
	both("consumer's CPU per doorbell, flat out", "rate", "flat-out", "consumer-cost")
	both("producer's CPU per doorbell, 10,000/s", "rate", "10000/s", "producer-cost")
	both("producer's CPU per doorbell, flat out", "rate", "flat-out", "producer-cost")
	n = residents(size)
	for (i = 1; i <= n; i++) {
		both("re-arming 1 page of " size[i], "rearm", "pages=1,resident=" size[i], "rearm")
		both("re-arming 4,096 pages of " size[i], "rearm", "pages=4096,resident=" size[i],
		     "rearm")
		both("re-arming 65,536 pages of " size[i], "rearm",
		     "pages=65536,resident=" size[i], "rearm")
	}
	both("finding 1 page among 262,144", "report", "pages=1,resident=1024MiB", "rearm")
	both("re-arming 1 huge page", "huge", "pages=1,size=2MiB", "rearm")
	both("store to an armed huge page", "huge", "pages=1,size=2MiB", "store")
	both("re-arming 1 page in 64 processes", "mappers", "processes=64,pages=1", "rearm")
	both("re-arming 64 pages in 64 processes", "mappers", "processes=64,pages=64", "rearm")
}

# What a mechanism requires. No figure contains this.
function condition(mech) {
	if (mech == "eventfd" || mech == "futex")
		return "The producer makes a call, so it has to be changed."
	if (mech == "socket" || mech == "vfio-user")
		return "The producer makes a call, or a hypervisor traps its store; the trap is not in the figures."
	if (mech == "busy") return "A core is free for the consumer, which polls."
	if (mech == "uffd-async")
		return "Every process that maps the memory sets it up. A store wakes no consumer."
	if (mech == "uffd-wp") return "Every process that maps the memory sets it up."
	if (mech == "soft-dirty")
		return "One user per process; clearing covers all memory of the process. A store wakes no consumer."
	if (mech == "mprotect") return "Producer and consumer are one process."
	return ""
}

function alternatives(	i, mech, any) {
	print "<h2>Where something else wins</h2>"
	print "<p>Each mechanism is compared with the better of ACK and watch, and wins where it takes" \
		" at least 5% less by one of the clocks. " (busy == "" ? "" : \
		"Only instructions are compared, because the wall clock was disturbed. ") \
		"1x is the figure of the tripwire. <a href=#comparisons>Every comparison</a> is below."
	print "<table><tr><th>mechanism<th>requires<th>wins<th>most clearly in"
	for (i = 1; i <= contenders; i++) {
		mech = contender[i]
		if (!won[mech]) continue
		any = 1
		printf "<tr><td><b>%s</b><td>%s<td class=n>%d of %d<td>%s\n", mech, condition(mech),
			won[mech], compared[mech], greatest_wins(mech, 3)
	}
	if (!any) print "<tr><td>none<td><td><td>"
	if (busy != "" && !won["busy"])
		print "<tr><td><b>busy</b><td>" condition("busy") "<td><td>All latencies; only the" \
			" wall clock compares them, and that was disturbed."
	print "</table>"
}

function comparisons() {
	print "<h2 id=comparisons>Every comparison</h2>"
	print "<p>The numbers are multiples of the tripwire's figure. Below 1 the mechanism is better."
	print "<table><tr><th>what<th>clock<th>tripwire<th>better<th>within 5%<th>worse"
	printf "%s</table>\n", rows
}

function show_targets(	i) {
	print "<h2>Targets</h2>"
	print "<p>Wall times are those of 2 virtual CPUs. Instructions are counted on 1 CPU, where no" \
		" wake-up crosses CPUs."
	print "<table><tr><th>what<th>target<th>wall<th><th>instructions<th>"
	for (i = 1; i <= targets; i++)
		printf "<tr><td>%s<td class=w>%s<td class=n>%s<td class=%s>%s<td class=n>%s<td class=%s>%s\n",
			what_of[i] (why_of[i] == "" ? "" : "<br><small>" why_of[i] "</small>"),
			limit_of[i], times(wall_of[i]), verdict[i, "wall"], verdict[i, "wall"],
			times(counted_of[i]), verdict[i, "counted"], verdict[i, "counted"]
	print "</table>\n<p>Unclear: the limit lies within the spread of the measurements."
}

function pictures(	list, n, i) {
	print "<details><summary>All other plots</summary>"
	n = split(plots, list, " ")
	for (i = 1; i <= n; i++)
		if (!is_opening(list[i])) figure(list[i])
	print "</details>"
}

# Functions as rows. Those below LEAST in each path are added up as 'others'.
function profile_table(heading, names, per, least,	k, list, p, i, f, n, row, rest, sum, most) {
	k = split(names, list, " ")
	if (!parameters["profile", "profile"]) return
	print "<h3>" heading "</h3>\n<table><tr><th>function"
	for (p = 1; p <= k; p++) printf "<th>%s", list[p]
	print ""
	n = parameters["profile", "profile"]
	for (i = 1; i <= n; i++) {
		f = parameter["profile", "profile", i]
		most = 0
		for (p = 1; p <= k; p++)
			if (spent(list[p], f) > most) most = spent(list[p], f)
		row = "<tr><td>" esc(f)
		for (p = 1; p <= k; p++) {
			sum[p] += spent(list[p], f)
			if (most < least) rest[p] += spent(list[p], f)
			row = row "<td class=n>" (spent(list[p], f) ? number(spent(list[p], f) / per) : "")
		}
		if (most >= least) print row
	}
	printf "<tr><td>others"
	for (p = 1; p <= k; p++) printf "<td class=n>%s", number(rest[p] / per)
	printf "\n<tr><td>all"
	for (p = 1; p <= k; p++) printf "<td class=n>%s", number(sum[p] / per)
	print "</table>"
}

function profile() {
	print "<h2>Where the instructions go</h2>"
	print "<p>All instructions of a path, as logged by QEMU, by function. An inlined function counts" \
		" for its caller."
	profile_table("A store to an armed page", "store-armed store-watched uffd-async-store" \
		" store-huge", 1, 15)
	profile_table("Re-arming one page", "ack-1-page watch-read-1-page ack-huge" \
		" uffd-writeprotect-1-page", 1, 15)
	profile_table("Re-arming 64 pages, for each of them", "ack-64-contiguous ack-64-scattered",
		      64, 192)
}

function carry_over() {
	print "<h2 id=carries>What carries over to hardware</h2>\n<p>" (accel == "tcg" ? \
		"Measured in QEMU's TCG, which translates every instruction." : \
		"Wall times are of hardware (KVM); instructions are counted in QEMU's TCG.")
	print "<ul><li><b>Carries over:</b> the number of faults, system calls and wake-ups for an event;" \
		" the memory for a file and a watch; the growth of a cost with pages written, pages" \
		" resident, processes and watches; the instruction counts of the kernel's paths."
	print "<li><b>Only the order of magnitude carries over:</b> ratios between mechanisms of one kind," \
		" such as two write faults or two system calls."
	print "<li><b>Does not carry over" (accel == "tcg" ? "" : " from the instructions") \
		":</b> absolute times; a fault compared with a system call, because TCG has no entry" \
		" cost, no speculation and no page-walk cache; flushes, for which TCG drops its" \
		" translations; shootdowns and wake-ups across CPUs, which are signals between threads" \
		" of the host; cache misses, which an instruction count does not contain; the exit from" \
		" a guest under KVM for a trapped store."
	print "<li>The scheduler of the host is part of every percentile above the median.</ul>"
}

function one_table(boot, group, metrics, heading,	n, m, list, i, p, param, mech, k, row, some) {
	if (!mechanisms[boot, group]) return
	print "<h3>" heading "</h3>\n<table><tr><th>mechanism<th>"
	k = split(metrics, list, " ")
	for (m = 1; m <= k; m++) printf "<th>%s", list[m]
	print ""
	for (i = 1; i <= mechanisms[boot, group]; i++) {
		mech = mechanism[boot, group, i]
		for (p = 1; p <= parameters[boot, group]; p++) {
			param = parameter[boot, group, p]
			some = 0
			row = "<tr><td>" mech "<td>" param
			for (m = 1; m <= k; m++) {
				if (get(boot, group, mech, param, list[m]) != "") some = 1
				row = row "<td class=n>" amount(get(boot, group, mech, param, list[m]), \
					unit_of[boot, group, mech, param, list[m]])
			}
			if (some) print row
		}
	}
	print "</table>"
}

function tables(boot, clock) {
	print "<details><summary>All figures, " clock "</summary>"
	one_table(boot, "baseline", "time time-spread", "Baseline")
	one_table(boot, "paths", "cost", "Single paths of the kernel")
	one_table(boot, "doorbell", "p50 p99 p99.9 spread samples producer-faults producer-calls" \
		" consumer-faults consumer-calls", "Latency of a doorbell, with its faults and calls")
	one_table(boot, "held", "p50 p99 p99.9 spread samples", "Delay of the producer")
	one_table(boot, "roundtrip", "p50 p99 p99.9 spread samples", "Round trip")
	one_table(boot, "rate", "achieved producer-cpu producer-cost consumer-cost" \
		" consumer-cpu consumer-cpu-spread faults producer-calls consumer-calls events", "CPU by rate")
	one_table(boot, "ring", "time time-spread faults", "A ring of payload")
	one_table(boot, "rearm", "store store-spread rearm rearm-spread", "Re-arming")
	one_table(boot, "report", "rearm rearm-spread", "One written page among many")
	one_table(boot, "mappers", "rearm rearm-spread", "By mapping processes")
	one_table(boot, "watches", "store store-spread read read-spread", "By watches")
	one_table(boot, "huge", "store store-spread rearm rearm-spread", "Huge pages")
	one_table(boot, "memory", "slab", "Memory for each file and watch")
	print "</details>"
}

function machine(	line, pair) {
	print "<table>"
	while ((getline line < (dir "/machine")) > 0) {
		split(line, pair, "\t")
		print "<tr><td>" esc(pair[1]) "<td>" esc(pair[2])
	}
	print "</table>"
	if (busy != "")
		print "<p class=MISSED>The host had other work (" esc(busy) "): wall times are disturbed," \
			" most of all where two CPUs take part. Instruction counts are not."
}

function not_measured(	i, item) {
	print "<details><summary>Not measured, and why</summary><table>"
	print "<tr><th>boot<th>group<th>mechanism<th>parameter<th>reason"
	for (i = 1; i <= skips; i++) {
		split(skipped[i], item, FS)
		printf "<tr><td>%s<td>%s<td>%s<td>%s<td>%s\n", item[1], item[2], item[3], item[4],
			esc(item[5])
	}
	print "</table></details>"
}

END {
	if (form != "html") exit
	print "<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><title>memfd_tripwire: benchmark</title>"
	print "<style>body{font:15px/1.45 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}" \
		"table{border-collapse:collapse;margin:.5em 0}td,th{border:1px solid #ccc;padding:.2em .5em;" \
		"text-align:left;vertical-align:top}td.n{text-align:right}td.n,td.w{white-space:nowrap}" \
		".MISSED{color:#b00020;font-weight:bold}.met{color:#1b6e20}figure{margin:1.5em 0}" \
		"svg{max-width:100%;height:auto}.opening li{margin:.5em 0}summary{cursor:pointer;font-weight:bold;margin:1em 0}</style>"
	print "<h1>memfd_tripwire: benchmark</h1>"
	all_comparisons()
	five_sentences()
	three_plots()
	alternatives()
	carry_over()
	print "<h2>Where it was measured</h2>"
	machine()
	show_targets()
	comparisons()
	pictures()
	profile()
	print "<h2>Figures</h2>"
	print "<p>Medians. Spreads are in percent of the median: of percentiles and of the consumer's CPU" \
		" the range of the repetitions, of all others the distance between the quartiles. Warm-up" \
		" rounds are left out. A latency contains one clock read and a delay of the producer two;" \
		" the table 'Baseline' has their cost."
	tables("2", "wall time, 2 CPUs")
	tables("1", "wall time, 1 CPU")
	tables("4", "wall time, 4 CPUs")
	tables("icount", "instructions, 1 CPU")
	not_measured()
	print "</html>"
}
