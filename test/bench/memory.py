#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How much memory portreeved takes, and whether it sleeps when nobody asks (root).

    test/bench/memory.py [--build DIR] [--leases N] [--idle SECONDS] [--maps N]

Starts it in the laboratory and prints the proportional set size of each process: as soon
as it serves, and with N leases, a few by UPnP and the others by NAT-PMP, after they were
listed too. "alone" is the sum if no other program on this machine used a library of ours
(another portreeved makes the other numbers look better than they are). Then how often
each process woke up in an idle window: in the first two minutes there are announcements.
With --maps, the N mappings of each process that take most are shown: proportional, and
its own. Exits 1 when the sum at N leases is above the limit for 1,000. Measure a release
build: the default is build/release.
"""

import argparse
import array
import collections
import os
import re
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "test/e2e"))

import igd  # noqa: E402 (found by the path above)
from daemon import Daemon  # noqa: E402
from lab import Lab, LabError, end_by_signal, wait_for  # noqa: E402

CONFIG = """
[limits]
leases-per-client = 0
requests-per-second = 0
"""
LIMIT_KIB = 10_000_000 // 1024
UPNP_LEASES = 10
MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+\s*(.*)")
# An entry of /proc/PID/pagemap.
PAGE_PRESENT = 1 << 63
PAGE_FRAME = (1 << 55) - 1
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


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
                name = os.path.basename(found.group(3)) or "(anonymous)"
                continue
            field, _, rest = line.partition(":")
            words = rest.split()
            if words and words[0].isdigit():
                mappings[name][field] += int(words[0])
    return mappings


def read_frames(pid):
    """Numbers of the page frames that a process has mapped."""
    frames = set()
    with (open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps,
          open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap):
        for line in maps:
            first, last = (int(x, 16) // PAGE_SIZE
                           for x in MAPPING.match(line).group(1, 2))
            if "[v" in line:  # the kernel's own
                continue
            pagemap.seek(first * 8)
            entries = array.array("Q", pagemap.read((last - first) * 8))
            frames.update(x & PAGE_FRAME for x in entries if x & PAGE_PRESENT)
    return frames


def find_processes(daemon):
    return {"launcher": daemon.pid, **dict(sorted(daemon.roles().items()))}


def measure(daemon):
    """Proportional set size of each process in KiB; their sum; it if we were alone."""
    processes = find_processes(daemon)
    sizes = {name: read_fields(f"/proc/{pid}/smaps_rollup")["Pss"]
             for name, pid in processes.items()}
    frames = set().union(*map(read_frames, processes.values()))
    return {**sizes, "sum": sum(sizes.values()), "alone": len(frames) * PAGE_SIZE // 1024}


def add_leases(lab, build, daemon, count):
    """All of one host: by UPnP from port 5000 on, by NAT-PMP from port 10000 on."""
    gateway = igd.Gateway(lab.lan1)
    for port in range(5000, 5000 + UPNP_LEASES):
        gateway.add(port, port)
    assert len(gateway.entries()) == UPNP_LEASES
    done = lab.lan1.run([os.path.join(build, "test/bench/load_natpmp"), "--gateway",
                         "192.168.77.1", "--requests", str(count - UPNP_LEASES)])
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
    """A table: title of a column -> name of a row -> number."""
    rows = list(next(iter(columns.values())))
    print(" " * 10 + "".join(f"{title:>22}" for title in columns))
    for row in rows:
        print(f"{row:<10}" + "".join(f"{column.get(row, ''):>22}"
                                     for column in columns.values()))


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
        full = columns[f"KiB at {options.leases} leases"] = measure(daemon)
        if options.idle > 0:
            columns[f"wake-ups in {options.idle:g} s"] = count_wakeups(daemon,
                                                                      options.idle)
        show(columns)
        if options.maps > 0:
            show_mappings(daemon, options.maps)
        daemon.close()
    print(f"limit at 1000 leases: {LIMIT_KIB} KiB")
    return 0 if full["sum"] <= LIMIT_KIB else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as problem:
        sys.exit(f"memory: {problem}")
