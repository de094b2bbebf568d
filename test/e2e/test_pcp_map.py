# SPDX-License-Identifier: GPL-2.0-or-later
"""MAP end to end: rows PCP-43..72 of its checklist, each proven by packets."""

import itertools
import os
import socket
import struct
import threading

import igd
import natpmp
import pcp
import pytest
import wire
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
LIMITS = "[limits]\nrequests-per-second = 0\nleases-per-client = 0\n"
PORTS = itertools.count(21000)


@pytest.fixture
def daemon(keeper):
    return keeper.get(LIMITS)


@pytest.fixture
def port():
    """A port that no other test uses."""
    return next(PORTS)


def leases_of(daemon, port):
    return [x for x in daemon.leases() if x["internal_port"] == port]


def arrives(lab, external, port, protocol="udp", host=None, sender=None, **options):
    send = lab.udp_arrives if protocol == "udp" else lab.tcp_arrives
    return send(sender or lab.inet1, (WAN, external), host or lab.lan1, port,
                **options) is not None


def check_left(answer, granted_s, took_s=20):
    """NOT_AUTHORIZED with what is left of the mapping (PCP-49)"""
    assert answer.result == pcp.NOT_AUTHORIZED, answer
    assert granted_s - took_s <= answer.lifetime <= granted_s, answer


# The datapath


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_mapping_lets_packets_in(lab, lan1, port, protocol):
    """PCP-44, PCP-45, PCP-57, PCP-58: from any host, by the transport asked for alone"""
    answer = lan1.grant(protocol, port, port + 10000, 600)
    assert answer.endpoint == (WAN, port + 10000) and answer.lifetime == 600
    assert arrives(lab, port + 10000, port, protocol)
    assert arrives(lab, port + 10000, port, protocol, sender=lab.inet2)
    other = "tcp" if protocol == "udp" else "udp"
    assert not arrives(lab, port + 10000, port, other)
    assert not arrives(lab, port, port, protocol)


def test_outbound_uses_external_port(lab, lan1, port):
    """PCP-59, PCP-58: what leaves the internal endpoint leaves as the external one"""
    lan1.grant("udp", port, port + 10000)
    with lab.lan1.udp(port) as inside:
        for host in (lab.inet1, lab.inet2):
            assert lab.udp_arrives(lab.lan1, (host.ipv4, 9), host, 9,
                                   source=inside) == (WAN, port + 10000)


def test_hairpin(lab, lan1, port):
    """A host of the same LAN reaches it by the external address."""
    lan1.grant("udp", port, port)
    assert arrives(lab, port, port, sender=lab.lan2)


def test_icmp_errors_pass(lab, lan1, port):
    """PCP-60: unreachable and too big, to the mapped host and from it"""
    lan1.grant("udp", port, port + 10000)
    with lab.lan1.udp(port) as inside:
        wire.want_errors(inside)
        with lab.inet1.udp() as outside:
            source = outside.getsockname()
            assert arrives(lab, port + 10000, port, source=outside, sink=inside)
            wire.send_too_big(lab.inet1, (WAN, port + 10000), source, 1200)
            assert wire.read_error(inside) == (3, 4, 1200)
        inside.sendto(b"nobody listens now", source)
        assert wire.read_error(inside)[:2] == (3, 3)
    with lab.inet1.udp() as outside:
        outside.connect((WAN, port + 10000))
        outside.send(b"nobody listens here either")
        with pytest.raises(ConnectionRefusedError):
            outside.recv(64)


def test_connections_end_and_mapping_stays(lab, lan1, port):
    """PCP-69: neither FIN nor RST ends a mapping"""
    lan1.grant("tcp", port, port)
    for linger in (None, struct.pack("ii", 1, 0)):  # FIN, RST
        with lab.lan1.listen(port) as server, lab.inet1.connect((WAN, port)) as outside:
            with server.accept()[0] as inside:
                inside.settimeout(5)
                if linger:
                    outside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                outside.close()
                try:
                    assert inside.recv(1) == b""
                except ConnectionResetError:
                    assert linger
        assert arrives(lab, port, port, "tcp")


def test_renewals_lose_no_packet(lab, lan1, port):
    """PCP-72, PCP-52: traffic during 100 renewals, in flows that live and in new ones"""
    lan1.grant("udp", port, port)
    sent = []
    done = threading.Event()
    with lab.lan1.udp(port) as sink, lab.inet1.udp() as steady:
        sources = [lab.inet1.udp() for _ in range(200)]

        def stream():
            for number, source in enumerate(sources):
                for sock in (source, steady):
                    sock.sendto(b"%d" % len(sent), (WAN, port))
                    sent.append(number)
                done.wait(0.001)

        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        thread = threading.Thread(target=stream)
        thread.start()
        for number in range(100):
            assert lan1.grant("udp", port, number, 600 + number).port == port
        thread.join()
        heard = wire.collect(sink, 5, len(sent))
        for source in sources:
            source.close()
    assert sorted(int(x.data) for x in heard) == list(range(len(sent)))


def test_expiry(lab, keeper, port):
    """PCP-64: a mapping that nobody renews ends, in the kernel too"""
    daemon = keeper.get(LIMITS + "lifetime-min = 1\n")
    with pcp.Client(lab.lan1) as client:
        assert client.grant("udp", port, port, 1).lifetime == 1
        assert arrives(lab, port, port)
        wait_for(lambda: leases_of(daemon, port) == [], "the lease to end", 4)
        assert not arrives(lab, port, port)


# What is asked for


@pytest.mark.parametrize("protocol,internal,result", [
    ("gre", 0, pcp.UNSUPP_PROTOCOL), ("gre", 80, pcp.UNSUPP_PROTOCOL),
    ("sctp", 80, pcp.UNSUPP_PROTOCOL), ("icmp", 80, pcp.UNSUPP_PROTOCOL),
    (255, 80, pcp.UNSUPP_PROTOCOL), ("tcp", 0, pcp.UNSUPP_PROTOCOL),
    ("udp", 0, pcp.UNSUPP_PROTOCOL), ("all", 0, pcp.UNSUPP_PROTOCOL),
    ("all", 80, pcp.MALFORMED_REQUEST)])
def test_unsupported_protocol(lan1, daemon, protocol, internal, result):
    """PCP-45, PCP-46, PCP-47, PCP-48"""
    before = daemon.leases()
    answer = lan1.map(protocol, internal, internal)
    assert (answer.result, answer.lifetime) == (result, pcp.LONG_S)
    assert [x["id"] for x in daemon.leases()] == [x["id"] for x in before]


def test_delete_of_what_cannot_be(lab, lan1, port):
    """PCP-48, PCP-65, PCP-66: nothing there, nothing deleted, and a nonsense is one"""
    lan1.grant("tcp", port, port)
    for protocol in ("tcp", "udp", "all"):
        answer = lan1.unmap(protocol, 0)
        assert (answer.result, answer.lifetime) == (pcp.OK, 0), answer
    assert lan1.unmap("all", 80).result == pcp.MALFORMED_REQUEST
    assert arrives(lab, port, port, "tcp")


@pytest.mark.parametrize("asked,granted", [(1, 120), (119, 120), (120, 120), (600, 600),
                                           (86400, 86400), (86401, 86400),
                                           (0xffffffff, 86400), (0x80000000, 86400)])
def test_lifetime(lan1, port, asked, granted):
    """PCP-64: moved into what the configuration allows"""
    assert lan1.grant("udp", port, port, asked).lifetime == granted


@pytest.mark.parametrize("address", [
    "10.0.0.2", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.168.77.2", "0.0.0.1",
    "203.0.113.2", "::1", "::", "fe80::1", "2001:db8::1", "ff02::1"])
def test_suggested_address(lan1, port, address):
    """PCP-55, PCP-92: a bad suggestion is no error; its port can be had all the same"""
    answer = lan1.grant("udp", port, port + 10000, suggested=address)
    assert answer.endpoint == (WAN, port + 10000)


def test_suggested_port(lab, lan1, lan2, port):
    """PCP-55, PCP-56: taken, withheld, ours or the gateway's own: another one is given"""
    lan2.grant("udp", port, port)
    with lab.gw.listen(port + 5000, address=""):
        for number, suggested in enumerate((port, 5350, 5351, 80, 1023)):
            answer = lan1.grant("udp", port + 100 + number, suggested)
            assert answer.port not in (0, suggested) and answer.port >= 1024
            assert answer.address == WAN
        assert lan1.grant("tcp", port + 200, port + 5000).port != port + 5000
    assert lan1.grant("udp", port + 201, 0).port >= 1024


def test_renewal(lab, lan1, daemon, port):
    """PCP-52: the same endpoint whatever is suggested, the new time, one lease"""
    assert lan1.grant("udp", port, port, 200).lifetime == 200
    for suggested, lifetime in ((port + 1, 900), (0, 900), (port, 300)):
        answer = lan1.grant("udp", port, suggested, lifetime, suggested="10.1.1.1")
        assert (answer.endpoint, answer.lifetime) == ((WAN, port), lifetime)
    [lease] = leases_of(daemon, port)
    assert 290 <= lease["lifetime_s"] <= 300
    assert (lease["origin"], lease["lan"], lease["client"]) == (
        "pcp", "lan0", lab.lan1.ipv4)
    assert lan1.grant("tcp", port, port).port == port
    assert len(leases_of(daemon, port)) == 2


def test_nonce(lab, lan1, daemon, port):
    """PCP-49, PCP-102: another one, even by one bit of 96, neither renews nor deletes"""
    lan1.grant("udp", port, port, 1000)
    for octet in range(12):
        wrong = bytearray(lan1.nonce)
        wrong[octet] ^= 1 << octet % 8
        for lifetime in (0, 5000):
            check_left(lan1.map("udp", port, port, lifetime, nonce=bytes(wrong)), 1000)
    check_left(lan1.map("udp", port, port, 60, nonce=bytes(12)), 1000)
    [lease] = leases_of(daemon, port)
    assert lease["lifetime_s"] <= 1000
    assert arrives(lab, port, port)
    assert lan1.unmap("udp", port).result == pcp.OK


def test_nonce_of_zeros(lan1, daemon, port):
    """PCP-49: it is a nonce as good as any"""
    lan1.grant("udp", port, port, 1000, nonce=bytes(12))
    check_left(lan1.unmap("udp", port), 1000)
    lan1.grant("udp", port, port, 1000, nonce=bytes(12))
    assert lan1.unmap("udp", port, nonce=bytes(12)).result == pcp.OK
    assert leases_of(daemon, port) == []


def test_nonce_relaxed(lab, keeper, port):
    """PCP-50: renewals with a fresh one are taken, deletes are not"""
    daemon = keeper.get(LIMITS + "[global]\npcp-nonce-check = relaxed\n")
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", port, port, 1000)
        fresh = os.urandom(12)
        check_left(client.unmap("udp", port, nonce=fresh), 1000)
        assert client.grant("udp", port, 1, 1000, nonce=fresh).port == port
        check_left(client.unmap("udp", port), 1000)
        assert len(leases_of(daemon, port)) == 1
        assert client.unmap("udp", port, nonce=fresh).result == pcp.OK
    assert leases_of(daemon, port) == []


def test_delete(lab, lan1, daemon, port):
    """PCP-65: gone at once, a second time too; what was suggested comes back unchanged"""
    lan1.grant("udp", port, port)
    assert arrives(lab, port, port)
    for suggested in (port, 7, 0):
        answer = lan1.unmap("udp", port, external=suggested, suggested="198.51.100.9")
        assert (answer.result, answer.lifetime) == (pcp.OK, 0)
        assert answer.endpoint == ("198.51.100.9", suggested)
    assert leases_of(daemon, port) == []
    assert not arrives(lab, port, port)


@pytest.mark.parametrize("keep", ["no", "yes"])
def test_flows_of_a_deleted_mapping(lab, keeper, port, keep):
    """PCP-68: its live flows end, as with NAT-PMP, unless the owner keeps them"""
    keeper.get(LIMITS + f"[backend]\nkeep-flows = {keep}\n")
    with pcp.Client(lab.lan1) as client, lab.inet1.udp() as source:
        client.grant("udp", port, port)
        assert arrives(lab, port, port, source=source)
        assert client.unmap("udp", port).result == pcp.OK
        assert not arrives(lab, port, port)
        if keep == "yes":
            assert arrives(lab, port, port, source=source)
        else:
            wait_for(lambda: not arrives(lab, port, port, source=source),
                     "the live flow to end", 2)


def test_static(lab, lan1, daemon, port):
    """PCP-51, PCP-67: the owner's own is told, without end, and not to be deleted"""
    daemon.admin("add", "udp", str(port), f"{lab.lan1.ipv4}:{port}")
    for suggested in (0, port, port + 1):
        for nonce in (lan1.nonce, os.urandom(12)):
            answer = lan1.map("udp", port, suggested, 600, nonce=nonce)
            assert (answer.result, answer.endpoint) == (pcp.OK, (WAN, port))
            assert answer.lifetime == pcp.FOREVER
    assert lan1.unmap("udp", port).result == pcp.NOT_AUTHORIZED
    [lease] = leases_of(daemon, port)
    assert (lease["origin"], lease["lifetime_s"]) == ("static", None)
    assert arrives(lab, port, port)


# One table


def test_natpmp_lease_is_adopted(lab, lan1, daemon, port):
    """PCP-53: same host and port: one lease, with a nonce from then on"""
    with natpmp.Client(lab.lan1) as other:
        assert other.map("udp", port, port + 10000, 500).external == port + 10000
        answer = lan1.grant("udp", port, port, 1000)
        assert (answer.endpoint, answer.lifetime) == ((WAN, port + 10000), 1000)
        check_left(lan1.map("udp", port, 0, 600, nonce=os.urandom(12)), 1000)
        # NP-49: what has a nonce is no longer NAT-PMP's to end, or to shorten
        assert other.unmap("udp", port).result == natpmp.REFUSED
        assert other.map("udp", port, 0, 300).result == natpmp.OK
        assert len(leases_of(daemon, port)) == 1
        assert leases_of(daemon, port)[0]["lifetime_s"] > 900
        assert other.map("udp", port, 0, 2000).external == port + 10000
        assert leases_of(daemon, port)[0]["lifetime_s"] > 1900
    assert lan1.unmap("udp", port).result == pcp.OK
    assert leases_of(daemon, port) == []


def test_igd_lease_is_adopted(lab, lan1, daemon, port):
    """PCP-53, IGD-42: the same with UPnP, whose own Add is then refused"""
    gateway = igd.Gateway(lab.lan1)
    gateway.add(port + 10000, port, PortMappingDescription="game")
    answer = lan1.grant("udp", port, port, 1000)
    assert answer.endpoint == (WAN, port + 10000)
    [lease] = leases_of(daemon, port)
    # UPnP's client was told an hour: it ends no earlier until PCP asks again
    assert lease["lifetime_s"] > 3500 and answer.lifetime > 3500
    assert lan1.grant("udp", port, port, 1000).lifetime == 1000
    check_left(lan1.unmap("udp", port, nonce=os.urandom(12)), 1000)
    with pytest.raises(igd.SoapError) as refused:
        gateway.add(port + 10000, port)
    assert refused.value.code == 718
    assert arrives(lab, port + 10000, port)


def test_igd_lease_for_one_remote_host_is_not(lab, lan1, daemon, port):
    """PCP-53, PCP-58: it is not what an unfiltered MAP promises"""
    igd.Gateway(lab.lan1).add(port, port, RemoteHost=lab.inet1.ipv4)
    answer = lan1.grant("udp", port, port)
    assert arrives(lab, answer.port, port, sender=lab.inet2)
    assert len(leases_of(daemon, port)) == 2


def test_filtered_lease_is_not_natpmps(lab, lan1, daemon, port):
    """PCP-53, PCP-81: NAT-PMP cannot be promised a port that is closed to most"""
    lan1.grant("udp", port, port, options=[pcp.pack_filter(lab.inet1.ipv4)])
    with natpmp.Client(lab.lan1) as other:
        assert other.map("udp", port, port).result == natpmp.REFUSED
    assert not arrives(lab, port, port, sender=lab.inet2)


def test_port_rests(lab, lan1, lan2, daemon, port):
    """PCP-70: not another's at once; who had it gets it back"""
    lan1.grant("udp", port, port)
    lan1.unmap("udp", port)
    assert lan2.grant("udp", port, port).port != port
    assert lan1.grant("udp", port, port).port == port
    assert arrives(lab, port, port)


# Limits and policy


def test_quota(lab, keeper, port):
    """PCP-61, PCP-29: one too many; renewals and others are not hit"""
    daemon = keeper.get("[limits]\nrequests-per-second = 0\nleases-per-client = 3\n")
    with pcp.Client(lab.lan1) as client, pcp.Client(lab.lan2) as other:
        for number in range(3):
            client.grant("udp", port + number, 0)
        answer = client.map("udp", port + 3, 0)
        assert (answer.result, answer.lifetime) == (pcp.USER_EX_QUOTA, pcp.SHORT_S)
        client.grant("udp", port, 0, 7200)
        other.grant("udp", port + 3, 0)
        assert client.unmap("udp", port).result == pcp.OK
        client.grant("udp", port + 3, 0)
    assert len(daemon.leases()) == 4


def test_quota_in_total(lab, keeper, port):
    """PCP-61, PCP-29: a shortage of all is another result"""
    keeper.get("[limits]\nleases-total = 1\n")
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", port, 0)
        answer = client.map("udp", port + 1, 0)
        assert (answer.result, answer.lifetime) == (pcp.NO_RESOURCES, pcp.SHORT_S)


RULES = """
[policy]
rule = deny client 192.168.77.3/32
rule = deny lan guest0
rule = allow protocol tcp external 443 internal 8443
rule = allow external 40000-40099 internal 1000-30000 lifetime-max 10m
rule = deny
"""


def test_policy(lab, keeper):
    """PCP-63, PCP-64, PCP-99: another port where the rules allow one, else result 2"""
    daemon = keeper.get(RULES)
    for host in (lab.lan2, lab.guest1):
        with pcp.Client(host) as client:
            answer = client.map("udp", 4000, 40000)
            assert (answer.result, answer.lifetime) == (pcp.NOT_AUTHORIZED, pcp.LONG_S)
    with pcp.Client(lab.lan1) as client:
        answer = client.grant("udp", 4000, 5000, 3600)
        assert 40000 <= answer.port <= 40099 and answer.lifetime == 600
        assert arrives(lab, answer.port, 4000)
        assert client.grant("tcp", 8443, 443).port == 443
        assert client.map("udp", 8443, 443).port != 443
        answer = client.map("udp", 40000, 40001)
        assert (answer.result, answer.lifetime) == (pcp.NOT_AUTHORIZED, pcp.LONG_S)
    assert {x["client"] for x in daemon.leases()} == {lab.lan1.ipv4}


@pytest.mark.parametrize("opcodes", ["map", "peer", "map peer"])
def test_opcodes(lab, keeper, port, opcodes):
    """PCP-43, PCP-86: what the owner switched off is unknown; ANNOUNCE never is"""
    keeper.get(f"[global]\npcp-opcodes = {opcodes}\n")
    with pcp.Client(lab.lan1) as client:
        for name, answer in (
                ("map", client.map("udp", port, port)),
                ("peer", client.peer("udp", port + 1, (lab.inet1.ipv4, 7)))):
            wanted = pcp.OK if name in opcodes.split() else pcp.UNSUPP_OPCODE
            assert answer.result == wanted
            assert wanted == pcp.OK or answer.lifetime == pcp.LONG_S
        assert client.announce().result == pcp.OK


def test_no_external_address(lab, keeper, port):
    """PCP-62, PCP-29, PCP-65: no IPv4 mapping, but pinholes, and deletes"""
    daemon = keeper.get("[wan]\ninterface = wan0\n")
    wan = wire.Wan(lab)
    with pcp.Client(lab.lan1) as client, pcp.Client(
            lab.lan1, family=socket.AF_INET6) as client6:
        client.grant("udp", port, port)
        wan.lose()
        try:
            answer = wait_for(lambda: next(
                (x for x in [client.map("udp", port + 1, 0)] if x.result), None),
                "the loss to be noticed")
            assert (answer.result, answer.lifetime) == (pcp.NETWORK_FAILURE, pcp.SHORT_S)
            assert client.map("udp", port, 0).result == pcp.NETWORK_FAILURE
            assert client.announce().result == pcp.OK
            client6.grant("udp", port)
            assert lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, port), lab.lan1, port)
            assert client.unmap("udp", port).result == pcp.OK
        finally:
            wan.restore()
        wait_for(lambda: client.map("udp", port + 1, 0).result == pcp.OK,
                 "the address to be back")
    assert len([x for x in daemon.leases() if x["internal_port"] == port]) == 1


def test_host_left(lab, daemon, lan1, lan2, port):
    """PCP-71: when a host's address lease ends, its mappings do: all, and no other's"""
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as lan1v6:
        for client in (lan1, lan2):
            client.grant("udp", port, 0)
            client.grant("tcp", port, 0)
        lan1v6.grant("udp", port)
        daemon.admin("delete", "--client", lab.lan1.ipv4)
        assert {x["client"] for x in daemon.leases()} == {lab.lan2.ipv4, lab.lan1.ipv6}
        assert len(leases_of(daemon, port)) == 3
        daemon.admin("delete", "--client", lab.lan1.ipv6)
        assert {x["client"] for x in daemon.leases()} == {lab.lan2.ipv4}


# Secrets


def test_nonces_stay_secret(lab, keeper, port):
    """PCP-100: no log, no list and no other protocol shows them"""
    daemon = keeper.get("[global]\nlog-level = debug\n")
    secrets = []
    with pcp.Client(lab.lan1) as client:
        for nonce in (client.nonce, b"SecretNonce!"):
            secrets.append(nonce)
            number = port + len(secrets)
            client.grant("udp", number, 0, nonce=nonce)
            client.grant("udp", number, 0, nonce=nonce,
                         options=[pcp.pack_filter(lab.inet1.ipv4)])
            client.map("udp", number, 0, nonce=bytes(11) + b"x")
            client.peer("udp", number + 50, (lab.inet1.ipv4, 7), nonce=nonce)
        shown = daemon.admin("list") + daemon.admin("--json", "list")
        for lease in daemon.leases():
            shown += daemon.admin("show", str(lease["id"]))
            shown += daemon.admin("--json", "show", str(lease["id"]))
        shown += daemon.admin("--json", "status")
        shown += repr(igd.Gateway(lab.lan1).entries())
        client.unmap("udp", port + 1, nonce=secrets[0])
    daemon.stop()
    shown += daemon.log()
    assert str(port + 1) in shown
    for nonce in secrets:
        words = struct.unpack("!III", nonce)
        for form in (nonce.hex(), nonce[::-1].hex(), nonce.hex(" "), nonce.hex(":"),
                     nonce.decode("latin-1"), *(f"{word:08x}" for word in words),
                     *(str(word) for word in words)):
            assert form.lower() not in shown.lower(), form
