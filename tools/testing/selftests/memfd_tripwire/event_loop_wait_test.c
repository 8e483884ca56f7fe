// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - event loops: each way to wait, for each source of events
 */
#include "kselftest_harness.h"
#include "lib/event_loop.h"

FIXTURE(wait)
{
	struct source source;
	int fd;
};

FIXTURE_VARIANT(wait)
{
	int (*look)(int fd, int timeout_ms);
	uint32_t inner;		/* in an epoll with this */
	uint32_t outer;		/* and that in an epoll with this */
	bool edge;		/* notified once for an event */
};

FIXTURE_VARIANT_ADD(wait, poll) { .look = look_poll };
FIXTURE_VARIANT_ADD(wait, ppoll) { .look = look_ppoll };
FIXTURE_VARIANT_ADD(wait, select) { .look = look_select };
FIXTURE_VARIANT_ADD(wait, io_uring) { .look = look_uring };
FIXTURE_VARIANT_ADD(wait, epoll_lt) { .look = look_epoll, EPOLLIN };
FIXTURE_VARIANT_ADD(wait, epoll_et) { .look = look_epoll, EPOLLIN | EPOLLET, .edge = true };
FIXTURE_VARIANT_ADD(wait, epoll_lt_exclusive) { .look = look_epoll, EPOLLIN | EPOLLEXCLUSIVE };
FIXTURE_VARIANT_ADD(wait, epoll_et_exclusive)
{
	.look = look_epoll, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE, .edge = true
};

FIXTURE_VARIANT_ADD(wait, epoll_lt_in_lt) { .look = look_epoll, EPOLLIN, EPOLLIN };
FIXTURE_VARIANT_ADD(wait, epoll_et_in_lt) { .look = look_epoll, EPOLLIN | EPOLLET, EPOLLIN };
FIXTURE_VARIANT_ADD(wait, epoll_lt_in_et) { .look = look_epoll, EPOLLIN, EPOLLIN | EPOLLET, true };
FIXTURE_VARIANT_ADD(wait, epoll_et_in_et)
{
	.look = look_epoll, EPOLLIN | EPOLLET, EPOLLIN | EPOLLET, true
};

FIXTURE_VARIANT_ADD(wait, poll_of_epoll_lt) { .look = look_poll, EPOLLIN };
FIXTURE_VARIANT_ADD(wait, poll_of_epoll_et) { .look = look_poll, EPOLLIN | EPOLLET };
FIXTURE_VARIANT_ADD(wait, select_of_epoll_lt) { .look = look_select, EPOLLIN };
FIXTURE_VARIANT_ADD(wait, io_uring_of_epoll_lt) { .look = look_uring, EPOLLIN };

FIXTURE_SETUP(wait)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	if (variant->look == look_uring && !have_ring())
		SKIP(return, "no io_uring: %s", strerror(errno));
}

FIXTURE_TEARDOWN(wait)
{
	close_source(&self->source);
}

static void open_wait(struct __test_metadata *_metadata, FIXTURE_DATA(wait) * self,
		      const FIXTURE_VARIANT(wait) * variant, enum kind kind)
{
	ASSERT_TRUE(open_source(&self->source, kind));
	self->fd = self->source.polled;
	if (variant->inner)
		self->fd = nest(self->fd, variant->inner);
	if (variant->outer)
		self->fd = nest(self->fd, variant->outer);
	ASSERT_LE(0, self->fd);
}

/*
 * A pending watch is not notified again; a memory file is, for each change.
 */
static void check_look(struct __test_metadata *_metadata, FIXTURE_DATA(wait) * self,
		       const FIXTURE_VARIANT(wait) * variant, enum kind kind)
{
	int i;

	open_wait(_metadata, self, variant, kind);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, variant->look(self->fd, 0));
		store_page(&self->source, 0);
		EXPECT_EQ(1, variant->look(self->fd, 0));
		EXPECT_EQ(!variant->edge, variant->look(self->fd, 0));
		store_page(&self->source, 1);
		EXPECT_EQ(!variant->edge || kind == MEMORY, variant->look(self->fd, 0));
		ASSERT_TRUE(take(&self->source));
	}
	EXPECT_EQ(0, variant->look(self->fd, QUIET_MS));
}

TEST_F(wait, notifies_of_watch)
{
	check_look(_metadata, self, variant, WATCH);
}

TEST_F(wait, notifies_of_watch_of_watch_only_file)
{
	check_look(_metadata, self, variant, WATCH_ONLY);
}

TEST_F(wait, notifies_of_memory)
{
	check_look(_metadata, self, variant, MEMORY);
}

TEST_F(wait, notifies_of_eventfd)
{
	check_look(_metadata, self, variant, EVENTFD);
}

static void check_sleep(struct __test_metadata *_metadata, FIXTURE_DATA(wait) * self,
			const FIXTURE_VARIANT(wait) * variant, enum kind kind)
{
	struct sleeper sleeper;
	int i, ended;

	open_wait(_metadata, self, variant, kind);
	for (i = 0; i < 2; i++) {
		ended = 0;
		ASSERT_TRUE(start_sleeper(&sleeper, variant->look, self->fd, &ended));
		store_page(&self->source, i);
		EXPECT_EQ(1, result_of(&sleeper));
		ASSERT_TRUE(take(&self->source));
	}
	EXPECT_EQ(0, variant->look(self->fd, QUIET_MS));
}

TEST_F(wait, is_ended_by_watch)
{
	check_sleep(_metadata, self, variant, WATCH);
}

TEST_F(wait, is_ended_by_watch_of_watch_only_file)
{
	check_sleep(_metadata, self, variant, WATCH_ONLY);
}

TEST_F(wait, is_ended_by_memory)
{
	check_sleep(_metadata, self, variant, MEMORY);
}

TEST_F(wait, is_ended_by_eventfd)
{
	check_sleep(_metadata, self, variant, EVENTFD);
}

TEST_F(wait, is_ended_by_signal_and_notified_of_the_next_event)
{
	struct sleeper sleeper;
	int ended = 0;

	ASSERT_EQ(0, handle_signal(SA_RESTART));
	open_wait(_metadata, self, variant, WATCH);
	ASSERT_TRUE(start_sleeper(&sleeper, variant->look, self->fd, &ended));
	ASSERT_EQ(0, pthread_kill(sleeper.thread, SIGUSR1));
	EXPECT_EQ(-1, result_of(&sleeper));
	EXPECT_EQ(EINTR, sleeper.err);
	EXPECT_EQ(0, variant->look(self->fd, QUIET_MS));
	store_page(&self->source, 0);
	EXPECT_EQ(1, variant->look(self->fd, PATIENCE_MS));
	EXPECT_TRUE(take(&self->source));
}

TEST_HARNESS_MAIN
