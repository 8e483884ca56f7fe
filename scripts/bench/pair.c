// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - benchmark: a producer and a consumer with a doorbell
 */

#include <sys/eventfd.h>
#include "pair.h"
#include "tracker.h"

#define THE_LAST	UINT64_MAX	/* doorbell */

static void consume(struct bell *bell)
{
	struct board *board = bell->board;
	uint64_t value = 0, seen = 0, one = 1;

	pin_to(1);
	begin_usage(&board->usage);
	store(&board->consumer, gettid());
	while (seen != THE_LAST) {
		while ((value = bell->how->await(bell, seen)) == seen)
			;
		seen = value;
		board->seen_at = now_ns();
		board->wakeups++;
		store(&board->seen, seen);
		if (bell->reply >= 0 && counted(write(bell->reply, &one, sizeof(one))) < 0)
			fail("write to an eventfd");
	}
	end_usage(&board->usage);
	store(&board->done, 1);
}

static void *consume_in_thread(void *data)
{
	consume(data);
	return NULL;
}

void await_board(const struct pair *pair, const uint64_t *number, uint64_t least)
{
	uint64_t until = now_ns() + PATIENCE_NS;

	while (load(number) < least) {
		relax();
		if (now_ns() > until)
			fail_plainly(pair->bell.how->name, "a doorbell was lost");
	}
}

/* Returns the reason why the mechanism is not available, or NULL. */
const char *open_bell(struct bell *bell, const struct mechanism *how, bool awake)
{
	*bell = (struct bell) { .how = how, .page = getpagesize(), .memory = -1, .event = -1,
				.reply = -1, .socket = { -1, -1 }, .pagemap = -1,
				.clear_refs = -1, .awake = awake };
	at_work = how->name;
	bell->board = shared_memory(sizeof(*bell->board));
	return how->open(bell);
}

void close_bell(struct bell *bell)
{
	int fd[] = { bell->memory, bell->event, bell->reply, bell->socket[0],
		     bell->socket[1], bell->pagemap, bell->clear_refs };
	unsigned int i;

	if (bell->how->in_thread)
		handle_segv(NULL);
	munmap(bell->board, sizeof(*bell->board));
	if (bell->word)
		munmap(bell->word, bell->page);
	if (bell->view)
		munmap(bell->view, bell->page);
	for (i = 0; i < ARRAY_SIZE(fd); i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

/* As open_bell(), then start a consumer, which replies if @replies is set. */
const char *start_pair(struct pair *pair, const struct mechanism *how, bool awake,
		       bool replies)
{
	struct bell *bell = &pair->bell;
	const char *reason = open_bell(bell, how, awake);
	char path[32];

	if (reason) {
		close_bell(bell);
		return reason;
	}
	pin_to(0);
	if (replies) {
		bell->reply = eventfd(0, EFD_CLOEXEC);
		if (bell->reply < 0)
			fail("eventfd");
	}
	if (how->in_thread) {
		if (pthread_create(&pair->thread, NULL, consume_in_thread, bell))
			fail("pthread_create");
	} else {
		pair->process = fork_child();
		if (pair->process < 0)
			fail("fork");
		if (!pair->process) {
			/* userfaultfd protects the parent's mapping only. */
			munmap(bell->word, bell->page);
			consume(bell);
			_exit(0);
		}
		munmap(bell->view, bell->page);
		bell->view = NULL;
	}
	await_board(pair, &bell->board->consumer, 1);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)bell->board->consumer);
	pair->stat = open(path, O_RDONLY | O_CLOEXEC);
	if (pair->stat < 0)
		fail(path);
	return NULL;
}

/* The consumer's usage ends with the last doorbell, before its exit. */
void stop_pair(struct pair *pair, struct usage *usage, uint64_t *wakeups)
{
	struct bell *bell = &pair->bell;
	uint64_t reply;
	int status;

	bell->how->ring(bell, THE_LAST);
	await_board(pair, &bell->board->done, 1);
	if (usage)
		*usage = bell->board->usage;
	if (wakeups)
		*wakeups = bell->board->wakeups;
	if (bell->how->in_thread)
		pthread_join(pair->thread, NULL);
	else if (waitpid(pair->process, &status, 0) != pair->process || status)
		fail_plainly(bell->how->name, "the consumer failed");
	if (bell->reply >= 0 && read(bell->reply, &reply, sizeof(reply)) < 0)
		fail("read of an eventfd");
	close(pair->stat);
	close_bell(bell);
}

static bool is_asleep(const struct pair *pair)
{
	const char *state;
	char text[64];
	ssize_t len = pread(pair->stat, text, sizeof(text) - 1, 0);

	if (len < 0)
		fail("/proc/PID/stat");
	text[len] = '\0';
	state = strrchr(text, ')');
	return state && state[2] == 'S';
}

/* Wait until the consumer is in the state that it has between two doorbells. */
void let_rest(const struct pair *pair)
{
	uint64_t until = now_ns() + PATIENCE_NS;

	if (pair->bell.how->waiting == SCANS) {
		sleep_ns(100000 + pseudo_random() % SCAN_PERIOD_NS);
	} else if (pair->bell.how->waiting == SPINS || pair->bell.awake) {
		sleep_ns(150000);
	} else {
		while (!is_asleep(pair)) {
			relax();
			if (now_ns() > until)
				fail_plainly(pair->bell.how->name, "the consumer never sleeps");
		}
		/* In state S it may still be about to leave the CPU. */
		spin_ns(20000);
	}
}

