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
	return ratio(get(boot, "report", "uffd-async", "pages=1,resident=1024MiB", "rearm"),
		     get(boot, "report", "tripwire-watch", "pages=1,resident=1024MiB", "rearm"))
}

function acks(boot, mech, pages, resident) {
	return get(boot, "rearm", mech, "pages=" pages ",resident=" resident, "rearm")
}

# Of 256 MiB, 64 pages lie under as many page tables.
function by_acks(what, sense, limit, mech, pages, size, mech2, pages2, size2) {
	target(what, sense, limit,
	       ratio(acks("2", mech, pages, size), acks("2", mech2, pages2, size2)),
	       ratio(acks("icount", mech, pages, size), acks("icount", mech2, pages2, size2)))
}

function huge_ratio(boot, metric) {
	return ratio(get(boot, "huge", "tripwire-ack", "pages=1,size=2MiB", metric),
		     get(boot, "huge", "tripwire-ack", "pages=1,size=4KiB", metric))
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
	ours("consumer's CPU for a doorbell at 10,000/s, against eventfd", "<=", 1.5, "rate",
	     "10000/s", "consumer-cost", "eventfd", 0)
	ours("round trip, consumer asleep, against eventfd", "<=", 1.15, "roundtrip", "asleep", "p50",
	     "eventfd", 0)
	ours("round trip, consumer awake, against eventfd", "", 0, "roundtrip", "awake", "p50",
	     "eventfd", 0)
	target("cost of a page as more are written, against fewer: tripwire-ack", "<=", 1.1,
	       worst_growth("2", "tripwire-ack"), worst_growth("icount", "tripwire-ack"))
	target("cost of a page as more are written, against fewer: tripwire-watch", "<=", 1.1,
	       worst_growth("2", "tripwire-watch"), worst_growth("icount", "tripwire-watch"))
	by_acks("ACK of 65,536 pages, against UFFDIO_WRITEPROTECT", "<=", 4, "tripwire-ack", 65536,
		"256MiB", "uffd-wp", 65536, "256MiB")
	by_acks("ACK of 64 pages under as many page tables, against 1", "<=", 15, "tripwire-ack", 64,
		"256MiB", "tripwire-ack", 1, "256MiB")
	by_acks("ACK of 1 page, of 256 MiB resident against 1 MiB", "<=", 1.5, "tripwire-ack", 1,
		"256MiB", "tripwire-ack", 1, "1MiB")
	by_acks("ACK of 1 page, of a sparse 1 TiB against 1 MiB", "<=", 1.5, "tripwire-ack", 1,
		"sparse-1TiB", "tripwire-ack", 1, "1MiB")
	# Asked of instructions alone: TCG drops all translations to flush one huge page.
	target("store to a huge page, against a small one, in instructions", "<=", 1.5, "",
	       huge_ratio("icount", "store"))
	target("ACK of a huge page, against a small one, in instructions", "<=", 1.5, "",
	       huge_ratio("icount", "rearm"))
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
