// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - one thread stores, another ACKs and checks the guarantee
 */
#include "race.h"

void *race_store(void *data)
{
	struct race *race = data;
	uint64_t n;

	for (n = 1; race->map && !load(&race->stop); n++) {
		while (load(&race->hold))
			sched_yield();
		store(race->map + n / BURST % STORED * race->page, n);
		store(&race->committed, n);
	}
	return NULL;
}

/*
 * It may be late, but must not be that of another store: there are none
 * meanwhile.
 */
bool race_notified(struct race *race)
{
	bool notified;

	store(&race->hold, 1);
	notified = pending_within(race->fd, PATIENCE_MS);
	store(&race->hold, 0);
	return notified;
}

void *race_ack(void *data)
{
	struct race *race = data;
	uint64_t before, after[STORED];
	bool changed;
	int i;

	while (!load(&race->stop) && !race->wrong) {
		before = load(&race->committed);
		if (ack(race->fd))
			race->wrong = "ACK failed";
		for (i = 0; i < STORED; i++)
			after[i] = load(race->view + i * race->page);
		if (after[before / BURST % STORED] < before)
			race->wrong = "a store before the ACK is not visible after it";
		if (race->acks++ % 2)
			sched_yield();
		changed = false;
		for (i = 0; i < STORED; i++)
			changed |= load(race->view + i * race->page) != after[i];
		if (changed && !pending(race->fd) && !race_notified(race))
			race->wrong = "a store after the ACK raised no event";
	}
	return NULL;
}

/* Lets a thread of the race do one thing more. */
void await_progress(const struct race *race, const uint64_t *of)
{
	uint64_t seen = load(of);

	while (load(of) == seen && !race->wrong)
		sched_yield();
}
