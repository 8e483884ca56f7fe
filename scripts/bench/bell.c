// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - benchmark: the ways to ring a doorbell and to receive it
 *
 * A doorbell is a number that grows. The producer stores a new number and the
 * consumer waits for it. Each consumer clears its event or re-arms first and
 * loads the number after that, so that no doorbell is lost.
 */

#include <stddef.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include "bell.h"
#include "tracker.h"

/* A vfio-user client's message for a trapped store: header and region write. */
struct region_write {
	uint16_t id;
	uint16_t command;
	uint32_t size;
	uint32_t flags;
	uint32_t error;
	uint64_t offset;
	uint32_t region;
	uint32_t count;
	uint64_t value;
};

#define REPLY_SIZE	offsetof(struct region_write, offset)

static void open_plain(struct bell *bell)
{
	bell->memory = plain_memfd(bell->page);
	bell->word = must_map(bell->memory, bell->page);
	bell->view = must_map(bell->memory, bell->page);
	store(bell->word, 0);
}

static void open_tripwire(struct bell *bell, unsigned int flags)
{
	bell->memory = tripwire_memfd(flags, bell->page);
	bell->word = must_map(bell->memory, bell->page);
	bell->view = must_map(bell->memory, bell->page);
	store(bell->word, 0);
}

static void ring_plain(struct bell *bell, uint64_t value)
{
	store(bell->word, value);
}

/* Wait in read(2); with an awake consumer, retry until an event is there. */
static void read_event(struct bell *bell, int fd, void *data, size_t size)
{
	ssize_t got;

	do {
		got = counted(read(fd, data, size));
	} while (got < 0 && errno == EAGAIN && bell->awake);
	if (got <= 0)
		fail("read of an event");
}

static const char *open_ack(struct bell *bell)
{
	if (!have_tripwire())
		return LACKS_TRIPWIRE;
	open_tripwire(bell, 0);
	if (ack(bell->memory))
		fail("MEMFD_TRIPWIRE_ACK");
	return NULL;
}

static uint64_t await_ack(struct bell *bell, uint64_t seen)
{
	while (!counted(pending_within(bell->memory, bell->awake ? 0 : -1)))
		;
	if (counted(ack(bell->memory)))
		fail("MEMFD_TRIPWIRE_ACK");
	return load(bell->view);
}

static const char *open_watch(struct bell *bell)
{
	if (!have_tripwire())
		return LACKS_TRIPWIRE;
	open_tripwire(bell, MEMFD_TRIPWIRE_WATCH_ONLY);
	bell->event = must_watch(bell->memory, 0, bell->page,
				 bell->awake ? MEMFD_TRIPWIRE_WATCH_NONBLOCK : 0);
	return NULL;
}

static uint64_t await_watch(struct bell *bell, uint64_t seen)
{
	struct memfd_tripwire_range range;

	read_event(bell, bell->event, &range, sizeof(range));
	return load(bell->view);
}

static const char *open_eventfd(struct bell *bell)
{
	open_plain(bell);
	bell->event = eventfd(0, EFD_CLOEXEC | (bell->awake ? EFD_NONBLOCK : 0));
	return bell->event < 0 ? "no eventfd()" : NULL;
}

static void ring_eventfd(struct bell *bell, uint64_t value)
{
	uint64_t one = 1;

	store(bell->word, value);
	if (counted(write(bell->event, &one, sizeof(one))) != sizeof(one))
		fail("write to an eventfd");
}

static uint64_t await_eventfd(struct bell *bell, uint64_t seen)
{
	uint64_t rung;

	read_event(bell, bell->event, &rung, sizeof(rung));
	return load(bell->view);
}

static const char *open_futex(struct bell *bell)
{
	open_plain(bell);
	return NULL;
}

/* The cheapest protocol: no system call unless the consumer is asleep. */
static void ring_futex(struct bell *bell, uint64_t value)
{
	uint32_t *sleeping = &bell->board->sleeping;

	__atomic_store_n(bell->word, value, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(sleeping, __ATOMIC_SEQ_CST))
		return;
	__atomic_store_n(sleeping, 0, __ATOMIC_SEQ_CST);
	if (counted(syscall(__NR_futex, sleeping, FUTEX_WAKE, 1, NULL, NULL, 0)) < 0)
		fail("FUTEX_WAKE");
}

static uint64_t await_futex(struct bell *bell, uint64_t seen)
{
	uint32_t *sleeping = &bell->board->sleeping;

	if (!bell->awake) {
		__atomic_store_n(sleeping, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(bell->view, __ATOMIC_SEQ_CST) == seen &&
		    counted(syscall(__NR_futex, sleeping, FUTEX_WAIT, 1, NULL, NULL, 0)) &&
		    errno != EAGAIN)
			fail("FUTEX_WAIT");
		__atomic_store_n(sleeping, 0, __ATOMIC_SEQ_CST);
	}
	return load(bell->view);
}

static const char *open_uffd_wp(struct bell *bell)
{
	const char *reason;

	open_plain(bell);
	reason = uffd_wp_open(&bell->event, bell->word, bell->page, false);
	if (reason)
		return reason;
	if (bell->awake && fcntl(bell->event, F_SETFL, O_NONBLOCK))
		fail("F_SETFL");
	uffd_protect(bell->event, bell->word, bell->page, true);
	return NULL;
}

/*
 * The producer is blocked until the page is unprotected. The page is protected
 * again only after the store is visible; earlier, the store would fault again,
 * forever.
 */
static uint64_t await_uffd_wp(struct bell *bell, uint64_t seen)
{
	struct uffd_msg msg;

	read_event(bell, bell->event, &msg, sizeof(msg));
	uffd_protect(bell->event, bell->word, bell->page, false);
	while (load(bell->view) == seen)
		counted(sched_yield());
	uffd_protect(bell->event, bell->word, bell->page, true);
	return load(bell->view);
}

static void await_period(struct bell *bell)
{
	if (bell->alone)
		return;
	calls++;
	sleep_ns(SCAN_PERIOD_NS);
}

static const char *open_uffd_async(struct bell *bell)
{
	const char *reason;

	open_plain(bell);
	bell->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (bell->pagemap < 0)
		return "no /proc/PID/pagemap";
	reason = uffd_wp_open(&bell->event, bell->word, bell->page, true);
	if (!reason)
		uffd_protect(bell->event, bell->word, bell->page, true);
	return reason;
}

static uint64_t await_uffd_async(struct bell *bell, uint64_t seen)
{
	await_period(bell);
	if (!scan_uffd(bell->pagemap, (char *)bell->word, bell->page))
		return seen;
	return load(bell->view);
}

static const char *open_dirty(struct bell *bell)
{
	const char *reason;

	open_plain(bell);
	reason = open_soft_dirty(&bell->pagemap, &bell->clear_refs, (char *)bell->word);
	if (!reason)
		clear_soft_dirty(bell->clear_refs);
	return reason;
}

static uint64_t await_dirty(struct bell *bell, uint64_t seen)
{
	await_period(bell);
	if (!scan_soft_dirty(bell->pagemap, (char *)bell->word, bell->page))
		return seen;
	clear_soft_dirty(bell->clear_refs);
	return load(bell->view);
}

static int handler_event;

static void on_segv_notify(int signal, siginfo_t *info, void *context)
{
	uint64_t one = 1;

	on_segv_open_page(signal, info, context);
	if (counted(write(handler_event, &one, sizeof(one))) != sizeof(one))
		_exit(1);
}

static const char *open_mprotect(struct bell *bell)
{
	const char *reason = open_eventfd(bell);

	if (reason)
		return reason;
	handler_event = bell->event;
	handle_segv(on_segv_notify);
	if (mprotect(bell->word, bell->page, PROT_READ))
		fail("mprotect");
	return NULL;
}

/*
 * As for userfaultfd, but the consumer may have seen the store already, and
 * perhaps no other follows: the wait for it is bounded.
 */
static uint64_t await_mprotect(struct bell *bell, uint64_t seen)
{
	uint64_t rung;
	int i;

	read_event(bell, bell->event, &rung, sizeof(rung));
	for (i = 0; i < 100 && load(bell->view) == seen; i++)
		counted(sched_yield());
	if (counted(mprotect(bell->word, bell->page, PROT_READ)))
		fail("mprotect");
	return load(bell->view);
}

static uint64_t await_busy(struct bell *bell, uint64_t seen)
{
	return load(bell->view);
}

static const char *open_socket(struct bell *bell)
{
	open_plain(bell);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, bell->socket))
		return "no UNIX sockets";
	if (bell->awake && fcntl(bell->socket[1], F_SETFL, O_NONBLOCK))
		fail("F_SETFL");
	return NULL;
}

static void ring_socket(struct bell *bell, uint64_t value)
{
	struct region_write msg = {
		.command = 10, .size = sizeof(msg), .count = sizeof(value), .value = value,
	};

	if (counted(send(bell->socket[0], &msg, sizeof(msg), MSG_NOSIGNAL)) != sizeof(msg))
		fail("send");
}

static uint64_t await_socket(struct bell *bell, uint64_t seen)
{
	struct region_write msg;

	read_event(bell, bell->socket[1], &msg, sizeof(msg));
	return msg.value;
}

static void ring_answered(struct bell *bell, uint64_t value)
{
	struct region_write msg;

	ring_socket(bell, value);
	if (counted(recv(bell->socket[0], &msg, REPLY_SIZE, MSG_WAITALL)) != REPLY_SIZE)
		fail("recv");
}

static uint64_t await_answered(struct bell *bell, uint64_t seen)
{
	struct region_write msg;

	read_event(bell, bell->socket[1], &msg, sizeof(msg));
	msg.flags = 1;
	if (counted(send(bell->socket[1], &msg, REPLY_SIZE, MSG_NOSIGNAL)) != REPLY_SIZE)
		fail("send");
	return msg.value;
}

const struct mechanism mechanisms[NR_MECHANISMS] = {
	{ "tripwire-ack", SLEEPS,
	  .open = open_ack, .ring = ring_plain, .await = await_ack },
	{ "tripwire-watch", SLEEPS,
	  .open = open_watch, .ring = ring_plain, .await = await_watch },
	{ "eventfd", SLEEPS,
	  .open = open_eventfd, .ring = ring_eventfd, .await = await_eventfd },
	{ "futex", SLEEPS,
	  .open = open_futex, .ring = ring_futex, .await = await_futex },
	{ "uffd-wp", SLEEPS, .is_answered = true,
	  .open = open_uffd_wp, .ring = ring_plain, .await = await_uffd_wp },
	{ "uffd-async", SCANS,
	  .open = open_uffd_async, .ring = ring_plain, .await = await_uffd_async },
	{ "soft-dirty", SCANS,
	  .open = open_dirty, .ring = ring_plain, .await = await_dirty },
	{ "mprotect", SLEEPS, .in_thread = true,
	  .open = open_mprotect, .ring = ring_plain, .await = await_mprotect },
	{ "busy", SPINS,
	  .open = open_futex, .ring = ring_plain, .await = await_busy },
	{ "socket", SLEEPS,
	  .open = open_socket, .ring = ring_socket, .await = await_socket },
	{ "vfio-user", SLEEPS, .is_answered = true,
	  .open = open_socket, .ring = ring_answered, .await = await_answered },
};

