// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - memory that tells when it is written
 */

#include <linux/cleanup.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/memfd.h>
#include <linux/memfd_tripwire.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/syscalls.h>
#include <linux/userfaultfd_k.h>
#include <uapi/linux/memfd.h>
#include <uapi/linux/memfd_tripwire.h>

#include "internal.h"
#include "memfd_tripwire.h"

#define CREATE_TRACE_POINTS
#include <trace/events/memfd_tripwire.h>

/**
 * DOC: Theory of operation
 *
 * A memfd_tripwire is a shmem file with one habit more: the pages of its shared
 * mappings start write-protected. The first store to a page faults. The fault
 * grants the folio, that is, lets it be written from then on, and raises an
 * event on which a consumer sleeps in poll(2). The consumer's ACK revokes what
 * was granted since the last one, so that the next store raises again.
 *
 * The guarantee:
 *
 *   When an ACK returns, every write to the region has either landed and is
 *   visible to the caller, or will raise a new event.
 *
 * What it is not: an event says nothing of the value; several writes may make
 * one event; an event may come without a write, and may come before the store
 * lands. Consumers therefore poll, ACK and read the memory, in that order.
 *
 * The states of a folio:
 *
 *   armed     No PTE of a shared mapping is writable or dirty.
 *   granted   Marked with TRIPWIRE_GRANTED in the page cache. It may be written
 *             without a fault. A writable or a dirty PTE implies the mark, or
 *             a fault that is about to set it and to raise an event.
 *
 * The mark lives in the page cache entry: granting allocates nothing, an ACK
 * costs what was written rather than what is resident, and the mark goes where
 * the entry goes (split, migration, collapse, swap).
 *
 * Dirty PTEs count because mprotect(2) and NUMA hinting turn a dirty read-only
 * PTE writable with no fault.
 *
 * The states of a consumer: the inode counts events; every open file
 * description remembers up to which of them it has acknowledged. It is
 * signalled while the two differ. An ACK re-arms for all, but clears only its
 * own event. The creator starts clear, a description opened later signalled.
 * Watches, in memfd_tripwire_watch.c, are consumers of a part of the file, and
 * their read(2) is the ACK. A file may have no other consumers than those.
 *
 * Ordering: a fault makes the PTE writable, sets the mark and then raises the
 * event; the last two with the folio locked. An ACK notes the event count, looks
 * for marks, and revokes with the folio locked, the mark last. So who had its mark
 * before the ACK looked has its stores flushed and visible, and who sets it after,
 * or while the ACK looks elsewhere, raises an event that is newer than the noted
 * one: for stores before the mark as for those after it. The fault holds a
 * reference all the while, so that reclaim, migration, collapse and split leave
 * the folio alone; truncation does not, but raises itself. Contents that change
 * by other ways than a PTE (write(2), hole punch, truncation) are raised after
 * the change.
 *
 * Some folios keep their grant over an ACK, and have the event raised again by a
 * timer: those that are pinned, for what is written through a pin does not fault;
 * and all, for a moment, when ACKs have met a fault many times in quick
 * succession, so that a producer gets to its store however busy the consumers are.
 *
 * Locks: mmap_lock or the VMA's -> folio lock -> i_mmap_rwsem -> page table
 * lock -> i_pages -> lock of the watches -> wait queues. An ACK locks folios in
 * batches, and waits only for the first of a batch. Raising happens under page
 * table locks and in the timer, with interrupts in any state. No lock is held for
 * the inode as a whole while an ACK works; ACKs meet at the folios.
 */

/* Unused on shmem, which has no writeback but to swap. */
#define TRIPWIRE_GRANTED	PAGECACHE_TAG_DIRTY

/*
 * ACKs that have met a locked folio so many times, each so soon after the last, leave
 * everything granted for a while. The producer needs a fraction of it to get from
 * the fault to its store, even if that is to two pages.
 */
#define TRIPWIRE_HOT_STREAK	8
#define TRIPWIRE_HOT_SOON	(100 * NSEC_PER_USEC)
#define TRIPWIRE_HOT_WINDOW	(50 * NSEC_PER_USEC)

/* How long until pinned folios are told of again: doubles while they are. */
#define TRIPWIRE_PIN_MIN	(1 * NSEC_PER_MSEC)
#define TRIPWIRE_PIN_MAX	(64 * NSEC_PER_MSEC)

/**
 * struct tripwire_consumer - what an open file description owns
 * @acked: The event up to which this consumer has acknowledged; only grows.
 *	   Lockless.
 */
struct tripwire_consumer {
	atomic64_t acked;
};

static struct address_space_operations tripwire_aops __ro_after_init;
static struct file_operations tripwire_fops __ro_after_init;
static struct file_operations tripwire_watch_only_fops __ro_after_init;
static struct vm_operations_struct tripwire_vm_ops __ro_after_init;
#ifdef CONFIG_USERFAULTFD
static struct vm_uffd_ops tripwire_uffd_ops __ro_after_init;
#endif

static struct tripwire_range tripwire_folio_range(struct folio *folio)
{
	return (struct tripwire_range){ folio->index, folio_next_index(folio) - 1 };
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

/*
 * Raise for a change of @range, which is that of @folio unless that is NULL. Any
 * context: dirty_folio comes under page table locks.
 */
static void tripwire_raise(struct inode *inode, struct tripwire_range range,
			   struct folio *folio)
{
	struct memfd_tripwire *tripwire = tripwire_of(inode);

	if (folio)
		tripwire_grant(inode->i_mapping, folio);
	/*
	 * Fully ordered: what changed, and its mark, come before the event that
	 * tells of it, see tripwire_ack(), and before the look for watches.
	 */
	atomic64_inc_return(&tripwire->events);
	trace_memfd_tripwire_trip(inode, range.start, range.last);
	tripwire_wake(tripwire);
	if (!tripwire_has_watches(tripwire))
		return;
	/* They report also what is gone, and its mark with it. */
	if (!folio)
		tripwire_log_to_watches(tripwire, range, NULL);
	tripwire_tell_watches(tripwire, range);
}

/*
 * For all that changes contents or is about to, under page table locks often. A write
 * fault comes here when the PTE is in place: as late as the guarantee allows, so that
 * the producer gets to its store before an ACK gets to the folio.
 */
static bool tripwire_dirty_folio(struct address_space *mapping, struct folio *folio)
{
	bool dirtied = noop_dirty_folio(mapping, folio);

	tripwire_raise(mapping->host, tripwire_folio_range(folio), folio);
	return dirtied;
}

/**
 * memfd_tripwire_changed - tell of a change that dirties no folio
 * @inode: A shmem inode whose size changed or into which a hole was punched.
 * @start: Where the change begins, in bytes.
 * @end: Where it ends, in bytes, exclusive.
 *
 * Context: Any, after the change. Does nothing if @inode is no memfd_tripwire.
 */
void memfd_tripwire_changed(struct inode *inode, loff_t start, loff_t end)
{
	struct tripwire_range range = { start >> PAGE_SHIFT, (end - 1) >> PAGE_SHIFT };

	if (mapping_writes_tracked(inode->i_mapping))
		tripwire_raise(inode, range, NULL);
}

/* A write beyond the end of the file adds a gap that no folio stands for. */
static int tripwire_write_end(const struct kiocb *iocb, struct address_space *mapping,
			      loff_t pos, unsigned int len, unsigned int copied,
			      struct folio *folio, void *fsdata)
{
	struct inode *inode = mapping->host;
	loff_t oldsize = i_size_read(inode);
	int ret = shmem_aops.write_end(iocb, mapping, pos, len, copied, folio, fsdata);

	if (pos > oldsize)
		memfd_tripwire_changed(inode, oldsize, pos);
	return ret;
}

static enum hrtimer_restart tripwire_retell(struct hrtimer *timer)
{
	struct memfd_tripwire *tripwire = container_of(timer, struct memfd_tripwire, retell);
	bool file;

	scoped_guard(spinlock_irqsave, &tripwire->lock) {
		file = tripwire->retell_file;
		tripwire->retell_file = false;
	}
	if (file) {
		atomic64_inc_return(&tripwire->events);
		tripwire_wake(tripwire);
	}
	tripwire_retell_watches(tripwire);
	return HRTIMER_NORESTART;
}

/*
 * Raise in @delay ns at the latest. A timer that is about to fire will do: what it
 * raises is newer than what this ACK has noted. An earlier one is never put off.
 * Returns whether the timer was set.
 */
static bool tripwire_retell_in(struct memfd_tripwire *tripwire, u64 delay)
{
	lockdep_assert_held(&tripwire->lock);
	if (hrtimer_is_queued(&tripwire->retell) &&
	    hrtimer_get_remaining(&tripwire->retell) <= (s64)delay)
		return false;
	hrtimer_start(&tripwire->retell, ns_to_ktime(delay), HRTIMER_MODE_REL_SOFT);
	return true;
}

/* Whether ACKs leave everything granted now; most files never come to that. */
static bool tripwire_is_hot(const struct memfd_tripwire *tripwire)
{
	u64 until = READ_ONCE(tripwire->hot_until);

	return until && ktime_get_ns() < until;
}

/* An ACK has met a locked folio, in a fault most likely. Whether that makes the file hot. */
static bool tripwire_met_fault(struct memfd_tripwire *tripwire)
{
	u64 now = ktime_get_ns();
	unsigned int streak = 1;

	/* Lossy: who is mistaken revokes, or raises, once more. */
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
 * Lock the next folios that are granted; 0 if there are none. One that is found
 * locked is about to leave a fault, or under way in another ACK or in migration: it
 * is waited for, if it would be the first. Once it is locked it stays in the page
 * cache, and needs no reference of ours.
 *
 * Nothing maps what is in swap, and reclaim has flushed before it wrote that out:
 * there the mark alone is left to be taken off.
 */
static int tripwire_lock_granted(struct inode *inode, struct tripwire_walk *walk)
{
	struct memfd_tripwire *tripwire = tripwire_of(inode);
	struct address_space *mapping = inode->i_mapping;
	XA_STATE(xas, &mapping->i_pages, walk->index);
	unsigned int looked = 0;
	struct folio *folio;
	bool hot;
	int err;

	walk->nr = 0;
	if (walk->full || !mapping_tagged(mapping, TRIPWIRE_GRANTED))
		return 0;
	hot = tripwire_is_hot(tripwire);

	xas_lock_irq(&xas);
	xas_for_each_marked(&xas, folio, walk->last, TRIPWIRE_GRANTED) {
		if (walk->watch && !tripwire_report(walk, tripwire_entry_range(&xas)))
			break;
		if (xa_is_value(folio)) {
			tripwire_log_to_watches(tripwire, tripwire_entry_range(&xas), walk->watch);
			looked += READ_ONCE(tripwire->nr_watches);
			xas_clear_mark(&xas, TRIPWIRE_GRANTED);
		} else if (hot) {
			walk->hot = true;
		} else if (!folio_trylock(folio)) {
			/* The others first: then there is time to wait for it. */
			if (walk->nr || !tripwire_met_fault(tripwire))
				break;
			walk->hot = true;
			hot = true;
		} else {
			walk->folios[walk->nr++] = folio;
			if (walk->nr == TRIPWIRE_BATCH)
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
	if (!folio || walk->nr || walk->full) {
		xas_unlock_irq(&xas);
		return walk->nr;
	}

	/* References are frozen under i_pages only: this one is safe to take. */
	folio_get(folio);
	walk->index = xas.xa_index;
	xas_unlock_irq(&xas);
	err = folio_lock_killable(folio);
	if (err)
		goto put;
	/* If it was truncated, migrated or swapped out, look there again. */
	if (folio->mapping != mapping) {
		folio_unlock(folio);
	} else if (xa_get_mark(&mapping->i_pages, folio->index, TRIPWIRE_GRANTED)) {
		walk->folios[walk->nr++] = folio;
	} else {
		/* Another ACK has revoked it. */
		walk->index = folio_next_index(folio);
		folio_unlock(folio);
	}
	err = 1;
put:
	folio_put(folio);
	return err;
}

/* For the other watches, before the marks are gone. */
static void tripwire_log_batch(struct memfd_tripwire *tripwire, struct tripwire_walk *walk)
{
	struct tripwire_range run;
	unsigned int i;

	for (i = 0; i < walk->nr; i++) {
		run = tripwire_folio_range(walk->folios[i]);
		while (i + 1 < walk->nr && walk->folios[i + 1]->index == run.last + 1)
			run.last = folio_next_index(walk->folios[++i]) - 1;
		tripwire_log_to_watches(tripwire, run, walk->watch);
	}
}

static void tripwire_revoke(struct inode *inode, struct tripwire_walk *walk)
{
	struct address_space *mapping = inode->i_mapping;
	XA_STATE(xas, &mapping->i_pages, 0);
	struct folio *folio;
	unsigned int i;

	mapping_mkclean_folios(mapping, walk->folios, walk->nr);
	/*
	 * Pairs with GUP-fast, which looks at the PTE again after it has taken
	 * its pin: either it sees that the PTE is not writable, or we see the pin.
	 */
	smp_mb();

	if (tripwire_has_watches(tripwire_of(inode)))
		tripwire_log_batch(tripwire_of(inode), walk);

	/*
	 * The marks go last: another ACK that finds one gone must find the
	 * stores landed. The page table locks were released after the flushes
	 * were due, and taking this lock comes after that. Unlocked under it,
	 * the folios are kept by the page cache until they are woken on.
	 */
	xas_lock_irq(&xas);
	for (i = 0; i < walk->nr; i++) {
		folio = walk->folios[i];
		if (i && folio->index == xas.xa_index + 1) {
			xas_next(&xas);
		} else {
			xas_set(&xas, folio->index);
			xas_load(&xas);
		}
		if (folio_maybe_dma_pinned(folio)) {
			walk->pinned = true;
		} else {
			xas_clear_mark(&xas, TRIPWIRE_GRANTED);
			walk->revoked++;
		}
		folio_unlock(folio);
	}
	xas_unlock_irq(&xas);
}

/**
 * tripwire_rearm - revoke what is granted
 * @inode: Of the file.
 * @walk: Where, and for whom. Says afterwards what was left granted: that has to
 *	  raise again, see tripwire_end_rearm().
 *
 * The caller has noted the event before, with a full barrier behind it.
 *
 * Context: May sleep.
 * Return: 0; or -EINTR on a fatal signal, with some of it done and the rest still
 * marked.
 */
int tripwire_rearm(struct inode *inode, struct tripwire_walk *walk)
{
	int err;

	while ((err = tripwire_lock_granted(inode, walk)) > 0) {
		if (walk->nr) {
			walk->index = folio_next_index(walk->folios[walk->nr - 1]);
			tripwire_revoke(inode, walk);
		}
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return err;
}

/**
 * tripwire_end_rearm - see to it that what an ACK left granted raises again
 * @inode: Of the file.
 * @walk: The ACK, done.
 *
 * Context: Process.
 */
void tripwire_end_rearm(struct inode *inode, const struct tripwire_walk *walk)
{
	struct memfd_tripwire *tripwire = tripwire_of(inode);
	u64 delay = TRIPWIRE_HOT_WINDOW;

	/*
	 * A mark that another ACK took off was taken off after its flush: the
	 * stores before that are not to be missed by what the caller reads.
	 */
	smp_mb();
	atomic64_inc(&tripwire->acks);
	trace_memfd_tripwire_ack(inode, walk->watch, walk->revoked, walk->hot, walk->pinned);

	if (!walk->pinned)
		WRITE_ONCE(tripwire->pin_delay, TRIPWIRE_PIN_MIN);
	if (!walk->pinned && !walk->hot)
		return;

	guard(spinlock_irq)(&tripwire->lock);
	if (walk->watch)
		tripwire_retell_watch(tripwire, walk->watch);
	else
		tripwire->retell_file = true;
	if (!walk->hot)
		delay = READ_ONCE(tripwire->pin_delay);
	if (tripwire_retell_in(tripwire, delay) && !walk->hot)
		WRITE_ONCE(tripwire->pin_delay, min(2 * delay, TRIPWIRE_PIN_MAX));
}

/*
 * Safe, the event is newer than the ACK:	Cannot be, the write is lost:
 *
 * producer		consumer		producer		consumer
 * PTE writable		note events (n)		PTE writable
 *			look: no mark		set mark
 * set mark					events = n + 1
 * events = n + 1						note events (n + 1)
 * store		acked = n					look: no mark
 *						store			acked = n + 1
 */
static int tripwire_ack(struct file *file)
{
	struct tripwire_consumer *consumer = file->private_data;
	struct inode *inode = file_inode(file);
	struct memfd_tripwire *tripwire = tripwire_of(inode);
	struct tripwire_walk walk __uninitialized;
	s64 events, acked;
	int err;

	if (tripwire->watch_only)
		return -EOPNOTSUPP;
	events = atomic64_read(&tripwire->events);
	/*
	 * Pairs with tripwire_raise(): whatever raised an event that is counted
	 * here has set its mark, or changed the contents, before the look below.
	 */
	smp_mb();

	tripwire_init_walk(&walk, NULL, NULL);
	err = tripwire_rearm(inode, &walk);
	tripwire_end_rearm(inode, &walk);
	if (err)
		return err;

	acked = atomic64_read(&consumer->acked);
	while (acked < events &&
	       !atomic64_try_cmpxchg(&consumer->acked, &acked, events))
		;
	return 0;
}

static long tripwire_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	if (cmd == MEMFD_TRIPWIRE_ACK)
		return arg ? -EINVAL : tripwire_ack(file);
	if (extensible_ioctl_valid(cmd, MEMFD_TRIPWIRE_WATCH,
				   sizeof(struct memfd_tripwire_watch)))
		return tripwire_add_watch(file, (void __user *)arg, _IOC_SIZE(cmd));
	return -ENOTTY;
}

/*
 * Safe:				Cannot be:
 *
 * producer		consumer	producer		consumer
 *			queue on wait	events = n + 1
 * events = n + 1			wait empty: no wake
 * wait not empty: wake						queue on wait
 *			read events				read events (n)
 *
 * poll_wait() and the increment are full barriers: one of the two sees the other.
 */
static __poll_t tripwire_poll(struct file *file, poll_table *table)
{
	struct memfd_tripwire *tripwire = tripwire_of(file_inode(file));
	struct tripwire_consumer *consumer = file->private_data;
	__poll_t mask = EPOLLOUT | EPOLLWRNORM;

	poll_wait(file, &tripwire->wait, table);
	if (atomic64_read(&tripwire->events) != atomic64_read(&consumer->acked))
		mask |= EPOLLIN | EPOLLRDNORM;
	return mask;
}

static void tripwire_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct memfd_tripwire *tripwire = tripwire_of(file_inode(file));

	seq_printf(m, "tripwire-events:\t%lld\n", atomic64_read(&tripwire->events) - 1);
	seq_printf(m, "tripwire-acks:\t%lld\n", atomic64_read(&tripwire->acks));
	seq_printf(m, "tripwire-watches:\t%u\n", READ_ONCE(tripwire->nr_watches));
}

static int tripwire_open(struct inode *inode, struct file *file)
{
	struct tripwire_consumer *consumer;
	int err;

	consumer = kzalloc_obj(*consumer, GFP_KERNEL_ACCOUNT);
	if (!consumer)
		return -ENOMEM;
	err = shmem_file_operations.open(inode, file);
	if (err) {
		kfree(consumer);
		return err;
	}
	file->private_data = consumer;
	return 0;
}

static int tripwire_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/* As wp_page_shared() does for a PTE; without this the PMD would be split. */
static vm_fault_t tripwire_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct folio *folio;
	spinlock_t *ptl;
	pmd_t entry;

	if (order != PMD_ORDER || !pmd_trans_huge(vmf->orig_pmd) ||
	    pmd_uffd(vmf->orig_pmd))
		return VM_FAULT_FALLBACK;

	ptl = pmd_lock(vma->vm_mm, vmf->pmd);
	if (!pmd_same(pmdp_get(vmf->pmd), vmf->orig_pmd)) {
		spin_unlock(ptl);
		return VM_FAULT_NOPAGE;
	}
	folio = pmd_folio(vmf->orig_pmd);
	folio_get(folio);
	entry = maybe_pmd_mkwrite(pmd_mkdirty(pmd_mkyoung(vmf->orig_pmd)), vma);
	if (pmdp_set_access_flags(vma, vmf->address & HPAGE_PMD_MASK, vmf->pmd, entry, 1))
		update_mmu_cache_pmd(vma, vmf->address, vmf->pmd);
	spin_unlock(ptl);

	folio_mark_dirty_lock(folio);
	folio_put(folio);
	file_update_time(vma->vm_file);
	return VM_FAULT_NOPAGE;
}
#endif

#ifdef CONFIG_USERFAULTFD
/*
 * userfaultfd installs a PTE that is writable and dirty. It unlocks the folio
 * afterwards: until then an ACK that finds the mark waits.
 */
static int tripwire_filemap_add(struct folio *folio, struct vm_area_struct *vma,
				unsigned long addr)
{
	int err = shmem_anon_vm_ops.uffd_ops->filemap_add(folio, vma, addr);

	if (!err)
		folio_mark_dirty(folio);
	return err;
}

static struct folio *tripwire_get_folio_noalloc(struct inode *inode, pgoff_t pgoff)
{
	struct folio *folio;

	folio = shmem_anon_vm_ops.uffd_ops->get_folio_noalloc(inode, pgoff);
	if (!IS_ERR(folio))
		folio_mark_dirty(folio);
	return folio;
}
#endif

/**
 * vma_is_memfd_tripwire - whether a VMA raises events when it is written
 * @vma: The VMA to look at.
 *
 * Return: True for shared mappings of a memfd_tripwire. Private ones, and those
 * of a read-only description, write nothing that the file would see.
 */
bool vma_is_memfd_tripwire(const struct vm_area_struct *vma)
{
	return vma->vm_ops == &tripwire_vm_ops;
}

static int tripwire_mmap_prepare(struct vm_area_desc *desc)
{
	int err = shmem_file_operations.mmap_prepare(desc);

	if (!err && vma_desc_test(desc, VMA_SHARED_BIT))
		desc->vm_ops = &tripwire_vm_ops;
	return err;
}

/* Whatever is not said here is shmem's: read, write, splice, seals, NUMA policy. */
static int __init tripwire_init(void)
{
	tripwire_vm_ops = shmem_anon_vm_ops;
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	tripwire_vm_ops.huge_fault = tripwire_huge_fault;
#endif
#ifdef CONFIG_USERFAULTFD
	tripwire_uffd_ops = *shmem_anon_vm_ops.uffd_ops;
	tripwire_uffd_ops.filemap_add = tripwire_filemap_add;
	tripwire_uffd_ops.get_folio_noalloc = tripwire_get_folio_noalloc;
	tripwire_vm_ops.uffd_ops = &tripwire_uffd_ops;
#endif

	tripwire_aops = shmem_aops;
	tripwire_aops.dirty_folio = tripwire_dirty_folio;
	tripwire_aops.write_end = tripwire_write_end;

	tripwire_fops = shmem_file_operations;
	tripwire_fops.mmap_prepare = tripwire_mmap_prepare;
	tripwire_fops.open = tripwire_open;
	tripwire_fops.release = tripwire_release;
	tripwire_fops.poll = tripwire_poll;
	tripwire_fops.unlocked_ioctl = tripwire_ioctl;
	tripwire_fops.compat_ioctl = compat_ptr_ioctl;
	tripwire_fops.show_fdinfo = tripwire_show_fdinfo;
	/* A regular file: nothing to poll for. */
	tripwire_watch_only_fops = tripwire_fops;
	tripwire_watch_only_fops.poll = NULL;
	return 0;
}
core_initcall(tripwire_init);

/**
 * memfd_tripwire_free - free what a memfd_tripwire's inode owns
 * @inode: A shmem inode that is being evicted; its folios are gone.
 *
 * Context: May sleep.
 */
void memfd_tripwire_free(struct inode *inode)
{
	struct memfd_tripwire *tripwire = tripwire_of(inode);

	if (!tripwire)
		return;
	hrtimer_cancel(&tripwire->retell);
	kfree(tripwire);
	SHMEM_I(inode)->tripwire = NULL;
}

static struct file *tripwire_alloc_file(unsigned int flags)
{
	struct tripwire_consumer *consumer __free(kfree) =
		kzalloc_obj(*consumer, GFP_KERNEL_ACCOUNT);
	struct memfd_tripwire *tripwire __free(kfree) =
		kzalloc_obj(*tripwire, GFP_KERNEL_ACCOUNT);
	struct inode *inode;
	struct file *file;

	if (!consumer || !tripwire)
		return ERR_PTR(-ENOMEM);
	init_waitqueue_head(&tripwire->wait);
	tripwire->watch_only = flags & MEMFD_TRIPWIRE_WATCH_ONLY;
	hrtimer_setup(&tripwire->retell, tripwire_retell, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_SOFT);
	INIT_LIST_HEAD(&tripwire->retell_watches);
	tripwire->pin_delay = TRIPWIRE_PIN_MIN;
	spin_lock_init(&tripwire->lock);
	tripwire->watches = RB_ROOT_CACHED;
	/* The creator has seen all there is; who opens it later has seen nothing. */
	atomic64_set(&tripwire->events, 1);
	atomic64_set(&consumer->acked, 1);

	file = memfd_alloc_file("memfd:tripwire", MFD_NOEXEC_SEAL);
	if (IS_ERR(file))
		return file;

	inode = file_inode(file);
	SHMEM_I(inode)->tripwire = no_free_ptr(tripwire);
	inode->i_mapping->a_ops = &tripwire_aops;
	mapping_set_writes_tracked(inode->i_mapping);
	if (flags & MEMFD_TRIPWIRE_NOHUGE)
		mapping_set_folio_order_range(inode->i_mapping, 0, 0);
	inode->i_fop = flags & MEMFD_TRIPWIRE_WATCH_ONLY ?
		       &tripwire_watch_only_fops : &tripwire_fops;
	file->f_op = inode->i_fop;
	file->private_data = no_free_ptr(consumer);
	return file;
}

/**
 * sys_memfd_tripwire - create a file whose shared mappings tell of writes
 * @flags: Of MEMFD_TRIPWIRE_WATCH_ONLY and MEMFD_TRIPWIRE_NOHUGE.
 *
 * Return: A file descriptor (O_RDWR, close-on-exec) of an empty file, as
 * memfd_create(2) with MFD_NOEXEC_SEAL makes it. -EINVAL for an unknown flag;
 * -EMFILE, -ENFILE, -ENOMEM or -ENOSPC (no inode) with nothing changed.
 */
SYSCALL_DEFINE1(memfd_tripwire, unsigned int, flags)
{
	if (flags & ~(MEMFD_TRIPWIRE_WATCH_ONLY | MEMFD_TRIPWIRE_NOHUGE))
		return -EINVAL;
	return FD_ADD(O_CLOEXEC, tripwire_alloc_file(flags));
}
