# SPDX-License-Identifier: GPL-2.0-or-later
"""
What local users, a worker that was taken over and a second daemon cannot do to the one that
serves. The release build: sanitizers need a wider sandbox.
"""

import array
import fcntl
import json
import os
import socket
import subprocess
import time

import natpmp
import pytest
from lab import wait_for
from test_roles import borrow_channel

NOBODY = 65534
LIMITS = "[limits]\nleases-per-client = 0\nrequests-per-second = 0\n"


@pytest.fixture
def daemon(daemon_factory):
    return daemon_factory(LIMITS, build="release").start()


def call(method, **members):
    return json.dumps({"method": method, **members}).encode() + b"\0"


def connect(daemon):
    client = socket.socket(socket.AF_UNIX)
    client.connect(daemon.control)
    return client


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_calls_without_answer_keep_nobody_waiting(lab, daemon):
    """A local user asks for the whole table hundreds of times and wants no answer."""
    with natpmp.Client(lab.lan1) as client, connect(daemon) as stranger:
        for port in range(4000, 5000):
            assert client.map("udp", port, port).result == natpmp.OK
        stranger.sendall(call("org.portreeve.List", oneway=True) * 300)
        began = time.monotonic()
        assert client.map("udp", 6000, 6000).result == natpmp.OK
        assert time.monotonic() - began < 1


def test_whole_table_comes_in_parts_only(lab, daemon):
    with natpmp.Client(lab.lan1) as client, connect(daemon) as stranger:
        for port in range(4000, 4300):
            client.map("udp", port, port)
        stranger.sendall(call("org.portreeve.List"))
        answer = json.loads(stranger.recv(1 << 20).rstrip(b"\0"))
        assert answer["error"] == "org.varlink.service.ExpectedMore"
    assert len(daemon.leases()) == 300


# Holds as many connections as it gets, until its input ends; says how many.
GREEDY = """
import socket, sys
held = []
for _ in range(40):
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(5)
    try:
        one.connect(sys.argv[1])
        one.sendall(b'{"method":"org.varlink.service.GetInfo"}\\0')
        if one.recv(4096):
            held.append(one)
    except OSError:
        pass
print(len(held), flush=True)
sys.stdin.read()
"""


def test_a_user_cannot_hold_every_connection(daemon):
    with subprocess.Popen(["/usr/bin/python3", "-c", GREEDY, daemon.control], user=NOBODY,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          cwd="/") as stranger:
        assert int(stranger.stdout.readline()) == 8
        assert daemon.run_tool("status").returncode == 0
        stranger.stdin.close()


def test_descriptors_of_a_lying_worker_are_closed(daemon):
    """Core takes no descriptor from a worker, and keeps none."""
    core = daemon.roles()["core"]
    held = descriptors(core)
    for _ in range(3):
        worker = daemon.roles()["pcp"]
        with borrow_channel(worker) as channel, open("/etc/passwd", "rb") as file:
            channel.sendmsg([bytes(16)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                           array.array("i", [file.fileno()]))])
        wait_for(lambda old=worker: daemon.roles().get("pcp") not in (None, old),
                 "a new worker", 10)
    wait_for(lambda: descriptors(core) <= held, "core to close what it was sent", 5)


def test_refused_second_daemon_changes_no_owner(lab, daemon, daemon_factory):
    """Not even one that runs as root in one process."""
    natpmp.Client(lab.lan1).map("udp", 4000, 4000)
    paths = [daemon.state, os.path.dirname(daemon.control),
             *(os.path.join(daemon.state, name) for name in os.listdir(daemon.state))]
    before = [os.stat(path).st_uid for path in paths]
    second = daemon_factory(build="release", arguments=["--single"], state=daemon.state)
    second.control = daemon.control
    second.configure(LIMITS)
    second.launch()
    assert second.process.wait(10) == 1
    assert "another portreeved" in second.log()
    assert [os.stat(path).st_uid for path in paths] == before
    assert daemon.json("status")["status"]["state"] == "ok"


def test_state_directory_given_back_to_root(lab, daemon):
    """As systemd does with StateDirectory= at each start: the leases are there all the same."""
    natpmp.Client(lab.lan1).map("udp", 4000, 4000)
    daemon.stop()
    for directory, _, names in os.walk(daemon.state):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            os.chown(path, 0, 0)
    daemon.start()
    assert [lease["external_port"] for lease in daemon.leases()] == [4000]
    assert daemon.json("status")["status"]["store"]["state"] == "ok"


def test_a_directory_for_all_is_left_alone(daemon_factory):
    """/tmp, fresh and empty, is nobody's to give away."""
    daemon = daemon_factory(LIMITS, build="release")
    parent = os.path.dirname(daemon.control)
    os.mkdir(parent)
    os.chmod(parent, 0o1777)
    daemon.start()
    status = os.stat(parent)
    assert (status.st_uid, status.st_mode & 0o7777) == (0, 0o1777)


def test_no_role_is_killed_at_a_clean_stop(daemon_factory):
    daemon = daemon_factory("[global]\nlog-level = info\n", build="release").start()
    assert daemon.stop() == 0
    assert "upnp ended status=0" in daemon.log() and "signal=" not in daemon.log()


def test_log_reader_that_stops(lab, daemon_factory):
    """The pipe of the log is full and nobody reads: the gateway serves on."""
    daemon = daemon_factory(LIMITS + "[global]\nlog-level = debug\n", build="release")
    log = os.path.join(daemon.directory, "log")
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 8192)
    try:
        daemon.start()
        with natpmp.Client(lab.lan1) as client:
            for port in range(4000, 4200):  # more lines than that holds
                assert client.map("udp", port, port).result == natpmp.OK
                assert client.map("udp", port, 0, 0).result == natpmp.OK
        assert daemon.json("status")["status"]["state"] == "ok"
        assert len(os.read(reader, 1 << 16)) > 2048  # it was full indeed
        daemon.stop()
    finally:
        os.close(reader)
        os.unlink(log)
        with open(log, "wb"):
            pass
