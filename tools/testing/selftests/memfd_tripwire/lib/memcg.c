// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - a memory cgroup for a test
 */
#include "tripwire.h"

int memcg_write(const struct memcg *memcg, const char *name, const char *text)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/%s", memcg->path, name);
	return write_text(path, text);
}

/* What is in it by now has to be gone, but for the caller. */
void end_memcg(const struct memcg *memcg)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/cgroup.procs", memcg->root);
	write_text(path, "0");
	rmdir(memcg->path);
	umount(memcg->root);
	rmdir(memcg->root);
}

/* Why there is none, or NULL. */
const char *begin_memcg(struct memcg *memcg)
{
	char path[80];

	strcpy(memcg->root, "/tmp/cgroup.XXXXXX");
	if (!mkdtemp(memcg->root))
		return "no directory for a cgroup";
	snprintf(memcg->path, sizeof(memcg->path), "%s/t", memcg->root);
	if (mount("none", memcg->root, "cgroup2", 0, NULL)) {
		rmdir(memcg->root);
		return "no cgroup2 here";
	}
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", memcg->root);
	if (!write_text(path, "+memory") && !mkdir(memcg->path, 0700))
		return NULL;
	end_memcg(memcg);
	return "no memory controller here";
}

/* The caller moves in. */
int enter_memcg(const struct memcg *memcg)
{
	return memcg_write(memcg, "cgroup.procs", "0");
}
