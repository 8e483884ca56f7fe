# SPDX-License-Identifier: GPL-2.0
# The opening of the report: five sentences and three plots, on which to decide
# whether to use the facility. Follows values.awk. report.awk calls it.

# The figure of a mechanism by the wall clock on 2 CPUs.
function wall_time(group, mech, param, metric) {
	return amount(get("2", group, mech, param, metric),
		      unit_of["2", group, mech, param == "waiting" ? "asleep" : param, metric])
}

# The range of the two mechanisms that are ours.
function both_of_ours(group, param, metric,	a, b) {
	a = get("2", group, "tripwire-ack", param, metric)
	b = get("2", group, "tripwire-watch", param, metric)
	if (a == "" || b == "") return amount(a == "" ? b : a, "ns")
	return amount(a + 0 < b + 0 ? a : b, "ns") " to " amount(a + 0 < b + 0 ? b : a, "ns")
}

function sentence(text, known) {
	print "<li>" (known == "" ? "<i>Not measured in this run:</i> " : "") text
}

function five_sentences(	page, found) {
	page = "pages=1,resident=1024MiB"
	print "<ol class=opening>"
	sentence("The producer needs <b>a pointer and no system call</b>. A sleeping consumer has the" \
		" value " both_of_ours("doorbell", "asleep", "p50") " after the store; this takes " \
		wall_time("doorbell", "eventfd", "asleep", "p50") " with eventfd and " \
		wall_time("doorbell", "uffd-wp", "asleep", "p50") " with userfaultfd write protection.",
		get("2", "doorbell", "tripwire-ack", "asleep", "p50"))
	sentence("The store delays the producer by " both_of_ours("held", "asleep", "p50") \
		" with a sleeping consumer and by " both_of_ours("held", "alone", "p50") \
		" without one; the write to an eventfd takes " \
		wall_time("held", "eventfd", "asleep", "p50") " and " \
		wall_time("held", "eventfd", "alone", "p50") ".",
		get("2", "held", "tripwire-ack", "asleep", "p50"))
	sentence("A round trip to a sleeping consumer and back takes " \
		both_of_ours("roundtrip", "asleep", "p50") ", against " \
		wall_time("roundtrip", "eventfd", "asleep", "p50") " with eventfd and " \
		wall_time("roundtrip", "uffd-wp", "asleep", "p50") " with userfaultfd.",
		get("2", "roundtrip", "tripwire-ack", "asleep", "p50"))
	found = get("2", "report", "tripwire-watch", page, "rearm")
	sentence("A watch finds 1 written page among 262,144 in " \
		wall_time("report", "tripwire-watch", page, "rearm") "; PAGEMAP_SCAN takes " \
		wall_time("report", "uffd-async", page, "rearm") ".", found)
	sentence("<b>Use something else</b> where the producer can be changed (with eventfd a round" \
		" trip takes " number(ratio(get("2", "roundtrip", "eventfd", "asleep", "p50"),
				    get("2", "roundtrip", "tripwire-ack", "asleep", "p50"))) \
		" times as long as with an ACK), or where a core is free to poll the memory (" \
		wall_time("doorbell", "busy", "spins", "p50") " for a doorbell).",
		get("2", "roundtrip", "eventfd", "asleep", "p50"))
	print "</ol>"
	print "<p><small>Medians by the wall clock on 2 virtual CPUs" (accel == "tcg" ? \
		", in QEMU's TCG: compare the figures with each other, not with hardware" : "") \
		". <a href=#carries>What carries over to hardware</a>.</small>"
	if (busy != "")
		print "<p class=MISSED>The host had other work (" esc(busy) "): these times are disturbed."
}

# The plots of the opening, in this order; each has one clock.
function opening_plots() {
	return "doorbell-2.svg held-2.svg resident-icount.svg"
}

function is_opening(file) { return index(" " opening_plots() " ", " " file " ") > 0 }

function figure(file) {
	print "<figure>"
	include(dir "/" file)
	print "</figure>"
}

function three_plots(	list, n, i) {
	n = split(opening_plots(), list, " ")
	for (i = 1; i <= n; i++)
		if (index(" " plots " ", " " list[i] " ")) figure(list[i])
}
