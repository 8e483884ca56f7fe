/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - workers of model_test: they carry the operations out
 */
#ifndef SELFTEST_TRIPWIRE_MODEL_WORKER_H
#define SELFTEST_TRIPWIRE_MODEL_WORKER_H

#include <pthread.h>
#include <setjmp.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "model_op.h"

#define PATIENCE_MS	1000	/* for what goes through a pin */

struct command {
	struct op op;
	char *addr;
	char *from;		/* of a remap */
	pid_t target;		/* whose memory a pvm, pinned or procmem goes to */
	int prot;
	bool release;		/* second half of a pinned */
};

struct reply {
	long ret;
	pid_t pid;
};

static int memfd;
static char *windows[2];
static unsigned char *model;		/* zero beyond the end of the file; shared */
static int direct_fd = -1;
static unsigned long nodes[2];		/* bits; none for the second: compact instead */

static sigjmp_buf escape;

static void on_fault(int sig)
{
	siglongjmp(escape, sig);
}

static pid_t ghost;		/* the process this worker was forked from, which stays around */

static void lay_ghost(void)
{
	if (ghost)
		kill(ghost, SIGKILL);
	ghost = 0;
}

static long result(long ret)
{
	return ret < 0 ? -errno : ret;
}

static void reserve(char *addr, size_t len)
{
	mmap(addr, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static long do_store(const struct command *cmd)
{
	if (sigsetjmp(escape, 0))
		return -EFAULT;
	memset(cmd->addr, cmd->op.value, cmd->op.len);
	return cmd->op.len;
}

static long do_load(const struct command *cmd)
{
	if (sigsetjmp(escape, 0))
		return -EFAULT;
	return memcmp(cmd->addr, model + cmd->op.off, cmd->op.len) ? -EILSEQ : 0;
}

/*
 * The child stores. Then it is gone, or the worker from now on, beside its
 * parent.
 */
static long do_fork(const struct command *cmd)
{
	pid_t child, parent = getpid();
	int status = 0;

	lay_ghost();
	child = fork();
	if (!child) {
		long ret = do_store(cmd);

		if (cmd->op.detail & 1)
			_exit(ret < 0);
		ghost = parent;
		return ret;
	}
	if (child > 0 && !(cmd->op.detail & 1))
		for (;;)
			pause();
	waitpid(child, &status, 0);
	return child < 0 || status ? -ECHILD : (long)cmd->op.len;
}

static long do_procmem(const struct command *cmd, const void *data)
{
	char path[32];
	long ret;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", cmd->target);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ret = result(pwrite(fd, data, cmd->op.len, (off_t)cmd->addr));
	close(fd);
	return ret;
}

static long write_memory_of(const struct command *cmd, void *data)
{
	struct iovec local = { data, cmd->op.len }, remote = { cmd->addr, cmd->op.len };

	return result(process_vm_writev(cmd->target, &local, 1, &remote, 1, 0));
}

/*
 * The last two put a PTE where there was none, and zeroes in a hole: nothing
 * changes.
 */
static long do_uffd(const struct command *cmd)
{
	static const unsigned long cmds[] = {
		[UFFD_COPY] = UFFDIO_COPY,
		[UFFD_ZEROPAGE] = UFFDIO_ZEROPAGE,
		[UFFD_CONTINUE] = UFFDIO_CONTINUE,
	};
	unsigned int how = cmd->op.detail % UFFD_MODES;
	int fd = open_uffd(cmd->addr, cmd->op.len, how == UFFD_CONTINUE ?
			   UFFDIO_REGISTER_MODE_MINOR : UFFDIO_REGISTER_MODE_MISSING);
	long ret;

	if (fd < 0)
		return -errno;
	ret = result(uffd_fill(fd, cmds[how], cmd->addr, cmd->op.len, cmd->op.value));
	close(fd);
	return how == UFFD_COPY || ret < 0 ? ret : 0;
}

/*
 * process_vm_writev() pins the target's pages, then faults on its own source,
 * which a userfaultfd keeps waiting until the executor says so.
 */
static struct {
	struct command cmd;
	pthread_t thread;
	void *source;
	int fd;
	long ret;
} pinned;

static void *pinned_thread(void *unused)
{
	pinned.ret = write_memory_of(&pinned.cmd, pinned.source);
	return NULL;
}

static long do_pinned(const struct command *cmd)
{
	size_t len = kinds[PINNED].max_pages * page;

	if (!cmd->release) {
		pinned.cmd = *cmd;
		pinned.source = mmap(NULL, len, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		pinned.fd = open_uffd(pinned.source, len, UFFDIO_REGISTER_MODE_MISSING);
		if (pinned.fd < 0)
			return -errno;
		if (pthread_create(&pinned.thread, NULL, pinned_thread, NULL))
			return -EAGAIN;
		return pending_within(pinned.fd, PATIENCE_MS) ? 0 : -ETIME;
	}
	uffd_fill(pinned.fd, UFFDIO_COPY, pinned.source, len, cmd->op.value);
	pthread_join(pinned.thread, NULL);
	close(pinned.fd);
	munmap(pinned.source, len);
	return pinned.ret;
}

static long do_remap(const struct command *cmd)
{
	char *to = mremap(cmd->from, cmd->op.len, cmd->op.len, MREMAP_MAYMOVE | MREMAP_FIXED,
			  cmd->addr);

	if (to == MAP_FAILED)
		return -errno;
	reserve(cmd->from, cmd->op.len);
	return 0;
}

static long do_map(const struct command *cmd)
{
	char *got;
	int i;

	for (i = 0; i < 2; i++)
		reserve(windows[i] + cmd->op.off, cmd->op.len);
	if (cmd->op.kind == UNMAP)
		return 0;
	got = mmap(cmd->addr, cmd->op.len, cmd->prot, MAP_SHARED | MAP_FIXED, memfd, cmd->op.off);
	return got == MAP_FAILED ? -errno : 0;
}

static long do_migrate(unsigned int to)
{
	if (nodes[1])
		return result(syscall(__NR_migrate_pages, 0, 64, &nodes[!to], &nodes[to]));
	return result(write_text("/proc/sys/vm/compact_memory", "1"));
}

static long do_advise(const struct command *cmd)
{
	unsigned char resident;
	long ret;

	if (cmd->op.kind == PAGEOUT || cmd->op.kind == DONTNEED)
		lay_ghost();
	ret = result(madvise(cmd->addr, cmd->op.len, kinds[cmd->op.kind].advice));
	if (cmd->op.kind == PAGEOUT && !ret && !mincore(cmd->addr, page, &resident) && resident)
		return -EBUSY;
	return ret;
}

static long perform(const struct command *cmd, void *data)
{
	const struct op *op = &cmd->op;

	if (kinds[op->kind].flags & FILLS)
		memset(data, op->value, op->len);
	switch (op->kind) {
	case STORE:
		return do_store(cmd);
	case LOAD:
		return do_load(cmd);
	case WRITE:
		return result(pwrite(memfd, data, op->len, op->off));
	case PUNCH:
		return result(fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					op->off, op->len));
	case TRUNCATE:
		return result(ftruncate(memfd, op->len));
	case ALLOCATE:
		return result(fallocate(memfd, FALLOC_FL_KEEP_SIZE, op->off, op->len));
	case MAP:
	case UNMAP:
		return do_map(cmd);
	case REMAP:
		return do_remap(cmd);
	case PROTECT:		/* there and back: what is dirty must not come back writable */
		if (op->detail & 1)
			mprotect(cmd->addr, op->len, PROT_READ);
		return result(mprotect(cmd->addr, op->len, cmd->prot));
	case FORK:
		return do_fork(cmd);
	case MIGRATE:
		return do_migrate(op->detail & 1);
	case DIRECT:
		if (pwrite(direct_fd, data, op->len, page) != (ssize_t)op->len)
			return -errno;
		return result(pread(direct_fd, cmd->addr, op->len, page));
	case PVM:
		return write_memory_of(cmd, data);
	case PINNED:
		return do_pinned(cmd);
	case PROCMEM:
		return do_procmem(cmd, data);
	case UFFD:
		return do_uffd(cmd);
	default:
		return do_advise(cmd);
	}
}

static void be_worker(int executor)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	void *data = mmap(NULL, max_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	struct command cmd;
	struct reply reply;

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	while (read(executor, &cmd, sizeof(cmd)) == sizeof(cmd)) {
		reply.ret = perform(&cmd, data);
		reply.pid = getpid();
		if (write(executor, &reply, sizeof(reply)) != sizeof(reply))
			break;
	}
	_exit(0);
}

#endif /* SELFTEST_TRIPWIRE_MODEL_WORKER_H */
