/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - fixtures, and helpers that fail a test
 */
#ifndef SELFTEST_TRIPWIRE_FIXTURE_H
#define SELFTEST_TRIPWIRE_FIXTURE_H

#include "kselftest_harness.h"
#include "race.h"

#define NO_NODES	"no migration to a second node (numa=fake=2): %s"

static inline void check_store_raises_after_ack(struct __test_metadata *_metadata, int fd,
						void *where)
{
	ASSERT_EQ(0, ack(fd));
	ASSERT_FALSE(pending(fd));
	store_new(where);
	EXPECT_TRUE(pending(fd));
}

static inline void start_race(struct __test_metadata *_metadata, struct race *race, int fd,
			      char *map, char *view)
{
	*race = (struct race) { .map = map, .view = view, .page = getpagesize() };
	race->fd = reopen(fd, O_RDWR);
	ASSERT_LE(0, race->fd);
	ASSERT_EQ(0, pthread_create(&race->threads[0], NULL, race_store, race));
	ASSERT_EQ(0, pthread_create(&race->threads[1], NULL, race_ack, race));
}

static inline void finish_race(struct __test_metadata *_metadata, struct race *race)
{
	store(&race->stop, 1);
	ASSERT_EQ(0, pthread_join(race->threads[0], NULL));
	ASSERT_EQ(0, pthread_join(race->threads[1], NULL));
	EXPECT_EQ(NULL, race->wrong) TH_LOG("%s", race->wrong);
	ASSERT_TRUE(ack_until_quiet(race->fd));
	check_store_raises_after_ack(_metadata, race->fd, race->view);
	close(race->fd);
}

FIXTURE(path)
{
	int fd;
	size_t page;
	size_t len;
	char *map;
};

FIXTURE_SETUP(path)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->len = PAGES * self->page;
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->len));
	self->map = map_shared(self->fd, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	ASSERT_EQ(0, ack(self->fd));
}

FIXTURE_TEARDOWN(path)
{
	munmap(self->map, self->len);
	close(self->fd);
}

/*
 * Exchanges the mapping for one of the size of a huge page; false if there are
 * none.
 */
static inline bool grow_to_huge(FIXTURE_DATA(path) * self)
{
	FILE *file = fopen(THP "hpage_pmd_size", "re");
	size_t len = 0;

	if (!file || fscanf(file, "%zu", &len) != 1)
		return false;
	fclose(file);
	munmap(self->map, self->len);
	self->len = len;
	if (ftruncate(self->fd, len))
		return false;
	self->map = map_aligned(self->fd, len);
	return self->map != MAP_FAILED;
}

#endif /* SELFTEST_TRIPWIRE_FIXTURE_H */
