# SPDX-License-Identifier: GPL-2.0-or-later
"""The admin tool against the daemon: what it shows, what it changes, how it ends."""

import json
import os
import re
import socket
import time

import igd
import natpmp
import pytest
from daemon import CommandError
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
FIELDS = {"id", "protocol", "external_address", "external_port", "internal_address",
          "internal_port", "remote", "lifetime_s", "expires", "origin", "client", "lan",
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
    assert status["backend"]["name"] == "nftables"
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
