# SPDX-License-Identifier: GPL-2.0
# The report, as one HTML file. Given: dir, where the plots and the file 'machine' are;
# accel; busy, if the host had other work meanwhile. Follows values.awk and targets.awk.

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

# One comparison by one clock: the mechanisms 5% below the better of ours, and above.
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
		# Of a disturbed clock, the table alone has the figures.
		if (clock == "wall" && busy != "") continue
		if (q < 0.95) {
			won[mech]++
			won_what[mech] = won_what[mech] (won_what[mech] ? "; " : "") what " (" \
				clock ", " number(q) "x)"
		}
		compared[mech]++
		if (!(mech in place)) { place[mech] = ++contenders; contender[contenders] = mech }
	}
	rows = rows "<tr><td>" what "<td>" clock "<td>" which ": " \
		amount(our, unit_of[boot, group, which, param == "waiting" ? "asleep" : param, metric]) \
		"<td>" (wins ? wins : "none") "<td>" (ties ? ties : "") "<td>" \
		(loses ? loses : "none") "\n"
}

function both(what, group, param, metric) {
	compare("2", "wall", what, group, param, metric)
	compare("icount", "instr.", what, group, param, metric)
}

function all_comparisons(	size, n, i) {
	both("latency of a doorbell, p50", "doorbell", "waiting", "p50")
	both("latency of a doorbell, p99", "doorbell", "waiting", "p99")
	both("producer held up, consumer waiting", "held", "waiting", "p50")
	both("producer held up, no consumer", "held", "alone", "p50")
	both("round trip, consumer asleep", "roundtrip", "asleep", "p50")
	both("round trip, consumer awake", "roundtrip", "awake", "p50")
	both("consumer's CPU for a doorbell, 1,000/s", "rate", "1000/s", "consumer-cost")
	both("consumer's CPU for a doorbell, 10,000/s", "rate", "10000/s", "consumer-cost")
	both("consumer's CPU for a doorbell, 100,000/s", "rate", "100000/s", "consumer-cost")
	both("consumer's CPU for a doorbell, flat out", "rate", "flat-out", "consumer-cost")
	both("producer's CPU for a doorbell, 10,000/s", "rate", "10000/s", "producer-cost")
	both("producer's CPU for a doorbell, flat out", "rate", "flat-out", "producer-cost")
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

# The conditions under which a mechanism can be used. They have no figure.
function condition(mech) {
	if (mech == "eventfd" || mech == "futex")
		return "the producer has to be changed to make the call"
	if (mech == "socket" || mech == "vfio-user")
		return "the producer has to be changed, or its store trapped by a hypervisor, which is not in the figure"
	if (mech == "busy") return "a core has to be free for it"
	if (mech == "uffd-async" || mech == "uffd-wp")
		return "it is set up in the producer's process, and in each process that maps the memory" \
			(mech == "uffd-async" ? "; a store wakes no consumer" : "")
	if (mech == "soft-dirty")
		return "one user a process; clearing is for all of its memory; a store wakes no consumer"
	if (mech == "mprotect") return "producer and consumer have to be one process"
	return ""
}

function alternatives(	i, mech, any) {
	print "<h2>Where something else wins</h2>"
	print "<p>Against the better of the two ways to consume a tripwire; at least 5% below it." \
		(busy == "" ? "" : " By instructions only: the wall clock was disturbed.")
	print "<ul>"
	for (i = 1; i <= contenders; i++) {
		mech = contender[i]
		if (!won[mech]) continue
		any = 1
		printf "<li><b>%s</b> wins %d of %d comparisons, where %s: %s.\n", mech, won[mech],
			compared[mech], condition(mech), won_what[mech]
	}
	if (!any) print "<li>Nothing was found."
	if (busy != "" && !won["busy"])
		print "<li><b>busy</b>: polling wins every latency where " condition("busy") \
			"; here the wall clock, by which it is compared, was disturbed."
	print "</ul>"
}

function comparisons() {
	print "<h2>Every comparison</h2>"
	print "<p>The numbers are multiples of the tripwire's figure; below 1 is better than it."
	print "<table><tr><th>what<th>clock<th>tripwire<th>better<th>within 5%<th>worse"
	printf "%s</table>\n", rows
}

function show_targets(	i) {
	print "<h2>Targets</h2>"
	print "<p>Wall time is of 2 virtual CPUs; instructions are of 1, so no wake-up crosses CPUs there."
	print "<table><tr><th>what<th>target<th>wall<th><th>instructions<th>"
	for (i = 1; i <= targets; i++)
		printf "<tr><td>%s<td>%s<td class=n>%s<td class=%s>%s<td class=n>%s<td class=%s>%s\n",
			what_of[i] (why_of[i] == "" ? "" : "<br><small>" why_of[i] "</small>"),
			limit_of[i], times(wall_of[i]), verdict[i, "wall"], verdict[i, "wall"],
			times(counted_of[i]), verdict[i, "counted"], verdict[i, "counted"]
	print "</table>\n<p>Unclear: the limit lies within what the measurements spread."
}

function pictures(	list, n, i) {
	print "<details><summary>All other plots</summary>"
	n = split(plots, list, " ")
	for (i = 1; i <= n; i++)
		if (!is_opening(list[i])) figure(list[i])
	print "</details>"
}

# Functions as rows; what is below LEAST in each path goes to the last one.
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
	print "<p>Every instruction of a path, as QEMU logs it, by function; what the compiler has" \
		" inlined counts for its caller."
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
	print "<ul><li>Carries over: faults and system calls for an event; wake-ups; memory for a" \
		" file and a watch; how a cost grows with pages written, pages resident, processes and" \
		" watches; and instruction counts of the kernel's paths, which are the same code."
	print "<li>Carries over in order of size only: ratios between mechanisms of one kind, as two" \
		" write faults or two system calls."
	print "<li>Does not carry over" (accel == "tcg" ? "" : " from the instructions") \
		": absolute times; a fault against a system call, for TCG has no entry cost, no" \
		" speculation and no page-walk cache; flushes, which TCG does by dropping translations," \
		" all of them past a few pages; shootdowns and wake-ups across CPUs, which are signals" \
		" between threads of the host here; cache misses, of which an instruction count knows" \
		" nothing; and the exit that a trapped store costs a guest under KVM."
	print "<li>Percentiles above the median are the host's scheduler as much as the guest's.</ul>"
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
		" consumer-faults consumer-calls", "Latency of a doorbell, and what it takes")
	one_table(boot, "held", "p50 p99 p99.9 spread samples", "The producer held up")
	one_table(boot, "roundtrip", "p50 p99 p99.9 spread samples", "Round trip")
	one_table(boot, "rate", "achieved producer-cpu producer-cost consumer-cost" \
		" consumer-cpu consumer-cpu-spread faults producer-calls consumer-calls events", "CPU by rate")
	one_table(boot, "ring", "time time-spread faults", "A ring of payload")
	one_table(boot, "rearm", "store store-spread rearm rearm-spread", "Re-arming")
	one_table(boot, "report", "rearm rearm-spread", "One written page among many")
	one_table(boot, "mappers", "rearm rearm-spread", "By mapping processes")
	one_table(boot, "watches", "store store-spread read read-spread", "By watches")
	one_table(boot, "huge", "store store-spread rearm rearm-spread", "Huge pages")
	one_table(boot, "memory", "slab", "Memory for each")
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
		print "<p class=MISSED>The host had other work (" esc(busy) "): wall times, above" \
			" all those across CPUs, are disturbed. Instructions are not."
}

function not_measured(	i, item) {
	print "<details><summary>What was not measured, and why</summary><table>"
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
		"text-align:left;vertical-align:top}td.n{text-align:right;white-space:nowrap}" \
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
	print "<p>Medians; the spread of percentiles is how far the medians of the repetitions lie apart," \
		" that of others the distance between the quartiles. Warm-up is dropped. Latencies contain" \
		" one clock read, what holds the producer up two: the baseline say what they take."
	tables("2", "wall time, 2 CPUs")
	tables("1", "wall time, 1 CPU")
	tables("4", "wall time, 4 CPUs")
	tables("icount", "instructions, 1 CPU")
	not_measured()
	print "</html>"
}
