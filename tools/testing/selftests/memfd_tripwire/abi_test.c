// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - the system call, its errors, and what it inherits from memfd
 */
#include <sys/stat.h>
#include "kselftest_harness.h"
#include "lib/tripwire.h"

FIXTURE(tripwire)
{
	int fd;
	size_t page;
};

FIXTURE_SETUP(tripwire)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(tripwire)
{
	close(self->fd);
}

TEST_F(tripwire, create_returns_empty_sealable_memfd)
{
	struct stat st;

	EXPECT_EQ(FD_CLOEXEC, fcntl(self->fd, F_GETFD));
	EXPECT_EQ(O_RDWR, fcntl(self->fd, F_GETFL) & O_ACCMODE);
	EXPECT_EQ(F_SEAL_EXEC, fcntl(self->fd, F_GET_SEALS));
	ASSERT_EQ(0, fstat(self->fd, &st));
	EXPECT_EQ(0, st.st_size);
	EXPECT_EQ(0666, st.st_mode & 0777);
	EXPECT_EQ(-1, fchmod(self->fd, 0777));
	EXPECT_EQ(EPERM, errno);
}

TEST_F(tripwire, create_unknown_flag_is_einval)
{
	unsigned int bit;

	for (bit = 2; bit < 32; bit++) {
		EXPECT_EQ(-1, memfd_tripwire(1u << bit));
		EXPECT_EQ(EINVAL, errno);
	}
}

TEST_F(tripwire, create_without_free_fd_is_emfile)
{
	struct rlimit limit = { .rlim_cur = 0, .rlim_max = 0 };

	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(-1, memfd_tripwire(0));
	EXPECT_EQ(EMFILE, errno);
}

/* Root may exceed the limit, but only root may set it. */
TEST_F(tripwire, create_beyond_file_max_is_enfile)
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
	ret = memfd_tripwire(0);
	err = errno;
	EXPECT_EQ(0, seteuid(0));
	EXPECT_EQ(0, write_text(path, old));
	EXPECT_EQ(-1, ret);
	EXPECT_EQ(ENFILE, err);
}

TEST_F(tripwire, ack_with_argument_is_einval_and_keeps_event)
{
	ASSERT_EQ(0, ftruncate(self->fd, self->page));
	ASSERT_TRUE(pending(self->fd));
	EXPECT_EQ(-1, ioctl(self->fd, MEMFD_TRIPWIRE_ACK, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, unknown_ioctl_is_enotty)
{
	EXPECT_EQ(-1, ioctl(self->fd, _IO(0xDA, 0xf), 0));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, ioctl(self->fd, _IO(0xDB, 0), 0));
	EXPECT_EQ(ENOTTY, errno);
}

TEST_F(tripwire, ack_on_plain_memfd_is_enotty)
{
	int fd = memfd_create("plain", 0);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, ack(fd));
	EXPECT_EQ(ENOTTY, errno);
	close(fd);
}

TEST_F(tripwire, size_beyond_limit_is_efbig_and_changes_nothing)
{
	struct rlimit limit = { .rlim_cur = 1 << 20, .rlim_max = 1 << 20 };
	struct stat st;

	ASSERT_EQ(0, ftruncate(self->fd, self->page));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	signal(SIGXFSZ, SIG_IGN);
	EXPECT_EQ(-1, ftruncate(self->fd, 2 << 20));
	EXPECT_EQ(EFBIG, errno);
	ASSERT_EQ(0, fstat(self->fd, &st));
	EXPECT_EQ((off_t)self->page, st.st_size);
	EXPECT_FALSE(pending(self->fd));
}

TEST_F(tripwire, negative_size_is_einval_and_raises_nothing)
{
	EXPECT_EQ(-1, ftruncate(self->fd, -1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_FALSE(pending(self->fd));
}

TEST_F(tripwire, sparse_tebibyte_acks)
{
	const off_t tebibyte = 1ll << 40;
	char *map;

	ASSERT_EQ(0, ftruncate(self->fd, tebibyte));
	EXPECT_EQ(0, ack(self->fd));
	map = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED,
		   self->fd, tebibyte - self->page);
	ASSERT_NE(MAP_FAILED, map);
	store(map, 1);
	EXPECT_TRUE(pending(self->fd));
	EXPECT_EQ(0, ack(self->fd));
	EXPECT_FALSE(pending(self->fd));
}

TEST_F(tripwire, read_write_seek_work_as_on_memfd)
{
	char text[6] = "";

	ASSERT_EQ(5, pwrite(self->fd, "hello", 5, self->page));
	EXPECT_EQ(5, pread(self->fd, text, 5, self->page));
	EXPECT_STREQ("hello", text);
	EXPECT_EQ((off_t)self->page, lseek(self->fd, 0, SEEK_DATA));
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_HOLE));
}

TEST_F(tripwire, store_past_eof_is_sigbus)
{
	siginfo_t info;
	pid_t child;
	char *map;

	ASSERT_EQ(0, ftruncate(self->fd, self->page));
	map = map_shared(self->fd, 2 * self->page);
	ASSERT_NE(MAP_FAILED, map);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		signal(SIGBUS, SIG_DFL);
		store(map + self->page, 1);
		_exit(0);
	}
	ASSERT_EQ(0, waitid(P_PID, child, &info, WEXITED));
	EXPECT_EQ(CLD_KILLED, info.si_code);
	EXPECT_EQ(SIGBUS, info.si_status);
}

TEST_F(tripwire, write_seal_is_refused_while_mapped_and_kept_afterwards)
{
	char *map;

	ASSERT_EQ(0, ftruncate(self->fd, self->page));
	map = map_shared(self->fd, self->page);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(-1, fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);

	ASSERT_EQ(0, munmap(map, self->page));
	ASSERT_EQ(0, fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(MAP_FAILED, map_shared(self->fd, self->page));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, pwrite(self->fd, "x", 1, 0));
	EXPECT_EQ(EPERM, errno);
}

TEST_F(tripwire, future_write_seal_leaves_mapping_tripping)
{
	char *map;

	ASSERT_EQ(0, ftruncate(self->fd, self->page));
	map = map_shared(self->fd, self->page);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, fcntl(self->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	ASSERT_EQ(0, ack(self->fd));
	store(map, 1);
	EXPECT_TRUE(pending(self->fd));
}

TEST_F(tripwire, read_only_description_polls_and_acks_but_maps_no_write)
{
	int fd = reopen(self->fd, O_RDONLY);
	char *map;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->page));
	EXPECT_TRUE(pending(fd));
	EXPECT_EQ(0, ack(fd));
	EXPECT_FALSE(pending(fd));
	EXPECT_EQ(MAP_FAILED, map_shared(fd, self->page));
	EXPECT_EQ(EACCES, errno);
	map = mmap(NULL, self->page, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, load(map));
	EXPECT_FALSE(pending(fd));
	close(fd);
}

TEST_F(tripwire, description_outlives_creator)
{
	int fd = reopen(self->fd, O_RDWR);
	char *map;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, self->page));
	map = map_shared(fd, self->page);
	ASSERT_NE(MAP_FAILED, map);
	close(self->fd);
	ASSERT_EQ(0, ack(fd));
	store(map, 1);
	EXPECT_TRUE(pending(fd));
	close(fd);
	store(map, 2);
	EXPECT_EQ(2, load(map));
}

TEST_HARNESS_MAIN
