// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - benchmark: the cost of one doorbell, and of many per second
 */

#include "groups.h"
#include "pair.h"

#define REPETITIONS	5
#define WARM_UP		60
#define DOORBELLS	600		/* per repetition */
#define BUDGET_NS	700000000ull	/* per repetition; ends it early */
#define SCANNED		200		/* the same with a scanning consumer */
#define ROUND_TRIPS	200
#define RATE_RUNS	3
#define RATE_NS		200000000ull	/* per run */
#define FLAT_OUT	0
#define LOOK		32		/* doorbells between two clock reads */

static const char * const not_with_one_cpu = "with one CPU the consumer could not run";

struct one_by_one {
	struct samples latency;
	struct samples held;
	struct usage producer;
	struct usage consumer;
	uint64_t wakeups;
	uint64_t rung;
	const char *reason;
};

static void ring_one_by_one(struct one_by_one *sums, const struct mechanism *how)
{
	unsigned int i, nr = how->waiting == SCANS ? SCANNED : DOORBELLS;
	uint64_t began, done, wakeups, before, faults, enough;
	struct usage producer = { 0 }, consumer;
	struct pair pair;

	sums->reason = start_pair(&pair, how, false, false);
	if (sums->reason)
		return;
	enough = now_ns() + budget(BUDGET_NS);
	for (i = 0; i < WARM_UP + nr && (i < 2 * WARM_UP || now_ns() < enough); i++) {
		let_rest(&pair);
		faults = thread_faults();
		before = calls;
		began = now_ns();
		how->ring(&pair.bell, i + 1);
		done = now_ns();
		producer.calls += calls - before;
		producer.faults += thread_faults() - faults;
		await_board(&pair, &pair.bell.board->seen, i + 1);
		if (i < WARM_UP)
			continue;
		add_sample(&sums->held, done - began);
		add_sample(&sums->latency, pair.bell.board->seen_at - began);
	}
	stop_pair(&pair, &consumer, &wakeups);
	end_repetition(&sums->held);
	end_repetition(&sums->latency);
	sums->producer.calls += producer.calls;
	sums->producer.faults += producer.faults;
	sums->consumer.calls += consumer.calls;
	sums->consumer.faults += consumer.faults;
	sums->wakeups += wakeups;
	sums->rung += i;
}

/* The state of the consumer when a doorbell arrives. */
static const char *waiting_name(const struct mechanism *how)
{
	static const char * const names[] = { "asleep", "scans", "spins" };

	return names[how->waiting];
}

/* Mechanisms take turns, so that other load of the host disturbs all alike. */
void bench_doorbell(void)
{
	static struct one_by_one sums[NR_MECHANISMS];
	struct one_by_one *sum;
	const char *name, *waiting;
	unsigned int i;

	for (i = 0; i < REPETITIONS * NR_MECHANISMS; i++) {
		sum = &sums[i % NR_MECHANISMS];
		if (!sum->reason)
			ring_one_by_one(sum, &mechanisms[i % NR_MECHANISMS]);
	}
	for (i = 0; i < NR_MECHANISMS; i++) {
		sum = &sums[i];
		name = mechanisms[i].name;
		waiting = waiting_name(&mechanisms[i]);
		if (sum->reason) {
			skip("doorbell", name, waiting, sum->reason);
			continue;
		}
		line_percentiles("doorbell", name, waiting, &sum->latency);
		line_percentiles("held", name, waiting, &sum->held);
		line("doorbell", name, waiting, "producer-faults",
		     1.0 * sum->producer.faults / sum->rung, "per-doorbell");
		line("doorbell", name, waiting, "producer-calls",
		     1.0 * sum->producer.calls / sum->rung, "per-doorbell");
		if (mechanisms[i].waiting == SPINS)
			continue;
		line("doorbell", name, waiting, "consumer-faults",
		     1.0 * sum->consumer.faults / sum->wakeups, "per-event");
		line("doorbell", name, waiting, "consumer-calls",
		     1.0 * sum->consumer.calls / sum->wakeups, "per-event");
	}
}

/* Without a consumer: the cost of the store or the system call alone. */
static const char *ring_alone(struct samples *held, const struct mechanism *how)
{
	uint64_t i, began, done;
	const char *reason;
	struct bell bell;

	if (how->is_answered)
		return "without a consumer the producer would wait forever";
	pin_to(0);
	reason = open_bell(&bell, how, false);
	bell.alone = true;
	for (i = 1; !reason && i <= WARM_UP + DOORBELLS; i++) {
		began = now_ns();
		how->ring(&bell, i);
		done = now_ns();
		if (how->await(&bell, i - 1) != i)
			fail_plainly(how->name, "a doorbell was lost");
		if (i > WARM_UP)
			add_sample(held, done - began);
	}
	end_repetition(held);
	close_bell(&bell);
	return reason;
}

void bench_held(void)
{
	static struct samples held[NR_MECHANISMS];
	const char *reason[NR_MECHANISMS] = { NULL };
	unsigned int i;

	for (i = 0; i < REPETITIONS * NR_MECHANISMS; i++)
		reason[i % NR_MECHANISMS] = ring_alone(&held[i % NR_MECHANISMS],
						       &mechanisms[i % NR_MECHANISMS]);
	for (i = 0; i < NR_MECHANISMS; i++) {
		if (reason[i])
			skip("held", mechanisms[i].name, "alone", reason[i]);
		else
			line_percentiles("held", mechanisms[i].name, "alone", &held[i]);
	}
}

static const char *ring_and_return(struct samples *trip, const struct mechanism *how, bool awake)
{
	const char *reason;
	uint64_t i, began, reply, enough;
	struct pair pair;

	if (awake && cpus() == 1)
		return not_with_one_cpu;
	if (how->waiting == SCANS)
		return "a store wakes no consumer: see the doorbell's latency";
	if (how->waiting == SPINS && !awake)
		return "its consumer never sleeps";
	reason = start_pair(&pair, how, awake, true);
	if (reason)
		return reason;
	enough = now_ns() + budget(BUDGET_NS);
	for (i = 1; i <= WARM_UP + ROUND_TRIPS && (i < 2 * WARM_UP || now_ns() < enough); i++) {
		let_rest(&pair);
		began = now_ns();
		how->ring(&pair.bell, i);
		if (read(pair.bell.reply, &reply, sizeof(reply)) != sizeof(reply))
			fail("read of an eventfd");
		if (i > WARM_UP)
			add_sample(trip, now_ns() - began);
		await_board(&pair, &pair.bell.board->seen, i);
	}
	stop_pair(&pair, NULL, NULL);
	end_repetition(trip);
	return NULL;
}

/* From the store to the consumer and back: it replies over an eventfd. */
void bench_roundtrip(void)
{
	static struct samples trips[2 * NR_MECHANISMS];
	const char *reason[2 * NR_MECHANISMS] = { NULL };
	const char * const parameter[] = { "asleep", "awake" };
	unsigned int i, of;

	for (i = 0; i < REPETITIONS * 2 * NR_MECHANISMS; i++) {
		of = i % (2 * NR_MECHANISMS);
		reason[of] = ring_and_return(&trips[of], &mechanisms[of / 2], of % 2);
	}
	for (of = 0; of < 2 * NR_MECHANISMS; of++) {
		if (reason[of])
			skip("roundtrip", mechanisms[of / 2].name, parameter[of % 2], reason[of]);
		else
			line_percentiles("roundtrip", mechanisms[of / 2].name, parameter[of % 2],
					 &trips[of]);
	}
}

struct rate_sums {
	struct samples rung;		/* doorbells per second */
	struct samples producer;	/* millionths of a CPU */
	struct samples consumer;
	struct samples cost;		/* the producer's ns per doorbell */
	struct samples spent;		/* the consumer's ns per doorbell */
	struct usage usage[2];
	uint64_t wakeups;
	uint64_t all;
};

/*
 * Wait until @next: spin, or sleep if there is only one CPU. Returns the CPU
 * time of the wait in ns.
 */
static uint64_t keep_pace(uint64_t next)
{
	struct timespec until = { next / 1000000000, next % 1000000000 };
	uint64_t began = now_ns();

	if (cpus() == 1) {
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		return 0;
	}
	while (now_ns() < next)
		;
	return now_ns() - began;
}

/*
 * The producer reads the clock to keep its rate; that time is subtracted. Flat
 * out, it reads the clock once for each LOOK doorbells. The result is the cost
 * of ringing and of one clock read, and with one CPU that of the sleep between
 * two doorbells.
 */
static const char *ring_at_rate(struct rate_sums *sums, const struct mechanism *how,
				unsigned long rate)
{
	uint64_t began, now, next, end, idle = 0, rung = 0, ns, wakeups;
	struct usage producer, consumer;
	const char *reason;
	struct pair pair;

	if (cpus() == 1 && (rate == FLAT_OUT || how->waiting == SPINS))
		return not_with_one_cpu;
	reason = start_pair(&pair, how, false, false);
	if (reason)
		return reason;
	let_rest(&pair);
	begin_usage(&producer);
	began = now_ns();
	next = began;
	end = began + budget(RATE_NS);
	for (now = began; now < end; now = now_ns()) {
		if (rate == FLAT_OUT) {
			do {
				how->ring(&pair.bell, ++rung);
			} while (rung % LOOK);
			continue;
		}
		next += 1000000000 / rate;
		if (now < next)
			idle += keep_pace(next);
		how->ring(&pair.bell, ++rung);
	}
	end_usage(&producer);
	stop_pair(&pair, &consumer, &wakeups);

	ns = producer.cpu_ns > idle ? producer.cpu_ns - idle : 0;
	add_sample(&sums->rung, rung * 1000000000 / producer.wall_ns);
	add_sample(&sums->producer, ns * 1000000 / producer.wall_ns);
	add_sample(&sums->consumer, consumer.cpu_ns * 1000000 / consumer.wall_ns);
	add_sample(&sums->cost, ns / rung);
	add_sample(&sums->spent, consumer.cpu_ns / rung);
	sums->usage[0].calls += producer.calls;
	sums->usage[0].faults += producer.faults;
	sums->usage[1].calls += consumer.calls;
	sums->wakeups += wakeups;
	sums->all += rung;
	return NULL;
}

static void line_rate(const char *name, const char *parameter, struct rate_sums *sums)
{
	struct samples *consumer = &sums->consumer;
	double middle;

	line("rate", name, parameter, "achieved",
	     median(sums->rung.value, sums->rung.nr), "doorbells/s");
	line("rate", name, parameter, "producer-cpu",
	     median(sums->producer.value, sums->producer.nr) / 1e4, "% of a CPU");
	line_median("rate", name, parameter, "producer-cost", &sums->cost, "ns/doorbell");
	line_median("rate", name, parameter, "consumer-cost", &sums->spent, "ns/doorbell");
	sort_values(consumer->value, consumer->nr);
	middle = quantile(consumer, 0.5);
	line("rate", name, parameter, "consumer-cpu", middle / 1e4, "% of a CPU");
	line("rate", name, parameter, "consumer-cpu-spread",
	     100.0 * (consumer->value[consumer->nr - 1] - consumer->value[0]) / (middle ?: 1),
	     "%");
	line("rate", name, parameter, "faults", 1.0 * sums->usage[0].faults / sums->all,
	     "per-doorbell");
	line("rate", name, parameter, "producer-calls", 1.0 * sums->usage[0].calls / sums->all,
	     "per-doorbell");
	line("rate", name, parameter, "consumer-calls", 1.0 * sums->usage[1].calls / sums->all,
	     "per-doorbell");
	line("rate", name, parameter, "events", 1.0 * sums->wakeups / sums->all,
	     "per-doorbell");
}

void bench_rate(void)
{
	static const struct { const char *name; unsigned long rate; } rates[] = {
		{ "1000/s", 1000 }, { "10000/s", 10000 }, { "100000/s", 100000 },
		{ "flat-out", FLAT_OUT },
	};
	static struct rate_sums sums[NR_MECHANISMS];
	const char *reason[NR_MECHANISMS];
	unsigned int i, of, r;

	for (r = 0; r < ARRAY_SIZE(rates); r++) {
		memset(sums, 0, sizeof(sums));
		for (i = 0; i < RATE_RUNS * NR_MECHANISMS; i++) {
			of = i % NR_MECHANISMS;
			reason[of] = ring_at_rate(&sums[of], &mechanisms[of], rates[r].rate);
		}
		for (of = 0; of < NR_MECHANISMS; of++) {
			if (reason[of])
				skip("rate", mechanisms[of].name, rates[r].name, reason[of]);
			else
				line_rate(mechanisms[of].name, rates[r].name, &sums[of]);
		}
	}
}

