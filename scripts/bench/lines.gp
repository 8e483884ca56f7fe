# SPDX-License-Identifier: GPL-2.0
# A curve for each block of data. Variables: those of style.gp; data, a file;
# across, the title of the x axis; curves, the names of the blocks; style, a
# file.
load style
all = "tripwire-ack tripwire-watch eventfd futex uffd-wp uffd-async soft-dirty mprotect".\
	" busy socket vfio-user"
# A mechanism has the same line type in all plots.
number(name) = int(sum [i = 1 : words(all)] (word(all, i) eq name ? i : 0))
set logscale x
set xlabel across
set xtics () font ",12"
set key outside right top vertical samplen 2 spacing 1.15
set rmargin -1
set offsets graph 0.03, graph 0.05, 0, 0
plot for [i = 1 : words(curves)] data index i - 1 using 1:($2 / scale):xtic(1) \
	with linespoints lt number(word(curves, i)) title word(curves, i)
