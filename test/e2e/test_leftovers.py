# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run with one backend left, and the next one has another: its ports are closed."""

import pytest
from firewall import BACKENDS, IPTABLES, NFTABLES
from lab import Lab

WAN = Lab.WAN_ADDRESS
PORT = 29000
CONFIG = "[backend]\ntype = {}\nintegrate = auto\n"
OWNER = ("iptables-legacy -t nat -A PREROUTING -p tcp --dport 81 -j REDIRECT",
         "iptables-legacy -A FORWARD -i other0 -j DROP")


@pytest.fixture
def owner(lab):
    """What the owner has in iptables; it stays as it is."""
    for line in OWNER:
        lab.gw.run(line.split(), check=True)
    yield BACKENDS[IPTABLES](lab).save(4)
    for line in OWNER:
        lab.gw.run(line.replace(" -A ", " -D ").split(), check=True)


def strip(lines):
    """Without comments and counters."""
    return [line.split(" [")[0] for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("before, after, single", [
    (IPTABLES, NFTABLES, False), (IPTABLES, NFTABLES, True), (IPTABLES, "memory", True),
    (NFTABLES, IPTABLES, False), (NFTABLES, IPTABLES, True)])
def test_another_backend(lab, daemon_factory, owner, before, after, single):
    left = BACKENDS[before](lab)
    daemon = daemon_factory(CONFIG.format(before)).start()
    daemon.admin("add", "udp", str(PORT), f"{lab.lan1.ipv4}:{PORT}")
    daemon.kill()
    assert left.read() != "", "a killed run leaves its rules"
    daemon.configure(CONFIG.format(after))
    daemon.arguments = ["--single"] if single else []
    daemon.start()
    assert left.read() == ""
    assert f"type = {before} left" in daemon.log()
    if after != "memory":
        assert lab.udp_arrives(lab.inet1, (WAN, PORT), lab.lan1, PORT)
    daemon.admin("delete", str(daemon.leases()[0]["id"]))
    assert lab.udp_arrives(lab.inet1, (WAN, PORT), lab.lan1, PORT) is None
    assert daemon.stop() == 0
    legacy = BACKENDS[IPTABLES](lab).save(4)
    assert [x for x in strip(legacy) if "portreeve" in x.lower()] == []
    assert [x for x in strip(owner) if x.startswith("-A")] == [
        x for x in strip(legacy) if x.startswith("-A")], "the owner's are not touched"


def test_not_another_ones(lab, daemon_factory):
    """One that runs and has another backend keeps its rules: there is no second one."""
    first = daemon_factory(CONFIG.format(IPTABLES)).start()
    first.admin("add", "udp", str(PORT), f"{lab.lan1.ipv4}:{PORT}")
    before = BACKENDS[IPTABLES](lab).read()
    second = daemon_factory(CONFIG.format(NFTABLES))
    second.launch()
    assert second.process.wait() != 0
    assert second.log().count("another portreeved works in this network namespace") == 1
    assert strip(BACKENDS[IPTABLES](lab).read().splitlines()) == strip(before.splitlines())
