# SPDX-License-Identifier: GPL-2.0-or-later
"""
One host sends requests as fast as it can; another is served as if nothing was. The
release build, its own roles, the default configuration.
"""

import contextlib
import os
import re
import select
import signal
import socket
import time

import flood
import pcp
import pytest
import wire
from conftest import get_build
from lab import wait_for

PROGRAM = os.path.join(get_build("release"), "test/bench/flood")
ROUNDS = 5
# While the worker does not run, this many requests wait in the queue of the first lane.
WAITING = 40
# Hosts that are switched off, and what each of them has.
DEAD, LEASES = 6, 60
ALIVE = 5
COPIES = 3
ELSEWHERE = "203.0.113.77"


@contextlib.contextmanager
def flooded(lab, daemon, kind):
    """The flood runs, and the daemon has noticed."""
    flood.add_addresses(lab)
    running = flood.start(lab, PROGRAM, kind)
    try:
        wait_for(lambda: re.search("asks too fast|in flight", daemon.log()),
                 "the flood to be noticed")
        yield running
        assert running.poll() is None, "the flood has ended: " + running.output()
    finally:
        running.kill()


@pytest.mark.parametrize("kind", flood.FLOODS)
def test_flood(lab, daemon_factory, kind):
    """PCP-7, NP-11: 99 % of another host's requests are answered within 50 ms"""
    daemon = daemon_factory(build="release").start()
    family = socket.AF_INET6 if kind == "pcp-ipv6" else socket.AF_INET
    interface = flood.get_interface(kind)
    rates = []
    with flood.Honest(lab.lan2, kind) as honest:
        print(f"\n{kind}: calm", flood.FIGURES % honest.measure())
        with flooded(lab, daemon, kind):
            # The machine may be busy elsewhere: what it can do is asked, not what it did
            # once. A round in which hardly anything arrived says nothing.
            for _ in range(ROUNDS):
                before = flood.count_drops(lab, interface, family)
                with flood.Arrivals(lab, interface) as arrivals:
                    figures = honest.measure()
                after = flood.count_drops(lab, interface, family)
                lost = [b - a for a, b in zip(before, after)]
                print(f"{kind}: flood", flood.FIGURES % figures,
                      f"{arrivals.rate:.0f}/s, lost by first and slow lane: {lost}")
                rates.append(arrivals.rate)
                # All of the flood is in the slow lane, where most of it is too much.
                served = (lost[0] == 0 and lost[1] > 0
                          and figures[1] <= 1000 * flood.PROMPT_S)
                if served and arrivals.rate >= flood.RATE_MIN:
                    break
    assert max(rates) >= flood.RATE_MIN, "this was no flood"
    assert served and rates[-1] >= flood.RATE_MIN


def test_flood_while_busy(lab, daemon_factory):
    """PCP-7: nobody's request is lost while the worker has no time to read any"""
    daemon = daemon_factory(build="release").start()
    with flooded(lab, daemon, "pcp"), pcp.Client(lab.lan2) as client:
        worker = daemon.roles()["pcp"]
        wait_for(lambda: flood.count_drops(lab, "lan0")[1] > 0,
                 "the flood to be in the slow lane")
        _, before = flood.count_drops(lab, "lan0")
        os.kill(worker, signal.SIGSTOP)
        try:
            # The slow lane is as large as the first: when it is full, so would that be.
            wait_for(lambda: flood.count_drops(lab, "lan0")[1] > before,
                     "the queue of the slow lane to be full")
            for number in range(WAITING):
                client.send(client.pack_map("udp", 6000 + number))
        finally:
            os.kill(worker, signal.SIGCONT)
        answered = {pcp.Response(data.data).internal for data in
                    wire.collect(wire.stamp(client.socket), pcp.REPLY_S, WAITING)}
    assert answered == set(range(6000, 6000 + WAITING))


@pytest.mark.parametrize("kind", ["pcp", "pcp-ipv6"])
def test_unowned_addresses(lab, daemon_factory, kind):
    """PCP-7: what waits for hosts that are not there holds up no reply to another"""
    daemon_factory(build="release").start()
    family = socket.AF_INET6 if kind == "pcp-ipv6" else socket.AF_INET
    with flood.Honest(lab.lan2, kind) as honest:
        honest.measure()
        figures = honest.measure(flood.send_unowned(lab.lan1, family))
    print(f"\n{kind}:", flood.FIGURES % figures)
    assert figures[1] < float("inf")


def ask_address(sock):
    """By NAT-PMP, not again: whether there is an answer."""
    sock.sendto(bytes(2), ("192.168.77.1", pcp.PORT))
    ready, _, _ = select.select([sock], [], [], 10 * flood.PROMPT_S)
    return bool(ready) and sock.recv(64)[:2] == b"\0\x80"


def test_dead_hosts(lab, daemon_factory):
    """PCP-37, PCP-40: updates for hosts that are switched off hold up nothing"""
    daemon_factory("[limits]\nrequests-per-second = 0\n", build="release").start()
    dead = [f"192.168.77.{150 + number}" for number in range(DEAD)]
    wan = wire.Wan(lab)
    for address in dead:
        lab.lan1.ip("address", "add", f"{address}/24", "dev", "eth0")
        with pcp.Client(lab.lan1, address=address) as client:
            for number in range(LEASES):
                client.grant("udp", 7000 + number)
        lab.lan1.ip("address", "del", f"{address}/24", "dev", "eth0")
    lab.gw.ip("neigh", "flush", "dev", "lan0")
    heard = wire.stamp(lab.lan2.capture(pcp.ANNOUNCE_GROUP, pcp.ANNOUNCE_PORT))
    try:
        with pcp.Client(lab.lan2) as client, lab.lan2.udp() as other, heard:
            for number in range(ALIVE):
                client.grant("tcp", 9000 + number)
            wire.drain(heard)
            began = wan.move(ELSEWHERE)
            answers = [ask_address(other) for _ in range(20)]
            told = wire.collect(wire.stamp(client.socket), 2, ALIVE * COPIES)
            announced = wire.collect(heard, 2, COPIES, lambda data: data[:1] == b"\2")
    finally:
        wan.restore()
    print(f"\nupdates {[round(x.time - began, 2) for x in told]}")
    assert all(answers)
    assert len(told) == ALIVE * COPIES
    assert len(announced) == COPIES
