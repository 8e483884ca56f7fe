// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - the re-arming pass of an ACK or of a watch
 */

#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <trace/events/memfd_tripwire.h>

#include "internal.h"
#include "memfd_tripwire_internal.h"

/*
 * After so many passes in a row that met a locked folio, each within
 * TRIPWIRE_HOT_SOON of the last, all passes spare every folio for
 * TRIPWIRE_HOT_WINDOW. A producer needs a fraction of that from the fault to
 * its store, even for a store to two pages.
 */
#define TRIPWIRE_HOT_STREAK	8
#define TRIPWIRE_HOT_SOON	(100 * NSEC_PER_USEC)
#define TRIPWIRE_HOT_WINDOW	(50 * NSEC_PER_USEC)

/* Whether passes spare every folio now. Most files never get there. */
static bool tripwire_is_hot(const struct memfd_tripwire *tripwire)
{
	u64 until = READ_ONCE(tripwire->hot_until);

	return until && ktime_get_ns() < until;
}

/*
 * Count a pass that met a locked folio, most likely one in a fault. Returns
 * whether the file is hot now. Racy on purpose: the worst case is one extra
 * revocation or event.
 */
static bool tripwire_met_fault(struct memfd_tripwire *tripwire)
{
	u64 now = ktime_get_ns();
	unsigned int streak = 1;

	if (now - READ_ONCE(tripwire->met) < TRIPWIRE_HOT_SOON)
		streak += READ_ONCE(tripwire->met_streak);
	WRITE_ONCE(tripwire->met_streak, streak % TRIPWIRE_HOT_STREAK);
	WRITE_ONCE(tripwire->met, now);
	if (streak < TRIPWIRE_HOT_STREAK)
		return false;
	WRITE_ONCE(tripwire->hot_until, now + TRIPWIRE_HOT_WINDOW);
	return true;
}

/* The pages of the entry that @xas is at. */
static struct tripwire_range tripwire_entry_range(struct xa_state *xas)
{
	pgoff_t nr = 1UL << xas_get_order(xas);
	pgoff_t start = round_down(xas->xa_index, nr);

	return (struct tripwire_range){ start, start + nr - 1 };
}

/*
 * Report pages, if the pass does; false, and the pass is full, if they do not
 * fit.
 */
static bool tripwire_report(struct rearm_control *rc, struct tripwire_range range)
{
	if (rc->report)
		rc->full = !tripwire_ranges_add(rc->report, watch_clip(rc->watch, range));
	return !rc->full;
}

/*
 * Lock the next granted folios. Returns 1 if the pass may go on, 0 at its end,
 * and -EINTR on a fatal signal. A folio that is found locked is about to leave
 * a fault, in another pass or in migration: the pass waits for it if it would
 * be the first of its batch. A locked folio stays in the page cache and needs
 * no reference.
 *
 * Nothing maps a page in swap, and reclaim has flushed before it wrote that
 * page: only the mark of such an entry is left to be cleared.
 */
static int tripwire_lock_granted(struct inode *inode, struct rearm_control *rc)
{
	struct memfd_tripwire *tripwire = tripwire_of(inode);
	struct address_space *mapping = inode->i_mapping;
	XA_STATE(xas, &mapping->i_pages, rc->index);
	unsigned int looked = 0;
	struct folio *folio;
	bool hot;
	int err;

	rc->nr = 0;
	if (rc->full || !mapping_tagged(mapping, TRIPWIRE_GRANTED))
		return 0;
	hot = tripwire_is_hot(tripwire);

	xas_lock_irq(&xas);
	xas_for_each_marked(&xas, folio, rc->last, TRIPWIRE_GRANTED) {
		if (rc->watch && !tripwire_report(rc, tripwire_entry_range(&xas)))
			break;
		if (xa_is_value(folio)) {
			tripwire_log(tripwire, tripwire_entry_range(&xas), rc->watch);
			looked += READ_ONCE(tripwire->nr_watches);
			xas_clear_mark(&xas, TRIPWIRE_GRANTED);
		} else if (hot) {
			rc->spared = true;
		} else if (!folio_trylock(folio)) {
			/*
			 * Revoke the locked ones first, then wait for this one.
			 */
			if (rc->nr || !tripwire_met_fault(tripwire))
				break;
			rc->spared = true;
			hot = true;
		} else {
			rc->folios[rc->nr++] = folio;
			if (rc->nr == TRIPWIRE_BATCH)
				break;
		}
		if (++looked < XA_CHECK_SCHED)
			continue;

		looked = 0;
		xas_pause(&xas);
		xas_unlock_irq(&xas);
		cond_resched();
		xas_lock_irq(&xas);
	}
	if (!folio || rc->nr || rc->full) {
		xas_unlock_irq(&xas);
		return rc->nr > 0;
	}

	/*
	 * References are frozen under i_pages only: this one is safe to take.
	 */
	folio_get(folio);
	rc->index = xas.xa_index;
	xas_unlock_irq(&xas);
	err = folio_lock_killable(folio);
	if (err)
		goto put;
	/* If it was truncated, migrated or swapped out, look there again. */
	if (folio->mapping != mapping) {
		folio_unlock(folio);
	} else if (xa_get_mark(&mapping->i_pages, folio->index, TRIPWIRE_GRANTED)) {
		rc->folios[rc->nr++] = folio;
	} else {
		/* Another pass has revoked it. */
		rc->index = folio_next_index(folio);
		folio_unlock(folio);
	}
	err = 1;
put:
	folio_put(folio);
	return err;
}

/* Log the batch to the other watches, in runs, before the marks are cleared. */
static void tripwire_log_batch(struct memfd_tripwire *tripwire, struct rearm_control *rc)
{
	struct tripwire_range run;
	unsigned int i;

	for (i = 0; i < rc->nr; i++) {
		run = tripwire_folio_range(rc->folios[i]);
		while (i + 1 < rc->nr && rc->folios[i + 1]->index == run.last + 1)
			run.last = folio_next_index(rc->folios[++i]) - 1;
		tripwire_log(tripwire, run, rc->watch);
	}
}

static void tripwire_revoke(struct inode *inode, struct rearm_control *rc)
{
	struct address_space *mapping = inode->i_mapping;
	XA_STATE(xas, &mapping->i_pages, 0);
	struct folio *folio;
	unsigned int i;

	mapping_mkclean_folios(mapping, rc->folios, rc->nr);
	/*
	 * Pairs with GUP-fast, which looks at the PTE again after it has taken
	 * its pin: either it sees that the PTE is not writable, or the pin is
	 * seen here.
	 */
	smp_mb();

	if (tripwire_has_watches(tripwire_of(inode)))
		tripwire_log_batch(tripwire_of(inode), rc);

	/*
	 * The marks go last: a pass that finds a mark clear must find the
	 * stores landed. The page table locks were released after the flushes
	 * were due, and taking this lock comes after that. Unlocked under it,
	 * the folios are kept by the page cache until their waiters are woken.
	 */
	xas_lock_irq(&xas);
	for (i = 0; i < rc->nr; i++) {
		folio = rc->folios[i];
		if (i && folio->index == xas.xa_index + 1) {
			xas_next(&xas);
		} else {
			xas_set(&xas, folio->index);
			xas_load(&xas);
		}
		if (folio_maybe_dma_pinned(folio)) {
			rc->pinned = true;
		} else {
			xas_clear_mark(&xas, TRIPWIRE_GRANTED);
			rc->revoked++;
		}
		folio_unlock(folio);
	}
	xas_unlock_irq(&xas);
}

/**
 * tripwire_rearm() - Revoke what is granted in a range
 * @inode: Inode of the memfd_tripwire.
 * @rc: The pass. Its caller ends it with tripwire_end_rearm().
 *
 * The caller has noted the event before, with a full barrier behind it.
 *
 * Context: May sleep.
 * Return: 0; or -EINTR on a fatal signal, with a part of the range re-armed and
 * the rest still marked.
 */
int tripwire_rearm(struct inode *inode, struct rearm_control *rc)
{
	int err;

	while ((err = tripwire_lock_granted(inode, rc)) > 0) {
		if (rc->nr) {
			rc->index = folio_next_index(rc->folios[rc->nr - 1]);
			tripwire_revoke(inode, rc);
		}
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return err;
}

/**
 * tripwire_end_rearm() - Arrange for folios that stay granted to raise again
 * @inode: Inode of the memfd_tripwire.
 * @rc: The pass, done.
 *
 * Context: Process.
 */
void tripwire_end_rearm(struct inode *inode, const struct rearm_control *rc)
{
	struct memfd_tripwire *tripwire = tripwire_of(inode);

	/*
	 * A mark that another pass cleared was cleared after its flush: what
	 * the caller reads now must not miss the stores before that.
	 */
	smp_mb();
	atomic64_inc(&tripwire->acks);
	trace_memfd_tripwire_ack(inode, rc->watch, rc->revoked, rc->spared, rc->pinned);

	if (!rc->pinned)
		WRITE_ONCE(tripwire->pin_delay, TRIPWIRE_PIN_MIN);
	if (rc->spared)
		tripwire_reraise_in(tripwire, rc->watch, false, TRIPWIRE_HOT_WINDOW);
	else if (rc->pinned)
		tripwire_reraise_in(tripwire, rc->watch, true, 0);
}
