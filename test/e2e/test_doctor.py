# SPDX-License-Identifier: GPL-2.0-or-later
"""
portreeve doctor: each finding is produced here, and is absent on a gateway that is well.
What mends a finding is run, and is looked at again.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pty
import re
import select
import shutil
import socket
import struct
import subprocess
import termios
import threading
import time

import hostfirewall
import pcp
import pytest
from conftest import get_build
from daemon import SANITIZER_REPORT, alive, children
from lab import set_namespace, wait_for


TOOL = os.path.join(get_build("asan"), "admin/portreeve")
PROGRAM = os.path.join(get_build("asan"), "doctor/portreeve-doctor")
NOBODY = 65534
# As promised, with sanitizers on a busy machine.
LONGEST_S = 4.0
SLACK_S = 6.0

IDS = ["config-bad", "daemon-not-running", "daemon-degraded", "no-default-route",
       "wan-missing", "wan-private", "wan-cgnat", "lan-wan-swapped", "lan-missing",
       "nftables-missing", "conntrack-missing", "forwarding-off", "reverse-path",
       "forward-dropped", "forward-early", "hairpin-dropped", "input-blocked", "other-igd",
       "no-translation", "translated-elsewhere"]
MEMBERS = {"id", "subject", "state", "text", "fix", "lasting"}


class Result:
    """What portreeve doctor --json said."""

    def __init__(self, done):
        assert not SANITIZER_REPORT.search(done.stdout + done.stderr), done.stderr
        assert done.returncode in (0, 7), (done.returncode, done.stdout, done.stderr)
        self.answer = json.loads(done.stdout)
        assert set(self.answer) == {"findings", "verdict", "exit"}
        self.findings = self.answer["findings"]
        assert all(set(finding) == MEMBERS for finding in self.findings)
        assert {finding["state"] for finding in self.findings} <= {
            "ok", "problem", "unknown"}
        self.exit = done.returncode
        assert self.answer["exit"] == self.exit
        assert (self.exit == 7) == bool(self.get(state="problem"))

    def __repr__(self):
        return json.dumps([f for f in self.findings if f["state"] != "ok"], indent=1)

    def get(self, name=None, subject=None, state=None):
        return [finding for finding in self.findings
                if (name is None or finding["id"] == name)
                and (subject is None or finding["subject"] == subject)
                and (state is None or finding["state"] == state)]

    def one(self, name, state="problem", subject=None):
        found = self.get(name, subject, state)
        assert len(found) == 1, (name, state, subject, self)
        return found[0]

    def problems(self):
        return {finding["id"] for finding in self.get(state="problem")}

    def states(self, name):
        return {finding["state"] for finding in self.get(name)}


class Gateway:
    """The gateway of the laboratory, its daemon, and the doctor on it."""

    def __init__(self, lab, file):
        self.lab, self.gw, self.file = lab, lab.gw, file

    def run(self, *arguments, before=(), **options):
        options.setdefault("stderr", subprocess.PIPE)
        return self.gw.run([*before, TOOL, "doctor", "-c", self.file, *arguments],
                           timeout=60, **options)

    def doctor(self, *arguments, search=False, **options):
        """Most tests have no time to search the LANs."""
        if not search:
            arguments = ("--no-search", *arguments)
        return Result(self.run("--json", *arguments, **options))

    def shell(self, *commands):
        for command in commands:
            done = self.gw.run(["bash", "-c", command])
            assert done.returncode == 0, (command, done.stdout)

    def mend(self, finding):
        """What it says is run as it stands there."""
        assert finding["fix"], finding
        self.shell(finding["fix"])


@pytest.fixture
def gateway(lab, keeper):
    """With a daemon on its defaults."""
    return Gateway(lab, keeper.get().file)


@pytest.fixture
def alone(lab, daemon_factory):
    """alone(config) -> a Gateway whose daemon does not run; only its file is there."""
    return lambda config="": Gateway(lab, daemon_factory(config).file)


@pytest.fixture
def firewall(lab):
    """At the end the firewall of the host is as the laboratory has it, ours untouched."""
    yield
    for table in lab.gw.run(["nft", "list", "tables"]).stdout.splitlines():
        if table != "table inet portreeve":
            lab.gw.nft("delete " + table)
    for tool in ("iptables-legacy", "ip6tables-legacy"):
        for words in (["-F"], ["-X"], ["-P", "FORWARD", "ACCEPT"], ["-P", "INPUT", "ACCEPT"]):
            lab.gw.run([tool, *words])
    lab.build_firewall()


@pytest.fixture
def sysctl(lab):
    """sysctl(name, value); at the end it is as it was."""
    with contextlib.ExitStack() as stack:
        def write(name, value):
            with lab.gw.inside(), open("/proc/sys/" + name, encoding="ascii") as file:
                stack.callback(lab.gw.write_sysctl, name, file.read().strip())
            lab.gw.write_sysctl(name, value)
        yield write


@pytest.fixture(scope="module")
def healthy(lab, keeper):
    """What is said of a gateway that is well."""
    return Gateway(lab, keeper.get().file).doctor(search=True)


# ---- a gateway that is well ----

@pytest.mark.parametrize("name", IDS)
def test_well(healthy, name):
    assert healthy.states(name) == {"ok"}, healthy.get(name)


def test_well_as_a_whole(healthy):
    assert healthy.exit == 0 and healthy.answer["verdict"] == "no problem found"
    assert {finding["id"] for finding in healthy.findings} == set(IDS)
    assert not any(finding["fix"] for finding in healthy.findings)
    subjects = {finding["subject"] for finding in healthy.get("input-blocked")}
    assert subjects == {"lan0", "guest0"}
    assert {finding["subject"] for finding in healthy.get("forward-dropped")} == {
        "IPv4", "IPv6"}


# ---- the firewall ----

def drop_native(gateway):
    gateway.gw.nft("flush chain inet lab_firewall forward")
    return "chain forward of table inet lab_firewall", "IPv4 and IPv6"


def drop_iptables(gateway):
    gateway.shell("iptables -P FORWARD DROP")
    return "chain FORWARD of table ip filter", "IPv4"


def drop_ip6tables(gateway):
    gateway.shell("ip6tables -A FORWARD -i wan0 -p udp -j REJECT")
    return "chain FORWARD of table ip6 filter", "IPv6"


def drop_legacy(gateway):
    gateway.shell("iptables-legacy -P FORWARD DROP",
                  "iptables-legacy -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT")
    return "chain FORWARD of iptables (table filter, iptables-legacy)", "IPv4"


@pytest.mark.parametrize("drop", [drop_native, drop_iptables, drop_ip6tables, drop_legacy])
def test_forward_dropped(gateway, firewall, drop):
    """The chain is named, and the command mends it."""
    chain, families = drop(gateway)
    result = gateway.doctor()
    assert result.problems() == {"forward-dropped"}, result
    found = result.one("forward-dropped")
    assert chain in found["text"] and found["subject"] == families, found
    # The backend of nf_tables puts no rule into what nf_tables does not show.
    assert ("integrate" in found["lasting"]) == (drop is not drop_legacy), found
    gateway.mend(found)
    assert gateway.doctor().exit == 0


def test_forward_dropped_by_packets(lab, gateway, firewall):
    """The truth of it: no packet comes in, until the command is run."""
    drop_native(gateway)
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", 27001, 27001, 600)
    target = (lab.WAN_ADDRESS, 27001)
    assert lab.udp_arrives(lab.inet1, target, lab.lan1, 27001) is None
    gateway.mend(gateway.doctor().one("forward-dropped"))
    assert lab.udp_arrives(lab.inet1, target, lab.lan1, 27001)


@pytest.mark.parametrize("name,words,lasting", [
    ("nftables", "nft insert rule inet filter forward", "/etc/nftables.conf"),
    ("fw4", "nft insert rule inet fw4 forward", "chain-pre/forward"),
    ("docker", "iptables -I DOCKER-USER", "Docker leaves DOCKER-USER alone"),
    ("ufw", "iptables -I FORWARD", "/etc/ufw/before"),
    ("firewalld", "nft insert rule inet firewalld filter_FORWARD", "firewalld takes"),
])
def test_forward_dropped_by_others(lab, gateway, firewall, name, words, lasting):
    """Firewalls that people have are known, and how a rule stays in them."""
    if hostfirewall.find_missing(name):
        pytest.skip(f"{name} is not installed")
    loaded = hostfirewall.FIREWALLS[name](lab)
    lab.gw.nft("delete table inet lab_firewall")
    try:
        loaded.load()
        result = gateway.doctor()
        found = result.get("forward-dropped", state="problem")
        assert found and all(lasting in one["lasting"] for one in found), result
        assert any(words in one["fix"].replace("ip6tables", "iptables") for one in found)
        assert all("integrate = auto" in one["lasting"] for one in found)
        for one in found:
            gateway.mend(one)
        assert gateway.doctor().states("forward-dropped") == {"ok"}
    finally:
        loaded.unload()


def test_forward_dropped_is_unknown(gateway, firewall):
    """What depends on what is not understood is no problem, and no good news."""
    gateway.gw.nft("flush chain inet lab_firewall forward\n"
                   "add rule inet lab_firewall forward limit rate 3/minute accept")
    result = gateway.doctor()
    assert result.exit == 0
    found = result.one("forward-dropped", "unknown")
    assert "chain forward of table inet lab_firewall" in found["text"], found
    gateway.mend(found)
    assert gateway.doctor().states("forward-dropped") == {"ok"}


def test_forward_dropped_will_be_mended_by_iptables(alone, firewall):
    """The backend iptables reaches the chains of iptables-legacy."""
    gateway = alone("[backend]\ntype = iptables\nintegrate = auto\n")
    drop_legacy(gateway)
    found = gateway.doctor().one("forward-dropped", "ok", "IPv4")
    assert "portreeved puts its rule there" in found["text"], found


def test_forward_dropped_will_be_mended(alone, firewall):
    """Where portreeved puts its rule by itself once it runs, nobody has to."""
    gateway = alone("[backend]\nintegrate = auto\n")
    drop_native(gateway)
    result = gateway.doctor()
    assert result.problems() == {"daemon-not-running"}, result
    assert "puts its rule there" in result.get("forward-dropped")[0]["text"]
    gateway = alone("[backend]\nintegrate = inet lab_firewall elsewhere\n")
    assert "forward-dropped" in gateway.doctor().problems()


def test_forward_dropped_is_mended(lab, keeper, firewall):
    """With its rule in the chain all is well."""
    gateway = Gateway(lab, keeper.get("[backend]\nintegrate = auto\n").file)
    drop_native(gateway)
    wait_for(lambda: "accept" in lab.gw.run(
        ["nft", "list", "chain", "inet", "lab_firewall", "forward"]).stdout, "our rule")
    assert gateway.doctor().exit == 0


def test_forward_early(gateway, firewall):
    """Before our mark is set, only IPv4 has something to be told by."""
    gateway.gw.nft("""table inet early {
        chain first {
            type filter hook forward priority -200; policy drop;
            ct state established accept
            iifname { "lan0", "guest0" } accept
        }
    }""")
    result = gateway.doctor()
    assert result.problems() == {"forward-early"}, result
    found = result.one("forward-early")
    assert found["subject"] == "IPv4 and IPv6" and "-200" in found["text"], found
    gateway.mend(found)
    found = gateway.doctor().one("forward-early")
    assert found["subject"] == "IPv6" and found["fix"] is None, found
    assert "-154 or above" in found["lasting"]


HOOKED = """table %s elsewhere {
    chain drops {
        type filter hook %s; policy accept;
        %s drop
    }
}"""


@pytest.mark.parametrize("port,family,hook,rule,name", [
    (27002, "inet", "prerouting priority raw", 'iifname "wan0" ct state invalid', "forward-early"),
    (27003, "ip", "prerouting priority mangle", "ip daddr 203.0.113.1 udp dport > 1024",
     "forward-early"),
    (27004, "netdev", 'ingress device "wan0" priority 0', "meta l4proto udp", "forward-early"),
    (27005, "inet", "postrouting priority mangle", 'iifname "wan0"', "forward-dropped"),
])
def test_forward_dropped_elsewhere(lab, gateway, firewall, port, family, hook, rule,
                                   name):
    """Other hooks than forward keep packets out just as well."""
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", port, port, 600)
    gateway.gw.nft(HOOKED % (family, hook, rule))
    target = (lab.WAN_ADDRESS, port)
    assert lab.udp_arrives(lab.inet1, target, lab.lan1, port) is None
    result = gateway.doctor()
    found = result.one(name)
    assert f"chain drops of table {family} elsewhere" in found["text"], result
    if name == "forward-dropped":
        gateway.mend(found)
        assert gateway.doctor().exit == 0
        assert lab.udp_arrives(lab.inet1, target, lab.lan1, port)
    else:
        assert found["fix"] is None and "portreeve list" in found["lasting"], found


def test_forward_dropped_by_an_owner(gateway, firewall):
    """Where nobody else may put a rule, no command says so."""
    owner = subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, text=True,
                             stdout=subprocess.DEVNULL, preexec_fn=gateway.gw.enter)
    owner.stdin.write(
        "add table inet kept { flags owner; }; add chain inet kept f { type filter "
        'hook forward priority 10; policy drop; }; add rule inet kept f iifname "lan0" '
        "accept\n")
    owner.stdin.flush()
    wait_for(lambda: "lan0" in gateway.gw.run(
        ["nft", "list", "ruleset", "inet"]).stdout.partition("table inet kept")[2],
        "the table")
    try:
        found = gateway.doctor().one("forward-dropped")
        assert found["fix"] is None and "flags owner" in found["lasting"], found
        assert "integrate cannot help" in found["lasting"]
    finally:
        owner.communicate()


def test_forward_dropped_above_docker(lab, gateway, firewall):
    """A rule in DOCKER-USER comes too late for what a rule before it drops."""
    lab.gw.nft("delete table inet lab_firewall")
    loaded = hostfirewall.FIREWALLS["docker"](lab)
    try:
        loaded.load()
        gateway.shell("iptables-nft -I FORWARD -i wan0 -m conntrack --ctstate NEW -j DROP")
        found = gateway.doctor().one("forward-dropped", subject="IPv4")
        assert "iptables -I FORWARD " in found["fix"], found
        gateway.mend(found)
        assert not [one for one in gateway.doctor().get("forward-dropped", state="problem")
                    if one["subject"] == "IPv4"]
    finally:
        loaded.unload()


def test_mark_is_lost(gateway, firewall):
    """What one chain makes of the mark, the next one sees."""
    gateway.gw.nft("""table inet qos {
        chain first {
            type filter hook forward priority -140;
            iifname "wan0" ct mark set 0x1
        }
    }""")
    result = gateway.doctor()
    found = result.one("forward-dropped", "unknown")
    assert "lab_firewall" in found["text"], result


def test_hairpin_dropped(lab, gateway, firewall):
    """What is for everybody but the neighbours; and where nobody gets in, that is told."""
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", 27006, 27006, 600)
    target = (lab.WAN_ADDRESS, 27006)
    assert lab.udp_arrives(lab.lan2, target, lab.lan1, 27006)
    gateway.gw.nft('insert rule inet lab_firewall forward iifname "lan0" oifname "lan0" drop')
    assert lab.udp_arrives(lab.lan2, target, lab.lan1, 27006) is None
    result = gateway.doctor()
    assert result.problems() == {"hairpin-dropped"}, result
    gateway.mend(result.one("hairpin-dropped"))
    assert gateway.doctor().exit == 0
    assert lab.udp_arrives(lab.lan2, target, lab.lan1, 27006)
    drop_native(gateway)
    assert gateway.doctor().problems() == {"forward-dropped"}


def test_translated_elsewhere(lab, gateway, keeper, firewall):
    """A DMZ host before us has it all, as a packet finds; behind us it has the rest."""
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", 27007, 27007, 600)
    target = (lab.WAN_ADDRESS, 27007)
    for priority, swallows in (("dstnat - 10", True), ("dstnat", False)):
        gateway.gw.nft(f"""table ip dmz {{
            chain pre {{
                type nat hook prerouting priority {priority};
                iifname "wan0" dnat to {lab.lan2.ipv4}
            }}
        }}""")
        result = gateway.doctor()
        arrives = lab.udp_arrives(lab.inet1, target, lab.lan1, 27007)
        if swallows:
            wait_for(lambda: "translated-elsewhere" in {
                problem["code"] for problem in
                keeper.get().json_any("status")["status"]["problems"]}, "the problem")
        gateway.gw.nft("delete table ip dmz")
        assert bool(arrives) is not swallows
        if swallows:
            assert result.problems() == {"translated-elsewhere"}, result
            found = result.one("translated-elsewhere")
            assert "chain pre of table ip dmz" in found["text"], found
        else:
            assert result.exit == 0, result


def block_before(gateway):
    gateway.gw.nft("""table inet own {
        chain before {
            type filter hook prerouting priority raw;
            iifname "lan0" udp dport { 1900, 5351 } drop
            iifname "lan0" tcp dport 49152 drop
        }
    }""")
    return "chain before of table inet own"


def block_native(gateway):
    gateway.gw.nft("""table inet own {
        chain input {
            type filter hook input priority 0; policy drop;
            iifname "guest0" accept
            ct state established accept
            udp sport 1900 accept
        }
    }""")
    return "chain input of table inet own"


def block_iptables(gateway):
    gateway.shell("iptables -A INPUT -i lan0 -p udp -m multiport --dports 1900,5351 -j DROP",
                  "iptables -A INPUT -i lan0 -p tcp --dport 49152 -j REJECT")
    return "chain INPUT of table ip filter"


def block_legacy(gateway):
    gateway.shell("iptables-legacy -A INPUT -i guest0 -j ACCEPT",
                  "iptables-legacy -A INPUT -i lan0 -p tcp -j DROP",
                  "iptables-legacy -A INPUT -i lan0 -p udp ! --sport 1900 -j DROP")
    return "chain INPUT of iptables (table filter, iptables-legacy)"


@pytest.mark.parametrize("block", [block_native, block_iptables, block_legacy, block_before])
def test_input_blocked(gateway, firewall, block):
    """On one LAN, by each kind of firewall; guest0 is open."""
    chain = block(gateway)
    result = gateway.doctor()
    assert result.problems() == {"input-blocked"}, result
    found = result.one("input-blocked")
    assert found["subject"] == "lan0" and chain in found["text"], found
    for port in ("UDP 1900", "UDP 5351", "TCP 49152"):
        assert port in found["text"], found
    gateway.mend(found)
    assert gateway.doctor().exit == 0


def test_input_blocked_in_part(gateway, firewall):
    """Only what is blocked is told, and opened."""
    gateway.gw.nft("""table inet own {
        chain input {
            type filter hook input priority 0;
            iifname "lan0" ip daddr 239.255.255.250 drop
            iifname "lan0" udp dport 5351 drop
        }
    }""")
    found = gateway.doctor().one("input-blocked")
    assert "UDP 1900 (search), UDP 5351" in found["text"] and "TCP" not in found["text"]
    assert "49152" not in found["fix"]


def test_no_translation(gateway, firewall):
    gateway.gw.nft("delete table ip lab_nat")
    result = gateway.doctor()
    assert result.problems() == {"no-translation"}, result
    gateway.mend(result.one("no-translation"))
    assert gateway.doctor().exit == 0


def test_translation_by_legacy(gateway, firewall):
    gateway.gw.nft("delete table ip lab_nat")
    gateway.shell("iptables-legacy -t nat -A POSTROUTING -o wan0 -j MASQUERADE")
    try:
        assert gateway.doctor().exit == 0
    finally:
        gateway.shell("iptables-legacy -t nat -F")


# ---- the network ----

@pytest.mark.parametrize("address,name", [("192.168.9.1", "wan-private"),
                                          ("100.64.9.1", "wan-cgnat")])
def test_wan_address(gateway, wan, address, name):
    wan.move(address)
    result = gateway.doctor()
    assert result.problems() == {name}, result
    assert address in result.one(name)["text"]


def test_wan_behind_configured_nat(alone, wan):
    """1:1 NAT that the owner tells of is none of our business."""
    wan.move("192.168.9.1")
    result = alone("[wan]\naddress = 198.51.100.7\n").doctor()
    assert result.problems() == {"daemon-not-running"}, result
    assert "1:1 NAT" in result.one("wan-private", "ok")["text"]


def test_wan_missing(lab, gateway, alone, wan):
    """Without an address; and an interface that is not there."""
    wan.lose()
    result = gateway.doctor()
    assert {"wan-missing", "no-default-route"} <= result.problems(), result
    assert "no IPv4 address" in result.one("wan-missing")["text"]
    wan.restore()
    result = alone("[wan]\ninterface = ppp7\n[lan lan0]\n").doctor()
    assert "no interface ppp7" in result.one("wan-missing")["text"]


def test_no_default_route(lab, gateway):
    lab.gw.ip("route", "del", "default")
    try:
        result = gateway.doctor()
        assert result.problems() == {"no-default-route"}, result
    finally:
        lab.gw.ip("route", "add", "default", "via", lab.inet1.ipv4)


def test_lan_wan_swapped(alone):
    result = alone("[wan]\ninterface = lan0\n[lan wan0]\n").doctor()
    found = result.one("lan-wan-swapped")
    assert "wan0 is a LAN here, but the default route leaves by it" in found["text"]
    assert "interface = wan0" in found["lasting"]
    result = alone("[lan wan0]\n").doctor()
    assert "[lan wan0]" in result.one("lan-wan-swapped")["text"]


def test_lan_missing(alone):
    result = alone("[lan lan0]\n[lan lan9]\n").doctor()
    assert result.one("lan-missing")["subject"] == "lan9"


@contextlib.contextmanager
def other_gateway(host, answer, times=1):
    """A host that answers each search with that, so many times."""
    with host.open_socket() as sock, contextlib.ExitStack() as stack:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("239.255.255.250", 1900))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                        socket.inet_aton("239.255.255.250") + socket.inet_aton(host.ipv4))
        speaker = stack.enter_context(host.udp(1900))
        ended, end = os.pipe()

        def serve():
            while True:
                ready = select.select([sock, ended], [], [])[0]
                if ended in ready:
                    return
                text, source = sock.recvfrom(2048)
                if text.startswith(b"M-SEARCH"):
                    for _ in range(times):
                        speaker.sendto(answer, source)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            os.close(end)
            thread.join()
            os.close(ended)


IGD = b"urn:schemas-upnp-org:device:InternetGatewayDevice:1"


@pytest.mark.parametrize("target,found", [(IGD, True), (b"upnp:rootdevice", False)])
def test_other_igd(lab, gateway, target, found):
    """A second gateway on the LAN; another kind of device is none."""
    answer = b"HTTP/1.1 200 OK\r\nEXT:\r\nST: " + target + b"\r\n\r\n"
    with other_gateway(lab.lan2, answer):
        result = gateway.doctor(search=True)
    if not found:
        assert result.exit == 0
        return
    assert result.problems() == {"other-igd"}, result
    one = result.one("other-igd")
    assert one["subject"] == "lan0" and lab.lan2.ipv4 in one["text"], one


def test_other_igd_behind_a_flood(lab, gateway):
    """Junk on one LAN makes that one unknown, and hides nothing on another."""
    answer = b"HTTP/1.1 200 OK\r\nEXT:\r\nST: " + IGD + b"\r\n\r\n"
    with other_gateway(lab.lan2, b"junk", 1500), other_gateway(lab.guest1, answer):
        result = gateway.doctor(search=True)
    assert lab.guest1.ipv4 in result.one("other-igd", subject="guest0")["text"], result
    assert "flooded" in result.one("other-igd", "unknown", "lan0")["text"], result


def test_other_igd_cannot_be_heard(gateway, firewall):
    """A firewall that keeps answers out makes silence say nothing."""
    gateway.gw.nft("""table inet own {
        chain input {
            type filter hook input priority 0;
            udp sport 1900 drop
        }
    }""")
    result = gateway.doctor(search=True)
    assert result.exit == 0 and result.states("other-igd") == {"unknown"}, result
    assert "keeps answers out" in result.get("other-igd")[0]["text"]


def test_reverse_path(lab, alone, sysctl):
    """Strict only where the default route is not the WAN's."""
    gateway = alone("[wan]\ninterface = wan0\n[lan lan0]\n")
    sysctl("net/ipv4/conf/wan0/rp_filter", 1)
    assert gateway.doctor().states("reverse-path") == {"ok"}
    lab.gw.ip("link", "add", "other0", "type", "bridge")
    try:
        lab.gw.ip("link", "set", "other0", "up")
        lab.gw.ip("route", "replace", "default", "dev", "other0")
        result = gateway.doctor()
        assert "by other0, not by the WAN" in result.one(
            "no-default-route", "unknown")["text"]
        gateway.mend(result.one("reverse-path"))
        assert gateway.doctor().states("reverse-path") == {"ok"}
    finally:
        lab.gw.ip("link", "del", "other0")
        lab.gw.ip("route", "replace", "default", "via", lab.inet1.ipv4)


# ---- the kernel ----

@pytest.mark.parametrize("key,subject", [("net/ipv4/ip_forward", "IPv4"),
                                         ("net/ipv6/conf/all/forwarding", "IPv6"),
                                         ("net/ipv4/conf/guest0/forwarding", "guest0")])
def test_forwarding_off(lab, gateway, sysctl, key, subject):
    sysctl(key, 0)
    result = gateway.doctor()
    assert result.problems() == {"forwarding-off"}, result
    gateway.mend(result.one("forwarding-off", subject=subject))
    assert gateway.doctor().exit == 0


def hide(*paths):
    """A command line before another, that sees empty directories there."""
    binds = "; ".join(f"mount -t tmpfs none {path}" for path in paths)
    return ["unshare", "-m", "sh", "-ec",
            f'mount --make-rprivate /; {binds}; exec "$@"', "sh"]


def test_conntrack_missing(gateway):
    result = gateway.doctor(before=hide("/proc/sys/net/netfilter"))
    assert result.problems() == {"conntrack-missing"}, result


class Compare(ctypes.Structure):
    """struct scmp_arg_cmp"""
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int),
                ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def refuse_netfilter():
    """From now on this process finds a kernel without nf_tables."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(0x7fff0000))  # allow
    equal = 4
    compare = (Compare * 2)(Compare(0, equal, socket.AF_NETLINK, 0),
                            Compare(2, equal, 12, 0))  # NETLINK_NETFILTER
    call = library.seccomp_syscall_resolve_name(b"socket")
    assert library.seccomp_rule_add_array(
        context, ctypes.c_uint32(0x00050000 | errno.EPROTONOSUPPORT), call, 2, compare) == 0
    assert library.seccomp_load(context) == 0


@pytest.fixture
def old_kernel(lab):
    """old_kernel(gateway, ...) -> the doctor's Result where there is no nf_tables."""
    def run(gateway, *before):
        def enter():
            set_namespace(lab.gw.fd)
            refuse_netfilter()
        done = subprocess.run([*before, TOOL, "doctor", "-c", gateway.file, "--json",
                               "--no-search"], preexec_fn=enter, capture_output=True,
                              text=True, check=False, timeout=60)
        return Result(done)
    return run


def test_nftables_missing(alone, old_kernel):
    result = old_kernel(alone("[backend]\ntype = nftables\n"))
    assert "nftables-missing" in result.problems(), result
    assert result.get("iptables-missing") == []
    # Where nothing drops, nothing is dropped.
    assert result.states("forward-dropped") == {"ok"}


def test_iptables_missing(alone, old_kernel):
    """`auto` takes what there is; who says iptables needs it."""
    result = old_kernel(alone("[backend]\ntype = auto\n"))
    assert result.states("iptables-missing") == {"ok"}, result
    assert result.get("nftables-missing") == []
    result = alone("[backend]\ntype = iptables\n").doctor(before=hide("/proc/$$/net"))
    assert "iptables-missing" in result.problems(), result


# ---- the daemon ----

def test_daemon_not_running(alone):
    result = alone().doctor()
    assert result.problems() == {"daemon-not-running"}, result
    assert result.one("daemon-degraded", "unknown")
    assert result.one("daemon-not-running")["fix"]


def test_daemon_degraded(lab, keeper):
    daemon = keeper.get("[wan]\ninterface = wan0\n[lan lan0]\npcp-anycast = yes\n")
    result = Gateway(lab, daemon.file).doctor()
    assert result.problems() == {"daemon-degraded"}, result
    assert result.one("daemon-degraded")["subject"] == "anycast"


def test_daemon_that_is_silent(lab, alone):
    """It takes the connection and says nothing: the doctor ends all the same."""
    gateway = alone()
    path = os.path.join(lab.directory, "silent.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        began = time.monotonic()
        result = gateway.doctor("--socket", path, search=True)
        assert time.monotonic() - began < LONGEST_S + SLACK_S
    os.unlink(path)
    assert "does not answer" in result.one("daemon-not-running")["text"]


def test_daemon_knows_better(lab, keeper, firewall):
    """What is in force counts, not what a file says by now: mark, ports, LANs."""
    daemon = keeper.get("[backend]\nmark = 0x40\n[global]\nhttp-port = 5555\n"
                        "[wan]\ninterface = wan0\n[lan lan0]\nprotocols = upnp\n")
    control = f"[global]\ncontrol-socket = {daemon.control}\n"
    with open(daemon.file, "w", encoding="utf-8") as file:
        file.write(control + "[lan guest0]\n")
    gateway = Gateway(lab, daemon.file)
    gateway.gw.nft("table inet own { chain input {\n"
                   "type filter hook input priority 0; policy drop;\n}\n}")
    result = gateway.doctor()
    assert result.problems() == {"forward-dropped", "input-blocked"}, result
    assert "0x40 == 0x40" in result.one("forward-dropped")["fix"]
    found = result.one("input-blocked")
    assert found["subject"] == "lan0" and "TCP 5555" in found["text"], found
    assert "5351" not in found["text"]


def test_config_bad(alone):
    gateway = alone("[backend]\nmarc = 1\n")
    found = gateway.doctor().one("config-bad")
    assert re.search(r"portreeve\.conf:\d+: .*marc", found["text"]), found
    assert "--check-config" in found["fix"]


def test_config_that_may_not_be_read(gateway, copy_for_all):
    """That is no mistake in it."""
    os.chmod(gateway.file, 0o600)
    try:
        result = Result(as_nobody(gateway, copy_for_all))
    finally:
        os.chmod(gateway.file, 0o644)
    assert result.states("config-bad") == {"unknown"}, result


# ---- who runs it, and how it reads ----

def as_nobody(gateway, copy_for_all):
    return gateway.gw.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
         copy_for_all(PROGRAM), "-c", gateway.file, "--json"], stderr=subprocess.PIPE)


def test_as_nobody(gateway, copy_for_all):
    """What only root may see is said to be so, and is no problem."""
    result = Result(as_nobody(gateway, copy_for_all))
    assert result.exit == 0, result
    unknown = {finding["id"] for finding in result.get(state="unknown")}
    assert {"forward-dropped", "forward-early", "input-blocked",
            "no-translation"} <= unknown, result
    assert "as root" in result.get("forward-dropped")[0]["text"]
    for name in ("wan-private", "forwarding-off", "other-igd", "lan-wan-swapped"):
        assert result.states(name) == {"ok"}, result


def test_lines_for_people(gateway, firewall):
    """In a pipe: no colours, 80 columns, problems first, commands that can be pasted."""
    drop_native(gateway)
    block_native(gateway)
    done = gateway.run("--no-search")
    assert done.returncode == 7 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80 and "\x1b" not in done.stdout
    heads = [line.split()[0] for line in lines[:-1] if not line[0].isspace()]
    assert heads == sorted(heads, key=["problem", "?", "ok"].index)
    assert lines[-1] == "2 problems; 2 cannot be told"
    commands = re.findall(r"To mend it now:\n((?:.* \\\n)*.*\n)", done.stdout)
    assert len(commands) == 2
    for command in commands:
        gateway.shell(command)
    assert gateway.run("--no-search").returncode == 0


@pytest.mark.parametrize("width", [60, 100])
def test_terminal(gateway, width):
    """Colour on a terminal, lines as wide as it is."""
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    gateway.run("--no-search", stdout=terminal, env=environment)
    os.close(terminal)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    assert "\x1b[32mok" in text and "\x1b[1;32mno problem found" in text
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert max(map(len, lines)) <= width


def test_changes_nothing(lab, gateway, firewall):
    """It looks, and that is all; and it is done soon."""
    drop_native(gateway)
    block_iptables(gateway)

    def look():
        commands = ("nft list ruleset", "ip address", "ip route show table all",
                    "ip maddress", "cat /proc/net/ip_tables_names", "cat /proc/modules",
                    "sysctl -a --pattern net.ipv4.conf", "ss -uanH")
        # the time that a lease has left is none of its business
        return [re.sub(r"expires \S+", "", lab.gw.run(
            command.split(), stderr=subprocess.DEVNULL).stdout) for command in commands]

    before = look()
    began = time.monotonic()
    assert gateway.doctor(search=True).exit == 7
    assert time.monotonic() - began < LONGEST_S + SLACK_S
    assert look() == before


def test_privileges(lab, gateway):
    """What comes from the network is read by a process that may do nothing."""
    process = lab.gw.start([PROGRAM, "-c", gateway.file, "--json"])
    child = wait_for(lambda: [pid for pid in children(process.pid) if status_of(
        pid).get("Seccomp") == "2"], "a child in its sandbox")[0]
    status = status_of(child)
    assert set(status["Uid"].split()) == {str(NOBODY)}, status
    assert all(int(status[f"Cap{kind}"], 16) == 0 for kind in ("Eff", "Prm", "Bnd", "Inh"))
    assert status["NoNewPrivs"] == "1"
    process.kill()
    wait_for(lambda: not alive(child), "the child to end with its parent")


def status_of(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return dict(re.findall(r"^(\w+):\s*(.*)$", file.read(), re.M))
    except (FileNotFoundError, ProcessLookupError):
        return {}


def test_legacy_tables_are_not_made(lab, gateway):
    """To ask the kernel for a table of iptables would make it."""
    with lab.inet2.inside():
        done = lab.inet2.run([TOOL, "doctor", "-c", gateway.file, "--json"],
                             stderr=subprocess.PIPE)
    assert Result(done).findings
    assert lab.inet2.run(["cat", "/proc/net/ip_tables_names"]).stdout == ""


@pytest.mark.parametrize("arguments", [["extra"], ["--gateway", "1.2.3.4"], ["-c"]])
def test_usage(lab, arguments):
    done = lab.gw.run([TOOL, "doctor", *arguments])
    assert done.returncode == 2


def test_program_is_missing(lab, tmp_path):
    """Half an installation says what is missing."""
    tool = shutil.copy(TOOL, tmp_path)
    done = lab.gw.run([tool, "doctor"])
    assert done.returncode == 1 and "portreeve-doctor" in done.stdout


