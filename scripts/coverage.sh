#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Check the coverage tables of Documentation/mm: each function, test and mutant
# in them exists, and each mutant and each test of the writers stands in a row.
#   coverage.sh [FILE.rst...]
# These are the list-tables of four columns whose first head is 'Way...'.
# Functions are written ``function()``, tests ``program.test``, and mutants
# ``area/name``.
. "$(dirname "$0")/lib.sh"

cd "$top"
[ $# -gt 0 ] || set -- Documentation/mm/*.rst
selftests=tools/testing/selftests
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One line for each word in double backquotes: FILE:LINE COLUMN WORD.
awk '
FNR == 1 { on = 0 }
/^\.\. list-table::/ { on = 1; row = column = 0; next }
on && /^[^ \t]/ { on = 0 }
on && !row && /^ *\* - / && !/^ *\* - Way/ { on = 0 }
!on { next }
/^ *\* - / { row++; column = 1 }
/^ *- / { column++ }
row > 1 {
	n = split($0, part, "``")
	for (i = 2; i <= n; i += 2) print FILENAME ":" FNR, column, part[i]
	rows[row] = 1
}
row && column > 4 { print FILENAME ":" FNR, "too-many", "columns" }' "$@" > "$work/words"
[ -s "$work/words" ] || die "no coverage table in $*"

# PROGRAM.TEST for each test of the selftests.
# shellcheck disable=SC2046 # a list of files
awk '
FNR == 1 { program = FILENAME; sub(/.*\//, "", program); sub(/\.c$/, "", program) }
/^TEST(_F|_F_TIMEOUT|_SIGNAL|_F_SIGNAL|_TIMEOUT)?\(/ {
	line = $0
	while (line !~ /\)/ && (getline more) > 0) line = line more
	nr = split(line, part, /[(),][ \t]*/)
	print program "." (line ~ /^TEST_F/ ? part[3] : part[2])
}' $selftests/memfd_tripwire/*_test.c $(ls $selftests/memory_view/*_test.c 2> /dev/null) |
	sort > "$work/tests"

(cd scripts/mutants && ls ./*/*.diff 2> /dev/null) | sed 's,^\./,,; s/\.diff$//; /^windows\//d' |
	sort > "$work/mutants"

# Defined in a file that the series touch, or elsewhere in the kernel?
# A macro of page-flags.h defines folio_set_FLAG() and the like.
defined() { # FUNCTION
	pattern="^([A-Za-z_#].*[ *(])?$1[(]"
	grep -rqE "$pattern" "$want" ||
	grep -rqE "$pattern" --include='*.[ch]' \
		"$tree/mm" "$tree/fs" "$tree/kernel" "$tree/io_uring" "$tree/include/linux" ||
	{ echo "$1" | grep -qE "^folio_(set|clear|test)_" &&
	  grep -qE "^[A-Z]*(PAGEFLAG|FOLIO_FLAG)[(].*[ (]${1#folio_*_}," "$tree/include/linux/page-flags.h"; }
}

{
	while read -r place column word; do
		case $column in
		1) continue ;;
		2) what=function
		   case $word in
		   *'()') ! defined "${word%??}" || continue ;;
		   *) what="function() (no parentheses)" ;;
		   esac ;;
		3) what='test'
		   ! grep -qFx "$word" "$work/tests" || continue ;;
		4) what=mutant
		   ! grep -qFx "$word" "$work/mutants" || continue ;;
		*) what='table of four columns, but' ;;
		esac
		echo "$place: there is no $what $word"
	done < "$work/words"
	awk '$2 == 4 { print $3 }' "$work/words" | sort -u | comm -13 - "$work/mutants" |
		sed 's/^/in no row: mutant /'
	awk '$2 == 3 { print $3 }' "$work/words" | sort -u > "$work/rows"
	grep '^writers[a-z_]*_test\.' "$work/tests" | comm -13 "$work/rows" - |
		sed 's/^/in no row: test /'
} > "$work/wrong"
cat "$work/wrong"
[ ! -s "$work/wrong" ] ||
	die "the coverage table is wrong in $(wc -l < "$work/wrong") places; edit Documentation/mm"
say "coverage: $(wc -l < "$work/mutants") mutants, each in a row; $(wc -l < "$work/words") names exist"
