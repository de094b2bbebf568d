# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the time of a request goes, and that of a packet: what perf sees under load.

Each sample is put down to the first line of a table of which any function on the stack
matches; those of user space, to the library that the instruction is of. The figures are
the processor's time of one request, or packet, and add up to what it costs.
"""

import collections
import contextlib
import os
import re
import shutil
import signal
import subprocess

from candidates import FILL_PORT, NotReached
from lab import LabError, wait_for
from measures import Sample, measure
from measures_data import Traffic

ONCE = {"full": 1}
HERTZ = 2999
SECONDS = 4
FREE_PORT = 52100
REQUESTS = 10000
# What takes less of a request is summed up.
SMALL_US = 0.5
WHERE = (
    ("kernel: nftables transactions", r"nfnetlink_rcv_batch|nf_tables_"),
    ("kernel: searches of connection tracking", r"ctnetlink_"),
    ("kernel: who else has a port", r"inet_diag|sock_diag"),
    ("kernel: packets from and to the LAN", r"udp|inet_recvmsg|inet_sendmsg|tcp|ip_\w+"),
    ("kernel: messages between processes", r"unix_"),
    ("kernel: the store's file", r"ext4|xfs|btrfs|vfs_write|vfs_iter_write|fsync|sync_file"),
    ("kernel: waiting and waking", r"epoll|ep_|schedule|futex|timerfd|eventfd|ppoll"),
    ("kernel: memory", r"page_fault|mmap|munmap|madvise"),
    ("kernel: other", r"^\[k\]"),
)
# Of a packet, all the way from the sender's socket to the receiver's interface.
WHERE_PACKETS = (
    ("rules and sets of nftables", r"nft_|nf_tables"),
    ("connection tracking and translation", r"nf_conntrack|nf_nat|nf_ct|nf_confirm|__nf_ct"),
    ("routing, forwarding, IP", r"ip_rcv|ip_forward|fib_|ip_route"),
    ("bridges and links", r"br_|veth_|netif_receive|dev_hard_start"),
    ("the sender, and all else", r""),
)
LIBRARY = re.compile(r"([^/]+?)(?:-[\d.]+)?\.so")


def compile_table(table):
    return [(name, re.compile(pattern)) for name, pattern in table]


def find_place(places, frames):
    """frames: (function, file), from the innermost on."""
    functions = [("[k]" if "kernel" in file or file.startswith("[") else "") + function
                 for function, file in frames]
    if functions[0].startswith("[k]"):
        for name, pattern in places:
            if any(pattern.search(function) for function in functions):
                return name
    library = LIBRARY.search(os.path.basename(frames[0][1]))
    return "in " + (library.group(1) if library else os.path.basename(frames[0][1]))


def read_samples(path, table):
    """Counter of (process, place) from what perf has recorded. LabError."""
    text = subprocess.run(["perf", "script", "-i", path, "-F", "comm,ip,sym,dso"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          errors="replace", check=False).stdout
    found, places = collections.Counter(), compile_table(table)
    for block in text.split("\n\n"):
        lines = block.strip("\n").splitlines()
        frames = [(words[1], words[-1].strip("()")) for words in
                  (line.split() for line in lines[1:]) if len(words) > 2]
        if frames:
            found[lines[0].strip().partition(":")[2] or lines[0].strip(),
                  find_place(places, frames)] += 1
    if not found:
        raise LabError("perf has seen nothing")
    return found


def check_perf():
    if not shutil.which("perf"):
        raise NotReached("perf is not installed")


@contextlib.contextmanager
def record(candidate, path):
    """perf looks at all processes of the candidate in this block."""
    pids = ",".join(map(str, candidate.pids()))
    with subprocess.Popen(["perf", "record", "-q", "-F", str(HERTZ), "-g", "-p", pids,
                           "-o", path], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as perf:
        try:
            wait_for(lambda: perf.poll() is not None or (
                os.path.exists(path) and os.path.getsize(path) > 0), "perf to begin")
            yield
        finally:
            perf.send_signal(signal.SIGINT)
            perf.wait()


@measure("profile", full=(10000,), group="requests", rounds=ONCE,
         candidates=("portreeve-nft",))
def measure_profile(candidate, leases):
    """NAT-PMP at window 64."""
    check_perf()
    path = os.path.join(candidate.lab.directory, "perf.data")
    some = {"requests": REQUESTS, "first_port": FREE_PORT, "window": 64}
    with record(candidate, path):
        run = candidate.load("load_natpmp", "--own-ports", seconds=SECONDS, **some)
    candidate.load("load_natpmp", "--own-ports", mode="delete", **some)
    found = read_samples(path, WHERE)
    each_us = run["cpu_us"] / sum(found.values())
    samples, rest = [], 0.0
    for (process, place), count in found.most_common():
        if count * each_us < SMALL_US:
            rest += count * each_us
        else:
            samples.append(Sample(f"an add, {process}: {place}", leases, "us",
                                  count * each_us))
    return [*samples, Sample("an add, all else", leases, "us", rest)]


@measure("profile of packets", full=(10000,), group="plane", rounds=ONCE,
         candidates=("portreeve-nft", "none"))
def measure_packet_profile(candidate, leases):
    """New flows that come in through leases, in turn of all."""
    check_perf()
    path = os.path.join(candidate.lab.directory, "perf-packets.data")
    traffic = Traffic(candidate, FILL_PORT, leases)
    traffic.prefix = ["perf", "record", "-q", "-F", str(HERTZ), "-g", "-o", path, "--"]
    run = traffic.begin("in")
    traffic.forget()
    found = read_samples(path, WHERE_PACKETS)
    each_us = 1e6 * run["cpu_seconds"] / run["sent"] / sum(found.values())
    places = collections.Counter()
    for (_, place), count in found.items():
        places[place] += count
    return [Sample(f"a new flow in: {place}", leases, "us", count * each_us)
            for place, count in places.most_common()]
