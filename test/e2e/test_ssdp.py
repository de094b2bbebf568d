# SPDX-License-Identifier: GPL-2.0-or-later
"""Discovery by the whole daemon, in both families: who is told what, and who nothing."""

import contextlib
import itertools
import os
import re
import select
import signal
import socket
import threading
import xml.etree.ElementTree

import igd
import pytest
from igd import GROUP6_LINK, GROUP6_SITE, IGD1, IGD2, V6FC1, WANIP1, WANIP2, search
from lab import Lab, wait_for
from wire import (capture6, collect, drain, link_local, pack_udp6, send_forged6,
                  send_packets6)

DEVICE = "urn:schemas-upnp-org:device:"
# The sets of the two root devices: 3 for the root, 2 for each other device, 1 for each
# service (SSDP-8).
TYPES1 = [IGD1, DEVICE + "WANDevice:1", DEVICE + "WANConnectionDevice:1",
          igd.L3F1, igd.WANCIC1, WANIP1, V6FC1]
TYPES2 = [IGD2, DEVICE + "WANDevice:2", DEVICE + "WANConnectionDevice:2",
          igd.L3F1, igd.WANCIC1, WANIP2, V6FC1]
SET = 11
XBOX = "Xbox/2.0.16202.0 UPnP/1.0 Xbox/2.0.16202.0"
WINDOWS = "Microsoft-Windows/10.0 UPnP/1.0"
# What Tailscale listens is 250 ms (CL-9).
SOON_S = 0.2
IP_TTL, IP_RECVTTL, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT = 2, 12, 51, 52


@pytest.fixture
def daemon(keeper):
    """One for all tests here that ask for nothing special."""
    return keeper.get()


@pytest.fixture
def own_daemon(keeper, daemon_factory):
    """One that a test may stop and start, not started."""
    keeper.end()
    return daemon_factory()


@pytest.fixture
def ways(lab):
    """The ways by which lan1 can ask: (group or address of ours, its own address)."""
    local = link_local(lab.lan1, "eth0")
    return {
        "ipv4": (igd.GROUP, None),
        "unicast": (("192.168.77.1", 1900), None),
        "link": (GROUP6_LINK, local),
        "site": (GROUP6_SITE, None),
        "unicast6": (("fd77::1", 1900), None),
        "unicast-link": ((link_local(lab.gw, "lan0"), 1900), local),
    }


def ask(host, target, way, **options):
    return search(host, target, to=way[0], source=way[1], **options)


def get_face(answer):
    return re.search(r"/(igd[12])/", answer["location"])[1]


# What is answered


def check_answer(answer, target):
    """SSDP-10, SSDP-11, SSDP-18"""
    assert answer["st"] == target
    assert re.fullmatch(r"uuid:[0-9a-f-]{36}::" + re.escape(target), answer["usn"])
    assert answer["source"][1] == 1900
    assert answer["ext"] == "" and re.search(r"^\S+/\S+ UPnP/1\.1 \S+/", answer["server"])
    assert int(re.search(r"max-age\s*=\s*(\d+)", answer["cache-control"])[1]) >= 1800
    assert 0 < int(answer["bootid.upnp.org"]) < 2**31
    assert 0 <= int(answer["configid.upnp.org"]) < 2**24
    assert "GMT" in answer["date"] and "searchport.upnp.org" not in answer
    assert answer["delay_s"] < SOON_S, "CL-9"
    assert answer["size"] <= 512


@pytest.mark.parametrize("name", ["ipv4", "unicast", "link", "site", "unicast6",
                                  "unicast-link"])
def test_answers_by_each_way(lab, daemon, ways, name):
    """SSDP-1, 3, 7, 9, 10, 11, 12, CL-10: by every group, and without one"""
    for target, face in [(IGD1, "igd1"), (IGD2, "igd2"), (WANIP1, "igd1"),
                         (WANIP2, "igd2"), (V6FC1, "igd1"), ("upnp:rootdevice", "igd1")]:
        [answer] = ask(lab.lan1, target, ways[name], quiet_s=0.25)
        check_answer(answer, target)
        assert get_face(answer) == face
        address = "192.168.77.1" if name in ("ipv4", "unicast") else "[fd77::1]"
        assert answer["location"].startswith(f"http://{address}:49152/")


def test_search_for_all(lab, daemon, ways):
    """SSDP-8, SSDP-20, CL-9: version 1's set once, the gateway device first"""
    for name in ("ipv4", "link", "site"):
        answers = ask(lab.lan1, "ssdp:all", ways[name])
        types = [answer["st"] for answer in answers]
        uuids = [t for t in types if t.startswith("uuid:")]
        assert types[0] == IGD1
        assert sorted(set(types) - set(uuids)) == sorted([*TYPES1, "upnp:rootdevice"])
        assert len(types) == SET and len(set(uuids)) == 3
        assert {get_face(answer) for answer in answers} == {"igd1"}


def test_search_by_uuid(lab, daemon):
    """SSDP-8, SSDP-11: each root answers to its own name; two roots, six devices"""
    names = {}
    for target in (IGD1, IGD2, DEVICE + "WANDevice:1", DEVICE + "WANDevice:2",
                   DEVICE + "WANConnectionDevice:1", DEVICE + "WANConnectionDevice:2"):
        [answer] = search(lab.lan1, target, quiet_s=0.25)
        name = answer["usn"].partition("::")[0]
        [named] = search(lab.lan1, name, quiet_s=0.25)
        assert (named["st"], named["usn"]) == (name, name)
        assert named["location"] == answer["location"]
        names[name] = target
    assert len(names) == 6


@pytest.mark.parametrize("target", [
    DEVICE + "InternetGatewayDevice:3", DEVICE + "InternetGatewayDevice:0",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
    "urn:schemas-upnp-org:service:WANIPv6FirewallControl:2",
    "uuid:00000000-0000-0000-0000-000000000000", "upnp:rootdevice2", ""])
def test_search_for_what_we_are_not(lab, daemon, ways, target):
    """SSDP-9, SSDP-17"""
    assert search(lab.lan1, target, quiet_s=0.2) == []
    assert ask(lab.lan1, target, ways["link"], quiet_s=0.2) == []


def test_what_answers_is_in_the_description(lab, daemon):
    """SSDP-15, SSDP-17: the types and names of each root, and its configId"""
    for target, types in ((IGD1, TYPES1), (IGD2, TYPES2)):
        [answer] = search(lab.lan1, target)
        gateway = igd.Gateway(lab.lan1, answer["location"])
        assert gateway.root.get("configId") == answer["configid.upnp.org"]
        told = [x.text for kind in ("deviceType", "serviceType")
                for x in gateway.root.iter(igd.DEVICE + kind)]
        assert sorted(told) == sorted(types)
        [udn, *_] = [x.text for x in gateway.root.iter(igd.DEVICE + "UDN")]
        assert answer["usn"] == f"{udn}::{target}"


def test_lenient_search(lab, daemon):
    """SSDP-4, SSDP-5, CL-16: what real clients send, and MX of any kind"""
    texts = [b"M-SEARCH * HTTP/1.1\r\nhost:239.255.255.250:1900\r\nst:upnp:rootdevice\r\n"
             b'man:"ssdp:discover"\r\nmx:3\r\n\r\n\r\n',
             *[igd.pack_search("upnp:rootdevice", mx=mx)
               for mx in (None, 0, 120, "abc", -1)],
             igd.pack_search("upnp:rootdevice", man="ssdp:discover"),
             igd.pack_search("upnp:rootdevice", man=None)]
    for text in texts:
        with lab.lan1.udp() as sock:
            sock.sendto(text, igd.GROUP)
            assert b"ST: upnp:rootdevice\r\n" in sock.recvfrom(2048)[0]


def test_garbage(lab, daemon, ways):
    """SSDP-19: what is no search is ignored, whatever it is"""
    before = daemon.roles()
    good = igd.pack_search(IGD1)
    rubbish = [b"", b"\0" * 512, b"M-SEARCH", good.replace(b"\r\n", b""), b"A" * 65000,
               b"M-SEARCH * HTTP/1.1\r\nST: " + b"A" * 60000,
               good.replace(b"ssdp:discover", b"\0\0\0"), good.replace(b"M-", b"m-"),
               good.replace(b"M-SEARCH", b"NOTIFY").replace(b"ST:", b"NT:"),
               b"HTTP/1.1 200 OK\r\nST: " + IGD1.encode() + b"\r\n\r\n"]
    for to, source in (ways["unicast"], ways["unicast6"]):
        with igd.open_searcher(lab.lan1, to[0], source) as sock:
            for data in rubbish:
                sock.sendto(data, to)
            sock.sendto(good, to)
            sock.settimeout(5)
            answers = {sock.recvfrom(4096)[0]}
            with contextlib.suppress(TimeoutError):
                sock.settimeout(0.2)
                answers.add(sock.recvfrom(4096)[0])
            assert all(b"ST: " + IGD1.encode() in data for data in answers)
    assert daemon.roles() == before


# When it is answered


def test_soon_whatever_mx_says(lab, daemon, ways):
    """SSDP-6, CL-9: within 200 ms also at MX 5, with a delay by chance"""
    delays = []
    for name in ("ipv4", "link", "site"):
        for _ in range(8):
            [answer] = ask(lab.lan1, IGD1, ways[name], mx=5, quiet_s=0.3)
            delays.append(answer["delay_s"])
    assert max(delays) < SOON_S
    assert max(delays) - min(delays) > 0.005, "they are spread"


def test_strict(lab, keeper):
    """SSDP-4, SSDP-5, SSDP-6: ssdp-delay = strict: the rules of UDA 1.1 to the letter"""
    keeper.get("[global]\nssdp-delay = strict\n")
    delays = [search(lab.lan1, IGD1, mx=1, quiet_s=1.2)[0]["delay_s"] for _ in range(4)]
    assert max(delays) < 1.1 and max(delays) > 0.09, "0 to MX, not 80 ms"
    for options in ({"mx": None}, {"mx": "abc"}, {"man": None}):
        with lab.lan1.udp() as sock:
            sock.sendto(igd.pack_search(IGD1, **options), igd.GROUP)
            sock.sendto(igd.pack_search(IGD1, mx=None), ("192.168.77.1", 1900))
            assert IGD1.encode() in sock.recv(4096), "unicast needs neither"
            assert not select.select([sock], [], [], 0.3)[0]


# Two faces


@pytest.mark.parametrize("agent", [XBOX, WINDOWS, "FDSSDP"])
def test_consoles_hear_nothing_of_version_2(lab, daemon, ways, agent):
    """SSDP-20, IGD-6"""
    for name in ("unicast", "link"):
        types = {x["st"] for x in ask(lab.lan1, "ssdp:all", ways[name], agent=agent)}
        assert IGD1 in types and V6FC1 not in types and len(types) == SET - 1
        for target in (IGD2, WANIP2, V6FC1):
            assert ask(lab.lan1, target, ways[name], agent=agent, quiet_s=0.2) == []
        assert ask(lab.lan1, IGD1, ways[name], agent=agent, quiet_s=0.25)


def test_version_1_only(lab, keeper):
    """IGD-6: igd = 1"""
    keeper.get("[lan lan0]\nigd = 1\n[lan guest0]\nigd = 2\n")
    assert len(search(lab.lan1, IGD1)) == 1
    for target in (IGD2, WANIP2):
        assert search(lab.lan1, target, quiet_s=0.2) == []


def test_version_2_only(lab, keeper):
    """IGD-6, SSDP-9, CL-10: igd = 2 answers everything; versions as asked for"""
    keeper.get("[lan lan0]\nigd = 1\n[lan guest0]\nigd = 2\n")
    for target in (IGD1, IGD2, WANIP1, WANIP2, "upnp:rootdevice"):
        [answer] = search(lab.guest1, target, quiet_s=0.25)
        check_answer(answer, target)
        assert get_face(answer) == "igd2"
    types = [x["st"] for x in search(lab.guest1, "ssdp:all")]
    assert types[0] == IGD2 and len(types) == SET and set(TYPES2) < set(types)


# Addresses


def test_each_lan_hears_its_own_address(lab, daemon):
    """SSDP-12: two LANs, both families"""
    for to, address in ((igd.GROUP, "192.168.78.1"), (GROUP6_LINK, "[fd78::1]"),
                        (GROUP6_SITE, "[fd78::1]")):
        source = link_local(lab.guest1, "eth0") if to == GROUP6_LINK else None
        [answer] = search(lab.guest1, IGD1, to=to, source=source)
        assert answer["location"].startswith(f"http://{address}:49152/")


@contextlib.contextmanager
def addresses(lab, host, *words):
    """More addresses on an interface, for a while."""
    with contextlib.ExitStack() as stack:
        for address in words[1:]:
            lab.hosts[host].ip("address", "add", address, "dev", words[0],
                               *["nodad"] * (":" in address))
            stack.callback(lab.hosts[host].ip, "address", "del", address, "dev", words[0])
        yield


@contextlib.contextmanager
def without(lab, interface, address):
    """An address of the gateway less, for a while."""
    lab.gw.ip("address", "del", address, "dev", interface)
    try:
        yield
    finally:
        lab.gw.ip("address", "replace", address, "dev", interface, "nodad")


def wait_location(host, address, to=igd.GROUP, source=None):
    """Until that is what a search is told."""
    def told():
        found = search(host, IGD1, to=to, source=source, quiet_s=0.25)
        return found and found[0]["location"].startswith(f"http://{address}:49152/")
    wait_for(told, f"{address} in LOCATION")


def test_the_subnet_decides(lab, daemon):
    """SSDP-12: of several addresses, that of the asker's subnet"""
    with addresses(lab, "gw", "lan0", "10.77.0.1/24"), \
            addresses(lab, "lan1", "eth0", "10.77.0.2/24"):
        wait_location(lab.lan1, "10.77.0.1", source="10.77.0.2")
        wait_location(lab.lan1, "192.168.77.1")
    wait_location(lab.lan1, "192.168.77.1")


def test_a_global_address_comes_first(lab, daemon, ways):
    """SSDP-12, CL-21: who searches by the link calls from its global address then"""
    with addresses(lab, "gw", "lan0", "2001:db8:77::1/64"), \
            addresses(lab, "lan1", "eth0", "2001:db8:77::2/64"):
        wait_location(lab.lan1, "[2001:db8:77::1]", *ways["link"])
        wait_location(lab.lan1, "[2001:db8:77::1]", GROUP6_SITE, "2001:db8:77::2")
        wait_location(lab.lan1, "[fd77::1]", GROUP6_SITE)
    wait_location(lab.lan1, "[fd77::1]", *ways["link"])


def test_lan_without_global_address(lab, own_daemon):
    """SSDP-12: a link-local address alone serves those of the link, and is no error"""
    lab.gw.ip("address", "del", "fd78::1/64", "dev", "guest0")
    try:
        daemon = own_daemon.start()
        local = link_local(lab.gw, "guest0")
        own = link_local(lab.guest1, "eth0")
        [answer] = search(lab.guest1, IGD1, to=GROUP6_LINK, source=own)
        assert answer["location"].startswith(f"http://[{local}]:49152/")
        assert "%" not in answer["location"]
        lab.gw.write_sysctl("net/ipv6/conf/guest0/disable_ipv6", 1)
        wait_for(lambda: not search(lab.guest1, IGD1, to=GROUP6_LINK, source=own,
                                    quiet_s=0.25), "IPv6 to be gone")
        assert search(lab.guest1, IGD1)[0]["location"].startswith("http://192.168.78.1:")
        assert "cannot open" not in daemon.log()
        daemon.stop()
        daemon.start()  # READY: every socket that is wanted is open
        assert search(lab.guest1, IGD1) and "cannot open" not in daemon.log()
    finally:
        lab.gw.write_sysctl("net/ipv6/conf/guest0/disable_ipv6", 0)
        lab.gw.ip("address", "replace", "fd78::1/64", "dev", "guest0")


# Who hears nothing


def test_nothing_towards_the_wan(lab, daemon):
    """SSDP-2, SSDP-18: neither family, no group, no address of ours"""
    local = link_local(lab.inet1, "eth0")
    for to, source in ((igd.GROUP, None), ((Lab.WAN_ADDRESS, 1900), None),
                       (GROUP6_LINK, local), (GROUP6_SITE, None),
                       ((Lab.WAN_ADDRESS6, 1900), None), (("fd77::1", 1900), None),
                       ((link_local(lab.gw, "wan0"), 1900), local)):
        assert search(lab.inet1, "ssdp:all", to=to, source=source, quiet_s=0.25) == []
    lab.inet1.ip("route", "replace", "192.168.77.0/24", "via", Lab.WAN_ADDRESS)
    try:
        assert search(lab.inet1, IGD1, to=("192.168.77.1", 1900), quiet_s=0.25) == []
    finally:
        lab.inet1.ip("route", "del", "192.168.77.0/24")


def test_nothing_leaks_between_lans(lab, daemon):
    """SSDP-2: another LAN's address is not asked here, nor for another's host"""
    for to in (("192.168.77.1", 1900), ("fd77::1", 1900)):
        assert search(lab.guest1, IGD1, to=to, quiet_s=0.25) == []
    with lab.lan2.udp() as lan2, lab.guest1.udp() as guest, \
            lab.lan2.udp(family=socket.AF_INET6) as lan2_6:
        lan2_6_port, port = lan2_6.getsockname()[1], lan2.getsockname()[1]
        # guest1 claims to be lan2, and lan1 to be guest1 and a host of the internet
        lab.guest1.send_forged((lab.lan2.ipv4, port), ("192.168.78.1", 1900),
                               igd.pack_search(IGD1))
        send_forged6(lab.guest1, (lab.lan2.ipv6, lan2_6_port), ("fd78::1", 1900),
                     igd.pack_search(IGD1))
        lab.lan1.send_forged((lab.guest1.ipv4, guest.getsockname()[1]),
                             ("192.168.77.1", 1900), igd.pack_search(IGD1))
        with lab.inet1.udp() as inet:
            lab.lan1.send_forged((lab.inet1.ipv4, inet.getsockname()[1]),
                                 ("192.168.77.1", 1900), igd.pack_search(IGD1))
            assert search(lab.lan2, IGD1) and search(lab.guest1, IGD1), "it is served"
            assert not select.select([lan2, lan2_6, guest, inet], [], [], 0.2)[0]


def test_dead_neighbours(lab, daemon):
    """SSDP-18: searches from addresses that nobody has keep nobody from its answer"""
    text = igd.pack_search("ssdp:all")
    for network in range(4):
        for number in range(200):
            lab.lan1.send_forged((f"192.168.77.{20 + number}", 4000), igd.GROUP, text)
            send_forged6(lab.lan1, (f"fd77::{network}:{number:x}", 4000),
                         ("fd77::1", 1900), text)
        for to in (igd.GROUP, GROUP6_SITE):
            # With what it waits for more, it asks each once in a second.
            [answer] = search(lab.lan2, IGD1, to=to, quiet_s=0.55)
            assert answer["delay_s"] < SOON_S


@contextlib.contextmanager
def repeat(function, pause_s):
    """Call it again and again beside the block."""
    end = threading.Event()

    def go_on():
        while not end.wait(pause_s):
            function()
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_host_of_many_addresses(lab, daemon):
    """SSDP-18: one host that asks from 300 addresses keeps nobody from its answer"""
    packets = [pack_udp6((f"fd77::a:{number:x}", 4000), ("fd77::1", 1900),
                         igd.pack_search(IGD1)) for number in range(300)]
    some = itertools.cycle([packets[i:i + 20] for i in range(0, len(packets), 20)])
    with repeat(lambda: send_packets6(lab.lan1, "fd77::1", next(some)), 0.002):
        for number in range(6):
            with addresses(lab, "lan2", "eth0", f"fd77::b:{number}/64"):
                for source in (f"fd77::b:{number}", None):  # a new host, a known one
                    [answer] = search(lab.lan2, IGD1, to=GROUP6_SITE, source=source,
                                      quiet_s=0.55)
                    assert answer["delay_s"] < SOON_S


def test_flood(lab, keeper):
    """SSDP-18: one host gets what is reasonable, and costs no other host its answer"""
    keeper.get(fresh=True)
    with lab.lan1.udp() as sock:
        for _ in range(300):
            sock.sendto(igd.pack_search("ssdp:all"), ("192.168.77.1", 1900))
        [answer] = search(lab.lan2, IGD1)
        assert answer["delay_s"] < SOON_S
        assert SET <= len(collect(sock, 0.3)) <= 200


def test_control_point_on_the_gateway(lab, daemon, ways):
    """SSDP-1: it has port 1900 too and hears the groups; what is asked of us comes to us"""
    with lab.gw.open_socket() as other, lab.gw.open_socket(socket.AF_INET6) as other6:
        for sock in (other, other6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", 1900))
        other.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                         socket.inet_aton(igd.GROUP[0]) + socket.inet_aton("192.168.77.1"))
        for name in ("ipv4", "unicast", "link", "site", "unicast6"):
            assert len(ask(lab.lan1, IGD1, ways[name], quiet_s=0.25)) == 1
        heard = collect(other, 0.2, count=1)
        assert heard and heard[0].data == igd.pack_search(IGD1)


# Announcements


class Ear:
    """What a host hears of both families' groups: (family, headers, hops)."""

    def __init__(self, host):
        self.socks = {"ipv4": host.capture(*igd.GROUP),
                      "link": capture6(host, *GROUP6_LINK),
                      "site": capture6(host, *GROUP6_SITE)}
        with host.inside():
            index = socket.if_nametoindex(host.interface)
        for name, group in (("link", GROUP6_LINK), ("site", GROUP6_SITE)):
            self.socks[name].setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                socket.inet_pton(socket.AF_INET6, group[0])
                + index.to_bytes(4, "little"))
            self.socks[name].setsockopt(socket.IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1)
        self.socks["ipv4"].setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        self.heard = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in self.socks.values():
            sock.close()

    def listen(self):
        for name, sock in self.socks.items():
            while select.select([sock], [], [], 0)[0]:
                data, ancillary, _, source = sock.recvmsg(4096, 512)
                first, headers = igd.parse_headers(data)
                if first != "NOTIFY * HTTP/1.1":
                    continue
                hops = [int.from_bytes(x[2][:4], "little") for x in ancillary
                        if x[1] in (IP_TTL, IPV6_HOPLIMIT)]
                self.heard.append((name, headers, hops[0], source))
        return self.heard

    def of(self, name, kind):
        return [x for x in self.listen() if x[0] == name and x[1]["nts"] == kind]

    def wait(self, kind, count, names=("ipv4", "link", "site")):
        """Until `count` sets of both roots came to each of the groups."""
        wait_for(lambda: all(len(self.of(name, kind)) >= count * 2 * SET
                             for name in names), f"{count} sets of {kind}")

    def clear(self):
        for sock in self.socks.values():
            drain(sock)
        self.heard.clear()


def check_notification(name, headers, hops, source):
    """SSDP-10, SSDP-11, SSDP-12, SSDP-13, SSDP-16"""
    assert headers["host"].lower() == {
        "ipv4": "239.255.255.250:1900", "link": "[ff02::c]:1900",
        "site": "[ff05::c]:1900"}[name]
    assert hops == {"ipv4": 2, "link": 1, "site": 2}[name]
    assert source[1] == 1900
    expected = headers["nt"] if headers["nt"].startswith("uuid:") \
        else headers["usn"].partition("::")[0] + "::" + headers["nt"]
    assert headers["usn"] == expected
    if headers["nts"] == "ssdp:alive":
        address = "192.168.77.1" if name == "ipv4" else "[fd77::1]"
        assert headers["location"].startswith(f"http://{address}:49152/")
        assert headers["cache-control"].startswith("max-age=") and headers["server"]
    if name != "ipv4":
        assert headers["01-nls"] == headers["bootid.upnp.org"]
        assert headers["opt"] == '"http://schemas.upnp.org/upnp/1/0/"; ns=01'


def get_ids(heard):
    """BOOTID, and the names and CONFIGIDs of what was heard."""
    boots = {x[1]["bootid.upnp.org"] for x in heard}
    return boots, {(x[1]["usn"], x[1]["configid.upnp.org"]) for x in heard}


def test_alive_and_byebye(lab, own_daemon):
    """SSDP-1, 11, 13, 14, 15, 16: over two runs, in every group, and not on the WAN"""
    with Ear(lab.lan1) as ear, Ear(lab.inet1) as wan, Ear(lab.guest1) as guest:
        daemon = own_daemon.start()
        ear.wait("ssdp:alive", 2)
        for name in ear.socks:
            heard = [x for x in ear.listen() if x[0] == name]
            kinds = [x[1]["nts"] for x in heard]
            assert kinds == sorted(kinds, reverse=True), "byebye before the first alive"
            assert len(heard) == 4 * 2 * SET, "each set twice"
            assert len({x[1]["usn"] for x in heard}) == 2 * SET
        for heard in ear.listen():
            check_notification(*heard)
        [boot], names = get_ids(ear.listen())
        assert {x[1]["nt"] for x in ear.listen()} >= {*TYPES1, *TYPES2, "upnp:rootdevice"}
        ear.clear()
        daemon.stop()
        ear.wait("ssdp:byebye", 2)
        assert get_ids(ear.listen()) == ({boot}, names)
        ear.clear()
        daemon.start()
        ear.wait("ssdp:alive", 2)
        [second], again = get_ids(ear.listen())
        assert int(second) > int(boot) and again == names
        assert wan.listen() == []
        assert {x[1]["location"].rpartition(":")[0] for x in guest.listen()
                if x[1]["nts"] == "ssdp:alive"} == {"http://192.168.78.1", "http://[fd78::1]"}


def get_boot(heard, kind):
    """The one BOOTID of what was heard of that kind."""
    [boot] = {int(x[1]["bootid.upnp.org"]) for x in heard if x[1]["nts"] == kind}
    return boot


def wait_rejoin(ear, names, address):
    """The BOOTID of the alive set that follows byebye, in these groups."""
    wait_for(lambda: all(any(address in x[1]["location"] for x in ear.of(name, "ssdp:alive"))
                         for name in names), "the new one")
    for name in names:
        kinds = [x[1]["nts"] for x in ear.listen() if x[0] == name]
        assert kinds.index("ssdp:byebye") < kinds.index("ssdp:alive")
    return get_boot([x for x in ear.listen() if x[0] in names], "ssdp:alive")


def test_another_address(lab, own_daemon, ways):
    """SSDP-14, 15: byebye, alive and a new BOOTID in the family that lost the one it had;
    the other hears of BOOTID alone"""
    with Ear(lab.lan1) as ear:
        daemon = own_daemon.start()
        ear.wait("ssdp:alive", 2)
        first = get_boot(ear.listen(), "ssdp:alive")
        ear.clear()
        with without(lab, "lan0", "fd77::1/64"), addresses(lab, "gw", "lan0", "fd77::9/64"):
            second = wait_rejoin(ear, ("link", "site"), "[fd77::9]")
            assert second > first
            wait_location(lab.lan1, "[fd77::9]", *ways["link"])
            assert {x[1]["nts"] for x in ear.listen() if x[0] == "ipv4"} == {"ssdp:update"}
            heard = ear.of("ipv4", "ssdp:update")
            assert int(heard[0][1]["bootid.upnp.org"]) == first
            assert int(heard[-1][1]["nextbootid.upnp.org"]) == second
            assert len({x[1]["usn"] for x in heard}) == 2 * SET
            [answer] = search(lab.lan1, IGD1)
            assert int(answer["bootid.upnp.org"]) == second, "both families alike"
            ear.clear()
        wait_location(lab.lan1, "[fd77::1]", *ways["link"])
        ear.wait("ssdp:alive", 1, ("link", "site"))
        third = get_boot(ear.of("site", "ssdp:alive")[-SET:], "ssdp:alive")
        assert third > second
        ear.clear()
        os.kill(daemon.roles()["upnp"], signal.SIGKILL)
        ear.wait("ssdp:alive", 1)
        assert get_boot(ear.listen(), "ssdp:alive") > third


def test_address_gained(lab, own_daemon):
    """SSDP-14, 15: nobody is told to forget what is still there"""
    with Ear(lab.lan1) as ear, addresses(lab, "lan1", "eth0", "10.77.0.2/24"):
        own_daemon.start()
        ear.wait("ssdp:alive", 2)
        boot = get_boot(ear.listen(), "ssdp:alive")
        ear.clear()
        with addresses(lab, "gw", "lan0", "10.77.0.1/24"):
            wait_location(lab.lan1, "10.77.0.1", source="10.77.0.2")
            assert ear.listen() == [], "LOCATION stays"
            with addresses(lab, "gw", "lan0", "2001:db8:77::1/64"):
                ear.wait("ssdp:alive", 2, ("link", "site"))
                assert get_boot(ear.listen(), "ssdp:alive") == boot
                assert {x[1]["nts"] for x in ear.listen()} == {"ssdp:alive"}
                assert {x[0] for x in ear.listen()} == {"link", "site"}
                assert all("[2001:db8:77::1]" in x[1]["location"] for x in ear.listen())
                ear.clear()
            assert wait_rejoin(ear, ("link", "site"), "[fd77::1]") > boot
            ear.clear()
        assert wait_rejoin(ear, ("ipv4",), "192.168.77.1") > boot


def test_byebye_for_an_earlier_run(lab, own_daemon):
    """SSDP-14: for both roots, though this run has one"""
    with Ear(lab.lan1) as ear:
        daemon = own_daemon.start()
        ear.wait("ssdp:alive", 2)
        daemon.kill()
        ear.clear()
        daemon.configure("[lan lan0]\nigd = 1\n")
        daemon.start()
        wait_for(lambda: all(len(ear.of(name, "ssdp:alive")) >= 2 * SET
                             for name in ear.socks), "the sets of one root")
        for name in ear.socks:
            assert {x[1]["nt"] for x in ear.of(name, "ssdp:byebye")} >= {*TYPES1, *TYPES2}
            assert IGD2 not in {x[1]["nt"] for x in ear.of(name, "ssdp:alive")}


def test_names_are_stable(lab, own_daemon):
    """SSDP-11, HTTP-7"""
    daemon = own_daemon.start()
    before = {(x["usn"], x["location"]) for x in search(lab.lan1, "ssdp:all")}
    daemon.stop()
    daemon.start()
    assert {(x["usn"], x["location"]) for x in search(lab.lan1, "ssdp:all")} == before


# A real control point


@pytest.mark.parametrize("target, face", [
    (IGD1, "igd1"), (IGD2, "igd2"), (WANIP1, "igd1"), (WANIP2, "igd2")])
def test_gssdp(lab, daemon, target, face):
    """SSDP-9, SSDP-20: gssdp-discover of gupnp-tools finds both roots"""
    done = lab.lan1.run(["gssdp-discover", "-i", "eth0", "-t", target, "-n", "2"])
    found = {(usn.partition("::")[2], location) for usn, location in
             re.findall(r"USN:\s*(\S+)\s+Location:\s*(\S+)", done.stdout)}
    assert (target, f"http://192.168.77.1:49152/{face}/root.xml") in found, done.stdout
    # A notification of version 2 that comes meanwhile is one for version 1, too.
    assert {name for name, _ in found} <= {target, target[:-1] + "2"}


def test_description_by_ipv6(lab, daemon, ways):
    """SSDP-12: what LOCATION names can be fetched, over IPv6 as well"""
    for name in ("link", "site"):
        [answer] = ask(lab.lan1, IGD1, ways[name])
        status, _, data = igd.request(lab.lan1, answer["location"])
        assert status == 200
        assert xml.etree.ElementTree.fromstring(data).tag == igd.DEVICE + "root"
