/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - what the tests of watches share
 *
 * A test that includes this has both fixtures, path and tripwire; or gcc calls
 * one unused.
 */
#ifndef SELFTEST_TRIPWIRE_WATCH_FIXTURE_H
#define SELFTEST_TRIPWIRE_WATCH_FIXTURE_H

#include "fixture.h"

static inline bool notified_in_time(int watch, size_t nr)
{
	struct reports reports = { .nr = 0 };

	while (!is_reported(&reports, nr * getpagesize()))
		if (!pending_within(watch, PATIENCE_MS) ||
		    (read_reports(watch, &reports, 1) < 0 && errno != EAGAIN))
			return false;
	return true;
}

/* The watches have their own tests for huge pages; here reports are exact. */
FIXTURE(tripwire)
{
	int fd;
	size_t page;
	size_t len;
	char *map;
};

FIXTURE_VARIANT(tripwire)
{
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(tripwire, default_mode) { .flags = 0 };
FIXTURE_VARIANT_ADD(tripwire, watch_only) { .flags = MEMFD_TRIPWIRE_WATCH_ONLY };

FIXTURE_SETUP(tripwire)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->len = PAGES * self->page;
	self->fd = memfd_tripwire(variant->flags | MEMFD_TRIPWIRE_NOHUGE);
	ASSERT_LE(0, self->fd);
	self->map = map_pages(self->fd, PAGES);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(tripwire)
{
	munmap(self->map, self->len);
	close(self->fd);
}

/*
 * What there is to do is the file's in one mode, and there is nothing in the
 * other.
 */
static inline bool eat_event(FIXTURE_DATA(tripwire) * self,
			     const FIXTURE_VARIANT(tripwire) * variant)
{
	return variant->flags & MEMFD_TRIPWIRE_WATCH_ONLY ? ack(self->fd) < 0 : !ack(self->fd);
}

#endif /* SELFTEST_TRIPWIRE_WATCH_FIXTURE_H */
