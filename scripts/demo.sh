#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Stream a file through tripwire memory between two processes of a guest:
#   demo.sh [FILE]	the tarball of the base by default
. "$(dirname "$0")/lib.sh"
. "$top/scripts/qemu.sh"

shown() { grep --line-buffered '^demo:' || :; }

default_file() {
	if [ -n "${KERNEL:-}" ]; then
		echo "$tree/obj-demo/vmlinux"
	else
		"$top/scripts/tree.sh" tarball
	fi
}

only_one "$out/lock" 9
flavour=demo
file=${1:-}
[ -n "$file" ] || file=$(default_file)
[ -f "$file" ] && [ -r "$file" ] || die "FILE=$file cannot be read"
size=$(stat -L -c %s "$file")
# The guest holds it three times: the initrd, unpacked, and the copy; and QEMU
# wants the initrd below 2 GiB.
most=$(($(spare_memory) / 3))
[ $most -lt 1900 ] || most=1900
megabytes=$((size / 1048576))
[ $megabytes -le $most ] ||
	die "FILE=$file has $megabytes MB; the guest takes $most MB at most here"
say "streaming $file ($size bytes) through tripwire memory"
ln -sfn "$(realpath "$file")" "$run/demo.file"
make_initrd demo '
	/tripwire_demo /file /tmp/copy || exit
	sha256sum /file /tmp/copy | sed "s/^/sum: /"
	cmp /file /tmp/copy' \
	"file /tripwire_demo $out/selftests-demo/memfd_tripwire/tripwire_demo 0755 0 0" \
	"file /file $run/demo.file 0644 0 0"
boot demo "${CPUS:-2}" $((megabytes * 3 + 384)) 900 || die "the demo failed"
rm -f "$initrd"
sums=$( { sha256sum < "$file"; sed -n 's/^sum: //p' "$run/demo.out"; } |
	cut -c 1-64 | uniq -c | awk '{ print $1, $2 }')
case $sums in
"3 "*) echo "demo: SHA-256 ${sums#3 } at both ends: the file crossed unchanged" ;;
*) die "the copy differs from $file; see $run/demo.out" ;;
esac
