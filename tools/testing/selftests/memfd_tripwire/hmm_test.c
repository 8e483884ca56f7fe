// SPDX-License-Identifier: GPL-2.0
/*
 * memfd_tripwire - writers with page tables of their own: KVM, devices
 *
 * The HMM test driver stands for them: it mirrors our page tables, as an MMU
 * notifier lets it, and writes to what it has found writable.
 */
#include "kselftest_harness.h"
#include "lib/tripwire.h"
#include "../../../../lib/test_hmm_uapi.h"

FIXTURE(device)
{
	int fd;
	int mirror;
	size_t page;
	char *map;
	char *data;
};

FIXTURE_SETUP(device)
{
	if (!have_tripwire())
		SKIP(return, "this kernel has no memfd_tripwire()");
	self->mirror = open("/dev/hmm_dmirror0", O_RDWR | O_CLOEXEC);
	if (self->mirror < 0)
		SKIP(return, "no /dev/hmm_dmirror0: CONFIG_TEST_HMM is not set");
	self->page = getpagesize();
	self->fd = memfd_tripwire(0);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->page));
	self->map = map_shared(self->fd, self->page);
	ASSERT_NE(MAP_FAILED, self->map);
	ASSERT_EQ(0, ack(self->fd));
	self->data = calloc(1, self->page);
	ASSERT_NE(NULL, self->data);
}

FIXTURE_TEARDOWN(device)
{
	free(self->data);
	close(self->mirror);
	close(self->fd);
}

/* The device writes one page full of @byte to where we map the region. */
static int device_write(FIXTURE_DATA(device) * self, char byte)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)self->map,
		.ptr = (uintptr_t)self->data,
		.npages = 1,
	};

	memset(self->data, byte, self->page);
	return ioctl(self->mirror, HMM_DMIRROR_WRITE, &cmd);
}

TEST_F(device, store_by_device_raises)
{
	ASSERT_EQ(0, device_write(self, 1));
	EXPECT_TRUE(pending(self->fd));
	ASSERT_EQ(0, ack(self->fd));
	EXPECT_EQ(1, self->map[0]);
}

TEST_F(device, store_by_device_after_ack_raises)
{
	char i;

	for (i = 1; i < 10; i++) {
		ASSERT_EQ(0, device_write(self, i));
		ASSERT_TRUE(pending(self->fd)) TH_LOG("write %d", i);
		ASSERT_EQ(0, ack(self->fd));
		ASSERT_EQ(i, self->map[0]);
		ASSERT_FALSE(pending(self->fd));
	}
}

TEST_HARNESS_MAIN
