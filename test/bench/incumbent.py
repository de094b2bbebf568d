# SPDX-License-Identifier: GPL-2.0-or-later
"""The incumbent, as Debian has it: both builds, which exclude each other, unpacked.

Nothing of it is installed: its packages are fetched and unpacked below a directory, and
run from there. Their libraries are those that packaging/debian-packages names for this.
"""

import contextlib
import glob
import os
import subprocess

# What apt calls them, and the directory that each is unpacked in, with what both need.
BUILDS = {"nftables": "miniupnpd-nftables", "iptables": "miniupnpd-iptables"}
COMMON = "miniupnpd"
FETCH_S = 120


class FetchError(Exception):
    """It cannot be had; the text says why."""


def run(argv, directory):
    done = subprocess.run(argv, cwd=directory, stdout=subprocess.PIPE, timeout=FETCH_S,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise FetchError(f"{' '.join(argv)}: {done.stdout.strip()}")
    return done.stdout


def download(directory):
    """The packages as files; the lists of apt may be missing or stale."""
    argv = ["apt-get", "-q", "download", COMMON, *BUILDS.values()]
    with contextlib.suppress(FetchError):
        run(argv, directory)
        return
    run(["apt-get", "-q", "update"], directory)
    run(argv, directory)


def fetch(directory):
    """
    {build: version} of what is unpacked below directory, from where it was left or from
    Debian. FetchError.
    """
    packages = os.path.join(directory, "packages")
    try:
        os.makedirs(packages, exist_ok=True)
        files = {name: glob.glob(f"{packages}/{name}_*.deb")
                 for name in (COMMON, *BUILDS.values())}
        if not all(files.values()):
            download(packages)
            files = {name: glob.glob(f"{packages}/{name}_*.deb") for name in files}
        versions = {}
        for build, package in BUILDS.items():
            root = os.path.join(directory, build)
            if not os.path.exists(os.path.join(root, "usr/sbin/miniupnpd")):
                os.makedirs(root, exist_ok=True)
                for name in (COMMON, package):
                    run(["dpkg-deb", "-x", max(files[name]), root], packages)
            versions[build] = run(["dpkg-deb", "-f", max(files[package]), "Version"],
                                  packages).strip()
        return versions
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise FetchError(str(error)) from None
