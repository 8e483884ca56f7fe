# SPDX-License-Identifier: GPL-2.0
# Turn the benchmark's lines into columns for gnuplot.
#   kind=lines group= metric= x=KEY [want=KEY=VALUE]
#	a block of x and y for each mechanism, with its name as a comment
#   kind=bars group= columns='P:METRIC:TITLE ...' [only=PARAMETER]
#	a row for each mechanism; P is the parameter, or * for any but 'alone'
#   kind=cpus group= metric=
#	as lines; x is the number of CPUs, from the file's name
BEGIN { FS = "\t" }

function size(text) {
	sub(/^sparse-/, "", text)
	if (text ~ /TiB$/) return text * 1048576
	return text + 0
}

# The value of KEY in 'pages=64,resident=256MiB', or of rate in 10000/s; or "".
function part(parameter, key,	n, i, item, pair) {
	if (key == "rate" && parameter ~ /\/s$/) return parameter + 0
	n = split(parameter, item, ",")
	for (i = 1; i <= n; i++) {
		split(item[i], pair, "=")
		if (pair[1] == key) return size(pair[2])
	}
	return ""
}

function wanted(parameter,	pair) {
	if (want == "") return 1
	split(want, pair, "=")
	return part(parameter, pair[1]) == size(pair[2])
}

$1 != "bench" || $2 != group || $5 == "skip" { next }
only != "" && $4 != only { next }

{
	if (!($3 in known)) { known[$3] = 1; name[++names] = $3 }
}

kind == "lines" && $5 == metric && wanted($4) {
	at = part($4, x)
	if (at != "") block[$3] = block[$3] at " " $6 "\n"
}

kind == "cpus" && $5 == metric && $4 != "awake" {
	at = FILENAME
	sub(/.*\//, "", at)
	block[$3] = block[$3] (at + 0) " " $6 "\n"
}

kind == "bars" { value[$3, $4, $5] = $6; if ($4 != "alone") value[$3, "*", $5] = $6 }

END {
	if (kind != "bars") {
		for (i = 1; i <= names; i++)
			if (block[name[i]] != "")
				printf "# %s\n%s\n\n", name[i], block[name[i]]
		exit
	}
	# Columns without any value are left out.
	n = split(columns, column, " ")
	printf "mechanism"
	for (c = 1; c <= n; c++) {
		split(column[c], spec, ":")
		for (i = 1; i <= names; i++)
			if ((name[i], spec[1], spec[2]) in value) has[c] = 1
		if (c in has) printf " %s", spec[3]
	}
	print ""
	for (i = 1; i <= names; i++) {
		row = ""
		some = 0
		for (c = 1; c <= n; c++) {
			split(column[c], spec, ":")
			if (!(c in has)) continue
			known_here = (name[i], spec[1], spec[2]) in value
			row = row " " (known_here ? value[name[i], spec[1], spec[2]] : "NaN")
			some += known_here
		}
		if (some) print name[i] row
	}
}
