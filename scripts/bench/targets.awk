# SPDX-License-Identifier: GPL-2.0
# What was asked of the facility, and what was measured. With form=text, as text. Given:
# busy, what other work the host had, if any.

# SENSE is <= or >=, or "" if nothing was asked.
function target(what, sense, limit, wall, counted) {
	what_of[++targets] = what
	limit_of[targets] = sense == "" ? "as measured" : (sense == "<=" ? "at most " : "at least ") \
		limit "x"
	wall_of[targets] = wall
	counted_of[targets] = counted
	verdict[targets, "wall"] = judge(sense, limit, wall)
	# Whatever it is, it says nothing.
	if (busy != "" && wall != "" && sense != "") verdict[targets, "wall"] = "disturbed"
	verdict[targets, "counted"] = judge(sense, limit, counted)
}

function judge(sense, limit, n) {
	if (n == "") return "not measured"
	if (sense == "") return ""
	return (sense == "<=" ? n <= limit : n >= limit) ? "met" : "MISSED"
}

# How much more the cost of a page is with many than with few, at worst.
function worst_growth(boot, mech,	size, n, i, k, count, c, last, now, q, worst) {
	n = residents(size)
	k = split("1 64 4096 65536", count, " ")
	for (i = 1; i <= n; i++) {
		last = ""
		for (c = 1; c <= k; c++) {
			now = get(boot, "rearm", mech, "pages=" count[c] ",resident=" size[i], "rearm")
			if (now == "") continue
			now /= count[c]
			q = ratio(now, last)
			if (q != "" && q > worst) worst = q
			last = now
		}
	}
	return worst
}

function store_alone(boot, mech) {
	return less(get(boot, "held", mech, "nobody", "p50"),
		    get(boot, "yard", "two-clock-reads", "-", "time"))
}

function path(name) { return get("icount", "paths", name, "-", "cost") }

function ours(what, sense, limit, group, param, metric, other, flip,	i, mech, b, q) {
	for (i = 1; i <= 2; i++) {
		mech = i == 1 ? "tripwire-ack" : "tripwire-watch"
		for (b = 1; b <= 2; b++) {
			q[b] = ratio(get(b == 1 ? "2" : "icount", group, mech, param, metric),
				     get(b == 1 ? "2" : "icount", group, other, param, metric))
			if (flip) q[b] = ratio(1, q[b])
		}
		target(what ": " mech, sense, limit, q[1], q[2])
	}
}

function ring_ratio(boot, against) {
	return ratio(get(boot, "ring", "one-tripwire-file", "payload=64KiB", "time"),
		     get(boot, "ring", against, "payload=64KiB", "time"))
}

function report_ratio(boot) {
	return ratio(get(boot, "report", "uffd-async", largest_report(boot), "rearm"),
		     get(boot, "report", "tripwire-watch", largest_report(boot), "rearm"))
}

function watch_growth(boot, metric) {
	return ratio(get(boot, "watches", "tripwire-watch", "watches=4096", metric),
		     get(boot, "watches", "tripwire-watch", "watches=1", metric))
}

END {
	target("armed store, nobody waiting, against the fault of uffd-async: tripwire-ack", "<=",
	       1.25, ratio(store_alone("2", "tripwire-ack"), store_alone("2", "uffd-async")),
	       ratio(path("store-armed"), path("uffd-async-store")))
	target("armed store, nobody waiting, against the fault of uffd-async: tripwire-watch", "<=",
	       1.25, ratio(store_alone("2", "tripwire-watch"), store_alone("2", "uffd-async")),
	       ratio(path("store-watched"), path("uffd-async-store")))
	ours("producer held up, uffd-wp against ours", ">=", 15, "held", "asleep", "p50", "uffd-wp", 1)
	ours("consumer's CPU at 10,000 doorbells/s, against eventfd", "<=", 1.5, "rate", "10000/s",
	     "consumer-cpu", "eventfd", 0)
	ours("round trip, consumer asleep, against eventfd", "<=", 1.15, "roundtrip", "asleep", "p50",
	     "eventfd", 0)
	ours("round trip, consumer awake, against eventfd", "", 0, "roundtrip", "awake", "p50",
	     "eventfd", 0)
	target("cost of a page as more are written, against fewer: tripwire-ack", "<=", 1.1,
	       worst_growth("2", "tripwire-ack"), worst_growth("icount", "tripwire-ack"))
	target("cost of a page as more are written, against fewer: tripwire-watch", "<=", 1.1,
	       worst_growth("2", "tripwire-watch"), worst_growth("icount", "tripwire-watch"))
	target("ring of 64 KiB payload, in one file with the doorbell against a plain memfd", "<=",
	       1.05, ring_ratio("2", "memfd-and-tripwire-doorbell"),
	       ring_ratio("icount", "memfd-and-tripwire-doorbell"))
	target("one written page among many, PAGEMAP_SCAN against read of a watch", ">=", 100,
	       report_ratio("2"), report_ratio("icount"))
	# A logarithm that is 1 for one watch is 13 for 4096.
	target("trip, 4096 watches against 1", "<=", 13, watch_growth("2", "trip"),
	       watch_growth("icount", "trip"))
	target("read of a watch, 4096 watches against 1", "<=", 13, watch_growth("2", "read"),
	       watch_growth("icount", "read"))

	if (form == "text") {
		printf "%-76s %-14s %9s %-12s  %9s %s\n", "", "asked", "wall", "", "instr.", ""
		for (i = 1; i <= targets; i++)
			printf "%-76s %-14s %9s %-12s  %9s %s\n", what_of[i], limit_of[i],
			       times(wall_of[i]), verdict[i, "wall"], times(counted_of[i]),
			       verdict[i, "counted"]
	}
}
