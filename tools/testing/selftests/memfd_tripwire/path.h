/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - what path_test, huge_test and pin_test share
 */
#ifndef SELFTEST_TRIPWIRE_PATH_H
#define SELFTEST_TRIPWIRE_PATH_H

#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <linux/mempolicy.h>
#include "kselftest_harness.h"
#include "tripwire.h"

#ifndef MADV_COLLAPSE
# define MADV_COLLAPSE		25
#endif

#define PAGES		16
#define STORED		4	/* pages that the storing thread writes, the first ones */
#define BURST		32	/* stores to one of them in a row */
#define PATIENCE_MS	5000	/* for an event that may be late */
#define THP		"/sys/kernel/mm/transparent_hugepage/"

#define NO_NODES	"no migration to a second node (numa=fake=2): %s"

/* The node where it is then, or a negative errno. */
static inline long move_page(void *page, int node)
{
	int status = -ENOENT;

	if (syscall(__NR_move_pages, 0, 1, &page, &node, &status, MPOL_MF_MOVE))
		return -errno;
	return status;
}

/* A new value each time. */
static inline void store_new(void *where)
{
	static uint64_t value;

	store(where, ++value);
}

static inline void check_store_raises_after_ack(struct __test_metadata *_metadata, int fd,
						void *where)
{
	ASSERT_EQ(0, ack(fd));
	ASSERT_FALSE(pending(fd));
	store_new(where);
	EXPECT_TRUE(pending(fd));
}

/*
 * A race: one thread stores, another ACKs and checks the guarantee, and the
 * test itself does to the memory what it is about.
 */
struct race {
	char *map;		/* where is stored; NULL: there is no such thread */
	char *view;		/* where is read; may be the same */
	size_t page;
	int fd;			/* a consumer of its own */
	uint64_t committed;	/* stored before this was */
	uint64_t acks;
	uint64_t hold;		/* store nothing for now */
	uint64_t stop;
	const char *wrong;
	pthread_t threads[2];
};

static inline void *race_store(void *data)
{
	struct race *race = data;
	uint64_t n;

	for (n = 1; race->map && !load(&race->stop); n++) {
		while (load(&race->hold))
			sched_yield();
		store(race->map + n / BURST % STORED * race->page, n);
		store(&race->committed, n);
	}
	return NULL;
}

/* It may be late, but must not be that of another store: there are none meanwhile. */
static inline bool race_told(struct race *race)
{
	bool told;

	store(&race->hold, 1);
	told = pending_within(race->fd, PATIENCE_MS);
	store(&race->hold, 0);
	return told;
}

static inline void *race_ack(void *data)
{
	struct race *race = data;
	uint64_t before, after[STORED];
	bool changed;
	int i;

	while (!load(&race->stop) && !race->wrong) {
		before = load(&race->committed);
		if (ack(race->fd))
			race->wrong = "ACK failed";
		for (i = 0; i < STORED; i++)
			after[i] = load(race->view + i * race->page);
		if (after[before / BURST % STORED] < before)
			race->wrong = "a store before the ACK is not visible after it";
		if (race->acks++ % 2)
			sched_yield();
		changed = false;
		for (i = 0; i < STORED; i++)
			changed |= load(race->view + i * race->page) != after[i];
		if (changed && !pending(race->fd) && !race_told(race))
			race->wrong = "a store after the ACK raised no event";
	}
	return NULL;
}

static inline void start_race(struct __test_metadata *_metadata, struct race *race, int fd,
			      char *map, char *view)
{
	*race = (struct race) { .map = map, .view = view, .page = getpagesize() };
	race->fd = reopen(fd, O_RDWR);
	ASSERT_LE(0, race->fd);
	ASSERT_EQ(0, pthread_create(&race->threads[0], NULL, race_store, race));
	ASSERT_EQ(0, pthread_create(&race->threads[1], NULL, race_ack, race));
}

/* Lets a thread of the race do one thing more. */
static inline void await_progress(const struct race *race, const uint64_t *of)
{
	uint64_t seen = load(of);

	while (load(of) == seen && !race->wrong)
		sched_yield();
}

static inline void finish_race(struct __test_metadata *_metadata, struct race *race)
{
	store(&race->stop, 1);
	ASSERT_EQ(0, pthread_join(race->threads[0], NULL));
	ASSERT_EQ(0, pthread_join(race->threads[1], NULL));
	EXPECT_EQ(NULL, race->wrong) TH_LOG("%s", race->wrong);
	ASSERT_TRUE(ack_until_quiet(race->fd));
	check_store_raises_after_ack(_metadata, race->fd, race->view);
	close(race->fd);
}

/* Another process with the same mapping, which stores to pages when told to. */
struct peer {
	pid_t pid;
	int sock;
};

struct order {
	char *from;
	size_t step;
	size_t count;
};

static inline void obey(const struct order *order)
{
	size_t i;

	for (i = 0; i < order->count; i++)
		store_new(order->from + i * order->step);
}

static inline bool start_peer(struct peer *peer)
{
	struct order order;
	int socks[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks))
		return false;
	peer->pid = fork_child();
	if (!peer->pid) {
		while (read(socks[1], &order, sizeof(order)) == sizeof(order)) {
			obey(&order);
			if (write(socks[1], "", 1) != 1)
				break;
		}
		_exit(0);
	}
	close(socks[1]);
	peer->sock = socks[0];
	return peer->pid > 0;
}

static inline bool tell_peer(struct peer *peer, char *from, size_t step, size_t count)
{
	struct order order = { from, step, count };
	char byte;

	return write(peer->sock, &order, sizeof(order)) == sizeof(order) &&
	       read(peer->sock, &byte, 1) == 1;
}

static inline void end_peer(struct peer *peer)
{
	kill(peer->pid, SIGKILL);
	waitpid(peer->pid, NULL, 0);
	close(peer->sock);
}

/* How many pages the folio has that starts at @where; 0 if it cannot be told. */
static inline size_t folio_pages_at(const void *where, size_t page)
{
	const uint64_t present = 1ull << 63, head = 1 << 15, tail = 1 << 16;
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0, flags = 0, pfn;
	size_t pages = 0;

	if (pread(pagemap, &entry, 8, (uintptr_t)where / page * 8) == 8 && (entry & present)) {
		pfn = entry & ((1ull << 55) - 1);
		if (pfn && pread(kpageflags, &flags, 8, pfn * 8) == 8)
			pages = !(flags & tail);
		while (flags & (head | tail)) {
			if (pread(kpageflags, &flags, 8, (pfn + pages) * 8) != 8 || !(flags & tail))
				break;
			pages++;
		}
	}
	close(pagemap);
	close(kpageflags);
	return pages;
}

/* Huge pages need an aligned mapping. */
static inline char *map_aligned(int fd, size_t len)
{
	char *room = mmap(NULL, 2 * len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		return MAP_FAILED;
	return mmap((void *)(((uintptr_t)room + len - 1) & -len), len,
		    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
}

/* Write fault the first folio in as one of this size; the setting is put back at once. */
static inline bool fault_in_folio(char *map, size_t size)
{
	char path[128], old[128] = "", *start, *end;
	int fd;

	snprintf(path, sizeof(path), THP "hugepages-%zukB/shmem_enabled", size >> 10);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, old, sizeof(old) - 1) < 0)
		return false;
	close(fd);
	start = strchr(old, '[');
	end = strchr(old, ']');
	if (!start || !end || write_text(path, "always"))
		return false;
	store_new(map);
	*end = '\0';
	return !write_text(path, start + 1);
}

FIXTURE(path)
{
	int fd;
	size_t page;
	size_t len;
	char *map;
};

FIXTURE_SETUP(path)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->len = PAGES * self->page;
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->len));
	self->map = map_shared(self->fd, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	ASSERT_EQ(0, ack(self->fd));
}

FIXTURE_TEARDOWN(path)
{
	munmap(self->map, self->len);
	close(self->fd);
}

/* Exchanges the mapping for one of the size of a huge page; false if there are none. */
static inline bool grow_to_huge(FIXTURE_DATA(path) * self)
{
	FILE *file = fopen(THP "hpage_pmd_size", "re");
	size_t len = 0;

	if (!file || fscanf(file, "%zu", &len) != 1)
		return false;
	fclose(file);
	munmap(self->map, self->len);
	self->len = len;
	if (ftruncate(self->fd, len))
		return false;
	self->map = map_aligned(self->fd, len);
	return self->map != MAP_FAILED;
}

#endif /* SELFTEST_TRIPWIRE_PATH_H */
