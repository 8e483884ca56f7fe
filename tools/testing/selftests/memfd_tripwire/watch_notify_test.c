// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - many watches: none is missed, and no store holds a CPU
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include "kselftest_harness.h"
#include "lib/tripwire.h"

#define WATCHES		8192
#define EPOLLS		500	/* in which the eventfd of all watches stands */
#define TICK_NS		500000ull
#define LATE_NS		50000000ull
#define LOG_LATE_NS	1000000ull
#define STORES		5
#define LOGS		300
#define LOGGED		32	/* pages of the file, over the length of a log */

FIXTURE(crowd)
{
	int fd;
	int eventfd;
	size_t page;
	char *map;
	int watches[WATCHES];
	cpu_set_t cpus;
};

FIXTURE_SETUP(crowd)
{
	struct memfd_tripwire_watch args = {
		.flags = MEMFD_TRIPWIRE_WATCH_NONBLOCK | MEMFD_TRIPWIRE_WATCH_EVENTFD,
	};
	struct epoll_event event = { .events = EPOLLIN };
	int i, epoll;

	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	if (!raise_fd_limit())
		SKIP(return, "no limit of 10000 descriptors: %s", strerror(errno));
	self->page = getpagesize();
	self->fd = memfd_tripwire(MEMFD_TRIPWIRE_WATCH_ONLY | MEMFD_TRIPWIRE_NOHUGE);
	ASSERT_LE(0, self->fd);
	self->map = map_pages(self->fd, LOGGED);
	ASSERT_NE(MAP_FAILED, self->map);
	self->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_LE(0, self->eventfd);
	args.eventfd = self->eventfd;
	for (i = 0; i < WATCHES; i++) {
		self->watches[i] = ioctl(self->fd, MEMFD_TRIPWIRE_WATCH, &args);
		ASSERT_LE(0, self->watches[i]);
	}
	for (i = 0; i < EPOLLS; i++) {
		epoll = epoll_create1(EPOLL_CLOEXEC);
		ASSERT_LE(0, epoll);
		ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->eventfd, &event));
	}
	ASSERT_EQ(0, sched_getaffinity(0, sizeof(self->cpus), &self->cpus));
}

FIXTURE_TEARDOWN(crowd)
{
	int i;

	sched_setaffinity(0, sizeof(self->cpus), &self->cpus);
	for (i = 0; i < WATCHES; i++)
		close(self->watches[i]);
}

static bool read_all(FIXTURE_DATA(crowd) * self)
{
	struct memfd_tripwire_range range;
	int i;

	for (i = 0; i < WATCHES; i++)
		if (!pending_within(self->watches[i], 5000) ||
		    read(self->watches[i], &range, sizeof(range)) != sizeof(range))
			return false;
	return true;
}

TEST_F_TIMEOUT(crowd, every_watch_is_notified_and_their_eventfd_once, 120)
{
	uint64_t count;
	int i;

	for (i = 1; i <= STORES; i++) {
		store(self->map, i);
		ASSERT_TRUE(read_all(self));
		ASSERT_TRUE(pending_within(self->eventfd, 5000));
		ASSERT_EQ(sizeof(count), read(self->eventfd, &count, sizeof(count)));
		EXPECT_EQ(1, count);
	}
}

/* Watches that go away while the rest is notified are not missed by it. */
TEST_F_TIMEOUT(crowd, watches_closed_meanwhile_do_no_harm, 120)
{
	int i;

	store(self->map, 1);
	/* The work has begun, and is at the last one of a batch. */
	ASSERT_TRUE(pending_within(self->watches[40], 5000));
	for (i = 1; i < WATCHES; i += 2)
		close(self->watches[i]);
	for (i = 0; i < WATCHES; i += 2)
		ASSERT_TRUE(pending_within(self->watches[i], 5000));
	EXPECT_TRUE(pending_within(self->eventfd, 5000));
}

struct clock {
	pthread_t thread;
	bool end;
	uint64_t worst;
};

/* How late a timer of the first CPU is: interrupts were off for so long. */
static void *watch_clock(void *arg)
{
	struct sched_param param = { .sched_priority = 50 };
	struct clock *clock = arg;
	struct timespec at;
	uint64_t due, late;
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	if (sched_setaffinity(0, sizeof(first), &first) ||
	    pthread_setschedparam(pthread_self(), SCHED_FIFO, &param))
		return (void *)1;
	while (!__atomic_load_n(&clock->end, __ATOMIC_RELAXED)) {
		due = now_ns() + TICK_NS;
		at.tv_sec = due / 1000000000;
		at.tv_nsec = due % 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		late = now_ns() - due;
		if (late > __atomic_load_n(&clock->worst, __ATOMIC_RELAXED))
			__atomic_store_n(&clock->worst, late, __ATOMIC_RELAXED);
	}
	return NULL;
}

static bool start_clock(FIXTURE_DATA(crowd) * self, struct clock *clock)
{
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	*clock = (struct clock) { .end = false };
	return !sched_setaffinity(0, sizeof(first), &first) &&
	       !pthread_create(&clock->thread, NULL, watch_clock, clock);
}

/* False if the clock had no SCHED_FIFO. */
static bool end_clock(struct clock *clock)
{
	void *failed;

	__atomic_store_n(&clock->end, true, __ATOMIC_RELAXED);
	return !pthread_join(clock->thread, &failed) && !failed;
}

/* The worst since the last call. */
static uint64_t late_by(struct clock *clock)
{
	usleep(5 * TICK_NS / 1000);
	return __atomic_exchange_n(&clock->worst, 0, __ATOMIC_RELAXED);
}

TEST_F_TIMEOUT(crowd, store_leaves_interrupts_on, 120)
{
	uint64_t late, count, worst = 0;
	struct clock clock;
	int i;

	ASSERT_TRUE(start_clock(self, &clock));
	for (i = 1; i <= STORES; i++) {
		late_by(&clock);
		store(self->map, i);
		ASSERT_TRUE(pending_within(self->eventfd, 5000));
		late = late_by(&clock);
		worst = late > worst ? late : worst;
		ASSERT_TRUE(read_all(self));
		ASSERT_EQ(sizeof(count), read(self->eventfd, &count, sizeof(count)));
	}
	if (!end_clock(&clock))
		SKIP(return, "no SCHED_FIFO: %s", strerror(errno));
	TH_LOG("a timer was late by %llu us at worst", (unsigned long long)worst / 1000);
	EXPECT_GE(LATE_NS, worst);
}

/*
 * A hole, and a read, log to all watches, whose logs are full of other pages.
 * The host may take a CPU away: one of many tries must be in time.
 */
static uint64_t late_by_logging(FIXTURE_DATA(crowd) * self, struct clock *clock, bool holes)
{
	uint64_t late, best = UINT64_MAX;
	struct reports reports;
	int i;

	for (i = 1; i <= LOGS && best > LOG_LATE_NS; i++) {
		late_by(clock);
		if (holes) {
			punch(self->fd, 0, 1);
		} else {
			store(self->map, i);
			read_reports(self->watches[0], &reports, MAX_REPORTS);
		}
		late = late_by(clock);
		best = late < best ? late : best;
	}
	return best;
}

TEST_F_TIMEOUT(crowd, logging_leaves_interrupts_on, 120)
{
	unsigned long long hole, page;
	struct clock clock;
	int i;

	for (i = LOGGED - 1; i > 0; i -= 2)
		ASSERT_EQ(0, punch(self->fd, i, 1));
	ASSERT_TRUE(start_clock(self, &clock));
	hole = late_by_logging(self, &clock, true);
	page = late_by_logging(self, &clock, false);
	if (!end_clock(&clock))
		SKIP(return, "no SCHED_FIFO: %s", strerror(errno));
	TH_LOG("a timer was late by %llu us beside a hole, %llu beside a read, at best",
	       hole / 1000, page / 1000);
	EXPECT_GE(LOG_LATE_NS, hole);
	EXPECT_GE(LOG_LATE_NS, page);
}

struct closer {
	FIXTURE_DATA(crowd) * self;
	pthread_t thread;
	int closed;
};

static void *close_slowly(void *arg)
{
	struct closer *closer = arg;
	int i;

	for (i = 1; i < WATCHES; i++) {
		close(closer->self->watches[i]);
		__atomic_store_n(&closer->closed, i, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* A walk over the watches drops the lock at one that may go away. */
TEST_F_TIMEOUT(crowd, watches_closed_while_others_log_do_no_harm, 120)
{
	struct closer closer = { .self = self };
	struct reports reports;
	unsigned long rounds = 0;

	ASSERT_EQ(0, pthread_create(&closer.thread, NULL, close_slowly, &closer));
	do {
		store(self->map, ++rounds);
		ASSERT_EQ(0, punch(self->fd, 1, 1));
		ASSERT_TRUE(pending_within(self->watches[0], 5000));
		ASSERT_LT(0, read_reports(self->watches[0], &reports, MAX_REPORTS));
		EXPECT_TRUE(is_reported(&reports, 0));
	} while (__atomic_load_n(&closer.closed, __ATOMIC_ACQUIRE) < WATCHES - 1);
	ASSERT_EQ(0, pthread_join(closer.thread, NULL));
	EXPECT_LT(1, rounds);
}

TEST_HARNESS_MAIN
