#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure portreeve and the incumbent side by side, in one run on one machine (root).

    test/bench/bench.py [--full] [--build DIR] [--rounds N] [--only TEXT]...
                        [--large-rounds N] [--minutes M] [--candidates NAME,...]
                        [--output FILE]

Each round measures every candidate once, in turn: A B C D, A B C D, ... Each time it has
a laboratory of its own; see candidates.py for what they get, and measures.py for what is
measured. Prints a table of medians, spread and ratios, and writes results.json, see
results.py. Not a test: exits 0 unless something could not be measured at all, which is 1;
2 is for what it cannot do. A ratio is taken between medians of this run only.

It ends when its minutes are over. Ours and the kernel come first in each round; then the
incumbents; and after all rounds what takes them longest. What had no time is told.
"""

import argparse
import contextlib
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
# How long a run may take, and what of it is kept for such sessions of each incumbent.
MINUTES = {"short": 4.8, "full": 26}
LARGE_KEPT_S = 180
OVER = "no time: the run was over"


class TimeOver(Exception):
    """The run has had its minutes."""


class Clock:
    """How much of the time of a run is left; within `with`, TimeOver when none is."""

    def __init__(self, minutes):
        self.began_s = time.monotonic()
        self.end_s = self.began_s + 60 * minutes

    def left_s(self):
        return self.end_s - time.monotonic()

    def spent_s(self):
        return time.monotonic() - self.began_s

    def __enter__(self):
        if self.left_s() <= 0:
            raise TimeOver
        signal.signal(signal.SIGALRM, self.ring)
        signal.setitimer(signal.ITIMER_REAL, self.left_s())
        return self

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)

    @staticmethod
    def ring(*_):
        raise TimeOver


class Run:
    """What one run of the benchmark has found so far."""

    def __init__(self, form, setting, clock):
        self.form, self.setting, self.clock = form, setting, clock
        self.rows = []  # (candidate, name of the measure, Sample)
        self.missing = {}  # (name of the measure, candidate, leases) -> why
        self.failed = False

    def miss(self, candidate, rows, leases, why):
        for row in rows:
            self.missing.setdefault((row.name, candidate, leases), why)

    def find_plan(self, name, group, number, large):
        """Measures by leases; those that take an incumbent long are apart."""
        plan = measures.find(self.form, group, name, number)
        if name not in INCUMBENTS or group == "plane":
            return {} if large else plan
        most = LEASES_MAX[self.form][name]
        return {leases: rows for leases, rows in plan.items()
                if (LARGE <= leases <= most) == large}

    def session(self, name, group, number, large=False):
        """One candidate in a laboratory, with all measures of the group."""
        plan = self.find_plan(name, group, number, large)
        if not plan:
            return
        if self.clock.left_s() <= 0:
            self.skip(name, plan)
            return
        began = time.monotonic()
        print(f"round {number + 1}, {name}, {group}: ", end="", flush=True)
        try:
            with open_candidate(name, self.setting) as candidate, self.clock:
                candidate.start()
                if group == "requests":
                    candidate.prove()
                self.measure_sizes(candidate, group, plan)
        except TimeOver:
            print("no time is left, ", end="")
            self.skip(name, plan)
        except (LabError, OSError, RuntimeError, NotReached) as error:
            for leases, rows in plan.items():
                self.fail(name, rows, leases, f"failed: {error}")
        print(f"{time.monotonic() - began:.1f} s", flush=True)

    def skip(self, name, plan):
        """There was no time for what has no figure of any round."""
        known = {(by, who, sample.leases) for who, by, sample in self.rows}
        for leases, rows in plan.items():
            self.miss(name, [row for row in rows if (row.name, name, leases) not in known],
                      leases, OVER)

    def fail(self, name, rows, leases, why):
        if not rows:
            return
        self.failed = True
        print(f"\n  {name}, {leases} leases: {why}", flush=True)
        self.miss(name, rows, leases, why.splitlines()[0])

    def measure_sizes(self, candidate, group, plan):
        """Takes out of plan what is done."""
        known = not (group == "plane" and candidate.incumbent)
        most = LEASES_MAX[self.form].get(candidate.name) if known else None
        beyond = None
        for leases, rows in list(plan.items()):
            began = time.monotonic()
            if most is not None and leases > most:
                beyond = f"not asked: more than {most:,} leases take it too long"
            if not beyond:
                try:
                    (candidate.forward if group == "plane" else candidate.fill)(leases)
                except NotReached as error:
                    beyond = f"not reached: {error}"
            if beyond:
                self.miss(candidate.name, plan.pop(leases), leases, beyond)
                continue
            while rows:
                self.measure(candidate, rows[0], leases)
                del rows[0]
            print(f"{leases} ({time.monotonic() - began:.1f} s) ", end="", flush=True)

    def measure(self, candidate, row, leases):
        if candidate.incumbent and leases > row.most.get(self.form, leases):
            self.miss(candidate.name, [row], leases, "not asked: it takes too long")
            return
        try:
            samples = row.function(candidate, leases)
            if not candidate.has_ended():
                self.rows += [(candidate.name, row.name, sample) for sample in samples]
        except NotReached as error:
            self.miss(candidate.name, [row], leases, f"not reached: {error}")
        except (LabError, OSError, AssertionError, LookupError, ValueError) as error:
            if not candidate.has_ended():
                self.fail(candidate.name, [row], leases, f"failed: {error!r}")
        if candidate.has_ended():
            self.revive(candidate, row, leases)

    def revive(self, candidate, row, leases):
        """What was measured of a daemon that ended meanwhile does not count."""
        why = f"ended: {candidate.name} was no longer there after it"
        if candidate.incumbent:  # a finding, and no failure of ours
            print(f"\n  {row.name}, {leases} leases: {why}", flush=True)
            self.miss(candidate.name, [row], leases, why)
        else:
            self.fail(candidate.name, [row], leases, f"{why}: {candidate.log()[-500:]}")
        candidate.revive(leases if row.group != "plane" else None)


def load_measures(only):
    """Fill the table from the files beside this one."""
    for path in sorted(glob.glob(os.path.join(HERE, "measures_*.py"))):
        importlib.import_module(os.path.basename(path).removesuffix(".py"))
    if only:
        measures.MEASURES[:] = [row for row in measures.MEASURES
                                if any(text in row.name for text in only)]


def sort_names(names):
    """Ours and the kernel first: what a run is about, should its time be over."""
    return sorted(names, key=lambda name: name in INCUMBENTS)


def run_round(run, names, number, large=False):
    for name in sort_names(names):
        for group in measures.GROUPS:
            run.session(name, group, number, large)


def run_all(run, names, options, save):
    """
    All rounds that there is time for, and then those of what takes an incumbent long, for
    which some is kept. save: called with the number of rounds that are done, or None.
    """
    large = any(run.find_plan(name, group, 0, True)
                for name in names for group in measures.GROUPS) and options.large_rounds
    kept_s = LARGE_KEPT_S * sum(name in INCUMBENTS for name in names) if large else 0
    run.clock.end_s -= kept_s
    for number in range(options.rounds):
        if number and run.clock.left_s() <= 0:
            print(f"no time for round {number + 1}")
            break
        run_round(run, names, number)
        save(number + 1)
    run.clock.end_s += kept_s
    for number in range(options.large_rounds if large else 0):
        run_round(run, names, number, large=True)
        save(None)


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
    parser.add_argument("--output", help="results.json beside this program for the long "
                        "form, build/bench/results-short.json for the short one")
    parser.add_argument("--full", action="store_true", help="the long form")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--large-rounds", type=int, default=LARGE_ROUNDS, metavar="N",
                        help=f"those in which the incumbent has {LARGE} leases or more")
    parser.add_argument("--minutes", type=float, metavar="M",
                        help=f"after which it ends; default {MINUTES}")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT",
                        help="measures whose name contains it")
    parser.add_argument("--candidates", default=",".join(CANDIDATES))
    options = parser.parse_args()
    options.form = "full" if options.full else "short"
    options.names = options.candidates.split(",")
    options.output = options.output or os.path.join(
        *((HERE, "results.json") if options.full else
          (ROOT, "build/bench/results-short.json")))
    options.minutes = MINUTES[options.form] if options.minutes is None else options.minutes
    return options


def find_fault(options):
    """Why it cannot run, in a line, or None. After load_measures()."""
    unknown = [name for name in options.names if name not in CANDIDATES]
    directory = os.path.dirname(os.path.abspath(options.output))
    if unknown:
        return f"no such candidate: {', '.join(unknown)}; there are {', '.join(CANDIDATES)}"
    if not measures.MEASURES:
        return f"no measure has a name with {' or '.join(options.only)}"
    if options.rounds < 1 or options.large_rounds < 0 or options.minutes <= 0:
        return "rounds and minutes are 1 or more"
    if os.geteuid() != 0:
        return "it needs root, for network namespaces"
    if not os.path.exists(os.path.join(options.build, "daemon/portreeved")):
        return f"there is no portreeved in {options.build}: run make bench-programs"
    if os.path.isdir(options.output) or not os.access(directory, os.W_OK):
        return f"{options.output} cannot be written"
    return None


def measure_all(options):
    """The exit status."""
    clock = Clock(options.minutes)
    head = {
        "form": options.form, "command": shlex.join(sys.argv),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"), "machine": machine.describe()}
    versions, names = find_incumbent(options.incumbent, options.names)
    head["versions"] = {**machine.find_versions(options.build),
                        **{f"miniupnpd-{build}": x for build, x in versions.items()}}
    run = Run(options.form, Setting(options.build, options.incumbent,
                                    STEP_S[options.form], REACH_S[options.form]), clock)
    found = {"rounds": 0}

    def save(rounds):
        """What an interrupted run has found, too."""
        found.update({**head, "rounds": rounds or found["rounds"],
                      "seconds": round(clock.spent_s()),
                      **results.finish(run.rows, run.missing)})
        results.write(options.output, found)

    run_all(run, names, options, save)
    print("\n".join(results.show_table(found)))
    print(f"{found['rounds']} rounds, {found['seconds']} s in all; {options.output} is "
          "written")
    return 1 if run.failed else 0


def main():
    options = parse_arguments()
    load_measures(options.only)
    with contextlib.suppress(OSError):  # find_fault() says that it is not there
        os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
    fault = find_fault(options)
    if fault:
        print(f"bench.py: {fault}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, end_by_signal)
    try:
        return measure_all(options)
    except KeyboardInterrupt:
        print("\nbench.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
