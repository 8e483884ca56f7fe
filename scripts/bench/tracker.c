// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - benchmark: finding and re-arming written memory, by each
 * mechanism that the kernel has for it
 */

#include <linux/fs.h>
#include "tracker.h"

#define SCAN_REGIONS	4096

const char *uffd_wp_open(int *uffd, void *start, size_t len, bool async)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
			    (async ? UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED : 0),
	};
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)start, .len = len },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	*uffd = syscall(__NR_userfaultfd, O_CLOEXEC | (async ? O_NONBLOCK : 0));
	if (*uffd < 0)
		return "no userfaultfd()";
	if (!ioctl(*uffd, UFFDIO_API, &api) && !ioctl(*uffd, UFFDIO_REGISTER, &reg))
		return NULL;
	close(*uffd);
	*uffd = -1;
	return "no userfaultfd write protection of shared memory";
}

void uffd_protect(int uffd, void *start, size_t len, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)start, .len = len },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	if (counted(ioctl(uffd, UFFDIO_WRITEPROTECT, &wp)))
		fail("UFFDIO_WRITEPROTECT");
}

/* Count the pages of @category; with PM_SCAN_WP_MATCHING, re-arm them too. */
static uint64_t scan_pages(int pagemap, char *start, size_t len, uint64_t category,
			   uint64_t flags)
{
	static struct page_region regions[SCAN_REGIONS];
	struct pm_scan_arg arg = {
		.size = sizeof(arg), .flags = flags,
		.start = (uintptr_t)start, .end = (uintptr_t)start + len,
		.vec = (uintptr_t)regions, .vec_len = SCAN_REGIONS,
		.category_mask = category, .return_mask = category,
	};
	uint64_t bytes = 0;
	int i, found;

	for (; arg.start < arg.end; arg.start = arg.walk_end) {
		found = counted(ioctl(pagemap, PAGEMAP_SCAN, &arg));
		if (found < 0)
			fail("PAGEMAP_SCAN");
		for (i = 0; i < found; i++)
			bytes += regions[i].end - regions[i].start;
	}
	return bytes / getpagesize();
}

uint64_t scan_uffd(int pagemap, char *start, size_t len)
{
	return scan_pages(pagemap, start, len, PAGE_IS_WRITTEN,
			  PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC);
}

uint64_t scan_soft_dirty(int pagemap, char *start, size_t len)
{
	return scan_pages(pagemap, start, len, PAGE_IS_SOFT_DIRTY, 0);
}

void clear_soft_dirty(int clear_refs)
{
	if (counted(write(clear_refs, "4", 1)) != 1)
		fail("clear_refs");
}

/* Check that a store makes the page soft-dirty and that clearing ends that. */
const char *open_soft_dirty(int *pagemap, int *clear_refs, char *where)
{
	*pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	*clear_refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	if (*pagemap < 0 || *clear_refs < 0)
		return "no /proc/PID/pagemap or clear_refs";
	store(where, 0);
	clear_soft_dirty(*clear_refs);
	if (scan_soft_dirty(*pagemap, where, getpagesize()))
		return "no CONFIG_MEM_SOFT_DIRTY";
	store(where, 0);
	return scan_soft_dirty(*pagemap, where, getpagesize()) ? NULL : "no CONFIG_MEM_SOFT_DIRTY";
}

const char *begin_nothing(struct area *area)
{
	return NULL;
}

static const char *begin_watch(struct area *area)
{
	area->watch = must_watch(area->memory, 0, area->len, MEMFD_TRIPWIRE_WATCH_NONBLOCK);
	return NULL;
}

static const char *begin_uffd(struct area *area)
{
	area->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (area->pagemap < 0)
		return "no /proc/PID/pagemap";
	return uffd_wp_open(&area->uffd, area->map, area->len, true);
}

static const char *begin_soft_dirty(struct area *area)
{
	return open_soft_dirty(&area->pagemap, &area->clear_refs, area->map);
}

uint64_t rearm_by_ack(struct area *area)
{
	if (counted(ack(area->memory)))
		fail("MEMFD_TRIPWIRE_ACK");
	return 0;
}

uint64_t rearm_by_watch(struct area *area)
{
	static struct reports reports;
	uint64_t bytes = 0;
	int i;

	/* A report that does not fill the buffer is the last one. */
	do {
		if (counted(read_reports(area->watch, &reports, MAX_REPORTS)) < 0) {
			if (errno == EAGAIN)
				break;
			fail("read of the watch");
		}
		for (i = 0; i < reports.nr; i++)
			bytes += reports.range[i].len;
	} while (reports.nr == MAX_REPORTS);
	return bytes / area->page;
}

uint64_t rearm_by_uffd(struct area *area)
{
	uffd_protect(area->uffd, area->map, area->len, true);
	return 0;
}

static uint64_t rearm_by_scan(struct area *area)
{
	return scan_uffd(area->pagemap, area->map, area->len);
}

static uint64_t rearm_by_soft_dirty(struct area *area)
{
	uint64_t pages = scan_soft_dirty(area->pagemap, area->map, area->len);

	clear_soft_dirty(area->clear_refs);
	return pages;
}

/* The handler makes the page writable, and the store is tried again. */
void on_segv_open_page(int signal, siginfo_t *info, void *context)
{
	size_t page = getpagesize();

	if (info->si_code != SEGV_ACCERR ||
	    counted(mprotect((void *)((uintptr_t)info->si_addr & -page), page,
			     PROT_READ | PROT_WRITE)))
		_exit(1);
}

void handle_segv(void (*handler)(int signal, siginfo_t *info, void *context))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	if (!handler)
		action = (struct sigaction){ .sa_handler = SIG_DFL };
	if (sigaction(SIGSEGV, &action, NULL))
		fail("sigaction");
}

static const char *begin_mprotect(struct area *area)
{
	handle_segv(on_segv_open_page);
	return NULL;
}

static uint64_t rearm_by_mprotect(struct area *area)
{
	if (counted(mprotect(area->map, area->len, PROT_READ)))
		fail("mprotect");
	return 0;
}

const struct tracker trackers[NR_TRACKERS] = {
	{ "tripwire-ack", 0, .is_tripwire = true,
	  .begin = begin_nothing, .rearm = rearm_by_ack },
	{ "tripwire-watch", MEMFD_TRIPWIRE_WATCH_ONLY, .is_tripwire = true, .reports = true,
	  .begin = begin_watch, .rearm = rearm_by_watch },
	{ "uffd-wp", .has_markers = true,
	  .begin = begin_uffd, .rearm = rearm_by_uffd },
	{ "uffd-async", .has_markers = true, .reports = true,
	  .begin = begin_uffd, .rearm = rearm_by_scan },
	{ "soft-dirty", .reports = true,
	  .begin = begin_soft_dirty, .rearm = rearm_by_soft_dirty },
	{ "mprotect", .splits = true,
	  .begin = begin_mprotect, .rearm = rearm_by_mprotect },
};

const struct tracker *tracker_named(const char *name)
{
	unsigned int i;

	for (i = 0; i < NR_TRACKERS; i++)
		if (!strcmp(trackers[i].name, name))
			return &trackers[i];
	return NULL;
}

void close_area(struct area *area)
{
	int *fd[] = { &area->memory, &area->watch, &area->uffd, &area->pagemap,
		      &area->clear_refs };
	unsigned int i;

	handle_segv(NULL);
	munmap(area->map, area->len);
	for (i = 0; i < ARRAY_SIZE(fd); i++)
		if (*fd[i] >= 0)
			close(*fd[i]);
}

bool set_shmem_huge(const char *when)
{
	return !write_text(SHMEM_HUGE, when);
}

bool is_huge(char *where)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool huge;

	if (pagemap < 0)
		fail("/proc/self/pagemap");
	huge = scan_pages(pagemap, where, getpagesize(), PAGE_IS_HUGE, 0);
	close(pagemap);
	return huge;
}

/* Map @fd aligned to a huge page. */
static void *map_for_huge(int fd, size_t len)
{
	char *room = mmap(NULL, len + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *map = (char *)(((uintptr_t)room + HUGE - 1) & -HUGE);

	if (room == MAP_FAILED ||
	    mmap(map, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		fail("mmap");
	munmap(map + len, room + HUGE - map);
	if (map > room)
		munmap(room, map - room);
	return map;
}

/*
 * Map @len bytes, write a page of every @stride bytes and arm. Returns the
 * reason why that is not possible, or NULL.
 */
const char *open_area(struct area *area, const struct tracker *tracker, size_t len,
		      size_t stride)
{
	const char *reason = NULL;
	size_t offset;

	*area = (struct area) { .len = len, .page = getpagesize(), .memory = -1, .watch = -1,
				.uffd = -1, .pagemap = -1, .clear_refs = -1 };
	at_work = tracker->name;
	if (tracker->is_tripwire && !have_tripwire())
		return LACKS_TRIPWIRE;
	area->memory = tracker->is_tripwire ? tripwire_memfd(tracker->flags, len) :
					      plain_memfd(len);
	area->map = map_for_huge(area->memory, len);
	for (offset = 0; offset < len; offset += stride)
		store(area->map + offset, 1);
	reason = tracker->begin(area);
	if (reason) {
		close_area(area);
		return reason;
	}
	/* A scan re-arms only pages that userfaultfd has protected once. */
	if (area->uffd >= 0)
		uffd_protect(area->uffd, area->map, area->len, true);
	tracker->rearm(area);
	return NULL;
}

