// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - nowait reads of a watch, and io_uring
 */
#include <sys/uio.h>
#include "kselftest_harness.h"
#include "lib/event_loop.h"

#define BUFFER		(2ul << 20)
#define LOOKING_NS	2000000000ull
#define NAP_US		300

FIXTURE(nowait)
{
	int fd;
	int watch;
	size_t page;
	char *map;
	char *buffer;
	bool end;
	unsigned long writes;
};

FIXTURE_SETUP(nowait)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->fd = memfd_tripwire(MEMFD_TRIPWIRE_WATCH_ONLY);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, 2 * BUFFER));
	self->map = map_aligned(self->fd, 2 * BUFFER);
	ASSERT_NE(MAP_FAILED, self->map);
	self->watch = add_watch(self->fd, 0, 0, 0);
	ASSERT_LE(0, self->watch);
	self->buffer = calloc(1, BUFFER);
	ASSERT_NE(NULL, self->buffer);
}

FIXTURE_TEARDOWN(nowait)
{
	close(self->watch);
	close(self->fd);
	free(self->buffer);
}

/* The folio is locked while write(2) copies into it. */
static void *write_without_end(void *arg)
{
	FIXTURE_DATA(nowait) * self = arg;

	while (!__atomic_load_n(&self->end, __ATOMIC_RELAXED)) {
		pwrite(self->fd, self->buffer, BUFFER, 0);
		self->writes++;
	}
	return NULL;
}

static int nowait_read(int watch, struct reports *reports)
{
	struct iovec iov = { reports->range, sizeof(reports->range) };
	ssize_t got = preadv2(watch, &iov, 1, -1, RWF_NOWAIT);

	reports->nr = got < 0 ? 0 : got / RECORD;
	return got < 0 ? -1 : reports->nr;
}

/* A reader that naps preempts the copying where it stands, on one CPU too. */
TEST_F(nowait, read_does_not_wait_for_a_locked_folio)
{
	struct sched_param param = { .sched_priority = 50 };
	unsigned long reads = 0, skipped = 0, others = 0;
	uint64_t until = now_ns() + LOOKING_NS;
	struct reports reports;
	pthread_t thread;

	if (!fault_in_folio(self->map, BUFFER))
		SKIP(return, "no huge pages in shmem");
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_without_end, self));
	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &param))
		SKIP(return, "no SCHED_FIFO: %s", strerror(errno));
	while (now_ns() < until) {
		usleep(NAP_US);
		store(self->map + BUFFER, ++reads);
		if (nowait_read(self->watch, &reports) < 0) {
			ASSERT_EQ(EAGAIN, errno);
			continue;
		}
		/* The other folio is not locked. */
		if (is_reported(&reports, BUFFER))
			others++;
		if (pending(self->watch) && !is_reported(&reports, 0))
			skipped++;
	}
	__atomic_store_n(&self->end, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	TH_LOG("%lu reads beside %lu writes; %lu did not wait for the folio, %lu had the other",
	       reads, self->writes, skipped, others);
	EXPECT_LT(reads / 4, skipped);
	EXPECT_LT(reads / 2, others);

	/* What was skipped is still to be read. */
	ASSERT_EQ(BUFFER, pwrite(self->fd, self->buffer, BUFFER, 0));
	ASSERT_TRUE(pending(self->watch));
	ASSERT_LT(0, read_reports(self->watch, &reports, MAX_REPORTS));
	EXPECT_TRUE(is_reported(&reports, 0));
}

TEST_F(nowait, read_without_memory_is_eagain_and_loses_nothing)
{
	int control = open_fail_nth(), nth, failed = 0;
	struct reports reports;

	if (control < 0)
		SKIP(return, "no fault injection: %s", strerror(errno));
	store(self->map, 1);
	ASSERT_TRUE(pending(self->watch));
	for (nth = 1; nth < MAX_NTH; nth++) {
		fail_nth(control, nth);
		if (nowait_read(self->watch, &reports) > 0)
			break;
		EXPECT_EQ(EAGAIN, errno);
		fail_nth(control, 0);
		failed++;
		ASSERT_TRUE(pending(self->watch));
	}
	fail_nth(control, 0);
	ASSERT_LT(nth, MAX_NTH);
	EXPECT_LT(0, failed);
	EXPECT_TRUE(is_reported(&reports, 0));
	close(control);
}

/*
 * io_uring tries without waiting, polls, and tries again. A read that comes
 * between a fault and its store is followed by one more event.
 */
static void check_ring(struct __test_metadata *_metadata, FIXTURE_DATA(nowait) * self,
		       uint32_t flags)
{
	struct memfd_tripwire_range range = { .len = 0 };
	struct io_uring_cqe cqe;
	struct ring ring;
	int i;

	if (!open_ring_with(&ring, flags))
		SKIP(return, "no io_uring: %s", strerror(errno));
	for (i = 0; i < PAGES; i++) {
		do {
			ASSERT_TRUE(submit_read(&ring, self->watch, &range, 0));
		} while (reap(&ring, &cqe, QUIET_MS) == 1);
		store(self->map + i * BUFFER / PAGES, i + 1);
		ASSERT_EQ(1, reap(&ring, &cqe, PATIENCE_MS));
		EXPECT_EQ((int)RECORD, cqe.res);
		EXPECT_LE(range.offset, i * BUFFER / PAGES);
		EXPECT_GT(range.offset + range.len, i * BUFFER / PAGES);
	}
	close_ring(&ring);
}

TEST_F(nowait, io_uring_read_ends_with_the_event)
{
	check_ring(_metadata, self, 0);
}

TEST_F(nowait, io_uring_read_by_kernel_thread_ends_with_the_event)
{
	check_ring(_metadata, self, IORING_SETUP_SQPOLL);
}

TEST_HARNESS_MAIN
