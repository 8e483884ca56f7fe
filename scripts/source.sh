# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154,SC2034 # variables of others
# Where the kernel source comes from: Debian's package, the cache, or KERNEL=.
# For tree.sh, which sources lib.sh before.

package=$(sed -n 's/^package //p' "$top/scripts/config/base-$base")
pinned=$(sed -n 's/^version //p' "$top/scripts/config/base-$base")
suite=$(sed -n 's/^suite //p' "$top/scripts/config/base-$base")

ways_out() {
	die "$1
  Ways out: make ... KERNEL=/path/to/an/unpacked/linux-$base (it is not changed);
  or apt-get update and a Debian mirror that carries $suite;
  or put linux-source-$base.tar.xz into $cache/$pinned, beside it a
  linux-source-$base.tar.xz.sha256 that sha256sum wrote."
}

# apt with lists and state of its own: the machine's stays as it is.
apt_setup() {
	command -v apt-get > /dev/null || ways_out "no apt-get here to fetch $package with"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -f $keyring ] || ways_out "$keyring is missing (package debian-archive-keyring)"
	# shellcheck disable=SC2016 # apt-get expands it
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
		'Origin: Debian' 'Label: Debian' 'Component: main' | sort -u | head -n 1)
	[ -n "$mirror" ] || ways_out "apt knows no Debian mirror yet; run apt-get update"
	apt=$cache/apt
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
	echo "deb [signed-by=$keyring] $mirror $suite main" > "$apt/sources.list"
	cat > "$apt/apt.conf" <<-END
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		Dir::Etc::SourceList "$apt/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		Dir::State "$apt/state";
		Dir::State::Lists "$apt/state/lists";
		Dir::State::status "/dev/null";
		Dir::Cache "$apt/cache";
		Dir::Cache::archives "$apt/cache/archives";
		Acquire::Languages "none";
	END
	[ "$(id -u)" != 0 ] || echo 'APT::Sandbox::User "root";' >> "$apt/apt.conf"
	say "looking for $package in Debian's $suite"
	apt-get -c "$apt/apt.conf" -o APT::Update::Error-Mode=any -qq update > "$apt/log" 2>&1 ||
		ways_out "cannot fetch Debian's list of $suite (see $apt/log)"
}

# Leave linux-source-BASE.tar.xz and its checksum in $cache/VERSION.
fetch() {
	apt_setup
	version=$(apt-cache -c "$apt/apt.conf" madison "$package" | awk '{ print $3 }' |
		  grep -Fx "$pinned" | head -n 1 || true)
	if [ -z "$version" ]; then
		version=$(apt-cache -c "$apt/apt.conf" madison "$package" |
			  awk '{ print $3 }' | sort -rV | head -n 1)
		[ -n "$version" ] || ways_out "$suite has no $package"
		say "$package $pinned is gone from the mirror; taking the newest, $version"
	fi
	[ ! -f "$cache/$version/linux-source-$base.tar.xz.sha256" ] || return 0

	sum=$(apt-cache -c "$apt/apt.conf" show "$package=$version" |
	      sed -n 's/^SHA256: //p' | head -n 1)
	rm -rf "$cache/fetch" && mkdir -p "$cache/fetch" "$cache/$version"
	say "fetching $package $version, about 160 MB"
	(cd "$cache/fetch" &&
	 apt-get -c "$apt/apt.conf" -qq download "$package=$version" > "$apt/log" 2>&1) ||
		ways_out "cannot download $package $version"
	echo "$sum  $(ls "$cache/fetch"/*.deb)" | sha256sum --quiet -c >&2 ||
		ways_out "$package $version arrived damaged (SHA256 differs)"
	(cd "$cache/fetch" && dpkg-deb --fsys-tarfile ./*.deb |
	 tar -xO "./usr/src/linux-source-$base.tar.xz" > "linux-source-$base.tar.xz" &&
	 sha256sum "linux-source-$base.tar.xz" > "linux-source-$base.tar.xz.sha256")
	mv "$cache/fetch/linux-source-$base.tar.xz" "$cache/$version/"
	mv "$cache/fetch/linux-source-$base.tar.xz.sha256" "$cache/$version/"
	rm -rf "$cache/fetch" "$apt"
}

# Set $version and $tarball: from the cache if it is whole, else from Debian.
find_tarball() {
	version=$pinned
	if [ ! -f "$cache/$version/linux-source-$base.tar.xz.sha256" ]; then
		# A newer one that stood in for a version that is gone?
		for dir in $(ls -d "$cache/$base".* 2> /dev/null | sort -V); do
			[ ! -f "$dir/linux-source-$base.tar.xz.sha256" ] || version=${dir##*/}
		done
	fi
	tarball=$cache/$version/linux-source-$base.tar.xz
	if [ -f "$tarball.sha256" ]; then
		(cd "$cache/$version" && sha256sum --status -c "$tarball.sha256") && return 0
		say "the cached $tarball is damaged; fetching it again"
		rm -f "$tarball" "$tarball.sha256"
	fi
	fetch
	tarball=$cache/$version/linux-source-$base.tar.xz
}

# Names, sizes and times of all files: differs once a file is changed.
fingerprint() {
	(cd "$1" && find . -name .git -prune -o -type f -printf '%P %s %T@\n' |
	 sort | sha256sum | cut -c 1-64)
}

# Set $pristine and $origin: the tree to start from, and what identifies it.
find_pristine() {
	if [ -n "${KERNEL:-}" ]; then
		[ -f "$KERNEL/Makefile" ] && [ -f "$KERNEL/mm/shmem.c" ] ||
			die "KERNEL=$KERNEL is no kernel source tree"
		has=$(sed -n 's/^VERSION = //p;s/^PATCHLEVEL = //p' "$KERNEL/Makefile" | paste -sd .)
		[ "$has" = "$base" ] ||
			die "KERNEL=$KERNEL holds Linux $has; the series is for $base"
		pristine=$(cd "$KERNEL" && pwd -P)
		case $tree/ in
		"$pristine"/*) die "KERNEL=$KERNEL is where the patched tree goes; name another" ;;
		esac
		origin="$pristine $(fingerprint "$pristine")"
		return
	fi
	only_one "$cache/lock" 8
	if [ -f "$cache/$pinned/linux.fingerprint" ]; then
		version=$pinned
	else
		find_tarball
	fi
	pristine=$cache/$version/linux
	stamp=$pristine.fingerprint
	if [ -f "$stamp" ] && [ "$(cat "$stamp")" != "$(fingerprint "$pristine")" ]; then
		say "the cached tree $pristine was changed; unpacking it again"
		rm -f "$stamp"
	fi
	if [ ! -f "$stamp" ]; then
		find_tarball
		rm -rf "$pristine" "$pristine.tmp" && mkdir -p "$pristine.tmp"
		quietly "$out/logs/unpack.log" "unpacking Linux $version" \
			tar -x -I 'xz -T0' --strip-components=1 -C "$pristine.tmp" -f "$tarball"
		mv "$pristine.tmp" "$pristine"
		fingerprint "$pristine" > "$stamp.tmp" && mv "$stamp.tmp" "$stamp"
	fi
	origin="$version $(cat "$stamp")"
}
