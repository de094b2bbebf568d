# SPDX-License-Identifier: GPL-2.0-or-later
"""What PEER leases do to packets, beside mappings and filters: rows PCP-68, PCP-89, PCP-90."""

import itertools
import socket

import pcp
import pytest
import wire
from firewall import firewall
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
LIMITS = "[limits]\nrequests-per-second = 0\nleases-per-client = 0\nlifetime-min = 1\n"
PORTS = itertools.count(25000)
SINK = 7007
HEALED = "someone changed our firewall rules; put right"


@pytest.fixture
def daemon(keeper):
    return keeper.get(LIMITS)


@pytest.fixture
def port():
    """A port that no other test uses."""
    return next(PORTS)


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def family(request):
    return request.param


@pytest.fixture
def client(lab, daemon, family):
    with pcp.Client(lab.lan1, family=family) as made:
        yield made


@pytest.fixture
def inside(lab, port, family):
    """A socket of lan1 on that port."""
    with lab.lan1.udp(port, family=family) as sock:
        yield sock


class Peer:
    """A host on the internet and one port of it."""

    def __init__(self, lab, host, family, port=SINK):
        self.lab, self.host, self.family = lab, host, family
        self.remote = (host.address(family), port)

    def __enter__(self):
        self.socket = self.host.udp(self.remote[1], family=self.family)
        return self

    def __exit__(self, *_):
        self.socket.close()

    def hears(self, source, sender=None):
        """The endpoint that it sees when something is sent to it from that socket."""
        return self.lab.udp_arrives(sender or self.lab.lan1, self.remote, self.host,
                                    self.remote[1], source=source, sink=self.socket)

    def reaches(self, endpoint, inside):
        return self.lab.udp_arrives(self.host, endpoint, self.lab.lan1,
                                    inside.getsockname()[1], source=self.socket,
                                    sink=inside) is not None


@pytest.fixture
def one(lab, family):
    with Peer(lab, lab.inet1, family) as peer:
        yield peer


@pytest.fixture
def two(lab, family):
    with Peer(lab, lab.inet2, family) as peer:
        yield peer


@pytest.fixture
def three(lab, family):
    """The first host again, by another port."""
    with Peer(lab, lab.inet1, family, SINK + 1) as peer:
        yield peer


def forget(lab, family):
    """The kernel knows no flow of ours any more."""
    name = "ipv4" if family == socket.AF_INET else "ipv6"
    lab.gw.run(["conntrack", "-F"], stderr=None)
    for port in (SINK, SINK + 1):
        assert not wire.flows(lab, "-f", name, "-p", "udp", "--orig-port-dst", str(port))
        assert not wire.flows(lab, "-f", name, "-p", "udp", "--orig-port-src", str(port))


def flows_to(lab, peer, port):
    family = "ipv4" if peer.family == socket.AF_INET else "ipv6"
    return wire.flows(lab, "-f", family, "-p", "udp", "-d", peer.remote[0],
                      "--orig-port-src", str(port))


def ask(client, port, peer, lifetime=1000, suggested=0):
    answer = client.peer("udp", port, peer.remote, suggested, lifetime)
    assert answer.result == pcp.OK, answer
    return answer.endpoint


def test_outlives_its_flow(lab, family, client, inside, port, one, two, three):
    """PCP-89: the kernel forgets the flow: its peer alone still gets in, by the lease"""
    seen = one.hears(inside)
    assert ask(client, port, one) == seen
    forget(lab, family)
    assert one.reaches(seen, inside)
    forget(lab, family)
    assert not two.reaches(seen, inside) and not three.reaches(seen, inside)
    forget(lab, family)
    assert one.hears(inside) == seen
    assert two.hears(inside) == seen


def test_beside_a_mapping(lab, family, client, inside, port, one, two, three):
    """PCP-54: MAP and PEERs of one endpoint share its port, and end each for itself"""
    seen = ask(client, port, one)
    assert ask(client, port, three) == seen
    assert client.grant("udp", port, 0).endpoint == seen
    for peer in (one, two, three):
        assert peer.reaches(seen, inside) and peer.hears(inside) == seen
    forget(lab, family)
    assert client.unmap("udp", port).result == pcp.OK
    assert one.reaches(seen, inside) and three.reaches(seen, inside)
    assert not two.reaches(seen, inside)
    forget(lab, family)
    assert one.hears(inside) == seen and two.hears(inside) == seen


def test_beside_filters(lab, family, client, inside, port, one, two, three):
    """PCP-81, PCP-89: a peer that filters admit, too, is no contradiction"""
    for filters in ([pcp.pack_filter(one.remote[0])],
                    [pcp.pack_filter(one.remote[0], port=SINK)],
                    [pcp.pack_filter(one.remote[0], 128 - 8), pcp.pack_filter(two.remote[0])]):
        target = client.grant("udp", port, port, 3600, [pcp.clear_filters(), *filters]).endpoint
        assert ask(client, port, one) == target
        assert one.reaches(target, inside)
    assert client.unmap("udp", port).result == pcp.OK
    forget(lab, family)
    assert one.reaches(target, inside)
    assert not two.reaches(target, inside) and not three.reaches(target, inside)


def test_mapping_with_filters_after_it(lab, daemon, family, client, inside, port, one, two, three):
    """PCP-81: the other way round, and over a restart of nothing but the rules"""
    target = ask(client, port, one)
    filters = [pcp.pack_filter(one.remote[0], port=SINK), pcp.pack_filter(two.remote[0])]
    assert client.grant("udp", port, 0, 3600, filters).endpoint == target
    healed = daemon.log().count(HEALED)
    firewall(lab).remove()
    daemon.wait_log(HEALED, healed + 1)
    assert one.reaches(target, inside) and two.reaches(target, inside)
    assert not three.reaches(target, inside)


@pytest.mark.parametrize("family", [socket.AF_INET], ids=["ipv4"], indirect=True)
def test_other_port_than_the_mapping(lab, family, client, inside, port, one, two):
    """PCP-89: a flow that is older than the mapping keeps its port, and its peer's"""
    seen = one.hears(inside)
    mapped = client.grant("udp", port, port + 20000).endpoint
    assert mapped == (WAN, port + 20000) != seen
    assert ask(client, port, one) == seen
    assert ask(client, port, one) == seen
    for _ in range(2):
        assert one.hears(inside) == seen and two.hears(inside) == mapped
        assert one.reaches(seen, inside) and two.reaches(mapped, inside)
        forget(lab, family)


def test_end_leaves_the_flow(lab, daemon, family, client, inside, port, one):
    """PCP-68, PCP-90: what the host began goes on until it is idle, as without a lease"""
    seen = one.hears(inside)
    ask(client, port, one, 900)
    [lease] = [x for x in daemon.leases() if x["internal_port"] == port]
    daemon.admin("delete", str(lease["id"]))
    settle(lab, client, port)
    assert flows_to(lab, one, port), "its flow was ended with the lease"
    assert one.hears(inside) == seen and one.reaches(seen, inside)
    forget(lab, family)
    assert not one.reaches(seen, inside)


def test_expiry_leaves_the_flow(lab, daemon, family, client, inside, port, one):
    """PCP-90: the same when the lease ends by itself"""
    seen = one.hears(inside)
    ask(client, port, one, 1)
    wait_for(lambda: not [x for x in daemon.leases() if x["internal_port"] == port],
             "the lease to expire")
    settle(lab, client, port)
    assert flows_to(lab, one, port)
    assert one.hears(inside) == seen


def settle(lab, client, port):
    """Flows of ended rules end a little later: until one that shall end has done so."""
    with lab.lan1.udp(port + 9000, family=socket.AF_INET6 if client.ipv6 else socket.AF_INET) as sink:
        target = client.grant("udp", port + 9000, 0).endpoint
        assert lab.udp_arrives(lab.inet2, target, lab.lan1, port + 9000, sink=sink)
        sender = lab.inet2.ipv6 if client.ipv6 else lab.inet2.ipv4

        def there():
            return wire.flows(lab, "-f", "ipv6" if client.ipv6 else "ipv4", "-p", "udp",
                              "-s", sender, "--orig-port-dst", str(target[1]))
        assert there()
        assert client.unmap("udp", port + 9000).result == pcp.OK
        wait_for(lambda: not there(), "the flow of a mapping to end with it")


@pytest.mark.parametrize("family", [socket.AF_INET], ids=["ipv4"], indirect=True)
def test_other_hosts_flows_stay(lab, client, inside, port, one, two):
    """PCP-90: a port is free of leases, but not of another host's flow"""
    with lab.lan2.udp(port) as other:
        seen = two.hears(other, lab.lan2)
        assert seen == (WAN, port)
        # to another peer there is room on that port, and nobody's flow is in the way
        assert ask(client, port, one, suggested=port) == (WAN, port)
        assert one.hears(inside) == (WAN, port)
        settle(lab, client, port)
        assert wire.flows(lab, "-p", "udp", "-s", lab.lan2.ipv4, "--orig-port-src", str(port))
        assert two.hears(other, lab.lan2) == seen
        # to that peer there is none
        answer = client.peer("udp", port + 500, two.remote, port)
        assert answer.result == pcp.CANNOT_PROVIDE_EXTERNAL, answer


def test_tcp(lab, client, family, port):
    """PCP-88: a connection leaves with what was reserved; its peer, and it alone, may call"""
    remote = (lab.inet1.address(family), SINK)
    answer = client.peer("tcp", port, remote)
    assert answer.result == pcp.OK, answer
    with lab.inet1.listen(SINK, family=family) as server:
        with lab.lan1.connect(remote, port=port), server.accept()[0] as accepted:
            assert accepted.getpeername()[:2] == answer.endpoint
    answer = client.peer("tcp", port + 500, remote)
    assert answer.result == pcp.OK, answer
    with lab.lan1.listen(port + 500, family=family) as server:
        with lab.inet1.connect(answer.endpoint, port=SINK), server.accept()[0] as accepted:
            assert accepted.getpeername()[:2] == remote
    for stranger in (lab.inet1, lab.inet2):
        assert not lab.tcp_arrives(stranger, answer.endpoint, lab.lan1, port + 500)
