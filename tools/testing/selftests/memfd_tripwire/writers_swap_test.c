// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - pages taken away: swap, reclaim, soft offlining, poison
 */
#include <sys/uio.h>
#include <linux/mman.h>
#include "lib/fixture.h"

#ifndef MADV_SOFT_OFFLINE
# define MADV_SOFT_OFFLINE	101
#endif

#define RECLAIMS	20

/*
 * Soft offlining migrates just this page, with one node too; a page is lost for
 * it.
 */
TEST_F(path, page_soft_offlined_while_granted_is_rearmed)
{
	store_new(self->map);
	if (madvise(self->map, self->page, MADV_SOFT_OFFLINE))
		SKIP(return, "no soft offlining: %s", strerror(errno));
	check_store_raises_after_ack(_metadata, self->fd, self->map);
}

TEST_F(path, soft_offlining_racing_stores_and_acks_keeps_guarantee)
{
	struct race race;
	int i, moved = 0;

	store_new(self->map);
	if (madvise(self->map, self->page, MADV_SOFT_OFFLINE))
		SKIP(return, "no soft offlining: %s", strerror(errno));
	start_race(_metadata, &race, self->fd, self->map, self->map);
	for (i = 0; i < 40; i++)
		moved += !madvise(self->map + i % STORED * self->page, self->page,
				  MADV_SOFT_OFFLINE);
	finish_race(_metadata, &race);
	EXPECT_LT(0, moved);
}

/* In a child, for SIGBUS may come to any process that maps the page. */
TEST_F(path, poisoned_page_hangs_neither_poll_nor_ack)
{
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child) {
		signal(SIGBUS, SIG_DFL);
		store_new(self->map);
		if (madvise(self->map, self->page, MADV_HWPOISON))
			_exit(errno);
		store_new(self->map);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	if (WIFEXITED(status) && WEXITSTATUS(status))
		SKIP(return, "no MADV_HWPOISON: %s", strerror(WEXITSTATUS(status)));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	check_store_raises_after_ack(_metadata, self->fd, self->map + self->page);
}

FIXTURE(swap)
{
	int fd;
	size_t page;
	size_t len;
	char *map;
	struct disk disk;
};

/* With one granted page. */
FIXTURE_SETUP(swap)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	if (!have_swap(&self->disk))
		SKIP(return, "no swap, and no free RAM disk for it (brd)");
	self->page = getpagesize();
	self->len = PAGES * self->page;
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->len));
	self->map = map_shared(self->fd, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	store_new(self->map);
}

FIXTURE_TEARDOWN(swap)
{
	end_swap(&self->disk);
	munmap(self->map, self->len);
	close(self->fd);
}

/*
 * Reclaim leaves alone what was just referenced: it may take more than one try.
 */
static bool page_out(void *where, size_t page)
{
	unsigned char resident = 1;
	int i;

	for (i = 0; i < 100 && (resident & 1); i++) {
		if (madvise(where, page, MADV_PAGEOUT) || mincore(where, page, &resident))
			return false;
		sched_yield();
	}
	return !(resident & 1);
}

TEST_F(swap, page_swapped_out_while_granted_is_rearmed)
{
	ASSERT_TRUE(page_out(self->map, self->page));
	check_store_raises_after_ack(_metadata, self->fd, self->map);
}

TEST_F(swap, page_swapped_out_and_in_while_granted_is_rearmed)
{
	ASSERT_TRUE(page_out(self->map, self->page));
	EXPECT_NE(0, load(self->map));
	check_store_raises_after_ack(_metadata, self->fd, self->map);
}

/*
 * Marks are what cachestat(2) counts as dirty; in swap nothing else would end
 * them.
 */
TEST_F(swap, ack_takes_marks_off_what_is_in_swap)
{
	struct cachestat_range range = { .off = 0, .len = 0 };
	struct cachestat stat;

	ASSERT_TRUE(page_out(self->map, self->page));
	ASSERT_EQ(0, ack(self->fd));
	EXPECT_NE(0, load(self->map));
	ASSERT_EQ(0, syscall(__NR_cachestat, self->fd, &range, &stat, 0));
	EXPECT_EQ(0, stat.nr_dirty);
}

TEST_F(swap, swap_in_raises_nothing_and_leaves_page_armed)
{
	ASSERT_TRUE(page_out(self->map, self->page));
	ASSERT_EQ(0, ack(self->fd));
	EXPECT_NE(0, load(self->map));
	EXPECT_FALSE(pending(self->fd));
	check_store_raises_after_ack(_metadata, self->fd, self->map);
}

TEST_F(swap, pageout_racing_stores_and_acks_keeps_guarantee)
{
	struct race race;
	int i;

	start_race(_metadata, &race, self->fd, self->map, self->map);
	for (i = 0; i < 300; i++)
		ASSERT_EQ(0, madvise(self->map, self->len, MADV_PAGEOUT));
	finish_race(_metadata, &race);
}

/*
 * In ordinary shared memory: a process that stores all the time and has pages
 * reclaimed.
 */
struct reclaimer {
	char *map;
	size_t page;
	uint64_t value;		/* the last one stored */
	uint64_t hold;		/* store nothing for now */
	uint64_t asked;		/* so often to reclaim */
	uint64_t done;
};

static void *store_all_the_time(void *data)
{
	struct reclaimer *reclaimer = data;

	for (;;) {
		while (load(&reclaimer->hold))
			sched_yield();
		store(reclaimer->map, load(&reclaimer->value) + 1);
		store(&reclaimer->value, load(&reclaimer->value) + 1);
	}
	return NULL;
}

static void reclaim_when_asked(struct reclaimer *reclaimer, const struct memcg *memcg)
{
	pthread_t thread;
	uint64_t n;

	if (enter_memcg(memcg) || pthread_create(&thread, NULL, store_all_the_time, reclaimer))
		_exit(1);
	for (n = 1;; n++) {
		while (load(&reclaimer->asked) < n)
			sched_yield();
		/*
		 * Onto the list that reclaim takes it from; it may find less
		 * than 1 MiB.
		 */
		if (madvise(reclaimer->map, reclaimer->page, MADV_COLD) ||
		    write_text("/proc/sys/vm/drop_caches", "1"))
			_exit(1);
		memcg_write(memcg, "memory.reclaim", "1M");
		store(&reclaimer->done, n);
	}
}

struct slow_read {
	pid_t pid;
	struct iovec local, remote;
};

static void *read_slowly(void *data)
{
	struct slow_read *read = data;

	return (void *)process_vm_readv(read->pid, &read->local, 1, &read->remote, 1, 0);
}

static bool is_mapped(int pagemap, const char *where, size_t page)
{
	uint64_t entry = 0;

	return pread(pagemap, &entry, 8, (uintptr_t)where / page * 8) == 8 && entry >> 63;
}

/*
 * The value in the file, without a mapping that reclaim would spare the page
 * for.
 */
static uint64_t peek(int fd, off_t offset)
{
	uint64_t value = 0;

	return pread(fd, &value, sizeof(value), offset) == sizeof(value) ? value : 0;
}

static bool store_after_ack_raises(int fd, off_t offset, struct reclaimer *reclaimer)
{
	uint64_t seen;
	bool notified;
	int i;

	if (ack(fd))
		return false;
	seen = peek(fd, offset);
	for (i = 0; i < 1000 && peek(fd, offset) == seen; i++)
		;
	if (i == 1000 || pending(fd))
		return true;
	store(&reclaimer->hold, 1);
	notified = pending_within(fd, 1000);
	store(&reclaimer->hold, 0);
	return notified;
}

/*
 * Reclaim unmaps what turns out to be pinned, and lets go of it before it has
 * flushed. An ACK that comes then must flush in its stead. The pin is that of a
 * read into a page that userfaultfd holds up. madvise(2) would flush for us.
 */
TEST_F_TIMEOUT(swap, pinned_page_unmapped_by_reclaim_keeps_guarantee, 60)
{
	char path[64], *where = self->map + self->page;
	char *buffer = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int uffd = open_uffd(buffer, self->page, UFFDIO_REGISTER_MODE_MISSING);
	int pagemap, n, unmapped = 0;
	struct reclaimer *reclaimer;
	struct slow_read read;
	struct memcg memcg;
	const char *reason;
	pthread_t thread;
	void *ret;

	if (uffd < 0)
		SKIP(return, "no userfaultfd here: %s", strerror(errno));
	reason = begin_memcg(&memcg);
	if (reason)
		SKIP(return, "%s", reason);
	reclaimer = mmap(NULL, sizeof(*reclaimer), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, reclaimer);
	*reclaimer = (struct reclaimer) { .map = where, .page = self->page };
	read = (struct slow_read) {
		.pid = fork_child(),
		.local = { buffer, self->page },
		.remote = { where, self->page },
	};
	ASSERT_LE(0, read.pid);
	if (!read.pid)
		reclaim_when_asked(reclaimer, &memcg);
	ASSERT_EQ(0, munmap(where, self->page));
	snprintf(path, sizeof(path), "/proc/%d/pagemap", read.pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, pagemap);

	for (n = 1; n <= RECLAIMS; n++) {
		ASSERT_EQ(0, pthread_create(&thread, NULL, read_slowly, &read));
		ASSERT_TRUE(pending_within(uffd, PATIENCE_MS));
		store(&reclaimer->asked, n);
		while (is_mapped(pagemap, where, self->page) &&
		       load(&reclaimer->done) < (uint64_t)n)
			;
		unmapped += load(&reclaimer->done) < (uint64_t)n;
		ASSERT_EQ((ssize_t)self->page,
			  uffd_fill(uffd, UFFDIO_COPY, buffer, self->page, 'y'));
		ASSERT_EQ(0, pthread_join(thread, &ret));
		ASSERT_EQ((void *)self->page, ret);
		ASSERT_TRUE(store_after_ack_raises(self->fd, self->page, reclaimer))
			TH_LOG("round %d", n);
		while (load(&reclaimer->done) < (uint64_t)n)
			sched_yield();
		ASSERT_EQ(0, madvise(buffer, self->page, MADV_DONTNEED));
	}
	TH_LOG("%d of %d times it was unmapped while pinned", unmapped, RECLAIMS);
	ASSERT_EQ(0, waitpid(read.pid, NULL, WNOHANG));
	kill(read.pid, SIGKILL);
	waitpid(read.pid, NULL, 0);
	munmap(reclaimer, sizeof(*reclaimer));
	close(pagemap);
	close(uffd);
	end_memcg(&memcg);
}

TEST_HARNESS_MAIN
