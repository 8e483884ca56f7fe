// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - no memory, signals, bad pointers: a clear errno, nothing
 * lost
 */
#include <sys/time.h>
#include <sys/wait.h>
#include "kselftest_harness.h"
#include "lib/tripwire.h"

#define BIG	(64ul << 20)
#define MAX_NTH	200

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
	ASSERT_EQ(0, ftruncate(self->fd, BIG));
	self->map = map_shared(self->fd, BIG);
	ASSERT_NE(MAP_FAILED, self->map);
	ASSERT_EQ(0, ack(self->fd));
}

FIXTURE_TEARDOWN(tripwire)
{
	close(self->fd);
}

TEST_F(tripwire, create_without_memory_fails_and_leaks_nothing)
{
	int control = open_fail_nth(), nth, fd, err;
	bool reached = true;

	if (control < 0)
		SKIP(return, "no fault injection in this kernel");
	for (nth = 1; nth < MAX_NTH && reached; nth++) {
		fail_nth(control, nth);
		fd = memfd_tripwire(0);
		err = fd < 0 ? errno : 0;
		reached = fail_nth(control, 0);
		/* ENOSPC if it is the inode, as memfd_create(2) has it. */
		ASSERT_TRUE(!err || err == ENOMEM || err == ENOSPC)
			TH_LOG("nth %d: %s", nth, strerror(err));
		if (fd >= 0)
			close(fd);
	}
	EXPECT_LT(3, nth);
	EXPECT_GT(MAX_NTH, nth);
}

TEST_F(tripwire, reopen_without_memory_fails_and_keeps_event)
{
	int control = open_fail_nth(), nth, fd, err;
	bool reached = true;

	if (control < 0)
		SKIP(return, "no fault injection in this kernel");
	store(self->map, 1);
	for (nth = 1; nth < MAX_NTH && reached; nth++) {
		fail_nth(control, nth);
		fd = reopen(self->fd, O_RDWR);
		err = fd < 0 ? errno : 0;
		reached = fail_nth(control, 0);
		ASSERT_TRUE(!err || err == ENOMEM) TH_LOG("nth %d: %s", nth, strerror(err));
		ASSERT_TRUE(fd < 0 || pending(fd));
		if (fd >= 0)
			close(fd);
		ASSERT_TRUE(pending(self->fd));
	}
	EXPECT_LT(2, nth);
}

TEST_F(tripwire, write_without_memory_fails_or_raises)
{
	int control = open_fail_nth(), nth;
	bool reached = true;
	ssize_t done;

	if (control < 0)
		SKIP(return, "no fault injection in this kernel");
	for (nth = 1; nth < MAX_NTH && reached; nth++) {
		off_t offset = nth * self->page;

		ASSERT_EQ(0, ack(self->fd));
		fail_nth(control, nth);
		done = pwrite(self->fd, "x", 1, offset);
		reached = fail_nth(control, 0);
		if (done < 0 && (errno == ENOMEM || errno == ENOSPC))
			continue;
		ASSERT_EQ(1, done) TH_LOG("nth %d", nth);
		ASSERT_TRUE(pending(self->fd)) TH_LOG("nth %d", nth);
	}
	EXPECT_LT(2, nth);
}

TEST_F(tripwire, ack_and_poll_allocate_nothing)
{
	int control = open_fail_nth(), i;
	size_t offset;

	if (control < 0)
		SKIP(return, "no fault injection in this kernel");
	for (offset = 0; offset < BIG; offset += 64 * self->page)
		store(self->map + offset, 1);
	fail_nth(control, 1);
	i = ack(self->fd);
	EXPECT_FALSE(fail_nth(control, 0));
	EXPECT_EQ(0, i);
	EXPECT_FALSE(pending(self->fd));
}

/* The page is there, and its page table; no more is needed. */
TEST_F(tripwire, store_to_armed_page_allocates_nothing)
{
	int control = open_fail_nth(), i;

	if (control < 0)
		SKIP(return, "no fault injection in this kernel");
	for (i = 0; i < 10; i++) {
		store(self->map, i);
		ASSERT_EQ(0, ack(self->fd));
		fail_nth(control, 1);
		store(self->map, i + 1);
		EXPECT_FALSE(fail_nth(control, 0));
		EXPECT_TRUE(pending(self->fd));
	}
}

TEST_F(tripwire, write_from_bad_pointer_is_efault)
{
	char *bad = mmap(NULL, self->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT_EQ(-1, pwrite(self->fd, bad, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, ack(self->fd));
	store(self->map, 1);
	EXPECT_TRUE(pending(self->fd));
}

static void ignore(int signal)
{
	(void)signal;
}

TEST_F(tripwire, signals_do_not_interrupt_ack)
{
	struct itimerval often = {
		.it_interval.tv_usec = 200, .it_value.tv_usec = 200,
	}, never = { 0 };
	struct sigaction action = { .sa_handler = ignore };
	size_t offset;
	int i;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &often, NULL));
	for (i = 0; i < 10; i++) {
		for (offset = 0; offset < BIG / 4; offset += self->page)
			store(self->map + offset, i);
		ASSERT_EQ(0, ack(self->fd));
		ASSERT_FALSE(pending(self->fd));
	}
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
}

/*
 * A consumer that is killed in its ACK leaves the event, which it shares, as it
 * was; or else it has armed everything.
 */
TEST_F(tripwire, killed_consumer_loses_nothing)
{
	size_t offset, last = BIG / 4 - self->page;
	int i, unfinished = 0;
	pid_t child;

	for (i = 0; i < 40; i++) {
		for (offset = 0; offset < BIG / 4; offset += self->page)
			store(self->map + offset, i);
		ASSERT_TRUE(pending(self->fd));
		child = fork_child();
		ASSERT_LE(0, child);
		if (!child) {
			ack(self->fd);
			pause();
		}
		usleep(i * 50);
		kill(child, SIGKILL);
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		unfinished += pending(self->fd);
		if (!pending(self->fd)) {
			store(self->map + last, i + 1);
			ASSERT_TRUE(pending(self->fd)) TH_LOG("round %d", i);
		}
		ASSERT_EQ(0, ack(self->fd));
		ASSERT_FALSE(pending(self->fd));
	}
	TH_LOG("%d of %d ACKs had not ended", unfinished, i);
}

/* Swap takes nothing more: reclaim puts the pages back. */
TEST_F(tripwire, full_swap_loses_nothing)
{
	size_t offset, len = 128ul << 20;
	struct disk disk;
	char *hog;

	if (!have_swap(&disk))
		SKIP(return, "no swap and no free RAM disk");
	hog = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, hog);
	memset(hog, 1, len);
	madvise(hog, len, MADV_PAGEOUT);
	for (offset = 0; offset < BIG / 4; offset += self->page)
		store(self->map + offset, offset);
	madvise(self->map, BIG / 4, MADV_PAGEOUT);
	EXPECT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	for (offset = 0; offset < BIG / 4; offset += self->page)
		ASSERT_EQ(offset, load(self->map + offset));
	ASSERT_TRUE(ack_until_quiet(self->fd));
	store(self->map, 1);
	EXPECT_TRUE(pending(self->fd));
	munmap(hog, len);
	end_swap(&disk);
}

/*
 * A producer that its memcg has no room for is killed; its stores have raised.
 */
TEST_F(tripwire, full_memcg_kills_the_producer_and_keeps_the_event)
{
	struct memcg memcg;
	const char *reason = begin_memcg(&memcg);
	size_t offset;
	pid_t child;
	int status;

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(0, memcg_write(&memcg, "memory.max", "8M"));

	child = fork_child();
	ASSERT_LE(0, child);
	if (!child) {
		if (enter_memcg(&memcg))
			_exit(1);
		for (offset = 0; offset < BIG; offset += self->page)
			store(self->map + offset, 1);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(1, load(self->map));
	EXPECT_TRUE(pending(self->fd));
	ASSERT_TRUE(ack_until_quiet(self->fd));
	store(self->map, 2);
	EXPECT_TRUE(pending(self->fd));
	end_memcg(&memcg);
}

TEST_HARNESS_MAIN
