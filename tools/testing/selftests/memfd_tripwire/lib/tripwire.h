/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - the library of the selftests
 */
#ifndef SELFTEST_TRIPWIRE_H
#define SELFTEST_TRIPWIRE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/memfd_tripwire.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#ifndef __NR_memfd_tripwire
# ifdef __alpha__
#  define __NR_memfd_tripwire	583
# else
#  define __NR_memfd_tripwire	473
# endif
#endif

#ifndef F_SEAL_EXEC
# define F_SEAL_EXEC	0x0020
#endif

static inline int memfd_tripwire(unsigned int flags)
{
	return syscall(__NR_memfd_tripwire, flags);
}

static inline int ack(int fd)
{
	return ioctl(fd, MEMFD_TRIPWIRE_ACK, 0);
}

static inline void store(void *where, uint64_t value)
{
	__atomic_store_n((uint64_t *)where, value, __ATOMIC_RELEASE);
}

static inline uint64_t load(const void *where)
{
	return __atomic_load_n((const uint64_t *)where, __ATOMIC_ACQUIRE);
}

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static inline long minor_faults(void)
{
	/* Written first: after a fork the call counts before it faults. */
	struct rusage usage = { 0 };

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

bool have_tripwire(void);
bool pending_within(int fd, int timeout_ms);
bool pending(int fd);
bool ack_until_quiet(int fd);
int reopen(int fd, int flags);
void *map_shared(int fd, size_t len);
pid_t fork_child(void);
int write_text(const char *path, const char *text);
bool fail_nth(int control, int nth);
int open_fail_nth(void);
ssize_t uffd_fill(int uffd, unsigned long cmd, void *where, size_t len, char byte);
int open_uffd(void *start, size_t len, uint64_t mode);
uint64_t pseudo_random(uint64_t *state);

/* watch.c: reports of watches */
#define HOLE		(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define MAX_REPORTS	256	/* of one read(2) */
#define MAX_NTH		200	/* allocations of a system call, and more */

struct reports {
	int nr;
	struct memfd_tripwire_range range[MAX_REPORTS];
};

int add_watch(int fd, uint64_t offset, uint64_t len, unsigned int flags);
int watch_pages(int fd, uint64_t first, uint64_t nr);
int read_reports(int watch, struct reports *reports, int room);
bool is_reported(const struct reports *reports, uint64_t offset);
const char *reports_text(const struct reports *reports);
const char *reported_some(int watch, int room);
const char *reported(int watch);
int punch(int fd, off_t first, off_t nr);
char *map_pages(int fd, size_t nr);
bool raise_fd_limit(void);
void store_to(char *map, size_t nr);

/* disk.c: a RAM disk, for swap and for O_DIRECT */
#define SWAP_LABEL	"tripwire"
#define LABEL_AT	(1024 + 12 + 16)	/* in the header of a swap area */

struct disk {
	char path[32];
};

int open_ram_disk(struct disk *disk);
bool write_swap_header(int fd);
bool have_swap(struct disk *disk);
void end_swap(struct disk *disk);

/* memcg.c: a memory cgroup for a test */
struct memcg {
	char root[32];
	char path[40];
};

int memcg_write(const struct memcg *memcg, const char *name, const char *text);
void end_memcg(const struct memcg *memcg);
const char *begin_memcg(struct memcg *memcg);
int enter_memcg(const struct memcg *memcg);

/* trace.c: reading the kernel's trace */
#define TRACING	"/sys/kernel/tracing"

bool trace_events(const char *events, bool on);
bool empty_trace(void);
int traced(const char *event, const char *rest);

/* memory.c: folios, migration, and a process that stores on request */
#ifndef MADV_COLLAPSE
# define MADV_COLLAPSE		25
#endif
#define THP		"/sys/kernel/mm/transparent_hugepage/"

struct peer {
	pid_t pid;
	int sock;
};

struct order {
	char *from;
	size_t step;
	size_t count;
};

long move_page(void *page, int node);
void store_new(void *where);
void obey(const struct order *order);
bool start_peer(struct peer *peer);
bool tell_peer(struct peer *peer, char *from, size_t step, size_t count);
void end_peer(struct peer *peer);
size_t folio_pages_at(const void *where, size_t page);
char *map_aligned(int fd, size_t len);
bool fault_in_folio(char *map, size_t size);

#endif /* SELFTEST_TRIPWIRE_H */
