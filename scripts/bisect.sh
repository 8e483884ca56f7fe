#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Build after every patch of the series, option on and off, in a tree of its own.
. "$(dirname "$0")/lib.sh"

"$top/scripts/series.sh"
tree=$out/bisect/linux
copy_pristine "$tree"

for patch in none "$top/build/series/$base"/*.patch; do
	case $patch in
	none | */0000-*) ;;
	*) patch -d "$tree" -p1 -F0 -s < "$patch" ;;
	esac
	case $patch in */0000-*) continue ;; esac
	for flavour in demo off; do
		# Before the core there is no option to turn on.
		grep -q '^config MEMFD_TRIPWIRE' "$tree/mm/Kconfig" || [ $flavour = off ] || continue
		MEMFD_TRIPWIRE_TREE=$tree quietly "$out/logs/bisect-$flavour.log" \
			"$(basename "$patch") $flavour" "$top/scripts/build.sh" kmake $flavour bzImage
	done
done
echo "every patch builds, option on and off"
