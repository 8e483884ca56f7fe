/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - tracepoints
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM memfd_tripwire

#if !defined(_TRACE_MEMFD_TRIPWIRE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_MEMFD_TRIPWIRE_H

#include <linux/fs.h>
#include <linux/tracepoint.h>
#include <linux/types.h>

/**
 * memfd_tripwire_event() - An event is raised
 * @inode: Inode of the memfd_tripwire.
 * @start: Index of the first page that changed.
 * @last: Index of the last page that changed.
 */
TRACE_EVENT(memfd_tripwire_event,
	    TP_PROTO(const struct inode *inode, pgoff_t start, pgoff_t last),
	    TP_ARGS(inode, start, last),
	    TP_STRUCT__entry(
		    __field(u64, ino)
		    __field(u64, start)
		    __field(u64, last)
	    ),
	    TP_fast_assign(
		    __entry->ino = inode->i_ino;
		    __entry->start = start;
		    __entry->last = last;
	    ),
	    TP_printk("ino=%llu pages=%llu-%llu", __entry->ino, __entry->start, __entry->last)
);

/**
 * memfd_tripwire_ack() - A pass of an ACK or a watch has re-armed
 * @inode: Inode of the memfd_tripwire.
 * @watch: The pass was that of a watch.
 * @revoked: Number of folios revoked.
 * @spared: Folios stay granted so that a producer makes progress.
 * @pinned: Folios stay granted because they are pinned.
 */
TRACE_EVENT(memfd_tripwire_ack,
	    TP_PROTO(const struct inode *inode, bool watch, unsigned long revoked,
		     bool spared, bool pinned),
	    TP_ARGS(inode, watch, revoked, spared, pinned),
	    TP_STRUCT__entry(
		    __field(u64, ino)
		    __field(unsigned long, revoked)
		    __field(bool, watch)
		    __field(bool, spared)
		    __field(bool, pinned)
	    ),
	    TP_fast_assign(
		    __entry->ino = inode->i_ino;
		    __entry->watch = watch;
		    __entry->revoked = revoked;
		    __entry->spared = spared;
		    __entry->pinned = pinned;
	    ),
	    TP_printk("ino=%llu by=%s revoked=%lu%s%s", __entry->ino,
		      __entry->watch ? "watch" : "file", __entry->revoked,
		      __entry->spared ? " spared" : "", __entry->pinned ? " pinned" : "")
);

#endif /* _TRACE_MEMFD_TRIPWIRE_H */

#include <trace/define_trace.h>
