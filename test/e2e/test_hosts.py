# SPDX-License-Identifier: GPL-2.0-or-later
"""Leases belong to machines, known by their network cards; packets prove it."""

import json
import os
import re
import socket
import time

import igd
import natpmp
import pcp
import pytest
from igd2 import ROOT6, Firewall
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
NEW, NEW6 = "192.168.77.40", "fd77::40"
# Longest that the kernel takes to find that nobody is at an address, and some more.
FOLLOW_S = 8
END_S = 1.0


def arrives(lab, port, host, address=None, inner=None):
    """Whether a datagram from the internet gets to this host, at this address of its."""
    address = address or host.ipv4
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    target = (address if family == socket.AF_INET6 else WAN, port)
    with host.udp(inner or port, address, family) as sink:
        return lab.udp_arrives(lab.inet1, target, host, inner or port,
                               sink=sink) is not None


def owners(daemon):
    """{external port: internal address}"""
    return {lease["external_port"]: lease["internal_address"] for lease in daemon.leases()}


def inner(daemon):
    return [(lease["internal_port"], lease["internal_address"])
            for lease in daemon.leases()]


def mac(host):
    [link] = json.loads(host.ip("-json", "link", "show", "dev", "eth0"))
    return link["address"]


class Addresses:
    """What addresses the hosts of the LAN have; put right at the end of a test."""

    def __init__(self, lab):
        self.lab = lab
        self.hosts = (lab.lan1, lab.lan2)

    def set(self, host, *addresses, gateway6="fd77::1"):
        """The host has these and no others; IPv4 and IPv6 apart."""
        for version, bits in (("-4", 24), ("-6", 64)):
            mine = [x for x in addresses if (":" in x) == (version == "-6")]
            if not mine:
                continue
            flush = ["scope", "global"] if version == "-6" else []
            host.ip(version, "address", "flush", "dev", "eth0", *flush)
            for address in mine:
                extra = ["nodad"] if version == "-6" else []
                host.ip("address", "add", f"{address}/{bits}", "dev", "eth0", *extra)
            gateway = gateway6 if version == "-6" else "192.168.77.1"
            host.ip(version, "route", "replace", "default", "via", gateway)

    def leave(self, host):
        """It has no address of IPv4."""
        host.ip("-4", "address", "flush", "dev", "eth0")

    def greet(self, host, address=None, gateway6="fd77::1"):
        """Its first packet from there goes to the gateway."""
        address = address or host.ipv4
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with host.udp(0, address, family) as sock:
            sock.sendto(b"hello", (gateway6 if ":" in address else "192.168.77.1", 9))

    def forget(self):
        for version in ("-4", "-6"):
            self.lab.gw.ip(version, "neigh", "flush", "dev", "lan0", "nud", "all")

    def restore(self):
        for host in self.hosts:
            self.set(host, host.ipv4, host.ipv6)
        self.forget()


def set_patience(lab, milliseconds):
    """What the gateway's kernel waits for an answer, three times."""
    for version in ("ipv4", "ipv6"):
        lab.gw.write_sysctl(f"net/{version}/neigh/lan0/retrans_time_ms", milliseconds)


@pytest.fixture
def addresses(lab):
    made = Addresses(lab)
    made.forget()
    set_patience(lab, 200)
    yield made
    set_patience(lab, 1000)
    made.restore()


def test_mac_is_known(lab, daemon, addresses):
    """Of whoever asks, at once or with the first word of the neighbour table"""
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", 4000)
    igd.Gateway(lab.lan2).add(5000, 5000)
    def known():
        return {lease["internal_address"]: lease["mac"] for lease in daemon.leases()}
    want = {lab.lan1.ipv4: mac(lab.lan1), lab.lan2.ipv4: mac(lab.lan2)}
    wait_for(lambda: known() == want, "the cards to be known")
    number = str(daemon.leases()[0]["id"])
    assert "  Card         " in daemon.admin("show", number)


def test_hand_over(lab, daemon, addresses):
    """DHCP gives the address to another machine: it gets none of the packets"""
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", 4000, 4000).result == natpmp.OK
    daemon.admin("add", "udp", "6000", f"{lab.lan1.ipv4}:6000")
    assert arrives(lab, 4000, lab.lan1)
    old = lab.lan1.ipv4
    addresses.leave(lab.lan1)
    addresses.set(lab.lan2, old)
    addresses.greet(lab.lan2, old)
    wait_for(lambda: 4000 not in owners(daemon), "the lease to end", END_S)
    assert not arrives(lab, 4000, lab.lan2, old)
    assert "why=host" in daemon.wait_log("lease deleted .*ext=4000")
    assert owners(daemon) == {6000: old}, "the owner's stays"
    with natpmp.Client(Renamed(lab.lan2, old)) as client:
        assert client.map("udp", 4001, 4001).result == natpmp.OK
    assert arrives(lab, 4001, lab.lan2, old)


class Renamed:
    """A host with another address than the laboratory gave it."""

    def __init__(self, host, ipv4):
        self.host, self.ipv4 = host, ipv4

    def udp(self, port=0):
        return self.host.udp(port, self.ipv4)


def test_follows(lab, daemon, addresses):
    """The same machine under a new address keeps its ports, and its client its nonce"""
    set_patience(lab, 1000)
    with pcp.Client(lab.lan1) as client:
        granted = client.grant("udp", 4000, 4000)
        nonce = client.nonce
    gateway = igd.Gateway(lab.lan1)
    gateway.add(5000, 5000)
    daemon.admin("add", "udp", "6000", f"{lab.lan1.ipv4}:6000")
    left = {lease["external_port"]: lease["id"] for lease in daemon.leases()}
    addresses.set(lab.lan1, NEW)
    addresses.greet(lab.lan1, NEW)
    wait_for(lambda: owners(daemon) == {4000: NEW, 5000: NEW, 6000: lab.lan1.ipv4},
             "the leases to follow", FOLLOW_S)
    assert arrives(lab, 4000, lab.lan1, NEW) and arrives(lab, 5000, lab.lan1, NEW)
    assert "why=moved" in daemon.wait_log("lease deleted .*ext=4000")
    assert "why=" not in daemon.wait_log("lease added .*ext=4000", 2)
    now = {lease["external_port"]: lease["id"] for lease in daemon.leases()}
    assert now[4000] > left[4000] and now[6000] == left[6000]
    with pcp.Client(lab.lan1, address=NEW) as client:
        client.nonce = nonce
        again = client.grant("udp", 4000)
    assert again.endpoint == granted.endpoint
    assert len(daemon.leases()) == 3


def test_client_is_told(lab, daemon, addresses):
    """PCP-40: at its new address, that it still has its port"""
    with pcp.Client(lab.lan1, port=5555) as client:
        granted = client.grant("udp", 4000, 4000)
        nonce = client.nonce
    addresses.set(lab.lan1, NEW)
    with pcp.Client(lab.lan1, address=NEW, port=5555) as client:
        addresses.greet(lab.lan1, NEW)
        update = client.updates(FOLLOW_S)
    assert (update.opcode, update.result) == (pcp.MAP, pcp.OK)
    assert (update.nonce, update.internal, update.endpoint) == (
        nonce, 4000, granted.endpoint)
    assert 3590 <= update.lifetime <= 3600


class Monitor:
    """What the gateway's kernel tells of its neighbours."""

    def __init__(self, lab):
        self.process = lab.gw.start(["ip", "monitor", "neigh", "dev", "lan0"])

    def wait(self, address, *states):
        """Until the address had these states, in this order."""
        pattern = ".*?".join(rf"^{re.escape(address)} [^\n]*{state} ?$" for state in states)
        wait_for(lambda: re.search(pattern, self.process.output(), re.S | re.M),
                 f"{address} {states}", FOLLOW_S)


@pytest.fixture
def monitor(lab):
    made = Monitor(lab)
    yield made
    made.process.stop()


def test_repeater(lab, daemon, addresses, monitor):
    """Two hosts behind one card: both keep what they have, whoever of them sleeps"""
    addresses.set(lab.lan1, lab.lan1.ipv4, NEW)
    for address, port in ((lab.lan1.ipv4, 4000), (NEW, 4001)):
        with natpmp.Client(Renamed(lab.lan1, address)) as client:
            assert client.map("udp", port, port).result == natpmp.OK
    want = {4000: lab.lan1.ipv4, 4001: NEW}
    for address in (lab.lan1.ipv4, NEW):
        lab.gw.run(["ping", "-c1", "-W1", address])
    monitor.wait(lab.lan1.ipv4, "PROBE", "REACHABLE")
    assert owners(daemon) == want
    addresses.set(lab.lan1, NEW)
    addresses.forget()
    lab.gw.run(["ping", "-c1", "-W1", NEW])
    lab.gw.start(["ping", "-c1", "-W5", lab.lan1.ipv4])
    monitor.wait(lab.lan1.ipv4, "FAILED")
    addresses.forget()
    lab.gw.run(["ping", "-c1", "-W1", NEW])
    assert owners(daemon) == want
    assert arrives(lab, 4001, lab.lan1, NEW)


def test_two_addresses(lab, daemon, addresses, monitor):
    """A host that gets another address besides its own keeps all where it is"""
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", 4000, 4000).result == natpmp.OK
    addresses.set(lab.lan1, lab.lan1.ipv4, NEW)
    lab.gw.run(["ping", "-c1", "-W1", NEW])
    monitor.wait(lab.lan1.ipv4, "PROBE", "REACHABLE")
    assert owners(daemon) == {4000: lab.lan1.ipv4}
    assert arrives(lab, 4000, lab.lan1)


def test_proxy(lab, daemon, addresses, monitor):
    """A card that answers for a machine that sleeps, and at its own address, ends nothing"""
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", 4000, 4000).result == natpmp.OK
    lab.gw.run(["ping", "-c1", "-W1", lab.lan2.ipv4])
    addresses.leave(lab.lan1)
    addresses.set(lab.lan2, lab.lan2.ipv4, lab.lan1.ipv4)
    addresses.greet(lab.lan2, lab.lan1.ipv4)
    monitor.wait(lab.lan1.ipv4, rf"lladdr {mac(lab.lan2)} REACHABLE")
    monitor.wait(lab.lan2.ipv4, "PROBE", "REACHABLE")
    assert owners(daemon) == {4000: lab.lan1.ipv4}
    addresses.set(lab.lan2, lab.lan2.ipv4)
    addresses.set(lab.lan1, lab.lan1.ipv4)
    addresses.greet(lab.lan1)
    assert arrives(lab, 4000, lab.lan1)


def test_swap(lab, daemon, addresses):
    """Two hosts take each other's address: each keeps what it has"""
    hosts = (lab.lan1, 4000, lab.lan2.ipv4), (lab.lan2, 4100, lab.lan1.ipv4)
    for host, port, _ in hosts:
        with natpmp.Client(host) as client:
            assert client.map("udp", port, port).result == natpmp.OK
        addresses.leave(host)
    for host, _, new in hosts:
        addresses.set(host, new)
        addresses.greet(host, new)
    wait_for(lambda: owners(daemon) == {port: new for _, port, new in hosts},
             "the leases to follow", FOLLOW_S)
    for host, port, new in hosts:
        assert arrives(lab, port, host, new)


def test_sleep(lab, daemon, addresses, monitor):
    """A host that does not answer keeps its leases, and is found by them when it wakes"""
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", 4000, 4000).result == natpmp.OK
    lab.gw.ip("link", "set", "p-lan1", "nomaster")
    addresses.forget()
    lab.gw.start(["ping", "-c1", "-W5", lab.lan1.ipv4])
    monitor.wait(lab.lan1.ipv4, "FAILED")
    addresses.greet(lab.lan2)
    assert owners(daemon) == {4000: lab.lan1.ipv4}
    lab.gw.ip("link", "set", "p-lan1", "master", "lan0")
    addresses.greet(lab.lan1)
    assert arrives(lab, 4000, lab.lan1)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restart(lab, daemon, addresses, how):
    """What went on meanwhile is found at the start"""
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", 4000, 4000).result == natpmp.OK
    with natpmp.Client(lab.lan2) as client:
        assert client.map("udp", 4100, 4100).result == natpmp.OK
    wait_for(lambda: all(lease["mac"] for lease in daemon.leases()), "the cards")
    getattr(daemon, how)()
    old = lab.lan1.ipv4
    addresses.set(lab.lan1, NEW)
    addresses.set(lab.lan2, old)
    for host, address in ((lab.lan1, NEW), (lab.lan2, old)):
        addresses.greet(host, address)
        lab.gw.run(["ping", "-c1", "-W1", address])
    daemon.start()
    wait_for(lambda: owners(daemon) == {4000: NEW, 4100: old}, "the leases to follow",
             FOLLOW_S)
    assert arrives(lab, 4000, lab.lan1, NEW) and arrives(lab, 4100, lab.lan2, old)


def test_prefix_change(lab, daemon, addresses):
    """V6FW-8, V6FW-11: a pinhole follows with its name and count, to the same host part"""
    firewall = Firewall(lab.lan1)
    unique = firewall.open(5000)
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as client:
        client.grant("udp", 5001)
    other = Firewall(lab.lan2).open(5000)
    assert arrives(lab, 5000, lab.lan1, lab.lan1.ipv6)
    wait_for(lambda: firewall.packets(unique) >= 1, "the packet to be counted")
    before = firewall.packets(unique)
    wait_for(lambda: all(lease["mac"] for lease in daemon.leases()), "the cards")
    old, new = lab.lan1.ipv6, "fd99::2"
    try:
        lab.gw.ip("-6", "address", "add", "fd99::1/64", "dev", "lan0", "nodad")
        lab.inet1.ip("-6", "route", "add", "fd99::/64", "via", lab.WAN_ADDRESS6)
        lab.gw.ip("-6", "address", "del", "fd77::1/64", "dev", "lan0")
        addresses.set(lab.lan1, new, gateway6="fd99::1")
        addresses.greet(lab.lan1, new, "fd99::1")
        wait_for(lambda: set(inner(daemon)) == {
            (5000, new), (5000, lab.lan2.ipv6), (5001, new)}, "the leases to follow",
            FOLLOW_S)
        assert arrives(lab, 5000, lab.lan1, new) and arrives(lab, 5001, lab.lan1, new)
        [moved] = [x for x in daemon.leases() if x["pinhole"] == unique]
        assert moved["internal_address"] == new and other != unique
        lab.lan1.ipv6 = new
        again = Firewall(lab.lan1, ROOT6.replace("fd77::1", "fd99::1"))
        assert again.packets(unique) > before
    finally:
        lab.lan1.ipv6 = old
        lab.gw.ip("-6", "address", "replace", "fd77::1/64", "dev", "lan0", "nodad")
        lab.gw.ip("-6", "address", "del", "fd99::1/64", "dev", "lan0")
        lab.inet1.ip("-6", "route", "del", "fd99::/64")


def test_address_identity(lab, daemon_factory, addresses, monitor):
    """host-identity = address: whoever has the address has its leases"""
    daemon = daemon_factory("[global]\nhost-identity = address\n").start()
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", 4000, 4000).result == natpmp.OK
    old = lab.lan1.ipv4
    addresses.set(lab.lan1, NEW)
    addresses.set(lab.lan2, old)
    addresses.greet(lab.lan2, old)
    monitor.wait(old, rf"lladdr {mac(lab.lan2)} \w+")
    assert owners(daemon) == {4000: old}
    assert [lease["mac"] for lease in daemon.leases()] == [""]
    assert arrives(lab, 4000, lab.lan2, old)


def pack_arp(address):
    """Some card that nobody has asks for the gateway, from that address."""
    card = b"\x02" + os.urandom(5)
    return (b"\xff" * 6 + card + b"\x08\x06" + bytes.fromhex("0001080006040001") + card
            + socket.inet_aton(address) + bytes(6) + socket.inet_aton("10.9.0.1"))


def get_memory_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


def test_flood(lab, daemon_factory, addresses):
    """Addresses and cards without number take neither memory nor others' time"""
    daemon = daemon_factory(build="release").start()
    core = daemon.roles()["core"]
    with natpmp.Client(lab.lan2) as client:
        assert client.map("udp", 4100, 4100).result == natpmp.OK
    lab.gw.ip("address", "add", "10.9.0.1/16", "dev", "lan0")
    try:
        with natpmp.Client(lab.lan1) as client, lab.lan2.open_socket(
                socket.AF_PACKET, socket.SOCK_RAW) as flood:
            flood.bind(("eth0", 0))
            assert client.map("udp", 4000, 4000).result == natpmp.OK
            sizes = []
            for number in range(20000):
                flood.send(pack_arp(f"10.9.{number // 250 % 250}.{number % 250 + 2}"))
                if number % 50 == 0:  # who has leases is among them
                    flood.send(pack_arp(lab.lan2.ipv4))
                if number % 1000 == 0:
                    began = time.monotonic()
                    assert client.map("udp", 4000, 4000).result == natpmp.OK
                    assert time.monotonic() - began < 1
                    sizes.append(get_memory_kb(core))
            assert owners(daemon) == {4000: lab.lan1.ipv4, 4100: lab.lan2.ipv4}
        assert sizes[-1] - sizes[len(sizes) // 2] < 1024, sizes
        addresses.forget()
        assert arrives(lab, 4000, lab.lan1) and arrives(lab, 4100, lab.lan2)
    finally:
        lab.gw.ip("address", "del", "10.9.0.1/16", "dev", "lan0")
