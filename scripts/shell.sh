#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# An interactive guest with the selftests in it.
. "$(dirname "$0")/lib.sh"
. "$top/scripts/qemu.sh"

make_initrd shell : "$(selftest_files)"
say "the selftests are in /selftests; leave with exit or Ctrl-A x"
# shellcheck disable=SC2046 # several options
start 0 $(cpu_options) -smp "${CPUS:-2}" -m 1536 -initrd "$initrd" \
	-serial mon:stdio -append "console=ttyS0 panic=-1 quiet tripwire=shell"
