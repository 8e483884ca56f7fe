// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - benchmark: a ring of payload beside its doorbell
 */

#include <sys/eventfd.h>
#include "bench_lib.h"
#include "groups.h"

#define RING_SLOTS	16
#define RING_PAYLOAD	(64ul << 10)
#define RING_SIZE	(RING_SLOTS * RING_PAYLOAD)
#define RING_DOORBELLS	600
#define RING_RUNS	15

enum ring_kind { ONE_FILE, APART, BY_EVENTFD, RING_KINDS };

static const char * const ring_names[] = {
	"one-tripwire-file", "memfd-and-tripwire-doorbell", "memfd-and-eventfd",
};

struct ring {
	enum ring_kind kind;
	uint64_t *doorbell;
	char *payload;
	int event;
	uint64_t *drained;
};

static void open_ring(struct ring *ring, enum ring_kind kind)
{
	size_t page = getpagesize();
	int memory, doorbell;

	ring->kind = kind;
	ring->drained = shared_memory(page);
	if (kind == ONE_FILE) {
		memory = tripwire_memfd(MEMFD_TRIPWIRE_WATCH_ONLY, page + RING_SIZE);
		ring->doorbell = must_map(memory, page + RING_SIZE);
		ring->payload = (char *)ring->doorbell + page;
		ring->event = must_watch(memory, 0, page, 0);
		close(memory);
		return;
	}
	/* At the same offset as in one file. */
	memory = plain_memfd(page + RING_SIZE);
	ring->payload = (char *)must_map(memory, page + RING_SIZE) + page;
	close(memory);
	doorbell = kind == APART ? tripwire_memfd(MEMFD_TRIPWIRE_WATCH_ONLY, page) :
				   plain_memfd(page);
	ring->doorbell = must_map(doorbell, page);
	ring->event = kind == APART ? must_watch(doorbell, 0, page, 0) :
				      eventfd(0, EFD_CLOEXEC);
	if (ring->event < 0)
		fail("eventfd");
	close(doorbell);
}

static void close_ring(struct ring *ring)
{
	size_t page = getpagesize();

	close(ring->event);
	munmap(ring->drained, page);
	munmap(ring->payload - page, page + RING_SIZE);
	if (ring->kind != ONE_FILE)
		munmap(ring->doorbell, page);
}

static void fill_ring(const struct ring *ring, uint64_t doorbells)
{
	uint64_t rung, until = now_ns() + PATIENCE_NS, one = 1;

	for (rung = 0; rung < doorbells;) {
		while (rung - load(ring->drained) == RING_SLOTS) {
			relax();
			if (now_ns() > until)
				fail_plainly(ring_names[ring->kind], "a doorbell was lost");
		}
		memset(ring->payload + rung % RING_SLOTS * RING_PAYLOAD, rung, RING_PAYLOAD);
		store(ring->doorbell, ++rung);
		if (ring->kind == BY_EVENTFD && write(ring->event, &one, sizeof(one)) < 0)
			fail("write to an eventfd");
		until = now_ns() + PATIENCE_NS;
	}
}

static void drain_ring(const struct ring *ring, uint64_t doorbells)
{
	uint64_t drained = 0, rung, i, sum;
	struct memfd_tripwire_range range;
	const uint64_t *slot;

	pin_to(1);
	while (drained < doorbells) {
		/* An eventfd fills in the first 8 bytes only. */
		if (read(ring->event, &range, sizeof(range)) < 0)
			fail("read of an event");
		for (rung = load(ring->doorbell); drained < rung; drained++) {
			slot = (uint64_t *)(ring->payload + drained % RING_SLOTS * RING_PAYLOAD);
			for (sum = 0, i = 0; i < RING_PAYLOAD / sizeof(*slot); i++)
				sum += slot[i];
			if (sum != RING_PAYLOAD / sizeof(*slot) * slot[0])
				fail_plainly(ring_names[ring->kind], "payload was torn");
			store(ring->drained, drained + 1);
		}
	}
}

/* Returns ns per doorbell, from the first one until the last one is drained. */
static uint64_t run_ring(enum ring_kind kind, struct samples *faults)
{
	uint64_t began, before;
	struct ring ring;
	pid_t consumer;
	int status;

	open_ring(&ring, kind);
	pin_to(0);
	/* All pages are allocated before the measurement. */
	memset(ring.payload, 1, RING_SIZE);
	consumer = fork_child();
	if (consumer < 0)
		fail("fork");
	if (!consumer) {
		drain_ring(&ring, RING_DOORBELLS);
		_exit(0);
	}
	sleep_ns(2000000);
	before = thread_faults();
	began = now_ns();
	fill_ring(&ring, RING_DOORBELLS);
	add_sample(faults, thread_faults() - before);
	if (waitpid(consumer, &status, 0) != consumer || status)
		fail_plainly(ring_names[kind], "the consumer failed");
	began = now_ns() - began;
	close_ring(&ring);
	return began / RING_DOORBELLS;
}

void bench_ring(void)
{
	static struct samples took[RING_KINDS], faults[RING_KINDS];
	unsigned int i, kind;

	if (!have_tripwire()) {
		skip("ring", "all", "payload=64KiB", LACKS_TRIPWIRE);
		return;
	}
	/* The kinds take turns. The first round warms up. */
	for (i = 0; i < RING_KINDS; i++)
		run_ring(i, &faults[i]);
	memset(faults, 0, sizeof(faults));
	for (i = 0; i < RING_RUNS * RING_KINDS; i++) {
		kind = i % RING_KINDS;
		add_sample(&took[kind], run_ring(kind, &faults[kind]));
	}
	for (i = 0; i < RING_KINDS; i++) {
		line_median("ring", ring_names[i], "payload=64KiB", "time", &took[i],
			    "ns/doorbell");
		line("ring", ring_names[i], "payload=64KiB", "faults",
		     1.0 * median(faults[i].value, faults[i].nr) / RING_DOORBELLS, "per-doorbell");
	}
}

