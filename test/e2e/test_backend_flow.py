# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules that keep one flow, in the nftables backend: beside filters of the same port."""

import pytest

from backend import WAN, ToolError, pinhole, rule, serve_tools, stripped

PORT = 7007
PEERS = {4: ("203.0.113.2/32", "203.0.113.0/24"),
         6: ("2001:db8:1::2/128", "2001:db8:1::/64")}


@pytest.fixture
def tools(lab):
    yield from serve_tools(lab)


@pytest.fixture
def tool(tools):
    started = tools().start()
    assert started.sync() == (0, 0)
    return started


def make(version, *filters, kind="-"):
    """A rule for port 6000 of lan1; kind: "flow" or "-"."""
    text = (rule if version == 4 else pinhole)(protocol="udp", filters=filters)
    words = text.split()
    words[6] = kind
    return " ".join(words)


@pytest.mark.parametrize("version", [4, 6])
def test_beside_filters(tool, version):
    one, network = PEERS[version]
    rules = [make(version, f"{one}@{PORT}", kind="flow"),
             make(version, f"{one}@{PORT + 1}", kind="flow"),
             make(version, f"{network}@{PORT + 1}", f"{one}@{PORT}")]
    tool.apply(*("add " + text for text in rules))
    assert tool.dump() == sorted(stripped(text) for text in rules)
    assert tool.sync(*rules) == (0, 0)
    for text in rules[:2]:
        with pytest.raises(ToolError, match="EEXIST"):
            tool.apply(f"add {text}")
    tool.apply(f"delete {rules[0]}")
    assert tool.dump() == sorted(stripped(text) for text in rules[1:])
    tool.apply(f"delete {rules[2]}")
    assert tool.dump() == [stripped(rules[1])]
    assert tool.sync(*rules[:2]) == (1, 0)
    assert tool.sync() == (0, 2)


@pytest.mark.parametrize("version", [4, 6])
def test_one_peer_and_port(tool, version):
    one, network = PEERS[version]
    for filters in ([], [f"{one}@0"], [f"{network}@{PORT}"],
                    [f"{one}@{PORT}", f"{one}@{PORT + 1}"]):
        with pytest.raises(ToolError, match="EINVAL"):
            tool.apply("add " + make(version, *filters, kind="flow"))
    assert tool.dump() == []


def test_counts_for_itself(lab, tool):
    one, network = PEERS[4]
    flow = make(4, f"{one}@{PORT}", kind="flow")
    wide = make(4, f"{network}@0")
    tool.apply(f"add {flow}", f"add {wide}")
    with lab.inet1.udp(PORT) as peer:
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000, source=peer)
    assert (tool.counters(flow)[0], tool.counters(wide)[0]) == (2, 0)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    assert (tool.counters(flow)[0], tool.counters(wide)[0]) == (2, 2)
