#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The patched kernel tree: our files over a copy of the source, and edits back.
#   tree.sh patched	make build/BASE/linux out of the base and the series
#   tree.sh tarball	print the path of the tarball that the base came in
#   tree.sh edits	write changes in build/BASE/linux back to the overlay
. "$(dirname "$0")/lib.sh"
. "$top/scripts/source.sh"

new=$out/overlay.new		# the overlay that is being put together

touched() {	# the kernel's files that a diff changes
	sed -n 's,^+++ b/\([^	]*\).*,\1,p' "$@"
}

# Put the overlay together in $1: our files, and the kernel's patched ones.
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
	splice_maintainers "$pristine/MAINTAINERS" "$(all_entries)" > "$1/MAINTAINERS"
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

# The files that were edited in the tree after they were placed there.
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

# An edit must neither be lost nor be tested as a part of the series.
check_strays() {
	strays=$(edited)
	[ -z "$strays" ] || die "edited in build/$base/linux, and not yet in a diff: $(echo "$strays" | paste -sd " ")
  'make edits' writes it back (F=FILE INTO=STEM for a file that no patch touches yet);
  to drop the edit, copy the file from $pristine or $want."
}

copy_tree() {
	rm -rf "$tree.tmp" && mkdir "$tree.tmp"
	(cd "$pristine" && tar -c --exclude=./.git .) | tar -x -C "$tree.tmp"
	# Objects of an earlier build in an unpacked tree would be reused.
	[ ! -f "$tree.tmp/.config" ] || make -C "$tree.tmp" mrproper
	mv "$tree.tmp" "$tree"
}

# Write each edited file back: ours whole, the kernel's as hunks of the last
# patch that touches it. F=FILE INTO=STEM names one where no patch does.
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
			say "wrote back $file"
			continue
		fi
		into=
		case " ${F:-} " in *" $file "*) into=${INTO:+${file%%/*}/$INTO.diff} ;; esac
		[ -n "$into" ] || for diff in $(diffs); do
			! touched "$top/$diff" | grep -qFx "$file" || into=$diff
		done
		[ -n "$into" ] || die "no patch touches $file yet; name one:" \
			"make edits F=$file INTO=tripwire-core"
		# shellcheck disable=SC2086 # a list of words
		stems $series | grep -qFx "$(stem_of "$into")" || die "no patch is named $(stem_of "$into")"
		write_back "$file" "$into"
		say "wrote the hunks of $file to $into"
	done
	rm -rf "$new"
	patched
}

write_back() { # FILE DIFF: replace the part of DIFF that changes FILE
	work=$(mktemp -d)
	mkdir -p "$work/a/$(dirname "$1")" "$work/b/$(dirname "$1")"
	cp "$pristine/$1" "$work/a/$1"
	for diff in $(diffs); do	# all that comes before, and nothing of other files
		[ "$diff" != "$2" ] || break
		section "$1" "$top/$diff" | patch -d "$work/a" -p1 -F0 -s
	done
	cp "$tree/$1" "$work/b/$1"
	{
		for file in $( { [ ! -f "$top/$2" ] || touched "$top/$2"; echo "$1"; } | sort -u); do
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
