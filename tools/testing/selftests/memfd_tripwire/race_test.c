// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - the guarantee, while producers and consumers race
 */
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include "kselftest_harness.h"
#include "lib/tripwire.h"

#define ROUNDS		1000
#define BURSTS		3000
#define READS		3000
#define WRITERS		4
#define READERS		2
#define PAIRS		2000
#define CUTS		100
#define PATIENCE_MS	10000

/* In ordinary shared memory: how the sides agree on rounds. */
struct board {
	uint64_t echo;			/* the last value that the consumer saw */
	uint64_t committed[WRITERS];	/* stored before this was */
	uint64_t hold;			/* readers for whom the writers store nothing */
	uint64_t done;			/* sides that are done, or all of them */
};

FIXTURE(tripwire)
{
	int fd;
	size_t page;
	size_t len;
	char *map;
	struct board *board;
};

FIXTURE_SETUP(tripwire)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->len = WRITERS * self->page;
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->len));
	self->map = map_shared(self->fd, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	self->board = mmap(NULL, sizeof(*self->board), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->board);
	ASSERT_EQ(0, ack(self->fd));
}

FIXTURE_TEARDOWN(tripwire)
{
	close(self->fd);
}

static void wait_for_echo(const struct board *board, uint64_t value)
{
	while (load(&board->echo) < value)
		sched_yield();
}

static void put(FIXTURE_DATA(tripwire) * self, bool by_write, uint64_t value)
{
	if (!by_write)
		store(self->map, value);
	else if (pwrite(self->fd, &value, sizeof(value), 0) != sizeof(value))
		_exit(1);
}

static void lock_step(struct __test_metadata *_metadata, FIXTURE_DATA(tripwire) * self,
		      bool by_write)
{
	pid_t child = fork_child();
	unsigned long long i;

	ASSERT_LE(0, child);
	if (!child) {
		for (i = 1; i <= ROUNDS; i++) {
			put(self, by_write, i);
			wait_for_echo(self->board, i);
		}
		_exit(0);
	}
	for (i = 1; i <= ROUNDS; i++) {
		ASSERT_TRUE(pending_within(self->fd, PATIENCE_MS)) TH_LOG("round %llu", i);
		/*
		 * The event may come before the store lands; then it comes
		 * twice.
		 */
		do {
			ASSERT_EQ(0, ack(self->fd));
		} while (load(self->map) < i &&
			 pending_within(self->fd, PATIENCE_MS));
		ASSERT_EQ(i, load(self->map));
		store(&self->board->echo, i);
	}
	ASSERT_EQ(child, waitpid(child, NULL, 0));
}

TEST_F(tripwire, lock_step_rounds_raise_one_by_one)
{
	lock_step(_metadata, self, false);
}

TEST_F(tripwire, lock_step_writes_raise_one_by_one)
{
	lock_step(_metadata, self, true);
}

/* A consumer that ACKs and looks on request. */
struct looker {
	int fd;
	char *where;
	uint64_t seen;
	uint64_t stop;
};

static void *look_when_notified(void *data)
{
	struct looker *looker = data;

	while (!load(&looker->stop)) {
		if (pending_within(looker->fd, 10) && !ack(looker->fd))
			store(&looker->seen, load(looker->where));
	}
	return NULL;
}

static bool comes_to_see(const struct looker *looker, uint64_t value)
{
	uint64_t until = now_ns() + PATIENCE_MS * 1000000ull;

	while (load(&looker->seen) != value && now_ns() < until)
		sched_yield();
	return load(&looker->seen) == value;
}

/* To the same size: what is behind the end, in its page, becomes zero. */
TEST_F(tripwire, page_cut_in_place_beside_acks_is_reported)
{
	size_t len = 2 * self->page - 100;
	struct looker looker = { .fd = self->fd, .where = self->map + 2 * self->page - 8 };
	pthread_t thread;
	uint64_t i;

	ASSERT_EQ(0, ftruncate(self->fd, len));
	ASSERT_EQ(0, pthread_create(&thread, NULL, look_when_notified, &looker));
	for (i = 1; i <= CUTS; i++) {
		store(looker.where, i);
		ASSERT_TRUE(comes_to_see(&looker, i)) TH_LOG("round %llu", (long long)i);
		ASSERT_EQ(0, ftruncate(self->fd, len));
		ASSERT_TRUE(comes_to_see(&looker, 0)) TH_LOG("round %llu", (long long)i);
	}
	store(&looker.stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
}

/*
 * A producer that stores without waiting, in bursts of random length and to
 * random pages; a consumer that ACKs as fast as it can. A lost event shows as a
 * burst whose last value is never seen.
 */
TEST_F_TIMEOUT(tripwire, burst_against_ack_loop_loses_no_event, 120)
{
	pid_t child = fork_child();
	uint64_t seen = 0, state = 1, last = 0, i, burst;

	ASSERT_LE(0, child);
	if (!child) {
		for (burst = 0; burst < BURSTS; burst++) {
			for (i = pseudo_random(&state) % 32 + 1; i; i--) {
				last++;
				store(self->map + last % WRITERS * self->page, last);
			}
			store(&self->board->committed[0], last);
			wait_for_echo(self->board, last);
		}
		store(&self->board->done, 1);
		_exit(0);
	}
	while (!load(&self->board->done)) {
		/* What was stored by now and is not seen yet has an event. */
		last = load(&self->board->committed[0]);
		if (!pending_within(self->fd, 100)) {
			ASSERT_LE(last, seen);
			continue;
		}
		ASSERT_EQ(0, ack(self->fd));
		for (i = 0; i < WRITERS; i++) {
			uint64_t value = load(self->map + i * self->page);

			if (value > seen)
				seen = value;
		}
		store(&self->board->echo, seen);
	}
	ASSERT_EQ(child, waitpid(child, NULL, 0));
}

/*
 * The event may be late, but must not be that of a later store: there are few
 * meanwhile.
 */
static bool event_in_time(int fd, struct board *board)
{
	bool in_time;

	__atomic_add_fetch(&board->hold, 1, __ATOMIC_RELEASE);
	in_time = pending_within(fd, PATIENCE_MS);
	__atomic_sub_fetch(&board->hold, 1, __ATOMIC_RELEASE);
	return in_time;
}

/*
 * The guarantee as it is written. What was committed before an ACK is visible
 * after it; and what appears after an ACK has an event pending.
 */
static const char *reader(int fd, const char *map, size_t page, struct board *board,
			  int writers, unsigned long *late)
{
	uint64_t before[WRITERS], after[WRITERS];
	bool changed;
	int i, round;

	for (round = 0; round < READS; round++) {
		for (i = 0; i < writers; i++)
			before[i] = load(&board->committed[i]);
		if (ack(fd))
			return "ACK failed";
		for (i = 0; i < writers; i++) {
			after[i] = load(map + i * page);
			if (after[i] < before[i])
				return "a store committed before the ACK is not visible after it";
		}
		if (round % 2)		/* let the writers go on, now and then */
			sched_yield();
		changed = false;
		for (i = 0; i < writers; i++)
			changed |= load(map + i * page) != after[i];
		if (changed && !pending(fd) && !event_in_time(fd, board))
			return "a store landed after the ACK and raised no event";
		*late += changed;
	}
	return NULL;
}

static void race(struct __test_metadata *_metadata, FIXTURE_DATA(tripwire) * self,
		 int writers, bool by_write)
{
	pid_t children[WRITERS + READERS];
	int i, status;

	for (i = 0; i < writers + READERS; i++) {
		unsigned long late = 0;
		const char *wrong;
		uint64_t n;
		int fd;

		children[i] = fork_child();
		ASSERT_LE(0, children[i]);
		if (children[i])
			continue;
		for (n = 1; i < writers && load(&self->board->done) < READERS; n++) {
			while (load(&self->board->hold))
				sched_yield();
			if (!by_write)
				store(self->map + i * self->page, n);
			else if (pwrite(self->fd, &n, sizeof(n), i * self->page) != sizeof(n))
				_exit(1);
			store(&self->board->committed[i], n);
		}
		if (i < writers)
			_exit(0);

		fd = reopen(self->fd, O_RDONLY);
		wrong = reader(fd, self->map, self->page, self->board,
			       writers, &late);
		__atomic_add_fetch(&self->board->done, 1, __ATOMIC_RELEASE);
		TH_LOG("%lu of %d ACKs had a store land right after, with its event%s%s",
		       late, READS, wrong ? "; WRONG: " : "", wrong ?: "");
		_exit(!!wrong);
	}
	for (i = 0; i < writers + READERS; i++) {
		ASSERT_EQ(children[i], waitpid(children[i], &status, 0));
		EXPECT_EQ(0, status);
	}
}

TEST_F_TIMEOUT(tripwire, stores_are_visible_or_pending, 120)
{
	race(_metadata, self, WRITERS, false);
}

/* No event of another writer can stand in for one that is lost. */
TEST_F_TIMEOUT(tripwire, stores_of_one_writer_are_visible_or_pending, 120)
{
	race(_metadata, self, 1, false);
}

TEST_F_TIMEOUT(tripwire, writes_are_visible_or_pending, 120)
{
	race(_metadata, self, WRITERS, true);
}

struct thread_arg {
	char *map;
	uint64_t hold;
	uint64_t stop;
};

static void *store_loop(void *data)
{
	struct thread_arg *arg = data;
	uint64_t value = 0;

	while (!load(&arg->stop)) {
		while (load(&arg->hold))
			sched_yield();
		store(arg->map, ++value);
	}
	return NULL;
}

/*
 * Threads share a page table: a grant to one is a grant to all. The reader's
 * invariant must hold against a thread that never faults itself. It may store
 * before the other one, whose fault made the grant, has raised the event.
 */
TEST_F_TIMEOUT(tripwire, threads_of_one_mm_raise_or_are_visible, 120)
{
	struct thread_arg arg = { .map = self->map };
	pthread_t threads[2];
	uint64_t after, late;
	int i, tries;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, store_loop, &arg));
	for (i = 0; i < 5000; i++) {
		/* One of them is at it right now. */
		late = load(self->map);
		while (load(self->map) == late)
			sched_yield();
		ASSERT_EQ(0, ack(self->fd));
		after = load(self->map);
		late = after;
		for (tries = 0; late == after && tries < 100; tries++)
			late = load(self->map);
		if (late == after || pending(self->fd))
			continue;
		store(&arg.hold, 1);	/* no later store stands in for this one */
		ASSERT_TRUE(pending_within(self->fd, PATIENCE_MS)) TH_LOG("round %d", i);
		store(&arg.hold, 0);
	}
	store(&arg.stop, 1);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
}

struct pair_arg {
	int fd;
	char *map;
	uint64_t *arrived;	/* at one of two meetings a round */
	uint64_t *returned;	/* ACKs */
	bool unreported;
};

static void meet(uint64_t *arrived, uint64_t all)
{
	__atomic_add_fetch(arrived, 1, __ATOMIC_ACQ_REL);
	while (load(arrived) < all)
		sched_yield();
}

static void *ack_and_store_if_first(void *data)
{
	struct pair_arg *arg = data;
	uint64_t i;

	for (i = 0; i < PAIRS; i++) {
		meet(arg->arrived, 4 * i + 2);
		if (ack(arg->fd))
			arg->unreported = true;
		if (__atomic_fetch_add(arg->returned, 1, __ATOMIC_ACQ_REL) == 2 * i) {
			store(arg->map, i);
			if (!arg->unreported && !pending_within(arg->fd, 1000))
				arg->unreported = true;
		}
		meet(arg->arrived, 4 * i + 4);
	}
	return NULL;
}

/*
 * Two ACK one grant at the same time. The first to return must not have
 * relied on what the other one had not finished.
 */
TEST_F_TIMEOUT(tripwire, store_after_the_first_of_two_acks_raises, 120)
{
	uint64_t arrived = 0, returned = 0;
	struct pair_arg args[2];
	pthread_t threads[2];
	int i;

	store(self->map, 1);
	for (i = 0; i < 2; i++) {
		args[i] = (struct pair_arg) {
			.fd = reopen(self->fd, O_RDWR), .map = self->map,
			.arrived = &arrived, .returned = &returned,
		};
		ASSERT_LE(0, args[i].fd);
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, ack_and_store_if_first, &args[i]));
	}
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
		EXPECT_FALSE(args[i].unreported);
		close(args[i].fd);
	}
}

/*
 * Pages come and go under the store loop: punch, truncate, ACK. It all goes on,
 * and what is stored afterwards raises; what punch and truncate raise is for
 * event_test, as the stores raise here too.
 */
TEST_F_TIMEOUT(tripwire, punch_and_truncate_race_with_stores_and_acks, 120)
{
	pid_t child = fork_child();
	int i, status;

	ASSERT_LE(0, child);
	if (!child) {
		uint64_t n;

		for (n = 1; load(&self->board->echo) == 0; n++)
			store(self->map + n % 2 * self->page, n);
		_exit(0);
	}
	for (i = 0; i < 1000; i++) {
		ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE |
				       FALLOC_FL_KEEP_SIZE, 0, self->page));
		ASSERT_EQ(0, ack(self->fd));
		ASSERT_EQ(0, ftruncate(self->fd, 2 * self->page));
		ASSERT_EQ(0, ftruncate(self->fd, self->len));
		ASSERT_EQ(0, ack(self->fd));
	}
	store(&self->board->echo, 1);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_TRUE(ack_until_quiet(self->fd));
	store(self->map, 1);
	EXPECT_TRUE(pending(self->fd));
}

TEST_HARNESS_MAIN
