# SPDX-License-Identifier: GPL-2.0-or-later
"""PEER end to end: rows PCP-86..91 of its checklist, with flows that really are."""

import itertools
import os
import socket

import pcp
import pytest
import wire
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
LIMITS = "[limits]\nrequests-per-second = 0\nleases-per-client = 0\n"
PORTS = itertools.count(24000)
SINK = 9


@pytest.fixture
def daemon(keeper):
    return keeper.get(LIMITS)


@pytest.fixture
def port():
    """A port that no other test uses."""
    return next(PORTS)


@pytest.fixture
def inside(lab, port):
    """A socket of lan1 on that port."""
    with lab.lan1.udp(port) as sock:
        yield sock


def talk(lab, sock, host=None, sender=None):
    """Send to a host on the internet and be answered: the source that it saw."""
    host = host or lab.inet1
    seen = lab.udp_arrives(sender or lab.lan1, (host.ipv4, SINK), host, SINK, source=sock)
    assert seen
    return seen


def talk_as_second(lab, port, sock):
    """The same where another host's flow has that port already: the source differs."""
    with lab.lan2.udp(port) as other:
        talk(lab, other, sender=lab.lan2)
    seen = talk(lab, sock)
    assert seen != (WAN, port)
    return seen


def leases_of(daemon, port):
    return [x for x in daemon.leases() if x["internal_port"] == port]


def flow_left(lab, port, protocol="udp", family="ipv4"):
    """Seconds that the kernel gives lan1's flow from that port; 0 without a flow."""
    address = lab.lan1.ipv4 if family == "ipv4" else lab.lan1.ipv6
    found = wire.flows(lab, "-f", family, "-p", protocol, "-s", address,
                       "--orig-port-src", str(port))
    return max((seconds for seconds, _ in found), default=0)


def test_existing_flow(lab, lan1, daemon, inside, port):
    """PCP-89, PCP-91: its own external endpoint, whatever is suggested; it lives longer"""
    seen = talk_as_second(lab, port, inside)
    assert 0 < flow_left(lab, port) < 200
    for suggested in (0, port, 5351):
        answer = lan1.peer("udp", port, (lab.inet1.ipv4, SINK), suggested, 1000)
        assert answer.result == pcp.OK, answer
        assert answer.endpoint == seen
        assert (answer.remote, answer.remote_port) == (lab.inet1.ipv4, SINK)
        assert 990 <= answer.lifetime <= 1000
    assert flow_left(lab, port) > 900
    assert talk(lab, inside) == seen
    [lease] = leases_of(daemon, port)
    assert lease["remote"].partition("/")[0] == lab.inet1.ipv4
    assert (lease["remote_port"], lease["external_port"]) == (SINK, seen[1])


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_peer_gets_in_when_the_flow_is_forgotten(lab, daemon, port, family):
    """
    PCP-89: the kernel's time for a flow starts again with each packet; the promise holds
    all the same, for that peer, and what is sent then leaves as before
    """
    peer = lab.inet1.address(family)
    with pcp.Client(lab.lan1, family=family) as client, lab.lan1.udp(
            port, family=family) as inside, lab.inet1.udp(
            SINK, family=family) as outside, lab.inet2.udp(SINK, family=family) as third:
        seen = lab.udp_arrives(lab.lan1, (peer, SINK), lab.inet1, SINK, source=inside,
                               sink=outside)
        answer = client.peer("udp", port, (peer, SINK), 0, 1000)
        assert (answer.result, answer.endpoint) == (pcp.OK, seen)
        for back in (True, False):
            lab.gw.run(["conntrack", "-D", "-f", "ipv6" if client.ipv6 else "ipv4", "-p",
                        "udp", "--orig-port-src", str(port if back else SINK)])
            if back:
                assert lab.udp_arrives(lab.inet1, seen, lab.lan1, port, source=outside,
                                       sink=inside) == (peer, SINK)
                assert not lab.udp_arrives(lab.inet2, seen, lab.lan1, port, source=third,
                                           sink=inside)
            else:
                assert lab.udp_arrives(lab.lan1, (peer, SINK), lab.inet1, SINK,
                                       source=inside, sink=outside) == seen


def test_existing_flow_of_tcp(lab, lan1, port):
    """PCP-89: the same with a connection"""
    with lab.inet1.listen(port) as server:
        with lab.lan1.connect((lab.inet1.ipv4, port), port=port) as client:
            seen = server.accept()[1]
            answer = lan1.peer("tcp", port, (lab.inet1.ipv4, port), 0, 1000)
            assert (answer.result, answer.endpoint) == (pcp.OK, seen), answer
            assert client.getsockname()[1] == port
    assert lan1.peer("tcp", port, (lab.inet1.ipv4, port), 0, 0).result == pcp.OK


def test_never_shortened(lab, lan1, inside, port):
    """PCP-90: neither the mapping nor the flow; what is left is told"""
    talk(lab, inside)
    peer = (lab.inet1.ipv4, SINK)
    assert lan1.peer("udp", port, peer, 0, 5000).lifetime >= 4990
    for lifetime in (0, 1, 120, 600):
        answer = lan1.peer("udp", port, peer, 0, lifetime)
        assert answer.result == pcp.OK, answer
        assert 4900 <= answer.lifetime <= 5000
        assert flow_left(lab, port) > 4900
    assert lan1.peer("udp", port, peer, 0, 9000).lifetime >= 8990
    assert flow_left(lab, port) > 8900


def test_short_request_for_a_long_connection(lab, lan1, port):
    """PCP-90: a connection that the kernel keeps for days is not cut to what is asked"""
    with lab.inet1.listen(port) as server:
        with lab.lan1.connect((lab.inet1.ipv4, port), port=port):
            with server.accept()[0]:
                before = wait_for(lambda: flow_left(lab, port, "tcp") > 7200 and
                                  flow_left(lab, port, "tcp"), "an established flow")
                answer = lan1.peer("tcp", port, (lab.inet1.ipv4, port), 0, 600)
                assert answer.result == pcp.OK and answer.lifetime > 0
                assert flow_left(lab, port, "tcp") >= before - 10


def test_nonce(lab, lan1, inside, port):
    """PCP-89: another one is told what is left, and changes nothing"""
    talk(lab, inside)
    peer = (lab.inet1.ipv4, SINK)
    lan1.peer("udp", port, peer, 0, 1000)
    for lifetime in (0, 9000):
        answer = lan1.peer("udp", port, peer, 0, lifetime, nonce=os.urandom(12))
        assert answer.result == pcp.NOT_AUTHORIZED, answer
        assert 900 <= answer.lifetime <= 1000
    assert flow_left(lab, port) <= 1000


def test_reserved_for_a_flow_to_come(lab, lan1, daemon, inside, port):
    """PCP-88, PCP-91: no flow yet: it leaves with the endpoint that was promised"""
    answer = lan1.peer("udp", port, (lab.inet1.ipv4, SINK), port + 10000, 1000)
    assert (answer.result, answer.endpoint) == (pcp.OK, (WAN, port + 10000)), answer
    assert answer.lifetime == 1000
    assert talk(lab, inside) == (WAN, port + 10000)
    answer = lan1.peer("udp", port, (lab.inet1.ipv4, SINK), 0, 1000)
    assert (answer.result, answer.endpoint) == (pcp.OK, (WAN, port + 10000))
    assert flow_left(lab, port) > 900
    assert len(leases_of(daemon, port)) == 1


def test_any_port(lab, lan1, inside, port):
    """PCP-88: without a suggestion any will do, and that one it is"""
    answer = lan1.peer("udp", port, (lab.inet1.ipv4, SINK), 0, 600)
    assert answer.result == pcp.OK and answer.port, answer
    assert talk(lab, inside) == answer.endpoint


def test_reserved_is_not_open(lab, lan1, port):
    """PCP-57: PEER lets its peer answer, and nobody else in"""
    answer = lan1.peer("udp", port, (lab.inet1.ipv4, SINK), port, 600)
    assert answer.endpoint == (WAN, port)
    assert not lab.udp_arrives(lab.inet2, (WAN, port), lab.lan1, port)
    assert not lab.udp_arrives(lab.inet1, (WAN, port), lab.lan1, port)


def test_suggestion_that_cannot_be(lab, lan1, daemon, port):
    """PCP-88: taken, withheld or not our address: result 11 and no state"""
    with pcp.Client(lab.lan2) as other:
        other.grant("udp", port, port)
    peer = (lab.inet1.ipv4, SINK)
    for suggested, address in ((port, "0.0.0.0"), (5351, "0.0.0.0"),
                               (port + 10000, "198.51.100.9"), (port + 10000, "10.0.0.1")):
        answer = lan1.peer("udp", port + 500, peer, suggested, 600, suggested=address)
        assert answer.result == pcp.CANNOT_PROVIDE_EXTERNAL, answer
        assert answer.lifetime > 0
    assert leases_of(daemon, port + 500) == []
    answer = lan1.peer("udp", port + 500, peer, port + 10000, 600, suggested=WAN)
    assert answer.endpoint == (WAN, port + 10000)


def test_malformed(lab, lan1, daemon, port):
    """PCP-87: what can be nobody's flow"""
    peer = (lab.inet1.ipv4, SINK)
    for answer in (lan1.peer("all", port, peer), lan1.peer("udp", 0, peer),
                   lan1.peer("udp", port, (lab.inet1.ipv4, 0)),
                   *(lan1.peer("udp", port, (address, SINK)) for address in (
                       "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::",
                       lab.inet1.ipv6))):
        assert (answer.result, answer.lifetime) == (pcp.MALFORMED_REQUEST, pcp.LONG_S)
    assert lan1.peer("gre", port, peer).result == pcp.UNSUPP_PROTOCOL
    assert leases_of(daemon, port) == []


def test_each_flow_for_itself(lab, lan1, daemon, inside, port):
    """PCP-89: the whole five-tuple counts"""
    talk(lab, inside)
    talk(lab, inside, lab.inet2)
    assert lan1.peer("udp", port, (lab.inet1.ipv4, SINK), 0, 1000).result == pcp.OK
    other = lan1.peer("udp", port, (lab.inet2.ipv4, SINK), 0, 3000, nonce=os.urandom(12))
    assert other.result == pcp.OK, other
    lefts = sorted(seconds for seconds, _ in wire.flows(
        lab, "-p", "udp", "-s", lab.lan1.ipv4, "--orig-port-src", str(port)))
    assert len(lefts) == 2 and 900 < lefts[0] <= 1000 and 2900 < lefts[1] <= 3000
    assert len(leases_of(daemon, port)) == 2


def test_map_beside_it(lab, lan1, daemon, inside, port):
    """PCP-54, PCP-67: MAP gets that flow's port; each ends for itself"""
    seen = talk_as_second(lab, port, inside)
    peer = (lab.inet1.ipv4, SINK)
    assert lan1.peer("udp", port, peer, 0, 1000).endpoint == seen
    answer = lan1.unmap("udp", port)
    assert answer.result == pcp.NOT_AUTHORIZED, answer
    assert lan1.grant("udp", port, 0).endpoint == seen
    assert len(leases_of(daemon, port)) == 2
    assert lab.udp_arrives(lab.inet2, seen, lab.lan1, port, sink=inside)
    assert lan1.unmap("udp", port).result == pcp.OK
    assert not lab.udp_arrives(lab.inet2, seen, lab.lan1, port, sink=inside)
    assert lan1.peer("udp", port, peer, 0, 0).lifetime > 900
    assert len(leases_of(daemon, port)) == 1


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restart(lab, lan1, daemon, inside, port, how):
    """PCP-90: what was promised outlives the daemon"""
    lan1.peer("udp", port, (lab.inet1.ipv4, SINK), port + 10000, 1000)
    before = leases_of(daemon, port)
    getattr(daemon, how)()
    daemon.start()
    after = leases_of(daemon, port)
    assert [(x["id"], x["remote"], x["remote_port"]) for x in after] == [
        (x["id"], x["remote"], x["remote_port"]) for x in before]
    assert talk(lab, inside) == (WAN, port + 10000)
    answer = lan1.peer("udp", port, (lab.inet1.ipv4, SINK), 0, 0)
    assert 950 < answer.lifetime <= 1000
    assert lan1.peer("udp", port, (lab.inet1.ipv4, SINK), 0, 600,
                     nonce=bytes(12)).result == pcp.NOT_AUTHORIZED


def test_quota(lab, keeper, port):
    """PCP-61: outbound mappings count as others do"""
    keeper.get("[limits]\nleases-per-client = 2\n")
    with pcp.Client(lab.lan1) as client:
        peer = (lab.inet1.ipv4, SINK)
        for number in range(2):
            assert client.peer("udp", port + number, peer).result == pcp.OK
        answer = client.peer("udp", port + 2, peer)
        assert (answer.result, answer.lifetime) == (pcp.USER_EX_QUOTA, pcp.SHORT_S)
        assert client.peer("udp", port, peer, 0, 9000).result == pcp.OK


def test_ipv6(lab, daemon, port):
    """PCP-89, PCP-93: the flow's own address and port; it lives longer"""
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as client, lab.lan1.udp(
            port, family=socket.AF_INET6) as inside:
        peer = (lab.inet1.ipv6, SINK)
        assert lab.udp_arrives(lab.lan1, peer, lab.inet1, SINK, source=inside)
        answer = client.peer("udp", port, peer, 0, 1000)
        assert (answer.result, answer.endpoint) == (pcp.OK, (lab.lan1.ipv6, port))
        assert answer.remote == lab.inet1.ipv6
        assert flow_left(lab, port, family="ipv6") > 900
        answer = client.peer("udp", port + 1, peer, port + 2, 1000)
        assert answer.result == pcp.CANNOT_PROVIDE_EXTERNAL, answer
        for address in (lab.inet1.ipv4, "::1", "ff02::1"):
            assert client.peer("udp", port, (address, SINK)
                               ).result == pcp.MALFORMED_REQUEST
