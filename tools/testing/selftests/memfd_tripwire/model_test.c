// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - random operations against a model of the events that must be
 * raised
 *
 * A seed makes a list of operations. They are carried out one after the other
 * by a few processes on a fresh memfd_tripwire. After each, the model knows the
 * contents of the file, and of each consumer (an open file description) whether
 * they changed since its last ACK: then its event must be pending. An event
 * without a change is spurious and allowed, but it must not come for ever. A
 * list that fails is shrunk.
 *
 *	model_test [-s SEED] [-n OPERATIONS] [-r RUNS] [-x KIND[,KIND...]] [-b]
 *
 * -x leaves kinds of operations out, -b loses events on purpose.
 */
#include <limits.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "model_env.h"
#include "model_op.h"
#include "model_worker.h"

#define STOP_MS		2000		/* for an event to stop coming */
#define HANG_MS		10000
#define SHRINK_MS	30000
#define MAX_OPS		1000000

enum verdict { GOOD, MISSED, ENDLESS, WRONG_CONTENTS, UNEXPECTED, HUNG };

/* In shared memory: results of a run for the main process. */
static struct outcome {
	size_t at;
	enum verdict verdict;
	char why[200];
	unsigned long worked[KINDS], idle[KINDS];
} *outcome;

/* Where a worker has a page of the file: in one of two windows, or nowhere. */
struct place {
	unsigned char window, prot;
};

static size_t size;
static bool lose_events;

/* The executor's. */
static int epfd, workers[WORKERS];
static pid_t pids[WORKERS];
static struct place *places[WORKERS];
static struct pollfd consumers[CONSUMERS];
static bool must[CONSUMERS];		/* contents changed since the ACK */
static bool edge[CONSUMERS];		/* edge-triggered epoll has had its edge since the ACK */

/* The executor */

static __noreturn __printf(2, 3)
void fail(enum verdict verdict, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(outcome->why, sizeof(outcome->why), fmt, args);
	va_end(args);
	outcome->verdict = verdict;
	_exit(1);
}

static long order(unsigned int worker, const struct command *cmd)
{
	struct reply reply;

	if (write(workers[worker], cmd, sizeof(*cmd)) != sizeof(*cmd) ||
	    read(workers[worker], &reply, sizeof(reply)) != sizeof(reply))
		fail(UNEXPECTED, "worker %u is gone", worker);
	pids[worker] = reply.pid;
	return reply.ret;
}

static void acknowledge(unsigned int mask)
{
	int c;

	for (c = 0; c < CONSUMERS; c++) {
		if (!(mask & 1 << c))
			continue;
		if (ack(consumers[c].fd))
			fail(UNEXPECTED, "ACK of consumer %d: %s", c, strerror(errno));
		must[c] = false;
		edge[c] = false;
	}
}

static void open_consumer(int c)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u32 = c };

	if (c && consumers[c].fd)
		close(consumers[c].fd);
	consumers[c].fd = c ? reopen(memfd, c == 2 ? O_RDONLY : O_RDWR) : memfd;
	consumers[c].events = POLLIN;
	must[c] = c;		/* a description opened later starts signalled */
	edge[c] = false;
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, consumers[c].fd, &event))
		fail(UNEXPECTED, "epoll_ctl for consumer %d: %s", c, strerror(errno));
}

/* Is every consumer notified that must be? */
static void check_events(const struct op *op, bool changed)
{
	uint64_t until = now_ns() + PATIENCE_MS * 1000000ull;
	struct epoll_event events[CONSUMERS];
	bool late = kinds[op->kind].flags & LATE;
	int c, n;

	for (c = 0; changed && c < CONSUMERS; c++)
		must[c] = true;
again:
	n = epoll_wait(epfd, events, CONSUMERS, 0);
	for (c = 0; c < n; c++)
		edge[events[c].data.u32] = true;
	poll(consumers, CONSUMERS, 0);
	for (c = 0; c < CONSUMERS; c++) {
		bool notified = consumers[c].revents & POLLIN;

		if (lose_events && changed && c == 1 && op->kind == STORE && op->actor == 1)
			notified = false;
		if (!must[c] || (notified && edge[c]))
			continue;
		if (late && now_ns() < until) {
			poll(NULL, 0, 1);
			goto again;
		}
		fail(MISSED, "consumer %d was not notified of a change%s", c,
		     notified ? ": no edge for epoll" : "");
	}
}

static void check_read(size_t off, size_t len)
{
	static char buf[1 << 16];
	ssize_t got;

	for (len = min_size(len, size - min_size(size, off)); len; len -= got, off += got) {
		got = pread(memfd, buf, min_size(len, sizeof(buf)), off);
		if (got <= 0)
			fail(WRONG_CONTENTS, "read at 0x%zx gave %zd", off, got);
		if (memcmp(buf, model + off, got))
			fail(WRONG_CONTENTS, "read in [0x%zx, +0x%zx) differs", off, got);
	}
}

static void check_mapping(void)
{
	char *map = mmap(NULL, max_size, PROT_READ, MAP_SHARED, memfd, 0);
	off_t data = 0, hole;

	if (map == MAP_FAILED)
		fail(UNEXPECTED, "mmap: %s", strerror(errno));
	for (;; data = hole) {		/* around the holes: they shall remain some */
		data = lseek(memfd, data, SEEK_DATA);
		if (data < 0)
			break;
		hole = lseek(memfd, data, SEEK_HOLE);
		if (hole <= data)
			break;
		if (memcmp(map + data, model + data, hole - data))
			fail(WRONG_CONTENTS, "mapping in [0x%zx, +0x%zx) differs", (size_t)data,
			     (size_t)(hole - data));
	}
	munmap(map, max_size);
}

/* Nobody writes: the event must stop coming. */
static void settle(int quiet_ms)
{
	uint64_t until = now_ns() + STOP_MS * 1000000ull;

	do {
		if (now_ns() > until)
			fail(ENDLESS, "the event comes again and again while nobody writes");
		acknowledge(ack_all.detail);
	} while (poll(consumers, CONSUMERS, quiet_ms));
	check_read(0, size);
	check_mapping();
}

static bool differs(size_t off, size_t len, unsigned char value)
{
	return len && (model[off] != value || memcmp(model + off, model + off + 1, len - 1));
}

/* What @op did to the file. Returns whether anybody can see a difference. */
static bool apply(const struct op *op, long ret)
{
	size_t len = kinds[op->kind].flags & FILLS ? (size_t)ret : op->len;
	bool changed = false;

	if (op->kind == TRUNCATE) {
		changed = size != op->len;
		if (op->len < size)
			memset(model + op->len, 0, size - op->len);
		size = op->len;
	} else if (kinds[op->kind].flags & FILLS) {
		changed = op->off + len > size || differs(op->off, len, op->value);
		memset(model + op->off, op->value, len);
		if (op->off + len > size)
			size = op->off + len;
	} else if (kinds[op->kind].flags & ZEROES) {
		changed = differs(op->off, len, 0);
		memset(model + op->off, 0, len);
	}
	return changed;
}

/*
 * Cut @op down to what its actor has mapped in one piece, below the end of the
 * file.
 */
static bool fit(struct op *op)
{
	unsigned int flags = kinds[op->kind].flags;
	const struct place *at = places[op->actor] + op->off / page, *end;

	if (!(flags & MAPPED))
		return true;
	if ((flags & FILLS || op->kind == LOAD) && op->off + op->len > size)
		op->len = align_down(size - min_size(size, op->off),
				     flags & WHOLE ? page : op->kind == DIRECT ? 512 : 1);
	for (end = at; end < places[op->actor] + align_up(op->off + op->len, page) / page; end++)
		if (end->window != at->window || end->prot != at->prot)
			break;
	op->len = min_size(op->len, (end - places[op->actor]) * page - op->off);
	return op->len && at->prot && (!(flags & WRITABLE) || at->prot & PROT_WRITE);
}

static void forget_others(const struct op *op)
{
	unsigned int w, i;

	for (w = 0; w < WORKERS; w++) {
		for (i = 0; i < 2 && w != op->actor; i++) {
			struct command cmd = { .op = *op, .addr = windows[i] + op->off };

			cmd.op.kind = DONTNEED;
			order(w, &cmd);
		}
	}
}

static bool execute_own(const struct op *op)
{
	if (op->kind == ACK)
		acknowledge(op->detail);
	else if (op->kind == SETTLE)
		settle(2);
	else if (op->kind == REOPEN)
		open_consumer(1 + op->detail % (CONSUMERS - 1));
	else
		return false;
	check_events(op, false);
	outcome->worked[op->kind]++;
	return true;
}

static void execute(struct op op)
{
	unsigned int flags = kinds[op.kind].flags, doer = op.actor;
	struct place *at = places[op.actor] + op.off / page;
	struct command cmd = {};
	struct stat st;
	bool changed;
	long ret;
	size_t i;

	if (execute_own(&op))
		return;
	if (!fit(&op)) {
		outcome->idle[op.kind]++;
		return;
	}

	cmd.op = op;
	cmd.prot = at->prot;
	if (op.kind == PVM || op.kind == PINNED || op.kind == PROCMEM) {
		cmd.target = pids[op.actor];
		doer = (op.actor + 1) % WORKERS;
	} else if (op.kind == MAP || op.kind == UNMAP) {
		cmd.prot = op.kind == UNMAP ? 0 : PROT_READ | (op.detail % 4 == 3 ? 0 : PROT_WRITE);
		for (i = 0; i < op.len / page; i++)
			at[i] = (struct place){ op.detail >> 2 & 1, cmd.prot };
	} else if (op.kind == REMAP) {
		cmd.from = windows[at->window] + op.off;
		for (i = 0; i < op.len / page; i++)
			at[i].window ^= 1;
	} else if (op.kind == PROTECT) {
		cmd.prot = PROT_READ | (~at->prot & PROT_WRITE);
		if (op.detail & 1)
			cmd.prot = at->prot;
		for (i = 0; i < op.len / page; i++)
			at[i].prot = cmd.prot;
	} else if (op.kind == PAGEOUT && op.detail & 3) {
		forget_others(&op);
	}
	cmd.addr = windows[at->window] + op.off;

	ret = order(doer, &cmd);
	if (op.kind == PINNED && !ret) {
		acknowledge(op.detail);
		cmd.release = true;
		ret = order(doer, &cmd);
	}
	if (ret == -EILSEQ)
		fail(WRONG_CONTENTS, "a load differs");
	if (flags & MUST && (ret < 0 || (flags & FILLS && ret != (long)op.len)))
		fail(UNEXPECTED, "%s gave %ld%s%s", kinds[op.kind].name, ret, ret < 0 ? ": " : "",
		     ret < 0 ? strerror(-ret) : "");
	(ret < 0 ? outcome->idle : outcome->worked)[op.kind]++;
	changed = apply(&op, ret < 0 ? 0 : ret);
	check_events(&op, changed);
	if (op.kind == TRUNCATE && (fstat(memfd, &st) || (size_t)st.st_size != size))
		fail(WRONG_CONTENTS, "the size is %zu", (size_t)st.st_size);
	if (changed && op.detail & 0x100)
		check_read(op.off, op.len);
}

static void be_executor(const struct op *ops, size_t n, int quiet_ms)
{
	int pair[2], w, c;
	size_t i;

	memset(model, 0, max_size);
	size = max_size;
	memfd = memfd_tripwire(0);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (memfd < 0 || epfd < 0 || ftruncate(memfd, size) || ack(memfd))
		fail(UNEXPECTED, "no file: %s", strerror(errno));
	for (w = 0; w < WORKERS; w++) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
			fail(UNEXPECTED, "socketpair: %s", strerror(errno));
		workers[w] = pair[0];
		places[w] = calloc(pages, sizeof(struct place));
		pids[w] = fork_child();
		if (!pids[w])
			be_worker(pair[1]);
		close(pair[1]);
	}
	for (c = 0; c < CONSUMERS; c++)
		open_consumer(c);
	for (w = 0; w < WORKERS; w++)
		execute((struct op){ .kind = MAP, .actor = w, .len = max_size });
	for (i = 0; i < n; i++) {
		outcome->at = i;
		execute(ops[i]);
	}
	outcome->at = n;
	settle(quiet_ms);
	_exit(0);
}

/* The main process */

static void reap(pid_t executor)
{
	uint64_t until = now_ns() + HANG_MS * 1000000ull;
	pid_t pid;

	kill(-executor, SIGKILL);
	do {
		pid = waitpid(-1, NULL, WNOHANG);
		if (!pid)
			poll(NULL, 0, 1);
	} while (pid >= 0 && now_ns() < until);
}

static enum verdict run(const struct op *ops, size_t n, int quiet_ms, unsigned int hang_ms)
{
	uint64_t moved = now_ns();
	size_t at = -1;
	pid_t executor;
	siginfo_t info;

	memset(outcome, 0, sizeof(*outcome));
	executor = fork_child();
	if (!executor) {
		setpgid(0, 0);
		be_executor(ops, n, quiet_ms);
	}
	if (executor < 0)
		ksft_exit_fail_perror("fork");
	setpgid(executor, executor);

	for (;;) {
		info.si_pid = 0;
		waitid(P_PID, executor, &info, WEXITED | WNOHANG | WNOWAIT);
		if (info.si_pid)
			break;
		if (at != __atomic_load_n(&outcome->at, __ATOMIC_RELAXED)) {
			at = outcome->at;
			moved = now_ns();
		}
		if (now_ns() - moved > hang_ms * 1000000ull) {
			outcome->verdict = HUNG;
			snprintf(outcome->why, sizeof(outcome->why), "it hangs");
			break;
		}
		poll(NULL, 0, 2);
	}
	if (info.si_pid && outcome->verdict == GOOD && info.si_status) {
		outcome->verdict = UNEXPECTED;
		snprintf(outcome->why, sizeof(outcome->why), "the executor died of %d",
			 info.si_status);
	}
	reap(executor);
	return outcome->verdict;
}

static struct {
	enum verdict verdict;
	unsigned int runs;
	uint64_t until;
} shrinking;

/*
 * Does it still fail, and in the same way? Then what comes after is of no use
 * either.
 */
static bool still_fails(struct op *ops, size_t *n)
{
	int quiet_ms = shrinking.verdict == ENDLESS ? 100 : 2;

	shrinking.runs++;
	if (now_ns() > shrinking.until || run(ops, *n, quiet_ms, 3000) != shrinking.verdict)
		return false;
	*n = min_size(*n, outcome->at + 1);
	return true;
}

/* Take out what is not needed, @chunk at a time. */
static size_t take_out(struct op *ops, size_t n, size_t chunk, struct op *try)
{
	size_t i = 0, cut, left;

	while (i < n) {
		cut = min_size(chunk, n - i);
		left = n - cut;
		memcpy(try, ops, i * sizeof(*ops));
		memcpy(try + i, ops + i + cut, (left - i) * sizeof(*ops));
		if (still_fails(try, &left)) {
			memcpy(ops, try, left * sizeof(*ops));
			n = left;
		} else {
			i += cut;
		}
	}
	return n;
}

static size_t simplify(struct op *ops, size_t n, struct op *try)
{
	size_t i, left;
	int what;

	for (i = 0; i < n * 4; i++) {
		struct op *op = &try[i / 4];

		memcpy(try, ops, n * sizeof(*ops));
		what = i % 4;
		if (what == 0)
			op->len = min_size(op->len, kinds[op->kind].flags & WHOLE ? page : 8);
		else if (what == 1)
			op->off = 0;
		else if (what == 2 && op->kind != ACK)
			op->detail = op->kind == UFFD ? op->detail % UFFD_MODES : 0;
		else if (what == 3)
			op->actor = 0;
		left = n;
		if (memcmp(op, &ops[i / 4], sizeof(*op)) && still_fails(try, &left)) {
			memcpy(ops, try, left * sizeof(*ops));
			n = left;
		}
	}
	return n;
}

static size_t shrink(struct op *ops, size_t n)
{
	struct op *try = calloc(n + 1, sizeof(*try));
	size_t chunk, before;

	shrinking.verdict = outcome->verdict;
	shrinking.runs = 0;
	shrinking.until = now_ns() + SHRINK_MS * 1000000ull;
	n = min_size(n, outcome->at + 1);
	for (chunk = (n + 1) / 2; chunk > 1; chunk = (chunk + 1) / 2)
		n = take_out(ops, n, chunk, try);
	do {
		before = n;
		n = take_out(ops, n, 1, try);
		n = simplify(ops, n, try);
	} while (n < before);
	free(try);
	return n;
}

static void report(struct op *ops, size_t n, unsigned long long seed, size_t want)
{
	char why[sizeof(outcome->why)];
	size_t i;

	ksft_print_msg("seed %llu, operation %zu of %zu: %s\n", seed, outcome->at, n, outcome->why);
	if (outcome->at < n)
		print_op(outcome->at, &ops[outcome->at]);
	ksft_print_msg("replay: -s %llu -n %zu, and -x and -b as now; shrinking ...\n", seed, want);
	memcpy(why, outcome->why, sizeof(why));
	n = shrink(ops, n);
	ksft_print_msg("%u runs later these are left (%s):\n", shrinking.runs, why);
	for (i = 0; i < n; i++)
		print_op(i, &ops[i]);
}

static unsigned long worked[KINDS], idle[KINDS];

static bool run_seed(unsigned long long seed, size_t want)
{
	struct op *ops = calloc(2 * want + 1, sizeof(*ops));
	size_t n = generate(ops, want, seed);
	unsigned long long began = now_ns(), ms;
	bool good = run(ops, n, 100, HANG_MS) == GOOD;
	int k;

	ms = (now_ns() - began) / 1000000;
	for (k = 0; k < KINDS; k++) {
		worked[k] += outcome->worked[k];
		idle[k] += outcome->idle[k];
	}
	if (good)
		ksft_print_msg("seed %llu: %zu operations in %llu ms\n", seed, n, ms);
	else
		report(ops, n, seed, want);
	free(ops);
	return good;
}

/*
 * A model that never fails proves nothing: lose events, and see it noticed and
 * shrunk.
 */
static bool notices_lost_event(void)
{
	struct op *ops = calloc(2 * 400 + 1, sizeof(*ops));
	size_t n = generate(ops, 400, 1), i;
	bool was = lose_events, noticed;

	lose_events = true;
	noticed = run(ops, n, 100, HANG_MS) == MISSED;
	if (noticed)
		n = shrink(ops, n);
	for (i = 0; i < n && n < 10; i++)
		print_op(i, &ops[i]);
	lose_events = was;
	free(ops);
	return noticed && n == 1;
}

static void leave_out(char *names)
{
	char *name;
	int k;

	for (name = strtok(names, ","); name; name = strtok(NULL, ",")) {
		for (k = 0; k < KINDS && strcmp(name, kinds[k].name); k++)
			;
		if (k == KINDS)
			ksft_exit_fail_msg("-x %s: there is no such kind\n", name);
		drop(k, "as you wish");
	}
}

int main(int argc, char **argv)
{
	unsigned long runs = 0, n = 1000, i;
	unsigned long long seed = 1;
	bool self_check = true, good = true, all = true;
	int opt, k;

	ksft_print_header();
	if (!have_tripwire())
		ksft_exit_skip("this kernel has no memfd_tripwire()\n");
	while ((opt = getopt(argc, argv, "s:n:r:x:b")) != -1) {
		if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (opt == 'n')
			n = strtoul(optarg, NULL, 0);
		else if (opt == 'r')
			runs = strtoul(optarg, NULL, 0);
		else if (opt == 'x')
			leave_out(optarg);
		else if (opt == 'b')
			lose_events = true;
		else
			ksft_exit_fail_msg("[-s SEED] [-n OPS] [-r RUNS] [-x KIND,...] [-b]\n");
		if (opt == 's' || opt == 'r' || opt == 'b')
			self_check = false;
	}
	if (!runs)
		runs = self_check ? 3 : 1;
	if (!n || n > MAX_OPS)
		ksft_exit_fail_msg("-n takes 1 to %d\n", MAX_OPS);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	look_around();
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (outcome == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	ksft_set_plan(2 * self_check + runs);
	if (self_check)
		ksft_test_result(notices_lost_event(), "notices and shrinks a lost event\n");
	for (i = 0; i < runs; i++) {
		good = run_seed(seed + i, n);
		ksft_test_result(good, "model of seed %llu, %lu operations\n", seed + i, n);
	}
	for (k = 0; k < KINDS; k++) {
		if (!(worked[k] + idle[k]))
			continue;
		ksft_print_msg("%-9s %lu times; %lu without effect%s\n", kinds[k].name,
			       worked[k], idle[k], worked[k] ? "" : ": NOT TESTED");
		all = all && worked[k];
	}
	if (self_check)
		ksft_test_result(all, "each kind of operation has worked\n");
	end_swap(&swap_disk);
	ksft_finished();
}
