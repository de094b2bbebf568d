# SPDX-License-Identifier: GPL-2.0-or-later
"""Torrent clients, real ones and models of them: their peers get through."""

import contextlib
import json
import os
import sys
import tempfile

import models
import pytest
from firewall import firewall
from igd import SoapError
from lab import wait_for
from models import reaches

WAN_NET = models.PUBLIC_NET
CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torrent.py")
PORT = 51413
SECONDS = 30
WITHOUT_LEASE_S = 604800


def connects(lab, port):
    """A peer on the internet reaches the client itself."""
    try:
        lab.inet1.connect((lab.WAN_ADDRESS, port), 0.5).close()
        return True
    except OSError:
        return False


def held(daemon):
    """{(protocol, external port)} of the lease table."""
    return {(x["protocol"], x["external_port"]) for x in daemon.leases()}


# Models


def test_libtorrent(lab, daemon):
    """CL-11, CL-12, CL-13, CL-15, CL-16, CL-17: its spelling, and no text at all"""
    client = models.Libtorrent(lab.lan1).discover()
    for protocol in ("TCP", "UDP"):
        assert client.map(6881, protocol) == (6881, client.LEASE_S)
    assert reaches(lab, 6881, lab.lan1, 6881)
    assert {x["description"] for x in daemon.leases()} == {""}
    assert {x["lifetime_s"] for x in daemon.leases()} == {client.LEASE_S}, "never 725"
    client.delete(6881, "UDP")
    assert not reaches(lab, 6881, lab.lan1, 6881)


def test_libtorrent_of_two_hosts(lab, daemon):
    """clients.md §3: 718 makes it take a port from 40000 on, and it works"""
    first, second = (models.Libtorrent(host).discover() for host in (lab.lan1, lab.lan2))
    first.map(6881, "UDP")
    port, _ = second.map(6881, "UDP")
    assert 40000 <= port < 50000
    assert reaches(lab, 6881, lab.lan1, 6881) and reaches(lab, port, lab.lan2, 6881)


@pytest.mark.parametrize("internal, client, code", [
    (0, None, 402), (6881, "fd77::2", 402), (6881, "192.168.77.3", 718)])
def test_refusals_as_libtorrent_reads_them(lab, daemon, internal, client, code):
    """CL-18, clients.md §3: on the v1 face 718 where another port helps, never 606"""
    control = models.Libtorrent(lab.lan1).discover()
    with pytest.raises(SoapError) as caught:
        control.add(6881, internal, "UDP", "", 3600, client=client or lab.lan1.ipv4)
    assert caught.value.code == code
    assert daemon.leases() == []


def test_utorrent(lab, daemon):
    """CL-29, IGD-15: lease 0 is taken at once, on its own port again and again"""
    client = models.MicroTorrent(lab.lan1).discover()
    assert [client.map(PORT, "TCP") for _ in range(4)] == [[]] * 4
    assert [x["lifetime_s"] for x in daemon.leases()] == [WITHOUT_LEASE_S]
    other = models.MicroTorrent(lab.lan2).discover()
    with pytest.raises(models.GaveUp, match="718, 718, 718, 718"):
        other.map(PORT, "TCP")
    assert lab.tcp_arrives(lab.inet1, (lab.WAN_ADDRESS, PORT), lab.lan1, PORT)


def test_adding_again_keeps_the_way_open(lab, daemon):
    """CL-25, CL-26, clients.md §5.13, 5.14: same port, and packets before and after"""
    client = models.Libtorrent(lab.lan1).discover()
    with lab.lan1.udp(PORT) as sink, lab.inet1.udp() as peer:
        for _ in range(5):
            assert client.map(PORT, "UDP")[0] == PORT
            assert lab.udp_arrives(lab.inet1, (lab.WAN_ADDRESS, PORT), lab.lan1, PORT,
                                   sink=sink, source=peer)
    [lease] = daemon.leases()
    assert lease["external_port"] == PORT
    # what somebody removed behind our back is there again, too
    firewall(lab).remove()
    client.map(PORT, "UDP")
    wait_for(lambda: reaches(lab, PORT, lab.lan1, PORT), "the rule to be back")


def test_transmission_model(lab, daemon):
    """CL-17, CL-19, CL-27: state 1, GetSpecific before Add, and again when it is gone"""
    client = models.Transmission(lab.lan1).discover()
    assert client.pulse(PORT, "TCP") and not client.pulse(PORT, "TCP")
    [lease] = daemon.leases()
    daemon.admin("delete", str(lease["id"]))
    assert client.pulse(PORT, "TCP"), "it is mapped anew"
    assert lab.tcp_arrives(lab.inet1, (lab.WAN_ADDRESS, PORT), lab.lan1, PORT)


def test_miniupnpc_state(lab, daemon_factory):
    """CL-19, clients.md §5.12: a private address fails it, the owner's word cures it"""
    for config, state in (("", models.MiniUpnpc.CONNECTED),
                          ("[wan]\naddress = 10.1.2.3\n", models.MiniUpnpc.NOT_CONNECTED),
                          ("[wan]\naddress = 5.9.8.1\n", models.MiniUpnpc.CONNECTED)):
        running = daemon_factory(config).start()
        assert models.MiniUpnpc(lab.lan1).discover().state() == state
        running.stop()


# The real ones


@contextlib.contextmanager
def transmission(host, **settings):
    """transmission-daemon on a host, with a configuration of its own."""
    with tempfile.TemporaryDirectory(dir=host.lab.directory) as directory:
        values = {"rpc-enabled": False, "port-forwarding-enabled": True,
                  "peer-port": PORT, "bind-address-ipv4": host.ipv4, "dht-enabled": False,
                  "pex-enabled": False, "lpd-enabled": False, "download-dir": directory}
        values.update(settings)
        path = os.path.join(directory, "settings.json")
        with open(path, "w", encoding="ascii") as file:
            json.dump(values, file)
        process = host.start(["transmission-daemon", "-f", "--log-debug", "-g", directory])
        try:
            yield process
        finally:
            process.stop()


def test_transmission(lab, daemon):
    """By UPnP: it finds us, maps TCP and UDP, is reached, and cleans up behind it."""
    with transmission(lab.lan1) as process:
        wait_for(lambda: "Port forwarding successful" in process.output(),
                 "transmission to have its port")
        wait_for(lambda: held(daemon) == {("tcp", PORT), ("udp", PORT)}, "both leases")
        assert {x["origin"] for x in daemon.leases()} == {"igd"}
        assert daemon.leases()[0]["description"] == f"Transmission at {PORT}", "CL-17"
        assert connects(lab, PORT)
    wait_for(lambda: not daemon.leases(), "the port to be given back")
    assert not connects(lab, PORT)


def test_transmission_by_natpmp(lab, daemon_factory):
    """Where only NAT-PMP is spoken it maps TCP by that (CL-1)."""
    daemon = daemon_factory("[lan lan0]\nprotocols = nat-pmp\n").start()
    with transmission(lab.lan1):
        wait_for(lambda: ("tcp", PORT) in held(daemon), "transmission to have its port",
                 SECONDS)
        assert {x["origin"] for x in daemon.leases()} == {"nat-pmp"}
        assert connects(lab, PORT)


def test_libtorrent_itself(lab, daemon_factory):
    """Without PCP it goes by UPnP, and its peers by that (CL-12, CL-13, CL-16)"""
    daemon = daemon_factory("[lan lan0]\nprotocols = upnp\n").start()
    client = lab.lan1.start([sys.executable, CLIENT, lab.lan1.ipv4, "6881", str(SECONDS),
                             "upnp"])
    wait_for(lambda: client.output().count("successfully mapped") >= 2,
             "libtorrent to have its ports")
    assert held(daemon) == {("tcp", 6881), ("udp", 6881)}
    assert {x["origin"] for x in daemon.leases()} == {"igd"}
    assert connects(lab, 6881)
    client.stop()
    wait_for(lambda: not daemon.leases(), "the ports to be given back")
    assert not connects(lab, 6881)
