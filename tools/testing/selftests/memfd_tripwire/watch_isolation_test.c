// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - watches: whom a watch need not trust, and what it may not
 * cost others
 */
#include <sys/eventfd.h>
#include <sys/stat.h>
#include "lib/tripwire.h"
#include "lib/watch_fixture.h"

/* What a watch would let its holder do with the memory; NULL: nothing. */
static const char *given_access(int watch)
{
	size_t page = getpagesize();
	char byte = 0;

	if (mmap(NULL, page, PROT_READ, MAP_SHARED, watch, 0) != MAP_FAILED || errno != ENODEV)
		return "mmap";
	if (write(watch, &byte, 1) >= 0 || errno != EBADF)
		return "write";
	if (ack(watch) >= 0 || errno != ENOTTY)
		return "ACK";
	if (add_watch(watch, 0, 0, 0) >= 0 || errno != ENOTTY)
		return "another watch";
	if (lseek(watch, 0, SEEK_SET) >= 0 || errno != ESPIPE)
		return "lseek";
	if (pread(watch, &byte, 1, 0) >= 0 || errno != ESPIPE)
		return "pread";
	if (ftruncate(watch, 0) >= 0 || errno != EINVAL)
		return "ftruncate";
	if (fallocate(watch, HOLE, 0, page) >= 0 || errno != EBADF)
		return "fallocate";
	if (fcntl(watch, F_GET_SEALS) >= 0 || errno != EINVAL)
		return "seals";
	if (reopen(watch, O_RDWR) >= 0)
		return "reopening";
	return NULL;
}

TEST_F(tripwire, watch_gives_no_access_to_the_memory)
{
	int watch = watch_pages(self->fd, 0, 0);
	const char *access = given_access(watch);

	EXPECT_EQ(NULL, access) TH_LOG("%s", access);
}

static bool send_fd(int sock, int fd)
{
	char byte = 0, room[CMSG_SPACE(sizeof(fd))] = "";
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = room, .msg_controllen = sizeof(room),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(sock, &msg, 0) == 1;
}

static int receive_fd(int sock)
{
	char byte, room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = room, .msg_controllen = sizeof(room),
	};
	int fd = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* The holder has nothing but the watch. */
TEST_F(tripwire, watch_passed_to_another_process_reports_and_gives_no_access)
{
	int socks[2], status, watch;
	struct reports reports;
	pid_t child;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks));
	child = fork_child();
	ASSERT_LE(0, child);
	if (!child) {
		munmap(self->map, self->len);
		close(self->fd);
		watch = receive_fd(socks[1]);
		if (given_access(watch))
			_exit(1);
		if (read_reports(watch, &reports, 1) != 1)
			_exit(2);
		_exit(strcmp("3", reports_text(&reports)) ? 3 : 0);
	}
	watch = add_watch(self->fd, 0, 0, 0);
	ASSERT_TRUE(send_fd(socks[0], watch));
	close(watch);
	store_to(self->map, 3);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, WEXITSTATUS(status));
}

/* It tries every way to clear the events of others. */
static int greedy_producer(int fd)
{
	char *map = map_shared(fd, PAGES * getpagesize());
	int watch = watch_pages(fd, 0, 0), again = reopen(fd, O_RDWR);

	if (map == MAP_FAILED || watch < 0 || again < 0)
		return 1;
	store_to(map, 3);
	ack(fd);
	ack(again);
	store_to(map, 5);
	if (strcmp("3 5", reported(watch)))
		return 2;
	close(watch);
	watch_pages(fd, 0, 0);
	return ack(fd) && errno != EOPNOTSUPP;
}

TEST_F(tripwire, producer_with_passed_file_takes_nothing_from_a_watch)
{
	int socks[2], status, watch = watch_pages(self->fd, 0, 0);
	pid_t child;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks));
	child = fork_child();
	ASSERT_LE(0, child);
	if (!child)
		_exit(greedy_producer(receive_fd(socks[1])));
	ASSERT_TRUE(send_fd(socks[0], self->fd));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_STREQ("3 5", reported(watch));
}

#define BUSY_PAGES	512
#define BUSY		3	/* producers */

/* Stores to all pages but the first few, and acknowledges, without end. */
static void keep_busy(int fd, char *map)
{
	int all = watch_pages(fd, 0, 0), i;
	struct reports reports;

	for (;;) {
		for (i = STORED; i < BUSY_PAGES; i++)
			store_to(map, i);
		ack(fd);
		read_reports(all, &reports, MAX_REPORTS);
	}
}

TEST_F(tripwire, busy_producer_delays_no_watch)
{
	char *map = map_pages(self->fd, BUSY_PAGES);
	int bell = watch_pages(self->fd, 0, 1), all = watch_pages(self->fd, 0, 0), i;
	pid_t children[BUSY];

	for (i = 0; i < BUSY; i++) {
		children[i] = fork_child();
		ASSERT_LE(0, children[i]);
		if (!children[i])
			keep_busy(self->fd, map);
	}
	for (i = 0; i < 50; i++) {
		store_to(map, 0);
		store_to(map, 2);
		ASSERT_TRUE(notified_in_time(bell, 0)) TH_LOG("round %d", i);
		ASSERT_TRUE(notified_in_time(all, 2)) TH_LOG("round %d", i);
	}
	for (i = 0; i < BUSY; i++) {
		kill(children[i], SIGKILL);
		ASSERT_EQ(children[i], waitpid(children[i], NULL, 0));
	}
}

#define MAPPINGS	4000

TEST_F_TIMEOUT(tripwire, many_mappings_delay_no_watch, 120)
{
	int watch = watch_pages(self->fd, 3, 1), i;
	static char *map[MAPPINGS];

	for (i = 0; i < MAPPINGS; i++) {
		map[i] = map_shared(self->fd, self->len);
		ASSERT_NE(MAP_FAILED, map[i]);
		store_to(map[i], 3);
	}
	EXPECT_STREQ("3", reported(watch));
	for (i = 0; i < MAPPINGS; i += 400) {
		store_to(map[i], 3);
		ASSERT_TRUE(notified_in_time(watch, 3)) TH_LOG("mapping %d", i);
	}
}

/* Those of one inode for all anonymous files are not. */
TEST_F(tripwire, each_watch_has_an_inode_that_security_modules_are_asked_for)
{
	int watch = watch_pages(self->fd, 3, 1), other = watch_pages(self->fd, 3, 1);
	int event = eventfd(0, EFD_CLOEXEC);
	struct stat one, two, shared;

	ASSERT_EQ(0, fstat(watch, &one));
	ASSERT_EQ(0, fstat(other, &two));
	ASSERT_EQ(0, fstat(event, &shared));
	EXPECT_NE(one.st_ino, two.st_ino);
	EXPECT_NE(one.st_ino, shared.st_ino);
}

struct slow_read {
	int watch;
	char *buffer;
	ssize_t got;
	int err;
};

static void *read_slowly(void *data)
{
	struct slow_read *slow = data;

	slow->got = read(slow->watch, slow->buffer, getpagesize());
	slow->err = errno;
	return NULL;
}

/*
 * Others get on while a read hangs in its buffer; then the buffer comes, or
 * goes.
 */
static void hang_in_buffer(struct __test_metadata *_metadata, FIXTURE_DATA(tripwire) * self,
			   const FIXTURE_VARIANT(tripwire) * variant, bool resolve)
{
	int watch = watch_pages(self->fd, 0, 0), other = watch_pages(self->fd, 0, 0), uffd;
	struct slow_read slow = { .watch = watch };
	struct memfd_tripwire_range *range;
	struct reports reports;
	pthread_t thread;

	slow.buffer = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	uffd = open_uffd(slow.buffer, self->page, UFFDIO_REGISTER_MODE_MISSING);
	if (uffd < 0)
		SKIP(return, "no userfaultfd here: %s", strerror(errno));
	store_to(self->map, 3);
	ASSERT_EQ(0, pthread_create(&thread, NULL, read_slowly, &slow));
	ASSERT_TRUE(pending_within(uffd, PATIENCE_MS));

	store_to(self->map, 5);
	EXPECT_STREQ("3 5", reported(other));
	ASSERT_TRUE(pending(watch));
	ASSERT_LT(0, read_reports(watch, &reports, MAX_REPORTS));
	EXPECT_TRUE(is_reported(&reports, 5 * self->page));
	EXPECT_TRUE(eat_event(self, variant));
	EXPECT_EQ(0, close(watch_pages(self->fd, 0, 0)));

	if (resolve) {
		ASSERT_EQ((ssize_t)self->page,
			  uffd_fill(uffd, UFFDIO_ZEROPAGE, slow.buffer, self->page, 0));
	} else {
		ASSERT_EQ(0, munmap(slow.buffer, self->page));
		close(uffd);	/* which wakes it */
	}
	ASSERT_EQ(0, pthread_join(thread, NULL));
	if (resolve) {
		ASSERT_EQ(16, slow.got);
		range = (void *)slow.buffer;
		EXPECT_EQ(3 * self->page, range->offset);
		EXPECT_STREQ("", reported(watch));
	} else {
		ASSERT_EQ(-1, slow.got);
		EXPECT_EQ(EFAULT, slow.err);
		EXPECT_STREQ("3", reported(watch));
	}
}

TEST_F(tripwire, reader_hanging_in_its_buffer_delays_nobody)
{
	hang_in_buffer(_metadata, self, variant, true);
}

TEST_F(tripwire, reader_losing_its_buffer_takes_no_report_along)
{
	hang_in_buffer(_metadata, self, variant, false);
}

#define CHARGED		3000
#define CHARGED_BYTES	256	/* of a watch, at least, beyond what any anonymous file has */

static int new_uffd(int fd)
{
	(void)fd;
	return syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
}

static int new_watch(int fd)
{
	return watch_pages(fd, 0, 1);
}

/* By how many bytes that many of them make the charge of this memcg grow. */
static long long charge_of(const char *current, int (*new_file)(int fd), int fd)
{
	char text[32] = "";
	long long before = 0;
	int i, charge = open(current, O_RDONLY | O_CLOEXEC);

	if (pread(charge, text, sizeof(text) - 1, 0) > 0)
		before = atoll(text);
	for (i = 0; i < CHARGED; i++)
		if (new_file(fd) < 0)
			return -1;
	if (pread(charge, text, sizeof(text) - 1, 0) <= 0)
		return -1;
	close(charge);
	return atoll(text) - before;
}

TEST_F(path, watches_are_charged_to_their_memcg)
{
	struct memcg memcg;
	const char *reason = begin_memcg(&memcg);
	long long uffds, watches;
	char path[64];

	if (reason)
		SKIP(return, "%s", reason);
	if (new_uffd(-1) < 0)
		SKIP(return, "no userfaultfd to compare with: %s", strerror(errno));
	ASSERT_TRUE(raise_fd_limit());
	ASSERT_EQ(9000, dup2(self->fd, 9000));	/* no larger table is needed later */
	ASSERT_EQ(0, enter_memcg(&memcg));

	snprintf(path, sizeof(path), "%s/memory.current", memcg.path);
	uffds = charge_of(path, new_uffd, -1);
	watches = charge_of(path, new_watch, self->fd);
	TH_LOG("%d userfaultfds: %lld bytes, watches: %lld bytes", CHARGED, uffds, watches);
	EXPECT_LT(0, uffds);
	EXPECT_LT(uffds + CHARGED * CHARGED_BYTES, watches);

	close_range(3, 9000, 0);
	end_memcg(&memcg);
}

TEST_HARNESS_MAIN
