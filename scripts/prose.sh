#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Check the language of all files of ours: words that name nothing, comments
# beyond 80 columns, kernel-doc summaries and the subjects of the series.
#   prose.sh [FILE...]
# The exceptions are in scripts/config/prose.
. "$(dirname "$0")/lib.sh"

cd "$top"
exceptions=scripts/config/prose
all=
# shellcheck disable=SC2046 # a list of files
[ $# -gt 0 ] || { all=1; set -- $(tracked); }
findings=$(awk -v exceptions="$exceptions" -v all="$all" '
function report(what,  i) {
	for (i = 1; i <= nr; i++)
		if (FILENAME == file[i] && index($0, part[i])) { used[i] = 1; return }
	print FILENAME ":" FNR ": " what ": " $0
}

function width(line,  i, n) {	# with tabs of 8
	if (index(line, "\t") == 0) return length(line)
	n = split(line, piece, "\t")
	columns = 0
	for (i = 1; i <= n; i++) {
		columns += length(piece[i])
		if (i < n) columns += 8 - columns % 8
	}
	return columns
}

# "_" joins a word, except in the names of tests.
function words(line, name) {
	line = tolower(line)
	if (name) gsub(/_/, " ", line)
	if (match(" " line " ", list)) report("word \"" substr(" " line " ", RSTART + 1, RLENGTH - 2) "\"")
}

function subject() {
	if ($0 !~ /^[A-Za-z0-9_]+: [^ ]/) report("subject without an area")
	if (length($0) > 75) report("subject of " length($0) " characters")
}

BEGIN {
	while ((getline line < exceptions) > 0) {
		if (line ~ /^#/ || line == "") continue
		if (split(line, field, "\t") != 3 || field[3] == "")
			print exceptions ": three fields with tabs between, please: " line
		nr++
		file[nr] = field[1]; part[nr] = field[2]
	}
	list = "[^a-z0-9_](w[h]o|w[h]oever|w[h]atever|h[a]bits?|puts? d[o]wn|puts? b[a]ck|" \
		"t[o]ld|t[e]lls?|ret[e]lls?|ret[o]ld|for the c[u]rious|s[a]ke)[^a-z0-9_]"
}

FNR == 1 {
	comment = doc = changed = 0
	c = FILENAME ~ /\.[ch]$/
	diff = FILENAME ~ /\.diff$/
	hash = FILENAME ~ /\.(sh|awk|gp|config)$|Makefile$|^\.ci\/run$/
}
FNR == 1 && FILENAME ~ /\.msg$/ || FNR == 1 && FILENAME ~ /\/cover$/ { subject() }

# Of a diff: what stands before it, and the lines that it adds.
diff {
	if (/^--- a\//) changed = 1
	if (/^\+\+\+ /) c = /\.[ch]([ \t]|$)/
	if (changed && (!/^\+/ || /^\+\+\+ /)) { comment = doc = 0; next }
}

{
	line = $0
	if (diff && changed) line = substr(line, 2)
	words(line, 0)
	if (line ~ /^(TEST|TEST_F|TEST_F_TIMEOUT)\(/ || FILENAME ~ /_test\.c$/ && FNR == 1)
		words(line ~ /^TEST/ ? line : FILENAME, 1)
}

c {
	first = 0
	if (!comment && line ~ /^[ \t]*\/\*/) { comment = 1; first = 1 }
	if (comment || line ~ /^[ \t]*\/\//)
		if (width(line) > 80) report("comment of " width(line) " columns")
	if (doc) {
		text = line
		sub(/^[ \t]*\* ?/, "", text)
		if (text !~ /^(DOC: |@|[A-Za-z_0-9]+\(\) - [A-Z]|(struct|union|enum|typedef|define) [A-Za-z_0-9]+ - )/)
			report("kernel-doc summary")
		doc = 0
	}
	if (first && line ~ /^[ \t]*\/\*\*[ \t]*$/) doc = 1
	if (comment && line ~ /\*\//) comment = 0
}

hash && line ~ /^[ \t]*#/ && width(line) > 80 { report("comment of " width(line) " columns") }

END {
	for (i = 1; i <= nr; i++)
		if (all && !used[i]) print exceptions ": stands for nothing any more: " file[i] ": " part[i]
}' "$@")
[ -z "$findings" ] || {
	echo "$findings"
	die "$(echo "$findings" | wc -l) lines are not in our language; reword them, or give a reason in $exceptions"
}
