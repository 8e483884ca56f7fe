// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - watches while memory moves: large folios, swap, and a
 * contest of all
 */
#include "lib/tripwire.h"
#include "lib/watch_fixture.h"

/* Folios of several pages. */

FIXTURE(folio)
{
	int fd;
	size_t page;
	size_t pages;
	size_t len;
	char *map;
	char all[32];
	struct disk disk;
};

FIXTURE_VARIANT(folio)
{
	size_t size;
};

FIXTURE_VARIANT_ADD(folio, mthp) { .size = 64 << 10 };
FIXTURE_VARIANT_ADD(folio, pmd) { .size = 2 << 20 };

/* One folio, granted; and small pages behind it. */
FIXTURE_SETUP(folio)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->pages = variant->size / self->page;
	self->len = 2 * variant->size;
	self->fd = memfd_tripwire(MEMFD_TRIPWIRE_WATCH_ONLY);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->len));
	self->map = map_aligned(self->fd, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	if (!fault_in_folio(self->map, variant->size) ||
	    folio_pages_at(self->map, self->page) != self->pages)
		SKIP(return, "no folio of %zu KiB", variant->size >> 10);
	snprintf(self->all, sizeof(self->all), "0-%zu", self->pages - 1);
}

FIXTURE_TEARDOWN(folio)
{
	end_swap(&self->disk);
	munmap(self->map, self->len);
	close(self->fd);
}

/* Three pages of it, watched each by itself; and then all of it. */
struct folio_watches {
	int fd[4];
	char text[4][32];
};

static void watch_folio(FIXTURE_DATA(folio) * self, struct folio_watches *watches)
{
	const size_t first[4] = { 0, self->pages / 2, self->pages - 1, 0 };
	int i;

	for (i = 0; i < 4; i++) {
		watches->fd[i] = watch_pages(self->fd, first[i], i < 3 ? 1 : self->pages);
		snprintf(watches->text[i], sizeof(watches->text[i]), "%zu", first[i]);
	}
	snprintf(watches->text[3], sizeof(watches->text[3]), "%s", self->all);
}

static void check_folio_reported(struct __test_metadata *_metadata, struct folio_watches *watches)
{
	int i;

	for (i = 0; i < 4; i++)
		EXPECT_STREQ(watches->text[i], reported(watches->fd[i]));
	for (i = 0; i < 4; i++)
		EXPECT_STREQ("", reported(watches->fd[i]));
}

TEST_F(folio, store_anywhere_notifies_watches_of_every_page)
{
	struct folio_watches watches;

	watch_folio(self, &watches);
	store_to(self->map, 1);
	check_folio_reported(_metadata, &watches);
	store_to(self->map, self->pages - 2);
	check_folio_reported(_metadata, &watches);
}

TEST_F(folio, store_behind_the_folio_is_not_reported)
{
	int watch = watch_pages(self->fd, 0, self->pages);

	ASSERT_LE(0, watch);
	store_to(self->map, self->pages);
	EXPECT_STREQ("", reported(watch));
}

/* A watch of one page arms the whole folio. */
TEST_F(folio, watch_of_one_page_rearms_all)
{
	int watch = watch_pages(self->fd, self->pages - 1, 1), i;

	for (i = 0; i < 10; i++) {
		store_to(self->map, i);
		ASSERT_TRUE(pending(watch)) TH_LOG("page %d", i);
		ASSERT_STRNE("", reported(watch));
	}
}

TEST_F(folio, hole_that_splits_it_takes_no_report_along)
{
	struct folio_watches watches;
	int i;

	watch_folio(self, &watches);
	store_to(self->map, 1);
	ASSERT_EQ(0, punch(self->fd, self->pages - 2, 1));
	for (i = 0; i < 3; i++)
		EXPECT_STREQ(watches.text[i], reported(watches.fd[i]));
	EXPECT_STREQ(self->all, reported(watches.fd[3]));
}

/*
 * Reclaim leaves alone what was just referenced: it may take more than one try.
 */
static bool page_out(char *map, size_t len)
{
	unsigned char resident[512];
	size_t i, left = 1;
	int tries;

	for (tries = 0; tries < 100 && left; tries++) {
		if (madvise(map, len, MADV_PAGEOUT) || mincore(map, len, resident))
			return false;
		for (i = left = 0; i < len / getpagesize(); i++)
			left += resident[i] & 1;
		sched_yield();
	}
	return !left;
}

/* A mark on an entry of swap, of as many pages perhaps. */
TEST_F(folio, folio_in_swap_is_reported)
{
	struct folio_watches watches;

	if (!have_swap(&self->disk))
		SKIP(return, "no swap, and no free RAM disk for it (brd)");
	watch_folio(self, &watches);
	store_to(self->map, 1);
	ASSERT_TRUE(page_out(self->map, variant->size));
	check_folio_reported(_metadata, &watches);
	EXPECT_NE(0, load(self->map + self->page));
	EXPECT_STREQ("", reported(watches.fd[3]));
	store_to(self->map, 0);
	EXPECT_STREQ("0", reported(watches.fd[0]));
}

TEST_F(tripwire, page_in_swap_is_reported)
{
	int watch = watch_pages(self->fd, 0, 0), same = watch_pages(self->fd, 3, 1);
	struct disk disk;

	if (!have_swap(&disk))
		SKIP(return, "no swap, and no free RAM disk for it (brd)");
	store_to(self->map, 3);
	EXPECT_TRUE(page_out(self->map + 3 * self->page, self->page));
	EXPECT_STREQ("3", reported(watch));
	EXPECT_STREQ("3", reported(same));
	EXPECT_NE(0, load(self->map + 3 * self->page));
	EXPECT_STREQ("", reported(watch));
	store_to(self->map, 3);
	EXPECT_STREQ("3", reported(watch));
	end_swap(&disk);
}

static void *read_once(void *watch)
{
	struct reports reports;

	read_reports(*(int *)watch, &reports, MAX_REPORTS);
	return NULL;
}

/*
 * A read of one watch drops its locks to log the page to the other, and clears
 * the mark after that. Meanwhile the page is reported to the other, written and
 * swapped out again.
 */
TEST_F(tripwire, page_swapped_out_again_meanwhile_is_reported)
{
	int watch = watch_pages(self->fd, 0, 0), same = watch_pages(self->fd, 3, 1);
	char *where = self->map + 3 * self->page;
	struct disk disk;
	pthread_t thread;

	if (!have_swap(&disk))
		SKIP(return, "no swap, and no free RAM disk for it (brd)");
	store_to(self->map, 3);
	EXPECT_TRUE(page_out(where, self->page));
	ASSERT_EQ(0, pthread_create(&thread, NULL, read_once, &watch));
	usleep(50000);
	EXPECT_STREQ("3", reported(same));
	store_to(self->map, 3);
	EXPECT_TRUE(page_out(where, self->page));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_STREQ("3", reported(same));
	end_swap(&disk);
}

/*
 * Small pages become a huge one: stores are reported, by folio or by
 * page.
 */
TEST_F(path, collapsing_takes_no_report_along)
{
	struct reports reports;
	int watch, page;

	if (!grow_to_huge(self))
		SKIP(return, "no huge pages");
	watch = watch_pages(self->fd, 0, 0);
	store_to(self->map, 3);
	store_to(self->map, 5);
	if (madvise(self->map, self->len, MADV_COLLAPSE))
		SKIP(return, "no MADV_COLLAPSE: %s", strerror(errno));
	ASSERT_LT(0, read_reports(watch, &reports, MAX_REPORTS));
	for (page = 3; page <= 5; page += 2)
		EXPECT_TRUE(is_reported(&reports, page * self->page));
}

TEST_F(path, collapsing_is_not_reported_and_keeps_the_watch_armed)
{
	char all[32];
	int watch, page;

	if (!grow_to_huge(self))
		SKIP(return, "no huge pages");
	snprintf(all, sizeof(all), "0-%zu", self->len / self->page - 1);
	store_to(self->map, 3);
	page = watch_pages(self->fd, 5, 1);
	watch = watch_pages(self->fd, 0, 0);
	if (madvise(self->map, self->len, MADV_COLLAPSE))
		SKIP(return, "no MADV_COLLAPSE: %s", strerror(errno));
	EXPECT_STREQ("", reported(watch));
	store_to(self->map, 3);
	EXPECT_STREQ(all, reported(watch));
	EXPECT_STREQ("5", reported(page));
}

/*
 * A contest: writers change random pages of a span, consumers keep a mirror of
 * it by looking at the reported pages. After each round the mirrors must be
 * as the memory.
 */
#define SPAN		48
#define ROUNDS		12
#define CHANGES		60	/* of each writer in a round; of the slow ones fewer */
#define WRITERS		2
#define CONSUMERS	4

enum way_to_write { BY_STORE, BY_WRITE, BY_HOLE, BY_PAGEOUT };

FIXTURE(contest)
{
	int fd;
	size_t page;
	char *map;
	uint64_t writing;		/* writers that are not through with this round */
	pthread_barrier_t barrier;
	struct disk disk;
};

FIXTURE_VARIANT(contest)
{
	unsigned int flags;
	int room;			/* reports to a read of the overlapping watches */
	enum way_to_write ways[WRITERS];
	size_t folio;
};

FIXTURE_VARIANT_ADD(contest, stores)
{
	.room = MAX_REPORTS,
	.ways = { BY_STORE, BY_STORE },
};

FIXTURE_VARIANT_ADD(contest, stores_reported_one_by_one)
{
	.room = 1,
	.ways = { BY_STORE, BY_STORE },
};

FIXTURE_VARIANT_ADD(contest, writes)
{
	.room = 3,
	.ways = { BY_WRITE, BY_STORE },
};

FIXTURE_VARIANT_ADD(contest, holes)
{
	.room = MAX_REPORTS,
	.ways = { BY_HOLE, BY_STORE },
};

FIXTURE_VARIANT_ADD(contest, holes_reported_one_by_one)
{
	.room = 1,
	.ways = { BY_HOLE, BY_WRITE },
};

FIXTURE_VARIANT_ADD(contest, swap)
{
	.room = 3,
	.ways = { BY_PAGEOUT, BY_STORE },
};

FIXTURE_VARIANT_ADD(contest, large_folios)
{
	.room = 1,
	.ways = { BY_STORE, BY_WRITE },
	.folio = 64 << 10,
};

FIXTURE_VARIANT_ADD(contest, stores_to_watches_only)
{
	.flags = MEMFD_TRIPWIRE_WATCH_ONLY,
	.room = 1,
	.ways = { BY_STORE, BY_WRITE },
};

FIXTURE_VARIANT_ADD(contest, holes_to_watches_only)
{
	.flags = MEMFD_TRIPWIRE_WATCH_ONLY,
	.room = 3,
	.ways = { BY_HOLE, BY_STORE },
};

FIXTURE_VARIANT_ADD(contest, swap_to_watches_only)
{
	.flags = MEMFD_TRIPWIRE_WATCH_ONLY,
	.room = 1,
	.ways = { BY_PAGEOUT, BY_STORE },
};

FIXTURE_SETUP(contest)
{
	unsigned int nohuge = variant->folio ? 0 : MEMFD_TRIPWIRE_NOHUGE;

	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->page = getpagesize();
	self->fd = memfd_tripwire(variant->flags | nohuge);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, SPAN * self->page));
	self->map = map_aligned(self->fd, 64 * self->page);
	ASSERT_NE(MAP_FAILED, self->map);
	if (variant->folio && (!fault_in_folio(self->map, variant->folio) ||
			       folio_pages_at(self->map, self->page) * self->page !=
			       variant->folio))
		SKIP(return, "no folio of %zu KiB", variant->folio >> 10);
	if (variant->ways[0] == BY_PAGEOUT && !have_swap(&self->disk))
		SKIP(return, "no swap, and no free RAM disk for it (brd)");
	ASSERT_EQ(0, pthread_barrier_init(&self->barrier, NULL, WRITERS + CONSUMERS + 1));
}

FIXTURE_TEARDOWN(contest)
{
	end_swap(&self->disk);
	close(self->fd);
}

struct writer {
	FIXTURE_DATA(contest) * contest;
	enum way_to_write way;
	uint64_t state;			/* of its random numbers */
	uint64_t value;
	const char *wrong;
	pthread_t thread;
};

static bool change(struct writer *writer)
{
	FIXTURE_DATA(contest) * contest = writer->contest;
	size_t nr = pseudo_random(&writer->state) % SPAN, page = contest->page;

	writer->value++;
	switch (writer->way) {
	case BY_STORE:
		store(contest->map + nr * page, writer->value);
		return true;
	case BY_WRITE:
		return pwrite(contest->fd, &writer->value, sizeof(writer->value), nr * page) ==
		       sizeof(writer->value);
	case BY_HOLE:
		return !punch(contest->fd, nr, 1 + nr % 3);
	case BY_PAGEOUT:
		return !madvise(contest->map + nr * page, page, MADV_PAGEOUT);
	}
	return false;
}

static void *write_rounds(void *data)
{
	struct writer *writer = data;
	bool slow = writer->way == BY_HOLE || writer->way == BY_PAGEOUT;
	int round, i;

	for (round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&writer->contest->barrier);
		for (i = 0; i < (slow ? CHANGES / 4 : CHANGES); i++)
			if (!change(writer))
				writer->wrong = "a change failed";
		__atomic_sub_fetch(&writer->contest->writing, 1, __ATOMIC_RELEASE);
		pthread_barrier_wait(&writer->contest->barrier);
	}
	return NULL;
}

struct consumer {
	FIXTURE_DATA(contest) * contest;
	int fd;
	int room;			/* reports to a read; 0: it ACKs the file */
	bool anew;			/* with another watch in each round, added amidst */
	size_t first;
	size_t nr;
	uint64_t mirror[SPAN];
	const char *wrong;
	pthread_t thread;
};

static uint64_t value_of(const struct consumer *consumer, size_t nr)
{
	return load(consumer->contest->map + nr * consumer->contest->page);
}

static void look_at(struct consumer *consumer, size_t first, size_t nr)
{
	if (first < consumer->first || first + nr > consumer->first + consumer->nr) {
		consumer->wrong = "got a report of pages that it does not watch";
		return;
	}
	for (; nr--; first++)
		consumer->mirror[first] = value_of(consumer, first);
}

static void consume(struct consumer *consumer)
{
	size_t page = consumer->contest->page, end = 0;
	struct memfd_tripwire_range *range;
	struct reports reports;

	if (!consumer->room) {
		if (ack(consumer->fd))
			consumer->wrong = "could not ACK";
		look_at(consumer, consumer->first, consumer->nr);
		return;
	}
	if (read_reports(consumer->fd, &reports, consumer->room) < 0 && errno != EAGAIN)
		consumer->wrong = "could not read";
	for (range = reports.range; range < reports.range + reports.nr; range++) {
		if (end && range->offset <= end)
			consumer->wrong = "got a report of pages out of order";
		end = range->offset + range->len;
		look_at(consumer, range->offset / page, range->len / page);
	}
}

static bool is_current(const struct consumer *consumer)
{
	size_t i;

	for (i = consumer->first; i < consumer->first + consumer->nr; i++)
		if (consumer->mirror[i] != value_of(consumer, i))
			return false;
	return true;
}

static void *consume_rounds(void *data)
{
	struct consumer *consumer = data;
	pthread_barrier_t *barrier = &consumer->contest->barrier;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(barrier);
		if (consumer->anew) {
			close(consumer->fd);
			consumer->fd = watch_pages(consumer->contest->fd, consumer->first,
						   consumer->nr);
			look_at(consumer, consumer->first, consumer->nr);
		}
		while (load(&consumer->contest->writing)) {
			if (pending_within(consumer->fd, 1))
				consume(consumer);
		}
		while (!consumer->wrong && !is_current(consumer)) {
			if (pending_within(consumer->fd, PATIENCE_MS))
				consume(consumer);
			else
				consumer->wrong = "got no report of a change";
		}
		pthread_barrier_wait(barrier);
	}
	return NULL;
}

TEST_F_TIMEOUT(contest, consumers_miss_no_change, 120)
{
	struct writer writers[WRITERS] = { 0 };
	struct consumer consumers[CONSUMERS] = {
		{ .nr = SPAN / 3 * 2, .room = variant->room },
		{ .first = SPAN / 3, .nr = SPAN - SPAN / 3, .room = variant->room },
		{ .nr = SPAN, .room = MAX_REPORTS, .anew = true },
		{ .nr = SPAN, .room = MAX_REPORTS },
	};
	int i, round;

	for (i = 0; i < CONSUMERS; i++) {
		struct consumer *consumer = &consumers[i];

		consumer->contest = self;
		if (i == CONSUMERS - 1 && !(variant->flags & MEMFD_TRIPWIRE_WATCH_ONLY)) {
			consumer->room = 0;
			consumer->fd = reopen(self->fd, O_RDWR);
		} else {
			consumer->fd = watch_pages(self->fd, consumer->first, consumer->nr);
		}
		ASSERT_LE(0, consumer->fd);
		look_at(consumer, consumer->first, consumer->nr);
		ASSERT_EQ(0, pthread_create(&consumer->thread, NULL, consume_rounds, consumer));
	}
	for (i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer) {
			.contest = self, .way = variant->ways[i], .state = i,
			.value = (i + 1ull) << 32,
		};
		ASSERT_EQ(0, pthread_create(&writers[i].thread, NULL, write_rounds, &writers[i]));
	}
	for (round = 0; round < ROUNDS; round++) {
		store(&self->writing, WRITERS);
		pthread_barrier_wait(&self->barrier);
		pthread_barrier_wait(&self->barrier);
	}
	for (i = 0; i < WRITERS; i++) {
		ASSERT_EQ(0, pthread_join(writers[i].thread, NULL));
		EXPECT_EQ(NULL, writers[i].wrong) TH_LOG("writer %d: %s", i, writers[i].wrong);
	}
	for (i = 0; i < CONSUMERS; i++) {
		ASSERT_EQ(0, pthread_join(consumers[i].thread, NULL));
		EXPECT_EQ(NULL, consumers[i].wrong)
			TH_LOG("consumer %d %s", i, consumers[i].wrong);
	}
}

TEST_HARNESS_MAIN
