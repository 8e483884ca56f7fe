// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - an ACK costs what was written, not what is resident
 */
#include "kselftest_harness.h"
#include "lib/tripwire.h"

#define RESIDENT_MIB	256
#define RESIDENT	((size_t)RESIDENT_MIB << 20)
#define WARM_UP		100
#define ROUNDS		1001

enum { ONE, MANY, FILES };	/* pages resident */

FIXTURE(tripwire)
{
	int fds[FILES];
	char *maps[FILES];
};

FIXTURE_SETUP(tripwire)
{
	int i;

	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	for (i = 0; i < FILES; i++) {
		self->fds[i] = memfd_tripwire(0);
		ASSERT_LE(0, self->fds[i]);
		ASSERT_EQ(0, ftruncate(self->fds[i], RESIDENT));
		self->maps[i] = map_shared(self->fds[i], RESIDENT);
		ASSERT_NE(MAP_FAILED, self->maps[i]);
		ASSERT_EQ(0, ack(self->fds[i]));
	}
}

FIXTURE_TEARDOWN(tripwire)
{
	int i;

	for (i = 0; i < FILES; i++)
		close(self->fds[i]);
}

/* Nanoseconds of one ACK with one page written. */
static uint64_t ack_ns(int fd, char *map, uint64_t value)
{
	uint64_t began;

	store(map, value);
	began = now_ns();
	return ack(fd) ? 0 : now_ns() - began;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* By turns, so that a noisy neighbour hits both; then the medians. */
TEST_F_TIMEOUT(tripwire, ack_of_one_page_is_flat_in_resident_pages, 120)
{
	static uint64_t took[FILES][ROUNDS];
	unsigned long long one, many;
	size_t offset;
	int i, round;

	for (offset = 0; offset < RESIDENT; offset += getpagesize())
		store(self->maps[MANY] + offset, 1);
	ASSERT_EQ(0, ack(self->fds[MANY]));

	for (round = -WARM_UP; round < ROUNDS; round++) {
		for (i = 0; i < FILES; i++) {
			uint64_t ns = ack_ns(self->fds[i], self->maps[i], round);

			ASSERT_NE(0, ns);
			if (round >= 0)
				took[i][round] = ns;
		}
	}
	for (i = 0; i < FILES; i++)
		qsort(took[i], ROUNDS, sizeof(took[i][0]), by_value);
	one = took[ONE][ROUNDS / 2];
	many = took[MANY][ROUNDS / 2];
	TH_LOG("ACK of 1 written page: %llu ns with 1 resident, %llu ns with %d MiB (%llu.%02llux)",
	       one, many, RESIDENT_MIB, many / one, many * 100 / one % 100);
	EXPECT_LE(2 * many, 3 * one);
}

TEST_HARNESS_MAIN
