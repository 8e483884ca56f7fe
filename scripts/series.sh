#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Make the mail-ready series out of overlay and messages, under build/BASE/series,
# and prove that git am of it gives the overlay. Needs the patched tree.
. "$(dirname "$0")/lib.sh"

series=$top/build/series/$base
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
messages=$(cd "$top/scripts/series" && ls [0-9]*.msg)
count=$(echo "$messages" | wc -l)

carried() { sed '1,/^---$/d' "$top/scripts/series/$1" | grep -v '^ *$'; }

# Each file and diff of ours is carried by one patch, and no patch by more.
check_carried() {
	for message in $messages; do carried "$message"; done | sort > "$work/carried"
	(cd "$top" && { find arch Documentation fs include io_uring drivers kernel mm tools \
		-type f 2> /dev/null || true; ls scripts/edits*.diff MAINTAINERS; }) | sort > "$work/ours"
	wrong=$(uniq -d "$work/carried")
	[ -z "$wrong" ] || die "carried by two patches:" $wrong
	wrong=$(comm -13 "$work/carried" "$work/ours")
	[ -z "$wrong" ] || die "carried by no patch:" $wrong
	wrong=$(comm -23 "$work/carried" "$work/ours")
	[ -z "$wrong" ] || die "in a message, but not there:" $wrong
}

# git in $repo, by nobody, at no time: the same bytes wherever and whenever.
in_repo() {
	env -u GIT_DIR -u GIT_WORK_TREE -u GIT_INDEX_FILE -u GIT_OBJECT_DIRECTORY \
		GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 \
		GIT_CEILING_DIRECTORIES="${work%/*}" \
		GIT_AUTHOR_NAME=memfd_tripwire GIT_AUTHOR_EMAIL=linux-mm@kvack.org \
		GIT_COMMITTER_NAME=memfd_tripwire GIT_COMMITTER_EMAIL=linux-mm@kvack.org \
		GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' \
		GIT_COMMITTER_DATE='2026-01-01T00:00:00Z' git -C "$repo" "$@"
}

new_repo() { # DIR: of just the touched files, as the base has them
	repo=$1
	cp -R "$out/base" "$repo"
	in_repo init -q -b series
	in_repo add -f .
	in_repo commit -q -m "Linux $base"
}

commit_patches() {
	for message in $messages; do
		for path in $(carried "$message"); do
			case $path in
			*.diff) patch -d "$repo" -p1 -F0 -s --no-backup-if-mismatch < "$top/$path" ;;
			*) mkdir -p "$(dirname "$repo/$path")" && cp "$want/$path" "$repo/$path" ;;
			esac || die "$message: $path does not go on what comes before it"
		done
		in_repo add -f .
		sed '/^---$/,$d' "$top/scripts/series/$message" | in_repo commit -q -F -
	done
}

cover() { # our subject and text into the room that git left
	awk -v text="$top/scripts/series/cover" '
	BEGIN { getline subject < text; getline < text
		while ((getline line < text) > 0) body = body line "\n" }
	sub(/\*\*\* SUBJECT HERE \*\*\*/, subject) { print; next }
	/\*\*\* BLURB HERE \*\*\*/ { printf "%s", body; next }
	{ print }' "$1" > "$work/cover" && mv "$work/cover" "$1"
}

[ -d "$want" ] || die "there is no patched tree yet; run make tree first"
check_carried
new_repo "$work/made"
commit_patches
rm -rf "$series" && mkdir -p "$series"
in_repo format-patch -q --zero-commit --full-index --no-signature --cover-letter \
	-o "$series" HEAD~"$count"
cover "$series/0000-cover-letter.patch"

new_repo "$work/taken"
for patch in "$series"/*.patch; do
	case $patch in
	*/0000-*) ;;
	*) in_repo am -q "$patch" || die "git am does not take $patch" ;;
	esac
done
rm -rf "$repo/.git"
diff -r "$repo" "$want" || die "git am of the series does not give the overlay"
say "$count patches and a cover letter in $series; git am of them gives the overlay"
say "whoever sends them becomes their author: git am, then git commit --amend --reset-author"
