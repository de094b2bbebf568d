# SPDX-License-Identifier: GPL-2.0-or-later
"""PCP and NAT-PMP clients: what their sources ignore, forget and give up on."""

import os
import socket
import struct

import pytest
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
SERVER_PORT = 5351
TRIES, TRY_S = 3, 1.0
UDP, TCP = 17, 6
MAP, MAP_REPLY = 1, 0x81
UNSUPPORTED, NOT_AUTHORIZED, ADDRESS_MISMATCH = 1, 2, 12
NATPMP_ONLY = "[lan lan0]\nprotocols = nat-pmp\n"
RELAXED = "[global]\npcp-nonce-check = relaxed\n"


def pack_ip(text):
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return bytes(10) + b"\xff\xff" + socket.inet_aton(text)


class Client:
    """What they all do: one request, sent again until an answer is to their liking."""

    def __init__(self, host, family=socket.AF_INET):
        self.host = host
        self.own = host.address(family)
        self.gateway = "fd77::1" if family == socket.AF_INET6 else "192.168.77.1"
        self.socket = host.udp(family=family)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, request, wanted):
        """The first datagram that is wanted; None when all tries are over."""
        for _ in range(TRIES):
            self.socket.sendto(request, (self.gateway, SERVER_PORT))
            self.socket.settimeout(TRY_S)
            try:
                while True:
                    data = self.socket.recv(2048)
                    if wanted(data):
                        return data
            except TimeoutError:
                continue
        return None

    def pack_map(self, nonce, protocol, port, lifetime, **options):
        return struct.pack(
            "!BBHI16s12sB3xHH16s", 2, MAP, 0, lifetime,
            pack_ip(options.get("client", self.own)), nonce, protocol, port,
            options.get("external", 0), pack_ip(options.get("suggested", "0.0.0.0")))


class Mapping:
    """The fields of a MAP response that they look at."""

    def __init__(self, data):
        self.size, self.result = len(data), data[3]
        self.lifetime, self.epoch = struct.unpack("!II", data[4:12])
        self.nonce, self.protocol = data[24:36], data[36]
        self.internal, self.port = struct.unpack("!HH", data[40:44])
        self.address = socket.inet_ntop(socket.AF_INET6, data[44:60])


class BitcoinCore(Client):
    """src/common/pcp.cpp: answers without the whole opcode body do not count."""

    LIFETIME_S = 2400
    nonce = os.urandom(12)  # one for all its mappings

    def map(self, port, **options):
        """A Mapping, "natpmp" where the version is refused, None after three seconds."""
        request = self.pack_map(self.nonce, TCP, port, options.pop("lifetime",
                                self.LIFETIME_S), external=port, suggested=self.own,
                                **options)

        def wanted(data):
            return self.refuses_version(data) or (
                len(data) >= 60 and data[:2] == bytes([2, MAP_REPLY])
                and data[24:37] == request[24:37] and data[40:42] == request[40:42])
        data = self.ask(request, wanted)
        if data and self.refuses_version(data):
            return "natpmp"
        return data and Mapping(data)

    @staticmethod
    def refuses_version(data):
        return len(data) == 8 and data[0] == 0 and data[3] == UNSUPPORTED


class Libtorrent(Client):
    """natpmp.cpp of libtorrent: sizes must be exact, 0 in lifetime or port is an end."""

    LIFETIME_S = 3600

    def map(self, port, lifetime=LIFETIME_S):
        """(external port, lifetime, result), or None: nothing came that it reads."""
        request = self.pack_map(os.urandom(12), UDP, port, lifetime, external=port)
        data = self.ask(request, lambda data: len(data) == 60 and data[0] == 2)
        return data and (Mapping(data).port, Mapping(data).lifetime, Mapping(data).result)

    def map_natpmp(self, port, lifetime=LIFETIME_S):
        request = struct.pack("!BBHHHI", 0, 1, 0, port, port, lifetime)
        data = self.ask(request, lambda data: len(data) == 16 and data[1] == 129)
        return data and struct.unpack("!H", data[2:4])[0]

    def address(self):
        data = self.ask(bytes([0, 0]), lambda data: len(data) >= 12 and data[1] == 128)
        return data and socket.inet_ntoa(data[8:12])


def test_libtorrent_reads_sizes(lab, daemon):
    """CL-1, clients.md §5.4: 60, 16 and 12 octets, no option and no padding behind"""
    with Libtorrent(lab.lan1) as client:
        assert client.address() == WAN
        assert client.map(6881) == (6881, client.LIFETIME_S, 0)
        assert client.map_natpmp(6882) == 0
    for port in (6881, 6882):
        assert lab.udp_arrives(lab.inet1, (WAN, port), lab.lan1, port) is not None


def test_libtorrent_of_an_unlucky_host(lab, daemon):
    """CL-2, clients.md §5.5: a refusal has a lifetime, or the mapping is forgotten"""
    with Libtorrent(lab.lan1) as client:
        client.map(6881)
        port, lifetime, result = client.map(6881)  # with another nonce
        assert result == NOT_AUTHORIZED and lifetime > 0 and port != 0
    with Libtorrent(lab.lan1) as client:
        client.own = lab.lan2.ipv4
        port, lifetime, result = client.map(6883)
        assert result == ADDRESS_MISMATCH and lifetime > 0 and port != 0


def test_bitcoin_core(lab, daemon):
    """CL-4, CL-5: it suggests its internal address, and reads errors with a whole body"""
    with BitcoinCore(lab.lan1) as client:
        first = client.map(8333)
        assert (first.result, first.port) == (0, 8333)
        assert first.address == "::ffff:" + WAN and first.lifetime >= 30
        assert lab.tcp_arrives(lab.inet1, (WAN, 8333), lab.lan1, 8333) is not None
        again = client.map(8333)
        assert (again.result, again.port) == (0, 8333), "CL-25: renewal keeps the port"
        refused = client.map(8334, client=lab.lan2.ipv4)
        assert refused.result == ADDRESS_MISMATCH and refused.size >= 60
        client.map(8333, lifetime=0)
    assert lab.tcp_arrives(lab.inet1, (WAN, 8333), lab.lan1, 8333) is None


def test_bitcoin_core_over_ipv6(lab, daemon):
    """A pinhole for its own address, by the same nonce"""
    with BitcoinCore(lab.lan1, socket.AF_INET6) as client:
        answer = client.map(8333)
        assert (answer.result, answer.port, answer.address) == (0, 8333, lab.lan1.ipv6)
    target = (lab.lan1.ipv6, 8333)
    assert lab.tcp_arrives(lab.inet1, target, lab.lan1, 8333) is not None


def test_version_is_refused_in_eight_octets(lab, daemon_factory):
    """CL-3: where only NAT-PMP is spoken, Bitcoin Core takes it at once"""
    daemon_factory(NATPMP_ONLY).start()
    with BitcoinCore(lab.lan1) as client, Libtorrent(lab.lan1) as torrent:
        assert client.map(8333) == "natpmp"
        assert torrent.map_natpmp(6881) == 0


@pytest.mark.parametrize("suggested", ["::", "0.0.0.0", "192.168.77.2", "224.0.0.1",
                                       "255.255.255.255", "8.8.8.8"])
def test_bad_suggestions(lab, daemon, suggested):
    """CL-5: libpcpnatpmp, Tailscale and others: none of them hurts"""
    with Client(lab.lan1) as client:
        answer = Mapping(client.ask(
            client.pack_map(os.urandom(12), UDP, 5000, 7200, suggested=suggested),
            lambda data: data[1] == MAP_REPLY))
    assert answer.result == 0 and answer.address == "::ffff:" + WAN
    assert lab.udp_arrives(lab.inet1, (WAN, answer.port), lab.lan1, 5000) is not None


def map_as_tailscale(client, lifetime):
    """An older Tailscale: another nonce for each request."""
    return Mapping(client.ask(client.pack_map(os.urandom(12), UDP, 41641, lifetime),
                              lambda data: data[1] == MAP_REPLY))


def test_new_nonce_each_time(lab, daemon_factory):
    """
    CL-6: strict refuses to renew and says for how long; relaxed renews the same port.
    Neither deletes for a stranger's nonce; NAT-PMP, which it prefers, does.
    """
    for config, result in (("", NOT_AUTHORIZED), (RELAXED, 0)):
        running = daemon_factory(config).start()
        with Client(lab.lan1) as client:
            first = map_as_tailscale(client, 7200)
            again = map_as_tailscale(client, 7200)
            assert (first.result, again.result) == (0, result)
            assert again.lifetime > 0, "CL-2"
            assert again.port == first.port or result, "CL-25"
            assert map_as_tailscale(client, 0).result == NOT_AUTHORIZED
        target = (WAN, first.port)
        assert lab.udp_arrives(lab.inet1, target, lab.lan1, 41641) is not None
        running.stop()


def test_announce_from_who_never_maps(lab, daemon):
    """CL-7: the probe of Tailscale"""
    with Client(lab.lan1) as client:
        data = client.ask(struct.pack("!BBHI16s", 2, 0, 0, 0, pack_ip(client.own)),
                          lambda data: data[:2] == b"\x02\x80")
    assert data[3] == 0 and len(data) == 24
    assert daemon.leases() == []


def test_epoch_goes_one_way(lab, daemon):
    """CL-8: never 0 and never back, whichever protocol tells it, over a restart too"""
    def epochs():
        with Client(lab.lan1) as client:
            for request, at in ((bytes([0, 0]), 4), (struct.pack(
                    "!BBHI16s", 2, 0, 0, 0, pack_ip(client.own)), 8)):
                data = client.ask(request, lambda data: len(data) >= 12)
                yield struct.unpack("!I", data[at:at + 4])[0]
    with BitcoinCore(lab.lan1) as client:
        client.map(8333)
    seen = [*epochs(), *epochs()]
    daemon.stop()
    daemon.start()
    wait_for(daemon.leases, "the lease to be back")
    seen += epochs()
    assert seen[0] > 0 and seen == sorted(seen), seen
