# SPDX-License-Identifier: GPL-2.0-or-later
"""
The iptables backend where leases of a host keep their ports: they share rules, and each
is still a lease of its own.
"""

import random

import pytest

from backend import LAN1, LAN2, WAN, Tool, rule, stripped
from test_backend_ipt import TOOLS, ours, run, save

# Ports singly and in runs, more than one `multiport` takes, of two hosts in turn.
PORTS1 = [*range(5000, 5060, 3), *range(5060, 5070), 5075]
PORTS2 = [*range(5001, 5061, 3), *range(5080, 5084)]
REMOTE = ("203.0.113.3", 7000)


def lease(port, host=LAN1, **more):
    return rule(external=port, internal=port, host=host, out=True, **more)


ALL = [lease(port) for port in PORTS1] + [lease(port, LAN2) for port in PORTS2]


@pytest.fixture
def tool(lab):
    assert lab.gw.run(["conntrack", "-F"]).returncode == 0
    made = Tool(lab, backend="iptables")
    made.start()
    made.sync()
    yield made
    made.stop("close")
    assert ours(lab) == []


def find(lab, host=""):
    """Rules that translate inwards, to this host."""
    return [line for line in ours(lab) if f"-j DNAT --to-destination {host}" in line]


def leaves_from(lab, host, port, remote=REMOTE):
    """Where the other side sees a packet from this port come from."""
    with host.udp(port) as source:
        receiver = lab.inet2 if remote[0] == REMOTE[0] else lab.inet1
        return lab.udp_arrives(host, remote, receiver, remote[1], source=source)


def check_forwarding(lab, host, ports):
    for port in ports:
        assert lab.udp_arrives(lab.inet1, (WAN, port), host, port), f"{port} inwards"
        assert leaves_from(lab, host, port) == (WAN, port)


def test_each_lease_forwards_and_counts(lab, tool):
    tool.apply(*("add " + text for text in ALL))
    assert len(find(lab)) < len(ALL) / 8
    check_forwarding(lab, lab.lan1, PORTS1)
    check_forwarding(lab, lab.lan2, PORTS2)
    for port, host, times in ((5003, lab.lan1, 1), (5061, lab.lan1, 2), (5004, lab.lan2, 3)):
        for _ in range(times):
            assert lab.udp_arrives(lab.inet1, (WAN, port), host, port)
    counted = {text: tool.counters(text)[0] for text in ALL}
    more = {lease(5003): 2, lease(5061): 4, lease(5004, LAN2): 6}
    assert counted == {text: 2 + more.get(text, 0) for text in ALL}


def test_one_in_the_middle_goes(lab, tool):
    tool.apply(*("add " + text for text in ALL))
    gone = [lease(5030), lease(5064), lease(5082, LAN2)]
    for text in gone:
        tool.apply("delete " + text)
    left = [text for text in ALL if text not in gone]
    assert tool.dump() == sorted(map(stripped, left))
    for port, host in ((5030, lab.lan1), (5064, lab.lan1), (5082, lab.lan2)):
        assert lab.udp_arrives(lab.inet1, (WAN, port), host, port) is None
    check_forwarding(lab, lab.lan1, [port for port in PORTS1 if port not in (5030, 5064)])
    check_forwarding(lab, lab.lan2, [port for port in PORTS2 if port != 5082])
    tool.apply(*("delete " + text for text in left))
    assert tool.dump() == []


def test_the_same_text_however_they_came(lab, tool):
    tool.sync(*ALL)
    wanted = save(lab)
    assert tool.sync() == (0, len(ALL))
    shuffled = random.Random(7).sample(ALL, len(ALL))
    for first in range(0, len(shuffled), 7):
        tool.apply(*("add " + text for text in shuffled[first:first + 7]))
    assert save(lab) == wanted
    for name in TOOLS:
        text = run(lab, f"{name}-save")
        assert lab.gw.run([f"{name}-restore"], input=text).returncode == 0
    assert tool.sync(*ALL) == (0, 0), "it is what we wrote, to the octet"


def test_a_stranger_deletes_a_rule_of_many(lab, tool):
    tool.apply(*("add " + text for text in ALL))
    before = save(lab)
    line = find(lab, LAN2)[0].replace("-A", "-D", 1)
    ports = line.split("--dports ")[1].split()[0].split(",")
    hit = [lease(int(port), LAN2) for port in ports]
    assert len(hit) > 10
    run(lab, f"iptables-legacy -t nat {line}")
    assert tool.dump() == sorted(stripped(text) for text in ALL if text not in hit)
    assert tool.disturbed() == 1
    assert tool.sync(*ALL) == (len(hit), 0)
    assert save(lab) == before
    check_forwarding(lab, lab.lan2, map(int, ports))


def test_leases_that_ended_meanwhile_are_counted_singly(lab, tool):
    tool.apply(*("add " + text for text in ALL))
    gone = (lease(5030), lease(5031, LAN2))
    new = lease(5005)
    assert tool.sync(*(text for text in ALL if text not in gone)) == (0, 2)
    assert tool.sync(*(text for text in ALL if text not in gone), new) == (1, 0)
    few = [lease(port) for port in (5000, 5003, 5006)]
    assert tool.sync(*few) == (0, len(ALL) - len(gone) - len(few) + 1)
    check_forwarding(lab, lab.lan1, (5000, 5003, 5006))
    moved = [lease(port, LAN2) for port in (5000, 5003, 5006)]
    assert tool.sync(*moved) == (3, 0), "one in the place of another is one that was wrong"


def test_a_lease_for_few_comes_first(lab, tool):
    """Its port is one that a rule of many has, too: for everybody else."""
    tool.apply(*("add " + text for text in ALL))
    few = rule(external=5003, internal=5003, host=LAN2, filters=["203.0.113.3/32@0"])
    tool.apply("add " + few)
    assert tool.dump() == sorted(map(stripped, [*ALL, few]))
    assert lab.udp_arrives(lab.inet2, (WAN, 5003), lab.lan2, 5003)
    assert lab.udp_arrives(lab.inet1, (WAN, 5003), lab.lan1, 5003)
    tool.apply("delete " + few)
    tool.settle(lambda: lab.udp_arrives(lab.inet2, (WAN, 5003), lab.lan1, 5003), "all are for lan1")


def test_a_port_that_is_taken_outwards(lab, tool):
    """
    A flow of the gateway's own to the same peer has it: nothing leaves by another port,
    as one rule for many ports would have it, nor do packets to other peers then.
    """
    tool.apply(*("add " + text for text in ALL))
    with lab.gw.udp(5003, WAN) as own:
        assert lab.udp_arrives(lab.gw, REMOTE, lab.inet2, REMOTE[1], source=own) == (WAN, 5003)
        assert leaves_from(lab, lab.lan1, 5003) is None
        for port in (7000, 7001):
            assert leaves_from(lab, lab.lan1, 5003, ("203.0.113.2", port)) == (WAN, 5003)
