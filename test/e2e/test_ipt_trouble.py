# SPDX-License-Identifier: GPL-2.0-or-later
"""
The iptables backend where others are in the way: who holds the lock, who comes first, and
kernels that lack something.
"""

import contextlib
import fcntl
import select

import pytest

from backend import LAN1, Tool, rule
from test_backend_ipt import ours, run

IPTABLES = "[backend]\ntype = iptables\n"


@contextlib.contextmanager
def lock_held(lab):
    with open(lab.lock, encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def tool(lab):
    made = Tool(lab, backend="iptables")
    made.start()
    made.sync()
    yield made
    if made.process.stdin.closed:
        return
    made.stop("close")


def test_the_end_waits_for_the_lock(lab, tool):
    tool.apply("add " + rule())
    with lock_held(lab):
        tool.send("close")
        assert not select.select([tool.process.stdout], [], [], 0.5)[0], "it waits"
    tool.read()
    tool.process.stdin.close()
    assert tool.process.wait(10) == 0
    assert ours(lab) == [] and "<3>" not in tool.output()


def test_a_stop_that_leaves_ports_open_says_so(lab, daemon_factory):
    gateway = daemon_factory(IPTABLES).start()
    gateway.admin("add", "udp", "5000", f"{LAN1}:6000")
    with lock_held(lab):
        assert gateway.stop() != 0
    assert len([line for line in gateway.log().splitlines()
                if "cannot remove our chains" in line]) == 1
    assert ours(lab) != []
    gateway.start()
    assert gateway.stop() == 0
    assert ours(lab) == []
