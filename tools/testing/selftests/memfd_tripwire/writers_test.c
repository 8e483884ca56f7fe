// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - userfaultfd, mappings, migration, poison, ptrace, futex
 */
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <linux/mman.h>
#include <linux/futex.h>
#include "lib/tripwire.h"
#include "lib/fixture.h"

#ifndef MADV_GUARD_INSTALL
# define MADV_GUARD_INSTALL	102
#endif

FIXTURE(fill)
{
	int fd;
	int uffd;
	size_t page;
	char *map;
};

FIXTURE_VARIANT(fill)
{
	unsigned long cmd;
};

FIXTURE_VARIANT_ADD(fill, copy) { .cmd = UFFDIO_COPY };
FIXTURE_VARIANT_ADD(fill, zeropage) { .cmd = UFFDIO_ZEROPAGE };
FIXTURE_VARIANT_ADD(fill, continue) { .cmd = UFFDIO_CONTINUE };

FIXTURE_SETUP(fill)
{
	bool minor = variant->cmd == UFFDIO_CONTINUE;

	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->page));
	if (minor)
		ASSERT_EQ(1, pwrite(self->fd, "x", 1, 0));
	self->map = map_shared(self->fd, self->page);
	ASSERT_NE(MAP_FAILED, self->map);
	self->uffd = open_uffd(self->map, self->page, minor ? UFFDIO_REGISTER_MODE_MINOR :
						      UFFDIO_REGISTER_MODE_MISSING);
	if (self->uffd < 0)
		SKIP(return, "no userfaultfd here: %s", strerror(errno));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_FALSE(pending(self->fd));
}

FIXTURE_TEARDOWN(fill)
{
	close(self->uffd);
	munmap(self->map, self->page);
	close(self->fd);
}

static bool fill_page(FIXTURE_DATA(fill) * self, unsigned long cmd)
{
	return uffd_fill(self->uffd, cmd, self->map, self->page, 'y') == (ssize_t)self->page;
}

TEST_F(fill, filling_a_page_raises)
{
	ASSERT_TRUE(fill_page(self, variant->cmd));
	EXPECT_TRUE(pending(self->fd));
}

/* userfaultfd leaves a dirty PTE, and a writable one. */
TEST_F(fill, store_to_filled_page_raises_after_ack)
{
	ASSERT_TRUE(fill_page(self, variant->cmd));
	check_store_raises_after_ack(_metadata, self->fd, self->map);
}

/* Here it leaves a dirty read-only one, which mprotect(2) makes writable. */
TEST_F(fill, filled_while_read_only_and_unprotected_after_ack_stays_armed)
{
	ASSERT_EQ(0, mprotect(self->map, self->page, PROT_READ));
	ASSERT_TRUE(fill_page(self, variant->cmd));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, mprotect(self->map, self->page, PROT_READ | PROT_WRITE));
	ASSERT_FALSE(pending(self->fd));
	store_new(self->map);
	EXPECT_TRUE(pending(self->fd));
}

static int uffd_protect(int uffd, void *start, size_t len, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)start, .len = len },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
}

TEST_F(path, uffd_wp_resolved_after_ack_stays_armed)
{
	int uffd = open_uffd(self->map, self->len, UFFDIO_REGISTER_MODE_WP);

	if (uffd < 0)
		SKIP(return, "no userfaultfd-wp of shmem: %s", strerror(errno));
	store_new(self->map);
	ASSERT_EQ(0, uffd_protect(uffd, self->map, self->len, true));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, uffd_protect(uffd, self->map, self->len, false));
	store_new(self->map);
	EXPECT_TRUE(pending(self->fd));
	close(uffd);
}

TEST_F(path, uffd_wp_set_and_resolved_of_armed_page_stays_armed)
{
	int uffd = open_uffd(self->map, self->len, UFFDIO_REGISTER_MODE_WP);

	if (uffd < 0)
		SKIP(return, "no userfaultfd-wp of shmem: %s", strerror(errno));
	store_new(self->map);
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, uffd_protect(uffd, self->map, self->len, true));
	ASSERT_EQ(0, uffd_protect(uffd, self->map, self->len, false));
	store_new(self->map);
	EXPECT_TRUE(pending(self->fd));
	close(uffd);
}

TEST_F(path, copy_file_range_into_file_raises)
{
	int from = memfd_create("from", 0);
	loff_t in = 0, out = 0;

	ASSERT_LE(0, from);
	ASSERT_EQ(1, pwrite(from, "x", 1, 0));
	ASSERT_EQ(1, copy_file_range(from, &in, self->fd, &out, 1, 0));
	EXPECT_TRUE(pending(self->fd));
	close(from);
}

TEST_F(path, mapping_moved_after_ack_stays_armed)
{
	char *target = mmap(NULL, self->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, target);
	store_new(self->map);
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(target, mremap(self->map, self->len, self->len,
				 MREMAP_MAYMOVE | MREMAP_FIXED, target));
	self->map = target;
	store_new(self->map);
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(path, remapped_file_page_is_rearmed)
{
	store_new(self->map);
	if (syscall(__NR_remap_file_pages, self->map, self->page, 0, 1, 0))
		SKIP(return, "no remap_file_pages(2): %s", strerror(errno));
	check_store_raises_after_ack(_metadata, self->fd, self->map);
	EXPECT_EQ(load(self->map), load(self->map + self->page));
	check_store_raises_after_ack(_metadata, self->fd, self->map);
}

/* Three VMAs with one page table, and then one VMA again. */
TEST_F(path, split_and_merged_mapping_is_rearmed)
{
	char *middle = self->map + PAGES / 2 * self->page;
	struct order all = { self->map, self->page, PAGES };
	int i;

	obey(&all);
	ASSERT_EQ(0, mprotect(middle, self->page, PROT_READ));
	ASSERT_EQ(0, ack(self->fd));
	for (i = 0; i < PAGES; i++) {
		if (i == PAGES / 2)
			ASSERT_EQ(0, mprotect(middle, self->page, PROT_READ | PROT_WRITE));
		check_store_raises_after_ack(_metadata, self->fd, self->map + i * self->page);
	}
}

/* fork(2) copies the page table of a VMA with guards, writable PTEs and all. */
TEST_F(path, page_table_copied_by_fork_for_guards_is_rearmed)
{
	struct peer peer;

	store_new(self->map);
	if (madvise(self->map + self->page, self->page, MADV_GUARD_INSTALL))
		SKIP(return, "no MADV_GUARD_INSTALL: %s", strerror(errno));
	ASSERT_TRUE(start_peer(&peer));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_TRUE(tell_peer(&peer, self->map, 0, 1));
	EXPECT_TRUE(pending(self->fd));
	check_store_raises_after_ack(_metadata, self->fd, self->map);
	end_peer(&peer);
}

/* The child's copy may be made while an ACK walks the mappings. */
TEST_F(path, fork_with_guards_racing_acks_loses_no_grant)
{
	struct race race;
	struct peer peer;
	int i;

	if (madvise(self->map + PAGES / 2 * self->page, self->page, MADV_GUARD_INSTALL))
		SKIP(return, "no MADV_GUARD_INSTALL: %s", strerror(errno));
	start_race(_metadata, &race, self->fd, NULL, self->map);
	for (i = 0; i < 30; i++) {
		store_new(self->map);
		ASSERT_TRUE(start_peer(&peer));
		ASSERT_TRUE(ack_until_quiet(self->fd));
		ASSERT_TRUE(tell_peer(&peer, self->map, 0, 1));
		EXPECT_TRUE(pending_within(self->fd, PATIENCE_MS)) TH_LOG("round %d", i);
		end_peer(&peer);
	}
	finish_race(_metadata, &race);
}

struct late_ack {
	int fd;
	uint64_t spin;		/* so long before it */
	uint64_t go;
	uint64_t done;
};

static void *ack_late(void *data)
{
	struct late_ack *late = data;
	uint64_t until;

	while (!load(&late->go))
		sched_yield();
	until = now_ns() + late->spin;
	while (now_ns() < until)
		;
	store(&late->done, ack(late->fd) ? 2 : 1);
	return NULL;
}

/*
 * One ACK beside one fork(2), sooner or later in it: the child must not keep a
 * PTE that was copied before its parent's was re-protected.
 */
TEST_F(path, child_forked_with_guards_beside_ack_stays_armed)
{
	struct late_ack late = { .fd = self->fd };
	uint64_t began, took = 1000000;
	struct peer peer;
	pthread_t thread;
	int i;

	if (madvise(self->map + PAGES / 2 * self->page, self->page, MADV_GUARD_INSTALL))
		SKIP(return, "no MADV_GUARD_INSTALL: %s", strerror(errno));
	for (i = 0; i < 200; i++) {
		late.spin = took * (i % 20) / 20;
		late.go = 0;
		late.done = 0;
		ASSERT_EQ(0, pthread_create(&thread, NULL, ack_late, &late));
		store_new(self->map);
		began = now_ns();
		store(&late.go, 1);
		ASSERT_TRUE(start_peer(&peer));
		took = now_ns() - began;
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_EQ(1, late.done);
		ASSERT_TRUE(tell_peer(&peer, self->map, 0, 1));
		ASSERT_TRUE(pending_within(self->fd, 1000)) TH_LOG("round %d", i);
		end_peer(&peer);
	}
}

/*
 * To node 1 and on to node 0, so that it moves at least once. 0, or a negative
 * errno where there is no second node or no migration.
 */
static long store_and_move(void *page)
{
	long node;

	store_new(page);
	node = move_page(page, 1);
	if (node == 1)
		node = move_page(page, 0);
	return node > 0 ? -EIO : node;
}

/*
 * The migration entry of a granted page is writable, and so is the PTE after
 * it.
 */
TEST_F(path, page_migrated_while_granted_is_rearmed)
{
	long err = store_and_move(self->map);

	if (err)
		SKIP(return, NO_NODES, strerror(-err));
	check_store_raises_after_ack(_metadata, self->fd, self->map);
}

TEST_F(path, page_migrated_while_armed_stays_armed)
{
	long err = store_and_move(self->map);

	if (err)
		SKIP(return, NO_NODES, strerror(-err));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(1, move_page(self->map, 1));
	store_new(self->map);
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(path, migration_racing_stores_and_acks_keeps_guarantee)
{
	struct race race;
	long err = store_and_move(self->map);
	int i, moved = 0;

	if (err)
		SKIP(return, NO_NODES, strerror(-err));
	start_race(_metadata, &race, self->fd, self->map, self->map);
	for (i = 0; i < 400; i++)
		moved += move_page(self->map + i % STORED * self->page, i / STORED % 2) >= 0;
	finish_race(_metadata, &race);
	EXPECT_LT(0, moved);
}

TEST_F(path, compaction_racing_stores_and_acks_keeps_guarantee)
{
	struct race race;
	int i;

	if (write_text("/proc/sys/vm/compact_memory", "1"))
		SKIP(return, "no compaction on demand: %s", strerror(errno));
	start_race(_metadata, &race, self->fd, self->map, self->map);
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, write_text("/proc/sys/vm/compact_memory", "1"));
	finish_race(_metadata, &race);
}

#define NUMA_BALANCING	"/proc/sys/kernel/numa_balancing"
#define NUMA_SCAN	"/sys/kernel/debug/sched/numa_balancing/"

/*
 * Keeps what it said before for the way back; false if it may not be written.
 */
static bool exchange_text(const char *path, const char *text, char old[16])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, old, 15);
	close(fd);
	if (len <= 0)
		return false;
	old[len] = '\0';
	return !write_text(path, text);
}

/*
 * Run on the memory until a hint has unmapped it and a load has mapped it
 * again.
 */
static bool await_hint(const char *where)
{
	uint64_t until = now_ns() + 20000000000ull;
	long faults;

	do {
		faults = minor_faults();
		load(where);
		if (minor_faults() > faults)
			return true;
	} while (now_ns() < until);
	return false;
}

/* Balancing takes pages away for a moment to see which CPU uses them. */
TEST_F_TIMEOUT(path, page_with_numa_hints_after_ack_stays_armed, 60)
{
	static const char * const settings[][2] = {
		{ NUMA_SCAN "scan_delay_ms", "1" },
		{ NUMA_SCAN "scan_period_min_ms", "10" },
		{ NUMA_SCAN "scan_period_max_ms", "10" },
		{ NUMA_SCAN "scan_size_mb", "4" },
		{ NUMA_BALANCING, "1" },
	};
	long err = store_and_move(self->map);
	char old[5][16];
	bool hinted = false;
	pid_t child;
	int i, status, nr;

	if (err)
		SKIP(return, NO_NODES, strerror(-err));
	for (nr = 0; nr < 5; nr++)
		if (!exchange_text(settings[nr][0], settings[nr][1], old[nr]))
			break;
	/* A new process, for its scans to begin with these settings. */
	child = nr == 5 ? fork_child() : -1;
	if (!child) {
		for (i = 0; i < 5; i++) {
			store_new(self->map);
			if (ack(self->fd) || !await_hint(self->map))
				_exit(2);
			store_new(self->map);
			if (!pending_within(self->fd, 1000))
				_exit(1);
		}
		_exit(0);
	}
	if (child > 0)
		hinted = waitpid(child, &status, 0) == child && status != 2 << 8;
	while (nr--)
		EXPECT_EQ(0, write_text(settings[nr][0], old[nr]));
	if (child < 0)
		SKIP(return, "no NUMA balancing: %s", strerror(errno));
	ASSERT_TRUE(hinted);
	EXPECT_EQ(0, status);
}

TEST_F(path, ptrace_poke_raises)
{
	struct peer peer;

	ASSERT_TRUE(start_peer(&peer));
	ASSERT_EQ(0, ptrace(PTRACE_ATTACH, peer.pid, NULL, NULL));
	ASSERT_EQ(peer.pid, waitpid(peer.pid, NULL, 0));
	ASSERT_EQ(0, ptrace(PTRACE_POKEDATA, peer.pid, self->map, 42l));
	EXPECT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	EXPECT_EQ(42, load(self->map));
	ASSERT_EQ(0, ptrace(PTRACE_POKEDATA, peer.pid, self->map, 43l));
	EXPECT_TRUE(pending(self->fd));
	end_peer(&peer);
}

TEST_F(path, write_to_proc_mem_raises)
{
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, mem);
	store_new(self->map);
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(1, pwrite(mem, "x", 1, (uintptr_t)self->map));
	EXPECT_TRUE(pending(self->fd));
	close(mem);
}

TEST_F(path, store_raises_after_ack_of_populated_pages)
{
	int i;

	ASSERT_EQ(0, madvise(self->map, self->len, MADV_POPULATE_WRITE));
	for (i = 0; i < PAGES; i++)
		check_store_raises_after_ack(_metadata, self->fd, self->map + i * self->page);
}

TEST_F(path, store_raises_after_ack_of_futex_waker)
{
	ASSERT_EQ(0, syscall(__NR_futex, self->map, FUTEX_WAKE, 1, NULL, NULL, 0));
	check_store_raises_after_ack(_metadata, self->fd, self->map);
}

TEST_F(path, futex_operation_raises)
{
	ASSERT_EQ(0, load(self->map));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, syscall(__NR_futex, self->map + self->page, FUTEX_WAKE_OP, 1, 1L, self->map,
			     FUTEX_OP(FUTEX_OP_SET, 42, FUTEX_OP_CMP_EQ, 0)));
	EXPECT_EQ(42, load(self->map));
	EXPECT_TRUE(pending(self->fd));
}

TEST_HARNESS_MAIN
