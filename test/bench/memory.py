#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How much memory portreeved takes, and whether it sleeps when nobody asks (root).

    test/bench/memory.py [--build DIR] [--leases N] [--idle SECONDS] [--maps N]

Starts it in the laboratory and prints the proportional set size of each process, without
leases and with N of them; then what woke which process in an idle window. With --maps,
the N mappings of each process that take most are shown too: private, of its own; what a
library has there is relocations. Measure a release build: the default is build/release.
"""

import argparse
import collections
import os
import re
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "test/e2e"))

from daemon import Daemon  # noqa: E402 (found by the path above)
from lab import Lab, LabError, end_by_signal, wait_for  # noqa: E402

CONFIG = """
[limits]
leases-per-client = 0
requests-per-second = 0
"""
MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+\s*(.*)")


def read_fields(path):
    """Lines `Name: number ...` of a file in /proc, summed up by name."""
    fields = collections.Counter()
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            name, _, rest = line.partition(":")
            words = rest.split()
            if words and words[0].isdigit():
                fields[name] += int(words[0])
    return fields


def read_mappings(pid):
    """What is mapped -> its fields, in KiB."""
    mappings = collections.defaultdict(collections.Counter)
    name = None
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as file:
        for line in file:
            found = MAPPING.match(line)
            if found:
                name = os.path.basename(found.group(1)) or "(anonymous)"
                continue
            field, _, rest = line.partition(":")
            words = rest.split()
            if words and words[0].isdigit():
                mappings[name][field] += int(words[0])
    return mappings


def find_processes(daemon):
    return {"launcher": daemon.pid, **dict(sorted(daemon.roles().items()))}


def measure(daemon):
    """Proportional set size of each process in KiB."""
    return {name: read_fields(f"/proc/{pid}/smaps_rollup")["Pss"]
            for name, pid in find_processes(daemon).items()}


def add_leases(lab, build, daemon, count):
    """All of one client: its first port is 10000."""
    done = lab.lan1.run([os.path.join(build, "test/bench/load_natpmp"), "--gateway",
                         "192.168.77.1", "--requests", str(count)])
    if done.returncode != 0:
        raise LabError(f"load_natpmp: {done.stdout.strip()}")
    wait_for(lambda: len(daemon.leases()) == count, f"{count} leases")


def count_wakeups(daemon, seconds):
    """Voluntary context switches of each process in that time."""
    def read():
        return {name: read_fields(f"/proc/{pid}/status")["voluntary_ctxt_switches"]
                for name, pid in find_processes(daemon).items()}
    before = read()
    try:
        daemon.process.popen.wait(seconds)
    except subprocess.TimeoutExpired:
        after = read()
        return {name: after[name] - before[name] for name in before}
    raise LabError(f"portreeved ended:\n{daemon.log()}")


def show(columns):
    """A table: title of a column -> name of a process -> number."""
    rows = [*next(iter(columns.values())), "sum"]
    print(" " * 10 + "".join(f"{title:>22}" for title in columns))
    for row in rows:
        cells = [sum(column.values()) if row == "sum" else column[row]
                 for column in columns.values()]
        print(f"{row:<10}" + "".join(f"{cell:>22}" for cell in cells))


def show_mappings(daemon, count):
    for name, pid in find_processes(daemon).items():
        print(f"\n{name}: KiB proportional, private")
        mappings = sorted(read_mappings(pid).items(), key=lambda x: -x[1]["Pss"])
        for mapping, fields in mappings[:count]:
            private = fields["Private_Dirty"] + fields["Private_Clean"]
            print(f"{fields['Pss']:>8} {private:>8}  {mapping}")


def main():
    parser = argparse.ArgumentParser(description="Measure memory and wake-ups.")
    parser.add_argument("--build", default=os.path.join(ROOT, "build/release"))
    parser.add_argument("--leases", type=int, default=1000)
    parser.add_argument("--idle", type=float, default=10, help="seconds; 0 = not at all")
    parser.add_argument("--maps", type=int, default=0, help="mappings shown")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, end_by_signal)
    with Lab() as lab:
        daemon = Daemon(lab, options.build, CONFIG).start()
        columns = {"KiB at 0 leases": measure(daemon)}
        add_leases(lab, options.build, daemon, options.leases)
        columns[f"KiB at {options.leases} leases"] = measure(daemon)
        if options.idle > 0:
            columns[f"wake-ups in {options.idle:g} s"] = count_wakeups(daemon,
                                                                      options.idle)
        show(columns)
        if options.maps > 0:
            show_mappings(daemon, options.maps)
        daemon.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as problem:
        sys.exit(f"memory: {problem}")
