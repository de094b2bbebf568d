# SPDX-License-Identifier: GPL-2.0-or-later
"""
portreeve beside another firewall on the gateway: what that drops, an accept in our table
cannot let in. Off changes nothing of it and says so; otherwise one rule in each chain does.
"""

import contextlib
import itertools
import socket
import time

import hostfirewall
import pcp
import pytest
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
PORTS = itertools.count(26000)
# A reload of the host's firewall may take a while; after it, we have this long.
RESTORED_S = 1.0


def configure(integrate):
    return f"[backend]\nintegrate = {integrate}\n"


@pytest.fixture(scope="module")
def lab():
    with Lab(firewall=False) as laboratory:
        yield laboratory


@pytest.fixture
def load(lab):
    """load(name) -> a HostFirewall in force; at the end the gateway has none."""
    loaded = []

    def make(name):
        missing = hostfirewall.find_missing(name)
        if missing:
            pytest.skip(f"{missing} is not installed")
        firewall = hostfirewall.FIREWALLS[name](lab)
        loaded.append(firewall)
        firewall.load()
        return firewall

    yield make
    for firewall in loaded:
        firewall.unload()
    lab.gw.nft("flush ruleset")
    lab.build_firewall()


@pytest.fixture(params=list(hostfirewall.FIREWALLS))
def firewall(request, load):
    return load(request.param)


class Leases:
    """A port of lan1 for each family and protocol, and whether packets reach it."""

    def __init__(self, lab):
        self.lab, self.ports = lab, {}
        for family in ("ipv4", "ipv6"):
            for protocol in ("udp", "tcp"):
                self.ports[family, protocol] = next(PORTS)
        self.grant()

    def grant(self):
        for family, kind in (("ipv4", socket.AF_INET), ("ipv6", socket.AF_INET6)):
            with pcp.Client(self.lab.lan1, family=kind) as client:
                for protocol in ("udp", "tcp"):
                    port = self.ports[family, protocol]
                    client.grant(protocol, port, port, 3600)

    def arrives(self, family, protocol="udp", port=None):
        port = port or self.ports[family, protocol]
        send = self.lab.udp_arrives if protocol == "udp" else self.lab.tcp_arrives
        target = WAN if family == "ipv4" else self.lab.lan1.ipv6
        return send(self.lab.inet1, (target, port), self.lab.lan1, port) is not None

    def all_arrive(self):
        return all(self.arrives(*key) for key in self.ports)


def problems(daemon):
    return {x["text"] for x in daemon.json_any("status")["status"]["problems"]
            if x["code"] == "forward-dropped"}


def integration(daemon):
    return daemon.json_any("status")["status"]["integration"]


def test_off(lab, daemon_factory, firewall):
    """Nothing foreign is changed; status and log say which chain drops what."""
    before = firewall.listing()
    daemon = daemon_factory().start()
    leases = Leases(lab)
    for family in ("ipv4", "ipv6"):
        passes = family in firewall.lets
        assert leases.arrives(family) == passes and leases.arrives(family, "tcp") == passes
        word = {"ipv4": "(IPv4)", "ipv6": "(IPv6)"}[family]
        told = [text for text in problems(daemon) if word in text]
        assert len(told) == (0 if passes else 1)
        assert integration(daemon)[family] == ("passes" if passes else "dropped")
        for text in told:
            assert any(f"chain {chain} drops" in text for chain in firewall.chains), text
    assert daemon.run_tool("status").returncode == 7
    assert "drops leased traffic" in daemon.log()
    assert firewall.count_ours() == {} and firewall.listing() == before
    daemon.stop()
    assert firewall.listing() == before


def test_auto(lab, daemon_factory, firewall):
    """One rule in each chain that drops; it comes back after a reload, and goes at the end"""
    before = firewall.listing()
    daemon = daemon_factory(configure("auto")).start()
    leases = Leases(lab)
    assert leases.all_arrive()
    assert not leases.arrives("ipv6", "udp", next(PORTS))
    assert firewall.count_ours() == dict.fromkeys(firewall.chains, 1)
    assert firewall.listing() == before
    found = integration(daemon)
    assert sorted(found["rules"]) == sorted(firewall.chains) and found["mode"] == "auto"
    assert (found["restored"], found["ipv4"], found["ipv6"]) == (0, "passes", "passes")
    assert problems(daemon) == set()
    assert daemon.run_tool("status").returncode == 0
    firewall.check()
    daemon.stop()
    assert firewall.count_ours() == {}
    assert lines_but(firewall.listing(), "8123") == before


def lines_but(text, word):
    return "".join(line for line in text.splitlines(True) if word not in line)


def test_reload(lab, daemon_factory, firewall):
    """The host's firewall is loaded again: leased traffic passes within a second of it."""
    daemon = daemon_factory(configure("auto")).start()
    leases = Leases(lab)
    for times in (1, 2):
        firewall.reload()
        end = time.monotonic() + RESTORED_S
        wait_for(leases.all_arrive, "leased traffic after a reload", RESTORED_S)
        assert time.monotonic() < end + RESTORED_S
        assert firewall.count_ours() == dict.fromkeys(firewall.chains, 1)
        if firewall.name == "ufw":  # it leaves strangers' rules where they are
            continue
        wait_for(lambda: integration(daemon)["restored"] == times * len(firewall.chains),  # noqa: B023
                 "a count of what was put back")
        lines = [x for x in daemon.log().splitlines() if "put back" in x]
        assert len(lines) == times, lines
        assert all(chain in lines[-1] for chain in firewall.chains)


@pytest.mark.parametrize("name", ["nftables", "docker"])
def test_kill(lab, daemon_factory, load, name):
    """What a killed run left is adopted, not doubled; a clean stop then removes it."""
    firewall = load(name)
    before = firewall.listing()
    daemon = daemon_factory(configure("auto")).start()
    leases = Leases(lab)
    for _ in range(2):
        daemon.kill()
        assert firewall.count_ours() == dict.fromkeys(firewall.chains, 1)
        daemon.start()
        assert firewall.count_ours() == dict.fromkeys(firewall.chains, 1)
        assert leases.all_arrive()
    assert integration(daemon)["restored"] == 0
    daemon.stop()
    assert firewall.count_ours() == {} and firewall.listing() == before


def test_kill_and_stop(lab, daemon_factory, load):
    """Doubles and rules for another mark that were left go, and strangers' rules stay."""
    firewall = load("nftables")
    stranger = 'ct mark and 0x4 == 0x4 counter drop comment "portreeve"'
    lab.gw.nft(f"insert rule inet filter forward {stranger}\n"
               'insert rule inet filter forward ct mark 0x7 accept comment "portreeve"\n'
               'insert rule inet filter forward ct mark and 0x8 == 0x8 accept comment "mine"\n')
    before = firewall.listing()
    lab.gw.nft('add rule inet filter forward ct mark and 0x20 == 0x20 accept comment "portreeve"\n'
               + 'add rule inet filter forward ct mark and 0x10000000 == 0x10000000 accept '
               'comment "portreeve"\n' * 3)
    daemon = daemon_factory(configure("auto")).start()
    assert Leases(lab).all_arrive()
    assert firewall.count_ours() == {"inet filter forward": 1}
    assert firewall.listing() == before
    daemon.stop()
    assert firewall.count_ours() == {} and firewall.listing() == before


def test_keep_rules(lab, daemon_factory, load):
    """keep-rules = yes: the rule stays with the leases, and is adopted again"""
    firewall = load("nftables")
    config = configure("auto") + "keep-rules = yes\n"
    daemon = daemon_factory(config).start()
    leases = Leases(lab)
    daemon.stop()
    assert leases.all_arrive() and firewall.count_ours() == {"inet filter forward": 1}
    daemon.start()
    assert leases.all_arrive() and firewall.count_ours() == {"inet filter forward": 1}
    daemon.configure(configure("auto"))
    daemon.stop()
    daemon.start()
    daemon.stop()
    assert firewall.count_ours() == {}


def test_named_chain(lab, daemon_factory, load):
    """The rule stands where the owner says, jumped-to chains too, and nowhere else."""
    firewall = load("fw4")
    before = firewall.listing()
    daemon = daemon_factory(configure("inet fw4 forward_wan")).start()
    assert Leases(lab).all_arrive()
    assert firewall.count_ours() == {"inet fw4 forward_wan": 1}
    assert integration(daemon)["rules"] == ["inet fw4 forward_wan"]
    daemon.kill()
    daemon.configure(configure("auto"))
    daemon.start()
    wait_for(lambda: firewall.count_ours() == {"inet fw4 forward": 1}, "the other chain")
    assert Leases(lab).all_arrive()
    daemon.stop()
    assert firewall.listing() == before and firewall.count_ours() == {}


def test_named_chain_of_iptables(lab, daemon_factory, load):
    """One that the base chain leads to: a rule of iptables there, for its family only"""
    firewall = load("docker")
    before = firewall.listing()
    daemon = daemon_factory(configure("ip6 filter DOCKER-USER")).start()
    leases = Leases(lab)
    assert leases.arrives("ipv6") and leases.arrives("ipv6", "tcp")
    assert not leases.arrives("ipv4")
    assert firewall.count_ours() == {"ip6 filter DOCKER-USER": 1}
    assert [x for x in problems(daemon) if "ip filter FORWARD" in x and "(IPv4)" in x]
    listed = firewall.run("ip6tables-nft", "-S", "DOCKER-USER").splitlines()
    assert listed[1] == f"-A DOCKER-USER {hostfirewall.OURS_IPTABLES}"
    daemon.stop()
    assert firewall.count_ours() == {} and firewall.listing() == before


def test_named_chain_is_missing(lab, daemon_factory, load):
    """A chain that is not there is waited for, and said."""
    daemon = daemon_factory(configure("inet filter forward")).start()
    status = daemon.json_any("status")["status"]
    assert [x["code"] for x in status["problems"]] == ["integrate-missing"]
    assert len([x for x in daemon.log().splitlines() if "there is no chain" in x]) == 1
    leases = Leases(lab)
    assert leases.all_arrive()  # nothing keeps it out
    firewall = load("nftables")
    wait_for(leases.all_arrive, "leased traffic through the new chain", RESTORED_S)
    assert firewall.count_ours() == {"inet filter forward": 1}
    assert daemon.json("status")["status"]["problems"] == []


def test_several(lab, daemon_factory, load):
    """Chains of several firewalls that all drop each get theirs."""
    firewalls = [load("docker"), load("nftables"), load("fw4")]
    lab.gw.nft("table inet strict { chain one { type filter hook forward priority 20; policy "
               "drop; ct state established accept\niifname lan0 accept\n}\n"
               "chain free { type filter hook forward priority 30; policy accept; }\n}")
    before = firewalls[0].listing()
    daemon = daemon_factory(configure("auto")).start()
    leases = Leases(lab)
    assert leases.all_arrive()
    wanted = {chain: 1 for x in firewalls for chain in x.chains}
    wanted["inet strict one"] = 1
    assert firewalls[0].count_ours() == wanted
    daemon.stop()
    assert firewalls[0].listing() == before
    daemon.configure(configure("inet strict one"))
    daemon.start()
    assert len(problems(daemon)) == 2 and not leases.arrives("ipv4")
    assert firewalls[0].count_ours() == {"inet strict one": 1}


def test_save_and_restore(lab, daemon_factory, load):
    """iptables-save and iptables-restore take our rule along: it stays one."""
    firewall = load("docker")
    before = firewall.listing().count("\n")
    daemon = daemon_factory(configure("auto")).start()
    leases = Leases(lab)
    firewall.save_and_restore()
    assert leases.all_arrive()
    daemon.kill()
    daemon.start()
    assert leases.all_arrive()
    assert firewall.count_ours() == dict.fromkeys(firewall.chains, 1)
    firewall.check()
    daemon.stop()
    assert firewall.count_ours() == {}
    assert firewall.listing().count("\n") == before


def test_what_stands_before_ours(lab, daemon_factory, load):
    """
    A list of addresses to be kept out, put first after us, stays first; what would keep
    out all leased traffic does not.
    """
    firewall = load("nftables")
    daemon = daemon_factory(configure("auto")).start()
    leases = Leases(lab)
    lab.gw.nft(f"insert rule inet filter forward ip saddr {lab.inet2.ipv4} counter drop\n")
    wait_for(lambda: firewall.count_ours() == {"inet filter forward": 1}, "one rule")
    with pytest.raises(TimeoutError):
        wait_for(lambda: integration(daemon)["restored"] > 0, "nothing", RESTORED_S)
    assert leases.all_arrive()
    port = leases.ports["ipv4", "udp"]
    assert lab.udp_arrives(lab.inet2, (WAN, port), lab.lan1, port) is None
    lab.gw.nft('insert rule inet filter forward iifname "wan0" ct state new drop\n')
    wait_for(leases.all_arrive, "leased traffic before the drop", RESTORED_S)
    assert firewall.count_ours() == {"inet filter forward": 1}


def test_removed_by_hand(lab, daemon_factory, load):
    """Somebody takes our rule out: it comes back, once, with one line."""
    firewall = load("nftables")
    daemon = daemon_factory(configure("auto")).start()
    leases = Leases(lab)
    text = lab.gw.run(["nft", "-a", "list", "chain", "inet", "filter", "forward"]).stdout
    [line] = [x for x in text.splitlines() if "portreeve" in x]
    lab.gw.nft(f"delete rule inet filter forward handle {line.split()[-1]}")
    wait_for(leases.all_arrive, "leased traffic", RESTORED_S)
    assert firewall.count_ours() == {"inet filter forward": 1}
    assert len([x for x in daemon.log().splitlines() if "put back" in x]) == 1


def test_reload_of_the_configuration(lab, daemon_factory, load):
    """The value of integrate follows a reload of portreeved; nothing of others does."""
    firewall = load("fw4")
    before = firewall.listing()
    daemon = daemon_factory().start()
    leases = Leases(lab)
    for value, chains in (("auto", ["inet fw4 forward"]), ("off", []),
                          ("inet fw4 forward_wan", ["inet fw4 forward_wan"]),
                          ("auto", ["inet fw4 forward"]), ("off", [])):
        daemon.configure(configure(value))
        daemon.admin("reload") if value != "off" else daemon.run_tool("reload")
        assert firewall.count_ours() == dict.fromkeys(chains, 1), value
        assert leases.arrives("ipv6") == leases.arrives("ipv4") == bool(chains)
        assert integration(daemon)["rules"] == chains
        assert len(problems(daemon)) == (0 if chains else 2)
    assert firewall.listing() == before


def test_flush_ruleset(lab, daemon_factory, load):
    """flush ruleset takes all, ours and the host's, and the host's is loaded again."""
    firewall = load("nftables")
    daemon = daemon_factory(configure("auto")).start()
    leases = Leases(lab)
    lab.gw.nft("flush ruleset")
    lab.build_firewall()
    firewall.load()
    wait_for(leases.all_arrive, "leased traffic", RESTORED_S)
    assert firewall.count_ours() == {"inet filter forward": 1}
    assert daemon.json("status")["status"]["backend"]["resyncs"] >= 1


def test_others_see_only_ours(lab, daemon_factory, load):
    """nft monitor: a start and a stop touch no rule of others but the one."""
    load("nftables")
    with contextlib.ExitStack() as stack:
        monitor = lab.gw.start(["nft", "monitor", "rules"])
        stack.callback(monitor.kill)
        probe = "inet prober probe"
        lab.gw.nft("add table inet prober\nadd chain inet prober probe")

        def seen(word):
            lab.gw.nft(f'add rule {probe} counter comment "{word}"')
            return word in monitor.output()

        wait_for(lambda: seen("begin"), "nft monitor")
        daemon = daemon_factory(configure("auto")).start()
        daemon.stop()
        wait_for(lambda: seen("end"), "nft monitor")
        lines = [x for x in monitor.output().splitlines()
                 if "inet portreeve" not in x and "prober" not in x]
        lines = [x for x in lines if x.startswith(("add rule", "insert rule", "delete rule"))]
        assert len(lines) == 2 and all("inet filter forward" in x for x in lines), lines
        assert "portreeve" in lines[0]


def test_at_the_priority_of_mangle(lab, daemon_factory):
    """A chain at the priority of iptables' mangle sees the mark, be it younger than ours."""
    daemon = daemon_factory(configure("auto")).start()
    try:
        lab.gw.nft("table inet late { chain forward { type filter hook forward priority "
                   'mangle; policy drop; ct state established accept\niifname "lan0" accept\n'
                   "}\n}")
        wait_for(lambda: integration(daemon)["rules"] == ["inet late forward"], "the rule")
        assert Leases(lab).all_arrive()
        assert integration(daemon)["ipv4"] == "passes"
    finally:
        lab.gw.nft("delete table inet late")


@contextlib.contextmanager
def stranger(lab):
    """Somebody who changes a set of theirs some 90 times a second."""
    lab.gw.nft("add table inet busy\nadd set inet busy s { type ipv4_addr; }")
    busy = lab.gw.start(["sh", "-c", "i=0; while :; do i=$((i + 1)); "
                         'echo "add element inet busy s { 10.0.$((i / 250)).$((i % 250)) }"; '
                         "sleep 0.01; done | nft -i"])
    try:
        yield
    finally:
        busy.kill()


BIG = ("table inet big {{\nchain x {{\n{rules}\n}}\nchain forward {{\n"
       "type filter hook forward priority 0; policy drop;\nct state established accept\n"
       "iifname lan0 accept\njump x\n}}\n}}\n")


def load_big(lab, count):
    rules = "\n".join(f"ip saddr 11.{i >> 16}.{i >> 8 & 255}.{i & 255} counter drop"
                      for i in range(count))
    lab.gw.nft(BIG.format(rules=rules))


def count_in_chain(lab, table="big"):
    text = lab.gw.run(["nft", "list", "chain", "inet", table, "forward"]).stdout
    return len(hostfirewall.OURS.findall(text))


def test_busy_stranger(lab, daemon_factory, load):
    """Changes without end of something else hide neither what is lost nor the end."""
    load_big(lab, 10000)
    daemon = daemon_factory(configure("auto")).start()
    assert count_in_chain(lab) == 1
    with stranger(lab):
        for _ in range(3):
            lab.gw.nft("flush chain inet big forward\nadd rule inet big forward ct state "
                       "established accept\nadd rule inet big forward jump x")
            wait_for(lambda: count_in_chain(lab) == 1, "our rule", 2 * RESTORED_S)
        wait_for(lambda: integration(daemon)["rules"] == ["inet big forward"], "a true status")
        assert not daemon.json_any("status")["status"]["problems"]
        daemon.stop()
        assert count_in_chain(lab) == 0


OWNED = ("add table inet owned { flags owner; }; "
         "add chain inet owned forward { type filter hook forward priority 10; policy drop; }; "
         'add rule inet owned forward ct state established accept; '
         'add rule inet owned forward iifname "lan0" accept')


def test_table_with_an_owner(lab, daemon_factory, load):
    """Its chains refuse our rule, which is said; others get theirs all the same."""
    load("nftables")
    owner = lab.gw.start(["sh", "-c", f"(echo '{OWNED}'; exec sleep 1000) | nft -i"])
    wait_for(lambda: "owned" in lab.gw.run(["nft", "list", "tables"]).stdout, "the table")
    try:
        daemon = daemon_factory(configure("auto")).start()
        assert integration(daemon)["rules"] == ["inet filter forward"]
        found = {x["code"]: x["text"]
                 for x in daemon.json_any("status")["status"]["problems"]}
        assert "inet owned forward" in found["integrate-refused"]
        assert "owner" in found["integrate-refused"] and "forward-dropped" in found
        leases = Leases(lab)
        assert not leases.arrives("ipv4")
    finally:
        owner.kill()
    wait_for(lambda: not daemon.json_any("status")["status"]["problems"], "no problem", 10)
    assert leases.all_arrive()
