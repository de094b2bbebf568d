# SPDX-License-Identifier: GPL-2.0-or-later
"""Where it ends: a million leases in core, and half a million elements in the kernel.

Neither needs the daemon that runs beside: bench_million is core's ledger with a firewall
in memory and a clock of its own, bench_backend fills a table of another namespace. What
core takes is told in the processor's time, for nothing waits there but for the disk.
"""

import json
import subprocess
import tempfile

from lab import LabError
from measures import Sample, measure

ONCE = {"short": 1, "full": 1}
ALONE = ("portreeve-nft",)
LEASES, CLIENTS = 1_000_000, 100_000
STORED_LEASES, STORED_CLIENTS = 200_000, 20_000
ELEMENTS = 500_000
# The comparison of a table that is there takes the kernel much longer than so many.
COMPARED_LEASES = 100_000
LONGEST_S = 300
# Parts of bench_million that are about each lease, and those that are one turn.
EACH = ("add", "renew", "return", "expire")
TURNS = ("heal", "status", "address", "loss", "restart", "rest")


def read_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def run_million(candidate, leases, clients, *options):
    """{part: its line} of one run."""
    command = [candidate.setting.bench("bench_million"), "--leases", str(leases),
               "--clients", str(clients), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S,
                          check=False)
    if done.returncode != 0:
        raise LabError(f"bench_million: {done.stdout} {done.stderr}")
    return {line["mode"]: line for line in read_lines(done.stdout)}


def tell_parts(parts, leases, where):
    samples = []
    for name in EACH:
        if name in parts:
            part = parts[name]
            samples += [
                Sample(f"{where}: {name}, core's CPU", leases, "us",
                       part["cpu_ns"] / 1000),
                Sample(f"{where}: {name}, longest turn", leases, "ms",
                       part["worst_cpu_us"] / 1000)]
    samples += [Sample(f"{where}: {name}, one turn", leases, "ms",
                       parts[name]["worst_cpu_us"] / 1000)
                for name in TURNS if name in parts]
    return samples


@measure("million", full=(0,), group="other", rounds=ONCE, candidates=ALONE)
def measure_million(candidate, leases):
    """Core alone."""
    del leases  # of the daemon, which is not asked
    parts = run_million(candidate, LEASES, CLIENTS)
    memory = Sample("core: heap of a lease", LEASES, "bytes",
                    parts["memory"]["heap_per_lease"])
    return [memory, *tell_parts(parts, LEASES, "core")]


@measure("million stored", full=(0,), group="other", rounds=ONCE, candidates=ALONE)
def measure_stored(candidate, leases):
    """Core with its store."""
    del leases
    with tempfile.TemporaryDirectory() as directory:
        parts = run_million(candidate, STORED_LEASES, STORED_CLIENTS,
                            "--state-dir", directory)
    return tell_parts(parts, STORED_LEASES, "core and store")


def run_backend(candidate, *options):
    """{what: its line}, in the namespace of a host, which has no table of ours."""
    done = candidate.lab.lan1.run(
        [candidate.setting.bench("bench_backend"), "--ipv6", "--json", *options],
        timeout=LONGEST_S)
    if done.returncode != 0:
        raise LabError(f"bench_backend: {done.stdout}")
    return {line["what"]: line for line in read_lines(done.stdout)}


@measure("elements", full=(0,), group="other", rounds=ONCE, candidates=ALONE)
def measure_elements(candidate, leases):
    """Pinholes of IPv6: each is one element."""
    del leases
    lines = run_backend(candidate, "--rules", str(ELEMENTS))
    filled = lines["sync, some missing"]
    compared = run_backend(candidate, "--compare", "--rules", str(COMPARED_LEASES))
    return [
        Sample("kernel: fill, CPU", ELEMENTS, "ms", filled["cpu_ms"]),
        Sample("kernel: memory of an element", ELEMENTS, "bytes",
               filled["kernel_kib"] * 1024 / ELEMENTS),
        *(Sample(f"kernel: {what}, p50", ELEMENTS, "us", lines[what]["p50_us"])
          for what in ("ADD", "REPLACE", "DELETE")),
        *(Sample(f"kernel: {what} by 64, CPU", ELEMENTS, "us",
                 lines[f"{what} by 64"]["cpu_us"])
          for what in ("ADD", "REPLACE", "DELETE")),
        Sample("kernel: compare, CPU", COMPARED_LEASES, "ms",
               compared["sync, all in place"]["cpu_ms"]),
    ]
