/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - a race of stores and ACKs
 */
#ifndef SELFTEST_TRIPWIRE_RACE_H
#define SELFTEST_TRIPWIRE_RACE_H

#include "tripwire.h"

#define PAGES		16
#define STORED		4	/* pages that the storing thread writes, the first ones */
#define BURST		32	/* stores to one of them in a row */
#define PATIENCE_MS	5000	/* for an event that may be late */

/*
 * A race: one thread stores, another ACKs and checks the guarantee, and the
 * test itself does to the memory what it is about.
 */
struct race {
	char *map;		/* where is stored; NULL: there is no such thread */
	char *view;		/* where is read; may be the same */
	size_t page;
	int fd;			/* a consumer of its own */
	uint64_t committed;	/* stored before this was */
	uint64_t acks;
	uint64_t hold;		/* store nothing for now */
	uint64_t stop;
	const char *wrong;
	pthread_t threads[2];
};

void *race_store(void *data);
bool race_notified(struct race *race);
void *race_ack(void *data);
void await_progress(const struct race *race, const uint64_t *of);

#endif /* SELFTEST_TRIPWIRE_RACE_H */
