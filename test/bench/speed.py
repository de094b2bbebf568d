#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast portreeve answers, and whether that depends on how much it holds.

Runs the real daemon in the laboratory of test/e2e, with its default nftables backend and
store, and prints one line a figure. Not a test: machines differ, ratios less so.

    sudo python3 test/bench/speed.py [--build DIR] [--leases N]
"""

import argparse
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))

from daemon import Daemon  # noqa: E402 (found by the path above)
from lab import Lab  # noqa: E402

LIMITS = """
[limits]
leases-per-client = 0
leases-total = 0
requests-per-second = 0
"""
FIRST_CLIENT = 10
CLIENTS = 20
PORTS_EACH = 3000


def clients_of(lab):
    """Addresses for many clients on lan1: 192.168.77.10 and on."""
    for number in range(CLIENTS):
        lab.lan1.ip("addr", "add", f"192.168.77.{FIRST_CLIENT + number}/24", "dev", "eth0")


def load(lab, build, **options):
    arguments = [os.path.join(build, "test/bench/load_natpmp"), "--json",
                 "--gateway", "192.168.77.1", "--client", f"192.168.77.{FIRST_CLIENT}",
                 "--clients", str(CLIENTS), "--lifetime", "86400"]
    for name, value in options.items():
        arguments += ["--" + name.replace("_", "-"), str(value)]
    return json.loads(lab.lan1.run(arguments).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(HERE, "../../build/release"))
    parser.add_argument("--leases", type=int, default=10000)
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    with Lab() as lab:
        clients_of(lab)
        daemon = Daemon(lab, build, LIMITS).start()
        empty = load(lab, build, requests=1000, window=1, first_port=20000)
        print(f"add, window 1, no leases       p50 {empty['p50_us']:7.0f} us  "
              f"p99 {empty['p99_us']:7.0f} us")
        fill = load(lab, build, requests=options.leases, window=64, first_port=2000)
        print(f"add, window 64                 {fill['per_second']:7.0f} /s   "
              f"p99 {fill['p99_us']:7.0f} us  refused {fill['refused']} lost {fill['lost']}")
        full = load(lab, build, requests=1000, window=1, first_port=30000)
        print(f"add, window 1, {options.leases} leases    p50 {full['p50_us']:7.0f} us  "
              f"p99 {full['p99_us']:7.0f} us  ratio {full['p50_us'] / empty['p50_us']:.2f}")
        renew = load(lab, build, requests=options.leases, window=64, first_port=2000,
                     mode="renew")
        print(f"renew, window 64               {renew['per_second']:7.0f} /s")
        count = len(daemon.leases())
        daemon.kill()
        began = time.monotonic()
        daemon.start()
        print(f"restore of {count} leases     {time.monotonic() - began:7.3f} s from exec to ready")
        assert len(daemon.leases()) == count, "leases were lost"
        daemon.close()


if __name__ == "__main__":
    main()
