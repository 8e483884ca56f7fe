// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - watches: who is told of which pages
 */

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/interval_tree.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <uapi/linux/memfd_tripwire.h>

#include "memfd_tripwire.h"

/**
 * DOC: Watches
 *
 * A watch is a consumer with a range of its own. It is pending from the first
 * change of its range to the read(2) that begins to collect. A change in between
 * makes it pending anew, so that whoever waits for an edge gets one.
 *
 * What a read has to report is marked in the page cache, as for any ACK. But the
 * marks are shared: whoever takes one off first puts the folio down in the log of
 * each other watch over it. What loses its mark because the page goes, by hole
 * punch and truncation, is put down too. A log is of fixed size. When it is full,
 * it becomes one range from the first to the last page in it.
 *
 * A read takes its log, walks the marks, and looks at the log again: whoever took
 * a mark off before the walk got there has put it down by then. It holds no lock
 * while it writes to user memory. What it cannot deliver, it puts into the log.
 */

#define WATCH_LOG		16	/* ranges that others put down */
#define WATCH_REPORT		256	/* ranges that a read reports at most */
#define WATCH_MAX		8192	/* watches on a file */
#define WATCH_RETELL		32	/* watches that the timer tells at a time */
#define WATCH_TO_THE_END	((pgoff_t)(MAX_LFS_FILESIZE >> PAGE_SHIFT))

/**
 * struct tripwire_watch - what the watch's file owns
 * @node: The range, in pages; in the tree of the memfd_tripwire. Constant.
 * @file: The memory, which lives as long as the watch.
 * @eventfd: Signalled whenever the watch becomes pending; or NULL.
 * @wait: Where readers and pollers sleep.
 * @retell: On the list of those that the timer tells, or empty. Under its lock.
 * @pending: Something changed since the last read began to collect. Changed under
 *	     the lock of the memfd_tripwire.
 * @cursor: The page where the next read begins. Lockless, a hint.
 * @log: What others have found changed here. Under the same lock.
 */
struct tripwire_watch {
	struct interval_tree_node node;
	struct file *file;
	struct eventfd_ctx *eventfd;
	wait_queue_head_t wait;
	struct list_head retell;
	bool pending;
	pgoff_t cursor;
	struct tripwire_ranges log;
};

static struct memfd_tripwire *watch_tripwire(const struct tripwire_watch *watch)
{
	return tripwire_of(file_inode(watch->file));
}

static bool range_meets(struct tripwire_range a, struct tripwire_range b)
{
	return (a.start <= b.last || a.start - 1 == b.last) &&
	       (b.start <= a.last || b.start - 1 == a.last);
}

/**
 * tripwire_ranges_add - add a run of pages to a set
 * @ranges: The set.
 * @new: The run. It is merged with what it overlaps or touches.
 *
 * Return: False if that would make more than @ranges has room for.
 */
bool tripwire_ranges_add(struct tripwire_ranges *ranges, struct tripwire_range new)
{
	struct tripwire_range *range = ranges->range;
	unsigned int from = ranges->nr, to;

	/* New ones mostly go to the end. */
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

static struct tripwire_range watch_clip(const struct tripwire_watch *watch,
					struct tripwire_range range)
{
	range.start = max(range.start, watch->node.start);
	range.last = min(range.last, watch->node.last);
	return range;
}

static void watch_log(struct tripwire_watch *watch, struct tripwire_range range)
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

static void watch_tell(struct tripwire_watch *watch)
{
	lockdep_assert_held(&watch_tripwire(watch)->lock);
	if (watch->pending)
		return;
	WRITE_ONCE(watch->pending, true);
	if (wq_has_sleeper(&watch->wait))
		wake_up_poll(&watch->wait, EPOLLIN | EPOLLRDNORM);
	if (watch->eventfd)
		eventfd_signal(watch->eventfd);
}

/* The next watch over @range behind @watch, or the first one if that is NULL. */
static struct tripwire_watch *watch_next(struct memfd_tripwire *tripwire,
					 struct tripwire_watch *watch,
					 const struct tripwire_range *range)
{
	struct interval_tree_node *node;

	lockdep_assert_held(&tripwire->lock);
	if (watch)
		node = interval_tree_iter_next(&watch->node, range->start, range->last);
	else
		node = interval_tree_iter_first(&tripwire->watches, range->start, range->last);
	return node ? container_of(node, struct tripwire_watch, node) : NULL;
}

/**
 * tripwire_tell_watches - make the watches over a range pending
 * @tripwire: Of the file.
 * @range: What changed.
 *
 * Context: Any.
 */
void tripwire_tell_watches(struct memfd_tripwire *tripwire, struct tripwire_range range)
{
	struct tripwire_watch *watch = NULL;

	guard(spinlock_irqsave)(&tripwire->lock);
	while ((watch = watch_next(tripwire, watch, &range)))
		watch_tell(watch);
}

/**
 * tripwire_log_to_watches - put down what has lost, or is to lose, its mark
 * @tripwire: Of the file.
 * @range: The pages.
 * @except: The watch that reports them itself, or NULL.
 *
 * Context: Any.
 */
void tripwire_log_to_watches(struct memfd_tripwire *tripwire, struct tripwire_range range,
			     const struct tripwire_watch *except)
{
	struct tripwire_watch *watch = NULL;

	/* Who is not seen here starts watching after the change. */
	if (!tripwire_has_watches(tripwire))
		return;
	guard(spinlock_irqsave)(&tripwire->lock);
	while ((watch = watch_next(tripwire, watch, &range)))
		if (watch != except)
			watch_log(watch, range);
}

/**
 * tripwire_retell_watch - have the timer tell a watch
 * @tripwire: Of the file.
 * @watch: Which.
 *
 * Context: Under the lock of @tripwire.
 */
void tripwire_retell_watch(struct memfd_tripwire *tripwire, struct tripwire_watch *watch)
{
	lockdep_assert_held(&tripwire->lock);
	if (list_empty(&watch->retell))
		list_add_tail(&watch->retell, &tripwire->retell_watches);
}

/**
 * tripwire_retell_watches - tell the watches that the timer is to tell
 * @tripwire: Of the file.
 *
 * Context: Any; the timer's.
 */
void tripwire_retell_watches(struct memfd_tripwire *tripwire)
{
	struct tripwire_watch *watch;
	unsigned int i;

	do {
		/* A few at a time: interrupts are off. */
		guard(spinlock_irqsave)(&tripwire->lock);
		for (i = 0; i < WATCH_RETELL; i++) {
			watch = list_first_entry_or_null(&tripwire->retell_watches,
							 struct tripwire_watch, retell);
			if (!watch)
				return;
			list_del_init(&watch->retell);
			watch_tell(watch);
		}
	} while (1);
}

/**
 * tripwire_report - put down pages that the watch of an ACK has to report
 * @walk: The ACK. Becomes full if they do not fit.
 * @range: The pages. What is outside the watch is left out.
 *
 * Context: Under the lock of i_pages.
 * Return: Whether they could be put down.
 */
bool tripwire_report(struct tripwire_walk *walk, struct tripwire_range range)
{
	if (walk->report)
		walk->full = !tripwire_ranges_add(walk->report, watch_clip(walk->watch, range));
	return !walk->full;
}

/* Put ranges that are not delivered back, for the next read. */
static void watch_put_back(struct tripwire_watch *watch, const struct tripwire_range *range,
			   unsigned int nr)
{
	guard(spinlock_irq)(&watch_tripwire(watch)->lock);
	while (nr--)
		watch_log(watch, *range++);
	watch_tell(watch);
}

/*
 * The report has room for @want and a full log. Deliver @want of them, those from
 * the cursor on and then from the beginning; the rest fits the log. The next read
 * begins with what is left, or where the walk ended if that comes first.
 */
static void watch_cut(struct tripwire_watch *watch, struct tripwire_ranges *report,
		      unsigned int want, const struct tripwire_walk *walk)
{
	pgoff_t cursor = READ_ONCE(watch->cursor), next;
	struct tripwire_range *range = report->range;
	unsigned int first = 0, nr = report->nr, tail, i;

	if (nr <= want) {
		WRITE_ONCE(watch->cursor, watch->node.start);
		return;
	}
	while (first < nr && range[first].last < cursor)
		first++;
	first %= nr;
	next = range[(first + want) % nr].start;
	if (walk->full && walk->index - cursor < next - cursor)
		next = walk->index;
	WRITE_ONCE(watch->cursor, next);

	scoped_guard(spinlock_irq, &watch_tripwire(watch)->lock) {
		for (i = want; i < nr; i++)
			watch_log(watch, range[(first + i) % nr]);
		watch_tell(watch);
	}
	/* Those from the beginning stand there already. */
	tail = min(want, nr - first);
	memmove(range + want - tail, range + first, tail * sizeof(*range));
	report->nr = want;
}

/* Re-arm, and report @want ranges at most; none if another reader was faster. */
static int watch_collect(struct tripwire_watch *watch, struct tripwire_ranges *report,
			 unsigned int want)
{
	struct inode *inode = file_inode(watch->file);
	struct memfd_tripwire *tripwire = tripwire_of(inode);
	pgoff_t cursor = READ_ONCE(watch->cursor);
	struct tripwire_walk walk __uninitialized;
	int err;

	scoped_guard(spinlock_irq, &tripwire->lock) {
		if (!watch->pending)
			return 0;
		WRITE_ONCE(watch->pending, false);
		report->nr = watch->log.nr;
		memcpy(report->range, watch->log.range, report->nr * sizeof(*report->range));
		watch->log.nr = 0;
	}
	/*
	 * Pairs with tripwire_raise(): whatever made the watch pending before has
	 * set its mark before the look below, or will make it pending again.
	 */
	smp_mb();

	tripwire_init_walk(&walk, watch, report);
	walk.index = cursor;
	walk.last = watch->node.last;
	err = tripwire_rearm(inode, &walk);
	if (!err && !walk.full && cursor > watch->node.start) {
		walk.index = watch->node.start;
		walk.last = cursor - 1;
		err = tripwire_rearm(inode, &walk);
	}
	tripwire_end_rearm(inode, &walk);
	if (err) {
		watch_put_back(watch, report->range, report->nr);
		return err;
	}

	/* What others have put down, and taken the mark off, since we took the log. */
	scoped_guard(spinlock_irq, &tripwire->lock)
		if (watch->log.nr)
			watch_tell(watch);
	watch_cut(watch, report, want, &walk);
	return 0;
}

static ssize_t watch_deliver(struct tripwire_watch *watch, struct tripwire_ranges *report,
			     struct iov_iter *to)
{
	struct memfd_tripwire_range record;
	unsigned int i;

	for (i = 0; i < report->nr; i++) {
		const struct tripwire_range *range = &report->range[i];

		record.offset = (u64)range->start << PAGE_SHIFT;
		record.len = (u64)(range->last - range->start + 1) << PAGE_SHIFT;
		if (copy_to_iter(&record, sizeof(record), to) != sizeof(record)) {
			watch_put_back(watch, range, report->nr - i);
			break;
		}
	}
	return i ? i * sizeof(record) : -EFAULT;
}

static ssize_t watch_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct tripwire_watch *watch = iocb->ki_filp->private_data;
	struct tripwire_ranges *report __free(kfree) = NULL;
	bool wait = !(iocb->ki_flags & IOCB_NOWAIT || iocb->ki_filp->f_flags & O_NONBLOCK);
	unsigned int want;
	int err;

	BUILD_BUG_ON(sizeof(struct memfd_tripwire_range) != 16);

	want = min(iov_iter_count(to) / sizeof(struct memfd_tripwire_range), WATCH_REPORT);
	if (!want)
		return -EINVAL;
	if (!wait && !READ_ONCE(watch->pending))
		return -EAGAIN;
	report = kmalloc_flex(*report, range, want + WATCH_LOG);
	if (!report)
		return -ENOMEM;
	report->max = want + WATCH_LOG;
	report->nr = 0;

	while (!report->nr) {
		if (wait)
			err = wait_event_interruptible_exclusive(watch->wait,
								 READ_ONCE(watch->pending));
		else
			err = READ_ONCE(watch->pending) ? 0 : -EAGAIN;
		if (!err)
			err = watch_collect(watch, report, want);
		if (err)
			return err;
	}
	return watch_deliver(watch, report, to);
}

/* As for tripwire_poll(): a full barrier is between making it pending and the look for sleepers. */
static __poll_t watch_poll(struct file *file, poll_table *table)
{
	struct tripwire_watch *watch = file->private_data;

	poll_wait(file, &watch->wait, table);
	return READ_ONCE(watch->pending) ? EPOLLIN | EPOLLRDNORM : 0;
}

static void watch_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct tripwire_watch *watch = file->private_data;
	unsigned long nr = watch->node.last - watch->node.start + 1;

	if (watch->node.last == WATCH_TO_THE_END)
		nr = 0;
	seq_printf(m, "tripwire-offset:\t%llu\n", (u64)watch->node.start << PAGE_SHIFT);
	seq_printf(m, "tripwire-len:\t%llu\n", (u64)nr << PAGE_SHIFT);
	seq_printf(m, "tripwire-pending:\t%u\n", READ_ONCE(watch->pending));
}

static int watch_release(struct inode *inode, struct file *file)
{
	struct tripwire_watch *watch = file->private_data;
	struct memfd_tripwire *tripwire = watch_tripwire(watch);

	scoped_guard(spinlock_irq, &tripwire->lock) {
		if (!RB_EMPTY_NODE(&watch->node.rb)) {
			interval_tree_remove(&watch->node, &tripwire->watches);
			WRITE_ONCE(tripwire->nr_watches, tripwire->nr_watches - 1);
		}
		list_del(&watch->retell);
	}
	if (watch->eventfd)
		eventfd_ctx_put(watch->eventfd);
	fput(watch->file);
	kfree(watch);
	return 0;
}

static const struct file_operations watch_fops = {
	.owner		= THIS_MODULE,
	.read_iter	= watch_read,
	.poll		= watch_poll,
	.show_fdinfo	= watch_show_fdinfo,
	.release	= watch_release,
};

static struct file *watch_alloc_file(struct file *file, const struct memfd_tripwire_watch *args)
{
	struct tripwire_watch *watch __free(kfree) =
		kzalloc_flex(*watch, log.range, WATCH_LOG, GFP_KERNEL_ACCOUNT);
	struct eventfd_ctx *eventfd = NULL;
	int flags = O_RDONLY;
	struct file *watch_file;

	if (!watch)
		return ERR_PTR(-ENOMEM);
	watch->node.start = args->offset >> PAGE_SHIFT;
	watch->node.last = WATCH_TO_THE_END;
	if (args->len)
		watch->node.last = watch->node.start + (args->len >> PAGE_SHIFT) - 1;
	RB_CLEAR_NODE(&watch->node.rb);
	init_waitqueue_head(&watch->wait);
	INIT_LIST_HEAD(&watch->retell);
	watch->cursor = watch->node.start;
	watch->log.max = WATCH_LOG;

	if (args->flags & MEMFD_TRIPWIRE_WATCH_EVENTFD) {
		eventfd = eventfd_ctx_fdget(args->eventfd);
		if (IS_ERR(eventfd))
			return ERR_CAST(eventfd);
	}
	if (args->flags & MEMFD_TRIPWIRE_WATCH_NONBLOCK)
		flags |= O_NONBLOCK;
	/* An inode of its own, so that security modules are asked. */
	watch_file = anon_inode_create_getfile("[memfd_tripwire]", &watch_fops, watch, flags, NULL);
	if (IS_ERR(watch_file)) {
		if (eventfd)
			eventfd_ctx_put(eventfd);
		return watch_file;
	}
	watch->file = get_file(file);
	watch->eventfd = eventfd;
	retain_and_null_ptr(watch);
	/* A read that may not wait does not wait for an event; it re-arms all the same. */
	watch_file->f_mode |= FMODE_NOWAIT;
	return watch_file;
}

/* Publish the watch, then re-arm what it covers: so it is told of all that follows. */
static int watch_start(struct tripwire_watch *watch)
{
	struct inode *inode = file_inode(watch->file);
	struct memfd_tripwire *tripwire = tripwire_of(inode);
	struct tripwire_walk walk __uninitialized;
	int err;

	scoped_guard(spinlock_irq, &tripwire->lock) {
		if (tripwire->nr_watches == WATCH_MAX)
			return -ENOSPC;
		interval_tree_insert(&watch->node, &tripwire->watches);
		WRITE_ONCE(tripwire->nr_watches, tripwire->nr_watches + 1);
	}
	/* Pairs with tripwire_raise(), see tripwire_has_watches(). */
	smp_mb();

	tripwire_init_walk(&walk, watch, NULL);
	walk.index = watch->node.start;
	walk.last = watch->node.last;
	err = tripwire_rearm(inode, &walk);
	tripwire_end_rearm(inode, &walk);
	return err;
}

static struct file *watch_create(struct file *file, const struct memfd_tripwire_watch *args)
{
	struct file *watch_file = watch_alloc_file(file, args);
	int err;

	if (IS_ERR(watch_file))
		return watch_file;
	err = watch_start(watch_file->private_data);
	if (!err)
		return watch_file;
	fput(watch_file);
	return ERR_PTR(err);
}

/**
 * tripwire_add_watch - MEMFD_TRIPWIRE_WATCH
 * @file: The memory.
 * @arg: A struct memfd_tripwire_watch.
 * @size: Its size for the caller, in bytes.
 *
 * Context: May sleep.
 * Return: A file descriptor, or an errno as the uapi header lists them.
 */
int tripwire_add_watch(struct file *file, const void __user *arg, size_t size)
{
	struct memfd_tripwire_watch args;
	int err;

	BUILD_BUG_ON(sizeof(args) != 24);

	err = copy_struct_from_user(&args, sizeof(args), arg, size);
	if (err)
		return err;
	if (args.flags & ~(MEMFD_TRIPWIRE_WATCH_NONBLOCK | MEMFD_TRIPWIRE_WATCH_EVENTFD))
		return -EINVAL;
	if (!PAGE_ALIGNED(args.offset) || !PAGE_ALIGNED(args.len))
		return -EINVAL;
	if (args.offset > MAX_LFS_FILESIZE || args.len > MAX_LFS_FILESIZE - args.offset)
		return -EINVAL;
	return FD_ADD(O_CLOEXEC, watch_create(file, &args));
}
