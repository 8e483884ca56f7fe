// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - benchmark: single paths of the kernel, one thread on one CPU
 *
 * Where QEMU counts instructions and its clock shows them as nanoseconds,
 * these numbers are the same in every run. Each path has a process of its own,
 * because a fault takes longer with more mappings to search.
 */

#include <sys/eventfd.h>
#include "groups.h"
#include "tracker.h"

#define PATH_ROUNDS	300
#define PATH_WARM_UP	60
#define PROFILE_ROUNDS	4
#define SOME_PAGES	64

/* The memory, or the eventfd, that a path uses. */
struct stage {
	struct area area;
	int eventfd;
	uint64_t value;
};

struct path {
	const char *name;
	bool profiled;
	void (*open)(struct stage *stage);
	void (*prepare)(struct stage *stage);
	void (*go)(struct stage *stage);
};

static void do_nothing(struct stage *stage)
{
}

static void must_open(struct area *area, const struct tracker *tracker, size_t len,
		      size_t stride)
{
	const char *reason = open_area(area, tracker, len, stride);

	if (reason)
		fail_plainly("paths", reason);
}

static void open_page(struct stage *stage, const struct tracker *tracker)
{
	must_open(&stage->area, tracker, getpagesize(), getpagesize());
}

static void open_ack_page(struct stage *stage)
{
	open_page(stage, tracker_named("tripwire-ack"));
}

static void open_watch_page(struct stage *stage)
{
	open_page(stage, tracker_named("tripwire-watch"));
}

static void open_uffd_page(struct stage *stage)
{
	open_page(stage, tracker_named("uffd-wp"));
}

/* Room for SOME_PAGES pages with a page table each. */
static void open_some(struct stage *stage)
{
	must_open(&stage->area, tracker_named("tripwire-ack"), SOME_PAGES * HUGE, HUGE);
}

/* A watch on each of MOST_WATCHES pages; the first is that of the area. */
static void open_crowded(struct stage *stage)
{
	size_t page = getpagesize();
	unsigned int i;

	open_watch_page(stage);
	if (ftruncate(stage->area.memory, MOST_WATCHES * page))
		fail("ftruncate");
	for (i = 1; i < MOST_WATCHES; i++)
		must_watch(stage->area.memory, i * page, page, 0);
}

static void open_huge(struct stage *stage)
{
	if (!set_shmem_huge("always"))
		fail(SHMEM_HUGE);
	must_open(&stage->area, tracker_named("tripwire-ack"), HUGE, HUGE);
	set_shmem_huge("inherit");
	if (!is_huge(stage->area.map))
		fail_plainly("paths", "got no huge page");
}

static void open_eventfd_alone(struct stage *stage)
{
	stage->eventfd = eventfd(0, EFD_CLOEXEC);
	if (stage->eventfd < 0)
		fail("eventfd");
}

static uint64_t none(struct area *area)
{
	return 0;
}

static void open_plain_page(struct stage *stage)
{
	static const struct tracker plain = { "plain", .begin = begin_nothing, .rearm = none };

	open_page(stage, &plain);
}

static void go_call(struct stage *stage)
{
	syscall(__NR_getppid);
}

static void go_store(struct stage *stage)
{
	store(stage->area.map, ++stage->value);
}

static void store_some(struct stage *stage, size_t stride)
{
	unsigned int i;

	stage->value++;
	for (i = 0; i < SOME_PAGES; i++)
		store(stage->area.map + i * stride, stage->value);
}

static void store_contiguous(struct stage *stage)
{
	store_some(stage, stage->area.page);
}

static void store_scattered(struct stage *stage)
{
	store_some(stage, HUGE);
}

static void go_ack(struct stage *stage)
{
	rearm_by_ack(&stage->area);
}

static void go_watch(struct stage *stage)
{
	rearm_by_watch(&stage->area);
}

static void go_uffd(struct stage *stage)
{
	rearm_by_uffd(&stage->area);
}

static void go_eventfd(struct stage *stage)
{
	uint64_t one = 1;

	if (write(stage->eventfd, &one, sizeof(one)) < 0 ||
	    read(stage->eventfd, &one, sizeof(one)) < 0)
		fail("eventfd");
}

static void punch_hole(struct stage *stage)
{
	if (fallocate(stage->area.memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		      stage->area.page))
		fail("FALLOC_FL_PUNCH_HOLE");
}

static void go_pwrite(struct stage *stage)
{
	if (pwrite(stage->area.memory, "x", 1, 0) != 1)
		fail("pwrite");
}

static void go_fallocate(struct stage *stage)
{
	if (fallocate(stage->area.memory, 0, 0, stage->area.page))
		fail("fallocate");
}

static const struct path paths[] = {
	{ "null-system-call", false, do_nothing, do_nothing, go_call },
	{ "store-armed", true, open_ack_page, go_ack, go_store },
	{ "store-watched", true, open_watch_page, go_watch, go_store },
	{ "uffd-async-store", true, open_uffd_page, go_uffd, go_store },
	{ "store-4096-watches", false, open_crowded, go_watch, go_store },
	{ "store-huge", true, open_huge, go_ack, go_store },
	{ "ack-1-page", true, open_ack_page, go_store, go_ack },
	{ "watch-read-1-page", true, open_watch_page, go_store, go_watch },
	{ "watch-read-4096-watches", false, open_crowded, go_store, go_watch },
	{ "ack-huge", true, open_huge, go_store, go_ack },
	{ "ack-64-contiguous", true, open_some, store_contiguous, go_ack },
	{ "ack-64-scattered", true, open_some, store_scattered, go_ack },
	{ "uffd-writeprotect-1-page", true, open_uffd_page, go_store, go_uffd },
	{ "eventfd-write-read", true, open_eventfd_alone, do_nothing, go_eventfd },
};

/* Paths of a plain memfd, which a kernel without tripwires has too. */
static const struct path plain_paths[] = {
	{ "memfd-fault", false, open_plain_page, punch_hole, go_store },
	{ "memfd-pwrite-1-byte", false, open_plain_page, do_nothing, go_pwrite },
	{ "memfd-fallocate-1-page", false, open_plain_page, punch_hole, go_fallocate },
};

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

static void measure_path(const struct path *path, struct stage *stage)
{
	static const struct path nothing = { .prepare = do_nothing, .go = do_nothing };
	uint64_t clock = median_of_path(&nothing, stage, 0);

	line("paths", path->name, "-", "cost", median_of_path(path, stage, clock), "ns");
}

/* geteuid(2), which nothing else here calls, marks the ends of a path. */
static void mark_path(const struct path *path, struct stage *stage)
{
	int i;

	for (i = -PROFILE_ROUNDS; i < PROFILE_ROUNDS; i++) {
		path->prepare(stage);
		if (i >= 0)
			syscall(__NR_geteuid);
		path->go(stage);
		if (i >= 0)
			syscall(__NR_geteuid);
	}
}

static void run_path(const struct path *path,
		     void (*run)(const struct path *path, struct stage *stage))
{
	static struct stage stage;
	pid_t child = fork_child();
	int status;

	if (child < 0)
		fail("fork");
	if (!child) {
		pin_to(0);
		path->open(&stage);
		run(path, &stage);
		exit(0);
	}
	if (waitpid(child, &status, 0) != child || status)
		fail_plainly(path->name, "failed");
}

void bench_plain_paths(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(plain_paths); i++)
		run_path(&plain_paths[i], measure_path);
}

void bench_paths(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(paths); i++)
		run_path(&paths[i], measure_path);
}

/*
 * Repeat the paths until QEMU, which logs each instruction, is ended. getuid(2)
 * marks the beginning of a turn, getgid(2) the step to the next path.
 */
void bench_profile(void)
{
	unsigned int i;

	alarm(0);
	for (i = 0; i < ARRAY_SIZE(paths); i++)
		if (paths[i].profiled)
			line("profile", paths[i].name, "-", "path", i, "of all");
	printf("# profile: ready\n");
	while (syscall(__NR_getuid) >= 0) {
		for (i = 0; i < ARRAY_SIZE(paths); i++) {
			if (!paths[i].profiled)
				continue;
			run_path(&paths[i], mark_path);
			syscall(__NR_getgid);
		}
	}
}

