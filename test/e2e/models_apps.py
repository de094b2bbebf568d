# SPDX-License-Identifier: GPL-2.0-or-later
"""Models of the control points in programs: synchronisers, VPNs, home automation."""

import concurrent.futures
import os
import select
import socket
import struct
import time
import urllib.parse

import models
from igd import SERVICE, SoapError, parse_headers
from models import (FIREWALL, GROUP4, GROUP6_SITE, IGD, SCHEMA, WANIP, ControlPoint,
                    GaveUp, open_udp, pack_search)

UI4_MAX = 2 ** 32 - 1


class GoUpnp(ControlPoint):
    """huin/goupnp, in Tailscale, go-ethereum and libp2p: one type, letter by letter."""

    AGENT = "Go-http-client/1.1"
    TARGET = WANIP + "1"

    def search(self):
        """An answer with any other ST is passed over (CL-10)."""
        return self.ask(pack_search([
            "HOST: 239.255.255.250:1900", "MX: 2", 'MAN: "ssdp:discover"',
            f"ST: {self.TARGET}"]),
            lambda x: x["st"] == self.TARGET and x["usn"].endswith("::" + self.TARGET))

    def discover(self):
        super().discover()
        if self.TARGET.startswith(SCHEMA + "service:") and self.TARGET not in self.urls:
            raise GaveUp("the service it was told of is not in the description")
        return self


class GoUpnp2(GoUpnp):
    TARGET = WANIP + "2"


class Syncthing(ControlPoint):
    """lib/upnp of syncthing: IPv6 of the site first, then IPv4, by version."""

    AGENT = "syncthing/1.27"
    LEASE_S = 3600
    SEARCHES = ((GROUP6_SITE, IGD + "2"), (GROUP4, IGD + "2"), (GROUP4, IGD + "1"))

    def __init__(self, host):
        super().__init__(host)
        self.kind = None

    def look(self, group, kind):
        """Whether a gateway of that kind answers there; it is read then."""
        name = f"[{group[0]}]" if ":" in group[0] else group[0]
        answer = self.ask(pack_search([
            f"HOST: {name}:{group[1]}", f"ST: {kind}", 'MAN: "ssdp:discover"', "MX: 3",
            f"USER-AGENT: {self.AGENT}"]), lambda x: x["st"] == kind, to=group)
        if answer is None:
            return False
        assert answer["usn"] == answer["usn"].partition("::")[0] + "::" + kind
        self.describe(answer["location"])
        self.kind = kind
        self.check_tree()
        return True

    def check_tree(self):
        """It walks down exactly the types of its version (IGD-3)."""
        version = self.kind[-1]
        for kind in ("WANDevice:", "WANConnectionDevice:"):
            wanted = f"{SCHEMA}device:{kind}{version}"
            if not any(x.text == wanted for x in self.root.iter()):
                raise GaveUp(f"{self.kind} without {wanted}")

    def add_pinhole(self, address, port, protocol=6):
        """Arguments in its own order, any remote host as ::/0 from our port (CL-20)."""
        answer = self.call(
            "AddPinhole", ("RemoteHost", "::/0"), ("RemotePort", port),
            ("Protocol", protocol), ("InternalPort", port), ("InternalClient", address),
            ("LeaseTime", self.LEASE_S), service=FIREWALL)
        return int(answer["UniqueID"])

    def add_mapping(self, port, protocol="TCP"):
        """725 makes it ask for ever."""
        service = WANIP + self.kind[-1]
        try:
            self.add(port, port, protocol, "syncthing-22000", self.LEASE_S,
                     service=service)
            return self.LEASE_S
        except SoapError as error:
            if error.code != 725:
                raise GaveUp(str(error)) from None
        self.add(port, port, protocol, "syncthing-22000", 0, service=service)
        return 0


class Tailscale(ControlPoint):
    """net/portmapper: asks by all protocols at once and waits a quarter of a second."""

    AGENT = "Go-http-client/1.1"
    PROBE_S = 0.25
    LEASE_S = 7200

    def __init__(self, host):
        super().__init__(host)
        self.gateway = host.ipv4.rpartition(".")[0] + ".1"
        self.seen = {}
        self.port = 0

    def probe(self):
        """{"pcp": result, "pmp": address, "upnp": LOCATION} of what answered in time."""
        self.seen = {}
        with open_udp(self.host) as sock:
            own = socket.inet_aton(self.host.ipv4)
            pcp = struct.pack("!BBHI", 2, 0, 0, 0) + bytes(10) + b"\xff\xff" + own
            sock.sendto(bytes([0, 0]), (self.gateway, 5351))
            sock.sendto(pcp, (self.gateway, 5351))
            for to in ((self.gateway, 1900), GROUP4):
                for target in ("ssdp:all", IGD + "1"):
                    sock.sendto(pack_search([
                        "HOST: 239.255.255.250:1900", f"ST: {target}",
                        'MAN: "ssdp:discover"', "MX: 2"]), to)
            end = time.monotonic() + self.PROBE_S
            while len(self.seen) < 3:
                left = end - time.monotonic()
                if left <= 0 or not select.select([sock], [], [], left)[0]:
                    break
                self.take(*sock.recvfrom(4096))
        return self.seen

    def take(self, data, source):
        assert source[0] == self.gateway
        if source[1] == 5351:
            if data[0] == 2 and data[1] == 0x80:
                self.seen["pcp"] = data[3]
            elif data[0] == 0 and data[1] == 0x80 and len(data) >= 12:
                self.seen["pmp"] = socket.inet_ntoa(data[8:12])
            return
        assert source[1] == 1900, "SSDP-3"
        _, headers = parse_headers(data)
        # of ssdp:all it looks at the first answer alone (CL-9)
        if "upnp" not in self.seen:
            assert "InternetGatewayDevice" in headers["st"], "CL-9"
            url = urllib.parse.urlsplit(headers["location"])
            assert url.hostname == self.gateway, "CL-11: it would ask its gateway instead"
            self.seen["upnp"] = headers["location"]

    def discover(self):
        if "upnp" not in self.probe():
            raise GaveUp(f"heard of {sorted(self.seen)} in {self.PROBE_S} s")
        return self.describe(self.seen["upnp"])

    def map(self, internal):
        """
        Its port, the one it has if there is one. Version 2 may give another; at version
        1 it draws lots. 725 and 402 make it ask for ever (CL-29).
        """
        any_port = WANIP + "2" in self.urls
        for lease in (self.LEASE_S, 0):
            try:
                if any_port:
                    self.port = int(self.add(
                        self.port or internal, internal, "UDP", "tailscale-portmap", lease,
                        service=WANIP + "2", action="AddAnyPortMapping")["NewReservedPort"])
                else:
                    self.port = self.port or 1024 + os.getpid() % 60000
                    self.add(self.port, internal, "UDP", "tailscale-portmap", lease)
                return lease
            except SoapError as error:
                if error.code not in (402, 725):
                    raise GaveUp(str(error)) from None
        raise GaveUp("neither with a lease nor without")


class HomeAssistant(ControlPoint):
    """async_upnp_client: all documents, then all statistics at once, again and again."""

    AGENT = "unix/5.1 UPnP/2.0 home-assistant.io"
    TYPES = {"ui2": 65535, "ui4": UI4_MAX}
    TASKS = 16

    def __init__(self, host, version=1):
        super().__init__(host)
        self.version = version
        self.statistics = {}

    def search(self):
        kind = f"{IGD}{self.version}"
        return self.ask(pack_search([
            "HOST:239.255.255.250:1900", 'MAN:"ssdp:discover"', "MX:4", f"ST:{kind}"]),
            lambda x: x["st"] == kind)

    def read_all(self):
        """Every SCPD parsed to its last tag; {(service, action): out-arguments}."""
        for service in self.urls:
            actions, variables = self.read_scpd(service)
            related = {(action, name): variable for action, name, variable in
                       self.relate(service)}
            for action, (arguments, out) in actions.items():
                if not arguments and out:
                    self.statistics[service, action] = {
                        name: variables[related[action, name]].findtext(
                            SERVICE + "dataType") for name in out}
        return self

    def relate(self, service):
        """(action, argument, its state variable), which must be there (CL-23)."""
        root = models.xml.etree.ElementTree.fromstring(
            self.get(self.urls[service]["SCPDURL"]))
        for action in root.iter(SERVICE + "action"):
            for argument in action.iter(SERVICE + "argument"):
                yield (action.findtext(SERVICE + "name"),
                       argument.findtext(SERVICE + "name"),
                       argument.findtext(SERVICE + "relatedStateVariable"))

    def read(self, key):
        """One sensor: its values are of the types that its document says (CL-22)."""
        service, action = key
        answer = self.call(action, service=service)
        assert list(answer) == list(self.statistics[key]), "SOAP-5: order"
        for name, kind in self.statistics[key].items():
            if kind in self.TYPES:
                assert 0 <= int(answer[name]) <= self.TYPES[kind], (name, answer[name])
            elif kind == "boolean":
                assert answer[name] in ("0", "1")
        return answer

    def poll(self):
        """One round of all its sensors at once; {out-argument: value}."""
        found = {}
        with concurrent.futures.ThreadPoolExecutor(self.TASKS) as pool:
            documents = [pool.submit(self.get, url) for url in (
                self.location, *(urls["SCPDURL"] for urls in self.urls.values()))]
            for answer in pool.map(self.read, self.statistics):
                found.update(answer)
            assert all(document.result() for document in documents)
        return found
