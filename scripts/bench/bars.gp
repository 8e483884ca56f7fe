# SPDX-License-Identifier: GPL-2.0
# Bars for each row of data. Variables: those of style.gp; data, a file; bars,
# the number of columns; style, a file; linear, if the scale starts at 0.
load style
set style data histogram
set style histogram clustered gap 1
set style fill solid 0.85 border -1
set boxwidth 0.9
set xtics rotate by -28 scale 0 font ",12"
set key top left horizontal
set offsets 0, 0, graph 0.15, 0
if (exists("linear")) { unset logscale y; set yrange [0:*] }
# Each bar carries its value.
short(x) = x >= 1e6 ? sprintf("%.1fM", x / 1e6) : x >= 1e4 ? sprintf("%.0fk", x / 1e3) : \
	x >= 100 ? sprintf("%.0f", x) : x >= 10 ? sprintf("%.1f", x) : sprintf("%.2f", x)
center(i) = (i - 2 - (bars - 1) / 2.0) / (bars + 1)
plot for [i = 2 : bars + 1] data using (column(i) / scale):xtic(1) title columnheader(i) \
	lt i - 1 lw 1, \
     for [i = 2 : bars + 1] data using ($0 + center(i)):(column(i) / scale):\
	(short(column(i) / scale)) every ::1 with labels rotate by 90 left offset 0, 0.4 \
	font ",10" notitle
