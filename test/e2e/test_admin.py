# SPDX-License-Identifier: GPL-2.0-or-later
"""The admin tool against the daemon: what it shows, what it changes, how it ends."""

import json
import os
import re
import socket
import time

import igd
import natpmp
import pcp
import pytest
from daemon import CommandError
from firewall import BACKEND
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
FIELDS = {"id", "protocol", "external_address", "external_port", "internal_address",
          "internal_port", "remote", "lifetime_s", "expires", "origin", "client", "mac", "lan",
          "description", "bytes", "packets"}


@pytest.fixture
def leases(lab, daemon):
    """One lease by NAT-PMP, one by UPnP, one static."""
    with natpmp.Client(lab.lan1) as client:
        client.map("udp", 4000, 5000, 600)
    igd.Gateway(lab.lan2).add(5001, 4001, "TCP", PortMappingDescription="game")
    daemon.admin("add", "tcp", "6000", f"{lab.lan1.ipv4}:80", "--description", "web")
    return {lease["external_port"]: lease for lease in daemon.leases()}


def ends_with(status, daemon, *arguments):
    with pytest.raises(CommandError) as caught:
        daemon.admin(*arguments)
    assert caught.value.status == status, caught.value
    assert caught.value.text.strip()
    return caught.value.text


def test_fields(lab, leases):
    """Every lease has at least these fields, each with the truth in it."""
    assert all(FIELDS <= set(lease) for lease in leases.values())
    natpmp_lease, igd_lease, static = leases[5000], leases[5001], leases[6000]
    wanted = {"protocol": "udp", "external_address": WAN, "external_port": 5000,
              "internal_address": lab.lan1.ipv4, "internal_port": 4000, "remote": None,
              "client": lab.lan1.ipv4, "lan": "lan0", "description": ""}
    assert {k: natpmp_lease[k] for k in wanted} == wanted
    assert 590 <= natpmp_lease["lifetime_s"] <= 600
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)",
                        natpmp_lease["expires"])
    assert (igd_lease["description"], igd_lease["client"]) == ("game", lab.lan2.ipv4)
    assert static["lifetime_s"] is None and static["expires"] is None
    assert len({x["origin"] for x in leases.values()}) == 3


def test_counters(lab, daemon, leases):
    """packets and bytes grow with the traffic of the lease."""
    for _ in range(3):
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000)
    lease = daemon.json("show", str(leases[5000]["id"]))["lease"]
    assert lease["packets"] >= 3 and lease["bytes"] >= 3 * 28


def test_list_for_people(lab, daemon, leases):
    text = daemon.admin("list")
    head, *rows = text.strip().splitlines()
    assert len(rows) == 3 and "EXTERNAL" in head
    assert any(f"{lab.lan1.ipv4}:4000" in row and "udp" in row for row in rows)
    assert len(daemon.admin("list", "--host", lab.lan2.ipv4).strip().splitlines()) == 2
    assert len(daemon.admin("list", "--proto", "tcp").strip().splitlines()) == 3


def test_show(daemon, leases):
    text = daemon.admin("show", str(leases[5001]["id"]))
    assert "game" in text and "5001" in text
    ends_with(5, daemon, "show", "999999")
    ends_with(2, daemon, "show", "x")


def test_status(daemon, leases):
    status = daemon.json("status")["status"]
    assert status["state"] == "ok" and status["problems"] == []
    assert status["leases"]["total"] == 3
    assert status["wan"]["interface"] == "wan0" and status["wan"]["address"] == WAN
    assert {lan["name"] for lan in status["lans"]} == {"lan0", "guest0"}
    assert status["store"]["state"] == "ok"
    assert {w["name"]: w["state"] for w in status["workers"]}.keys() == {"upnp", "pcp"}
    assert status["backend"]["name"] == BACKEND
    assert "ok" in daemon.admin("status").splitlines()[0]


def test_add_and_delete(lab, daemon):
    """A static lease is served at once and for ever, until it is deleted."""
    answer = daemon.json("add", "udp", "5000", f"{lab.lan1.ipv4}:4000")
    number = str(answer["lease"]["id"])
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None
    daemon.kill()
    daemon.start()
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None
    assert daemon.leases()[0]["lifetime_s"] is None
    daemon.admin("delete", number)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None
    ends_with(5, daemon, "delete", number)


def test_add_with_options(lab, daemon):
    """A lifetime that ends, a remote prefix that is enforced."""
    daemon.admin("add", "udp", "5000", f"{lab.lan1.ipv4}:4000", "--lifetime", "2")
    daemon.admin("add", "udp", "5001", f"{lab.lan1.ipv4}:4001", "--remote",
                 lab.inet1.ipv4)
    assert lab.udp_arrives(lab.inet1, (WAN, 5001), lab.lan1, 4001) is not None
    assert lab.udp_arrives(lab.inet2, (WAN, 5001), lab.lan1, 4001) is None
    wait_for(lambda: [x["external_port"] for x in daemon.leases()] == [5001],
             "the short one to end", 5)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None


def test_add_port_of_its_choice(lab, daemon):
    lease = daemon.json("add", "udp", "0", f"{lab.lan1.ipv4}:4000")["lease"]
    assert lease["external_port"] >= 1024
    assert lab.udp_arrives(lab.inet1, (WAN, lease["external_port"]), lab.lan1, 4000)


def test_refusals(lab, daemon):
    """Exit status 6: taken by another host, or no host of a LAN."""
    with natpmp.Client(lab.lan1) as client:
        client.map("udp", 4000, 5000)
    ends_with(6, daemon, "add", "udp", "5000", f"{lab.lan2.ipv4}:4000")
    ends_with(6, daemon, "add", "udp", "5001", "203.0.113.2:4000")
    assert len(daemon.leases()) == 1


@pytest.mark.parametrize("arguments", [
    [], ["frobnicate"], ["list", "extra"], ["delete"], ["add", "udp"],
    ["add", "sctp", "1", "192.168.77.2:1"], ["add", "udp", "70000", "192.168.77.2:1"],
    ["list", "--nonsense"], ["list", "--host", "nobody"]])
def test_usage(daemon, arguments):
    """Exit status 2, before the daemon is asked"""
    ends_with(2, daemon, *arguments)


def test_unreachable(lab, daemon):
    daemon.stop()
    assert daemon.control in ends_with(3, daemon, "list")


def test_permission(lab, daemon, copy_for_all):
    """Who is not root may look at most; changing ends with status 4."""
    tool = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
            copy_for_all(daemon.tool), "--socket", daemon.control]
    done = lab.gw.run([*tool, "add", "udp", "5000", f"{lab.lan1.ipv4}:4000"])
    assert done.returncode == 4, done.stdout
    assert daemon.leases() == []
    assert lab.gw.run([*tool, "list"]).returncode in (0, 4)


def test_watch(lab, daemon):
    """Each event of a lease, as it happens."""
    process = lab.gw.start([daemon.tool, "--socket", daemon.control, "--json", "watch"])

    def events():
        return [json.loads(line) for line in process.output().splitlines()]
    wait_for(lambda: events() and events()[0].get("ready"), "watch to be ready")
    with natpmp.Client(lab.lan1) as client:
        client.map("udp", 4000, 5000, 600)
        client.map("udp", 4000, 5000, 600)
        client.unmap("udp", 4000)
        client.map("udp", 4001, 5001, 1)
    wait_for(lambda: events()[-1].get("event") == "expired", "the end of the short lease")
    names = [event["event"] for event in events()[1:]]
    assert names[0] == "added" and names[-1] == "expired"
    assert [n for n in names if n != "renewed"] == ["added", "deleted", "added", "expired"]
    assert all(FIELDS <= set(event["lease"]) for event in events()[1:])
    assert process.stop() == 0


def test_log_tells_each_lease(lab, daemon, leases):
    """One key=value line for each lease event, client strings escaped."""
    line = daemon.wait_log(r"lease added .*ext=5001")
    assert re.search(rf"proto=tcp .*int={re.escape(lab.lan2.ipv4)}:4001 .*via=\w+ "
                     rf'.*client={re.escape(lab.lan2.ipv4)} .*desc="game"', line)
    igd.Gateway(lab.lan2).add(5002, 4002, PortMappingDescription='a"b\\c')
    line = daemon.wait_log(r"lease added .*ext=5002")
    assert r'desc="a\x22b\x5cc"' in line


def test_log_of_the_network_says_what_changed(lab, daemon_factory):
    """IPv6 by its networks: temporary addresses repeat no line"""
    daemon = daemon_factory("[lan lan0]\n").start()
    daemon.wait_log(r"lan interface=lan0 address=192\.168\.77\.1/24 ipv6=fd77::/64$")
    extra = [f"fd77::{n:x}/64" for n in range(0x1000, 0x1006)] + ["fd78::1/64"]
    try:
        for address in extra:
            lab.gw.ip("address", "add", address, "dev", "lan0", "nodad")
        daemon.wait_log("lan interface=lan0 .* ipv6=fd7[78]::/64,fd7[78]::/64$")
    finally:
        for address in extra:
            lab.gw.ip("address", "del", address, "dev", "lan0")
    daemon.wait_log("lan interface=lan0 .* ipv6=fd77::/64$", count=2)
    assert daemon.log().count("lan interface=lan0 ") == 3
    assert daemon.log().count("wan interface=") == 1


def test_log_tells_who_may_send(lab, daemon_factory):
    """A hole for one host does not look like one for everybody; a set and a flow show."""
    daemon = daemon_factory("").start()
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", 4000, 5000)
        line = daemon.wait_log("lease added .*ext=5000 ")
        assert not re.search("remote=|filters|set=|kind=", line)
        client.grant("udp", 4000, 5000, options=[pcp.pack_filter(
            "203.0.113.9"), pcp.pack_filter("203.0.113.10", port=443)])
        daemon.wait_log("lease changed .*ext=5000 .* filters=2 filters-before=0 ")
        client.grant("udp", 4000, 5000, options=[pcp.pack_filter("::", 0)])
        daemon.wait_log("lease changed .*ext=5000 .* filters=0 filters-before=2 ")
        client.grant("udp", 4010, 5010, options=[pcp.port_set(3, 4010)])
        daemon.wait_log("lease added .*ext=5011 .* set=4010-4012 ")
        client.peer("udp", 4020, ("203.0.113.9", 7000))
        daemon.wait_log("lease added .*int=[0-9.]+:4020 .* kind=flow remote=203.0.113.9:7000 ")
    igd.Gateway(lab.lan1).add(5005, 4005, RemoteHost="203.0.113.9")
    daemon.wait_log("lease added .*ext=5005 .* remote=203.0.113.9 ")


def test_log_tells_why_a_client_was_refused(lab, daemon_factory):
    """For an owner who asks for it; never with the nonce that guards a lease."""
    daemon = daemon_factory("[global]\nlog-level = info\n[policy]\n"
                            "rule = deny external 80\nrule = allow\n").start()
    with pcp.Client(lab.lan1) as client:
        assert client.map("tcp", 8080, 80, options=[
            pcp.prefer_failure()]).result == pcp.CANNOT_PROVIDE_EXTERNAL
        daemon.wait_log(rf"request refused result=\S+ op=map client={lab.lan1.ipv4} "
                        rf"proto=tcp int={lab.lan1.ipv4}:8080 ext=80 via=pcp$")
        client.grant("udp", 4000, 5000)
        secret = client.nonce.hex()
        for _ in range(30):
            client.send(client.pack_map("udp", 4000, nonce=bytes(12)))
        daemon.wait_log("request refused result=foreign ", count=9)
        wait_for(lambda: daemon.json("status")["status"]["requests"]["refused"] > 20,
                 "more refusals than the log shall tell")
    assert len(re.findall("request refused ", daemon.log())) == 10
    assert secret not in daemon.log()


def test_slow_reader_does_not_stop_the_daemon(lab, daemon):
    """A client of the control socket that never reads harms nobody."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as idle:
        idle.connect(daemon.control)
        call = json.dumps({"method": "org.portreeve.List", "more": True}).encode() + b"\0"
        idle.setblocking(False)
        try:
            while idle.send(call * 100):
                pass
        except (BlockingIOError, ConnectionError):
            pass
        began = time.monotonic()
        with natpmp.Client(lab.lan1) as client:
            assert client.map("udp", 4000, 4000).result == natpmp.OK
        assert len(daemon.leases()) == 1
        assert time.monotonic() - began < 3
    assert os.path.exists(daemon.control)


# What PCP brings


PCP = "[policy]\nrule = allow client {} third-party {}\nrule = allow\n"


def deleted(daemon, host):
    """Ports of the leases that `delete --client` ended."""
    lines = daemon.admin("--json", "delete", "--client", host).splitlines()
    return sorted(json.loads(line)["lease"]["external_port"] for line in lines)


def test_delete_of_a_client(lab, daemon_factory):
    """PCP-71: all that a host has or asked for, of every protocol; not what is static"""
    daemon = daemon_factory(PCP.format("192.168.77.2/32", "192.168.77.3/32")).start()
    with pcp.Client(lab.lan1) as lan1, pcp.Client(lab.lan2) as lan2, pcp.Client(
            lab.lan1, family=socket.AF_INET6) as lan6, natpmp.Client(lab.lan1) as other:
        lan1.grant("udp", 4000, 5000)
        lan1.grant("udp", 4001, 5001, options=[pcp.third_party(lab.lan2.ipv4)])
        lan2.grant("udp", 4002, 5002)
        lan2.grant("udp", 4010, 5010, options=[pcp.port_set(3, 4010)])
        lan6.grant("udp", 4003)
        other.map("udp", 4004, 5004, 600)
        igd.Gateway(lab.lan1).add(5005, 4005)
        daemon.admin("add", "tcp", "5006", f"{lab.lan1.ipv4}:4006")
        assert deleted(daemon, lab.lan2.ipv4) == [
            5001, 5002, 5010, 5011, 5012]  # one by another's asking, and a set
        with pcp.Client(lab.lan1) as again:  # lan1 hears of the end
            again.grant("udp", 4001, 5001, options=[pcp.third_party(lab.lan2.ipv4)])
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None
        assert deleted(daemon, lab.lan1.ipv4) == [5000, 5001, 5004, 5005]
        assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None
        assert sorted(x["external_port"] for x in daemon.leases()) == [4003, 5006]
        assert deleted(daemon, lab.lan1.ipv6) == [4003]
    assert "lease deleted" in daemon.wait_log(r"ext=5004 .*why=owner")
    ends_with(5, daemon, "delete", "--client", lab.lan1.ipv4)
    ends_with(2, daemon, "delete", "--client", "nobody")
    ends_with(2, daemon, "delete", "--client", lab.lan1.ipv4, "1")


def test_delete_of_a_client_by_another_spelling(lab, daemon):
    with natpmp.Client(lab.lan1) as client:
        client.map("udp", 4000, 5000, 600)
    assert deleted(daemon, f"::ffff:{lab.lan1.ipv4}") == [5000]


def test_delete_of_a_set(lab, daemon):
    """It ends as one, and the answer says so."""
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", 4010, 5010, options=[pcp.port_set(4, 4010)])
        client.grant("udp", 4000, 5000)
    ids = [str(x["id"]) for x in daemon.leases() if x["set_count"] == 4]
    answer = daemon.json("delete", ids[2])
    assert answer["lease"]["id"] == int(ids[2])
    assert sorted(str(x["id"]) for x in answer["leases"]) == sorted(ids)
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", 4010, 5020, options=[pcp.port_set(4, 4010)])
    ids = [str(x["id"]) for x in daemon.leases()]
    assert len(ids) == 5
    assert daemon.admin("delete", *ids).count("deleted ") == 5
    assert daemon.leases() == []


def test_add_over_a_lease_of_a_client(lab, daemon):
    """The owner's word goes before the host's; what gives way is told."""
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", 4010, 5010, options=[pcp.port_set(3, 4010)])
        client.grant("udp", 4000, 5000)
        flow = client.peer("udp", 4020, (lab.inet1.ipv4, 7000))
        assert flow.result == pcp.OK
    assert [x["kind"] for x in sorted(daemon.leases(), key=lambda x: x["internal_port"])
            ] == ["mapping"] * 4 + ["flow"]
    answer = daemon.json("add", "udp", "5000", f"{lab.lan1.ipv4}:4000")
    assert [(x["origin"], x["external_port"]) for x in answer["replaced"]] == [("pcp", 5000)]
    assert answer["lease"]["origin"] == "static"
    text = daemon.admin("add", "udp", "5011", f"{lab.lan1.ipv4}:4011")
    assert sorted(re.findall(r"^(added|replaced) \d+: udp \S+:(\d+) .* (pcp|static)$", text,
                             re.MULTILINE)) == [
        ("added", "5011", "static"), ("replaced", "5010", "pcp"),
        ("replaced", "5011", "pcp"), ("replaced", "5012", "pcp")]
    assert "replaced" not in daemon.json("add", "udp", "5012", f"{lab.lan1.ipv4}:4012")
    for port in (5010, 5012):
        assert "why=owner" in daemon.wait_log(f"lease deleted .*ext={port} .*via=pcp")
    daemon.wait_log("lease changed .*ext=5011 .*via=static")


@pytest.mark.parametrize("internal, remote, text", [
    ("fe80::1", None, "link-local"), ("fd77::2", "198.51.100.1", "IPv4"),
    ("192.168.77.2", "2001:db8::1", "IPv6"), ("10.9.9.9", None, "any LAN")])
def test_add_that_cannot_be(lab, daemon, internal, remote, text):
    """PCP-95, and peers of the other family: refused, and why"""
    answer = call(daemon, "Add", protocol="tcp", internal_address=internal,
                  internal_port=4502, external_port=4502, lifetime_s=0, description="",
                  remote=remote)
    assert answer["error"] == "org.portreeve.Refused" and text in answer["parameters"]["text"]
    assert daemon.leases() == []


def test_delete_of_many(lab, daemon_factory):
    """More than one answer holds"""
    daemon = daemon_factory("[limits]\nleases-per-client = 0\n"
                            "requests-per-second = 0\n").start()
    with natpmp.Client(lab.lan1) as client:
        for port in range(20000, 20300):
            client.map("udp", port, port, 600)
    assert len(deleted(daemon, lab.lan1.ipv4)) == 300
    assert daemon.leases() == []


def call(daemon, method, **parameters):
    """One call of the control socket, as doc/control.md has it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(daemon.control)
        sock.sendall(json.dumps({"method": f"org.portreeve.{method}",
                                 "parameters": parameters}).encode() + b"\0")
        received = b""
        while not received.endswith(b"\0"):
            received += sock.recv(65536)
    return json.loads(received[:-1])


@pytest.mark.parametrize("parameters, bad", [
    ({}, "id"), ({"id": 1, "client": "192.168.77.2"}, "id"), ({"client": "x"}, "client"),
    ({"client": "::"}, "client"), ({"client": 7}, "client"), ({"id": -1}, "id")])
def test_delete_parameters(daemon, parameters, bad):
    answer = call(daemon, "Delete", **parameters)
    assert answer["error"] == "org.varlink.service.InvalidParameter"
    assert answer["parameters"] == {"parameter": bad}


def test_show_of_pcp(lab, daemon):
    """Who may send is seen, and no nonce (PCP-100)"""
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", 4000, 5000, options=[
            pcp.pack_filter("203.0.113.2"), pcp.pack_filter("198.51.100.0", 120, 443)])
        client.grant("udp", 4100, 5100, options=[pcp.port_set(4, 4100)])
        client.peer("udp", 4200, (lab.inet1.ipv4, 3478), 5200)
        nonce = client.nonce
    leases = {lease["internal_port"]: lease for lease in daemon.leases()}
    one = leases[4000]
    assert one["filters"] == [{"prefix": "203.0.113.2/32", "port": 0},
                              {"prefix": "198.51.100.0/24", "port": 443}]
    assert (one["remote"], one["remote_port"], one["set_count"]) == (None, 0, 0)
    assert [(leases[port]["set_first"], leases[port]["set_count"])
            for port in range(4100, 4104)] == 4 * [(4100, 4)]
    assert (leases[4200]["remote"], leases[4200]["remote_port"]) == (lab.inet1.ipv4, 3478)
    shown = daemon.admin("show", str(one["id"]))
    assert "203.0.113.2/32\n" in shown and "198.51.100.0/24 port 443\n" in shown
    assert "ports 4100-4103" in daemon.admin("show", str(leases[4100]["id"]))
    rows = daemon.admin("list").splitlines()
    assert "REMOTE" in rows[0]
    assert any("2 filters" in row and ":4000 " in row for row in rows)
    assert any(f" {lab.inet1.ipv4}:3478 " in row for row in rows)
    text = daemon.admin("--json", "list") + "".join(rows) + shown + daemon.log()
    for form in (nonce.hex(), nonce.hex(" "), nonce.hex(":")):
        assert form not in text.lower()


def test_static_pinhole(lab, daemon):
    """IPv6: the same port inside and outside, from one host alone where that is said"""
    lan1, target = lab.lan1, (lab.lan1.ipv6, 4000)
    lease = daemon.json("add", "udp", "0", f"[{lan1.ipv6}]:4000", "--remote",
                        lab.inet1.ipv6)["lease"]
    assert (lease["external_port"], lease["external_address"]) == (4000, lan1.ipv6)
    assert lease["remote"] == lab.inet1.ipv6
    assert lab.udp_arrives(lab.inet1, target, lan1, 4000) is not None
    assert lab.udp_arrives(lab.inet2, target, lan1, 4000) is None
    daemon.admin("add", "udp", "4001", lan1.ipv6)
    assert lab.udp_arrives(lab.inet2, (lan1.ipv6, 4001), lan1, 4001) is not None
    ends_with(6, daemon, "add", "udp", "5000", f"[{lan1.ipv6}]:4002")
    daemon.admin("delete", str(lease["id"]))
    assert lab.udp_arrives(lab.inet1, target, lan1, 4000) is None


def test_watch_tells_why(lab, daemon):
    """Who deleted a lease, its client or the owner; and that its filters changed"""
    process = lab.gw.start([daemon.tool, "--socket", daemon.control, "--json", "watch"])

    def events():
        return [json.loads(line) for line in process.output().splitlines()]
    wait_for(lambda: events() and events()[0].get("ready"), "watch to be ready")
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", 4000)
        client.unmap("udp", 4000)
        client.grant("udp", 4001)
        client.grant("udp", 4001)
        client.grant("udp", 4001, options=[pcp.pack_filter(lab.inet1.ipv4)])
    daemon.admin("delete", "--client", lab.lan1.ipv4)
    wait_for(lambda: [x["why"] for x in events() if x.get("event") == "deleted"] == [
        "client", "owner"], "two leases to be deleted")
    assert all("why" not in x for x in events() if x.get("event") != "deleted")
    assert [x["event"] for x in events()[1:]] == [
        "added", "deleted", "added", "renewed", "changed", "deleted"]
    assert process.stop() == 0


def test_anycast_without_its_address(lab, daemon_factory):
    """PCP-119: who switches it on is told what is missing, with the command"""
    daemon = daemon_factory("[lan lan0]\npcp-anycast = yes\n").start()
    for command in ("ip address add 192.0.0.9/32 dev lo",
                    "ip address add 2001:1::1/128 dev lo"):
        assert command in daemon.wait_log(re.escape(command))
    problems = daemon.json_any("status")["status"]["problems"]
    assert [x["code"] for x in problems] == ["anycast"]
    daemon.stop()
    try:
        for command in ("192.0.0.9/32", "2001:1::1/128"):
            lab.gw.ip("address", "add", command, "dev", "lo")
        daemon.start()
        assert daemon.log().count("pcp-anycast") == 2  # of the first start
        assert daemon.json("status")["status"]["problems"] == []
        lab.gw.ip("address", "del", "192.0.0.9/32", "dev", "lo")
        wait_for(lambda: daemon.json_any("status")["status"]["problems"],
                 "the status to miss an address that is gone")
        lab.gw.ip("address", "add", "192.0.0.9/32", "dev", "lo")
    finally:
        for command in ("192.0.0.9/32", "2001:1::1/128"):
            lab.gw.ip("address", "del", command, "dev", "lo")
