// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - marks, events and notifications
 */

#include <linux/cleanup.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/memfd_tripwire.h>
#include <linux/pagemap.h>
#include <linux/poll.h>
#include <uapi/linux/memfd_tripwire.h>

#include "memfd_tripwire_internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/memfd_tripwire.h>

static bool range_meets(struct tripwire_range a, struct tripwire_range b)
{
	return (a.start <= b.last || a.start - 1 == b.last) &&
	       (b.start <= a.last || b.start - 1 == a.last);
}

/**
 * tripwire_ranges_add() - Add a run of pages to a set
 * @ranges: The set.
 * @new: The run. It is merged with the runs that it overlaps or touches.
 *
 * Return: False if the set has no room for one more run; it is unchanged then.
 */
bool tripwire_ranges_add(struct tripwire_ranges *ranges, struct tripwire_range new)
{
	struct tripwire_range *range = ranges->range;
	unsigned int from = ranges->nr, to;

	/* Most runs are added at the end. */
	while (from && (range[from - 1].last >= new.start || range_meets(range[from - 1], new)))
		from--;
	for (to = from; to < ranges->nr && range_meets(range[to], new); to++) {
		new.start = min(new.start, range[to].start);
		new.last = max(new.last, range[to].last);
	}
	if (from == to && ranges->nr == ranges->max)
		return false;
	memmove(&range[from + 1], &range[to], (ranges->nr - to) * sizeof(*range));
	range[from] = new;
	ranges->nr += 1 - (to - from);
	return true;
}

/**
 * watch_clip() - Clip a run of pages to a watch
 * @watch: The watch.
 * @range: The run, which overlaps the watch.
 *
 * Return: The pages of @range that @watch covers.
 */
struct tripwire_range watch_clip(const struct tripwire_watch *watch, struct tripwire_range range)
{
	range.start = max(range.start, watch->node.start);
	range.last = min(range.last, watch->node.last);
	return range;
}

/**
 * watch_log() - Log a run of pages to a watch
 * @watch: The watch.
 * @range: The run. Pages outside of the watch are ignored.
 *
 * A full log becomes one run from the first to the last page that it holds: the
 * report may be too large, but never too small.
 *
 * Context: Under the lock of the memfd_tripwire.
 */
void watch_log(struct tripwire_watch *watch, struct tripwire_range range)
{
	struct tripwire_ranges *log = &watch->log;

	lockdep_assert_held(&watch_tripwire(watch)->lock);
	range = watch_clip(watch, range);
	if (tripwire_ranges_add(log, range))
		return;
	log->range[0].start = min(log->range[0].start, range.start);
	log->range[0].last = max(log->range[log->nr - 1].last, range.last);
	log->nr = 1;
}

/**
 * watch_has_something() - Check whether a read of a watch has what to report
 * @watch: The watch.
 *
 * Context: Under the lock of the memfd_tripwire, which keeps logs as they are.
 * Return: True if pages in its range are marked or logged.
 */
bool watch_has_something(struct tripwire_watch *watch)
{
	struct address_space *mapping = watch->file->f_mapping;
	unsigned long index = watch->node.start;

	lockdep_assert_held(&watch_tripwire(watch)->lock);
	return watch->log.nr || (mapping_tagged(mapping, TRIPWIRE_GRANTED) &&
		xa_find(&mapping->i_pages, &index, watch->node.last, TRIPWIRE_GRANTED));
}

/* False if the watch was pending already. */
static bool watch_wake(struct tripwire_watch *watch)
{
	lockdep_assert_held(&watch_tripwire(watch)->lock);
	if (watch->pending)
		return false;
	WRITE_ONCE(watch->pending, true);
	if (wq_has_sleeper(&watch->wait))
		wake_up_poll(&watch->wait, EPOLLIN | EPOLLRDNORM);
	return true;
}

/**
 * watch_notify() - Make a watch pending and wake its readers and pollers
 * @watch: The watch.
 *
 * Does nothing if the watch is pending already.
 *
 * Context: Under the lock of the memfd_tripwire.
 */
void watch_notify(struct tripwire_watch *watch)
{
	if (watch_wake(watch) && watch->eventfd)
		eventfd_signal(watch->eventfd);
}

/*
 * The watch after @watch that covers a part of @range; the first one for NULL.
 */
static struct tripwire_watch *watch_next(struct memfd_tripwire *tripwire,
					 struct tripwire_watch *watch,
					 const struct tripwire_range *range)
{
	struct interval_tree_node *node;

	lockdep_assert_held(&tripwire->lock);
	do {
		if (watch)
			node = interval_tree_iter_next(&watch->node, range->start, range->last);
		else
			node = interval_tree_iter_first(&tripwire->watches, range->start,
							range->last);
		watch = node ? container_of(node, struct tripwire_watch, node) : NULL;
	} while (watch && watch->closed);
	return watch;
}

static void watch_free(struct memfd_tripwire *tripwire, struct tripwire_watch *watch)
{
	if (!RB_EMPTY_NODE(&watch->node.rb))
		interval_tree_remove(&watch->node, &tripwire->watches);
	if (watch->eventfd)
		eventfd_ctx_put(watch->eventfd);
	kfree(watch);
}

static void watch_unhold(struct memfd_tripwire *tripwire, struct tripwire_watch *watch)
{
	lockdep_assert_held(&tripwire->lock);
	if (!--watch->holds && watch->closed)
		watch_free(tripwire, watch);
}

/**
 * watch_close() - Free a watch, or leave that to the last walk that holds it
 * @tripwire: The memfd_tripwire.
 * @watch: The watch.
 *
 * Context: Under the lock of the memfd_tripwire.
 */
void watch_close(struct memfd_tripwire *tripwire, struct tripwire_watch *watch)
{
	lockdep_assert_held(&tripwire->lock);
	watch->closed = true;
	if (!watch->holds)
		watch_free(tripwire, watch);
}

/*
 * Visit the watches that cover a part of @range, under the lock, which is
 * dropped between batches. The walk holds the watch at which it goes on.
 */
static void tripwire_visit_watches(struct memfd_tripwire *tripwire,
				   const struct tripwire_range *range,
				   void (*visit)(struct tripwire_watch *watch, void *arg),
				   void *arg)
{
	struct tripwire_watch *watch = NULL, *held = NULL;
	unsigned int i;

	do {
		scoped_guard(spinlock_irq, &tripwire->lock) {
			for (i = 0; i < TRIPWIRE_WATCH_BATCH; i++) {
				watch = watch_next(tripwire, watch, range);
				if (!watch)
					break;
				visit(watch, arg);
			}
			if (held)
				watch_unhold(tripwire, held);
			held = watch;
			if (held)
				held->holds++;
		}
		cond_resched();
	} while (watch);
}

struct tripwire_log_entry {
	struct tripwire_range range;
	const struct tripwire_watch *except;
};

static void watch_visit_log(struct tripwire_watch *watch, void *arg)
{
	const struct tripwire_log_entry *entry = arg;

	if (watch != entry->except)
		watch_log(watch, entry->range);
}

/**
 * tripwire_log() - Log a range to the watches that cover it
 * @tripwire: The memfd_tripwire.
 * @range: Pages that have lost their mark, or are about to.
 * @except: The watch that reports them itself, or NULL.
 *
 * The caller keeps the pages from being granted and revoked meanwhile, or their
 * marks are gone already: each watch has the log entry when the mark goes.
 *
 * Context: Process, interrupts on.
 */
void tripwire_log(struct memfd_tripwire *tripwire, struct tripwire_range range,
		  const struct tripwire_watch *except)
{
	struct tripwire_log_entry entry = { range, except };

	/* A watch that is not seen here starts after the change. */
	if (tripwire_has_watches(tripwire))
		tripwire_visit_watches(tripwire, &range, watch_visit_log, &entry);
}

/*
 * Signal the eventfds of the watches that a batch made pending, each one once.
 * All of the watches are pending before: the consumer that wakes looks at each.
 */
static void tripwire_signal_batch(struct tripwire_watch **woken, unsigned int nr)
{
	unsigned int i, j;

	for (i = 0; i < nr; i++) {
		for (j = 0; j < i && woken[j]->eventfd != woken[i]->eventfd; j++)
			;
		if (j == i)
			eventfd_signal(woken[i]->eventfd);
	}
}

/* Notify the watches of a range by the work, in batches. */
static void tripwire_defer_notify(struct memfd_tripwire *tripwire, struct tripwire_range range)
{
	struct tripwire_range *next = &tripwire->notify_next;

	next->start = min(next->start, range.start);
	next->last = max(next->last, range.last);
	queue_work(system_dfl_wq, &tripwire->notify);
}

/*
 * Bounded, since the caller holds a CPU: it may have interrupts off and a page
 * table lock held. So only the first watches are notified here. If there are
 * more, the eventfds wait as well, for an eventfd that others share must not be
 * signalled before all of them are pending. With @logged, the change was logged
 * and has no mark: a read may have reported it since.
 */
static void tripwire_notify_watches(struct memfd_tripwire *tripwire, struct tripwire_range range,
				    bool logged)
{
	struct tripwire_watch *woken[TRIPWIRE_WATCH_BATCH];
	struct tripwire_watch *watch = NULL;
	unsigned int seen = 0, nr = 0, i;

	guard(spinlock_irqsave)(&tripwire->lock);
	while ((watch = watch_next(tripwire, watch, &range))) {
		if (seen++ == TRIPWIRE_WATCH_BATCH) {
			for (i = 0; i < nr; i++)
				woken[i]->signal = true;
			tripwire_defer_notify(tripwire, range);
			return;
		}
		if (logged && !watch_has_something(watch))
			continue;
		if (watch_wake(watch) && watch->eventfd)
			woken[nr++] = watch;
	}
	tripwire_signal_batch(woken, nr);
}

static void watch_visit_wake(struct tripwire_watch *watch, void *arg)
{
	watch->signal |= watch_has_something(watch) && watch_wake(watch) && watch->eventfd;
}

static void watch_visit_signal(struct tripwire_watch *watch, void *arg)
{
	struct tripwire_watch **signalled = arg;

	if (!watch->signal)
		return;
	watch->signal = false;
	if (*signalled && (*signalled)->eventfd == watch->eventfd)
		return;
	eventfd_signal(watch->eventfd);
	if (*signalled)
		watch_unhold(watch_tripwire(watch), *signalled);
	*signalled = watch;
	watch->holds++;
}

/**
 * tripwire_notify_rest() - Notify the watches that a raise did not
 * @work: The work of a memfd_tripwire.
 *
 * First makes all watches of the range pending, then signals their eventfds. An
 * eventfd that neighbours share is signalled once.
 *
 * Context: Process. Interrupts are on between batches.
 */
void tripwire_notify_rest(struct work_struct *work)
{
	struct memfd_tripwire *tripwire = container_of(work, struct memfd_tripwire, notify);
	struct tripwire_watch *signalled = NULL;
	struct tripwire_range range;

	for (;;) {
		scoped_guard(spinlock_irq, &tripwire->lock) {
			if (signalled)
				watch_unhold(tripwire, signalled);
			signalled = NULL;
			range = tripwire->notify_next;
			if (range.start > range.last)
				return;
			tripwire->notify_next = (struct tripwire_range){ ULONG_MAX, 0 };
		}
		tripwire_visit_watches(tripwire, &range, watch_visit_wake, NULL);
		tripwire_visit_watches(tripwire, &range, watch_visit_signal, &signalled);
	}
}

static void tripwire_wake(struct memfd_tripwire *tripwire)
{
	/* The event comes before the look for sleepers, see tripwire_poll(). */
	if (waitqueue_active(&tripwire->wait))
		wake_up_poll(&tripwire->wait, EPOLLIN | EPOLLRDNORM);
}

static void tripwire_grant(struct address_space *mapping, struct folio *folio)
{
	unsigned long flags;

	xa_lock_irqsave(&mapping->i_pages, flags);
	__xa_set_mark(&mapping->i_pages, folio->index, TRIPWIRE_GRANTED);
	xa_unlock_irqrestore(&mapping->i_pages, flags);
}

static void tripwire_raise(struct inode *inode, struct tripwire_range range)
{
	struct memfd_tripwire *tripwire = tripwire_of(inode);

	/*
	 * Fully ordered: the change, and its mark, come before the event, see
	 * tripwire_ack(), and before the look for watches.
	 */
	atomic64_inc_return(&tripwire->events);
	trace_memfd_tripwire_event(inode, range.start, range.last);
	tripwire_wake(tripwire);
}

/**
 * tripwire_raise_folio() - Grant a folio and raise an event
 * @inode: Inode of the memfd_tripwire.
 * @folio: Locked folio of @inode whose contents change, or are about to.
 *
 * A write fault gets here before its PTE becomes writable, and keeps the folio
 * locked until it is.
 *
 * Context: Any. Called under page table locks, with interrupts in any state.
 */
void tripwire_raise_folio(struct inode *inode, struct folio *folio)
{
	struct memfd_tripwire *tripwire = tripwire_of(inode);
	struct tripwire_range range = tripwire_folio_range(folio);

	tripwire_grant(inode->i_mapping, folio);
	tripwire_raise(inode, range);
	if (tripwire_has_watches(tripwire))
		tripwire_notify_watches(tripwire, range, false);
}

static struct tripwire_range tripwire_byte_range(loff_t start, loff_t end)
{
	return (struct tripwire_range){ start >> PAGE_SHIFT, (end - 1) >> PAGE_SHIFT };
}

/**
 * memfd_tripwire_changing() - Log pages that are about to be removed
 * @inode: A shmem inode that is truncated or into which a hole is punched.
 * @start: Start of the removal, in bytes.
 * @end: End of the removal, in bytes, exclusive; @start removes nothing.
 *
 * The marks go with the pages. A watch that is pending for one of them finds
 * the log entry instead.
 *
 * Context: Process, between unmapping and removal. May reschedule. Does nothing
 * if @inode is no memfd_tripwire.
 */
void memfd_tripwire_changing(struct inode *inode, loff_t start, loff_t end)
{
	if (mapping_writes_tracked(inode->i_mapping) && start < end)
		tripwire_log(tripwire_of(inode), tripwire_byte_range(start, end), NULL);
}

/**
 * memfd_tripwire_changed() - Raise an event for a change that dirties no folio
 * @inode: A shmem inode whose size changed or into which a hole was punched.
 * @start: Start of the change, in bytes.
 * @end: End of the change, in bytes, exclusive.
 *
 * The pages may be gone, and their marks with them, so that watches report what
 * is logged here.
 *
 * Context: Process, after the change. May reschedule. Does nothing if @inode is
 * no memfd_tripwire.
 */
void memfd_tripwire_changed(struct inode *inode, loff_t start, loff_t end)
{
	struct tripwire_range range = tripwire_byte_range(start, end);

	if (!mapping_writes_tracked(inode->i_mapping))
		return;
	tripwire_raise(inode, range);
	if (!tripwire_has_watches(tripwire_of(inode)))
		return;
	tripwire_log(tripwire_of(inode), range, NULL);
	tripwire_notify_watches(tripwire_of(inode), range, true);
}

/**
 * tripwire_reraise() - Raise again for folios that a pass left granted
 * @timer: The timer of a memfd_tripwire.
 *
 * Context: Soft interrupt.
 * Return: HRTIMER_NORESTART.
 */
enum hrtimer_restart tripwire_reraise(struct hrtimer *timer)
{
	struct memfd_tripwire *tripwire = container_of(timer, struct memfd_tripwire, reraise);
	struct tripwire_watch *woken[TRIPWIRE_WATCH_BATCH];
	struct tripwire_watch *watch;
	unsigned int i, nr;
	bool file;

	scoped_guard(spinlock_irqsave, &tripwire->lock) {
		file = tripwire->reraise_file;
		tripwire->reraise_file = false;
	}
	if (file) {
		atomic64_inc_return(&tripwire->events);
		tripwire_wake(tripwire);
	}
	do {
		guard(spinlock_irqsave)(&tripwire->lock);
		for (i = 0, nr = 0; i < TRIPWIRE_WATCH_BATCH; i++) {
			watch = list_first_entry_or_null(&tripwire->reraise_watches,
							 struct tripwire_watch, reraise);
			if (!watch)
				break;
			list_del_init(&watch->reraise);
			if (watch_has_something(watch) && watch_wake(watch) && watch->eventfd)
				woken[nr++] = watch;
		}
		tripwire_signal_batch(woken, nr);
	} while (watch);

	return HRTIMER_NORESTART;
}

/**
 * tripwire_reraise_in() - Raise again for what a pass left granted
 * @tripwire: The memfd_tripwire.
 * @watch: The watch whose pass it was; NULL for an ACK of the file.
 * @pinned: The folios are pinned: the delay doubles from one time to the next.
 * @delay: The latest time to raise, in ns from now. For pinned folios the delay
 *	   of the memfd_tripwire is taken.
 *
 * A timer that fires earlier is left alone: the event that it raises is newer
 * than the one that the pass noted.
 *
 * Context: Process.
 */
void tripwire_reraise_in(struct memfd_tripwire *tripwire, struct tripwire_watch *watch,
			 bool pinned, u64 delay)
{
	guard(spinlock_irq)(&tripwire->lock);
	if (!watch)
		tripwire->reraise_file = true;
	else if (list_empty(&watch->reraise))
		list_add_tail(&watch->reraise, &tripwire->reraise_watches);

	if (pinned)
		delay = READ_ONCE(tripwire->pin_delay);
	if (hrtimer_is_queued(&tripwire->reraise) &&
	    hrtimer_get_remaining(&tripwire->reraise) <= (s64)delay)
		return;
	hrtimer_start(&tripwire->reraise, ns_to_ktime(delay), HRTIMER_MODE_REL_SOFT);
	if (pinned)
		WRITE_ONCE(tripwire->pin_delay, min(2 * delay, TRIPWIRE_PIN_MAX));
}
