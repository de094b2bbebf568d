#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How a host is served while others flood the gateway with requests (root).

    test/bench/fairness.py [--build DIR] [--strict]

Prints how long requests of one host take, calm and under each flood, with the default
configuration and without a limit of requests; a flood comes from one address, or from
eight. The target: 99 % are answered within 50 ms. Exits 0 all the same, but with
--strict 1 when it was missed. Measure a release build: the default is build/release.
"""

import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))

import flood  # noqa: E402 (found by the path above)
from daemon import Daemon  # noqa: E402
from lab import Lab  # noqa: E402

CONFIGURATIONS = {
    "default": "",
    "no limits": "[limits]\nrequests-per-second = 0\nleases-per-client = 0\n",
}


def measure(lab, build, name, kind):
    """True when the target was reached."""
    daemon = Daemon(lab, build, CONFIGURATIONS[name]).start()
    with flood.Honest(lab.lan2, kind) as honest:
        print(f"{name}, {kind}: calm  {flood.FIGURES % honest.measure()}", flush=True)
        running = flood.start(lab, os.path.join(build, "test/bench/flood"), kind)
        honest.measure()  # until the flood is under way
        figures = honest.measure()
        running.kill()
    reached = figures[1] <= 1000 * flood.PROMPT_S
    print(f"{name}, {kind}: flood {flood.FIGURES % figures}"
          f"  {'reached' if reached else 'MISSED'}", flush=True)
    daemon.close()
    return reached


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(HERE, "../../build/release"))
    parser.add_argument("--strict", action="store_true",
                        help="exit 1 when a target was missed")
    options = parser.parse_args()
    with Lab() as lab:
        flood.add_addresses(lab)
        reached = [measure(lab, os.path.abspath(options.build), name, kind)
                   for name in CONFIGURATIONS for kind in flood.FLOODS]
    return 1 if options.strict and not all(reached) else 0


if __name__ == "__main__":
    sys.exit(main())
