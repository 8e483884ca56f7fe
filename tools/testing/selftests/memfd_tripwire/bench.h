/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - what the parts of the benchmark share: lines, samples, clocks
 */
#ifndef SELFTEST_TRIPWIRE_BENCH_H
#define SELFTEST_TRIPWIRE_BENCH_H

#include <sched.h>
#include <sys/wait.h>
#include "kselftest.h"
#include "lib/tripwire.h"

#define MAX_SAMPLES	4096
#define PATIENCE_NS	5000000000ull	/* a doorbell that takes longer is lost */
#define MIB		(1024 * 1024ull)

/* What is repeated; the parts of it that warm up are never put in. */
struct samples {
	unsigned int nr;
	unsigned int ended;	/* the samples of the repetitions that are over */
	uint64_t low;		/* the least median of a repetition */
	uint64_t high;		/* the greatest */
	uint64_t value[MAX_SAMPLES];
};

/* What something cost the thread that did it. */
struct usage {
	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t calls;
	uint64_t faults;
};

static __thread uint64_t calls;

/* What is being measured, for when it hangs. */
static const char *at_work = "nothing";

/* System calls are counted where they are made. */
#define counted(call)	(calls++, (call))

static void fail(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void fail_plainly(const char *who, const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", who, what);
	_exit(1);
}

/* Whether a nanosecond of this machine stands for an instruction. */
static bool counts_instructions;

/* What repeats exactly need not be repeated as often. */
static uint64_t budget(uint64_t ns)
{
	return counts_instructions ? ns / 4 : ns;
}

/*
 * The output: bench, group, mechanism, parameter, metric, value and unit, with tabs
 * between them; or, for what this kernel or machine lacks, skip, - and the reason.
 */
static void line(const char *group, const char *mechanism, const char *parameter,
		 const char *metric, double value, const char *unit)
{
	bool counted = counts_instructions && !strncmp(unit, "ns", 2);

	printf("bench\t%s\t%s\t%s\t%s\t%.*f\t%s%s\n", group, mechanism, parameter, metric,
	       value < 100 ? 3 : 0, value, counted ? "instructions" : "",
	       counted ? unit + 2 : unit);
}

static void skip(const char *group, const char *mechanism, const char *parameter,
		 const char *reason)
{
	printf("bench\t%s\t%s\t%s\tskip\t-\t%s\n", group, mechanism, parameter, reason);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_values(uint64_t *value, unsigned int nr)
{
	qsort(value, nr, sizeof(*value), by_value);
}

static uint64_t median(uint64_t *value, unsigned int nr)
{
	sort_values(value, nr);
	return nr ? value[nr / 2] : 0;
}

/* Of sorted samples, by nearest rank. */
static uint64_t quantile(const struct samples *samples, double part)
{
	unsigned int rank = part * samples->nr;

	return samples->nr ? samples->value[rank < samples->nr ? rank : samples->nr - 1] : 0;
}

static void add_sample(struct samples *samples, uint64_t value)
{
	if (samples->nr < MAX_SAMPLES)
		samples->value[samples->nr++] = value;
}

/* The median, and the distance between the quartiles in percent of it. */
static void line_median(const char *group, const char *mechanism, const char *parameter,
			const char *metric, struct samples *samples, const char *unit)
{
	char spread[64];
	uint64_t middle;

	sort_values(samples->value, samples->nr);
	middle = quantile(samples, 0.5);
	line(group, mechanism, parameter, metric, middle, unit);
	snprintf(spread, sizeof(spread), "%s-spread", metric);
	line(group, mechanism, parameter, spread,
	     100.0 * (quantile(samples, 0.75) - quantile(samples, 0.25)) / (middle ?: 1), "%");
}

/* What was added since the last one is of one repetition. */
static void end_repetition(struct samples *samples)
{
	uint64_t middle = median(samples->value + samples->ended, samples->nr - samples->ended);

	if (!samples->ended || middle < samples->low)
		samples->low = middle;
	if (!samples->ended || middle > samples->high)
		samples->high = middle;
	samples->ended = samples->nr;
}

/* The percentiles, and how far the medians of the repetitions lie apart, in percent. */
static void line_percentiles(const char *group, const char *mechanism, const char *parameter,
			     struct samples *samples)
{
	uint64_t middle;

	sort_values(samples->value, samples->nr);
	middle = quantile(samples, 0.5);
	line(group, mechanism, parameter, "p50", middle, "ns");
	line(group, mechanism, parameter, "p99", quantile(samples, 0.99), "ns");
	/* Of fewer it would be the worst one. */
	if (samples->nr >= 2000)
		line(group, mechanism, parameter, "p99.9", quantile(samples, 0.999), "ns");
	line(group, mechanism, parameter, "spread",
	     100.0 * (samples->high - samples->low) / (middle ?: 1), "%");
	line(group, mechanism, parameter, "samples", samples->nr, "samples");
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static uint64_t thread_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static void begin_usage(struct usage *usage)
{
	usage->faults = thread_faults();
	usage->calls = calls;
	usage->cpu_ns = cpu_ns();
	usage->wall_ns = now_ns();
}

static void end_usage(struct usage *usage)
{
	usage->wall_ns = now_ns() - usage->wall_ns;
	usage->cpu_ns = cpu_ns() - usage->cpu_ns;
	usage->calls = calls - usage->calls;
	usage->faults = thread_faults() - usage->faults;
}

static unsigned int cpus(void)
{
	static long nr;

	if (!nr)
		nr = sysconf(_SC_NPROCESSORS_ONLN);
	return nr > 1 ? nr : 1;
}

/* The producer has the first CPU; the consumer the second, if there is one. */
static void pin_to(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % cpus(), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
}

/* While waiting for another process by looking at memory. */
static inline void relax(void)
{
	if (cpus() == 1)
		sched_yield();
#if defined(__x86_64__)
	else
		__builtin_ia32_pause();
#endif
}

static void sleep_ns(uint64_t ns)
{
	struct timespec ts = { ns / 1000000000, ns % 1000000000 };

	nanosleep(&ts, NULL);
}

static void spin_ns(uint64_t ns)
{
	uint64_t until = now_ns() + ns;

	while (now_ns() < until)
		;
}

/* Numbers that are the same in every run. */
static uint32_t random_word(void)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return state >> 8;
}

/* The number behind @key in a file like /proc/meminfo, or 0. */
static unsigned long number_in(const char *path, const char *key)
{
	unsigned long number = 0;
	char text[256];
	FILE *file = fopen(path, "r");

	while (file && fgets(text, sizeof(text), file))
		if (!strncmp(text, key, strlen(key)))
			number += strtoul(text + strlen(key), NULL, 10);
	if (file)
		fclose(file);
	return number;
}

static void *must_map(int fd, size_t len)
{
	void *map = map_shared(fd, len);

	if (map == MAP_FAILED)
		fail("mmap");
	return map;
}

/* Shared with the children, and nobody's doorbell. */
static void *shared_memory(size_t len)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		fail("mmap");
	return map;
}

static int plain_memfd(size_t len)
{
	int fd = memfd_create("plain", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, len))
		fail("memfd_create");
	return fd;
}

static int tripwire_memfd(unsigned int flags, size_t len)
{
	int fd = memfd_tripwire(flags);

	if (fd < 0 || ftruncate(fd, len))
		fail("memfd_tripwire");
	return fd;
}

static int must_watch(int fd, uint64_t offset, uint64_t len, unsigned int flags)
{
	int watch = add_watch(fd, offset, len, flags);

	if (watch < 0)
		fail("MEMFD_TRIPWIRE_WATCH");
	return watch;
}

#endif /* SELFTEST_TRIPWIRE_BENCH_H */
