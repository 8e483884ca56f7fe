// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - sources of events, ways to wait for them, io_uring, sleeping
 * threads
 */
#include "event_loop.h"

int watch_source(const struct source *s, unsigned int flags, int eventfd, int page, int pages)
{
	struct memfd_tripwire_watch watch = {
		.flags = flags | MEMFD_TRIPWIRE_WATCH_NONBLOCK, .eventfd = eventfd,
		.offset = page * s->page, .len = pages * s->page,
	};

	return ioctl(s->fd, MEMFD_TRIPWIRE_WATCH, &watch);
}

bool open_source(struct source *s, enum kind kind)
{
	unsigned int flags = MEMFD_TRIPWIRE_NOHUGE;

	if (kind == WATCH_ONLY)
		flags |= MEMFD_TRIPWIRE_WATCH_ONLY;
	*s = (struct source) { .kind = kind, .watch = -1, .page = getpagesize() };
	s->fd = memfd_tripwire(flags);
	if (s->fd < 0 || ftruncate(s->fd, PAGES * s->page))
		return false;
	s->map = map_shared(s->fd, PAGES * s->page);
	if (s->map == MAP_FAILED)
		return false;
	if (kind == MEMORY) {
		s->polled = s->fd;
		return !ack(s->fd);
	}
	s->polled = kind == EVENTFD ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	s->watch = watch_source(s, kind == EVENTFD ? MEMFD_TRIPWIRE_WATCH_EVENTFD : 0, s->polled,
				0, PAGES);
	if (kind != EVENTFD)
		s->polled = s->watch;
	return s->watch >= 0 && s->polled >= 0;
}

/* Some of these may be the same, or closed already. */
void close_source(struct source *s)
{
	munmap(s->map, PAGES * s->page);
	close(s->polled);
	close(s->watch);
	close(s->fd);
}

void store_page(const struct source *s, int page)
{
	static uint64_t value;

	store(s->map + page * s->page, ++value);
}

/*
 * From memory that is there: a write that has to fault it in first raises
 * twice.
 */
bool write_to(int fd, int page)
{
	char byte = page;

	return pwrite(fd, &byte, 1, page * getpagesize()) == 1;
}

/*
 * Take the event back, as its consumer does; false with EAGAIN if there is
 * none.
 */
bool take(const struct source *s)
{
	struct memfd_tripwire_range ranges[PAGES];
	bool signalled = true;
	uint64_t steps;

	if (s->kind == MEMORY)
		return !ack(s->fd);
	/*
	 * In this order: what comes between the two adds to the eventfd again.
	 */
	if (s->kind == EVENTFD)
		signalled = read(s->polled, &steps, sizeof(steps)) == sizeof(steps);
	return read(s->watch, ranges, sizeof(ranges)) > 0 && signalled;
}

/* The ways to wait: 1 if notified, 0 after @timeout_ms, -1 with errno. */

int look_poll(int fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int ret = poll(&pfd, 1, timeout_ms);

	return ret > 0 && pfd.revents != POLLIN ? -1 : ret;
}

int look_ppoll(int fd, int timeout_ms)
{
	struct timespec ts = { timeout_ms / 1000, timeout_ms % 1000 * 1000000l };
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	sigset_t none;
	int ret;

	sigemptyset(&none);
	ret = ppoll(&pfd, 1, &ts, &none);
	return ret > 0 && pfd.revents != POLLIN ? -1 : ret;
}

int look_select(int fd, int timeout_ms)
{
	struct timeval tv = { timeout_ms / 1000, timeout_ms % 1000 * 1000l };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, &tv);
}

int look_epoll(int fd, int timeout_ms)
{
	struct epoll_event event;

	return epoll_wait(fd, &event, 1, timeout_ms);
}

/* A new epoll, with one fd in it. */
int nest(int fd, uint32_t events)
{
	struct epoll_event event = { .events = events };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) ? -1 : ep;
}

bool open_ring(struct ring *ring)
{
	return open_ring_with(ring, 0);
}

bool open_ring_with(struct ring *ring, uint32_t flags)
{
	struct io_uring_params *p = &ring->params;

	memset(ring, 0, sizeof(*ring));
	p->flags = flags;
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

void close_ring(struct ring *ring)
{
	munmap(ring->sqes, THREADS * sizeof(*ring->sqes));
	munmap(ring->rings, ring->size);
	close(ring->fd);
}

bool have_ring(void)
{
	struct ring ring;
	bool have = open_ring(&ring);

	if (ring.fd >= 0)
		close_ring(&ring);
	return have;
}

bool submit(struct ring *ring, struct io_uring_sqe sqe)
{
	uint32_t *tail = (void *)(ring->rings + ring->params.sq_off.tail);
	uint32_t *array = (void *)(ring->rings + ring->params.sq_off.array);
	uint32_t slot = *tail % THREADS, flags = 0;

	if (ring->params.flags & IORING_SETUP_SQPOLL)
		flags = IORING_ENTER_SQ_WAKEUP;
	ring->sqes[slot] = sqe;
	array[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	return syscall(__NR_io_uring_enter, ring->fd, 1, 0, flags, NULL, 0) == 1;
}

bool submit_poll(struct ring *ring, int fd, uint32_t flags)
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

bool submit_read(struct ring *ring, int fd, struct memfd_tripwire_range *range,
		 uint8_t flags)
{
	return submit(ring, (struct io_uring_sqe) {
		.opcode = IORING_OP_READ, .fd = fd, .flags = flags, .off = -1,
		.addr = (uintptr_t)range, .len = sizeof(*range), .user_data = (uintptr_t)range,
	});
}

/* One completion: 1, 0 if there is none within @timeout_ms, -1 with errno. */
int reap(struct ring *ring, struct io_uring_cqe *cqe, int timeout_ms)
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

int look_uring(int fd, int timeout_ms)
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
struct ring multishot;

int look_multishot(int fd, int timeout_ms)
{
	struct io_uring_cqe cqe;
	int ret = reap(&multishot, &cqe, timeout_ms);

	if (ret > 0 && (cqe.res != POLLIN || !(cqe.flags & IORING_CQE_F_MORE)))
		return -1;
	while (ret > 0 && reap(&multishot, &cqe, 0) > 0)
		;
	return ret;
}

__thread struct memfd_tripwire_range reported_range;

/*
 * One range, to @reported_range. It waits, for as long as it takes, without
 * O_NONBLOCK only.
 */
int look_read(int fd, int timeout_ms)
{
	ssize_t ret = read(fd, &reported_range, sizeof(reported_range));

	return ret == sizeof(reported_range) ? 1 : ret;
}

bool set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	return !fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

/* Until @of is @least, or patience ends. */
bool await_count(const int *of, int least)
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
bool await_sleep(pid_t tid)
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

void *sleep_once(void *data)
{
	struct sleeper *sleeper = data;

	__atomic_store_n(&sleeper->tid, gettid(), __ATOMIC_RELEASE);
	sleeper->notified = sleeper->look(sleeper->fd, PATIENCE_MS);
	sleeper->err = errno;
	sleeper->range = reported_range;
	__atomic_fetch_add(sleeper->ended, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Returns with the thread asleep. @ended counts those that are no longer. */
bool start_sleeper(struct sleeper *sleeper, int (*look)(int fd, int timeout_ms), int fd,
		   int *ended)
{
	*sleeper = (struct sleeper) { .look = look, .fd = fd, .ended = ended };
	return fd >= 0 && !pthread_create(&sleeper->thread, NULL, sleep_once, sleeper) &&
	       await_count(&sleeper->tid, 1) && await_sleep(sleeper->tid) && *ended == 0;
}

/* Only for one that has ended, or is about to. */
int result_of(struct sleeper *sleeper)
{
	pthread_join(sleeper->thread, NULL);
	return sleeper->notified;
}

int caught;

void catch_signal(int signal)
{
	__atomic_fetch_add(&caught, 1, __ATOMIC_RELEASE);
}

int handle_signal(int flags)
{
	struct sigaction action = { .sa_handler = catch_signal, .sa_flags = flags };

	return sigaction(SIGUSR1, &action, NULL);
}
