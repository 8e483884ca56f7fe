// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - event loops: read(2) and io_uring reads of a watch
 */
#include "kselftest_harness.h"
#include "lib/event_loop.h"

/* A watch whose read(2) waits. */
FIXTURE(reader)
{
	struct source source;
	int watch;
};

FIXTURE_VARIANT(reader)
{
	enum kind kind;
};

FIXTURE_VARIANT_ADD(reader, any_file) { WATCH };
FIXTURE_VARIANT_ADD(reader, watch_only_file) { WATCH_ONLY };

FIXTURE_SETUP(reader)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	ASSERT_TRUE(open_source(&self->source, variant->kind));
	self->watch = self->source.watch;
	ASSERT_TRUE(set_nonblock(self->watch, false));
}

FIXTURE_TEARDOWN(reader)
{
	close_source(&self->source);
}

/* That @range is one page. */
static bool is_page(FIXTURE_DATA(reader) * self, const struct memfd_tripwire_range *range, int page)
{
	size_t size = self->source.page;

	return range->offset == page * size && range->len == size;
}

TEST_F(reader, nonblock_toggled_by_fcntl_is_obeyed)
{
	struct sleeper sleeper;
	int i, ended = 0;

	for (i = 0; i < 2; i++) {
		ASSERT_TRUE(set_nonblock(self->watch, true));
		EXPECT_EQ(-1, look_read(self->watch, 0));
		EXPECT_EQ(EAGAIN, errno);
		store_page(&self->source, 1);
		EXPECT_EQ(1, look_read(self->watch, 0));
		EXPECT_TRUE(is_page(self, &reported_range, 1));
		EXPECT_EQ(-1, look_read(self->watch, 0));
		EXPECT_EQ(EAGAIN, errno);

		ended = 0;
		ASSERT_TRUE(set_nonblock(self->watch, false));
		ASSERT_TRUE(start_sleeper(&sleeper, look_read, self->watch, &ended));
		ASSERT_TRUE(write_to(self->source.fd, 2));
		ASSERT_TRUE(await_count(&ended, 1));
		EXPECT_EQ(1, result_of(&sleeper));
		EXPECT_TRUE(is_page(self, &sleeper.range, 2));
		EXPECT_FALSE(pending(self->watch));
	}
}

TEST_F(reader, nowait_read_does_not_wait)
{
	struct iovec iov = {
		.iov_base = &reported_range,
		.iov_len = sizeof(reported_range),
	};

	EXPECT_EQ(-1, preadv2(self->watch, &iov, 1, -1, RWF_NOWAIT));
	EXPECT_EQ(EAGAIN, errno);
	store_page(&self->source, 1);
	EXPECT_EQ((ssize_t)RECORD, preadv2(self->watch, &iov, 1, -1, RWF_NOWAIT));
	EXPECT_TRUE(is_page(self, &reported_range, 1));
	EXPECT_EQ(-1, preadv2(self->watch, &iov, 1, -1, RWF_NOWAIT));
	EXPECT_EQ(EAGAIN, errno);
}

TEST_F(reader, event_ends_one_of_many_reads)
{
	struct sleeper sleepers[THREADS];
	int i, j, found, ended = 0;

	for (i = 0; i < THREADS; i++)
		ASSERT_TRUE(start_sleeper(&sleepers[i], look_read, self->watch, &ended));
	for (i = 0; i < THREADS; i++) {
		ASSERT_TRUE(write_to(self->source.fd, i));
		ASSERT_TRUE(await_count(&ended, i + 1));
		sched_yield();
		EXPECT_EQ(i + 1, __atomic_load_n(&ended, __ATOMIC_ACQUIRE));
		EXPECT_FALSE(pending(self->watch));
	}
	for (i = 0; i < THREADS; i++) {
		EXPECT_EQ(1, result_of(&sleepers[i]));
		for (j = 0, found = 0; j < THREADS; j++)
			found += is_page(self, &sleepers[j].range, i);
		EXPECT_EQ(1, found) TH_LOG("page %d", i);
	}
}

TEST_F(reader, event_wakes_poll_beside_read)
{
	int ended = 0, polled = 0, ep = nest(self->watch, EPOLLIN | EPOLLET);
	struct sleeper reader, poller;

	ASSERT_TRUE(start_sleeper(&reader, look_read, self->watch, &ended));
	ASSERT_TRUE(start_sleeper(&poller, look_epoll, ep, &polled));
	store_page(&self->source, 0);
	ASSERT_TRUE(await_count(&ended, 1));
	EXPECT_EQ(1, result_of(&reader));
	EXPECT_TRUE(is_page(self, &reader.range, 0));
	/*
	 * To the poller there is nothing left, and it waits on, or it was
	 * faster.
	 */
	store_page(&self->source, 1);
	EXPECT_EQ(1, result_of(&poller));
}

TEST_F(reader, watch_closed_under_read_ends_it)
{
	struct sleeper sleeper;
	int ended = 0;

	ASSERT_TRUE(start_sleeper(&sleeper, look_read, self->watch, &ended));
	ASSERT_EQ(0, close(self->watch));
	store_page(&self->source, 3);
	ASSERT_TRUE(await_count(&ended, 1));
	EXPECT_EQ(1, result_of(&sleeper));
	EXPECT_TRUE(is_page(self, &sleeper.range, 3));
}

TEST_F(reader, short_read_raises_again)
{
	int i, ep = nest(self->watch, EPOLLIN | EPOLLET);

	EXPECT_EQ(0, look_epoll(ep, 0));
	for (i = 0; i < PAGES; i += 2)
		store_page(&self->source, i);
	for (i = 0; i < PAGES; i += 2) {
		EXPECT_TRUE(pending(self->watch));
		EXPECT_EQ(1, look_epoll(ep, 0));
		EXPECT_EQ(0, look_epoll(ep, 0));
		ASSERT_EQ(1, look_read(self->watch, 0));
		EXPECT_TRUE(is_page(self, &reported_range, i)) TH_LOG("page %d", i);
	}
	EXPECT_FALSE(pending(self->watch));
	EXPECT_EQ(0, look_epoll(ep, QUIET_MS));
}

TEST_F(reader, short_read_raises_again_for_multishot_poll)
{
	int i;

	if (!open_ring(&multishot))
		SKIP(return, "no io_uring: %s", strerror(errno));
	ASSERT_TRUE(submit_poll(&multishot, self->watch, IORING_POLL_ADD_MULTI));
	EXPECT_EQ(0, look_multishot(-1, 0));
	for (i = 0; i < PAGES; i += 2)
		store_page(&self->source, i);
	for (i = 0; i < PAGES; i += 2) {
		EXPECT_EQ(1, look_multishot(-1, PATIENCE_MS));
		ASSERT_EQ(1, look_read(self->watch, 0));
	}
	EXPECT_EQ(0, look_multishot(-1, QUIET_MS));
	close_ring(&multishot);
}

TEST_F(reader, eventfd_counts_steps_to_pending)
{
	struct memfd_tripwire_range ranges[PAGES];
	int i, efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t steps;
	int watch;

	ASSERT_LE(0, efd);
	watch = watch_source(&self->source, MEMFD_TRIPWIRE_WATCH_EVENTFD, efd, 0, PAGES);
	ASSERT_LE(0, watch);
	EXPECT_EQ(-1, read(efd, &steps, sizeof(steps)));
	EXPECT_EQ(EAGAIN, errno);
	for (i = 0; i < 3; i++) {
		store_page(&self->source, 0);
		store_page(&self->source, 2);
		ASSERT_EQ((ssize_t)(2 * RECORD), read(watch, ranges, sizeof(ranges)));
	}
	ASSERT_EQ((ssize_t)sizeof(steps), read(efd, &steps, sizeof(steps)));
	EXPECT_EQ(3u, steps);

	/* A short read is a step of its own. */
	store_page(&self->source, 0);
	store_page(&self->source, 2);
	ASSERT_EQ((ssize_t)RECORD, read(watch, ranges, RECORD));
	ASSERT_EQ((ssize_t)sizeof(steps), read(efd, &steps, sizeof(steps)));
	EXPECT_EQ(2u, steps);
	ASSERT_EQ((ssize_t)RECORD, read(watch, ranges, RECORD));
	EXPECT_EQ(-1, read(efd, &steps, sizeof(steps)));
	EXPECT_EQ(EAGAIN, errno);
	close(watch);
	close(efd);
}

TEST_F(reader, epoll_distinguishes_watches)
{
	struct epoll_event event, events[PAGES];
	int i, watches[PAGES], ep = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_LE(0, ep);
	for (i = 0; i < PAGES; i++) {
		watches[i] = watch_source(&self->source, 0, -1, i, 1);
		ASSERT_LE(0, watches[i]);
		event = (struct epoll_event) { .events = EPOLLIN, .data.u32 = i };
		ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, watches[i], &event));
	}
	EXPECT_EQ(0, epoll_wait(ep, events, PAGES, 0));
	for (i = 0; i < PAGES; i++) {
		store_page(&self->source, i);
		ASSERT_EQ(1, epoll_wait(ep, events, PAGES, 0));
		EXPECT_EQ(i, (int)events[0].data.u32);
		EXPECT_EQ(1, look_read(watches[i], 0));
		EXPECT_TRUE(is_page(self, &reported_range, i));
		EXPECT_EQ(0, epoll_wait(ep, events, PAGES, 0));
	}
	for (i = 0; i < PAGES; i++)
		close(watches[i]);
	EXPECT_EQ(0, epoll_wait(ep, events, PAGES, 0));
}

TEST_F(reader, consumers_of_one_loop_do_not_eat_each_others_events)
{
	int other = watch_source(&self->source, 0, -1, 0, PAGES);
	int i, fds[] = { self->watch, other, self->source.fd };
	int nr = variant->kind == WATCH ? 3 : 2;
	struct epoll_event events[3];
	int ep = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_LE(0, other);
	if (nr == 3)
		ASSERT_EQ(0, ack(self->source.fd));
	for (i = 0; i < nr; i++) {
		events[0].events = EPOLLIN;
		ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &events[0]));
	}
	EXPECT_EQ(0, epoll_wait(ep, events, 3, 0));
	store_page(&self->source, 5);
	EXPECT_EQ(nr, epoll_wait(ep, events, 3, 0));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(1, look_read(fds[i], 0));
		EXPECT_TRUE(is_page(self, &reported_range, 5));
		EXPECT_EQ(nr - 1 - i, epoll_wait(ep, events, 3, 0));
	}
	if (nr == 3)
		ASSERT_EQ(0, ack(self->source.fd));
	EXPECT_EQ(0, epoll_wait(ep, events, 3, QUIET_MS));
	close(other);
}

TEST_F(reader, signal_ends_read_and_loses_nothing)
{
	struct sleeper sleeper;
	int ended = 0;

	ASSERT_EQ(0, handle_signal(0));
	ASSERT_TRUE(start_sleeper(&sleeper, look_read, self->watch, &ended));
	ASSERT_EQ(0, pthread_kill(sleeper.thread, SIGUSR1));
	ASSERT_TRUE(await_count(&ended, 1));
	EXPECT_EQ(-1, result_of(&sleeper));
	EXPECT_EQ(EINTR, sleeper.err);
	EXPECT_FALSE(pending(self->watch));
	store_page(&self->source, 0);
	ASSERT_TRUE(pending(self->watch));
	EXPECT_EQ(1, look_read(self->watch, 0));
	EXPECT_TRUE(is_page(self, &reported_range, 0));
}

TEST_F(reader, signal_with_sa_restart_restarts_read)
{
	struct sleeper sleeper;
	int ended = 0;

	ASSERT_EQ(0, handle_signal(SA_RESTART));
	ASSERT_TRUE(start_sleeper(&sleeper, look_read, self->watch, &ended));
	ASSERT_EQ(0, pthread_kill(sleeper.thread, SIGUSR1));
	ASSERT_TRUE(await_count(&caught, 1));
	ASSERT_TRUE(await_sleep(sleeper.tid));
	ASSERT_EQ(0, ended);
	store_page(&self->source, 0);
	ASSERT_TRUE(await_count(&ended, 1));
	EXPECT_EQ(1, result_of(&sleeper));
	EXPECT_TRUE(is_page(self, &sleeper.range, 0));
}

/* A child that reads one range, and does not wait for ever. */
static pid_t fork_reader(int watch)
{
	pid_t child = fork_child();

	if (!child) {
		alarm(PATIENCE_MS / 1000);
		_exit(look_read(watch, 0) != 1);
	}
	return child;
}

TEST_F(reader, stopped_and_continued_process_reads_on)
{
	pid_t child = fork_reader(self->watch);
	int status;

	ASSERT_LE(0, child);
	ASSERT_TRUE(await_sleep(child));
	ASSERT_EQ(0, kill(child, SIGSTOP));
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, kill(child, SIGCONT));
	ASSERT_TRUE(await_sleep(child));
	ASSERT_TRUE(write_to(self->source.fd, 0));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_FALSE(pending(self->watch));
}

TEST_F(reader, event_of_stopped_process_waits_for_it)
{
	pid_t child = fork_reader(self->watch);
	int status;

	ASSERT_LE(0, child);
	ASSERT_TRUE(await_sleep(child));
	ASSERT_EQ(0, kill(child, SIGSTOP));
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	EXPECT_FALSE(pending(self->watch));
	ASSERT_TRUE(write_to(self->source.fd, 0));
	EXPECT_TRUE(pending(self->watch));
	ASSERT_EQ(0, kill(child, SIGCONT));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_FALSE(pending(self->watch));
}

TEST_F(reader, killed_process_takes_nothing_along)
{
	pid_t child = fork_reader(self->watch);
	int status;

	ASSERT_LE(0, child);
	ASSERT_TRUE(await_sleep(child));
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT_FALSE(pending(self->watch));
	store_page(&self->source, 0);
	ASSERT_TRUE(pending(self->watch));
	EXPECT_EQ(1, look_read(self->watch, 0));
}

/* Threads that read one watch, a range at a time. */
struct crowd {
	int watch;
	size_t page;
	int stop;
	int ended;
	int failed;
	int reported[PAGES];
};

static void *read_on(void *data)
{
	struct memfd_tripwire_range range;
	struct crowd *crowd = data;
	uint64_t at;

	while (!__atomic_load_n(&crowd->stop, __ATOMIC_ACQUIRE)) {
		if (read(crowd->watch, &range, sizeof(range)) != sizeof(range)) {
			if (errno != EINTR)
				__atomic_store_n(&crowd->failed, errno, __ATOMIC_RELEASE);
			continue;
		}
		for (at = range.offset; at < range.offset + range.len; at += crowd->page)
			__atomic_fetch_add(&crowd->reported[at / crowd->page % PAGES], 1,
					   __ATOMIC_RELEASE);
	}
	__atomic_fetch_add(&crowd->ended, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Two events at a time: what the short read of one leaves is for another. */
static void check_crowd(struct __test_metadata *_metadata, FIXTURE_DATA(reader) * self,
			bool signals)
{
	struct crowd crowd = { .watch = self->watch, .page = self->source.page };
	uint64_t end = now_ns() + RACE_MS * 1000000ull;
	pthread_t threads[THREADS];
	int i, j, page, before[2];

	ASSERT_EQ(0, handle_signal(0));
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, read_on, &crowd));
	for (i = 0; i < ROUNDS && now_ns() < end; i++) {
		for (j = 0; j < 2; j++) {
			page = (i + j * PAGES / 2) % PAGES;
			before[j] = __atomic_load_n(&crowd.reported[page], __ATOMIC_ACQUIRE);
			if (signals)
				ASSERT_EQ(0, pthread_kill(threads[i % THREADS], SIGUSR1));
			store_page(&self->source, page);
			if (signals)
				ASSERT_EQ(0, pthread_kill(threads[(i + j) % THREADS], SIGUSR1));
		}
		for (j = 0; j < 2; j++) {
			page = (i + j * PAGES / 2) % PAGES;
			ASSERT_TRUE(await_count(&crowd.reported[page], before[j] + 1))
				TH_LOG("round %d, page %d", i, page);
		}
	}
	EXPECT_EQ(0, crowd.failed);

	/* One may be on its way to read(2) yet. */
	__atomic_store_n(&crowd.stop, 1, __ATOMIC_RELEASE);
	for (i = 0; i < 1000 && __atomic_load_n(&crowd.ended, __ATOMIC_ACQUIRE) < THREADS; i++) {
		for (j = 0; j < THREADS; j++)
			pthread_kill(threads[j], SIGUSR1);
		poll(NULL, 0, 1);
	}
	ASSERT_EQ(THREADS, crowd.ended);
	for (j = 0; j < THREADS; j++)
		ASSERT_EQ(0, pthread_join(threads[j], NULL));
}

TEST_F(reader, many_readers_miss_no_event)
{
	check_crowd(_metadata, self, false);
}

TEST_F(reader, many_readers_miss_no_event_among_signals)
{
	check_crowd(_metadata, self, true);
}

static void check_ring_read(struct __test_metadata *_metadata, FIXTURE_DATA(reader) * self,
			    uint8_t flags)
{
	struct memfd_tripwire_range range;
	struct io_uring_cqe cqe;
	struct ring ring;
	int i;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	for (i = 0; i < 3; i++) {
		ASSERT_TRUE(submit_read(&ring, self->watch, &range, flags));
		EXPECT_EQ(0, reap(&ring, &cqe, QUIET_MS));
		ASSERT_TRUE(write_to(self->source.fd, i));
		ASSERT_EQ(1, reap(&ring, &cqe, PATIENCE_MS));
		EXPECT_EQ((int)RECORD, cqe.res);
		EXPECT_TRUE(is_page(self, &range, i));
		EXPECT_FALSE(pending(self->watch));
	}

	ASSERT_TRUE(write_to(self->source.fd, i));
	ASSERT_TRUE(submit_read(&ring, self->watch, &range, flags));
	ASSERT_EQ(1, reap(&ring, &cqe, PATIENCE_MS));
	EXPECT_EQ((int)RECORD, cqe.res);
	EXPECT_TRUE(is_page(self, &range, i));
	EXPECT_FALSE(pending(self->watch));
	close_ring(&ring);
}

TEST_F(reader, io_uring_read_waits_and_reports)
{
	check_ring_read(_metadata, self, 0);
}

TEST_F(reader, io_uring_read_by_worker_waits_and_reports)
{
	check_ring_read(_metadata, self, IOSQE_ASYNC);
}

/* As for an eventfd: an io_uring read needs no EAGAIN. */
TEST_F(reader, io_uring_read_of_nonblocking_watch_waits_and_reports)
{
	ASSERT_TRUE(set_nonblock(self->watch, true));
	check_ring_read(_metadata, self, 0);
}

TEST_F(reader, event_ends_one_of_two_io_uring_reads)
{
	struct memfd_tripwire_range ranges[2] = { 0 }, *range;
	struct io_uring_cqe cqe;
	struct ring ring;
	int i, found = 0;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	ASSERT_TRUE(submit_read(&ring, self->watch, &ranges[0], 0));
	ASSERT_TRUE(submit_read(&ring, self->watch, &ranges[1], 0));
	for (i = 1; i <= 2; i++) {
		EXPECT_EQ(0, reap(&ring, &cqe, QUIET_MS));
		ASSERT_TRUE(write_to(self->source.fd, i));
		ASSERT_EQ(1, reap(&ring, &cqe, PATIENCE_MS));
		EXPECT_EQ((int)RECORD, cqe.res);
		range = (void *)(uintptr_t)cqe.user_data;
		EXPECT_TRUE(is_page(self, range, i));
		found |= 1 << (range - ranges);
	}
	EXPECT_EQ(3, found);
	EXPECT_EQ(0, reap(&ring, &cqe, QUIET_MS));
	close_ring(&ring);
}

static void check_ring_cancel(struct __test_metadata *_metadata, FIXTURE_DATA(reader) * self,
			      uint8_t flags)
{
	struct memfd_tripwire_range range;
	struct io_uring_cqe cqe;
	struct ring ring;
	int i, cancelled = 0;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	ASSERT_TRUE(submit_read(&ring, self->watch, &range, flags));
	EXPECT_EQ(0, reap(&ring, &cqe, QUIET_MS));
	ASSERT_TRUE(submit(&ring, (struct io_uring_sqe) {
		.opcode = IORING_OP_ASYNC_CANCEL, .fd = -1, .addr = (uintptr_t)&range,
	}));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(1, reap(&ring, &cqe, PATIENCE_MS));
		if (cqe.user_data)
			cancelled += cqe.res == -ECANCELED || cqe.res == -EINTR;
	}
	EXPECT_EQ(1, cancelled);
	EXPECT_FALSE(pending(self->watch));
	store_page(&self->source, 0);
	ASSERT_TRUE(pending(self->watch));
	EXPECT_EQ(1, look_read(self->watch, 0));
	EXPECT_TRUE(is_page(self, &reported_range, 0));
	close_ring(&ring);
}

TEST_F(reader, cancelled_io_uring_read_takes_nothing)
{
	check_ring_cancel(_metadata, self, 0);
}

TEST_F(reader, cancelled_io_uring_read_by_worker_takes_nothing)
{
	check_ring_cancel(_metadata, self, IOSQE_ASYNC);
}

TEST_F(reader, ring_closed_under_read_takes_nothing)
{
	struct memfd_tripwire_range range = { 0 };
	struct ring ring;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	ASSERT_TRUE(submit_read(&ring, self->watch, &range, 0));
	close_ring(&ring);
	EXPECT_FALSE(pending(self->watch));
	store_page(&self->source, 0);
	ASSERT_TRUE(pending(self->watch));
	EXPECT_EQ(1, look_read(self->watch, 0));
	EXPECT_TRUE(is_page(self, &reported_range, 0));
	EXPECT_EQ(0u, range.len);
}

TEST_HARNESS_MAIN
