# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces, addresses and routes that come, change and go: WAN, then LANs."""

import contextlib
import socket
import statistics
import time

import gena
import igd
import natpmp
import pcp
import pytest
import wire
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS
NAMED = "[wan]\ninterface = wan0\n[lan lan0]\n"
AUTO_WAN = "[lan lan0]\n[lan guest0]\n"
# From the change of the address to the first packet that tells of it.
PROMPT_S = 0.05
LEASES = 1200


def status(daemon):
    return daemon.json_any("status")["status"]


def problems(daemon):
    return {problem["code"] for problem in status(daemon)["problems"]}


def wait_problems(daemon, *wanted):
    try:
        wait_for(lambda: problems(daemon) == set(wanted), "the state to be told")
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {problems(daemon)}") from None


def arrives(lab, port, to=WAN, sender=None):
    return lab.udp_arrives(sender or lab.inet1, (to, port), lab.lan1, port) is not None


def wait_arrives(lab, port, to=WAN):
    wait_for(lambda: arrives(lab, port, to), f"packets to {to}:{port}", 5)


def default_route(lab, way="replace"):
    lab.gw.ip("route", way, "default", "via", lab.inet1.ipv4)


def flush_neighbours(lab):
    """Another interface has another MAC."""
    for host in (lab.inet1, lab.inet2):
        host.ip("neigh", "flush", "dev", "eth0")


def make_wan(lab, name="wan0", addresses=(f"{WAN}/24",)):
    """The gateway's way out as a new interface, as a dial-up makes it."""
    lab.batch("gw", [f"link add {name} type veth peer name p-gw netns {lab.prefix}-wan"])
    lab.batch("wan", ["link set p-gw addrgenmode none master wan up"])
    lab.batch("gw", [f"link set {name} up", f"-6 address add {Lab.WAN_ADDRESS6}/64 dev {name}",
                     f"-6 route replace default via {lab.inet1.ipv6}",
                     *(f"address add {each} dev {name}" for each in addresses)])
    if addresses:
        default_route(lab)
    flush_neighbours(lab)


@contextlib.contextmanager
def restored(lab):
    """Whatever becomes of the WAN, it is the usual one afterwards."""
    try:
        yield
    finally:
        for name in ("wan0", "wan9", "ppp7"):
            lab.gw.run(["ip", "link", "del", name])
        make_wan(lab)


@pytest.fixture
def client(lab):
    with natpmp.Client(lab.lan1) as made:
        yield made


def count_lines(daemon, text):
    return sum(text in line for line in daemon.log().splitlines())


# --- start before anything is there ---


def test_start_before_any_interface(lab, daemon_factory, client):
    """Named interfaces are waited for; all that was said of them is true."""
    with restored(lab):
        lab.gw.ip("link", "del", "wan0")
        config = "[wan]\ninterface = ppp7\n[lan usb0]\n[lan lan0]\n"
        daemon = daemon_factory(config).start()
        wait_problems(daemon, "wan-missing", "lan-missing", "no-default-route")
        assert client.map("udp", 4000, 4000).result == natpmp.NETWORK_FAILURE
        make_wan(lab, "ppp7")
        wait_problems(daemon, "lan-missing")
        assert client.map("udp", 4000, 4000).external == 4000
        lab.batch("gw", ["link add usb0 type bridge", "link set usb0 up",
                         "address add 192.168.90.1/24 dev usb0"])
        try:
            wait_problems(daemon)
        finally:
            lab.gw.ip("link", "del", "usb0")
        [lease] = daemon.leases()
        assert lease["lan"] == "lan0"


def test_start_without_a_default_route(lab, daemon_factory, client):
    """The automatic WAN is where the default route goes, once there is one."""
    lab.gw.ip("route", "del", "default")
    try:
        daemon = daemon_factory(AUTO_WAN).start()
        assert status(daemon)["wan"]["interface"] == ""
        assert problems(daemon) == {"no-default-route", "wan-unknown"}
        done = daemon.run_tool("status")
        assert done.returncode == 7 and "no interface" in done.stdout, done.stdout
        daemon.wait_log("there is no default route yet")
        assert client.map("udp", 4000, 4000).result == natpmp.NETWORK_FAILURE
        # by a LAN it is no WAN
        lab.gw.ip("route", "add", "default", "via", lab.lan2.ipv4)
        wait_problems(daemon, "default-route-lan", "wan-unknown")
        lab.gw.ip("route", "del", "default")
        wait_problems(daemon, "no-default-route", "wan-unknown")
        default_route(lab, "add")
        wait_problems(daemon)
        assert client.map("udp", 4000, 4000).external == 4000
        wait_arrives(lab, 4000)
        # it goes again: the last one stays chosen
        lab.gw.ip("route", "del", "default")
        wait_problems(daemon, "no-default-route")
        assert status(daemon)["wan"]["interface"] == "wan0"
        assert client.map("udp", 4001, 4001).external == 4001
        assert arrives(lab, 4000)
        assert count_lines(daemon, "there is no IPv4 default route") == 1
    finally:
        default_route(lab)


def test_all_automatic_without_a_default_route(lab, daemon_factory):
    """There is no telling LANs from the WAN: it refuses, and says what to do."""
    lab.gw.ip("route", "del", "default")
    try:
        daemon = daemon_factory().launch()
        assert daemon.process.wait() == 1
        assert "there is no IPv4 default route; set [wan] interface" in daemon.log()
    finally:
        default_route(lab)


# --- the WAN ---


@pytest.mark.parametrize("peer", [False, True])
def test_wan_made_anew(lab, daemon_factory, client, peer):
    """As PPP does: another index, the same name, maybe only an address with a peer."""
    daemon = daemon_factory(NAMED).start()
    assert client.map("udp", 4000, 4000).external == 4000
    gateway = igd.Gateway(lab.lan1)
    gateway.add(4001, 4001)
    with restored(lab):
        for round_number in range(1, 4):
            lab.gw.ip("link", "del", "wan0")
            wait_problems(daemon, "wan-missing", "no-default-route")
            assert len(daemon.leases()) == 2
            make_wan(lab, "wan0", [f"{WAN} peer {lab.inet1.ipv4}" if peer else f"{WAN}/24"])
            wait_problems(daemon)
            wait_arrives(lab, 4000)
            assert arrives(lab, 4001)
            assert count_lines(daemon, "wan0 does not exist") == round_number
    assert "new epoch" not in daemon.log(), "the same address"


def test_wan_renamed_away_and_back(lab, daemon_factory, client):
    daemon = daemon_factory(NAMED).start()
    assert client.map("udp", 4000, 4000).external == 4000

    def rename(old, new):
        lab.batch("gw", [f"link set {old} down", f"link set {old} name {new}",
                         f"link set {new} up"])
    with restored(lab):
        rename("wan0", "wan9")
        wait_for(lambda: "wan-missing" in problems(daemon), "the loss to be noticed")
        wait_for(lambda: client.address().result == natpmp.NETWORK_FAILURE, "clients to be told")
        rename("wan9", "wan0")
        default_route(lab)
        wait_problems(daemon)
        wait_arrives(lab, 4000)
        assert client.address().address == WAN
    assert "new epoch" not in daemon.log()


def test_link_of_the_wan_down(lab, daemon_factory, client):
    """The cable: the address stays, status says that the link is down, one line each."""
    daemon = daemon_factory(NAMED).start()
    assert client.map("udp", 4000, 4000).external == 4000
    for number in (1, 2):
        lab.batch("wan", ["link set p-gw down"])
        try:
            wait_problems(daemon, "wan-down")
            assert not status(daemon)["wan"]["up"]
            assert count_lines(daemon, "link=down") == number
        finally:
            lab.batch("wan", ["link set p-gw up"])
        wait_for(lambda: "wan-down" not in problems(daemon), "the link to be back")
        wait_arrives(lab, 4000)
    assert "new epoch" not in daemon.log()


def test_automatic_wan_follows_the_route(lab, daemon_factory, client):
    """A second way out takes over, and gives back: leases follow, and clients hear."""
    daemon = daemon_factory(AUTO_WAN).start()
    assert client.map("udp", 4000, 4000).external == 4000
    second = "203.0.114.1"
    lab.batch("gw", [f"link add ppp7 type veth peer name p-7 netns {lab.prefix}-wan",
                     "link set ppp7 up", f"address add {second}/24 dev ppp7"])
    lab.batch("wan", ["link set p-7 addrgenmode none master wan up"])
    lab.batch("inet2", ["address add 203.0.114.3/24 dev eth0"])
    try:
        lab.gw.ip("route", "replace", "default", "via", "203.0.114.3")
        wait_for(lambda: client.address().address == second, "the other address")
        assert status(daemon)["wan"]["interface"] == "ppp7"
        assert lab.udp_arrives(lab.inet2, (second, 4000), lab.lan1, 4000)
        assert problems(daemon) == set()
        default_route(lab)
        wait_for(lambda: client.address().address == WAN, "the first address")
        wait_arrives(lab, 4000)
        assert daemon.log().count("a new epoch begins") == 2
        # Its interface goes, and the route with it: the last one stays chosen.
        lab.gw.ip("route", "replace", "default", "via", "203.0.114.3")
        wait_for(lambda: client.address().address == second, "the other address")
        lab.gw.ip("link", "del", "ppp7")
        wait_problems(daemon, "wan-missing", "no-default-route")
    finally:
        lab.gw.run(["ip", "link", "del", "ppp7"])
        default_route(lab)
        lab.batch("inet2", ["address del 203.0.114.3/24 dev eth0"])
    wait_for(lambda: client.address().address == WAN, "the first address")
    wait_arrives(lab, 4000)


@pytest.mark.parametrize("address, code", [("10.99.0.1", "wan-private"),
                                           ("100.64.9.1", "wan-cgnat")])
def test_address_of_another_nat(lab, daemon_factory, client, wan, address, code):
    """Mapping works as ever; status says what may be wrong, the log once."""
    daemon = daemon_factory(NAMED).start()
    assert client.map("udp", 4000, 4000).external == 4000
    wan.move(address)
    wait_for(lambda: client.address().address == address, "the address to be told")
    assert problems(daemon) - {"no-default-route"} == {code}
    assert client.map("udp", 4001, 4001).external == 4001
    lab.inet1.ip("route", "add", f"{address}/32", "dev", "eth0")
    try:
        assert arrives(lab, 4000, address) and arrives(lab, 4001, address)
    finally:
        lab.inet1.ip("route", "del", f"{address}/32", "dev", "eth0")
    assert count_lines(daemon, f"external={address}") == 1
    wan.move(WAN)
    wait_for(lambda: client.address().address == WAN, "the usual address")


def test_changes_in_a_burst(lab, daemon_factory, client, wan):
    """The last one counts, in the kernel too; nobody is left with one in between."""
    daemon = daemon_factory(NAMED).start()
    assert client.map("udp", 4000, 4000).external == 4000
    for last in range(100, 140):
        wan.move(f"203.0.113.{last}")
    wait_for(lambda: client.address().address == "203.0.113.139", "the last address")
    wait_arrives(lab, 4000, "203.0.113.139")
    assert not arrives(lab, 4000, "203.0.113.120")
    assert status(daemon)["wan"]["external_address"] == "203.0.113.139"
    lines = [line for line in daemon.log().splitlines() if "wan interface=" in line]
    assert len(lines) == len(set(lines)), "no line is repeated"


def hear(lab, address, sockets, began):
    """When the first announcement of NAT-PMP, of PCP and the event that tell came."""
    natpmp_heard, pcp_heard, sink = sockets
    told = wire.collect(natpmp_heard, 2, 1, lambda data: len(data) == 12 and data[0] == 0 and
                        natpmp.parse_address(data).address == address)
    announced = wire.collect(pcp_heard, 2, 1, lambda data: data[:1] == b"\2")
    event = sink.take()
    while event.values.get("ExternalIPAddress") != address:
        event = sink.take()
    return [told[0].time - began, announced[0].time - began, event.at - began]


@pytest.mark.parametrize("lost_before", [False, True])
def test_announced_at_once_with_many_leases(lab, daemon_factory, wan, lost_before):
    """
    NP-55, PCP-37, UDA 1.1 §4: within 50 ms, whatever the firewall has to do for the
    leases, and also when the old address goes some time before the new one comes.
    """
    config = NAMED + "[limits]\nleases-per-client = 0\nrequests-per-second = 0\n"
    daemon = daemon_factory(config, build="release").start()
    with natpmp.Client(lab.lan2) as client:
        for port in range(20000, 20000 + LEASES):
            assert client.map("udp", port, port).external == port
    times, delays = [], []
    gateway = igd.Gateway(lab.lan1)
    events = gateway.services()[igd.WANIP1]["eventSubURL"]
    for number in range(5):
        address = f"203.0.113.{90 + number}"
        with (wire.stamp(lab.lan1.capture(natpmp.ANNOUNCE_GROUP, natpmp.ANNOUNCE_PORT)) as old,
              wire.stamp(lab.lan1.capture(pcp.ANNOUNCE_GROUP, pcp.ANNOUNCE_PORT)) as new,
              gena.Sink(lab.lan1) as sink):
            gena.subscribe(lab.lan1, events, sink.url())
            sink.take()
            if lost_before:
                wan.lose()
                wait_for(lambda: status(daemon)["wan"]["address"] is None, "the loss")
                wire.drain(old)
                wire.drain(new)
                began = time.time()
                lab.batch("gw", [f"address add {address}/24 dev wan0"])
                delays.append(time.time() - began)
                wan.now = address
                default_route(lab)
            else:
                began = wan.move(address)
            times.append(hear(lab, address, (old, new, sink), began))
            wait_for(lambda: arrives_any(lab, address), "the firewall to follow", 5)
    # The machine may be busy elsewhere for a moment: the median counts.
    allowed = PROMPT_S + (statistics.median(delays) if delays else 0)
    medians = [statistics.median(column) for column in zip(*times)]
    print("NAT-PMP, PCP, GENA:", [f"{1000 * each:.1f} ms" for each in medians])
    assert all(0 < each < allowed for each in medians), times
    assert status(daemon)["leases"]["total"] == LEASES


def arrives_any(lab, address):
    return lab.udp_arrives(lab.inet1, (address, 20000 + LEASES - 1), lab.lan2,
                           20000 + LEASES - 1)


# --- LANs ---


class Cable:
    """A LAN that is plugged in: usb0 at the gateway, eth1 at the host lan2."""

    GATEWAY, HOST = "192.168.90.1", "192.168.90.2"

    def __init__(self, lab):
        self.lab = lab

    def plug(self):
        self.lab.batch("gw", [f"link add usb0 type veth peer name eth1 netns {self.lab.prefix}-lan2",
                              "link set usb0 up", f"address add {self.GATEWAY}/24 dev usb0"])
        # the same machine each time
        self.lab.batch("lan2", ["link set eth1 address 02:00:00:00:90:02", "link set eth1 up",
                                f"address add {self.HOST}/24 dev eth1"])

    def pull(self):
        self.lab.gw.run(["ip", "link", "del", "usb0"])

    def ask(self, port, deadline_s=5):
        """The answer to a mapping that lan2 asks for by this cable."""
        with self.lab.lan2.udp(address=self.HOST) as sock:
            sock.settimeout(0.2)

            def granted():
                sock.sendto(natpmp.pack_map("udp", port, port, 600), (self.GATEWAY, 5351))
                with contextlib.suppress(OSError):
                    data = sock.recv(64)
                    return natpmp.parse_mapping(data, "udp")
                return None
            return wait_for(granted, "an answer by the cable", deadline_s)


@pytest.fixture
def cable(lab):
    made = Cable(lab)
    yield made
    made.pull()


def lans(daemon):
    return {lan["name"]: lan["up"] for lan in status(daemon)["lans"]}


def test_automatic_lans_come_and_go(lab, daemon_factory, client, cable):
    """One that comes while we run is served; one that goes keeps its place and leases."""
    daemon = daemon_factory().start()
    assert client.map("udp", 4000, 4000).external == 4000
    assert set(lans(daemon)) == {"lan0", "guest0"}
    cable.plug()
    assert cable.ask(4010).external == 4010
    assert lans(daemon) == {"lan0": True, "guest0": True, "usb0": True}
    before = {lease["external_port"]: lease["lan"] for lease in daemon.leases()}
    assert before == {4000: "lan0", 4010: "usb0"}
    cable.pull()
    wait_for(lambda: lans(daemon) == {"lan0": True, "guest0": True, "usb0": False},
             "its end to be noticed")
    assert status(daemon)["state"] == "ok", "it may go as it came"
    assert {x["external_port"]: x["lan"] for x in daemon.leases()} == before
    cable.plug()
    assert cable.ask(4010).external == 4010
    assert len(daemon.leases()) == 2 and arrives(lab, 4000)
    # one without an address, one of the internet, one with the way out: no LANs
    lab.batch("gw", ["link add br0 type bridge", "link set br0 up",
                     "link add br1 type bridge", "link set br1 up",
                     "address add 198.51.100.1/24 dev br1",
                     "link add br2 type bridge", "link set br2 up",
                     "address add 10.77.0.2/24 dev br2",
                     "route add default via 10.77.0.1 metric 500"])
    try:
        lab.gw.ip("address", "add", "192.168.91.1/24", "dev", "guest0")
        daemon.wait_log("usb0", count=2)
        assert cable.ask(4011).external == 4011
        # br2 had its address before its route: a LAN for that instant at most
        wait_for(lambda: {name for name, up in lans(daemon).items() if up} ==
                 {"lan0", "guest0", "usb0"}, "only LANs to be served")
    finally:
        for name in ("br0", "br1", "br2"):
            lab.gw.ip("link", "del", name)
        lab.gw.ip("address", "del", "192.168.91.1/24", "dev", "guest0")


def test_named_lans_do_not_grow(lab, daemon_factory, cable):
    daemon = daemon_factory(NAMED).start()
    cable.plug()
    with natpmp.Client(lab.lan1) as client:
        assert client.map("udp", 4000, 4000).external == 4000
    with pytest.raises(TimeoutError):
        cable.ask(4010, 0.6)
    assert set(lans(daemon)) == {"lan0"}


def test_named_lan_comes_and_goes(lab, daemon_factory, cable):
    """Also with another index, as a USB adapter has each time."""
    daemon = daemon_factory(NAMED + "[lan usb0]\n").start()
    assert problems(daemon) == {"lan-missing"}
    for number in (1, 2):
        cable.plug()
        assert cable.ask(4010).external == 4010
        wait_problems(daemon)
        cable.pull()
        wait_problems(daemon, "lan-missing")
        [problem] = status(daemon)["problems"]
        assert problem["text"] == "LAN interface usb0 does not exist; it is waited for"
        assert [x["lan"] for x in daemon.leases()] == ["usb0"]
        assert count_lines(daemon, "usb0 does not exist") == number + 1


def renumber(lab, old, new):
    """The gateway's LAN and the host lan1, from one /24 to another."""
    lab.batch("gw", [f"address add {new}.1/24 dev lan0", f"address del {old}.1/24 dev lan0"])
    lab.batch("lan1", [f"address add {new}.2/24 dev eth0", f"address del {old}.2/24 dev eth0",
                       f"route replace default via {new}.1"])


def test_lan_renumbered(lab, daemon_factory, client):
    """IPv4: the new address is served at once, the old one no more; leases stay."""
    daemon = daemon_factory(NAMED).start()
    old, new = "192.168.77", "192.168.99"
    assert client.map("udp", 4000, 4000).external == 4000
    renumber(lab, old, new)
    lab.lan1.ipv4 = f"{new}.2"
    try:
        wait_for(lambda: natpmp.tells(lab.lan1, WAN), "the new address to be served")
        with natpmp.Client(lab.lan1) as other:
            assert other.map("udp", 4001, 4001).external == 4001
            assert arrives(lab, 4001)
        gateway = igd.Gateway(lab.lan1)
        assert gateway.location.startswith(f"http://{new}.1:")
        assert gateway.add(4002, 4002) == {}
        assert {x["external_port"] for x in daemon.leases()} >= {4001, 4002}
        assert count_lines(daemon, f"lan interface=lan0 address={new}.1/24") == 1
    finally:
        renumber(lab, new, old)
        lab.lan1.ipv4 = f"{old}.2"
    wait_for(lambda: natpmp.tells(lab.lan1, WAN), "the old address to be served")


def test_prefix_of_a_lan_changes(lab, daemon_factory):
    """IPv6: PCP from addresses of the new prefix is served, from the old one no more."""
    daemon = daemon_factory(NAMED).start()
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as client:
        client.grant("tcp", 4000, 4000)
    lab.batch("gw", ["-6 address add fd99::1/64 dev lan0", "-6 address del fd77::1/64 dev lan0"])
    lab.batch("lan1", ["-6 address add fd99::2/64 dev eth0"])
    try:
        with pcp.Client(lab.lan1, family=socket.AF_INET6, address="fd99::2") as client:
            wait_for(lambda: client.announce().result == pcp.OK, "the new prefix")
            client.grant("tcp", 4001, 4001)
        daemon.wait_log("lan interface=lan0 .*fd99::/64")
        assert "fd99::1" in status(daemon)["lans"][0]["addresses"]
        assert {x["internal_port"] for x in daemon.leases()} == {4000, 4001}
        assert "fd99::2" in {x["internal_address"] for x in daemon.leases()}
    finally:
        lab.batch("gw", ["-6 address add fd77::1/64 dev lan0",
                         "-6 address del fd99::1/64 dev lan0"])
        lab.batch("lan1", ["-6 address del fd99::2/64 dev eth0",
                           "-6 route replace default via fd77::1"])
