#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Build from the patched tree:
#   build.sh kernel FLAVOUR	the kernel, configured by FLAVOUR's fragments
#   build.sh selftests FLAVOUR	our selftests, as kselftest installs them
#   build.sh bench FLAVOUR	the benchmark, build/$base/bench/bench
#   build.sh kmake FLAVOUR ...	any make of the kernel's, on FLAVOUR's objects
. "$(dirname "$0")/lib.sh"

what=$1 flavour=$2; shift 2
tree=${MEMFD_TRIPWIRE_TREE:-$tree}
only_one "$out/lock" 9
obj=$tree/obj-$flavour		# below the tree: paths stay relative, ccache hits
logs=$out/logs
installed=$out/selftests-$flavour

# Objects are the same wherever the checkout is.
export CCACHE_NOHASHDIR=1 CCACHE_BASEDIR="$tree" CCACHE_MAXSIZE=5G
export KBUILD_BUILD_TIMESTAMP='1970-01-01' KBUILD_BUILD_USER=memfd KBUILD_BUILD_HOST=tripwire

kmake() {
	make -C "$tree" O="$obj" CC='ccache gcc' HOSTCC='ccache gcc' -j"$jobs" "$@"
}

fragments() {
	case $flavour in
	demo) echo demo ;;
	debug) printf '%s\n' demo test debug ;;
	*) printf '%s\n' demo "$flavour" ;;
	esac | sed "s,.*,$top/scripts/config/&.config,"
}

configure() {
	mkdir -p "$obj"
	fragments | xargs cat > "$obj/asked.new"
	[ -f "$obj/.config" ] && cmp -s "$obj/asked" "$obj/asked.new" && return 0
	# shellcheck disable=SC2046 # a list of files
	(cd "$tree" && quietly "$logs/config-$flavour.log" "configuring the $flavour kernel" \
		scripts/kconfig/merge_config.sh -n -O "$obj" $(fragments))
	check_config
	mv "$obj/asked.new" "$obj/asked"
}

# Later fragments override earlier ones.
check_config() {
	lacking=$(awk '
	/^CONFIG_[A-Z0-9_]+=/ { option = $0; sub(/=.*/, "", option); want[option] = $0 }
	/^# CONFIG_[A-Z0-9_]+ is not set/ { want[$2] = $0 }
	END { for (option in want) print want[option] }' "$obj/asked.new" |
	sort | while read -r line; do
		case $line in
		'# '*) option=${line#\# }
		       ! grep -q "^${option%% *}=" "$obj/.config" || echo "$line" ;;
		*) grep -qFx "$line" "$obj/.config" || echo "$line" ;;
		esac
	done)
	[ -z "$lacking" ] || {
		rm -f "$obj/.config"
		die "Linux $base cannot give what the $flavour configuration asks for:
$lacking"
	}
}

# As a maintainer would, but static: the guest has no C library.
selftests() {
	kmake headers && rm -rf "$installed" &&
	kmake -C tools/testing/selftests TARGETS=memfd_tripwire FORCE_TARGETS=1 \
		USERLDFLAGS=-static KSFT_INSTALL_PATH="$installed" install
}

bench() {
	kmake headers && mkdir -p "$out/bench" &&
	make -C "$top/scripts/bench" CC='ccache gcc' -j"$jobs" O="$out/bench" \
		HEADERS="$obj/usr/include"
}

case $what in
kernel)
	configure
	quietly "$logs/kernel-$flavour.log" "building the $flavour kernel (minutes when new)" kmake bzImage
	ln -sfn "linux/obj-$flavour/arch/x86/boot/bzImage" "$out/bzImage-$flavour"
	[ "$flavour" != demo ] || ln -sfn "bzImage-demo" "$out/bzImage"
	;;
selftests)
	configure
	quietly "$logs/selftests-$flavour.log" "building the selftests" selftests
	;;
bench)
	configure
	quietly "$logs/bench-$flavour.log" "building the benchmark" bench
	;;
kmake)
	configure
	kmake "$@"
	;;
*) die "build.sh: no $what" ;;
esac
