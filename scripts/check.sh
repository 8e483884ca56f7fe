#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What a maintainer's tools say of the series. Each check counts as one test.
. "$(dirname "$0")/lib.sh"

passed=0 failed=0
log=$out/logs/check
mkdir -p "$log"

check() { # NAME COMMAND...
	name=$1; shift
	printf 'check: %s ... ' "$name" >&2
	if "$@" > "$log/$name.log" 2>&1; then
		passed=$((passed + 1))
		echo ok >&2
	else
		failed=$((failed + 1))
		echo FAILED >&2
		tail -40 "$log/$name.log" >&2
		say "the whole log is in $log/$name.log"
	fi
}

kmake() { "$top/scripts/build.sh" kmake check "$@"; }

c_files=$(cd "$top" && ls mm/*.[ch] include/linux/*.h include/uapi/linux/*.h)
objects=$(cd "$top" && ls mm/*.c | sed 's/c$/o/')

checkpatch() {
	ignored=$(sed -n 's/^\([A-Z_]*\)[[:space:]].*/\1/p' "$top/scripts/config/checkpatch" | paste -sd ,)
	cd "$tree" && for patch in "$top/build/series/$base"/*.patch; do
		case $patch in */0000-*) continue ;; esac
		perl scripts/checkpatch.pl --strict --no-signoff --color=never \
			--ignore "$ignored" "$patch" || return 1
	done
}

kernel_doc() {
	# shellcheck disable=SC2086 # a list of files
	cd "$tree" && python3 scripts/kernel-doc -none -Wall -Werror $c_files
}

# 7.3 rejects Debian's sparse by its version and then passes without running it.
sparse() {
	kmake C=2 CHECK='sparse -D__typeof_unqual__=__typeof__' CF=-Wsparse-error "$@"
}

sparse_finds_planted_bug() {
	{
		cat "$tree/mm/memfd_tripwire.c"
		echo 'static int __used planted(int __user *p) { return *p; }'
	} > "$tree/mm/memfd_tripwire_planted.c"
	! sparse mm/memfd_tripwire_planted.o > "$log/planted" 2>&1
	rm -f "$tree/mm/memfd_tripwire_planted.c"
	cat "$log/planted"
	grep -q 'dereference of noderef' "$log/planted"
}
trap 'rm -f "$tree/mm/memfd_tripwire_planted.c"' EXIT
trap 'exit 130' INT TERM HUP

# A table that is a link to another would get its line twice.
syscall_tables() {
	(cd "$tree" && find arch scripts -name 'syscall*.tbl' -type f) | while read -r table; do
		[ "$(grep -c '[[:space:]]memfd_tripwire[[:space:]]' "$tree/$table")" = 1 ] ||
			{ echo "$table does not have memfd_tripwire once"; exit 1; }
	done
}

warnings() { kmake W=1 KCFLAGS=-Werror "$@"; }

# The same objects, whether the tree was never touched or the option is off, but
# for the stub of the system call and the names that shmem now shares.
option_off() {
	"$top/scripts/build.sh" kernel off || return 1
	! nm "$tree/obj-off/vmlinux" | grep -i tripwire | grep -v sys_memfd_tripwire
}

# Their runs take long: that they still say something is seen here.
mutants_apply() {
	for mutant in "$top"/scripts/mutants/*.diff "$top"/scripts/mutants/*.control; do
		patch -d "$tree" -p1 -F0 -s --dry-run < "$mutant" ||
			{ echo "$mutant does not apply; make it anew"; return 1; }
	done
}

# The kernel's own tests of mm/vma.c, which say what it may need; in a tree to make in.
vma_tests() {
	rm -rf "$log/vma" && mkdir "$log/vma" &&
	(cd "$tree" && tar -c mm lib include scripts tools) | tar -x -C "$log/vma" &&
	make -C "$log/vma/tools/testing/vma" -j"$jobs" && "$log/vma/tools/testing/vma/vma"
	set -- $?
	rm -rf "$log/vma"
	return "$1"
}

# MAINTAINERS names every file of ours, and stands there once.
maintainers() {
	[ "$(grep -c "^$(head -n 1 "$top/MAINTAINERS")\$" "$tree/MAINTAINERS")" = 1 ] || return 1
	for file in $(cd "$top" && find Documentation include mm tools -type f ! -name '*.diff'); do
		(cd "$tree" && perl scripts/get_maintainer.pl --no-git --no-git-fallback \
			--sections -f "$file" 2>&1) | grep -qF "$(head -n 1 "$top/MAINTAINERS")" ||
			{ echo "nobody maintains $file"; return 1; }
	done
}

reproducible() {
	cp -R "$top/build/series/$base" "$log/first" && "$top/scripts/series.sh" &&
	diff -r "$log/first" "$top/build/series/$base" && rm -rf "$log/first"
}

rm -rf "$log/first"
check series "$top/scripts/series.sh"
check series_is_reproducible reproducible
check checkpatch checkpatch
check maintainers maintainers
check syscall_tables syscall_tables
check kernel_doc kernel_doc
check warnings warnings $objects
check sparse sparse $objects
check sparse_finds_planted_bug sparse_finds_planted_bug
check uapi_header kmake usr/
check option_off option_off
check mutants_apply mutants_apply
check vma_tests vma_tests
echo "$passed passed, $failed failed"
[ $failed = 0 ]
