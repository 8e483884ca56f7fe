/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - what shmem calls where contents change
 */
#ifndef _LINUX_MEMFD_TRIPWIRE_H
#define _LINUX_MEMFD_TRIPWIRE_H

#include <linux/types.h>

struct inode;
struct vm_area_struct;

#ifdef CONFIG_MEMFD_TRIPWIRE
bool vma_is_memfd_tripwire(const struct vm_area_struct *vma);
void memfd_tripwire_changing(struct inode *inode, loff_t start, loff_t end);
void memfd_tripwire_changed(struct inode *inode, loff_t start, loff_t end);
void memfd_tripwire_free(struct inode *inode);
#else
static inline bool vma_is_memfd_tripwire(const struct vm_area_struct *vma)
{
	return false;
}

static inline void memfd_tripwire_changing(struct inode *inode, loff_t start, loff_t end)
{
}

static inline void memfd_tripwire_changed(struct inode *inode, loff_t start, loff_t end)
{
}

static inline void memfd_tripwire_free(struct inode *inode)
{
}
#endif /* CONFIG_MEMFD_TRIPWIRE */

#endif /* _LINUX_MEMFD_TRIPWIRE_H */
