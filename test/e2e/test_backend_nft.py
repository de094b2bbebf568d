# SPDX-License-Identifier: GPL-2.0-or-later
"""The nftables backend against a real kernel: packets, timeouts, strangers, restarts."""

import contextlib
import select
import socket

import pytest

from backend import (BACKEND_TOOL, LAN1, LAN2, OLD_KERNEL, PATIENCE_MS, QUIET_MS, WAN,
                     ToolError, count_elements, flows, pinhole, rule, serve_tools,
                     stripped)
from lab import wait_for


@pytest.fixture
def tools(lab):
    """tools(...) -> Tool; all end with the test, and their table with them."""
    yield from serve_tools(lab)


@pytest.fixture
def tool(tools):
    started = tools().start()
    assert started.sync() == (0, 0)
    return started


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_inbound_with_translated_port(lab, tool, protocol):
    arrives = getattr(lab, f"{protocol}_arrives")
    assert arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000) is None
    tool.apply("add " + rule(protocol))
    seen = arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    assert seen and seen[0] == "203.0.113.2", "the source is the peer's own"
    assert arrives(lab.inet1, (WAN, 5001), lab.lan1, 6000) is None
    assert tool.dump() == [stripped(rule(protocol))]


def test_counters_are_of_both_directions(lab, tool):
    tool.apply("add " + rule())
    assert tool.counters(rule()) == (0, 0)
    with lab.inet1.udp() as source:
        for exchanges in (1, 2, 3):
            assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000, source=source)
            # token and "re: token", each with 28 octets of headers; both are counted once
            assert tool.counters(rule()) == (2 * exchanges, exchanges * (50 + 54))
    with pytest.raises(ToolError, match="ENOENT"):
        tool.counters(rule(external=5001))


def test_two_external_ports_of_one_endpoint_count_apart(lab, tool):
    first, second = rule(external=5000, out=True), rule(external=5001)
    tool.apply("add " + first, "add " + second)
    assert tool.dump() == sorted(map(stripped, (first, second)))
    assert lab.udp_arrives(lab.inet1, (WAN, 5001), lab.lan1, 6000)
    assert tool.counters(first)[0] == 0 and tool.counters(second)[0] == 2
    tool.apply("delete " + second)
    assert lab.udp_arrives(lab.inet1, (WAN, 5001), lab.lan1, 6000) is None
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_outbound_traffic_leaves_with_the_mapped_port(lab, tool, protocol):
    arrives = getattr(lab, f"{protocol}_arrives")
    tool.apply("add " + rule(protocol, out=True))
    if protocol == "udp":
        with lab.lan1.udp(6000) as source:
            seen = arrives(lab.lan1, ("203.0.113.3", 7000), lab.inet2, 7000, source=source)
    else:
        with lab.inet2.listen(7000) as server, \
                lab.lan1.connect(("203.0.113.3", 7000), port=6000) as client:
            connection, seen = server.accept()
            connection.close()
            assert client.recv(1) == b""
    assert seen == (WAN, 5000)


def test_remote_filters(lab, tool):
    tool.apply("add " + rule(filters=["203.0.113.2/32@0"]),
               "add " + rule(external=5001, filters=["203.0.113.3/32@4444"]))
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    assert lab.udp_arrives(lab.inet2, (WAN, 5000), lab.lan1, 6000) is None
    assert lab.udp_arrives(lab.inet2, (WAN, 5001), lab.lan1, 6000) is None
    with lab.inet2.udp(4444) as source:
        assert lab.udp_arrives(lab.inet2, (WAN, 5001), lab.lan1, 6000, source=source)
    with lab.inet1.udp(4444) as source:
        assert lab.udp_arrives(lab.inet1, (WAN, 5001), lab.lan1, 6000,
                               source=source) is None
    assert len(tool.dump()) == 2


@pytest.mark.parametrize("order", [("open", "first", "second"),
                                   ("first", "open", "second"),
                                   ("second", "first", "open")])
def test_rules_for_different_peers_side_by_side(lab, tool, order):
    """They share port, protocol and endpoint; each admits, counts and ends on its own."""
    rules = {"first": rule("tcp", filters=["203.0.113.2/32@0"]),
             "second": rule("tcp", filters=["203.0.113.3/32@0"]),
             "open": rule("tcp", out=True)}
    hosts = {"first": (lab.inet1, "203.0.113.2"), "second": (lab.inet2, "203.0.113.3"),
             "open": (lab.inet1, "203.0.113.4")}
    lab.inet1.ip("address", "add", "203.0.113.4/24", "dev", "eth0")
    tool.apply(*("add " + text for text in rules.values()))
    peers, there = {}, dict(rules)

    def counts():
        return {name: tool.counters(text)[0] for name, text in there.items()}

    def check(name, counter):
        """A packet there, its acknowledgement; one rule and no other counts them."""
        before = counts()
        peers[name][0].sendall(b"ping")
        assert peers[name][1].recv(4) == b"ping"
        wait_for(lambda: counts()[counter] >= before[counter] + 2, "the packets to count")
        assert {n for n, packets in counts().items() if packets != before[n]} == {counter}

    try:
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(lab.lan1.listen(6000))
            for name, (host, address) in hosts.items():
                peer = host.open_socket(kind=socket.SOCK_STREAM)
                stack.enter_context(peer)
                peer.bind((address, 0))
                peer.connect((WAN, 5000))
                peers[name] = peer, stack.enter_context(server.accept()[0])
            for name in order:
                for alive in hosts:
                    if alive in there or "open" in there:
                        check(alive, alive if alive in there else "open")
                tool.apply("delete " + there.pop(name))
                with pytest.raises(ToolError, match="ENOENT"):
                    tool.counters(rules[name])
                ended = {n for n in hosts if n not in there and "open" not in there}

                def alive():
                    listed = flows(lab, "-p", "tcp", "-d", WAN, "--dport", "5000")
                    return {n for n in hosts if f"src={hosts[n][1]} " in listed}

                tool.settle(lambda: alive() == set(hosts) - ended, "the flows to end")
            assert ended == set(hosts)
    finally:
        lab.inet1.ip("address", "del", "203.0.113.4/24", "dev", "eth0")


def test_filters_that_overlap(tool):
    inside = ["203.0.113.0/24@0", "203.0.113.2/32@0", "203.0.113.2/32@80", "10.0.0.0/8@1"]
    tool.apply("add " + rule(filters=inside))
    assert tool.dump() == [stripped(rule(filters=["10.0.0.0/8@1", "203.0.113.0/24@0"]))]
    # Every port from this address, but not 80, which the network around it has already.
    crossing = ["203.0.113.0/24@80", "203.0.113.2/32@0", "203.0.113.2/32@443"]
    tool.apply("add " + rule("tcp", filters=crossing))
    assert tool.dump()[0] == stripped(rule("tcp", filters=crossing[:2]))


def test_hairpin(lab, tool):
    tool.apply("add " + rule(), "add " + rule("tcp", external=5001))
    # The host that is mapped, its neighbour, and a host of another LAN.
    assert lab.udp_arrives(lab.lan1, (WAN, 5000), lab.lan1, 6000)
    assert lab.udp_arrives(lab.lan2, (WAN, 5000), lab.lan1, 6000)
    assert lab.udp_arrives(lab.guest1, (WAN, 5000), lab.lan1, 6000)
    assert lab.tcp_arrives(lab.lan2, (WAN, 5001), lab.lan1, 6000)


def test_pinhole_through_a_firewall_that_drops(lab, tool):
    target = ("fd77::2", 6000)
    assert lab.udp_arrives(lab.inet1, target, lab.lan1, 6000) is None
    tool.apply("add " + pinhole(), "add " + pinhole(protocol="tcp"))
    assert lab.udp_arrives(lab.inet1, target, lab.lan1, 6000)[0] == "2001:db8:1::2"
    assert lab.tcp_arrives(lab.inet1, target, lab.lan1, 6000)
    assert lab.udp_arrives(lab.inet1, ("fd77::2", 6001), lab.lan1, 6001) is None
    assert lab.udp_arrives(lab.inet1, ("fd77::3", 6000), lab.lan2, 6000) is None
    assert tool.counters(pinhole())[0] >= 2
    tool.apply("delete " + pinhole())
    assert lab.udp_arrives(lab.inet1, target, lab.lan1, 6000) is None


def test_pinhole_with_a_filter(lab, tool):
    filtered = pinhole(filters=["2001:db8:1::2/128@0"])
    tool.apply("add " + filtered)
    assert lab.udp_arrives(lab.inet1, ("fd77::2", 6000), lab.lan1, 6000)
    assert lab.udp_arrives(lab.inet2, ("fd77::2", 6000), lab.lan1, 6000) is None
    assert tool.counters(filtered)[0] == 2
    assert tool.dump() == [stripped(filtered)]


def test_only_our_flows_are_marked(lab, tool):
    tool.apply("add " + rule())
    lab.gw.nft("""table ip other {
        chain pre {
            type nat hook prerouting priority dstnat; policy accept;
            ip daddr 203.0.113.1 udp dport 5002 dnat to 192.168.77.2:6000
        }
    }""")
    try:
        assert lab.udp_arrives(lab.inet1, (WAN, 5002), lab.lan1, 6000) is None
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    finally:
        lab.gw.nft("delete table ip other")


@pytest.mark.parametrize("target,ours", [((WAN, 5000), rule()),
                                         (("fd77::2", 6000), pinhole())])
def test_delete_ends_the_flow(lab, tool, target, ours):
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    other = rule(external=5003, internal=6003)
    tool.apply("add " + ours, "add " + other)
    with lab.inet1.udp(family=family) as source, lab.inet1.udp() as bystander:
        for _ in range(2):
            assert lab.udp_arrives(lab.inet1, target, lab.lan1, 6000, source=source)
        assert lab.udp_arrives(lab.inet1, (WAN, 5003), lab.lan1, 6003, source=bystander)
        tool.apply("delete " + ours)
        tool.settle(lambda: not lab.udp_arrives(lab.inet1, target, lab.lan1, 6000,
                                                source=source), "the flow to end")
        assert "dport=5003" in flows(lab, "-p", "udp"), "another lease's flow goes on"
        assert lab.udp_arrives(lab.inet1, (WAN, 5003), lab.lan1, 6003, source=bystander)


def test_delete_ends_outbound_flows(lab, tool):
    tool.apply("add " + rule(out=True), "add " + rule(external=5001, internal=6001, out=True))
    with lab.lan1.udp(6000) as source, lab.lan1.udp(6001) as other:
        assert lab.udp_arrives(lab.lan1, ("203.0.113.3", 7000), lab.inet2, 7000,
                               source=source) == (WAN, 5000)
        assert lab.udp_arrives(lab.lan1, ("203.0.113.3", 7000), lab.inet2, 7000,
                               source=other) == (WAN, 5001)
        tool.apply("delete " + rule(out=True))

        def listed():
            return flows(lab, "-p", "udp", "--orig-port-dst", "7000")

        tool.settle(lambda: "sport=6000" not in listed(), "the flow to end")
        assert "sport=6001" in listed()
        tool.apply("add " + rule(out=True))
        assert lab.udp_arrives(lab.lan1, ("203.0.113.3", 7001), lab.inet2, 7001,
                               source=source) == (WAN, 5000)
        tool.apply("delete " + rule(out=True),
                   "delete " + rule(external=5001, internal=6001, out=True))
        tool.settle(lambda: "sport=600" not in listed(), "both flows to end")


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_other_hosts_do_not_hold_the_port(lab, tool, protocol):
    """The host's masquerade keeps source ports: leased ones, too, were it not for us."""
    peer = lab.inet2

    def leave(stack, host, source_port, port=7000):
        """(source that the peer sees, socket), by one exchange from that port"""
        if protocol == "udp":
            source = stack.enter_context(host.udp(source_port))
            seen = lab.udp_arrives(host, ("203.0.113.3", port), peer, port, source=source)
        else:
            source = stack.enter_context(
                host.connect(("203.0.113.3", port), port=source_port))
            accepted, seen = servers[0].accept()
            stack.enter_context(accepted)
        return seen[:2], source

    def owner():
        return [line.split("src=")[1].split()[0] for line in
                flows(lab, "-p", protocol, "--orig-port-dst", "7000").splitlines()
                if "src=203.0.113.3 " in line and "dport=5000 " in line.split("src=")[2]]

    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(peer.listen(7000))] if protocol == "tcp" else []
        assert leave(stack, lab.lan2, 5000)[0] == (WAN, 5000), "the port is kept"
        assert leave(stack, lab.lan2, 5001)[0] == (WAN, 5001)
        assert owner() == [LAN2]
        tool.apply("add " + rule(protocol, out=True))
        tool.settle(lambda: not owner(), "the other host's flow to end")
        assert "sport=5001" in flows(lab, "-p", protocol), "its other flow goes on"
        assert leave(stack, lab.lan1, 6000)[0] == (WAN, 5000)
        tool.apply(f"replace {rule(protocol, out=True)} > {rule(protocol, timeout=900000)}",
                   f"replace {rule(protocol, timeout=900000)} > {rule(protocol, out=True)}")
        assert tool.disturbed(QUIET_MS) == 0 and owner() == [LAN1], "our own flow goes on"
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(peer.listen(7001))] if protocol == "tcp" else []
        # Now the other host is first. (Elsewhere: what was just closed may linger.)
        seen = leave(stack, lab.lan2, 5000, 7001)[0]
        assert seen[0] == WAN and seen[1] != 5000
        assert leave(stack, lab.lan1, 6000, 7001)[0] == (WAN, 5000)


def test_sources_that_nobody_translates_stay_as_they_are(lab, tool):
    tool.apply("add " + rule())
    lab.gw.nft("flush chain ip lab_nat postrouting")
    lab.gw.ip("address", "add", "198.51.100.1/24", "dev", "lan0")
    lab.lan2.ip("address", "add", "198.51.100.3/24", "dev", "eth0")
    lab.inet2.ip("route", "add", "198.51.100.0/24", "via", WAN)
    try:
        with lab.lan2.udp(5000, "198.51.100.3") as source:
            assert lab.udp_arrives(lab.lan2, ("203.0.113.3", 7000), lab.inet2, 7000,
                                   source=source) == ("198.51.100.3", 5000)
    finally:
        lab.inet2.ip("route", "del", "198.51.100.0/24", "via", WAN)
        lab.lan2.ip("address", "del", "198.51.100.3/24", "dev", "eth0")
        lab.gw.ip("address", "del", "198.51.100.1/24", "dev", "lan0")
        lab.gw.nft('add rule ip lab_nat postrouting oifname "wan0" masquerade')


def test_flows_are_kept_when_told_so(lab, tools):
    tool = tools().start("keep-flows")
    tool.sync(rule())
    with lab.inet1.udp() as source:
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000, source=source)
        tool.apply("delete " + rule())
        assert tool.disturbed(QUIET_MS) == 0
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000, source=source)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000) is None


def test_peer_that_tried_before_the_mapping(lab, tool):
    with lab.inet1.udp() as source:
        assert lab.udp_arrives(lab.inet1, (WAN, 5777), lab.lan1, 6000,
                               source=source) is None
        assert "dport=5777" in flows(lab, "-p", "udp"), "the gateway remembers it"
        tool.apply("add " + rule(external=5777))

        tool.settle(lambda: "dport=5777" not in flows(lab, "-p", "udp"),
                    "the flow from before to end")
        assert lab.udp_arrives(lab.inet1, (WAN, 5777), lab.lan1, 6000, source=source)


@pytest.mark.nftables("the kernel ends leases by itself")
def test_timeout_closes_with_the_daemon_dead(lab, tool):
    tool.apply("add " + rule(timeout=1500, out=True), "add " + pinhole(timeout=1500))
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    tool.stop("kill")
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    assert count_elements(lab) == 5
    wait_for(lambda: count_elements(lab) == 0, "the kernel to drop what timed out")
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000) is None
    assert lab.udp_arrives(lab.inet1, ("fd77::2", 6000), lab.lan1, 6000) is None


def count_refused(lab):
    """Datagrams to the gateway itself that no socket of it wanted: no mapping matched."""
    with lab.gw.inside(), open("/proc/thread-self/net/snmp", encoding="ascii") as file:
        names, values = [line.split() for line in file if line.startswith("Udp:")]
    return int(dict(zip(names, values))["NoPorts"])


@pytest.mark.parametrize("prefix", [(), OLD_KERNEL], ids=["update", "delete-and-add"])
@pytest.mark.parametrize("filters", [[], ["203.0.113.0/24@0"]], ids=["any", "filtered"])
def test_replace_under_traffic_loses_no_packet(lab, tools, prefix, filters):
    tool = tools(prefix=prefix).start()
    before, after = (rule(timeout=t, filters=filters) for t in (500000, 600000))
    tool.sync(before)
    refused, count, window, arrived = count_refused(lab), 1500, 100, set()
    with lab.lan1.udp(6000) as sink:
        for number in range(count):
            # Each datagram is a flow of its own, so each looks the mapping up.
            if number % 3 == 0:
                tool.send(f"replace {before} > {after}", "apply")
            with lab.inet1.udp() as source:
                source.sendto(b"%d" % number, (WAN, 5000))
            # Few enough under way that no queue can overflow.
            while len(arrived) <= number - window:
                arrived.add(int(sink.recv(100)))
        for _ in range(2 * (count // 3)):
            tool.read()
        while len(arrived) < count and select.select([sink], [], [], 2)[0]:
            arrived.add(int(sink.recv(100)))
    assert count_refused(lab) == refused
    assert len(arrived) == count
    if not prefix:
        assert tool.counters(after)[0] == count, "renewal keeps the counters"


@pytest.mark.nftables("the kernel ends leases by itself")
@pytest.mark.parametrize("prefix", [(), OLD_KERNEL], ids=["update", "delete-and-add"])
def test_replace_moves_times_and_targets(lab, tools, prefix):
    tool = tools(prefix=prefix).start()
    tool.sync()
    tool.apply("add " + rule(timeout=1000, out=True))
    tool.apply(f"replace {rule(timeout=1000, out=True)} > {rule(out=True)}")
    assert int(tool.do("dump")[0][0].split()[6]) > 590000
    tool.apply(f"replace {rule(out=True)} > {rule(timeout=0)}")
    assert tool.do("dump")[0][0].split()[6:] == ["0", "-"]
    tool.apply(f"replace {rule(timeout=0)} > {rule(timeout=70000)}")
    assert 60000 < int(tool.do("dump")[0][0].split()[6]) <= 70000
    with lab.inet1.udp() as source:
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000, source=source)
        tool.apply(f"replace {rule()} > {rule(host=LAN2)}")
        tool.settle(lambda: lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan2, 6000,
                                            source=source), "the flow to move")
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000) is None
    assert tool.dump() == [stripped(rule(host=LAN2))]


@pytest.mark.parametrize("prefix", [(), OLD_KERNEL], ids=["destroy", "add-and-delete"])
def test_delete_of_what_timed_out_is_no_error(tools, prefix):
    tool = tools(prefix=prefix).start()
    tool.sync()
    tool.apply("delete " + rule(out=True), "delete " + pinhole())
    assert tool.dump() == []


def test_all_or_nothing(lab, tool):
    tool.apply("add " + rule())
    with pytest.raises(ToolError, match="EEXIST"):
        tool.apply("add " + rule(external=5001), "delete " + rule(),
                   "add " + pinhole(), "add " + rule(external=5001, host=LAN2))
    with pytest.raises(ToolError, match="EINVAL"):
        tool.apply("add " + rule(external=5002), "add " + rule(external=0))
    assert tool.dump() == [stripped(rule())]
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    assert lab.udp_arrives(lab.inet1, (WAN, 5001), lab.lan1, 6000) is None


@pytest.mark.nftables("strangers in its table")
def test_errors_of_apply_tell_a_refusal_from_a_lost_table(lab, tool):
    filtered = rule(external=5001, filters=["203.0.113.0/24@0"])
    tool.apply("add " + rule(out=True), "add " + filtered)
    for bad, error in ((rule(out=True), "EEXIST"), (rule(host=LAN2), "EEXIST"),
                       (rule(external=9, out=True), "EEXIST"), (filtered, "EEXIST"),
                       (rule(external=5001, filters=["203.0.113.2/32@0"]), "EEXIST"),
                       (rule(external=5001, filters=["203.0.0.0/16@80"]), "EEXIST"),
                       (rule(external=0), "EINVAL"),
                       (rule(external=1, filters=["2001:db8::/32@80"]), "EINVAL")):
        for more in ((), ("add " + rule(external=7),),
                     ("delete " + rule(external=8), "add " + rule(external=7))):
            with pytest.raises(ToolError, match=f"^{error}$"):
                tool.apply(*more, "add " + bad)
    assert tool.disturbed(QUIET_MS) == 0
    for command in ("flush ruleset", "delete table inet portreeve"):
        saved = lab.gw.run(["nft", "list", "table", "ip", "lab_nat"]).stdout + \
            lab.gw.run(["nft", "list", "table", "inet", "lab_firewall"]).stdout
        lab.gw.nft(command)
        if "ruleset" in command:
            lab.gw.nft(saved)
        for change in ("add " + rule(external=7), "delete " + filtered,
                       f"replace {filtered} > {filtered}"):
            with pytest.raises(ToolError, match="^ENOENT$"):
                tool.apply(change)
        tool.sync(filtered)
        tool.apply("add " + rule(external=7), "delete " + rule(external=7))


def test_large_batch(tool):
    rules = [rule(external=1024 + n, internal=1024 + n, out=True) for n in range(3000)]
    tool.apply(*("add " + text for text in rules))
    assert len(tool.dump()) == 3000
    with pytest.raises(ToolError, match="EEXIST"):
        tool.apply(*("delete " + text for text in rules), "add " + rule(external=9),
                   "add " + rule(external=9, internal=1))
    assert len(tool.dump()) == 3000
    tool.apply(*("delete " + text for text in rules))
    assert tool.dump() == []
    assert tool.disturbed(QUIET_MS) == 0


@pytest.mark.nftables("strangers in its table")
@pytest.mark.parametrize("command", [
    "flush ruleset", "delete table inet portreeve",
    "delete element inet portreeve dnat4 { udp . 5000 }",
    "flush map inet portreeve dnat4", "flush chain inet portreeve forward"])
def test_somebody_else_removes_it(lab, tool, command):
    rules = [rule(out=True), rule("tcp", filters=["203.0.113.2/32@0"]), pinhole()]
    tool.apply(*("add " + text for text in rules))
    saved = lab.gw.run(["nft", "list", "ruleset"]).stdout
    saved = saved[saved.index("table ip lab_nat"):saved.index("table inet portreeve")]
    lab.gw.nft(command)
    if command == "flush ruleset":
        lab.gw.nft(saved)
    assert tool.disturbed() == 1
    added, removed = tool.sync(*rules)
    assert removed == 0
    assert added > 0
    assert tool.sync(*rules) == (0, 0)
    assert tool.disturbed(QUIET_MS) == 0, "mending is no news"
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    assert lab.udp_arrives(lab.inet1, ("fd77::2", 6000), lab.lan1, 6000)
    assert tool.dump() == sorted(map(stripped, rules))


@pytest.mark.nftables("strangers in its table")
def test_what_is_no_disturbance(lab, tool):
    tool.apply("add " + rule(timeout=100))
    lab.gw.nft("table inet other { set s { type ipv4_addr; }\n}\n"
               "add element inet other s { 192.0.2.1 }")
    wait_for(lambda: count_elements(lab) == 0, "the element to time out")
    lab.gw.nft("delete table inet other")
    for number in range(200):
        tool.apply("add " + rule(external=2000 + number))
    assert tool.disturbed(QUIET_MS) == 0


@pytest.mark.nftables("strangers in its table")
def test_disturbed_comes_once_until_sync(lab, tool):
    for number in range(3):
        lab.gw.nft("add element inet portreeve dnat4 "
                   f"{{ udp . {4000 + number} : 192.168.77.2 . 1 }}")
        assert tool.disturbed(PATIENCE_MS if number == 0 else QUIET_MS) == (number == 0)
    assert tool.sync() == (0, 3)
    assert lab.udp_arrives(lab.inet1, (WAN, 4000), lab.lan1, 1) is None
    lab.gw.nft("add element inet portreeve pinhole6 { udp . fd77::2 . 9 }")
    assert tool.disturbed() == 1


@pytest.mark.nftables("the kernel ends leases by itself")
def test_sync_mends_only_what_is_wrong(lab, tool):
    tool.apply("add " + rule(), "add " + rule(external=5001, host=LAN2),
               "add " + rule(external=5002, timeout=0))
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    wanted = [rule(timeout=599500), rule(external=5001, timeout=300000),
              rule(external=5002, timeout=90000)]
    assert tool.sync(*wanted) == (1, 0)
    assert tool.counters(rule())[0] == 2, "what was right was left alone"
    times = {line.split()[3]: int(line.split()[6]) for line in tool.do("dump")[0]}
    assert times["5000"] > 590000 and 290000 < times["5001"] <= 300000
    assert 80000 < times["5002"] <= 90000
    assert lab.udp_arrives(lab.inet1, (WAN, 5001), lab.lan1, 6000)


@pytest.mark.parametrize("how", ["keep", "kill"])
def test_restart_finds_everything_in_place(lab, tool, tools, how):
    tool.apply("add " + rule(out=True), "add " + pinhole())
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    tool.stop(how)
    after = tools().start()
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    assert after.dump() == sorted(map(stripped, (rule(out=True), pinhole())))
    assert after.sync(rule(out=True), pinhole()) == (0, 0)
    assert after.counters(rule(out=True))[0] == 4


@pytest.mark.nftables("the kernel ends leases by itself")
@pytest.mark.parametrize("options", ["", "keep-flows"])
def test_flows_of_leases_that_ended_meanwhile(lab, tools, options):
    """The daemon was dead when a lease timed out, or its rule went by another hand."""
    tool = tools().start()
    tool.sync()
    short, long, hole = rule(timeout=1500), rule(external=5001), pinhole(timeout=1500)
    tool.apply("add " + short, "add " + long, "add " + hole)

    def count():
        return sorted(int(line.split("dport=")[1].split()[0])
                      for line in flows(lab, "-p", "udp").splitlines()
                      if f"mark={0x10000000}" in line)

    with lab.inet1.udp() as a, lab.inet1.udp() as b, \
            lab.inet1.udp(family=socket.AF_INET6) as c:
        for target, source in (((WAN, 5000), a), ((WAN, 5001), b), (("fd77::2", 6000), c)):
            assert lab.udp_arrives(lab.inet1, target, lab.lan1, 6000, source=source)
        tool.stop("kill")
        wait_for(lambda: count_elements(lab) == 3, "the kernel to drop what timed out")
        assert count() == [5000, 5001, 6000], "the kernel lets flows be"
        after = tools().start(options)
        assert after.sync(long) == (0, 0)
        if options:
            assert after.disturbed(QUIET_MS) == 0 and count() == [5000, 5001, 6000]
            return
        after.settle(lambda: count() == [5001], "flows without a lease to end")
        assert lab.udp_arrives(lab.inet1, (WAN, 5001), lab.lan1, 6000, source=b)
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000, source=a) is None
        # A stray that sync() takes away takes its flows along.
        after.apply("add " + rule(external=5002))
        with lab.inet1.udp() as d:
            assert lab.udp_arrives(lab.inet1, (WAN, 5002), lab.lan1, 6000, source=d)
            assert after.sync(long) == (0, 1)
            after.settle(lambda: count() == [5001], "the stray's flow to end")


@pytest.mark.nftables("its table")
def test_table_of_another_version_is_replaced_in_one_step(lab, tools):
    lab.gw.nft("""table inet portreeve {
        map dnat4 { type inet_service : ipv4_addr; elements = { 7 : 192.168.77.2 } }
    }""")
    tool = tools().start()
    listed = lab.gw.run(["nft", "list", "table", "inet", "portreeve"]).stdout
    assert "7 : 192.168.77.2" in listed, "opening changes nothing"
    rules = [rule(out=True), rule("tcp", filters=["203.0.113.2/31@80"]), pinhole(timeout=0)]
    tool.sync(*rules)
    assert tool.dump() == sorted(map(stripped, rules))
    assert tool.sync(*rules) == (0, 0)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)


def test_network_changes(lab, tool):
    lab.gw.ip("address", "add", "203.0.113.9/24", "dev", "wan0")
    try:
        tool.apply("add " + rule())
        assert lab.udp_arrives(lab.inet1, ("203.0.113.9", 5000), lab.lan1, 6000) is None
        tool.do("network wan0 lan0 203.0.113.9")
        with lab.inet2.udp() as source:
            assert lab.udp_arrives(lab.inet2, ("203.0.113.9", 5000), lab.lan1, 6000,
                                   source=source)
            assert lab.udp_arrives(lab.inet2, (WAN, 5000), lab.lan1, 6000) is None
        tool.do("network - - -")
        assert lab.udp_arrives(lab.inet1, ("203.0.113.9", 5000), lab.lan1, 6000) is None
        tool.do('network a"b* lan0 203.0.113.9')
        assert tool.sync(rule()) == (0, 0)
        assert tool.disturbed(QUIET_MS) == 0
    finally:
        lab.gw.ip("address", "del", "203.0.113.9/24", "dev", "wan0")


@pytest.mark.parametrize("timeout", [600000, 0], ids=["timeout", "permanent"])
def test_lease_outlives_the_address(lab, tool, timeout):
    """No address on the WAN for a while, then another one: the counters go on."""
    before = rule(out=True, timeout=timeout)
    waiting = rule(address="0.0.0.0", timeout=timeout)
    tool.apply("add " + before)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    tool.do("network wan0 lan0,guest0 -")
    tool.apply(f"replace {before} > {waiting}", "add " + rule(external=5001, address="::"))
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000) is None
    assert [line.split()[1] for line in tool.dump()] == ["::", "::"]
    assert tool.sync(waiting, rule(external=5001, address="::")) == (0, 0)
    with pytest.raises(ToolError, match="EINVAL"):
        tool.apply("add " + rule(external=5002, address="::", out=True))
    lab.gw.ip("address", "add", "203.0.113.9/24", "dev", "wan0")
    try:
        tool.do("network wan0 lan0,guest0 203.0.113.9")
        after = rule(out=True, address="203.0.113.9", timeout=timeout)
        tool.apply(f"replace {waiting} > {after}")
        assert tool.dump() == sorted([stripped(after), stripped(
            rule(external=5001, address="203.0.113.9"))])
        assert lab.udp_arrives(lab.inet1, ("203.0.113.9", 5000), lab.lan1, 6000)
        assert tool.counters(after)[0] == 4
        tool.do(f"network wan0 lan0,guest0 {WAN}")
        assert tool.sync(before) == (0, 1)
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
        assert tool.counters(before)[0] == 6, "sync() leaves them alone, too"
    finally:
        lab.gw.ip("address", "del", "203.0.113.9/24", "dev", "wan0")


def test_flows_end_with_their_address(lab, tool):
    tool.apply("add " + rule(out=True), "add " + rule("tcp", external=5001))
    new = "203.0.113.9"
    with lab.lan1.udp(6000) as mapped, lab.lan2.udp() as other, lab.inet1.udp() as peer:
        def leaves(source, port):
            return lab.udp_arrives(lab.lan1, ("203.0.113.3", port), lab.inet2, port,
                                   source=source)

        assert leaves(mapped, 7000) == (WAN, 5000) and leaves(other, 7001)[0] == WAN
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000, source=peer,
                               sink=mapped)
        def count(address=WAN):
            return len([line for line in flows(lab, "-p", "udp").splitlines()
                        if "=192.168.77." in line and f"dst={address} " in line])

        # No WAN, the same WAN: nothing is known to have changed.
        tool.do("network - lan0,guest0 -")
        tool.do(f"network wan0 lan0,guest0 {WAN}")
        assert tool.disturbed(QUIET_MS) == 0
        assert count() == 3
        # Another one: the host's own translation may go on through the old one.
        tool.do(f"network other0 lan0,guest0 {new}")
        tool.settle(lambda: count() == 2, "the lease's inbound flow to end")
        assert tool.disturbed(QUIET_MS) == 0 and count() == 2
        assert leaves(other, 7001)[0] == WAN
        tool.do(f"network wan0 lan0,guest0 {WAN}")
        # The old one stays, so that no flow ends but by us.
        lab.gw.ip("address", "add", new + "/24", "dev", "wan0")
        try:
            tool.do(f"network wan0 lan0,guest0 {new}")
            tool.apply(f"replace {rule(out=True)} > {rule(out=True, address=new)}")
            tool.settle(lambda: count() == 0, "the flows of the old address to end")
            assert leaves(mapped, 7000) == (new, 5000)
        finally:
            lab.gw.ip("address", "del", new + "/24", "dev", "wan0")


@pytest.mark.nftables("its table")
def test_close_removes_our_table_and_no_other(lab, tools):
    before = lab.gw.run(["nft", "list", "ruleset"]).stdout
    tool = tools().start()
    tool.sync(rule())
    tool.stop("close")
    assert lab.gw.run(["nft", "list", "ruleset"]).stdout == before


@pytest.mark.nftables("what it says")
def test_without_privilege_one_line_says_so(tools, copy_for_all):
    tool = tools(uid=65534, path=copy_for_all(BACKEND_TOOL))
    with pytest.raises(ToolError, match="EPERM"):
        tool.do("open")
    lines = [line for line in tool.output().splitlines() if "error" in line]
    assert len(lines) == 1 and "CAP_NET_ADMIN" in lines[0]


def test_before_sync_nothing_can_be_applied(tools):
    tool = tools().start()
    with pytest.raises(ToolError, match="ENOTCONN"):
        tool.apply("add " + rule())
