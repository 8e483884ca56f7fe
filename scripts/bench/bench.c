// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - benchmark: its cost and that of the alternatives
 *
 * bench [group...]	run these groups; by default all but the paths
 * bench -i [group...]	the same, where a nanosecond stands for an instruction
 *
 * bench_lib.c describes the output. The status is not 0 after a lost doorbell
 * or a group that hangs.
 */

#include "bench_lib.h"
#include "groups.h"

#define GROUP_SECONDS	300

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "baseline", bench_baseline },
	{ "doorbell", bench_doorbell },
	{ "held", bench_held },
	{ "roundtrip", bench_roundtrip },
	{ "rate", bench_rate },
	{ "ring", bench_ring },
	{ "rearm", bench_rearm },
	{ "report", bench_report },
	{ "mappers", bench_mappers },
	{ "watches", bench_watches },
	{ "huge", bench_huge },
	{ "memory", bench_memory },
	{ "paths", bench_paths },
	{ "plain-paths", bench_plain_paths },
	{ "profile", bench_profile },
};

#define NR_GROUPS	ARRAY_SIZE(groups)
#define NR_BY_DEFAULT	(NR_GROUPS - 3)	/* without the paths */

static void on_alarm(int signal)
{
	char said[128];

	/* The children die with this process. */
	snprintf(said, sizeof(said), "it hangs, or takes over %d s", GROUP_SECONDS);
	fail_plainly(at_work, said);
}

/* In a child: the cost of soft-dirty grows with all the memory of a process. */
static void run_group(unsigned int i)
{
	uint64_t began = now_ns();
	pid_t child = fork_child();
	int status;

	if (child < 0)
		fail("fork");
	if (!child) {
		signal(SIGALRM, on_alarm);
		alarm(GROUP_SECONDS);
		groups[i].run();
		exit(0);
	}
	if (waitpid(child, &status, 0) != child || status) {
		fprintf(stderr, "bench: %s failed\n", groups[i].name);
		exit(1);
	}
	printf("# %s took %.1f s\n", groups[i].name, (now_ns() - began) / 1e9);
}

static void run_named(const char *name)
{
	unsigned int i;

	for (i = 0; i < NR_GROUPS; i++) {
		if (!strcmp(name, groups[i].name)) {
			run_group(i);
			return;
		}
	}
	fprintf(stderr, "bench: there is no group %s\n", name);
	exit(2);
}

static void allow_files(void)
{
	struct rlimit limit = { 16384, 16384 };

	if (setrlimit(RLIMIT_NOFILE, &limit))
		fail("RLIMIT_NOFILE");
}

int main(int argc, char **argv)
{
	unsigned int i;

	setlinebuf(stdout);
	allow_files();
	printf("# %u CPUs, %lu MiB free, pages of %d bytes\n", cpus(),
	       number_in("/proc/meminfo", "MemAvailable:") / 1024, getpagesize());
	if (argc > 1 && !strcmp(argv[1], "-i")) {
		counts_instructions = true;
		argv++;
		argc--;
	}
	if (argc == 1)
		for (i = 0; i < NR_BY_DEFAULT; i++)
			run_group(i);
	for (i = 1; i < (unsigned int)argc; i++)
		run_named(argv[i]);
	return 0;
}
