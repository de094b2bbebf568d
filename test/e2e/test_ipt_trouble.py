# SPDX-License-Identifier: GPL-2.0-or-later
"""
The iptables backend where others are in the way: who holds the lock, who comes first, and
kernels that lack something.
"""

import contextlib
import fcntl
import select
import time

import pytest

from backend import LAN1, LAN2, WAN, Tool, ToolError, rule, stripped
from test_backend_ipt import LOOK_MS, ours, run

ROUND_MS = 3000  # from one look at all tables to the next
IPTABLES = "[backend]\ntype = iptables\n"


@contextlib.contextmanager
def lock_held(lab):
    with open(lab.lock, encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def tool(lab):
    made = Tool(lab, backend="iptables")
    made.start()
    made.sync()
    yield made
    if made.process.stdin.closed:
        return
    made.stop("close")


def test_the_end_waits_for_the_lock(lab, tool):
    tool.apply("add " + rule())
    with lock_held(lab):
        tool.send("close")
        assert not select.select([tool.process.stdout], [], [], 0.5)[0], "it waits"
    tool.read()
    tool.process.stdin.close()
    assert tool.process.wait(10) == 0
    assert ours(lab) == [] and "<3>" not in tool.output()


def test_who_asks_while_the_lock_is_held_does_not_wait_in_a_row(lab, tool):
    with lock_held(lab):
        begin = time.monotonic()
        for external in range(5000, 5060):
            with pytest.raises(ToolError, match="^EBUSY$"):
                tool.apply("add " + rule(external=external))
        assert time.monotonic() - begin < 60 * 0.05
    tool.apply("add " + rule())


def test_a_stop_that_leaves_ports_open_says_so(lab, daemon_factory):
    gateway = daemon_factory(IPTABLES).start()
    gateway.admin("add", "udp", "5000", f"{LAN1}:6000")
    with lock_held(lab):
        assert gateway.stop() != 0
    assert len([line for line in gateway.log().splitlines()
                if "cannot remove our chains" in line]) == 1
    assert ours(lab) != []
    gateway.start()
    assert gateway.stop() == 0
    assert ours(lab) == []


FIRST = "-o wan0 -j MASQUERADE"


def get_first(lab, chain="POSTROUTING"):
    return run(lab, f"iptables-legacy -t nat -S {chain}").splitlines()[1]


@pytest.mark.parametrize("chain, line", [("POSTROUTING", FIRST),
                                         ("PREROUTING", "-p udp -j REDIRECT")])
def test_who_comes_before_us_is_put_behind(lab, tool, chain, line):
    tool.apply("add " + rule(out=True))
    run(lab, f"iptables-legacy -t nat -I {chain} {line}")
    try:
        assert tool.disturbed() == 1
        assert tool.sync(rule(out=True)) == (1, 0)
        assert "-j PORTREEVE" in get_first(lab, chain)
        with lab.lan1.udp(6000) as source:
            assert lab.udp_arrives(lab.lan1, ("203.0.113.3", 7000), lab.inet2, 7000,
                                   source=source) == (WAN, 5000)
        run(lab, f"iptables-legacy -t nat -I {chain} -p tcp -j LOG")
        assert tool.disturbed(LOOK_MS) == 0, "that decides nothing"
    finally:
        run(lab, f"iptables-legacy -t nat -D {chain} {line}")


def test_a_fight_ends(lab, tool):
    """Somebody insists: after some times he has his way, and one line and status tell."""
    tool.apply("add " + rule(out=True))
    run(lab, f"iptables-legacy -t nat -A POSTROUTING {FIRST}")
    for _ in range(5):
        run(lab, f"iptables-legacy -t nat -D POSTROUTING {FIRST}")
        run(lab, f"iptables-legacy -t nat -I POSTROUTING {FIRST}")
        assert tool.disturbed() == 1
        tool.sync(rule(out=True))
    run(lab, f"iptables-legacy -t nat -D POSTROUTING {FIRST}")
    run(lab, f"iptables-legacy -t nat -I POSTROUTING {FIRST}")
    assert tool.disturbed(LOOK_MS) == 0
    assert tool.output().count("again and again") == 1
    assert tool.do("troubles")[1] == [2]
    run(lab, f"iptables-legacy -t nat -D POSTROUTING {FIRST}")
    tool.disturbed(LOOK_MS)
    assert tool.do("troubles")[1] == [0]


def test_a_long_look_sees_all_of_it(lab, tool):
    """It is interrupted where tables are large, and goes on with the others."""
    many = [rule(external=port, internal=port) for port in range(2000, 6000)]
    tool.sync(*many)
    assert tool.disturbed(LOOK_MS) == 0, "flows are looked after in this time, too"
    told, served = tool.do(f"event {2 * ROUND_MS + 500}")[1]
    assert told == 0
    assert served >= 4, "two rounds of more than one spell"
    for line in ("iptables-legacy -t mangle -F PORTREEVE-NEW",
                 "iptables-legacy -t nat -F PORTREEVE-DNAT-PORTS",
                 "ip6tables-legacy -t mangle -F PORTREEVE-NEW"):
        assert tool.disturbed(LOOK_MS) == 0
        run(lab, line)
        begin = time.monotonic()
        assert tool.disturbed(LOOK_MS) == 1
        assert time.monotonic() - begin < ROUND_MS / 1000 + 1.5
        tool.sync(*many)
    assert lab.udp_arrives(lab.inet1, (WAN, 3999), lab.lan1, 3999)


def test_a_routed_network_is_not_translated(lab, tool):
    """Private sources that are no LAN of ours leave as they are, by leased ports too."""
    tool.apply("add " + rule(external=7777))
    held = run(lab, "iptables-legacy -t nat -S PORTREEVE-HELD").splitlines()
    sources = [line.split()[3] for line in held if "MASQUERADE" in line]
    assert sources == ["192.168.77.0/24", "192.168.78.0/24"]


def test_a_chain_of_others_that_begins_as_ours(lab, tool):
    for line in ("-N PORTREEVE-MINE", "-A PORTREEVE-MINE -j RETURN",
                 "-A OUTPUT -j PORTREEVE-MINE", "-N PORTREEVE-DNAT-tcp-mine"):
        run(lab, f"iptables-legacy -t nat {line}")
    try:
        tool.apply("add " + rule())
        assert tool.disturbed(LOOK_MS) == 0
        assert tool.sync() == (0, 1)
        mine = [line for line in ours(lab) if "MINE" in line or "mine" in line]
        assert len(mine) == 4
    finally:
        for line in ("-F OUTPUT", "-F PORTREEVE-MINE", "-X PORTREEVE-MINE",
                     "-X PORTREEVE-DNAT-tcp-mine"):
            run(lab, f"iptables-legacy -t nat {line}")


@pytest.mark.parametrize("mode, wanted", [
    ("off", ("unknown", [])),
    ("auto", ("passes", ["iptables filter FORWARD"])),
])
def test_status_tells_of_forward(lab, daemon_factory, mode, wanted):
    """It does not say that leases work where FORWARD refuses them, and tells our rule."""
    run(lab, "iptables-legacy -P FORWARD DROP")
    try:
        gateway = daemon_factory(f"{IPTABLES}integrate = {mode}\n").start()
        found = gateway.json_any("status")["status"]["integration"]
        assert (found["ipv4"], found["rules"]) == wanted
        if mode == "auto":
            assert found["ipv6"] == "passes", "nothing refuses there"
            # Before ours nobody knows what a rule of others does.
            run(lab, "iptables-legacy -I FORWARD -j DROP")
            found = gateway.json_any("status")["status"]["integration"]
            assert (found["ipv4"], found["rules"]) == ("unknown", wanted[1])
    finally:
        run(lab, "iptables-legacy -P FORWARD ACCEPT")
        run(lab, "iptables-legacy -F FORWARD")


OUR_LEAF = "udp-4864"  # ports 4864 to 5119
KEPT = rule(external=5000, internal=5000, out=True)
NEIGHBOUR = rule(external=5001, internal=5001, out=True)


@pytest.mark.parametrize("line", [
    f"nat -F PORTREEVE-DNAT-{OUR_LEAF}",
    f"nat -I PORTREEVE-DNAT-{OUR_LEAF} -p udp --dport 5000 -j DNAT --to {LAN2}:9",
    f"nat -F PORTREEVE-SNAT-{OUR_LEAF}",
    "nat -F PORTREEVE-DNAT-udp-4k",
    "nat -F PORTREEVE-SNAT-PORTS",
    f"mangle -F PORTREEVE-MARK-{OUR_LEAF}",
    f"mangle -A PORTREEVE-MARK-{OUR_LEAF} -j ACCEPT",
])
@pytest.mark.parametrize("change", ["add " + NEIGHBOUR, "delete " + KEPT])
def test_a_change_in_a_leaf_that_somebody_changed(lab, tool, line, change):
    """It is not taken for our own: who is told of it syncs, and looks after the flows."""
    tool.apply("add " + KEPT)
    before = ours(lab)
    run(lab, f"iptables-legacy -t {line}")
    with pytest.raises(ToolError, match="^ENOENT$"):
        tool.apply(change)
    wanted = [KEPT, NEIGHBOUR] if change.startswith("add") else []
    assert sum(tool.sync(*wanted)) > 0
    assert tool.dump() == sorted(map(stripped, wanted))
    tool.sync(KEPT)
    assert ours(lab) == before
    tool.apply("add " + NEIGHBOUR, "delete " + KEPT)


@pytest.mark.parametrize("lines", [("-F", "-X"), ("-F PORTREEVE-DNAT-udp-4k",
                                                 f"-F PORTREEVE-DNAT-{OUR_LEAF}",
                                                 f"-X PORTREEVE-DNAT-{OUR_LEAF}")])
def test_chains_that_somebody_removed(lab, tool, lines):
    """That is not the kernel's fault: no module is said to be missing."""
    tool.apply("add " + KEPT)
    for line in lines:
        run(lab, f"iptables-legacy -t nat {line}")
    with pytest.raises(ToolError, match="^ENOENT$"):
        tool.apply("add " + rule(external=5500, internal=5500))
    if "-X" in lines:
        with pytest.raises(ToolError, match="^ENOENT$"):
            tool.network("wan0", "203.0.113.50")
    assert tool.sync(KEPT)[0] > 0
    assert "kernel refuses" not in tool.output()


def test_a_jump_of_others_to_a_leaf_that_ended(lab, tool):
    """Its chain cannot go then, and the table is not written again and again for it."""
    leaf = f"PORTREEVE-DNAT-{OUR_LEAF}"
    tool.apply("add " + KEPT)
    for line in ("-N MINE", f"-A MINE -j {leaf}"):
        run(lab, f"iptables-legacy -t nat {line}")
    tool.apply("delete " + KEPT)
    assert tool.disturbed(LOOK_MS) == 0
    tool.apply("add " + KEPT)
    tool.apply("delete " + KEPT)
    assert [line for line in ours(lab) if leaf in line] == [f":{leaf} - ", f"-A MINE -j {leaf}"]
    for line in ("-F MINE", "-X MINE"):
        run(lab, f"iptables-legacy -t nat {line}")
    assert tool.disturbed() == 1
    tool.sync()
    assert not [line for line in ours(lab) if leaf in line]


MARKS = f"PORTREEVE-MARK-{OUR_LEAF}"
THREE = [rule(external=port, internal=port, out=True) for port in (5000, 5001, 5002)]


def test_what_lost_its_mark_is_counted(lab, tool):
    tool.sync(*THREE)
    run(lab, f"iptables-legacy -t mangle -F {MARKS}")
    assert tool.sync(*THREE) == (3, 0)
    run(lab, f"iptables-legacy -t mangle -I {MARKS} -j RETURN")
    assert tool.sync(*THREE) == (0, 1)


@pytest.mark.parametrize("first, gone", [(3, []), (3, [3]), (2, [2]), (1, [1])])
def test_rules_in_another_order_keep_their_counters(lab, tool, first, gone):
    """Whatever is put before the others: a copy, or the rule itself."""
    tool.sync(*THREE)
    for port in (5000, 5001, 5002):
        assert lab.udp_arrives(lab.inet1, (WAN, port), lab.lan1, port)
    line = run(lab, f"iptables-legacy -t mangle -S {MARKS}").splitlines()[first]
    for number in gone:
        run(lab, f"iptables-legacy -t mangle -D {MARKS} {number}")
    copy = line.split(" ", 2)[2]
    place = 4 if first == 1 else 1  # the first goes last
    run(lab, f"iptables-legacy -t mangle -I {MARKS} {place - len(gone) if place > 1 else 1} {copy}")
    assert tool.sync(*THREE) == ((1, 0) if gone else (0, 1))
    counted = [tool.counters(text)[0] for text in THREE]
    assert counted == [0 if index + 1 in gone else 2 for index in range(3)]


def test_dump_tells_the_way_out_whatever_else_has_the_port(lab, tool):
    tool.sync(KEPT)
    run(lab, f"iptables-legacy -t nat -I PORTREEVE-SNAT-{OUR_LEAF} -p udp -s {LAN2} "
             "-m multiport --sports 5000 -j SNAT --to-source 203.0.113.50:5000")
    assert tool.dump() == [stripped(KEPT)]
