# SPDX-License-Identifier: GPL-2.0-or-later
"""What UPnP clients are told of WAN, lease table and IPv6 firewall as these change."""

import contextlib
import re
import socket
import xml.etree.ElementTree

import igd
import natpmp
import pcp
import pytest
from igd import Gateway, SoapError, search
from lab import Lab, wait_for

IGD2 = "urn:schemas-upnp-org:device:InternetGatewayDevice:2"
WANIP2 = "urn:schemas-upnp-org:service:WANIPConnection:2"
CONTROL = "urn:schemas-upnp-org:control-1-0"
V6FC = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1"
WAN = Lab.WAN_ADDRESS
# Of the gateway's namespace in a test: nothing else uses such numbers.
TCP_S, UDP_S = 7441, 183


def get_uptime(gateway):
    return int(gateway.call("GetStatusInfo")["NewUptime"])


def get_link_status(gateway):
    return gateway.call("GetCommonLinkProperties", igd.WANCIC1)["NewPhysicalLinkStatus"]


def add_pinhole(gateway, client, port=5000, **options):
    """AddPinhole for a host's port; its UniqueID."""
    values = {"RemoteHost": "", "RemotePort": 0, "InternalClient": client,
              "InternalPort": port, "Protocol": 17, "LeaseTime": 3600}
    values.update(options)
    return int(gateway.call("AddPinhole", V6FC, **values)["UniqueID"])


def refused(code, function, *arguments, **options):
    with pytest.raises(SoapError) as caught:
        function(*arguments, **options)
    assert caught.value.code == code, caught.value


def query(gateway, variable, service):
    """QueryStateVariable (SOAP-9)"""
    body = ('<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            f'<u:QueryStateVariable xmlns:u="{CONTROL}"><u:varName>{variable}</u:varName>'
            "</u:QueryStateVariable></s:Body></s:Envelope>")
    status, _, data = gateway.post("", body, service, {
        "SOAPAction": f'"{CONTROL}#QueryStateVariable"'})
    assert status == 200, data
    return xml.etree.ElementTree.fromstring(data).findtext(".//return")


class Watcher:
    """Both faces of the device as one host reads the lease table's variables there."""

    def __init__(self, host):
        self.first = Gateway(host)
        self.second = Gateway(host, search(host, IGD2)[0]["location"])

    def read(self):
        """(PortMappingNumberOfEntries, SystemUpdateID); of no one moment"""
        entries = (query(self.first, "PortMappingNumberOfEntries", igd.WANIP1),
                   query(self.second, "PortMappingNumberOfEntries", WANIP2))
        update_id = int(query(self.second, "SystemUpdateID", WANIP2))
        return int(entries[0]) if entries[0] == entries[1] else None, update_id

    def wait(self, entries, update_id):
        wait_for(lambda: self.read() == (entries, update_id),
                 f"{entries} entries at update {update_id}, {self.read()} now")


@contextlib.contextmanager
def pulled_plug(lab):
    """The cable of the WAN hangs in the air."""
    switch = ["-n", f"{lab.prefix}-wan", "link", "set", "p-gw"]
    lab.gw.ip(*switch, "down")
    try:
        yield
    finally:
        lab.gw.ip(*switch, "up")


def test_uptime_restarts(lab, daemon):
    """IGD-40, IGD-37: it counts from the address, and that from its coming back"""
    gateway = Gateway(lab.lan1)
    wait_for(lambda: get_uptime(gateway) >= 2, "two seconds of uptime")
    lab.gw.ip("address", "del", f"{WAN}/24", "dev", "wan0")
    try:
        wait_for(lambda: gateway.call("GetExternalIPAddress")["NewExternalIPAddress"] == "",
                 "no address")
        assert get_uptime(gateway) == 0
        assert gateway.call("GetStatusInfo")["NewConnectionStatus"] != "Connected"
    finally:
        lab.gw.ip("address", "add", f"{WAN}/24", "dev", "wan0")
        lab.gw.ip("route", "replace", "default", "via", lab.inet1.ipv4)
    wait_for(lambda: gateway.call("GetExternalIPAddress")["NewExternalIPAddress"] == WAN,
             "the address")
    assert get_uptime(gateway) < 2


def test_carrier(lab, daemon):
    """IGD-52: the link's state is told as it changes"""
    gateway = Gateway(lab.lan1)
    assert get_link_status(gateway) == "Up"
    with pulled_plug(lab):
        wait_for(lambda: get_link_status(gateway) == "Down", "the link to be down")
    wait_for(lambda: get_link_status(gateway) == "Up", "the link to be up again")


def test_link_rates(lab, daemon_factory):
    """IGD-51: what the owner says, else the card; ten gigabit/s are more than ui4 holds"""
    daemon_factory("[wan]\nbit-rate-up = 40M\n").start()
    answer = Gateway(lab.lan1).call("GetCommonLinkProperties", igd.WANCIC1)
    assert answer["NewLayer1UpstreamMaxBitRate"] == "40000000"
    assert answer["NewLayer1DownstreamMaxBitRate"] == str(2**32 - 1)


def test_restart_keeps_mappings(lab, daemon):
    """IGD-40, IGD-41, SSDP-15: they are all there still, the WAN was up all the time, and
    BOOTID tells that we began anew"""
    gateway = Gateway(lab.lan1)
    gateway.add(5000, 4000, LeaseDuration=0)
    gateway.add(5001, 4001, "TCP", LeaseDuration=7200, RemoteHost=lab.inet1.ipv4)
    before = [dict(entry, NewLeaseDuration=None) for entry in gateway.entries()]
    [device] = search(lab.lan1, igd.IGD1)
    wait_for(lambda: get_uptime(gateway) >= 2, "two seconds of uptime")
    assert daemon.stop() == 0
    daemon.start()
    again = Gateway(lab.lan1)
    assert get_uptime(again) >= 2
    assert [dict(entry, NewLeaseDuration=None) for entry in again.entries()] == before
    [other] = search(lab.lan1, igd.IGD1)
    assert other["usn"] == device["usn"]
    assert int(other["bootid.upnp.org"]) > int(device["bootid.upnp.org"])
    assert lab.udp_arrives(lab.inet2, (WAN, 5000), lab.lan1, 4000) is not None
    assert lab.tcp_arrives(lab.inet1, (WAN, 5001), lab.lan1, 4001) is not None
    assert lab.tcp_arrives(lab.inet2, (WAN, 5001), lab.lan1, 4001) is None


def test_table_of_everybody(lab, daemon_factory):
    """IGD-36: whoever adds, ends or changes a mapping, one step each; renewals are none"""
    daemon = daemon_factory("[limits]\nlifetime-min = 1\n").start()
    watcher, other, guest = (Watcher(host) for host in (lab.lan1, lab.lan2, lab.guest1))
    assert watcher.read() == (0, 0)
    watcher.first.add(5000, 4000)
    assert watcher.read() == (1, 1)  # as soon as there is an answer
    watcher.first.add(5000, 4000)
    assert watcher.read() == (1, 1)
    watcher.first.add(5000, 4000, Enabled=0)
    assert watcher.read() == (1, 2)
    daemon.admin("add", "tcp", "6000", lab.lan2.ipv4)
    other.wait(2, 3)
    with natpmp.Client(lab.lan2) as client:
        client.ask(natpmp.pack_map("udp", 4100, 5100, 3600))
        other.wait(3, 4)
        client.ask(natpmp.pack_map("udp", 4100, 5100, 3600))
        client.ask(natpmp.pack_map("udp", 4100, 0, 0))
        watcher.wait(2, 5)
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", 4200, 5200, lifetime=1)
        client.peer("udp", 4300, (lab.inet1.ipv4, 3478), 5300)  # no mapping
        watcher.wait(2, 7)  # it came and went
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as client:
        client.grant("udp", 4400, 4400)  # IPv6: no mapping that UPnP lists
    daemon.admin("delete", str(daemon.leases()[0]["id"]))
    wait_for(lambda: watcher.read()[1] == 8, "the owner's deletion")
    # another LAN has seen nothing of it, and shows nothing of its own
    assert guest.read() == (0, 0)
    before = watcher.read()
    guest.first.add(5001, 4000)
    assert guest.read() == (1, 1)
    assert watcher.read() == before
    assert watcher.first.call("GetStatusInfo")["NewConnectionStatus"] == "Connected"


@pytest.mark.parametrize("value, enabled, allowed, error", [
    ("on", "1", "1", None), ("off", "1", "0", 703), ("no-firewall", "0", "0", 702)])
def test_firewall_flags(lab, daemon_factory, value, enabled, allowed, error):
    """V6FW-1, V6FW-15: as the owner says, and before anything else is looked at"""
    daemon_factory(f"[wan]\npinholes = {value}\n").start()
    gateway = Gateway(lab.lan1)
    assert gateway.call("GetFirewallStatus", V6FC) == {
        "FirewallEnabled": enabled, "InboundPinholeAllowed": allowed}
    tuple5 = {"RemoteHost": "", "RemotePort": 0, "InternalClient": lab.lan1.ipv6,
              "InternalPort": 5000, "Protocol": 17}
    if error:
        refused(error, add_pinhole, gateway, lab.lan1.ipv6)
        refused(error, add_pinhole, gateway, "", LeaseTime=0)
        for action in ("DeletePinhole", "CheckPinholeWorking", "GetPinholePackets"):
            refused(error, gateway.call, action, V6FC, UniqueID=1)
        refused(error, gateway.call, "UpdatePinhole", V6FC, UniqueID=1, NewLeaseTime=60)
    if error == 702:  # the way out is there as long as there is a firewall
        refused(error, gateway.call, "GetOutboundPinholeTimeout", V6FC, **tuple5)
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as client:
        answer = client.map("udp", 5000, 5000)
        expected = pcp.NOT_AUTHORIZED if value == "off" else pcp.OK
        assert answer.result == expected


def test_outbound_timeouts(lab, daemon_factory):
    """V6FW-15: those of the gateway's connection tracking; 705 for what it does not know"""
    names = {6: "net/netfilter/nf_conntrack_tcp_timeout_established",
             17: "net/netfilter/nf_conntrack_udp_timeout_stream"}
    lab.gw.write_sysctl(names[6], TCP_S)
    lab.gw.write_sysctl(names[17], UDP_S)
    daemon_factory().start()
    gateway = Gateway(lab.lan1)

    def ask(protocol):
        answer = gateway.call("GetOutboundPinholeTimeout", V6FC, RemoteHost="", RemotePort=0,
                              InternalClient=lab.lan1.ipv6, InternalPort=5000,
                              Protocol=protocol)
        return int(answer["OutboundPinholeTimeout"])

    assert (ask(6), ask(17)) == (TCP_S, UDP_S)
    refused(705, ask, 136)


def know_neighbour(lab, host):
    """The gateway has heard from both addresses of the host."""
    for family, gateway in ((socket.AF_INET, "192.168.77.1"), (socket.AF_INET6, "fd77::1")):
        with lab.gw.udp(5999, gateway, family) as sink, host.udp(family=family) as source:
            source.sendto(b"here", (gateway, 5999))
            sink.recvfrom(16)
        wait_for(lambda a=host.address(family): "lladdr" in lab.gw.ip("neigh", "show", a),
                 "the neighbour to be known")


def test_same_host_by_address(lab, daemon_factory):
    """V6FW-7: over IPv4 nobody owns an IPv6 address"""
    daemon_factory().start()
    know_neighbour(lab, lab.lan1)
    refused(606, add_pinhole, Gateway(lab.lan1), lab.lan1.ipv6)


def test_same_host_by_mac(lab, daemon_factory):
    """V6FW-7: the option; the card of the neighbour table tells whose address it is"""
    daemon = daemon_factory("[global]\nigd-same-host = mac\n").start()
    one, other = Gateway(lab.lan1), Gateway(lab.lan2)
    for host in (lab.lan1, lab.lan2):
        know_neighbour(lab, host)
    unique = add_pinhole(one, lab.lan1.ipv6, 5000)
    assert lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, 5000), lab.lan1, 5000) is not None
    assert lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, 5001), lab.lan1, 5001) is None
    [lease] = daemon.leases()
    assert lease["pinhole"] == unique and lease["client"] == lab.lan1.ipv6
    # nobody else's, neither to make nor to end; V6FW-9
    refused(606, add_pinhole, other, lab.lan1.ipv6, 5001)
    refused(606, other.call, "DeletePinhole", V6FC, UniqueID=unique)
    refused(606, add_pinhole, one, "fd77::1")
    refused(606, add_pinhole, one, "fd77::77")  # nobody knows whose that is
    # an address of another LAN, which a host can make the kernel believe is here
    [mac] = re.findall(r"link/ether (\S+)", lab.lan1.ip("link", "show", "eth0"))
    lab.gw.ip("neigh", "replace", lab.guest1.ipv6, "lladdr", mac, "dev", "lan0", "nud",
              "reachable")
    try:
        refused(606, add_pinhole, one, lab.guest1.ipv6)
    finally:
        lab.gw.ip("neigh", "del", lab.guest1.ipv6, "dev", "lan0")
    one.call("DeletePinhole", V6FC, UniqueID=unique)
    assert lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, 5000), lab.lan1, 5000) is None


def test_pinholes_without_nat(lab, daemon_factory):
    """V6FW-1: where nothing is translated, pinholes are what is left; NATEnabled says so"""
    daemon_factory("[wan]\nnat = off\n[global]\nigd-same-host = mac\n").start()
    know_neighbour(lab, lab.lan1)
    gateway = Gateway(lab.lan1)
    assert gateway.call("GetNATRSIPStatus")["NewNATEnabled"] == "0"
    with pytest.raises(SoapError):
        gateway.add(5000, 4000)
    assert add_pinhole(gateway, lab.lan1.ipv6, 5000) > 0
    assert lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, 5000), lab.lan1, 5000) is not None
    refused(606, add_pinhole, gateway, lab.lan1.ipv6, 80)  # the port rule of [policy]


def test_pinhole_over_a_restart(lab, daemon_factory):
    """V6FW-8, V6FW-11: its UniqueID is the client's name for it, and stays so"""
    daemon = daemon_factory("[global]\nigd-same-host = mac\n").start()
    know_neighbour(lab, lab.lan1)
    unique = [add_pinhole(Gateway(lab.lan1), lab.lan1.ipv6, port, RemotePort=remote)
              for port, remote in ((5000, 0), (5001, 4000), (5002, 0))]
    assert len(set(unique)) == 3 and 0 not in unique
    before = {lease["pinhole"]: lease["internal_port"] for lease in daemon.leases()}
    assert before == dict(zip(unique, (5000, 5001, 5002)))
    daemon.kill()
    daemon.start()
    assert {lease["pinhole"]: lease["internal_port"] for lease in daemon.leases()} == before
    gateway = Gateway(lab.lan1)
    assert add_pinhole(gateway, lab.lan1.ipv6, 5001, RemotePort=4000) == unique[1]
    daemon.wait_log(f"lease added .*pinhole={unique[1]} ")
    with lab.inet1.udp(4000, family=socket.AF_INET6) as source:
        assert lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, 5001), lab.lan1, 5001,
                               source=source) is not None
    assert lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, 5001), lab.lan1, 5001) is None
    gateway.call("UpdatePinhole", V6FC, UniqueID=unique[0], NewLeaseTime=60)
    left = {lease["pinhole"]: lease["lifetime_s"] for lease in daemon.leases()}
    assert 50 <= left[unique[0]] <= 120
