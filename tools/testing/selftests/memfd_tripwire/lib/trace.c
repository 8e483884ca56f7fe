// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - reading the kernel's trace
 */
#include "tripwire.h"

/*
 * @events is as GROUP or GROUP/EVENT. False if there are none, or no right to
 * them.
 */
bool trace_events(const char *events, bool on)
{
	char path[128];

	if (access(TRACING "/trace", F_OK) && mount("tracefs", TRACING, "tracefs", 0, NULL))
		return false;
	snprintf(path, sizeof(path), TRACING "/events/%s/enable", events);
	return !write_text(path, on ? "1" : "0");
}

/* Opened so, it is emptied. */
bool empty_trace(void)
{
	int fd = open(TRACING "/trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	return fd >= 0 && !close(fd);
}

/*
 * How many lines of the trace end in @rest, from where @event stands in them.
 */
int traced(const char *event, const char *rest)
{
	FILE *trace = fopen(TRACING "/trace", "re");
	char line[512];
	int count = 0;

	while (trace && fgets(line, sizeof(line), trace)) {
		const char *at = strstr(line, event);
		size_t len = at ? strlen(at) : 0, tail = strlen(rest);

		count += at && len >= tail && !strcmp(at + len - tail, rest);
	}
	if (trace)
		fclose(trace);
	return count;
}
