/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - what its four files share
 *
 * Declarations are in the order of the layers: each file uses only what stands
 * above its own part.
 */
#ifndef _MM_MEMFD_TRIPWIRE_INTERNAL_H
#define _MM_MEMFD_TRIPWIRE_INTERNAL_H

#include <linux/atomic.h>
#include <linux/hrtimer.h>
#include <linux/interval_tree.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/shmem_fs.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct eventfd_ctx;

/*
 * The mark of a granted folio. Shmem, which has no writeback, does not use it.
 */
#define TRIPWIRE_GRANTED	PAGECACHE_TAG_DIRTY

/* All flags of the system call, and of a watch. */
#define TRIPWIRE_FLAGS		(MEMFD_TRIPWIRE_WATCH_ONLY | MEMFD_TRIPWIRE_NOHUGE)
#define TRIPWIRE_WATCH_FLAGS	(MEMFD_TRIPWIRE_WATCH_NONBLOCK | MEMFD_TRIPWIRE_WATCH_EVENTFD)

/* Bounds of the delay after which pinned folios are re-raised. */
#define TRIPWIRE_PIN_MIN	(1 * NSEC_PER_MSEC)
#define TRIPWIRE_PIN_MAX	(64 * NSEC_PER_MSEC)

/* Watches that are notified or logged to with interrupts off, at a time. */
#define TRIPWIRE_WATCH_BATCH	32

/* Folios that a pass locks at a time. */
#define TRIPWIRE_BATCH		64

/**
 * struct tripwire_range - a run of pages
 * @start: Index of the first page.
 * @last: Index of the last page.
 */
struct tripwire_range {
	pgoff_t start;
	pgoff_t last;
};

/**
 * struct memfd_tripwire - what the inode owns
 * @events: Number of events, starting at 1. Lockless.
 * @wait: Wait queue of the file's consumers.
 * @watch_only: The file itself has no consumers. Constant.
 * @acks: Number of passes, by ACK and by watches. Statistics, lockless.
 * @reraise: Timer that raises again for folios which a pass left granted.
 * @reraise_file: The timer raises for the file's consumers. Under @lock.
 * @reraise_watches: Watches that the timer notifies. Under @lock.
 * @pin_delay: Next delay for pinned folios, in ns. Lockless.
 * @lock: Protects the watches. Only the locks of wait queues nest inside.
 * @watches: Interval tree of the watches, by page index. Under @lock.
 * @nr_watches: Number of watches. Written under @lock, read locklessly.
 * @notify: Work that notifies the watches that a raise did not.
 * @notify_next: Pages whose watches are to be notified; empty if the start is
 *		 above the end. Under @lock.
 */
struct memfd_tripwire {
	atomic64_t events;
	wait_queue_head_t wait;
	bool watch_only;
	atomic64_t acks;

	struct hrtimer reraise;
	bool reraise_file;
	struct list_head reraise_watches;
	u64 pin_delay;

	spinlock_t lock;
	struct rb_root_cached watches;
	unsigned int nr_watches;

	struct work_struct notify;
	struct tripwire_range notify_next;
};

/**
 * struct tripwire_ranges - a set of pages, as a list of runs
 * @nr: Number of runs.
 * @max: Room for runs.
 * @range: The runs, ascending, with a gap between any two.
 */
struct tripwire_ranges {
	unsigned int nr;
	unsigned int max;
	struct tripwire_range range[] __counted_by(max);
};

/**
 * struct tripwire_watch - what the file of a watch owns
 * @node: The watched range, in pages, in the interval tree. Constant.
 * @file: The memory file. The watch holds a reference.
 * @eventfd: Signalled when the watch becomes pending; or NULL. Constant.
 * @wait: Wait queue of readers and pollers.
 * @reraise: Entry in the list of the timer. Under the memfd_tripwire's lock.
 * @signal: The watch became pending, and its eventfd is to be signalled. Under
 *	    the memfd_tripwire's lock.
 * @closed: The file of the watch is gone. Under the memfd_tripwire's lock.
 * @holds: Walks over the watches that go on here. A closed watch is freed when
 *	   none is left. Under the memfd_tripwire's lock.
 * @pending: An event was raised since the last read began to collect. Written
 *	     under the memfd_tripwire's lock, read locklessly.
 * @cursor: Page index at which the next read begins. A hint, lockless.
 * @log: Ranges whose marks other passes cleared, or that were punched or
 *	 truncated. Under the memfd_tripwire's lock.
 */
struct tripwire_watch {
	struct interval_tree_node node;
	struct file *file;
	struct eventfd_ctx *eventfd;
	wait_queue_head_t wait;
	struct list_head reraise;
	bool signal;
	bool closed;
	unsigned int holds;
	bool pending;
	pgoff_t cursor;
	struct tripwire_ranges log;
};

/**
 * struct rearm_control - the state of one re-arming pass
 * @index: Page index at which the pass goes on.
 * @last: Page index at which it ends.
 * @watch: The watch that re-arms; NULL for an ACK of the file.
 * @report: Receives what was written; NULL if nothing is reported.
 * @nowait: Do not wait for a folio that is locked, but skip it.
 * @skipped: A folio was skipped. It keeps its mark.
 * @full: @report has no room left; the pass has ended at @index.
 * @spared: Folios were left granted because a store to them is still to come.
 * @spared_delay: The shortest time that one of them has been spared, in ns.
 * @pinned: Folios were left granted because they are pinned.
 * @revoked: Number of folios revoked so far.
 * @nr: Number of locked folios.
 * @folios: The locked folios, in ascending order of their index.
 */
struct rearm_control {
	pgoff_t index;
	pgoff_t last;
	struct tripwire_watch *watch;
	struct tripwire_ranges *report;
	bool nowait;
	bool skipped;
	bool full;
	bool spared;
	unsigned long spared_delay;
	bool pinned;
	unsigned long revoked;
	unsigned int nr;
	struct folio *folios[TRIPWIRE_BATCH];
};

static inline struct memfd_tripwire *tripwire_of(struct inode *inode)
{
	return SHMEM_I(inode)->tripwire;
}

static inline struct memfd_tripwire *watch_tripwire(const struct tripwire_watch *watch)
{
	return tripwire_of(file_inode(watch->file));
}

static inline struct tripwire_range tripwire_folio_range(struct folio *folio)
{
	return (struct tripwire_range){ folio->index, folio_next_index(folio) - 1 };
}

/*
 * Whether the file has watches, without the lock. The caller has a full barrier
 * between what it raises for and this. Adding a watch publishes it, has a full
 * barrier, and looks for marks after that. So either the watch is seen here, or
 * the new watch sees the mark.
 */
static inline bool tripwire_has_watches(const struct memfd_tripwire *tripwire)
{
	return READ_ONCE(tripwire->nr_watches);
}

/* Leaves @folios alone, so that the stack need not be cleared for them. */
static inline void rearm_control_init(struct rearm_control *rc, struct tripwire_watch *watch,
				      struct tripwire_ranges *report)
{
	rc->index = 0;
	rc->last = ULONG_MAX;
	rc->watch = watch;
	rc->report = report;
	rc->nowait = false;
	rc->skipped = false;
	rc->full = false;
	rc->spared = false;
	rc->spared_delay = ULONG_MAX;
	rc->pinned = false;
	rc->revoked = 0;
	rc->nr = 0;
}

/* mm/memfd_tripwire_event.c */
bool tripwire_ranges_add(struct tripwire_ranges *ranges, struct tripwire_range new);
struct tripwire_range watch_clip(const struct tripwire_watch *watch, struct tripwire_range range);
void watch_log(struct tripwire_watch *watch, struct tripwire_range range);
void watch_notify(struct tripwire_watch *watch);
bool watch_has_something(struct tripwire_watch *watch);
void watch_close(struct memfd_tripwire *tripwire, struct tripwire_watch *watch);
void tripwire_notify_rest(struct work_struct *work);
void tripwire_log(struct memfd_tripwire *tripwire, struct tripwire_range range,
		  const struct tripwire_watch *except);
void tripwire_raise_folio(struct inode *inode, struct folio *folio);
enum hrtimer_restart tripwire_reraise(struct hrtimer *timer);
void tripwire_reraise_in(struct memfd_tripwire *tripwire, struct tripwire_watch *watch,
			 bool pinned, u64 delay);

/* mm/memfd_tripwire_rearm.c */
int tripwire_rearm(struct inode *inode, struct rearm_control *rc);
void tripwire_end_rearm(struct inode *inode, const struct rearm_control *rc);

/* mm/memfd_tripwire_watch.c */
int tripwire_add_watch(struct file *file, const void __user *arg, size_t size);

#endif /* _MM_MEMFD_TRIPWIRE_INTERNAL_H */
