# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may have which ports: rules, quotas and rates, over the wire."""

import igd
import natpmp
import pytest
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS


def ask(host, internal, external, protocol="udp", lifetime=600):
    with natpmp.Client(host) as client:
        return client.map(protocol, internal, external, lifetime)


def test_quota_of_a_client(lab, daemon_factory):
    """NP-40: result 4 for the one too many; renewals and other hosts are not hit"""
    daemon = daemon_factory("[limits]\nleases-per-client = 3\n").start()
    for port in (4000, 4001, 4002):
        assert ask(lab.lan1, port, port).result == natpmp.OK
    answer = ask(lab.lan1, 4003, 4003)
    assert (answer.result, answer.external, answer.lifetime) == (natpmp.NO_RESOURCES, 0, 0)
    assert lab.udp_arrives(lab.inet1, (WAN, 4003), lab.lan1, 4003) is None
    assert ask(lab.lan1, 4000, 4000).result == natpmp.OK
    assert ask(lab.lan2, 4003, 4003).result == natpmp.OK
    with natpmp.Client(lab.lan1) as client:
        client.unmap("udp", 4000)
    assert ask(lab.lan1, 4004, 4004).result == natpmp.OK
    assert len(daemon.leases()) == 4


def test_static_leases_use_up_no_quota(lab, daemon_factory):
    """NP-40: what the owner makes for a host leaves the host its own"""
    daemon = daemon_factory("[limits]\nleases-per-client = 3\n").start()
    for port in range(6000, 6005):
        daemon.admin("add", "tcp", str(port), f"{lab.lan1.ipv4}:{port}")
    for port in (4000, 4001, 4002):
        assert ask(lab.lan1, port, port).result == natpmp.OK
    assert ask(lab.lan1, 4003, 4003).result == natpmp.NO_RESOURCES
    daemon.admin("add", "tcp", "6005", f"{lab.lan1.ipv4}:6005")
    assert len(daemon.leases()) == 9


def test_quota_in_total(lab, daemon_factory):
    daemon_factory("[limits]\nleases-total = 2\n").start()
    assert ask(lab.lan1, 4000, 4000).result == natpmp.OK
    assert ask(lab.lan2, 4001, 4001).result == natpmp.OK
    assert ask(lab.guest1, 4002, 4002).result == natpmp.NO_RESOURCES
    with pytest.raises(igd.SoapError):
        igd.Gateway(lab.lan1).add(4003, 4003)


def test_rate(lab, daemon_factory):
    """Too many requests of one host are refused or dropped; another host is served."""
    daemon = daemon_factory("[limits]\nrequests-per-second = 20\n").start()
    with lab.lan1.udp() as flood:
        for port in range(4000, 4400):
            flood.sendto(natpmp.pack_map("udp", port, port, 600),
                         ("192.168.77.1", natpmp.PORT))
        assert ask(lab.lan2, 3999, 3999).result == natpmp.OK
        wait_for(lambda: daemon.json("status")["status"]["requests"]["total"] >= 1,
                 "the requests to be counted")
    assert len([x for x in daemon.leases() if x["client"] == lab.lan1.ipv4]) < 100
    wait_for(lambda: ask_patiently(lab.lan1) == natpmp.OK, "lan1 to be served again")


def ask_patiently(host):
    try:
        with natpmp.Client(host) as client:
            return natpmp.parse_mapping(
                client.ask(natpmp.pack_map("udp", 4500, 4500, 600), 0.2), "udp").result
    except TimeoutError:
        return None


RULES = """
[policy]
rule = deny client 192.168.77.3/32
rule = allow lan guest0 protocol udp external 5000-5009 internal 5000-5009
rule = deny lan guest0
rule = allow protocol tcp external 443 internal 8443
rule = allow external 1024-65535 lifetime-max 10m description game*
rule = allow external 6000-6999 internal 22
rule = deny
"""


def test_rules(lab, daemon_factory):
    """The first rule that matches decides, and its limits hold."""
    daemon = daemon_factory(RULES).start()
    assert ask(lab.lan2, 4000, 4000).result == natpmp.REFUSED
    assert ask(lab.guest1, 5000, 5000).external == 5000
    assert ask(lab.guest1, 5000, 5000, "tcp").result == natpmp.REFUSED
    assert ask(lab.guest1, 4000, 5000).result == natpmp.REFUSED
    # NP-38: an external port that the rule withholds is replaced by one it grants
    assert 5000 <= ask(lab.guest1, 5001, 7000).external <= 5009
    assert ask(lab.lan1, 8443, 443, "tcp").external == 443
    assert lab.tcp_arrives(lab.inet1, (WAN, 443), lab.lan1, 8443) is not None
    assert ask(lab.lan1, 4000, 4000).result == natpmp.REFUSED
    assert 6000 <= ask(lab.lan1, 22, 6001).external <= 6999
    gateway = igd.Gateway(lab.lan1)
    gateway.add(5555, 5555, PortMappingDescription="game of life", LeaseDuration=3600)
    assert int(gateway.get(5555)["NewLeaseDuration"]) <= 600
    for port, text in ((5556, "web"), (5557, "a game")):
        with pytest.raises(igd.SoapError):
            gateway.add(port, port, PortMappingDescription=text)
    assert {x["external_port"] for x in daemon.leases()} >= {443, 5000, 5555}


def test_third_party(lab, daemon_factory):
    """A host that is allowed to may map for others, in that prefix only."""
    daemon_factory("[policy]\nrule = allow client 192.168.77.2/32 third-party "
                   "192.168.77.0/24\nrule = allow external 1024-65535\n").start()
    gateway = igd.Gateway(lab.lan1)
    gateway.add(5000, 4000, InternalClient=lab.lan2.ipv4)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan2, 4000) is not None
    with pytest.raises(igd.SoapError):
        gateway.add(5001, 4000, InternalClient=lab.guest1.ipv4)
    with pytest.raises(igd.SoapError):
        igd.Gateway(lab.lan2).add(5002, 4000, InternalClient=lab.lan1.ipv4)


def test_lifetime_limits(lab, daemon_factory):
    daemon = daemon_factory("[limits]\nlifetime-min = 60\nlifetime-max = 300\n").start()
    assert ask(lab.lan1, 4000, 4000, lifetime=86400).lifetime == 300
    assert ask(lab.lan1, 4001, 4001, lifetime=30).lifetime <= 30  # NP-27
    igd.Gateway(lab.lan1).add(4002, 4002, LeaseDuration=86400)
    lease = next(x for x in daemon.leases() if x["external_port"] == 4002)
    assert lease["lifetime_s"] <= 300


def test_networks_behind_a_router(lab, daemon_factory):
    """A client behind a router in the LAN is served when its network is configured."""
    lab.lan1.ip("address", "add", "10.1.2.3/32", "dev", "lo")
    lab.gw.ip("route", "add", "10.1.2.0/24", "via", lab.lan1.ipv4)
    try:
        daemon = daemon_factory("[lan lan0]\nnetworks = 10.1.2.0/24\n").start()
        with lab.lan1.udp(address="10.1.2.3") as sock:
            sock.sendto(natpmp.pack_map("udp", 4000, 4000, 600),
                        ("192.168.77.1", natpmp.PORT))
            assert natpmp.parse_mapping(sock.recv(64), "udp").external == 4000
        [lease] = daemon.leases()
        assert lease["internal_address"] == "10.1.2.3"
        with lab.lan1.udp(4000, "10.1.2.3") as sink:
            assert lab.udp_arrives(lab.inet1, (WAN, 4000), lab.lan1, 4000, sink=sink)
    finally:
        lab.gw.ip("route", "del", "10.1.2.0/24")
        lab.lan1.ip("address", "del", "10.1.2.3/32", "dev", "lo")


def test_freed_port_rests(lab, daemon_factory):
    """NP-41: a freed port is not another host's at once; its former owner may have it"""
    daemon_factory().start()
    assert ask(lab.lan1, 4000, 5000).external == 5000
    with natpmp.Client(lab.lan1) as client:
        client.unmap("udp", 4000)
    assert ask(lab.lan2, 4000, 5000).external not in (0, 5000)
    assert ask(lab.lan1, 4000, 5000).external == 5000
