// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - the producer gets on, however busy the consumers are
 */
#include <sys/wait.h>
#include "kselftest_harness.h"
#include "lib/tripwire.h"

#define MAX_LOOPS	8
#define STORES		3000
#define FAULTS		3000		/* for so many stores, or more */
#define STORING_NS	1000000000ull	/* and no longer, if they come slowly */
#define SPARED_NS	10000000ull	/* a store may be spared for it */
#define ROUND_TRIPS	300

FIXTURE(tripwire)
{
	int fd;
	size_t page;
	char *map;
	uint64_t *where;
	pid_t loops[MAX_LOOPS];
};

FIXTURE_VARIANT(tripwire)
{
	int loops;
	bool crossing;		/* a store to two pages, which must both be granted */
};

FIXTURE_VARIANT_ADD(tripwire, one_loop)
{
	.loops = 1,
};

FIXTURE_VARIANT_ADD(tripwire, eight_loops)
{
	.loops = 8,
};

FIXTURE_VARIANT_ADD(tripwire, one_loop_two_pages)
{
	.loops = 1,
	.crossing = true,
};

FIXTURE_VARIANT_ADD(tripwire, eight_loops_two_pages)
{
	.loops = 8,
	.crossing = true,
};

/* Ends only if it saw a store land after its ACK and was never notified. */
static void ack_loop(int fd, const void *where)
{
	uint64_t before;
	int tries;

	while (!ack(fd)) {
		before = load(where);
		for (tries = 0; tries < 100 && load(where) == before; tries++)
			;
		if (tries < 100 && !pending_within(fd, 1000))
			break;
	}
	_exit(1);
}

FIXTURE_SETUP(tripwire)
{
	int i;

	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, 2 * self->page));
	self->map = map_shared(self->fd, 2 * self->page);
	ASSERT_NE(MAP_FAILED, self->map);
	self->where = (void *)(self->map + self->page - (variant->crossing ? 4 : 8));
	for (i = 0; i < variant->loops; i++) {
		self->loops[i] = fork_child();
		ASSERT_LE(0, self->loops[i]);
		if (!self->loops[i])
			ack_loop(reopen(self->fd, O_RDONLY), self->where);
	}
}

FIXTURE_TEARDOWN(tripwire)
{
	int i;

	for (i = 0; i < variant->loops; i++) {
		kill(self->loops[i], SIGKILL);
		waitpid(self->loops[i], NULL, 0);
	}
	close(self->fd);
}

/*
 * The faults that a store took: two for each page, and one more for each time
 * that it may have been spared for. The time includes that off the CPU.
 */
static long store_within_bound(struct __test_metadata *_metadata, uint64_t *where,
			       uint64_t value, int pages)
{
	uint64_t start = now_ns(), spared;
	long before = minor_faults(), faults;

	store(where, value);
	faults = minor_faults() - before;
	spared = (now_ns() - start) / SPARED_NS;
	EXPECT_GE(pages * (2 + spared), faults)
		TH_LOG("%ld faults, spared %llu times", faults, (unsigned long long)spared);
	return faults;
}

TEST_F_TIMEOUT(tripwire, store_completes_against_ack_loops, 30)
{
	uint64_t i, until = now_ns() + STORING_NS;
	long faults, worst = 0, all = 0;

	for (i = 1; i <= STORES || (all < FAULTS && now_ns() < until); i++) {
		faults = store_within_bound(_metadata, self->where, i, 1 + variant->crossing);
		all += faults;
		worst = faults > worst ? faults : worst;
		ASSERT_EQ(i, load(self->where));
	}
	TH_LOG("%d ACK loops: %ld faults for %llu stores, %ld for one at worst",
	       variant->loops, all, (unsigned long long)i - 1, worst);
}

/*
 * A spared folio is re-raised until it is revoked.
 */
TEST_F_TIMEOUT(tripwire, spared_folio_is_reraised_until_writing_ends, 60)
{
	uint64_t until = now_ns() + STORING_NS;
	int i, quiet = 0;

	while (now_ns() < until)
		store(self->where, load(self->where) + 1);
	usleep(1500000);
	for (i = 0; i < variant->loops; i++)
		EXPECT_EQ(0, waitpid(self->loops[i], NULL, WNOHANG)) TH_LOG("loop %d gave up", i);

	for (i = 0; i < 1000 && quiet < 3; i++) {
		quiet = pending_within(self->fd, 20) ? 0 : quiet + 1;
		ASSERT_EQ(0, ack(self->fd));
	}
	EXPECT_EQ(3, quiet);
}

/*
 * A consumer on the CPU of the producer: its wake-up preempts the producer at
 * the return from the fault, so that its ACK comes before the store.
 */
static void answer(int fd, const uint64_t *where, uint64_t *seen)
{
	uint64_t value;

	for (;;) {
		if (!pending_within(fd, -1) || ack(fd))
			_exit(1);
		value = load(where);
		if (value != load(seen))
			store(seen, value);
	}
}

FIXTURE(shared_cpu)
{
	int fd;
	uint64_t *where;
	uint64_t *seen;
	pid_t consumer;
	cpu_set_t cpus;
};

FIXTURE_VARIANT(shared_cpu)
{
	int policy;		/* of the consumer */
};

FIXTURE_VARIANT_ADD(shared_cpu, consumer)
{
	.policy = SCHED_OTHER,
};

FIXTURE_VARIANT_ADD(shared_cpu, batch_consumer)
{
	.policy = SCHED_BATCH,
};

FIXTURE_SETUP(shared_cpu)
{
	struct sched_param param = { 0 };
	cpu_set_t first;

	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, getpagesize()));
	self->where = map_shared(self->fd, getpagesize());
	ASSERT_NE(MAP_FAILED, self->where);
	self->seen = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->seen);
	ASSERT_EQ(0, sched_getaffinity(0, sizeof(self->cpus), &self->cpus));
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(first), &first));
	self->consumer = fork_child();
	ASSERT_LE(0, self->consumer);
	if (!self->consumer) {
		if (sched_setscheduler(0, variant->policy, &param))
			_exit(1);
		answer(reopen(self->fd, O_RDONLY), self->where, self->seen);
	}
}

FIXTURE_TEARDOWN(shared_cpu)
{
	kill(self->consumer, SIGKILL);
	waitpid(self->consumer, NULL, 0);
	sched_setaffinity(0, sizeof(self->cpus), &self->cpus);
	close(self->fd);
}

TEST_F_TIMEOUT(shared_cpu, store_faults_once_where_the_consumer_shares_the_cpu, 30)
{
	long faults, worst = 0, all = 0;
	uint64_t i, start = now_ns();

	for (i = 1; i <= ROUND_TRIPS; i++) {
		faults = store_within_bound(_metadata, self->where, i, 1);
		all += faults;
		worst = faults > worst ? faults : worst;
		while (load(self->seen) != i)
			sched_yield();
	}
	TH_LOG("%ld faults for %d stores, %ld for one at worst; %llu us a round trip", all,
	       ROUND_TRIPS, worst, (unsigned long long)(now_ns() - start) / ROUND_TRIPS / 1000);
	EXPECT_GE(ROUND_TRIPS * 110 / 100, all);
}

TEST_HARNESS_MAIN
