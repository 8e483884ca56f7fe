// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - watches: several consumers of one file, and the ways by
 * which it changes
 */
#include <sys/ptrace.h>
#include <sys/uio.h>
#include "lib/watch_fixture.h"

#define LOG_RANGES	16	/* what others find is kept apart up to so many ranges */

/* Several consumers. */

TEST_F(tripwire, each_watch_is_notified_by_itself)
{
	int left = watch_pages(self->fd, 0, 4), right = watch_pages(self->fd, 2, 4);
	int all = watch_pages(self->fd, 0, 0), same = watch_pages(self->fd, 2, 4);

	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(left));
	EXPECT_STREQ("3", reported(right));
	EXPECT_STREQ("3", reported(all));
	EXPECT_STREQ("3", reported(same));
	store_to(self->map, 1);
	EXPECT_STREQ("1", reported(left));
	EXPECT_STREQ("", reported(right));
	EXPECT_STREQ("1", reported(all));
}

TEST_F(tripwire, pages_collected_by_another_watch_are_reported)
{
	int watch = watch_pages(self->fd, 0, 0), other = watch_pages(self->fd, 2, 2);

	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(other));
	store_to(self->map, 5);
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(other));
	store_to(self->map, 2);
	EXPECT_STREQ("2-3 5", reported(watch));
	EXPECT_STREQ("", reported(watch));
	EXPECT_STREQ("2", reported(other));
}

TEST_F(tripwire, pages_rearmed_by_a_new_watch_are_reported)
{
	int watch = watch_pages(self->fd, 0, 0), other;

	store_to(self->map, 3);
	other = watch_pages(self->fd, 0, 0);
	EXPECT_STREQ("", reported(other));
	EXPECT_STREQ("3", reported(watch));
}

TEST_F(tripwire, pages_acknowledged_by_the_file_are_reported)
{
	int watch = watch_pages(self->fd, 0, 0);

	store_to(self->map, 3);
	ASSERT_TRUE(eat_event(self, variant));
	EXPECT_STREQ("3", reported(watch));
	store_to(self->map, 3);
	ASSERT_TRUE(eat_event(self, variant));
	store_to(self->map, 5);
	EXPECT_STREQ("3 5", reported(watch));
}

TEST_F(path, watch_does_not_eat_the_event_of_the_file)
{
	int watch = watch_pages(self->fd, 0, 0);

	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
	EXPECT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	store_to(self->map, 3);
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, closing_a_watch_notifies_no_other)
{
	int watch = watch_pages(self->fd, 0, 4), other = watch_pages(self->fd, 2, 0);

	store_to(self->map, 1);
	ASSERT_TRUE(pending(watch));
	close(watch);
	EXPECT_STREQ("", reported(other));
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(other));
}

#define MODEL_PAGES	256
#define MODEL_WATCHES	200
#define MODEL_ROUNDS	60

struct model_watch {
	int fd;
	size_t first;
	size_t nr;
};

static void add_model_watch(struct model_watch *watch, int fd, uint64_t *state)
{
	watch->first = pseudo_random(state) % MODEL_PAGES;
	watch->nr = pseudo_random(state) % 10 ? 1 + pseudo_random(state) % 32 : 0;
	watch->fd = watch_pages(fd, watch->first, watch->nr);
}

TEST_F(tripwire, store_notifies_all_watches_of_the_page_and_no_other)
{
	char *map = map_pages(self->fd, MODEL_PAGES), page_text[16];
	struct model_watch watches[MODEL_WATCHES];
	uint64_t state = 1;
	int i, round;

	ASSERT_NE(MAP_FAILED, map);
	for (i = 0; i < MODEL_WATCHES; i++)
		add_model_watch(&watches[i], self->fd, &state);
	for (round = 0; round < MODEL_ROUNDS; round++) {
		size_t nr = pseudo_random(&state) % MODEL_PAGES;

		snprintf(page_text, sizeof(page_text), "%zu", nr);
		store_to(map, nr);
		for (i = 0; i < MODEL_WATCHES; i++) {
			const struct model_watch *w = &watches[i];
			bool covers = nr >= w->first && (!w->nr || nr < w->first + w->nr);

			ASSERT_STREQ(covers ? page_text : "", reported(w->fd))
				TH_LOG("round %d, pages %zu+%zu", round, w->first, w->nr);
		}
		i = pseudo_random(&state) % MODEL_WATCHES;
		close(watches[i].fd);
		add_model_watch(&watches[i], self->fd, &state);
	}
}

/* The log of what others found. */

static const char *every_other_page(int nr)
{
	static char text[16 * 64];
	int i, len = 0;

	text[0] = '\0';
	for (i = 0; i < nr; i++)
		len += sprintf(text + len, i ? " %d" : "%d", 2 * i);
	return text;
}

TEST_F(tripwire, as_many_holes_as_the_log_holds_are_reported_apart)
{
	char *map = map_pages(self->fd, 64);
	int watch = watch_pages(self->fd, 0, 0), i;

	ASSERT_NE(MAP_FAILED, map);
	for (i = LOG_RANGES - 1; i >= 0; i--)
		ASSERT_EQ(0, punch(self->fd, 2 * i, 1));
	EXPECT_STREQ(every_other_page(LOG_RANGES), reported(watch));
}

TEST_F(tripwire, full_log_reports_more_never_less)
{
	char *map = map_pages(self->fd, 64);
	int watch = watch_pages(self->fd, 0, 0), i;

	ASSERT_NE(MAP_FAILED, map);
	for (i = LOG_RANGES; i >= 0; i--)
		ASSERT_EQ(0, punch(self->fd, 2 * i, 1));
	store_to(map, 40);
	EXPECT_STREQ("0-32 40", reported(watch));
	ASSERT_EQ(0, punch(self->fd, 5, 1));
	EXPECT_STREQ("5", reported(watch));
}

/* The shared marks are gone, and what is left of them is one range. */
TEST_F(tripwire, more_than_the_log_holds_collected_by_another_is_reported)
{
	char *map = map_pages(self->fd, 64);
	int watch = watch_pages(self->fd, 2, 2 * LOG_RANGES + 1), i;
	int other = watch_pages(self->fd, 0, 0);

	ASSERT_NE(MAP_FAILED, map);
	for (i = 0; i < 2 * LOG_RANGES; i++)
		store_to(map, 2 * i);
	EXPECT_STREQ(every_other_page(2 * LOG_RANGES), reported(other));
	EXPECT_STREQ("2-34", reported(watch));
}

/* The ways by which pages change. */

FIXTURE(way)
{
	int fd;
	size_t page;
	char *map;
};

/* Each changes one page, which was never touched; 0, or an errno. */

static int by_store(FIXTURE_DATA(way) * self, int nr)
{
	store_to(self->map, nr);
	return 0;
}

static int by_write(FIXTURE_DATA(way) * self, int nr)
{
	return pwrite(self->fd, "x", 1, nr * self->page) == 1 ? 0 : errno;
}

static int by_splice(FIXTURE_DATA(way) * self, int nr)
{
	loff_t offset = nr * self->page;
	int fds[2], err = 0;

	if (pipe(fds) || write(fds[1], "x", 1) != 1 ||
	    splice(fds[0], NULL, self->fd, &offset, 1, 0) != 1)
		err = errno;
	close(fds[0]);
	close(fds[1]);
	return err;
}

static int by_read(FIXTURE_DATA(way) * self, int nr)
{
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC), err;

	err = read(fd, self->map + nr * self->page, 1) == 1 ? 0 : errno;
	close(fd);
	return err;
}

static int by_process_vm_writev(FIXTURE_DATA(way) * self, int nr)
{
	struct iovec from = { "x", 1 }, to = { self->map + nr * self->page, 1 };

	return process_vm_writev(getpid(), &from, 1, &to, 1, 0) == 1 ? 0 : errno;
}

static int by_proc_mem(FIXTURE_DATA(way) * self, int nr)
{
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC), err;

	err = pwrite(mem, "x", 1, (uintptr_t)self->map + nr * self->page) == 1 ? 0 : errno;
	close(mem);
	return err;
}

static int by_ptrace(FIXTURE_DATA(way) * self, int nr)
{
	struct peer peer;
	int err = 0;

	if (!start_peer(&peer))
		return errno;
	if (ptrace(PTRACE_ATTACH, peer.pid, NULL, NULL) ||
	    waitpid(peer.pid, NULL, 0) != peer.pid ||
	    ptrace(PTRACE_POKEDATA, peer.pid, self->map + nr * self->page, 42l))
		err = errno;
	end_peer(&peer);
	return err;
}

static int by_userfaultfd(FIXTURE_DATA(way) * self, int nr)
{
	char *where = self->map + nr * self->page;
	int uffd = open_uffd(where, self->page, UFFDIO_REGISTER_MODE_MISSING), err = 0;

	if (uffd < 0)
		return errno;
	if (uffd_fill(uffd, UFFDIO_COPY, where, self->page, 'y') != (ssize_t)self->page)
		err = errno;
	close(uffd);
	return err;
}

static int by_hole(FIXTURE_DATA(way) * self, int nr)
{
	return punch(self->fd, nr, 1) ? errno : 0;
}

FIXTURE_VARIANT(way)
{
	int (*change)(FIXTURE_DATA(way) * self, int nr);
};

FIXTURE_VARIANT_ADD(way, store) { .change = by_store };
FIXTURE_VARIANT_ADD(way, write) { .change = by_write };
FIXTURE_VARIANT_ADD(way, splice) { .change = by_splice };
FIXTURE_VARIANT_ADD(way, read) { .change = by_read };
FIXTURE_VARIANT_ADD(way, process_vm_writev) { .change = by_process_vm_writev };
FIXTURE_VARIANT_ADD(way, proc_mem) { .change = by_proc_mem };
FIXTURE_VARIANT_ADD(way, ptrace) { .change = by_ptrace };
FIXTURE_VARIANT_ADD(way, userfaultfd) { .change = by_userfaultfd };
FIXTURE_VARIANT_ADD(way, hole) { .change = by_hole };

FIXTURE_SETUP(way)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->fd = memfd_tripwire(MEMFD_TRIPWIRE_WATCH_ONLY | MEMFD_TRIPWIRE_NOHUGE);
	ASSERT_LE(0, self->fd);
	self->map = map_pages(self->fd, PAGES);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(way)
{
	munmap(self->map, PAGES * self->page);
	close(self->fd);
}

TEST_F(way, change_is_reported_to_the_page)
{
	int before = watch_pages(self->fd, 2, 1), after = watch_pages(self->fd, 4, 1);
	int all = watch_pages(self->fd, 0, 0), same = watch_pages(self->fd, 3, 1);
	int err = variant->change(self, 3);

	if (err)
		SKIP(return, "no such way: %s", strerror(err));
	EXPECT_STREQ("3", reported(same));
	EXPECT_STREQ("3", reported(all));
	EXPECT_STREQ("", reported(before));
	EXPECT_STREQ("", reported(after));
}

/* There may be a writable page table entry now. */
TEST_F(way, store_after_change_is_reported)
{
	int watch = watch_pages(self->fd, 0, 0), err = variant->change(self, 3);

	if (err)
		SKIP(return, "no such way: %s", strerror(err));
	EXPECT_STREQ("3", reported(watch));
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
}

static void *write_slowly(void *data)
{
	struct iovec *iov = data;

	return (void *)process_vm_writev(getpid(), &iov[0], 1, &iov[1], 1, 0);
}

/*
 * userfaultfd holds up the copying, with the page pinned, until after the read.
 */
TEST_F(tripwire, write_through_pin_after_read_is_reported)
{
	char *source = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov[2] = {
		{ source, self->page }, { self->map + 3 * self->page, self->page },
	};
	int uffd = open_uffd(source, self->page, UFFDIO_REGISTER_MODE_MISSING);
	int watch = watch_pages(self->fd, 0, 0);
	pthread_t thread;

	if (process_vm_writev(getpid(), NULL, 0, NULL, 0, 0))
		SKIP(return, "no process_vm_writev(2): %s", strerror(errno));
	if (uffd < 0)
		SKIP(return, "no userfaultfd: %s", strerror(errno));
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_slowly, iov));
	ASSERT_TRUE(pending_within(uffd, PATIENCE_MS));
	EXPECT_STREQ("3", reported(watch));
	ASSERT_EQ((ssize_t)self->page, uffd_fill(uffd, UFFDIO_COPY, source, self->page, 'y'));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_TRUE(notified_in_time(watch, 3));
	EXPECT_NE(0, load(self->map + 3 * self->page));
}

TEST_HARNESS_MAIN
