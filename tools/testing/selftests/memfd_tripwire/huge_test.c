// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - large folios, PMDs, and collapsing into them
 */
#include <setjmp.h>
#include <sys/uio.h>
#include "lib/fixture.h"

#define MAX_PROCESSES	16

FIXTURE(huge)
{
	int fd;
	size_t page;
	size_t len;
	char *map;
	struct peer peers[MAX_PROCESSES];	/* the first is the test itself, and unused */
	int processes;
};

FIXTURE_VARIANT(huge)
{
	size_t folio;
	int processes;
};

FIXTURE_VARIANT_ADD(huge, pages_in_1_process) { .folio = 0, .processes = 1 };
FIXTURE_VARIANT_ADD(huge, pages_in_2_processes) { .folio = 0, .processes = 2 };
FIXTURE_VARIANT_ADD(huge, pages_in_16_processes) { .folio = 0, .processes = 16 };
FIXTURE_VARIANT_ADD(huge, mthp_in_1_process) { .folio = 64 << 10, .processes = 1 };
FIXTURE_VARIANT_ADD(huge, mthp_in_2_processes) { .folio = 64 << 10, .processes = 2 };
FIXTURE_VARIANT_ADD(huge, mthp_in_16_processes) { .folio = 64 << 10, .processes = 16 };
FIXTURE_VARIANT_ADD(huge, pmd_in_1_process) { .folio = 2 << 20, .processes = 1 };
FIXTURE_VARIANT_ADD(huge, pmd_in_2_processes) { .folio = 2 << 20, .processes = 2 };
FIXTURE_VARIANT_ADD(huge, pmd_in_16_processes) { .folio = 2 << 20, .processes = 16 };

/* Every process faults the memory in by a store: a huge page as a huge page. */
FIXTURE_SETUP(huge)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->len = variant->folio ?: PAGES * self->page;
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->len));
	self->map = map_aligned(self->fd, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	if (variant->folio && !fault_in_folio(self->map, variant->folio))
		SKIP(return, "no huge pages of %zu KiB", variant->folio >> 10);
	store_new(self->map);
	if (folio_pages_at(self->map, self->page) * self->page != (variant->folio ?: self->page))
		SKIP(return, "got no folio of %zu KiB", variant->folio >> 10);
	for (self->processes = 1; self->processes < variant->processes; self->processes++) {
		struct peer *peer = &self->peers[self->processes];

		ASSERT_TRUE(start_peer(peer));
		ASSERT_TRUE(tell_peer(peer, self->map, 0, 1));
	}
}

FIXTURE_TEARDOWN(huge)
{
	while (--self->processes > 0)
		end_peer(&self->peers[self->processes]);
	munmap(self->map, self->len);
	close(self->fd);
}

static bool tell_process(FIXTURE_DATA(huge) * self, int process, char *from, size_t count)
{
	struct order order = { from, self->page, count };

	if (process)
		return tell_peer(&self->peers[process], from, self->page, count);
	obey(&order);
	return true;
}

/* The processes take turns, page by page. */
TEST_F(huge, every_page_raises_again_after_each_ack)
{
	size_t i;

	for (i = 0; i < self->len / self->page; i++) {
		ASSERT_EQ(0, ack(self->fd));
		ASSERT_FALSE(pending(self->fd));
		ASSERT_TRUE(tell_process(self, i % variant->processes,
					 self->map + i * self->page, 1));
		ASSERT_TRUE(pending(self->fd)) TH_LOG("page %zu", i);
	}
}

/* All of them were granted all of it. */
TEST_F(huge, ack_rearms_every_process)
{
	size_t pages = self->len / self->page;
	int i, p;

	for (p = 0; p < variant->processes; p++) {
		for (i = 0; i < variant->processes; i++)
			ASSERT_TRUE(tell_process(self, i, self->map, p ? PAGES : pages));
		ASSERT_EQ(0, ack(self->fd));
		ASSERT_FALSE(pending(self->fd));
		ASSERT_TRUE(tell_process(self, p, self->map + p * self->page, 1));
		ASSERT_TRUE(pending(self->fd)) TH_LOG("process %d", p);
	}
}

/*
 * Something is done to memory that all processes may write, and to memory that
 * is armed in all of them. Where it changes contents it raises. Wherever it was
 * done, the ACK that follows has armed the memory in every process.
 */
static void check_deed(struct __test_metadata *_metadata, FIXTURE_DATA(huge) * self,
		       bool (*deed)(FIXTURE_DATA(huge) *), bool raises)
{
	bool granted;
	int i, p;

	for (i = 0; i < 2; i++) {
		granted = i;
		for (p = 0; p < self->processes; p++)
			ASSERT_TRUE(tell_process(self, p, self->map, PAGES));
		if (!granted)
			ASSERT_TRUE(ack_until_quiet(self->fd));
		ASSERT_TRUE(deed(self)) TH_LOG("%s", strerror(errno));
		ASSERT_EQ(granted || raises, pending(self->fd));
		ASSERT_TRUE(ack_until_quiet(self->fd));
		for (p = 0; p < self->processes; p++) {
			ASSERT_TRUE(tell_process(self, p, self->map + p * self->page, 1));
			ASSERT_TRUE(pending(self->fd)) TH_LOG("process %d, %d", p, granted);
			ASSERT_EQ(0, ack(self->fd));
		}
	}
}

/* mprotect(2) makes a dirty entry writable with no fault. */
static bool protect_and_unprotect(FIXTURE_DATA(huge) * self)
{
	return !mprotect(self->map, self->len, PROT_READ) &&
	       !mprotect(self->map, self->len, PROT_READ | PROT_WRITE);
}

TEST_F(huge, page_protected_and_unprotected_after_ack_stays_armed)
{
	check_deed(_metadata, self, protect_and_unprotect, false);
}

static bool forget_and_read(FIXTURE_DATA(huge) * self)
{
	if (madvise(self->map, self->len, MADV_DONTNEED))
		return false;
	load(self->map);
	return true;
}

TEST_F(huge, page_mapped_anew_after_ack_stays_armed)
{
	check_deed(_metadata, self, forget_and_read, false);
}

static bool move_there_and_back(FIXTURE_DATA(huge) * self)
{
	void *there = mmap(NULL, self->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return there != MAP_FAILED &&
	       mremap(self->map, self->len, self->len, MREMAP_MAYMOVE | MREMAP_FIXED,
		      there) == there &&
	       mremap(there, self->len, self->len, MREMAP_MAYMOVE | MREMAP_FIXED,
		      self->map) == self->map;
}

TEST_F(huge, mapping_moved_after_ack_stays_armed)
{
	check_deed(_metadata, self, move_there_and_back, false);
}

/* Moves pages that other processes map too, which takes CAP_SYS_NICE. */
static long move_shared_page(void *page, int node)
{
	int status = -ENOENT;

	if (syscall(__NR_move_pages, 0, 1, &page, &node, &status, MPOL_MF_MOVE_ALL))
		return -errno;
	return status;
}

static bool migrate(FIXTURE_DATA(huge) * self)
{
	long node = move_shared_page(self->map, 1);

	errno = node < 0 ? -node : EIO;
	return node == 1 && move_shared_page(self->map, 0) == 0;
}

TEST_F(huge, page_migrated_after_ack_stays_armed)
{
	long node = move_shared_page(self->map, 1);

	if (node != 1)
		SKIP(return, NO_NODES, strerror(node < 0 ? -node : EIO));
	ASSERT_EQ(0, move_shared_page(self->map, 0));
	check_deed(_metadata, self, migrate, false);
}

static bool write_a_byte(FIXTURE_DATA(huge) * self)
{
	return pwrite(self->fd, self->map, 1, self->page + 1) == 1;
}

TEST_F(huge, write_raises_and_leaves_all_armed)
{
	check_deed(_metadata, self, write_a_byte, true);
}

static bool punch_a_page(FIXTURE_DATA(huge) * self)
{
	return !fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, self->page,
			  self->page);
}

TEST_F(huge, hole_raises_and_leaves_all_armed)
{
	check_deed(_metadata, self, punch_a_page, true);
}

static bool cut_and_grow(FIXTURE_DATA(huge) * self)
{
	return !ftruncate(self->fd, self->len - self->page) && !ftruncate(self->fd, self->len);
}

TEST_F(huge, truncation_raises_and_leaves_all_armed)
{
	check_deed(_metadata, self, cut_and_grow, true);
}

/* Through a pin that is gone when the call returns. */
static bool write_through_pin(FIXTURE_DATA(huge) * self)
{
	struct iovec local = { &self->fd, 1 }, remote = { self->map + self->page, 1 };

	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 1;
}

TEST_F(huge, write_through_pin_raises_and_leaves_all_armed)
{
	check_deed(_metadata, self, write_through_pin, true);
}

/* What was unmapped but not flushed yet is still written through the TLB. */
TEST_F(huge, unmapping_beside_storing_thread_keeps_guarantee)
{
	int i, rounds = variant->folio > PAGES * self->page ? 150 : 30;
	char *view = map_aligned(self->fd, self->len);
	struct race race;

	ASSERT_NE(MAP_FAILED, view);
	start_race(_metadata, &race, self->fd, self->map, view);
	for (i = 0; i < rounds; i++) {
		await_progress(&race, &race.committed);
		ASSERT_EQ(0, madvise(self->map, self->len, MADV_DONTNEED));
		ASSERT_EQ(self->map, mmap(self->map, self->len, PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_FIXED, self->fd, 0));
	}
	finish_race(_metadata, &race);
}

/* The first pages are written, which grants them, and made one huge page. */
static bool store_and_collapse(FIXTURE_DATA(path) * self, bool armed)
{
	struct order some = { self->map, self->page, PAGES };

	if (!grow_to_huge(self))
		return false;
	some.from = self->map;
	obey(&some);
	return !(armed && ack(self->fd)) && !madvise(self->map, self->len, MADV_COLLAPSE);
}

TEST_F(path, range_collapsed_while_granted_is_rearmed)
{
	size_t i;

	if (!store_and_collapse(self, false))
		SKIP(return, "no MADV_COLLAPSE: %s", strerror(errno));
	store_new(self->map);
	ASSERT_EQ(self->len / self->page, folio_pages_at(self->map, self->page));
	for (i = 0; i < PAGES; i++)
		check_store_raises_after_ack(_metadata, self->fd, self->map + i * self->page);
}

TEST_F(path, range_collapsed_while_armed_stays_armed)
{
	if (!store_and_collapse(self, true))
		SKIP(return, "no MADV_COLLAPSE: %s", strerror(errno));
	ASSERT_FALSE(pending(self->fd));
	store_new(self->map);
	EXPECT_TRUE(pending(self->fd));
}

/*
 * In ordinary shared memory: a process that maps, stores and unmaps, round and
 * round.
 */
struct visitor {
	char *at;
	size_t len;
	int fd;
	uint64_t here;		/* mapped now */
	uint64_t value;		/* the last one stored */
	uint64_t rounds;
	uint64_t hold;		/* store nothing for now */
};

static sigjmp_buf unmapped;

static void resume_unmapped(int sig)
{
	siglongjmp(unmapped, 1);
}

static void *store_while_here(void *data)
{
	struct visitor *visitor = data;

	sigsetjmp(unmapped, 1);
	for (;;) {
		while (!load(&visitor->here) || load(&visitor->hold))
			sched_yield();
		store(visitor->at, load(&visitor->value) + 1);
		store(&visitor->value, load(&visitor->value) + 1);
	}
	return NULL;
}

static void visit(struct visitor *visitor)
{
	pthread_t thread;
	uint64_t value;

	signal(SIGSEGV, resume_unmapped);
	if (pthread_create(&thread, NULL, store_while_here, visitor))
		_exit(1);
	for (;;) {
		if (mmap(visitor->at, visitor->len, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, visitor->fd, 0) != visitor->at)
			_exit(1);
		value = load(&visitor->value);
		store(&visitor->here, 1);
		while (load(&visitor->value) < value + 3)
			sched_yield();
		munmap(visitor->at, visitor->len);
		store(&visitor->here, 0);
		store(&visitor->rounds, load(&visitor->rounds) + 1);
	}
}

/*
 * Whether a store seen after an ACK has its event, which may come late.
 */
static bool visitor_raises(struct visitor *visitor, int fd)
{
	uint64_t seen;
	bool notified;
	int i;

	if (ack(fd))
		return false;
	seen = load(visitor->at);
	for (i = 0; i < 1000; i++)
		if (load(visitor->at) != seen)
			break;
	if (i == 1000 || pending(fd))
		return true;
	store(&visitor->hold, 1);
	notified = pending_within(fd, PATIENCE_MS);
	store(&visitor->hold, 0);
	return notified;
}

/*
 * When a huge mapping goes with its VMA, no ACK finds that any more: nor what
 * it owes.
 */
TEST_F_TIMEOUT(path, huge_page_unmapped_beside_storing_thread_keeps_guarantee, 60)
{
	uint64_t until = now_ns() + 5000000000ull;
	struct visitor *visitor;
	unsigned long rounds;
	pid_t child;

	if (!grow_to_huge(self) || !fault_in_folio(self->map, self->len) ||
	    folio_pages_at(self->map, self->page) * self->page != self->len)
		SKIP(return, "no huge pages of shmem here");
	visitor = mmap(NULL, sizeof(*visitor), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, visitor);
	*visitor = (struct visitor) { .at = self->map, .len = self->len, .fd = self->fd };
	child = fork_child();
	ASSERT_LE(0, child);
	if (!child)
		visit(visitor);
	do {
		rounds = load(&visitor->rounds);
		ASSERT_TRUE(visitor_raises(visitor, self->fd)) TH_LOG("round %lu", rounds);
	} while (rounds < 1000 && now_ns() < until);
	EXPECT_LT(0, rounds);
	ASSERT_EQ(0, waitpid(child, NULL, WNOHANG));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	munmap(visitor, sizeof(*visitor));
}

/*
 * What is configured for one size of folios holds for memfd_create(2), and for
 * us.
 */
TEST_F(path, folio_is_as_large_as_set_for_its_size)
{
	const size_t size = 64 << 10;

	munmap(self->map, self->len);
	self->len = size;
	ASSERT_EQ(0, ftruncate(self->fd, size));
	self->map = map_aligned(self->fd, size);
	ASSERT_NE(MAP_FAILED, self->map);
	if (access(THP "hugepages-64kB/shmem_enabled", W_OK))
		SKIP(return, "no folios of 64 KiB: %s", strerror(errno));
	ASSERT_TRUE(fault_in_folio(self->map, size));
	EXPECT_EQ(size / self->page, folio_pages_at(self->map, self->page));
}

/* A hole in the last page makes it small pages again. */
TEST_F(path, collapsing_beside_stores_and_acks_keeps_guarantee)
{
	struct race race;
	int i, collapsed = 0;

	if (!store_and_collapse(self, false))
		SKIP(return, "no MADV_COLLAPSE: %s", strerror(errno));
	start_race(_metadata, &race, self->fd, self->map, self->map);
	for (i = 0; i < 30; i++) {
		ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				       self->len - self->page, self->page));
		collapsed += !madvise(self->map, self->len, MADV_COLLAPSE);
	}
	finish_race(_metadata, &race);
	TH_LOG("collapsed %d times of %d", collapsed, i);
	EXPECT_LT(0, collapsed);
}

TEST_HARNESS_MAIN
