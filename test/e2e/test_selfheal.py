# SPDX-License-Identifier: GPL-2.0-or-later
"""
Strangers change our part of the firewall: it forwards again within a second, one line
of the log tells so, and status counts it. Our own changes are no strangers.
"""

import contextlib
import os
import random
import re
import signal
import socket
import time

import natpmp
import pcp
import pytest
from conftest import get_build
from firewall import WRECKS, firewall
from lab import wait_for

pytestmark = pytest.mark.nftables("the ways to break it; others in test_lifecycle.py")

HEALED = r"someone changed our firewall rules"
PORT, OTHER = 4000, 4001
# The load: as fast as it goes, on other ports.
LOAD = os.path.join(get_build("release"), "test/bench/load_natpmp")
LOAD_PORT, LOAD_PORTS, LOAD_S = 20000, 500, 6
FLUSHES = 3
NO_LIMITS = "[limits]\nrequests-per-second = 0\nleases-per-client = 0\n"

# What a stranger does -> the lease that suffers.
STRANGERS = {
    "flush-ruleset": "flush ruleset",
    "flush-table": "flush table inet portreeve",
    "delete-table": "delete table inet portreeve",
    "delete-element": "delete element inet portreeve dnat4 {{ udp . 4000 }}",
    "delete-counter":
        "delete element inet portreeve count4 {{ udp . 4000 . {lan1} . 4000 }}",
    "delete-way-out": "delete element inet portreeve snat4 {{ udp . {lan1} . 4000 }}",
    "delete-pinhole": "delete element inet portreeve pinhole6 {{ udp . {lan1_6} . 4000 }}",
    "change-element": "delete element inet portreeve dnat4 {{ udp . 4000 }}\n"
        "add element inet portreeve dnat4 {{ udp . 4000 timeout 1h : {lan2} . 4000 }}",
    "flush-map": "flush map inet portreeve dnat4",
    "no-external-address": "flush set inet portreeve wan4",
    "no-wan": "flush set inet portreeve wan_if",
    "flush-chain": "flush chain inet portreeve dstnat",
    "delete-chain": "flush chain inet portreeve forward\n"
        "delete chain inet portreeve forward",
    "insert-rule": "insert rule inet portreeve forward drop",
}


def count_heals(daemon):
    return daemon.json("status")["status"]["backend"]["resyncs"]


def count_lines(daemon):
    return len(re.findall(HEALED, daemon.log()))


def arrives(lab, port, host):
    return lab.udp_arrives(lab.inet1, (lab.WAN_ADDRESS, port), host, port)


def forwards(lab):
    """What lan1 has on PORT: IPv4 both ways, and the pinhole."""
    if not arrives(lab, PORT, lab.lan1):
        return False
    with lab.lan1.udp(PORT) as source:
        out = lab.udp_arrives(lab.lan1, (lab.inet2.ipv4, 9), lab.inet2, 9, source=source)
    return (out == (lab.WAN_ADDRESS, PORT)
            and lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, PORT), lab.lan1, PORT))


@pytest.fixture
def served(lab, daemon):
    """The daemon with a lease of each family."""
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", PORT, PORT).result == natpmp.OK
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as client:
        client.grant("udp", PORT)
    assert forwards(lab)
    return daemon


def expect_healed(lab, daemon, began, heals, lines):
    wait_for(lambda: forwards(lab), "everything to be forwarded again", 5)
    took = time.monotonic() - began
    daemon.wait_log(HEALED, lines)
    assert took < firewall(lab).HEALED_S
    assert (count_heals(daemon), count_lines(daemon)) == (heals, lines)


@pytest.mark.parametrize("what", STRANGERS)
def test_stranger(lab, served, what):
    kernel = firewall(lab)
    before = kernel.elements()
    command = STRANGERS[what].format(lan1=lab.lan1.ipv4, lan2=lab.lan2.ipv4,
                                     lan1_6=lab.lan1.ipv6)
    began = time.monotonic()
    kernel.wreck(command)
    expect_healed(lab, served, began, 1, 1)
    after = kernel.elements()
    # (a skeleton made anew has another fingerprint)
    assert {k: v for k, v in after.items() if k != "fingerprint"} == {
        k: v for k, v in before.items() if k != "fingerprint"}
    # and again, for a healed table is watched as the first one was
    began = time.monotonic()
    kernel.wreck("delete table inet portreeve")
    wait_for(lambda: forwards(lab), "everything to be forwarded again", 5)
    assert time.monotonic() - began < kernel.HEALED_S
    wait_for(lambda: count_heals(served) == 2, "the second time to be counted")


def test_filtered_lease(lab, served):
    """Packets find rules with filters by the set that says that there are some."""
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", OTHER, OTHER, 3600, [pcp.pack_filter(lab.inet1.ipv4)])
    assert arrives(lab, OTHER, lab.lan1)
    began = time.monotonic()
    firewall(lab).wreck("flush set inet portreeve narrow4")
    wait_for(lambda: arrives(lab, OTHER, lab.lan1), "packets by the filter", 5)
    assert time.monotonic() - began < firewall(lab).HEALED_S
    served.wait_log(HEALED, 1)
    assert (count_heals(served), count_lines(served)) == (1, 1)
    assert not lab.udp_arrives(lab.inet2, (lab.WAN_ADDRESS, OTHER), lab.lan1, OTHER)


def test_stray_mapping(lab, served):
    """What a stranger adds to our table is no lease, and goes."""
    kernel = firewall(lab)
    rules = kernel.rules()
    kernel.add("udp", OTHER, lab.lan2.ipv4, OTHER)
    wait_for(lambda: kernel.rules() == rules, "the stray to go", kernel.HEALED_S)
    assert not arrives(lab, OTHER, lab.lan2)
    served.wait_log(HEALED + ".*restored=0 strays=1")
    assert (count_heals(served), count_lines(served)) == (1, 1)


def test_healed_by_a_request(lab, daemon_factory):
    """Who asks first heals it at once: told and counted as well"""
    daemon = daemon_factory().start()
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", PORT, PORT).result == natpmp.OK
        firewall(lab).remove()
        assert client.map("udp", OTHER, OTHER).result == natpmp.OK
    assert arrives(lab, OTHER, lab.lan1)
    daemon.wait_log(HEALED)
    assert (count_heals(daemon), count_lines(daemon)) == (1, 1)


def test_others_tables(lab, served):
    """What others do to their own tables is none of our business."""
    for number in range(20):
        lab.gw.nft("add table inet other\nadd set inet other s { type inet_service; }\n"
                   f"add element inet other s {{ {number} }}\n"
                   "add chain inet other dstnat\ndelete table inet other")
    assert forwards(lab)
    assert (count_heals(served), count_lines(served)) == (0, 0)


@contextlib.contextmanager
def stopped(pid):
    """While the process does not run, what it is told piles up."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def overrun(lab):
    """More notifications than a socket takes."""
    numbers = ", ".join(str(x) for x in range(40000))
    lab.gw.nft("table inet other {\nset s { type mark; elements = { " + numbers + " }\n}\n}\n"
               "delete table inet other")


def count_lost(pid):
    """Netlink messages that sockets of the process' namespace had no room for."""
    with open(f"/proc/{pid}/net/netlink", encoding="ascii") as file:
        head, *rows = [line.split() for line in file]
    return sum(int(row[head.index("Drops")]) for row in rows)


@pytest.mark.parametrize("wreck", [None, "flush map inet portreeve dnat4"])
def test_overrun(lab, served, wreck):
    """
    Notifications that got lost: one comparison, and nothing is told of it unless it found
    something, which no notification has told.
    """
    core = served.roles()["core"]
    with stopped(core):
        overrun(lab)
        lost = count_lost(core)
        assert lost > 0
        if wreck:
            lab.gw.nft(wreck)
            assert count_lost(core) > lost
    if wreck:
        wait_for(lambda: count_heals(served) == 1, "the comparison", 5)
    assert forwards(lab)
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", OTHER, OTHER).result == natpmp.OK
    assert arrives(lab, OTHER, lab.lan1)
    # whether it still listens
    firewall(lab).remove()
    heals = 2 if wreck else 1
    wait_for(lambda: count_heals(served) == heals, "the next one to be noticed", 5)
    wait_for(lambda: forwards(lab), "everything to be forwarded again", 5)
    assert count_lines(served) == heals


@contextlib.contextmanager
def loaded(lab):
    """Grants, renewals and deletions as fast as they go; its process."""
    process = lab.lan1.start([
        LOAD, "--gateway", "192.168.77.1", "--client", lab.lan1.ipv4, "--mode", "mixed",
        "--window", "64", "--first-port", str(LOAD_PORT), "--ports", str(LOAD_PORTS),
        "--requests", "10000000", "--max-seconds", str(LOAD_S)])
    try:
        yield process
    finally:
        process.kill()


def count_granted(daemon):
    return daemon.json("status")["status"]["requests"]["granted"]


# NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h as a bit; the protocol.
NFTABLES_GROUP, NETLINK_NETFILTER = 1 << 6, 12


def listens(pid):
    """Whether a socket of the process' namespace is told of changes of nftables."""
    with open(f"/proc/{pid}/net/netlink", encoding="ascii") as file:
        head, *rows = [line.split() for line in file]
    return any(int(row[head.index("Eth")]) == NETLINK_NETFILTER
               and int(row[head.index("Groups")], 16) & NFTABLES_GROUP for row in rows)


# In a table of others: it drops what we let through.
STRICT = ("add table inet strict; add chain inet strict f "
          "{ type filter hook forward priority 0; policy drop; }")


@pytest.mark.parametrize("wreck", [
    *WRECKS, pytest.param(STRICT, id="table-of-others")])
def test_first_under_load(lab, daemon_factory, wreck):
    """
    Many changes of our own, of which nobody listens to notifications: the first one of
    a stranger's is found, in our table or in others'.
    """
    daemon = daemon_factory(NO_LIMITS, build="release").start()
    core = daemon.roles()["core"]
    with natpmp.Client(lab.lan2) as client:
        assert client.map("udp", PORT, PORT).result == natpmp.OK
    assert listens(core)
    with loaded(lab) as load:
        wait_for(lambda: not listens(core), "it to be quiet", 5)
        firewall(lab).wreck(wreck)
        try:
            began = time.monotonic()
            if wreck == STRICT:
                daemon.wait_log("chain inet strict f drops leased traffic")
            else:
                wait_for(lambda: count_heals(daemon) == 1, "it to be counted", 5)
                assert arrives(lab, PORT, lab.lan2)
            assert time.monotonic() - began < firewall(lab).HEALED_S
        finally:
            if wreck == STRICT:
                lab.gw.nft("delete table inet strict")
        assert load.poll() is None


def test_under_load(lab, daemon_factory):
    """
    Thousands of our own changes a second are never taken for a stranger's, and hide
    none of theirs.
    """
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    daemon = daemon_factory(NO_LIMITS, build="release").start()
    kernel = firewall(lab)
    with natpmp.Client(lab.lan2) as client:
        assert client.map("udp", PORT, PORT).result == natpmp.OK
    with loaded(lab) as load:
        began, before = time.monotonic(), count_granted(daemon)
        wait_for(lambda: time.monotonic() > began + 2, "two seconds of load")
        rate = (count_granted(daemon) - before) / (time.monotonic() - began)
        print(f"{rate:.0f} changes/s")
        assert rate > 1000, "this is no load"
        assert (count_heals(daemon), count_lines(daemon)) == (0, 0)
        for number in range(FLUSHES):
            pause = time.monotonic() + dice.random() / 2
            wait_for(lambda: time.monotonic() > pause, "any moment")
            kernel.wreck(dice.choice(kernel.WRECKS))
            began = time.monotonic()
            wait_for(lambda: arrives(lab, PORT, lab.lan2), "the lease to be back", 5)
            assert time.monotonic() - began < kernel.HEALED_S
            wait_for(lambda: count_heals(daemon) == number + 1, "it to be counted", 5)
        assert load.poll() is None
    heals = count_heals(daemon)
    assert heals == FLUSHES
    assert kernel.rules() == {(x["protocol"], x["external_port"], x["internal_address"],
                               x["internal_port"]) for x in daemon.leases()}


@pytest.mark.parametrize("command", ["flush ruleset", "flush map inet portreeve dnat4"])
def test_after_load(lab, daemon_factory, command):
    """The core does not listen while it changes much: what comes right then is found."""
    daemon = daemon_factory(NO_LIMITS, build="release").start()
    kernel = firewall(lab)
    with natpmp.Client(lab.lan2) as client:
        assert client.map("udp", PORT, PORT).result == natpmp.OK
    for number in range(FLUSHES):
        lab.lan1.run([
            LOAD, "--gateway", "192.168.77.1", "--client", lab.lan1.ipv4, "--requests",
            "500", "--first-port", str(LOAD_PORT + 500 * number)])
        kernel.wreck(command)
        began = time.monotonic()
        wait_for(lambda: arrives(lab, PORT, lab.lan2), "the lease to be back", 5)
        assert time.monotonic() - began < kernel.HEALED_S
        wait_for(lambda: count_heals(daemon) == number + 1, "it to be counted", 5)
    assert kernel.rules() == {(x["protocol"], x["external_port"], x["internal_address"],
                               x["internal_port"]) for x in daemon.leases()}
    assert count_heals(daemon) == FLUSHES
    # and others' tables, too
    lab.gw.nft(STRICT)
    try:
        daemon.wait_log("chain inet strict f drops leased traffic")
    finally:
        lab.gw.nft("delete table inet strict")
