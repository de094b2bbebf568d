#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast portreeve answers, and whether that depends on how much it holds.

Runs the real daemon in the laboratory of test/e2e, with its default nftables backend and
store, and prints one line a figure, then whether each target was reached. Not a test:
machines differ, ratios less so. Exits 0 all the same, but with --strict 1 when a target
was missed.

    sudo python3 test/bench/speed.py [--build DIR] [--leases N] [--strict]

The second part is PCP: how many MAP a second at a window of 64, from an empty table to
50,000 leases, a daemon of its own. The third is UPnP: AddPortMapping over a connection
each, 32 at once and one after the other, with no leases, 10,000 and 50,000.
"""

import argparse
import json
import os
import statistics
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

# The targets are those of 10,000 leases.
RATIO_MAX = 1.2
ADDS_PER_SECOND_MIN = 20000
# PCP's are those of each step on the way to 50,000 leases; flat is the last against the first.
PCP_STEP = 10000
PCP_STEPS = 5
PCP_FLAT_MIN = 0.8
# UPnP's are those with none, and flat is the last against the first.
SOAP_LEASES = (0, 10000, 50000)
SOAP_FIRST_PORT = 6000
SOAP_FREE_PORT = 57000  # and on: for what is deleted again
SOAP_CONNECTIONS = 32
SOAP_PER_SECOND_MIN = 8000
SOAP_P50_MAX_US = 300
SOAP_FLAT_MIN = 0.8
RESTORE_MAX_S = 0.5
RUNS = 3  # of which the median counts


def clients_of(lab):
    """Addresses for many clients on lan1: 192.168.77.10 and on."""
    for number in range(CLIENTS):
        lab.lan1.ip("addr", "add", f"192.168.77.{FIRST_CLIENT + number}/24", "dev", "eth0")


def load(lab, build, *flags, program="load_natpmp", **options):
    arguments = [os.path.join(build, "test/bench", program), "--json",
                 "--gateway", "192.168.77.1", "--client", f"192.168.77.{FIRST_CLIENT}",
                 "--clients", str(CLIENTS), "--lifetime", "86400", *flags]
    for name, value in options.items():
        arguments += ["--" + name.replace("_", "-"), str(value)]
    return json.loads(lab.lan1.run(arguments).stdout.splitlines()[-1])


def latency(lab, build, first_port):
    """Medians of p50 and of p99 over RUNS runs of 1,000 adds, each deleted again."""
    runs = []
    for number in range(RUNS):
        some = {"requests": 1000, "first_port": first_port + 100 * number}
        runs.append(load(lab, build, window=1, **some))
        load(lab, build, window=64, mode="delete", **some)
    return tuple(statistics.median(run[key] for run in runs) for key in ("p50_us", "p99_us"))


def measure(lab, build, leases):
    """Print the figures; what was measured of each target: name, reached, figure."""
    daemon = Daemon(lab, build, LIMITS).start()
    empty, empty_p99 = latency(lab, build, 20000)
    print(f"add, window 1, no leases       p50 {empty:7.0f} us  p99 {empty_p99:7.0f} us")
    fill = load(lab, build, requests=leases, window=64, first_port=2000)
    print(f"add, window 64                 {fill['per_second']:7.0f} /s   "
          f"p99 {fill['p99_us']:7.0f} us  refused {fill['refused']} lost {fill['lost']}")
    full, full_p99 = latency(lab, build, 30000)
    ratio = full / empty
    print(f"add, window 1, {leases} leases    p50 {full:7.0f} us  p99 {full_p99:7.0f} us  "
          f"ratio {ratio:.2f}")
    renew = load(lab, build, requests=leases, window=64, first_port=2000, mode="renew")
    print(f"renew, window 64               {renew['per_second']:7.0f} /s")
    count = len(daemon.leases())
    daemon.kill()
    began = time.monotonic()
    daemon.start()
    restore_s = time.monotonic() - began
    print(f"restore of {count} leases     {restore_s:7.3f} s from exec to ready")
    assert len(daemon.leases()) == count, "leases were lost"
    daemon.close()
    return [
        (f"p50 with leases / without <= {RATIO_MAX}", ratio <= RATIO_MAX, f"{ratio:.2f}"),
        (f"adds at window 64 >= {ADDS_PER_SECOND_MIN} /s",
         fill["per_second"] >= ADDS_PER_SECOND_MIN, f"{fill['per_second']:.0f} /s"),
        (f"restore < {RESTORE_MAX_S} s", restore_s < RESTORE_MAX_S, f"{restore_s:.3f} s"),
    ]


def measure_pcp(lab, build):
    """The same for PCP, MAP after MAP up to PCP_STEP * PCP_STEPS leases."""
    daemon = Daemon(lab, build, LIMITS).start()
    rates = []
    for step in range(PCP_STEPS):
        some = {"requests": PCP_STEP, "first_port": 2000 + step * PCP_STEP // CLIENTS}
        run = load(lab, build, "--pcp", window=64, **some)
        rates.append(run["per_second"])
        print(f"PCP MAP, window 64, to {(step + 1) * PCP_STEP:5} leases {run['per_second']:7.0f} "
              f"/s   p99 {run['p99_us']:7.0f} us  refused {run['refused']} lost {run['lost']}")
    count = len(daemon.leases())
    assert count == PCP_STEP * PCP_STEPS, f"{count} leases"
    daemon.close()
    flat = rates[-1] / rates[0]
    return [
        (f"PCP MAP at window 64 >= {ADDS_PER_SECOND_MIN} /s",
         min(rates) >= ADDS_PER_SECOND_MIN, f"{min(rates):.0f} /s"),
        (f"PCP MAP at {count} leases / at {PCP_STEP} >= {PCP_FLAT_MIN}",
         flat >= PCP_FLAT_MIN, f"{flat:.2f}"),
    ]


def soap_some(lab, build, requests, first_port, connections):
    """AddPortMapping of some ports, deleted again: the run of the adding."""
    some = {"program": "load_soap", "requests": requests, "first_port": first_port}
    run = load(lab, build, "--tcp", connections=connections, **some)
    load(lab, build, "--tcp", connections=SOAP_CONNECTIONS, mode="delete", **some)
    return run


def measure_soap_at(lab, build, leases):
    """Rate at SOAP_CONNECTIONS and p50 at one: medians over RUNS runs."""
    runs = [soap_some(lab, build, 4000, SOAP_FREE_PORT, SOAP_CONNECTIONS)
            for _ in range(RUNS)]
    rate = statistics.median(run["per_second"] for run in runs)
    wrong = sum(run["refused"] + run["lost"] for run in runs)
    print(f"soap add, {SOAP_CONNECTIONS} connections, {leases:5} leases {rate:7.0f} /s   "
          f"p99 {statistics.median(run['p99_us'] for run in runs):7.0f} us  "
          f"refused or lost {wrong}")
    runs = [soap_some(lab, build, 1000, SOAP_FREE_PORT + 4000, 1) for _ in range(RUNS)]
    p50 = statistics.median(run["p50_us"] for run in runs)
    print(f"soap add p50, 1 connection, {leases:5} leases {p50:5.0f} us     "
          f"p99 {statistics.median(run['p99_us'] for run in runs):7.0f} us")
    return rate, p50


def measure_soap(lab, build):
    """UPnP, to SOAP_LEASES[-1] leases."""
    daemon = Daemon(lab, build, LIMITS).start()
    rates, medians, held = [], [], 0
    for leases in SOAP_LEASES:
        if leases > held:
            load(lab, build, program="load_soap", requests=leases - held,
                 first_port=SOAP_FIRST_PORT + held, connections=SOAP_CONNECTIONS)
        held = leases
        rate, p50 = measure_soap_at(lab, build, leases)
        rates.append(rate)
        medians.append(p50)
    count = len(daemon.leases())
    assert count == held, f"{count} leases"
    daemon.close()
    flat = min(rates[-1] / rates[0], medians[0] / medians[-1])
    return [
        (f"soap add at {SOAP_CONNECTIONS} connections >= {SOAP_PER_SECOND_MIN} /s",
         rates[0] >= SOAP_PER_SECOND_MIN, f"{rates[0]:.0f} /s"),
        (f"soap add p50 at one connection < {SOAP_P50_MAX_US} us",
         medians[0] < SOAP_P50_MAX_US, f"{medians[0]:.0f} us"),
        (f"soap add at {held} leases / at none >= {SOAP_FLAT_MIN}",
         flat >= SOAP_FLAT_MIN, f"{flat:.2f}"),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(HERE, "../../build/release"))
    parser.add_argument("--leases", type=int, default=10000)
    parser.add_argument("--strict", action="store_true",
                        help="exit 1 when a target was missed")
    options = parser.parse_args()
    with Lab() as lab:
        clients_of(lab)
        targets = measure(lab, os.path.abspath(options.build), options.leases)
        targets += measure_pcp(lab, os.path.abspath(options.build))
        targets += measure_soap(lab, os.path.abspath(options.build))
    for name, reached, figure in targets:
        print(f"{'reached' if reached else 'MISSED '}  {name}: {figure}")
    return 1 if options.strict and not all(reached for _, reached, _ in targets) else 0


if __name__ == "__main__":
    sys.exit(main())
