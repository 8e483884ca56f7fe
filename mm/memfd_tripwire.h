/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - what the file and its watches share
 */
#ifndef _MM_MEMFD_TRIPWIRE_H
#define _MM_MEMFD_TRIPWIRE_H

#include <linux/atomic.h>
#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/shmem_fs.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

struct tripwire_watch;

/**
 * struct memfd_tripwire - what the inode owns
 * @events: Changes so far, starting at 1; bumped by each raise. Lockless.
 * @wait: Where the consumers of the file's descriptions sleep.
 * @watch_only: Whether the file itself has no consumers. Constant.
 * @acks: ACKs so far, of the file and of watches, for the curious. Lockless.
 * @retell: Raises for what an ACK had to leave granted.
 * @retell_file: It raises for the file's consumers. Under @lock.
 * @retell_watches: It raises for these watches too. Under @lock.
 * @pin_delay: The next delay for pinned folios, in ns. Lockless.
 * @met_streak: How often ACKs met a locked folio in quick succession. Lockless.
 * @met: When last, in ns. Lockless.
 * @hot_until: ACKs leave all granted until then, in ns. Lockless.
 * @lock: Protects the watches; innermost but for the wait queues' locks.
 * @watches: By the range of pages that they watch. Under @lock.
 * @nr_watches: How many. Changed under @lock.
 */
struct memfd_tripwire {
	atomic64_t events;
	wait_queue_head_t wait;
	bool watch_only;
	atomic64_t acks;

	struct hrtimer retell;
	bool retell_file;
	struct list_head retell_watches;
	u64 pin_delay;

	unsigned int met_streak;
	u64 met;
	u64 hot_until;

	spinlock_t lock;
	struct rb_root_cached watches;
	unsigned int nr_watches;
};

static inline struct memfd_tripwire *tripwire_of(struct inode *inode)
{
	return SHMEM_I(inode)->tripwire;
}

/**
 * struct tripwire_range - a run of pages
 * @start: The first, as a page offset in the file.
 * @last: The last.
 */
struct tripwire_range {
	pgoff_t start;
	pgoff_t last;
};

/**
 * struct tripwire_ranges - a set of pages as a list of runs
 * @nr: How many there are.
 * @max: How many there may be.
 * @range: Ascending, with a gap between any two.
 */
struct tripwire_ranges {
	unsigned int nr;
	unsigned int max;
	struct tripwire_range range[] __counted_by(max);
};

bool tripwire_ranges_add(struct tripwire_ranges *ranges, struct tripwire_range new);

/* Folios that an ACK locks at a time. */
#define TRIPWIRE_BATCH		64

/**
 * struct tripwire_walk - how far an ACK has come
 * @index: Where to look next.
 * @last: Where to stop.
 * @watch: Whose ACK it is; NULL for the file's.
 * @report: Gets what was written; NULL if nobody asks.
 * @full: @report has no room for more; the walk has ended at @index or behind it.
 * @hot: Some folios were left granted for the producer's sake.
 * @pinned: Some are left granted since they are pinned.
 * @revoked: How many folios were re-armed so far.
 * @nr: How many folios are locked.
 * @folios: Which, in ascending order.
 */
struct tripwire_walk {
	pgoff_t index;
	pgoff_t last;
	struct tripwire_watch *watch;
	struct tripwire_ranges *report;
	bool full;
	bool hot;
	bool pinned;
	unsigned long revoked;
	unsigned int nr;
	struct folio *folios[TRIPWIRE_BATCH];
};

/* All but @folios: the stack need not be cleared for those. */
static inline void tripwire_init_walk(struct tripwire_walk *walk, struct tripwire_watch *watch,
				      struct tripwire_ranges *report)
{
	walk->index = 0;
	walk->last = ULONG_MAX;
	walk->watch = watch;
	walk->report = report;
	walk->full = false;
	walk->hot = false;
	walk->pinned = false;
	walk->revoked = 0;
	walk->nr = 0;
}

int tripwire_rearm(struct inode *inode, struct tripwire_walk *walk);
void tripwire_end_rearm(struct inode *inode, const struct tripwire_walk *walk);

int tripwire_add_watch(struct file *file, const void __user *arg, size_t size);
bool tripwire_report(struct tripwire_walk *walk, struct tripwire_range range);
void tripwire_tell_watches(struct memfd_tripwire *tripwire, struct tripwire_range range);
void tripwire_log_to_watches(struct memfd_tripwire *tripwire, struct tripwire_range range,
			     const struct tripwire_watch *except);
void tripwire_retell_watches(struct memfd_tripwire *tripwire);
void tripwire_retell_watch(struct memfd_tripwire *tripwire, struct tripwire_watch *watch);

/*
 * Whether anybody watches, without the lock, for who has a full barrier behind what
 * it has to tell. Adding a watch has one after it is published, and looks for marks
 * then. So either it is seen here, or what there is to tell came before it.
 */
static inline bool tripwire_has_watches(const struct memfd_tripwire *tripwire)
{
	return READ_ONCE(tripwire->nr_watches);
}

#endif /* _MM_MEMFD_TRIPWIRE_H */
