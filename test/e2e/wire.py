# SPDX-License-Identifier: GPL-2.0-or-later
"""What ordinary sockets do not do: forged packets, ICMP errors, arrival times, netlink."""

import collections
import ipaddress
import select
import socket
import struct
import time

from lab import PATIENCE_S, wait_for

IP_RECVERR, IPV6_RECVERR = 11, 25
SO_TIMESTAMPNS = 35
ICMP_UNREACHABLE, ICMP_CODE_FRAGMENT, ICMP6_TOO_BIG = 3, 4, 2
RTM_NEWADDR, RTM_DELADDR = 20, 21
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE = 1, 4, 0x400
IFA_ADDRESS, IFA_LOCAL = 1, 2

Heard = collections.namedtuple("Heard", "time data source")


def checksum(data):
    """RFC 1071"""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def pack_ipv6(source, destination, protocol, payload):
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + (
        ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
        + payload)


def pack_ipv4(source, destination, protocol, payload):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(destination))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def pack_udp6(source, destination, payload):
    """A UDP datagram over IPv6 from any (address, port), with its right checksum."""
    head = struct.pack("!HHH", source[1], destination[1], 8 + len(payload))
    pseudo = (ipaddress.ip_address(source[0]).packed
              + ipaddress.ip_address(destination[0]).packed
              + struct.pack("!II", 8 + len(payload), 17))
    whole = pseudo + head + b"\0\0" + payload
    total = checksum(whole + bytes(len(whole) % 2)) or 0xffff
    return pack_ipv6(source[0], destination[0], 17,
                     head + struct.pack("!H", total) + payload)


def send_packets6(host, destination, packets):
    """Send what pack_udp6() made, each to that address."""
    with host.open_socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        for packet in packets:
            sock.sendto(packet, (destination, 0))


def send_forged6(host, source, destination, payload):
    """Send a UDP datagram over IPv6 from any (address, port)."""
    send_packets6(host, destination[0], [pack_udp6(source, destination, payload)])


def send_too_big(host, source, destination, mtu=1280):
    """
    host says that a UDP packet from source (address, port) to destination (address,
    port) was too big: the error goes to source's address.
    """
    udp = struct.pack("!HHHH", source[1], destination[1], 1400, 0)
    if ":" in source[0]:
        quote = pack_ipv6(source[0], destination[0], 17, udp + bytes(64))
        with host.open_socket(socket.AF_INET6, socket.SOCK_RAW,
                              socket.IPPROTO_ICMPV6) as sock:
            sock.sendto(struct.pack("!BBHI", ICMP6_TOO_BIG, 0, 0, mtu) + quote,
                        (source[0], 0))
        return
    quote = pack_ipv4(source[0], destination[0], 17, udp + bytes(64))
    body = struct.pack("!BBHHH", ICMP_UNREACHABLE, ICMP_CODE_FRAGMENT, 0, 0, mtu) + quote
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    with host.open_socket(kind=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP) as sock:
        sock.sendto(body, (source[0], 0))


def want_errors(sock):
    """ICMP errors about what this UDP socket sends are kept for read_error()."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)


def read_error(sock, deadline_s=PATIENCE_S):
    """(ICMP type, code, info) of the next error; TimeoutError."""
    poll = select.poll()
    poll.register(sock, 0)  # POLLERR alone
    if not poll.poll(deadline_s * 1000):
        raise TimeoutError("no ICMP error came")
    _, ancillary, _, _ = sock.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
    _, origin, kind, code, _, info, _ = struct.unpack("=IBBBBII", ancillary[0][2][:16])
    assert origin in (2, 3), "an error from the wire, none of our own"
    return kind, code, info


def capture6(host, group, port):
    """What Host.capture() is, for IPv6."""
    sock = host.open_socket(socket.AF_INET6)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with host.inside():
        index = socket.if_nametoindex(host.interface)
    sock.bind((group, port, 0, index))
    return sock


def stamp(sock):
    """The kernel notes when datagrams come; for collect()."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return sock


def collect(sock, deadline_s, count=1000, wanted=lambda data: True):
    """[Heard] until `count` that are wanted came, or until the deadline."""
    end, heard = time.monotonic() + deadline_s, []
    while len(heard) < count:
        left = max(0, end - time.monotonic())
        if not select.select([sock], [], [], left)[0]:
            break
        data, ancillary, _, source = sock.recvmsg(4096, 512)
        if wanted(data):
            heard.append(Heard(read_stamp(ancillary), data, source))
    return heard


def read_stamp(ancillary):
    """When the kernel got it, as time.time(); now without stamp()."""
    for _, kind, data in ancillary:
        if kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("=qq", data[:16])
            return seconds + nanoseconds / 1e9
    return time.time()


def drain(sock):
    """Forget what has come so far."""
    while select.select([sock], [], [], 0)[0]:
        sock.recv(4096)


def call_netlink(host, *messages):
    """[(type, flags, body)]: each sent and acknowledged, in one burst."""
    with host.open_socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock:
        sock.settimeout(PATIENCE_S)
        sock.send(b"".join(
            struct.pack("=IHHII", 16 + len(body), kind, flags | NLM_F_REQUEST | NLM_F_ACK,
                        number, 0) + body
            for number, (kind, flags, body) in enumerate(messages)))
        for _ in messages:
            error = struct.unpack("=i", sock.recv(4096)[16:20])[0]
            assert error == 0, f"netlink: {error}"


def pack_ifaddr(index, address, length):
    octets = socket.inet_aton(address)
    return struct.pack("=BBBBI", socket.AF_INET, length, 0, 0, index) + b"".join(
        struct.pack("=HH", 8, kind) + octets for kind in (IFA_LOCAL, IFA_ADDRESS))


class Wan:
    """The external address of the gateway, to be changed and to be changed back."""

    def __init__(self, lab):
        self.lab = lab
        self.now = lab.WAN_ADDRESS
        lab.gw.write_sysctl("net/ipv4/conf/wan0/promote_secondaries", 1)
        with lab.gw.inside():
            self.index = socket.if_nametoindex("wan0")

    def move(self, address):
        """
        Another address in one instant; the time.time() of it. The new one comes first,
        so the routes stay.
        """
        if address == self.now:
            return None
        old, self.now = self.now, address
        began = time.time()
        call_netlink(self.lab.gw,
                     (RTM_NEWADDR, NLM_F_CREATE, pack_ifaddr(self.index, address, 24)),
                     (RTM_DELADDR, 0, pack_ifaddr(self.index, old, 24)))
        return began

    def lose(self):
        self.now = None
        self.lab.gw.ip("-4", "address", "flush", "dev", "wan0")

    def restore(self):
        if self.now is None:
            self.now = self.lab.WAN_ADDRESS
            self.lab.batch("gw", [
                f"address add {self.now}/24 dev wan0",
                f"route replace default via {self.lab.inet1.ipv4}"])
        self.move(self.lab.WAN_ADDRESS)


def link_local(host, interface):
    """The link-local IPv6 address of an interface."""
    def find():
        words = host.ip("-6", "-o", "address", "show", "dev", interface, "scope",
                        "link").split()
        return words[words.index("inet6") + 1].partition("/")[0] if words else None
    return wait_for(find, f"a link-local address on {interface}")


def flows(lab, *filters):
    """[(seconds left, line)] of the gateway's connections, as conntrack shows them."""
    done = lab.gw.run(["conntrack", "-L", *filters], stderr=None)
    found = []
    for line in done.stdout.splitlines():
        words = line.split()
        if len(words) > 3 and words[1].isdigit() and words[2].isdigit():
            found.append((int(words[2]), line))
    return found
