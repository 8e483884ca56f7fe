// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - watches: what a read reports, what it arms, how it fails,
 * and whom it wakes
 */
#include <sys/time.h>
#include "lib/watch_fixture.h"

/* Until that other process sleeps. */
static void await_sleep(pid_t pid)
{
	char path[64], text[256] = "", *state = NULL;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	do {
		sched_yield();
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (read(fd, text, sizeof(text) - 1) > 0)
			state = strrchr(text, ')');
		close(fd);
	} while (!state || state[2] != 'S');
}

/* What is reported. */

TEST_F(tripwire, store_is_reported_once)
{
	int watch = watch_pages(self->fd, 0, 0);

	EXPECT_STREQ("", reported(watch));
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
	EXPECT_STREQ("", reported(watch));
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
}

TEST_F(tripwire, store_before_the_watch_is_not_reported)
{
	int watch;

	store_to(self->map, 3);
	watch = watch_pages(self->fd, 0, 0);
	EXPECT_STREQ("", reported(watch));
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
}

TEST_F(tripwire, load_is_not_reported)
{
	int watch = watch_pages(self->fd, 0, 0);

	ASSERT_LE(0, watch);
	EXPECT_EQ(0, load(self->map));
	EXPECT_STREQ("", reported(watch));
}

TEST_F(tripwire, reports_ascend_and_are_merged)
{
	int watch = watch_pages(self->fd, 0, 0);

	store_to(self->map, 8);
	store_to(self->map, 5);
	store_to(self->map, 1);
	store_to(self->map, 3);
	store_to(self->map, 2);
	EXPECT_STREQ("1-3 5 8", reported(watch));
}

TEST_F(tripwire, reports_are_clipped_to_the_range)
{
	int watch = watch_pages(self->fd, 2, 2);
	char *buffer = calloc(6, self->page);

	ASSERT_EQ(6 * (ssize_t)self->page, pwrite(self->fd, buffer, 6 * self->page, 0));
	EXPECT_STREQ("2-3", reported(watch));
}

TEST_F(tripwire, store_next_to_the_range_is_not_reported)
{
	int watch = watch_pages(self->fd, 2, 2);

	ASSERT_LE(0, watch);
	store_to(self->map, 1);
	store_to(self->map, 4);
	EXPECT_STREQ("", reported(watch));
}

TEST_F(tripwire, watch_to_the_end_grows_with_the_file)
{
	int watch = watch_pages(self->fd, 4, 0);

	self->map = map_pages(self->fd, 2 * PAGES);
	ASSERT_NE(MAP_FAILED, self->map);
	EXPECT_STREQ("16-31", reported(watch));
	store_to(self->map, 20);
	EXPECT_STREQ("20", reported(watch));
}

TEST_F(tripwire, watch_beyond_the_end_is_reported_when_the_file_gets_there)
{
	int watch = watch_pages(self->fd, 20, 4);

	self->map = map_pages(self->fd, 22);
	ASSERT_NE(MAP_FAILED, self->map);
	EXPECT_STREQ("20-21", reported(watch));
	store_to(self->map, 19);
	EXPECT_STREQ("", reported(watch));
	store_to(self->map, 21);
	EXPECT_STREQ("21", reported(watch));
}

TEST_F(tripwire, watch_far_out_is_reported)
{
	const off_t far = 1ll << 61;
	int watch = add_watch(self->fd, far, self->page, MEMFD_TRIPWIRE_WATCH_NONBLOCK);
	struct reports reports;

	ASSERT_EQ(0, ftruncate(self->fd, far));
	EXPECT_FALSE(pending(watch));
	ASSERT_EQ(1, pwrite(self->fd, "x", 1, far));
	ASSERT_EQ(1, read_reports(watch, &reports, 1));
	EXPECT_EQ(far, reports.range[0].offset);
	EXPECT_EQ(self->page, reports.range[0].len);
}

TEST_F(tripwire, two_files_do_not_mix)
{
	int fd = memfd_tripwire(variant->flags), watch = watch_pages(fd, 0, 0);

	ASSERT_LE(0, watch);
	store_to(self->map, 3);
	EXPECT_STREQ("", reported(watch));
}

/* Holes, and the size of the file. */

TEST_F(tripwire, hole_is_reported)
{
	int watch;

	store_to(self->map, 3);
	watch = watch_pages(self->fd, 0, 0);
	ASSERT_EQ(0, punch(self->fd, 3, 2));
	EXPECT_STREQ("3-4", reported(watch));
}

TEST_F(tripwire, hole_and_stores_are_reported_as_one)
{
	int watch = watch_pages(self->fd, 0, 0);

	store_to(self->map, 2);
	store_to(self->map, 3);
	ASSERT_EQ(0, punch(self->fd, 3, 2));
	store_to(self->map, 6);
	EXPECT_STREQ("2-4 6", reported(watch));
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
}

TEST_F(tripwire, part_of_a_page_punched_is_reported)
{
	int watch;

	store_to(self->map, 3);
	watch = watch_pages(self->fd, 0, 0);
	ASSERT_EQ(0, fallocate(self->fd, HOLE, 3 * self->page + 8, 8));
	EXPECT_STREQ("3", reported(watch));
}

TEST_F(tripwire, removed_pages_are_reported)
{
	int watch;

	store_to(self->map, 3);
	watch = watch_pages(self->fd, 0, 0);
	ASSERT_EQ(0, madvise(self->map + 3 * self->page, self->page, MADV_REMOVE));
	EXPECT_STREQ("3", reported(watch));
}

TEST_F(tripwire, pages_cut_off_and_added_are_reported)
{
	int watch = watch_pages(self->fd, 0, 0), beyond = watch_pages(self->fd, 10, 2);

	store_to(self->map, 11);
	ASSERT_EQ(0, ftruncate(self->fd, 4 * self->page));
	EXPECT_STREQ("4-15", reported(watch));
	EXPECT_STREQ("10-11", reported(beyond));
	ASSERT_EQ(0, ftruncate(self->fd, 8 * self->page));
	EXPECT_STREQ("4-7", reported(watch));
	EXPECT_STREQ("", reported(beyond));
	ASSERT_EQ(0, ftruncate(self->fd, 8 * self->page));
	EXPECT_STREQ("", reported(watch));
}

TEST_F(tripwire, page_cut_in_two_is_reported)
{
	int watch = watch_pages(self->fd, 0, 0);

	ASSERT_EQ(0, ftruncate(self->fd, 3 * self->page + 8));
	EXPECT_STREQ("3-15", reported(watch));
	ASSERT_EQ(0, ftruncate(self->fd, 5 * self->page + 8));
	EXPECT_STREQ("3-5", reported(watch));
}

TEST_F(tripwire, allocating_is_reported_only_beyond_the_end)
{
	int watch = watch_pages(self->fd, 0, 0);

	ASSERT_EQ(0, fallocate(self->fd, 0, 0, self->len));
	EXPECT_STREQ("", reported(watch));
	ASSERT_EQ(0, fallocate(self->fd, 0, 0, self->len + 2 * self->page));
	EXPECT_STREQ("16-17", reported(watch));
}

/* SIGBUS before, zeros now. */
TEST_F(tripwire, gap_of_an_extending_write_is_reported)
{
	int gap, rest;

	ASSERT_EQ(0, ftruncate(self->fd, 4 * self->page));
	gap = watch_pages(self->fd, 4, 4);
	rest = watch_pages(self->fd, 4, 0);
	ASSERT_EQ(1, pwrite(self->fd, "x", 1, 8 * self->page));
	EXPECT_STREQ("4-7", reported(gap));
	EXPECT_STREQ("4-8", reported(rest));
}

/* Short buffers. */

TEST_F(tripwire, buffer_below_one_report_is_einval)
{
	int watch = watch_pages(self->fd, 0, 0);
	char buffer[16];

	EXPECT_EQ(-1, read(watch, buffer, 15));
	EXPECT_EQ(EINVAL, errno);
	store_to(self->map, 3);
	EXPECT_EQ(-1, read(watch, buffer, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, read(watch, buffer, 15));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_STREQ("3", reported(watch));
}

TEST_F(tripwire, short_buffer_leaves_the_rest_pending)
{
	int watch = watch_pages(self->fd, 0, 0);
	char buffer[31];

	store_to(self->map, 1);
	store_to(self->map, 3);
	store_to(self->map, 5);
	EXPECT_EQ(16, read(watch, buffer, sizeof(buffer)));
	EXPECT_STREQ("3", reported_some(watch, 1));
	EXPECT_STREQ("5", reported_some(watch, 1));
	EXPECT_STREQ("", reported(watch));
}

TEST_F(tripwire, busy_start_does_not_starve_the_end)
{
	int watch = watch_pages(self->fd, 0, 0);

	store_to(self->map, 1);
	store_to(self->map, 5);
	EXPECT_STREQ("1", reported_some(watch, 1));
	store_to(self->map, 1);
	EXPECT_STREQ("5", reported_some(watch, 1));
	EXPECT_STREQ("1", reported_some(watch, 1));
	EXPECT_STREQ("", reported(watch));
}

/*
 * More of them than a log holds, renewed before each read; then the last one of
 * all.
 */
TEST_F(tripwire, busy_start_of_stores_and_holes_does_not_starve_the_end)
{
	char *map = map_pages(self->fd, 128);
	int watch = watch_pages(self->fd, 0, 0), reads, i;
	struct reports reports = { .nr = 0 };

	ASSERT_NE(MAP_FAILED, map);
	store_to(map, 127);
	for (reads = 0; reads < 100 && !is_reported(&reports, 127 * self->page); reads++) {
		for (i = 0; i < 40; i += 2) {
			store_to(map, i);
			ASSERT_EQ(0, punch(self->fd, i + 60, 1));
		}
		ASSERT_EQ(1, read_reports(watch, &reports, 1));
	}
	EXPECT_GT(100, reads);
}

TEST_F(tripwire, wrapped_reports_ascend)
{
	int watch = watch_pages(self->fd, 0, 0);

	store_to(self->map, 1);
	store_to(self->map, 5);
	store_to(self->map, 9);
	EXPECT_STREQ("1", reported_some(watch, 1));
	store_to(self->map, 1);
	EXPECT_STREQ("1 5 9", reported(watch));
}

TEST_F(tripwire, more_than_256_reports_take_two_reads)
{
	struct memfd_tripwire_range buffer[2 * MAX_REPORTS];
	int watch, i, nr = 300;
	char *map = map_pages(self->fd, 2 * nr);
	struct reports reports;

	ASSERT_NE(MAP_FAILED, map);
	watch = watch_pages(self->fd, 0, 0);
	for (i = 0; i < nr; i++)
		store_to(map, 2 * i);
	ASSERT_EQ(MAX_REPORTS * 16, read(watch, buffer, sizeof(buffer)));
	for (i = 0; i < MAX_REPORTS; i++)
		ASSERT_EQ(2 * i * self->page, buffer[i].offset);
	ASSERT_TRUE(pending(watch));
	ASSERT_EQ(nr - MAX_REPORTS, read_reports(watch, &reports, MAX_REPORTS));
	for (i = 0; i < reports.nr; i++)
		ASSERT_EQ(2 * (MAX_REPORTS + i) * self->page, reports.range[i].offset);
	EXPECT_FALSE(pending(watch));
}

/* What a read arms. */

/* Faults of @rounds stores to @stored, or -1: @watch reported nothing. */
static long faults_during_acks(char *map, int watch, size_t watched, size_t stored, int rounds)
{
	long before, faults = 0;
	int i;

	for (i = 0; i < rounds; i++) {
		store_to(map, watched);
		if (!*reported(watch))
			return -1;
		before = minor_faults();
		store_to(map, stored);
		faults += minor_faults() - before;
	}
	return faults;
}

/* NUMA hinting may fault now and then. */
TEST_F(tripwire, read_rearms_its_own_pages_only)
{
	int left = watch_pages(self->fd, 2, 1), right = watch_pages(self->fd, 4, 1);
	long faults;

	ASSERT_LE(0, right);
	store_to(self->map, 3);
	faults = faults_during_acks(self->map, left, 2, 3, 50);
	EXPECT_LE(0, faults);
	EXPECT_GT(10, faults);
	faults = faults_during_acks(self->map, right, 4, 3, 50);
	EXPECT_LE(0, faults);
	EXPECT_GT(10, faults);
	faults = faults_during_acks(self->map, left, 2, 4, 50);
	EXPECT_LE(0, faults);
	EXPECT_GT(10, faults);
}

TEST_F(tripwire, new_watch_rearms_what_was_not_watched)
{
	int other = watch_pages(self->fd, 2, 1), watch;
	long before;

	ASSERT_LE(0, faults_during_acks(self->map, other, 2, 3, 2));
	watch = watch_pages(self->fd, 3, 1);
	before = minor_faults();
	store_to(self->map, 3);
	EXPECT_LT(before, minor_faults());
	EXPECT_STREQ("3", reported(watch));
}

TEST_F(tripwire, closing_the_last_watch_ends_the_faults_after_one)
{
	int watch = watch_pages(self->fd, 3, 1), other = watch_pages(self->fd, 2, 1);
	long faults;

	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
	close(watch);
	faults = faults_during_acks(self->map, other, 2, 3, 50);
	EXPECT_LE(0, faults);
	EXPECT_GT(10, faults);
}

/* In the other mode everything is armed, watched or not. */
TEST_F(path, ack_rearms_what_is_not_watched)
{
	int watch = watch_pages(self->fd, 2, 1);

	ASSERT_LE(0, watch);
	check_store_raises_after_ack(_metadata, self->fd, self->map + 3 * self->page);
	check_store_raises_after_ack(_metadata, self->fd, self->map + 3 * self->page);
}

/* A read that fails. */

TEST_F(tripwire, nonblocking_read_of_nothing_is_eagain)
{
	int watch = watch_pages(self->fd, 0, 0);
	struct reports reports;

	EXPECT_EQ(-1, read_reports(watch, &reports, 1));
	EXPECT_EQ(EAGAIN, errno);
}

TEST_F(tripwire, fcntl_makes_read_nonblocking)
{
	int watch = add_watch(self->fd, 0, 0, 0);
	struct reports reports;

	ASSERT_EQ(0, fcntl(watch, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-1, read_reports(watch, &reports, 1));
	EXPECT_EQ(EAGAIN, errno);
}

TEST_F(tripwire, read_sleeps_until_a_store_in_its_range)
{
	int watch = add_watch(self->fd, 2 * self->page, 2 * self->page, 0);
	pid_t parent = getpid(), child = fork_child();
	struct reports reports;

	ASSERT_LE(0, child);
	if (!child) {
		await_sleep(parent);
		store_to(self->map, 9);
		await_sleep(parent);
		store_to(self->map, 3);
		_exit(0);
	}
	EXPECT_EQ(1, read_reports(watch, &reports, MAX_REPORTS));
	EXPECT_STREQ("3", reports_text(&reports));
	ASSERT_EQ(child, waitpid(child, NULL, 0));
}

/* Both sleep on the same watch; what the first leaves is for the second. */
TEST_F(tripwire, short_read_wakes_the_next_reader)
{
	int watch = add_watch(self->fd, 0, 0, 0), i, status;
	struct memfd_tripwire_range range;
	pid_t readers[2];

	for (i = 0; i < 2; i++) {
		readers[i] = fork_child();
		ASSERT_LE(0, readers[i]);
		if (!readers[i])
			_exit(read(watch, &range, sizeof(range)) != sizeof(range));
	}
	for (i = 0; i < 2; i++)
		await_sleep(readers[i]);
	ASSERT_EQ(8, pwrite(self->fd, "xxxxxxxx", 8, self->page - 4));	/* 0 and 1 */
	ASSERT_EQ(8, pwrite(self->fd, "xxxxxxxx", 8, 9 * self->page));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(readers[i], waitpid(readers[i], &status, 0));
		EXPECT_EQ(0, status);
	}
}

static void ignore(int signal)
{
	(void)signal;
}

TEST_F(tripwire, signal_interrupts_the_wait)
{
	struct itimerval often = {
		.it_interval.tv_usec = 1000, .it_value.tv_usec = 1000,
	}, never = { 0 };
	struct sigaction action = { .sa_handler = ignore };
	int watch = add_watch(self->fd, 0, 0, 0);
	struct reports reports;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &often, NULL));
	EXPECT_EQ(-1, read_reports(watch, &reports, 1));
	EXPECT_EQ(EINTR, errno);
	store_to(self->map, 3);
	EXPECT_EQ(1, read_reports(watch, &reports, 1));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
}

TEST_F(tripwire, report_to_bad_buffer_is_efault_and_reported_next)
{
	char *bad = mmap(NULL, self->page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int watch = watch_pages(self->fd, 0, 0);

	store_to(self->map, 1);
	store_to(self->map, 3);
	EXPECT_EQ(-1, read(watch, bad, self->page));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_STREQ("1 3", reported(watch));
	EXPECT_STREQ("", reported(watch));
}

/* The first fits, half of the second, nothing of the third. */
TEST_F(tripwire, report_cut_short_by_bad_buffer_is_reported_next)
{
	char *buffer = mmap(NULL, 2 * self->page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int watch = watch_pages(self->fd, 0, 0);

	ASSERT_EQ(0, munmap(buffer + self->page, self->page));
	store_to(self->map, 1);
	store_to(self->map, 3);
	store_to(self->map, 5);
	EXPECT_EQ(16, read(watch, buffer + self->page - 24, 48));
	EXPECT_STREQ("3 5", reported(watch));
	EXPECT_STREQ("", reported(watch));
}

TEST_F(tripwire, read_without_memory_is_enomem_and_reported_next)
{
	int control = open_fail_nth(), watch = watch_pages(self->fd, 0, 0), nth, got, err;
	struct reports reports;
	bool reached = true;

	if (control < 0)
		SKIP(return, "no fault injection in this kernel");
	for (nth = 1; nth < MAX_NTH && reached; nth++) {
		store_to(self->map, 3);
		fail_nth(control, nth);
		got = read_reports(watch, &reports, MAX_REPORTS);
		err = errno;
		reached = fail_nth(control, 0);
		if (got < 0)
			ASSERT_EQ(ENOMEM, err);
		ASSERT_STREQ("3", got < 0 ? reported(watch) : reports_text(&reports));
	}
	EXPECT_GT(MAX_NTH, nth);
}

#define KILLED_PAGES	1024
#define KILLED_RANGES	(KILLED_PAGES / 2)
#define KILLED_ROUNDS	100

/* All that is pending, in so many reads; -1 if one of them says nothing. */
static int read_the_rest(int watch, struct reports *reports, int room)
{
	int nr;

	for (nr = 0; nr < room && pending(watch); nr++)
		if (read_reports(watch, &reports[nr], MAX_REPORTS) <= 0)
			return -1;
	return nr;
}

/*
 * Its reports are in shared memory; the next reader must get the rest.
 */
TEST_F_TIMEOUT(tripwire, killed_reader_takes_no_report_along, 60)
{
	char *map = map_pages(self->fd, KILLED_PAGES);
	int watch = watch_pages(self->fd, 0, 0), round, i, nr;
	struct reports *first, rest[KILLED_RANGES / MAX_REPORTS + 2];
	pid_t child;

	first = mmap(NULL, sizeof(*first), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_NE(MAP_FAILED, first);
	for (round = 0; round < KILLED_ROUNDS; round++) {
		memset(first, 0, sizeof(*first));
		for (i = 0; i < KILLED_PAGES; i += 2)
			store_to(map, i);
		child = fork_child();
		ASSERT_LE(0, child);
		if (!child) {
			store(&first->nr, 1);	/* it has begun, almost */
			_exit(read(watch, first->range, sizeof(first->range)) < 0);
		}
		while (!__atomic_load_n(&first->nr, __ATOMIC_ACQUIRE))
			sched_yield();
		for (i = 0; i < round * 100; i++)
			load(first);
		kill(child, SIGKILL);
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		first->nr = MAX_REPORTS;
		nr = read_the_rest(watch, rest, ARRAY_SIZE(rest));
		ASSERT_LT(0, nr);
		ASSERT_FALSE(pending(watch));
		for (i = 0; i < KILLED_PAGES; i += 2) {
			bool found = is_reported(first, i * self->page);
			int j;

			for (j = 0; j < nr; j++)
				found |= is_reported(&rest[j], i * self->page);
			ASSERT_TRUE(found) TH_LOG("round %d, page %d", round, i);
		}
	}
}

/* Two threads that read the same watch as much at a time as can be. */
struct readers {
	int watch;
	int done[2];			/* a pipe: gets a byte of each read */
	uint64_t ready;			/* readers at the start, over all rounds */
	pthread_barrier_t start;
};

#define READERS_ROUNDS	250

static void *read_together(void *data)
{
	struct readers *readers = data;
	struct reports reports;
	uint64_t round;
	int i;

	for (round = 1; round <= READERS_ROUNDS; round++) {
		pthread_barrier_wait(&readers->start);
		/* With one CPU the other one does not come. */
		__atomic_add_fetch(&readers->ready, 1, __ATOMIC_ACQ_REL);
		for (i = 0; i < 1000 && load(&readers->ready) < 2 * round; i++)
			;
		read_reports(readers->watch, &reports, 1);
		if (write(readers->done[1], "", 1) != 1)
			break;
	}
	return NULL;
}

/* A reader that comes too late must not wait for the next report. */
TEST_F(tripwire, nonblocking_readers_of_one_watch_never_sleep)
{
	struct readers readers = { .watch = watch_pages(self->fd, 0, 0) };
	pthread_t threads[2];
	int i, round;
	char byte;

	ASSERT_EQ(0, pipe(readers.done));
	ASSERT_EQ(0, pthread_barrier_init(&readers.start, NULL, 3));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, read_together, &readers));
	for (round = 0; round < READERS_ROUNDS; round++) {
		store_to(self->map, 3);
		pthread_barrier_wait(&readers.start);
		for (i = 0; i < 2; i++) {
			ASSERT_TRUE(pending_within(readers.done[0], PATIENCE_MS))
				TH_LOG("round %d", round);
			ASSERT_EQ(1, read(readers.done[0], &byte, 1));
		}
	}
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
}

TEST_HARNESS_MAIN
