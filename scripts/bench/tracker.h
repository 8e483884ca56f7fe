/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - benchmark: finding and re-arming written memory, by each
 * mechanism that the kernel has for it
 */
#ifndef BENCH_TRACKER_H
#define BENCH_TRACKER_H

#include "bench_lib.h"

#define NR_TRACKERS	6
#define HUGE		(2 * MIB)
#define SHMEM_HUGE	"/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/shmem_enabled"

/**
 * struct area - a mapping and the state of the mechanism that tracks it
 * @len: size in bytes
 * @page: size of a small page in bytes
 * @map: the mapping, aligned to a huge page
 * @memory: the memfd
 * @watch: watch fd, or -1
 * @uffd: userfaultfd, or -1
 * @pagemap: /proc/self/pagemap, or -1
 * @clear_refs: /proc/self/clear_refs, or -1
 * @huge: the memory is in huge pages
 */
struct area {
	size_t len;
	size_t page;
	char *map;
	int memory;
	int watch;
	int uffd;
	int pagemap;
	int clear_refs;
	bool huge;
};

/**
 * struct tracker - a mechanism that finds written pages
 * @name: as it appears in the output
 * @flags: of memfd_tripwire()
 * @is_tripwire: the memory is a memfd_tripwire
 * @has_markers: page tables cover all of the area, however sparse it is
 * @splits: every run of written pages has a mapping of its own
 * @reports: @rearm returns the number of written pages
 * @begin: set up; returns why the mechanism is not available, or NULL
 * @rearm: arm all pages again; returns the number of written pages
 */
struct tracker {
	const char *name;
	unsigned int flags;
	bool is_tripwire;
	bool has_markers;
	bool splits;
	bool reports;
	const char *(*begin)(struct area *area);
	uint64_t (*rearm)(struct area *area);
};

extern const struct tracker trackers[NR_TRACKERS];

const struct tracker *tracker_named(const char *name);
const char *open_area(struct area *area, const struct tracker *tracker, size_t len,
		      size_t stride);
void close_area(struct area *area);

const char *uffd_wp_open(int *uffd, void *start, size_t len, bool async);
void uffd_protect(int uffd, void *start, size_t len, bool protect);
uint64_t scan_uffd(int pagemap, char *start, size_t len);
uint64_t scan_soft_dirty(int pagemap, char *start, size_t len);
void clear_soft_dirty(int clear_refs);
const char *open_soft_dirty(int *pagemap, int *clear_refs, char *where);
void on_segv_open_page(int signal, siginfo_t *info, void *context);
void handle_segv(void (*handler)(int signal, siginfo_t *info, void *context));
bool set_shmem_huge(const char *when);
bool is_huge(char *where);

const char *begin_nothing(struct area *area);
uint64_t rearm_by_ack(struct area *area);
uint64_t rearm_by_watch(struct area *area);
uint64_t rearm_by_uffd(struct area *area);

#endif /* BENCH_TRACKER_H */
