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
 * A mapping that is writable and clean has not seen the store of its fault yet,
 * see vmf_store_sets_dirty(). A pass spares it for so long, since a producer
 * whose mapping is revoked faults again.
 */
#define TRIPWIRE_SPARE_MAX	(10 * NSEC_PER_MSEC)

/* Bounds of the delay until a spared folio is re-raised. */
#define TRIPWIRE_SPARE_DELAY_MIN	(10 * NSEC_PER_USEC)
#define TRIPWIRE_SPARE_DELAY_MAX	(1 * NSEC_PER_MSEC)

/*
 * While a folio is spared its private field, which shmem does not use in the
 * page cache, holds the time of the first pass that spared it. The lowest bit
 * says that this pass does. Under the folio lock.
 */
#define TRIPWIRE_SPARED_NOW	1UL

static unsigned long tripwire_now(void)
{
	return ktime_get_ns() & ~TRIPWIRE_SPARED_NOW;
}

static bool tripwire_spare(struct folio *folio)
{
	unsigned long since = (unsigned long)folio->private & ~TRIPWIRE_SPARED_NOW;
	unsigned long now = tripwire_now();

	if (!since)
		since = now;
	else if (now - since >= TRIPWIRE_SPARE_MAX)
		return false;
	folio->private = (void *)(since | TRIPWIRE_SPARED_NOW);
	return true;
}

/*
 * Whether this pass has spared a mapping of @folio. If it has not, all are
 * revoked, and the next store has its full time again.
 */
static bool tripwire_was_spared(struct rearm_control *rc, struct folio *folio)
{
	unsigned long since = (unsigned long)folio->private;

	if (!since)
		return false;
	if (!(since & TRIPWIRE_SPARED_NOW)) {
		folio->private = NULL;
		return false;
	}
	since &= ~TRIPWIRE_SPARED_NOW;
	folio->private = (void *)since;
	rc->spared = true;
	rc->spared_delay = min(rc->spared_delay, tripwire_now() - since);
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
 * Clear the mark of a page in swap, under i_pages. Nothing maps it, and reclaim
 * has flushed before it wrote the page. To log it the lock is dropped. If
 * something was raised meanwhile, it may be a store to this page, which went to
 * swap again: the mark stays.
 */
static void tripwire_pass_swapped(struct inode *inode, struct rearm_control *rc,
				  struct xa_state *xas)
{
	struct tripwire_range range = tripwire_entry_range(xas);
	struct memfd_tripwire *tripwire = tripwire_of(inode);
	s64 events = atomic64_read(&tripwire->events);

	if (tripwire_has_watches(tripwire)) {
		xas_unlock_irq(xas);
		tripwire_log(tripwire, range, rc->watch);
		xas_lock_irq(xas);
		xas_set(xas, range.start);
		if (!xa_is_value(xas_load(xas)) || atomic64_read(&tripwire->events) != events)
			goto next;
	}
	xas_clear_mark(xas, TRIPWIRE_GRANTED);
next:
	xas_set(xas, range.last + 1);
}

/*
 * Lock the next granted folios. Returns 1 if the pass may go on, 0 at its end,
 * and -EINTR on a fatal signal. A folio that is found locked is about to leave
 * a fault, in another pass or in migration: the pass waits for it if it would
 * be the first of its batch. A locked folio stays in the page cache and needs
 * no reference.
 */
static int tripwire_lock_granted(struct inode *inode, struct rearm_control *rc)
{
	struct address_space *mapping = inode->i_mapping;
	XA_STATE(xas, &mapping->i_pages, rc->index);
	unsigned int looked = 0;
	struct folio *folio;
	int err;

	rc->nr = 0;
	if (rc->full || !mapping_tagged(mapping, TRIPWIRE_GRANTED))
		return 0;

	xas_lock_irq(&xas);
	xas_for_each_marked(&xas, folio, rc->last, TRIPWIRE_GRANTED) {
		bool swapped = xa_is_value(folio);
		bool locked = !swapped && folio_trylock(folio);

		/* Logging may take long: not with folios locked. */
		if (swapped && rc->nr && tripwire_has_watches(tripwire_of(inode)))
			break;
		if (rc->nowait && !swapped && !locked) {
			rc->skipped = true;
			goto next;
		}
		if (rc->watch && !tripwire_report(rc, tripwire_entry_range(&xas))) {
			if (locked)
				folio_unlock(folio);
			break;
		}
		if (swapped) {
			tripwire_pass_swapped(inode, rc, &xas);
			goto next;
		}
		/* Wait for none before the locked ones are revoked. */
		if (!locked)
			break;
		rc->folios[rc->nr++] = folio;
		if (rc->nr == TRIPWIRE_BATCH)
			break;
next:
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
	bool spared, pinned;
	unsigned int i;

	mapping_mkclean_folios(mapping, rc->folios, rc->nr, tripwire_spare);
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
		spared = tripwire_was_spared(rc, folio);
		pinned = folio_maybe_dma_pinned(folio);
		rc->pinned |= pinned;
		if (!spared && !pinned) {
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
		tripwire_reraise_in(tripwire, rc->watch, false,
				    clamp(rc->spared_delay, TRIPWIRE_SPARE_DELAY_MIN,
					  TRIPWIRE_SPARE_DELAY_MAX));
	else if (rc->pinned)
		tripwire_reraise_in(tripwire, rc->watch, true, 0);
}
