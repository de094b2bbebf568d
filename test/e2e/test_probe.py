# SPDX-License-Identifier: GPL-2.0-or-later
"""portreeve probe: against portreeved, and against gateways that do it wrong."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time

import pytest
from conftest import get_build
from daemon import SANITIZER_REPORT, children
from lab import wait_for
from stub_gateway import DESCRIPTION, EXTERNAL, LAN_ADDRESS, Hang, StubGateway

TOOL = os.path.join(get_build("asan"), "admin/portreeve")
PROGRAM = os.path.join(get_build("asan"), "probe/portreeve-probe")
# What a run may take beside its time-outs, with sanitizers on a busy machine.
SLACK_S = 8.0
NOBODY = "65534"

UPNP_STEPS = ["search", "description", "address", "status", "event", "map", "entry",
              "delete", "gone"]
ALL_STEPS = ([("gateway", "route")]
             + [("nat-pmp", name) for name in ("address", "map", "delete", "epoch")]
             + [("pcp", name) for name in ("announce", "version", "map", "delete", "epoch")]
             + [("upnp", name) for name in UPNP_STEPS]
             + [("all", "external"), ("all", "reach")])


class Result:
    """What portreeve probe --json said."""

    def __init__(self, status, output, errors=""):
        assert not SANITIZER_REPORT.search(output + errors), output + errors
        self.answer = json.loads(output)
        assert set(self.answer) == {"gateway", "steps", "verdict", "exit"}
        assert self.answer["exit"] == status, self.answer
        self.exit, self.verdict = status, self.answer["verdict"]
        self.steps = {(step["protocol"], step["step"]): step
                      for step in self.answer["steps"]}
        assert len(self.steps) == len(self.answer["steps"]), "a step was told twice"

    def __repr__(self):
        return json.dumps(self.answer, indent=1)

    def text(self, protocol, step):
        return self.steps[protocol, step]["text"]

    def outcomes(self, protocol):
        return {step: found["outcome"] for (whose, step), found in self.steps.items()
                if whose == protocol}

    def bad(self):
        return {key for key, step in self.steps.items() if step["ok"] is False}


def probe(host, *arguments):
    done = host.run([TOOL, "probe", "--json", *arguments], timeout=120,
                    stderr=subprocess.PIPE)
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module", autouse=True)
def searches_over_ipv4(lab):
    """
    libupnp takes 0.8 s more where its host has IPv6, which it finds with sanitizers only:
    the sandbox keeps it from looking.
    """
    lab.lan1.write_sysctl("net/ipv6/conf/eth0/disable_ipv6", 1)


@pytest.fixture
def stub(lab):
    """stub(answer_x=...) -> a StubGateway, serving on the gateway of the laboratory."""
    with contextlib.ExitStack() as stack:
        yield lambda **answers: stack.enter_context(StubGateway(lab.gw, **answers))


def silent(*_):
    return []


def hang(*_):
    raise Hang


# ---- portreeved itself ----

def test_own_gateway(lab, daemon):
    """Every step of every protocol works, and nothing is left behind."""
    result = probe(lab.lan1)
    assert list(result.steps) == ALL_STEPS
    assert {step["outcome"] for step in result.steps.values()} == {"ok"}, result
    assert result.exit == 0
    assert result.answer["gateway"] == LAN_ADDRESS
    assert result.verdict == "it works: nat-pmp, pcp, upnp"
    assert lab.WAN_ADDRESS in result.text("all", "external")
    assert "ExternalIPAddress" in result.text("upnp", "event")
    assert daemon.leases() == []
    added = re.findall(r"lease added .* via=(\S+)", daemon.log())
    assert sorted(added) == ["igd", "nat-pmp", "pcp"], daemon.log()


def test_lines_for_people(lab, daemon):
    done = lab.lan1.run([TOOL, "probe", "--gateway", LAN_ADDRESS])
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert max(map(len, lines)) <= 80 and "\x1b" not in done.stdout
    first = re.compile(r"(\S+) +(\S+) +(ok|warn|no|-) +\d+ ms  \S")
    assert [found.group(1, 2) for found in map(first.match, lines) if found] == ALL_STEPS
    # what is wrapped stands below its beginning
    column = lines[0].index(" ms  ") + 5
    assert all(first.match(line) or line[:column].isspace() for line in lines[:-1])
    assert lines[-1] == "it works: nat-pmp, pcp, upnp"


@pytest.mark.parametrize("width", [60, 100])
def test_terminal(lab, daemon, width):
    """Colour on a terminal, lines as wide as it is."""
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    lab.lan1.run([TOOL, "probe"], stdout=terminal, env=environment)
    os.close(terminal)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    assert "\x1b[32mok" in text and "\x1b[1;32mit works" in text
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert width - 20 < max(map(len, lines)) <= width


@pytest.mark.parametrize("protocol", ["nat-pmp", "pcp", "upnp"])
def test_one_protocol(lab, daemon_factory, protocol):
    """What is switched off is no failure, as long as one protocol works."""
    daemon_factory("[wan]\ninterface = wan0\n"
                   f"[lan lan0]\nprotocols = {protocol}\n").start()
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 0, result
    assert result.verdict == f"it works: {protocol}"
    assert set(result.outcomes(protocol).values()) == {"ok"}
    for other in {"nat-pmp", "pcp", "upnp"} - {protocol}:
        # nobody answers a search: that may be a firewall as well
        assert list(result.outcomes(other).values()) == [
            "no" if other == "upnp" else "none"], result


def test_pinhole(lab, daemon_factory):
    """With a public IPv6 address and a router, PCP is asked over IPv6 too."""
    addresses = ((lab.gw, "2001:db8:77::1/64", "lan0"), (lab.lan2, "2001:db8:77::2/64", "eth0"))
    for host, address, device in addresses:
        host.ip("address", "add", address, "dev", device)
    try:
        daemon = daemon_factory().start()
        result = probe(lab.lan2)
        assert result.exit == 0, result
        assert result.outcomes("pcp-v6") == dict.fromkeys(
            ("announce", "version", "map", "delete", "epoch"), "ok")
        assert "UDP [2001:db8:77::2]:" in result.text("pcp-v6", "map")
        assert result.verdict == "it works: nat-pmp, pcp, pcp-v6, upnp"
        assert daemon.leases() == []
        daemon.close()
        daemon_factory("[wan]\npinholes = off\n").start()
        result = probe(lab.lan2)
        assert result.exit == 0, result
        refused = result.steps["pcp-v6", list(result.outcomes("pcp-v6"))[-1]]
        assert refused["ok"] is None and "NOT_AUTHORIZED" in refused["text"], result
        assert result.verdict == "it works: nat-pmp, pcp, upnp; refused: pcp-v6"
    finally:
        for host, address, device in addresses:
            host.ip("address", "del", address, "dev", device)


def test_refused_by_policy(lab, daemon_factory):
    """A refusal is called one, by each protocol in its words; IGD:1 has none for it."""
    daemon_factory("[policy]\nrule = deny\n").start()
    result = probe(lab.lan1)
    assert result.exit == 7
    assert result.bad() == {("upnp", "map")}
    for name in ("nat-pmp", "pcp"):
        assert "NOT_AUTHORIZED: it refuses" in result.text(name, "map"), result
        assert result.steps[name, "map"]["ok"] is None
    assert "error 718" in result.text("upnp", "map"), result
    assert "or not allowed" in result.text("upnp", "map"), result
    assert result.verdict == "upnp does not work; refused: nat-pmp, pcp"


def test_refused_by_policy_igd2(lab, daemon_factory):
    """IGD:2 alone is one device, not two, and has a word for a refusal."""
    daemon_factory("[policy]\nrule = deny\n[lan lan0]\nigd = 2\n").start()
    result = probe(lab.lan1)
    assert result.exit == 7 and result.bad() == set(), result
    assert result.steps["upnp", "map"]["ok"] is None
    assert "error 606" in result.text("upnp", "map"), result
    assert "as well" not in result.text("upnp", "search"), result
    assert "InternetGatewayDevice:2" in result.text("upnp", "description"), result
    assert result.verdict == (
        "this gateway opens no ports for this host; refused: nat-pmp, pcp, upnp")


def test_both_versions(lab, daemon):
    assert "InternetGatewayDevice:2 as well" in probe(lab.lan1).text("upnp", "search")


def test_port_of_events_is_taken(lab, daemon):
    """The default port of libupnp is every program's that uses it."""
    with lab.lan1.listen(49152):
        result = probe(lab.lan1)
    assert result.exit == 0 and result.outcomes("upnp")["event"] == "ok", result


@pytest.mark.parametrize("port, steps, verdict", [
    (5351, {"nat-pmp": "address", "pcp": "announce"},
     "it works: upnp; could not be tried: nat-pmp, pcp"),
    (1900, {"upnp": "search"}, "it works: nat-pmp, pcp; could not be tried: upnp")])
def test_this_host_is_in_the_way(lab, daemon, port, steps, verdict):
    """What could not be tried is no success, and no failure of the gateway."""
    lab.lan1.nft("table inet probe { chain out { type filter hook output priority 0;\n"
                 f"udp dport {port} drop\n}}\n}}\n")
    try:
        result = probe(lab.lan1)
    finally:
        lab.lan1.nft("delete table inet probe\n")
    assert result.exit == 1, result
    for name, step in steps.items():
        assert result.steps[name, step]["ok"] is None
        assert result.text(name, step).startswith("could not be tried: a firewall"), result
    assert result.verdict == verdict


def test_on_the_gateway(lab, daemon):
    """Beside portreeved it cannot tell what the LAN sees, and says so."""
    result = probe(lab.gw, "--gateway", LAN_ADDRESS, "--timeout", "1")
    assert result.exit == 1, result
    assert result.outcomes("gateway") == {"route": "warn"}
    assert result.verdict.startswith(
        "this host is the gateway itself: run it on a host of the LAN"), result
    assert "could not be tried" not in result.text("upnp", "search"), result


def test_firewall_of_the_gateway(lab, daemon):
    """What nobody tried from outside is not claimed."""
    result = probe(lab.lan1)
    assert "was not tested from outside" in result.text("all", "reach")
    for name in ("nat-pmp", "pcp", "upnp"):
        assert result.text(name, "map").startswith("granted: UDP "), result
    assert "leads here" not in repr(result)


# ---- nobody there ----

def test_nobody_serves(lab):
    """The gateway lives, its ports are closed."""
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 7
    for name, step in (("nat-pmp", "address"), ("pcp", "announce")):
        assert "nothing listens there" in result.text(name, step)
    assert re.search(r"no answer within 1\d\d\d ms", result.text("upnp", "search"))
    assert "nothing answers" in result.verdict
    assert "firewall" in result.text("all", "silence")


def test_silence(lab, stub):
    """It says how long it waited, and it does not wait for ever."""
    stub(answer_5351=silent, answer_search=silent)
    began = time.monotonic()
    result = probe(lab.lan1, "--timeout", "1")
    assert time.monotonic() - began < 3 + SLACK_S
    assert result.exit == 7
    for name, step in (("nat-pmp", "address"), ("pcp", "announce"), ("upnp", "search")):
        assert re.search(r"no answer within 1\d\d\d ms", result.text(name, step)), result
        assert 1000 <= result.steps[name, step]["ms"] < 2000
    assert "switched on" in result.text("all", "silence")


def test_no_default_route(lab):
    host = lab.lan2
    host.ip("route", "del", "default")
    try:
        result = probe(host)
    finally:
        host.ip("route", "add", "default", "via", LAN_ADDRESS)
    assert result.exit == 7 and result.answer["gateway"] is None
    assert list(result.steps) == [("gateway", "route")]
    assert "no IPv4 default route" in result.text("gateway", "route")
    assert result.verdict == "there is no gateway to ask"


def test_nobody_has_the_address(lab):
    # three times 1 s otherwise, until ARP gives up
    lab.lan1.write_sysctl("net/ipv4/neigh/eth0/retrans_time_ms", 100)
    result = probe(lab.lan1, "--gateway", "192.168.77.99", "--timeout", "1")
    assert result.exit == 7
    assert "nobody has this address" in result.text("nat-pmp", "address"), result


def test_gateway_behind_another(lab, daemon):
    """The gateway has other addresses, whose services are none of this LAN's."""
    result = probe(lab.lan1, "--gateway", "192.168.88.1", "--timeout", "1")
    assert result.exit == 7
    assert result.outcomes("gateway") == {"route": "warn"}
    assert "behind another router" in result.text("gateway", "route")
    assert f"the gateway does not answer, but http://{LAN_ADDRESS}:" in (
        result.text("upnp", "search")), result


@pytest.mark.parametrize("arguments", [
    ("--gateway", "gw.example"), ("--gateway", "fd77::1"), ("--gateway", "0.0.0.0"),
    ("--timeout", "0"), ("--timeout", "x"), ("extra",), ("--proto", "udp")])
def test_usage(lab, arguments):
    done = lab.lan1.run([TOOL, "probe", *arguments])
    assert done.returncode == 2 and done.stdout.startswith("portreeve: "), done.stdout


# ---- a gateway that does it right, but not as ours ----

def test_stub_is_right(lab, stub):
    """The base of what follows: nothing to find."""
    gateway = stub()
    result = probe(lab.lan1)
    assert result.exit == 0 and result.bad() == set(), result
    assert list(result.steps) == ALL_STEPS
    assert gateway.mappings == {}
    assert "InternetGatewayDevice:1 \"stub\"" in result.text("upnp", "description")


def test_other_port(lab, stub):
    """Another external port than asked for is said, and no mistake."""
    def answer(data):
        reply = bytearray(StubGateway.answer_5351(gateway, data)[0])
        if data[0] == 0 and data[1] == 1 and data[8:] != bytes(4):
            reply[10:12] = struct.pack("!H", 1024)
        if data[0] == 2 and data[1] == 1:
            reply[42:44] = struct.pack("!H", 1024)
        return [bytes(reply)]

    gateway = stub(answer_5351=answer)
    result = probe(lab.lan1)
    assert result.exit == 0, result
    for name in ("nat-pmp", "pcp"):
        assert "1024" in result.text(name, "map")
        assert "was asked for, as it may be" in result.text(name, "map")


@pytest.mark.parametrize("address, words", [
    ("100.64.3.4", "CGNAT"), ("192.168.1.20", "another NAT is in front"),
    ("10.0.0.2", "another NAT is in front")])
def test_not_public(lab, stub, address, words):
    gateway = stub()
    gateway.external = address
    result = probe(lab.lan1)
    assert result.exit == 0, result
    assert result.outcomes("all") == {"external": "ok", "reach": "warn"}
    assert words in result.text("all", "reach")


def test_addresses_differ(lab, stub):
    def act(action, arguments):
        if action == "GetExternalIPAddress":
            return {"NewExternalIPAddress": "203.0.113.99"}
        return StubGateway.act(gateway, action, arguments)

    gateway = stub(act=act)
    result = probe(lab.lan1)
    assert result.exit == 7 and result.bad() == {("all", "external")}, result
    assert EXTERNAL in result.text("all", "external")
    assert "203.0.113.99" in result.text("all", "external")
    assert "contradict" in result.verdict


def test_natpmp_only(lab, stub):
    """A server of NAT-PMP alone says so to PCP (RFC 6886 §3.5): nothing is wrong."""
    def answer(data):
        if data[0] == 0:
            return StubGateway.answer_natpmp(gateway, data)
        return [struct.pack("!BBHI", 0, 0x80 | data[1], 1, gateway.epoch())]

    gateway = stub(answer_5351=answer, answer_search=silent)
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 0, result
    assert result.outcomes("pcp") == {"announce": "none"}
    assert "version 0, NAT-PMP" in result.text("pcp", "announce")


def test_pcp_only(lab, stub):
    """The same the other way round (RFC 6887 §9)."""
    def answer(data):
        if data[0] == 2:
            return StubGateway.answer_pcp(gateway, data)
        return [bytes([2, 0x80 | data[1], 0, 1]) + bytes(20)]

    gateway = stub(answer_5351=answer, answer_search=silent)
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 0, result
    assert result.outcomes("nat-pmp") == {"address": "none"}


def test_permanent_only(lab, stub):
    """Error 725: it is asked again, warned of, and deleted all the same."""
    def act(action, arguments):
        if action == "AddPortMapping" and arguments["NewLeaseDuration"] != "0":
            return 725
        return StubGateway.act(gateway, action, arguments)

    gateway = stub(act=act)
    result = probe(lab.lan1)
    assert result.exit == 0, result
    assert result.steps["upnp", "map"]["outcome"] == "warn"
    assert gateway.actions.count("AddPortMapping") == 2 and gateway.mappings == {}


def test_without_events(lab, stub):
    gateway = stub()
    gateway.urls["event"] = ""
    result = probe(lab.lan1)
    assert result.exit == 0, result
    assert result.steps["upnp", "event"]["outcome"] == "warn"


# ---- a gateway that does it wrong ----

GARBAGE = {
    "garbage": b"garbage, and more than enough of it", "short": b"\x00\x80\x00",
    "empty": b"", "version": b"\x07" + bytes(59), "long": bytes(1400),
    "ones": b"\xff" * 60,
}


@pytest.mark.parametrize("reply", GARBAGE.values(), ids=GARBAGE)
def test_garbage(lab, stub, reply):
    stub(answer_5351=lambda _: [reply], answer_search=lambda _: [reply])
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 7, result
    for name, step in (("nat-pmp", "address"), ("pcp", "announce")):
        assert "wrong answer" in result.text(name, step) or (
            name == "nat-pmp" and reply == bytes(1400)), result
    assert "no answer within" in result.text("upnp", "search")


@pytest.mark.parametrize("code, words", [
    (2, "NOT_AUTHORIZED: it refuses"), (3, "NETWORK_FAILURE|MALFORMED_REQUEST"),
    (4, "OUT_OF_RESOURCES|UNSUPP_OPCODE")])
def test_refusals(lab, stub, code, words):
    gateway = stub(answer_search=silent, answer_5351=lambda data: gateway.refuse(data, code))
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 7, result
    for name in ("nat-pmp", "pcp"):
        assert result.steps[name, "map"]["ok"] is (None if code == 2 else False), result
        assert re.search(words, result.text(name, "map")), result
    # nothing was mapped, nothing is to delete
    assert ("nat-pmp", "delete") not in result.steps
    assert ("pcp", "delete") not in result.steps


@pytest.mark.parametrize("length", [8, 11])
@pytest.mark.parametrize("code", [0, 3])
def test_short_natpmp(lab, stub, length, code):
    """A refusal may be shorter than an answer (RFC 6886 3.5), a success may not."""
    def answer(data):
        if data[0] == 0:
            return [(struct.pack("!BBHI", 0, 0x80 | data[1], code, 100) + bytes(4))[:length]]
        return StubGateway.answer_pcp(gateway, data)

    gateway = stub(answer_5351=answer)
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 7 and result.bad() == {("nat-pmp", "address")}, result
    assert result.text("nat-pmp", "address") == (
        "NETWORK_FAILURE: it has no external address" if code
        else f"wrong answer: {length} octets, too short for NAT-PMP")


def test_epoch_jumps(lab, stub):
    """A gateway whose epoch begins anew each time makes every client map again."""
    def epoch():
        stub_epochs.append(len(stub_epochs) * 1000)
        return 100000 - stub_epochs[-1]

    stub_epochs = []
    stub(epoch=epoch, answer_search=silent)
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 7
    assert result.bad() >= {("nat-pmp", "epoch"), ("pcp", "epoch")}, result
    assert "restart" in result.text("pcp", "epoch")


def test_delete_does_nothing(lab, stub):
    def act(action, arguments):
        if action == "DeletePortMapping":
            return {}
        return StubGateway.act(gateway, action, arguments)

    gateway = stub(act=act)
    result = probe(lab.lan1)
    assert result.exit == 7 and result.bad() == {("upnp", "gone")}, result


def test_entry_is_wrong(lab, stub):
    def act(action, arguments):
        out = StubGateway.act(gateway, action, arguments)
        if action == "GetSpecificPortMappingEntry" and out != 714:
            return {**out, "NewInternalClient": "192.168.77.200"}
        return out

    gateway = stub(act=act)
    result = probe(lab.lan1)
    assert result.exit == 7 and result.bad() == {("upnp", "entry")}, result
    assert "192.168.77.200" in result.text("upnp", "entry")


@pytest.mark.parametrize("code, words", [
    (718, "ConflictInMappingEntry"),
    (501, "Action Failed"), (728, "NoPortMapsAvailable"), (899, "of its vendor")])
def test_soap_fault(lab, stub, code, words):
    def act(action, arguments):
        if action == "AddPortMapping":
            return code
        return StubGateway.act(gateway, action, arguments)

    gateway = stub(act=act)
    result = probe(lab.lan1)
    assert result.exit == 7 and result.bad() == {("upnp", "map")}, result
    assert f"error {code}, " in result.text("upnp", "map")
    assert words in result.text("upnp", "map")
    assert "DeletePortMapping" not in gateway.actions
    assert result.verdict == "upnp does not work; working: nat-pmp, pcp"


NO_SERVICE = DESCRIPTION.replace("{service}", "urn:x:service:Other:1")


@pytest.mark.parametrize("answer, words", [
    ((500, {}, "broken"), "HTTP"),
    ((404, {}, "none"), "HTTP"),
    ((200, {}, "<root><device>"), "XML"),
    ((200, {}, ""), "description: "),
    ((200, {"Content-Type": "image/png"}, "x"), "description: "),
    ((200, {}, NO_SERVICE), "no WANIPConnection"),
    (b"garbage\r\n\r\n", "description: "),
    (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "description: "),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<root>", "description: "),
    (b"", "description: "),
], ids=["500", "404", "cut", "empty", "type", "service", "garbage", "negative", "short",
        "closed"])
def test_description_is_wrong(lab, stub, answer, words):
    gateway = stub(http_get=lambda *_: answer)
    result = probe(lab.lan1, "--timeout", "2")
    assert result.exit == 7 and result.bad() == {("upnp", "description")}, result
    assert words in result.text("upnp", "description"), result
    assert gateway.actions == []


@pytest.mark.parametrize("answer, words", [
    ((500, {}, "broken"), "GetExternalIPAddress: "),
    ((200, {}, "<s:Envelope"), "GetExternalIPAddress: "),
    ((200, {}, "<a/>"), "GetExternalIPAddress: "),
    (b"", "GetExternalIPAddress: "),
], ids=["500", "cut", "other", "closed"])
def test_answer_is_wrong(lab, stub, answer, words):
    stub(http_post=lambda *_: answer)
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 7, result
    assert words in result.text("upnp", "address"), result


def test_url_leads_elsewhere(lab, stub):
    """A device must not have us call others; libupnp would."""
    gateway = stub()
    gateway.urls["control"] = f"http://{lab.lan2.ipv4}:80/ctl"
    with lab.lan2.listen(80) as server:
        result = probe(lab.lan1)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert result.exit == 7 and result.bad() == {("upnp", "description")}, result
    assert "lead to another host" in result.text("upnp", "description")


def test_other_gateway(lab, stub):
    """Two answer: clients may take the wrong one. One of them over IPv6 is the same."""
    other = f"http://{lab.lan2.ipv4}:5000/root.xml"

    def answer(data):
        replies = StubGateway.answer_search(gateway, data)
        return replies + [reply.replace(gateway.location.encode(), location.encode())
                          for reply in replies for location in (
                              "http://[fd77::1]:5000/root.xml", other)]

    gateway = stub(answer_search=answer)
    result = probe(lab.lan1)
    assert result.exit == 0, result
    assert result.text("upnp", "others").startswith(other + " is a gateway too"), result


def test_location_is_of_another(lab, stub):
    gateway = stub()
    gateway.location = f"http://{lab.lan2.ipv4}:5000/root.xml"
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 0  # the others work, and UPnP is not offered by this one
    assert f"but {gateway.location} does" in result.text("upnp", "search"), result


@pytest.mark.parametrize("answer, words", [
    ((412, {}, ""), "refused"), ((200, {}, ""), "SUBSCRIBE: "), ((500, {}, ""), "refused")],
    ids=["412", "no-sid", "500"])
def test_subscription_fails(lab, stub, answer, words):
    stub(http_subscribe=lambda *_: answer)
    result = probe(lab.lan1)
    assert result.exit == 7 and result.bad() == {("upnp", "event")}, result
    assert words in result.text("upnp", "event"), result


def test_no_event(lab, stub):
    stub(notify=silent)
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 7 and result.bad() == {("upnp", "event")}, result
    assert "no event within" in result.text("upnp", "event")


@pytest.mark.parametrize("method, step", [
    ("http_get", "description"), ("http_post", "address"), ("http_subscribe", "event")])
def test_slow(lab, stub, method, step):
    """A gateway that accepts and does not answer: each step ends at its time-out."""
    stub(**{method: hang})
    began = time.monotonic()
    result = probe(lab.lan1, "--timeout", "1")
    assert time.monotonic() - began < 4 + SLACK_S
    assert result.exit == 7, result
    assert ("upnp", step) in result.bad()
    assert re.search(r"no answer within 1\d\d\d ms", result.text("upnp", step)), result


def test_slow_add_is_deleted(lab, stub):
    """What came too late may have been done: it is taken back."""
    def act(action, arguments):
        out = StubGateway.act(gateway, action, arguments)
        if action == "AddPortMapping":
            raise Hang
        return out

    gateway = stub(act=act)
    result = probe(lab.lan1, "--timeout", "1")
    assert result.exit == 7 and result.bad() == {("upnp", "map")}, result
    assert gateway.actions[-2:] == ["DeletePortMapping", "GetSpecificPortMappingEntry"]
    assert gateway.mappings == {}


def test_endless_description(lab, stub):
    """More than fits into memory ends with the step."""
    def pour(path, headers, body):
        return (b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n"
                + b"<root>" * (1 << 22))

    stub(http_get=pour)
    result = probe(lab.lan1, "--timeout", "2")
    assert result.exit == 7
    assert not result.steps["upnp", "description"]["ok"]


# ---- the process ----

def read_status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def start_hanging(lab, stub, action):
    """A run that waits for the answer to an action; the stub, the process."""
    def act(name, arguments):
        out = StubGateway.act(gateway, name, arguments)
        if name == action:
            raise Hang
        return out

    gateway = stub(act=act)
    process = lab.lan1.start([TOOL, "probe", "--json", "--timeout", "30"])
    wait_for(lambda: action in gateway.actions, f"{action} to be called")
    return gateway, process


def finish(process):
    return Result(process.wait(), process.output())


def test_has_no_privileges(lab, stub):
    """Started by root, both processes are nobody's and may do nothing."""
    _, process = start_hanging(lab, stub, "GetStatusInfo")
    pids = [process.pid, *children(process.pid)]
    assert len(pids) == 2
    for pid in pids:
        status = read_status(pid)
        assert set(status["Uid"].split()) == {NOBODY}
        assert set(status["Gid"].split()) == {NOBODY}
        assert status["Groups"].split() == []
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    process.stop()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_upnp(lab, stub, how):
    """The mapping is deleted although the run ends."""
    gateway, process = start_hanging(lab, stub, "GetSpecificPortMappingEntry")
    assert len(gateway.mappings) == 1
    began = time.monotonic()
    os.kill(process.pid, how)
    result = finish(process)
    assert time.monotonic() - began < SLACK_S
    assert result.exit == 1 and "interrupted" in result.verdict
    assert "DeletePortMapping" in gateway.actions and gateway.mappings == {}


@pytest.mark.parametrize("protocol", ["nat-pmp", "pcp"])
def test_interrupted_datagrams(lab, stub, protocol):
    """The answer to a map request is not there yet: it is deleted to be sure."""
    def is_map(data):
        return data[0] == (0 if protocol == "nat-pmp" else 2) and data[1] == 1

    def lifetime(data):
        return struct.unpack("!I", data[8:12] if protocol == "nat-pmp" else data[4:8])[0]

    def answer(data):
        if is_map(data) and lifetime(data) > 0:
            return []
        return StubGateway.answer_5351(gateway, data)

    gateway = stub(answer_5351=answer)
    process = lab.lan1.start([TOOL, "probe", "--json", "--timeout", "30"])
    wait_for(lambda: any(is_map(data) for data in gateway.datagrams), "a map request")
    os.kill(process.pid, signal.SIGTERM)
    result = finish(process)
    assert result.exit == 1
    deleted = [data for data in gateway.datagrams if is_map(data) and lifetime(data) == 0]
    assert deleted, gateway.datagrams
    assert result.steps[protocol, "delete"]["ok"] is True


def test_libupnp_crashes(lab, stub):
    """It is old: when it dies, that is a finding, and the rest is told."""
    _, process = start_hanging(lab, stub, "GetStatusInfo")
    child, = children(process.pid)
    os.kill(child, signal.SIGKILL)
    result = finish(process)
    assert result.exit == 7
    assert "crashed (signal 9)" in result.text("upnp", "process")
    assert set(result.outcomes("pcp").values()) == {"ok"}


def test_killed(lab, stub):
    """Without its parent the child does not live on."""
    _, process = start_hanging(lab, stub, "GetStatusInfo")
    child, = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.popen.wait()
    wait_for(lambda: not os.path.exists(f"/proc/{child}"), "the child to end")


def test_any_user(lab, daemon, copy_for_all):
    """No root is needed."""
    program = copy_for_all(PROGRAM)
    done = lab.lan1.run(["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups",
                         program, "--json"], stderr=subprocess.PIPE)
    result = Result(done.returncode, done.stdout, done.stderr)
    assert result.exit == 0, result


def test_reader_goes_away(lab, daemon):
    """`portreeve probe | head` is no error, and cleans up."""
    done = lab.lan1.run(["bash", "-c", f"{TOOL} probe | head -n 1"])
    assert done.stdout.startswith("gateway") and "Broken" not in done.stdout
    wait_for(lambda: daemon.leases() == [], "the leases to be given back")
    assert "via=pcp" in daemon.log()


def test_program_is_missing(lab, copy_for_all):
    """The tool alone says what is missing."""
    done = lab.lan1.run([copy_for_all(TOOL), "probe"])
    assert done.returncode == 1 and "portreeve-probe" in done.stdout, done.stdout
