# SPDX-License-Identifier: GPL-2.0-or-later
"""
Core is killed at random moments while it grants and deletes as fast as it can, KILLS
times: each time the next one's table, the kernel and the answers that clients got agree,
and in the end nothing is left over.
"""

import contextlib
import os
import random
import select
import signal
import socket
import time

import natpmp
import pcp
import pytest
from daemon import CommandError
from firewall import Rule, firewall
from lab import Lab, wait_for

KILLS = 100
# The launcher waits longer after each restart in a row (backoff.h), so now and then it is
# killed, too: a new one begins with no wait.
KILLS_OF_ONE_LAUNCHER = 4
LOAD_MIN_S, LOAD_MAX_S = 0.005, 0.06
WINDOW = 48
FIRST_PORT, PORTS = 30000, 60
LAST_PORT = FIRST_PORT + PORTS  # nobody has it: its deletion is granted, and is the last
AGAIN_S = 0.1
LIFETIME_S = 3600
NO_LIMITS = ("[limits]\nrequests-per-second = 0\nleases-per-client = 0\n")
UNKNOWN = "unknown"


class NatPmp:
    """Mappings of IPv4, one protocol."""

    def __init__(self, lab, protocol):
        self.protocol, self.host = protocol, lab.lan1
        self.socket = self.host.udp()
        self.socket.connect(("192.168.77.1", natpmp.PORT))

    def ask(self, port, lifetime):
        self.socket.send(natpmp.pack_map(self.protocol, port, port if lifetime else 0,
                                         lifetime))

    def read(self):
        """(port, Rule or None: it has gone); None: a refusal"""
        data = self.socket.recv(2048)
        if len(data) == 12:
            return None
        answer = natpmp.parse_mapping(data, self.protocol)
        if answer.result != natpmp.OK:
            return None
        if answer.lifetime == 0:
            return answer.internal, None
        return answer.internal, Rule(self.protocol, answer.external, self.host.ipv4,
                                     answer.internal)


class Pcp6:
    """Pinholes."""

    def __init__(self, lab):
        self.protocol, self.host = "udp", lab.lan1
        self.client = pcp.Client(lab.lan1, family=socket.AF_INET6)
        self.socket = self.client.socket

    def ask(self, port, lifetime):
        self.client.send(self.client.pack_map("udp", port, port, lifetime))

    def read(self):
        data = self.client.receive(0)
        if data[3] != pcp.OK:
            return None
        port = int.from_bytes(data[40:42], "big")
        if int.from_bytes(data[4:8], "big") == 0:
            return port, None
        return port, Rule("udp", port, self.host.ipv6, port)


class Book:
    """What clients were told: of each port a Rule, None, or UNKNOWN while they wait."""

    def __init__(self, client, dice):
        self.client, self.dice = client, dice
        self.told = dict.fromkeys(range(FIRST_PORT, FIRST_PORT + PORTS))
        self.waiting, self.answers, self.flushed, self.again = set(), 0, False, 0

    def ask_some(self):
        idle = [port for port in self.told if port not in self.waiting]
        for port in self.dice.sample(idle, min(len(idle), WINDOW - len(self.waiting))):
            self.ask(port, self.dice.choice((0, LIFETIME_S, LIFETIME_S)))

    def ask(self, port, lifetime):
        self.waiting.add(port)
        self.told[port] = UNKNOWN
        with contextlib.suppress(ConnectionRefusedError):
            self.client.ask(port, lifetime)

    def read(self):
        """All that has come."""
        while select.select([self.client.socket], [], [], 0)[0]:
            try:
                answer = self.client.read()
            except ConnectionRefusedError:
                continue
            if answer and answer[0] == LAST_PORT:
                self.flushed = True
            # (an answer to what was given up tells no more than nothing)
            elif answer and answer[0] in self.waiting:
                self.waiting.remove(answer[0])
                self.told[answer[0]] = answer[1]
                self.answers += 1

    def flush(self):
        """
        Until all that was asked is done or lost: what is asked last is answered last. The
        worker has lost what waited for the core that died.
        """
        def is_answered():
            if time.monotonic() > self.again:
                self.again = time.monotonic() + AGAIN_S
                with contextlib.suppress(ConnectionRefusedError):
                    self.client.ask(LAST_PORT, 0)
            self.read()
            return self.flushed
        self.flushed, self.again = False, 0
        wait_for(is_answered, "the last answer")

    def is_ours(self, rule):
        host = self.client.host
        return (rule.protocol == self.client.protocol and rule.internal in self.told
                and rule.host in (host.ipv4, host.ipv6)
                and (":" in rule.host) == isinstance(self.client, Pcp6))

    def compare(self, rules):
        """Who was told so has it, and who was not has not; the rest is as it is now."""
        there = {rule.internal: rule for rule in rules if self.is_ours(rule)}
        wrong = {port: (told, there.get(port)) for port, told in self.told.items()
                 if told != UNKNOWN and told != there.get(port)}
        assert not wrong, f"told and there: {wrong}"
        self.told = {port: there.get(port) for port in self.told}
        self.waiting.clear()


class Crowd:
    """All clients."""

    def __init__(self, lab, dice):
        self.books = [Book(client, dice) for client in
                      (NatPmp(lab, "udp"), NatPmp(lab, "tcp"), Pcp6(lab))]

    def load(self, seconds, end):
        """Ask for that long; end() in the middle of it; read what comes after that."""
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            for book in self.books:
                book.ask_some()
                book.read()
        for book in self.books:
            book.ask_some()
        end()

    def delete_all(self):
        for book in self.books:
            for port in book.told:
                book.ask(port, 0)
            wait_for(lambda: book.read() or not book.waiting, "all deletions")

    def close(self):
        for book in self.books:
            book.client.socket.close()


def list_rules(daemon):
    return {Rule(x["protocol"], x["external_port"], x["internal_address"],
                 x["internal_port"]) for x in daemon.leases()}


def wait_core(daemon, before):
    """Until another core serves: its leases."""
    def serves():
        core = daemon.roles().get("core")
        if not core or core == before:
            return False
        with contextlib.suppress(CommandError):
            return [list_rules(daemon)]
        return False
    return wait_for(serves, "another core")[0]


def check_elements(lab, rules):
    """What marks, sends outwards and holds ports says the same of each mapping."""
    elements = firewall(lab).elements()
    ipv4 = {rule for rule in rules if ":" not in rule.host}
    assert elements["count4"] == {tuple(rule) for rule in ipv4}
    assert elements["held4"] == {rule[:2] for rule in ipv4}
    assert elements["snat4"] == {
        (rule.protocol, rule.host, rule.internal, Lab.WAN_ADDRESS, rule.external)
        for rule in ipv4}


def settle(lab, daemon, crowd, before):
    """
    Another core serves, and has done what its predecessor left in the worker's hands:
    table and kernel agree, and with the answers that clients got.
    """
    wait_core(daemon, before)
    for book in crowd.books:
        book.flush()
    rules = list_rules(daemon)
    assert rules == firewall(lab).rules()
    check_elements(lab, rules)
    for book in crowd.books:
        book.compare(rules)
    return rules


@pytest.fixture
def dice():
    seed = random.randrange(1 << 32)
    print("seed", seed)
    return random.Random(seed)


def test_killed_under_load(lab, daemon_factory, dice):
    daemon = daemon_factory(NO_LIMITS, build="release").start()
    crowd = Crowd(lab, dice)
    with contextlib.closing(crowd):
        for number in range(1, KILLS + 1):
            core = daemon.roles()["core"]
            crowd.load(dice.uniform(LOAD_MIN_S, LOAD_MAX_S),
                       lambda core=core: os.kill(core, signal.SIGKILL))
            rules = settle(lab, daemon, crowd, core)
            if number % KILLS_OF_ONE_LAUNCHER == 0:
                daemon.kill()
                # what stands in the store alone is what the table was
                daemon.start()
                assert list_rules(daemon) == rules == firewall(lab).rules()
        print(sum(book.answers for book in crowd.books), "answers")
        crowd.delete_all()
    assert daemon.leases() == [] and daemon.rules() == set()
    assert daemon.stop() == 0
    assert daemon.table() == "" and not os.path.exists(daemon.control)
