// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - watches: the ioctl, the modes, the eventfd, fdinfo, and what
 * lives how long
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sysinfo.h>
#include "lib/watch_fixture.h"

#define MAX_WATCHES	8192	/* on a file */

/* A field of /proc/self/fdinfo, or -1. */
static long long fd_info(int fd, const char *field)
{
	char path[64], line[256];
	long long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, field, strlen(field)) && line[strlen(field)] == ':')
			value = atoll(line + strlen(field) + 1);
	fclose(file);
	return value;
}

/* The ioctl, its errors, and what it returns. */

TEST_F(path, watch_is_readonly_and_close_on_exec)
{
	int watch = add_watch(self->fd, 0, 0, 0);

	ASSERT_LE(0, watch);
	EXPECT_EQ(FD_CLOEXEC, fcntl(watch, F_GETFD));
	EXPECT_EQ(O_RDONLY, fcntl(watch, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
}

TEST_F(path, watch_nonblock_sets_the_file_flag)
{
	int watch = add_watch(self->fd, 0, 0, MEMFD_TRIPWIRE_WATCH_NONBLOCK);

	ASSERT_LE(0, watch);
	EXPECT_EQ(O_NONBLOCK, fcntl(watch, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
}

TEST_F(path, watch_unknown_flag_is_einval)
{
	unsigned int bit;

	for (bit = 2; bit < 32; bit++) {
		EXPECT_EQ(-1, add_watch(self->fd, 0, 0, 1u << bit));
		EXPECT_EQ(EINVAL, errno) TH_LOG("bit %u", bit);
	}
}

TEST_F(path, watch_misaligned_or_too_far_is_einval)
{
	const uint64_t page = self->page, end = 1ull << 63;
	const uint64_t bad[][2] = {
		{ 1, page }, { page / 2, page }, { 0, 1 }, { 0, page + 1 }, { 0, page - 1 },
		{ end, page }, { end, 0 }, { end - page, page }, { 0, end }, { page, end - page },
		{ -page, page }, { -page, 2 * page }, { page, -page }, { page, -2 * page },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-1, add_watch(self->fd, bad[i][0], bad[i][1], 0)) TH_LOG("case %zu", i);
		EXPECT_EQ(EINVAL, errno) TH_LOG("case %zu", i);
	}
}

TEST_F(path, watch_up_to_the_last_page_is_created)
{
	const uint64_t end = (1ull << 63) - self->page;

	EXPECT_LE(0, add_watch(self->fd, 0, end, 0));
	EXPECT_LE(0, add_watch(self->fd, end - self->page, self->page, 0));
}

TEST_F(path, watch_bad_pointer_is_efault)
{
	char *bad = mmap(NULL, self->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT_EQ(-1, ioctl(self->fd, MEMFD_TRIPWIRE_WATCH, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, MEMFD_TRIPWIRE_WATCH, bad));
	EXPECT_EQ(EFAULT, errno);
}

struct longer_watch {
	struct memfd_tripwire_watch watch;
	uint64_t more[2];
};

#define LONGER_WATCH		_IOW(0xDA, 1, struct longer_watch)
#define SHORTER_WATCH		_IOW(0xDA, 1, uint64_t[2])
#define READING_WATCH		_IOR(0xDA, 1, struct memfd_tripwire_watch)

TEST_F(path, watch_longer_struct_is_e2big_unless_zero)
{
	struct longer_watch longer = { .more[1] = 1ull << 56 };

	EXPECT_EQ(-1, ioctl(self->fd, LONGER_WATCH, &longer));
	EXPECT_EQ(E2BIG, errno);
	longer.more[1] = 0;
	EXPECT_LE(0, ioctl(self->fd, LONGER_WATCH, &longer));
}

TEST_F(path, watch_shorter_struct_or_other_direction_is_enotty)
{
	struct longer_watch longer = { .watch.flags = 0 };

	EXPECT_EQ(-1, ioctl(self->fd, SHORTER_WATCH, &longer));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, ioctl(self->fd, READING_WATCH, &longer));
	EXPECT_EQ(ENOTTY, errno);
}

TEST_F(path, watch_on_plain_memfd_is_enotty)
{
	int fd = memfd_create("plain", 0);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, add_watch(fd, 0, 0, 0));
	EXPECT_EQ(ENOTTY, errno);
}

static int add_watch_eventfd(int fd, int eventfd)
{
	struct memfd_tripwire_watch watch = {
		.flags = MEMFD_TRIPWIRE_WATCH_NONBLOCK | MEMFD_TRIPWIRE_WATCH_EVENTFD,
		.eventfd = eventfd,
	};

	return ioctl(fd, MEMFD_TRIPWIRE_WATCH, &watch);
}

TEST_F(path, watch_closed_eventfd_is_ebadf)
{
	EXPECT_EQ(-1, add_watch_eventfd(self->fd, -1));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(-1, add_watch_eventfd(self->fd, 1000));
	EXPECT_EQ(EBADF, errno);
}

TEST_F(path, watch_other_file_as_eventfd_is_einval)
{
	EXPECT_EQ(-1, add_watch_eventfd(self->fd, self->fd));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(path, watch_without_free_fd_is_emfile_and_changes_nothing)
{
	struct rlimit limit = { .rlim_cur = 0, .rlim_max = 0 };
	int err = 0;

	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	if (add_watch(self->fd, 0, 0, 0) < 0)
		err = errno;
	limit.rlim_cur = 1000;
	limit.rlim_max = 1000;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(EMFILE, err);
	EXPECT_EQ(0, fd_info(self->fd, "tripwire-watches"));
}

/* Root may exceed the limit, but only root may set it. */
TEST_F(path, watch_beyond_file_max_is_enfile_and_changes_nothing)
{
	const char *path = "/proc/sys/fs/file-max";
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret, err;
	char old[32] = "";

	ASSERT_LE(0, fd);
	ASSERT_LT(0, read(fd, old, sizeof(old) - 1));
	close(fd);
	if (write_text(path, "0"))
		SKIP(return, "cannot set %s: %s", path, strerror(errno));
	if (seteuid(65534)) {
		write_text(path, old);
		SKIP(return, "cannot become another user");
	}
	ret = add_watch(self->fd, 0, 0, 0);
	err = errno;
	EXPECT_EQ(0, seteuid(0));
	EXPECT_EQ(0, write_text(path, old));
	EXPECT_EQ(-1, ret);
	EXPECT_EQ(ENFILE, err);
	EXPECT_EQ(0, fd_info(self->fd, "tripwire-watches"));
}

TEST_F(path, watch_without_memory_is_enomem_and_changes_nothing)
{
	int control = open_fail_nth(), eventfd_fd = eventfd(0, EFD_CLOEXEC), nth, watch, err;
	bool reached = true;

	if (control < 0)
		SKIP(return, "no fault injection in this kernel");
	for (nth = 1; nth < MAX_NTH && reached; nth++) {
		fail_nth(control, nth);
		watch = add_watch_eventfd(self->fd, eventfd_fd);
		err = watch < 0 ? errno : 0;
		reached = fail_nth(control, 0);
		ASSERT_TRUE(!err || err == ENOMEM) TH_LOG("nth %d: %s", nth, strerror(err));
		ASSERT_EQ(watch >= 0, fd_info(self->fd, "tripwire-watches")) TH_LOG("nth %d", nth);
		close(watch);
	}
	EXPECT_LT(3, nth);
	EXPECT_GT(MAX_NTH, nth);
}

TEST_F_TIMEOUT(path, watch_beyond_8192_is_enospc_until_one_is_closed, 120)
{
	int i, last = -1;

	if (!raise_fd_limit())
		SKIP(return, "no limit of 10000 descriptors: %s", strerror(errno));
	for (i = 0; i < MAX_WATCHES; i++) {
		last = watch_pages(self->fd, i % PAGES, 1);
		ASSERT_LE(0, last);
	}
	EXPECT_EQ(-1, watch_pages(self->fd, 0, 0));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(MAX_WATCHES, fd_info(self->fd, "tripwire-watches"));
	close(last);
	EXPECT_LE(0, watch_pages(self->fd, 0, 0));
}

/* The modes. */

TEST_F(tripwire, ack_of_watch_only_file_is_eopnotsupp)
{
	bool only = variant->flags & MEMFD_TRIPWIRE_WATCH_ONLY;
	int fd = reopen(self->fd, O_RDWR);

	errno = 0;
	EXPECT_EQ(only ? -1 : 0, ack(self->fd));
	EXPECT_EQ(only ? EOPNOTSUPP : 0, errno);
	errno = 0;
	EXPECT_EQ(only ? -1 : 0, ack(fd));
	EXPECT_EQ(only ? EOPNOTSUPP : 0, errno);
}

TEST_F(tripwire, watch_only_file_polls_as_a_plain_file)
{
	bool only = variant->flags & MEMFD_TRIPWIRE_WATCH_ONLY;
	struct pollfd pfds[2] = {
		{ .fd = self->fd, .events = POLLIN | POLLOUT },
		{ .fd = reopen(self->fd, O_RDWR), .events = POLLIN | POLLOUT },
	};
	int i;

	ASSERT_TRUE(eat_event(self, variant));
	if (!only)
		ASSERT_EQ(0, ack(pfds[1].fd));
	ASSERT_EQ(2, poll(pfds, 2, 0));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(only ? POLLIN | POLLOUT : POLLOUT, pfds[i].revents);
}

TEST_F(tripwire, epoll_of_watch_only_file_is_eperm)
{
	bool only = variant->flags & MEMFD_TRIPWIRE_WATCH_ONLY;
	struct epoll_event event = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC), fd = reopen(self->fd, O_RDWR);

	errno = 0;
	EXPECT_EQ(only ? -1 : 0, epoll_ctl(ep, EPOLL_CTL_ADD, self->fd, &event));
	EXPECT_EQ(only ? EPERM : 0, errno);
	errno = 0;
	EXPECT_EQ(only ? -1 : 0, epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
	EXPECT_EQ(only ? EPERM : 0, errno);
}

/* No setting, no way to write and no advice makes large folios of it. */
static void check_small_folios(struct __test_metadata *_metadata, int fd, char *map, size_t len)
{
	size_t page = getpagesize(), offset;

	EXPECT_EQ(1, folio_pages_at(map, page));
	EXPECT_NE(0, madvise(map, len, MADV_COLLAPSE));
	for (offset = 0; offset < len; offset += page)
		store_new(map + offset);
	EXPECT_NE(0, madvise(map, len, MADV_COLLAPSE));
	EXPECT_EQ(1, folio_pages_at(map, page));
	ASSERT_EQ(0, fallocate(fd, HOLE, 0, len));
}

/* Sets it to @value, and that to what it was. */
static bool exchange_shmem_huge(char value[128])
{
	char text[128] = "", *start, *end;
	int fd = open(THP "shmem_enabled", O_RDONLY | O_CLOEXEC);
	bool set;

	if (read(fd, text, sizeof(text) - 1) < 0)
		return false;
	close(fd);
	start = strchr(text, '[');
	end = strchr(text, ']');
	if (!start || !end)
		return false;
	*end = '\0';
	set = !write_text(THP "shmem_enabled", value);
	snprintf(value, 128, "%s", start + 1);
	return set;
}

TEST_F(path, nohuge_file_has_small_folios_only)
{
	int fd = memfd_tripwire(MEMFD_TRIPWIRE_NOHUGE);
	char *map, *buffer, huge[128] = "force";

	if (!grow_to_huge(self) || !fault_in_folio(self->map, self->len) ||
	    folio_pages_at(self->map, self->page) * self->page != self->len)
		SKIP(return, "no huge pages of shmem here");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, self->len));
	map = map_aligned(fd, self->len);
	ASSERT_NE(MAP_FAILED, map);

	ASSERT_TRUE(fault_in_folio(map, self->len));
	check_small_folios(_metadata, fd, map, self->len);
	ASSERT_TRUE(fault_in_folio(map, 16 * self->page));
	check_small_folios(_metadata, fd, map, self->len);

	ASSERT_TRUE(exchange_shmem_huge(huge));
	store_new(map);
	check_small_folios(_metadata, fd, map, self->len);
	buffer = calloc(1, self->len);
	EXPECT_EQ((ssize_t)self->len, pwrite(fd, buffer, self->len, 0));
	EXPECT_EQ(0, load(map));
	check_small_folios(_metadata, fd, map, self->len);
	EXPECT_EQ(0, fallocate(fd, 0, 0, self->len));
	EXPECT_EQ(0, load(map));
	check_small_folios(_metadata, fd, map, self->len);
	exchange_shmem_huge(huge);
}

/* The eventfd. */

static uint64_t count_of(int eventfd_fd)
{
	uint64_t count = 0;

	return read(eventfd_fd, &count, sizeof(count)) < 0 ? 0 : count;
}

TEST_F(tripwire, eventfd_is_signalled_once_per_step_to_pending)
{
	int counter = eventfd(0, EFD_NONBLOCK), watch = add_watch_eventfd(self->fd, counter);

	EXPECT_EQ(0, count_of(counter));
	store_to(self->map, 3);
	store_to(self->map, 5);
	EXPECT_EQ(1, count_of(counter));
	store_to(self->map, 7);
	EXPECT_EQ(0, count_of(counter));
	EXPECT_STREQ("3 5 7", reported(watch));
	EXPECT_EQ(0, count_of(counter));
	store_to(self->map, 3);
	EXPECT_EQ(1, count_of(counter));
}

TEST_F(tripwire, eventfd_is_signalled_for_what_a_short_read_leaves)
{
	int counter = eventfd(0, EFD_NONBLOCK), watch = add_watch_eventfd(self->fd, counter);

	store_to(self->map, 3);
	store_to(self->map, 5);
	EXPECT_EQ(1, count_of(counter));
	EXPECT_STREQ("3", reported_some(watch, 1));
	EXPECT_EQ(1, count_of(counter));
	EXPECT_STREQ("5", reported_some(watch, 1));
	EXPECT_EQ(0, count_of(counter));
}

TEST_F(tripwire, eventfd_is_signalled_for_what_a_failed_read_leaves)
{
	int counter = eventfd(0, EFD_NONBLOCK), watch = add_watch_eventfd(self->fd, counter);
	char *bad = mmap(NULL, self->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	store_to(self->map, 3);
	EXPECT_EQ(1, count_of(counter));
	EXPECT_EQ(-1, read(watch, bad, 16));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(1, count_of(counter));
}

TEST_F(tripwire, eventfd_closed_by_its_owner_delays_nobody)
{
	int counter = eventfd(0, EFD_NONBLOCK), watch = add_watch_eventfd(self->fd, counter);

	close(counter);
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
}

TEST_F(tripwire, eventfd_that_is_full_delays_nobody)
{
	int counter = eventfd(0, 0), watch = add_watch_eventfd(self->fd, counter);
	uint64_t most = -2;

	ASSERT_EQ(sizeof(most), write(counter, &most, sizeof(most)));
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
}

/* What lives how long. */

TEST_F(tripwire, watch_goes_on_after_the_file_is_closed)
{
	int watch = watch_pages(self->fd, 0, 0);

	close(self->fd);
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
	store_to(self->map, 3);
	munmap(self->map, self->len);
	EXPECT_STREQ("3", reported(watch));
	EXPECT_STREQ("", reported(watch));
}

static size_t shared_kib(void)
{
	struct sysinfo si;

	return sysinfo(&si) ? 0 : si.sharedram * si.mem_unit >> 10;
}

TEST_F(tripwire, watch_keeps_the_memory_until_it_is_closed)
{
	size_t before = shared_kib(), kib = 32 << 10;
	int watch;

	ASSERT_EQ(0, fallocate(self->fd, 0, 0, kib << 10));
	watch = watch_pages(self->fd, 0, 0);
	ASSERT_LE(0, watch);
	munmap(self->map, self->len);
	close(self->fd);
	EXPECT_LE(before + kib * 3 / 4, shared_kib());
	close(watch);
	EXPECT_GE(before + kib / 4, shared_kib());
}

/* fdinfo */

TEST_F(tripwire, fdinfo_of_the_file_counts)
{
	long long events = fd_info(self->fd, "tripwire-events"), acks;
	int watch;

	EXPECT_EQ(0, fd_info(self->fd, "tripwire-watches"));
	watch = watch_pages(self->fd, 0, 0);
	EXPECT_EQ(1, fd_info(self->fd, "tripwire-watches"));
	store_to(self->map, 3);
	EXPECT_LE(0, events);
	EXPECT_LT(events, fd_info(self->fd, "tripwire-events"));
	acks = fd_info(self->fd, "tripwire-acks");
	EXPECT_LE(0, acks);
	EXPECT_STREQ("3", reported(watch));
	EXPECT_LT(acks, fd_info(self->fd, "tripwire-acks"));
	close(watch);
	EXPECT_EQ(0, fd_info(self->fd, "tripwire-watches"));
}

TEST_F(tripwire, fdinfo_of_a_watch_has_range_and_state)
{
	int watch = watch_pages(self->fd, 2, 3);

	EXPECT_EQ(2 * (long long)self->page, fd_info(watch, "tripwire-offset"));
	EXPECT_EQ(3 * (long long)self->page, fd_info(watch, "tripwire-len"));
	EXPECT_EQ(0, fd_info(watch, "tripwire-pending"));
	store_to(self->map, 3);
	EXPECT_EQ(1, fd_info(watch, "tripwire-pending"));
	EXPECT_STREQ("3", reported(watch));
	EXPECT_EQ(0, fd_info(watch, "tripwire-pending"));
}

TEST_F(tripwire, fdinfo_of_a_watch_names_memory_and_eventfd)
{
	struct memfd_tripwire_watch args = { .flags = MEMFD_TRIPWIRE_WATCH_EVENTFD };
	int plain = watch_pages(self->fd, 0, 1), watch;
	struct stat stat;

	ASSERT_EQ(0, fstat(self->fd, &stat));
	EXPECT_EQ((long long)stat.st_ino, fd_info(plain, "tripwire-ino"));
	EXPECT_EQ(-1, fd_info(plain, "tripwire-eventfd-id"));

	/* The first one has id 0. */
	ASSERT_LE(0, eventfd(0, EFD_CLOEXEC));
	args.eventfd = eventfd(0, EFD_CLOEXEC);
	ASSERT_LE(0, args.eventfd);
	watch = ioctl(self->fd, MEMFD_TRIPWIRE_WATCH, &args);
	ASSERT_LE(0, watch);
	EXPECT_LT(0, fd_info(watch, "tripwire-eventfd-id"));
	EXPECT_EQ(fd_info(args.eventfd, "eventfd-id"), fd_info(watch, "tripwire-eventfd-id"));
}

TEST_F(tripwire, name_of_the_file_says_what_it_is)
{
	char path[32], name[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	ASSERT_LT(0, readlink(path, name, sizeof(name) - 1));
	EXPECT_STREQ("/memfd_tripwire (deleted)", name);
}

TEST_F(tripwire, fdinfo_of_a_watch_to_the_end_has_length_0)
{
	int watch = watch_pages(self->fd, 2, 0);

	EXPECT_EQ(2 * (long long)self->page, fd_info(watch, "tripwire-offset"));
	EXPECT_EQ(0, fd_info(watch, "tripwire-len"));
}

TEST_HARNESS_MAIN
