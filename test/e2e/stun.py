# SPDX-License-Identifier: GPL-2.0-or-later
"""A provider's NAT before the gateway, and STUN and DNS servers behind it."""

import contextlib
import os
import select
import socket
import struct
import threading
import time
import zlib

from lab import Host, call, wait_for

PORT = 3478
COOKIE = 0x2112A442
NAT = """
table ip provider_nat {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "far0" masquerade
	}
}
"""


class Provider:
    """
    inet1 is the provider's router: it translates what goes from the gateway's WAN to
    the host `far`, 198.51.100.9, and has an address there that may change.
    """

    SERVER = "198.51.100.9"

    def __init__(self, lab):
        self.lab, self.router = lab, lab.inet1
        self.address = "198.51.100.1"
        name = f"{lab.prefix}-far"
        call(["ip", "netns", "add", name])
        lab.hosts["far"] = self.far = Host(lab, "far", "eth0", self.SERVER, None)
        lab.batch("inet1", ["link add far0 type veth peer name eth0 netns " + name,
                            "link set far0 up", f"address add {self.address}/24 dev far0"])
        lab.batch("far", ["link set lo up", "link set eth0 up",
                          f"address add {self.SERVER}/24 dev eth0",
                          "address add 198.51.100.10/24 dev eth0"])
        self.router.write_sysctl("net/ipv4/ip_forward", 1)
        self.router.write_sysctl("net/ipv4/conf/far0/promote_secondaries", 1)
        self.router.nft(NAT)

    def move(self, address):
        """The provider gives another address; what was translated is forgotten."""
        self.lab.batch("inet1", [f"address add {address}/24 dev far0",
                                 f"address del {self.address}/24 dev far0"])
        self.router.run(["conntrack", "-F"])
        self.address = address

    def serve(self):
        """A real server; a Process."""
        log = os.path.join(self.lab.directory, f"turnserver-{len(self.lab.processes)}.log")
        process = self.far.start(
            ["turnserver", "-S", "-n", "-L", self.SERVER, "-p", str(PORT), "--no-cli",
             "--no-tls", "--no-dtls", "--log-file", "stdout", "--pidfile",
             os.path.join(self.lab.directory, "turnserver.pid")], log)
        wait_for(lambda: ask(self.far, (self.SERVER, PORT)), "turnserver to answer")
        return process


def pack_attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def pack(kind, identity, *attributes):
    body = b"".join(attributes)
    return struct.pack("!HHI", kind, len(body), COOKIE) + identity + body


def pack_address(address, port, kind=0x20):
    """XOR-MAPPED-ADDRESS, or with kind 1 MAPPED-ADDRESS."""
    mask = struct.pack("!I", COOKIE) if kind == 0x20 else bytes(4)
    octets = bytes(a ^ b for a, b in zip(socket.inet_aton(address), mask))
    return pack_attribute(kind, struct.pack("!BBH", 0, 1, port ^ (mask[0] << 8 | mask[1]))
                          + octets)


def pack_fingerprint(message, wrong=0):
    message = message[:2] + struct.pack("!H", len(message) - 12) + message[4:]
    crc = zlib.crc32(message) ^ 0x5354554E ^ wrong
    return message + pack_attribute(0x8028, struct.pack("!I", crc))


def ask(host, server):
    """Whether a server answers."""
    with host.udp(address="") as sock:
        sock.settimeout(0.2)
        sock.sendto(pack(1, os.urandom(12)), server)
        with contextlib.suppress(OSError):
            return sock.recvfrom(2048)[0][:2] == b"\1\1"
    return False


class Server:
    """
    UDP on one host, answered by `answer(data, source)`: a list of (octets, socket), the
    socket None for its own. `asked` is what came, `times` when.
    """

    def __init__(self, host, answer, port=PORT, address=None):
        self.socket = host.udp(port, address)
        self.answer, self.asked, self.times = answer, [], []
        self.wake = socket.socketpair()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.wake[0].send(b"x")
        self.thread.join()
        for sock in (self.socket, *self.wake):
            sock.close()

    def run(self):
        while True:
            ready = select.select([self.socket, self.wake[1]], [], [])[0]
            if self.wake[1] in ready:
                return
            data, source = self.socket.recvfrom(2048)
            self.asked.append(data)
            self.times.append(time.monotonic())
            for octets, sender in self.answer(data, source):
                (sender or self.socket).sendto(octets, source)


def answer_name(address):
    """For Server: a DNS server that has one A record for every name."""
    def answer(data, _):
        question = data[12:data.index(b"\0", 12) + 5]
        record = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
        yes = question[-4:] == b"\0\1\0\1"
        head = data[:2] + struct.pack("!HHHHH", 0x8180, 1, int(yes), 0, 0)
        return [(head + question + (record if yes else b""), None)]
    return answer
