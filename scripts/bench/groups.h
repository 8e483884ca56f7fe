/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - benchmark: the groups of measurements
 */
#ifndef BENCH_GROUPS_H
#define BENCH_GROUPS_H

#define MOST_WATCHES	4096	/* on one file */

void bench_baseline(void);
void bench_doorbell(void);
void bench_held(void);
void bench_huge(void);
void bench_mappers(void);
void bench_memory(void);
void bench_paths(void);
void bench_plain_paths(void);
void bench_profile(void);
void bench_rearm(void);
void bench_report(void);
void bench_ring(void);
void bench_roundtrip(void);
void bench_rate(void);
void bench_watches(void);

#endif /* BENCH_GROUPS_H */
