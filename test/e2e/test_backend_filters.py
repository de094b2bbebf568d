# SPDX-License-Identifier: GPL-2.0-or-later
"""Filters of remote peers, and IPv6 pinholes, in the nftables backend: by packets."""

import contextlib
import errno
import ipaddress
import itertools
import json
import random
import select
import socket
import struct

import pytest

from backend import (LAN2, OLD_KERNEL, QUIET_MS, WAN, ToolError, count_elements, flows,
                     pinhole, rule, serve_tools, stripped)
from lab import wait_for

PORT = 4444
# Addresses of the hosts inet1 and inet2, and a network that holds both and a third one.
PEERS = {4: ("203.0.113.2", "203.0.113.3", "203.0.113.0/24"),
         6: ("2001:db8:1::2", "2001:db8:1::3", "2001:db8:1::/64")}


@pytest.fixture
def tools(lab):
    """tools(...) -> Tool; all end with the test, and their table with them."""
    yield from serve_tools(lab)


@pytest.fixture
def tool(tools):
    started = tools().start()
    assert started.sync() == (0, 0)
    return started


def make(version, protocol, filters=(), **more):
    """A rule for port 6000 of lan1: a mapping of 5000, or a pinhole."""
    one, two, network = PEERS[version]
    length = 128 if version == 6 else 32
    words = {"one": f"{one}/{length}", "two": f"{two}/{length}", "all": network,
             "any": "::/0" if version == 6 else "0.0.0.0/0"}
    filters = ["@".join([words[word.split("@")[0]], word.split("@")[1]]) for word in filters]
    return (rule if version == 4 else pinhole)(protocol=protocol, filters=filters, **more)


def target(version):
    return (WAN, 5000) if version == 4 else ("fd77::2", 6000)


def family(version):
    return socket.AF_INET if version == 4 else socket.AF_INET6


def close_at_once(connection):
    """By a reset, so that the port is free for the next one."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def tcp_from(lab, host, port, version):
    """True when a connection from this port of the host reaches lan1."""
    with lab.lan1.listen(6000, family(version)):
        try:
            client = host.connect(target(version), 0.3, port)
        except OSError:
            return False
        close_at_once(client)
        return True


def udp_from(lab, host, port, version):
    with host.udp(port, family=family(version)) as source:
        return bool(lab.udp_arrives(host, target(version), lab.lan1, 6000, source=source))


def who(lab, protocol, version):
    """Which of four first packets get in: of each host, from any port and from PORT."""
    arrives = udp_from if protocol == "udp" else tcp_from
    # What an earlier packet from the same port left would decide for the next one.
    lab.gw.run(["conntrack", "-F"])
    return "".join(letter if arrives(lab, host, port, version) else "-"
                   for letter, host, port in (("a", lab.inet1, 0), ("A", lab.inet1, PORT),
                                              ("b", lab.inet2, 0), ("B", lab.inet2, PORT)))


# Filters one after the other, and who gets in by them.
STATES = ((["one@0"], "aA--"),
          (["one@0", f"two@{PORT}"], "aA-B"),
          (["all@0"], "aAbB"),
          ([f"all@{PORT}", "two@0"], "-AbB"),
          ([f"two@{PORT}", f"one@{PORT + 1}"], "---B"),
          ([], "aAbB"),
          # One port of everybody's is not everybody.
          ([f"any@{PORT}"], "-A-B"),
          ([f"any@{PORT}", "one@0"], "aA-B"),
          (["two@0"], "--bB"),
          ([f"all@{PORT}"], "-A-B"))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_replace_changes_who_gets_in(lab, tool, protocol, version):
    before = make(version, protocol, STATES[-1][0])
    tool.apply("add " + before)
    for filters, expected in STATES:
        after = make(version, protocol, filters)
        tool.apply(f"replace {before} > {after}")
        assert who(lab, protocol, version) == expected, filters
        tool.apply(f"replace {after} > {after}")
        assert who(lab, protocol, version) == expected, f"{filters}, renewed"
        assert len(tool.dump()) == 1
        assert sorted(tool.dump()[0].split()[6:]) == sorted(after.split()[7:])
        before = after
    tool.apply("delete " + before)
    assert who(lab, protocol, version) == "----" and tool.dump() == []


@pytest.mark.nftables("strangers in its table")
@pytest.mark.parametrize("how", ["kill", "flush"])
def test_filters_outlive_restart_and_reload(lab, tool, tools, how):
    rules = [make(version, protocol, [f"all@{PORT}", "two@0"])
             for version in (4, 6) for protocol in ("udp", "tcp")]
    tool.apply(*("add " + text for text in rules))
    if how == "kill":
        tool.stop("kill")
        tool = tools().start()
    else:
        lab.gw.nft("delete table inet portreeve")
        assert tool.disturbed() == 1
    assert (tool.sync(*rules) == (0, 0)) == (how == "kill")
    assert tool.sync(*rules) == (0, 0)
    assert {who(lab, protocol, version) for version in (4, 6)
            for protocol in ("udp", "tcp")} == {"-AbB"}


@pytest.mark.parametrize("options", ["", "keep-flows"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_replace_ends_flows_of_those_it_shuts_out(lab, tools, protocol, version, options):
    tool = tools().start(options)
    before = make(version, protocol)
    tool.sync(before)
    hosts = {"a": (lab.inet1, 0), "A": (lab.inet1, PORT), "b": (lab.inet2, 0),
             "B": (lab.inet2, PORT)}
    sources, names = {}, {}

    def alive():
        """Those whose flow from the beginning is there; the id tells it from a new one."""
        listed = flows(lab, "-o", "id", "-f", f"ipv{version}", "-p", protocol)
        return {name for name in names if names[name] in listed}

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            lab.lan1.listen(6000, family(version)) if protocol == "tcp"
            else lab.lan1.udp(6000, family=family(version)))
        for name, (host, port) in hosts.items():
            if protocol == "tcp":
                sources[name] = host.connect(target(version), port=port)
                stack.callback(close_at_once, sources[name])
                stack.enter_context(server.accept()[0])
            else:
                sources[name] = stack.enter_context(host.udp(port, family=family(version)))
                assert lab.udp_arrives(host, target(version), lab.lan1, 6000, sink=server,
                                       source=sources[name])
            listed = flows(lab, "-o", "id", "-f", f"ipv{version}", "-p", protocol,
                           "--src", host.address(family(version)), "--orig-port-src",
                           str(sources[name].getsockname()[1]))
            names[name] = listed[listed.index("id="):].split()[0]
        assert alive() == set("aAbB")
        for filters, left in ((["all@0"], "aAbB"), (["two@0", f"one@{PORT}"], "AbB"),
                              ([f"all@{PORT}", "two@0"], "AbB"), ([f"all@{PORT}"], "AB"),
                              (["one@0"], "A"), ([], "A"), (["two@0"], "")):
            after = make(version, protocol, filters)
            tool.apply(f"replace {before} > {after}")
            before = after
            if options:
                assert tool.disturbed(QUIET_MS) == 0 and alive() == set("aAbB")
                continue
            tool.settle(lambda left=left: alive() <= set(left), f"flows but {left} to end")
            assert tool.disturbed(QUIET_MS) == 0 and alive() == set(left), filters


@pytest.mark.parametrize("prefix", [(), OLD_KERNEL], ids=["update", "delete-and-add"])
@pytest.mark.parametrize("version", [4, 6])
def test_replace_of_filters_under_traffic(lab, tools, prefix, version):
    """Allowed by every one of the rules: none is lost. By none: none gets in."""
    tool = tools(prefix=prefix).start()
    cycle = [make(version, "udp", filters) for filters in (
        ["one@0"], ["one@0", f"two@{PORT}"], [f"all@{PORT}", "one@0"], ["one@0"],
        [f"all@{PORT}", "one@0", f"two@{PORT + 1}"], [f"two@{PORT}", "one@0"])]
    tool.sync(cycle[-1])
    count, window, arrived, asked = 900, 50, set(), 0
    with lab.lan1.udp(6000, family=family(version)) as sink:
        for number in range(count):
            if number % 3 == 0:
                tool.send(f"replace {cycle[asked - 1]} > {cycle[asked]}", "apply")
                asked = (asked + 1) % len(cycle)
            # Each datagram is a flow of its own, so each looks the filters up.
            for host, text in ((lab.inet1, b"%d" % number), (lab.inet2, b"no")):
                with host.udp(family=family(version)) as source:
                    source.sendto(text, target(version))
            while len(arrived) <= number - window:
                arrived.add(sink.recv(100))
        for _ in range(2 * (count // 3)):
            tool.read()
        while len(arrived) < count and select.select([sink], [], [], 2)[0]:
            arrived.add(sink.recv(100))
    assert arrived == {b"%d" % number for number in range(count)}


# What is there, and what another rule of the same port may not or may have.
CLASHES = (("one@0", ["one@0", "one@80", "all@0", "all@80"], ["two@0", "two@80"]),
           ("all@80", ["one@80", "all@80", "all@0", "one@0"], ["one@81", "all@81"]),
           ("all@0", ["one@0", "one@80", "all@443"], []),
           ("two@80", ["two@80", "two@0", "all@80", "all@0"],
            ["one@80", "one@0", "two@81", "all@81"]))


@pytest.mark.parametrize("version", [4, 6])
def test_no_peer_by_two_rules(lab, tool, version):
    # The second is another host's, where there is translation: what clashes is the port.
    other = {"host": LAN2} if version == 4 else {}
    for there, refused, taken in CLASHES:
        first = make(version, "udp", [there])
        open_to_all = make(version, "udp")
        tool.apply("add " + first, "add " + open_to_all)
        for more in refused:
            second = make(version, "udp", [f"two@{PORT}" if "two" not in there else
                                           f"one@{PORT}", more], **other)
            for changes in (["add " + second], ["delete " + first, "add " + first,
                                                "add " + second],
                            ["add " + rule("tcp"), f"replace {first} > {first}",
                             "add " + second],
                            ["delete " + first, "add " + second, "add " + first]):
                with pytest.raises(ToolError, match="^EEXIST$"):
                    tool.apply(*changes)
            assert tool.dump() == sorted([stripped(first), stripped(open_to_all)])
            tool.apply("delete " + first, "add " + second)
            with pytest.raises(ToolError, match="^EEXIST$"):
                tool.apply("add " + first)
            tool.apply("delete " + second, "add " + first)
        for more in taken:
            second = make(version, "udp", [more], **other)
            tool.apply("add " + second)
            with pytest.raises(ToolError, match="^EEXIST$"):
                tool.apply(f"replace {second} > {first}")
            tool.apply("delete " + second)
        tool.apply("delete " + first, "delete " + open_to_all)
    assert tool.dump() == []


@pytest.mark.parametrize("version", [4, 6])
def test_changes_of_one_batch_that_depend_on_each_other(lab, tool, version):
    """What a REPLACE of filters gives up is free for the next change."""
    everybody, one, two = (make(version, "udp", f) for f in ([], ["one@0"], ["two@0"]))
    other = {"host": LAN2} if version == 4 else {}
    tool.apply("add " + everybody)
    tool.apply(f"replace {everybody} > {one}", "add " + make(version, "udp", **other))
    assert tool.dump() == sorted([stripped(one), stripped(make(version, "udp", **other))])
    tool.apply(f"replace {one} > {two}", "add " + make(version, "udp", ["one@0"], **other),
               "delete " + make(version, "udp", **other))
    # Away and back, by way of each kind of set.
    all_of_them, late = make(version, "udp", ["all@0"], **other), [f"all@{PORT}", "one@0"]
    tool.apply("delete " + two,
               f"replace {make(version, 'udp', ['one@0'], **other)} > {all_of_them}",
               f"replace {all_of_them} > {make(version, 'udp', late, **other)}",
               f"replace {make(version, 'udp', late, **other)} > {everybody}",
               f"replace {everybody} > {one}", f"replace {one} > {everybody}",
               f"replace {everybody} > {one}")
    assert tool.dump() == [stripped(one)] and who(lab, "udp", version) == "aA--"
    tool.apply("delete " + one)
    assert count_elements(lab) == 0


@pytest.mark.nftables("the kernel ends leases by itself")
def test_clashes_are_known_after_a_restart_and_end_in_time(lab, tool, tools):
    first, wide = make(4, "udp", ["one@0"]), make(4, "udp", ["all@0"], host=LAN2)
    short = make(6, "udp", ["one@0"], timeout=300)
    tool.apply("add " + first, "add " + short)
    wait_for(lambda: count_elements(lab) == 2, "the pinhole to time out")
    tool.apply("add " + make(6, "udp", ["all@0"]))
    tool.stop("kill")
    after = tools().start()
    assert after.sync(first) == (0, 1)
    for _ in range(2):
        with pytest.raises(ToolError, match="^EEXIST$"):
            after.apply("add " + wide)
    after.apply("delete " + first, "add " + wide)
    after.sync()
    after.apply("add " + first)


def read_set(lab, name):
    """Elements as lists of fields, each (first, last) as numbers."""
    listed = json.loads(lab.gw.run(["nft", "-j", "list", "table", "inet", "portreeve"]).stdout)
    found = [o[kind] for o in listed["nftables"] for kind in ("map", "set")
             if kind in o and o[kind]["name"] == name]
    return [[read_field(f) for f in read_key(e)] for e in found[0].get("elem", [])]


def read_key(element):
    while not isinstance(element, dict) or "concat" not in element:
        element = element[0] if isinstance(element, list) else element["elem"]["val"]
    return element["concat"]


def read_number(value):
    text = str(value)
    return int(ipaddress.ip_address(text)) if "." in text or ":" in text else \
        int(text) if text.isdigit() else text


def read_field(value):
    if isinstance(value, dict) and "range" in value:
        return tuple(map(read_number, value["range"]))
    if isinstance(value, dict):
        network = ipaddress.ip_network("{addr}/{len}".format(**value["prefix"]))
        return int(network[0]), int(network[-1])
    return read_number(value), read_number(value)


def random_filters(pick, version):
    """Up to 16, nested deeply, that lead to boxes of every kind."""
    size, base = (32, "203.0.113.0") if version == 4 else (128, "2001:db8:1::")
    lengths = [size, size, size - 1, size - 2, size - 5, size - 8]

    def one():
        address = int(ipaddress.ip_address(base)) + pick.choice([2, 3, 4, 5, 9, 77])
        length = pick.choice(lengths)
        network = ipaddress.ip_network(
            (address >> size - length << size - length, length))
        return network, pick.choice([0, 0, 1, 2, 80, 81, 65535])

    return [one() for _ in range(pick.randint(1, 16))]


def largest_filters(version):
    """Half of them with a port, all around the other half: as many boxes as can be."""
    size, base = (32, "203.0.113.0") if version == 4 else (128, "2001:db8:1::")
    first = int(ipaddress.ip_address(base))
    return [(ipaddress.ip_network((first, size - 8)), 10 * n + 10) for n in range(8)] + \
        [(ipaddress.ip_network((first + n, size)), 0) for n in range(8)]


def admits(filters, address, port):
    return any(int(n[0]) <= address <= int(n[-1]) and p in (0, port) for n, p in filters)


def check_boxes(filters, boxes):
    """At every edge, and beside it: by as many elements as the filters say, 1 or 0."""
    edges = {int(a) + d for n, _ in filters for a in (n[0], n[-1]) for d in (-1, 0, 1)}
    ports = {max(0, min(65535, p + d)) for _, p in filters for d in (-1, 0, 1)} | {65535}
    for address, port in itertools.product(edges, ports):
        found = sum(a[0] <= address <= a[1] and p[0] <= port <= p[1] for a, p in boxes)
        assert found == admits(filters, address, port), (filters, hex(address), port)


def reduced(filters):
    """Without those that others cover."""
    kept = set(filters)
    return {f for f in kept if not any(
        g != f and f[0].subnet_of(g[0]) and g[1] in (0, f[1]) for g in kept)}


@pytest.mark.nftables("its sets")
@pytest.mark.parametrize("version", [4, 6])
def test_every_list_of_filters_can_be_said(lab, tool, version):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    pick, before = random.Random(seed), None
    # (nft cannot list the six fields of count4_from; dump() reads them.)
    name, at = ("dnat4", 2) if version == 4 else ("pinhole6", 3)
    largest = largest_filters(version)
    for filters in [largest] + [random_filters(pick, version) for _ in range(40)]:
        pick.shuffle(filters)
        words = [f"{n}@{p}" for n, p in filters]
        after = (rule if version == 4 else pinhole)(filters=words)
        tool.apply(f"replace {before} > {after}" if before else "add " + after)
        before = after
        peers = [(key[at], (0, 65535)) for key in read_set(lab, name + "_peer")]
        ranges = [tuple(key[at:]) for key in read_set(lab, name + "_from")]
        check_boxes(filters, peers + ranges)
        assert len(peers) + len(ranges) == 80 if filters is largest else \
            len(peers) + len(ranges) <= 80
        assert len(peers) == sum(
            n.num_addresses == 1 and p == 0 and not any(
                q > 0 and n.subnet_of(m) for m, q in reduced(filters))
            for n, p in reduced(filters)), "one address and any port is no interval"
        said = [word.split("@") for word in tool.dump()[0].split()[6:]]
        assert {(ipaddress.ip_network(n), int(p)) for n, p in said} == reduced(filters)
        assert len(tool.dump()) == 1 and len(said) == len(reduced(filters))
        assert tool.sync(after) == (0, 0)
    tool.apply("delete " + before)
    assert count_elements(lab) == 0


@pytest.mark.nftables("its sets")
def test_dump_says_only_what_is_whole(lab, tool):
    """Somebody took ports away from a filter that says all of them."""
    crossing = rule(filters=["203.0.113.0/24@80", "203.0.113.2/32@0"])
    tool.apply("add " + crossing)
    lab.gw.nft("delete element inet portreeve dnat4_from "
               "{ udp . 5000 . 203.0.113.2 . 81-65535 }")
    assert tool.dump() == [stripped(rule(filters=["203.0.113.0/24@80"]))]
    assert tool.disturbed() == 1 and tool.sync(crossing) == (1, 0)
    assert tool.dump() == [stripped(crossing)]


def test_counters_of_a_filtered_rule_are_those_of_all_its_peers(lab, tool):
    ours = rule(filters=["203.0.113.2/32@0", f"203.0.113.3/32@{PORT}"])
    tool.apply("add " + ours, "add " + rule())
    assert udp_from(lab, lab.inet1, 0, 4) and udp_from(lab, lab.inet2, PORT, 4)
    assert tool.counters(ours)[0] == 4 and tool.counters(rule())[0] == 0
    assert udp_from(lab, lab.inet2, 0, 4)
    assert tool.counters(ours)[0] == 4 and tool.counters(rule())[0] == 2
    more = ours + " 198.51.100.7/32@0"
    tool.apply(f"replace {ours} > {more}")
    assert tool.counters(more)[0] == 4, "what stays goes on counting"


@pytest.fixture
def mark_only(lab):
    """A firewall that drops all but what has our mark."""
    saved = lab.gw.run(["nft", "list", "table", "inet", "lab_firewall"]).stdout
    lab.gw.nft("flush chain inet lab_firewall forward\n"
               "add rule inet lab_firewall forward ct mark and 0x10000000 == 0x10000000 "
               "accept")
    yield
    lab.gw.nft("delete table inet lab_firewall\n" + saved)
    for host in (lab.lan1, lab.inet1):  # what they learnt about their ways
        host.ip("-4", "route", "flush", "cache")
        host.ip("-6", "route", "flush", "cache")


def checksum(octets):
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def send_too_big(host, version, source, destination, mtu):
    """
    From host to the source of a UDP packet that it refuses to pass on: packet too big
    (RFC 4443 3.2), or fragmentation needed (RFC 1191 4).
    """
    packed = [socket.inet_pton(family(version), a[0]) for a in (source, destination)]
    udp = struct.pack("!HHHH", source[1], destination[1], 1408, 0x1234) + bytes(64)
    if version == 6:
        inner = struct.pack("!IHBB", 6 << 28, 1408, 17, 60) + b"".join(packed) + udp
        # The kernel fills in the checksum.
        message = struct.pack("!BBHI", 2, 0, 0, mtu) + inner
        kind = socket.getprotobyname("ipv6-icmp")
    else:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 1428, 7, 0x4000, 60, 17, 0)
        total = checksum(head + b"".join(packed))
        inner = head[:10] + struct.pack("!H", total) + b"".join(packed) + udp
        message = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + inner
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        kind = socket.getprotobyname("icmp")
    with host.open_socket(family(version), socket.SOCK_RAW, kind) as raw:
        raw.sendto(message, (source[0], 0))


def connect_udp(sock, peer, version):
    """Errors and the path's MTU come to a connected socket."""
    sock.connect(peer)
    if version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, 23, 2)  # IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO
        return lambda: sock.getsockopt(socket.IPPROTO_IPV6, 24)  # IPV6_MTU
    sock.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
    return lambda: sock.getsockopt(socket.IPPROTO_IP, 14)  # IP_MTU


def gets_refused(sock):
    """True once sending meets the error that a closed port's host reports."""
    sock.settimeout(2)
    for _ in range(3):
        try:
            sock.send(b"anybody?")
            sock.recv(100)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
        except OSError as error:
            # The other error, which the path's MTU came with, is told first.
            assert error.errno == errno.EMSGSIZE
    return False


@pytest.mark.parametrize("filters", [[], ["one@0"], ["all@0"]], ids=["any", "peer", "from"])
@pytest.mark.parametrize("version", [4, 6])
def test_icmp_errors_pass_both_ways(lab, tool, mark_only, version, filters):
    """PCP-60: what tells a flow of its troubles has the flow's mark, and its way."""
    with lab.inet1.udp(family=family(version)) as outside:
        assert not lab.udp_arrives(lab.inet1, target(version), lab.lan1, 6000)
        tool.apply("add " + make(version, "udp", filters))
        outer_mtu = connect_udp(outside, target(version), version)
        with lab.lan1.udp(6000, family=family(version)) as inside:
            outside.send(b"hello")
            peer = inside.recvfrom(100)[1]
            inner_mtu = connect_udp(inside, peer, version)
            inside.send(b"back")
            assert outside.recv(100) == b"back", "the answer has the mark, too"
            # Inwards: a router on the way to the peer cannot take the answer.
            ours = outside.getsockname()[:2]
            assert inner_mtu() == 1500 and outer_mtu() == 1500
            send_too_big(lab.inet1, version, target(version), ours, 1400)
            wait_for(lambda: inner_mtu() == 1400, "the path's MTU to reach the inside")
            # Outwards: one behind us cannot take what the peer sends.
            send_too_big(lab.lan1, version, peer[:2], ("192.168.77.2" if version == 4 else
                                                       "fd77::2", 6000), 1380)
            wait_for(lambda: outer_mtu() == 1380, "the path's MTU to reach the peer")
        assert gets_refused(outside), "the inside has no listener, and may say so"
    # The peer has none, and may say so.
    with lab.inet1.udp(family=family(version)) as outside, \
            lab.lan1.udp(6000, family=family(version)) as inside:
        outside.sendto(b"hello", target(version))
        connect_udp(inside, inside.recvfrom(100)[1], version)
        outside.close()
        assert gets_refused(inside)


@pytest.mark.parametrize("filters", [[], ["one@0"], ["all@0"], [f"all@{PORT}", "two@0"]])
def test_pinhole_passes_a_firewall_that_wants_the_mark(lab, tool, mark_only, filters):
    ours = [make(6, protocol, filters) for protocol in ("udp", "tcp")]
    expected = {(): "aAbB", ("one@0",): "aA--", ("all@0",): "aAbB"}.get(
        tuple(filters), "-AbB")
    assert who(lab, "udp", 6) == "----"
    tool.apply(*("add " + text for text in ours))
    assert who(lab, "udp", 6) == expected and who(lab, "tcp", 6) == expected
    assert tool.counters(ours[0])[0] == 2 * len(expected.replace("-", ""))
    # Other ports and hosts stay closed, and no way out is opened by a way in.
    assert lab.udp_arrives(lab.inet1, ("fd77::2", 6001), lab.lan1, 6001) is None
    assert lab.udp_arrives(lab.inet1, ("fd77::3", 6000), lab.lan2, 6000) is None
    with lab.lan1.udp(6000, family=socket.AF_INET6) as source:
        assert lab.udp_arrives(lab.lan1, ("2001:db8:1::3", 7000), lab.inet2, 7000,
                               source=source) is None


@pytest.mark.nftables("the kernel ends leases by itself")
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("filters", [["one@0"], ["all@0"], [f"all@{PORT}", "one@0"]])
def test_timeout_closes_what_has_filters(lab, tool, version, filters):
    tool.apply("add " + make(version, "udp", filters, timeout=1500))
    assert "A" in who(lab, "udp", version)
    tool.stop("kill")
    wait_for(lambda: count_elements(lab) == 0, "the kernel to drop what timed out")
    assert who(lab, "udp", version) == "----"
