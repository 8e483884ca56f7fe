#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Build after every patch, option on and off, in a tree of its own.
. "$(dirname "$0")/lib.sh"

"$top/scripts/series.sh"
tree=$out/bisect/linux
copy_pristine "$tree"

build() { # NAME
	for flavour in demo off; do
		# Before the core there is no option to turn on.
		grep -q '^config MEMFD_TRIPWIRE' "$tree/mm/Kconfig" || [ $flavour = off ] || continue
		MEMFD_TRIPWIRE_TREE=$tree quietly "$out/logs/bisect-$flavour.log" \
			"$1 $flavour" "$top/scripts/build.sh" kmake $flavour bzImage
	done
}

build base
for name in $series; do
	for patch in "$top/build/series/$base/$name"/*.patch; do
		case $patch in */0000-*) continue ;; esac
		patch -d "$tree" -p1 -F0 -s < "$patch"
		build "$name/$(basename "$patch" .patch)"
	done
done
echo "every patch of $series builds, option on and off"
