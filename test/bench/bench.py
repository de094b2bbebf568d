#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure portreeve and the incumbent side by side, in one run on one machine (root).

    test/bench/bench.py [--full] [--build DIR] [--rounds N] [--only TEXT]...
                        [--large-rounds N] [--candidates NAME,...] [--output FILE]

Each round measures every candidate once, in turn: A B C D, A B C D, ... Each time it has
a laboratory of its own; see candidates.py for what they get, and measures.py for what is
measured. Prints a table of medians, spread and ratios, and writes results.json, see
results.py. Not a test: exits 0 unless something could not be measured at all. A ratio is
taken between medians of this run only.
"""

import argparse
import glob
import importlib
import os
import shlex
import signal
import sys
import time

import incumbent
import machine
import measures
import results
from candidates import CANDIDATES, INCUMBENTS, NotReached, Setting, open_candidate
from lab import LabError, end_by_signal  # found by the path of candidates

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ROUNDS = 3
# See Setting.
STEP_S = {"short": 1, "full": 2}
REACH_S = {"short": 60, "full": 240}
# Leases to which some are taken where the daemon must know of them: more takes minutes,
# to restore for the incumbent, to ask for for our iptables backend.
LEASES_MAX = {
    "short": {"portreeve-ipt": 1000, "miniupnpd-nft": 1000, "miniupnpd-ipt": 1000},
    "full": {"portreeve-ipt": 10000, "miniupnpd-nft": 5000, "miniupnpd-ipt": 5000},
}
# From so many leases on an incumbent is measured in that many rounds only: to restore
# them takes two minutes.
LARGE, LARGE_ROUNDS = 5000, 2


class Run:
    """What one run of the benchmark has found so far."""

    def __init__(self, form, setting, large_rounds=LARGE_ROUNDS):
        self.form, self.setting, self.large_rounds = form, setting, large_rounds
        self.rows = []  # (candidate, name of the measure, Sample)
        self.missing = {}  # (name of the measure, candidate, leases) -> why
        self.failed = False

    def miss(self, candidate, rows, leases, why):
        for row in rows:
            self.missing.setdefault((row.name, candidate, leases), why)

    def session(self, name, group, number):
        """One candidate in a laboratory, with all measures of the group."""
        plan = measures.find(self.form, group, name, number)
        if name in INCUMBENTS and group != "plane" and number >= self.large_rounds:
            plan = {leases: rows for leases, rows in plan.items() if leases < LARGE}
        if not plan:
            return
        began = time.monotonic()
        print(f"round {number + 1}, {name}, {group}: ", end="", flush=True)
        try:
            with open_candidate(name, self.setting) as candidate:
                candidate.start()
                if group == "requests":
                    candidate.prove()
                self.measure_sizes(candidate, group, plan)
        except (LabError, OSError, RuntimeError, NotReached) as error:
            for leases, rows in plan.items():
                self.fail(name, rows, leases, f"failed: {error}")
        print(f"{time.monotonic() - began:.1f} s", flush=True)

    def fail(self, name, rows, leases, why):
        self.failed = True
        print(f"\n  {name}, {leases} leases: {why}", flush=True)
        self.miss(name, rows, leases, why.splitlines()[0])

    def measure_sizes(self, candidate, group, plan):
        known = not (group == "plane" and candidate.incumbent)
        most = LEASES_MAX[self.form].get(candidate.name) if known else None
        beyond = None
        for leases, rows in plan.items():
            began = time.monotonic()
            if most is not None and leases > most:
                beyond = f"not asked: more than {most:,} leases take it too long"
            if not beyond:
                try:
                    (candidate.forward if group == "plane" else candidate.fill)(leases)
                except NotReached as error:
                    beyond = f"not reached: {error}"
            if beyond:
                self.miss(candidate.name, rows, leases, beyond)
                continue
            for row in rows:
                self.measure(candidate, row, leases)
            print(f"{leases} ({time.monotonic() - began:.1f} s) ", end="", flush=True)

    def measure(self, candidate, row, leases):
        if candidate.incumbent and leases > row.most.get(self.form, leases):
            self.miss(candidate.name, [row], leases, "not asked: it takes too long")
            return
        try:
            for sample in row.function(candidate, leases):
                self.rows.append((candidate.name, row.name, sample))
        except NotReached as error:
            self.miss(candidate.name, [row], leases, f"not reached: {error}")
        except (LabError, OSError, AssertionError, LookupError, ValueError) as error:
            self.fail(candidate.name, [row], leases, f"failed: {error!r}")


def load_measures(only):
    """Fill the table from the files beside this one."""
    for path in sorted(glob.glob(os.path.join(HERE, "measures_*.py"))):
        importlib.import_module(os.path.basename(path).removesuffix(".py"))
    if only:
        measures.MEASURES[:] = [row for row in measures.MEASURES
                                if any(text in row.name for text in only)]


def run_round(run, names, number):
    for name in names:
        for group in measures.GROUPS:
            run.session(name, group, number)


def find_incumbent(directory, names):
    """Its versions; without it, its names are taken off the list, and it is told."""
    try:
        return incumbent.fetch(directory), names
    except incumbent.FetchError as error:
        print(f"the incumbent is not measured, its packages cannot be had: {error}")
        return {}, [name for name in names if name not in INCUMBENTS]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build/release"))
    parser.add_argument("--incumbent", default=os.path.join(ROOT, "build/bench"))
    parser.add_argument("--output", default=os.path.join(HERE, "results.json"))
    parser.add_argument("--full", action="store_true", help="the long form")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--large-rounds", type=int, default=LARGE_ROUNDS, metavar="N",
                        help=f"those in which the incumbent has {LARGE} leases or more")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT",
                        help="measures whose name contains it")
    parser.add_argument("--candidates", default=",".join(CANDIDATES))
    return parser.parse_args()


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, end_by_signal)
    load_measures(options.only)
    form = "full" if options.full else "short"
    began, head = time.monotonic(), {
        "form": form, "command": shlex.join(sys.argv),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"), "machine": machine.describe()}
    versions, names = find_incumbent(options.incumbent, options.candidates.split(","))
    head["versions"] = {**machine.find_versions(options.build),
                        **{f"miniupnpd-{build}": x for build, x in versions.items()}}
    run = Run(form, Setting(options.build, options.incumbent, STEP_S[form], REACH_S[form]),
              options.large_rounds)
    found = {}
    for number in range(options.rounds):
        run_round(run, names, number)
        found = {**head, "rounds": number + 1,
                 "seconds": round(time.monotonic() - began),
                 **results.finish(run.rows, run.missing)}
        results.write(options.output, found)  # what an interrupted run has found, too
    print("\n".join(results.show_table(found)))
    print(f"{found['seconds']} s in all; {options.output} is written")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
