# SPDX-License-Identifier: GPL-2.0
# memfd_tripwire: build it, run it, test it. 'make help' lists the targets.

BASE ?= 7.3
export BASE KERNEL SERIES J F INTO CPUS FILE

help:
	@echo 'make demo [FILE=path]    stream a file through tripwire memory between two processes'
	@echo 'make test                run every selftest on 1, 2 and 4 virtual CPUs'
	@echo 'make quick T=name        one selftest program (abi_test, event_test, ...) on 2 CPUs'
	@echo 'make kernel              the bootable image, build/$(BASE)/bzImage'
	@echo 'make tree                the patched source, build/$(BASE)/linux'
	@echo 'make edits [F=.. INTO=..] write what was edited there back to the overlay'
	@echo 'make series              mail-ready patches, build/series/$(BASE)/SERIES'
	@echo 'make check [C=names]     prose, coverage, shellcheck, checkpatch, sparse, W=1, ...'
	@echo 'make bisect              build after every patch, option on and off'
	@echo 'make debug [T=names]     the selftests under KASAN, lockdep, kmemleak and the like'
	@echo 'make soak [R=rounds]     the random test against its model, from a new seed'
	@echo 'make mutants [M=names]   take each safeguard out; its test must fail'
	@echo 'make bench               measure it beside its alternatives; plots and a report'
	@echo 'make bench-check         count instructions; fail when a path has grown by over 3%'
	@echo 'make bench-profile       list the functions of those instructions'
	@echo 'make bench-pristine      compare other memfds with an unpatched kernel'
	@echo 'make shell               an interactive guest'
	@echo 'make clean               remove build/; the cache of downloads stays'
	@echo
	@echo 'CPUS=n                   virtual CPUs of the demo; 2 by default'
	@echo 'BASE=7.3                 the kernel series to build on'
	@echo 'SERIES=tripwire          only the first series; both by default (tripwire, view on top)'
	@echo 'KERNEL=/path             an unpacked 7.3 tree to use instead; it is not changed'
	@echo 'J=n                      jobs at a time; the number of CPUs by default'
	@echo 'XDG_CACHE_HOME=/path     where downloads and compiled objects are kept'

tree:
	@scripts/setup.sh build
	@scripts/tree.sh patched

kernel: tree
	@scripts/build.sh kernel demo

demo: kernel
	@scripts/setup.sh boot
	@scripts/build.sh selftests demo
	@scripts/demo.sh "$$FILE"

test-kernel: tree
	@scripts/setup.sh boot
	@scripts/build.sh kernel test
	@scripts/build.sh selftests test

test: test-kernel
	@scripts/selftests.sh faults
	@scripts/selftests.sh test 1 2 4

quick: test-kernel
	@scripts/selftests.sh test 2 -- $(T)

debug: test-kernel
	@scripts/build.sh kernel debug
	@FLAVOUR=debug scripts/selftests.sh test 2 $(if $(T),-- $(T))

soak: test-kernel
	@scripts/selftests.sh soak $(or $(R),20)

mutants: test-kernel
	@scripts/mutants.sh $(M)

bench-kernel: kernel
	@scripts/setup.sh boot bench
	@scripts/build.sh bench demo

bench: bench-kernel
	@scripts/bench.sh run

bench-check: bench-kernel
	@scripts/bench.sh check

bench-profile: bench-kernel
	@scripts/bench.sh profile

bench-pristine: bench-kernel
	@scripts/bench.sh pristine

shell: test-kernel
	@scripts/shell.sh

edits:
	@scripts/tree.sh edits

series: tree
	@scripts/series.sh

check: tree
	@scripts/setup.sh check
	@scripts/check.sh $(C)

bisect: tree
	@scripts/bisect.sh

clean:
	rm -rf build

.NOTPARALLEL:
.PHONY: help tree kernel demo test-kernel test quick debug soak mutants bench-kernel bench bench-check bench-profile \
	bench-pristine shell edits series check bisect clean
