# SPDX-License-Identifier: GPL-2.0-or-later
"""A host that asks as fast as it can send, and how another is served meanwhile (PCP-7)."""

import select
import socket
import time

import natpmp
import pcp

SAMPLES = 150
# Below the default limit of requests a second.
PACE_S = 0.015
PROMPT_S = 0.05
FLOOD_S = 30  # at most: it is ended before
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

    def measure(self):
        """Median, 99th percentile and maximum in ms; infinite without an answer."""
        taken = []
        for number in range(SAMPLES):
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
