/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - what this kernel has for model_test
 */
#ifndef SELFTEST_TRIPWIRE_MODEL_ENV_H
#define SELFTEST_TRIPWIRE_MODEL_ENV_H

#include "lib/tripwire.h"
#include "model_worker.h"

static struct disk swap_disk;

static void drop(enum kind kind, const char *why)
{
	if (!dropped[kind])
		ksft_print_msg("without %s: %s\n", kinds[kind].name, why);
	dropped[kind] = true;
}

static void look_around(void)
{
	struct disk disk;
	char path[64];
	FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "re");
	char *area;
	int fd, i;

	page = getpagesize();
	if (!file || fscanf(file, "%zu", &huge) != 1 || huge > 4 << 20)
		huge = 0;
	if (file)
		fclose(file);
	if (!huge)
		drop(COLLAPSE, "no huge pages, or too large");
	max_size = (huge ?: 48 * page) + 16 * page;
	pages = max_size / page;
	huge = huge ?: 48 * page;

	model = mmap(NULL, max_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	area = mmap(NULL, 6 * huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (model == MAP_FAILED || area == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	for (i = 0; i < 2; i++)
		windows[i] = (char *)align_up((uintptr_t)area, huge) + i * 2 * huge;

	for (i = 0; i < 64 && !nodes[1]; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", i);
		if (!access(path, F_OK))
			nodes[!!nodes[0]] = 1ul << i;
	}
	if (!nodes[1] || do_migrate(0) < 0) {
		nodes[1] = 0;
		ksft_print_msg("migrate compacts: one NUMA node, or no migrate_pages()\n");
		if (do_migrate(0) < 0)
			drop(MIGRATE, "no compaction either");
	}
	if (!have_swap(&swap_disk))
		drop(PAGEOUT, "no swap, and no free RAM disk for it (brd)");
	direct_fd = open_ram_disk(&disk);
	if (direct_fd < 0)
		drop(DIRECT, "no free RAM disk (brd)");
	if (process_vm_writev(getpid(), NULL, 0, NULL, 0, 0)) {
		drop(PVM, "no process_vm_writev()");
		drop(PINNED, "no process_vm_writev()");
	}
	fd = open_uffd(model, page, UFFDIO_REGISTER_MODE_MISSING);
	if (fd < 0) {
		drop(UFFD, "no userfaultfd()");
		drop(PINNED, "no userfaultfd()");
	} else {
		close(fd);
	}
}

#endif /* SELFTEST_TRIPWIRE_MODEL_ENV_H */
