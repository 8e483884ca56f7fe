// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - a RAM disk, for swap and for O_DIRECT
 */
#include "tripwire.h"

/*
 * Opens one that nobody uses and that holds nothing, or what an earlier run
 * left; -1 if there is none. Keep the first page as it is, or the next run
 * takes another.
 */
int open_ram_disk(struct disk *disk)
{
	size_t page = getpagesize(), used;
	char *first = aligned_alloc(page, page);
	int fd = -1, i;

	for (i = 0; i < 16; i++) {
		snprintf(disk->path, sizeof(disk->path), "/dev/ram%d", i);
		fd = open(disk->path, O_RDWR | O_EXCL | O_CLOEXEC | O_DIRECT);
		if (fd < 0)
			continue;
		used = page;
		if (pread(fd, first, page, 0) == (ssize_t)page)
			for (used = 0; used < page && !first[used]; used++)
				;
		if (used == page || !memcmp(first + LABEL_AT, SWAP_LABEL, sizeof(SWAP_LABEL)))
			break;
		close(fd);
		fd = -1;
	}
	free(first);
	return fd;
}

/* union swap_header of the kernel, as mkswap(8) writes it. */
bool write_swap_header(int fd)
{
	size_t page = getpagesize();
	char *header = aligned_alloc(page, page);
	uint32_t version_and_last_page[2] = { 1 };
	uint64_t bytes = 0;
	bool written;

	ioctl(fd, BLKGETSIZE64, &bytes);
	version_and_last_page[1] = bytes / page - 1;
	memset(header, 0, page);
	memcpy(header + 1024, version_and_last_page, sizeof(version_and_last_page));
	memcpy(header + LABEL_AT, SWAP_LABEL, sizeof(SWAP_LABEL));
	memcpy(header + page - 10, "SWAPSPACE2", 10);
	written = pwrite(fd, header, page, 0) == (ssize_t)page;
	free(header);
	return written;
}

/* Is there swap, of the machine's own or, from now on, on @disk? */
bool have_swap(struct disk *disk)
{
	struct sysinfo si;
	bool have;
	int fd;

	disk->path[0] = '\0';
	if (!sysinfo(&si) && si.totalswap)
		return true;
	fd = open_ram_disk(disk);
	have = fd >= 0 && write_swap_header(fd);
	if (fd >= 0)
		close(fd);	/* swapon(2) wants it for itself */
	have = have && !swapon(disk->path, 0);
	if (!have)
		disk->path[0] = '\0';
	return have;
}

void end_swap(struct disk *disk)
{
	if (disk->path[0])
		swapoff(disk->path);
}
