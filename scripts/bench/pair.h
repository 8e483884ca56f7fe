/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - benchmark: a producer and a consumer with a doorbell
 */
#ifndef BENCH_PAIR_H
#define BENCH_PAIR_H

#include <pthread.h>
#include "bell.h"

/**
 * struct pair - a producer, which is the caller, and its consumer
 * @bell: the doorbell between them
 * @process: the consumer, if it is a process
 * @thread: the consumer, if it is a thread
 * @stat: fd of the consumer's /proc/PID/stat
 */
struct pair {
	struct bell bell;
	pid_t process;
	pthread_t thread;
	int stat;
};

const char *open_bell(struct bell *bell, const struct mechanism *how, bool awake);
void close_bell(struct bell *bell);
const char *start_pair(struct pair *pair, const struct mechanism *how, bool awake,
		       bool replies);
void stop_pair(struct pair *pair, struct usage *usage, uint64_t *wakeups);
void await_board(const struct pair *pair, const uint64_t *number, uint64_t least);
void let_rest(const struct pair *pair);

#endif /* BENCH_PAIR_H */
