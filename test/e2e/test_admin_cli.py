# SPDX-License-Identifier: GPL-2.0-or-later
"""portreeve, the admin tool, against a scripted daemon on a unix socket: no root."""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import threading

import pytest

from conftest import ROOT, get_build

PORTREEVE = os.path.join(get_build("asan"), "admin", "portreeve")
DEADLINE_S = 30

LEASE = {
    "id": 12, "protocol": "udp", "external_address": "203.0.113.5",
    "external_port": 3074, "internal_address": "192.168.1.20", "internal_port": 3074,
    "remote": None, "remote_port": 0, "filters": [], "set_first": 0, "set_count": 0,
    "lifetime_s": 7139, "expires": "2026-11-21T13:12:01Z",
    "created": "2026-11-21T11:12:01Z", "origin": "igd", "client": "192.168.1.20",
    "lan": "lan0", "description": "Xbox", "enabled": True, "bytes": 1536, "packets": 1234,
}
STATIC = dict(LEASE, id=7, protocol="tcp", external_port=443,
              internal_address="192.168.1.99", internal_port=8443, lifetime_s=None,
              expires=None, origin="static", client="192.168.1.1", description="",
              remote="198.51.100.0/24", bytes=0, packets=0)
FILTERED = dict(LEASE, id=13, origin="pcp", filters=[
    {"prefix": "203.0.113.0/24", "port": 443}, {"prefix": "198.51.100.9/32", "port": 0}])
STATUS = {
    "version": "0.1.0", "state": "ok", "problems": [], "uptime_s": 183599,
    "epoch_s": 604800,
    "backend": {"name": "nftables", "rules": 3, "resyncs": 1},
    "wan": {"interface": "wan0", "up": True, "address": "203.0.113.5",
            "external_address": "203.0.113.5", "private": False},
    "lans": [{"name": "lan0", "up": True, "addresses": ["192.168.1.1/24", "fd00::1/64"],
              "protocols": ["upnp", "nat-pmp", "pcp"], "igd": [1, 2]}],
    "leases": {"total": 3, "limit": 65536,
               "by_origin": {"nat-pmp": 0, "pcp": 0, "igd": 2, "static": 1}},
    "clients": 2,
    "store": {"state": "ok", "path": "/var/lib/portreeve", "text": ""},
    "workers": [{"name": "upnp", "state": "up", "restarts": 0},
                {"name": "pcp", "state": "up", "restarts": 2}],
    "requests": {"total": 1234, "granted": 1200, "refused": 30, "dropped": 4},
}


def message(*objects):
    """Objects as they go over the socket."""
    return b"".join(json.dumps(each).encode() + b"\0" for each in objects)


def reply(parameters, continues=False):
    return message({"parameters": parameters, **({"continues": True} if continues else {})})


def error(name, **parameters):
    return message({"error": name, "parameters": parameters})


class FakeDaemon:
    """Takes one connection; answers each call with the next of its scripted answers."""

    def __init__(self, path, answers, hold):
        self.path, self.answers = path, answers
        self.hold = hold  # keep the connection after the last answer
        self.calls = []
        self.over = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        self.listener.settimeout(DEADLINE_S)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            connection, _ = self.listener.accept()
            with connection:
                connection.settimeout(DEADLINE_S)
                for answer in self.answers:
                    self.calls.append(self.read_call(connection))
                    connection.sendall(answer)
                if self.hold:
                    self.over.wait(DEADLINE_S)

    @staticmethod
    def read_call(connection):
        received = b""
        while not received.endswith(b"\0"):
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError
            received += piece
        return json.loads(received[:-1])

    def close(self):
        self.over.set()
        # nobody may have come: accept() ends with this one, on every kernel
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as last:
            last.settimeout(1)
            last.connect(self.path)
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()
        self.listener.close()


@pytest.fixture
def tool(tmp_path):
    """tool(answers, arguments...) -> finished process, with .calls of the daemon."""
    path = str(tmp_path / "control.sock")
    daemons = []

    def run(answers, *arguments, hold=True, start=False, environment=None, **options):
        if os.path.exists(path):
            os.unlink(path)
        daemon = FakeDaemon(path, answers, hold)
        daemons.append(daemon)
        argv = [PORTREEVE, "--socket", path, *arguments]
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        environment = {**os.environ, "TZ": "UTC", **(environment or {})}
        if start:
            process = subprocess.Popen(argv, env=environment, text=True, **options)
        else:
            process = subprocess.run(argv, env=environment, text=True, check=False,
                                     timeout=DEADLINE_S, **options)
        process.calls = daemon.calls
        process.path = path
        return process

    yield run
    for daemon in daemons:
        daemon.close()


def run_plain(*arguments, **environment):
    return subprocess.run([PORTREEVE, *arguments], env={**os.environ, **environment},
                          capture_output=True, text=True, check=False,
                          timeout=DEADLINE_S)


def check_failed(process, code, text):
    """One clear line on stderr, nothing on stdout, that exit code."""
    assert text in process.stderr
    assert process.stderr.startswith("portreeve: ")
    assert process.stderr.count("\n") == 1
    assert process.stdout == ""
    assert process.returncode == code


# ---- what is shown ----

def test_list(tool):
    process = tool([reply({"leases": [LEASE]}, True) + reply({"leases": [STATIC]})], "list")
    assert process.stdout == (
        "ID  PROTO  EXTERNAL          INTERNAL           REMOTE             LEFT  ORIGIN"
        "  LAN   TRAFFIC  DESCRIPTION\n"
        "12  udp    203.0.113.5:3074  192.168.1.20:3074                   1h 58m  igd   "
        "  lan0  1.5 KiB  Xbox\n"
        " 7  tcp    203.0.113.5:443   192.168.1.99:8443  198.51.100.0/24   never  static"
        "  lan0      0 B  \n")
    assert process.stderr == ""
    assert process.returncode == 0
    assert process.calls == [
        {"method": "org.portreeve.List", "parameters": {}, "more": True}]


def test_list_tells_who_may_send(tool):
    """A lease that is not open to everybody is seen as such."""
    one = dict(LEASE, id=14, filters=FILTERED["filters"][:1])
    peer = dict(LEASE, id=15, remote="198.51.100.7", remote_port=3478)
    process = tool([reply({"leases": [LEASE, FILTERED, one, peer]})], "list")
    head, *rows = process.stdout.splitlines()
    start, end = head.index("REMOTE"), head.index("LEFT")
    assert [row[start:end].split("  ")[0] for row in rows] == [
        "", "2 filters", "203.0.113.0/24 port 443", "198.51.100.7:3478"]
    # where all are open the column is not there
    assert "REMOTE" not in tool([reply({"leases": [LEASE]})], "list").stdout


UPNP6 = dict(LEASE, id=22, external_address="2001:db8::7", internal_address="2001:db8::7",
             client="2001:db8::7", pinhole=40001)


def test_pinholes_of_upnp(tool):
    """V6FW-2: any host, one host, one port, or both; never like one for everybody"""
    peers = [(None, 0, "", "any"), ("2001:db8:1::2", 0, "2001:db8:1::2", "2001:db8:1::2"),
             (None, 5000, "*:5000", "any host, port 5000"),
             ("2001:db8:1::2", 5000, "[2001:db8:1::2]:5000", "[2001:db8:1::2]:5000")]
    leases = [dict(UPNP6, remote=remote, remote_port=port) for remote, port, _, _ in peers]
    head, *rows = tool([reply({"leases": leases})], "list").stdout.splitlines()
    start, end = head.index("REMOTE"), head.index("LEFT")
    assert [row[start:end].split("  ")[0] for row in rows] == [short for _, _, short, _ in peers]
    narrow = run_on_terminal(tool, reply({"leases": leases}), 80, "list", "--color=never")
    assert max(map(len, narrow.splitlines())) <= 80, narrow
    assert narrow.count("*:5000") == 1
    for lease, (_, _, short, text) in zip(leases, peers):
        shown = tool([reply({"lease": lease})], "show", "22").stdout
        assert f"  Remote       {text}\n" in shown
        assert "  Pinhole      UniqueID 40001\n  State        forwarding\n" in shown
        line = tool([reply({"lease": lease})], "delete", "22").stdout
        assert (f" from {short}, " in line) == (short != "")
    assert "Pinhole" not in tool([reply({"lease": LEASE})], "show", "12").stdout


def test_list_json(tool):
    lease = dict(LEASE, new_member=1)  # a newer daemon may tell more
    process = tool([reply({"leases": [lease]}, True) + reply({"leases": [STATIC]})],
                   "list", "--json")
    assert json.loads(process.stdout) == {"leases": [lease, STATIC]}
    assert process.returncode == 0


@pytest.mark.parametrize("arguments, ids", [
    (["--host", "192.168.1.99"], [7]), (["--proto", "udp"], [12]),
    (["--host", "192.168.1.99", "--proto", "udp"], []),
])
def test_list_filters(tool, arguments, ids):
    process = tool([reply({"leases": [LEASE, STATIC]})], "--json", "list", *arguments)
    assert [each["id"] for each in json.loads(process.stdout)["leases"]] == ids


def test_list_without_leases(tool):
    answer = reply({"leases": []})
    assert tool([answer], "list").stdout.startswith("ID  PROTO")
    assert tool([answer], "list", "--json").stdout == '{"leases":[]}\n'


def test_show(tool):
    process = tool([reply({"lease": STATIC})], "show", "7")
    assert process.stdout == """\
Lease 7
  Protocol     tcp
  External     203.0.113.5:443
  Internal     192.168.1.99:8443
  Remote       198.51.100.0/24
  State        forwarding
  Ends         never
  Created      2026-11-21T11:12:01Z
  Origin       static
  Client       192.168.1.1
  LAN          lan0
  Description  \n\
  Traffic      0 B in 0 packets
"""
    assert process.calls == [{"method": "org.portreeve.Show", "parameters": {"id": 7}}]
    process = tool([reply({"lease": LEASE})], "show", "12")
    assert "  Ends         in 1h 58m (2026-11-21T13:12:01Z)\n" in process.stdout
    assert "  Traffic      1.5 KiB in 1,234 packets\n" in process.stdout
    assert "Card" not in process.stdout
    lease = dict(LEASE, mac="02:00:5e:10:00:01")
    process = tool([reply({"lease": lease})], "show", "12")
    assert "  Card         02:00:5e:10:00:01\n" in process.stdout
    process = tool([reply({"lease": LEASE})], "show", "12", "--json")
    assert json.loads(process.stdout) == {"lease": LEASE}


def test_show_of_pcp(tool):
    """Filters one by one, the set that a lease is of, the port of a peer."""
    lease = dict(FILTERED, set_first=3074, set_count=4)
    output = tool([reply({"lease": lease})], "show", "13").stdout
    assert ("  Remote       203.0.113.0/24 port 443\n"
            "               198.51.100.9/32\n"
            "  Set          ports 3074-3077\n") in output
    peer = dict(LEASE, remote="2001:db8::7", remote_port=3478)
    output = tool([reply({"lease": peer})], "show", "12").stdout
    assert "  Remote       [2001:db8::7]:3478\n" in output
    old = {name: value for name, value in LEASE.items()
           if name not in ("remote_port", "filters", "set_first", "set_count")}
    process = tool([reply({"lease": old})], "show", "12")  # a daemon before PCP
    assert "  Remote       any\n" in process.stdout and process.returncode == 0


def test_status(tool):
    process = tool([reply({"status": STATUS})], "status")
    assert process.stdout == """\
portreeved 0.1.0: ok
  Up        2d 2h, epoch 7d
  WAN       wan0 up, 203.0.113.5
  LAN       lan0 up, addresses 192.168.1.1/24 fd00::1/64, protocols upnp nat-pmp pcp, IGD 1 and 2
  Leases    3 of at most 65,536, clients 2: igd 2, static 1
  Firewall  nftables, 3 rules, resyncs 1
  Store     ok, /var/lib/portreeve
  Worker    upnp up, restarts 0
  Worker    pcp up, restarts 2
  Requests  1,234: 1,200 granted, 30 refused, 4 dropped
"""
    assert process.returncode == 0
    process = tool([reply({"status": STATUS})], "status", "--json")
    assert json.loads(process.stdout) == {"status": STATUS}


def test_status_80_columns(tool):
    """What does not fit on a terminal stands below, and nothing is lost."""
    lans = [dict(STATUS["lans"][0], addresses=["192.168.1.1/24", "2001:db8:1234:5678::1/64",
                                               "x" * 90])]
    output = run_on_terminal(tool, reply({"status": dict(STATUS, lans=lans)}), 80, "status",
                             "--color=never")
    assert max(map(len, output.splitlines())) <= 80
    start = output.index("  LAN ")
    assert output[start:output.index("  Leases")] == (
        "  LAN       lan0 up, addresses 192.168.1.1/24 2001:db8:1234:5678::1/64\n"
        f"            {68 * 'x'}\n"
        f"            {22 * 'x'}, protocols upnp nat-pmp pcp, IGD 1 and 2\n")
    plain = tool([reply({"status": STATUS})], "status").stdout
    assert run_on_terminal(tool, reply({"status": STATUS}), 200, "status",
                           "--color=never") == plain


def test_problems_are_documented():
    """Each code that the daemon has, and no other."""
    root = pathlib.Path(ROOT)
    source = "".join((root / name).read_text(encoding="utf-8")
                     for name in ("daemon/report.c", "daemon/report_foreign.c"))
    codes = re.findall(r'(?:\{|code = |add_problem\(out, )"([a-z0-9-]+)"[,;)]', source)
    text = (root / "doc/control.md").read_text(encoding="utf-8")
    table = text.partition("| `code` of a problem |")[2].partition("\n\n")[0]
    assert len(codes) > 15 and sorted(codes) == sorted(re.findall(r"^\| `(\S+)`", table, re.M))


def test_status_degraded(tool):
    status = dict(STATUS, state="degraded",
                  problems=[{"code": "store-failed", "text": "No space left on device"}],
                  wan={"interface": "", "up": False, "address": None,
                       "external_address": None, "private": False})
    process = tool([reply({"status": status})], "status")
    assert process.stdout.startswith("portreeved 0.1.0: degraded\n")
    assert "  Problem   No space left on device (store-failed)\n" in process.stdout
    assert "  WAN       no interface, no address\n" in process.stdout
    assert process.returncode == 7
    process = tool([reply({"status": status})], "status", "--json")
    assert json.loads(process.stdout) == {"status": status}
    assert process.returncode == 7


def test_add(tool):
    process = tool([reply({"lease": STATIC})], "add", "tcp", "443", "192.168.1.99:8443",
                   "--lifetime", "2d", "--remote", "198.51.100.9",
                   "--description", "web \x1b server")
    assert process.stdout == ("added 7: tcp 203.0.113.5:443 -> 192.168.1.99:8443 from "
                              "198.51.100.0/24, never ends, static\n")
    assert process.calls == [{"method": "org.portreeve.Add", "parameters": {
        "protocol": "tcp", "internal_address": "192.168.1.99", "internal_port": 8443,
        "external_port": 443, "lifetime_s": 172800, "description": "web  server",
        "remote": "198.51.100.9"}}]
    assert process.returncode == 0


def test_add_defaults(tool):
    process = tool([reply({"lease": LEASE})], "--json", "add", "udp", "53", "fd00::5")
    assert json.loads(process.stdout) == {"lease": LEASE}
    assert process.calls[0]["parameters"] == {
        "protocol": "udp", "internal_address": "fd00::5", "internal_port": 53,
        "external_port": 53, "lifetime_s": 0, "description": "", "remote": None}


def test_delete_several(tool):
    process = tool([reply({"lease": LEASE}), error("org.portreeve.NotFound", id=13),
                    reply({"lease": STATIC})], "delete", "12", "13", "7")
    assert process.stdout == (
        "deleted 12: udp 203.0.113.5:3074 -> 192.168.1.20:3074, 1h 58m left, igd, "
        "\"Xbox\"\n"
        "deleted 7: tcp 203.0.113.5:443 -> 192.168.1.99:8443 from 198.51.100.0/24, "
        "never ends, static\n")
    assert process.stderr == "portreeve: no lease with id 13\n"
    assert process.returncode == 5
    assert [each["parameters"]["id"] for each in process.calls] == [12, 13, 7]


def test_delete_of_a_set(tool):
    """All that ended is told; those of them that are named again are done."""
    members = [dict(LEASE, id=n, set_first=3074, set_count=3) for n in (4, 5, 6)]
    answers = [reply({"lease": members[1], "leases": members}),
               reply({"lease": STATIC, "leases": [STATIC]})]
    process = tool(answers, "delete", "5", "4", "6", "7")
    assert [line.split(":")[0] for line in process.stdout.splitlines()] == [
        "deleted 4", "deleted 5", "deleted 6", "deleted 7"]
    assert [each["parameters"]["id"] for each in process.calls] == [5, 7]
    assert process.returncode == 0 and process.stderr == ""


def test_add_tells_what_it_replaced(tool):
    old = dict(LEASE, origin="pcp", id=12)
    process = tool([reply({"lease": dict(STATIC, id=12), "replaced": [old]})],
                   "add", "udp", "443", "192.168.1.99:8443")
    assert [line.split(": ")[0] for line in process.stdout.splitlines()] == [
        "added 12", "replaced 12"]
    assert ", pcp" in process.stdout.splitlines()[1]
    process = tool([], "add", "tcp", "53", "fd00::5", "--remote", "198.51.100.9", start=False)
    check_failed(process, 2, "'198.51.100.9' is IPv4 and the lease's host IPv6")


def test_show_of_a_kept_flow(tool):
    flow = dict(LEASE, kind="flow", remote="198.51.100.7", remote_port=3478)
    assert "  State        outbound flow kept\n" in tool([reply({"lease": flow})], "show",
                                                       "12").stdout
    assert " flow to 198.51.100.7:3478, " in tool([reply({"lease": flow})], "delete",
                                                  "12").stdout


def test_disabled_mapping(tool):
    """A mapping that its client has disabled does not look like one that forwards."""
    off = dict(LEASE, id=16, enabled=False)
    head, *rows = tool([reply({"leases": [LEASE, off]})], "list").stdout.splitlines()
    start, end = head.index("STATE"), head.index("ORIGIN")
    assert [row[start:end].strip() for row in rows] == ["", "off"]
    assert "STATE" not in tool([reply({"leases": [LEASE]})], "list").stdout
    narrow = run_on_terminal(tool, reply({"leases": [LEASE, off, FILTERED]}), 80, "list",
                             "--color=never")
    assert max(map(len, narrow.splitlines())) <= 80 and " off " in narrow, narrow
    process = tool([READY + events(("added", off), ("changed", LEASE))], "watch", hold=False)
    added, changed = process.stdout.splitlines()
    assert ", disabled, igd, " in added and "disabled" not in changed
    assert "  State        disabled by its client\n" in tool(
        [reply({"lease": off})], "show", "16").stdout


@pytest.mark.parametrize("address", [None, ""])
def test_show_without_an_address_of_the_wan(tool, address):
    waiting = dict(LEASE, external_address=address)
    assert "  State        waits for an address of the WAN\n" in tool(
        [reply({"lease": waiting})], "show", "12").stdout


def test_delete_of_a_client(tool):
    """PCP-71: part by part, until none is left."""
    process = tool([reply({"leases": [LEASE, FILTERED], "left": 1}),
                    reply({"leases": [dict(LEASE, id=14)], "left": 0})],
                   "delete", "--client", "192.168.1.20")
    assert [line.split(":")[0] for line in process.stdout.splitlines()] == [
        "deleted 12", "deleted 13", "deleted 14"]
    assert " from 2 filters, " in process.stdout
    assert process.calls == 2 * [{"method": "org.portreeve.Delete",
                                  "parameters": {"client": "192.168.1.20"}}]
    assert process.returncode == 0
    process = tool([reply({"leases": [LEASE], "left": 0})], "--json", "delete", "--client",
                   "192.168.1.20")
    assert json.loads(process.stdout) == {"lease": LEASE}
    process = tool([error("org.portreeve.NotFound", client="192.168.1.20")], "delete",
                   "--client", "192.168.1.20")
    check_failed(process, 5, "no lease of host 192.168.1.20")
    process = tool([error("org.portreeve.Refused", result="backend", text="not now")],
                   "delete", "--client", "192.168.1.20")
    check_failed(process, 6, "not now")
    process = tool([reply({"lease": LEASE})], "delete", "--client", "192.168.1.20")
    check_failed(process, 1, "without 'leases'")


def test_client_text_is_escaped(tool):
    lease = dict(LEASE, description="\x1b]0;gotcha\x07\u202eevil", lan="l\nan")
    for arguments in (["list"], ["show", "12"], ["delete", "12"]):
        answer = {"leases": [lease]} if arguments == ["list"] else {"lease": lease}
        process = tool([reply(answer)], *arguments)
        assert "\\x1b]0;gotcha\\x07\\u{202e}evil" in process.stdout
        assert "\x1b" not in process.stdout
        assert "\x07" not in process.stdout
    assert process.returncode == 0


# ---- exit codes ----

@pytest.mark.parametrize("arguments, text", [
    ([], "no command"), (["frobnicate"], "no command 'frobnicate'"),
    (["--frobnicate", "list"], "unrecognized option"),
    (["list", "x"], "usage: portreeve list"), (["list", "--remote", "x"], "usage:"),
    (["list", "--host", "nas"], "--host"), (["list", "--proto", "sctp"], "--proto"),
    (["show"], "usage:"), (["show", "x"], "'x'"), (["show", "-1"], "invalid option"),
    (["show", "99999999999999999999"], "no id"), (["delete"], "usage:"),
    (["delete", "1", "x"], "'x'"), (["delete", "--client", "nas"], "--client"),
    (["delete", "--client", "192.168.1.2", "7"], "usage:"),
    (["list", "--client", "192.168.1.2"], "usage:"), (["add", "tcp", "80"], "usage:"),
    (["add", "sctp", "80", "192.168.1.2"], "sctp"),
    (["add", "tcp", "65616", "192.168.1.2"], "65616"),
    (["add", "tcp", "80", "nas"], "'nas'"), (["add", "tcp", "0", "192.168.1.2"], "PORT"),
    (["add", "tcp", "80", "192.168.1.2", "--lifetime", "long"], "--lifetime"),
    (["add", "tcp", "80", "192.168.1.2", "--remote", "192.0.2.1/24"], "--remote"),
    (["add", "tcp", "80", "192.168.1.2", "--description", "x" * 256], "--description"),
    (["--color=purple", "list"], "--color"), (["--timeout", "0", "list"], "--timeout"),
    (["--socket", "/" + "x" * 200, "list"], "no path"), (["--socket"], "argument"),
])
def test_usage(arguments, text):
    process = run_plain(*arguments, PORTREEVE_SOCKET="/nonexistent/socket")
    check_failed(process, 2, text)


def test_help_and_version():
    for command in ("status", "list", "show", "watch", "add", "delete", "reload", "probe",
                    "doctor"):
        process = run_plain(command, "--help")
        assert re.match(rf"Usage: portreeve {command}(?: \S.*)?\n", process.stdout)
        assert re.search(r"[ \t]$", process.stdout, re.MULTILINE) is None
        assert process.stdout.count("--timeout") == 1
        default = {"probe": "(default 3)", "doctor": "means nothing to"}
        assert default.get(command, "(default 10)") in process.stdout
        assert process.returncode == 0
        assert run_plain("help", command).stdout == process.stdout
        assert f"\n  {command} " in run_plain("--help").stdout
    assert run_plain("help").stdout == run_plain("--help").stdout
    assert run_plain("help", "help").stdout == run_plain("--help").stdout
    assert re.fullmatch(r"portreeve \d+\.\d+\.\d+\n", run_plain("--version").stdout)


@pytest.mark.parametrize("command", [["status"], ["list"], ["show", "1"], ["watch"],
                                     ["add", "tcp", "80", "192.168.1.2"],
                                     ["delete", "1"]])
def test_daemon_is_not_there(tmp_path, command):
    path = str(tmp_path / "none.sock")
    process = run_plain(*command, PORTREEVE_SOCKET=path)
    check_failed(process, 3, f"cannot reach portreeved at {path}: no such file; is it")


def test_nobody_listens(tmp_path):
    path = str(tmp_path / "dead.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    check_failed(run_plain("--socket", path, "list"), 3, "nobody listens")


def test_permission_of_the_socket(tmp_path, copy_for_all):
    if os.geteuid() != 0:
        pytest.skip("needs root: becomes another user")
    # Other users cannot reach pytest's directories by name; the child starts inside.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "own.sock"))
        listener.listen(1)
        os.chmod(tmp_path / "own.sock", 0o600)
        os.chmod(tmp_path, 0o755)
        process = subprocess.run(
            [copy_for_all(PORTREEVE), "--socket", "own.sock", "list"], cwd=tmp_path,
            user=65534, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    check_failed(process, 4, "permission denied")


@pytest.mark.parametrize("answer, code, text", [
    (error("org.portreeve.PermissionDenied"), 4, "permission denied"),
    (error("org.portreeve.NotFound", id=1), 5, "no lease with id 1"),
    (error("org.portreeve.NotFound"), 5, "no such lease"),
    (error("org.portreeve.Refused", result="quota", text="too\nmany"), 6,
     "refused: too\\x0amany (quota)"),
    (error("org.varlink.service.InvalidParameter", parameter="id"), 1, "this id"),
    (error("org.varlink.service.MethodNotFound", method="org.portreeve.Show"), 1,
     "another version"),
    (error("com.example.\x1bNew"), 1, "answered com.example.\\x1bNew"),
])
def test_errors_of_the_daemon(tool, answer, code, text):
    check_failed(tool([answer], "show", "1"), code, text)
    check_failed(tool([answer], "delete", "1", "--json"), code, text)


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\n\r\n\0", b"\0", b"{}x\0", b"[]\0", b"\xff\xfe\0",
    b'{"parameters":3}\0', b'{"error":[]}\0', b'{"a":' * 100 + b"\0",
    reply({}), reply({"lease": None}), reply({"lease": [1]}), reply({"lease": {"id": 1}}),
    reply({"lease": dict(LEASE, external_port=65616)}),
    reply({"lease": dict(LEASE, description="a\0b")}),
    reply({"leases": 3}), reply({"leases": [3]}), reply({"status": 1}),
    reply({"status": dict(STATUS, lans=[[]])}), reply({"status": dict(STATUS, wan={})}),
    reply({"event": "added"}), b"x" * (1024 * 1024 + 1),
], ids=lambda answer: ascii(answer[:40]))
@pytest.mark.parametrize("command", [["show", "1"], ["list"], ["status"], ["watch"]],
                         ids=lambda command: command[0])
def test_garbage(tool, answer, command):
    process = tool([answer], *command)
    assert process.returncode == 1
    assert process.stderr.startswith("portreeve: portreeved sent ")
    assert process.stderr.count("\n") == 1


def test_connection_closed(tool):
    check_failed(tool([b""], "list", hold=False), 3, "closed the connection")
    check_failed(tool([b'{"parameters"'], "list", hold=False), 3, "closed the connection")
    check_failed(tool([reply({"leases": [LEASE]}, True)], "list", hold=False), 3, "closed")
    check_failed(tool([reply({"leases": [LEASE]}, True)], "list", "--json", hold=False), 3,
                 "closed")


def test_daemon_hangs(tool):
    process = tool([b'{"parameters":'], "--timeout", "1", "list")
    check_failed(process, 3, "did not answer within 1 s")


def test_daemon_takes_no_connection(tmp_path):
    path = str(tmp_path / "full.sock")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        for _ in range(8):  # until the backlog is full
            filler = stack.enter_context(socket.socket(socket.AF_UNIX))
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(path)
        process = run_plain("--timeout", "1", "--socket", path, "list")
    check_failed(process, 3, "takes no connection within 1 s")


# ---- much, and cut short ----

def many_leases(count, size=256):
    """List's answer for that many leases, as the daemon cuts it."""
    for first in range(0, count, size):
        leases = [dict(LEASE, id=i + 1, external_port=i % 64512 + 1024)
                  for i in range(first, min(first + size, count))]
        yield reply({"leases": leases}, first + size < count)


def test_50000_leases(tool):
    answer = b"".join(many_leases(50000))
    process = tool([answer], "list")
    lines = process.stdout.splitlines()
    assert len(lines) == 50001
    assert len({len(line) for line in lines[1:]}) == 1
    assert process.returncode == 0
    process = tool([answer], "list", "--json")
    assert [each["id"] for each in json.loads(process.stdout)["leases"]] == list(
        range(1, 50001))


def test_pipe_closed_early(tool):
    process = tool([b"".join(many_leases(5000))], "list", start=True)
    assert process.stdout.readline().startswith("  ID")
    process.stdout.close()
    assert process.wait(DEADLINE_S) == 0
    assert process.stderr.read() == ""


def test_disk_full(tool):
    with open("/dev/full", "w", encoding="ascii") as full:
        process = tool([reply({"leases": [LEASE]})], "list", stdout=full)
    assert process.stderr == "portreeve: cannot write: No space left on device\n"
    assert process.returncode == 1


# ---- watch ----

def events(*named):
    return b"".join(reply({"event": name, "lease": lease}, True) for name, lease in named)


READY = reply({"ready": True}, True)


def test_watch(tool):
    process = tool([READY + events(("added", LEASE), ("expired", STATIC))], "watch",
                   start=True)
    line = process.stdout.readline()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d added    12 udp 203\.0\.113\.5:3074 -> 192\.168\.1\.20:3074, "
        r"1h 58m left, igd, \"Xbox\"\n", line)
    assert " expired  7 tcp " in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 0
    assert process.stderr.read() == ""
    assert process.calls == [
        {"method": "org.portreeve.Watch", "parameters": {}, "more": True}]


def test_watch_tells_why(tool):
    """Of a lease that was deleted; escaped, as all that is shown."""
    gone = [reply({"event": "deleted", "lease": LEASE, "why": why}, True)
            for why in ("policy", "x\x1b")]
    process = tool([READY + b"".join(gone) + events(("expired", LEASE))], "watch", hold=False)
    assert [line.partition('"Xbox"')[2] for line in process.stdout.splitlines()] == [
        ", why: policy", ", why: x\\x1b", ""]


def test_watch_json(tool):
    process = tool([READY + events(("renewed", LEASE))], "watch", "--json", start=True)
    assert json.loads(process.stdout.readline()) == {"ready": True}
    assert json.loads(process.stdout.readline()) == {"event": "renewed", "lease": LEASE}
    process.terminate()
    assert process.wait(DEADLINE_S) == 0


def test_watch_outlasts_the_timeout_and_ends_with_the_daemon(tool):
    process = tool([READY], "--timeout", "1", "watch", start=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.5)
    process.kill()
    process.wait(DEADLINE_S)
    process = tool([READY + events(("added", LEASE))], "watch", hold=False)
    assert " added " in process.stdout
    assert "closed the connection" in process.stderr
    assert process.returncode == 3


def test_watch_ends_when_nobody_reads(tool):
    process = tool([READY + events(("added", LEASE))], "watch", start=True)
    process.stdout.readline()
    process.stdout.close()  # and no further event comes
    assert process.wait(DEADLINE_S) == 0
    assert process.stderr.read() == ""


# ---- terminals ----

def run_on_terminal(tool, answer, columns, *arguments, **environment):
    """What a terminal of that width gets."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = tool([answer], *arguments, stdout=slave,
                   environment={"TERM": "xterm", "NO_COLOR": "", **environment})
    os.close(slave)
    output = b""
    with contextlib.suppress(OSError):  # EIO: everything has been read
        while piece := os.read(master, 65536):
            output += piece
    os.close(master)
    assert process.returncode == 0
    return output.decode().replace("\r\n", "\n")


def test_80_columns(tool):
    lease = dict(LEASE, description="a description that is longer than 80 columns allow, "
                 "\u53f0\u6240 and all")
    answer = reply({"leases": [lease, dict(STATIC, remote=None)]})
    output = run_on_terminal(tool, answer, 80, "list", "--color=never")
    assert output == (
        "ID  PROTO  EXTERNAL          INTERNAL             LEFT  ORIGIN  DESCRIPTION\n"
        "12  udp    203.0.113.5:3074  192.168.1.20:3074  1h 58m  igd     a description t\u2026\n"
        " 7  tcp    203.0.113.5:443   192.168.1.99:8443   never  static  \n")
    assert max(map(len, output.splitlines())) <= 80
    assert lease["description"] in tool([answer], "list").stdout  # a pipe gets all


PINHOLE = dict(LEASE, id=21, external_address="2001:db8:1234:5678:1111:2222:3333:4444",
               internal_address="2001:db8:1234:5678:1111:2222:3333:4444",
               external_port=65535, internal_port=65535,
               filters=[{"prefix": "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/128", "port": 0}])
NETWORK = dict(LEASE, id=14, filters=FILTERED["filters"][:1])
KEPT = dict(LEASE, id=15, kind="flow", remote="2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
            remote_port=65535, description="a description that is longer than all of it")


@pytest.mark.parametrize("leases", [
    [LEASE, FILTERED], [LEASE, NETWORK], [PINHOLE], [LEASE, PINHOLE], [KEPT],
    [dict(PINHOLE, id=12345678), STATIC, FILTERED, NETWORK, KEPT]])
def test_80_columns_with_filters_and_ipv6(tool, leases):
    output = run_on_terminal(tool, reply({"leases": leases}), 80, "list", "--color=never")
    head, *rows = output.splitlines()
    assert max(map(len, [head, *rows])) <= 80, output
    assert "REMOTE" in head and len(rows) == len(leases)
    start, end = head.index("REMOTE"), head.index("LEFT")
    for lease, row in zip(leases, rows):
        assert f":{lease['external_port']} " in row  # whatever is cut, ports are not
        # who is let in by few alone does not look like one who is let in by all
        is_open = lease["remote"] is None and not lease["filters"]
        assert (row[start:end - 2].strip() == "") == is_open
        assert (" same " in row) == (lease["external_address"] == lease["internal_address"])
    assert leases[0]["internal_address"] in tool([reply({"leases": leases})], "list").stdout


def test_80_columns_of_filters(tool):
    output = run_on_terminal(tool, reply({"leases": [LEASE, FILTERED, NETWORK]}), 80, "list",
                             "--color=never")
    assert output == (
        "ID  PROTO  EXTERNAL          INTERNAL           REMOTE         LEFT  DESCRIPTION\n"
        "12  udp    203.0.113.5:3074  192.168.1.20:3074               1h 58m  Xbox\n"
        "13  udp    203.0.113.5:3074  192.168.1.20:3074  2 filters    1h 58m  Xbox\n"
        "14  udp    203.0.113.5:3074  192.168.1.20:3074  203.0\u2026t 443  1h 58m  Xbox\n")


def test_color(tool):
    answer = reply({"leases": [LEASE]})
    assert "\x1b[1m" in run_on_terminal(tool, answer, 200, "list")
    assert "\x1b" not in run_on_terminal(tool, answer, 200, "list", NO_COLOR="1")
    assert "\x1b" not in run_on_terminal(tool, answer, 200, "list", TERM="dumb")
    assert "\x1b" not in run_on_terminal(tool, answer, 200, "list", "--color=never")
    assert "\x1b" not in tool([answer], "list").stdout
    assert "\x1b[1m" in tool([answer], "list", "--color=always").stdout
    assert "\x1b[1;32mok\x1b[0m" in run_on_terminal(tool, reply({"status": STATUS}), 80,
                                                     "status")


# ---- completion and documents ----

def complete(path, *words):
    """What bash offers for the last word."""
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _portreeve; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    process = subprocess.run(
        ["bash", "-c", script, "bash",
         os.path.join(ROOT, "packaging/completion/portreeve.bash"), "portreeve", *words],
        env={**os.environ, "PORTREEVE_SOCKET": path,
             "PATH": os.path.dirname(PORTREEVE) + ":" + os.environ["PATH"]},
        capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    assert process.stderr == ""
    return process.stdout.split()


def test_bash_completion(tmp_path):
    path = str(tmp_path / "control.sock")
    assert complete(path, "s") == ["status", "show"]
    assert complete(path, "list", "--pro") == ["--proto"]
    assert complete(path, "list", "--proto", "u") == ["udp"]
    assert complete(path, "add", "t") == ["tcp"]
    assert complete(path, "delete", "--cl") == ["--client"]
    assert complete(path, "probe", "--g") == ["--gateway"]
    assert complete(path, "doctor", "--no") == ["--no-search"]
    assert complete(path, "show", "") == []  # no daemon: nothing, and no noise
    daemon = FakeDaemon(path, [reply({"leases": [LEASE, STATIC]})], True)
    assert complete(path, "--json", "delete", "1") == ["12"]
    daemon.close()


def test_definition_is_the_documented_one():
    """doc/control.md, for people, and base/control.c, for clients, say the same."""
    with open(os.path.join(ROOT, "doc/control.md"), encoding="utf-8") as file:
        documented = re.search(r"```varlink\n(.*?)```", file.read(), re.DOTALL).group(1)
    with open(os.path.join(ROOT, "base/control.c"), encoding="utf-8") as file:
        literal = re.search(r"description\[\] =(.*?);\n", file.read(), re.DOTALL).group(1)
    coded = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literal))
    coded = coded.replace("\\n", "\n").replace('\\"', '"')
    assert coded == documented


def test_documents_say_what_belongs_around():
    """PCP-101: ingress filtering is documented, with what does it; and so are the bounds."""
    for name, words in (("portreeved.8", ("rp_filter=1", "fib saddr . iif oif missing drop",
                                          "kind=flow")),
                        ("portreeve.conf.5", ("table-full", "at most half of them"))):
        with open(os.path.join(ROOT, "doc", name), encoding="utf-8") as file:
            text = file.read()
        assert [word for word in words if word not in text] == [], name


def test_man_page():
    """portreeve.1 is well-formed and knows every command and every option."""
    process = subprocess.run(
        ["man", "--warnings", "--encoding=UTF-8", "--local-file",
         os.path.join(ROOT, "doc/portreeve.1")],
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANPAGER": "cat", "MANWIDTH": "80",
             "GROFF_NO_SGR": "1", "MAN_KEEP_FORMATTING": "0"},
        capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    assert process.stderr == ""
    page = re.sub(".\b", "", process.stdout)
    assert max(map(len, page.splitlines())) <= 80
    names = set()
    for command in ("status", "list", "show", "watch", "add", "delete", "reload", "probe",
                    "doctor"):
        names |= {command, *re.findall(r"--[a-z]+", run_plain(command, "--help").stdout)}
    assert len(names) > 15
    assert [name for name in sorted(names) if name not in page] == []
