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
 * memfd_tripwire_trip - called when an event is raised
 * @inode: Inode of the memfd_tripwire.
 * @start: First page that changed.
 * @last: Last page that changed.
 */
TRACE_EVENT(memfd_tripwire_trip,
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
 * memfd_tripwire_ack - called when an ACK, read(2) of a watch or a new one has re-armed
 * @inode: Inode of the memfd_tripwire.
 * @watch: Whether it was a watch.
 * @revoked: Folios that were re-armed.
 * @hot: Whether any were left granted for the producer's sake.
 * @pinned: Whether any were left granted since they are pinned.
 */
TRACE_EVENT(memfd_tripwire_ack,
	    TP_PROTO(const struct inode *inode, bool watch, unsigned long revoked,
		     bool hot, bool pinned),
	    TP_ARGS(inode, watch, revoked, hot, pinned),
	    TP_STRUCT__entry(
		    __field(u64, ino)
		    __field(unsigned long, revoked)
		    __field(bool, watch)
		    __field(bool, hot)
		    __field(bool, pinned)
	    ),
	    TP_fast_assign(
		    __entry->ino = inode->i_ino;
		    __entry->watch = watch;
		    __entry->revoked = revoked;
		    __entry->hot = hot;
		    __entry->pinned = pinned;
	    ),
	    TP_printk("ino=%llu by=%s revoked=%lu%s%s", __entry->ino,
		      __entry->watch ? "watch" : "file", __entry->revoked,
		      __entry->hot ? " hot" : "", __entry->pinned ? " pinned" : "")
);

#endif /* _TRACE_MEMFD_TRIPWIRE_H */

#include <trace/define_trace.h>
