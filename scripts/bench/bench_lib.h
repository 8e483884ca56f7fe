/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - what the benchmark programs share: output, samples, clocks
 */
#ifndef BENCH_LIB_H
#define BENCH_LIB_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/memfd_tripwire.h>
#include <linux/userfaultfd.h>

#ifndef __NR_memfd_tripwire
# ifdef __alpha__
#  define __NR_memfd_tripwire	583
# else
#  define __NR_memfd_tripwire	473
# endif
#endif

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#define MAX_SAMPLES		4096
#define MAX_REPORTS		256		/* ranges of one read(2) */
#define PATIENCE_NS		5000000000ull	/* a later doorbell is lost */
#define MIB			(1024 * 1024ull)
#define LACKS_TRIPWIRE		"this kernel has no memfd_tripwire()"

/**
 * struct samples - the values of one repeated measurement, warm-up excluded
 * @nr: number of values
 * @ended: number of values that belong to finished repetitions
 * @low: least median of a repetition
 * @high: greatest median of a repetition
 * @value: the samples, in ns or the caller's unit
 */
struct samples {
	unsigned int nr;
	unsigned int ended;
	uint64_t low;
	uint64_t high;
	uint64_t value[MAX_SAMPLES];
};

/**
 * struct usage - the cost of an activity to its thread
 * @wall_ns: time from begin_usage() to end_usage()
 * @cpu_ns: CPU time of the thread
 * @calls: system calls made through counted()
 * @faults: page faults of the thread
 */
struct usage {
	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t calls;
	uint64_t faults;
};

/* The ranges that one read(2) of a watch returned. */
struct reports {
	int nr;
	struct memfd_tripwire_range range[MAX_REPORTS];
};

extern __thread uint64_t calls;		/* system calls of this thread */
extern const char *at_work;		/* the mechanism under test */
extern bool counts_instructions;	/* a nanosecond is an instruction */

/* Count a system call where it is made. */
#define counted(call)	(calls++, (call))

void fail(const char *what) __attribute__((noreturn));
void fail_plainly(const char *subject, const char *what) __attribute__((noreturn));

/* Output. bench_lib.c describes the format. */
void line(const char *group, const char *mechanism, const char *parameter,
	  const char *metric, double value, const char *unit);
void line_median(const char *group, const char *mechanism, const char *parameter,
		 const char *metric, struct samples *samples, const char *unit);
void line_percentiles(const char *group, const char *mechanism, const char *parameter,
		      struct samples *samples);
void skip(const char *group, const char *mechanism, const char *parameter,
	  const char *reason);

/* Samples. */
void add_sample(struct samples *samples, uint64_t value);
void end_repetition(struct samples *samples);
void sort_values(uint64_t *value, unsigned int nr);
uint64_t median(uint64_t *value, unsigned int nr);
uint64_t quantile(const struct samples *samples, double part);

/* Clocks and the machine. */
uint64_t budget(uint64_t ns);
uint64_t thread_faults(void);
void begin_usage(struct usage *usage);
void end_usage(struct usage *usage);
unsigned int cpus(void);
void pin_to(unsigned int cpu);
void sleep_ns(uint64_t ns);
void spin_ns(uint64_t ns);
uint32_t pseudo_random(void);
unsigned long number_in(const char *path, const char *key);
int write_text(const char *path, const char *text);
pid_t fork_child(void);

/* Memory and watches. */
void *must_map(int fd, size_t len);
void *shared_memory(size_t len);
int plain_memfd(size_t len);
int tripwire_memfd(unsigned int flags, size_t len);
bool have_tripwire(void);
int add_watch(int fd, uint64_t offset, uint64_t len, unsigned int flags);
int must_watch(int fd, uint64_t offset, uint64_t len, unsigned int flags);

/* Inline, because these run inside the measured intervals. */

static inline int memfd_tripwire(unsigned int flags)
{
	return syscall(__NR_memfd_tripwire, flags);
}

static inline int ack(int fd)
{
	return ioctl(fd, MEMFD_TRIPWIRE_ACK, 0);
}

/* Wait for an event for @timeout_ms at most; 0 looks once. */
static inline bool pending_within(int fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) == 1 && (pfd.revents & POLLIN);
}

/* One read(2) of up to @room ranges: returns their number, or -1 with errno. */
static inline int read_reports(int watch, struct reports *reports, int room)
{
	ssize_t got = read(watch, reports->range, room * sizeof(reports->range[0]));

	reports->nr = got < 0 ? 0 : got / sizeof(reports->range[0]);
	return got < 0 ? -1 : reports->nr;
}

static inline void store(void *where, uint64_t value)
{
	__atomic_store_n((uint64_t *)where, value, __ATOMIC_RELEASE);
}

static inline uint64_t load(const void *where)
{
	return __atomic_load_n((const uint64_t *)where, __ATOMIC_ACQUIRE);
}

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* Between two loads from memory that another process writes. */
static inline void relax(void)
{
	if (cpus() == 1)
		sched_yield();
#if defined(__x86_64__)
	else
		__builtin_ia32_pause();
#endif
}

#endif /* BENCH_LIB_H */
