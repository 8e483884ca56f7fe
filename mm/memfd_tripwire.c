// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - a memfd with write notifications
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
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/syscalls.h>
#include <linux/userfaultfd_k.h>
#include <linux/workqueue.h>
#include <uapi/linux/memfd.h>
#include <uapi/linux/memfd_tripwire.h>

#include "internal.h"
#include "memfd_tripwire_internal.h"

/**
 * DOC: Theory of operation
 *
 * A memfd_tripwire is a shmem file whose shared mappings start out
 * write-protected. The first store to a page faults. The fault grants the
 * folio, which stays writable until an ACK revokes it, and raises an event,
 * which wakes consumers that sleep in poll(2). After the ACK the next store
 * faults again.
 *
 * The guarantee:
 *
 *   When an ACK returns, every write to the region has either landed and is
 *   visible to the caller, or will raise a new event.
 *
 * An event says nothing of the value. Several writes may make one event. An
 * event may come without a write, and may come before the store lands.
 * Consumers therefore poll, ACK and read the memory, in that order.
 *
 * The layers, each of which uses only those below it:
 *
 *   memfd_tripwire.c         the file: vm_ops, fops, a_ops, the system call
 *   memfd_tripwire_watch.c   watches: range, log, read(2) = ACK and report
 *   memfd_tripwire_rearm.c   the pass: lock, spare, revoke
 *   memfd_tripwire_event.c   marks, events, notifications, the re-raise timer
 *
 * The states of a folio:
 *
 *   armed     No PTE of a shared mapping is writable or dirty.
 *   granted   Marked with TRIPWIRE_GRANTED in the page cache. It may be written
 *             without a fault. A writable or a dirty PTE implies the mark.
 *
 * The mark is in the page cache entry. Granting allocates nothing, an ACK costs
 * what was written rather than what is resident, and the mark follows the entry
 * through split, migration, collapse and swap. Dirty PTEs count because
 * mprotect(2) and NUMA hinting turn a dirty read-only PTE writable with no
 * fault.
 *
 * The states of a consumer: the inode counts events, and each open file
 * description remembers the event up to which it has acknowledged. It is
 * signalled while the two differ. An ACK re-arms for all consumers, but clears
 * only its own event. The creator starts clear, a description opened later
 * starts signalled. A watch is a consumer of a range. With
 * MEMFD_TRIPWIRE_WATCH_ONLY watches are the only consumers.
 *
 * Ordering: a fault sets the mark, raises the event and makes the PTE writable,
 * with the folio locked throughout. An ACK notes the event count, walks the
 * marks, and revokes with the folio locked, the mark last. A store made under a
 * mark that was set before the walk is flushed and visible when the ACK
 * returns. A mark set later comes with an event newer than the one the ACK
 * noted. Changes that do not go through a PTE (write(2), hole punch,
 * truncation) raise after the change.
 *
 * Some folios stay granted over an ACK, and a timer raises again for them:
 * those that are pinned, since a write through a pin does not fault; and those
 * that are spared, since a store is still to come.
 *
 * Progress: an ACK between the fault and its store would make the store fault
 * again, and with both on one CPU it always comes there, as the event wakes the
 * consumer. So the fault of a user's store leaves the PTE (or PMD) writable and
 * clean, and the store sets its dirty bit. An ACK spares what is writable and
 * clean, for 10 ms at most. The bit is a hint: what is spared keeps its mark
 * and raises again, so that no write is lost where the bit is wrong.
 *
 * The bound: a store faults at most 2 + T times for each page that it touches,
 * where its thread is off the CPU for T * 10 ms after its faults. Once more for
 * each store of another thread that lands through the same PTE, whose dirty bit
 * hides that this one is still to come, and for each time that something else
 * takes the PTE away or write-protects it: reclaim, migration, a collapse or a
 * split, a NUMA hint, mprotect(2). Stores by the kernel and by KVM, and all
 * stores where the hardware does not set the bit, are not spared.
 *
 * Locks: mmap_lock or VMA lock -> folio lock -> i_mmap_rwsem -> page table lock
 * -> i_pages -> memfd_tripwire.lock -> wait queues. An ACK locks folios in
 * batches and waits only for the first of a batch. Events are raised under page
 * table locks and in the timer, with interrupts in any state. So a raise
 * notifies few watches by itself, and a work item the rest, with interrupts on
 * between batches; a pass logs to them in batches, too. An ACK holds no lock
 * for the inode as a whole: two ACKs meet at the folios.
 */

/**
 * struct tripwire_consumer - what an open file description owns
 * @acked: The event up to which this consumer has acknowledged; only grows.
 *	   Lockless.
 * @creator: The system call returned it: it can create watches and producer
 *	     fds. One that was opened later cannot. Constant.
 */
struct tripwire_consumer {
	atomic64_t acked;
	bool creator;
};

static struct address_space_operations tripwire_aops __ro_after_init;
static struct file_operations tripwire_fops __ro_after_init;
static struct file_operations tripwire_watch_only_fops __ro_after_init;
static struct vm_operations_struct tripwire_vm_ops __ro_after_init;
#ifdef CONFIG_USERFAULTFD
static struct vm_uffd_ops tripwire_uffd_ops __ro_after_init;
#endif

static bool tripwire_dirty_folio(struct address_space *mapping, struct folio *folio)
{
	bool dirtied = noop_dirty_folio(mapping, folio);

	tripwire_raise_folio(mapping->host, folio);
	return dirtied;
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

/*
 * Safe, the event is newer:		Cannot happen, the write is lost:
 *
 * producer	consumer		producer	consumer
 * PTE writable	note events (n)		PTE writable
 *		walk: no mark		set mark
 * set mark				events = n + 1
 * events = n + 1					note events (n + 1)
 * store	acked = n				walk: no mark
 *					store		acked = n + 1
 */
static int tripwire_ack(struct file *file)
{
	struct tripwire_consumer *consumer = file->private_data;
	struct inode *inode = file_inode(file);
	struct memfd_tripwire *tripwire = tripwire_of(inode);
	struct rearm_control rc __uninitialized;
	s64 events, acked;
	int err;

	if (tripwire->watch_only)
		return -EOPNOTSUPP;
	events = atomic64_read(&tripwire->events);
	/*
	 * Pairs with tripwire_raise(): an event that is counted here has its
	 * mark set, or the contents changed, before the walk below.
	 */
	smp_mb();

	rearm_control_init(&rc, NULL, NULL);
	err = tripwire_rearm(inode, &rc);
	tripwire_end_rearm(inode, &rc);
	if (err)
		return err;

	acked = atomic64_read(&consumer->acked);
	while (acked < events &&
	       !atomic64_try_cmpxchg(&consumer->acked, &acked, events))
		;
	return 0;
}

static bool tripwire_is_creator(struct file *file)
{
	struct tripwire_consumer *consumer = file->private_data;

	return consumer->creator;
}

/* An open as through /proc/PID/fd: tripwire_open() makes it no creator. */
static int tripwire_add_producer(struct file *file)
{
	if (!tripwire_of(file_inode(file))->watch_only)
		return -EOPNOTSUPP;
	if (!tripwire_is_creator(file))
		return -EPERM;
	return FD_ADD(O_CLOEXEC, dentry_open(&file->f_path, O_RDWR | O_LARGEFILE,
					     current_cred()));
}

static long tripwire_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	switch (cmd) {
	case MEMFD_TRIPWIRE_ACK:
		return arg ? -EINVAL : tripwire_ack(file);
	case MEMFD_TRIPWIRE_PRODUCER:
		return arg ? -EINVAL : tripwire_add_producer(file);
	}
	if (!extensible_ioctl_valid(cmd, MEMFD_TRIPWIRE_WATCH, MEMFD_TRIPWIRE_WATCH_SIZE_VER0))
		return -ENOTTY;
	if (!tripwire_is_creator(file))
		return -EPERM;
	return tripwire_add_watch(file, (void __user *)arg, _IOC_SIZE(cmd));
}

/*
 * Safe:				Cannot happen:
 *
 * producer		consumer	producer		consumer
 *			queue on wait	events = n + 1
 * events = n + 1			wait empty: no wake
 * wait not empty: wake						queue on wait
 *			read events				read events (n)
 *
 * poll_wait() and the increment are full barriers: one of the two sees the
 * other.
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
/* What wp_page_shared() does for a PTE. Without this the PMD would be split. */
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
	if (!folio_trylock(folio)) {
		spin_unlock(ptl);
		folio_lock(folio);
		spin_lock(ptl);
		if (!pmd_same(pmdp_get(vmf->pmd), vmf->orig_pmd)) {
			spin_unlock(ptl);
			goto unlock;
		}
	}
	folio_mark_dirty(folio);
	entry = pmd_mkyoung(vmf->orig_pmd);
	entry = vmf_store_sets_dirty(vmf) ? pmd_mksoft_dirty(entry) : pmd_mkdirty(entry);
	entry = maybe_pmd_mkwrite(entry, vma);
	if (pmdp_set_access_flags(vma, vmf->address & HPAGE_PMD_MASK, vmf->pmd, entry, 1))
		update_mmu_cache_pmd(vma, vmf->address, vmf->pmd);
	spin_unlock(ptl);
	file_update_time(vma->vm_file);
unlock:
	folio_unlock(folio);
	folio_put(folio);
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
 * vma_is_memfd_tripwire() - Check whether stores through a VMA raise events
 * @vma: The VMA to look at.
 *
 * Return: True for a shared mapping of a memfd_tripwire. A private mapping, and
 * one of a read-only description, does not write to the file.
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

/* Every other operation is shmem's: read, write, splice, seals, NUMA policy. */
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
	/* Polls as a regular file. */
	tripwire_watch_only_fops = tripwire_fops;
	tripwire_watch_only_fops.poll = NULL;
	return 0;
}
core_initcall(tripwire_init);

/**
 * memfd_tripwire_free() - Free what the inode of a memfd_tripwire owns
 * @inode: A shmem inode that is being evicted; its folios are gone.
 *
 * Context: May sleep.
 */
void memfd_tripwire_free(struct inode *inode)
{
	struct memfd_tripwire *tripwire = tripwire_of(inode);

	if (!tripwire)
		return;
	hrtimer_cancel(&tripwire->reraise);
	cancel_work_sync(&tripwire->notify);
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
	hrtimer_setup(&tripwire->reraise, tripwire_reraise, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_SOFT);
	INIT_LIST_HEAD(&tripwire->reraise_watches);
	tripwire->pin_delay = TRIPWIRE_PIN_MIN;
	spin_lock_init(&tripwire->lock);
	tripwire->watches = RB_ROOT_CACHED;
	INIT_WORK(&tripwire->notify, tripwire_notify_rest);
	tripwire->notify_next.start = ULONG_MAX;
	/*
	 * The creator starts clear, a description opened later starts
	 * signalled.
	 */
	atomic64_set(&tripwire->events, 1);
	atomic64_set(&consumer->acked, 1);
	consumer->creator = true;

	file = memfd_alloc_file("memfd_tripwire", MFD_NOEXEC_SEAL);
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
 * sys_memfd_tripwire() - Create a memfd with write notifications
 * @flags: MEMFD_TRIPWIRE_WATCH_ONLY and MEMFD_TRIPWIRE_NOHUGE, or 0.
 *
 * Return: A file descriptor (O_RDWR, close-on-exec) of an empty file, as
 * memfd_create(2) with MFD_NOEXEC_SEAL makes it. -EINVAL for an unknown flag;
 * -EMFILE, -ENFILE, -ENOMEM or -ENOSPC (no inode) with nothing changed.
 */
SYSCALL_DEFINE1(memfd_tripwire, unsigned int, flags)
{
	if (flags & ~TRIPWIRE_FLAGS)
		return -EINVAL;
	return FD_ADD(O_CLOEXEC, tripwire_alloc_file(flags));
}
