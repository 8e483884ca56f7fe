#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Check the series and the project. Each check counts as one test:
#   check.sh [NAME...]	all by default
. "$(dirname "$0")/lib.sh"

passed=0 failed=0
log=$out/logs/check
mkdir -p "$log"

chosen=$*

check() { # NAME COMMAND...
	name=$1; shift
	case " ${chosen:-$name} " in *" $name "*) ;; *) return 0 ;; esac
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

c_files=$(ours | grep -E '^(mm|include/(uapi/)?linux)/.*\.[ch]$')
objects=$(ours | sed -n 's,^\(mm/.*\)\.c$,\1.o,p')

listed() { # FILE: the names in the first column, with commas between
	sed -n 's/^\([A-Z][A-Z0-9_]*\)[[:space:]].*/\1/p' "$top/scripts/config/$1" | paste -sd ,
}

shell_scripts() {
	cd "$top" && shellcheck -s sh -x -P SCRIPTDIR -e "$(listed shellcheck)" \
		scripts/*.sh .ci/run
}

# A long file is hard to review; the reader looks at one concern at a time.
file_sizes() {
	tracked | while read -r file; do
		lines=$(wc -l < "$top/$file")
		[ "$lines" -le 700 ] || echo "$file has $lines lines; cut it by concern"
	done > "$log/long"
	cat "$log/long"
	[ ! -s "$log/long" ]
}

checkpatch() {
	cd "$tree" && for patch in "$top/build/series/$base"/*/*.patch; do
		case $patch in */0000-*) continue ;; esac
		perl scripts/checkpatch.pl --strict --no-signoff --color=never \
			--ignore "$(listed checkpatch)" "$patch" || return 1
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
	sparse mm/memfd_tripwire_planted.o > "$log/planted" 2>&1 || :
	rm -f "$tree/mm/memfd_tripwire_planted.c"
	cat "$log/planted"
	grep -q 'dereference of noderef' "$log/planted"
}
trap 'rm -f "$tree/mm/memfd_tripwire_planted.c"' EXIT
trap 'exit 130' INT TERM HUP

# A table that links to another would get its line twice.
syscall_tables() {
	(cd "$tree" && find arch scripts -name 'syscall*.tbl' -type f) | while read -r table; do
		[ "$(grep -c '[[:space:]]memfd_tripwire[[:space:]]' "$tree/$table")" = 1 ] ||
			{ echo "$table does not have memfd_tripwire once"; exit 1; }
	done
}

warnings() { kmake W=1 KCFLAGS=-Werror "$@"; }

# With the option off, only the stub of the system call is left.
option_off() {
	"$top/scripts/build.sh" kernel off || return 1
	! nm "$tree/obj-off/vmlinux" | grep -i tripwire | grep -v sys_memfd_tripwire
}

# Their runs take long: that each still applies, and names a test, is seen here.
mutants_apply() {
	rm -rf "$log/mutant"
	(cd "$top/scripts/mutants" && ls ./*/*.diff) | sed 's,^\./,,' | while read -r diff; do
		window=windows/${diff##*/}
		if [ "$diff" = "$window" ]; then
			[ "$(ls "$top"/scripts/mutants/*/"${diff##*/}" | wc -l)" = 2 ] ||
				echo "$diff must open a window for one mutant"
			continue
		fi
		set -- "$diff"
		[ ! -f "$top/scripts/mutants/$window" ] || set -- "$window" "$diff"
		apply "$@" || echo "$diff does not apply$([ $# = 1 ] || echo ", or its window")"
		test_of "$diff" || echo "$diff names no test that exists"
	done > "$log/mutants"
	cat "$log/mutants"
	[ ! -s "$log/mutants" ] && [ -n "$(ls "$top"/scripts/mutants/*/*.diff)" ]
}

apply() { # DIFF...: one after the other, to copies of the files that they change
	rc=0
	mkdir -p "$log/mutant"
	for diff; do
		sed -n 's,^+++ b/\([^	]*\).*,\1,p' "$top/scripts/mutants/$diff"
	done | sort -u | (cd "$tree" && xargs cp --parents -t "$log/mutant")
	for diff; do
		patch -d "$log/mutant" -p1 -F0 -s < "$top/scripts/mutants/$diff" || { rc=1; break; }
	done
	rm -rf "$log/mutant"
	return $rc
}

test_of() { # DIFF
	# shellcheck disable=SC2046 # words of the line
	set -- $(sed -n 's/^test: //p' "$top/scripts/mutants/$1")
	[ $# -ge 2 ] && grep -qE "^(TEST\(|TEST_F.*[ ,])$2[,)]" \
		"$top"/tools/testing/selftests/*/"$1.c" 2> /dev/null
}

# The kernel's own tests of mm/vma.c, which list what it may call; in a copy.
vma_tests() {
	rm -rf "$log/vma" && mkdir "$log/vma" &&
	(cd "$tree" && tar -c mm lib include scripts tools) | tar -x -C "$log/vma" &&
	make -C "$log/vma/tools/testing/vma" -j"$jobs" && "$log/vma/tools/testing/vma/vma"
	set -- $?
	rm -rf "$log/vma"
	return "$1"
}

# Each entry stands in MAINTAINERS once, and together they name all files.
maintainers() {
	all_entries > "$log/titles"
	while read -r title; do
		[ "$(grep -cFx "$title" "$tree/MAINTAINERS")" = 1 ] ||
			echo "MAINTAINERS does not have once: $title"
	done < "$log/titles" > "$log/unmaintained"
	ours | while read -r file; do
		(cd "$tree" && perl scripts/get_maintainer.pl --no-git --no-git-fallback \
			--sections -f "$file" 2>&1) | grep -qFf "$log/titles" ||
			echo "no entry of MAINTAINERS names $file"
	done >> "$log/unmaintained"
	cat "$log/unmaintained"
	[ ! -s "$log/unmaintained" ]
}

reproducible() {
	[ -d "$top/build/series/$base" ] && cp -R "$top/build/series/$base" "$log/first" && "$top/scripts/series.sh" &&
	diff -r "$log/first" "$top/build/series/$base" && rm -rf "$log/first"
}

# The installed headers of uapi, each by itself, as C90 and as C++.
header_alone() {
	installed=$tree/obj-check/usr/include
	for header in $(ours | sed -n 's,^include/uapi/,,p'); do
		echo "#include \"$installed/$header\"" > "$log/alone.c"
		gcc -std=c90 -pedantic-errors -Wno-long-long -Wall -Werror -fsyntax-only \
			-isystem "$installed" "$log/alone.c" &&
		g++ -Wall -Wextra -Wpedantic -Werror -fsyntax-only -isystem "$installed" \
			-x c++ "$log/alone.c" || return 1
	done
}

rm -rf "$log/first"
check prose "$top/scripts/prose.sh"
check coverage "$top/scripts/coverage.sh"
check shellcheck shell_scripts
check file_sizes file_sizes
check mutants_apply mutants_apply
check series "$top/scripts/series.sh"
check series_is_reproducible reproducible
check checkpatch checkpatch
check maintainers maintainers
check syscall_tables syscall_tables
check kernel_doc kernel_doc
# shellcheck disable=SC2086 # lists of files
{
check warnings warnings $objects
check sparse sparse $objects
}
check sparse_finds_planted_bug sparse_finds_planted_bug
check uapi_header kmake usr/
check header_alone header_alone
check option_off option_off
check vma_tests vma_tests
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
