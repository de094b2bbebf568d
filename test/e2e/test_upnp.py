# SPDX-License-Identifier: GPL-2.0-or-later
"""UPnP IGD:1 end to end: SSDP, description and control, each mapping proven by packets."""

import re
import xml.etree.ElementTree

import igd
import natpmp
import pytest
from igd import IGD1, WANIP1, Gateway, SoapError
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS


@pytest.fixture
def lan1(lab, daemon):
    return Gateway(lab.lan1)


@pytest.fixture
def lan2(lab, daemon):
    return Gateway(lab.lan2)


def refused(code, function, *arguments, **options):
    with pytest.raises(SoapError) as caught:
        function(*arguments, **options)
    codes = code if isinstance(code, tuple) else (code,)
    assert caught.value.code in codes, caught.value


# Description


def test_description(lab, lan1):
    """DESC-1, 2, 3, 4, CL-12"""
    assert lan1.root.tag == igd.DEVICE + "root"
    assert lan1.root.findtext(f"{igd.DEVICE}specVersion/{igd.DEVICE}major") == "1"
    device = lan1.root.find(igd.DEVICE + "device")
    assert device.findtext(igd.DEVICE + "deviceType") == IGD1
    for name in ("friendlyName", "manufacturer", "modelName", "UDN"):
        assert device.findtext(igd.DEVICE + name)
    assert lan1.root.find(igd.DEVICE + "URLBase") is None
    assert set(lan1.services()) == {igd.L3F1, igd.WANCIC1, WANIP1, igd.V6FC1}
    assert all(service.findtext(igd.DEVICE + name).startswith("/")
               for service in lan1.root.iter(igd.DEVICE + "service")
               for name in ("SCPDURL", "controlURL"))
    assert len(lan1.description) <= 8192


def test_service_descriptions(lab, lan1):
    """DESC-5, 6, 7, CL-23: well formed, whole, and nothing of version 2"""
    for name, urls in lan1.services().items():
        status, headers, data = igd.request(lab.lan1, urls["SCPDURL"])
        assert status == 200 and headers["Content-Type"].startswith("text/xml")
        root = xml.etree.ElementTree.fromstring(data)
        variables = {x.findtext(igd.SERVICE + "name")
                     for x in root.iter(igd.SERVICE + "stateVariable")}
        related = {x.text for x in root.iter(igd.SERVICE + "relatedStateVariable")}
        assert variables and related <= variables, name
        for word in (b"AddAnyPortMapping", b"DeletePortMappingRange",
                     b"GetListOfPortMappings", b"SystemUpdateID", b"A_ARG_TYPE"):
            assert word not in data or name == igd.V6FC1, "hidden from those who mind"


def test_actions_without_arguments_answer(lan1):
    """CL-24: every advertised action that only tells something does so"""
    for service, urls in lan1.services().items():
        _, _, data = igd.request(lan1.host, urls["SCPDURL"])
        for action in xml.etree.ElementTree.fromstring(data).iter(igd.SERVICE + "action"):
            arguments = list(action.iter(igd.SERVICE + "argument"))
            directions = {x.findtext(igd.SERVICE + "direction") for x in arguments}
            if directions == {"out"}:
                answer = lan1.call(action.findtext(igd.SERVICE + "name"), service)
                assert list(answer) == [x.findtext(igd.SERVICE + "name")
                                        for x in arguments], "SOAP-5: order"


def test_http(lab, lan1):
    """HTTP-4, 5, SOAP-7"""
    host, base = lab.lan1, "http://192.168.77.1:49152"
    assert igd.request(host, base + "/nothing")[0] == 404
    status, headers, body = igd.request(host, lan1.location, "HEAD")
    assert status == 200 and body == b""
    status, headers, _ = igd.request(host, lan1.location, "POST", b"x")
    assert status == 405 and "GET" in headers["Allow"]
    assert igd.request(host, lan1.location, headers={"Host": "evil.example"})[0] == 403
    assert lan1.post("GetStatusInfo", b"<x", headers={})[0] == 400
    assert lan1.post("GetStatusInfo", b"<x/>", headers={"SOAPAction": None})[0] == 400


# Control


def test_status(lab, lan1):
    """IGD-37, 38, 40, CL-19"""
    assert lan1.call("GetExternalIPAddress") == {"NewExternalIPAddress": WAN}
    status = lan1.call("GetStatusInfo")
    assert status["NewConnectionStatus"] == "Connected"
    assert status["NewUptime"].isdigit()
    assert lan1.call("GetNATRSIPStatus") == {"NewRSIPAvailable": "0", "NewNATEnabled": "1"}
    link = lan1.call("GetCommonLinkProperties", igd.WANCIC1)
    assert link["NewWANAccessType"] == "Ethernet" and link["NewPhysicalLinkStatus"] == "Up"


def test_counters(lab, lan1):
    """IGD-50: they count what crosses the WAN"""
    before = int(lan1.call("GetTotalPacketsReceived", igd.WANCIC1)["NewTotalPacketsReceived"])
    lab.udp_arrives(lab.lan1, (lab.inet1.ipv4, 9), lab.inet1, 9)
    wait_for(lambda: int(lan1.call("GetTotalPacketsReceived", igd.WANCIC1)[
        "NewTotalPacketsReceived"]) > before, "the counter to grow")


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
def test_mapping(lab, lan1, protocol):
    """IGD-10, 16, 27, 31, 32: added, seen, used, deleted, unused"""
    sends = lab.udp_arrives if protocol == "UDP" else lab.tcp_arrives
    assert lan1.add(5000, 4000, protocol) == {}
    entry = lan1.get(5000, protocol)
    assert 3590 <= int(entry.pop("NewLeaseDuration")) <= 3600
    assert entry == {"NewInternalPort": "4000", "NewInternalClient": lab.lan1.ipv4,
                     "NewEnabled": "1", "NewPortMappingDescription": "test"}
    assert sends(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None
    assert sends(lab.lan2, (WAN, 5000), lab.lan1, 4000) is not None
    assert lan1.delete(5000, protocol) == {}
    assert sends(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None
    refused(714, lan1.get, 5000, protocol)
    refused(714, lan1.delete, 5000, protocol)


def test_overwrite(lab, lan1, daemon):
    """IGD-11, CL-26: same key and client: port, description and lease are new"""
    lan1.add(5000, 4000)
    lan1.add(5000, 4001, PortMappingDescription="new", LeaseDuration=7200)
    assert len(daemon.leases()) == 1
    assert lan1.get(5000)["NewPortMappingDescription"] == "new"
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4001) is not None
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None


def test_conflict(lab, lan1, lan2):
    """IGD-12: 718 for the second host, and the first keeps its packets"""
    lan1.add(5000, 4000)
    refused(718, lan2.add, 5000, 4000)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None
    lan2.add(5001, 4000)
    assert lab.udp_arrives(lab.inet1, (WAN, 5001), lab.lan2, 4000) is not None


def test_only_for_oneself(lab, lan1, daemon):
    """IGD-21, 29: no third parties, no addresses that are no LAN hosts"""
    for address in (lab.lan2.ipv4, "192.168.77.1", "127.0.0.1", WAN, "203.0.113.2",
                    "255.255.255.255", "224.0.0.1", lab.guest1.ipv4):
        refused((402, 501, 600, 601, 606, 715, 718), lan1.add, 5000, 4000,
                InternalClient=address)
    assert daemon.leases() == []


def test_foreign_delete(lab, lan1, lan2):
    """IGD-32: 714, and the mapping still works"""
    lan1.add(5000, 4000)
    refused(714, lan2.delete, 5000)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None


def test_remote_host(lab, lan1):
    """IGD-16, 31: only that remote host gets in"""
    lan1.add(5000, 4000, RemoteHost=lab.inet1.ipv4)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None
    assert lab.udp_arrives(lab.inet2, (WAN, 5000), lab.lan1, 4000) is None
    refused(714, lan1.get, 5000)
    assert lan1.get(5000, remote=lab.inet1.ipv4)["NewInternalPort"] == "4000"
    lan1.delete(5000, remote=lab.inet1.ipv4)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None


def test_remote_hosts_side_by_side(lab, lan1, daemon):
    """IGD-13, IGD-16, IGD-31: one port, an entry for each remote host and an open one"""
    one, two = lab.inet1.ipv4, lab.inet2.ipv4

    def arrive(sender, port):
        return lab.udp_arrives(sender, (WAN, 5000), lab.lan1, port) is not None

    for remote in (one, two):
        lan1.add(5000, 4000, RemoteHost=remote)
    assert arrive(lab.inet1, 4000) and arrive(lab.inet2, 4000)
    lan1.add(5000, 4000)
    assert sorted(x["NewRemoteHost"] for x in lan1.entries()) == ["", one, two]
    assert arrive(lab.inet1, 4000) and arrive(lab.inet2, 4000)
    lan1.delete(5000, remote=one)
    assert arrive(lab.inet1, 4000), "the open entry takes it"
    lan1.delete(5000)
    assert not arrive(lab.inet1, 4000) and arrive(lab.inet2, 4000)
    # An entry for a remote host goes before the open one; made equal, both serve on.
    lan1.add(5000, 4001)
    lan1.add(5000, 4000, RemoteHost=one)
    assert arrive(lab.inet1, 4000) and not arrive(lab.inet1, 4001)
    lan1.delete(5000, remote=two)
    assert arrive(lab.inet2, 4001)
    lan1.add(5000, 4001, RemoteHost=one)
    assert arrive(lab.inet1, 4001) and arrive(lab.inet2, 4001)
    lan1.delete(5000)
    assert arrive(lab.inet1, 4001) and not arrive(lab.inet2, 4001)
    assert daemon.json("status")["status"]["backend"]["resyncs"] == 0
    assert not re.search(r"\berror\b", daemon.log()), daemon.log()


def test_disabled_entry(lab, lan1):
    """IGD-26: kept and shown, nothing forwarded until it is enabled"""
    lan1.add(5000, 4000, Enabled=0)
    assert lan1.get(5000)["NewEnabled"] == "0"
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None
    lan1.add(5000, 4000, Enabled=1)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None


def test_lease_ends(lab, daemon_factory):
    """IGD-27"""
    daemon_factory("[limits]\nlifetime-min = 1\n").start()
    gateway = Gateway(lab.lan1)
    gateway.add(5000, 4000, LeaseDuration=2)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None

    def gone():
        try:
            return gateway.get(5000) is None
        except SoapError as error:
            return error.code == 714
    wait_for(gone, "the lease to end", 4)
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is None


def test_lease_0(lan1):
    """IGD-14, 15: never 725; a long lease that counts down"""
    lan1.add(5000, 4000, LeaseDuration=0)
    assert 3600 < int(lan1.get(5000)["NewLeaseDuration"]) <= 604800


def test_bad_arguments(lan1, daemon):
    """SOAP-4, IGD-18, 19, 20"""
    refused(402, lan1.add, 5000, 4000, Protocol=None)
    refused(402, lan1.add, 5000, 4000, InternalClient=None)
    refused((402, 600, 601), lan1.add, 5000, 4000, Protocol="FOO")
    refused((402, 601), lan1.add, 65616, 4000)
    refused((402, 601), lan1.add, "-1", 4000)
    refused((402, 601), lan1.add, "5000x", 4000)
    refused((402, 601), lan1.add, 5000, 70000)
    refused((402, 732), lan1.add, 5000, 0)
    refused(716, lan1.add, 0, 4000)
    refused((402, 600, 601), lan1.add, 5000, 4000, LeaseDuration=-5)
    refused((402, 600, 601), lan1.add, 5000, 4000, Enabled="perhaps")
    refused(401, lan1.call, "NoSuchAction")
    refused((401, 602), lan1.call, "AddAnyPortMapping")
    assert daemon.leases() == []


def test_lower_case_and_client_omitted(lab, lan1):
    """IGD-18, IGD-19: clients that are not strict are served"""
    lan1.add(5000, 4000, "udp", InternalClient="")
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None


def test_privileged_port(lan1):
    """IGD-22: the default policy keeps ports below 1024; v1 says 718"""
    refused((606, 718), lan1.add, 80, 8080, "TCP")


def test_description_text(lan1, daemon):
    """SOAP-8, CL-17: escaped on every way out"""
    text = 'Teredo 10.0.0.39:3074->3074 "UDP" & <b> \u263a'
    lan1.add(5000, 4000, PortMappingDescription=text)
    assert lan1.get(5000)["NewPortMappingDescription"] == text
    assert daemon.leases()[0]["description"] == text
    lan1.add(5001, 4001, PortMappingDescription="x" * 4000)
    assert lan1.get(5001)["NewPortMappingDescription"] == "x" * 255
    lan1.add(5002, 4002, PortMappingDescription="")
    assert lan1.get(5002)["NewPortMappingDescription"] == ""


def test_enumeration(lab, lan1, daemon):
    """IGD-30: contiguous, whoever made the entries; 713 ends it"""
    for port in (5000, 5001, 5002):
        lan1.add(port, port - 1000)
    daemon.admin("add", "tcp", "6000", f"{lab.lan1.ipv4}:6000")
    entries = lan1.entries()
    assert {(x["NewProtocol"], x["NewExternalPort"]) for x in entries} == {
        ("UDP", "5000"), ("UDP", "5001"), ("UDP", "5002"), ("TCP", "6000")}
    assert list(entries[0]) == [
        "NewRemoteHost", "NewExternalPort", "NewProtocol", "NewInternalPort",
        "NewInternalClient", "NewEnabled", "NewPortMappingDescription",
        "NewLeaseDuration"]


def test_default_connection_service(lan1):
    """IGD-60, 61"""
    value = lan1.call("GetDefaultConnectionService", igd.L3F1)[
        "NewDefaultConnectionService"]
    assert re.fullmatch(r"uuid:[0-9a-f-]{36}:WANConnectionDevice:1,"
                        r"urn:upnp-org:serviceId:WANIPConn1", value)
    assert lan1.call("SetDefaultConnectionService", igd.L3F1,
                     NewDefaultConnectionService=value) == {}
    refused((720, 721, 723), lan1.call, "SetDefaultConnectionService", igd.L3F1,
            NewDefaultConnectionService="uuid:00000000-0000-0000-0000-000000000000:"
            "WANConnectionDevice:1,urn:upnp-org:serviceId:WANIPConn1")


def test_hostile_xml(lab, lan1, daemon):
    """SOAP-10: entities, depth and size do no harm and get an answer or the door"""
    bomb = ('<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
            + "".join(f'<!ENTITY a{n} "{("&a%s;" % (n - 1 if n else "")) * 10}">'
                      for n in range(9)) + "]><x>&a8;</x>")
    for body in (bomb, "<a>" * 10000, "<x " + "a='b' " * 9000 + "/>", "\0" * 100,
                 '<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>'):
        try:
            status = lan1.post("GetStatusInfo", body)[0]
        except OSError:
            continue  # shown the door
        assert status in (400, 413, 500)
    assert lan1.call("GetExternalIPAddress") == {"NewExternalIPAddress": WAN}


# Guest LAN


def test_guest_lan_is_apart(lab, lan1, daemon):
    """A guest has its own mappings and cannot touch those of the LAN."""
    guest = Gateway(lab.guest1)
    lan1.add(5000, 4000)
    refused(718, guest.add, 5000, 4000)
    refused(714, guest.delete, 5000)
    refused((402, 501, 600, 606, 715, 718), guest.add, 5001, 4000,
            InternalClient=lab.lan1.ipv4)
    guest.add(5002, 4000)
    assert lab.udp_arrives(lab.inet1, (WAN, 5002), lab.guest1, 4000) is not None
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), lab.lan1, 4000) is not None


def test_natpmp_and_upnp_share_one_table(lab, lan1, lan2):
    """NP-34, NP-35: what NAT-PMP holds is taken for UPnP, of either transport"""
    with natpmp.Client(lab.lan1) as client:
        client.map("tcp", 5000, 5000)
    refused(718, lan2.add, 5000, 5000, "TCP")
    refused(718, lan2.add, 5000, 5000, "UDP")
    assert lan1.get(5000, "TCP")["NewInternalClient"] == lab.lan1.ipv4


# The real client


def test_upnpc(lab, daemon):
    """-i: the laboratory's WAN address is a reserved one, which upnpc distrusts"""
    host = lab.lan1
    done = host.run(["upnpc", "-i", "-s"])
    assert f"ExternalIPAddress = {WAN}" in done.stdout, done.stdout
    done = host.run(["upnpc", "-i", "-e", "game", "-a", host.ipv4, "4000", "5000", "udp", "600"])
    assert f"external {WAN}:5000 UDP is redirected to internal {host.ipv4}:4000" \
        in done.stdout, done.stdout
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), host, 4000) is not None
    done = host.run(["upnpc", "-i", "-l"])
    assert re.search(rf"0 UDP\s+5000->{re.escape(host.ipv4)}:4000\s+'game'", done.stdout), \
        done.stdout
    done = host.run(["upnpc", "-i", "-d", "5000", "udp"])
    assert "UPNP_DeletePortMapping() returned : 0" in done.stdout, done.stdout
    assert lab.udp_arrives(lab.inet1, (WAN, 5000), host, 4000) is None


def test_upnpc_finds_a_connected_gateway(lab, daemon_factory):
    """CL-19: with an address that is not reserved, miniupnpc sees a valid IGD"""
    daemon_factory("[wan]\naddress = 100.128.0.1\n").start()
    done = lab.lan1.run(["upnpc", "-s"])
    assert "Found valid IGD" in done.stdout, done.stdout
