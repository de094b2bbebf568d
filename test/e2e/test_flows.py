# SPDX-License-Identifier: GPL-2.0-or-later
"""
The flows of a lease, by packets: which port they leave with, how hosts of the LANs reach
each other by the external address, and that they end with the lease.
"""

import contextlib
import itertools
import socket

import natpmp
import pcp
import pytest
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
LIMITS = "[limits]\nrequests-per-second = 0\nlifetime-min = 1\n"
PORTS = itertools.count(21000, 10)
PROTOCOLS = pytest.mark.parametrize("protocol", ["udp", "tcp"])
PONG_S = 0.2
MANY = 50000  # flows of somebody else, that a search must look at
CHURNED = 20


@pytest.fixture
def port():
    return next(PORTS)


@pytest.fixture
def daemon(keeper):
    return keeper.get(LIMITS)


def grant(host, protocol, internal, external, lifetime=3600):
    with natpmp.Client(host) as client:
        answer = client.map(protocol, internal, external, lifetime)
    assert (answer.result, answer.external) == (natpmp.OK, external)


def arrives(lab, protocol, *arguments, **options):
    return getattr(lab, protocol + "_arrives")(*arguments, **options)


def leave(lab, protocol, host, port, targets):
    """What each of the targets sees as the source of packets from host:port."""
    if protocol == "udp":
        with host.udp(port) as source:
            return [lab.udp_arrives(host, (target.ipv4, number), target, number,
                                    source=source) for target, number in targets]
    seen = []
    for target, number in targets:
        with target.listen(number) as server, \
                host.connect((target.ipv4, number), port=port):
            connection, source = server.accept()
            connection.close()
            seen.append(source[:2])
    return seen


# Outbound


@PROTOCOLS
def test_leaves_with_the_mapped_port(lab, daemon, port, protocol):
    """NP-10, PCP-59: to any destination, for both transports: endpoint-independent"""
    grant(lab.lan1, protocol, port, port + 1)
    targets = [(lab.inet1, 9), (lab.inet2, 9), (lab.inet1, 10), (lab.inet2, 4000)]
    assert leave(lab, protocol, lab.lan1, port, targets) == [(WAN, port + 1)] * 4
    # and what they answer to is where anybody reaches it
    assert arrives(lab, protocol, lab.inet2, (WAN, port + 1), lab.lan1, port)


@PROTOCOLS
def test_other_ports_are_left_alone(lab, daemon, port, protocol):
    """Another port of the host, and the same port of another host: as without us"""
    grant(lab.lan1, protocol, port, port + 1)
    assert leave(lab, protocol, lab.lan1, port + 2, [(lab.inet1, 9)]) == [(WAN, port + 2)]
    assert leave(lab, protocol, lab.lan2, port, [(lab.inet1, 9)]) == [(WAN, port)]


@PROTOCOLS
def test_nobody_else_leaves_with_it(lab, daemon, port, protocol):
    """The host's masquerade would keep a leased port for another host's flow."""
    grant(lab.lan1, protocol, port, port + 1)
    [(address, seen)] = leave(lab, protocol, lab.lan2, port + 1, [(lab.inet1, 9)])
    assert address == WAN and seen != port + 1
    assert leave(lab, protocol, lab.lan1, port, [(lab.inet1, 9)]) == [(WAN, port + 1)]


@PROTOCOLS
def test_two_mappings_of_one_port(lab, daemon, port, protocol):
    """The owner's second one lets in; the first says how packets leave."""
    grant(lab.lan1, protocol, port, port + 1)
    daemon.admin("add", protocol, str(port + 2), f"{lab.lan1.ipv4}:{port}")
    for external in (port + 1, port + 2):
        assert arrives(lab, protocol, lab.inet1, (WAN, external), lab.lan1, port)
    assert leave(lab, protocol, lab.lan1, port,
                 [(lab.inet1, 11), (lab.inet2, 11)]) == [(WAN, port + 1)] * 2


# Hairpin


@PROTOCOLS
@pytest.mark.parametrize("name", ["lan2", "guest1", "lan1"])
def test_hairpin(lab, daemon, port, protocol, name):
    """NP-9: from the same LAN, from another one, and from the mapped host itself"""
    grant(lab.lan1, protocol, port, port + 1)
    sender = getattr(lab, name)
    seen = arrives(lab, protocol, sender, (WAN, port + 1), lab.lan1, port)
    # the gateway's own address, or the answers would go another way
    assert seen and seen[0] in (WAN, "192.168.77.1")


@PROTOCOLS
def test_hairpin_both_mapped(lab, daemon, port, protocol):
    """Two players of one LAN, each with the external endpoint of the other alone"""
    grant(lab.lan1, protocol, port, port + 1)
    grant(lab.lan2, protocol, port, port + 2)
    for host, other, external in ((lab.lan1, lab.lan2, port + 2),
                                  (lab.lan2, lab.lan1, port + 1)):
        assert arrives(lab, protocol, host, (WAN, external), other, port)


@PROTOCOLS
def test_hairpin_of_nothing(lab, daemon, port, protocol):
    """No lease, no way in, from inside neither."""
    grant(lab.lan1, protocol, port, port + 1)
    for sender in (lab.lan2, lab.guest1):
        assert not arrives(lab, protocol, sender, (WAN, port + 2), lab.lan1, port)


# Ends


class UdpFlow:
    """Datagrams of one flow from the internet to a mapped host."""

    def __init__(self, lab, external, port):
        self.lab, self.target = lab, (WAN, external)
        self.source, self.sink = lab.inet1.udp(), lab.lan1.udp(port)
        assert self.lives()

    def lives(self):
        return self.lab.udp_arrives(self.lab.inet1, self.target, self.lab.lan1,
                                    self.sink.getsockname()[1], source=self.source,
                                    sink=self.sink, reply=False)

    def close(self):
        self.source.close()
        self.sink.close()


class TcpFlow:
    """The same, a connection."""

    def __init__(self, lab, external, port):
        self.server = lab.lan1.listen(port)
        self.source = lab.inet1.connect((WAN, external))
        self.sink, _ = self.server.accept()
        self.number = 0
        assert self.lives()

    def lives(self):
        """What is lost is sent again, so later ones arrive after earlier ones."""
        self.number += 1
        self.sink.settimeout(PONG_S)
        try:
            self.source.sendall(b"%08d" % self.number)
            while self.sink.recv(8) != b"%08d" % self.number:
                pass
        # What comes behind the end is nobody's, and who gets it says so.
        except (TimeoutError, ConnectionError):
            return False
        return True

    def close(self):
        for sock in (self.source, self.sink, self.server):
            sock.close()


FLOWS = {"udp": UdpFlow, "tcp": TcpFlow}


def end_by_client(lab, daemon, protocol, port):
    with natpmp.Client(lab.lan1) as client:
        assert client.unmap(protocol, port).result == natpmp.OK


def end_by_owner(lab, daemon, protocol, port):
    [lease] = [x for x in daemon.leases() if x["internal_port"] == port]
    daemon.admin("delete", str(lease["id"]))


def end_by_expiry(lab, daemon, protocol, port):
    grant(lab.lan1, protocol, port, port + 1, 1)
    wait_for(lambda: not [x for x in daemon.leases() if x["internal_port"] == port],
             "the lease to end")


ENDS = {"delete": end_by_client, "revocation": end_by_owner, "expiry": end_by_expiry}


@PROTOCOLS
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("keep", ["no", "yes"])
def test_flows_end_with_the_lease(lab, keeper, port, protocol, how, keep):
    """NP-44, PCP-68: whoever or whatever ends it, unless the owner keeps flows"""
    daemon = keeper.get(LIMITS + f"[backend]\nkeep-flows = {keep}\n")
    grant(lab.lan1, protocol, port, port + 1)
    with contextlib.closing(FLOWS[protocol](lab, port + 1, port)) as flow:
        ENDS[how](lab, daemon, protocol, port)
        if keep == "yes":
            assert flow.lives()
        else:
            wait_for(lambda: not flow.lives(), "the flow to end", 1)
    assert not arrives(lab, protocol, lab.inet2, (WAN, port + 1), lab.lan1, port)


@PROTOCOLS
def test_flows_of_others_go_on(lab, daemon, port, protocol):
    """One lease ends; the flow of another one of that host does not notice."""
    grant(lab.lan1, protocol, port, port + 1)
    grant(lab.lan1, protocol, port + 2, port + 3)
    with contextlib.closing(FLOWS[protocol](lab, port + 1, port)) as ends, \
            contextlib.closing(FLOWS[protocol](lab, port + 3, port + 2)) as stays:
        end_by_client(lab, daemon, protocol, port)
        wait_for(lambda: not ends.lives(), "the flow to end", 1)
        assert stays.lives()


@PROTOCOLS
def test_flows_of_a_renewed_lease_go_on(lab, daemon, port, protocol):
    grant(lab.lan1, protocol, port, port + 1)
    with contextlib.closing(FLOWS[protocol](lab, port + 1, port)) as flow:
        for lifetime in (1800, 7200):
            grant(lab.lan1, protocol, port, port + 1, lifetime)
            assert flow.lives()


def test_hairpin_flow_ends_with_the_lease(lab, daemon, port):
    grant(lab.lan1, "udp", port, port + 1)
    with lab.lan2.udp() as source, lab.lan1.udp(port) as sink:
        def lives():
            return lab.udp_arrives(lab.lan2, (WAN, port + 1), lab.lan1, port,
                                   source=source, sink=sink, reply=False)
        assert lives()
        end_by_client(lab, daemon, "udp", port)
        wait_for(lambda: not lives(), "the flow to end", 1)


def test_flow_ends_among_very_many(lab, daemon, port):
    """What other leases' flows need a look at all of them does not put this one off."""
    with lab.lan2.udp() as filler:
        for number in range(1, MANY + 1):
            filler.sendto(b"", (lab.inet2.ipv4, number))
    count = lab.gw.run(["sysctl", "-n", "net.netfilter.nf_conntrack_count"])
    assert int(count.stdout) > MANY / 2
    grant(lab.lan1, "udp", port, port + 1)
    with natpmp.Client(lab.lan2) as other, \
            contextlib.closing(UdpFlow(lab, port + 1, port)) as flow:
        churn = itertools.cycle(itertools.product((3600, 0), range(CHURNED)))

        def ends():
            lifetime, number = next(churn)
            other.map("udp", 40000 + number, 40000 + number, lifetime)
            return not flow.lives()
        for _ in range(2 * CHURNED):
            lifetime, number = next(churn)
            other.map("udp", 40000 + number, 40000 + number, lifetime)
        end_by_client(lab, daemon, "udp", port)
        wait_for(ends, "the flow to end", 1)


# Two of the same


def test_two_consoles(lab, daemon, port):
    """
    The same game on two consoles: both are open, to the internet, to each other, and
    what they send says where they are.
    """
    ports = {}
    for host in (lab.lan1, lab.lan2):
        with pcp.Client(host) as client:
            ports[host] = client.grant("udp", port, port).port
    assert len(set(ports.values())) == 2
    with lab.lan1.udp(port) as first, lab.lan2.udp(port) as second:
        consoles = {lab.lan1: first, lab.lan2: second}
        for host, sock in consoles.items():
            for peer in (lab.inet1, lab.inet2):
                assert lab.udp_arrives(peer, (WAN, ports[host]), host, port, sink=sock)
                assert lab.udp_arrives(host, (peer.ipv4, 9), peer, 9,
                                       source=sock) == (WAN, ports[host])
        for host, other in ((lab.lan1, lab.lan2), (lab.lan2, lab.lan1)):
            assert lab.udp_arrives(host, (WAN, ports[other]), other, port,
                                   source=consoles[host], sink=consoles[other],
                                   reply=False)


# What the owner is told of it


def show(daemon, port, external=None):
    [lease] = [x for x in daemon.leases() if x["internal_port"] == port
               and external in (None, x["external_port"])]
    assert daemon.json("show", str(lease["id"]))["lease"]["nat"] == lease["nat"]
    text = daemon.admin("show", str(lease["id"]))
    assert f"  NAT          {lease['nat']['console']}: " in text
    assert ("no hairpin" not in text) == lease["nat"]["hairpin"]
    return lease["nat"]


def test_told_open(lab, daemon, port):
    """RFC 4787: as test_two_consoles shows it by packets"""
    grant(lab.lan1, "udp", port, port + 1)
    nat = show(daemon, port)
    text = nat.pop("text")
    assert nat == {"mapping": "endpoint-independent", "filtering": "endpoint-independent",
                   "outbound_port": port + 1, "hairpin": True, "console": "open"}
    assert text == "anybody can reach it, and what it sends leaves with the same port"


def test_told_of_two_mappings(lab, daemon, port):
    """test_two_mappings_of_one_port: the second leaves with the port of the first."""
    grant(lab.lan1, "udp", port, port + 1)
    daemon.admin("add", "udp", str(port + 2), f"{lab.lan1.ipv4}:{port}")
    nat = show(daemon, port, port + 2)
    assert (nat["outbound_port"], nat["console"]) == (port + 1, "moderate")
    assert show(daemon, port, port + 1)["console"] == "open"


def test_told_of_filters(lab, daemon, port):
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", port, port, options=[pcp.pack_filter(lab.inet1.ipv4)])
        assert show(daemon, port)["filtering"] == "address-dependent"
        client.grant("udp", port, port, options=[
            pcp.clear_filters(), pcp.pack_filter(lab.inet1.ipv4, port=9)])
    nat = show(daemon, port)
    assert (nat["filtering"], nat["console"]) == ("address-and-port-dependent", "moderate")


def test_told_of_a_pinhole(lab, daemon, port):
    """Nothing is translated, and nobody needs it to be."""
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as client:
        client.grant("udp", port, port)
    nat = show(daemon, port)
    assert (nat["mapping"], nat["outbound_port"], nat["hairpin"]) == ("none", port, False)
    assert nat["console"] == "open"


def test_told_behind_another_nat(lab, keeper, port):
    daemon = keeper.get(LIMITS + "[wan]\naddress = 10.9.8.7\n")
    grant(lab.lan1, "udp", port, port)
    nat = show(daemon, port)
    assert nat["console"] == "strict" and "another NAT" in nat["text"]
