// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - the tracepoints
 */
#include <sys/stat.h>
#include "kselftest_harness.h"
#include "lib/tripwire.h"

FIXTURE(tripwire)
{
	int fd;
	size_t page;
	char *map;
	unsigned long long ino;
};

FIXTURE_SETUP(tripwire)
{
	struct stat st;

	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	if (!trace_events("memfd_tripwire", true))
		SKIP(return, "no tracepoints of memfd_tripwire, or no right to them");
	self->page = getpagesize();
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, 16 * self->page));
	ASSERT_EQ(0, fstat(self->fd, &st));
	self->ino = st.st_ino;
	self->map = map_shared(self->fd, 16 * self->page);
	ASSERT_NE(MAP_FAILED, self->map);
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_TRUE(empty_trace());
}

FIXTURE_TEARDOWN(tripwire)
{
	trace_events("memfd_tripwire", false);
	close(self->fd);
}

static int traced_here(unsigned long long ino, const char *event, const char *rest)
{
	char line[128];

	snprintf(line, sizeof(line), "%s: ino=%llu %s\n", event, ino, rest);
	return traced(event, line);
}

TEST_F(tripwire, trip_is_traced_with_its_pages)
{
	store(self->map + 3 * self->page, 1);
	EXPECT_EQ(1, traced_here(self->ino, "memfd_tripwire_event", "pages=3-3"));
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       4 * self->page, 2 * self->page));
	EXPECT_EQ(1, traced_here(self->ino, "memfd_tripwire_event", "pages=4-5"));
}

TEST_F(tripwire, ack_is_traced_with_what_it_rearmed)
{
	store(self->map, 1);
	store(self->map + 2 * self->page, 1);
	ASSERT_EQ(0, ack(self->fd));
	EXPECT_EQ(1, traced_here(self->ino, "memfd_tripwire_ack", "by=file revoked=2"));
	ASSERT_EQ(0, ack(self->fd));
	EXPECT_EQ(1, traced_here(self->ino, "memfd_tripwire_ack", "by=file revoked=0"));
}

TEST_F(tripwire, read_of_a_watch_is_traced_as_ack)
{
	struct memfd_tripwire_range range;
	int watch = add_watch(self->fd, 0, self->page, 0);

	ASSERT_LE(0, watch);
	store(self->map, 1);
	ASSERT_EQ((ssize_t)sizeof(range), read(watch, &range, sizeof(range)));
	EXPECT_EQ(1, traced_here(self->ino, "memfd_tripwire_ack", "by=watch revoked=1"));
	close(watch);
}

TEST_HARNESS_MAIN
