# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine and the programs that a benchmark ran on."""

import os
import platform
import re
import subprocess


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def find(pattern, text):
    found = re.search(pattern, text, re.M)
    return found.group(1).strip() if found else "unknown"


def describe():
    """What results.json tells of the machine. load: of the last minute, before the run."""
    return {
        "cpu": find(r"^model name\s*:(.*)$", read("/proc/cpuinfo")),
        "cores": os.cpu_count(),
        "memory_mib": int(find(r"^MemTotal:\s*(\d+)", read("/proc/meminfo"))) // 1024,
        "kernel": platform.release(),
        "system": find(r'^PRETTY_NAME="(.*)"', read("/etc/os-release")),
        "load": float(read("/proc/loadavg").split()[0]),
    }


def ask(argv):
    """The first line that a program prints."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=10, check=False)
    except OSError:
        return "unknown"
    return (done.stdout.strip().splitlines() or ["unknown"])[0]


def find_versions(build):
    """Of the programs but the incumbent's, which its packages tell."""
    return {
        "portreeve": ask([os.path.join(build, "daemon/portreeved"), "--version"]),
        "commit": ask(["git", "-C", os.path.dirname(os.path.abspath(__file__)), "describe",
                       "--always", "--dirty"]),
        "compiler": ask(["gcc", "--version"]),
        "nft": ask(["nft", "--version"]),
        "iptables": ask(["iptables-legacy", "--version"]),
    }
