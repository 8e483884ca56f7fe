// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - events, descriptors, child processes, fault injection,
 * userfaultfd
 */
#include "tripwire.h"

/* Another kernel may have given our number to another call: ask the fd. */
bool have_tripwire(void)
{
	int fd = memfd_tripwire(0);
	bool have = fd >= 0 && !ack(fd);

	if (fd >= 0)
		close(fd);
	return have;
}

/* Wait for an event for @timeout_ms at most; 0 looks once. */
bool pending_within(int fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) == 1 && (pfd.revents & POLLIN);
}

bool pending(int fd)
{
	return pending_within(fd, 0);
}

/*
 * After a race a folio may still be granted, which the kernel re-raises:
 * ACK until it is quiet. False if that never comes.
 */
bool ack_until_quiet(int fd)
{
	int i;

	for (i = 0; i < 50 && !ack(fd); i++)
		if (!pending_within(fd, 20))
			return true;
	return false;
}

/* A new open file description of the file behind @fd. */
int reopen(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

void *map_shared(int fd, size_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/*
 * fork(2) of a child that does not outlive its parent, even after the end of
 * the test.
 */
pid_t fork_child(void)
{
	pid_t parent = getpid(), child = fork();

	if (!child && (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent))
		_exit(1);
	return child;
}

/* 0; or -1 if there is no such file, it may not be written, or it refuses. */
int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t written;

	if (fd < 0)
		return -1;
	written = write(fd, text, strlen(text));
	close(fd);
	return written < 0 ? -1 : 0;
}

/*
 * Let the n-th allocation from now on fail; 0 ends it. True if it was reached.
 */
bool fail_nth(int control, int nth)
{
	char text[16];
	ssize_t len;

	len = pread(control, text, sizeof(text) - 1, 0);
	text[len > 0 ? len : 0] = 0;
	dprintf(control, "%d", nth);
	return !atoi(text);
}

int open_fail_nth(void)
{
	/* Not only allocations that may not sleep. */
	write_text("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
	write_text("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	return open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
}

/* A userfaultfd on the range, or -1 with errno. */
int open_uffd(void *start, size_t len, uint64_t mode)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)start, .len = len }, .mode = mode,
	};
	int err, fd;

	/* One that may block is always in error to poll(2). */
	fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -1;
	if (!ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &reg))
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

/* Bytes filled, or -1 with errno; UFFDIO_COPY makes each of them @byte. */
ssize_t uffd_fill(int uffd, unsigned long cmd, void *where, size_t len, char byte)
{
	struct uffdio_range range = { .start = (uintptr_t)where, .len = len };
	struct uffdio_zeropage zeropage = { .range = range };
	struct uffdio_continue minor = { .range = range };
	struct uffdio_copy copy = { .dst = range.start, .len = len };
	void *source;
	int ret;

	if (cmd == UFFDIO_ZEROPAGE)
		return ioctl(uffd, cmd, &zeropage) ? -1 : zeropage.zeropage;
	if (cmd == UFFDIO_CONTINUE)
		return ioctl(uffd, cmd, &minor) ? -1 : minor.mapped;
	source = malloc(len);
	memset(source, byte, len);
	copy.src = (uintptr_t)source;
	ret = ioctl(uffd, UFFDIO_COPY, &copy);
	free(source);
	return ret && copy.copy <= 0 ? -1 : copy.copy;
}

uint64_t pseudo_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}
