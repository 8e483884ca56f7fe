/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * memfd_tripwire - memory that tells when it is written
 *
 * See Documentation/userspace-api/memfd_tripwire.rst.
 */
#ifndef _UAPI_LINUX_MEMFD_TRIPWIRE_H
#define _UAPI_LINUX_MEMFD_TRIPWIRE_H

#include <linux/ioctl.h>

/**
 * MEMFD_TRIPWIRE_ACK - re-arm the whole file and take the event back
 *
 * ioctl(fd, MEMFD_TRIPWIRE_ACK, 0) on a file of memfd_tripwire(2), or on any
 * description of it that was opened later. Write-protects whatever was written
 * since the last ACK and clears the event of this open file description only.
 *
 * When it returns 0, every write to the region has either landed and is
 * visible to the caller, or will raise a new event.
 *
 * Errors, with the event still pending: EINVAL when the argument is not 0,
 * EINTR when a fatal signal arrived.
 */
#define MEMFD_TRIPWIRE_ACK	_IO(0xDA, 0)

#endif /* _UAPI_LINUX_MEMFD_TRIPWIRE_H */
