# SPDX-License-Identifier: GPL-2.0-or-later
"""Ports of the WAN that somebody else's rules translate are not given away."""

import itertools

import hostfirewall
import igd
import igd2
import natpmp
import pcp
import pytest
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
PORTS = itertools.count(28000, 10)
NOTICED_S = 1.0

CHAIN = """table ip owner {
	chain pre {
		type nat hook prerouting priority dstnat;
		%s
	}
}
"""
# Name -> protocol, and the rule for {port}.
RULES = {
    "dnat": ("tcp", 'iifname "wan0" tcp dport {port} dnat to 192.168.77.3:80'),
    "range": ("udp", "ip daddr 203.0.113.1 udp dport {before}-{after} dnat to 192.168.77.3"),
    "set": ("udp", "udp dport {{ 9, {port} }} counter dnat to 192.168.77.3:80"),
    "map": ("tcp", "dnat ip to tcp dport map {{ 9 : 192.168.77.3, {port} : 192.168.77.3 }}"),
    "map-port": ("udp", "dnat ip to udp dport map {{ {port} : 192.168.77.3 . 80 }}"),
    "redirect": ("tcp", 'iifname != "lan0" tcp dport {port} redirect to :22'),
    "any-protocol": ("udp", "meta l4proto {{ tcp, udp }} th dport {port} dnat to 192.168.77.3"),
}
IPTABLES = {
    "ipt-dnat": ("udp", "-i wan0 -p udp --dport {port} -j DNAT --to 192.168.77.3"),
    "ipt-range": ("tcp", "-d 203.0.113.1 -p tcp --dport {before}:{after} -j DNAT "
                  "--to 192.168.77.3:80"),
    "ipt-multiport": ("tcp", "-p tcp -m multiport --dports 9,{port} -j DNAT --to 192.168.77.3"),
    "ipt-redirect": ("udp", "-i wan0 -p udp --dport {port} -m comment --comment mine "
                     "-j REDIRECT --to-ports 53"),
}
# Rules of iptables-legacy, which the iptables backend sees.
LEGACY = IPTABLES | {
    "chain": ("tcp", "-p tcp -m tcp --dport {before}:{after} -j OWNER"),
    "all-but-lan": ("tcp", "! -i lan0 -p tcp --dport {port} -j REDIRECT --to-ports 22"),
}
LEGACY_HARMLESS = {
    "other-interface": ("tcp", "-i lan0 -p tcp --dport {port} -j DNAT --to 192.168.77.3:80"),
    "other-address": ("tcp", "-d 198.51.100.7 -p tcp --dport {port} -j DNAT --to 192.168.77.3"),
    "other-protocol": ("tcp", "-p udp --dport {port} -j DNAT --to 192.168.77.3"),
    "accept": ("tcp", "-p tcp --dport {port} -j ACCEPT"),
    "all-ports": ("udp", "-i wan0 -j DNAT --to 192.168.77.3"),
    "all-but-one": ("tcp", "-i wan0 -p tcp ! --dport 22 -j DNAT --to 192.168.77.3"),
    "chain-port": ("tcp", "-p tcp --dport {after} -j OWNER"),
}
LEGACY_CONFIG = "[backend]\ntype = iptables\n"
# The backend looks every 3 s.
LEGACY_NOTICED_S = 5.0
# Rules that translate nothing of the WAN.
HARMLESS = {
    "other-interface": ("tcp", 'iifname "lan0" tcp dport {port} dnat to 192.168.77.3:80'),
    "other-protocol": ("tcp", "udp dport {port} dnat to 192.168.77.3:80"),
    "accept": ("tcp", "tcp dport {port} accept"),
    # A host that gets whatever nobody else wants.
    "all-ports": ("tcp", 'iifname "wan0" dnat to 192.168.77.3'),
}


@pytest.fixture
def port():
    return next(PORTS)


@pytest.fixture
def rule(lab, port):
    """rule(text) puts a rule of the owner for the port into the kernel; it goes at the end."""
    def fill(text):
        return text.format(port=port, before=port - 1, after=port + 1)

    def make(name):
        if name in IPTABLES:
            done = lab.gw.run(["iptables-nft", "-t", "nat", "-A", "PREROUTING",
                               *fill(IPTABLES[name][1]).split()])
            assert done.returncode == 0, done.stdout
        else:
            lab.gw.nft(CHAIN % fill((RULES | HARMLESS)[name][1]))

    yield make
    clean(lab)


def clean(lab):
    for table in ("ip owner", "ip nat", "ip filter"):
        lab.gw.run(["nft", "delete", "table", *table.split()])


def get_port(lab, protocol, port):
    """What a client of PCP gets who would like that port; it gives it back."""
    with pcp.Client(lab.lan1) as client:
        got = client.grant(protocol, port + 1000, port, 600).port
        assert client.unmap(protocol, port + 1000).result == pcp.OK
    return got


def wait_free(lab, protocol, port, deadline_s=NOTICED_S):
    """
    Noticed soon. A port that was given and given back rests, but for its own client.
    """
    wait_for(lambda: get_port(lab, protocol, port) == port, "the port to be free", deadline_s)


@pytest.mark.parametrize("name", [*RULES, *IPTABLES])
def test_port_of_the_owner(lab, daemon_factory, rule, port, name):
    """Not before the daemon was started, nor while it runs, but as soon as it is free"""
    protocol = (RULES | IPTABLES)[name][0]
    other = "udp" if protocol == "tcp" else "tcp"
    rule(name)
    daemon = daemon_factory().start()
    assert get_port(lab, protocol, port) != port
    if name != "any-protocol":
        assert get_port(lab, other, port) == port
    clean(lab)
    wait_free(lab, protocol, port)
    rule(name)
    wait_for(lambda: get_port(lab, protocol, port) != port, "the rule to be seen", NOTICED_S)
    assert daemon.leases() == []


@pytest.mark.parametrize("name", list(HARMLESS))
def test_port_of_nobody(lab, daemon_factory, rule, port, name):
    rule(name)
    daemon_factory().start()
    assert get_port(lab, HARMLESS[name][0], port) == port


def test_every_protocol(lab, daemon_factory, rule, port):
    """NP-37, IGD-24: NAT-PMP and AddAny get another port, AddPortMapping an error"""
    rule("any-protocol")
    daemon = daemon_factory().start()
    with natpmp.Client(lab.lan1) as client:
        answer = client.map("udp", port, port)
        assert answer.result == natpmp.OK and answer.external not in (0, port)
    with pytest.raises(igd.SoapError) as caught:
        igd.Gateway(lab.lan1).add(port, port)
    assert caught.value.code == 718
    gateway = igd2.Gateway2(lab.lan1)
    with pytest.raises(igd.SoapError) as caught:
        gateway.add(port, port)
    assert caught.value.code == 729
    assert gateway.add_any(port, port + 2) not in (0, port)
    assert all(x["external_port"] != port for x in daemon.leases())
    with pcp.Client(lab.lan1) as client:
        refused = client.map("udp", port + 1, port, options=[pcp.prefer_failure()])
    assert refused.result == pcp.CANNOT_PROVIDE_EXTERNAL


def test_docker(lab, daemon_factory):
    """The port of a container, behind a jump for addresses of the gateway"""
    hostfirewall.Docker(lab).load()
    try:
        daemon_factory("[backend]\nintegrate = auto\n").start()
        assert get_port(lab, "tcp", 8080) != 8080
        assert get_port(lab, "udp", 8080) == 8080
    finally:
        lab.gw.run(["nft", "delete", "table", "ip6", "filter"])
        clean(lab)


def test_the_owner_may(lab, daemon_factory, rule, port):
    """A lease of the administrator's is his own business."""
    rule("dnat")
    daemon = daemon_factory().start()
    daemon.admin("add", "tcp", str(port + 1), f"{lab.lan1.ipv4}:{port}")
    assert {x["external_port"] for x in daemon.leases()} == {port + 1}


class Legacy:
    """Rules of the owner's by iptables-legacy, and his chain OWNER for the port alone."""

    def __init__(self, lab, port):
        self.lab, self.port, self.rules = lab, port, []
        self.run("-N OWNER")
        self.run(f"-A OWNER -p tcp --dport {port} -j DNAT --to-destination 192.168.77.3:80")

    def run(self, line):
        done = self.lab.gw.run(["iptables-legacy", "-w", "5", "-t", "nat", *line.split()])
        assert done.returncode == 0, done.stdout

    def add(self, text):
        rule = text.format(port=self.port, before=self.port - 1, after=self.port + 1)
        self.run(f"-A PREROUTING {rule}")
        self.rules.append(rule)

    def remove(self):
        while self.rules:
            self.run(f"-D PREROUTING {self.rules.pop()}")


@pytest.fixture
def legacy(lab, port):
    made = Legacy(lab, port)
    yield made
    made.remove()
    made.run("-F OWNER")
    made.run("-X OWNER")


@pytest.mark.parametrize("name", list(LEGACY))
def test_port_of_the_owner_in_iptables(lab, daemon_factory, legacy, port, name):
    protocol, text = LEGACY[name]
    other = "udp" if protocol == "tcp" else "tcp"
    legacy.add(text)
    daemon_factory(LEGACY_CONFIG).start()
    assert get_port(lab, protocol, port) != port
    assert get_port(lab, other, port) == port


def test_owner_who_changes_iptables(lab, daemon_factory, legacy, port):
    protocol, text = LEGACY["ipt-dnat"]
    legacy.add(text)
    daemon = daemon_factory(LEGACY_CONFIG).start()
    assert get_port(lab, protocol, port) != port
    legacy.remove()
    wait_free(lab, protocol, port, LEGACY_NOTICED_S)
    legacy.add(text)
    wait_for(lambda: get_port(lab, protocol, port) != port, "the rule to be seen",
             LEGACY_NOTICED_S)
    assert daemon.leases() == []


@pytest.mark.parametrize("name", list(LEGACY_HARMLESS))
def test_port_of_nobody_in_iptables(lab, daemon_factory, legacy, port, name):
    protocol, text = LEGACY_HARMLESS[name]
    legacy.add(text)
    daemon_factory(LEGACY_CONFIG).start()
    assert get_port(lab, protocol, port) == port
