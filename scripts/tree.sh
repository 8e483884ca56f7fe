#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel source: fetch it, lay our files over a copy of it, take edits back.
#   tree.sh patched	make build/BASE/linux what base and overlay say
#   tree.sh tarball	print the path of the tarball that the base came in
#   tree.sh edits	write changes in build/BASE/linux back to the overlay
. "$(dirname "$0")/lib.sh"

package=$(sed -n 's/^package //p' "$top/scripts/config/base-$base")
pinned=$(sed -n 's/^version //p' "$top/scripts/config/base-$base")
suite=$(sed -n 's/^suite //p' "$top/scripts/config/base-$base")
new=$out/overlay.new		# the overlay that is being put together

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
		say "$package $pinned is gone; taking the newest there is, $version"
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

# Names, sizes and times of all files: tells a tree that somebody changed.
fingerprint() {
	(cd "$1" && find . -name .git -prune -o -type f -printf '%P %s %T@\n' |
	 sort | sha256sum | cut -c 1-64)
}

# Set $pristine and $origin: the tree to start from, and what tells it from others.
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

ours() {	# the new files, whole
	(cd "$top" && find arch Documentation fs include io_uring drivers kernel mm \
		tools/testing -type f ! -name 'edits*.diff' 2> /dev/null) | sort
}

diffs() {	# the hunks, in the order of the patches that carry them
	sed -s '1,/^---$/d' "$top"/scripts/series/[0-9]*.msg | grep '\.diff$'
}

touched() {	# the kernel's files that a diff changes
	sed -n 's,^+++ b/\([^	]*\).*,\1,p' "$@"
}

# Put the overlay together in $1: our files, and the kernel's with the hunks in.
assemble() {
	rm -rf "$1" "$1.base" && mkdir -p "$1" "$1.base"
	for diff in $(diffs); do
		for file in $(touched "$top/$diff"); do
			[ -e "$1/$file" ] && continue
			[ ! -L "$pristine/$file" ] || die "$diff changes $file, a link to another file"
			mkdir -p "$1/$(dirname "$file")" "$1.base/$(dirname "$file")"
			cp "$pristine/$file" "$1/$file" && cp "$pristine/$file" "$1.base/$file" ||
				die "$diff changes $file, which Linux $base does not have"
		done
		patch -d "$1" -p1 -F0 -s --no-backup-if-mismatch < "$top/$diff" ||
			die "$diff does not apply to $pristine; mend its hunks"
	done
	for file in $(ours); do
		[ ! -e "$pristine/$file" ] || die "$file is ours, but $pristine has one too"
		mkdir -p "$1/$(dirname "$file")"
		cp -p "$top/$file" "$1/$file"
	done
	cp "$pristine/MAINTAINERS" "$1.base/MAINTAINERS"
	splice_maintainers "$pristine/MAINTAINERS" > "$1/MAINTAINERS"
}

# Our entry goes before the first one whose title sorts after ours.
splice_maintainers() {
	awk -v entry="$top/MAINTAINERS" '
	BEGIN { while ((getline line < entry) > 0) { ours = ours line "\n"; if (!title) title = line } }
	/^[A-Z0-9][^:]/ && seen && !done && $0 > title { printf "%s\n", ours; done = 1 }
	/^3C59X/ { seen = 1 }
	{ print }
	END { exit !done }' "$1" || die "MAINTAINERS has no place for our entry"
}

patched() {
	find_pristine
	mkdir -p "$out"
	if [ "$(cat "$out/origin" 2> /dev/null)" != "$origin" ] || [ ! -f "$tree/Makefile" ]; then
		check_strays
		rm -f "$out/origin"
		rm -rf "$tree" "$want"
		quietly "$out/logs/copy.log" "copying the tree" copy_tree
		echo "$origin" > "$out/origin"
	fi
	assemble "$new"
	check_strays
	files=$(cd "$out" && find overlay overlay.new -type f 2> /dev/null |
		sed 's,^[^/]*/,,' | sort -u)
	for file in $files; do
		if [ ! -e "$new/$file" ] && [ ! -e "$pristine/$file" ]; then
			rm -f "$tree/$file"
			continue
		fi
		after=$new/$file
		[ -e "$after" ] || after=$pristine/$file
		cmp -s "$tree/$file" "$after" || {
			mkdir -p "$tree/$(dirname "$file")"
			cp "$after" "$tree/$file"
		}
	done
	rm -rf "$want" "$out/base" && mv "$new" "$want" && mv "$new.base" "$out/base"
	touch "$out/placed"
}

# What was edited in the tree since files were placed there, by who knows whom.
edited() {
	[ -f "$out/placed" ] && [ -f "$tree/Makefile" ] || return 0
	find "$tree" \( -path "$tree/obj-*" -o -name __pycache__ \) -prune -o -type f \
		-newer "$out/placed" ! -name '*~' ! -name '.*' -printf '%P\n' |
	while read -r file; do
		before=$want/$file
		[ -e "$before" ] || before=$pristine/$file
		cmp -s "$tree/$file" "$before" || cmp -s "$tree/$file" "$new/$file" ||
			echo "$file"
	done
}

# An edit must neither be lost nor be tested as if it were part of the series.
check_strays() {
	strays=$(edited)
	[ -z "$strays" ] || die "edited in build/$base/linux, and not taken back:" $strays"
  'make edits' takes it back (F=FILE INTO=mm/edits-core.diff for a file that no diff
  touches yet); to forget it, copy the file from $pristine or $want."
}

copy_tree() {
	rm -rf "$tree.tmp" && mkdir "$tree.tmp"
	(cd "$pristine" && tar -c --exclude=./.git .) | tar -x -C "$tree.tmp"
	# Objects that an unpacked tree was built with would be taken for ours.
	[ ! -f "$tree.tmp/.config" ] || make -C "$tree.tmp" mrproper
	mv "$tree.tmp" "$tree"
}

# Every file that was changed in the tree since it was put there is taken back: ours
# whole, the kernel's as hunks of the last diff that touches it, or of INTO= when
# none does (and F= names it).
edits() {
	find_pristine
	[ -d "$want" ] || die "there is no patched tree yet; run make tree first"
	assemble "$new"
	for file in $(edited); do
		before=$want/$file
		[ -e "$before" ] || before=$pristine/$file
		! cmp -s "$tree/$file" "$new/$file" || continue
		[ ! -e "$new/$file" ] || cmp -s "$new/$file" "$before" ||
			die "$file was edited both in build/$base/linux and in the overlay; merge them by hand"
		if ours | grep -qFx "$file"; then
			cp "$tree/$file" "$top/$file"
			say "took back $file"
			continue
		fi
		into=
		case " ${F:-} " in *" $file "*) into=${INTO:-} ;; esac
		[ -n "$into" ] || for diff in $(diffs); do
			! touched "$top/$diff" | grep -qFx "$file" || into=$diff
		done
		[ -n "$into" ] || die "no diff touches $file yet; say which shall:" \
			"make edits F=$file INTO=mm/edits-core.diff"
		take_back "$file" "$into"
		say "took back the hunks of $file into $into"
	done
	rm -rf "$new"
	patched
}

take_back() { # FILE DIFF: replace what DIFF says of FILE
	work=$(mktemp -d)
	mkdir -p "$work/a/$(dirname "$1")" "$work/b/$(dirname "$1")"
	cp "$pristine/$1" "$work/a/$1"
	for diff in $(diffs); do	# all that comes before, and nothing of other files
		[ "$diff" != "$2" ] || break
		section "$1" "$top/$diff" | patch -d "$work/a" -p1 -F0 -s
	done
	cp "$tree/$1" "$work/b/$1"
	{
		for file in $( { touched "$top/$2" 2> /dev/null; echo "$1"; } | sort -u); do
			if [ "$file" = "$1" ]; then
				(cd "$work" && diff -up --label "a/$1" --label "b/$1" "a/$1" "b/$1") || true
			else
				section "$file" "$top/$2"
			fi
		done
	} > "$work/diff"
	cp "$work/diff" "$top/$2"
	rm -rf "$work"
}

section() { # FILE DIFF: the part of DIFF that changes FILE
	[ ! -f "$2" ] || awk -v file="$1" '/^--- a\// { on = ($2 == "a/" file) } on' "$2"
}

trap 'exit 130' INT TERM HUP
case ${1:-} in
patched) only_one "$out/lock" 9; patched ;;
tarball) [ -z "${KERNEL:-}" ] || die "KERNEL=$KERNEL came in no tarball"
	 only_one "$cache/lock" 8; find_tarball; echo "$tarball" ;;
edits) only_one "$out/lock" 9; edits ;;
*) die "usage: tree.sh patched | tarball | edits" ;;
esac
