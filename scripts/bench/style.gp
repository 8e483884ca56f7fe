# SPDX-License-Identifier: GPL-2.0
# Common to all plots. Variables: svg, heading, unit, caption (two lines).
set terminal svg noenhanced size 960,580 background "white" \
	font "DejaVu Sans,Helvetica,Arial,sans-serif,14"
set output svg
set title heading font ",17"
set label 1 caption at screen 0.01,0.055 font ",11" textcolor rgb "#444444"
set bmargin 7.5
set tmargin 3
set lmargin 11
set rmargin 9
# Nanoseconds are drawn as microseconds.
scale = unit[1:2] eq "ns" ? 1000.0 : 1.0
set ylabel (unit[1:2] eq "ns" ? "microseconds".unit[3:*] : unit)
set logscale y
set format y (unit[1:5] eq "instr" ? "%.0s%c" : "%g")
set grid ytics lc rgb "#cccccc" lw 1
set border 3
set tics nomirror
# Ours are the first two, with heavier lines.
set linetype 1 lc rgb "#c1121f" lw 4 pt 7 ps 0.9
set linetype 2 lc rgb "#003f88" lw 4 pt 5 ps 0.9
set linetype 3 lc rgb "#2a9d3a" lw 2 pt 9 ps 0.9
set linetype 4 lc rgb "#8a5a00" lw 2 pt 11 ps 0.9
set linetype 5 lc rgb "#7b2cbf" lw 2 pt 13 ps 0.9
set linetype 6 lc rgb "#e07a00" lw 2 pt 4 ps 0.9
set linetype 7 lc rgb "#00838f" lw 2 pt 6 ps 0.9
set linetype 8 lc rgb "#ad1478" lw 2 pt 8 ps 0.9
set linetype 9 lc rgb "#555555" lw 2 pt 10 ps 0.9
set linetype 10 lc rgb "#6d8700" lw 2 pt 12 ps 0.9
set linetype 11 lc rgb "#b08968" lw 2 pt 3 ps 0.9
