# SPDX-License-Identifier: GPL-2.0
# Some bars for each row of data. Also given: data; bars, how many; style, a file;
# linear, for a scale from 0.
load style
set style data histogram
set style histogram clustered gap 1
set style fill solid 0.85 border -1
set boxwidth 0.9
set xtics rotate by -28 scale 0 font ",12"
set key top left horizontal
set offsets 0, 0, graph 0.12, 0
if (exists("linear")) { unset logscale y; set yrange [0:*] }
plot for [i = 2 : bars + 1] data using (column(i) / scale):xtic(1) title columnheader(i) \
	lt i - 1 lw 1
