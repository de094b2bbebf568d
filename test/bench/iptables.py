#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast leases come and go by the iptables backend, which rewrites whole tables.

Runs the real daemon in the laboratory of test/e2e with `[backend] type = iptables`,
fills it with leases, and prints one line a figure, then whether each target was reached.
Twice: each lease has a port of its own, the same inside and outside, as hosts usually
have them; and all hosts have the same ports, so that most get others outside, and none
shares a rule with another. The targets are those of the former.
Not a test: machines differ. Exits 0 all the same, but with --strict 1 when a target was
missed.

    sudo python3 test/bench/iptables.py [--build DIR] [--leases N] [--strict]
"""

import argparse
import json
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))

from daemon import Daemon, children  # noqa: E402 (found by the path above)
from lab import Lab  # noqa: E402

LIMITS = """
[limits]
leases-per-client = 0
leases-total = 0
requests-per-second = 0
"""
FIRST_CLIENT = 10
CLIENTS = 20
RUNS = 3  # of which the median counts

# The targets are those of 5,000 leases.
ADDS_PER_SECOND_MIN = 2000
DELETE_MAX_MS = 40
FIRST_PORT = 2000
MORE_PORT = 20000  # and on: for what is deleted again
WINDOW = 64


def clients_of(lab):
    """Addresses for many clients on lan1: 192.168.77.10 and on."""
    for number in range(CLIENTS):
        lab.lan1.ip("addr", "add", f"192.168.77.{FIRST_CLIENT + number}/24", "dev", "eth0")


def load(lab, build, *flags, **options):
    arguments = [os.path.join(build, "test/bench/load_natpmp"), "--json",
                 "--gateway", "192.168.77.1", "--client", f"192.168.77.{FIRST_CLIENT}",
                 "--clients", str(CLIENTS), "--lifetime", "86400", *flags]
    for name, value in options.items():
        arguments += ["--" + name.replace("_", "-"), str(value)]
    return json.loads(lab.lan1.run(arguments).stdout.splitlines()[-1])


def cpu_ms(daemon):
    """Time on a processor of all processes of the daemon: fair on a busy machine, too."""
    total_ns = 0
    for pid in [daemon.pid, *children(daemon.pid)]:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            total_ns += int(file.read().split()[0])
    return total_ns / 1e6


def timed(lab, build, daemon, *flags, **options):
    """A run of the load, and `cpu_ms` for each of its requests."""
    before = cpu_ms(daemon)
    run = load(lab, build, *flags, **options)
    run["cpu_ms"] = (cpu_ms(daemon) - before) / options["requests"]
    return run


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def measure(lab, build, leases, *flags):
    """Print the figures; what was measured of each target: name, reached, figure."""
    daemon = Daemon(lab, build, LIMITS + "[backend]\ntype = iptables\n").start()
    fill = load(lab, build, *flags, requests=leases, window=WINDOW, first_port=FIRST_PORT)
    print(f"add, window {WINDOW}, to {leases} leases    {fill['per_second']:7.0f} /s   "
          f"p99 {fill['p99_us'] / 1000:5.1f} ms  refused {fill['refused']} lost {fill['lost']}")
    adds, ones, deletes = [], [], []
    for number in range(RUNS):
        # Few, so that it is "at" so many, and not more.
        more = {"first_port": MORE_PORT + 3000 * number, "requests": 10 * WINDOW,
                "window": WINDOW}
        adds.append(timed(lab, build, daemon, *flags, **more))
        load(lab, build, *flags, mode="delete", **more)
        one = {"first_port": more["first_port"] + 2500, "requests": 5 * CLIENTS, "window": 1}
        ones.append(timed(lab, build, daemon, *flags, **one))
        deletes.append(timed(lab, build, daemon, *flags, mode="delete", **one))
    renew = load(lab, build, *flags, requests=leases, window=WINDOW, first_port=FIRST_PORT,
                 mode="renew")
    rate = median(adds, "per_second")
    print(f"add, window {WINDOW}, at {leases} leases    {rate:7.0f} /s   "
          f"CPU {median(adds, 'cpu_ms') * WINDOW:5.1f} ms for {WINDOW}")
    for name, runs in (("add", ones), ("delete", deletes)):
        print(f"{name + ', one at a time':30} p50 {median(runs, 'p50_us') / 1000:7.1f} ms  "
              f"p99 {median(runs, 'p99_us') / 1000:5.1f} ms  "
              f"CPU {median(runs, 'cpu_ms'):5.1f} ms")
    print(f"renew, window {WINDOW}               {renew['per_second']:7.0f} /s")
    daemon.close()
    slowest = median(deletes, "p99_us") / 1000
    return [
        (f"adds at window {WINDOW} >= {ADDS_PER_SECOND_MIN} /s", rate >= ADDS_PER_SECOND_MIN,
         f"{rate:.0f} /s"),
        (f"one delete < {DELETE_MAX_MS} ms", slowest < DELETE_MAX_MS, f"p99 {slowest:.1f} ms"),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default=os.path.join(HERE, "../../build/release"))
    parser.add_argument("--leases", type=int, default=5000)
    parser.add_argument("--strict", action="store_true")
    options = parser.parse_args()
    with Lab() as lab:
        clients_of(lab)
        build = os.path.abspath(options.build)
        print("each lease with a port of its own")
        targets = measure(lab, build, options.leases, "--own-ports")
        print("all hosts with the same ports")
        measure(lab, build, options.leases)
    for name, reached, figure in targets:
        print(f"{'reached' if reached else 'MISSED '}  {name}: {figure}")
    return 1 if options.strict and not all(reached for _, reached, _ in targets) else 0


if __name__ == "__main__":
    sys.exit(main())
