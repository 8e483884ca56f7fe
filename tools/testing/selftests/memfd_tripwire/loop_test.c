// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - event loops: every way to wait, for everything there is to wait for
 *
 * After epoll_wakeup_test: the fixture "wait" is the matrix.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/io_uring.h>
#include "kselftest_harness.h"
#include "tripwire.h"

#define PAGES		8
#define THREADS		4
#define ROUNDS		2000	/* of a race, */
#define RACE_MS		200	/* but no longer than this */
#define PATIENCE_MS	5000	/* for what has to come */
#define QUIET_MS	5	/* for what must not come */
#define RECORD		sizeof(struct memfd_tripwire_range)

enum kind { WATCH, WATCH_ONLY, MEMORY, EVENTFD };

/* What to wait for, and the memory behind it. */
struct source {
	enum kind kind;
	int fd;		/* the memory */
	int watch;	/* of all of it, with O_NONBLOCK; or -1 */
	int polled;	/* one of these, or the eventfd of the watch */
	size_t page;
	char *map;
};

static int add_watch(const struct source *s, unsigned int flags, int eventfd, int page, int pages)
{
	struct memfd_tripwire_watch watch = {
		.flags = flags | MEMFD_TRIPWIRE_WATCH_NONBLOCK, .eventfd = eventfd,
		.offset = page * s->page, .len = pages * s->page,
	};

	return ioctl(s->fd, MEMFD_TRIPWIRE_WATCH, &watch);
}

static void open_source(struct __test_metadata *_metadata, struct source *s, enum kind kind)
{
	unsigned int flags = MEMFD_TRIPWIRE_NOHUGE;

	if (kind == WATCH_ONLY)
		flags |= MEMFD_TRIPWIRE_WATCH_ONLY;
	*s = (struct source) { .kind = kind, .watch = -1, .page = getpagesize() };
	s->fd = memfd_tripwire(flags);
	ASSERT_LE(0, s->fd);
	ASSERT_EQ(0, ftruncate(s->fd, PAGES * s->page));
	s->map = map_shared(s->fd, PAGES * s->page);
	ASSERT_NE(MAP_FAILED, s->map);
	if (kind == MEMORY) {
		ASSERT_EQ(0, ack(s->fd));
		s->polled = s->fd;
		return;
	}
	s->polled = kind == EVENTFD ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	s->watch = add_watch(s, kind == EVENTFD ? MEMFD_TRIPWIRE_WATCH_EVENTFD : 0, s->polled,
			     0, PAGES);
	ASSERT_LE(0, s->watch);
	if (kind != EVENTFD)
		s->polled = s->watch;
	ASSERT_LE(0, s->polled);
}

/* Some of these may be the same, or closed already. */
static void close_source(struct source *s)
{
	munmap(s->map, PAGES * s->page);
	close(s->polled);
	close(s->watch);
	close(s->fd);
}

static void store_to(const struct source *s, int page)
{
	static uint64_t value;

	store(s->map + page * s->page, ++value);
}

/*
 * A store may raise once more if its page is re-armed before it gets done. For tests
 * that take the event meanwhile there is this.
 */
/* From memory that is there: a write that has to fault it in first raises twice. */
static bool write_to(int fd, int page)
{
	char byte = page;

	return pwrite(fd, &byte, 1, page * getpagesize()) == 1;
}

/* Take the event back, as its consumer does; false with EAGAIN if there is none. */
static bool take(const struct source *s)
{
	struct memfd_tripwire_range ranges[PAGES];
	bool signalled = true;
	uint64_t steps;

	if (s->kind == MEMORY)
		return !ack(s->fd);
	/* In this order: what comes between the two adds to the eventfd again. */
	if (s->kind == EVENTFD)
		signalled = read(s->polled, &steps, sizeof(steps)) == sizeof(steps);
	return read(s->watch, ranges, sizeof(ranges)) > 0 && signalled;
}

/* The ways to wait: 1 if told, 0 after @timeout_ms, -1 with errno. */

static int look_poll(int fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int ret = poll(&pfd, 1, timeout_ms);

	return ret > 0 && pfd.revents != POLLIN ? -1 : ret;
}

static int look_ppoll(int fd, int timeout_ms)
{
	struct timespec ts = { timeout_ms / 1000, timeout_ms % 1000 * 1000000l };
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	sigset_t none;
	int ret;

	sigemptyset(&none);
	ret = ppoll(&pfd, 1, &ts, &none);
	return ret > 0 && pfd.revents != POLLIN ? -1 : ret;
}

static int look_select(int fd, int timeout_ms)
{
	struct timeval tv = { timeout_ms / 1000, timeout_ms % 1000 * 1000l };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, &tv);
}

static int look_epoll(int fd, int timeout_ms)
{
	struct epoll_event event;

	return epoll_wait(fd, &event, 1, timeout_ms);
}

/* A new epoll, with one fd in it. */
static int nest(int fd, uint32_t events)
{
	struct epoll_event event = { .events = events };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) ? -1 : ep;
}

struct ring {
	int fd;
	char *rings;
	size_t size;
	struct io_uring_sqe *sqes;
	struct io_uring_params params;
};

static bool open_ring(struct ring *ring)
{
	struct io_uring_params *p = &ring->params;

	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(__NR_io_uring_setup, THREADS, p);
	if (ring->fd < 0)
		return false;
	ring->size = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	ring->rings = mmap(NULL, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
			   IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, THREADS * sizeof(*ring->sqes), PROT_READ | PROT_WRITE, MAP_SHARED,
			  ring->fd, IORING_OFF_SQES);
	return (p->features & IORING_FEAT_SINGLE_MMAP) && (p->features & IORING_FEAT_EXT_ARG) &&
	       ring->rings != MAP_FAILED && ring->sqes != MAP_FAILED;
}

static void close_ring(struct ring *ring)
{
	munmap(ring->sqes, THREADS * sizeof(*ring->sqes));
	munmap(ring->rings, ring->size);
	close(ring->fd);
}

static bool have_ring(void)
{
	struct ring ring;
	bool have = open_ring(&ring);

	if (ring.fd >= 0)
		close_ring(&ring);
	return have;
}

static bool submit(struct ring *ring, struct io_uring_sqe sqe)
{
	uint32_t *tail = (void *)(ring->rings + ring->params.sq_off.tail);
	uint32_t *array = (void *)(ring->rings + ring->params.sq_off.array);
	uint32_t slot = *tail % THREADS;

	ring->sqes[slot] = sqe;
	array[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	return syscall(__NR_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0) == 1;
}

static bool submit_poll(struct ring *ring, int fd, uint32_t flags)
{
	return submit(ring, (struct io_uring_sqe) {
		.opcode = IORING_OP_POLL_ADD, .fd = fd, .len = flags,
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		.poll32_events = POLLIN << 16,
#else
		.poll32_events = POLLIN,
#endif
	});
}

static bool submit_read(struct ring *ring, int fd, struct memfd_tripwire_range *range,
			uint8_t flags)
{
	return submit(ring, (struct io_uring_sqe) {
		.opcode = IORING_OP_READ, .fd = fd, .flags = flags, .off = -1,
		.addr = (uintptr_t)range, .len = sizeof(*range), .user_data = (uintptr_t)range,
	});
}

/* One completion: 1, 0 if there is none within @timeout_ms, -1 with errno. */
static int reap(struct ring *ring, struct io_uring_cqe *cqe, int timeout_ms)
{
	struct __kernel_timespec ts = { timeout_ms / 1000, timeout_ms % 1000 * 1000000l };
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&ts };
	struct io_uring_params *p = &ring->params;
	struct io_uring_cqe *cqes = (void *)(ring->rings + p->cq_off.cqes);
	uint32_t *head = (void *)(ring->rings + p->cq_off.head);
	uint32_t *tail = (void *)(ring->rings + p->cq_off.tail);
	bool late = false;

	while (*head == __atomic_load_n(tail, __ATOMIC_ACQUIRE)) {
		if (late)
			return 0;
		if (syscall(__NR_io_uring_enter, ring->fd, 0, 1,
			    IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg)) < 0) {
			if (errno != ETIME)
				return -1;
			late = true;
		}
	}
	*cqe = cqes[*head % p->cq_entries];
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return 1;
}

static int look_uring(int fd, int timeout_ms)
{
	struct io_uring_cqe cqe;
	struct ring ring;
	int ret, err;

	if (!open_ring(&ring) || !submit_poll(&ring, fd, 0))
		return -1;
	ret = reap(&ring, &cqe, timeout_ms);
	err = errno;
	close_ring(&ring);
	errno = err;
	return ret > 0 && cqe.res != POLLIN ? -1 : ret;
}

/* The ring whose completions look_multishot() takes, all there are. */
static struct ring multishot;

static int look_multishot(int __maybe_unused fd, int timeout_ms)
{
	struct io_uring_cqe cqe;
	int ret = reap(&multishot, &cqe, timeout_ms);

	if (ret > 0 && (cqe.res != POLLIN || !(cqe.flags & IORING_CQE_F_MORE)))
		return -1;
	while (ret > 0 && reap(&multishot, &cqe, 0) > 0)
		;
	return ret;
}

static __thread struct memfd_tripwire_range reported;

/* One range, to @reported. It waits, for as long as it takes, without O_NONBLOCK only. */
static int look_read(int fd, int __maybe_unused timeout_ms)
{
	ssize_t ret = read(fd, &reported, sizeof(reported));

	return ret == sizeof(reported) ? 1 : ret;
}

static bool set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	return !fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

/* Until @of is @least, or patience ends. */
static bool await_count(const int *of, int least)
{
	uint64_t end = now_ns() + PATIENCE_MS * 1000000ull;

	while (__atomic_load_n(of, __ATOMIC_ACQUIRE) < least) {
		if (now_ns() > end)
			return false;
		sched_yield();
	}
	return true;
}

/* Until the thread, or the process, waits for something. */
static bool await_sleep(pid_t tid)
{
	uint64_t end = now_ns() + PATIENCE_MS * 1000000ull;
	char path[32], stat[128], *state;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	do {
		sched_yield();
		fd = open(path, O_RDONLY | O_CLOEXEC);
		len = read(fd, stat, sizeof(stat) - 1);
		close(fd);
		if (len <= 0)
			return false;
		stat[len] = '\0';
		state = strrchr(stat, ')');
		if (state && state[2] == 'S')
			return true;
	} while (now_ns() < end);
	return false;
}

/* A thread that waits once. */
struct sleeper {
	int (*look)(int fd, int timeout_ms);
	int fd;
	int tid;
	int told;
	int err;
	struct memfd_tripwire_range range;
	int *ended;
	pthread_t thread;
};

static void *sleep_once(void *data)
{
	struct sleeper *sleeper = data;

	__atomic_store_n(&sleeper->tid, gettid(), __ATOMIC_RELEASE);
	sleeper->told = sleeper->look(sleeper->fd, PATIENCE_MS);
	sleeper->err = errno;
	sleeper->range = reported;
	__atomic_fetch_add(sleeper->ended, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Returns with the thread asleep. @ended counts those that are no longer. */
static void start_sleeper(struct __test_metadata *_metadata, struct sleeper *sleeper,
			  int (*look)(int fd, int timeout_ms), int fd, int *ended)
{
	*sleeper = (struct sleeper) { .look = look, .fd = fd, .ended = ended };
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, pthread_create(&sleeper->thread, NULL, sleep_once, sleeper));
	ASSERT_TRUE(await_count(&sleeper->tid, 1));
	ASSERT_TRUE(await_sleep(sleeper->tid));
	ASSERT_EQ(0, *ended);
}

/* Only for one that has ended, or is about to. */
static int result_of(struct sleeper *sleeper)
{
	pthread_join(sleeper->thread, NULL);
	return sleeper->told;
}

static int caught;

static void catch_signal(int __maybe_unused signal)
{
	__atomic_fetch_add(&caught, 1, __ATOMIC_RELEASE);
}

static int handle_signal(int flags)
{
	struct sigaction action = { .sa_handler = catch_signal, .sa_flags = flags };

	return sigaction(SIGUSR1, &action, NULL);
}

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
	bool edge;		/* told of an event once */
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
	open_source(_metadata, &self->source, kind);
	self->fd = self->source.polled;
	if (variant->inner)
		self->fd = nest(self->fd, variant->inner);
	if (variant->outer)
		self->fd = nest(self->fd, variant->outer);
	ASSERT_LE(0, self->fd);
}

/* A watch is not told again while it is pending; a memory file is, of each change. */
static void check_look(struct __test_metadata *_metadata, FIXTURE_DATA(wait) * self,
		       const FIXTURE_VARIANT(wait) * variant, enum kind kind)
{
	int i;

	open_wait(_metadata, self, variant, kind);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, variant->look(self->fd, 0));
		store_to(&self->source, 0);
		EXPECT_EQ(1, variant->look(self->fd, 0));
		EXPECT_EQ(!variant->edge, variant->look(self->fd, 0));
		store_to(&self->source, 1);
		EXPECT_EQ(!variant->edge || kind == MEMORY, variant->look(self->fd, 0));
		ASSERT_TRUE(take(&self->source));
	}
	EXPECT_EQ(0, variant->look(self->fd, QUIET_MS));
}

TEST_F(wait, tells_of_watch)
{
	check_look(_metadata, self, variant, WATCH);
}

TEST_F(wait, tells_of_watch_of_watch_only_file)
{
	check_look(_metadata, self, variant, WATCH_ONLY);
}

TEST_F(wait, tells_of_memory)
{
	check_look(_metadata, self, variant, MEMORY);
}

TEST_F(wait, tells_of_eventfd)
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
		start_sleeper(_metadata, &sleeper, variant->look, self->fd, &ended);
		store_to(&self->source, i);
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

TEST_F(wait, is_ended_by_signal_and_told_of_the_next_event)
{
	struct sleeper sleeper;
	int ended = 0;

	ASSERT_EQ(0, handle_signal(SA_RESTART));
	open_wait(_metadata, self, variant, WATCH);
	start_sleeper(_metadata, &sleeper, variant->look, self->fd, &ended);
	ASSERT_EQ(0, pthread_kill(sleeper.thread, SIGUSR1));
	EXPECT_EQ(-1, result_of(&sleeper));
	EXPECT_EQ(EINTR, sleeper.err);
	EXPECT_EQ(0, variant->look(self->fd, QUIET_MS));
	store_to(&self->source, 0);
	EXPECT_EQ(1, variant->look(self->fd, PATIENCE_MS));
	EXPECT_TRUE(take(&self->source));
}

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
	open_source(_metadata, &self->source, variant->kind);
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
	store_to(&self->source, 0);
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(variant->always | variant->event, pfd.revents);
}

TEST_F(loop, oneshot_is_told_once_until_rearmed)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT };
	int i, ep = nest(self->source.polled, EPOLLIN | EPOLLONESHOT);

	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, look_epoll(ep, 0));
		store_to(&self->source, 0);
		EXPECT_EQ(1, look_epoll(ep, 0));
		ASSERT_TRUE(take(&self->source));
		store_to(&self->source, 0);
		EXPECT_EQ(0, look_epoll(ep, 0));
		/* What came while it was disarmed is told now. */
		ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_MOD, self->source.polled, &event));
		EXPECT_EQ(1, look_epoll(ep, 0));
		ASSERT_TRUE(take(&self->source));
		ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_MOD, self->source.polled, &event));
	}
	EXPECT_EQ(0, look_epoll(ep, QUIET_MS));
}

TEST_F(loop, fd_added_while_pending_is_told)
{
	int level, edge;

	store_to(&self->source, 0);
	level = nest(self->source.polled, EPOLLIN);
	edge = nest(self->source.polled, EPOLLIN | EPOLLET);
	EXPECT_EQ(1, look_epoll(level, 0));
	EXPECT_EQ(1, look_epoll(edge, 0));
	EXPECT_EQ(0, look_epoll(edge, 0));
	ASSERT_TRUE(take(&self->source));
	EXPECT_EQ(0, look_epoll(level, 0));
	EXPECT_EQ(0, look_epoll(edge, QUIET_MS));
	store_to(&self->source, 0);
	EXPECT_EQ(1, look_epoll(level, 0));
	EXPECT_EQ(1, look_epoll(edge, 0));
}

TEST_F(loop, edge_is_told_again_after_modification)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int ep = nest(self->source.polled, EPOLLIN | EPOLLET);

	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_MOD, self->source.polled, &event));
	EXPECT_EQ(0, look_epoll(ep, 0));
	store_to(&self->source, 0);
	EXPECT_EQ(1, look_epoll(ep, 0));
	EXPECT_EQ(0, look_epoll(ep, 0));
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_MOD, self->source.polled, &event));
	EXPECT_EQ(1, look_epoll(ep, 0));
	EXPECT_EQ(0, look_epoll(ep, 0));
}

TEST_F(loop, two_epolls_are_both_told)
{
	int level = nest(self->source.polled, EPOLLIN);
	int edge = nest(self->source.polled, EPOLLIN | EPOLLET);
	int i;

	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, look_epoll(level, 0));
		EXPECT_EQ(0, look_epoll(edge, 0));
		store_to(&self->source, i);
		EXPECT_EQ(1, look_epoll(level, 0));
		EXPECT_EQ(1, look_epoll(edge, 0));
		EXPECT_EQ(1, look_epoll(level, 0));
		EXPECT_EQ(0, look_epoll(edge, 0));
		ASSERT_TRUE(take(&self->source));
	}
}

TEST_F(loop, multishot_poll_is_told_each_time)
{
	struct source *s = &self->source;
	int i;

	if (!open_ring(&multishot))
		SKIP(return, "no io_uring: %s", strerror(errno));
	ASSERT_TRUE(submit_poll(&multishot, s->polled, IORING_POLL_ADD_MULTI));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, look_multishot(-1, 0));
		store_to(s, 0);
		EXPECT_EQ(1, look_multishot(-1, PATIENCE_MS));
		EXPECT_EQ(0, look_multishot(-1, 0));
		store_to(s, 1);
		EXPECT_EQ(s->kind == MEMORY, look_multishot(-1, QUIET_MS));
		ASSERT_TRUE(take(s));
	}
	EXPECT_EQ(0, look_multishot(-1, QUIET_MS));
	close_ring(&multishot);
}

TEST_F(loop, multishot_poll_that_starts_while_pending_is_told)
{
	if (!open_ring(&multishot))
		SKIP(return, "no io_uring: %s", strerror(errno));
	store_to(&self->source, 0);
	ASSERT_TRUE(submit_poll(&multishot, self->source.polled, IORING_POLL_ADD_MULTI));
	EXPECT_EQ(1, look_multishot(-1, PATIENCE_MS));
	ASSERT_TRUE(take(&self->source));
	EXPECT_EQ(0, look_multishot(-1, QUIET_MS));
	store_to(&self->source, 0);
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
		start_sleeper(_metadata, &sleepers[i], look, fds[i], &ended);
	for (i = at_once; i <= THREADS; i += at_once) {
		store_to(s, i % PAGES);
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
	store_to(s, 0);
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
	store_to(s, 0);
	EXPECT_EQ(0, look_epoll(ep, QUIET_MS));
}

TEST_F(loop, fd_closed_under_io_uring_poll_tells_it)
{
	struct io_uring_cqe cqe;
	struct ring ring;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	ASSERT_TRUE(submit_poll(&ring, self->source.polled, 0));
	ASSERT_EQ(0, close(self->source.polled));
	EXPECT_EQ(0, reap(&ring, &cqe, QUIET_MS));
	store_to(&self->source, 0);
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
	store_to(s, 0);
	EXPECT_EQ(1, look_epoll(ep, 0));
	ASSERT_TRUE(take(s));
	EXPECT_EQ(0, look_epoll(ep, QUIET_MS));
	store_to(s, 0);
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

TEST_F(loop, forked_child_is_told_and_takes_the_event)
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
	store_to(s, 0);
	EXPECT_EQ(1, look_poll(s->polled, 0));
}

TEST_F(loop, forked_child_is_told_after_parent_has_closed)
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

/* Whatever it has not seen when it has taken the event, it is told of. */
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

TEST_F(loop, edge_is_told_of_events_that_come_while_one_is_taken)
{
	check_race(_metadata, &self->source, look_epoll,
		   nest(self->source.polled, EPOLLIN | EPOLLET));
}

TEST_F(loop, multishot_poll_is_told_of_events_that_come_while_one_is_taken)
{
	if (!open_ring(&multishot))
		SKIP(return, "no io_uring: %s", strerror(errno));
	ASSERT_TRUE(submit_poll(&multishot, self->source.polled, IORING_POLL_ADD_MULTI));
	check_race(_metadata, &self->source, look_multishot, -1);
	close_ring(&multishot);
}

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
	open_source(_metadata, &self->source, variant->kind);
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
		store_to(&self->source, 1);
		EXPECT_EQ(1, look_read(self->watch, 0));
		EXPECT_TRUE(is_page(self, &reported, 1));
		EXPECT_EQ(-1, look_read(self->watch, 0));
		EXPECT_EQ(EAGAIN, errno);

		ended = 0;
		ASSERT_TRUE(set_nonblock(self->watch, false));
		start_sleeper(_metadata, &sleeper, look_read, self->watch, &ended);
		ASSERT_TRUE(write_to(self->source.fd, 2));
		ASSERT_TRUE(await_count(&ended, 1));
		EXPECT_EQ(1, result_of(&sleeper));
		EXPECT_TRUE(is_page(self, &sleeper.range, 2));
		EXPECT_FALSE(pending(self->watch));
	}
}

TEST_F(reader, nowait_read_does_not_wait)
{
	struct iovec iov = { .iov_base = &reported, .iov_len = sizeof(reported) };

	EXPECT_EQ(-1, preadv2(self->watch, &iov, 1, -1, RWF_NOWAIT));
	EXPECT_EQ(EAGAIN, errno);
	store_to(&self->source, 1);
	EXPECT_EQ((ssize_t)RECORD, preadv2(self->watch, &iov, 1, -1, RWF_NOWAIT));
	EXPECT_TRUE(is_page(self, &reported, 1));
	EXPECT_EQ(-1, preadv2(self->watch, &iov, 1, -1, RWF_NOWAIT));
	EXPECT_EQ(EAGAIN, errno);
}

TEST_F(reader, event_ends_one_of_many_reads)
{
	struct sleeper sleepers[THREADS];
	int i, j, found, ended = 0;

	for (i = 0; i < THREADS; i++)
		start_sleeper(_metadata, &sleepers[i], look_read, self->watch, &ended);
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

TEST_F(reader, event_tells_poll_beside_read)
{
	int ended = 0, polled = 0, ep = nest(self->watch, EPOLLIN | EPOLLET);
	struct sleeper reader, poller;

	start_sleeper(_metadata, &reader, look_read, self->watch, &ended);
	start_sleeper(_metadata, &poller, look_epoll, ep, &polled);
	store_to(&self->source, 0);
	ASSERT_TRUE(await_count(&ended, 1));
	EXPECT_EQ(1, result_of(&reader));
	EXPECT_TRUE(is_page(self, &reader.range, 0));
	/* To the poller there is nothing left, and it waits on, or it was faster. */
	store_to(&self->source, 1);
	EXPECT_EQ(1, result_of(&poller));
}

TEST_F(reader, watch_closed_under_read_tells_it)
{
	struct sleeper sleeper;
	int ended = 0;

	start_sleeper(_metadata, &sleeper, look_read, self->watch, &ended);
	ASSERT_EQ(0, close(self->watch));
	store_to(&self->source, 3);
	ASSERT_TRUE(await_count(&ended, 1));
	EXPECT_EQ(1, result_of(&sleeper));
	EXPECT_TRUE(is_page(self, &sleeper.range, 3));
}

TEST_F(reader, short_read_raises_again)
{
	int i, ep = nest(self->watch, EPOLLIN | EPOLLET);

	EXPECT_EQ(0, look_epoll(ep, 0));
	for (i = 0; i < PAGES; i += 2)
		store_to(&self->source, i);
	for (i = 0; i < PAGES; i += 2) {
		EXPECT_TRUE(pending(self->watch));
		EXPECT_EQ(1, look_epoll(ep, 0));
		EXPECT_EQ(0, look_epoll(ep, 0));
		ASSERT_EQ(1, look_read(self->watch, 0));
		EXPECT_TRUE(is_page(self, &reported, i)) TH_LOG("page %d", i);
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
		store_to(&self->source, i);
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
	watch = add_watch(&self->source, MEMFD_TRIPWIRE_WATCH_EVENTFD, efd, 0, PAGES);
	ASSERT_LE(0, watch);
	EXPECT_EQ(-1, read(efd, &steps, sizeof(steps)));
	EXPECT_EQ(EAGAIN, errno);
	for (i = 0; i < 3; i++) {
		store_to(&self->source, 0);
		store_to(&self->source, 2);
		ASSERT_EQ((ssize_t)(2 * RECORD), read(watch, ranges, sizeof(ranges)));
	}
	ASSERT_EQ((ssize_t)sizeof(steps), read(efd, &steps, sizeof(steps)));
	EXPECT_EQ(3u, steps);

	/* A short read is a step of its own. */
	store_to(&self->source, 0);
	store_to(&self->source, 2);
	ASSERT_EQ((ssize_t)RECORD, read(watch, ranges, RECORD));
	ASSERT_EQ((ssize_t)sizeof(steps), read(efd, &steps, sizeof(steps)));
	EXPECT_EQ(2u, steps);
	ASSERT_EQ((ssize_t)RECORD, read(watch, ranges, RECORD));
	EXPECT_EQ(-1, read(efd, &steps, sizeof(steps)));
	EXPECT_EQ(EAGAIN, errno);
	close(watch);
	close(efd);
}

TEST_F(reader, epoll_tells_watches_apart)
{
	struct epoll_event event, events[PAGES];
	int i, watches[PAGES], ep = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_LE(0, ep);
	for (i = 0; i < PAGES; i++) {
		watches[i] = add_watch(&self->source, 0, -1, i, 1);
		ASSERT_LE(0, watches[i]);
		event = (struct epoll_event) { .events = EPOLLIN, .data.u32 = i };
		ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, watches[i], &event));
	}
	EXPECT_EQ(0, epoll_wait(ep, events, PAGES, 0));
	for (i = 0; i < PAGES; i++) {
		store_to(&self->source, i);
		ASSERT_EQ(1, epoll_wait(ep, events, PAGES, 0));
		EXPECT_EQ(i, (int)events[0].data.u32);
		EXPECT_EQ(1, look_read(watches[i], 0));
		EXPECT_TRUE(is_page(self, &reported, i));
		EXPECT_EQ(0, epoll_wait(ep, events, PAGES, 0));
	}
	for (i = 0; i < PAGES; i++)
		close(watches[i]);
	EXPECT_EQ(0, epoll_wait(ep, events, PAGES, 0));
}

TEST_F(reader, consumers_of_one_loop_do_not_eat_each_others_events)
{
	int other = add_watch(&self->source, 0, -1, 0, PAGES);
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
	store_to(&self->source, 5);
	EXPECT_EQ(nr, epoll_wait(ep, events, 3, 0));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(1, look_read(fds[i], 0));
		EXPECT_TRUE(is_page(self, &reported, 5));
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
	start_sleeper(_metadata, &sleeper, look_read, self->watch, &ended);
	ASSERT_EQ(0, pthread_kill(sleeper.thread, SIGUSR1));
	ASSERT_TRUE(await_count(&ended, 1));
	EXPECT_EQ(-1, result_of(&sleeper));
	EXPECT_EQ(EINTR, sleeper.err);
	EXPECT_FALSE(pending(self->watch));
	store_to(&self->source, 0);
	ASSERT_TRUE(pending(self->watch));
	EXPECT_EQ(1, look_read(self->watch, 0));
	EXPECT_TRUE(is_page(self, &reported, 0));
}

TEST_F(reader, signal_with_sa_restart_restarts_read)
{
	struct sleeper sleeper;
	int ended = 0;

	ASSERT_EQ(0, handle_signal(SA_RESTART));
	start_sleeper(_metadata, &sleeper, look_read, self->watch, &ended);
	ASSERT_EQ(0, pthread_kill(sleeper.thread, SIGUSR1));
	ASSERT_TRUE(await_count(&caught, 1));
	ASSERT_TRUE(await_sleep(sleeper.tid));
	ASSERT_EQ(0, ended);
	store_to(&self->source, 0);
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
	store_to(&self->source, 0);
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
	int told[PAGES];
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
			__atomic_fetch_add(&crowd->told[at / crowd->page % PAGES], 1,
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
			before[j] = __atomic_load_n(&crowd.told[page], __ATOMIC_ACQUIRE);
			if (signals)
				ASSERT_EQ(0, pthread_kill(threads[i % THREADS], SIGUSR1));
			store_to(&self->source, page);
			if (signals)
				ASSERT_EQ(0, pthread_kill(threads[(i + j) % THREADS], SIGUSR1));
		}
		for (j = 0; j < 2; j++) {
			page = (i + j * PAGES / 2) % PAGES;
			ASSERT_TRUE(await_count(&crowd.told[page], before[j] + 1))
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

/* As for an eventfd: who asks io_uring to read has no need for EAGAIN. */
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
	store_to(&self->source, 0);
	ASSERT_TRUE(pending(self->watch));
	EXPECT_EQ(1, look_read(self->watch, 0));
	EXPECT_TRUE(is_page(self, &reported, 0));
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
	store_to(&self->source, 0);
	ASSERT_TRUE(pending(self->watch));
	EXPECT_EQ(1, look_read(self->watch, 0));
	EXPECT_TRUE(is_page(self, &reported, 0));
	EXPECT_EQ(0u, range.len);
}

/* Whether it can be told of is not for its producers to see. */
TEST(watch_only_file_itself_polls_as_regular_file)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct pollfd pfd = { .events = POLLIN | POLLOUT };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct source s;
	int i;

	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	open_source(_metadata, &s, WATCH_ONLY);
	pfd.fd = s.fd;
	EXPECT_EQ(-1, epoll_ctl(ep, EPOLL_CTL_ADD, s.fd, &event));
	EXPECT_EQ(EPERM, errno);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(1, poll(&pfd, 1, 0));
		EXPECT_EQ(POLLIN | POLLOUT, pfd.revents);
		EXPECT_EQ(i, pending(s.watch));
		EXPECT_EQ(-1, ack(s.fd));
		EXPECT_EQ(EOPNOTSUPP, errno);
		store_to(&s, 0);
	}
	close_source(&s);
	close(ep);
}

TEST_HARNESS_MAIN
