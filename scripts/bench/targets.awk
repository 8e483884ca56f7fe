# SPDX-License-Identifier: GPL-2.0
# The targets of the facility beside the measured figures; with form=text they
# are printed. Variable: busy, the other work of the host, or "".

# SENSE is <= or >=, or "" for a figure without a target. By the wall clock a
# verdict is unclear if the limit is within SLACK of the figure. WHY explains a
# miss.
function target(what, sense, limit, wall, counted, slack, why) {
	what_of[++targets] = what
	limit_of[targets] = sense == "" ? "as measured" : (sense == "<=" ? "at most " : "at least ") \
		limit "x"
	wall_of[targets] = wall
	counted_of[targets] = counted
	verdict[targets, "wall"] = judge(sense, limit, wall, slack)
	# A disturbed wall clock gives no verdict.
	if (busy != "" && wall != "" && sense != "") verdict[targets, "wall"] = "disturbed"
	verdict[targets, "counted"] = judge(sense, limit, counted, 0)
	if (why != "" && verdict[targets, "wall"] verdict[targets, "counted"] ~ /MISSED/) {
		why_of[targets] = why in given ? "As above." : why
		given[why]
	}
}

function judge(sense, limit, n, slack) {
	if (n == "") return "not measured"
	if (sense == "") return ""
	if (n / (1 + slack) < limit && limit < n * (1 + slack)) return "unclear"
	return (sense == "<=" ? n <= limit : n >= limit) ? "met" : "MISSED"
}

# The relative error of a ratio: half of the sum of both spreads.
function slack(group, mech, param, other, other_param, metric,	spread) {
	spread = metric == "p50" ? "spread" : metric "-spread"
	return (get("2", group, mech, param, spread) + \
		get("2", group, other, other_param, spread)) / 200
}

function path(name) { return get("icount", "paths", name, "-", "cost") }

function spent(at, name) { return get("profile", "profile", at, name, "self") + 0 }

function store_alone(boot, mech) {
	return less(get(boot, "held", mech, "alone", "p50"),
		    get(boot, "baseline", "two-clock-reads", "-", "time"))
}

function by_store(mech, name) {
	target("armed store, no consumer, against the fault of uffd-async: " mech, "<=", 1.25,
	       ratio(store_alone("2", mech), store_alone("2", "uffd-async")),
	       ratio(path(name), path("uffd-async-store")),
	       slack("held", mech, "alone", "uffd-async", "alone", "p50"),
	       number(path(name)) " instructions against " number(path("uffd-async-store")) \
	       "; the table of functions below shows the difference.")
}

function ours(what, sense, limit, group, param, metric, other, flip, why,	i, mech, b, q) {
	for (i = 1; i <= 2; i++) {
		mech = i == 1 ? "tripwire-ack" : "tripwire-watch"
		for (b = 1; b <= 2; b++) {
			q[b] = ratio(get(b == 1 ? "2" : "icount", group, mech, param, metric),
				     get(b == 1 ? "2" : "icount", group, other, param, metric))
			if (flip) q[b] = ratio(1, q[b])
		}
		target(what ": " mech, sense, limit, q[1], q[2],
		       slack(group, mech, param, other, param, metric), why)
	}
}

# The greatest growth of the cost per page from one number of pages to the next.
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
			if (q != "" && q > worst) {
				worst = q
				worst_at = count[c] " pages of " size[i]
			}
			last = now
		}
	}
	return worst
}

function by_growth(mech,	wall, counted) {
	counted = worst_growth("icount", mech)
	wall = worst_growth("2", mech)
	target("cost per page with more pages written, against fewer: " mech, "<=", 1.1, wall,
	       counted, 0.1, "The worst step is the one to " worst_at "." (counted > 1.1 ? "" : \
	       " Instructions do not show it; cache misses may cause it, which were not measured."))
}

function by_ring(	against) {
	against = "memfd-and-tripwire-doorbell"
	target("ring of 64 KiB payload, in one file with the doorbell against a plain memfd", "<=", 1.05,
	       ratio(get("2", "ring", "one-tripwire-file", "payload=64KiB", "time"),
		     get("2", "ring", against, "payload=64KiB", "time")),
	       ratio(get("icount", "ring", "one-tripwire-file", "payload=64KiB", "time"),
		     get("icount", "ring", against, "payload=64KiB", "time")),
	       slack("ring", "one-tripwire-file", "payload=64KiB", against, "payload=64KiB", "time"))
}

function by_report(	param) {
	param = "pages=1,resident=1024MiB"
	target("one written page among many, PAGEMAP_SCAN against read of a watch", ">=", 100,
	       ratio(get("2", "report", "uffd-async", param, "rearm"),
		     get("2", "report", "tripwire-watch", param, "rearm")),
	       ratio(get("icount", "report", "uffd-async", param, "rearm"),
		     get("icount", "report", "tripwire-watch", param, "rearm")),
	       slack("report", "uffd-async", param, "tripwire-watch", param, "rearm"))
}

# Of 256 MiB, 64 pages lie under as many page tables.
function by_acks(what, limit, mech, pages, size, mech2, pages2, size2, why,	param, param2) {
	param = "pages=" pages ",resident=" size
	param2 = "pages=" pages2 ",resident=" size2
	target(what, "<=", limit,
	       ratio(get("2", "rearm", mech, param, "rearm"), get("2", "rearm", mech2, param2, "rearm")),
	       ratio(get("icount", "rearm", mech, param, "rearm"),
		     get("icount", "rearm", mech2, param2, "rearm")),
	       slack("rearm", mech, param, mech2, param2, "rearm"), why)
}

function huge_ratio(boot, metric) {
	return ratio(get(boot, "huge", "tripwire-ack", "pages=1,size=2MiB", metric),
		     get(boot, "huge", "tripwire-ack", "pages=1,size=4KiB", metric))
}

# The limit is that of a logarithm: from 1 to 4096, 1 + log2(n) grows to 13.
function by_watches(what, metric) {
	target(what ", 4096 watches against 1", "<=", 13,
	       ratio(get("2", "watches", "tripwire-watch", "watches=4096", metric),
		     get("2", "watches", "tripwire-watch", "watches=1", metric)),
	       ratio(get("icount", "watches", "tripwire-watch", "watches=4096", metric),
		     get("icount", "watches", "tripwire-watch", "watches=1", metric)),
	       slack("watches", "tripwire-watch", "watches=4096", "tripwire-watch", "watches=1", metric))
}

# Instructions of the TLB flush, without the walks of rmap and page tables.
function flushing(name) {
	return spent(name, "flush_tlb_mm_range") + spent(name, "flush_tlb_func") + \
	       spent(name, "tlb_finish_mmu") + spent(name, "tlb_gather_mmu") + \
	       spent(name, "tlb_batch_pages_flush")
}

function a_page(name, of) { return number(spent(name, of) / 64) }

function all_targets(	flush, far) {
	by_store("tripwire-ack", "store-armed")
	by_store("tripwire-watch", "store-watched")
	ours("delay of the producer, uffd-wp against ours", ">=", 15, "held", "asleep", "p50", "uffd-wp", 1,
	     "Most of the delay is the wake-up: eventfd, which does nothing else, is at " \
	     times(ratio(get("2", "held", "uffd-wp", "asleep", "p50"),
			 get("2", "held", "eventfd", "asleep", "p50"))) " by the wall clock and " \
	     times(ratio(get("icount", "held", "uffd-wp", "asleep", "p50"),
			 get("icount", "held", "eventfd", "asleep", "p50"))) " in instructions.")
	flush = "eventfd has nothing to re-arm. The ACK of one page takes " \
		number(path("ack-1-page")) " instructions, " flushing("ack-1-page") \
		" of them for the flush; the read of a watch takes " \
		number(path("watch-read-1-page")) ", with the report. By the wall clock the flush" \
		" costs more: QEMU drops its shortcuts to translated code with the TLB, and the ACK" \
		" of a mapping in use waits for the producer's CPU."
	ours("consumer's CPU per doorbell at 10,000/s, against eventfd", "<=", 1.5, "rate",
	     "10000/s", "consumer-cost", "eventfd", 0, flush)
	ours("round trip, consumer asleep, against eventfd", "<=", 1.15, "roundtrip", "asleep", "p50",
	     "eventfd", 0, flush)
	ours("round trip, consumer awake, against eventfd", "", 0, "roundtrip", "awake", "p50",
	     "eventfd", 0)
	by_growth("tripwire-ack")
	by_growth("tripwire-watch")
	by_acks("ACK of 65,536 pages, against UFFDIO_WRITEPROTECT", 4, "tripwire-ack", 65536,
		"256MiB", "uffd-wp", 65536, "256MiB")
	far = "ack-64-scattered"
	by_acks("ACK of 64 pages in as many page tables, against 1 page", 15, "tripwire-ack", 64,
		"256MiB", "tripwire-ack", 1, "256MiB",
		"Of the instructions per page, " a_page(far, "xas_find_marked") " find it, " \
		a_page(far, "xas_load") " look it up again to clear its mark, and " \
		a_page(far, "mapping_mkclean_folios") " + " a_page(far, "mm_find_pmd") " + " \
		a_page(far, "pte_offset_map_lock") " reach its page table and arm it. The system" \
		" call and the flush, which the 64 pages share, are a small part of an ACK of 1 page.")
	by_acks("ACK of 1 page, of 256 MiB resident against 1 MiB", 1.5, "tripwire-ack", 1,
		"256MiB", "tripwire-ack", 1, "1MiB")
	by_acks("ACK of 1 page, of a sparse 1 TiB against 1 MiB", 1.5, "tripwire-ack", 1,
		"sparse-1TiB", "tripwire-ack", 1, "1MiB")
	# Only in instructions: TCG drops all translations to flush a huge page.
	target("store to a huge page, against a small one, in instructions", "<=", 1.5, "",
	       huge_ratio("icount", "store"))
	target("ACK of a huge page, against a small one, in instructions", "<=", 1.5, "",
	       huge_ratio("icount", "rearm"))
	by_ring()
	by_report()
	by_watches("store", "store")
	by_watches("read of a watch", "read")
}

END {
	all_targets()
	if (form == "text") {
		printf "%-76s %-14s %9s %-12s  %9s %s\n", "", "target", "wall", "", "instr.", ""
		for (i = 1; i <= targets; i++)
			printf "%-76s %-14s %9s %-12s  %9s %s\n", what_of[i], limit_of[i],
			       times(wall_of[i]), verdict[i, "wall"], times(counted_of[i]),
			       verdict[i, "counted"]
	}
}
