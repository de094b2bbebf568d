# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the time of a request goes: what perf sees of our processes under load.

Each sample is put down to the first line of WHERE of which any function on the stack
matches; those of user space, to the library that the instruction is of. The figures are
the processor's time of one request, so that they add up to what the request costs.
"""

import collections
import contextlib
import os
import re
import shutil
import signal
import subprocess

from candidates import NotReached
from lab import LabError, wait_for
from measures import Sample, measure

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
PLACES = [(name, re.compile(pattern)) for name, pattern in WHERE]
LIBRARY = re.compile(r"([^/]+?)(?:-[\d.]+)?\.so")


def find_place(frames):
    """frames: (function, file), from the innermost on."""
    functions = [("[k]" if "kernel" in file or file.startswith("[") else "") + function
                 for function, file in frames]
    if functions[0].startswith("[k]"):
        for name, pattern in PLACES:
            if any(pattern.search(function) for function in functions):
                return name
    library = LIBRARY.search(os.path.basename(frames[0][1]))
    return "in " + (library.group(1) if library else os.path.basename(frames[0][1]))


def read_samples(text):
    """Counter of (process, place) from what perf script prints."""
    found = collections.Counter()
    for block in text.split("\n\n"):
        lines = block.strip("\n").splitlines()
        frames = [(words[1], words[-1].strip("()")) for words in
                  (line.split() for line in lines[1:]) if len(words) > 2]
        if frames:
            found[lines[0].strip().partition(":")[2] or lines[0].strip(),
                  find_place(frames)] += 1
    return found


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
    if not shutil.which("perf"):
        raise NotReached("perf is not installed")
    path = os.path.join(candidate.lab.directory, "perf.data")
    some = {"requests": REQUESTS, "first_port": FREE_PORT, "window": 64}
    with record(candidate, path):
        run = candidate.load("load_natpmp", "--own-ports", seconds=SECONDS, **some)
    candidate.load("load_natpmp", "--own-ports", mode="delete", **some)
    done = subprocess.run(["perf", "script", "-i", path, "-F", "comm,ip,sym,dso"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          errors="replace", check=False)
    found = read_samples(done.stdout)
    if not found:
        raise LabError("perf has seen nothing")
    each_us = run["cpu_us"] / sum(found.values())
    samples, rest = [], 0.0
    for (process, place), count in found.most_common():
        if count * each_us < SMALL_US:
            rest += count * each_us
        else:
            samples.append(Sample(f"an add, {process}: {place}", leases, "us",
                                  count * each_us))
    return [*samples, Sample("an add, all else", leases, "us", rest)]
