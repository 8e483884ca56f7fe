#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Make the mail-ready series from the overlay and the messages, in
# build/series/BASE/SERIES, and prove that git am of them gives the overlay.
. "$(dirname "$0")/lib.sh"

mails=$top/build/series/$base
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

all_stems() {
	for file in "$top"/scripts/series/*/series; do
		stems "$(basename "$(dirname "$file")")"
	done
}

# Each message, new file, hunk and entry of MAINTAINERS belongs to one patch.
check_carried() {
	all_stems | sort > "$work/stems"
	none_twice "$work/stems" "a patch of this name stands twice in the files series"
	(cd "$top/scripts/series" && ls ./*/*.msg) | sed 's,.*/,,; s/\.msg$//' | sort > "$work/messages"
	same "$work/stems" "$work/messages" "in a file series, without a message" \
		"a message, but in no file series"

	while read -r stem; do new_files "$stem"; done < "$work/stems" | sort > "$work/carried"
	all_ours > "$work/ours"
	none_twice "$work/carried" "carried by two patches"
	same "$work/carried" "$work/ours" "in a message, but not there" "carried by no patch"

	(cd "$top" && ls ./*/*.diff) | while read -r diff; do
		grep -qFx "$(stem_of "$diff")" "$work/stems" || echo "$diff"
	done > "$work/orphans"
	none "$(cat "$work/orphans")" "no patch has the name of this diff"

	while read -r stem; do entries "$stem"; done < "$work/stems" | sort > "$work/entries"
	awk -v RS= -F '\n' '{ print $1 }' "$top/MAINTAINERS" | sort > "$work/titles"
	none_twice "$work/entries" "entry of MAINTAINERS in two patches"
	same "$work/entries" "$work/titles" "entry of a message, but not in MAINTAINERS" \
		"entry of MAINTAINERS in no patch"
}

none() { [ -z "$1" ] || die "$2: $1"; }
none_twice() { none "$(uniq -d "$1")" "$2"; }
same() { # FILE FILE WHAT WHAT: sorted
	none "$(comm -23 "$1" "$2")" "$3"
	none "$(comm -13 "$1" "$2")" "$4"
}

# git in $repo with a fixed identity and time: the bytes are always the same.
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

# A patch that carries nothing on this base is left out.
commit_patch() { # STEM
	for diff in $(hunks "$1"); do
		patch -d "$repo" -p1 -F0 -s --no-backup-if-mismatch < "$top/$diff" ||
			die "$diff does not apply after the patches before it"
	done
	for path in $(new_files "$1"); do
		mkdir -p "$repo/$(dirname "$path")" && cp "$want/$path" "$repo/$path"
	done
	titles=$(entries "$1")
	if [ -n "$titles" ]; then
		splice_maintainers "$repo/MAINTAINERS" "$titles" > "$work/MAINTAINERS"
		cp "$work/MAINTAINERS" "$repo/MAINTAINERS"
	fi
	in_repo add -f .
	! in_repo diff --cached --quiet || return 0
	sed '/^---$/,$d' "$(message "$1")" | in_repo commit -q -F -
}

# Put the subject and the text of the cover where git left room for them.
cover() { # SERIES FILE
	awk -v text="$top/scripts/series/$1/cover" '
	BEGIN {
		getline subject < text; getline < text
		while ((getline line < text) > 0) body = body line "\n"
		gsub(/&/, "\\\\&", subject)
	}
	sub(/\*\*\* SUBJECT HERE \*\*\*/, subject) { print; next }
	/\*\*\* BLURB HERE \*\*\*/ { printf "%s", body; next }
	{ print }' "$2" > "$work/cover" && mv "$work/cover" "$2"
}

[ -d "$want" ] || die "there is no patched tree yet; run make tree first"
check_carried
new_repo "$work/made"
rm -rf "$mails"
for name in $series; do
	mkdir -p "$mails/$name"
	before=$(in_repo rev-parse HEAD)
	for stem in $(stems "$name"); do commit_patch "$stem"; done
	in_repo format-patch -q --zero-commit --full-index --no-signature --cover-letter \
		-o "$mails/$name" "$before"
	cover "$name" "$mails/$name/0000-cover-letter.patch"
done

new_repo "$work/taken"
for name in $series; do
	for patch in "$mails/$name"/*.patch; do
		case $patch in
		*/0000-*) ;;
		*) in_repo am -q "$patch" || die "git am does not take $patch" ;;
		esac
	done
	say "series $name: $(stems "$name" | wc -l) patches and a cover letter in $mails/$name"
done
rm -rf "$repo/.git"
diff -r "$repo" "$want" || die "git am of the series does not give the overlay (made with the same SERIES?)"
say "git am of them gives the overlay; next: git am, then git commit --amend --reset-author"
