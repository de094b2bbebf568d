# SPDX-License-Identifier: GPL-2.0-or-later
"""
The iptables backend against a real kernel: what it alone has. That it forwards as the
other one does is for the tests of both, with PORTREEVE_BACKEND=iptables.
"""

import fcntl
import re

import pytest

from backend import (BACKEND_TOOL, LAN1, LAN2, QUIET_MS, WAN, Tool, ToolError, flows,
                     pinhole, rule, stripped)
from lab import wait_for

TOOLS = ("iptables-legacy", "ip6tables-legacy")
# Longer than the backend's pause between two looks at the tables.
LOOK_MS = 5000
LOCK = "/run/xtables.lock"  # as hosts of the laboratory see lab.lock


def run(lab, line, **options):
    done = lab.gw.run(line.split(), **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


def save(lab, ours=True):
    """Lines of both iptables-save without counters, comments; ours: of ours, too."""
    found = []
    for tool in TOOLS:
        for line in run(lab, f"{tool}-save").splitlines():
            line = re.sub(r"\[\d+:\d+\]", "", line)
            if not line.startswith("#") and (ours or "PORTREEVE" not in line):
                found.append(line)
    return found


def ours(lab):
    return [line for line in save(lab) if "PORTREEVE" in line]


@pytest.fixture
def tools(lab):
    made = []
    assert lab.gw.run(["conntrack", "-F"]).returncode == 0

    def make(**options):
        made.append(Tool(lab, backend="iptables", **options))
        return made[-1]

    yield make
    for tool in made:
        tool.stop("close")
    assert ours(lab) == []
    for tool in TOOLS:
        for table in ("nat", "mangle", "filter"):
            run(lab, f"{tool} -t {table} -F")
            run(lab, f"{tool} -t {table} -X")
        run(lab, f"{tool} -P FORWARD ACCEPT")


@pytest.fixture
def tool(tools):
    started = tools().start()
    assert started.sync() == (0, 0)
    return started


EVERYTHING = [rule(out=True), rule("tcp", filters=["198.51.100.0/24@80", "203.0.113.2/32@0"]),
              rule(external=5003, internal=6003), pinhole(),
              pinhole(protocol="tcp", filters=["2001:db8:1::/64@0"])]


def test_what_iptables_saves_it_can_restore(lab, tool):
    tool.apply(*("add " + text for text in EVERYTHING))
    before = save(lab)
    for name in TOOLS:
        text = run(lab, f"{name}-save")
        assert "unsupported" not in text
        done = lab.gw.run([f"{name}-restore"], input=text)
        assert done.returncode == 0, done.stdout
    assert save(lab) == before
    assert tool.sync(*EVERYTHING) == (0, 0), "it is what we wrote, to the octet"
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)


def test_rules_of_others_are_not_touched(lab, tools):
    for line in ("iptables-legacy -t nat -A PREROUTING -p tcp --dport 80 -j REDIRECT",
                 "iptables-legacy -t nat -N OTHER",
                 "iptables-legacy -t nat -A POSTROUTING -o other0 -j OTHER",
                 "iptables-legacy -t mangle -A FORWARD -j TTL --ttl-inc 1",
                 "iptables-legacy -A FORWARD -i other0 -m limit --limit 3/s -j DROP",
                 "ip6tables-legacy -t mangle -A FORWARD -p udp -j MARK --set-mark 7"):
        run(lab, line)
    before = save(lab)
    tool = tools().start()
    assert save(lab) == before, "opening changes nothing"
    tool.sync(*EVERYTHING)
    tool.apply("delete " + EVERYTHING[0], "add " + rule(external=7))
    assert save(lab, ours=False) == before
    assert len(ours(lab)) > 40
    tool.stop("close")
    assert save(lab) == before


def test_first_in_the_chains_of_the_kernel(lab, tools):
    run(lab, "iptables-legacy -t nat -A POSTROUTING -o wan0 -j MASQUERADE")
    tool = tools().start()
    tool.sync(rule(out=True))
    chain = run(lab, "iptables-legacy -t nat -S POSTROUTING").splitlines()
    assert chain[1] == "-A POSTROUTING -j PORTREEVE-SNAT"
    with lab.lan1.udp(6000) as source:
        assert lab.udp_arrives(lab.lan1, ("203.0.113.3", 7000), lab.inet2, 7000,
                               source=source) == (WAN, 5000)


@pytest.mark.parametrize("how", ["kill", "keep"])
def test_what_a_former_run_left_is_taken_over(lab, tool, tools, how):
    tool.apply(*("add " + text for text in EVERYTHING))
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    before = save(lab)
    tool.stop(how)
    after = tools().start()
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    assert after.dump() == sorted(map(stripped, EVERYTHING))
    assert after.sync(*EVERYTHING) == (0, 0)
    assert save(lab) == before
    assert after.counters(EVERYTHING[0])[0] == 4, "and goes on counting"
    assert after.sync(EVERYTHING[2]) == (0, 5)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000) is None
    assert lab.udp_arrives(lab.inet1, (WAN, 5003), lab.lan1, 6003)


def test_no_chain_is_left_of_leases_that_end(lab, tool):
    before = save(lab)
    rules = [rule(external=1024 + 97 * n, internal=1024 + 97 * n, out=True)
             for n in range(200)] + [pinhole()]
    tool.apply(*("add " + text for text in rules))
    assert len(tool.dump()) == len(rules)
    for first in range(0, len(rules), 40):
        tool.apply(*("delete " + text for text in rules[first:first + 40]))
    assert save(lab) == before


@pytest.mark.parametrize("line", [
    "iptables-legacy -t nat -F", "iptables-legacy -t mangle -F", "ip6tables-legacy -t mangle -F",
    "iptables-legacy -t nat -D PREROUTING -j PORTREEVE-DNAT",
    "iptables-legacy -t mangle -D FORWARD -j PORTREEVE",
    "iptables-legacy -t nat -F PORTREEVE-DNAT-udp-4864",
    "iptables-legacy -t nat -A PORTREEVE-DNAT -j RETURN",
    "iptables-legacy -t nat -N PORTREEVE-SNAT-tcp-256",
    "iptables-legacy -t nat -I PREROUTING -p udp -j PORTREEVE-DNAT"])
def test_somebody_changes_our_chains(lab, tool, line):
    tool.apply(*("add " + text for text in EVERYTHING))
    before = save(lab)
    run(lab, line)
    assert tool.disturbed(LOOK_MS) == 1
    tool.sync(*EVERYTHING)
    assert save(lab) == before
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    assert lab.udp_arrives(lab.inet1, ("fd77::2", 6000), lab.lan1, 6000)


def test_reload_by_a_stranger(lab, tool):
    """iptables-restore of what was saved before leases came: jumps and chains go."""
    saved = {name: run(lab, f"{name}-save") for name in TOOLS}
    tool.apply(*("add " + text for text in EVERYTHING))
    before = save(lab)
    for name in TOOLS:
        assert lab.gw.run([f"{name}-restore"], input=saved[name]).returncode == 0
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000) is None
    assert tool.disturbed(LOOK_MS) == 1
    tool.sync(*EVERYTHING)
    assert save(lab) == before and tool.sync(*EVERYTHING) == (0, 0)


def test_a_change_finds_the_way_cut(lab, tool):
    tool.apply("add " + rule())
    run(lab, "iptables-legacy -t nat -F")
    for change in ("add " + rule(external=7), "delete " + rule()):
        with pytest.raises(ToolError, match="^ENOENT$"):
            tool.apply(change)
    tool.sync(rule())
    tool.apply("add " + rule(external=7))
    assert lab.udp_arrives(lab.inet1, (WAN, 7), lab.lan1, 6000)


def test_what_is_no_disturbance(lab, tool):
    tool.apply(*("add " + text for text in EVERYTHING))
    run(lab, "iptables-legacy -t nat -A PREROUTING -p tcp --dport 80 -j REDIRECT")
    run(lab, "iptables-legacy -t mangle -N OTHER")
    run(lab, "iptables-legacy -t mangle -I FORWARD -j OTHER")
    assert tool.disturbed(LOOK_MS) == 0


def test_while_iptables_is_busy(lab, tool):
    """Many commands at once with our changes: each finds its own work in the end."""
    loop = ("for i in $(seq 60); do iptables-legacy -w -t nat -A OTHER -p tcp "
            "--dport $i -j RETURN && iptables-legacy -w -t mangle -A FORWARD "
            "-p tcp --dport $i -j ACCEPT || exit 1; done")
    run(lab, "iptables-legacy -t nat -N OTHER")
    busy = lab.gw.start(["sh", "-c", loop])
    rules, number = [], 0
    while busy.poll() is None:
        rules.append(rule(external=2000 + number, internal=6000))
        tool.apply("add " + rules[-1])
        number += 1
    assert busy.wait() == 0, busy.output()
    assert number > 10
    assert len(tool.dump()) == number
    chain = run(lab, "iptables-legacy -t nat -S OTHER").splitlines()
    assert len(chain) == 61
    chain = run(lab, "iptables-legacy -t mangle -S FORWARD").splitlines()
    assert len(chain) == 62, "policy, ours, theirs"
    assert tool.sync(*rules) == (0, 0)


def test_lock_that_somebody_holds(lab, tool):
    with open(lab.lock, encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ToolError, match="^EBUSY$"):
            tool.apply("add " + rule())
        with pytest.raises(ToolError, match="^EBUSY$"):
            tool.apply("add " + rule())
        assert tool.output().count(LOCK + " for more than") == 1
    tool.apply("add " + rule())
    assert tool.dump() == [stripped(rule())]


def hold(lab, seconds):
    """Somebody who has the lock by now, and for so long."""
    holder = lab.gw.start(["flock", LOCK, "sh", "-c", f"echo held; exec sleep {seconds}"])
    wait_for(lambda: "held" in holder.output(), "the lock to be taken")
    return holder


def test_lock_is_waited_for(lab, tools):
    """For seconds at the start; for a moment later, as others do their work."""
    holder = hold(lab, 1)
    tool = tools().start()
    assert tool.sync(rule(external=7)) == (1, 0)
    assert holder.wait() == 0
    assert tool.output().count(LOCK + " for more than") == 1
    holder = hold(lab, 0.1)
    tool.apply("add " + rule())
    assert holder.wait() == 0
    assert tool.output().count(LOCK + " for more than") == 1
    assert tool.dump() == sorted([stripped(rule(external=7)), stripped(rule())])


ACCEPT = "-m connmark --mark 0x10000000/0x10000000 -m comment --comment portreeve -j ACCEPT"


def forward(lab, name="iptables-legacy", chain="FORWARD"):
    return run(lab, f"{name} -S {chain}").splitlines()[1:]


@pytest.mark.parametrize("policy", ["policy", "rule"])
def test_accept_in_a_chain_that_drops(lab, tools, policy):
    """One rule in FORWARD of both families, as long as we are there, and no other."""
    drop = "-P FORWARD DROP" if policy == "policy" else "-A FORWARD -j DROP"
    for name in TOOLS:
        run(lab, f"{name} {drop}")
    theirs = [] if policy == "policy" else ["-A FORWARD -j DROP"]
    tool = tools().start()
    tool.sync(*EVERYTHING)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000) is None
    assert forward(lab) == theirs, "not asked for"
    tool.stop("kill")
    tool = tools().start("accept")
    tool.sync(*EVERYTHING)
    for name in TOOLS:
        assert forward(lab, name) == [f"-A FORWARD {ACCEPT}", *theirs]
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    assert lab.udp_arrives(lab.inet1, ("fd77::2", 6000), lab.lan1, 6000)
    assert lab.udp_arrives(lab.lan2, ("203.0.113.3", 7000), lab.inet2, 7000) is None
    # A reload of the host's firewall, and a twin of our rule.
    for line in ("-F FORWARD", f"-I FORWARD {ACCEPT}", f"-A FORWARD {ACCEPT}"):
        run(lab, f"iptables-legacy {line}")
        if line == "-F FORWARD":
            run(lab, f"iptables-legacy {drop}")
        if len([x for x in forward(lab) if ACCEPT in x]) == 1:
            continue
        assert tool.disturbed(LOOK_MS) == 1
        tool.sync(*EVERYTHING)
        assert forward(lab) == [f"-A FORWARD {ACCEPT}", *theirs]
    tool.stop("kill")
    tool = tools().start("accept")
    tool.sync(*EVERYTHING)
    assert forward(lab) == [f"-A FORWARD {ACCEPT}", *theirs], "it is taken over"
    tool.stop("close")
    assert forward(lab) == theirs and forward(lab, TOOLS[1]) == theirs


def test_accept_only_where_it_is_needed_or_named(lab, tools):
    run(lab, "iptables-legacy -N LATER")
    tool = tools().start("accept")
    tool.sync(rule())
    assert forward(lab) == [] and forward(lab, chain="LATER") == []
    run(lab, "iptables-legacy -A FORWARD -j LATER")
    assert tool.disturbed(LOOK_MS) == 1
    tool.sync(rule())
    assert forward(lab) == [f"-A FORWARD {ACCEPT}", "-A FORWARD -j LATER"]
    tool.stop("kill")
    tool = tools().start("accept ip filter LATER")
    tool.sync(rule())
    assert forward(lab) == ["-A FORWARD -j LATER"]
    assert forward(lab, chain="LATER") == [f"-A LATER {ACCEPT}"]
    tool.stop("close")
    assert forward(lab, chain="LATER") == []
    tool = tools().start("accept ip filter NOWHERE")
    tool.sync(rule())
    assert "has no chain NOWHERE" in tool.output()


def test_many_peers_and_ports_of_one_leaf(lab, tool):
    """More ports than one `multiport` takes, singly and in runs; sixteen filters."""
    ports = [*range(5000, 5040, 2), *range(5040, 5050), 5055]
    filters = [f"198.51.{n}.0/24@{n * 7}" for n in range(1, 16)] + ["203.0.113.2/32@0"]
    rules = [rule(external=port, internal=port) for port in ports]
    rules.append(rule("tcp", filters=filters))
    tool.apply(*("add " + text for text in rules))
    assert tool.dump() == sorted(map(stripped, rules))
    held = [line for line in ours(lab) if line.endswith("-g PORTREEVE-HELD")]
    found = set()
    for line in held:
        for part in line.split("--sports ")[1].split()[0].split(","):
            first, _, last = part.partition(":")
            found |= set(range(int(first), int(last or first) + 1))
    assert found == set(ports)
    assert lab.tcp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000)
    assert lab.tcp_arrives(lab.inet2, (WAN, 5000), lab.lan1, 6000) is None


@pytest.mark.parametrize("options", ["", "keep-flows"])
def test_flows_of_leases_that_ended_meanwhile(lab, tools, options):
    tool = tools().start()
    tool.sync()
    ended, goes_on = rule(), rule(external=5001)
    tool.apply("add " + ended, "add " + goes_on)

    def count():
        return sorted(int(line.split("dport=")[1].split()[0])
                      for line in flows(lab, "-p", "udp").splitlines()
                      if f"mark={0x10000000}" in line)

    with lab.inet1.udp() as a, lab.inet1.udp() as b:
        for port, source in ((5000, a), (5001, b)):
            assert lab.udp_arrives(lab.inet1, (WAN, port), lab.lan1, 6000, source=source)
        tool.stop("kill")
        assert count() == [5000, 5001]
        after = tools().start(options)
        assert after.sync(goes_on) == (0, 1)
        if options:
            assert after.disturbed(QUIET_MS) == 0 and count() == [5000, 5001]
        else:
            after.settle(lambda: count() == [5001], "flows without a lease to end")


def test_replace_moves_targets_and_keeps_counters(lab, tool):
    tool.apply("add " + rule(out=True))
    with lab.inet1.udp() as source:
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 6000, source=source)
        tool.apply(f"replace {rule(out=True)} > {rule(timeout=7, out=True)}",
                   f"replace {rule(timeout=7, out=True)} > {rule()}")
        assert tool.counters(rule())[0] == 2
        tool.apply(f"replace {rule()} > {rule(host=LAN2)}")
        tool.settle(lambda: lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan2, 6000,
                                            source=source), "the flow to move")
    assert tool.dump() == [stripped(rule(host=LAN2))]


def test_without_privilege_one_line_says_so(tools, copy_for_all):
    tool = tools(uid=65534, path=copy_for_all(BACKEND_TOOL))
    with pytest.raises(ToolError, match="EPERM"):
        tool.do("open")
    lines = [line for line in tool.output().splitlines() if "error" in line or "<3>" in line]
    assert len(lines) == 1 and "CAP_NET_ADMIN" in lines[0] and "CAP_NET_RAW" in lines[0]
