# SPDX-License-Identifier: GPL-2.0-or-later
"""The launcher: command line, users and directories, and in which order things end."""

import ctypes
import fcntl
import os
import pwd
import signal
import subprocess
import time

import pytest
from daemon import alive, children
from lab import LIBC, wait_for

SYS_PIDFD_GETFD = 438
ROLES = {"core", "upnp", "pcp"}


def run(lab, daemon, *arguments):
    return lab.gw.run([daemon.binary, *arguments])


@pytest.mark.parametrize("arguments, word", [
    (["--nonsense"], "--nonsense"),
    (["-x"], "-x"),
    (["-c"], "-c"),
    (["--single=yes"], "--single=yes"),
    (["start"], "start"),
    (["--role=core,65534,65534,2,0"], "--role"),
    (["--role=pcp"], "--role"),
])
def test_usage(lab, daemon_factory, arguments, word):
    """Exit 2, one line with the word, and where to look."""
    done = run(lab, daemon_factory(), *arguments)
    lines = done.stdout.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 2, done.stdout
    assert word in lines[0] and "--help" in lines[1], done.stdout


def test_help_and_version(lab, daemon_factory):
    daemon = daemon_factory()
    told = run(lab, daemon, "--help")
    assert told.returncode == 0
    for option in ("-c FILE", "--check-config", "--single", "--help", "--version"):
        assert option in told.stdout
    assert "--role" not in told.stdout
    version = run(lab, daemon, "--version")
    assert version.returncode == 0 and version.stdout.startswith("portreeved 0.")
    for short, text in (("-h", told.stdout), ("-V", version.stdout)):
        done = run(lab, daemon, short)
        assert done.returncode == 0 and done.stdout == text


@pytest.mark.parametrize("key", ["user", "net-user"])
def test_configured_user_is_missing(lab, daemon_factory, key):
    daemon = daemon_factory(f"[global]\n{key} = no-such-user\n")
    done = run(lab, daemon, "-c", daemon.file)
    assert done.returncode == 1 and "no-such-user" in done.stdout, done.stdout
    assert daemon.table() == "" and not os.path.exists(daemon.state)


def core_user():
    for name in ("portreeve", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise AssertionError("no user for core")


def test_directories_are_made_for_core(lab, daemon_factory):
    daemon = daemon_factory().start()
    for path, mode in ((daemon.state, 0o700), (os.path.dirname(daemon.control), 0o755)):
        status = os.stat(path)
        assert (status.st_uid, status.st_mode & 0o7777) == (core_user(), mode), path


def test_empty_directory_is_handed_over(lab, daemon_factory):
    """As the service manager makes it."""
    daemon = daemon_factory()
    os.mkdir(os.path.dirname(daemon.control), 0o755)
    daemon.start()
    assert os.stat(os.path.dirname(daemon.control)).st_uid == core_user()


def test_foreign_directory_is_left_alone(lab, daemon_factory):
    """A directory in use, like /run itself, keeps its owner; the line says what to do."""
    daemon = daemon_factory()
    daemon.control = os.path.join(daemon.directory, "control.sock")
    daemon.configure("")
    done = run(lab, daemon, "-c", daemon.file)
    assert done.returncode == 1 and "directory of its own" in done.stdout, done.stdout
    assert os.stat(daemon.directory).st_uid == 0
    assert daemon.table() == ""


def test_user_made_later_takes_over(lab, daemon_factory):
    """First run as nobody, then the package's user exists: leases are not lost."""
    nobody, other = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("daemon").pw_uid
    daemon = daemon_factory("[global]\nuser = nobody\n").start()
    assert daemon.stop() == 0
    assert os.stat(daemon.state).st_uid == nobody
    daemon.configure("[global]\nuser = daemon\n")
    daemon.start()
    for name in (".", *os.listdir(daemon.state)):
        assert os.stat(os.path.join(daemon.state, name)).st_uid == other, name
    assert "state directory" not in daemon.log()


def test_roles_get_no_environment(lab, daemon_factory):
    daemon = daemon_factory().start()
    for name, pid in daemon.roles().items():
        with open(f"/proc/{pid}/environ", "rb") as file:
            names = {entry.split(b"=")[0] for entry in file.read().split(b"\0") if entry}
        assert all(name.endswith(b"SAN_OPTIONS") for name in names), (name, names)


def test_command_lines_are_names(lab, daemon_factory):
    """What ps shows."""
    daemon = daemon_factory().start()
    shown = set()
    for pid in children(daemon.pid):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            shown.add(file.read().strip(b"\0").decode())
    assert shown == {f"portreeved: {name}" for name in ROLES}


def drain_notify(daemon):
    text = b""
    while True:
        try:
            text += daemon.notify.recv(4096)
        except BlockingIOError:
            return text


def test_stop_is_announced(lab, daemon_factory):
    daemon = daemon_factory().start()
    assert daemon.stop() == 0
    assert b"STOPPING=1" in drain_notify(daemon)


def test_hangup_changes_nothing(lab, daemon_factory):
    daemon = daemon_factory().start()
    before = daemon.roles()
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_log("the configuration is as it was")
    assert daemon.roles() == before


def test_launcher_killed(lab, daemon_factory):
    """No role outlives it, and it is no clean stop: the kernel keeps the table."""
    daemon = daemon_factory().start()
    pids = list(daemon.roles().values())
    os.kill(daemon.pid, signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in pids), "the roles to end")
    assert daemon.table()
    # Its successor finds socket and table of the dead one, and cleans up when it stops.
    daemon.start()
    assert daemon.stop() == 0
    assert daemon.table() == ""


def test_second_signal_kills(lab, daemon_factory):
    """A role that hangs holds up a clean stop; asked twice, nobody waits for it."""
    daemon = daemon_factory().start()
    pids = daemon.roles()
    os.kill(pids["core"], signal.SIGSTOP)
    os.kill(daemon.pid, signal.SIGTERM)
    wait_for(lambda: set(daemon.roles()) == {"core"}, "the workers to end")
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.process.wait(0.2)
    began = time.monotonic()
    os.kill(daemon.pid, signal.SIGINT)
    assert daemon.process.wait() == 1
    assert time.monotonic() - began < 5
    assert not alive(pids["core"])
    daemon.start()


def test_core_killed_again_and_again(lab, daemon_factory):
    """Each time all roles are there again; one line tells of each death."""
    daemon = daemon_factory(build="release").start()
    for count in range(1, 4):
        old = daemon.roles()
        os.kill(old["core"], signal.SIGKILL)

        def renewed(old=old):
            now = daemon.roles()
            return set(now) == ROLES and not set(now.values()) & set(old.values())
        wait_for(renewed, "new roles")
        assert daemon.log().count("core ended signal=9") == count
    assert daemon.stop() == 0
    assert daemon.table() == ""


def test_idle_launcher_sleeps(lab, daemon_factory):
    """It has no timer of its own."""
    daemon = daemon_factory(build="release").start()

    def switches():
        with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
            return [line for line in file if line.startswith("voluntary")][0]

    def quiet():
        before, end = switches(), time.monotonic() + 0.5
        wait_for(lambda: time.monotonic() > end, "half a second")
        return switches() == before
    wait_for(quiet, "half a second without a wake-up")


def get_shared(pid, name):
    """A descriptor of that process's for a file of that name, as a child inherits it."""
    place = f"/proc/{pid}/fd"
    number = next(int(fd) for fd in os.listdir(place)
                  if os.path.basename(os.readlink(f"{place}/{fd}")) == name)
    process = os.pidfd_open(pid)
    try:
        shared = LIBC.syscall(SYS_PIDFD_GETFD, process, number, 0)
    finally:
        os.close(process)
    assert shared >= 0, os.strerror(ctypes.get_errno())
    return shared


def test_core_killed_with_the_lock(lab, daemon_factory):
    """What core held of iptables' lock is free as soon as it has ended."""
    daemon = daemon_factory("[backend]\ntype = iptables\n").start()
    pids = daemon.roles()
    # (while this one does not end, there is no other core that would let go of it)
    os.kill(pids["pcp"], signal.SIGSTOP)
    shared = get_shared(daemon.pid, "xtables.lock")
    fcntl.flock(shared, fcntl.LOCK_EX)
    with open(lab.lock, encoding="ascii") as file:
        def is_free():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        assert not is_free()
        os.kill(pids["core"], signal.SIGKILL)
        wait_for(is_free, "the lock to be free", 0.5)
        assert "core" not in daemon.roles()
    os.close(shared)
    wait_for(lambda: "core" in daemon.roles(), "another core")
