# SPDX-License-Identifier: GPL-2.0-or-later
"""WANIPv6FirewallControl:1 over IPv6, through the whole daemon; packets prove it."""

import socket

import igd
import pytest
import wire
from igd2 import ROOT6, ROOTS, Firewall, refused
from lab import wait_for

NAMES = ("UpdatePinhole", "DeletePinhole", "GetPinholePackets", "CheckPinholeWorking")


@pytest.fixture
def lan1(lab, daemon):
    return Firewall(lab.lan1)


@pytest.fixture
def lan2(lab, daemon):
    return Firewall(lab.lan2)


def arrives(lab, host, port, sender=None, **options):
    """Whether a datagram from the internet gets in."""
    return lab.udp_arrives(sender or lab.inet1, (host.ipv6, port), host, port,
                           **options) is not None


def call_by_id(firewall, name, unique):
    extra = {"NewLeaseTime": 60} if name == "UpdatePinhole" else {}
    return firewall.call(name, UniqueID=unique, **extra)


@pytest.mark.parametrize("protocol", [6, 17])
def test_pinhole(lab, lan1, daemon, protocol):
    """V6FW-13: one endpoint of one protocol is open, nothing beside it"""
    def reach(protocol, host, port):
        sends = lab.tcp_arrives if protocol == 6 else lab.udp_arrives
        return sends(lab.inet1, (host.ipv6, port), host, port) is not None

    assert not reach(protocol, lab.lan1, 5000)
    unique = lan1.open(5000, Protocol=protocol)
    assert 1 <= unique <= 65535
    assert reach(protocol, lab.lan1, 5000)
    assert not reach(23 - protocol, lab.lan1, 5000)
    assert not reach(protocol, lab.lan1, 5001)
    assert not reach(protocol, lab.lan2, 5000)
    [lease] = daemon.leases()
    assert lease["pinhole"] == unique and lease["internal_port"] == 5000
    lan1.close(unique)
    assert not reach(protocol, lab.lan1, 5000)
    assert daemon.leases() == []


def test_second_face(lab, daemon):
    """V6FW-7: the control URL of either root device, by IPv6"""
    firewall = Firewall(lab.lan1, ROOT6.replace("igd1", "igd2"))
    assert firewall.call("GetFirewallStatus") == {"FirewallEnabled": "1",
                                                  "InboundPinholeAllowed": "1"}
    unique = firewall.open(5000)
    assert arrives(lab, lab.lan1, 5000)
    Firewall(lab.lan1).close(unique)
    assert not arrives(lab, lab.lan1, 5000)


def test_remote_host(lab, lan1):
    """V6FW-2: only that host gets in, and so many sides of it as are named"""
    unique = lan1.open(5000, RemoteHost=lab.inet1.ipv6)
    assert arrives(lab, lab.lan1, 5000)
    assert not arrives(lab, lab.lan1, 5000, lab.inet2)
    lan1.close(unique)
    for any_host in ("", "*", "::", "::/0"):
        unique = lan1.open(5000, RemoteHost=any_host)
        assert arrives(lab, lab.lan1, 5000, lab.inet2)
        lan1.close(unique)
    assert not arrives(lab, lab.lan1, 5000, lab.inet2)


def test_remote_port(lab, lan1):
    """V6FW-2: of one host, of any host, and not where it only repeats one's own"""
    with lab.inet1.udp(4000, family=socket.AF_INET6) as right:
        for remote in (lab.inet1.ipv6, ""):
            unique = lan1.open(5000, RemoteHost=remote, RemotePort=4000)
            assert arrives(lab, lab.lan1, 5000, source=right)
            assert not arrives(lab, lab.lan1, 5000)
            lan1.close(unique)
    # CL-20: syncthing's way to say anybody
    lan1.open(5000, RemoteHost="::/0", RemotePort=5000)
    assert arrives(lab, lab.lan1, 5000)


def test_same_tuple(lab, lan1, daemon):
    """V6FW-6, V6FW-12: the same pinhole with a new end, counted from now"""
    unique = lan1.open(5000, LeaseTime=86400)
    assert lan1.open(5000, LeaseTime=600) == unique
    assert lan1.open(5000, RemotePort=4000) != unique
    lan1.update(unique, 300)
    left = {lease["pinhole"]: lease["lifetime_s"] for lease in daemon.leases()}
    assert len(left) == 2 and 290 <= left[unique] <= 300


def test_expiry(lab, lan1, daemon):
    """V6FW-5, V6FW-12, V6FW-8: it closes when it was said to, and is nobody's then"""
    unique = lan1.open(5000)
    lan1.update(unique, 2)
    other = lan1.open(5001, LeaseTime=1)
    assert arrives(lab, lab.lan1, 5000)
    wait_for(lambda: daemon.leases() == [], "the pinholes to end", 6)
    assert not arrives(lab, lab.lan1, 5000)
    for name in NAMES:
        refused(704, call_by_id, lan1, name, unique)
        refused(704, call_by_id, lan1, name, other)


def test_counters(lab, lan1):
    """V6FW-10, V6FW-11: no word before the first packet, and no packet forgotten"""
    unique = lan1.open(5000)
    refused(709, lan1.works, unique)
    assert lan1.packets(unique) == 0
    assert arrives(lab, lab.lan1, 5000)
    wait_for(lambda: lan1.packets(unique) >= 1, "the packet to be counted")
    assert lan1.works(unique) == "1"
    before = lan1.packets(unique)
    lan1.update(unique, 7200)
    assert lan1.packets(unique) >= before
    assert arrives(lab, lab.lan1, 5000)
    wait_for(lambda: lan1.packets(unique) > before, "another packet to be counted")


def test_foreign(lab, lan1, lan2, daemon):
    """V6FW-7, V6FW-9: nobody opens or touches another host's"""
    unique = lan1.open(5000)
    for name in NAMES:
        refused(606, call_by_id, lan2, name, unique)
        refused(704, call_by_id, lan2, name, unique % 65535 + 1)
        refused(704, call_by_id, lan2, name, 0)
    refused(606, lan2.open, 5001, InternalClient=lab.lan1.ipv6)
    assert arrives(lab, lab.lan1, 5000)
    assert len(daemon.leases()) == 1


def test_over_ipv4(lab, lan1, daemon):
    """V6FW-7: an IPv4 address is no IPv6 host's"""
    by_ipv4 = Firewall(lab.lan1, ROOTS[0])
    assert by_ipv4.call("GetFirewallStatus")["FirewallEnabled"] == "1"
    refused(606, by_ipv4.open, 5000)
    unique = lan1.open(5000)
    for name in NAMES:
        refused(606, call_by_id, by_ipv4, name, unique)
    assert len(daemon.leases()) == 1


def test_arguments(lab, lan1, daemon):
    """V6FW-3, V6FW-4, V6FW-5, IGD-22"""
    for code, wrong in ((708, {"InternalClient": ""}), (708, {"InternalClient": "::"}),
                        (402, {"InternalClient": lab.lan1.ipv4}),
                        (606, {"InternalClient": "fd77::1"}),
                        (606, {"InternalClient": "2001:db8:1::2"}),
                        (606, {"InternalClient": "fe80::1"}),
                        (402, {"RemoteHost": "198.51.100.7"}),
                        (706, {"InternalPort": 0}), (707, {"Protocol": 65535}),
                        (705, {"Protocol": 136}), (601, {"LeaseTime": 0}),
                        (601, {"LeaseTime": 86401}), (601, {"LeaseTime": 2 ** 32 - 1}),
                        (402, {"LeaseTime": "long"})):
        options = {"InternalPort": 5000, **wrong}
        refused(code, lan1.open, options.pop("InternalPort"), **options)
    assert daemon.leases() == []


def test_low_port(lab, daemon_factory):
    """V6FW-7, IGD-22: as far as the owner's rules go"""
    daemon_factory("[policy]\nrule = allow external 1024-65535 internal 1024-65535\n"
                   "rule = deny\n").start()
    firewall = Firewall(lab.lan1)
    refused(606, firewall.open, 1023)
    firewall.open(1024)


def test_quota(lab, daemon_factory):
    """V6FW-14: no more than a host may have"""
    daemon_factory("[limits]\nleases-per-client = 2\n").start()
    firewall = Firewall(lab.lan1)
    first = firewall.open(5000)
    firewall.open(5001)
    refused(701, firewall.open, 5002)
    assert firewall.open(5000) == first
    firewall.close(first)
    firewall.open(5002)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restart(lab, lan1, daemon, how):
    """V6FW-2, V6FW-8: kept with its name, and with who may come in"""
    unique = lan1.open(5000, RemoteHost=lab.inet1.ipv6)
    everybody = lan1.open(5001)
    getattr(daemon, how)()
    daemon.start()
    again = Firewall(lab.lan1)
    assert arrives(lab, lab.lan1, 5000)
    assert not arrives(lab, lab.lan1, 5000, lab.inet2)
    assert arrives(lab, lab.lan1, 5001, lab.inet2)
    assert again.open(5000, RemoteHost=lab.inet1.ipv6) == unique
    for one in (unique, everybody):
        again.close(one)
    assert not arrives(lab, lab.lan1, 5000)


def test_icmp_errors_pass(lab, lan1):
    """V6FW-13: who sends into a hole that nobody listens behind is told so"""
    lan1.open(5000)
    with lab.inet1.udp(family=socket.AF_INET6) as source:
        wire.want_errors(source)
        source.sendto(b"anybody?", (lab.lan1.ipv6, 5000))
        kind, code, _ = wire.read_error(source)
    assert (kind, code) == (1, 4), "port unreachable"


def test_ids_are_not_guessable(lab, lan1):
    """V6FW-8: no two alike, none a step from the one before"""
    unique = [lan1.open(port) for port in range(5000, 5020)]
    assert len(set(unique)) == len(unique)
    steps = [b - a for a, b in zip(unique, unique[1:])]
    assert len(set(steps)) > len(steps) // 2, unique


def test_service_document(lab, lan1):
    """V6FW-15, DESC-5, DESC-6: all seven actions, by the names that they have"""
    urls = lan1.services()[igd.V6FC1]
    _, _, data = igd.request(lab.lan1, urls["SCPDURL"])
    for name in (*NAMES, "GetFirewallStatus", "GetOutboundPinholeTimeout", "AddPinhole"):
        assert f"<name>{name}</name>".encode() in data
    answer = lan1.call("GetOutboundPinholeTimeout", RemoteHost="", RemotePort=0,
                       InternalClient=lab.lan1.ipv6, InternalPort=5000, Protocol=6)
    assert int(answer["OutboundPinholeTimeout"]) > 0
