// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - writes that go through no page table: rings, buffers, pins
 */
#include <sys/uio.h>
#include <linux/io_uring.h>
#include <linux/liveupdate.h>
#include <linux/udmabuf.h>
#include "lib/tripwire.h"
#include "lib/fixture.h"

#define PIN_ROUNDS	200

/* An io_uring of one request at a time. */
struct ring {
	int fd;
	char *rings;
	struct io_uring_sqe *sqe;
	struct io_uring_params params;
};

static bool open_ring(struct ring *ring)
{
	struct io_uring_params *p = &ring->params;

	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(__NR_io_uring_setup, 1, p);
	if (ring->fd < 0)
		return false;
	ring->rings = mmap(NULL, p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe),
			   PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->sqe = mmap(NULL, sizeof(*ring->sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
			 ring->fd, IORING_OFF_SQES);
	return (p->features & IORING_FEAT_SINGLE_MMAP) && ring->rings != MAP_FAILED &&
	       ring->sqe != MAP_FAILED;
}

/* Eight bytes at offset 0; what they came to, or -ETIME after two seconds. */
static int ring_transfer(struct ring *ring, int opcode, int fd, uint64_t *word)
{
	struct io_uring_params *p = &ring->params;
	struct io_uring_cqe *cqe = (void *)(ring->rings + p->cq_off.cqes);

	*ring->sqe = (struct io_uring_sqe) {
		.opcode = opcode, .fd = fd, .addr = (uintptr_t)word, .len = sizeof(*word),
	};
	*(uint32_t *)(ring->rings + p->sq_off.array) = 0;
	__atomic_store_n((uint32_t *)(ring->rings + p->sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0) != 1)
		return -errno;
	return pending_within(ring->fd, 2000) ? cqe->res : -ETIME;
}

/* A memory file is always ready, independent of its events. */
TEST_F(path, io_uring_read_of_quiet_file_completes)
{
	uint64_t word = 1;
	struct ring ring;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	ASSERT_FALSE(pending(self->fd));
	EXPECT_EQ(8, ring_transfer(&ring, IORING_OP_READ, self->fd, &word));
	EXPECT_EQ(0, word);
	EXPECT_FALSE(pending(self->fd));
	close(ring.fd);
}

TEST_F(path, io_uring_write_completes_and_raises)
{
	uint64_t word = 42;
	struct ring ring;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	EXPECT_EQ(8, ring_transfer(&ring, IORING_OP_WRITE, self->fd, &word));
	EXPECT_EQ(42, load(self->map));
	EXPECT_TRUE(pending(self->fd));
	close(ring.fd);
}

/* How many works io_uring has put off to later, by the trace. */
static unsigned int works_put_off(void)
{
	FILE *trace = fopen(TRACING "/trace", "re");
	unsigned int count, all = 0;
	char line[512], *at;

	while (trace && fgets(line, sizeof(line), trace)) {
		at = strstr(line, "io_uring_task_work_run") ? strstr(line, "count ") : NULL;
		if (at && sscanf(at, "count %u", &count) == 1)
			all += count;
	}
	if (trace)
		fclose(trace);
	return all;
}

/*
 * Polled, it would always be ready, never be written without a wait, and go
 * round.
 */
TEST_F(path, io_uring_write_is_not_put_off_time_and_again)
{
	const char *event = "io_uring/io_uring_task_work_run";
	uint64_t word = 42;
	struct ring ring;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	if (!trace_events(event, true))
		SKIP(return, "no tracepoints of io_uring (CONFIG_FTRACE), or no right to them");
	ASSERT_TRUE(empty_trace());
	EXPECT_EQ(8, ring_transfer(&ring, IORING_OP_WRITE, self->fd, &word));
	EXPECT_GT(10, works_put_off());
	trace_events(event, false);
	close(ring.fd);
}

/* 0, or the errno of a registration of fixed buffers. */
static int register_buffer(const struct ring *ring, void *start, size_t len)
{
	struct iovec iov = { .iov_base = start, .iov_len = len };

	return syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, &iov, 1) ?
	       errno : 0;
}

TEST_F(path, fixed_buffer_of_untouched_page_is_efault)
{
	struct ring ring;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	EXPECT_EQ(EFAULT, register_buffer(&ring, self->map, self->page));
	close(ring.fd);
}

/* A writable PTE is what GUP-fast takes without a look at the VMA. */
TEST_F(path, fixed_buffer_of_granted_page_is_efault)
{
	struct ring ring;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	store_new(self->map);
	EXPECT_EQ(EFAULT, register_buffer(&ring, self->map, self->page));
	close(ring.fd);
}

/* And a writable PMD. */
TEST_F(path, fixed_buffer_of_granted_huge_page_is_efault)
{
	struct ring ring;

	if (!open_ring(&ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	if (!grow_to_huge(self) || !fault_in_folio(self->map, self->len))
		SKIP(return, "no huge pages of shmem");
	EXPECT_EQ(EFAULT, register_buffer(&ring, self->map, self->len));
	close(ring.fd);
}

TEST_F(path, udmabuf_is_eopnotsupp)
{
	struct udmabuf_create create = { .memfd = self->fd, .size = self->len };
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);

	if (dev < 0)
		SKIP(return, "no /dev/udmabuf: %s", strerror(errno));
	ASSERT_EQ(0, fcntl(self->fd, F_ADD_SEALS, F_SEAL_SHRINK));
	EXPECT_EQ(-1, ioctl(dev, UDMABUF_CREATE, &create));
	EXPECT_EQ(EOPNOTSUPP, errno);
	close(dev);
}

/* It would come back as a plain memfd: no handler may take it, hence ENOENT. */
TEST_F(path, live_update_preserve_is_enoent)
{
	struct liveupdate_ioctl_create_session create = { .size = sizeof(create), .name = "path" };
	struct liveupdate_session_preserve_fd preserve = {
		.size = sizeof(preserve), .fd = self->fd, .token = 1,
	};
	int dev = open("/dev/liveupdate", O_RDWR | O_CLOEXEC);

	if (dev < 0)
		SKIP(return, "no /dev/liveupdate: %s", strerror(errno));
	ASSERT_EQ(0, ioctl(dev, LIVEUPDATE_IOCTL_CREATE_SESSION, &create));
	EXPECT_EQ(-1, ioctl(create.fd, LIVEUPDATE_SESSION_PRESERVE_FD, &preserve));
	EXPECT_EQ(ENOENT, errno);
	close(create.fd);
	close(dev);
}

/* Through a pin the memory is written with no fault: the event may be late. */
struct pinner {
	uint64_t go;		/* the round that may run */
	uint64_t done;		/* the round that is over */
	pid_t target;
	char *map;
	size_t len;
	int disk;
};

static bool write_from_process(const struct pinner *pinner, uint64_t round)
{
	static uint64_t *buffer;
	struct iovec local, remote = { .iov_base = pinner->map, .iov_len = pinner->len };
	size_t i;

	buffer = buffer ?: malloc(pinner->len);
	for (i = 0; i < pinner->len / sizeof(*buffer); i++)
		buffer[i] = round;
	local = (struct iovec) { .iov_base = buffer, .iov_len = pinner->len };
	return process_vm_writev(pinner->target, &local, 1, &remote, 1, 0) == (ssize_t)pinner->len;
}

static bool read_from_disk(const struct pinner *pinner, uint64_t round)
{
	return pread(pinner->disk, pinner->map, pinner->len, round % 2 * pinner->len) ==
	       (ssize_t)pinner->len;
}

/* Two times @len: zeroes, ones. */
static int open_disk(size_t len)
{
	struct disk disk;
	char *data = aligned_alloc(len, 2 * len);
	int fd = open_ram_disk(&disk);

	memset(data, 0, len);
	memset(data + len, 1, len);
	if (fd >= 0 && pwrite(fd, data, 2 * len, 0) != 2 * (ssize_t)len) {
		close(fd);
		fd = -1;
	}
	free(data);
	return fd;
}

/*
 * Round by round, so that no later write raises for an earlier one: a
 * child writes all pages, and the parent ACKs in the middle of it.
 */
static void race_pinner(struct __test_metadata *_metadata, FIXTURE_DATA(path) * self, int disk,
			bool (*write_all)(const struct pinner *pinner, uint64_t round))
{
	struct pinner *pinner = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned long long round, late = 0;
	uint64_t after[PAGES];
	bool changed;
	pid_t child;
	int i;

	ASSERT_NE(MAP_FAILED, pinner);
	*pinner = (struct pinner) {
		.target = getpid(), .map = self->map, .len = self->len, .disk = disk,
	};
	child = fork_child();
	ASSERT_LE(0, child);
	if (!child) {
		for (round = 1; round <= PIN_ROUNDS; round++) {
			while (load(&pinner->go) < round)
				sched_yield();
			if (!write_all(pinner, round))
				_exit(1);
			store(&pinner->done, round);
		}
		_exit(0);
	}
	for (round = 1; round <= PIN_ROUNDS; round++) {
		ASSERT_TRUE(ack_until_quiet(self->fd));
		store(&pinner->go, round);
		ASSERT_TRUE(pending_within(self->fd, PATIENCE_MS)) TH_LOG("round %llu", round);
		ASSERT_EQ(0, ack(self->fd));
		for (i = 0; i < PAGES; i++)
			after[i] = load(self->map + i * self->page);
		while (load(&pinner->done) < round && !waitpid(child, NULL, WNOHANG))
			sched_yield();
		ASSERT_EQ(round, load(&pinner->done));
		changed = false;
		for (i = 0; i < PAGES; i++)
			changed |= load(self->map + i * self->page) != after[i];
		late += changed;
		if (changed) {
			ASSERT_TRUE(pending_within(self->fd, PATIENCE_MS))
				TH_LOG("round %llu", round);
		}
	}
	waitpid(child, NULL, 0);
	TH_LOG("%llu of %d ACKs had a write land after them, with its event", late,
	       PIN_ROUNDS);
}

TEST_F(path, process_vm_writev_raises)
{
	struct pinner pinner = { .target = getpid(), .map = self->map, .len = self->len };

	if (!write_from_process(&pinner, 1))
		SKIP(return, "no process_vm_writev(2): %s", strerror(errno));
	EXPECT_EQ(1, load(self->map));
	EXPECT_TRUE(pending_within(self->fd, PATIENCE_MS));
	ASSERT_TRUE(ack_until_quiet(self->fd));
	ASSERT_TRUE(write_from_process(&pinner, 2));
	EXPECT_TRUE(pending_within(self->fd, PATIENCE_MS));
}

TEST_F_TIMEOUT(path, process_vm_writev_racing_acks_raises, 120)
{
	if (process_vm_writev(getpid(), NULL, 0, NULL, 0, 0))
		SKIP(return, "no process_vm_writev(2): %s", strerror(errno));
	race_pinner(_metadata, self, -1, write_from_process);
}

static void *write_slowly(void *data)
{
	struct iovec *iov = data;

	return (void *)process_vm_writev(getpid(), &iov[0], 1, &iov[1], 1, 0);
}

/*
 * userfaultfd holds up the copying, with the page pinned, until after the ACK.
 */
TEST_F(path, write_through_pin_after_ack_raises)
{
	char *source = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov[2] = { { source, self->page }, { self->map, self->page } };
	int uffd = open_uffd(source, self->page, UFFDIO_REGISTER_MODE_MISSING);
	pthread_t thread;
	void *written;

	if (process_vm_writev(getpid(), NULL, 0, NULL, 0, 0))
		SKIP(return, "no process_vm_writev(2): %s", strerror(errno));
	if (uffd < 0)
		SKIP(return, "no userfaultfd: %s", strerror(errno));
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_slowly, iov));
	ASSERT_TRUE(pending_within(uffd, 5000));
	ASSERT_EQ(0, ack(self->fd));
	ASSERT_EQ(0, load(self->map));
	ASSERT_EQ((ssize_t)self->page,
		  uffd_fill(uffd, UFFDIO_COPY, source, self->page, 'y'));
	ASSERT_EQ(0, pthread_join(thread, &written));
	ASSERT_EQ(self->page, (size_t)written);
	ASSERT_NE(0, load(self->map));
	EXPECT_TRUE(pending_within(self->fd, PATIENCE_MS));
	close(uffd);
}

TEST_F(path, direct_read_into_mapping_raises)
{
	int disk = open_disk(self->len);

	if (disk < 0)
		SKIP(return, "no free RAM disk (brd)");
	ASSERT_EQ((ssize_t)self->len, pread(disk, self->map, self->len, self->len));
	EXPECT_TRUE(pending_within(self->fd, PATIENCE_MS));
	ASSERT_TRUE(ack_until_quiet(self->fd));
	EXPECT_NE(0, load(self->map));
	ASSERT_EQ((ssize_t)self->len, pread(disk, self->map, self->len, 0));
	EXPECT_TRUE(pending_within(self->fd, PATIENCE_MS));
	close(disk);
}

TEST_F_TIMEOUT(path, direct_read_racing_acks_raises, 120)
{
	int disk = open_disk(self->len);

	if (disk < 0)
		SKIP(return, "no free RAM disk (brd)");
	race_pinner(_metadata, self, disk, read_from_disk);
	close(disk);
}

TEST_HARNESS_MAIN
