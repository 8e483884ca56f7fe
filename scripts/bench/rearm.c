// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - benchmark: re-arming by pages written, pages resident,
 * mapping processes and watches
 */

#include <limits.h>
#include <linux/futex.h>
#include "groups.h"
#include "tracker.h"

#define TIB		(MIB * 1024 * 1024)
#define REARM_NS	300000000ull	/* for one number of pages */
#define MOST_PAGES	65536
#define MOST_PROCESSES	64
#define MAPPINGS	65530		/* the default of vm.max_map_count */
#define SPARE		(256 * MIB)	/* memory that is left free */

static bool have_memory(uint64_t bytes)
{
	return number_in("/proc/meminfo", "MemAvailable:") * 1024ull >= bytes + SPARE;
}

static unsigned int rounds_for(unsigned long pages)
{
	return pages >= MOST_PAGES ? 5 : pages >= 4096 ? 11 : pages >= 64 ? 61 : 201;
}

/*
 * Write @pages, spread evenly and others in each round, and re-arm. The first
 * rounds warm up. After REARM_NS no further round begins, once there are four
 * samples.
 */
static void measure_rearm(const char *group, const struct tracker *tracker, struct area *area,
			  const char *parameter, unsigned long pages, unsigned int rounds)
{
	static struct samples stores, rearms;
	size_t stride = area->len / pages, at;
	uint64_t began, stored, done, found, start = now_ns(), enough = budget(REARM_NS);
	unsigned int round, warm_up = rounds < 50 ? rounds / 5 : 10;
	unsigned long i;
	bool exact;

	stores.nr = 0;
	rearms.nr = 0;
	for (round = 0; round < rounds && (stores.nr < 4 || now_ns() - start < enough); round++) {
		at = pseudo_random() % (stride / area->page) * area->page;
		/* In a sparse area, other pages would have to be allocated. */
		if (area->len == TIB)
			at = 0;
		began = now_ns();
		for (i = 0; i < pages; i++)
			store(area->map + at + i * stride, round);
		stored = now_ns();
		found = tracker->rearm(area);
		done = now_ns();
		/* Only a tripwire of small pages reports exactly. */
		exact = tracker->is_tripwire && !area->huge;
		if (tracker->reports && (found < pages || (exact && found > pages))) {
			fprintf(stderr, "bench: %s: %s: %llu pages were reported\n", tracker->name,
				parameter, (unsigned long long)found);
			_exit(1);
		}
		if (round < warm_up && (!round || done - start < enough / 4))
			continue;
		add_sample(&stores, (stored - began) / pages);
		add_sample(&rearms, done - stored);
	}
	line_median(group, tracker->name, parameter, "store", &stores, "ns/page");
	line_median(group, tracker->name, parameter, "rearm", &rearms, "ns");
}

static const char *size_name(uint64_t bytes)
{
	static char text[32];

	if (bytes == TIB)
		return "sparse-1TiB";
	snprintf(text, sizeof(text), "%lluMiB", (unsigned long long)(bytes / MIB));
	return text;
}

static void rearm_area(const char *group, const struct tracker *tracker, uint64_t len,
		       const unsigned long *pages)
{
	const char *reason = NULL;
	struct area area;
	char text[64];

	if (len == TIB && tracker->has_markers)
		reason = "its markers would take 2 GiB of page tables";
	else if (len != TIB && !have_memory(len))
		reason = "not enough memory";
	if (!reason)
		reason = open_area(&area, tracker, len, len == TIB ? TIB / 4096 : getpagesize());
	if (reason) {
		snprintf(text, sizeof(text), "resident=%s", size_name(len));
		skip(group, tracker->name, text, reason);
		return;
	}
	for (; *pages; pages++) {
		if (len / area.page < *pages)
			continue;
		snprintf(text, sizeof(text), "pages=%lu,resident=%s", *pages, size_name(len));
		if (len == TIB && *pages > 4096)
			skip(group, tracker->name, text, "page tables would take 256 MiB");
		else if (tracker->splits && 2 * *pages > MAPPINGS)
			skip(group, tracker->name, text, "it would need over 65,530 mappings");
		else
			measure_rearm(group, tracker, &area, text, *pages, rounds_for(*pages));
	}
	close_area(&area);
}

void bench_rearm(void)
{
	static const uint64_t lengths[] = { MIB, 16 * MIB, 256 * MIB, 1024 * MIB, TIB };
	static const unsigned long pages[] = { 1, 64, 4096, MOST_PAGES, 0 };
	unsigned int i, t;

	pin_to(0);
	for (i = 0; i < ARRAY_SIZE(lengths); i++)
		for (t = 0; t < NR_TRACKERS; t++)
			rearm_area("rearm", &trackers[t], lengths[i], pages);
}

/* Find one written page among many resident ones. */
void bench_report(void)
{
	static const unsigned long pages[] = { 1, 0 };
	uint64_t len = have_memory(1024 * MIB) ? 1024 * MIB : 256 * MIB;
	unsigned int t;

	pin_to(0);
	for (t = 0; t < NR_TRACKERS; t++)
		if (trackers[t].reports)
			rearm_area("report", &trackers[t], len, pages);
}

/* Shared by the mapping processes and their parent. */
struct crowd {
	uint32_t round;			/* a futex */
	uint32_t done;			/* a futex: processes that are done */
	int uffd[MOST_PROCESSES];
	uint64_t pages;
};

static void crowd_wait(uint32_t *futex, uint32_t value)
{
	struct timespec patience = { PATIENCE_NS / 1000000000, 0 };

	if (syscall(__NR_futex, futex, FUTEX_WAIT, value, &patience, NULL, 0) &&
	    errno != EAGAIN && errno != EINTR)
		fail("a mapping process");
}

static void be_mapper(struct crowd *crowd, int nr, const struct tracker *tracker,
		      struct area *area, uint32_t processes)
{
	uint32_t round, last = 0;
	uint64_t i;

	crowd->uffd[nr] = -1;
	for (i = 0; i < 64; i++)
		store(area->map + i * area->page, 1);
	if (tracker->has_markers && uffd_wp_open(&crowd->uffd[nr], area->map, area->len, true))
		_exit(1);
	for (;;) {
		if (__atomic_add_fetch(&crowd->done, 1, __ATOMIC_SEQ_CST) == processes)
			syscall(__NR_futex, &crowd->done, FUTEX_WAKE, 1, NULL, NULL, 0);
		while ((round = __atomic_load_n(&crowd->round, __ATOMIC_SEQ_CST)) == last)
			syscall(__NR_futex, &crowd->round, FUTEX_WAIT, last, NULL, NULL, 0);
		last = round;
		for (i = 0; i < crowd->pages; i++)
			store(area->map + i * area->page, round);
	}
}

static void await_crowd(struct crowd *crowd, uint32_t processes)
{
	uint32_t done;

	while ((done = __atomic_load_n(&crowd->done, __ATOMIC_SEQ_CST)) < processes)
		crowd_wait(&crowd->done, done);
}

/* Arming needs the userfaultfd of the process that maps the memory. */
static int fetch_fd(pid_t process, int fd)
{
	int pidfd = syscall(__NR_pidfd_open, process, 0);
	int fetched = pidfd < 0 ? -1 : syscall(__NR_pidfd_getfd, pidfd, fd, 0);

	if (fetched < 0)
		fail("pidfd_getfd");
	close(pidfd);
	return fetched;
}

static void measure_mappers(const struct tracker *tracker, uint32_t processes)
{
	static const unsigned long pages[] = { 1, 64 };
	struct crowd *crowd = shared_memory(sizeof(*crowd));
	pid_t process[MOST_PROCESSES];
	static struct samples rearms;
	int uffd[MOST_PROCESSES];
	unsigned int round, n, i;
	const char *reason;
	struct area area;
	uint64_t began;
	char text[64];

	reason = open_area(&area, tracker, 64 * getpagesize(), getpagesize());
	if (reason) {
		snprintf(text, sizeof(text), "processes=%u", processes);
		skip("mappers", tracker->name, text, reason);
		return;
	}
	for (i = 0; i < processes; i++) {
		process[i] = fork_child();
		if (process[i] < 0)
			fail("fork");
		if (!process[i])
			be_mapper(crowd, i, tracker, &area, processes);
	}
	await_crowd(crowd, processes);
	for (i = 0; tracker->has_markers && i < processes; i++)
		uffd[i] = fetch_fd(process[i], crowd->uffd[i]);

	for (n = 0; n < 2; n++) {
		rearms.nr = 0;
		crowd->pages = pages[n];
		for (round = 0; round < 60; round++) {
			__atomic_store_n(&crowd->done, 0, __ATOMIC_SEQ_CST);
			__atomic_add_fetch(&crowd->round, 1, __ATOMIC_SEQ_CST);
			syscall(__NR_futex, &crowd->round, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
			await_crowd(crowd, processes);
			began = now_ns();
			if (!tracker->has_markers)
				tracker->rearm(&area);
			for (i = 0; tracker->has_markers && i < processes; i++)
				uffd_protect(uffd[i], area.map, area.len, true);
			if (round >= 12)
				add_sample(&rearms, now_ns() - began);
		}
		snprintf(text, sizeof(text), "processes=%u,pages=%lu", processes, pages[n]);
		line_median("mappers", tracker->name, text, "rearm", &rearms, "ns");
	}
	for (i = 0; i < processes; i++) {
		kill(process[i], SIGKILL);
		waitpid(process[i], NULL, 0);
		if (tracker->has_markers)
			close(uffd[i]);
	}
	close_area(&area);
	munmap(crowd, sizeof(*crowd));
}

/* Every process has written; userfaultfd arms one process after the other. */
void bench_mappers(void)
{
	unsigned int processes, t;

	pin_to(0);
	for (t = 0; t < NR_TRACKERS; t++) {
		if (!trackers[t].is_tripwire && strcmp(trackers[t].name, "uffd-wp")) {
			skip("mappers", trackers[t].name, "processes", "each process would arm its own mapping");
			continue;
		}
		for (processes = 1; processes <= MOST_PROCESSES; processes *= 2)
			measure_mappers(&trackers[t], processes);
	}
}

static const char *open_sized_area(struct area *area, const struct tracker *tracker, bool huge)
{
	const char *reason;

	if (huge && !set_shmem_huge("always"))
		return "shared memory has no huge pages";
	reason = open_area(area, tracker, 16 * HUGE, huge ? HUGE : getpagesize());
	if (huge)
		set_shmem_huge("inherit");
	area->huge = huge;
	if (!reason && is_huge(area->map) != huge) {
		close_area(area);
		return huge ? "got no huge page, or it was split" : "got a huge page";
	}
	return reason;
}

/* The same number of stores, to as many pages of either size. */
void bench_huge(void)
{
	static const char * const sizes[] = { "4KiB", "2MiB" };
	static const unsigned long pages[] = { 1, 16 };
	const struct tracker *tracker;
	const char *reason;
	struct area area;
	unsigned int i, n;
	char text[64];

	pin_to(0);
	for (i = 0; i < 2 * NR_TRACKERS; i++) {
		tracker = &trackers[i / 2];
		reason = open_sized_area(&area, tracker, i % 2);
		snprintf(text, sizeof(text), "size=%s", sizes[i % 2]);
		if (reason)
			skip("huge", tracker->name, text, reason);
		for (n = 0; n < 2 && !reason; n++) {
			snprintf(text, sizeof(text), "pages=%lu,size=%s", pages[n], sizes[i % 2]);
			measure_rearm("huge", tracker, &area, text, pages[n], 101);
		}
		if (!reason)
			close_area(&area);
	}
}

static void measure_watches(unsigned int watches)
{
	static int watch[MOST_WATCHES];
	static struct samples stores, reads;
	struct memfd_tripwire_range range;
	size_t page = getpagesize(), len = MOST_WATCHES * page;
	uint64_t began, raised, done;
	unsigned int i, round;
	char text[32], *map;
	int fd;

	fd = tripwire_memfd(MEMFD_TRIPWIRE_WATCH_ONLY, len);
	map = must_map(fd, len);
	for (i = 0; i < MOST_WATCHES; i++)
		store(map + i * page, 1);
	for (i = 0; i < watches; i++)
		watch[i] = must_watch(fd, i * page, page, MEMFD_TRIPWIRE_WATCH_NONBLOCK);
	stores.nr = 0;
	reads.nr = 0;
	for (round = 0; round < 1200; round++) {
		i = pseudo_random() % watches;
		began = now_ns();
		store(map + i * page, round);
		raised = now_ns();
		if (read(watch[i], &range, sizeof(range)) != sizeof(range))
			fail_plainly("tripwire-watch", "a written page was not reported");
		done = now_ns();
		if (round < 200)
			continue;
		add_sample(&stores, raised - began);
		add_sample(&reads, done - raised);
	}
	snprintf(text, sizeof(text), "watches=%u", watches);
	line_median("watches", "tripwire-watch", text, "store", &stores, "ns");
	line_median("watches", "tripwire-watch", text, "read", &reads, "ns");
	for (i = 0; i < watches; i++)
		close(watch[i]);
	munmap(map, len);
	close(fd);
}

/* Disjoint watches of a page each; a store raises an event on one of them. */
void bench_watches(void)
{
	static const unsigned int watches[] = { 1, 16, 256, MOST_WATCHES };
	unsigned int i;

	pin_to(0);
	if (!have_tripwire()) {
		skip("watches", "tripwire-watch", "all", LACKS_TRIPWIRE);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(watches); i++)
		measure_watches(watches[i]);
}

