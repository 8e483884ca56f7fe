// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - watches: consumers of a range, whose read(2) is the ACK
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

#include "memfd_tripwire_internal.h"

/**
 * DOC: Watches
 *
 * A watch is a consumer of a range of the file. It is pending from the first
 * event in its range until a read(2) begins to collect. An event after that
 * makes it pending anew, so that an edge-triggered consumer gets an edge.
 *
 * A read finds what to report by the marks in the page cache, as an ACK does.
 * All consumers share the marks: the pass that clears a mark first logs the
 * folio to every other watch that covers it. Hole punch and truncation, which
 * remove marks together with the pages, log the range as well. A log has a
 * fixed size. A full log becomes one range from the first to the last page in
 * it.
 *
 * A read takes its log, walks the marks, and looks at marks and log again: a
 * pass that cleared a mark before the walk got there has logged it by then. The
 * watch stays pending only if one of the two is there. No lock is held while
 * user memory is written. Ranges that could not be delivered are
 * requeued, that is, logged to the watch itself.
 */

#define WATCH_LOG		16	/* ranges in a log */
#define WATCH_REPORT		256	/* ranges that a read reports at most */
#define WATCH_MAX		8192	/* watches of a file */
#define WATCH_TO_THE_END	((pgoff_t)(MAX_LFS_FILESIZE >> PAGE_SHIFT))

/* Log ranges that were not delivered to the watch itself, for the next read. */
static void watch_requeue(struct tripwire_watch *watch, const struct tripwire_range *range,
			  unsigned int nr)
{
	guard(spinlock_irq)(&watch_tripwire(watch)->lock);
	while (nr--)
		watch_log(watch, *range++);
	watch_notify(watch);
}

/*
 * The report has room for @want ranges and a full log. Keep @want of them, from
 * the cursor on and then from the beginning; the others fit the log. The next
 * read begins at the first of the others, or where the pass ended if that comes
 * first.
 */
static void watch_cut(struct tripwire_watch *watch, struct tripwire_ranges *report,
		      unsigned int want, const struct rearm_control *rc)
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
	if (rc->full && rc->index - cursor < next - cursor)
		next = rc->index;
	WRITE_ONCE(watch->cursor, next);

	scoped_guard(spinlock_irq, &watch_tripwire(watch)->lock) {
		for (i = want; i < nr; i++)
			watch_log(watch, range[(first + i) % nr]);
		watch_notify(watch);
	}
	/* Those from the beginning are in place already. */
	tail = min(want, nr - first);
	memmove(range + want - tail, range + first, tail * sizeof(*range));
	report->nr = want;
}

/*
 * Make the watch pending if, and only if, the next read finds something. What
 * was raised while this one collected is in its report if there is neither a
 * mark nor a log entry.
 *
 * A raise sets its mark before it takes the lock to notify. If it has notified
 * before this, its mark is seen here, or a pass has logged or reported it. If
 * it comes after, it makes the watch pending again. A pass logs before it
 * clears a mark.
 */
static void watch_settle(struct tripwire_watch *watch)
{
	guard(spinlock_irq)(&watch_tripwire(watch)->lock);
	if (watch_has_something(watch))
		watch_notify(watch);
	else
		WRITE_ONCE(watch->pending, false);
}

/*
 * Re-arm, and collect up to @want ranges; none if another reader was faster.
 * With @nowait folios that are locked stay marked, and the watch pending.
 */
static int watch_collect(struct tripwire_watch *watch, struct tripwire_ranges *report,
			 unsigned int want, bool nowait)
{
	struct inode *inode = file_inode(watch->file);
	struct memfd_tripwire *tripwire = tripwire_of(inode);
	pgoff_t cursor = READ_ONCE(watch->cursor);
	struct rearm_control rc __uninitialized;
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
	 * Pairs with tripwire_raise(): an event that made the watch pending
	 * before has its mark set before the walk below, or makes it pending
	 * again.
	 */
	smp_mb();

	rearm_control_init(&rc, watch, report);
	rc.nowait = nowait;
	rc.index = cursor;
	rc.last = watch->node.last;
	err = tripwire_rearm(inode, &rc);
	if (!err && !rc.full && cursor > watch->node.start) {
		rc.index = watch->node.start;
		rc.last = cursor - 1;
		err = tripwire_rearm(inode, &rc);
	}
	tripwire_end_rearm(inode, &rc);
	if (err) {
		watch_requeue(watch, report->range, report->nr);
		return err;
	}

	watch_cut(watch, report, want, &rc);
	watch_settle(watch);
	return rc.skipped && !report->nr ? -EAGAIN : 0;
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
			watch_requeue(watch, range, report->nr - i);
			break;
		}
	}
	return i ? i * sizeof(record) : -EFAULT;
}

static ssize_t watch_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct tripwire_watch *watch = iocb->ki_filp->private_data;
	struct tripwire_ranges *report __free(kfree) = NULL;
	bool nowait = iocb->ki_flags & IOCB_NOWAIT;
	bool wait = !nowait && !(iocb->ki_filp->f_flags & O_NONBLOCK);
	unsigned int want;
	int err;

	BUILD_BUG_ON(sizeof(struct memfd_tripwire_range) != 16);

	want = min(iov_iter_count(to) / sizeof(struct memfd_tripwire_range), WATCH_REPORT);
	if (!want)
		return -EINVAL;
	if (!wait && !READ_ONCE(watch->pending))
		return -EAGAIN;
	report = kmalloc_flex(*report, range, want + WATCH_LOG,
			      nowait ? GFP_NOWAIT | __GFP_ACCOUNT : GFP_KERNEL_ACCOUNT);
	if (!report)
		return nowait ? -EAGAIN : -ENOMEM;
	report->max = want + WATCH_LOG;
	report->nr = 0;

	while (!report->nr) {
		if (wait)
			err = wait_event_interruptible_exclusive(watch->wait,
								 READ_ONCE(watch->pending));
		else
			err = READ_ONCE(watch->pending) ? 0 : -EAGAIN;
		if (!err)
			err = watch_collect(watch, report, want, nowait);
		if (err)
			return err;
	}
	return watch_deliver(watch, report, to);
}

/*
 * A full barrier is between making it pending and the look for sleepers, see
 * tripwire_poll().
 */
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
	seq_printf(m, "tripwire-ino:\t%llu\n", (u64)file_inode(watch->file)->i_ino);
	if (watch->eventfd)
		seq_printf(m, "tripwire-eventfd-id:\t%d\n", eventfd_ctx_id(watch->eventfd));
	seq_printf(m, "tripwire-offset:\t%llu\n", (u64)watch->node.start << PAGE_SHIFT);
	seq_printf(m, "tripwire-len:\t%llu\n", (u64)nr << PAGE_SHIFT);
	seq_printf(m, "tripwire-pending:\t%u\n", READ_ONCE(watch->pending));
}

static int watch_release(struct inode *inode, struct file *file)
{
	struct tripwire_watch *watch = file->private_data;
	struct memfd_tripwire *tripwire = watch_tripwire(watch);
	struct file *memory = watch->file;

	scoped_guard(spinlock_irq, &tripwire->lock) {
		if (!RB_EMPTY_NODE(&watch->node.rb))
			WRITE_ONCE(tripwire->nr_watches, tripwire->nr_watches - 1);
		list_del(&watch->reraise);
		watch_close(tripwire, watch);
	}
	fput(memory);
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
	INIT_LIST_HEAD(&watch->reraise);
	watch->cursor = watch->node.start;
	watch->log.max = WATCH_LOG;

	if (args->flags & MEMFD_TRIPWIRE_WATCH_EVENTFD) {
		eventfd = eventfd_ctx_fdget(args->eventfd);
		if (IS_ERR(eventfd))
			return ERR_CAST(eventfd);
	}
	if (args->flags & MEMFD_TRIPWIRE_WATCH_NONBLOCK)
		flags |= O_NONBLOCK;
	/* An inode of its own, so that security modules see the creation. */
	watch_file = anon_inode_create_getfile("[memfd_tripwire]", &watch_fops, watch, flags, NULL);
	if (IS_ERR(watch_file)) {
		if (eventfd)
			eventfd_ctx_put(eventfd);
		return watch_file;
	}
	watch->file = get_file(file);
	watch->eventfd = eventfd;
	retain_and_null_ptr(watch);
	watch_file->f_mode |= FMODE_NOWAIT;
	return watch_file;
}

/* Publish the watch, then re-arm its range: each store after that raises. */
static int watch_start(struct tripwire_watch *watch)
{
	struct inode *inode = file_inode(watch->file);
	struct memfd_tripwire *tripwire = tripwire_of(inode);
	struct rearm_control rc __uninitialized;
	int err;

	scoped_guard(spinlock_irq, &tripwire->lock) {
		if (tripwire->nr_watches == WATCH_MAX)
			return -ENOSPC;
		interval_tree_insert(&watch->node, &tripwire->watches);
		WRITE_ONCE(tripwire->nr_watches, tripwire->nr_watches + 1);
	}
	/* Pairs with tripwire_raise(), see tripwire_has_watches(). */
	smp_mb();

	rearm_control_init(&rc, watch, NULL);
	rc.index = watch->node.start;
	rc.last = watch->node.last;
	err = tripwire_rearm(inode, &rc);
	tripwire_end_rearm(inode, &rc);
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
 * tripwire_add_watch() - Create a watch, for MEMFD_TRIPWIRE_WATCH
 * @file: The memory file, as the system call returned it.
 * @arg: The struct memfd_tripwire_watch in user space.
 * @size: The size of that struct for the caller, in bytes.
 *
 * Context: May sleep.
 * Return: A file descriptor, or an errno as the uapi header lists them.
 */
int tripwire_add_watch(struct file *file, const void __user *arg, size_t size)
{
	struct memfd_tripwire_watch args;
	int err;

	BUILD_BUG_ON(sizeof(args) != MEMFD_TRIPWIRE_WATCH_SIZE_VER0);
	BUILD_BUG_ON(offsetofend(struct memfd_tripwire_watch, eventfd) != 8);
	BUILD_BUG_ON(offsetofend(struct memfd_tripwire_watch, offset) != 16);
	BUILD_BUG_ON(offsetofend(struct memfd_tripwire_watch, len) != 24);

	err = copy_struct_from_user(&args, sizeof(args), arg, size);
	if (err)
		return err;
	if (args.flags & ~TRIPWIRE_WATCH_FLAGS)
		return -EINVAL;
	/* Kept for a later use; -1 is what a careful caller has there. */
	if (!(args.flags & MEMFD_TRIPWIRE_WATCH_EVENTFD) && args.eventfd && args.eventfd != -1)
		return -EINVAL;
	if (!PAGE_ALIGNED(args.offset) || !PAGE_ALIGNED(args.len))
		return -EINVAL;
	if (args.offset > MAX_LFS_FILESIZE || args.len > MAX_LFS_FILESIZE - args.offset)
		return -EINVAL;
	return FD_ADD(O_CLOEXEC, watch_create(file, &args));
}
