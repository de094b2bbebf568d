# SPDX-License-Identifier: GPL-2.0-or-later
"""
Packets ask for rules with filters, and of one flow, only where the protocol has some: in
`narrow4`. It is there whenever it is needed, and changes nothing but the time it takes.
"""

import pytest

from backend import OLD_KERNEL, QUIET_MS, WAN, rule, serve_tools, stripped
from firewall import firewall

pytestmark = pytest.mark.nftables("its sets")

PORT = 7007
ONE = "203.0.113.2/32@0"  # inet1
NARROW = rule(filters=[ONE])
ARRIVES = {"udp": "udp_arrives", "tcp": "tcp_arrives"}


@pytest.fixture
def tools(lab):
    yield from serve_tools(lab)


@pytest.fixture
def tool(tools):
    started = tools().start()
    assert started.sync() == (0, 0)
    return started


def protocols(lab):
    """What `narrow4` holds."""
    return {protocol for (protocol,) in firewall(lab).elements()["narrow4"]}


def arrives(lab, host, protocol="udp", port=5000, **options):
    send = getattr(lab, ARRIVES[protocol])
    return send(host, (WAN, port), lab.lan1, 6000, **options) is not None


def make_flow(peer):
    words = rule(filters=[peer]).split()
    words[6] = "flow"
    return " ".join(words)


def test_each_packet_counts_for_the_narrowest_rule(lab, tool):
    """First and later ones, before there are narrow rules, beside them, and after them."""
    plain = rule()
    some = rule(filters=[ONE, f"203.0.113.3/32@{PORT}"])
    flow = make_flow(f"203.0.113.2/32@{PORT}")
    tool.apply("add " + plain)
    assert protocols(lab) == set()
    with lab.inet2.udp() as other, lab.inet2.udp(PORT) as named, \
            lab.inet1.udp(PORT) as kept, lab.inet1.udp() as listed:
        assert arrives(lab, lab.inet2, source=other)
        assert tool.counters(plain)[0] == 2
        tool.apply("add " + some, "add " + flow)
        for exchanges in (1, 2):
            for host, source in ((lab.inet2, other), (lab.inet2, named), (lab.inet1, kept),
                                 (lab.inet1, listed)):
                assert arrives(lab, host, source=source)
            assert tool.counters(plain)[0] == 2 + 2 * exchanges
            assert tool.counters(some)[0] == 4 * exchanges, "of two hosts"
            assert tool.counters(flow)[0] == 2 * exchanges
        tool.apply("delete " + some, "delete " + flow)
        assert protocols(lab) == {"udp"}, "in vain from now on"
        assert arrives(lab, lab.inet2, source=other)
        assert tool.counters(plain)[0] == 8
        assert tool.sync(plain) == (0, 0)
        assert protocols(lab) == set()
        assert arrives(lab, lab.inet2, source=other)
        assert tool.counters(plain)[0] == 10
    assert arrives(lab, lab.inet1)
    assert tool.counters(plain)[0] == 12
    assert tool.disturbed(QUIET_MS) == 0


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_plain_beside_narrow(lab, tool, protocol):
    plain, narrow = rule(protocol), rule(protocol, filters=[ONE])
    tool.apply("add " + plain, "add " + narrow)
    assert arrives(lab, lab.inet2, protocol)
    before = tool.counters(plain)
    assert before[0] > 0 and tool.counters(narrow) == (0, 0)
    assert arrives(lab, lab.inet1, protocol)
    assert tool.counters(plain) == before and tool.counters(narrow)[0] > 0


@pytest.mark.parametrize("how", ["one", "batch", "replace", "flow", "renew", "sync"])
def test_whoever_needs_it_brings_it(lab, tool, how):
    if how == "sync":
        assert tool.sync(rule(external=5001), NARROW) == (2, 0)
    elif how == "replace":
        tool.apply("add " + rule())
        tool.apply(f"replace {rule()} > {NARROW}")
    elif how == "flow":
        tool.apply("add " + make_flow(f"203.0.113.2/32@{PORT}"))
    else:
        more = [rule(external=5001)] if how == "batch" else []
        tool.apply(*("add " + text for text in (*more, NARROW)))
    if how == "renew":
        lab.gw.nft("flush set inet portreeve narrow4")
        tool.apply(f"replace {NARROW} > {NARROW}")
    assert protocols(lab) == {"udp"}
    with lab.inet1.udp(PORT) as source:
        assert arrives(lab, lab.inet1, source=source)
    assert not arrives(lab, lab.inet2)


@pytest.mark.parametrize("prefix", [(), OLD_KERNEL], ids=["new", "old"])
def test_stays_as_long_as_it_is_needed(lab, tools, prefix):
    tool = tools(prefix=prefix).start()
    assert tool.sync() == (0, 0)
    of_tcp = rule("tcp", filters=[ONE])
    tool.apply("add " + NARROW, "add " + of_tcp)
    assert protocols(lab) == {"udp", "tcp"}
    tool.apply("delete " + of_tcp)
    assert protocols(lab) == {"udp", "tcp"}
    assert tool.sync(NARROW) == (0, 0)
    assert protocols(lab) == {"udp"}
    assert tool.sync(NARROW) == (0, 0)
    assert arrives(lab, lab.inet1)
    assert tool.dump() == [stripped(NARROW)]
    assert tool.disturbed(QUIET_MS) == 0


@pytest.mark.parametrize("command", ["flush set inet portreeve narrow4",
                                     "delete element inet portreeve narrow4 { udp }"])
def test_lost(lab, tool, command):
    tool.apply("add " + NARROW, "add " + rule(external=5001))
    lab.gw.nft(command)
    assert not arrives(lab, lab.inet1)
    assert arrives(lab, lab.inet1, port=5001)
    assert tool.disturbed() == 1
    assert tool.sync(NARROW, rule(external=5001)) == (1, 0)
    assert arrives(lab, lab.inet1)
    assert tool.disturbed(QUIET_MS) == 0


def test_too_much_is_no_harm(lab, tool):
    tool.apply("add " + rule())
    lab.gw.nft("add element inet portreeve narrow4 { udp, tcp, sctp }")
    assert arrives(lab, lab.inet1)
    assert tool.disturbed() == 1
    assert tool.sync(rule()) == (0, 0)
    assert protocols(lab) == set()
    assert tool.counters(rule())[0] == 2


def test_restart_with_another_table(lab, tools):
    """It is in the transaction that puts the table in the place of another one."""
    lab.gw.nft("table inet portreeve {\nset narrow4 { type ipv4_addr; }\n}")
    tool = tools().start()
    tool.sync(NARROW)
    assert protocols(lab) == {"udp"}
    assert arrives(lab, lab.inet1)
