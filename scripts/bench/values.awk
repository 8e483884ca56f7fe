# SPDX-License-Identifier: GPL-2.0
# Read the benchmark's lines of several boots: 2.tsv is that of 2 CPUs by the
# wall clock, icount.tsv that of 1 CPU whose clock counts instructions.
BEGIN { FS = "\t" }

FNR == 1 {
	boot = FILENAME
	sub(/.*\//, "", boot)
	sub(/\.tsv$/, "", boot)
}

$1 != "bench" { next }

$5 == "skip" { skipped[++skips] = boot FS $2 FS $3 FS $4 FS $7; next }

{
	value[boot, $2, $3, $4, $5] = $6
	unit_of[boot, $2, $3, $4, $5] = $7
	if (!((boot, $2, $3) in met)) {
		met[boot, $2, $3] = 1
		mechanism[boot, $2, ++mechanisms[boot, $2]] = $3
	}
	if (!((boot, $2, $4) in had)) {
		had[boot, $2, $4] = 1
		parameter[boot, $2, ++parameters[boot, $2]] = $4
	}
}

# The value, or "". The parameter 'waiting' stands for the consumer's state
# between two doorbells: asleep, scans or spins.
function get(boot, group, mech, param, metric) {
	if (param == "waiting") {
		if ((boot, group, mech, "asleep", metric) in value) param = "asleep"
		else if ((boot, group, mech, "scans", metric) in value) param = "scans"
		else param = "spins"
	}
	if ((boot, group, mech, param, metric) in value)
		return value[boot, group, mech, param, metric]
	return ""
}

function ratio(a, b) {
	return a == "" || b == "" || b + 0 <= 0 ? "" : a / b
}

function less(a, b) { return a == "" || b == "" ? "" : a - b }

function number(n) {
	if (n == "") return "-"
	if (n > 0 && n < 0.01) return "0.01"
	if (n >= 1000) return sprintf("%.0f", n)
	if (n >= 10) return sprintf("%.1f", n)
	return sprintf("%.2f", n)
}

function times(n) { return n == "" ? "-" : number(n) "x" }

# A figure with its unit, as text.
function amount(n, unit) {
	if (n == "") return "-"
	if (unit ~ /^ns/) {
		if (n >= 1000000) return sprintf("%.2f ms", n / 1000000) substr(unit, 3)
		if (n >= 1000) return sprintf("%.2f us", n / 1000) substr(unit, 3)
		return sprintf("%.0f ns", n) substr(unit, 3)
	}
	if (unit ~ /^instructions/) return sprintf("%.0f instr.", n) substr(unit, 13)
	if (unit ~ /^%/) return number(n) " %"
	return number(n) " " unit
}

# The sizes of memory with which re-arming was measured, in ascending order.
function residents(size) {
	return split("1MiB 16MiB 256MiB 1024MiB sparse-1TiB", size, " ")
}
