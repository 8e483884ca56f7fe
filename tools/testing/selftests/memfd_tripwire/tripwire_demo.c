// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - a file crosses shared memory, told by nothing but stores
 *
 * tripwire_demo FROM TO
 *
 * The producer is what an NVMe or virtio driver is to its device: it fills
 * buffers and descriptors and rings a doorbell, all by plain stores through a
 * pointer. It makes no system call to be heard. The consumer is the device in
 * user space: it sleeps in poll(2), ACKs, and drains the ring.
 */
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "tripwire.h"

#define SLOTS		256
#define SLOT_SIZE	(16 << 10)
#define PATIENCE_MS	60000
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
		/* The mapping ends in zeros up to its last page: whole words. */
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
			const char *path)
{
	long before;
	struct stat st;
	void *file;
	int fd;

	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		fail(path);
	file = mmap(NULL, st.st_size + 1, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (file == MAP_FAILED)
		fail(path);
	before = minor_faults();
	produce(ring, completion, file, st.st_size);
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

int main(int argc, char **argv)
{
	unsigned long long bytes = 0, rung, drained = 0, events = 0, acks = 0, stores, faults;
	unsigned long long began, shown, ns;
	struct completion *completion;
	const struct ring *seen;
	struct ring *ring;
	struct stat st;
	bool end = false;
	pid_t producer;
	int fd, out, status;

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
	fd = memfd_tripwire(0);
	if (fd < 0 || ftruncate(fd, sizeof(*ring)))
		fail("memfd_tripwire");
	ring = map_shared(fd, sizeof(*ring));
	seen = mmap(NULL, sizeof(*ring), PROT_READ, MAP_SHARED, fd, 0);
	completion = mmap(NULL, sizeof(*completion), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ring == MAP_FAILED || seen == MAP_FAILED || completion == MAP_FAILED)
		fail("mmap");
	if (ack(fd))
		fail("ACK");

	began = now_ns();
	shown = began;
	producer = fork_child();
	if (producer < 0)
		fail("fork");
	if (!producer) {
		close(fd);
		be_producer(ring, completion, argv[1]);
		return 0;
	}
	munmap(ring, sizeof(*ring));

	while (!end) {
		if (!pending_within(fd, PATIENCE_MS)) {
			rung = load(&seen->doorbell);
			fprintf(stderr,
				"tripwire_demo: no event for %d s; rung %llu, drained %llu\n",
				PATIENCE_MS / 1000, rung, drained);
			kill(producer, SIGKILL);
			return 1;
		}
		events++;
		if (ack(fd))
			fail("ACK");
		acks++;
		for (rung = load(&seen->doorbell); drained != rung;) {
			uint64_t slot = drained % SLOTS, len = seen->descriptor[slot].len;

			write_all(out, (const char *)seen->data[slot], len);
			bytes += len;
			end = !len;
			store(&completion->drained, ++drained);
		}
		if (now_ns() - shown > 1000000000) {
			shown = now_ns();
			printf("demo: %3llu%%, %llu MB\n", bytes * 100 / (st.st_size ?: 1),
			       bytes / 1000000);
			fflush(stdout);
		}
	}
	ns = now_ns() - began;
	if (waitpid(producer, &status, 0) != producer || status) {
		fprintf(stderr, "tripwire_demo: the producer failed\n");
		return 1;
	}
	printf("demo: %llu bytes in %llu.%03llu s, %llu.%01llu MB/s\n", bytes,
	       ns / 1000000000, ns / 1000000 % 1000,
	       bytes * 1000 / ns, bytes * 10000 / ns % 10);
	printf("demo: %llu doorbells, %llu events, %llu ACKs\n", drained, events, acks);
	stores = completion->stores;
	faults = completion->faults;
	printf("demo: %llu of %llu stores cost a fault (1 in %llu), %llu faults per MB\n",
	       faults, stores, stores / (faults ?: 1), faults * 1000000 / (bytes ?: 1));
	return 0;
}
