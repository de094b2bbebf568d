# SPDX-License-Identifier: GPL-2.0-or-later
"""FILTER end to end: rows PCP-80..85 of its checklist; who is not named does not get in."""

import itertools
import json
import socket

import igd
import pcp
import pytest
import wire
from firewall import WRECKS, firewall
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
CONFIG = "[limits]\nrequests-per-second = 0\nleases-per-client = 0\n"
PORTS = itertools.count(22000)


class Hole:
    """A mapping of lan1 and who may use it, by IPv4 or by IPv6."""

    def __init__(self, lab, client, port):
        self.lab, self.client, self.port = lab, client, port
        self.family = socket.AF_INET6 if client.ipv6 else socket.AF_INET
        self.target = (lab.lan1.ipv6, port) if client.ipv6 else (WAN, port)
        self.one = lab.inet1.address(self.family)
        self.two = lab.inet2.address(self.family)
        self.host_length = 128 if client.ipv6 else 32

    def map(self, *filters, lifetime=3600, protocol="udp"):
        answer = self.client.grant(protocol, self.port, self.port, lifetime, filters)
        assert answer.port == self.port
        return answer

    def opens(self, sender, protocol="udp", **options):
        send = self.lab.udp_arrives if protocol == "udp" else self.lab.tcp_arrives
        return send(sender, self.target, self.lab.lan1, self.port, **options) is not None

    def check(self, one, two, protocol="udp"):
        """Whether inet1 and inet2 get in, each with a new flow."""
        assert (self.opens(self.lab.inet1, protocol),
                self.opens(self.lab.inet2, protocol)) == (one, two)

    def shown(self, daemon):
        """What the admin tool says of its filters: {(prefix, port)}."""
        [lease] = [x for x in daemon.leases() if x["internal_port"] == self.port]
        again = json.loads(daemon.admin("--json", "show", str(lease["id"])))["lease"]
        assert again["filters"] == lease["filters"]
        return {(x["prefix"], x["port"]) for x in lease["filters"]}


@pytest.fixture
def daemon(keeper):
    return keeper.get(CONFIG)


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def client(lab, daemon, request):
    with pcp.Client(lab.lan1, family=request.param) as made:
        yield made


@pytest.fixture
def hole(lab, client):
    return Hole(lab, client, next(PORTS))


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_only_who_is_named(hole, daemon, protocol):
    """PCP-81, PCP-25: in the datapath, before and after a renewal; told and shown"""
    answer = hole.map(pcp.pack_filter(hole.one), protocol=protocol)
    assert answer.filters == [pcp.Filter(128, 0, hole.one)]
    hole.check(True, False, protocol)
    assert hole.shown(daemon) == {(f"{hole.one}/{hole.host_length}", 0)}
    assert hole.map(protocol=protocol, lifetime=9000).filters == []
    hole.check(True, False, protocol)
    [text] = [line for line in daemon.admin("show", str(next(
        x["id"] for x in daemon.leases() if x["internal_port"] == hole.port))).splitlines()
        if hole.one in line]
    assert text


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restart(hole, daemon, how):
    """PCP-85: filters outlive the daemon, and hold while it is not there"""
    hole.map(pcp.pack_filter(hole.one))
    shown = hole.shown(daemon)
    getattr(daemon, how)()
    hole.check(how == "kill", False)
    daemon.start()
    hole.check(True, False)
    assert hole.shown(daemon) == shown
    hole.map()
    hole.check(True, False)


@pytest.mark.parametrize("command", WRECKS[:2])
def test_firewall_reload(lab, hole, daemon, command):
    """PCP-81: a stranger's flush is healed with the filters in place"""
    hole.map(pcp.pack_filter(hole.one))
    kernel = firewall(lab)
    kernel.wreck(command)
    wait_for(lambda: hole.opens(lab.inet1), "the table to come back", kernel.HEALED_S)
    hole.check(True, False)
    hole.map()
    hole.check(True, False)


def test_added(lab, hole, daemon):
    """PCP-83: a later request adds; the same again does not count twice"""
    hole.map(pcp.pack_filter(hole.one))
    for _ in range(20):
        hole.map(pcp.pack_filter(hole.one))
    hole.check(True, False)
    hole.map(pcp.pack_filter(hole.two))
    hole.check(True, True)
    assert len(hole.shown(daemon)) == 2


def test_replaced(lab, hole, daemon):
    """PCP-83, PCP-12: FILTER(0) clears what stood before it, in the order of the options"""
    hole.map(pcp.pack_filter(hole.one))
    with lab.inet1.udp(family=hole.family) as source:
        assert hole.opens(lab.inet1, source=source)
        hole.map(pcp.clear_filters(), pcp.pack_filter(hole.two))
        hole.check(False, True)
        wait_for(lambda: not hole.opens(lab.inet1, source=source),
                 "the flow of a host that is no longer named to end", 2)
    assert hole.shown(daemon) == {(f"{hole.two}/{hole.host_length}", 0)}
    hole.map(pcp.pack_filter(hole.one), pcp.clear_filters())
    hole.check(True, True)
    assert hole.shown(daemon) == set()


def test_cleared(lab, hole, daemon):
    """PCP-83, PCP-82: then everybody gets in; clearing nothing is none the worse"""
    hole.map(pcp.clear_filters())
    hole.check(True, True)
    hole.map(pcp.pack_filter(hole.two))
    hole.check(False, True)
    hole.map(pcp.clear_filters())
    hole.check(True, True)
    assert hole.shown(daemon) == set()


def test_new_mapping_after_delete_has_none(lab, hole, daemon):
    """PCP-83: filters end with their mapping"""
    hole.map(pcp.pack_filter(hole.one))
    assert hole.client.unmap("udp", hole.port).result == pcp.OK
    hole.check(False, False)
    hole.map()
    hole.check(True, True)


def test_narrowed(lab, hole, daemon):
    """PCP-81, PCP-83: a port that was open to all closes for all but the named"""
    hole.map()
    with lab.inet2.udp(family=hole.family) as source:
        assert hole.opens(lab.inet2, source=source)
        hole.map(pcp.pack_filter(hole.one))
        hole.check(True, False)
        wait_for(lambda: not hole.opens(lab.inet2, source=source),
                 "the flow of a host that is not named to end", 2)


def test_port_of_the_peer(lab, hole, daemon):
    """PCP-84: a remote port counts, 0 is any"""
    answer = hole.map(pcp.pack_filter(hole.one, port=7777))
    assert answer.filters == [pcp.Filter(128, 7777, hole.one)]
    with lab.inet1.udp(7777, family=hole.family) as right, \
            lab.inet1.udp(7778, family=hole.family) as wrong:
        assert hole.opens(lab.inet1, source=right)
        assert not hole.opens(lab.inet1, source=wrong)
        hole.map(pcp.pack_filter(hole.two))
        assert not hole.opens(lab.inet1, source=wrong)
        assert hole.opens(lab.inet2)
    assert hole.shown(daemon) == {(f"{hole.one}/{hole.host_length}", 7777),
                                  (f"{hole.two}/{hole.host_length}", 0)}


def test_prefixes(lab, hole, daemon):
    """PCP-82: bits behind the length do not count, and the length does"""
    host_bits = 128 - 1  # .2 and .3, ::2 and ::3
    hole.map(pcp.pack_filter(hole.two, host_bits))
    hole.check(True, True)
    masked = hole.one  # .2 of .2/31, ::2 of ::2/127
    assert hole.shown(daemon) == {(f"{masked}/{hole.host_length - 1}", 0)}
    hole.map(pcp.clear_filters(), pcp.pack_filter(hole.two, 104 if not hole.client.ipv6
                                                  else 32))
    hole.check(True, True)
    elsewhere = "198.51.100.0" if not hole.client.ipv6 else "2001:db8:2::"
    hole.map(pcp.clear_filters(), pcp.pack_filter(elsewhere, 120 if not hole.client.ipv6
                                                  else 48))
    hole.check(False, False)


def test_overlapping(lab, hole, daemon):
    """PCP-82, PCP-83: a wide one, a host in it, and that host with one port"""
    wide = 127 - 7  # both hosts
    filters = [pcp.pack_filter(hole.one), pcp.pack_filter(hole.one, wide, 7777),
               pcp.pack_filter(hole.one, port=7777), pcp.pack_filter(hole.two, wide + 4, 8),
               pcp.pack_filter(hole.two, port=9)]
    hole.map(*filters)
    hole.check(True, False)
    with lab.inet2.udp(7777, family=hole.family) as source:
        assert hole.opens(lab.inet2, source=source)
    assert len(hole.shown(daemon)) == 5
    for each in filters:
        hole.map(each)
    hole.map(pcp.pack_filter(hole.one, wide))
    hole.check(True, True)
    hole.map(pcp.clear_filters(), *reversed(filters))
    hole.check(True, False)
    assert hole.client.unmap("udp", hole.port).result == pcp.OK
    hole.check(False, False)


def test_hairpin(lab, daemon):
    """PCP-81: for the other hosts of the LAN as for those of the internet"""
    with pcp.Client(lab.lan1) as client:
        hole = Hole(lab, client, next(PORTS))
        hole.map(pcp.pack_filter(hole.one))
        assert not hole.opens(lab.lan2)
        hole.map(pcp.pack_filter(lab.lan2.ipv4))
        assert hole.opens(lab.lan2)


def test_outbound_of_a_filtered_mapping(lab, hole, daemon):
    """PCP-59, PCP-81: what the host itself begins is not filtered, and keeps the port"""
    hole.map(pcp.pack_filter(hole.one))
    with lab.lan1.udp(hole.port, family=hole.family) as inside:
        for host in (lab.inet1, lab.inet2):
            assert lab.udp_arrives(lab.lan1, (host.address(hole.family), 9), host, 9,
                                   source=inside) == hole.target
    hole.check(True, False)


def test_whole_family(hole, daemon):
    """PCP-82: IPv4-mapped/96 is a filter that any IPv4 host passes; ::/0 is none"""
    if hole.client.ipv6:
        hole.map(pcp.pack_filter("::", 0, 7777))
        assert hole.shown(daemon) == set()
    else:
        hole.map(pcp.pack_filter("0.0.0.0", 96))
        assert hole.shown(daemon) == {("0.0.0.0/0", 0)}
    hole.check(True, True)


@pytest.mark.parametrize("length", [1, 64, 95, 129, 255])
def test_prefix_length(hole, daemon, length):
    """PCP-82: what no prefix of that family can have"""
    answer = hole.client.map("udp", hole.port, hole.port,
                             options=[pcp.pack_filter(hole.one, length)])
    if hole.client.ipv6 and length <= 128:
        assert answer.result == pcp.OK, answer
    else:
        assert (answer.result, answer.lifetime) == (pcp.MALFORMED_OPTION, pcp.LONG_S)


def test_family(lab, hole, daemon):
    """PCP-84: the peer's is the host's own"""
    other = lab.inet1.ipv4 if hole.client.ipv6 else lab.inet1.ipv6
    for length in (128, 104):
        answer = hole.client.map("udp", hole.port, hole.port,
                                 options=[pcp.pack_filter(other, length)])
        assert answer.result == pcp.MALFORMED_OPTION, answer


def test_no_delete_with_filter(hole, daemon):
    """PCP-78: it makes no sense, and nothing is deleted"""
    hole.map(pcp.pack_filter(hole.one))
    for option in (pcp.pack_filter(hole.one), pcp.clear_filters()):
        answer = hole.client.unmap("udp", hole.port, options=[option])
        assert answer.result == pcp.MALFORMED_OPTION, answer
    hole.check(True, False)


def make_filters(hole, count):
    base = "2001:db8:7::" if hole.client.ipv6 else "198.51.100."
    return [pcp.pack_filter(f"{base}{number}") for number in range(1, count + 1)]


def test_too_many(hole, daemon):
    """PCP-80, PCP-16: one over the limit changes nothing, at once or by adding"""
    hole.map(pcp.pack_filter(hole.one))
    before = hole.shown(daemon)
    for filters in (make_filters(hole, 8), make_filters(hole, 9),
                    [pcp.clear_filters(), *make_filters(hole, 9)]):
        answer = hole.client.map("udp", hole.port, hole.port, 9000, filters)
        assert (answer.result, answer.lifetime) == (pcp.EXCESSIVE_REMOTE_PEERS, pcp.LONG_S)
    assert hole.shown(daemon) == before
    hole.check(True, False)
    hole.map(*make_filters(hole, 7))
    assert len(hole.shown(daemon)) == 8
    assert hole.client.map("udp", hole.port, 0, options=[pcp.pack_filter(hole.two)]
                           ).result == pcp.EXCESSIVE_REMOTE_PEERS
    hole.map(*make_filters(hole, 7), pcp.clear_filters(), *make_filters(hole, 8))
    assert len(hole.shown(daemon)) == 8
    hole.check(False, False)


def test_filters_and_renumbering(lab, keeper):
    """PCP-85, PCP-41: they move with the mapping to the new external address"""
    keeper.get("[wan]\ninterface = wan0\n")
    wan = wire.Wan(lab)
    port = next(PORTS)
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", port, port, options=[pcp.pack_filter(lab.inet1.ipv4)])
        try:
            wan.move("203.0.113.77")
            target = ("203.0.113.77", port)
            wait_for(lambda: lab.udp_arrives(lab.inet1, target, lab.lan1, port),
                     "packets to the new address", 5)
            assert not lab.udp_arrives(lab.inet2, target, lab.lan1, port)
        finally:
            wan.restore()


@pytest.mark.parametrize("limit", [1, 16])
def test_limit_of_the_owner(lab, keeper, limit):
    """PCP-80: from one to sixteen, all of them real"""
    daemon = keeper.get(CONFIG + f"filters-per-lease = {limit}\n")
    for family in (socket.AF_INET, socket.AF_INET6):
        with pcp.Client(lab.lan1, family=family) as client:
            hole = Hole(lab, client, next(PORTS))
            filters = make_filters(hole, limit - 1) + [pcp.pack_filter(hole.one)]
            assert len(hole.map(*filters).filters) == limit
            assert len(hole.shown(daemon)) == limit
            hole.check(True, False)
            assert client.map("udp", hole.port, 0, options=[pcp.pack_filter(hole.two)]
                              ).result == pcp.EXCESSIVE_REMOTE_PEERS
            hole.check(True, False)


def test_adopted_and_narrowed(lab, daemon):
    """PCP-53, PCP-81: a lease of UPnP that MAP took over is PCP's to narrow from then on"""
    port = next(PORTS)
    gateway = igd.Gateway(lab.lan1)
    gateway.add(port, port)
    with pcp.Client(lab.lan1) as client, lab.inet2.udp() as source:
        hole = Hole(lab, client, port)
        assert hole.opens(lab.inet2, source=source)
        hole.map()
        hole.map(pcp.pack_filter(lab.inet1.ipv4))
        hole.check(True, False)
        wait_for(lambda: not hole.opens(lab.inet2, source=source),
                 "the flow of a host that is not named to end", 2)
        with pytest.raises(igd.SoapError):
            gateway.add(port, port)
        hole.check(True, False)


def test_not_for_others(lab, daemon):
    """PCP-81: what UPnP was promised is not narrowed; the filters have another port"""
    inside, port = next(PORTS), next(PORTS)
    igd.Gateway(lab.lan1).add(inside, inside)
    with pcp.Client(lab.lan1) as client:
        filters = [pcp.pack_filter(lab.inet1.ipv4)]
        refusal = client.map("udp", inside, inside,
                             options=[pcp.prefer_failure(), *filters])
        assert refusal.result == pcp.CANNOT_PROVIDE_EXTERNAL
        assert client.grant("udp", inside, port, options=filters).port == port
    for host, known in ((lab.inet1, True), (lab.inet2, False)):
        assert lab.udp_arrives(host, (WAN, inside), lab.lan1, inside) is not None
        arrived = lab.udp_arrives(host, (WAN, port), lab.lan1, inside)
        assert (arrived is not None) == known


def test_igd_listing(lab, daemon):
    """PCP-85: RemoteHost is the only host of a filter, and else empty"""
    gateway = igd.Gateway(lab.lan1)
    with pcp.Client(lab.lan1) as client:
        one, many, wide = next(PORTS), next(PORTS), next(PORTS)
        client.grant("udp", one, one, options=[pcp.pack_filter(lab.inet1.ipv4)])
        client.grant("udp", many, many, options=[pcp.pack_filter(lab.inet1.ipv4),
                                                 pcp.pack_filter(lab.inet2.ipv4)])
        client.grant("udp", wide, wide, options=[pcp.pack_filter("203.0.113.0", 120)])
    entries = {int(x["NewExternalPort"]): x["NewRemoteHost"] for x in gateway.entries()}
    assert entries[one] == lab.inet1.ipv4
    assert entries[many] == "" and entries[wide] == ""
