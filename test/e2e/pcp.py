# SPDX-License-Identifier: GPL-2.0-or-later
"""
A PCP client written from RFC 6887, 7220, 7225 and 7753, to hold the server against.

Whatever is asked, each reply is held against the rules that bind every reply: sizes, the
copy of the request in errors, the fields a success copies, and who may answer.
"""

import collections
import ipaddress
import os
import socket
import struct
import time

PORT = 5351
ANNOUNCE_GROUP, ANNOUNCE_GROUP6, ANNOUNCE_PORT = "224.0.0.1", "ff02::1", 5350
LENGTH_MAX = 1100
ANNOUNCE, MAP, PEER, AUTHENTICATION = range(4)
(OK, UNSUPP_VERSION, NOT_AUTHORIZED, MALFORMED_REQUEST, UNSUPP_OPCODE, UNSUPP_OPTION,
 MALFORMED_OPTION, NETWORK_FAILURE, NO_RESOURCES, UNSUPP_PROTOCOL, USER_EX_QUOTA,
 CANNOT_PROVIDE_EXTERNAL, ADDRESS_MISMATCH, EXCESSIVE_REMOTE_PEERS) = range(14)
THIRD_PARTY, PREFER_FAILURE, FILTER = 1, 2, 3
DESCRIPTION, PREFIX64, PORT_SET = 128, 129, 130
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "sctp": 132, "all": 0}
LONG_S, SHORT_S = 1800, 30
FOREVER = 0xffffffff
REPLY_S = 4.0
REPEAT_S = 1.0
HEADER, MAP_SIZE, PEER_SIZE = 24, 60, 80
SIZES = {ANNOUNCE: HEADER, MAP: MAP_SIZE, PEER: PEER_SIZE}

Filter = collections.namedtuple("Filter", "length port address")


def pack_address(text):
    """§5: 16 octets, IPv4 as ::ffff:a.b.c.d."""
    address = ipaddress.ip_address(text)
    if address.version == 4:
        return b"\0" * 10 + b"\xff\xff" + address.packed
    return address.packed


def parse_address(data):
    """The text of 16 octets; IPv4 as such."""
    address = ipaddress.IPv6Address(data)
    return str(address.ipv4_mapped or address)


def pad(data):
    return data + bytes(-len(data) % 4)


def pack_request(opcode, address, lifetime=0, rest=b"", version=2, reserved=0):
    """§7.1: the common header, and what comes after it."""
    return struct.pack("!BBHI", version, opcode, reserved, lifetime) + (
        pack_address(address)) + rest


def pack_map(nonce, protocol, internal, external, suggested, reserved=0):
    """§11.1: 36 octets."""
    return nonce + struct.pack("!B", protocol) + reserved.to_bytes(3, "big") + (
        struct.pack("!HH", internal, external)) + pack_address(suggested)


def pack_peer(body, port, address, reserved=0):
    """§12.1: what MAP has, and the remote peer; 56 octets."""
    return body + struct.pack("!HH", port, reserved) + pack_address(address)


def pack_option(code, data=b"", length=None, reserved=0):
    """§7.3; length: what is claimed, when not the truth."""
    return struct.pack("!BBH", code, reserved, len(data) if length is None else length) + (
        pad(data))


def third_party(address):
    return pack_option(THIRD_PARTY, pack_address(address))


def prefer_failure():
    return pack_option(PREFER_FAILURE)


def pack_filter(address="::", length=None, port=0, reserved=0):
    """§13.3. Without a length: that host alone."""
    if length is None:
        length = 128
    return pack_option(FILTER, struct.pack("!BBH", reserved & 0xff, length, port) + (
        pack_address(address)), reserved=reserved & 0xff)


def clear_filters():
    return pack_filter(length=0)


def description(text):
    """RFC 7220 §2"""
    return pack_option(DESCRIPTION, text.encode() if isinstance(text, str) else text)


def port_set(size, first, parity=False):
    """RFC 7753 §4.1"""
    return pack_option(PORT_SET, struct.pack("!HHB", size, first, int(parity)))


def parse_port_set(data):
    """(size, first internal port, parity)"""
    assert len(data) == 5, data.hex()
    size, first, flags = struct.unpack("!HHB", data)
    assert flags in (0, 1), data.hex()
    return size, first, bool(flags)


def parse_prefix64(data):
    """RFC 7225 §4.1: the prefix as text; no IPv4 prefix list behind it."""
    length = struct.unpack("!H", data[:2])[0]
    assert length in (4, 5, 6, 7, 8, 12) and len(data) == 14, data.hex()
    assert data[2 + length:] == bytes(12 - length), "suffix"
    return f"{ipaddress.IPv6Address(data[2:2 + length] + bytes(16 - length))}/{length * 8}"


def parse_options(data):
    """[(code, data)] with zero padding and reserved octets checked."""
    found = []
    while data:
        assert len(data) >= 4, data.hex()
        code, reserved, length = struct.unpack("!BBH", data[:4])
        end = 4 + length + -length % 4
        assert reserved == 0 and len(data) >= end, data.hex()
        assert not any(data[4 + length:end]), "padding is zero"
        found.append((code, data[4:4 + length]))
        data = data[end:]
    return found


class Response:
    """
    What the server sent. `request` is what it answers, None when nobody asked; what the
    RFC demands of every response is checked here.
    """

    def __init__(self, data, request=None):
        self.raw = data
        assert HEADER <= len(data) <= LENGTH_MAX and len(data) % 4 == 0, data.hex()
        (version, opcode, zero, self.result, self.lifetime, self.epoch,
         self.reserved) = struct.unpack("!BBBBII12s", data[:HEADER])
        assert version == 2 and opcode & 0x80 and zero == 0, data.hex()
        self.opcode = opcode & 0x7f
        self.options = []
        if request is not None:
            (self.check_success if self.result == OK else self.check_error)(request)
        if self.opcode in SIZES and len(data) >= SIZES[self.opcode]:
            self.parse_body()

    def check_error(self, request):
        """PCP-23, PCP-24: a copy of the request, as far as 1100 octets go"""
        full = request[:LENGTH_MAX]
        full += bytes(max(0, HEADER - len(full)))
        full = pad(full)
        assert self.raw[HEADER:] == full[HEADER:], "PCP-23: the request is copied"
        assert self.reserved in (bytes(12), full[12:24]), "PCP-24"
        assert self.lifetime > 0, "PCP-29: a client would ask again at once"

    def check_success(self, request):
        """PCP-24, PCP-25, PCP-44, PCP-91: what a success copies, and what not"""
        assert self.reserved == bytes(12), "PCP-24"
        size = SIZES[self.opcode]
        if self.opcode in (MAP, PEER):
            assert self.raw[24:37] == request[24:37], "nonce and protocol are copied"
            assert self.raw[37:40] == bytes(3), "reserved is sent as zero"
            assert self.raw[40:42] == request[40:42], "internal port"
        if self.opcode == PEER:
            assert self.raw[60:62] == request[60:62], "remote port"
            assert self.raw[62:64] == bytes(2), "reserved is sent as zero"
            assert self.raw[64:80] == request[64:80], "remote address"
        asked = {request[at] for at in find_options(request, size)}
        for code, _ in parse_options(self.raw[size:]):
            assert code in asked, f"PCP-26: option {code} was not asked for"

    def parse_body(self):
        data = self.raw
        if self.opcode in (MAP, PEER):
            self.nonce, self.protocol, self.internal, self.port = (
                data[24:36], data[36], *struct.unpack("!HH", data[40:44]))
            self.address = parse_address(data[44:60])
        if self.opcode == PEER:
            self.remote_port = struct.unpack("!H", data[60:62])[0]
            self.remote = parse_address(data[64:80])
        if self.result == OK:
            self.options = parse_options(data[SIZES[self.opcode]:])

    def __repr__(self):
        return f"<result {self.result} lifetime {self.lifetime} {self.raw.hex()}>"

    def option(self, code):
        """Data of the only option of that code; None without."""
        found = [data for each, data in self.options if each == code]
        assert len(found) <= 1, self
        return found[0] if found else None

    @property
    def endpoint(self):
        return self.address, self.port

    @property
    def filters(self):
        found = []
        for code, data in self.options:
            if code == FILTER:
                assert len(data) == 20 and data[0] == 0, data.hex()
                found.append(Filter(data[1], struct.unpack("!H", data[2:4])[0],
                                    parse_address(data[4:])))
        return found


def find_options(request, start):
    """Offsets of the options of a request that is well formed."""
    at = start
    while at + 4 <= len(request):
        yield at
        length = struct.unpack("!H", request[at + 2:at + 4])[0]
        at += 4 + length + -length % 4


class Client:
    """
    One host of the laboratory asking its gateway. Options: family, address and port of
    its own, the gateway's address, the interface where these are link-local.
    """

    def __init__(self, host, **options):
        family = options.get("family", socket.AF_INET)
        self.host, self.ipv6 = host, family == socket.AF_INET6
        self.address = options.get("address") or host.address(family)
        self.gateway = options.get("gateway") or (
            "fd" + self.address[2:4] + "::1" if self.ipv6
            else self.address.rpartition(".")[0] + ".1")
        self.nonce = os.urandom(12)
        self.scope = 0
        self.socket = host.open_socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if "interface" in options:
            with host.inside():
                self.scope = socket.if_nametoindex(options["interface"])
        self.socket.bind(self.sockaddr(self.address, options.get("port", 0)))
        self.none = "::" if self.ipv6 else "0.0.0.0"

    def sockaddr(self, address, port):
        return (address, port, 0, self.scope) if self.ipv6 else (address, port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, request):
        self.socket.sendto(request, self.sockaddr(self.gateway, PORT))

    def receive(self, timeout=REPLY_S):
        """The next datagram; TimeoutError. It comes from where we ask (PCP-27, PCP-37)."""
        self.socket.settimeout(timeout)
        data, source = self.socket.recvfrom(4096)
        address = source[0].partition("%")[0]
        assert (address, source[1]) == (self.gateway, PORT), f"PCP-27: {source}"
        return data

    def ask(self, request, timeout=REPLY_S):
        """
        Send octets; the Response to them. Asked again when nothing comes for a second
        (§8.1.1): a host gets only so many errors in one. What comes of another opcode is
        a Mapping Update or late, and passed over (§8.3).
        """
        end, repeat = time.monotonic() + timeout, 0
        while True:
            now = time.monotonic()
            if now >= repeat:
                self.send(request)
                repeat = now + REPEAT_S
            try:
                data = self.receive(max(0.001, min(end, repeat) - now))
            except TimeoutError:
                if time.monotonic() >= end:
                    raise
                continue
            if len(request) < 2 or data[1:2] == bytes([request[1] | 0x80]):  # PCP-27
                return Response(data, request)

    def updates(self, timeout=REPLY_S):
        """The next response that nobody asked for (§14.2)."""
        return Response(self.receive(timeout))

    def is_silent(self, request):
        """
        True when a request gets no reply. A proper question goes after it that takes the
        whole way: what comes back first tells, and no time is guessed.
        """
        self.send(request)
        probe = os.urandom(12)
        body = pack_map(probe, PROTOCOLS["udp"], 9, 0, self.none)
        self.send(pack_request(MAP, self.address, 0, body))
        return self.receive()[24:36] == probe

    def pack(self, opcode, lifetime=0, rest=b"", options=(), **changes):
        """A request of ours. Changes: client (address field), version, reserved."""
        client = changes.pop("client", self.address)
        return pack_request(opcode, client, lifetime, rest + b"".join(options), **changes)

    def pack_map(self, protocol, internal, external=0, lifetime=3600, options=(), **changes):
        """Further changes: nonce, suggested (address)."""
        body = pack_map(changes.pop("nonce", self.nonce), to_number(protocol), internal,
                        external, changes.pop("suggested", self.none),
                        changes.pop("body_reserved", 0))
        return self.pack(MAP, lifetime, body, options, **changes)

    def pack_peer(self, protocol, internal, remote, external=0, lifetime=3600, options=(),
                  **changes):
        """remote: (address, port)"""
        body = pack_map(changes.pop("nonce", self.nonce), to_number(protocol), internal,
                        external, changes.pop("suggested", self.none),
                        changes.pop("body_reserved", 0))
        body = pack_peer(body, remote[1], remote[0], changes.pop("peer_reserved", 0))
        return self.pack(PEER, lifetime, body, options, **changes)

    def announce(self, lifetime=0, options=(), **changes):
        return self.ask(self.pack(ANNOUNCE, lifetime, b"", options, **changes))

    def map(self, *arguments, **options):
        return self.ask(self.pack_map(*arguments, **options))

    def peer(self, *arguments, **options):
        return self.ask(self.pack_peer(*arguments, **options))

    def grant(self, *arguments, **options):
        """A mapping that must be granted."""
        answer = self.map(*arguments, **options)
        assert answer.result == OK and answer.port and answer.lifetime, answer
        return answer

    def unmap(self, protocol, internal, **options):
        return self.map(protocol, internal, lifetime=0, **options)


def to_number(protocol):
    return PROTOCOLS.get(protocol, protocol)
