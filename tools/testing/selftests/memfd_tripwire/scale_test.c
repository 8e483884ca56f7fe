// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - what an ACK of many pages costs, and of huge ones
 */
#include <limits.h>
#include <linux/userfaultfd.h>
#include "kselftest_harness.h"
#include "lib/tripwire.h"

#define MANY		65536ul
#define SCATTERED	64
#define ROUNDS		101
#define PMD_SIZE	(2ul << 20)

FIXTURE(tripwire)
{
	int fd;
	size_t page;
	char *map;
};

FIXTURE_SETUP(tripwire)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, MANY * self->page));
	self->map = map_shared(self->fd, MANY * self->page);
	ASSERT_NE(MAP_FAILED, self->map);
	ASSERT_EQ(0, ack(self->fd));
}

FIXTURE_TEARDOWN(tripwire)
{
	munmap(self->map, MANY * self->page);
	close(self->fd);
}

static int by_value(const void *a, const void *b)
{
	unsigned long long x = *(const unsigned long long *)a, y = *(const unsigned long long *)b;

	return x < y ? -1 : x > y;
}

static unsigned long long median(unsigned long long *took, int nr)
{
	qsort(took, nr, sizeof(*took), by_value);
	return took[nr / 2];
}

/* Nanoseconds of an ACK with @nr pages written, @stride bytes apart. */
static unsigned long long ack_ns(int fd, char *map, unsigned long nr, size_t stride, int rounds)
{
	unsigned long long took[ROUNDS], began;
	unsigned long i;
	int round;

	for (round = 0; round < rounds; round++) {
		for (i = 0; i < nr; i++)
			store(map + i * stride, round);
		began = now_ns();
		if (ack(fd))
			return 0;
		took[round] = now_ns() - began;
	}
	/* The first ones warm up. */
	return median(took + rounds / 5, rounds - rounds / 5);
}

/* Nanoseconds of write-protecting the same range, written, by userfaultfd. */
static unsigned long long uffd_wp_ns(size_t len, int rounds)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
			    UFFD_FEATURE_WP_UNPOPULATED,
	};
	struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	int fd = memfd_create("plain", 0), round;
	unsigned long long took[ROUNDS], began, ns = 0;
	size_t offset, page = getpagesize();
	char *map;

	if (uffd < 0 || fd < 0 || ftruncate(fd, len) || ioctl(uffd, UFFDIO_API, &api))
		return 0;
	map = map_shared(fd, len);
	wp.range.start = (uintptr_t)map;
	wp.range.len = len;
	reg.range = wp.range;
	if (map == MAP_FAILED || ioctl(uffd, UFFDIO_REGISTER, &reg))
		goto out;
	for (round = 0; round < rounds; round++) {
		for (offset = 0; offset < len; offset += page)
			store(map + offset, round);
		began = now_ns();
		if (ioctl(uffd, UFFDIO_WRITEPROTECT, &wp))
			goto out;
		took[round] = now_ns() - began;
	}
	ns = median(took + rounds / 5, rounds - rounds / 5);
out:
	close(uffd);
	close(fd);
	return ns;
}

TEST_F_TIMEOUT(tripwire, ack_of_many_pages_is_near_to_userfaultfd, 120)
{
	unsigned long long ours = ack_ns(self->fd, self->map, MANY, self->page, 9);
	unsigned long long theirs = uffd_wp_ns(MANY * self->page, 9);

	ASSERT_NE(0, ours);
	if (!theirs)
		SKIP(return, "no userfaultfd write protection of shmem");
	TH_LOG("ACK of %lu pages: %llu ns a page, UFFDIO_WRITEPROTECT %llu (%llu.%02llux)",
	       MANY, ours / MANY, theirs / MANY, ours / theirs, ours * 100 / theirs % 100);
	EXPECT_GT(8 * theirs, ours);
}

/* The best of three, since the host may take a CPU away for a while. */
TEST_F_TIMEOUT(tripwire, ack_of_scattered_pages_flushes_once, 120)
{
	unsigned long long one, many, best = ULLONG_MAX;
	int try;

	for (try = 0; try < 3; try++) {
		one = ack_ns(self->fd, self->map, 1, PMD_SIZE, ROUNDS);
		many = ack_ns(self->fd, self->map, SCATTERED, PMD_SIZE, ROUNDS);
		ASSERT_NE(0, one);
		TH_LOG("ACK of %d pages, a page table each: %llu ns, of one %llu (%llu.%02llux)",
		       SCATTERED, many, one, many / one, many * 100 / one % 100);
		best = many / one < best ? many / one : best;
	}
	EXPECT_GT(30, best);
}

TEST_F_TIMEOUT(tripwire, ack_is_flat_in_a_sparse_tebibyte, 120)
{
	unsigned long long small = ack_ns(self->fd, self->map, 1, 0, ROUNDS), big;
	off_t size = 1ll << 40;
	char *map;

	ASSERT_EQ(0, ftruncate(self->fd, size));
	ASSERT_EQ(0, ack(self->fd));
	map = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
		   size - self->page);
	ASSERT_NE(MAP_FAILED, map);
	big = ack_ns(self->fd, map, 1, 0, ROUNDS);
	TH_LOG("ACK of 1 page at the end of 1 TiB: %llu ns, in 256 MiB %llu", big, small);
	EXPECT_GT(3 * small, big);
}

TEST_HARNESS_MAIN
