// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - benchmark: the baseline, and the memory of files and watches
 */

#include <sys/eventfd.h>
#include "bench_lib.h"
#include "groups.h"

#define BASELINE_ROUNDS	2000
#define OBJECTS		4000

/* For comparison: a clock read, an empty system call, an empty page fault. */
void bench_baseline(void)
{
	static struct samples call, clock, fault;
	size_t page = getpagesize();
	uint64_t began;
	char *anon;
	int i;

	pin_to(0);
	anon = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (anon == MAP_FAILED)
		fail("mmap");
	for (i = -BASELINE_ROUNDS / 5; i < BASELINE_ROUNDS; i++) {
		uint64_t ns[3];

		began = now_ns();
		ns[0] = now_ns() - began;

		began = now_ns();
		syscall(__NR_getppid);
		ns[1] = now_ns() - began;

		/* The fault maps the zero page: no allocation, no file. */
		if (madvise(anon, page, MADV_DONTNEED))
			fail("MADV_DONTNEED");
		began = now_ns();
		load(anon);
		ns[2] = now_ns() - began;
		if (i < 0)
			continue;
		add_sample(&clock, ns[0]);
		add_sample(&call, ns[1]);
		add_sample(&fault, ns[2]);
	}
	munmap(anon, page);
	line_median("baseline", "two-clock-reads", "-", "time", &clock, "ns");
	line_median("baseline", "null-system-call", "-", "time", &call, "ns");
	line_median("baseline", "empty-fault", "-", "time", &fault, "ns");
}

enum object { MEMFD, TRIPWIRE, EVENTFD, WATCH };

static int make_object(enum object kind, int memory)
{
	switch (kind) {
	case MEMFD:
		return memfd_create("plain", MFD_CLOEXEC);
	case TRIPWIRE:
		return memfd_tripwire(0);
	case EVENTFD:
		return eventfd(0, EFD_CLOEXEC);
	default:
		return add_watch(memory, 0, getpagesize(), 0);
	}
}

static void make_objects(int *fd, enum object kind, int memory)
{
	unsigned int i;

	for (i = 0; i < OBJECTS; i++) {
		fd[i] = make_object(kind, memory);
		if (fd[i] < 0)
			fail("too many files");
	}
}

/*
 * Bytes of slab for one object, to which nothing is written. The same number
 * of objects is made before: they use up the free slots in slabs and make the
 * table of descriptors grow.
 */
static double object_bytes(enum object kind, int memory)
{
	static int first[OBJECTS], fd[OBJECTS];
	unsigned long before, after;
	unsigned int i;

	make_objects(first, kind, memory);
	before = number_in("/proc/meminfo", "Slab:");
	make_objects(fd, kind, memory);
	after = number_in("/proc/meminfo", "Slab:");
	for (i = 0; i < OBJECTS; i++) {
		close(first[i]);
		close(fd[i]);
	}
	return (after - before) * 1024.0 / OBJECTS;
}

void bench_memory(void)
{
	static const struct { const char *name, *parameter; enum object kind; } objects[] = {
		{ "memfd", "file", MEMFD },
		{ "eventfd", "file", EVENTFD },
		{ "tripwire", "file", TRIPWIRE },
		{ "tripwire", "watch", WATCH },
	};
	unsigned int i;
	int memory;

	if (!have_tripwire()) {
		skip("memory", "tripwire", "file", "this kernel has no memfd_tripwire()");
		return;
	}
	memory = tripwire_memfd(MEMFD_TRIPWIRE_WATCH_ONLY, getpagesize());
	for (i = 0; i < ARRAY_SIZE(objects); i++)
		line("memory", objects[i].name, objects[i].parameter, "slab",
		     object_bytes(objects[i].kind, memory), "bytes");
	close(memory);
}

