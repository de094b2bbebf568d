# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of MAP end to end: rows PCP-73..79 and PCP-110..119 of its checklist."""

import itertools
import os
import socket

import igd
import pcp
import pytest
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
LIMITS = "[limits]\nrequests-per-second = 0\nleases-per-client = 0\n"
THIRD = """
[policy]
rule = allow lan lan0 client 192.168.77.2/32 third-party 192.168.77.0/24
rule = allow lan lan0 client fd77::2/128 third-party fd77::/64
rule = allow external 1024-65535
""" + LIMITS
PORTS = itertools.count(25000, 20)


@pytest.fixture
def daemon(keeper):
    return keeper.get(LIMITS)


@pytest.fixture
def port():
    """The first of twenty ports that no other test uses."""
    return next(PORTS)


@pytest.fixture
def lan1v6(lab, daemon):
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as client:
        yield client


def leases_of(daemon, port):
    return [x for x in daemon.leases() if x["internal_port"] == port]


def arrives(lab, external, port, host=None, sender=None):
    return lab.udp_arrives(sender or lab.inet1, (WAN, external), host or lab.lan1,
                           port) is not None


# THIRD_PARTY


def test_third_party_by_default(lab, lan1, lan1v6, daemon, port):
    """PCP-73: no rule grants it to anybody: unknown, for MAP and for PEER"""
    for client, other in ((lan1, lab.lan2.ipv4), (lan1v6, lab.lan2.ipv6)):
        for address in (other, client.address):
            option = [pcp.third_party(address)]
            for answer in (client.map("udp", port, options=option),
                           client.unmap("udp", port, options=option),
                           client.peer("udp", port, (
                               lab.inet1.ipv6 if client.ipv6 else lab.inet1.ipv4, 7),
                               options=option)):
                assert (answer.result, answer.lifetime) == (pcp.UNSUPP_OPTION, pcp.LONG_S)
    assert leases_of(daemon, port) == []


def test_third_party(lab, keeper, port):
    """PCP-73, PCP-74, PCP-44: who may, for whom they may, and never for themselves"""
    daemon = keeper.get(THIRD)
    with pcp.Client(lab.lan1) as granted, pcp.Client(lab.lan2) as other, pcp.Client(
            lab.guest1) as guest:
        option = [pcp.third_party(lab.lan2.ipv4)]
        answer = granted.grant("udp", port, port, options=option)
        assert answer.endpoint == (WAN, port)
        assert answer.option(pcp.THIRD_PARTY) == pcp.pack_address(lab.lan2.ipv4)
        assert arrives(lab, port, port, lab.lan2)
        [lease] = leases_of(daemon, port)
        assert (lease["internal_address"], lease["client"]) == (
            lab.lan2.ipv4, lab.lan1.ipv4)
        answer = granted.map("udp", port, options=[pcp.third_party(lab.lan1.ipv4)])
        assert answer.result == pcp.MALFORMED_REQUEST, answer
        for client, address in ((other, lab.lan1.ipv4), (granted, lab.guest1.ipv4),
                                (guest, lab.lan2.ipv4)):
            answer = client.map("udp", port, options=[pcp.third_party(address)])
            assert answer.result == pcp.UNSUPP_OPTION, answer
        for address in ("10.1.2.3", "198.51.100.9"):  # no host of that LAN
            answer = granted.map("udp", port, options=[pcp.third_party(address)])
            assert answer.result in (pcp.UNSUPP_OPTION, pcp.NOT_AUTHORIZED), answer
        assert guest.map("udp", port, options=[pcp.third_party(lab.guest1.ipv4)]
                         ).result == pcp.UNSUPP_OPTION
        for bad in ("127.0.0.1", "224.0.0.1", "0.0.0.0", lab.lan2.ipv6):
            answer = granted.map("udp", port, options=[pcp.third_party(bad)])
            assert answer.result != pcp.OK, answer
        assert granted.map("udp", port, options=2 * option).result == pcp.MALFORMED_OPTION
        short = [pcp.pack_option(pcp.THIRD_PARTY, bytes(12))]
        assert granted.map("udp", port, options=short).result == pcp.MALFORMED_OPTION
        # PCP-49: the host itself has another nonce
        answer = other.map("udp", port)
        assert answer.result == pcp.NOT_AUTHORIZED and answer.lifetime > 3500
        assert len(leases_of(daemon, port)) == 1
        answer = granted.unmap("udp", port, options=option)
        assert (answer.result, answer.lifetime) == (pcp.OK, 0)
        assert answer.option(pcp.THIRD_PARTY) == pcp.pack_address(lab.lan2.ipv4)
    assert leases_of(daemon, port) == []
    assert not arrives(lab, port, port, lab.lan2)


def test_third_party_of_a_pinhole(lab, keeper, port):
    """PCP-73, PCP-93: with IPv6 the external address is that of the other host"""
    keeper.get(THIRD)
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as client:
        answer = client.grant("udp", port, options=[pcp.third_party(lab.lan2.ipv6)])
        assert answer.endpoint == (lab.lan2.ipv6, port)
        link_local = [pcp.third_party("fe80::1")]
        assert client.map("udp", port, options=link_local).result != pcp.OK
    target = (lab.lan2.ipv6, port)
    assert lab.udp_arrives(lab.inet1, target, lab.lan2, port)
    assert not lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, port), lab.lan1, port)


def test_third_party_of_a_flow(lab, keeper, port):
    """PCP-73, PCP-89, PCP-91: PEER for the flow of another host"""
    keeper.get(THIRD)
    option = [pcp.third_party(lab.lan2.ipv4)]
    with pcp.Client(lab.lan1) as client, lab.lan2.udp(port) as inside:
        seen = lab.udp_arrives(lab.lan2, (lab.inet1.ipv4, 9), lab.inet1, 9, source=inside)
        answer = client.peer("udp", port, (lab.inet1.ipv4, 9), options=option)
        assert (answer.result, answer.endpoint) == (pcp.OK, seen), answer
        assert answer.option(pcp.THIRD_PARTY) == pcp.pack_address(lab.lan2.ipv4)
        answer = client.peer("udp", port, (lab.inet1.ipv4, 9),
                             options=[pcp.third_party(lab.lan1.ipv4)])
        assert answer.result == pcp.MALFORMED_REQUEST, answer


def test_third_party_from_the_wan(lab, keeper, port):
    """PCP-75: the right to ask for others opens nothing to the internet"""
    daemon = keeper.get(THIRD)
    lab.inet1.ip("route", "replace", "192.168.77.0/24", "via", WAN)
    try:
        with pcp.Client(lab.inet1, gateway=WAN) as outside, pcp.Client(
                lab.lan1) as client:
            for outside.gateway in (WAN, "192.168.77.1"):
                outside.send(outside.pack_map("udp", port, port, options=[
                    pcp.third_party(lab.lan2.ipv4)]))
            for which in ("all", "wan0"):
                lab.gw.write_sysctl(f"net/ipv4/conf/{which}/rp_filter", 0)
            lab.inet1.send_forged((lab.lan1.ipv4, 7000), ("192.168.77.1", pcp.PORT),
                                  client.pack_map("udp", port, port, options=[
                                      pcp.third_party(lab.lan2.ipv4)]))
            assert client.is_silent(b"")
            with pytest.raises(TimeoutError):
                outside.receive(0.1)
    finally:
        lab.inet1.ip("route", "del", "192.168.77.0/24")
    assert leases_of(daemon, port) == []


# PREFER_FAILURE


def test_prefer_failure(lab, lan1, daemon, port):
    """PCP-76: exactly the suggested endpoint, or result 11 and no mapping"""
    prefer = [pcp.prefer_failure()]
    with pcp.Client(lab.lan2) as other, lab.gw.listen(port + 9, address=""):
        other.grant("udp", port, port, 1000)
        answer = lan1.map("udp", port + 1, port, 600, prefer)
        assert answer.result == pcp.CANNOT_PROVIDE_EXTERNAL
        # PCP-29: when it may work again
        assert 1100 <= answer.lifetime <= 1120, "remaining life and the rest after it"
        for protocol, external, suggested in (
                ("udp", 5351, "0.0.0.0"), ("udp", 5350, WAN), ("udp", 80, WAN),
                ("tcp", port + 9, WAN), ("udp", port + 2, "203.0.113.2"),
                ("udp", port + 2, "10.0.0.1"), ("udp", port + 2, "2001:db8::1")):
            answer = lan1.map(protocol, port + 1, external, 600, prefer,
                              suggested=suggested)
            assert answer.result == pcp.CANNOT_PROVIDE_EXTERNAL, answer
            assert answer.lifetime > 0
    assert leases_of(daemon, port + 1) == []
    for suggested in ("0.0.0.0", WAN, "::"):
        answer = lan1.grant("udp", port + 1, port + 2, 600, prefer, suggested=suggested)
        assert answer.endpoint == (WAN, port + 2)
        assert answer.option(pcp.PREFER_FAILURE) == b""
    assert arrives(lab, port + 2, port + 1)


def test_prefer_failure_on_a_mapping(lab, lan1, daemon, port):
    """PCP-76, PCP-52, PCP-16: one that has another port is neither moved nor renewed"""
    prefer = [pcp.prefer_failure()]
    lan1.grant("udp", port, port, 600)
    answer = lan1.map("udp", port, port + 1, 9000, prefer)
    assert answer.result == pcp.CANNOT_PROVIDE_EXTERNAL, answer
    [lease] = leases_of(daemon, port)
    assert lease["external_port"] == port and lease["lifetime_s"] <= 600
    assert lan1.grant("udp", port, port, 9000, prefer).lifetime == 9000
    daemon.admin("add", "udp", str(port + 3), f"{lab.lan1.ipv4}:{port + 3}")
    assert lan1.map("udp", port + 3, port + 4, 600, prefer
                    ).result == pcp.CANNOT_PROVIDE_EXTERNAL


def test_prefer_failure_without_sense(lan1, daemon, port):
    """PCP-77, PCP-78: no port suggested, or a delete"""
    prefer = [pcp.prefer_failure()]
    lan1.grant("udp", port, port)
    for answer in (lan1.map("udp", port + 1, 0, 600, prefer),
                   lan1.map("udp", port + 1, 0, 600, prefer, suggested=WAN),
                   lan1.map("udp", port, port, 0, prefer),
                   lan1.map("udp", port, 0, 0, prefer)):
        assert (answer.result, answer.lifetime) == (pcp.MALFORMED_OPTION, pcp.LONG_S)
    assert len(leases_of(daemon, port)) == 1 and leases_of(daemon, port + 1) == []


def test_prefer_failure_and_policy(lab, keeper, port):
    """PCP-76, PCP-63: a port that the rules withhold"""
    keeper.get("[policy]\nrule = allow external 40000-40099\n")
    with pcp.Client(lab.lan1) as client:
        answer = client.map("udp", port, port, 600, [pcp.prefer_failure()])
        assert answer.result in (pcp.CANNOT_PROVIDE_EXTERNAL, pcp.NOT_AUTHORIZED), answer
        client.grant("udp", port, 40001, 600, [pcp.prefer_failure()])


# DESCRIPTION


def description_of(daemon, port):
    [lease] = leases_of(daemon, port)
    return lease["description"]


@pytest.mark.parametrize("text,kept", [
    (b"game", "game"), ("Küche ☕".encode(), "Küche ☕"), (b"x" * 255, "x" * 255),
    (b"x" * 300, "x" * 255), (b"x" * 1016, "x" * 255),
    (("x" + "☕" * 100).encode(), "x" + "☕" * 84), (b"a\0b\nc\x7fd", None)])
def test_description(lab, lan1, daemon, port, text, kept):
    """PCP-110: kept, cut between characters, and told as it was kept"""
    echoed = lan1.grant("udp", port, port, options=[pcp.description(text)]
                        ).option(pcp.DESCRIPTION).decode()
    assert echoed == description_of(daemon, port)
    if kept is None:  # PCP-113
        assert echoed and all(x.isprintable() for x in echoed), echoed
    else:
        assert echoed == kept


@pytest.mark.parametrize("text", [b"\xff", b"ok\xc3", b"\xed\xa0\x80", b"\xc0\xaf",
                                  b"\xf4\x90\x80\x80"])
def test_description_that_is_no_text(lan1, daemon, port, text):
    """PCP-111: the option is ignored, the mapping is made"""
    answer = lan1.grant("udp", port, port, options=[pcp.description(text)])
    assert len(answer.raw) == pcp.MAP_SIZE
    assert description_of(daemon, port) == ""
    lan1.grant("udp", port, port, options=[pcp.description("good")])
    lan1.grant("udp", port, port, options=[pcp.description(text)])
    assert description_of(daemon, port) == "good"


def test_description_of_renewals(lan1v6, daemon, port):
    """PCP-112, PCP-111: replaced, kept and cleared"""
    for text, echoed, kept in (("one", b"one", "one"), ("two", b"two", "two"),
                               (None, None, "two"), ("", b"", ""), (None, None, "")):
        options = [] if text is None else [pcp.description(text)]
        answer = lan1v6.grant("udp", port, options=options)
        assert answer.option(pcp.DESCRIPTION) == echoed
        assert description_of(daemon, port) == kept


def test_description_of_peer(lab, lan1, daemon, port):
    """PCP-110: PEER takes one as well"""
    answer = lan1.peer("udp", port, (lab.inet1.ipv4, 9), options=[
        pcp.description("a call")])
    assert (answer.result, answer.option(pcp.DESCRIPTION)) == (pcp.OK, b"a call"), answer
    assert description_of(daemon, port) == "a call"


def test_description_is_shared(lab, lan1, daemon, port):
    """PCP-113: UPnP shows it, well escaped, and the other way round"""
    text = "<a href=\"x\">&amp; ]]> 'q'"
    lan1.grant("udp", port, port, options=[pcp.description(text)])
    gateway = igd.Gateway(lab.lan1)
    assert gateway.get(port)["NewPortMappingDescription"] == text
    gateway.add(port + 1, port + 1, PortMappingDescription="by UPnP")
    lan1.grant("udp", port + 1, port + 1)
    assert description_of(daemon, port + 1) == "by UPnP"


# PORT_SET


def check_set(lab, client, answer, size, first):
    """Each port of a set works, and none beside it."""
    assert pcp.parse_port_set(answer.option(pcp.PORT_SET))[:2] == (size, first)
    for offset in range(-1, size + 1):
        assert arrives(lab, answer.port + offset, first + offset,
                       client.host) == (0 <= offset < size)


def test_port_set(lab, lan1, daemon, port):
    """PCP-116: contiguous outside as inside; renewed, shown and deleted as one"""
    answer = lan1.grant("udp", port, port + 10, 1000, [pcp.port_set(4, port)])
    assert answer.port == port + 10
    check_set(lab, lan1, answer, 4, port)
    leases = [x for x in daemon.leases() if port <= x["internal_port"] < port + 4]
    assert [(x["set_first"], x["set_count"]) for x in leases] == [(port, 4)] * 4
    again = lan1.grant("udp", port, 0, 9000, [pcp.port_set(4, port)])
    assert (again.endpoint, again.lifetime) == (answer.endpoint, 9000)
    leases = [x for x in daemon.leases() if port <= x["internal_port"] < port + 4]
    assert len(leases) == 4 and all(x["lifetime_s"] > 8900 for x in leases)
    answer = lan1.map("udp", port, 0, 9000, [pcp.port_set(4, port)], nonce=os.urandom(12))
    assert answer.result == pcp.NOT_AUTHORIZED
    answer = lan1.unmap("udp", port, options=[pcp.port_set(4, port)])
    assert (answer.result, answer.lifetime) == (pcp.OK, 0)
    assert not [x for x in daemon.leases() if port <= x["internal_port"] < port + 4]
    assert not any(arrives(lab, port + 10 + n, port + n) for n in range(4))


def test_port_set_where_some_are_taken(lab, lan1, daemon, port):
    """PCP-116: contiguous all the same, elsewhere or fewer"""
    with pcp.Client(lab.lan2) as other:
        other.grant("udp", port + 2, port + 2)
        answer = lan1.grant("udp", port, port, 1000, [pcp.port_set(4, port)])
        data = answer.option(pcp.PORT_SET)
        assert data, "more than one port is free somewhere"
        size, first, _ = pcp.parse_port_set(data)
        assert 2 <= size <= 4 and port <= first and first + size <= port + 4
        assert not answer.port <= port + 2 < answer.port + size
        check_set(lab, lan1, answer, size, first)
        assert arrives(lab, port + 2, port + 2, lab.lan2)


def test_port_set_parity(lan1, port):
    """PCP-116: even to even and odd to odd where that was asked for"""
    for first, suggested in ((port, port + 5), (port + 11, port + 10)):
        answer = lan1.grant("udp", first, suggested, 600, [pcp.port_set(2, first, True)])
        assert answer.port % 2 == first % 2
        assert pcp.parse_port_set(answer.option(pcp.PORT_SET)) == (2, first, True)


def test_port_set_is_limited(lab, lan1, port):
    """PCP-116: by the configuration and by the end of the ports"""
    answer = lan1.grant("udp", port, 0, 600, [pcp.port_set(65535, port)])
    size, first, _ = pcp.parse_port_set(answer.option(pcp.PORT_SET))
    assert (size, first) == (16, port)
    answer = lan1.grant("udp", 65533, 0, 600, [pcp.port_set(16, 65533)])
    size, first, _ = pcp.parse_port_set(answer.option(pcp.PORT_SET))
    assert 2 <= size <= 3 and first >= 65533 and first + size <= 65536


def test_port_set_of_one(lab, lan1, daemon, port):
    """PCP-116: one port is an ordinary mapping, and no option comes back"""
    answer = lan1.grant("udp", port, port, 600, [pcp.port_set(1, port)])
    assert len(answer.raw) == pcp.MAP_SIZE
    answer = lan1.grant("tcp", 65535, 0, 600, [pcp.port_set(8, 65535)])
    assert len(answer.raw) == pcp.MAP_SIZE
    assert arrives(lab, port, port)
    assert [x["set_count"] for x in leases_of(daemon, port)] == [0]


def test_port_set_without_sense(lan1, daemon, port):
    """PCP-116: size 0, with PREFER_FAILURE, twice, of a wrong length"""
    good = pcp.port_set(2, port)
    for options in ([pcp.port_set(0, port)], [good, pcp.prefer_failure()],
                    [pcp.prefer_failure(), good], [good, good],
                    [pcp.pack_option(pcp.PORT_SET, bytes(4))]):
        answer = lan1.map("udp", port, port, 600, options)
        assert (answer.result, answer.lifetime) == (pcp.MALFORMED_OPTION, pcp.LONG_S)
    assert leases_of(daemon, port) == []


def test_port_set_over_a_mapping(lab, lan1, daemon, port):
    """PCP-116, PCP-52: what is there stays where it is; nothing is mapped twice"""
    lan1.grant("udp", port + 1, port + 15, 600)
    answer = lan1.grant("udp", port, port, 600, [pcp.port_set(3, port)])
    assert arrives(lab, port + 15, port + 1), "the old promise holds"
    assert len(leases_of(daemon, port + 1)) == 1
    data = answer.option(pcp.PORT_SET)
    assert arrives(lab, answer.port, pcp.parse_port_set(data)[1] if data else port)


def test_port_set_with_filter(lab, lan1, port):
    """PCP-116, PCP-81: the filter holds for each of them"""
    answer = lan1.grant("udp", port, port, 600, [
        pcp.pack_filter(lab.inet1.ipv4), pcp.port_set(3, port)])
    check_set(lab, lan1, answer, 3, port)
    assert not any(arrives(lab, answer.port + n, port + n, sender=lab.inet2)
                   for n in range(3))


def test_port_set_of_pinholes(lab, lan1v6, daemon, port):
    """PCP-116, PCP-93: the same ports outside"""
    answer = lan1v6.grant("udp", port, 0, 600, [pcp.port_set(3, port)])
    assert answer.endpoint == (lab.lan1.ipv6, port)
    assert pcp.parse_port_set(answer.option(pcp.PORT_SET))[:2] == (3, port)
    for offset in range(4):
        assert (lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, port + offset), lab.lan1,
                                port + offset) is not None) == (offset < 3)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_port_set_over_a_restart(lab, lan1, daemon, port, how):
    """PCP-116: it is one afterwards, too"""
    answer = lan1.grant("udp", port, port, 1000, [pcp.port_set(3, port)])
    getattr(daemon, how)()
    daemon.start()
    check_set(lab, lan1, answer, 3, port)
    assert lan1.unmap("udp", port, options=[pcp.port_set(3, port)]).result == pcp.OK
    assert not [x for x in daemon.leases() if port <= x["internal_port"] < port + 3]


def test_port_set_and_quota(lab, keeper, port):
    """PCP-116, PCP-61: as many as the host may still have"""
    daemon = keeper.get("[limits]\nleases-per-client = 5\n")
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", port, 0)
        answer = client.grant("udp", port + 1, 0, 600, [pcp.port_set(8, port + 1)])
        assert pcp.parse_port_set(answer.option(pcp.PORT_SET))[0] == 4
        assert client.map("udp", port + 10, 0, 600, [pcp.port_set(2, port + 10)]
                          ).result == pcp.USER_EX_QUOTA
    assert len(daemon.leases()) == 5


def test_port_set_off(lab, keeper, port):
    """PCP-115, PCP-25: an option that is not known is none"""
    daemon = keeper.get(LIMITS + "ports-per-request = 1\n")
    with pcp.Client(lab.lan1) as client:
        answer = client.grant("udp", port, port, 600, [pcp.port_set(4, port)])
        assert len(answer.raw) == pcp.MAP_SIZE
    assert len(daemon.leases()) == 1


# PREFIX64


@pytest.mark.parametrize("prefix", ["64:ff9b::/96", "2001:db8:6400::/40",
                                    "2001:db8:64::/48", "2001:db8::/32"])
def test_prefix64(lab, keeper, port, prefix):
    """PCP-114: told to who asks, by MAP or by ANNOUNCE, and to nobody else"""
    keeper.get(f"[wan]\nnat64-prefix = {prefix}\n")
    for family in (socket.AF_INET, socket.AF_INET6):
        with pcp.Client(lab.lan1, family=family) as client:
            for asked in (b"", bytes(14)):
                option = [pcp.pack_option(pcp.PREFIX64, asked)]
                for answer in (client.map("udp", port, options=option),
                               client.announce(options=option)):
                    assert answer.result == pcp.OK, answer
                    assert pcp.parse_prefix64(answer.option(pcp.PREFIX64)) == prefix
            assert len(client.grant("udp", port).raw) == pcp.MAP_SIZE
            assert len(client.announce().raw) == pcp.HEADER


def test_no_prefix64(lan1, port):
    """PCP-114: without one, none"""
    option = [pcp.pack_option(pcp.PREFIX64)]
    assert len(lan1.grant("udp", port, options=option).raw) == pcp.MAP_SIZE
    assert len(lan1.announce(options=option).raw) == pcp.HEADER


# Anycast


@pytest.fixture
def anycast(lab):
    """The addresses of RFC 7723 on the gateway."""
    lab.batch("gw", ["address add 192.0.0.9/32 dev lo",
                     "-6 address add 2001:1::1/128 dev lo"])
    yield
    lab.batch("gw", ["address del 192.0.0.9/32 dev lo",
                     "-6 address del 2001:1::1/128 dev lo"])


ANYCAST = ((socket.AF_INET, "192.0.0.9"), (socket.AF_INET6, "2001:1::1"))


def test_anycast(lab, keeper, anycast, port):
    """PCP-119, PCP-27, PCP-121: answered from there, on the LAN that has it; one table"""
    daemon = keeper.get("[lan lan0]\npcp-anycast = yes\n[lan guest0]\n")
    for family, address in ANYCAST:
        with pcp.Client(lab.lan1, family=family) as plain, pcp.Client(
                lab.lan1, family=family, gateway=address) as client, pcp.Client(
                lab.guest1, family=family, gateway=address) as guest:
            answer = client.grant("udp", port, port)
            plain.nonce = client.nonce
            assert plain.grant("udp", port, 0).endpoint == answer.endpoint
            assert client.announce().result == pcp.OK
            guest.send(guest.pack(pcp.ANNOUNCE))
            assert client.is_silent(b"")
            with pytest.raises((TimeoutError, ConnectionRefusedError)):
                guest.receive(0.05)
    assert len(leases_of(daemon, port)) == 2


def test_anycast_is_off_by_default(lab, lan1, anycast):
    """PCP-119: and from the internet it is never served"""
    for family, address in ANYCAST:
        with pcp.Client(lab.lan1, family=family, gateway=address) as client:
            client.send(client.pack(pcp.ANNOUNCE))
            assert lan1.is_silent(b"")
            with pytest.raises((TimeoutError, ConnectionRefusedError)):
                client.receive(0.05)


def test_anycast_without_the_address(lab, keeper):
    """PCP-119: the owner is told that nothing can come in there"""
    daemon = keeper.get("[lan lan0]\npcp-anycast = yes\n")
    daemon.wait_log(r"192\.0\.0\.9")
    with pcp.Client(lab.lan1) as client:
        assert client.announce().result == pcp.OK


def test_anycast_from_the_wan(lab, keeper, anycast, port):
    """PCP-119, PCP-2"""
    daemon = keeper.get("[lan lan0]\npcp-anycast = yes\n")
    lab.inet1.ip("route", "replace", "192.0.0.9/32", "via", WAN)
    try:
        with pcp.Client(lab.inet1, gateway="192.0.0.9") as outside, pcp.Client(
                lab.lan1) as client:
            outside.send(outside.pack_map("udp", port, port))
            assert client.is_silent(b"")
            with pytest.raises((TimeoutError, ConnectionRefusedError)):
                outside.receive(0.05)
    finally:
        lab.inet1.ip("route", "del", "192.0.0.9/32")
    wait_for(lambda: daemon.leases() == [], "nothing to be there", 1)
