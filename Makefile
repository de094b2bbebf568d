# SPDX-License-Identifier: GPL-2.0-or-later
#
# For people. What is built and how stands in meson.build.

# Debian's tools come first: another python or meson in PATH is not asked.
export PATH := /usr/sbin:/usr/bin:/sbin:/bin:$(PATH)
BUILD := build/release
# Where `make install` puts things, for packagers: make install DESTDIR=/tmp/x
DESTDIR :=
PREFIX := /usr/local

.PHONY: all demo test bench bench-full bench-programs lint install clean help

all: ## build the daemon and the admin tool
	@packaging/install-packages build
	@test -f $(BUILD)/build.ninja || \
		meson setup $(BUILD) --prefix=$(PREFIX) --sysconfdir=/etc
	@ninja -C $(BUILD)

demo: ## show it at work, in a laboratory of network namespaces (root)
	@packaging/install-packages build demo
	@$(MAKE) --no-print-directory all
	@/usr/bin/python3 test/demo --build $(BUILD)

test: ## run every test, with sanitizers (root)
	@packaging/install-packages build demo test
	@/usr/bin/python3 test/run

bench: bench-programs ## measure it beside miniupnpd, in five minutes (root)
	@/usr/bin/python3 test/bench/bench.py --build $(BUILD)

bench-full: bench-programs ## the same at all sizes, in half an hour (root)
	@/usr/bin/python3 test/bench/bench.py --build $(BUILD) --full

# What is measured and what measures, without the tests: by gcc, without sanitizers.
bench-programs:
	@packaging/install-packages build demo bench
	@test -f $(BUILD)/build.ninja || CC=gcc meson setup $(BUILD)
	@meson configure $(BUILD) -Dtests=true && ninja -C $(BUILD) --quiet build.ninja
	@ninja -C $(BUILD) $$(ninja -C $(BUILD) -t targets all | \
		awk -F ': ' '/^(daemon|admin|test\/bench)\/[^ ]*: c_LINKER/ { print $$1 }')

lint: ## check the rules of the code
	@packaging/install-packages build demo test
	@/usr/bin/python3 test/lint/lint.py

install: all ## install to PREFIX, with a default configuration and a systemd unit
	@meson configure $(BUILD) --prefix=$(PREFIX) --sysconfdir=/etc && ninja -C $(BUILD)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild
	@conf=$(DESTDIR)/etc/portreeve/portreeve.conf; if test -e $$conf.default; then \
		echo "Kept $$conf, which is not the default; that is in $$conf.default"; fi

clean: ## remove what was built
	rm -rf build

help: ## show this
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
