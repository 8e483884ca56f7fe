// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - what raises an event, for whom, and what does not
 */
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "kselftest_harness.h"
#include "lib/tripwire.h"

#define PAGES	8

FIXTURE(tripwire)
{
	int fd;
	size_t page;
	size_t len;
	char *map;
};

FIXTURE_SETUP(tripwire)
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
	ASSERT_FALSE(pending(self->fd));
}

FIXTURE_TEARDOWN(tripwire)
{
	munmap(self->map, self->len);
	close(self->fd);
}

TEST_F(tripwire, fresh_file_has_no_event)
{
	int fd = memfd_tripwire(0);

	ASSERT_LE(0, fd);
	EXPECT_FALSE(pending(fd));
	close(fd);
}

TEST_F(tripwire, store_raises_until_ack_and_again_after)
{
	store(self->map, 1);
	EXPECT_TRUE(pending(self->fd));
	EXPECT_TRUE(pending(self->fd));
	EXPECT_EQ(0, ack(self->fd));
	EXPECT_FALSE(pending(self->fd));

	store(self->map, 2);
	EXPECT_TRUE(pending(self->fd));
	EXPECT_EQ(0, ack(self->fd));
	EXPECT_FALSE(pending(self->fd));
	EXPECT_EQ(2, load(self->map));
}

TEST_F(tripwire, store_to_page_that_was_read_raises)
{
	EXPECT_EQ(0, load(self->map));
	EXPECT_FALSE(pending(self->fd));
	store(self->map, 1);
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, load_raises_nothing)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(0, load(self->map + i * self->page));
	EXPECT_FALSE(pending(self->fd));
}

TEST_F(tripwire, one_ack_rearms_every_written_page)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		store(self->map + i * self->page, 1);
	ASSERT_EQ(0, ack(self->fd));
	EXPECT_FALSE(pending(self->fd));

	for (i = 0; i < PAGES; i++) {
		store(self->map + i * self->page, 2);
		EXPECT_TRUE(pending(self->fd)) TH_LOG("page %zu", i);
		ASSERT_EQ(0, ack(self->fd));
	}
}

TEST_F(tripwire, granted_page_is_written_without_fault)
{
	uint64_t i;
	long before;

	store(self->map, 0);
	before = minor_faults();
	for (i = 0; i < 1000; i++)
		store(self->map, i);
	/* NUMA hinting may add one now and then. */
	EXPECT_GT(before + 10, minor_faults());
}

TEST_F(tripwire, two_mappings_of_one_process_both_rearm)
{
	char *other = map_shared(self->fd, self->len);

	ASSERT_NE(MAP_FAILED, other);
	store(self->map, 1);
	store(other, 2);
	ASSERT_EQ(0, ack(self->fd));
	store(other, 3);
	EXPECT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	store(self->map, 4);
	EXPECT_TRUE(pending(self->fd));
	munmap(other, self->len);
}

TEST_F(tripwire, store_of_child_wakes_sleeping_parent)
{
	int go[2], status;
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(go));
	child = fork_child();
	ASSERT_LE(0, child);
	if (!child) {
		if (read(go[0], &byte, 1) == 1)
			store(self->map, 42);
		_exit(0);
	}
	ASSERT_EQ(1, write(go[1], "", 1));
	EXPECT_TRUE(pending_within(self->fd, 5000));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(42, load(self->map));
}

/*
 * The child inherits the mapping, not the page table: neither may keep a grant.
 */
TEST_F(tripwire, mapping_inherited_by_fork_is_rearmed)
{
	int go[2], done[2], status;
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(done));
	store(self->map, 1);
	child = fork_child();
	ASSERT_LE(0, child);
	if (!child) {
		uint64_t i;

		close(go[1]);
		for (i = 2; write(done[1], "", 1) == 1 && read(go[0], &byte, 1) == 1; i++)
			store(self->map, i);
		_exit(0);
	}
	close(go[0]);
	ASSERT_EQ(1, read(done[0], &byte, 1));
	ASSERT_EQ(0, ack(self->fd));

	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(1, read(done[0], &byte, 1));
	EXPECT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(1, read(done[0], &byte, 1));
	EXPECT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	store(self->map, 9);
	EXPECT_TRUE(pending(self->fd));

	close(go[1]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
}

/* A dirty read-only PTE would become writable with no fault. */
TEST_F(tripwire, mprotect_back_to_writable_stays_armed)
{
	store(self->map, 1);
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, mprotect(self->map, self->len, PROT_READ));
	ASSERT_EQ(0, mprotect(self->map, self->len, PROT_READ | PROT_WRITE));
	store(self->map, 2);
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, ack_while_mapping_is_read_only_rearms)
{
	store(self->map, 1);
	ASSERT_EQ(0, mprotect(self->map, self->len, PROT_READ));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, mprotect(self->map, self->len, PROT_READ | PROT_WRITE));
	store(self->map, 2);
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, mapping_made_writable_later_raises)
{
	char *map = mmap(NULL, self->len, PROT_READ, MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, load(map));
	ASSERT_EQ(0, mprotect(map, self->len, PROT_READ | PROT_WRITE));
	store(map, 1);
	EXPECT_TRUE(pending(self->fd));
	munmap(map, self->len);
}

TEST_F(tripwire, moved_mapping_is_rearmed)
{
	char *target = mmap(NULL, self->len, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, target);
	store(self->map, 1);
	ASSERT_EQ(target, mremap(self->map, self->len, self->len,
				 MREMAP_MAYMOVE | MREMAP_FIXED, target));
	self->map = target;
	ASSERT_EQ(0, ack(self->fd));
	store(self->map, 2);
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, private_store_raises_nothing)
{
	char *map = mmap(NULL, self->len, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			 self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	store(map, 1);
	EXPECT_FALSE(pending(self->fd));
	EXPECT_EQ(0, load(self->map));
	munmap(map, self->len);
}

TEST_F(tripwire, read_raises_nothing)
{
	char byte;

	EXPECT_EQ(1, pread(self->fd, &byte, 1, 0));
	EXPECT_FALSE(pending(self->fd));
}

TEST_F(tripwire, write_raises_after_the_data)
{
	EXPECT_EQ(1, pwrite(self->fd, "x", 1, 0));
	EXPECT_TRUE(pending(self->fd));
	EXPECT_EQ(0, ack(self->fd));
	EXPECT_EQ('x', self->map[0]);
	EXPECT_FALSE(pending(self->fd));
}

TEST_F(tripwire, write_from_a_bad_buffer_raises_and_changes_nothing)
{
	char *bad = mmap(NULL, self->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, bad);
	store(self->map, 1);
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(-1, pwrite(self->fd, bad, 8, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TRUE(pending(self->fd));
	EXPECT_EQ(1, load(self->map));
	munmap(bad, self->page);
}

TEST_F(tripwire, vectored_write_raises)
{
	struct iovec iov = { .iov_base = "x", .iov_len = 1 };

	EXPECT_EQ(1, pwritev(self->fd, &iov, 1, 0));
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, splice_into_file_raises)
{
	loff_t offset = 0;
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ(1, write(fds[1], "x", 1));
	ASSERT_EQ(1, splice(fds[0], NULL, self->fd, &offset, 1, 0));
	EXPECT_TRUE(pending(self->fd));
	close(fds[0]);
	close(fds[1]);
}

TEST_F(tripwire, sendfile_into_file_raises)
{
	int from = memfd_create("from", 0);

	ASSERT_LE(0, from);
	ASSERT_EQ(1, pwrite(from, "x", 1, 0));
	ASSERT_EQ(1, sendfile(self->fd, from, NULL, 1));
	EXPECT_TRUE(pending(self->fd));
	close(from);
}

/* read(2) of another file into the region: the kernel is the producer. */
TEST_F(tripwire, kernel_copy_into_mapping_raises)
{
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ(1, write(fds[1], "x", 1));
	ASSERT_EQ(1, read(fds[0], self->map, 1));
	EXPECT_TRUE(pending(self->fd));
	close(fds[0]);
	close(fds[1]);
}

TEST_F(tripwire, punch_raises)
{
	store(self->map, 1);
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       0, self->page));
	EXPECT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	EXPECT_EQ(0, load(self->map));
	store(self->map, 2);
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, madv_remove_raises)
{
	store(self->map, 1);
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, madvise(self->map, self->page, MADV_REMOVE));
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, truncate_raises_both_ways_but_not_in_place)
{
	ASSERT_EQ(0, ftruncate(self->fd, self->len));
	EXPECT_FALSE(pending(self->fd));
	ASSERT_EQ(0, ftruncate(self->fd, self->page));
	EXPECT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, ftruncate(self->fd, self->len));
	EXPECT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	store(self->map + self->page, 1);
	EXPECT_TRUE(pending(self->fd));
}

/* To the same size: what is behind the end, in its page, becomes zero. */
TEST_F(tripwire, truncate_in_place_within_a_page_raises)
{
	char *behind = self->map + 2 * self->page - 8;

	ASSERT_EQ(0, ftruncate(self->fd, 2 * self->page - 100));
	store(behind, 1);
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, ftruncate(self->fd, 2 * self->page - 100));
	EXPECT_EQ(0, load(behind));
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, allocating_pages_raises_nothing)
{
	ASSERT_EQ(0, fallocate(self->fd, 0, 0, self->len));
	EXPECT_FALSE(pending(self->fd));
	store(self->map, 1);
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, allocating_beyond_the_end_raises)
{
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_KEEP_SIZE, self->len, self->page));
	EXPECT_FALSE(pending(self->fd));
	ASSERT_EQ(0, fallocate(self->fd, 0, self->len, self->page));
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, reopened_description_starts_signalled)
{
	int fd = reopen(self->fd, O_RDWR);

	ASSERT_LE(0, fd);
	EXPECT_TRUE(pending(fd));
	EXPECT_FALSE(pending(self->fd));
	EXPECT_EQ(0, ack(fd));
	EXPECT_FALSE(pending(fd));
	close(fd);
}

TEST_F(tripwire, duplicated_fd_shares_the_event)
{
	int fd = dup(self->fd);

	ASSERT_LE(0, fd);
	EXPECT_FALSE(pending(fd));
	store(self->map, 1);
	EXPECT_TRUE(pending(fd));
	EXPECT_EQ(0, ack(fd));
	EXPECT_FALSE(pending(self->fd));
	close(fd);
}

TEST_F(tripwire, consumer_does_not_eat_the_event_of_another)
{
	int fd = reopen(self->fd, O_RDWR);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ack(fd));
	store(self->map, 1);
	EXPECT_TRUE(pending(fd));
	EXPECT_TRUE(pending(self->fd));

	ASSERT_EQ(0, ack(fd));
	EXPECT_FALSE(pending(fd));
	EXPECT_TRUE(pending(self->fd));

	/* What one has re-armed raises for both. */
	ASSERT_EQ(0, ack(self->fd));
	store(self->map, 2);
	EXPECT_TRUE(pending(fd));
	EXPECT_TRUE(pending(self->fd));
	close(fd);
}

TEST_F(tripwire, two_files_do_not_mix)
{
	int fd = memfd_tripwire(0);
	char *map;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, self->page));
	map = map_shared(fd, self->page);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, ack(fd));
	store(map, 1);
	EXPECT_TRUE(pending(fd));
	EXPECT_FALSE(pending(self->fd));
	munmap(map, self->page);
	close(fd);
}

TEST_F(tripwire, poll_reports_writable_always)
{
	struct pollfd pfd = { .fd = self->fd, .events = POLLIN | POLLOUT };

	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLOUT, pfd.revents);
	store(self->map, 1);
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLIN | POLLOUT, pfd.revents);
}

TEST_F(tripwire, select_reports_event)
{
	struct timeval none = { 0 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(self->fd, &set);
	EXPECT_EQ(0, select(self->fd + 1, &set, NULL, NULL, &none));
	store(self->map, 1);
	FD_SET(self->fd, &set);
	EXPECT_EQ(1, select(self->fd + 1, &set, NULL, NULL, &none));
}

TEST_F(tripwire, edge_triggered_epoll_gets_an_edge_a_write)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int i, ep = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_LE(0, ep);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->fd, &event));
	EXPECT_EQ(0, epoll_wait(ep, &event, 1, 0));
	for (i = 1; i <= 3; i++) {
		store(self->map, i);
		EXPECT_EQ(1, epoll_wait(ep, &event, 1, 0));
		EXPECT_EQ(0, epoll_wait(ep, &event, 1, 0));
		ASSERT_EQ(0, ack(self->fd));
	}
	close(ep);
}

TEST_HARNESS_MAIN
