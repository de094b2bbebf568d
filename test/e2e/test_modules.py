# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of portreeved that only one role loads: where they are found, who has them."""

import contextlib
import os
import shutil
import signal
import subprocess

import igd
import natpmp
import pytest
from conftest import get_build
from daemon import Daemon
from lab import wait_for

MODULES = ("portreeve-core.so", "portreeve-upnp.so", "portreeve-stun.so")
# With it every role runs; nobody answers there.
CONFIG = "[wan]\naddress = stun:203.0.113.200\n"
# Libraries with much code -> the roles that may have them in their memory.
LIBRARIES = {
    "libnftables": {"core"},
    "liblmdb": {"core"},
    "libjson-c": {"core"},
    "libmicrohttpd": {"upnp"},
    "libxml2": {"upnp"},
    "libgnutls": {"upnp"},
    "libstdc++": {"upnp"},
    "libevent_extra": {"stun"},
}


@pytest.fixture
def copied(lab, tmp_path):
    """A portreeved in a directory of its own, not started, and that directory."""
    for program in ("daemon/portreeved", "admin/portreeve"):
        (tmp_path / program).parent.mkdir()
        shutil.copy(os.path.join(get_build("release"), program), tmp_path / program)
    for name in MODULES:
        shutil.copy(os.path.join(get_build("release"), "daemon", name),
                    tmp_path / "daemon" / name)
    with contextlib.closing(Daemon(lab, tmp_path, CONFIG)) as daemon:
        yield daemon, tmp_path / "daemon"
    shutil.rmtree(daemon.directory, ignore_errors=True)


def read_maps(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as file:
        return file.read()


def test_each_role_has_its_libraries_only(daemon_factory):
    daemon = daemon_factory(CONFIG, build="release").start()
    maps = {name: read_maps(pid)
            for name, pid in [("launcher", daemon.pid), *daemon.roles().items()]}
    assert len(maps) == 5
    for library, wanted in LIBRARIES.items():
        assert {role for role, text in maps.items() if f"/{library}" in text} == wanted, (
            library)


def read_names(path):
    done = subprocess.run(["nm", "--dynamic", "--defined-only", path], check=True,
                          capture_output=True, text=True)
    return {line.split()[2] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("name", MODULES)
def test_no_name_is_there_twice(name):
    """A function of a module whose name the program has too would never be called."""
    directory = os.path.join(get_build("release"), "daemon")
    module = read_names(os.path.join(directory, name))
    assert module and module & read_names(os.path.join(directory, "portreeved")) == set()


def test_no_descriptor_of_a_module_is_left(daemon_factory):
    daemon = daemon_factory(CONFIG, build="release").start()
    for pid in daemon.roles().values():
        for fd in os.listdir(f"/proc/{pid}/fd"):
            assert not os.readlink(f"/proc/{pid}/fd/{fd}").endswith(".so")


@pytest.mark.parametrize("arguments", [[], ["--single"]])
@pytest.mark.parametrize("name", MODULES)
def test_missing_module(lab, copied, name, arguments):
    """One line that names it, and nothing was changed."""
    daemon, directory = copied
    (directory / name).unlink()
    done = lab.gw.run([daemon.binary, "-c", daemon.file, *arguments], cwd=directory)
    assert done.returncode == 1, done.stdout
    assert done.stdout.count("\n") == 1 and name in done.stdout, done.stdout
    assert daemon.table() == "" and not os.path.exists(daemon.state)


@pytest.mark.parametrize("arguments", [[], ["--single"]])
@pytest.mark.parametrize("name", MODULES)
def test_broken_module(lab, copied, name, arguments):
    daemon, directory = copied
    (directory / name).write_bytes(b"no shared object")
    if name != MODULES[0] and not arguments:
        # A worker that cannot start is tried again, more and more slowly.
        daemon.launch().wait_log(f"cannot load {name}")
        return
    done = lab.gw.run([daemon.binary, "-c", daemon.file, *arguments])
    assert done.returncode == 1 and f"cannot load {name}" in done.stdout, done.stdout
    assert daemon.table() == ""


def test_modules_are_not_searched_elsewhere(lab, copied, tmp_path):
    """Neither the environment nor the working directory says what root loads."""
    daemon, directory = copied
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in MODULES:
        (directory / name).rename(elsewhere / name)
    environment = dict(os.environ, LD_LIBRARY_PATH=str(elsewhere), PWD=str(elsewhere))
    done = lab.gw.run([daemon.binary, "-c", daemon.file], cwd=elsewhere, env=environment)
    assert done.returncode == 1 and MODULES[0] in done.stdout, done.stdout


def test_configuration_is_checked_without_modules(lab, copied):
    daemon, directory = copied
    for name in MODULES:
        (directory / name).unlink()
    done = lab.gw.run([daemon.binary, "-c", daemon.file, "--check-config"])
    assert done.returncode == 0, done.stdout


def test_upgrade_while_it_runs(lab, copied):
    """A role that ends after its files were replaced comes back as it was."""
    daemon, directory = copied
    daemon.start()
    for name in ("portreeved", *MODULES):
        (directory / name).unlink()
        (directory / name).write_bytes(b"another version")
    for role in ("upnp", "pcp", "stun", "core"):
        before = daemon.roles()
        os.kill(before[role], signal.SIGKILL)
        wait_for(lambda: daemon.roles().get(role, before[role]) != before[role],
                 f"another {role}")
    wait_for(lambda: igd.search(lab.lan1, igd.IGD1, quiet_s=0.05), "an answer of UPnP")
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", 4000, 4000).result == natpmp.OK
