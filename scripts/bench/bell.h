/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - benchmark: the ways to ring a doorbell and to receive it
 */
#ifndef BENCH_BELL_H
#define BENCH_BELL_H

#include "bench_lib.h"

#define NR_MECHANISMS	11
#define SCAN_PERIOD_NS	1000000	/* of consumers without a wake-up */

/* How a consumer spends the time between two doorbells. */
enum waiting {
	SLEEPS,		/* until a wake-up */
	SCANS,		/* every SCAN_PERIOD_NS */
	SPINS,		/* on a CPU of its own */
};

/**
 * struct board - ordinary memory that producer and consumer share
 * @consumer: thread ID of the consumer, 0 until it runs
 * @seen: the newest doorbell that the consumer has received
 * @seen_at: time at which it was received, in ns
 * @done: the consumer has received the last doorbell
 * @sleeping: futex: the consumer asks for a wake-up
 * @wakeups: number of times that the consumer found a new doorbell
 * @usage: usage of the consumer, set at the end
 */
struct board {
	uint64_t consumer;
	uint64_t seen;
	uint64_t seen_at;
	uint64_t done;
	uint32_t sleeping;
	uint64_t wakeups;
	struct usage usage;
};

/**
 * struct bell - a doorbell and its mechanism
 * @how: the mechanism
 * @board: shared with the consumer
 * @page: size of the memory in bytes
 * @word: mapping that the producer stores to
 * @view: second mapping, which the consumer reads
 * @memory: the memfd, or -1
 * @event: the fd that the consumer waits for, or -1
 * @reply: an eventfd for replies, or -1
 * @socket: the producer's end and the consumer's, or -1
 * @pagemap: /proc/self/pagemap, or -1
 * @clear_refs: /proc/self/clear_refs, or -1
 * @awake: the consumer retries without sleeping
 * @alone: producer and consumer are one thread
 */
struct bell {
	const struct mechanism *how;
	struct board *board;
	size_t page;
	uint64_t *word;
	uint64_t *view;
	int memory;
	int event;
	int reply;
	int socket[2];
	int pagemap;
	int clear_refs;
	bool awake;
	bool alone;
};

/**
 * struct mechanism - one way to ring a doorbell
 * @name: as it appears in the output
 * @waiting: how its consumer waits
 * @is_answered: the producer waits for the consumer
 * @in_thread: the consumer is a thread of the producer's process
 * @open: set up; returns the reason why it is not available, or NULL
 * @ring: make @value the newest doorbell
 * @await: wait for a doorbell other than @seen; returns it or, for none, @seen
 */
struct mechanism {
	const char *name;
	enum waiting waiting;
	bool is_answered;
	bool in_thread;
	const char *(*open)(struct bell *bell);
	void (*ring)(struct bell *bell, uint64_t value);
	uint64_t (*await)(struct bell *bell, uint64_t seen);
};

extern const struct mechanism mechanisms[NR_MECHANISMS];

#endif /* BENCH_BELL_H */
