# SPDX-License-Identifier: GPL-2.0-or-later
"""A host that asks as fast as it can send, and how another is served meanwhile (PCP-7)."""

import json
import re
import select
import socket
import time

import natpmp
import pcp
import wire

SAMPLES = 150
# Below the default limit of requests a second.
PACE_S = 0.015
PROMPT_S = 0.05
FLOOD_S = 30  # at most: it is ended before
# What arrives of a flood at the least: far above what puts a source into the slow lane
# (500/s), and more than is read there in a second, 64 every 10 ms.
RATE_MIN = 8000
# Addresses that nobody has, and what is asked from them in a second.
UNOWNED, UNOWNED_RATE = 4, 600
FIGURES = "p50 %.2f, p99 %.2f, max %.2f ms"

# The host that floods, and how.
FLOODS = {
    "pcp": ("lan1", ["--gateway", "192.168.77.1", "--client", "192.168.77.2"]),
    "nat-pmp": ("lan1", ["--gateway", "192.168.77.1", "--client", "192.168.77.2",
                         "--nat-pmp"]),
    "pcp-ipv6": ("lan1", ["--gateway", "fd77::1", "--client", "fd77::2"]),
    "pcp-8-addresses": ("lan1", ["--gateway", "192.168.77.1", "--client",
                                 "192.168.77.100", "--clients", "8"]),
    "pcp-other-lan": ("guest1", ["--gateway", "192.168.78.1", "--client",
                                 "192.168.78.2"]),
}


def add_addresses(lab):
    """Those of the floods from several."""
    for number in range(8):
        lab.lan1.ip("address", "replace", f"192.168.77.{100 + number}/24", "dev", "eth0")


def start(lab, program, kind):
    """The flood. Its work would be another machine's: all others go before it."""
    host, arguments = FLOODS[kind]
    return getattr(lab, host).start(["nice", "-n", "19", program, *arguments,
                                     "--seconds", str(FLOOD_S)])


def get_interface(kind):
    """Of the gateway, where it arrives."""
    return "guest0" if kind == "pcp-other-lan" else "lan0"


class Arrivals:
    """What an interface of the gateway receives while the block runs."""

    def __init__(self, lab, interface):
        self.lab, self.interface = lab, interface

    def count(self):
        done = self.lab.gw.run(["ip", "-j", "-s", "link", "show", "dev", self.interface],
                               check=True)
        return json.loads(done.stdout)[0]["stats64"]["rx"]["packets"]

    def __enter__(self):
        self.began, self.first = time.monotonic(), self.count()
        return self

    def __exit__(self, *_):
        self.rate = (self.count() - self.first) / (time.monotonic() - self.began)


def count_drops(lab, interface, family=socket.AF_INET):
    """What did not fit the queues of the first lane and of the slow one."""
    flag = "-6" if family == socket.AF_INET6 else "-4"
    done = lab.gw.run(["ss", flag, "-uanemOH", "sport", "=", f":{pcp.PORT}"], check=True)
    found = {}
    for line in done.stdout.splitlines():
        if f"%{interface}:" in line:
            inode = int(re.search(r"\bino:(\d+)", line).group(1))
            found[inode] = int(re.search(r"skmem:\(.*,d(\d+)\)", line).group(1))
    # In the order in which they were opened; the others only send.
    return [found[inode] for inode in sorted(found)][:2]


def send_unowned(host, family):
    """A function: time has passed, as much is asked from addresses that nobody has."""
    began, sent = time.monotonic(), 0
    prefix = "fd77::" if family == socket.AF_INET6 else "192.168.77."
    mapped = bytes(10) + b"\xff\xff"

    def go_on():
        nonlocal sent
        while sent < UNOWNED_RATE * (time.monotonic() - began):
            sent += 1
            source = f"{prefix}{200 + sent % UNOWNED}"
            octets = (socket.inet_pton(family, source) if family == socket.AF_INET6
                      else mapped + socket.inet_aton(source))
            send = (wire.send_forged6 if family == socket.AF_INET6
                    else type(host).send_forged)
            send(host, (source, 4000), (prefix + "1", pcp.PORT), b"\2" + bytes(7) + octets)
    return go_on


class Honest:
    """Another host, which asks for a few ports again and again."""

    def __init__(self, host, kind):
        self.natpmp = kind == "nat-pmp"
        family = socket.AF_INET6 if kind == "pcp-ipv6" else socket.AF_INET
        self.gateway = "fd77::1" if kind == "pcp-ipv6" else "192.168.77.1"
        self.client = pcp.Client(host, family=family)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.socket.close()

    def ask(self, port):
        """One request, not sent again; TimeoutError after ten times what is prompt."""
        request = (natpmp.pack_map("udp", port, port, 3600) if self.natpmp
                   else self.client.pack_map("udp", port, port))
        sock = self.client.socket
        sock.settimeout(10 * PROMPT_S)
        sock.sendto(request, (self.gateway, pcp.PORT))
        while True:
            data = sock.recv(2048)
            if data[0] == 2 and data[24:44] == request[24:44]:
                assert data[3] == pcp.OK, data.hex()
                return
            if data[0] == 0 and data[8:10] == request[4:6]:
                assert data[2:4] == bytes(2), data.hex()
                return

    def measure(self, meanwhile=lambda: None):
        """Median, 99th percentile and maximum in ms; infinite without an answer."""
        taken = []
        for number in range(SAMPLES):
            meanwhile()
            began = time.monotonic()
            try:
                self.ask(6000 + number % 50)
                taken.append(1000 * (time.monotonic() - began))
            except TimeoutError:
                taken.append(float("inf"))
            # The pace of the questions; nothing is waited for.
            select.select([], [], [], max(0, began + PACE_S - time.monotonic()))
        taken.sort()
        return tuple(taken[(len(taken) - 1) * part // 100] for part in (50, 99, 100))
