/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memfd_tripwire - operations of model_test: what there is, and random lists of
 * it
 */
#ifndef SELFTEST_TRIPWIRE_MODEL_OP_H
#define SELFTEST_TRIPWIRE_MODEL_OP_H

#include <limits.h>
#include "kselftest.h"
#include "lib/tripwire.h"

#ifndef MADV_PAGEOUT
# define MADV_PAGEOUT		21
#endif
#ifndef MADV_POPULATE_WRITE
# define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
# define MADV_COLLAPSE		25
#endif

#define WORKERS		3
#define CONSUMERS	3

enum kind {
	ACK, STORE, LOAD, WRITE, PUNCH, REMOVE, TRUNCATE, ALLOCATE, MAP, UNMAP, REMAP, PROTECT,
	FORK, PAGEOUT, DONTNEED, COLLAPSE, MIGRATE, DIRECT, PVM, PINNED, PROCMEM, UFFD,
	POPULATE, REOPEN, SETTLE, KINDS
};

#define FILLS		1		/* contents become the value */
#define ZEROES		2
#define MAPPED		4		/* goes by a worker's mapping */
#define WRITABLE	8		/* which has to be writable */
#define WHOLE		16		/* whole pages only */
#define LATE		32		/* the event may come late */
#define MUST		64		/* has to succeed */

static const struct {
	const char *name;
	unsigned int weight, flags, max_pages;
	int advice;		/* of madvise(2), which does it */
} kinds[KINDS] = {
	[ACK]		= { "ack", 20 },
	[STORE]		= { "store", 60, FILLS | MAPPED | WRITABLE | MUST, UINT_MAX },
	[LOAD]		= { "load", 20, MAPPED | MUST, UINT_MAX },
	[WRITE]		= { "write", 15, FILLS | MUST, UINT_MAX },
	[PUNCH]		= { "punch", 15, ZEROES | MUST, UINT_MAX },
	[REMOVE]	= { "remove", 6, ZEROES | MAPPED | WRITABLE | WHOLE | MUST, UINT_MAX,
			    MADV_REMOVE },
	[TRUNCATE]	= { "truncate", 12, MUST },
	[ALLOCATE]	= { "allocate", 6, MUST, UINT_MAX },
	[MAP]		= { "map", 14, WHOLE | MUST, UINT_MAX },
	[UNMAP]		= { "unmap", 5, WHOLE | MUST, UINT_MAX },
	[REMAP]		= { "remap", 14, MAPPED | WHOLE | MUST, UINT_MAX },
	[PROTECT]	= { "protect", 16, MAPPED | WHOLE | MUST, UINT_MAX },
	[FORK]		= { "fork", 8, FILLS | MAPPED | WRITABLE | MUST, UINT_MAX },
	[PAGEOUT]	= { "pageout", 20, MAPPED | WHOLE, UINT_MAX, MADV_PAGEOUT },
	[DONTNEED]	= { "dontneed", 8, MAPPED | WHOLE | MUST, UINT_MAX, MADV_DONTNEED },
	[COLLAPSE]	= { "collapse", 4, WHOLE, UINT_MAX, MADV_COLLAPSE },
	[MIGRATE]	= { "migrate", 4 },
	[DIRECT]	= { "direct", 10, FILLS | MAPPED | WRITABLE | LATE | MUST, 16 },
	[PVM]		= { "pvm", 10, FILLS | MAPPED | WRITABLE | LATE | MUST, 64 },
	[PINNED]	= { "pinned", 8, FILLS | MAPPED | WRITABLE | LATE | MUST, 4 },
	[PROCMEM]	= { "procmem", 8, FILLS | MAPPED | WRITABLE | MUST, 16 },
	[UFFD]		= { "uffd", 12, FILLS | MAPPED | WHOLE, 4 },
	[POPULATE]	= { "populate", 6, MAPPED | WRITABLE | WHOLE, UINT_MAX,
			    MADV_POPULATE_WRITE },
	[REOPEN]	= { "reopen", 3 },
	[SETTLE]	= { "settle", 0 },
};

/*
 * @detail chooses the flavour: the consumers of an ACK, the protection of a
 * map, ...
 */
struct op {
	enum kind kind;
	unsigned int actor, detail;
	unsigned char value;
	size_t off, len;
};

enum { UFFD_COPY, UFFD_ZEROPAGE, UFFD_CONTINUE, UFFD_MODES };

static const char * const uffd_modes[] = { " (copy)", " (zeropage)", " (continue)" };

static size_t page, huge, pages, max_size;
static bool dropped[KINDS];		/* what is left out */

static uint64_t random_state;

static unsigned int random_below(unsigned int n)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (z ^ (z >> 31)) % n;
}

static size_t align_down(size_t n, size_t to)
{
	return n / to * to;
}

static size_t align_up(size_t n, size_t to)
{
	return align_down(n + to - 1, to);
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/*
 * Few pages are hot, so that operations meet. They lie at both ends of the huge
 * page.
 */
static size_t random_page(void)
{
	if (random_below(5) == 0)
		return random_below(pages);
	return (random_below(2) ? 0 : huge / page - 3) + random_below(6);
}

static void random_range(struct op *op)
{
	unsigned int dice = random_below(40);

	op->off = random_page() * page + random_below(page / 8) * 8;
	if (dice < 22)
		op->len = 8;
	else if (dice < 32)
		op->len = 1 + random_below(page);
	else if (dice < 39)
		op->len = (1 + random_below(8)) * page;
	else
		op->len = max_size;
	if (kinds[op->kind].max_pages < op->len / page)
		op->len = kinds[op->kind].max_pages * page;
	if (kinds[op->kind].flags & WHOLE) {
		op->len = align_up(op->len, page);
		op->off = align_down(op->off, page);
	}
	if (op->kind == DIRECT) {
		op->off = align_down(op->off, 512);
		op->len = align_up(op->len, 512);
	}
	op->len = min_size(op->len, max_size - op->off);
}

static struct op random_op(enum kind kind)
{
	struct op op = {
		.kind = kind,
		.actor = random_below(WORKERS),
		.value = 1 + random_below(255),
		.detail = random_below(1 << 16),
	};

	if (kinds[kind].max_pages)
		random_range(&op);
	if (kind == TRUNCATE) {
		op.len = random_below(10) < 7 ? max_size : random_page() * page;
		if (random_below(8) == 0)
			op.len = random_below(max_size);
	}
	if (kind == COLLAPSE) {
		op.off = 0;
		op.len = huge;
	}
	return op;
}

static const struct op ack_all = { .kind = ACK, .detail = (1 << CONSUMERS) - 1 };

/*
 * What it takes for a kind to have an effect at all; and what may go wrong
 * after it.
 */
static size_t random_ops(struct op *ops)
{
	unsigned int total = 0, dice;
	size_t n = 0;
	enum kind kind;
	struct op op;

	for (kind = 0; kind < KINDS; kind++)
		total += kinds[kind].weight;
	dice = random_below(total);
	for (kind = 0; dice >= kinds[kind].weight; kind++)
		dice -= kinds[kind].weight;

	op = random_op(kind);
	if (kind == UFFD && random_below(2)) {
		ops[n] = op;
		ops[n++].kind = op.detail % UFFD_MODES == UFFD_CONTINUE ? DONTNEED : PUNCH;
	} else if (kind == COLLAPSE) {
		ops[n++] = (struct op){ .kind = TRUNCATE, .len = max_size };
		ops[n++] = (struct op){ .kind = MAP, .actor = op.actor, .len = max_size };
	} else if (kind == PAGEOUT && random_below(4)) {
		ops[n] = op;
		ops[n++].kind = STORE;
	}
	if (random_below(2))
		ops[n++] = ack_all;
	ops[n++] = op;
	if (kind > LOAD && kinds[kind].max_pages && random_below(3) == 0) {
		if (random_below(2))
			ops[n++] = ack_all;
		op.kind = STORE;
		op.value = 1 + random_below(255);
		op.len = 8;
		ops[n++] = op;
	}
	return n;
}

/*
 * The same seed makes the same list; what this kernel does not have is taken
 * out of it.
 */
static size_t generate(struct op *ops, size_t want, uint64_t seed)
{
	size_t n = 0, kept = 0, i;
	struct op some[8];

	random_state = seed;
	while (n < want) {
		size_t more = random_ops(some);

		for (i = 0; i < more && n < want; i++, n++)
			if (!dropped[some[i].kind])
				ops[kept++] = some[i];
		if (random_below(60) == 0)
			ops[kept++] = (struct op){ .kind = SETTLE };
	}
	return kept;
}

static void print_op(size_t i, const struct op *op)
{
	char text[100] = "";

	if (op->kind == ACK || op->kind == REOPEN)
		snprintf(text, sizeof(text), "consumers 0x%x", op->detail % (1 << CONSUMERS));
	else if (op->kind == TRUNCATE)
		snprintf(text, sizeof(text), "worker %u to 0x%zx", op->actor, op->len);
	else if (op->kind != SETTLE)
		snprintf(text, sizeof(text), "worker %u [0x%zx, +0x%zx) value 0x%02x detail 0x%x%s",
			 op->actor, op->off, op->len, op->value, op->detail,
			 op->kind == UFFD ? uffd_modes[op->detail % UFFD_MODES] : "");
	ksft_print_msg("  %4zu: %-9s %s\n", i, kinds[op->kind].name, text);
}

#endif /* SELFTEST_TRIPWIRE_MODEL_OP_H */
