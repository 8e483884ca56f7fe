/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - sources of events, ways to wait for them, io_uring, sleeping
 * threads
 */
#ifndef SELFTEST_TRIPWIRE_EVENT_LOOP_H
#define SELFTEST_TRIPWIRE_EVENT_LOOP_H

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/uio.h>
#include <linux/io_uring.h>
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

struct ring {
	int fd;
	char *rings;
	size_t size;
	struct io_uring_sqe *sqes;
	struct io_uring_params params;
};

/* A thread that waits once. */
struct sleeper {
	int (*look)(int fd, int timeout_ms);
	int fd;
	int tid;
	int notified;
	int err;
	struct memfd_tripwire_range range;
	int *ended;
	pthread_t thread;
};

int watch_source(const struct source *s, unsigned int flags, int eventfd, int page, int pages);
bool open_source(struct source *s, enum kind kind);
void close_source(struct source *s);
void store_page(const struct source *s, int page);
bool write_to(int fd, int page);
bool take(const struct source *s);
int look_poll(int fd, int timeout_ms);
int look_ppoll(int fd, int timeout_ms);
int look_select(int fd, int timeout_ms);
int look_epoll(int fd, int timeout_ms);
int nest(int fd, uint32_t events);
bool open_ring(struct ring *ring);
bool open_ring_with(struct ring *ring, uint32_t flags);
void close_ring(struct ring *ring);
bool have_ring(void);
bool submit(struct ring *ring, struct io_uring_sqe sqe);
bool submit_poll(struct ring *ring, int fd, uint32_t flags);
bool submit_read(struct ring *ring, int fd, struct memfd_tripwire_range *range,
		 uint8_t flags);
int reap(struct ring *ring, struct io_uring_cqe *cqe, int timeout_ms);
int look_uring(int fd, int timeout_ms);
extern struct ring multishot;
int look_multishot(int fd, int timeout_ms);
extern __thread struct memfd_tripwire_range reported_range;
int look_read(int fd, int timeout_ms);
bool set_nonblock(int fd, bool on);
bool await_count(const int *of, int least);
bool await_sleep(pid_t tid);
void *sleep_once(void *data);
bool start_sleeper(struct sleeper *sleeper, int (*look)(int fd, int timeout_ms), int fd,
		   int *ended);
int result_of(struct sleeper *sleeper);
extern int caught;
void catch_signal(int signal);
int handle_signal(int flags);

#endif /* SELFTEST_TRIPWIRE_EVENT_LOOP_H */
