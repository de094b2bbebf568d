# SPDX-License-Identifier: GPL-2.0-or-later
"""Pinholes by MAP over IPv6: rows PCP-92..97 of the checklist, each proven by packets."""

import itertools
import os
import socket

import pcp
import pytest
import wire
from firewall import firewall
from lab import Lab, wait_for

WAN6 = Lab.WAN_ADDRESS6
LIMITS = "[limits]\nrequests-per-second = 0\nleases-per-client = 0\n"
PORTS = itertools.count(23000)


@pytest.fixture
def daemon(keeper):
    return keeper.get(LIMITS)


@pytest.fixture
def port():
    """A port that no other test uses."""
    return next(PORTS)


def open_client(host, **options):
    return pcp.Client(host, family=socket.AF_INET6, **options)


@pytest.fixture
def lan1(lab, daemon):
    with open_client(lab.lan1) as client:
        yield client


def arrives(lab, port, protocol="udp", host=None, sender=None, **options):
    """Whether a new flow from the internet reaches the host's own address and port."""
    host = host or lab.lan1
    send = lab.udp_arrives if protocol == "udp" else lab.tcp_arrives
    return send(sender or lab.inet1, (host.ipv6, port), host, port, **options) is not None


def leases_of(daemon, port):
    return [x for x in daemon.leases() if x["internal_port"] == port]


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_pinhole(lab, lan1, daemon, port, protocol):
    """PCP-93, PCP-58, PCP-65: opened for all by MAP, for that port, closed by a delete"""
    assert not arrives(lab, port, protocol)
    answer = lan1.grant(protocol, port, port, 600)
    assert (answer.endpoint, answer.lifetime) == ((lab.lan1.ipv6, port), 600)
    assert arrives(lab, port, protocol) and arrives(lab, port, protocol, sender=lab.inet2)
    assert not arrives(lab, port, "tcp" if protocol == "udp" else "udp")
    assert not arrives(lab, port, protocol, lab.lan2)
    [lease] = leases_of(daemon, port)
    assert lease["internal_address"] == lab.lan1.ipv6 and lease["external_port"] == port
    assert (lease["origin"], lease["lan"]) == ("pcp", "lan0")
    assert lan1.unmap(protocol, port).result == pcp.OK
    assert not arrives(lab, port, protocol)
    assert leases_of(daemon, port) == []


def test_source_is_seen(lab, lan1, port):
    """Nothing is translated."""
    lan1.grant("udp", port)
    with lab.inet1.udp(7777, family=socket.AF_INET6) as source:
        assert lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, port), lab.lan1, port,
                               source=source) == (lab.inet1.ipv6, 7777)


def test_suggestions_are_hints(lab, lan1, daemon, port):
    """PCP-93, PCP-92, PCP-97: the internal endpoint, when it is made and when renewed"""
    for suggested in ("::", "0.0.0.0", "203.0.113.1", "2001:db8::9", lab.lan1.ipv6,
                      "::1", "fe80::1"):
        for external in (0, port, port + 1, 5351):
            answer = lan1.grant("udp", port, external, suggested=suggested)
            assert answer.endpoint == (lab.lan1.ipv6, port)
    assert len(leases_of(daemon, port)) == 1
    assert arrives(lab, port) and not arrives(lab, port + 1)


def test_prefer_failure(lab, lan1, port):
    """PCP-94, PCP-76: exactly that, or result 11"""
    prefer = [pcp.prefer_failure()]
    for external, suggested in ((port + 1, "::"), (port, "2001:db8::9"),
                                (port, lab.lan2.ipv6), (port, "203.0.113.1")):
        answer = lan1.map("udp", port, external, 600, prefer, suggested=suggested)
        assert answer.result == pcp.CANNOT_PROVIDE_EXTERNAL, answer
    assert not arrives(lab, port)
    for suggested in ("::", lab.lan1.ipv6):
        lan1.grant("udp", port, port, 600, prefer, suggested=suggested)
    assert arrives(lab, port)


def test_two_hosts_same_port(lab, lan1, daemon, port):
    """Without translation no port is taken by another host; IPv4 has its own ports."""
    with open_client(lab.lan2) as lan2, pcp.Client(lab.lan1) as lan1v4:
        for client in (lan1, lan2, lan1v4):
            client.grant("udp", port, port)
        assert arrives(lab, port) and arrives(lab, port, host=lab.lan2)
        lan1.unmap("udp", port)
        assert not arrives(lab, port) and arrives(lab, port, host=lab.lan2)
        assert lab.udp_arrives(lab.inet1, (Lab.WAN_ADDRESS, port), lab.lan1, port)


def test_nonce(lab, lan1, port):
    """PCP-49, PCP-102: as with IPv4"""
    lan1.grant("udp", port, port, 1000)
    for lifetime in (0, 600):
        answer = lan1.map("udp", port, port, lifetime, nonce=os.urandom(12))
        assert answer.result == pcp.NOT_AUTHORIZED and 980 <= answer.lifetime <= 1000
    assert arrives(lab, port)


def test_link_local(lab, lan1, daemon, port):
    """PCP-95: who asks by fe80:: may know that we are there, and gets no pinhole"""
    ours, theirs = (wire.link_local(lab.gw, "lan0"), wire.link_local(lab.lan1, "eth0"))
    with open_client(lab.lan1, address=theirs, gateway=ours, interface="eth0") as client:
        assert client.announce().result == pcp.OK
        for answer in (client.map("udp", port, port),
                       client.peer("udp", port, (lab.inet1.ipv6, 7))):
            assert (answer.result, answer.lifetime) == (pcp.NOT_AUTHORIZED, pcp.LONG_S)
    assert leases_of(daemon, port) == []
    assert "fe80" not in daemon.table()


def test_address_that_is_no_lans(lab, lan1, daemon, port):
    """PCP-95, PCP-2: a global address from no prefix of that LAN"""
    lab.lan1.ip("address", "add", "2001:db8:99::2/64", "dev", "eth0", "nodad")
    lab.gw.ip("route", "add", "2001:db8:99::/64", "dev", "lan0")
    try:
        with open_client(lab.lan1, address="2001:db8:99::2", gateway="fd77::1") as client:
            client.send(client.pack_map("udp", port, port))
            assert lan1.is_silent(b"")
            try:
                answer = pcp.Response(client.receive(0.1))
                assert answer.result == pcp.NOT_AUTHORIZED
            except TimeoutError:
                pass
    finally:
        lab.gw.ip("route", "del", "2001:db8:99::/64", "dev", "lan0")
        lab.lan1.ip("address", "del", "2001:db8:99::2/64", "dev", "eth0")
    assert leases_of(daemon, port) == []


def test_several_addresses_of_a_host(lab, lan1, port):
    """PCP-93, PCP-95: each for itself, as with the privacy addresses of hosts"""
    lab.lan1.ip("address", "add", "fd77::22/64", "dev", "eth0", "nodad")
    try:
        with open_client(lab.lan1, address="fd77::22", gateway="fd77::1") as second:
            assert second.grant("udp", port).endpoint == ("fd77::22", port)
        assert not arrives(lab, port)
        with lab.lan1.udp(port, "fd77::22", socket.AF_INET6) as sink:
            assert lab.udp_arrives(lab.inet1, ("fd77::22", port), lab.lan1, port,
                                   sink=sink)
    finally:
        lab.lan1.ip("address", "del", "fd77::22/64", "dev", "eth0")


def test_prefix_that_comes_later(lab, lan1, port):
    """PCP-95: a prefix that the LAN got while we serve it is one of its own"""
    hosts = ((lab.gw, "fd99::1/64", "lan0"), (lab.lan1, "fd99::2/64", "eth0"))
    for host, address, interface in hosts:
        host.ip("address", "add", address, "dev", interface)
    try:
        with open_client(lab.lan1, address="fd99::2", gateway="fd99::1") as client:
            answer = client.map("udp", port)
            assert (answer.result, answer.endpoint) == (pcp.OK, ("fd99::2", port))
            assert client.announce().result == pcp.OK
    finally:
        for host, address, interface in hosts:
            host.ip("address", "del", address, "dev", interface)


def test_icmp_errors_pass(lab, lan1, port):
    """PCP-60: unreachable and too big, to the host with the pinhole and from it"""
    lan1.grant("udp", port)
    with lab.lan1.udp(port, family=socket.AF_INET6) as inside:
        wire.want_errors(inside)
        with lab.inet1.udp(family=socket.AF_INET6) as outside:
            source = outside.getsockname()[:2]
            assert arrives(lab, port, source=outside, sink=inside)
            wire.send_too_big(lab.inet1, (lab.lan1.ipv6, port), source, 1300)
            assert wire.read_error(inside) == (2, 0, 1300)
        inside.sendto(b"nobody listens now", source)
        assert wire.read_error(inside)[:2] == (1, 4)
    with lab.inet1.udp(family=socket.AF_INET6) as outside:
        outside.connect((lab.lan1.ipv6, port))
        outside.send(b"nobody listens here either")
        with pytest.raises(ConnectionRefusedError):
            outside.recv(64)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restart(lab, lan1, daemon, port, how):
    """The store has pinholes too; the kernel keeps them while a killed daemon is away."""
    lan1.grant("udp", port, port, 1000)
    lan1.grant("tcp", port, port, 1000)
    before = leases_of(daemon, port)
    getattr(daemon, how)()
    assert arrives(lab, port) == (how == "kill")
    daemon.start()
    assert arrives(lab, port) and arrives(lab, port, "tcp")
    assert [x["id"] for x in leases_of(daemon, port)] == [x["id"] for x in before]
    assert lan1.map("udp", port, nonce=os.urandom(12)).result == pcp.NOT_AUTHORIZED
    assert lan1.unmap("udp", port).result == pcp.OK
    assert not arrives(lab, port)


def test_firewall_reload(lab, lan1, daemon, port):
    """A stranger's flush is healed."""
    lan1.grant("udp", port)
    kernel = firewall(lab)
    kernel.wreck(kernel.WRECK6)
    wait_for(lambda: arrives(lab, port), "the pinhole to come back", kernel.HEALED_S)


def test_flows_end_with_the_pinhole(lab, lan1, port):
    """PCP-65: what is deleted carries no traffic any more"""
    lan1.grant("udp", port)
    with lab.inet1.udp(family=socket.AF_INET6) as source:
        assert arrives(lab, port, source=source)
        assert lan1.unmap("udp", port).result == pcp.OK
        wait_for(lambda: not arrives(lab, port, source=source), "the live flow to end", 2)


@pytest.mark.nftables("the kernel ends leases by itself")
def test_expiry(lab, keeper, port):
    """Pinholes end in time, also where the daemon is dead."""
    daemon = keeper.get(LIMITS + "lifetime-min = 1\n")
    with open_client(lab.lan1) as client:
        client.grant("udp", port, port, 1)
        client.grant("udp", port + 100, port, 2)
        assert arrives(lab, port) and arrives(lab, port + 100)
        wait_for(lambda: leases_of(daemon, port) == [], "the lease to end", 3)
        assert not arrives(lab, port)
        daemon.kill()
        wait_for(lambda: not arrives(lab, port + 100), "the kernel to end the other", 5)


def test_policy_and_quota(lab, keeper, port):
    """PCP-61, PCP-63, PCP-99: one policy and one quota for both families"""
    keeper.get("[policy]\nrule = deny client fd77::3/128\nrule = deny lan guest0\n"
               "rule = allow external 20000-29999 lifetime-max 10m\n"
               "[limits]\nleases-per-client = 2\n")
    for host in (lab.lan2, lab.guest1):
        with open_client(host) as client:
            assert client.map("udp", port).result == pcp.NOT_AUTHORIZED
        assert not arrives(lab, port, host=host)
    with open_client(lab.lan1) as client:
        assert client.map("udp", 4000).result == pcp.NOT_AUTHORIZED
        assert client.grant("udp", port, 0, 3600).lifetime == 600
        client.grant("tcp", port, 0)
        answer = client.map("udp", port + 1)
        assert (answer.result, answer.lifetime) == (pcp.USER_EX_QUOTA, pcp.SHORT_S)
        client.grant("udp", port, 0)


def test_guest_lan(lab, daemon, port):
    """Each LAN's hosts by their own gateway address."""
    with open_client(lab.guest1) as guest:
        assert guest.grant("udp", port).endpoint == (lab.guest1.ipv6, port)
    assert arrives(lab, port, host=lab.guest1)
    assert leases_of(daemon, port)[0]["lan"] == "guest0"


def test_forged_sources(lab, lan1, daemon, port):
    """PCP-2, PCP-9: another LAN's address, and a LAN's own from the internet"""
    with open_client(lab.lan1) as victim, open_client(lab.guest1) as guest:
        source = victim.socket.getsockname()[:2]
        request = victim.pack_map("udp", port, port)
        for host, targets in ((lab.guest1, ("fd78::1", "fd77::1")),
                              (lab.inet1, (WAN6, "fd77::1"))):
            for target in targets:
                wire.send_forged6(host, source, (target, pcp.PORT), request)
        assert guest.announce().result == pcp.OK
        assert lan1.is_silent(b"")
    assert leases_of(daemon, port) == []


def test_forging_works(lab, lan1, daemon, port):
    """The packets of the test before would be heard on the LAN they belong to."""
    with open_client(lab.lan1) as victim:
        source = victim.socket.getsockname()[:2]
        wire.send_forged6(lab.lan1, source, ("fd77::1", pcp.PORT),
                          victim.pack_map("udp", port, port))
        assert pcp.Response(victim.receive()).result == pcp.OK
    assert len(leases_of(daemon, port)) == 1
