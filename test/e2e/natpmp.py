# SPDX-License-Identifier: GPL-2.0-or-later
"""A NAT-PMP client written from RFC 6886, to hold the server against."""

import collections
import socket
import struct

PORT = 5351
ANNOUNCE_GROUP, ANNOUNCE_PORT = "224.0.0.1", 5350
OP_ADDRESS, OP_UDP, OP_TCP = 0, 1, 2
OK, UNSUPPORTED_VERSION, REFUSED, NETWORK_FAILURE, NO_RESOURCES, UNSUPPORTED_OPCODE = range(6)
OPS = {"udp": OP_UDP, "tcp": OP_TCP}
REPLY_S = 5.0

Address = collections.namedtuple("Address", "result epoch address")
Mapping = collections.namedtuple("Mapping", "result epoch internal external lifetime")


def pack_map(protocol, internal, external, lifetime, reserved=0):
    """§3.3: version, opcode, reserved, internal port, external port, lifetime."""
    return struct.pack("!BBHHHI", 0, OPS[protocol], reserved, internal, external, lifetime)


def parse_address(data):
    """§3.2: a reply or announcement, 12 octets."""
    assert len(data) == 12, data.hex()
    version, opcode, result, epoch, address = struct.unpack("!BBHI4s", data)
    assert (version, opcode) == (0, 128), data.hex()
    return Address(result, epoch, socket.inet_ntoa(address))


def parse_mapping(data, protocol):
    """§3.3: 16 octets, on error too (NP-23)."""
    assert len(data) == 16, data.hex()
    version, opcode, *rest = struct.unpack("!BBHIHHI", data)
    assert (version, opcode) == (0, 128 + OPS[protocol]), data.hex()
    return Mapping(*rest)


class Client:
    """One host of the laboratory asking its gateway."""

    def __init__(self, host, gateway=None, port=0):
        self.host = host
        self.gateway = gateway or host.ipv4.rpartition(".")[0] + ".1"
        self.socket = host.udp(port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, request, timeout=REPLY_S):
        """The reply's octets; TimeoutError when there is silence."""
        self.socket.settimeout(timeout)
        self.socket.sendto(request, (self.gateway, PORT))
        data, source = self.socket.recvfrom(2048)
        assert source == (self.gateway, PORT), f"reply from {source} (NP-1)"
        return data

    def is_silent(self, request):
        """
        True when a request gets no reply. A proper question goes after it: what comes
        back first tells, and no time is guessed.
        """
        self.socket.sendto(request, (self.gateway, PORT))
        return len(self.ask(bytes([0, OP_ADDRESS]))) == 12

    def address(self):
        return parse_address(self.ask(bytes([0, OP_ADDRESS])))

    def map(self, protocol, internal, external=0, lifetime=3600):
        return parse_mapping(self.ask(pack_map(protocol, internal, external, lifetime)),
                             protocol)

    def unmap(self, protocol, internal):
        return self.map(protocol, internal, 0, 0)


def tells(host, address, patience_s=0.5):
    """True when the gateway answers this host, as it may not yet, with that address."""
    with Client(host) as client:
        try:
            reply = client.ask(bytes([0, OP_ADDRESS]), patience_s)
        except TimeoutError:
            return False
        return parse_address(reply).address == address
