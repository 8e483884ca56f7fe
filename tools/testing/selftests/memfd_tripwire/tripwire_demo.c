// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - a file crosses shared memory by stores alone
 *
 * tripwire_demo FROM TO
 *
 * The producer is what an NVMe or virtio driver is to its device: it fills
 * buffers and descriptors and rings a doorbell, all by plain stores through a
 * pointer. It makes no system call to be heard. The consumer is the device in
 * user space: it sleeps in read(2) of a watch over the doorbell, and drains the
 * ring. Payload that nobody watches runs at full speed: to compare, the
 * beginning of the file is streamed with a watch over all of the memory first.
 */
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "lib/tripwire.h"

#define SLOTS		256
#define SLOT_SIZE	(16 << 10)
#define PATIENCE_MS	60000
#define COMPARED	(16 << 20)	/* bytes streamed with all of it watched */
#define PAGE_ALIGNED	__attribute__((aligned(4096)))

/* In tripwire memory. Indices count up; a slot is its index modulo SLOTS. */
struct ring {
	uint64_t doorbell PAGE_ALIGNED;		/* slots filled so far */
	struct {
		uint64_t len;			/* of the slot's data; 0: the end */
	} descriptor[SLOTS] PAGE_ALIGNED;
	uint64_t data[SLOTS][SLOT_SIZE / sizeof(uint64_t)] PAGE_ALIGNED;
};

/* In ordinary shared memory: the device's answers to the driver. */
struct completion {
	uint64_t drained;			/* slots emptied so far */
	uint64_t stores;			/* of the producer, at the end */
	uint64_t faults;
};

static void fail(const char *what)
{
	fprintf(stderr, "tripwire_demo: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Only loads and stores from here on: no descriptor, no system call of ours. */
static void produce(struct ring *ring, struct completion *completion,
		    const uint64_t *file, size_t size)
{
	uint64_t filled = 0, stores = 0;
	size_t offset = 0, len;

	do {
		uint64_t slot = filled % SLOTS, *data = ring->data[slot];
		size_t i;

		while (filled - load(&completion->drained) == SLOTS)
			sched_yield();
		len = size - offset < SLOT_SIZE ? size - offset : SLOT_SIZE;
		/*
		 * The mapping ends in zeros up to its last page: whole words.
		 */
		for (i = 0; i < (len + 7) / 8; i++)
			data[i] = file[offset / 8 + i];
		ring->descriptor[slot].len = len;
		store(&ring->doorbell, ++filled);
		stores += i + 2;
		offset += len;
	} while (len);

	completion->stores = stores;
}

static void be_producer(struct ring *ring, struct completion *completion,
			const char *path, size_t size)
{
	long before;
	void *file;
	int fd;

	fd = open(path, O_RDONLY);
	if (fd < 0)
		fail(path);
	file = mmap(NULL, size + 1, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (file == MAP_FAILED)
		fail(path);
	before = minor_faults();
	produce(ring, completion, file, size);
	completion->faults = minor_faults() - before;
}

static void write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t done = write(fd, data, len);

		if (done < 0)
			fail("cannot write the copy");
		data += done;
		len -= done;
	}
}

/* The device: what came out of the ring, until its end. */
static void consume(int watch, const struct ring *seen, struct completion *completion,
		    int out, size_t size)
{
	unsigned long long bytes = 0, rung, drained = 0, events = 0;
	struct memfd_tripwire_range ranges[SLOTS];
	uint64_t shown = now_ns();
	bool end = false;

	while (!end) {
		if (!pending_within(watch, PATIENCE_MS)) {
			rung = load(&seen->doorbell);
			fprintf(stderr,
				"tripwire_demo: no event for %d s; rung %llu, drained %llu\n",
				PATIENCE_MS / 1000, rung, drained);
			exit(1);
		}
		/* Re-arms; where it was written does not matter here. */
		if (read(watch, ranges, sizeof(ranges)) < 0)
			fail("read of the watch");
		events++;
		for (rung = load(&seen->doorbell); drained != rung;) {
			uint64_t slot = drained % SLOTS, len = seen->descriptor[slot].len;

			write_all(out, (const char *)seen->data[slot], len);
			bytes += len;
			end = !len;
			store(&completion->drained, ++drained);
		}
		if (now_ns() - shown > 1000000000) {
			shown = now_ns();
			printf("demo: %3llu%%, %llu MB\n", bytes * 100 / (size ?: 1),
			       bytes / 1000000);
			fflush(stdout);
		}
	}
	printf("demo: %llu doorbells, %llu events\n", drained, events);
}

/* Stream @size bytes of @path to @out, and say what that took. */
static void stream(const char *path, size_t size, int out, uint64_t watched)
{
	struct memfd_tripwire_watch args = { .len = watched };
	struct completion *completion;
	unsigned long long ns, stores, faults;
	const struct ring *seen;
	struct ring *ring;
	pid_t producer;
	int fd, producer_fd, watch, status;

	fd = memfd_tripwire(MEMFD_TRIPWIRE_WATCH_ONLY);
	if (fd < 0 || ftruncate(fd, sizeof(*ring)))
		fail("memfd_tripwire");
	watch = ioctl(fd, MEMFD_TRIPWIRE_WATCH, &args);
	if (watch < 0)
		fail("MEMFD_TRIPWIRE_WATCH");
	producer_fd = ioctl(fd, MEMFD_TRIPWIRE_PRODUCER, 0);
	if (producer_fd < 0)
		fail("MEMFD_TRIPWIRE_PRODUCER");
	ring = map_shared(producer_fd, sizeof(*ring));
	seen = mmap(NULL, sizeof(*ring), PROT_READ, MAP_SHARED, fd, 0);
	completion = mmap(NULL, sizeof(*completion), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ring == MAP_FAILED || seen == MAP_FAILED || completion == MAP_FAILED)
		fail("mmap");

	ns = now_ns();
	producer = fork_child();
	if (producer < 0)
		fail("fork");
	if (!producer) {
		close(fd);
		close(watch);
		be_producer(ring, completion, path, size);
		_exit(0);
	}
	munmap(ring, sizeof(*ring));
	close(producer_fd);
	close(fd);
	consume(watch, seen, completion, out, size);
	ns = now_ns() - ns;
	if (waitpid(producer, &status, 0) != producer || status) {
		fprintf(stderr, "tripwire_demo: the producer failed\n");
		exit(1);
	}
	printf("demo: %zu bytes in %llu.%03llu s, %llu.%01llu MB/s\n", size,
	       ns / 1000000000, ns / 1000000 % 1000,
	       size * 1000 / ns, size * 10000 / ns % 10);
	stores = completion->stores;
	faults = completion->faults;
	printf("demo: %llu of %llu stores cost a fault (1 in %llu), %llu faults per MB\n",
	       faults, stores, stores / (faults ?: 1), faults * 1000000 / (size ?: 1));
	munmap((void *)seen, sizeof(*ring));
	munmap(completion, sizeof(*completion));
	close(watch);
}

int main(int argc, char **argv)
{
	struct stat st;
	size_t some;
	int null, out;

	if (argc != 3) {
		fprintf(stderr, "usage: tripwire_demo FROM TO\n");
		return 2;
	}
	if (stat(argv[1], &st))
		fail(argv[1]);
	if (!have_tripwire()) {
		fprintf(stderr,
			"tripwire_demo: no memfd_tripwire() here; boot CONFIG_MEMFD_TRIPWIRE=y\n");
		return 4;
	}
	out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (out < 0)
		fail(argv[2]);
	null = open("/dev/null", O_WRONLY);
	if (null < 0)
		fail("/dev/null");

	some = st.st_size < COMPARED ? st.st_size : COMPARED;
	printf("demo: all of the memory watched, %zu bytes\n", some);
	stream(argv[1], some, null, 0);
	printf("demo: the doorbell watched, %zu bytes\n", (size_t)st.st_size);
	stream(argv[1], st.st_size, out, getpagesize());
	return 0;
}
