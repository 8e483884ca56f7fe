# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034 # others use the variables
# What the scripts share: paths, messages, locks, and the layout of the series.

set -eu
export LC_ALL=C
# Settings for our make, or for another kernel, must not reach this one's make.
unset MAKEFLAGS MAKELEVEL MFLAGS ARCH CROSS_COMPILE LLVM KBUILD_OUTPUT

say() { printf '%s\n' "memfd_tripwire: $*" >&2; }
die() { say "$@"; exit 1; }

top=$(cd "$(dirname "$0")/.." && pwd -P)
cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}/memfd_tripwire
base=${BASE:-7.3}
out=$top/build/$base		# everything that is made for this base
tree=$out/linux			# the patched kernel tree
want=$out/overlay		# the touched files, as they were last put there
run=$out/run			# what guests are given, and what they say
jobs=${J:-$(nproc)}
series=				# those that are made, each on top of the one before

case $top in
*[[:space:]:]*) die "$top: the kernel cannot be built below a path with a space or colon" ;;
esac
case $cache in
/memfd_tripwire|[!/]*) die "no place for the cache: set XDG_CACHE_HOME to an absolute path" ;;
esac
[ -f "$top/scripts/config/base-$base" ] ||
	die "BASE=$base is not known; there is: $(cd "$top/scripts/config" &&
	    ls base-* | sed s/base-// | tr '\n' ' ')"

# SERIES names the last series that is made. One without patches is skipped.
case ${SERIES:-view} in
tripwire | view) ;;
*) die "SERIES=$SERIES is not known; there are: tripwire, view (on top of it)" ;;
esac
for name in tripwire view; do
	[ ! -s "$top/scripts/series/$name/series" ] || series="$series $name"
	[ "$name" != "${SERIES:-view}" ] || break
done

# The patches of a series, in order, one stem a line.
stems() { # SERIES...
	for name; do
		[ ! -f "$top/scripts/series/$name/series" ] ||
			sed 's/[[:space:]]*#.*//; /^$/d' "$top/scripts/series/$name/series"
	done
}

message() { # STEM
	ls "$top"/scripts/series/*/"$1.msg" 2> /dev/null ||
		die "the file series names $1, but there is no $1.msg"
}

# The hunks of a patch: DIR/STEM.diff, or DIR/STEM.BASE.diff in its place.
hunks() { # STEM
	(cd "$top" && for diff in */"$1.diff" */"$1.$base.diff"; do
		case $diff in
		*."$base.diff") ;;
		*) [ ! -e "${diff%.diff}.$base.diff" ] || continue ;;
		esac
		[ ! -s "$diff" ] || echo "$diff"
	done)
}

diffs() {	# all hunks, in the order of the patches
	# shellcheck disable=SC2086 # a list of words
	for stem in $(stems $series); do hunks "$stem"; done
}

stem_of() {	# DIFF
	basename "$1" .diff | sed 's/\.[0-9][0-9.]*$//'
}

new_files() { # STEM: the files that its message lists
	sed '1,/^---$/d; /^MAINTAINERS: /d; /^ *$/d' "$(message "$1")"
}

entries() { # STEM: the titles of its entries in MAINTAINERS
	sed '1,/^---$/d' "$(message "$1")" | sed -n 's/^MAINTAINERS: //p'
}

all_entries() {
	# shellcheck disable=SC2086 # a list of words
	for stem in $(stems $series); do entries "$stem"; done
}

# Each new file of ours, whether a message lists it or not.
all_ours() {
	(cd "$top" && find . \( -path "./.*" -o -path ./build -o -path ./scripts \) -prune -o \
		-type f -path "./*/*" ! -name '*.diff' -printf '%P\n' | sort)
}

# Every file of the project, committed or not yet, but the license.
tracked() {
	(cd "$top" && git ls-files -co --exclude-standard | while read -r file; do
		[ "$file" = COPYING ] || [ ! -f "$file" ] || echo "$file"
	done)
}

# Those that go into the tree: all but what a series above SERIES lists.
ours() {
	all_ours | {
		later=
		for name in tripwire view; do
			case " $series " in *" $name "*) continue ;; esac
			for stem in $(stems "$name"); do later="$later $(new_files "$stem")"; done
		done
		[ -n "$later" ] || exec cat
		# shellcheck disable=SC2086 # a list of words
		grep -vFx "$(printf '%s\n' $later)"
	}
}

# Each entry goes before the first one whose title sorts after its own.
splice_maintainers() { # FILE TITLES, a line each
	TITLES=$2 awk -v entries="$top/MAINTAINERS" '
	BEGIN {
		nr = split(ENVIRON["TITLES"], title, "\n")
		for (i = 1; i <= nr; i++) wanted[title[i]] = 1
		RS = ""
		while ((getline entry < entries) > 0) {
			split(entry, line, "\n")
			if (line[1] in wanted) text[line[1]] = entry
		}
		RS = "\n"
		for (i = 1; i <= nr; i++) if (!(title[i] in text)) { failed = 1; exit }
	}
	/^[A-Z0-9][^:]/ && seen {
		while (1) {	# the lowest of ours that sorts before this one
			next_title = ""
			for (t in text)
				if ($0 > t && (next_title == "" || t < next_title)) next_title = t
			if (next_title == "") break
			printf "%s\n\n", text[next_title]
			delete text[next_title]
		}
	}
	/^3C59X/ { seen = 1 }
	{ print }
	END { for (t in text) failed = 1; exit failed }' "$1" ||
		die "MAINTAINERS has no place for, or no entry of: $2"
}

# Lock FILE for this run, by an open FD. The scripts that it starts inherit the
# lock.
only_one() { # FILE FD
	case " ${MEMFD_TRIPWIRE_LOCKS:-} " in *" $1 "*) return 0 ;; esac
	mkdir -p "${1%/*}"
	eval "exec $2>> \"\$1\""
	flock -n "$2" || { say "waiting for another run that uses ${1%/*}"; flock "$2"; }
	export MEMFD_TRIPWIRE_LOCKS="${MEMFD_TRIPWIRE_LOCKS:-} $1"
}

# Run a long command with a dot every few seconds. If it fails, show the errors
# in its log.
quietly() { # LOG WHAT COMMAND...
	log=$1 what=$2; shift 2
	mkdir -p "$(dirname "$log")"
	began=$(date +%s)
	printf '%s' "memfd_tripwire: $what " >&2
	# A process that outlives this script must not keep its output open.
	while sleep 5 > /dev/null 2>&1 && kill -0 $$ 2> /dev/null; do
		printf . >&2
	done > /dev/null 8>&- 9>&- & dots=$!
	set +e
	(set -e; "$@") > "$log" 2>&1 < /dev/null
	rc=$?
	set -e
	kill $dots 2> /dev/null || :
	if [ $rc = 0 ]; then
		echo "$(($(date +%s) - began)) s" >&2
		return 0
	fi
	echo "failed" >&2
	grep -E -A4 'error:|Error |\*\*\*|warning:' "$log" | head -40 >&2 || :
	tail -10 "$log" >&2
	die "$what failed; the whole log is in $log"
}

# A busybox that runs where there is no C library.
static_busybox() {
	for file in /bin/busybox /usr/bin/busybox; do
		[ -x "$file" ] || continue
		! ldd "$file" 2>&1 | grep -q 'not a dynamic' || { echo "$file"; return 0; }
	done
	return 1
}

# A tree of its own, as it was before our patches.
copy_pristine() { # DIRECTORY
	rm -rf "$1" && mkdir -p "$1"
	say "copying the tree"
	(cd "$out/linux" && tar -c --exclude='./obj-*' .) | tar -x -C "$1"
	(cd "$want" && find . -type f) | (cd "$1" && xargs rm -f)
	cp -R "$out/base/." "$1"
}
