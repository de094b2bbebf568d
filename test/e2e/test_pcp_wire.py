# SPDX-License-Identifier: GPL-2.0-or-later
"""PCP on the wire: rows PCP-1..30 of its checklist, in the order in which requests are held
against them."""

import itertools
import os
import select
import socket
import struct

import natpmp
import pcp
import pytest
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
CONFIG = "[limits]\nrequests-per-second = 0\nleases-per-client = 0\n"
PORTS = itertools.count(20000)
IGNORED = pcp.pack_option(200, b"what is this?")


@pytest.fixture
def daemon(keeper):
    return keeper.get(CONFIG)


@pytest.fixture
def port():
    """A port that no other test uses."""
    return next(PORTS)


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def client(lab, daemon, request):
    with pcp.Client(lab.lan1, family=request.param) as made:
        yield made


@pytest.fixture
def client4(lab, daemon):
    with pcp.Client(lab.lan1) as made:
        yield made


def leases_of(daemon, port):
    return [x for x in daemon.leases() if x["internal_port"] == port]


def peer_of(client):
    """A host on the internet that PEER may name, (address, port)."""
    lab = client.host.lab
    return (lab.inet1.ipv6 if client.ipv6 else lab.inet1.ipv4, 7)


def check(answer, result):
    """An error with its lifetime (PCP-29) and an epoch (PCP-30)."""
    assert answer.result == result, answer
    short = result in (pcp.NETWORK_FAILURE, pcp.NO_RESOURCES, pcp.USER_EX_QUOTA)
    assert answer.lifetime == (pcp.SHORT_S if short else pcp.LONG_S), answer
    assert 0 < answer.epoch < 600, answer
    return answer


# Sizes


def test_sizes(client, port):
    """PCP-26, PCP-25, PCP-27, PCP-44: 60, 80 and 24 octets, from the address asked"""
    answer = client.grant("udp", port, port)
    assert len(answer.raw) == pcp.MAP_SIZE
    assert answer.endpoint == (client.address if client.ipv6 else WAN, port)
    answer = client.peer("udp", next(PORTS), peer_of(client))
    assert (answer.result, len(answer.raw)) == (pcp.OK, pcp.PEER_SIZE), answer
    answer = client.announce()
    assert (answer.result, len(answer.raw), answer.lifetime) == (pcp.OK, pcp.HEADER, 0)


@pytest.mark.parametrize("length", [1104, 1108, 1472, 3000])
def test_oversize(client, daemon, port, length):
    """PCP-1, PCP-8, PCP-23: what is too long is seen as such, and copied up to 1100"""
    filler = pcp.pack_option(200, bytes(length - pcp.MAP_SIZE - 4))
    answer = check(client.map("udp", port, port, options=[filler]), pcp.MALFORMED_REQUEST)
    assert len(answer.raw) == pcp.LENGTH_MAX
    assert leases_of(daemon, port) == []


def test_longest(client, port):
    """PCP-1, PCP-25: 1100 octets are none too many"""
    filler = pcp.pack_option(200, bytes(pcp.LENGTH_MAX - pcp.MAP_SIZE - 4))
    assert len(client.grant("udp", port, port, options=[filler]).raw) == pcp.MAP_SIZE


def test_too_short_for_an_answer(client):
    """PCP-3, PCP-6: less than two octets, and version 2 with no whole header"""
    for length in (0, 1, 2, 4, 8, 12, 20, 23):
        assert client.is_silent(client.pack(pcp.ANNOUNCE)[:length]), length


@pytest.mark.parametrize("version", [0, 1, 2, 3, 255])
def test_response_bit(client, daemon, version):
    """PCP-4: responses are dropped before anything else is looked at"""
    for opcode in (0, 1, 2, 127):
        for length in (0, 10, 22, 58, 1200):
            assert client.is_silent(bytes([version, 0x80 | opcode]) + bytes(length))


# Versions


@pytest.mark.parametrize("version", [1, 3, 9, 255])
def test_version(client, daemon, port, version):
    """PCP-5, PCP-20..22, PCP-24, NP-15: version 2 is named, the request copied"""
    request = client.pack_map("udp", port, port, version=version)
    for length in (2, 3, 12, 24, 59, 60):
        answer = check(client.ask(request[:length]), pcp.UNSUPP_VERSION)
        assert answer.opcode == pcp.MAP
        assert answer.reserved == (request[:length] + bytes(24))[12:24]
        assert len(answer.raw) == max(24, length + -length % 4)
    answer = check(client.ask(request + bytes(1200)), pcp.UNSUPP_VERSION)
    assert len(answer.raw) == pcp.LENGTH_MAX
    assert leases_of(daemon, port) == []


def test_natpmp_beside_it(client4, daemon, port):
    """PCP-18, NP-15: a first octet of 0 is NAT-PMP's, and its rules are"""
    with natpmp.Client(client4.host) as other:
        assert other.address()[::2] == (natpmp.OK, WAN)
        assert other.map("udp", port, port).external == port
        assert other.ask(b"\0\x09")[:4] == b"\0\x89\0\5"
        assert other.address().epoch == pytest.approx(client4.announce().epoch, abs=1)
    [lease] = leases_of(daemon, port)
    assert lease["origin"] == "nat-pmp"


# Lengths and addresses


def test_wrong_length(client, daemon, port):
    """PCP-8, PCP-23, PCP-24: no multiple of four, or too short for the opcode"""
    mapping = client.pack_map("udp", port, port)
    peer = client.pack_peer("udp", port, peer_of(client))
    for request in (mapping + b"\0\0", mapping[:59], mapping[:28], mapping[:24],
                    mapping[:56], peer[:76], peer[:60], peer[:24], mapping + b"\0",
                    client.pack(pcp.ANNOUNCE) + b"\0\0"):
        answer = check(client.ask(request), pcp.MALFORMED_REQUEST)
        assert len(answer.raw) == len(request) + -len(request) % 4
        assert answer.reserved == request[12:24], "PCP-24: it was not parsed"
    assert leases_of(daemon, port) == []


def test_wrong_address(client, daemon, port):
    """
    PCP-9, PCP-96, PCP-36: for every opcode, before opcode and options; all 128 bits count
    """
    others = ["fd77::3", "::", "192.168.77.3", "0.0.0.0"]
    if not client.ipv6:
        others += ["::" + client.address, "1::ffff:" + client.address,
                   "::fffe:" + client.address, client.host.ipv6]
    else:
        others.append(client.host.ipv4)
    for other in others:
        for request in (client.pack_map("udp", port, port, client=other),
                        client.pack_peer("udp", port, peer_of(client), client=other),
                        client.pack(pcp.ANNOUNCE, client=other),
                        client.pack(50, client=other),
                        client.pack_map("udp", port, port, client=other,
                                        options=[pcp.pack_option(60)]),
                        client.pack_map("udp", 0, port, client=other)):
            check(client.ask(request), pcp.ADDRESS_MISMATCH)
        # PCP-8 comes before PCP-9
        check(client.ask(client.pack_map("udp", port, client=other) + b"\0"),
              pcp.MALFORMED_REQUEST)
    assert leases_of(daemon, port) == []


@pytest.mark.parametrize("opcode", [3, 4, 50, 96, 126, 127])
def test_unknown_opcode(client, opcode):
    """PCP-10, PCP-118: result 4, and what follows the header is not looked into"""
    for rest in (b"", os.urandom(8), b"\x03\0\xff\xff", bytes(36) + b"\x3c\0\0\0"):
        answer = check(client.ask(client.pack(opcode, 60, rest)), pcp.UNSUPP_OPCODE)
        assert answer.raw[24:] == rest


# Options


BROKEN_OPTIONS = {
    "overrun": b"\xc8\0\xff\xff",
    "overrun by one word": pcp.pack_option(200, bytes(8))[:-4],
    "overrun of a known one": pcp.pack_option(pcp.DESCRIPTION, bytes(8))[:-4],
    "overrun of an unknown mandatory one": pcp.pack_option(60, bytes(8))[:-4],
    "PREFER_FAILURE with data": pcp.pack_option(pcp.PREFER_FAILURE, bytes(4)),
    "FILTER too short": pcp.pack_option(pcp.FILTER, bytes(16)),
    "FILTER too long": pcp.pack_option(pcp.FILTER, bytes(24)),
    "PREFER_FAILURE twice": 2 * pcp.prefer_failure(),
    "DESCRIPTION twice": 2 * pcp.description("x"),
    "PORT_SET twice": 2 * pcp.port_set(2, 20000),
    "PORT_SET too short": pcp.pack_option(pcp.PORT_SET, bytes(4)),
    "PORT_SET too long": pcp.pack_option(pcp.PORT_SET, bytes(6)),
}


@pytest.mark.parametrize("broken", BROKEN_OPTIONS)
def test_malformed_option(client, daemon, port, broken):
    """PCP-11, PCP-13, PCP-14, PCP-16: the whole list is read before anything is done"""
    for before in (b"", pcp.description("early"), IGNORED):
        options = [before, BROKEN_OPTIONS[broken]]
        if "twice" in broken and before and before[0] == BROKEN_OPTIONS[broken][0]:
            continue
        check(client.map("udp", port, port, options=options), pcp.MALFORMED_OPTION)
    assert leases_of(daemon, port) == []


def test_broken_option_changes_nothing(client, daemon, port):
    """PCP-16: a mapping that lives keeps its time, its text and its filters"""
    inet = client.host.lab.inet1
    allowed = inet.ipv6 if client.ipv6 else inet.ipv4
    client.grant("udp", port, port, 600, [pcp.pack_filter(allowed), pcp.description("a")])
    for bad in (pcp.pack_filter(allowed, 129), pcp.pack_option(pcp.FILTER, bytes(8)),
                b"\xc8\0\0\4", pcp.prefer_failure() * 2):
        check(client.map("udp", port, port, 9000, options=[
            pcp.clear_filters(), pcp.description("b"), bad]), pcp.MALFORMED_OPTION)
    check(client.map("udp", port, port, 9000, options=[
        pcp.description("b"), pcp.pack_option(60)]), pcp.UNSUPP_OPTION)
    [lease] = leases_of(daemon, port)
    assert lease["description"] == "a" and 590 <= lease["lifetime_s"] <= 600
    assert [x["prefix"] for x in lease["filters"]] == [
        f"{allowed}/{128 if client.ipv6 else 32}"]


@pytest.mark.parametrize("code", [4, 5, 13, 60, 127])
def test_unknown_mandatory_option(client, daemon, port, code):
    """PCP-14, PCP-36, PCP-117, PCP-118: refused, in every opcode"""
    option = [pcp.pack_option(code, b"text")]
    check(client.map("udp", port, port, options=option), pcp.UNSUPP_OPTION)
    check(client.peer("udp", port, peer_of(client), options=option), pcp.UNSUPP_OPTION)
    check(client.announce(options=option), pcp.UNSUPP_OPTION)
    assert leases_of(daemon, port) == []


@pytest.mark.parametrize("code", [131, 191, 200, 254, 255])
def test_unknown_optional_option(client, port, code):
    """PCP-15, PCP-25, PCP-26: no error, no effect, and nothing of it in the answer"""
    option = pcp.pack_option(code, b"?")
    answer = client.grant("udp", port, port, options=[option, option])
    assert len(answer.raw) == pcp.MAP_SIZE
    assert len(client.announce(options=[option]).raw) == pcp.HEADER
    answer = client.peer("udp", next(PORTS), peer_of(client), options=[option])
    assert (answer.result, len(answer.raw)) == (pcp.OK, pcp.PEER_SIZE)
    inet = client.host.lab.inet1
    wanted = pcp.pack_filter(inet.ipv6 if client.ipv6 else inet.ipv4)
    answer = client.grant("udp", port, port, options=[option, wanted, option])
    assert answer.raw[pcp.MAP_SIZE:] == wanted


def test_option_in_the_wrong_place(client, daemon, port):
    """PCP-14, PCP-88: known ones where they do not belong"""
    allowed = pcp.pack_filter(peer_of(client)[0])
    peer = peer_of(client)
    check(client.peer("udp", port, peer, options=[allowed]), pcp.MALFORMED_OPTION)
    check(client.peer("udp", port, peer, options=[pcp.prefer_failure()]),
          pcp.MALFORMED_REQUEST)
    for option in (pcp.prefer_failure(), allowed):
        check(client.announce(options=[option]), pcp.MALFORMED_OPTION)
    assert leases_of(daemon, port) == []


def test_reserved_bits(client, port):
    """PCP-17: of header, body, options and filters: ignored, and sent as zero"""
    peer = peer_of(client)
    options = [pcp.pack_filter(peer[0], reserved=0xff),
               pcp.pack_option(pcp.DESCRIPTION, b"text", reserved=0xff),
               pcp.pack_option(200, b"text", reserved=0xff)]
    answer = client.grant("udp", port, port, options=options, reserved=0xffff,
                          body_reserved=0xffffff)
    assert [code for code, _ in answer.options] == [pcp.FILTER, pcp.DESCRIPTION]
    assert len(answer.filters) == 1
    answer = client.peer("udp", next(PORTS), peer, reserved=0xffff, body_reserved=0xffffff,
                         peer_reserved=0xffff)
    assert answer.result == pcp.OK, answer
    assert client.announce(reserved=0xffff).result == pcp.OK


def test_parsed_errors_have_zero_there(client, port):
    """PCP-24: the reserved octets of an error to a request that could be read"""
    client.grant("udp", port, port)
    for answer, result in (
            (client.map("udp", port, port, nonce=bytes(12)), pcp.NOT_AUTHORIZED),
            (client.map("gre", port, port), pcp.UNSUPP_PROTOCOL)):
        assert (answer.result, answer.reserved) == (result, bytes(12)), answer


# Only LAN


def test_other_lans_source(lab, client4, daemon, port):
    """PCP-2: an address of one LAN that comes in by another is not its owner's voice"""
    for which in ("all", "guest0"):
        lab.gw.write_sysctl(f"net/ipv4/conf/{which}/rp_filter", 0)
    with pcp.Client(lab.guest1) as guest, pcp.Client(lab.lan1) as victim:
        source = victim.socket.getsockname()
        for target in ("192.168.78.1", "192.168.77.1"):
            lab.guest1.send_forged(source, (target, pcp.PORT),
                                   victim.pack_map("udp", port, port))
        assert guest.announce().result == pcp.OK
        assert client4.is_silent(b"")
        assert not select.select([victim.socket], [], [], 0.05)[0]
    assert leases_of(daemon, port) == []


def test_silence_towards_the_wan(lab, client4, daemon, port):
    """PCP-2, PCP-75: the internet gets no answer, by neither address of the gateway"""
    lab.inet1.ip("route", "replace", "192.168.77.0/24", "via", WAN)
    try:
        with pcp.Client(lab.inet1, gateway=WAN) as outside, pcp.Client(
                lab.inet1, family=socket.AF_INET6,
                gateway=Lab.WAN_ADDRESS6) as outside6:
            for client, targets in ((outside, (WAN, "192.168.77.1")),
                                    (outside6, (Lab.WAN_ADDRESS6, "fd77::1"))):
                for client.gateway in targets:
                    client.send(client.pack(pcp.ANNOUNCE))
                    client.send(client.pack_map("udp", port, port))
                    client.send(b"\3\1")
            assert client4.is_silent(b"")
            assert not select.select([outside.socket, outside6.socket], [], [], 0.1)[0]
    finally:
        lab.inet1.ip("route", "del", "192.168.77.0/24")
    assert leases_of(daemon, port) == []


def test_external_address_is_not_served(lab, client, daemon):
    """PCP-2: the destination counts as well as the interface"""
    address = Lab.WAN_ADDRESS6 if client.ipv6 else WAN
    with pcp.Client(lab.lan1, family=client.socket.family, gateway=address) as other:
        other.send(other.pack(pcp.ANNOUNCE))
        assert client.is_silent(b"")
        assert not select.select([other.socket], [], [], 0.05)[0]


def test_two_addresses_of_the_gateway(lab, daemon, port):
    """PCP-121, PCP-27, PCP-33: one table and one epoch, whichever address is asked"""
    lab.gw.ip("address", "add", "192.168.77.9/24", "dev", "lan0")
    try:
        with pcp.Client(lab.lan1) as first, pcp.Client(
                lab.lan1, gateway="192.168.77.9") as second:
            second.nonce = first.nonce
            answer = first.grant("udp", port, port + 20000)

            def answered():
                with_answer = second.pack_map("udp", port)
                try:
                    return second.ask(with_answer, 0.2)
                except (TimeoutError, ConnectionRefusedError):
                    return None
            again = wait_for(answered, "an answer of the new address")
            assert (again.result, again.endpoint) == (pcp.OK, answer.endpoint)
            assert abs(again.epoch - answer.epoch) <= 2
            assert len(leases_of(daemon, port)) == 1
            assert second.unmap("udp", port).result == pcp.OK
    finally:
        lab.gw.ip("address", "del", "192.168.77.9/24", "dev", "lan0")
    assert leases_of(daemon, port) == []


# Other configurations


def test_natpmp_off(lab, keeper):
    """PCP-19: version 0 gets the ordinary reply, which NAT-PMP clients can read"""
    keeper.get("[lan lan0]\nprotocols = pcp\n")
    with pcp.Client(lab.lan1) as client:
        for request in (b"\0\0", bytes(12), natpmp.pack_map("udp", 4000, 4000, 60)):
            answer = check(client.ask(request), pcp.UNSUPP_VERSION)
            assert answer.raw[:4] == struct.pack("!BBBB", 2, 0x80 | request[1], 0, 1)
            assert len(answer.raw) == max(24, len(request))
        client.grant("udp", 4000, 4000)


def test_pcp_off(lab, keeper):
    """PCP-5, NP-14: without PCP its requests get NAT-PMP's word about versions"""
    daemon = keeper.get("[lan lan0]\nprotocols = nat-pmp\n"
                        "[lan guest0]\nprotocols = pcp\n")
    with pcp.Client(lab.lan1) as client:
        client.send(client.pack_map("udp", 4000, 4000))
        answer = client.receive()
        assert (len(answer), answer[:4]) == (8, b"\0\x80\0\1")
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as client, pcp.Client(
            lab.guest1, family=socket.AF_INET6) as guest:
        client.send(client.pack_map("udp", 4000, 4000))
        assert guest.announce().result == pcp.OK
        with pytest.raises((TimeoutError, ConnectionRefusedError)):
            client.receive(0.1)
    assert daemon.leases() == []


def test_overload(lab, keeper):
    """PCP-7, PCP-79: what is too much is dropped, or refused for a short while"""
    daemon = keeper.get("[limits]\nrequests-per-second = 20\n")
    with pcp.Client(lab.lan1) as flood, pcp.Client(lab.lan2) as other:
        for number in range(400):
            flood.send(flood.pack_map("udp", 20000 + number, 30000 + number,
                                      options=[pcp.prefer_failure()]))
        other.grant("udp", 3999, 3999)
        answers = []
        while select.select([flood.socket], [], [], 0.2)[0]:
            answers.append(pcp.Response(flood.receive()))
    assert {x.result for x in answers} <= {pcp.OK, pcp.NO_RESOURCES}
    refused = [x for x in answers if x.result]
    assert all(x.lifetime == pcp.SHORT_S for x in refused)
    assert 0 < len(answers) - len(refused) < 100
    assert len([x for x in daemon.leases() if x["client"] == lab.lan1.ipv4]) < 100
