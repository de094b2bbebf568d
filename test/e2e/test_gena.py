# SPDX-License-Identifier: GPL-2.0-or-later
"""Eventing end to end: who is told what, when, and what dead subscribers cost."""

import contextlib
import re
import select
import socket

import gena
import igd
import natpmp
import pytest
from gena import Sink, ask, subscribe
from igd import Gateway
from lab import Lab, wait_for
from wire import link_local

WAN = Lab.WAN_ADDRESS
GATEWAY = "http://192.168.77.1:49152"
WANIP1 = GATEWAY + "/igd1/evt/WANIPConn1"
WANIP2 = GATEWAY + "/igd2/evt/WANIPConn1"
LINK = GATEWAY + "/igd1/evt/WANCommonIFC1"
# What is on its way to be noticed, in a lab on a busy machine.
PROMPT_S = 0.5
# Somebody whom nothing reaches is tried again within.
UNHEARD_S = 15
PER_HOST = 16
PER_LAN_IPV6 = 48


@pytest.fixture
def daemon(keeper):
    """One that nobody has subscribed to."""
    return keeper.get(fresh=True)


@pytest.fixture
def sink(lab):
    with Sink(lab.lan1) as made:
        yield made


@pytest.fixture
def gateway(lab, daemon):
    return Gateway(lab.lan1, GATEWAY + "/igd1/root.xml")


# Subscribing


def test_description_names_event_urls(lab, gateway):
    """DESC-3, DESC-5, GENA-13: each service has its own, and says what it tells"""
    for location in ("/igd1/root.xml", "/igd2/root.xml"):
        services = Gateway(lab.lan1, GATEWAY + location).services()
        urls = [service["eventSubURL"] for service in services.values()]
        assert len(set(urls)) == len(urls) == 4
        for service in services.values():
            _, _, scpd = igd.request(lab.lan1, service["SCPDURL"])
            assert b'sendEvents="yes"' in scpd
            assert ask(lab.lan1, "GET", service["eventSubURL"])[0] == 405
            with Sink(lab.lan1) as sink:
                subscribe(lab.lan1, service["eventSubURL"], sink.url())
                assert sink.take().values


def test_first_event(lab, gateway, sink):
    """GENA-1, 5, 6, 7: all variables, number 0, by the address that was asked"""
    sid = subscribe(lab.lan1, WANIP1, sink.url("/a?b=c"), TIMEOUT="Second-infinite")
    event = sink.take()
    assert (event.seq, event.sid, event.path) == (0, sid, "/a?b=c")
    assert event.host == f"192.168.77.2:{sink.port}"
    assert event.source[0] == "192.168.77.1"
    assert event.values == {
        "PossibleConnectionTypes": "IP_Routed", "ConnectionStatus": "Connected",
        "ExternalIPAddress": WAN, "PortMappingNumberOfEntries": "0"}


def read_packets(sock):
    """What a packet socket has heard so far, in its order."""
    packets = []
    with contextlib.suppress(BlockingIOError):
        while True:
            packets.append(sock.recv(4096, socket.MSG_DONTWAIT))
    return packets


def test_first_event_is_last(lab, keeper, sink):
    """GENA-6: on the wire, too, the answer is out before anybody is called"""
    keeper.get()
    port = sink.port.to_bytes(2, "big")
    with lab.lan1.open_socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as heard:
        with lab.lan1.inside():
            heard.bind((lab.lan1.interface, 0))
        subscribe(lab.lan1, WANIP1, sink.url())
        sink.take()
        packets = read_packets(heard)
    # Ethernet and IPv4 headers without options: TCP begins at 34
    answer = next(i for i, packet in enumerate(packets)
                  if packet[34:36] == (49152).to_bytes(2, "big") and b"\r\nSID: " in packet)
    call = next(i for i, packet in enumerate(packets) if packet[36:38] == port)
    assert answer < call


@pytest.mark.parametrize("method, headers, status", [
    ("SUBSCRIBE", {"NT": "upnp:event"}, 412),
    ("SUBSCRIBE", {"CALLBACK": "<http://192.168.77.2:5000/>"}, 412),
    ("SUBSCRIBE", {"CALLBACK": "<http://192.168.77.2:5000/>", "NT": "upnp:other"}, 412),
    ("SUBSCRIBE", {"CALLBACK": "<https://192.168.77.2:5000/>", "NT": "upnp:event"}, 412),
    ("SUBSCRIBE", {"SID": "uuid:1"}, 412),
    ("SUBSCRIBE", {"SID": "uuid:1", "NT": "upnp:event"}, 400),
    ("SUBSCRIBE", {"SID": "uuid:1", "CALLBACK": "<http://192.168.77.2:5000/>"}, 400),
    ("UNSUBSCRIBE", {}, 412),
    ("UNSUBSCRIBE", {"SID": "uuid:1"}, 412),
    ("UNSUBSCRIBE", {"SID": "uuid:1", "NT": "upnp:event"}, 400),
    ("UNSUBSCRIBE", {"SID": "uuid:1", "CALLBACK": "<http://192.168.77.2:5000/>"}, 400)])
def test_errors(lab, keeper, method, headers, status):
    """GENA-2, GENA-3, GENA-4"""
    keeper.get()
    assert ask(lab.lan1, method, WANIP1, **headers)[0] == status


def test_paths_and_methods(lab, keeper):
    """GENA-13, HTTP-5"""
    keeper.get()
    callback = {"CALLBACK": "<http://192.168.77.2:5000/>", "NT": "upnp:event"}
    for path in ("/igd1/evt/Nothing", "/igd1/evt/", "/igd3/evt/WANIPConn1"):
        assert ask(lab.lan1, "SUBSCRIBE", GATEWAY + path, **callback)[0] == 404
    for method in ("GET", "HEAD", "POST"):
        status, headers = ask(lab.lan1, method, WANIP1)
        assert (status, headers["Allow"]) == (405, "SUBSCRIBE, UNSUBSCRIBE")


def test_foreign_callbacks(lab, keeper):
    """GENA-11, CVE-2020-12695: we call nobody but the one who asks"""
    keeper.get()
    with Sink(lab.lan2) as other, Sink(lab.inet1) as outside, Sink(lab.lan1) as own:
        for callback in (f"<{other.url()}>", f"<{outside.url()}>",
                         f"<{own.url()}><{outside.url()}>",
                         f"<http://gw.example:{own.port}/>",
                         f"<http://192.168.77.2@203.0.113.2:{outside.port}/>",
                         "<http://192.168.77.2/>", "<http://192.168.77.2:80/>"):
            assert ask(lab.lan1, "SUBSCRIBE", WANIP1, CALLBACK=callback,
                       NT="upnp:event")[0] == 412, callback
        subscribe(lab.lan1, WANIP1, own.url())
        own.take()
        assert other.is_quiet() and outside.is_quiet()


def test_renewal(lab, gateway, sink):
    """GENA-3, GENA-5: the same SID, no event"""
    sid = subscribe(lab.lan1, WANIP1, sink.url())
    sink.take()
    for asked, granted in (("Second-7200", 7200), ("Second-1", 1800),
                           ("Second-4294967295", 86400), ("Second-infinite", 1800)):
        status, headers = ask(lab.lan1, "SUBSCRIBE", WANIP1, SID=sid, TIMEOUT=asked)
        assert (status, headers["SID"]) == (200, sid)
        assert headers["TIMEOUT"] == f"Second-{granted}"
    assert ask(lab.lan1, "SUBSCRIBE", WANIP2, SID=sid)[0] == 412
    assert ask(lab.lan2, "SUBSCRIBE", WANIP1, SID=sid)[0] == 412
    gateway.add(5000, 4000)
    assert sink.take().seq == 1


def test_unsubscribe(lab, gateway, sink):
    """GENA-4, GENA-6: also at once, and the first event comes all the same"""
    with Sink(lab.lan1) as other:
        subscribe(lab.lan1, WANIP1, other.url())
        other.take()
        sid = subscribe(lab.lan1, WANIP1, sink.url())
        assert ask(lab.lan1, "UNSUBSCRIBE", WANIP1, SID=sid)[0] == 200
        assert ask(lab.lan1, "UNSUBSCRIBE", WANIP1, SID=sid)[0] == 412
        event = sink.take()
        assert (event.seq, event.sid) == (0, sid)
        gateway.add(5000, 4000)
        assert other.take().values == {"PortMappingNumberOfEntries": "1"}
        gateway.delete(5000)
        assert other.take().values == {"PortMappingNumberOfEntries": "0"}
        assert sink.is_quiet()


def test_legacy_clients(lab, gateway, sink):
    """CL-8, IGD-6: what is of version 2 is not there for them"""
    headers = {"CALLBACK": f"<{sink.url()}>", "NT": "upnp:event", "User-Agent": "Xbox"}
    assert ask(lab.lan1, "SUBSCRIBE", WANIP2, **headers)[0] == 404
    assert ask(lab.lan1, "SUBSCRIBE", WANIP1, **headers)[0] == 200
    sink.take()


# What is told


def test_mappings(lab, gateway, sink):
    """IGD-36: the number and SystemUpdateID together, on each face what it has"""
    with Sink(lab.lan1) as other:
        subscribe(lab.lan1, WANIP2, sink.url())
        subscribe(lab.lan1, WANIP1, other.url())
        before = int(sink.take().values["SystemUpdateID"])
        other.take()
        gateway.add(5000, 4000)
        assert sink.take().values == {"PortMappingNumberOfEntries": "1",
                                      "SystemUpdateID": str(before + 1)}
        assert other.take().values == {"PortMappingNumberOfEntries": "1"}
        gateway.add(5000, 4001)  # another inside: changed, not one more
        assert sink.take().values == {"SystemUpdateID": str(before + 2)}
        gateway.delete(5000)
        assert sink.take().values == {"PortMappingNumberOfEntries": "0",
                                      "SystemUpdateID": str(before + 3)}
        assert other.take().values == {"PortMappingNumberOfEntries": "0"}


def test_other_changes(lab, gateway, sink):
    """IGD-36: enabled or not is a change, to be renewed is none"""
    subscribe(lab.lan1, WANIP2, sink.url())
    before = int(sink.take().values["SystemUpdateID"])
    gateway.add(5000, 4000)
    sink.take()
    gateway.add(5000, 4000)
    gateway.add(5000, 4000, Enabled=0)
    event = sink.take()
    assert (event.seq, event.values) == (2, {"SystemUpdateID": str(before + 2)})
    gateway.add(5000, 4000, Enabled=1)
    assert sink.take().values == {"SystemUpdateID": str(before + 3)}


def test_other_protocols(lab, daemon, sink):
    """IGD-36: whoever maps, and whoever takes it away"""
    subscribe(lab.lan1, WANIP1, sink.url())
    sink.take()
    with natpmp.Client(lab.lan2) as other:
        assert other.map("udp", 4000).result == natpmp.OK
        assert sink.take().values == {"PortMappingNumberOfEntries": "1"}
    [lease] = daemon.leases()
    daemon.admin("delete", str(lease["id"]))
    assert sink.take().values == {"PortMappingNumberOfEntries": "0"}


def test_no_multicast(lab, gateway, sink):
    """GENA-14: events go to those who asked for them, and to nobody else"""
    with lab.lan1.capture("239.255.255.246", 7900) as group:
        subscribe(lab.lan1, WANIP1, sink.url())
        sink.take()
        gateway.add(5000, 4000)
        sink.take()
        assert not select.select([group], [], [], 0)[0]


def test_other_lan(lab, gateway, sink):
    """IGD-36: a guest's mappings are not counted among those of this LAN"""
    subscribe(lab.lan1, WANIP1, sink.url())
    sink.take()
    guest = Gateway(lab.guest1, "http://192.168.78.1:49152/igd1/root.xml")
    guest.add(5001, 4000)
    gateway.add(5000, 4000)
    event = sink.take()
    assert (event.seq, event.values) == (1, {"PortMappingNumberOfEntries": "1"})


def test_expiry(lab, keeper, sink):
    """IGD-27: the end of a lease is told"""
    keeper.get("[limits]\nlifetime-min = 1\n", fresh=True)
    gateway = Gateway(lab.lan1, GATEWAY + "/igd2/root.xml")
    subscribe(lab.lan1, WANIP2, sink.url())
    sink.take()
    gateway.call("AddPortMapping", igd.WANIP2, NewRemoteHost="", NewExternalPort=5000,
                 NewProtocol="UDP", NewInternalPort=4000,
                 NewInternalClient=lab.lan1.ipv4, NewEnabled=1,
                 NewPortMappingDescription="", NewLeaseDuration=1)
    added = sink.take().values
    assert added["PortMappingNumberOfEntries"] == "1"
    assert sink.take().values == {
        "PortMappingNumberOfEntries": "0",
        "SystemUpdateID": str(int(added["SystemUpdateID"]) + 1)}


def test_external_address(lab, gateway, sink, wan):
    """IGD-37, GENA-9: at once, and empty when there is none"""
    subscribe(lab.lan1, WANIP1, sink.url())
    sink.take()
    times = []
    for address in ("203.0.113.77", "203.0.113.78", WAN):
        began = wan.move(address)
        event = sink.take()
        times.append(event.at - began)
        assert event.values == {"ExternalIPAddress": address}
    print("address to event, s:", " ".join(f"{t:.4f}" for t in times))
    assert max(times) < PROMPT_S
    wan.lose()
    values = sink.take_until(lambda v: v.get("ExternalIPAddress") == "", "empty address")
    assert values.get("ConnectionStatus", "Disconnected") == "Disconnected"


def test_link(lab, gateway, sink):
    """IGD-52"""
    subscribe(lab.lan1, LINK, sink.url())
    assert sink.take().values == {"PhysicalLinkStatus": "Up"}
    switch = ["-n", f"{lab.prefix}-wan", "link", "set", "p-gw"]
    try:
        lab.gw.ip(*switch, "down")
        assert sink.take().values == {"PhysicalLinkStatus": "Down"}
    finally:
        lab.gw.ip(*switch, "up")
    assert sink.take().values == {"PhysicalLinkStatus": "Up"}


# Delivery


def test_failing_delivery(lab, gateway, sink):
    """GENA-8, GENA-10: it has its number, and what it held comes with the next one"""
    subscribe(lab.lan1, WANIP2, sink.url())
    sink.take()
    gateway.add(5000, 4000)
    lost = sink.take(status="500 Internal Server Error")
    assert lost.seq == 1
    gateway.add(5000, 4001)
    with sink.hold(status=None) as event:  # hangs up without a word
        assert event.seq == 2
    gateway.add(5000, 4002)
    event = sink.take()
    assert event.seq == 3
    assert event.values["PortMappingNumberOfEntries"] == "1"
    gateway.delete(5000)
    assert sink.take().seq == 4


def test_burst(lab, gateway, sink):
    """GENA-9: twenty changes, none lost, numbers without a gap"""
    subscribe(lab.lan1, WANIP2, sink.url())
    with sink.hold() as first:
        for i in range(20):
            gateway.add(5000 + i, 4000 + i)
    before = int(first.values["SystemUpdateID"])
    values, seq = {}, 0
    while values.get("PortMappingNumberOfEntries") != "20":
        event = sink.take()
        seq += 1
        assert event.seq == seq
        values.update(event.values)
    assert int(values["SystemUpdateID"]) == before + 20


def test_next_callback(lab, gateway, sink):
    """GENA-10: one that nobody listens on, one that fails, one that is good"""
    with Sink(lab.lan1) as bad, Sink(lab.lan1) as closed:
        urls = [closed.url(), bad.url(), sink.url("/good")]
        closed.server.close()
        sid = subscribe(lab.lan1, WANIP1, *urls)
        failed = bad.take(status="503 Service Unavailable")
        event = sink.take()
        assert (event.seq, event.sid, event.path) == (0, sid, "/good")
        assert (failed.seq, failed.values) == (event.seq, event.values), "GENA-8"


def test_unreachable(lab, gateway):
    """GENA-12: a subscriber that nothing ever reached does not keep its place for a day"""
    with lab.lan1.listen(0) as server:
        url = f"http://192.168.77.2:{server.getsockname()[1]}/"
        sid = subscribe(lab.lan1, WANIP1, url, TIMEOUT="Second-86400")
        server.settimeout(UNHEARD_S)
        for _ in range(4):
            server.accept()[0].close()
    wait_for(lambda: ask(lab.lan1, "SUBSCRIBE", WANIP1, SID=sid)[0] == 412,
             "the end of the subscription")


@contextlib.contextmanager
def deaf(host):
    """The host hears nothing of the gateway that it did not ask for."""
    host.nft("table inet deaf { chain input { type filter hook input priority 0; "
             "ct state new drop; }; }")
    try:
        yield
    finally:
        host.nft("delete table inet deaf")


def test_dead_subscribers(lab, gateway, sink, wan):
    """GENA-10, GENA-12: hosts that are gone, or take and never answer, delay nobody"""
    with Sink(lab.lan2) as silent, contextlib.ExitStack() as stack:
        for i in range(PER_HOST):
            subscribe(lab.lan2, WANIP1, silent.url())
        stack.enter_context(deaf(lab.lan2))
        with Sink(lab.lan1) as mute:
            for i in range(PER_HOST - 1):
                subscribe(lab.lan1, WANIP1, mute.url())
            subscribe(lab.lan1, WANIP1, sink.url())
            sink.take()
            began = wan.move("203.0.113.77")
            event = sink.take()
            assert event.values == {"ExternalIPAddress": "203.0.113.77"}
            assert event.at - began < PROMPT_S


def get_memory(daemon):
    with open(f"/proc/{daemon.roles()['upnp']}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1])


def test_limits(lab, keeper):
    """GENA-12: a thousand SUBSCRIBEs of one host leave room for others, and memory"""
    daemon = keeper.get(build="release", fresh=True)
    headers = {"NT": "upnp:event",
               "CALLBACK": "<http://192.168.77.2:5000/" + "x" * 500 + ">"}
    granted = [ask(lab.lan1, "SUBSCRIBE", WANIP1, **headers)[0] for _ in range(40)]
    assert granted == [200] * PER_HOST + [503] * (40 - PER_HOST)
    before = get_memory(daemon)
    for _ in range(960):
        assert ask(lab.lan1, "SUBSCRIBE", WANIP1, **headers)[0] == 503
    assert get_memory(daemon) < before + 1024
    with Sink(lab.lan2) as other:
        subscribe(lab.lan2, WANIP1, other.url())
        other.take()


def test_host_of_many_addresses(lab, keeper):
    """GENA-12: a guest with 16 IPv6 addresses takes neither its LAN nor another's"""
    keeper.get("[limits]\nrequests-per-second = 0\n", fresh=True)
    path = "/igd1/evt/WANIPConn1"
    granted = 0
    for i in range(PER_HOST):
        address = f"fd78::{0x100 + i:x}"
        lab.guest1.ip("address", "add", address + "/64", "dev", "eth0", "nodad")
        try:
            for _ in range(PER_HOST):
                answer = gena.subscribe_from(lab.guest1, (address, 0), ("fd78::1", 0), path,
                                             f"http://[{address}]:5000/")
                granted += answer.startswith(b"HTTP/1.1 200 ")
        finally:
            lab.guest1.ip("address", "del", address + "/64", "dev", "eth0")
    assert granted == PER_LAN_IPV6
    for host, gateway in ((lab.guest1, "192.168.78.1"), (lab.lan1, "192.168.77.1"),
                          (lab.lan1, "[fd77::1]")):
        with Sink(host, socket.AF_INET6 if "[" in gateway else socket.AF_INET) as other:
            subscribe(host, f"http://{gateway}:49152{path}", other.url())
            other.take()


def test_restart(lab, daemon, sink):
    """GENA-13: what was subscribed to before is void"""
    sid = subscribe(lab.lan1, WANIP1, sink.url())
    sink.take()
    assert daemon.stop() == 0
    daemon.start()
    assert ask(lab.lan1, "SUBSCRIBE", WANIP1, SID=sid)[0] == 412
    assert ask(lab.lan1, "UNSUBSCRIBE", WANIP1, SID=sid)[0] == 412


def test_lost_lan_address(lab, daemon, sink):
    """GENA-12: with the address that events came from, the subscription goes"""
    sid = subscribe(lab.lan1, WANIP1, sink.url())
    sink.take()
    assert ask(lab.lan1, "SUBSCRIBE", WANIP1, SID=sid)[0] == 200
    lab.gw.ip("address", "del", "192.168.77.1/24", "dev", "lan0")
    try:
        daemon.wait_log("lan interface=lan0 address=none")
    finally:
        lab.gw.ip("address", "add", "192.168.77.1/24", "dev", "lan0")

    def renew():
        with contextlib.suppress(OSError):  # the door is not open again yet
            return ask(lab.lan1, "SUBSCRIBE", WANIP1, SID=sid)[0]
        return None

    assert wait_for(renew, "the gateway to be back") == 412


def test_another_lan_address(lab, daemon, sink):
    """GENA-13: void with byebye, in the family that said it; what came takes nothing"""
    sid = subscribe(lab.lan1, WANIP1, sink.url())
    sink.take()
    url6 = "http://[fd77::1]:49152/igd1/evt/WANIPConn1"
    with Sink(lab.lan1, socket.AF_INET6) as other:
        sid6 = subscribe(lab.lan1, url6, other.url())
        other.take()
        lab.gw.ip("address", "add", "192.168.77.9/24", "dev", "lan0")
        try:
            wait_for(lambda: subscribe_to(lab.lan1, "192.168.77.9", sink),
                     "the other address to be served")
            assert ask(lab.lan1, "SUBSCRIBE", WANIP1, SID=sid)[0] == 200
        finally:
            lab.gw.ip("address", "del", "192.168.77.9/24", "dev", "lan0")
        wait_for(lambda: ask(lab.lan1, "SUBSCRIBE", WANIP1, SID=sid)[0] == 412,
                 "the end of the subscription")
        assert ask(lab.lan1, "SUBSCRIBE", url6, SID=sid6)[0] == 200
        assert other.is_quiet()


def subscribe_to(host, address, sink):
    """By that address of the gateway; None while it is not served."""
    with contextlib.suppress(OSError):
        status, _ = ask(host, "SUBSCRIBE", f"http://{address}:49152/igd1/evt/WANIPConn1",
                        CALLBACK=f"<{sink.url()}>", NT="upnp:event")
        return status == 200
    return None


# IPv6


def test_ipv6(lab, gateway):
    """SUBSCRIBE over IPv6 is told over IPv6, by the address that was asked"""
    with Sink(lab.lan1, socket.AF_INET6) as sink:
        sid = subscribe(lab.lan1, "http://[fd77::1]:49152/igd1/evt/WANIPConn1", sink.url())
        event = sink.take()
        assert (event.seq, event.sid) == (0, sid)
        assert event.host == f"[fd77::2]:{sink.port}"
        assert event.source[0] == "fd77::1"
        gateway.add(5000, 4000)
        assert sink.take().values == {"PortMappingNumberOfEntries": "1"}


def test_link_local(lab, daemon):
    """The same by link-local addresses, which are good on one LAN alone"""
    own, router = link_local(lab.lan1, "eth0"), link_local(lab.gw, "lan0")
    with lab.lan1.inside():
        index = socket.if_nametoindex("eth0")
    with Sink(lab.lan1, socket.AF_INET6, "::") as sink:
        sink.address = own
        sid = gena.subscribe_link_local(lab.lan1, router, "/igd1/evt/WANIPConn1", sink)
        event = sink.take()
        assert (event.seq, event.sid) == (0, sid)
        assert event.host == f"[{own}]:{sink.port}"
        assert event.source[0].partition("%")[0] == router
        assert event.source[3] == index
