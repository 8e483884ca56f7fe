#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Install the Debian packages that a step needs and that are missing:
#   setup.sh build | boot | check | bench ...
. "$(dirname "$0")/lib.sh"

[ "$(uname -m)" = x86_64 ] || die "this is $(uname -m); kernel and guest are made on x86_64"

# command or file that must be there : its package
# shellcheck disable=SC2034 # read by name
{
build='gcc:gcc /usr/include/stdio.h:libc6-dev flex:flex bison:bison bc:bc
	/usr/include/libelf.h:libelf-dev perl:perl python3:python3 xz:xz-utils
	git:git patch:patch rsync:rsync ccache:ccache cpio:cpio'
boot='qemu-system-x86_64:qemu-system-x86 static_busybox:busybox-static'
check='g++:g++ sparse:sparse shellcheck:shellcheck /usr/include/x86_64-linux-gnu/urcu/urcu.h:liburcu-dev'
bench='gnuplot:gnuplot-nox'
}

missing=
needs=
for step; do
	eval "needs=\$$step"
	for need in $needs; do
		case ${need%%:*} in
		/*) [ -e "${need%%:*}" ] ;;
		static_busybox) static_busybox > /dev/null ;;
		*) command -v "${need%%:*}" > /dev/null ;;
		esac || missing="$missing ${need#*:}"
	done
done
[ -n "$missing" ] || exit 0

command -v apt-get > /dev/null ||
	die "please install what Debian calls:$missing"
if [ "$(id -u)" = 0 ]; then
	root=
elif command -v sudo > /dev/null; then
	root=sudo
else
	die "run this as root, or install first: apt-get install$missing"
fi
install() {
	# shellcheck disable=SC2086 # a list of words
	$root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
		--no-install-recommends $missing < /dev/null > "$log" 2>&1
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM HUP
say "installing:$missing"
install || { $root apt-get update > "$log" 2>&1 && install; } || {
	tail -20 "$log" | sed 's,https\?://[^/ ]*,MIRROR,g' >&2
	die "could not install:$missing"
}
