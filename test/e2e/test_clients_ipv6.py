# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv6 as clients use it: pinholes by upnpc and syncthing, each proven by packets."""

import html
import re
import socket
import urllib.parse

import igd
import models
import models_apps
import pytest
from igd import SoapError

WAN_NET = models.PUBLIC_NET
LOCATION4 = "http://192.168.77.1:49152/igd1/root.xml"
LOCATION6 = "http://[fd77::1]:49152/igd1/root.xml"
TWO = "http://192.168.77.1:49152/igd2/root.xml"
SAME_HOST = "[global]\nigd-same-host = mac\n"


def upnpc(host, *arguments):
    return host.run(["upnpc", *arguments]).stdout


def reaches(lab, sender, port, **options):
    """A datagram of the IPv6 internet gets to lan1 at that port."""
    return lab.udp_arrives(sender, (lab.lan1.ipv6, port), lab.lan1, port,
                           **options) is not None


def pinhole_id(output):
    found = re.search(r"Pinhole ID = (\d+)", output)
    assert found, output
    return found[1]


def test_upnpc_makes_a_pinhole(lab, daemon):
    """CL-21, V6FW-10, V6FW-11, V6FW-12: its whole life, by -A, -C, -K, -U and -D"""
    host = lab.lan1
    assert not reaches(lab, lab.inet1, 4000)
    made = upnpc(host, "-6", "-A", "::", "0", host.ipv6, "4000", "udp", "600")
    assert f"desc: {LOCATION6}" in made, "CL-21: led to an address it can call from"
    number = pinhole_id(made)

    def told(verb, *arguments):
        return upnpc(host, "-u", LOCATION6, verb, number, *arguments)
    assert "failed with code 709" in told("-C"), "V6FW-10: nothing came yet"
    assert re.search(r"PinholePackets = 0$", told("-K"), re.M)
    assert reaches(lab, lab.inet1, 4000) and reaches(lab, lab.inet2, 4000)
    assert not reaches(lab, lab.inet1, 4001), "V6FW-13"
    assert "IsWorking = Yes" in told("-C")
    assert re.search(r"PinholePackets = [1-9]", told("-K"))
    again = upnpc(host, "-u", LOCATION6, "-A", "::", "0", host.ipv6, "4000", "udp", "600")
    assert pinhole_id(again) == number, "V6FW-6"
    assert "with Lease Time: 7200" in told("-U", "7200")
    waits = upnpc(host, "-u", LOCATION6, "-G", "::", "0", host.ipv6, "4000", "17")
    assert re.search(r"Timeout = [1-9]\d*$", waits, re.M), "V6FW-15"
    assert 7190 <= daemon.leases()[0]["lifetime_s"] <= 7200
    assert "returned : 0" in told("-D")
    assert not reaches(lab, lab.inet1, 4000)
    assert "returned : 704" in told("-D") and "code 704" in told("-K"), "V6FW-8"


def test_upnpc_filters(lab, daemon):
    """V6FW-2: only that host, from that port"""
    host = lab.lan1
    pinhole_id(upnpc(host, "-u", LOCATION6, "-A", lab.inet1.ipv6, "7000", host.ipv6, "4000",
                     "udp", "600"))
    assert not reaches(lab, lab.inet1, 4000) and not reaches(lab, lab.inet2, 4000)
    with lab.inet1.udp(7000, family=socket.AF_INET6) as right, \
            lab.inet2.udp(7000, family=socket.AF_INET6) as wrong:
        assert reaches(lab, lab.inet1, 4000, source=right)
        assert not reaches(lab, lab.inet2, 4000, source=wrong)


def test_upnpc_over_ipv4(lab, daemon_factory):
    """V6FW-7: nobody knows whose IPv6 address that is, unless the owner lets cards tell"""
    host, arguments = lab.lan1, ("::", "0", lab.lan1.ipv6, "4000", "udp", "600")
    running = daemon_factory().start()
    refused = upnpc(host, "-u", LOCATION4, "-A", *arguments)
    assert "failed with code 606" in refused, refused
    assert running.leases() == []
    running.stop()
    running = daemon_factory(SAME_HOST).start()
    pinhole_id(upnpc(host, "-A", *arguments))
    assert reaches(lab, lab.inet1, 4000)
    # another host's address stays another host's
    refused = upnpc(lab.lan2, "-u", LOCATION4, "-A", *arguments)
    assert "failed with code 606" in refused, refused


def test_upnpc_of_version_2(lab, daemon):
    """IGD-25, IGD-33, IGD-35: -n, -L and -N of miniupnpc understand us"""
    host = lab.lan1
    told = upnpc(lab.lan2, "-u", TWO, "-n", "@", "4000", "5000", "udp", "600")
    assert ":5000 UDP is redirected to internal" in told, told
    told = upnpc(host, "-u", TWO, "-e", 'a "game" & more', "-n", "@", "4000", "5000", "udp",
                 "600")
    port = re.search(r"external \S+:(\d+) UDP is redirected", told)
    assert port and port[1] != "5000", told
    assert lab.udp_arrives(lab.inet1, (lab.WAN_ADDRESS, int(port[1])), host, 4000)
    listed = upnpc(host, "-u", TWO, "-L")
    assert f"{port[1]}->{host.ipv4}:4000" in listed and "5000->" not in listed, listed
    assert 'a "game" & more' in html.unescape(listed), "it leaves entities as they are"
    told = upnpc(host, "-u", TWO, "-N", "1024", "65535", "udp", "1")
    assert "returned : 0" in told, told
    assert lab.udp_arrives(lab.inet1, (lab.WAN_ADDRESS, int(port[1])), host, 4000) is None
    assert lab.udp_arrives(lab.inet1, (lab.WAN_ADDRESS, 5000), lab.lan2, 4000) is not None


def test_syncthing_over_ipv6(lab, daemon):
    """CL-10, CL-20: found on the site's group alone; a pinhole for anybody, any port"""
    client = models_apps.Syncthing(lab.lan1)
    assert client.look(*client.SEARCHES[0])
    assert client.kind == models.IGD + "2"
    number = client.add_pinhole(lab.lan1.ipv6, 22000, 17)
    assert number and client.add_pinhole(lab.lan1.ipv6, 22000, 17) == number
    client.add_pinhole(lab.lan1.ipv6, 22000)
    assert reaches(lab, lab.inet1, 22000) and reaches(lab, lab.inet2, 22000)
    target = (lab.lan1.ipv6, 22000)
    assert lab.tcp_arrives(lab.inet1, target, lab.lan1, 22000) is not None
    client.call("DeletePinhole", ("UniqueID", number), service=models.FIREWALL)
    assert not reaches(lab, lab.inet1, 22000)
    assert lab.tcp_arrives(lab.inet1, target, lab.lan1, 22000) is not None


@pytest.mark.parametrize("group", [models.GROUP6_LINK, models.GROUP6_SITE])
def test_location(lab, daemon, group):
    """CL-11, CL-21, clients.md §5.17: a literal of ours, no zone, not of the link"""
    client = models_apps.Syncthing(lab.lan1)
    for kind in (models.IGD + "1", models.IGD + "2"):
        assert client.look(group, kind)
        host = urllib.parse.urlsplit(client.location).hostname
        assert host == "fd77::1"


def test_libtorrent_over_ipv6(lab, daemon):
    """CL-18: it gives the address that it called from: 402, and nothing is looked up"""
    client = models.Libtorrent(lab.lan1).describe(LOCATION6)
    for address in (lab.lan1.ipv6, "::ffff:192.168.77.2", "fe80::1"):
        with pytest.raises(SoapError) as caught:
            client.add(6881, 6881, "TCP", "", 3600, client=address)
        assert caught.value.code == 402
    assert daemon.leases() == []
    assert client.external_address() == lab.WAN_ADDRESS


@pytest.mark.parametrize("agent", [models.Windows, models.DiscoveryService, models.Xbox])
def test_windows_finds_no_ipv6_firewall(lab, daemon, agent):
    """IGD-6: what others are served is not there for them: 404, over both families"""
    common = models_apps.GoUpnp(lab.lan1).describe(LOCATION4)
    second = models_apps.GoUpnp(lab.lan1).describe(TWO)
    hidden = [common.urls[models.FIREWALL]["SCPDURL"], TWO,
              *(urls["SCPDURL"] for urls in second.urls.values())]
    for url in hidden:
        assert igd.request(lab.lan1, url)[0] == 200
        for form in (url, url.replace("192.168.77.1", "[fd77::1]")):
            with pytest.raises(models.GaveUp, match="404"):
                agent(lab.lan1).get(form)
    over6 = agent(lab.lan1).describe(LOCATION6)
    assert models.FIREWALL not in over6.urls and len(over6.urls) == 3
    for target in (models.IGD + "2", models.WANIP + "2", models.FIREWALL):
        search = models.pack_search([
            "HOST: 239.255.255.250:1900", f"ST: {target}", 'MAN: "ssdp:discover"', "MX: 1",
            f"USER-AGENT: {agent.AGENT}"])
        assert common.ask(search, lambda x: True, within_s=0.3) is None
