# SPDX-License-Identifier: GPL-2.0-or-later
"""The world around changes: the WAN's address, whole interfaces, others' firewalls."""

import igd
import natpmp
import pytest
from firewall import firewall
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
CONFIG = "[wan]\ninterface = wan0\n[lan lan0]\n"


class Wan:
    """The gateway's way out, to be taken away and given back."""

    def __init__(self, lab):
        self.lab = lab
        self.lost = None

    def lose(self, what):
        """what: "address" or "interface"."""
        self.lost = what
        if what == "address":
            self.lab.gw.ip("address", "del", f"{WAN}/24", "dev", "wan0")
        else:
            self.lab.gw.ip("link", "del", "wan0")

    def restore(self):
        lab, lost, self.lost = self.lab, self.lost, None
        if lost == "interface":
            lab.batch("gw", ["link add wan0 type veth peer name p-gw netns "
                             f"{lab.prefix}-wan"])
            lab.batch("wan", ["link set p-gw addrgenmode none master wan up"])
            lab.batch("gw", ["link set wan0 up",
                             f"address add {Lab.WAN_ADDRESS6}/64 dev wan0",
                             f"-6 route replace default via {lab.inet1.ipv6}"])
        if lost:
            lab.batch("gw", [f"address add {WAN}/24 dev wan0",
                             f"route replace default via {lab.inet1.ipv4}"])
            for host in (lab.inet1, lab.inet2):  # another interface: another MAC
                host.ip("neigh", "flush", "dev", "eth0")


@pytest.fixture
def wan(lab):
    made = Wan(lab)
    yield made
    made.restore()


def external_ports(daemon):
    return {lease["external_port"] for lease in daemon.leases()}


def arrives(lab, port, sender=None):
    return lab.udp_arrives(sender or lab.inet1, (WAN, port), lab.lan1, port) is not None


def find_id(daemon, port):
    return next(str(x["id"]) for x in daemon.leases() if x["external_port"] == port)


@pytest.mark.parametrize("what", ["address", "interface"])
def test_wan_lost_and_back(lab, daemon_factory, wan, what):
    """
    NP-25, NP-60, NP-22: without an external address nothing is granted, and nothing is
    lost; leases end as ever, and those that live forward again with nobody asking.
    """
    daemon = daemon_factory(CONFIG).start()
    gateway = igd.Gateway(lab.lan1)
    with natpmp.Client(lab.lan1) as client:
        for port, lifetime_s in ((4000, 600), (4001, 600), (4002, 3)):
            assert client.map("udp", port, port, lifetime_s).external == port
        for port in (4003, 4004, 4005):
            gateway.add(port, port)
        wan.lose(what)
        wait_for(lambda: client.address()[::2] == (natpmp.NETWORK_FAILURE, "0.0.0.0"),
                 "the loss to be noticed")
        assert {4000, 4001, 4003, 4004, 4005} <= external_ports(daemon)
        assert gateway.call("GetExternalIPAddress") == {"NewExternalIPAddress": ""}
        for port in (4000, 4010):
            answer = client.map("udp", port, port)
            assert answer.result == natpmp.NETWORK_FAILURE
            assert answer[2:] == (port, 0, 0)
        assert daemon.json_any("status")["status"]["state"] == "degraded"
        assert client.unmap("udp", 4001).result == natpmp.OK
        assert gateway.delete(4004) == {}
        daemon.admin("delete", find_id(daemon, 4005))
        wait_for(lambda: external_ports(daemon) == {4000, 4003}, "4002 to expire", 6)
        wan.restore()
        wait_for(lambda: arrives(lab, 4000), "packets to arrive again", 5)
        assert arrives(lab, 4003)
        assert not any(arrives(lab, port) for port in (4001, 4002, 4004, 4005))
        assert client.address()[::2] == (natpmp.OK, WAN)
        assert client.map("udp", 4010, 4010).external == 4010
    assert arrives(lab, 4010)
    wait_for(lambda: daemon.json_any("status")["status"]["state"] == "ok", "all to be well")


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("what", ["address", "interface"])
def test_start_without_wan_address(lab, daemon_factory, wan, what, how):
    """It starts, says so, and forwards as soon as there is an address."""
    daemon = daemon_factory(CONFIG).start()
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", 4000, 4000).external == 4000
        daemon.admin("add", "udp", "4001", f"{lab.lan1.ipv4}:4001")
        getattr(daemon, how)()
        wan.lose(what)
        daemon.start()
        daemon.wait_log("wan0")
        assert external_ports(daemon) == {4000, 4001}
        done = daemon.run_tool("status")
        assert done.returncode == 7 and "wan0" in done.stdout, done.stdout
        assert client.map("udp", 4000, 4000).result == natpmp.NETWORK_FAILURE
        wan.restore()
        wait_for(lambda: arrives(lab, 4000), "packets to arrive", 5)
        assert arrives(lab, 4001)
        assert client.map("udp", 4000, 4000).external == 4000
    assert external_ports(daemon) == {4000, 4001}


def test_configured_address_of_a_wan_without_one(lab, daemon_factory, wan):
    """NP-25: what the configuration reports is true only while packets can come in"""
    daemon_factory("[wan]\ninterface = wan0\naddress = 198.51.100.7\n[lan lan0]\n").start()
    gateway = igd.Gateway(lab.lan1)
    with natpmp.Client(lab.lan1) as client:
        assert client.address()[::2] == (natpmp.OK, "198.51.100.7")
        assert client.map("udp", 4000, 4000).external == 4000
        assert arrives(lab, 4000)
        wan.lose("address")
        wait_for(lambda: client.address()[::2] == (natpmp.NETWORK_FAILURE, "0.0.0.0"),
                 "the loss to be noticed")
        assert gateway.call("GetExternalIPAddress") == {"NewExternalIPAddress": ""}
        with pytest.raises(igd.SoapError):
            gateway.add(4001, 4001)
        wan.restore()
        wait_for(lambda: client.address()[::2] == (natpmp.OK, "198.51.100.7"),
                 "the address to be back")
    wait_for(lambda: arrives(lab, 4000), "packets to arrive again", 5)


@pytest.mark.nftables("a renewal asks nothing of a kernel without timeouts")
@pytest.mark.parametrize("command", ["flush ruleset", "delete table inet portreeve"])
def test_asked_while_the_firewall_is_gone(lab, daemon_factory, command):
    """
    Whoever asks right after a stranger removed our table is granted what they ask, and
    what they were told is true at once.
    """
    daemon = daemon_factory("[limits]\nrequests-per-second = 0\n").start()
    remove = firewall(lab).pack_wreck(command)
    gateway = igd.Gateway(lab.lan1)
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", 4000, 4000).result == natpmp.OK
        gateway.add(4100, 4100)
        for number in range(1, 6):
            lab.gw.nft(remove)
            assert client.map("udp", 4000, 4000).result == natpmp.OK, "renewal"
            assert arrives(lab, 4000)
            lab.gw.nft(remove)
            answer = client.map("udp", 4000 + number, 4000 + number)
            assert answer.result == natpmp.OK, "new"
            assert arrives(lab, 4000 + number)
            lab.gw.nft(remove)
            assert gateway.add(4100, 4100) == {}
            assert arrives(lab, 4100)
        lab.gw.nft(remove)
        assert client.unmap("udp", 4001).result == natpmp.OK
        lab.gw.nft(remove)
        assert gateway.delete(4100) == {}
    wait_for(lambda: arrives(lab, 4002), "the table to come back", 5)
    assert not arrives(lab, 4001) and not arrives(lab, 4100)
    assert external_ports(daemon) == {4000, 4002, 4003, 4004, 4005}


def rename_lan(lab, old, new):
    lab.batch("gw", [f"link set {old} down", f"link set {old} name {new}",
                     f"link set {new} up", f"-6 address replace fd77::1/64 dev {new}"])


def test_lan_renamed(lab, daemon_factory):
    """A lease of a LAN that has another name now is found again by its owner."""
    daemon = daemon_factory(CONFIG).start()
    igd.Gateway(lab.lan1).add(4000, 4000)
    daemon.stop()
    rename_lan(lab, "lan0", "lan9")
    try:
        daemon.configure(CONFIG.replace("lan0", "lan9"))
        daemon.start()
        gateway = igd.Gateway(lab.lan1)
        assert gateway.add(4000, 4000) == {}
        assert gateway.get(4000)["NewInternalClient"] == lab.lan1.ipv4
        assert [x["NewExternalPort"] for x in gateway.entries()] == ["4000"]
        [lease] = daemon.leases()
        assert lease["lan"] == "lan9"
        assert arrives(lab, 4000)
    finally:
        rename_lan(lab, "lan9", "lan0")
