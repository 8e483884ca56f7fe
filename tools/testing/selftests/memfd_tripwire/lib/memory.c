// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - folios, migration, and a process that stores on request
 */
#include "tripwire.h"

/* The node where it is then, or a negative errno. */
long move_page(void *page, int node)
{
	int status = -ENOENT;

	if (syscall(__NR_move_pages, 0, 1, &page, &node, &status, MPOL_MF_MOVE))
		return -errno;
	return status;
}

/* A new value each time. */
void store_new(void *where)
{
	static uint64_t value;

	store(where, ++value);
}

void obey(const struct order *order)
{
	size_t i;

	for (i = 0; i < order->count; i++)
		store_new(order->from + i * order->step);
}

bool start_peer(struct peer *peer)
{
	struct order order;
	int socks[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks))
		return false;
	peer->pid = fork_child();
	if (!peer->pid) {
		while (read(socks[1], &order, sizeof(order)) == sizeof(order)) {
			obey(&order);
			if (write(socks[1], "", 1) != 1)
				break;
		}
		_exit(0);
	}
	close(socks[1]);
	peer->sock = socks[0];
	return peer->pid > 0;
}

bool tell_peer(struct peer *peer, char *from, size_t step, size_t count)
{
	struct order order = { from, step, count };
	char byte;

	return write(peer->sock, &order, sizeof(order)) == sizeof(order) &&
	       read(peer->sock, &byte, 1) == 1;
}

void end_peer(struct peer *peer)
{
	kill(peer->pid, SIGKILL);
	waitpid(peer->pid, NULL, 0);
	close(peer->sock);
}

/*
 * How many pages the folio has that starts at @where; 0 if unknown.
 */
size_t folio_pages_at(const void *where, size_t page)
{
	const uint64_t present = 1ull << 63, head = 1 << 15, tail = 1 << 16;
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0, flags = 0, pfn;
	size_t pages = 0;

	if (pread(pagemap, &entry, 8, (uintptr_t)where / page * 8) == 8 && (entry & present)) {
		pfn = entry & ((1ull << 55) - 1);
		if (pfn && pread(kpageflags, &flags, 8, pfn * 8) == 8)
			pages = !(flags & tail);
		while (flags & (head | tail)) {
			if (pread(kpageflags, &flags, 8, (pfn + pages) * 8) != 8 || !(flags & tail))
				break;
			pages++;
		}
	}
	close(pagemap);
	close(kpageflags);
	return pages;
}

/* Huge pages need an aligned mapping. */
char *map_aligned(int fd, size_t len)
{
	char *room = mmap(NULL, 2 * len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		return MAP_FAILED;
	return mmap((void *)(((uintptr_t)room + len - 1) & -len), len,
		    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
}

/*
 * Write fault the first folio in as one of this size; the setting is restored
 * at once.
 */
bool fault_in_folio(char *map, size_t size)
{
	char path[128], old[128] = "", *start, *end;
	int fd;

	snprintf(path, sizeof(path), THP "hugepages-%zukB/shmem_enabled", size >> 10);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, old, sizeof(old) - 1) < 0)
		return false;
	close(fd);
	start = strchr(old, '[');
	end = strchr(old, ']');
	if (!start || !end || write_text(path, "always"))
		return false;
	store_new(map);
	*end = '\0';
	return !write_text(path, start + 1);
}
