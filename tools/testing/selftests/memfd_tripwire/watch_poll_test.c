// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - a watch that polls readable has something to read
 */
#include "kselftest_harness.h"
#include "lib/tripwire.h"

#define PAGES		4
#define HOLE_PAGES	256
#define LOOKING_NS	1500000000ull
#define RARELY		500	/* reads, of which one may find nothing */

enum change { STORES, UNMAPS, FORKS, HOLES };

FIXTURE(poll)
{
	int fd;
	int watch;
	size_t page;
	char *map;
	enum change change;
	bool end;
	unsigned long changes;
};

FIXTURE_VARIANT(poll)
{
	enum change change;
	bool never;		/* not one read finds nothing */
	bool late;		/* the reader naps, and comes amidst a change */
};

FIXTURE_VARIANT_ADD(poll, stores) { STORES, true };
FIXTURE_VARIANT_ADD(poll, stores_and_unmaps) { UNMAPS, false };
FIXTURE_VARIANT_ADD(poll, children_that_store_and_exit) { FORKS, false };
FIXTURE_VARIANT_ADD(poll, stores_and_holes) { HOLES, false };
FIXTURE_VARIANT_ADD(poll, stores_and_holes_read_late) { HOLES, false, true };

FIXTURE_SETUP(poll)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->fd = memfd_tripwire(MEMFD_TRIPWIRE_WATCH_ONLY);
	ASSERT_LE(0, self->fd);
	self->map = map_pages(self->fd, PAGES);
	ASSERT_NE(MAP_FAILED, self->map);
	self->watch = watch_pages(self->fd, 0, 0);
	ASSERT_LE(0, self->watch);
	self->change = variant->change;
}

FIXTURE_TEARDOWN(poll)
{
	close(self->watch);
	close(self->fd);
}

static void change_once(FIXTURE_DATA(poll) * self, size_t nr)
{
	char *map;

	switch (self->change) {
	case STORES:
		store_to(self->map, nr);
		break;
	case UNMAPS:
		map = map_shared(self->fd, PAGES * self->page);
		store_to(map, nr);
		munmap(map, PAGES * self->page);
		break;
	case FORKS:
		if (!fork()) {
			store_to(self->map, nr);
			_exit(0);
		}
		wait(NULL);
		break;
	case HOLES:
		/* The first page goes long before the last. */
		fallocate(self->fd, FALLOC_FL_KEEP_SIZE, 0, HOLE_PAGES * self->page);
		store_to(self->map, 0);
		punch(self->fd, 0, HOLE_PAGES);
		break;
	}
}

static void *change_without_end(void *arg)
{
	FIXTURE_DATA(poll) * self = arg;

	while (!__atomic_load_n(&self->end, __ATOMIC_RELAXED))
		change_once(self, self->changes++ % PAGES);
	return NULL;
}

TEST_F(poll, readable_watch_has_something_to_read)
{
	unsigned long looks = 0, reads = 0, empty = 0;
	uint64_t until = now_ns() + LOOKING_NS;
	struct reports reports;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, change_without_end, self));
	while (now_ns() < until) {
		looks++;
		if (variant->late)
			usleep(looks % 300);
		if (!pending(self->watch))
			continue;
		reads++;
		if (read_reports(self->watch, &reports, MAX_REPORTS) < 0) {
			EXPECT_EQ(EAGAIN, errno);
			empty++;
		}
	}
	__atomic_store_n(&self->end, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	TH_LOG("%lu of %lu reads found nothing, %lu changes, %lu polls", empty, reads,
	       self->changes, looks);
	EXPECT_LT(20, reads);
	EXPECT_GE(variant->never ? 0 : 1 + reads / RARELY, empty);
}

TEST_HARNESS_MAIN
