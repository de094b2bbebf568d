# SPDX-License-Identifier: GPL-2.0-or-later
"""Consoles and Windows: each does what it does at home, and packets prove it."""

import itertools

import models
import pytest
from igd import SoapError
from models import reaches

WAN_NET = models.PUBLIC_NET
# Of the servers that consoles ask; another each time, so that no old flow answers.
SERVER_PORTS = itertools.count(3544)


def source_port(lab, host, port):
    """The port that the internet sees when host sends from port: its NAT type."""
    server = next(SERVER_PORTS)
    with host.udp(port) as source:
        seen = lab.udp_arrives(host, (lab.inet1.ipv4, server), lab.inet1, server,
                               source=source)
    assert seen[0] == lab.WAN_ADDRESS
    return seen[1]


def test_xbox(lab, daemon):
    """CL-17, CL-27, CL-9: open NAT after five requests, and its text comes back whole"""
    console = models.Xbox(lab.lan1).discover()
    assert console.find(3074, "UDP") is None, "CL-27: 714"
    assert console.open_port() == 3074
    assert console.find(3074, "UDP")["NewPortMappingDescription"] == \
        f"Teredo {lab.lan1.ipv4}:3074->3074 UDP"
    assert reaches(lab, 3074, lab.lan1, 3074)
    assert source_port(lab, lab.lan1, 3074) == 3074
    assert console.open_port() == 3074, "once more after it slept"
    console.delete(3074, "UDP")
    assert not reaches(lab, 3074, lab.lan1, 3074)
    assert daemon.leases() == []


def test_two_consoles_want_3074(lab, daemon):
    """clients.md §3: 718 for the second, which takes another port; both are open"""
    first, second = (models.Xbox(host).discover() for host in (lab.lan1, lab.lan2))
    ports = first.open_port(), second.open_port()
    assert ports[0] == 3074 != ports[1]
    with pytest.raises(SoapError) as caught:
        second.add(3074, 3074, "UDP", second.text(3074), 0)
    assert caught.value.code == 718
    for console, port in zip((first, second), ports):
        assert reaches(lab, port, console.host, 3074)
        assert source_port(lab, console.host, 3074) == port
    # they meet each other at their external ports, too
    assert lab.udp_arrives(lab.lan1, (lab.WAN_ADDRESS, ports[1]), lab.lan2, 3074)
    assert lab.udp_arrives(lab.lan2, (lab.WAN_ADDRESS, ports[0]), lab.lan1, 3074)
    first.delete(3074, "UDP")
    assert not reaches(lab, 3074, lab.lan1, 3074)
    assert reaches(lab, ports[1], lab.lan2, 3074)


def test_playstations(lab, daemon):
    """clients.md §4: game ports side by side by 718, 9308 for the first alone"""
    first, second = (models.PlayStation(host).discover() for host in (lab.lan1, lab.lan2))
    held = {port: first.open_port(port) for port in (*first.PORTS, first.CONSOLE_PORT)}
    assert all(external == internal for internal, external in held.items())
    moved = {port: second.open_port(port) for port in second.PORTS}
    assert not set(moved.values()) & set(held.values())
    with pytest.raises(models.GaveUp, match="718"):
        second.open_port(second.CONSOLE_PORT)
    for console, ports in ((first, held), (second, moved)):
        for internal, external in ports.items():
            assert reaches(lab, external, console.host, internal)
            assert source_port(lab, console.host, internal) == external
    for external in held.values():
        first.delete(external, "UDP")
    assert not reaches(lab, 9308, lab.lan1, 9308)
    assert reaches(lab, moved[3658], lab.lan2, 3658)


@pytest.mark.parametrize("agent", [models.Windows, models.DiscoveryService, models.Xbox])
def test_windows_sees_version_1_alone(lab, daemon, agent):
    """IGD-6, DESC-1, DESC-7, clients.md §4: no word of version 2 or IPv6, anywhere"""
    client = agent(lab.lan1).discover()
    assert client.root.findtext(f"{models.DEVICE}specVersion/{models.DEVICE}major") == "1"
    assert client.root.find(f"{models.DEVICE}device/{models.DEVICE}presentationURL") \
        is not None, "the icon in the network folder"
    kinds = [x.text for x in client.root.iter()
             if models.local_name(x.tag) in ("deviceType", "serviceType")]
    assert len(kinds) == 6 and all(kind.endswith(":1") for kind in kinds)
    assert models.FIREWALL not in kinds and "IPv6" not in str(kinds)
    for service in client.urls:
        actions, variables = client.read_scpd(service)
        assert not {"AddAnyPortMapping", "DeletePortMappingRange",
                    "GetListOfPortMappings"} & set(actions)
        assert not any(name.startswith("A_ARG_TYPE") or name == "SystemUpdateID"
                       for name in variables)


WINDOWS_ASKS = {
    models.WANIP + "1": ("GetConnectionTypeInfo", "GetNATRSIPStatus", "GetStatusInfo",
                         "GetExternalIPAddress", "RequestConnection"),
    models.WANCIC: ("GetCommonLinkProperties", "GetTotalBytesSent", "GetTotalBytesReceived",
                    "GetTotalPacketsSent", "GetTotalPacketsReceived"),
}


def test_windows_asks_for_everything(lab, daemon):
    """clients.md §4, CL-24, SOAP-9: all that Windows calls has its answer"""
    client = models.Windows(lab.lan1).discover()
    answers = {}
    for service, actions in WINDOWS_ASKS.items():
        for action in actions:
            answers.update(client.call(action, service=service))
    assert answers["NewConnectionType"] == "IP_Routed"
    assert answers["NewConnectionStatus"] == "Connected"
    assert (answers["NewRSIPAvailable"], answers["NewNATEnabled"]) == ("0", "1")
    assert answers["NewPhysicalLinkStatus"] == "Up"
    assert answers["NewUptime"].isdigit()
    assert client.query("ConnectionStatus") == "Connected"
    assert client.query("ExternalIPAddress") == lab.WAN_ADDRESS
    assert client.query("PhysicalLinkStatus", models.WANCIC) == "Up"
    with pytest.raises(SoapError) as caught:
        client.query("SystemUpdateID")
    assert caught.value.code == 404


def test_windows_maps(lab, daemon):
    """The dialogue of its network folder: add, list, delete, all for ever"""
    client = models.Windows(lab.lan1).discover()
    client.add(33890, 3389, "TCP", "Remote desktop", 0)
    entry = client.call("GetGenericPortMappingEntry", ("NewPortMappingIndex", 0))
    assert (entry["NewExternalPort"], entry["NewEnabled"]) == ("33890", "1")
    target = (lab.WAN_ADDRESS, 33890)
    assert lab.tcp_arrives(lab.inet1, target, lab.lan1, 3389) is not None
    client.delete(33890, "TCP")
    assert lab.tcp_arrives(lab.inet1, target, lab.lan1, 3389) is None
    client.delete(33890, "TCP")  # CL-28: 714 is fine


def test_private_wan_address(lab, daemon_factory):
    """clients.md §5.12, CL-19: told as it is, or as the owner has it"""
    for config, public in (("[wan]\naddress = 192.168.1.2\n", False),
                           ("[wan]\naddress = 5.9.8.1\n", True)):
        running = daemon_factory(config).start()
        console = models.Xbox(lab.lan1).discover()
        assert models.is_public(console.external_address()) == public
        console.add(3074, 3074, "UDP", "granted all the same", 0)
        running.stop()
