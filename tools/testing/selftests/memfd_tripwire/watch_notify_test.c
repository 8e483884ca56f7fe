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
#define STORES		5

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
	self->map = map_pages(self->fd, 1);
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
	for (i = 0; i < WATCHES; i += 2)
		close(self->watches[i]);
	for (i = 1; i < WATCHES; i += 2)
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

TEST_F_TIMEOUT(crowd, store_leaves_interrupts_on, 120)
{
	struct clock clock = { .end = false };
	uint64_t late, worst = 0;
	cpu_set_t first;
	void *failed;
	int i;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(first), &first));
	ASSERT_EQ(0, pthread_create(&clock.thread, NULL, watch_clock, &clock));
	usleep(5 * TICK_NS / 1000);
	for (i = 1; i <= STORES; i++) {
		__atomic_store_n(&clock.worst, 0, __ATOMIC_RELAXED);
		store(self->map, i);
		ASSERT_TRUE(pending_within(self->eventfd, 5000));
		usleep(5 * TICK_NS / 1000);
		late = __atomic_load_n(&clock.worst, __ATOMIC_RELAXED);
		worst = late > worst ? late : worst;
		ASSERT_TRUE(read_all(self));
		ASSERT_EQ(sizeof(late), read(self->eventfd, &late, sizeof(late)));
	}
	__atomic_store_n(&clock.end, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(clock.thread, &failed));
	if (failed)
		SKIP(return, "no SCHED_FIFO: %s", strerror(errno));
	TH_LOG("a timer was late by %llu us at worst", (unsigned long long)worst / 1000);
	EXPECT_GE(LATE_NS, worst);
}

TEST_HARNESS_MAIN
