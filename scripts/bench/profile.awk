# SPDX-License-Identifier: GPL-2.0
# Count instructions by function, from QEMU's log. The benchmark's group
# 'profile' marks the paths in it by system calls that it makes for nothing
# else. Variable: turns, the number of rounds over all paths. Reads a sorted
# System.map of functions only, the guest's list of paths, and the log.
BEGIN { FS = "[ \t]+" }

FILENAME ~ /System\.map$/ {
	if (address[nr] == $1) next
	address[++nr] = $1
	name[nr] = start[$1] = $3
	next
}

$1 == "bench" {
	path[++paths] = $3
	next
}

# All addresses have 16 digits, so that they compare as strings.
function function_at(pc,	low, high, middle) {
	low = 1
	high = nr
	while (low < high) {
		middle = int((low + high + 1) / 2)
		if (address[middle] <= pc) low = middle
		else high = middle - 1
	}
	return name[low]
}

# A further system call has begun: what came before it belongs to the path.
function keep(	f) {
	for (f in recent) {
		round[f] += recent[f]
		delete recent[f]
	}
}

# Drop a round with an interrupt, and the instructions of the marking call.
function end_of_round(	f) {
	rounds[at] += !interrupted
	for (f in round) {
		if (!interrupted) {
			if (!((at, f) in sum)) functions[at, ++seen[at]] = f
			sum[at, f] += round[f]
		}
		delete round[f]
	}
	for (f in recent) delete recent[f]
	interrupted = 0
}

/^Trace/ {
	split($4, part, "/")
	pc = part[2]
	if (pc !~ /^ffffffff/) f = "user"
	else if (pc in known) f = known[pc]
	else f = known[pc] = function_at(pc)
	if (state == "marked" && f == "user") state = "counting"
	begins = pc in start ? start[pc] : ""
	if (begins == "entry_SYSCALL_64") keep()
	if (state == "counting") recent[f]++
	if (begins == "") next

	if (begins ~ /^asm_(sysvec|common_interrupt)/) {
		interrupted = 1
	} else if (begins == "__x64_sys_geteuid" && at) {
		if (state == "counting") end_of_round()
		state = state == "" ? "marked" : ""
	} else if (begins == "__x64_sys_getgid" && at) {
		at++
	} else if (begins == "__x64_sys_getuid") {
		if (turn++ == turns) exit
		at = 1
	}
}

END {
	for (at = 1; at <= paths; at++) {
		if (!seen[at]) exit 1
		for (i = 1; i <= seen[at]; i++) {
			f = functions[at, i]
			printf "bench\tprofile\t%s\t%s\tself\t%.0f\tinstructions\n", path[at], f,
				sum[at, f] / rounds[at]
		}
	}
	exit !paths
}
