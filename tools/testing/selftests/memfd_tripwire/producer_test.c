// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - the producer fd, and which description can watch
 */
#include <sys/epoll.h>
#include "kselftest_harness.h"
#include "lib/tripwire.h"

FIXTURE(producer)
{
	int fd;
	int producer;
	size_t page;
	char *map;
};

FIXTURE_SETUP(producer)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->fd = memfd_tripwire(MEMFD_TRIPWIRE_WATCH_ONLY | MEMFD_TRIPWIRE_NOHUGE);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->page));
	self->producer = ioctl(self->fd, MEMFD_TRIPWIRE_PRODUCER, 0);
	ASSERT_LE(0, self->producer);
	self->map = map_shared(self->producer, self->page);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(producer)
{
	munmap(self->map, self->page);
	close(self->producer);
	close(self->fd);
}

TEST_F(producer, descriptor_is_one_of_a_memfd)
{
	struct stat st, memory;
	char text[6] = "";

	EXPECT_EQ(FD_CLOEXEC, fcntl(self->producer, F_GETFD));
	EXPECT_EQ(O_RDWR, fcntl(self->producer, F_GETFL) & O_ACCMODE);
	ASSERT_EQ(0, fstat(self->producer, &st));
	ASSERT_EQ(0, fstat(self->fd, &memory));
	EXPECT_EQ(memory.st_ino, st.st_ino);
	EXPECT_EQ(5, pwrite(self->producer, "hello", 5, 0));
	EXPECT_EQ(5, pread(self->fd, text, 5, 0));
	EXPECT_STREQ("hello", text);
	EXPECT_EQ(3, lseek(self->producer, 3, SEEK_SET));
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(0, fcntl(self->producer, F_ADD_SEALS, F_SEAL_SHRINK));
	EXPECT_EQ(-1, ftruncate(self->fd, 0));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(0, ftruncate(self->producer, 3ll << 30));
}

TEST_F(producer, store_and_write_notify_the_watch)
{
	int watch = watch_pages(self->fd, 0, 0);

	ASSERT_LE(0, watch);
	store_to(self->map, 0);
	EXPECT_STREQ("0", reported(watch));
	ASSERT_EQ(1, pwrite(self->producer, "x", 1, 0));
	EXPECT_STREQ("0", reported(watch));
	close(watch);
}

/* What a description can do beyond a memfd; NULL: nothing. */
static const char *privilege(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN | POLLOUT };
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	const char *found = NULL;

	if (poll(&pollfd, 1, 0) != 1 || pollfd.revents != (POLLIN | POLLOUT))
		found = "poll";
	else if (!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) || errno != EPERM)
		found = "epoll";
	else if (!ack(fd) || errno != EOPNOTSUPP)
		found = "ACK";
	else if (watch_pages(fd, 0, 0) >= 0 || errno != EPERM)
		found = "watch";
	else if (ioctl(fd, MEMFD_TRIPWIRE_PRODUCER, 0) >= 0 || errno != EPERM)
		found = "producer fd";
	close(epoll);
	return found;
}

TEST_F(producer, producer_fd_neither_polls_nor_acks_nor_watches)
{
	const char *found = privilege(self->producer);

	EXPECT_EQ(NULL, found) TH_LOG("%s", found);
}

TEST_F(producer, nor_does_what_is_opened_later)
{
	const int from[] = { self->producer, self->fd };
	char path[80], *end = self->map + self->page;
	const char *found;
	int i, fd;

	for (i = 0; i < 4; i++) {
		fd = reopen(from[i / 2], i & 1 ? O_RDONLY : O_RDWR);
		ASSERT_LE(0, fd);
		found = privilege(fd);
		EXPECT_EQ(NULL, found) TH_LOG("%s", found);
		close(fd);
	}
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)self->map, (unsigned long)end);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		SKIP(return, "%s: %s", path, strerror(errno));
	found = privilege(fd);
	EXPECT_EQ(NULL, found) TH_LOG("%s", found);
	close(fd);
}

TEST_F(producer, reopened_file_of_the_default_mode_acks_and_does_not_watch)
{
	int fd = memfd_tripwire(0), again = reopen(fd, O_RDWR);

	ASSERT_LE(0, again);
	EXPECT_EQ(0, ack(again));
	EXPECT_EQ(-1, watch_pages(again, 0, 0));
	EXPECT_EQ(EPERM, errno);
	close(again);
	close(fd);
}

TEST_F(producer, errors_leave_no_descriptor)
{
	int fd = memfd_tripwire(0), next = dup(fd);
	struct rlimit limit;

	ASSERT_LE(0, fd);
	close(next);
	EXPECT_EQ(-1, ioctl(fd, MEMFD_TRIPWIRE_PRODUCER, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(-1, ioctl(self->fd, MEMFD_TRIPWIRE_PRODUCER, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(next, dup(fd));
	close(next);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = next;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(-1, ioctl(self->fd, MEMFD_TRIPWIRE_PRODUCER, 0));
	EXPECT_EQ(EMFILE, errno);
	close(fd);
}

TEST_F(producer, eventfd_of_a_watch_without_its_flag_is_einval)
{
	struct memfd_tripwire_watch watch = { .eventfd = -1 };
	int fd;

	fd = ioctl(self->fd, MEMFD_TRIPWIRE_WATCH, &watch);
	EXPECT_LE(0, fd);
	close(fd);
	watch.eventfd = 0;
	fd = ioctl(self->fd, MEMFD_TRIPWIRE_WATCH, &watch);
	EXPECT_LE(0, fd);
	close(fd);
	watch.eventfd = self->fd;
	EXPECT_EQ(-1, ioctl(self->fd, MEMFD_TRIPWIRE_WATCH, &watch));
	EXPECT_EQ(EINVAL, errno);
	watch.eventfd = -2;
	EXPECT_EQ(-1, ioctl(self->fd, MEMFD_TRIPWIRE_WATCH, &watch));
	EXPECT_EQ(EINVAL, errno);
}

TEST_HARNESS_MAIN
