# SPDX-License-Identifier: GPL-2.0-or-later
"""NAT-PMP end to end: the rows NP-.. of its checklist, each proven by packets."""

import select
import time

import igd
import natpmp
import pytest
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS


@pytest.fixture
def lan1(lab, daemon):
    with natpmp.Client(lab.lan1) as client:
        yield client


@pytest.fixture
def lan2(lab, daemon):
    with natpmp.Client(lab.lan2) as client:
        yield client


def sends(lab, protocol):
    return lab.udp_arrives if protocol == "udp" else lab.tcp_arrives


def test_address(lan1):
    """NP-1, NP-8, NP-24"""
    answer = lan1.address()
    assert (answer.result, answer.address) == (natpmp.OK, WAN)


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_mapping_lets_packets_in(lab, lan1, protocol):
    """NP-4, NP-23: one transport only, both ways, from any remote host"""
    answer = lan1.map(protocol, 4000, 5000, 600)
    assert answer[2:] == (4000, 5000, 600) and answer.result == natpmp.OK
    assert sends(lab, protocol)(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None
    assert sends(lab, protocol)(lab.inet2, (WAN, 5000), lab.lan1, 4000) is not None
    other = "tcp" if protocol == "udp" else "udp"
    # NP-33: no mapping of the other transport as a side effect
    assert sends(lab, other)(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None
    assert sends(lab, protocol)(lab.inet1, (WAN, 4000), lab.lan1, 4000) is None


def test_source_is_seen(lab, lan1):
    """The internal host sees who sends, not the gateway."""
    lan1.map("udp", 4000, 4000)
    with lab.inet1.udp(7777) as source:
        assert lab.udp_arrives(lab.inet1, (WAN, 4000), lab.lan1, 4000,
                               source=source) == (lab.inet1.ipv4, 7777)


def test_outbound_uses_external_port(lab, lan1):
    """NP-10: what the internal endpoint sends leaves with the mapped external port"""
    lan1.map("udp", 4000, 5000)
    with lab.lan1.udp(4000) as inside:
        seen = lab.udp_arrives(lab.lan1, (lab.inet1.ipv4, 9), lab.inet1, 9, source=inside)
        assert seen == (WAN, 5000)
        # a second remote host sees the same port: endpoint independent
        assert lab.udp_arrives(lab.lan1, (lab.inet2.ipv4, 9), lab.inet2, 9,
                               source=inside) == (WAN, 5000)


def test_hairpin(lab, lan1):
    """NP-9: a host of the same LAN reaches the mapping by the external address"""
    lan1.map("udp", 4000, 5000)
    lan1.map("tcp", 4001, 5001)
    assert lab.udp_arrives(lab.lan2, (WAN, 5000), lab.lan1, 4000) is not None
    assert lab.tcp_arrives(lab.lan2, (WAN, 5001), lab.lan1, 4001) is not None


def test_renewal_keeps_port(lab, lan1, daemon):
    """NP-30: the port already assigned, whatever is suggested now; one lease"""
    assert lan1.map("udp", 80, 8080, 100)[3:] == (8080, 100)
    assert lan1.map("udp", 80, 9090, 900)[3:] == (8080, 900)
    assert len(daemon.leases()) == 1
    assert lab.udp_arrives(lab.inet1, (WAN, 8080), lab.lan1, 80) is not None


def test_duplicates_are_idempotent(lan1, daemon):
    """NP-11: a client that repeats itself gets the same reply and one lease"""
    answers = {lan1.map("udp", 4000, 5000, 600)[2:] for _ in range(9)}
    assert answers == {(4000, 5000, 600)}
    assert len(daemon.leases()) == 1


def test_conflict_gets_another_port(lab, lan1, lan2):
    """NP-31: both have a port, each its own, and both work"""
    first = lan1.map("udp", 4000, 5000)
    second = lan2.map("udp", 4000, 5000)
    assert first.external == 5000
    assert second.result == natpmp.OK and second.external not in (0, 5000)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None
    assert lab.udp_arrives(lab.inet1, (WAN, second.external), lab.lan2, 4000) is not None


def test_companion_port_is_reserved(lan1, lan2):
    """NP-34: TCP p of one host keeps UDP p from all others, but not from itself"""
    assert lan1.map("tcp", 5000, 5000).external == 5000
    assert lan2.map("udp", 5000, 5000).external != 5000
    assert lan1.map("udp", 5000, 5000).external == 5000


def test_any_port_is_high(lan1):
    """NP-32: suggested port 0, privileged internal port"""
    assert lan1.map("tcp", 22, 0).external >= 1024


def test_privileged_suggestion_gets_high_port(lan1):
    """NP-38: port 80 is withheld by policy, another one is given"""
    answer = lan1.map("tcp", 80, 80)
    assert answer.result == natpmp.OK and answer.external >= 1024


@pytest.mark.parametrize("port", [5350, 5351])
def test_own_ports_are_never_mapped(lan1, port):
    """NP-37"""
    answer = lan1.map("udp", 4000, port)
    assert answer.result == natpmp.OK and answer.external not in (0, port)


def test_port_of_the_gateway_itself(lab, lan1):
    """NP-37: a port on which the gateway listens is not given away"""
    with lab.gw.listen(6000, address=""):
        answer = lan1.map("tcp", 6000, 6000)
    assert answer.result == natpmp.OK and answer.external not in (0, 6000)


def test_internal_port_0(lan1, daemon):
    """NP-39"""
    answer = lan1.map("udp", 0, 5000)
    assert answer[2:] == (0, 0, 0) and answer.result == natpmp.REFUSED
    assert daemon.leases() == []


def test_delete(lab, lan1):
    """NP-42, NP-43, NP-44: gone at once, a second time too, the external port ignored"""
    lan1.map("udp", 4000, 5000)
    with lab.inet1.udp() as source:  # a flow that lives must end too (NP-51)
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000, source=source)
        for suggested in (5000, 1234, 0):
            answer = lan1.map("udp", 4000, suggested, 0)
            assert answer[2:] == (4000, 0, 0) and answer.result == natpmp.OK
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None
        # The flow may end between a datagram and its answer: so without one.
        wait_for(lambda: lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000,
                                         source=source, reply=False) is None,
                 "the live flow to end", 1)


def test_delete_all_of_one_protocol(lab, lan1, lan2):
    """NP-47: one protocol of one client"""
    for port in (4000, 4001):
        lan1.map("udp", port, port)
    lan1.map("tcp", 4002, 4002)
    lan2.map("udp", 4003, 4003)
    answer = lan1.map("udp", 0, 0, 0)
    assert answer[2:] == (0, 0, 0) and answer.result == natpmp.OK
    for port in (4000, 4001):
        assert lab.udp_arrives(lab.inet1, (WAN, port), lab.lan1, port) is None
    assert lab.tcp_arrives(lab.inet1, (WAN, 4002), lab.lan1, 4002) is not None
    assert lab.udp_arrives(lab.inet1, (WAN, 4003), lab.lan2, 4003) is not None


def test_static_lease_is_not_deleted(lab, lan1, daemon):
    """NP-45, NP-46, NP-48: what the owner made stays; delete-all takes the rest"""
    daemon.admin("add", "udp", "4000", f"{lab.lan1.ipv4}:4000")
    lan1.map("udp", 4001, 4001)
    answer = lan1.unmap("udp", 4000)
    assert (answer.result, answer.internal, answer.lifetime) == (natpmp.REFUSED, 4000, 0)
    answer = lan1.map("udp", 0, 0, 0)
    assert (answer.result, answer.internal) == (natpmp.REFUSED, 0)
    assert lab.udp_arrives(lab.inet1, (WAN, 4000), lab.lan1, 4000) is not None
    assert lab.udp_arrives(lab.inet1, (WAN, 4001), lab.lan1, 4001) is None


def test_expiry(lab, lan1, daemon):
    """NP-29, NP-27: granted no longer than asked, gone when it ends, in the kernel too"""
    assert lan1.map("udp", 4000, 5000, 2).lifetime == 2
    began = time.monotonic()
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None
    wait_for(lambda: daemon.leases() == [], "the lease to end", 4)
    assert 1.5 < time.monotonic() - began < 3
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None


@pytest.mark.nftables("the kernel ends leases by itself")
def test_kernel_ends_lease_without_daemon(lab, lan1, daemon):
    """What outlives the daemon does not outlive its lease."""
    assert lan1.map("udp", 4000, 5000, 3).lifetime == 3
    daemon.kill()
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None
    wait_for(lambda: lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None,
             "the kernel to end the lease", 6)


def test_longest_lifetime(lan1):
    """NP-28: 2^32-1 does not wrap, it is the configured maximum"""
    assert lan1.map("udp", 4000, 0, 0xffffffff).lifetime == 86400


def test_malformed(lan1, daemon):
    """NP-12, NP-13, NP-17: silence, and nothing changes"""
    for request in (b"", b"\0", b"\0\x80\0\0\0\0\0\0\1\2\3\4", b"\0\xff",
                    b"\2\x81" + bytes(58), natpmp.pack_map("udp", 4000, 4000, 60)[:11]):
        assert lan1.is_silent(request), request.hex()
    assert daemon.leases() == []


def test_unsupported(lan1):
    """NP-16, NP-18, NP-19, NP-20"""
    request = b"\0\x09" + bytes(range(18))
    answer = lan1.ask(request)
    assert answer[:4] == b"\0\x89\0\5" and answer[8:] == request[8:]
    assert len(lan1.ask(b"\0\x09")) == 8
    assert len(lan1.ask(bytes(12))) == 12
    answer = natpmp.parse_mapping(
        lan1.ask(natpmp.pack_map("udp", 4000, 4000, 60, reserved=0xffff) + bytes(4)), "udp")
    assert answer.result == natpmp.OK


def test_other_version(lab, daemon_factory):
    """NP-14, NP-20: where PCP is not served, which would answer (PCP-5)"""
    daemon_factory("[lan lan0]\nprotocols = nat-pmp\n").start()
    with natpmp.Client(lab.lan1) as client:
        answer = client.ask(b"\x03\x01" + bytes(58))
        assert len(answer) == 8 and answer[:4] == b"\x00\x80\x00\x01"


def read_boottime():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def test_epoch_counts_seconds(lan1):
    """
    NP-52, NP-54, NP-20: it goes as CLOCK_BOOTTIME does. The wall clock is the whole
    machine's and in no namespace, so no test steps it; only base/clock.c reads clocks.
    """
    first, began = lan1.address().epoch, read_boottime()
    later = wait_for(lambda: lan1.address().epoch > first + 1 and lan1.address().epoch,
                     "the epoch to grow", 5)
    assert abs((later - first) - (read_boottime() - began)) < 1.2


def test_igd_lease_of_the_same_host(lab, lan1, daemon):
    """
    NP-49: NAT-PMP deletes the IGD leases of the host that asks, and no other's.
    (Those of PCP have a nonce and stay; their part of this row comes with PCP.)
    """
    igd.Gateway(lab.lan1).add(5000, 4000)
    igd.Gateway(lab.lan2).add(5001, 4000)
    answer = lan1.unmap("udp", 4000)
    assert answer[2:] == (4000, 0, 0) and answer.result == natpmp.OK
    assert [x["client"] for x in daemon.leases()] == [lab.lan2.ipv4]
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None
    assert lab.udp_arrives(lab.inet1, (WAN, 5001), lab.lan2, 4000) is not None


def test_guest_lan(lab, daemon):
    """A host of the second LAN has its own gateway address and its own leases."""
    with natpmp.Client(lab.guest1) as guest:
        assert guest.address().address == WAN
        assert guest.map("udp", 4000, 4000).external == 4000
    assert lab.udp_arrives(lab.inet1, (WAN, 4000), lab.guest1, 4000) is not None
    [lease] = daemon.leases()
    assert (lease["lan"], lease["client"]) == ("guest0", lab.guest1.ipv4)


# NP-2, NP-3: only LAN


def test_silence_towards_the_wan(lab, lan1, daemon):
    """NP-2: no answer to the internet, to neither address of the gateway"""
    lab.inet1.ip("route", "replace", "192.168.77.0/24", "via", WAN)
    try:
        with lab.inet1.udp() as outside:
            for address in (WAN, "192.168.77.1"):
                outside.sendto(bytes(2), (address, natpmp.PORT))
                outside.sendto(natpmp.pack_map("udp", 4000, 4000, 60),
                               (address, natpmp.PORT))
            lan1.address()  # asked later, answered: the others had their turn
            assert not select.select([outside], [], [], 0.1)[0]
    finally:
        lab.inet1.ip("route", "del", "192.168.77.0/24")
    assert daemon.leases() == []


def test_forged_lan_source_from_the_wan(lab, lan1, daemon):
    """NP-2, NP-3: a LAN source address is no proof, even without reverse path filter"""
    for which in ("all", "wan0"):
        lab.gw.write_sysctl(f"net/ipv4/conf/{which}/rp_filter", 0)
    with lab.lan1.udp(7000) as victim:
        lab.inet1.ip("route", "replace", "192.168.77.0/24", "via", WAN)
        try:
            for target in (WAN, "192.168.77.1"):
                lab.inet1.send_forged((lab.lan1.ipv4, 7000), (target, natpmp.PORT),
                                      natpmp.pack_map("udp", 4000, 4000, 60))
        finally:
            lab.inet1.ip("route", "del", "192.168.77.0/24")
        lan1.address()
        assert not select.select([victim], [], [], 0.1)[0]
    assert daemon.leases() == []


def test_external_address_from_the_lan_is_not_served(lab, daemon):
    """NP-2: the destination counts as well as the interface"""
    with lab.lan1.udp() as client, natpmp.Client(lab.lan1) as other:
        client.sendto(bytes(2), (WAN, natpmp.PORT))
        other.address()
        assert not select.select([client], [], [], 0.1)[0]


def test_other_lan_address_is_answered_from_it_or_not_at_all(lab, daemon):
    """NP-1: a reply never comes from an address that was not asked"""
    with lab.lan1.udp() as client, natpmp.Client(lab.lan1) as other:
        client.sendto(bytes(2), ("192.168.78.1", natpmp.PORT))
        other.address()
        if select.select([client], [], [], 0.1)[0]:
            assert client.recvfrom(64)[1] == ("192.168.78.1", natpmp.PORT)


# NP-55..59: announcements


def collect(sock, deadline_s, count=100):
    """[(seconds since the start, announcement)] received until then."""
    began, heard = time.monotonic(), []
    while len(heard) < count:
        left = began + deadline_s - time.monotonic()
        if left <= 0 or not select.select([sock], [], [], left)[0]:
            break
        data, source = sock.recvfrom(64)
        assert source[1] == natpmp.PORT, source
        if data[:1] == b"\2":  # PCP's, to the same group
            continue
        heard.append((time.monotonic(), source[0], natpmp.parse_address(data)))
    return heard


def check_schedule(heard):
    """NP-56: the gaps double from 250 ms. The first of `heard` starts the series."""
    gaps = [later[0] - earlier[0] for earlier, later in zip(heard, heard[1:])]
    for gap, wanted in zip(gaps, (0.25, 0.5, 1.0, 2.0)):
        assert abs(gap - wanted) < 0.15, gaps


def test_announcements_at_start(lab, daemon_factory):
    """NP-55, NP-56, NP-57, NP-59, NP-63: to each LAN, from its address, never to the WAN"""
    group = (natpmp.ANNOUNCE_GROUP, natpmp.ANNOUNCE_PORT)
    with lab.lan1.capture(*group) as lan, lab.guest1.capture(*group) as guest, \
            lab.inet1.capture(*group) as wan:
        daemon_factory().start()
        heard = collect(lan, 6, 5)
        assert len(heard) == 5, heard
        check_schedule(heard)
        assert {(x[1], x[2].address, x[2].result) for x in heard} == {
            ("192.168.77.1", WAN, natpmp.OK)}
        assert heard[-1][2].epoch >= 3
        assert collect(guest, 1, 1)[0][1] == "192.168.78.1"
        assert not select.select([wan], [], [], 0)[0]


def test_announcement_of_a_new_address(lab, daemon):
    """NP-55, NP-58, NP-60: loss and new address are told; one series at a time"""
    with lab.lan1.capture(natpmp.ANNOUNCE_GROUP, natpmp.ANNOUNCE_PORT) as lan:
        collect(lan, 6, 4)
        lab.gw.ip("address", "del", "203.0.113.1/24", "dev", "wan0")
        try:
            lost = wait_for(lambda: next((x for x in collect(lan, 2, 1)
                                          if x[2].result == natpmp.NETWORK_FAILURE), None),
                            "the announcement of the loss")
            assert lost[2].address == "0.0.0.0"
            # NP-22, NP-25, NP-21: asked, it says the same
            with natpmp.Client(lab.lan1) as client:
                assert client.address()[::2] == (natpmp.NETWORK_FAILURE, "0.0.0.0")
                answer = client.map("udp", 4000, 4000)
                assert answer.result == natpmp.NETWORK_FAILURE
                assert answer[2:] == (4000, 0, 0)
        finally:
            lab.gw.ip("address", "add", "203.0.113.1/24", "dev", "wan0")
            lab.gw.ip("route", "replace", "default", "via", "203.0.113.2")
        first = wait_for(lambda: next((x for x in collect(lan, 2, 1)
                                       if x[2].result == natpmp.OK), None),
                         "the announcement of the new address")
        heard = [first] + collect(lan, 3, 3)
        check_schedule(heard)
        assert all(x[2] .address == WAN for x in heard)


def test_nobody_joins_the_group(lab, daemon):
    """NP-62: we only send there; nothing of ours is bound to 5350"""
    done = lab.gw.run(["ss", "-Hulpn", "sport", "=", ":5350"])
    assert done.stdout.strip() == ""


def test_nat_off(lab, daemon_factory):
    """NP-5, NP-6: a box that does not translate has no socket there: ICMP tells"""
    daemon_factory("[wan]\nnat = off\n[lan lan0]\nprotocols = nat-pmp\n").start()
    with lab.lan1.udp() as client:
        client.connect(("192.168.77.1", natpmp.PORT))
        client.send(bytes(2))
        with pytest.raises(ConnectionRefusedError):
            client.recv(64)


def test_nat_off_with_pcp(lab, daemon_factory):
    """NP-5, PCP-19: where PCP has a socket all the same, it says so"""
    daemon_factory("[wan]\nnat = off\n").start()
    with lab.lan1.udp() as client:
        client.connect(("192.168.77.1", natpmp.PORT))
        client.send(bytes(2))
        answer = client.recv(64)
        assert answer[:4] == bytes([2, 128, 0, 1]) and len(answer) == 24


def test_protocol_switched_off_on_one_lan(lab, daemon_factory):
    """NP-7: only the LANs and protocols of the configuration are served"""
    daemon_factory("[lan lan0]\nprotocols = nat-pmp\n[lan guest0]\nprotocols = upnp\n"
                   ).start()
    with natpmp.Client(lab.lan1) as client, lab.guest1.udp() as guest:
        guest.sendto(bytes(2), ("192.168.78.1", natpmp.PORT))
        assert client.address().result == natpmp.OK
        guest.settimeout(0.2)
        with pytest.raises((TimeoutError, ConnectionRefusedError)):
            guest.recv(64)


def test_natpmpc(lab, daemon):
    """The real client."""
    done = lab.lan1.run(["natpmpc", "-a", "5000", "4000", "udp", "600"])
    assert done.returncode == 0, done.stdout
    assert f"Public IP address : {WAN}" in done.stdout
    assert "Mapped public port 5000 protocol UDP to local port 4000" in done.stdout
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None


def test_private_wan_address_is_answered(lab, daemon_factory):
    """NP-26: behind another NAT too; the truth is told"""
    daemon_factory("[wan]\naddress = 10.9.8.7\n").start()
    with natpmp.Client(lab.lan1) as client:
        assert client.address()[::2] == (natpmp.OK, "10.9.8.7")
        assert client.map("udp", 4000, 4000).result == natpmp.OK
    assert lab.udp_arrives(lab.inet1, (WAN, 4000), lab.lan1, 4000) is not None


def test_two_consoles(lab, lan1, lan2):
    """Two consoles with the same game: each has its port, in and out, and hairpin."""
    ports = {}
    for client, host in ((lan1, lab.lan1), (lan2, lab.lan2)):
        ports[host] = client.map("udp", 3074, 3074).external
    for host, port in ports.items():
        assert lab.udp_arrives(lab.inet1, (WAN, port), host, 3074) is not None
        with host.udp(3074) as game:
            assert lab.udp_arrives(host, (lab.inet1.ipv4, 9), lab.inet1, 9,
                                   source=game) == (WAN, port)
    assert lab.udp_arrives(lab.lan2, (WAN, ports[lab.lan1]), lab.lan1, 3074) is not None
