#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# The guest's init: runs /job and writes its verdict to the second serial port.
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o size=90% tmp /tmp
mount -t debugfs debug /sys/kernel/debug 2> /dev/null
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin
ln -sf fd/1 /dev/stdout
ln -sf fd/2 /dev/stderr
stty -F /dev/ttyS1 raw 2> /dev/null
case $(cat /proc/cmdline) in
*tripwire=shell*) setsid cttyhack sh; reboot -f ;;
esac
exec > /dev/ttyS1 2>&1
echo "guest: hello from $(uname -r) on $(nproc) CPUs"
case $(cat /proc/cmdline) in
*tripwire=hello*) ;;
*) sh /job; echo "guest: verdict $?" ;;
esac
reboot -f
