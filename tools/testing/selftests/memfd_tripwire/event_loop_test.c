// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - event loops: epoll modes, threads, descriptors and processes
 */
#include "kselftest_harness.h"
#include "lib/event_loop.h"

FIXTURE(loop)
{
	struct source source;
};

FIXTURE_VARIANT(loop)
{
	enum kind kind;
	short always;		/* what poll(2) says of it anyway */
	short event;		/* and when there is something */
};

FIXTURE_VARIANT_ADD(loop, watch) { WATCH, 0, POLLIN | POLLRDNORM };
FIXTURE_VARIANT_ADD(loop, watch_of_watch_only_file) { WATCH_ONLY, 0, POLLIN | POLLRDNORM };
FIXTURE_VARIANT_ADD(loop, memory) { MEMORY, POLLOUT | POLLWRNORM, POLLIN | POLLRDNORM };
FIXTURE_VARIANT_ADD(loop, eventfd) { EVENTFD, POLLOUT, POLLIN };

FIXTURE_SETUP(loop)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	ASSERT_TRUE(open_source(&self->source, variant->kind));
}

FIXTURE_TEARDOWN(loop)
{
	close_source(&self->source);
}

TEST_F(loop, poll_reports_no_other_events)
{
	struct pollfd pfd = { .fd = self->source.polled, .events = 0x7fff };

	EXPECT_EQ(!!variant->always, poll(&pfd, 1, 0));
	EXPECT_EQ(variant->always, pfd.revents);
	store_page(&self->source, 0);
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(variant->always | variant->event, pfd.revents);
}

TEST_F(loop, oneshot_is_notified_once_until_rearmed)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT };
	int i, ep = nest(self->source.polled, EPOLLIN | EPOLLONESHOT);

	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, look_epoll(ep, 0));
		store_page(&self->source, 0);
		EXPECT_EQ(1, look_epoll(ep, 0));
		ASSERT_TRUE(take(&self->source));
		store_page(&self->source, 0);
		EXPECT_EQ(0, look_epoll(ep, 0));
		/* An event that came while it was disarmed is notified now. */
		ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_MOD, self->source.polled, &event));
		EXPECT_EQ(1, look_epoll(ep, 0));
		ASSERT_TRUE(take(&self->source));
		ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_MOD, self->source.polled, &event));
	}
	EXPECT_EQ(0, look_epoll(ep, QUIET_MS));
}

TEST_F(loop, fd_added_while_pending_is_notified)
{
	int level, edge;

	store_page(&self->source, 0);
	level = nest(self->source.polled, EPOLLIN);
	edge = nest(self->source.polled, EPOLLIN | EPOLLET);
	EXPECT_EQ(1, look_epoll(level, 0));
	EXPECT_EQ(1, look_epoll(edge, 0));
	EXPECT_EQ(0, look_epoll(edge, 0));
	ASSERT_TRUE(take(&self->source));
	EXPECT_EQ(0, look_epoll(level, 0));
	EXPECT_EQ(0, look_epoll(edge, QUIET_MS));
	store_page(&self->source, 0);
	EXPECT_EQ(1, look_epoll(level, 0));
	EXPECT_EQ(1, look_epoll(edge, 0));
}

TEST_F(loop, edge_is_notified_again_after_modification)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int ep = nest(self->source.polled, EPOLLIN | EPOLLET);

	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_MOD, self->source.polled, &event));
	EXPECT_EQ(0, look_epoll(ep, 0));
	store_page(&self->source, 0);
	EXPECT_EQ(1, look_epoll(ep, 0));
	EXPECT_EQ(0, look_epoll(ep, 0));
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_MOD, self->source.polled, &event));
	EXPECT_EQ(1, look_epoll(ep, 0));
	EXPECT_EQ(0, look_epoll(ep, 0));
}

TEST_F(loop, two_epolls_are_both_notified)
{
	int level = nest(self->source.polled, EPOLLIN);
	int edge = nest(self->source.polled, EPOLLIN | EPOLLET);
	int i;

	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, look_epoll(level, 0));
		EXPECT_EQ(0, look_epoll(edge, 0));
		store_page(&self->source, i);
		EXPECT_EQ(1, look_epoll(level, 0));
		EXPECT_EQ(1, look_epoll(edge, 0));
		EXPECT_EQ(1, look_epoll(level, 0));
		EXPECT_EQ(0, look_epoll(edge, 0));
		ASSERT_TRUE(take(&self->source));
	}
}

TEST_F(loop, multishot_poll_is_notified_each_time)
{
	struct source *s = &self->source;
	int i;

	if (!open_ring(&multishot))
		SKIP(return, "no io_uring: %s", strerror(errno));
	ASSERT_TRUE(submit_poll(&multishot, s->polled, IORING_POLL_ADD_MULTI));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, look_multishot(-1, 0));
		store_page(s, 0);
		EXPECT_EQ(1, look_multishot(-1, PATIENCE_MS));
		EXPECT_EQ(0, look_multishot(-1, 0));
		store_page(s, 1);
		EXPECT_EQ(s->kind == MEMORY, look_multishot(-1, QUIET_MS));
		ASSERT_TRUE(take(s));
	}
	EXPECT_EQ(0, look_multishot(-1, QUIET_MS));
	close_ring(&multishot);
}

TEST_F(loop, multishot_poll_that_starts_while_pending_is_notified)
{
	if (!open_ring(&multishot))
		SKIP(return, "no io_uring: %s", strerror(errno));
	store_page(&self->source, 0);
	ASSERT_TRUE(submit_poll(&multishot, self->source.polled, IORING_POLL_ADD_MULTI));
	EXPECT_EQ(1, look_multishot(-1, PATIENCE_MS));
	ASSERT_TRUE(take(&self->source));
	EXPECT_EQ(0, look_multishot(-1, QUIET_MS));
	store_page(&self->source, 0);
	EXPECT_EQ(1, look_multishot(-1, PATIENCE_MS));
	close_ring(&multishot);
}

/* Each event ends the wait of @at_once of the threads. */
static void check_threads(struct __test_metadata *_metadata, const struct source *s,
			  int (*look)(int fd, int timeout_ms), const int *fds, int at_once)
{
	struct sleeper sleepers[THREADS];
	int i, ended = 0;

	for (i = 0; i < THREADS; i++)
		ASSERT_TRUE(start_sleeper(&sleepers[i], look, fds[i], &ended));
	for (i = at_once; i <= THREADS; i += at_once) {
		store_page(s, i % PAGES);
		ASSERT_TRUE(await_count(&ended, i)) TH_LOG("%d of %d", ended, i);
		sched_yield();
		EXPECT_EQ(i, __atomic_load_n(&ended, __ATOMIC_ACQUIRE));
		ASSERT_TRUE(take(s));
	}
	for (i = 0; i < THREADS; i++)
		EXPECT_EQ(1, result_of(&sleepers[i]));
}

TEST_F(loop, event_ends_poll_of_all_threads)
{
	int i, fds[THREADS];

	for (i = 0; i < THREADS; i++)
		fds[i] = self->source.polled;
	check_threads(_metadata, &self->source, look_poll, fds, THREADS);
}

TEST_F(loop, event_ends_wait_of_all_threads_for_level)
{
	int i, fds[THREADS] = { nest(self->source.polled, EPOLLIN) };

	for (i = 1; i < THREADS; i++)
		fds[i] = fds[0];
	check_threads(_metadata, &self->source, look_epoll, fds, THREADS);
}

TEST_F(loop, event_ends_wait_of_one_thread_for_edge)
{
	int i, fds[THREADS] = { nest(self->source.polled, EPOLLIN | EPOLLET) };

	for (i = 1; i < THREADS; i++)
		fds[i] = fds[0];
	check_threads(_metadata, &self->source, look_epoll, fds, 1);
}

TEST_F(loop, event_ends_wait_of_one_exclusive_epoll)
{
	int i, fds[THREADS];

	for (i = 0; i < THREADS; i++)
		fds[i] = nest(self->source.polled, EPOLLIN | EPOLLEXCLUSIVE);
	check_threads(_metadata, &self->source, look_epoll, fds, 1);
}

TEST_F(loop, closed_fd_leaves_epoll)
{
	struct source *s = &self->source;
	int ep = nest(s->polled, EPOLLIN);

	EXPECT_EQ(0, look_epoll(ep, 0));
	store_page(s, 0);
	EXPECT_EQ(1, look_epoll(ep, 0));
	/* The mapping would keep the file. */
	if (s->kind == MEMORY)
		ASSERT_EQ(0, munmap(s->map, PAGES * s->page));
	ASSERT_EQ(0, close(s->polled));
	EXPECT_EQ(0, look_epoll(ep, 0));
	if (s->kind == MEMORY)
		return;
	/* An eventfd that has no file any more is signalled still. */
	take(s);
	store_page(s, 0);
	EXPECT_EQ(0, look_epoll(ep, QUIET_MS));
}

TEST_F(loop, fd_closed_under_io_uring_poll_ends_it)
{
	struct io_uring_cqe cqe;
	struct ring ring;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	ASSERT_TRUE(submit_poll(&ring, self->source.polled, 0));
	ASSERT_EQ(0, close(self->source.polled));
	EXPECT_EQ(0, reap(&ring, &cqe, QUIET_MS));
	store_page(&self->source, 0);
	ASSERT_EQ(1, reap(&ring, &cqe, PATIENCE_MS));
	EXPECT_EQ(POLLIN, cqe.res);
	close_ring(&ring);
}

TEST_F(loop, duplicate_keeps_fd_in_epoll)
{
	struct source *s = &self->source;
	int ep = nest(s->polled, EPOLLIN | EPOLLET);
	int copy = dup(s->polled);

	ASSERT_LE(0, copy);
	ASSERT_EQ(0, close(s->polled));
	if (s->kind == MEMORY)
		s->fd = copy;
	else if (s->kind != EVENTFD)
		s->watch = copy;
	s->polled = copy;
	EXPECT_EQ(0, look_epoll(ep, 0));
	store_page(s, 0);
	EXPECT_EQ(1, look_epoll(ep, 0));
	ASSERT_TRUE(take(s));
	EXPECT_EQ(0, look_epoll(ep, QUIET_MS));
	store_page(s, 0);
	EXPECT_EQ(1, look_epoll(ep, 0));
}

/* A child that waits and takes the event: 0 if that is what happened. */
static pid_t fork_consumer(const struct source *s, int ep)
{
	pid_t child = fork_child();

	if (!child)
		_exit(look_epoll(ep, PATIENCE_MS) != 1 || !take(s) || look_epoll(ep, 0));
	return child;
}

TEST_F(loop, forked_child_is_notified_and_clears_the_event)
{
	struct source *s = &self->source;
	int i, status, ep = nest(s->polled, EPOLLIN | EPOLLET);
	pid_t child;

	for (i = 0; i < 2; i++) {
		child = fork_consumer(s, ep);
		ASSERT_LE(0, child);
		ASSERT_TRUE(await_sleep(child));
		ASSERT_TRUE(write_to(s->fd, 0));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_EQ(0, look_poll(s->polled, QUIET_MS));
	}
	store_page(s, 0);
	EXPECT_EQ(1, look_poll(s->polled, 0));
}

TEST_F(loop, forked_child_is_notified_after_parent_has_closed)
{
	struct source *s = &self->source;
	int status, ep = nest(s->polled, EPOLLIN), writer = reopen(s->fd, O_RDWR);
	pid_t child = fork_consumer(s, ep);

	ASSERT_LE(0, child);
	ASSERT_TRUE(await_sleep(child));
	close(ep);
	close(s->watch);
	close(s->polled);
	close(s->fd);
	ASSERT_TRUE(write_to(writer, 0));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/* The producer stores once each time the consumer begins to take an event. */
struct race {
	const struct source *source;
	uint64_t begun;
	uint64_t stop;
};

static uint64_t *place_of(const struct source *s, uint64_t round)
{
	return (uint64_t *)(s->map + round % PAGES * s->page);
}

static void *race_store(void *data)
{
	struct race *race = data;
	uint64_t n, i;

	for (n = 1;; n++) {
		while (load(&race->begun) < n) {
			if (load(&race->stop))
				return NULL;
			sched_yield();
		}
		for (i = n % 64 * 64; i; i--)
			__atomic_signal_fence(__ATOMIC_SEQ_CST);
		store(place_of(race->source, n), n);
	}
}

/* A change not seen when the event is cleared raises a new one. */
static void check_race(struct __test_metadata *_metadata, const struct source *s,
		       int (*look)(int fd, int timeout_ms), int fd)
{
	uint64_t n, i, end = now_ns() + RACE_MS * 1000000ull;
	struct race race = { .source = s };
	pthread_t producer;

	EXPECT_EQ(0, look(fd, 0));
	ASSERT_EQ(0, pthread_create(&producer, NULL, race_store, &race));
	for (n = 1; n <= ROUNDS && now_ns() < end; n++) {
		for (i = 1; i < PAGES; i += 2)
			store(place_of(s, n + i) + 1, n);
		ASSERT_EQ(1, look(fd, PATIENCE_MS));
		store(&race.begun, n);
		ASSERT_TRUE(take(s) || errno == EAGAIN);
		while (load(place_of(s, n)) < n) {
			ASSERT_EQ(1, look(fd, PATIENCE_MS)) TH_LOG("round %lu", (long)n);
			ASSERT_TRUE(take(s) || errno == EAGAIN);
		}
	}
	store(&race.stop, 1);
	ASSERT_EQ(0, pthread_join(producer, NULL));
}

TEST_F(loop, edge_is_notified_of_events_that_come_while_one_is_taken)
{
	check_race(_metadata, &self->source, look_epoll,
		   nest(self->source.polled, EPOLLIN | EPOLLET));
}

TEST_F(loop, multishot_poll_is_notified_of_events_that_come_while_one_is_taken)
{
	if (!open_ring(&multishot))
		SKIP(return, "no io_uring: %s", strerror(errno));
	ASSERT_TRUE(submit_poll(&multishot, self->source.polled, IORING_POLL_ADD_MULTI));
	check_race(_metadata, &self->source, look_multishot, -1);
	close_ring(&multishot);
}

/* Producers do not see whether the file has consumers. */
TEST(watch_only_file_itself_polls_as_regular_file)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct pollfd pfd = { .events = POLLIN | POLLOUT };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct source s;
	int i;

	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	ASSERT_TRUE(open_source(&s, WATCH_ONLY));
	pfd.fd = s.fd;
	EXPECT_EQ(-1, epoll_ctl(ep, EPOLL_CTL_ADD, s.fd, &event));
	EXPECT_EQ(EPERM, errno);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(1, poll(&pfd, 1, 0));
		EXPECT_EQ(POLLIN | POLLOUT, pfd.revents);
		EXPECT_EQ(i, pending(s.watch));
		EXPECT_EQ(-1, ack(s.fd));
		EXPECT_EQ(EOPNOTSUPP, errno);
		store_page(&s, 0);
	}
	close_source(&s);
	close(ep);
}

TEST_HARNESS_MAIN
