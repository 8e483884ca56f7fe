/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - benchmark: single paths of the kernel, one thread on one CPU
 *
 * Where QEMU counts instructions, which it then gives out as nanoseconds, these
 * numbers repeat from run to run.
 */
#ifndef SELFTEST_TRIPWIRE_BENCH_PATHS_H
#define SELFTEST_TRIPWIRE_BENCH_PATHS_H

#include <sys/eventfd.h>
#include "bench_rearm.h"

#define PATH_ROUNDS	300
#define PATH_WARM_UP	60
#define SOME_PAGES	64

/* What the paths go over. */
struct stage {
	struct area ack;	/* of one page, as are watch, uffd and plain */
	struct area watch;
	struct area some;	/* has room for SOME_PAGES far apart */
	struct area huge;
	struct area crowded;	/* with a watch on each of MOST_WATCHES pages */
	struct area uffd;
	struct area plain;
	int eventfd;
	uint64_t value;
};

struct path {
	const char *name;
	void (*prepare)(struct stage *stage);
	void (*go)(struct stage *stage);
};

static void prepare_nothing(struct stage *stage)
{
}

static void go_call(struct stage *stage)
{
	syscall(__NR_getppid);
}

static void go_store_ack(struct stage *stage)
{
	store(stage->ack.map, ++stage->value);
}

static void go_ack(struct stage *stage)
{
	rearm_by_ack(&stage->ack);
}

static void store_some(struct stage *stage, size_t stride)
{
	unsigned int i;

	stage->value++;
	for (i = 0; i < SOME_PAGES; i++)
		store(stage->some.map + i * stride, stage->value);
}

static void prepare_contiguous(struct stage *stage)
{
	store_some(stage, stage->some.page);
}

static void prepare_scattered(struct stage *stage)
{
	store_some(stage, HUGE);
}

static void go_some(struct stage *stage)
{
	rearm_by_ack(&stage->some);
}

static void go_store_watch(struct stage *stage)
{
	store(stage->watch.map, ++stage->value);
}

static void go_watch(struct stage *stage)
{
	rearm_by_watch(&stage->watch);
}

static void go_store_crowded(struct stage *stage)
{
	store(stage->crowded.map, ++stage->value);
}

static void go_crowded(struct stage *stage)
{
	rearm_by_watch(&stage->crowded);
}

static void go_store_huge(struct stage *stage)
{
	store(stage->huge.map, ++stage->value);
}

static void go_huge(struct stage *stage)
{
	rearm_by_ack(&stage->huge);
}

static void go_store_uffd(struct stage *stage)
{
	store(stage->uffd.map, ++stage->value);
}

static void go_uffd(struct stage *stage)
{
	rearm_by_uffd(&stage->uffd);
}

static void go_eventfd(struct stage *stage)
{
	uint64_t one = 1;

	if (write(stage->eventfd, &one, sizeof(one)) < 0 ||
	    read(stage->eventfd, &one, sizeof(one)) < 0)
		fail("eventfd");
}

static void prepare_hole(struct stage *stage)
{
	if (fallocate(stage->plain.memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		      stage->plain.page))
		fail("FALLOC_FL_PUNCH_HOLE");
}

static void go_store_plain(struct stage *stage)
{
	store(stage->plain.map, ++stage->value);
}

static void go_pwrite(struct stage *stage)
{
	if (pwrite(stage->plain.memory, "x", 1, 0) != 1)
		fail("pwrite");
}

static void go_fallocate(struct stage *stage)
{
	if (fallocate(stage->plain.memory, 0, 0, stage->plain.page))
		fail("fallocate");
}

static const struct path paths[] = {
	{ "null-system-call", prepare_nothing, go_call },
	{ "store-armed", go_ack, go_store_ack },
	{ "ack-1-page", go_store_ack, go_ack },
	{ "ack-64-contiguous", prepare_contiguous, go_some },
	{ "ack-64-scattered", prepare_scattered, go_some },
	{ "store-watched", go_watch, go_store_watch },
	{ "watch-read-1-page", go_store_watch, go_watch },
	{ "store-4096-watches", go_crowded, go_store_crowded },
	{ "watch-read-4096-watches", go_store_crowded, go_crowded },
	{ "store-huge", go_huge, go_store_huge },
	{ "ack-huge", go_store_huge, go_huge },
	{ "uffd-async-store", go_uffd, go_store_uffd },
	{ "uffd-writeprotect-1-page", go_store_uffd, go_uffd },
	{ "eventfd-write-read", prepare_nothing, go_eventfd },
};

/* Of a memfd that is no tripwire; a kernel without tripwires has these too. */
static const struct path plain_paths[] = {
	{ "memfd-fault", prepare_hole, go_store_plain },
	{ "memfd-pwrite-1-byte", prepare_nothing, go_pwrite },
	{ "memfd-fallocate-1-page", prepare_hole, go_fallocate },
};

static uint64_t none(struct area *area)
{
	return 0;
}

static void must_open(struct area *area, const struct tracker *tracker, size_t len,
		      size_t stride)
{
	const char *reason = open_area(area, tracker, len, stride);

	if (reason)
		fail_plainly("paths", reason);
}

static void open_plain_stage(struct stage *stage)
{
	static const struct tracker plain = { "plain", .begin = begin_nothing, .rearm = none };
	size_t page = getpagesize();

	must_open(&stage->plain, &plain, page, page);
}

static void open_stage(struct stage *stage)
{
	size_t page = getpagesize();
	unsigned int i;

	must_open(&stage->ack, tracker_named("tripwire-ack"), page, page);
	must_open(&stage->some, tracker_named("tripwire-ack"), SOME_PAGES * HUGE, HUGE);
	must_open(&stage->watch, tracker_named("tripwire-watch"), page, page);
	must_open(&stage->uffd, tracker_named("uffd-wp"), page, page);
	stage->eventfd = eventfd(0, EFD_CLOEXEC);
	if (stage->eventfd < 0)
		fail("eventfd");

	/* The first watch is that of the area. */
	must_open(&stage->crowded, tracker_named("tripwire-watch"), page, page);
	if (ftruncate(stage->crowded.memory, MOST_WATCHES * page))
		fail("ftruncate");
	for (i = 1; i < MOST_WATCHES; i++)
		must_watch(stage->crowded.memory, i * page, page, 0);

	if (!set_shmem_huge("always"))
		fail(SHMEM_HUGE);
	must_open(&stage->huge, tracker_named("tripwire-ack"), HUGE, HUGE);
	set_shmem_huge("inherit");
	if (!is_huge(stage->huge.map))
		fail_plainly("paths", "got no huge page");
}

static uint64_t median_of_path(const struct path *path, struct stage *stage, uint64_t clock)
{
	static struct samples took;
	uint64_t began, ns;
	int i;

	took.nr = 0;
	for (i = -PATH_WARM_UP; i < PATH_ROUNDS; i++) {
		path->prepare(stage);
		began = now_ns();
		path->go(stage);
		ns = now_ns() - began;
		if (i >= 0)
			add_sample(&took, ns > clock ? ns - clock : 0);
	}
	return median(took.value, took.nr);
}

static void bench_some_paths(const struct path *some, unsigned int nr, struct stage *stage)
{
	static const struct path nothing = { "nothing", prepare_nothing, prepare_nothing };
	uint64_t clock = median_of_path(&nothing, stage, 0);
	unsigned int i;

	for (i = 0; i < nr; i++)
		line("paths", some[i].name, "-", "cost",
		     median_of_path(&some[i], stage, clock), "ns");
}

static void bench_plain_paths(void)
{
	static struct stage stage;

	pin_to(0);
	open_plain_stage(&stage);
	bench_some_paths(plain_paths, ARRAY_SIZE(plain_paths), &stage);
}

static void bench_paths(void)
{
	static struct stage stage;

	pin_to(0);
	open_stage(&stage);
	bench_some_paths(paths, ARRAY_SIZE(paths), &stage);
}

#endif /* SELFTEST_TRIPWIRE_BENCH_PATHS_H */
