/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * memfd_tripwire - a memfd with write notifications
 *
 * See Documentation/userspace-api/memfd_tripwire.rst.
 */
#ifndef _UAPI_LINUX_MEMFD_TRIPWIRE_H
#define _UAPI_LINUX_MEMFD_TRIPWIRE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: Flags of memfd_tripwire()
 *
 * MEMFD_TRIPWIRE_WATCH_ONLY
 *	Only watches are notified. The file polls as a regular file does, and
 *	an ACK on it fails with EOPNOTSUPP. Pages that no watch covers are not
 *	re-armed. Producers get a descriptor of MEMFD_TRIPWIRE_PRODUCER.
 *
 * MEMFD_TRIPWIRE_NOHUGE
 *	No huge pages, so that reports are exact to the page.
 */
#define MEMFD_TRIPWIRE_WATCH_ONLY	0x0001U
#define MEMFD_TRIPWIRE_NOHUGE		0x0002U

/**
 * DOC: Flags of a watch
 *
 * MEMFD_TRIPWIRE_WATCH_NONBLOCK
 *	The watch starts with O_NONBLOCK; fcntl(2) changes it.
 *
 * MEMFD_TRIPWIRE_WATCH_EVENTFD
 *	Add 1 to @eventfd too, whenever the watch becomes readable.
 */
#define MEMFD_TRIPWIRE_WATCH_NONBLOCK	0x0001U
#define MEMFD_TRIPWIRE_WATCH_EVENTFD	0x0002U

/**
 * struct memfd_tripwire_watch - argument of MEMFD_TRIPWIRE_WATCH
 * @flags: MEMFD_TRIPWIRE_WATCH_NONBLOCK and _EVENTFD, or 0.
 * @eventfd: An eventfd(2); 0 or -1 without MEMFD_TRIPWIRE_WATCH_EVENTFD.
 * @offset: Start of the range, in bytes; a multiple of the page size.
 * @len: Length, in bytes; a multiple of the page size. 0 means to the end of
 *	 the file, and grows with it. A watch may lie beyond its end.
 */
struct memfd_tripwire_watch {
	__u32 flags;
	__s32 eventfd;
	__u64 offset;
	__u64 len;
};

/* The size of struct memfd_tripwire_watch in its first version, in bytes. */
#define MEMFD_TRIPWIRE_WATCH_SIZE_VER0	24

/**
 * struct memfd_tripwire_range - what read(2) of a watch reports
 * @offset: Start of the range, in bytes; a multiple of the page size.
 * @len: Length of the range, in bytes; a multiple of the page size.
 */
struct memfd_tripwire_range {
	__u64 offset;
	__u64 len;
};

/**
 * define MEMFD_TRIPWIRE_ACK - re-arm the whole file and clear the event
 *
 * ioctl(fd, MEMFD_TRIPWIRE_ACK, 0) on a file of memfd_tripwire(2), or on any
 * description of it that was opened later. Write-protects the pages written
 * since the last ACK and clears the event of this open file description only.
 *
 * When it returns 0, every write to the region has either landed and is
 * visible to the caller, or will raise a new event.
 *
 * Errors, with the event still pending: EINVAL when the argument is not 0,
 * EINTR when a fatal signal arrived, EOPNOTSUPP with MEMFD_TRIPWIRE_WATCH_ONLY.
 */
#define MEMFD_TRIPWIRE_ACK	_IO(0xDA, 0)

/**
 * define MEMFD_TRIPWIRE_WATCH - watch a part of the file
 *
 * ioctl(fd, MEMFD_TRIPWIRE_WATCH, &watch) returns a descriptor, close-on-exec,
 * which becomes readable when the range is written after the ioctl returned.
 * Its read(2) waits for that, re-arms the range and reports what was written,
 * as an array of struct memfd_tripwire_range: ascending, merged, and in whole
 * folios, clipped to the range. When it returns, every write to the range is
 * visible and was reported, or will make the watch readable.
 *
 * A short buffer gets as many ranges as fit, at most 256. The rest is left for
 * the next read(2), which goes on after them. Below 16 bytes: EINVAL.
 *
 * Only the description that memfd_tripwire(2) returned can create watches.
 *
 * Errors of the ioctl: EINVAL an unknown flag, a range that is not aligned or
 * too far out, or @eventfd is something else; EBADF @eventfd is not open; EPERM
 * a description that was opened later, or a producer fd; E2BIG a longer struct
 * with more in it than this kernel knows; EFAULT; EINTR a fatal signal; EMFILE,
 * ENFILE, ENOMEM; ENOSPC 8192 watches are on the file.
 */
#define MEMFD_TRIPWIRE_WATCH	_IOW(0xDA, 1, struct memfd_tripwire_watch)

/**
 * define MEMFD_TRIPWIRE_PRODUCER - get a descriptor for a producer
 *
 * On a file with MEMFD_TRIPWIRE_WATCH_ONLY, ioctl(fd, MEMFD_TRIPWIRE_PRODUCER,
 * 0) returns a producer fd, which is open for reading and writing, and closed
 * on exec. It does what a memfd does: mmap(2), read(2), write(2), seals.
 * It is notified of nothing and cannot create watches or producer fds, and
 * neither can what is opened from it through /proc/PID/fd.
 *
 * Errors: EINVAL when the argument is not 0; EOPNOTSUPP without
 * MEMFD_TRIPWIRE_WATCH_ONLY; EPERM on any other description than the one that
 * memfd_tripwire(2) returned; EMFILE, ENFILE, ENOMEM.
 */
#define MEMFD_TRIPWIRE_PRODUCER	_IO(0xDA, 2)

#endif /* _UAPI_LINUX_MEMFD_TRIPWIRE_H */
