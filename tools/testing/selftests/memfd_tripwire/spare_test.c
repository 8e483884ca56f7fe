// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - what an ACK does about a store that has not landed yet
 *
 * A store that faults and does not land is made by a process of higher priority
 * on the same CPU: the event wakes it before the producer returns from its
 * fault, and it sends a signal whose handler does not return to the store.
 */
#include <setjmp.h>
#include "kselftest_harness.h"
#include "lib/tripwire.h"

#define QUIET_MS	50	/* in which an event ends when nothing is stored */
#define TRIES		20
#define SOFT_DIRTY	0x80000000000000ull	/* in /proc/PID/pagemap */
#define NOT_MADE	"no signal came between fault and store"

static sigjmp_buf before_store;
static bool landed;

static void on_signal(int sig)
{
	siglongjmp(before_store, 1);
}

FIXTURE(spare)
{
	int fd;
	size_t page;
	char *map;
	uint32_t *ready;	/* the sender of the signal is about to sleep */
	cpu_set_t cpus;
};

FIXTURE_SETUP(spare)
{
	struct sigaction act = { .sa_handler = on_signal };

	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, 2 * self->page));
	ASSERT_EQ(0, ack(self->fd));
	self->map = map_shared(self->fd, 2 * self->page);
	ASSERT_NE(MAP_FAILED, self->map);
	self->ready = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->ready);
	ASSERT_EQ(0, sigaction(SIGUSR1, &act, NULL));
	ASSERT_EQ(0, sched_getaffinity(0, sizeof(self->cpus), &self->cpus));
}

FIXTURE_TEARDOWN(spare)
{
	sched_setaffinity(0, sizeof(self->cpus), &self->cpus);
	munmap(self->ready, self->page);
	munmap(self->map, 2 * self->page);
	close(self->fd);
}

static bool use_first_cpu(void)
{
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	return !sched_setaffinity(0, sizeof(first), &first);
}

/* Send @sig to the parent once @fd is readable. */
static pid_t start_sender(uint32_t *ready, int fd, int sig)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	struct sched_param param = { .sched_priority = 1 };
	pid_t producer = getpid(), sender = fork_child();

	if (sender)
		return sender;
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		_exit(1);
	__atomic_store_n(ready, 1, __ATOMIC_RELEASE);
	if (poll(&pollfd, 1, 5000) != 1)
		_exit(1);
	_exit(!!kill(producer, sig));
}

/*
 * True if a store to page 0 has faulted and not landed; @fd is readable then.
 * Does not return if @sig kills.
 */
static bool store_that_does_not_land(FIXTURE_DATA(spare) * self, int fd, int sig)
{
	uint64_t before = load(self->map);
	pid_t sender;

	*self->ready = 0;
	if (pending(fd) || !use_first_cpu())
		return false;
	sender = start_sender(self->ready, fd, sig);
	if (sender < 0)
		return false;
	/* It has the CPU until it sleeps, so that it does when this goes on. */
	while (!__atomic_load_n(self->ready, __ATOMIC_ACQUIRE) && !waitpid(sender, NULL, WNOHANG))
		sched_yield();
	landed = false;
	if (!sigsetjmp(before_store, 1)) {
		store(self->map, before + 1);
		landed = true;
	}
	kill(sender, SIGKILL);
	waitpid(sender, NULL, 0);
	return !landed && load(self->map) == before;
}

/* Milliseconds until ACKs find no new event for QUIET_MS; or -1. */
static int ms_until_quiet(int fd)
{
	uint64_t start = now_ns(), last = start;

	while (pending_within(fd, QUIET_MS)) {
		if (ack(fd))
			return -1;
		last = now_ns();
		if (last - start > 10 * QUIET_MS * 1000000ull)
			return -1;
	}
	return (last - start) / 1000000;
}

TEST_F(spare, event_ends_after_a_store_that_never_lands)
{
	int ms;

	if (!store_that_does_not_land(self, self->fd, SIGUSR1))
		SKIP(return, NOT_MADE);
	ASSERT_TRUE(pending(self->fd));
	ms = ms_until_quiet(self->fd);
	TH_LOG("quiet after %d ms", ms);
	EXPECT_LE(0, ms);
	EXPECT_GE(QUIET_MS, ms);
}

TEST_F(spare, event_ends_after_the_producer_was_killed_before_its_store)
{
	pid_t child = fork_child();
	int status, ms;

	ASSERT_LE(0, child);
	if (!child) {
		store_that_does_not_land(self, self->fd, SIGKILL);
		_exit(1);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	if (WIFEXITED(status))
		SKIP(return, NOT_MADE);
	ASSERT_TRUE(pending(self->fd));
	EXPECT_EQ(0, load(self->map));
	ms = ms_until_quiet(self->fd);
	TH_LOG("quiet after %d ms", ms);
	EXPECT_LE(0, ms);
	EXPECT_GE(QUIET_MS, ms);
}

/*
 * The ACK leaves the page granted, so that a store after it does not fault.
 */
TEST_F(spare, store_to_spared_page_raises)
{
	int i, spared = 0;
	long before;

	for (i = 0; i < TRIES; i++) {
		ASSERT_TRUE(ack_until_quiet(self->fd));
		if (!store_that_does_not_land(self, self->fd, SIGUSR1))
			SKIP(return, NOT_MADE);
		ASSERT_EQ(0, ack(self->fd));
		before = minor_faults();
		store(self->map, load(self->map) + 1);
		spared += minor_faults() == before;
		EXPECT_TRUE(pending_within(self->fd, 1000));
	}
	TH_LOG("%d of %d pages were spared", spared, TRIES);
	EXPECT_LE(TRIES / 2, spared);
}

/* The timer notifies the watch whose read has spared the page. */
TEST_F(spare, store_to_page_spared_by_a_read_is_reported)
{
	int i, watch, spared = 0;
	struct reports reports;
	long before;

	watch = watch_pages(self->fd, 0, 2);
	ASSERT_LE(0, watch);
	for (i = 0; i < TRIES; i++) {
		while (pending_within(watch, QUIET_MS))
			ASSERT_LE(0, read_reports(watch, &reports, MAX_REPORTS));
		if (!store_that_does_not_land(self, watch, SIGUSR1))
			SKIP(return, NOT_MADE);
		ASSERT_EQ(1, read_reports(watch, &reports, MAX_REPORTS));
		before = minor_faults();
		store(self->map, load(self->map) + 1);
		spared += minor_faults() == before;
		ASSERT_TRUE(pending_within(watch, 1000));
		ASSERT_EQ(1, read_reports(watch, &reports, MAX_REPORTS));
		EXPECT_TRUE(is_reported(&reports, 0));
	}
	TH_LOG("%d of %d pages were spared", spared, TRIES);
	EXPECT_LE(TRIES / 2, spared);
	close(watch);
}

TEST_F(spare, page_whose_store_has_landed_is_quiet_after_one_ack)
{
	ASSERT_TRUE(ack_until_quiet(self->fd));
	store(self->map, 1);
	ASSERT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	EXPECT_FALSE(pending_within(self->fd, QUIET_MS));
}

TEST_F(spare, populated_pages_are_quiet_after_one_ack)
{
	ASSERT_TRUE(ack_until_quiet(self->fd));
	if (madvise(self->map, 2 * self->page, MADV_POPULATE_WRITE))
		SKIP(return, "no MADV_POPULATE_WRITE: %s", strerror(errno));
	ASSERT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	EXPECT_FALSE(pending_within(self->fd, QUIET_MS));
}

/*
 * One fault makes all pages of the folio writable; one of them is stored to.
 */
TEST_F(spare, large_folio_is_quiet_after_one_ack)
{
	const size_t size = 64 << 10;
	char *map;

	ASSERT_EQ(0, ftruncate(self->fd, size));
	ASSERT_EQ(0, fallocate(self->fd, HOLE, 0, size));
	map = map_aligned(self->fd, size);
	ASSERT_NE(MAP_FAILED, map);
	if (access(THP "hugepages-64kB/shmem_enabled", W_OK))
		SKIP(return, "no folios of 64 KiB: %s", strerror(errno));
	ASSERT_TRUE(fault_in_folio(map, size));
	ASSERT_EQ(size / self->page, folio_pages_at(map, self->page));
	ASSERT_EQ(0, ack(self->fd));
	EXPECT_FALSE(pending_within(self->fd, QUIET_MS));
	munmap(map, size);
}

static bool is_soft_dirty(const void *where, size_t page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;
	off_t at = (uintptr_t)where / page * sizeof(entry);
	bool done = pread(fd, &entry, sizeof(entry), at) == sizeof(entry);

	close(fd);
	return done && (entry & SOFT_DIRTY);
}

TEST_F(spare, page_is_soft_dirty_after_a_store_that_faulted)
{
	store(self->map, 1);
	if (!is_soft_dirty(self->map, self->page))
		SKIP(return, "no soft-dirty bits");
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, write_text("/proc/self/clear_refs", "4"));
	ASSERT_FALSE(is_soft_dirty(self->map, self->page));
	store(self->map, 2);
	EXPECT_TRUE(is_soft_dirty(self->map, self->page));
}

TEST_HARNESS_MAIN
