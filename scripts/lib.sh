# SPDX-License-Identifier: GPL-2.0
# What the scripts share: where things are, and how they talk.

set -eu
export LC_ALL=C
# What is meant for our make, or for another kernel, is not for this one.
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

case $top in
*[[:space:]:]*) die "$top: the kernel cannot be built below a path with a space or colon" ;;
esac
case $cache in
/memfd_tripwire|[!/]*) die "no place for the cache: set XDG_CACHE_HOME to an absolute path" ;;
esac
[ -f "$top/scripts/config/base-$base" ] ||
	die "BASE=$base is not known; there is: $(cd "$top/scripts/config" &&
	    ls base-* | sed s/base-// | tr '\n' ' ')"

# One run at a time for what FILE stands for, with FD kept open on it; those that it
# starts do not ask again.
only_one() { # FILE FD
	case " ${MEMFD_TRIPWIRE_LOCKS:-} " in *" $1 "*) return 0 ;; esac
	mkdir -p "${1%/*}"
	eval "exec $2>> \"\$1\""
	flock -n "$2" || { say "waiting for another run that uses ${1%/*}"; flock "$2"; }
	export MEMFD_TRIPWIRE_LOCKS="${MEMFD_TRIPWIRE_LOCKS:-} $1"
}

# Run a long command in silence but for a dot every few seconds; show its log, or
# what of it matters, only when it fails.
quietly() { # LOG WHAT COMMAND...
	log=$1 what=$2; shift 2
	mkdir -p "$(dirname "$log")"
	began=$(date +%s)
	printf '%s' "memfd_tripwire: $what " >&2
	# Nothing that outlives us may keep our output open.
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
