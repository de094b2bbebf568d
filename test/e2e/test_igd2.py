# SPDX-License-Identifier: GPL-2.0-or-later
"""IGD:2 beside IGD:1, through the whole daemon; packets prove what is said."""

import itertools

import igd
import natpmp
import pcp
import pytest
from igd import WANIP1, WANIP2, Gateway, SoapError
from igd2 import ROOTS, Gateway2, call_at_once, list_actions, refused
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
LEASE_MAX = 604800
# Leases as long as the standard's own.
LONG = f"[limits]\nlifetime-max = {LEASE_MAX}\n"
# 255 octets of what is hard to write in XML, and a character that two listings escape.
HARD = ("]]>&<\"'\U0001f3ae" * 30).encode()[:255].decode(errors="ignore")


@pytest.fixture
def lan1(lab, daemon):
    return Gateway2(lab.lan1)


@pytest.fixture
def lan2(lab, daemon):
    return Gateway2(lab.lan2)


def arrives(lab, host, external, internal, sender=None):
    """Whether the internet reaches that port of the host by the external one."""
    return lab.udp_arrives(sender or lab.inet1, (WAN, external), host, internal) is not None


# Two root devices


def test_two_faces(lab, lan1):
    """IGD-3, IGD-4, IGD-6, SSDP-11: no name in common, and no level mixed"""
    first = Gateway(lab.lan1)
    names = [{x.text for x in gateway.root.iter(igd.DEVICE + "UDN")}
             for gateway in (first, lan1)]
    assert len(names[0]) == len(names[1]) == 3 and not names[0] & names[1]
    types = [x.text.removeprefix("urn:schemas-upnp-org:device:")
             for x in lan1.root.iter(igd.DEVICE + "deviceType")]
    assert types == ["InternetGatewayDevice:2", "WANDevice:2", "WANConnectionDevice:2"]
    assert set(Gateway.services(lan1)) == {igd.L3F1, igd.WANCIC1, WANIP2, igd.V6FC1}
    assert set(first.services()) == {igd.L3F1, igd.WANCIC1, WANIP1, igd.V6FC1}


@pytest.mark.parametrize("root", ROOTS)
def test_every_action_is_there(lab, daemon, root):
    """DESC-6, SOAP-4, CL-24: nothing is advertised that is not there"""
    gateway = Gateway(lab.lan1, root)
    actions = list_actions(gateway)
    assert len(actions) == (28 if root == ROOTS[1] else 25)
    for service, action, arguments in actions:
        if arguments:
            refused(402, gateway.call, action, service)
        elif action == "ForceTermination":
            refused((501, 606), gateway.call, action, service)
        else:
            gateway.call(action, service)


@pytest.mark.parametrize("agent", ["Microsoft-Windows/10.0 UPnP/1.0", "FDSSDP",
                                   "Xbox/2.0.20348.0 UPnP/1.0 Xbox/2.0"])
def test_legacy_agents(lab, daemon, agent):
    """DESC-7, IGD-6: they are shown version 1, and it works for them"""
    def get(url):
        status, _, body = igd.request(lab.lan1, url, headers={"User-Agent": agent})
        return status, body

    status, body = get(ROOTS[0])
    assert status == 200 and b"IPv6" not in body and b":2<" not in body
    assert get(ROOTS[1])[0] == 404
    base = ROOTS[0].removesuffix("root.xml")
    assert get(base + "scpd/WANIPv6Firewall1")[0] == 404
    status, body = get(base + "scpd/WANIPConn1")
    assert status == 200
    for word in (b"AnyPort", b"PortMappingRange", b"ListOfPort", b"SystemUpdateID",
                 b"A_ARG_TYPE"):
        assert word not in body


def test_switched_off(lab, daemon_factory):
    """IGD-6: `igd = 1` leaves no trace of the second face"""
    daemon_factory("[lan lan0]\nigd = 1\n").start()
    assert igd.search(lab.lan1, igd.IGD2) == []
    assert igd.request(lab.lan1, ROOTS[1])[0] == 404
    assert igd.request(lab.lan1, ROOTS[0])[0] == 200


def test_version_of_the_request(lab, lan1, lan2):
    """IGD-2, IGD-5, IGD-21, IGD-32: one URL, each version by its own rules"""
    lan1.add(5000, 4000)
    for version, codes in ((WANIP1, (714, 718, 718, 402)), (WANIP2, (606, 606, 718, 732))):
        def call(action, version=version, **arguments):
            return Gateway.call(lan2, action, version, **arguments)

        def add(external, internal, client, call=call):
            return call("AddPortMapping", NewRemoteHost="", NewExternalPort=external,
                        NewProtocol="UDP", NewInternalPort=internal, NewInternalClient=client,
                        NewEnabled=1, NewPortMappingDescription="", NewLeaseDuration=0)

        refused(codes[0], call, "DeletePortMapping", NewRemoteHost="",
                NewExternalPort=5000, NewProtocol="UDP")
        refused(codes[1], add, 5001, 4000, lab.lan1.ipv4)
        refused(codes[2], add, 5000, 4000, lab.lan2.ipv4)
        refused(codes[3], add, 5001, 0, lab.lan2.ipv4)
    refused(401, Gateway.call, lan1, "AddAnyPortMapping", WANIP1)
    assert arrives(lab, lab.lan1, 5000, 4000)


@pytest.mark.parametrize("asked, granted", [
    (0, LEASE_MAX), (1, 1), (LEASE_MAX, LEASE_MAX), (LEASE_MAX + 1, LEASE_MAX),
    (2 ** 32 - 1, LEASE_MAX)])
def test_lease_values(lab, daemon_factory, asked, granted):
    """IGD-14, IGD-15: the same of both versions"""
    daemon = daemon_factory(LONG).start()
    gateway = Gateway2(lab.lan1)
    Gateway(lab.lan1).add(5000, 4000, LeaseDuration=asked)
    gateway.add(5001, 4001, LeaseDuration=asked)
    gateway.add_any(5002, 4002, LeaseDuration=asked)
    if granted > 1:
        for lease in daemon.leases():
            assert granted - 30 < lease["lifetime_s"] <= granted
        assert granted - 30 < int(gateway.get(5001)["NewLeaseDuration"]) <= granted
    else:
        wait_for(lambda: not daemon.leases(), "leases of a second to end", 5)
    refused((402, 601), gateway.add, 5003, 4003, LeaseDuration=2 ** 32)


# AddAnyPortMapping


def test_add_any(lab, lan1, lan2):
    """IGD-25: the port that is free, or another one; each proven by a packet"""
    assert lan1.add_any(5000, 4000) == 5000
    other = lan2.add_any(5000, 4000)
    assert other != 5000 and other >= 1024
    assert arrives(lab, lab.lan1, 5000, 4000)
    assert arrives(lab, lab.lan2, other, 4000)
    chosen = lan1.add_any(0, 4001)
    assert chosen >= 1024, "IGD-20"
    assert arrives(lab, lab.lan1, chosen, 4001)
    assert lan1.add_any(80, 4002) >= 1024, "IGD-22: not what policy withholds"


def test_add_any_renews(lab, lan1, lan2, daemon):
    """IGD-25, CL-25: the port that a client has is the port it keeps"""
    lan1.add_any(5000, 4000)
    port = lan2.add_any(5000, 4000)
    lan1.delete(5000)
    for asked in (5000, port, 0, 6000):
        assert lan2.add_any(asked, 4000, PortMappingDescription="again") == port
    assert [x["description"] for x in daemon.leases()] == ["again"]
    assert arrives(lab, lab.lan2, port, 4000)


def test_withheld(lab, lan1, daemon):
    """IGD-24: what the owner has is 729 in version 2, 718 in version 1"""
    daemon.admin("add", "udp", "6000", f"{lab.lan2.ipv4}:6000")
    refused(729, lan1.add, 6000, 4000)
    refused(718, Gateway(lab.lan1).add, 6000, 4000)
    assert lan1.add_any(6000, 4000) != 6000


def test_used_by_the_gateway(lab, lan1):
    """IGD-24: nor is a port that the gateway serves itself"""
    with lab.gw.listen(6000, address=""):
        refused(729, lan1.add, 6000, 4000, "TCP")
        refused(718, Gateway(lab.lan1).add, 6000, 4000, "TCP")
        assert lan1.add_any(6000, 4000, "TCP") != 6000
    lan1.delete_range(1, 65535, "TCP")
    lan1.add(6000, 4000, "TCP")


def test_add_any_limits(lab, daemon_factory):
    """IGD-25: 728 when none is left, 606 when none would ever do; never 718"""
    daemon_factory("[policy]\nrule = allow external 5000-5001 internal 1024-65535\n"
                   "rule = deny\n").start()
    gateway, other = Gateway2(lab.lan1), Gateway2(lab.lan2)
    assert {gateway.add_any(9000, 4000), gateway.add_any(9000, 4001)} == {5000, 5001}
    refused(728, gateway.add_any, 9000, 4002)
    refused(728, other.add_any, 5000, 4000)
    refused(606, gateway.add_any, 9000, 80)
    refused(606, gateway.add, 9000, 4000)
    assert gateway.add_any(9000, 4001) in (5000, 5001)


def test_quota(lab, daemon_factory):
    """IGD-25: as many as a host may have"""
    daemon_factory("[limits]\nleases-per-client = 2\n").start()
    gateway = Gateway2(lab.lan1)
    gateway.add_any(5000, 4000)
    gateway.add(5001, 4001)
    refused(728, gateway.add_any, 5002, 4002)
    refused(728, gateway.add, 5002, 4002)
    assert Gateway2(lab.lan2).add_any(5002, 4002) == 5002


# Ranges


def test_list(lab, lan1, lan2, daemon):
    """IGD-33, IGD-34, IGD-35: one's own, in the range, at most so many"""
    refused(730, lan1.list)
    for port in (5000, 5001, 5002):
        lan1.add(port, port - 1000, RemoteHost=lab.inet1.ipv4 if port == 5001 else "")
    lan2.add(5003, 4000)
    assert [entry["ExternalPort"] for entry in lan1.list()] == ["5000", "5001", "5002"]
    assert len(lan1.list(manage=1)) == 3, "Manage is nobody's here"
    assert [x["ExternalPort"] for x in lan1.list(5001, 5001)] == ["5001"]
    assert len(lan1.list(number=2)) == 2
    refused(730, lan1.list, protocol="TCP")
    refused(730, lan1.list, 5003, 65535)
    refused(733, lan1.list, 5001, 5000)
    entry = lan1.list(5001)[0]
    assert 3590 <= int(entry.pop("LeaseTime")) <= 3600
    assert entry == {"RemoteHost": lab.inet1.ipv4, "ExternalPort": "5001",
                     "Protocol": "UDP", "InternalPort": "4001",
                     "InternalClient": lab.lan1.ipv4, "Enabled": "1",
                     "Description": "test"}


def test_long_list(lab, lan1, daemon):
    """IGD-34: more than one message of core's holds"""
    ports = range(5000, 5100)
    for port in ports:
        lan1.add(port, port, PortMappingDescription=HARD)
    listed = lan1.list()
    assert [int(x["ExternalPort"]) for x in listed] == list(ports)
    assert {x["Description"] for x in listed} == {HARD}
    assert len(lan1.list(number=77)) == 77
    # the reader of listings that clients have
    done = lab.lan1.run(["upnpc", "-i", "-u", ROOTS[1], "-L"])
    shown = [line for line in done.stdout.splitlines() if f"->{lab.lan1.ipv4}:" in line]
    assert len(shown) == len(ports), done.stdout


def test_delete_range(lab, lan1, lan2, daemon):
    """IGD-33: only one's own, all of them at once; 730 when there is none"""
    for port in (5000, 5002, 5004):
        lan1.add(port, 4000 + port % 10)
    lan1.add(5000, 4000, "TCP")
    lan2.add(5001, 4000)
    daemon.admin("add", "udp", "5003", f"{lab.lan1.ipv4}:6000")
    refused(733, lan1.delete_range, 5001, 5000)
    refused(730, lan1.delete_range, 5010, 65535)
    assert lan1.delete_range(1, 5003, manage=1) == {}
    left = {(x["protocol"], x["external_port"]) for x in daemon.leases()}
    assert left == {("udp", 5001), ("udp", 5003), ("udp", 5004), ("tcp", 5000)}
    assert not arrives(lab, lab.lan1, 5000, 4000)
    assert arrives(lab, lab.lan1, 5004, 4004)
    assert arrives(lab, lab.lan2, 5001, 4000)
    refused(730, lan1.delete_range, 1, 5003)


def test_own_entries_only(lab, lan1, lan2, daemon):
    """IGD-30, IGD-31, IGD-71: version 2 shows a host its own, version 1 all"""
    lan1.add(5000, 4000)
    lan2.add(5001, 4001)
    assert [x["NewExternalPort"] for x in lan1.entries()] == ["5000"]
    assert [x["NewExternalPort"] for x in lan2.entries()] == ["5001"]
    refused(606, lan1.get, 5001)
    first = Gateway(lab.lan1)
    assert {x["NewExternalPort"] for x in first.entries()} == {"5000", "5001"}
    assert first.get(5001)["NewInternalClient"] == lab.lan2.ipv4


def test_other_protocols(lab, lan1, daemon):
    """IGD-30, IGD-33, IGD-42: one table; what a nonce guards stays"""
    with natpmp.Client(lab.lan1) as client:
        client.map("udp", 4000, 5000)
    with pcp.Client(lab.lan1) as client:
        answer = client.map("udp", 4001, 5001)
        assert (answer.result, answer.port) == (pcp.OK, 5001)
    lan1.add(5002, 4002)
    assert [x["ExternalPort"] for x in lan1.list()] == ["5000", "5001", "5002"]
    assert {x["NewExternalPort"] for x in lan1.entries()} == {"5000", "5001", "5002"}
    refused((606, 718), lan1.add, 5001, 4001)
    refused(606, lan1.delete, 5001)
    lan1.delete_range(1, 65535)
    assert [x["external_port"] for x in daemon.leases()] == [5001]
    refused(730, lan1.delete_range, 1, 65535)
    assert arrives(lab, lab.lan1, 5001, 4001)


# What is kept


def test_description(lab, lan1, daemon):
    """SOAP-8: the same out of every listing"""
    lan1.add(5000, 4000, PortMappingDescription=HARD)
    for gateway in (lan1, Gateway(lab.lan1)):
        assert gateway.get(5000)["NewPortMappingDescription"] == HARD
        assert gateway.entries()[0]["NewPortMappingDescription"] == HARD
    assert lan1.list()[0]["Description"] == HARD
    assert daemon.leases()[0]["description"] == HARD
    # longer: cut between characters; what XML cannot hold is left out
    lan1.add(5000, 4000, PortMappingDescription="\u20ac" * 100 + "x")
    assert lan1.list()[0]["Description"] == "\u20ac" * 85
    lan1.add(5000, 4000, PortMappingDescription="a\t\n\x7f\x85b")
    assert lan1.list()[0]["Description"] == "ab"


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restart(lab, lan1, daemon, how):
    """IGD-16, IGD-26, IGD-41: who may use it, and whether, are kept"""
    lan1.add(5000, 4000, RemoteHost=lab.inet1.ipv4)
    port = lan1.add_any(5001, 4001)
    lan1.add(5002, 4002, Enabled=0)
    getattr(daemon, how)()
    daemon.start()
    again = Gateway2(lab.lan1)
    assert arrives(lab, lab.lan1, 5000, 4000)
    assert not arrives(lab, lab.lan1, 5000, 4000, lab.inet2)
    assert arrives(lab, lab.lan1, port, 4001, lab.inet2)
    assert again.get(5002)["NewEnabled"] == "0"
    assert not arrives(lab, lab.lan1, 5002, 4002)
    again.add(5002, 4002, Enabled=1)
    assert arrives(lab, lab.lan1, 5002, 4002)
    assert again.add_any(0, 4001) == port


# Statistics (IGD-50, IGD-51, CL-24)


def test_statistics_in_parallel(lab, daemon_factory):
    """What Home Assistant polls, sixteen at once, on both faces: never a fault"""
    daemon_factory("[limits]\nrequests-per-second = 0\n").start()
    gateways = [Gateway(lab.lan1, root) for root in ROOTS]
    polled = [(gateway, service, action) for gateway in gateways
              for service, action, arguments in list_actions(gateway)
              if not arguments and (service == igd.WANCIC1 or action == "GetStatusInfo")]
    assert len(polled) == 2 * 6
    calls = [lambda g=gateway, s=service, a=action: g.call(a, s)
             for gateway, service, action in itertools.islice(
                 itertools.cycle(polled), 16 * 12)]
    before = gateways[0].call("GetTotalPacketsSent", igd.WANCIC1)
    answers = []
    for start in range(0, len(calls), 16):
        answers += call_at_once(calls[start:start + 16])
    for answer in answers:
        for name, value in answer.items():
            if name.startswith(("NewTotal", "NewLayer1", "NewUptime")):
                assert 0 <= int(value) < 2 ** 32, (name, value)
    after = gateways[1].call("GetTotalPacketsSent", igd.WANCIC1)
    assert int(after["NewTotalPacketsSent"]) >= int(before["NewTotalPacketsSent"])


def test_query_state_variable(lab, lan1):
    """SOAP-9, IGD-36: the table is told of, too"""
    def query(name):
        body = ('<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
                '<u:QueryStateVariable xmlns:u="urn:schemas-upnp-org:control-1-0">'
                f"<u:varName>{name}</u:varName></u:QueryStateVariable></s:Body>"
                "</s:Envelope>")
        status, _, data = lan1.post("QueryStateVariable", body, WANIP2, {
            "SOAPAction": '"urn:schemas-upnp-org:control-1-0#QueryStateVariable"'})
        return data.partition(b"<return>")[2].partition(b"<")[0] if status == 200 else status

    began = int(query("SystemUpdateID"))
    assert query("PortMappingNumberOfEntries") == b"0"
    lan1.add(5000, 4000)
    wait_for(lambda: query("PortMappingNumberOfEntries") == b"1", "the entry to be counted")
    assert int(query("SystemUpdateID")) == began + 1
    assert query("ConnectionStatus") == b"Connected"
    assert query("NoSuchVariable") == 500


def test_errors_leave_nothing(lab, lan1, daemon):
    """SOAP-4, IGD-17, IGD-18, IGD-19, IGD-20, IGD-23, IGD-28, IGD-29"""
    for add in (lan1.add, lan1.add_any):
        refused(601, add, 5000, 4000, "FOO")
        refused(601, add, 65616, 4000)
        refused(732, add, 5000, 0)
        refused(402, add, 5000, 4000, RemoteHost="host.example")
        refused(402, add, 5000, 4000, InternalClient="fd77::2")
        for address in (lab.lan2.ipv4, "192.168.77.1", "127.0.0.1", WAN,
                        "255.255.255.255", "224.0.0.1"):
            refused(606, add, 5000, 4000, InternalClient=address)
    refused(716, lan1.add, 0, 4000)
    refused(606, lan1.add, 80, 8080)
    with pytest.raises(SoapError):
        lan1.call("SetConnectionType", NewConnectionType="IP_Routed")
    assert daemon.leases() == []
