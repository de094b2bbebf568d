# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs do with UPnP: go, Tailscale, syncthing, Home Assistant, real tools."""

import os
import re
import select
import socket
import struct

import igd
import models
import models_apps
import pytest
from conftest import get_build
from lab import wait_for
from models import reaches

WAN_NET = models.PUBLIC_NET
UPNPC = "upnpc"
# Clients that give us a quarter of a second try again; a busy machine may need that.
PROBES = 3
LOCATION = "http://192.168.77.1:49152/igd1/root.xml"


@pytest.mark.parametrize("client", [models_apps.GoUpnp, models_apps.GoUpnp2])
def test_goupnp(lab, daemon, client):
    """CL-10: ST and USN as asked for, and the service is what it was said to be"""
    control = client(lab.lan1).discover()
    assert control.call("GetExternalIPAddress", service=client.TARGET) == {
        "NewExternalIPAddress": lab.WAN_ADDRESS}


def test_tailscale(lab, daemon):
    """CL-6, CL-7, CL-9, CL-11: all three protocols within a quarter of a second"""
    client = models_apps.Tailscale(lab.lan1)
    for _ in range(PROBES):
        seen = client.probe()
        if len(seen) == 3:
            break
    assert seen == {"pcp": 0, "pmp": lab.WAN_ADDRESS, "upnp": LOCATION}
    client.describe(seen["upnp"])
    assert client.map(41641) == client.LEASE_S, "CL-29: never 402 or 725"
    assert reaches(lab, client.port, lab.lan1, 41641)
    first = client.port
    client.map(41641)
    assert client.port == first and len(daemon.leases()) == 1, "CL-25"


def test_tailscale_by_version_2(lab, daemon):
    """CL-25, IGD-25: another port than its neighbour's, and renewal keeps it"""
    first, second = (models_apps.Tailscale(host) for host in (lab.lan1, lab.lan2))
    for client in (first, second):
        client.describe(models_apps.GoUpnp2(client.host).search()["location"])
        assert client.map(41641) == client.LEASE_S
    ports = first.port, second.port
    assert ports[0] == 41641 != ports[1]
    for client in (first, second, second, first):
        client.map(41641)
    assert (first.port, second.port) == ports and len(daemon.leases()) == 2
    for client in (first, second):
        assert reaches(lab, client.port, client.host, 41641)
    # one release asked with the external port for the internal one (#18348): that is
    # another mapping, and takes nothing from the first
    second.add(second.port, second.port, "UDP", "tailscale-portmap", 7200,
               service=models.WANIP + "2", action="AddAnyPortMapping")
    assert reaches(lab, second.port, lab.lan2, 41641) and len(daemon.leases()) == 3


@pytest.mark.parametrize("version", [1, 2])
def test_syncthing_over_ipv4(lab, daemon, version):
    """CL-10: each version is what was asked for, in ST, USN and the types of the tree"""
    client = models_apps.Syncthing(lab.lan1)
    assert client.look(models.GROUP4, f"{models.IGD}{version}")
    assert client.add_mapping(22000) == client.LEASE_S
    target = (lab.WAN_ADDRESS, 22000)
    assert lab.tcp_arrives(lab.inet1, target, lab.lan1, 22000) is not None
    client.call("DeletePortMapping", ("NewRemoteHost", ""), ("NewExternalPort", 22000),
                ("NewProtocol", "TCP"), service=f"{models.WANIP}{version}")
    assert lab.tcp_arrives(lab.inet1, target, lab.lan1, 22000) is None


@pytest.mark.parametrize("version", [1, 2])
def test_home_assistant(lab, daemon, version):
    """CL-22, CL-23, CL-24: everything advertised, in parallel, for five rounds"""
    client = models_apps.HomeAssistant(lab.lan1, version).discover().read_all()
    wanted = {"NewTotalBytesSent", "NewTotalBytesReceived", "NewTotalPacketsSent",
              "NewTotalPacketsReceived", "NewUptime", "NewConnectionStatus",
              "NewExternalIPAddress", "NewLayer1DownstreamMaxBitRate"}
    before = client.poll()
    assert wanted <= set(before)
    for _ in range(4):
        lab.udp_arrives(lab.lan1, (lab.inet1.ipv4, 9), lab.inet1, 9)
        after = client.poll()
    assert int(after["NewTotalPacketsSent"]) > int(before["NewTotalPacketsSent"])
    assert int(after["NewUptime"]) >= int(before["NewUptime"])


# What all of them need


@pytest.mark.parametrize("lines, end", [
    (["HOST: 239.255.255.250:1900", "ST:upnp:rootdevice", 'MAN:"ssdp:discover"', "MX:120"],
     "\r\n\r\n\r\n"),
    (["Host:239.255.255.250:1900", "st:   upnp:rootdevice", 'man: "ssdp:discover"',
      "mx: 1"], "\r\n\r\n"),
    (["MX: 5", "ST: upnp:rootdevice", 'MAN: "ssdp:discover"', "USER-AGENT: x",
      "HOST: 239.255.255.250:1900", "CPFN.UPNP.ORG: tv"], "\r\n\r\n")])
def test_searches_are_answered_at_once(lab, daemon, lines, end):
    """CL-9, CL-16, clients.md §5.1: however it is spelled, and whatever MX allows"""
    client = models_apps.GoUpnp(lab.lan1)
    packet = models.pack_search(lines, end)
    assert any(client.ask(packet, lambda x: x["st"] == "upnp:rootdevice", within_s=0.2)
               for _ in range(PROBES))
    assert client.ask(packet, lambda x: True, to=("192.168.77.1", 1900)), "unicast, too"


def test_bursts_of_others(lab, daemon):
    """clients.md §4: a television searches for everything, the console is heard still"""
    with models.open_udp(lab.lan2) as television:
        packet = models.pack_search(["HOST: 239.255.255.250:1900", "ST: ssdp:all",
                                     'MAN: "ssdp:discover"', "MX: 1"])
        for _ in range(300):
            television.sendto(packet, models.GROUP4)
        assert models.Xbox(lab.lan1).discover().location == LOCATION


def test_what_is_advertised_is_there(lab, daemon):
    """clients.md §5.9, 5.16: each type told is in the tree, and none of another version"""
    answers = igd.search(lab.lan1, "ssdp:all")
    assert len(answers) >= 10
    client = models_apps.GoUpnp(lab.lan1).describe(answers[0]["location"])
    kinds = {x.text for x in client.root.iter()
             if models.local_name(x.tag) in ("deviceType", "serviceType")}
    assert {x["st"] for x in answers if x["st"].startswith("urn:")} == kinds
    assert not any("WANPPPConnection" in kind or kind.endswith(":2") for kind in kinds)
    for kind in client.urls:
        assert client.get(client.urls[kind]["SCPDURL"]), kind


def test_entries_left_behind(lab, daemon_factory):
    """clients.md §4: a host that leaves leases of no end behind fills its own share only"""
    daemon = daemon_factory("[limits]\nleases-per-client = 4\n").start()
    hoarder, other = (models.MicroTorrent(host).discover() for host in (lab.lan1, lab.lan2))
    for port in range(5000, 5004):
        assert hoarder.map(port, "TCP") == []
    with pytest.raises(models.GaveUp):
        hoarder.map(5004, "TCP")
    assert hoarder.map(5003, "TCP") == [], "what it has it may renew"
    assert other.map(5004, "TCP") == []
    assert len(daemon.leases()) == 5
    assert all(x["lifetime_s"] <= 604800 for x in daemon.leases())


# The real tools


def upnpc(host, *arguments):
    """upnpc with the description's address given, which saves its two seconds."""
    return host.run([UPNPC, "-u", LOCATION, *arguments]).stdout


def test_upnpc_maps(lab, daemon):
    """CL-28, IGD-16: add, list, a remote host of its own, delete"""
    host = lab.lan1
    added = upnpc(host, "-e", "a game", "-a", "@", "4000", "5000", "udp", "600")
    assert f"external {lab.WAN_ADDRESS}:5000 UDP is redirected to internal " \
        f"{host.ipv4}:4000" in added, added
    upnpc(host, "-a", "@", "4001", "5001", "udp", "0", lab.inet1.ipv4)
    assert reaches(lab, 5000, host, 4000) and reaches(lab, 5001, host, 4001)
    stranger = lab.udp_arrives(lab.inet2, (lab.WAN_ADDRESS, 5001), host, 4001)
    assert stranger is None
    listed = upnpc(host, "-l")
    assert re.search(rf"UDP\s+5000->{re.escape(host.ipv4)}:4000\s+'a game' ''", listed)
    assert re.search(rf"UDP\s+5001->{re.escape(host.ipv4)}:4001\s+.* '{lab.inet1.ipv4}'",
                     listed), listed
    refused = upnpc(host, "-d", "5001", "udp")
    assert "failed with code : 714" in refused, "the key has a remote host"
    assert "returned : 0" in upnpc(host, "-d", "5001", "udp", lab.inet1.ipv4)
    assert "returned : 0" in upnpc(host, "-d", "5000", "udp")
    assert not reaches(lab, 5000, host, 4000) and not reaches(lab, 5001, host, 4001)


def test_upnpc_finds_us(lab, daemon):
    """CL-19: by its own search of version 1, in state 1, with status and counters"""
    found = lab.lan1.run([UPNPC, "-s"]).stdout
    assert "Found valid IGD : " in found, found
    assert f"desc: {LOCATION}" in found and "Connection Type : IP_Routed" in found
    assert "Status : Connected" in found
    assert f"ExternalIPAddress = {lab.WAN_ADDRESS}" in found
    assert re.search(r"Packets: Sent: +\d+\s+Recv: +\d+", found)
    assert "GetPortMappingNumberOfEntries" not in found


def test_natpmpc(lab, daemon):
    """CL-1, CL-3: the tool of libnatpmp"""
    host = lab.lan1
    done = host.run(["natpmpc", "-a", "5000", "4000", "udp", "600"])
    assert f"Public IP address : {lab.WAN_ADDRESS}" in done.stdout
    assert "Mapped public port 5000 protocol UDP to local port 4000" in done.stdout
    assert reaches(lab, 5000, host, 4000)
    host.run(["natpmpc", "-a", "5000", "4000", "udp", "0"])
    assert not reaches(lab, 5000, host, 4000)


def test_gssdp_discover(lab, daemon):
    """SSDP-8: GSSDP hears the whole set in answer to its search, each once"""
    finder = lab.lan1.start(["gssdp-discover", "-i", "eth0", "-t", "ssdp:all"])
    wanted = {models.IGD + "1", models.WANIP + "1", models.WANCIC, "upnp:rootdevice"}

    def names():
        return re.findall(r"USN: +(\S+)\n +Location: \S+", finder.output())
    wait_for(lambda: wanted <= {name.partition("::")[2] for name in names()},
             "GSSDP to hear everything")
    heard = names()  # once: there is more to come
    assert len(heard) == len(set(heard)), heard
    finder.stop()


def read_segments(sock):
    """[(source port, destination port, payload)] of the TCP over IPv4 that came so far."""
    found = []
    while select.select([sock], [], [], 0)[0]:
        frame = sock.recv(65536)
        if frame[12:14] == b"\x08\0" and frame[23] == socket.IPPROTO_TCP:
            tcp = frame[14 + (frame[14] & 15) * 4:]
            found.append((*struct.unpack("!HH", tcp[:4]), tcp[(tcp[12] >> 4) * 4:]))
    return found


def test_gupnp_takes_events(lab, daemon):
    """
    GENA-1, GENA-6, GENA-7: GUPnP finds us, subscribes and takes the first event. On the
    wire, as gupnp-event-dumper shows no event that comes before it has read the SCPD.
    """
    seen = []
    with lab.lan1.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as sniffer:
        sniffer.bind(("eth0", 3))  # ETH_P_ALL
        dumper = lab.lan1.start(["gupnp-event-dumper"])

        def taken():
            seen.extend(read_segments(sniffer))
            ports = {to for _, to, data in seen if data.startswith(b"NOTIFY /ServiceProxy")}
            return any(source in ports and data.startswith(b"HTTP/1.1 200 OK")
                       for source, _, data in seen)
        wait_for(taken, "an event and its answer")
        dumper.stop()
    assert any(data.startswith(b"SUBSCRIBE /igd1/evt/") for _, _, data in seen)


def test_libupnp_control_point(lab, daemon):
    """GENA-1, 6, 7, 8, 9: libupnp hears the state, then each change of the table"""
    client = models_apps.GoUpnp(lab.lan1).discover()
    listener = lab.lan1.start([
        os.path.join(get_build("asan"), "test/e2e/event_listener"), "eth0",
        client.urls[models.WANIP + "1"]["eventSubURL"]])

    def heard():
        """[{variable: value}] of each event, whose numbers go up by one."""
        lines = re.findall(r"^event (\d+)((?: \S+=\S*)*)$", listener.output(), re.M)
        assert [int(number) for number, _ in lines] == list(range(len(lines)))
        return [dict(pair.split("=", 1) for pair in rest.split()) for _, rest in lines]
    wait_for(heard, "the first event")
    assert heard()[0]["ConnectionStatus"] == "Connected"
    assert heard()[0]["ExternalIPAddress"] == lab.WAN_ADDRESS
    assert heard()[0]["PortMappingNumberOfEntries"] == "0"
    for count in (1, 2, 3):
        client.add(5000 + count, 4000, "UDP", "test", 600)
        wait_for(lambda count=count: heard()[-1].get("PortMappingNumberOfEntries")
                 == str(count), f"the event of {count} entries")
    for count in (1, 2, 3):
        client.delete(5000 + count, "UDP")
    wait_for(lambda: heard()[-1]["PortMappingNumberOfEntries"] == "0", "the last event")
    listener.stop()
    assert "unsubscribed" in listener.output(), "GENA-4"
