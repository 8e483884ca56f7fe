// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - watches and their reports
 */
#include "tripwire.h"

int add_watch(int fd, uint64_t offset, uint64_t len, unsigned int flags)
{
	struct memfd_tripwire_watch watch = {
		.flags = flags, .eventfd = -1, .offset = offset, .len = len,
	};

	return ioctl(fd, MEMFD_TRIPWIRE_WATCH, &watch);
}

int watch_pages(int fd, uint64_t first, uint64_t nr)
{
	size_t page = getpagesize();

	return add_watch(fd, first * page, nr * page, MEMFD_TRIPWIRE_WATCH_NONBLOCK);
}

/*
 * One read(2) with room for so many reports: how many there were, or -1 with
 * errno.
 */
int read_reports(int watch, struct reports *reports, int room)
{
	ssize_t got = read(watch, reports->range, room * sizeof(reports->range[0]));

	reports->nr = got < 0 ? 0 : got / sizeof(reports->range[0]);
	return got < 0 ? -1 : reports->nr;
}

bool is_reported(const struct reports *reports, uint64_t offset)
{
	int i;

	for (i = 0; i < reports->nr; i++)
		if (offset - reports->range[i].offset < reports->range[i].len)
			return true;
	return false;
}

/* In pages: "1-3 5". */
const char *reports_text(const struct reports *reports)
{
	static char text[MAX_REPORTS * 42 + 1];
	unsigned long long page = getpagesize(), first, last;
	int i, len = 0;

	text[0] = '\0';
	for (i = 0; i < reports->nr; i++) {
		if (reports->range[i].offset % page || reports->range[i].len % page ||
		    !reports->range[i].len)
			return "not aligned";
		first = reports->range[i].offset / page;
		last = first + reports->range[i].len / page - 1;
		len += sprintf(text + len, i ? " %llu" : "%llu", first);
		if (last > first)
			len += sprintf(text + len, "-%llu", last);
	}
	return text;
}

/*
 * The report of one read(2), or why it fails; "" if the watch is not pending.
 */
const char *reported_some(int watch, int room)
{
	struct reports reports;

	if (watch < 0)
		return "no watch";
	if (!pending(watch))
		return "";
	return read_reports(watch, &reports, room) < 0 ? strerror(errno) : reports_text(&reports);
}

const char *reported(int watch)
{
	return reported_some(watch, MAX_REPORTS);
}

int punch(int fd, off_t first, off_t nr)
{
	off_t page = getpagesize();

	return fallocate(fd, HOLE, first * page, nr * page);
}

/* Another size, and a mapping of it. */
char *map_pages(int fd, size_t nr)
{
	size_t len = nr * getpagesize();

	return ftruncate(fd, len) ? MAP_FAILED : map_shared(fd, len);
}

bool raise_fd_limit(void)
{
	struct rlimit limit = { .rlim_cur = 10000, .rlim_max = 10000 };

	return !setrlimit(RLIMIT_NOFILE, &limit);
}

void store_to(char *map, size_t nr)
{
	store_new(map + nr * getpagesize());
}
