// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - what the benchmark programs share: output, samples, clocks
 */
#include "bench_lib.h"

__thread uint64_t calls;
const char *at_work = "nothing";
bool counts_instructions;

void fail(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	_exit(1);
}

void fail_plainly(const char *subject, const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", subject, what);
	_exit(1);
}

/* Instruction counts repeat exactly: a quarter of the time is enough. */
uint64_t budget(uint64_t ns)
{
	return counts_instructions ? ns / 4 : ns;
}

/*
 * The output: bench, group, mechanism, parameter, metric, value and unit,
 * separated by tabs. A measurement that this kernel or machine does not
 * support has the metric 'skip', the value '-' and the reason in the place of
 * the unit.
 */
void line(const char *group, const char *mechanism, const char *parameter,
	  const char *metric, double value, const char *unit)
{
	bool counted = counts_instructions && !strncmp(unit, "ns", 2);

	printf("bench\t%s\t%s\t%s\t%s\t%.*f\t%s%s\n", group, mechanism, parameter, metric,
	       value < 100 ? 3 : 0, value, counted ? "instructions" : "",
	       counted ? unit + 2 : unit);
}

void skip(const char *group, const char *mechanism, const char *parameter,
	  const char *reason)
{
	printf("bench\t%s\t%s\t%s\tskip\t-\t%s\n", group, mechanism, parameter, reason);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void sort_values(uint64_t *value, unsigned int nr)
{
	qsort(value, nr, sizeof(*value), by_value);
}

uint64_t median(uint64_t *value, unsigned int nr)
{
	sort_values(value, nr);
	return nr ? value[nr / 2] : 0;
}

/* Of sorted samples, by nearest rank. */
uint64_t quantile(const struct samples *samples, double part)
{
	unsigned int rank = part * samples->nr;

	return samples->nr ? samples->value[rank < samples->nr ? rank : samples->nr - 1] : 0;
}

void add_sample(struct samples *samples, uint64_t value)
{
	if (samples->nr < MAX_SAMPLES)
		samples->value[samples->nr++] = value;
}

/* The median, and the distance between the quartiles in percent of it. */
void line_median(const char *group, const char *mechanism, const char *parameter,
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

/* The samples added since the last call are one repetition. */
void end_repetition(struct samples *samples)
{
	uint64_t middle = median(samples->value + samples->ended, samples->nr - samples->ended);

	if (!samples->ended || middle < samples->low)
		samples->low = middle;
	if (!samples->ended || middle > samples->high)
		samples->high = middle;
	samples->ended = samples->nr;
}

/* Percentiles, and the range of the repetitions' medians in percent of p50. */
void line_percentiles(const char *group, const char *mechanism, const char *parameter,
		      struct samples *samples)
{
	uint64_t middle;

	sort_values(samples->value, samples->nr);
	middle = quantile(samples, 0.5);
	line(group, mechanism, parameter, "p50", middle, "ns");
	line(group, mechanism, parameter, "p99", quantile(samples, 0.99), "ns");
	/* With fewer samples this would be about the maximum. */
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

uint64_t thread_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

void begin_usage(struct usage *usage)
{
	usage->faults = thread_faults();
	usage->calls = calls;
	usage->cpu_ns = cpu_ns();
	usage->wall_ns = now_ns();
}

void end_usage(struct usage *usage)
{
	usage->wall_ns = now_ns() - usage->wall_ns;
	usage->cpu_ns = cpu_ns() - usage->cpu_ns;
	usage->calls = calls - usage->calls;
	usage->faults = thread_faults() - usage->faults;
}

unsigned int cpus(void)
{
	static long nr;

	if (!nr)
		nr = sysconf(_SC_NPROCESSORS_ONLN);
	return nr > 1 ? nr : 1;
}

/* The producer runs on CPU 0; the consumer on CPU 1, if there is one. */
void pin_to(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % cpus(), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
}

void sleep_ns(uint64_t ns)
{
	struct timespec ts = { ns / 1000000000, ns % 1000000000 };

	nanosleep(&ts, NULL);
}

void spin_ns(uint64_t ns)
{
	uint64_t until = now_ns() + ns;

	while (now_ns() < until)
		;
}

/* Numbers that are the same in every run. */
uint32_t pseudo_random(void)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return state >> 8;
}

/* The sum of the numbers after @key in a file like /proc/meminfo, or 0. */
unsigned long number_in(const char *path, const char *key)
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

void *must_map(int fd, size_t len)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		fail("mmap");
	return map;
}

/* Anonymous memory that is shared with the children; not for doorbells. */
void *shared_memory(size_t len)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		fail("mmap");
	return map;
}

int plain_memfd(size_t len)
{
	int fd = memfd_create("plain", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, len))
		fail("memfd_create");
	return fd;
}

int tripwire_memfd(unsigned int flags, size_t len)
{
	int fd = memfd_tripwire(flags);

	if (fd < 0 || ftruncate(fd, len))
		fail("memfd_tripwire");
	return fd;
}

int must_watch(int fd, uint64_t offset, uint64_t len, unsigned int flags)
{
	int watch = add_watch(fd, offset, len, flags);

	if (watch < 0)
		fail("MEMFD_TRIPWIRE_WATCH");
	return watch;
}

/* Only a tripwire has the ACK: the number may be that of another call. */
bool have_tripwire(void)
{
	int fd = memfd_tripwire(0);
	bool have = fd >= 0 && !ack(fd);

	if (fd >= 0)
		close(fd);
	return have;
}

/* fork(2) of a child that dies with its parent. */
pid_t fork_child(void)
{
	pid_t parent = getpid(), child = fork();

	if (!child && (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent))
		_exit(1);
	return child;
}

/* Returns 0, or -1 if @path does not exist, is read-only, or rejects @text. */
int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t written;

	if (fd < 0)
		return -1;
	written = write(fd, text, strlen(text));
	close(fd);
	return written < 0 ? -1 : 0;
}

/* Returns the watch fd, or -1 with errno. */
int add_watch(int fd, uint64_t offset, uint64_t len, unsigned int flags)
{
	struct memfd_tripwire_watch watch = {
		.flags = flags, .eventfd = -1, .offset = offset, .len = len,
	};

	return ioctl(fd, MEMFD_TRIPWIRE_WATCH, &watch);
}
