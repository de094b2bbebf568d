# SPDX-License-Identifier: GPL-2.0-or-later
"""
Models of control points that people have at home: what they send, in their spelling, and
what they do with the answers, as their makers' sources and captures show it. They are
strict where the real ones are, and know nothing of the daemon but what comes by wire.
"""

import html
import random
import select
import socket
import time
import urllib.parse
import xml.etree.ElementTree

from igd import DEVICE, SERVICE, SoapError, parse_headers

GROUP4 = ("239.255.255.250", 1900)
GROUP6_SITE = ("ff05::c", 1900)
GROUP6_LINK = ("ff02::c", 1900)
SCHEMA = "urn:schemas-upnp-org:"
IGD = SCHEMA + "device:InternetGatewayDevice:"
WANIP = SCHEMA + "service:WANIPConnection:"
WANCIC = SCHEMA + "service:WANCommonInterfaceConfig:1"
FIREWALL = SCHEMA + "service:WANIPv6FirewallControl:1"
HTTP_S = 5.0
# An internet whose addresses miniupnpc and consoles take for public ones.
PUBLIC_NET = "5.9.7"


class GaveUp(Exception):
    """The client would tell its user that UPnP does not work."""


def reaches(lab, port, host, internal):
    """A datagram of the internet to that external port gets to the host."""
    return lab.udp_arrives(lab.inet1, (lab.WAN_ADDRESS, port), host, internal) is not None


def open_udp(host, family=socket.AF_INET):
    """A socket whose multicasts leave by the host's interface."""
    sock = host.udp(family=family)
    if family == socket.AF_INET6:
        with host.inside():
            index = socket.if_nametoindex(host.interface)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    return sock


def pack_search(lines, end="\r\n\r\n"):
    return ("M-SEARCH * HTTP/1.1\r\n" + "\r\n".join(lines) + end).encode()


def hear(sock, within_s, wanted):
    """Headers of the first answer that is wanted; None when none came in time."""
    end = time.monotonic() + within_s
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([sock], [], [], left)[0]:
            return None
        first, headers = parse_headers(sock.recv(4096))
        if first == "HTTP/1.1 200 OK" and wanted(headers):
            return headers


def receive_all(sock, until):
    """What comes until until(data) or the end of the connection."""
    data = b""
    while not until(data):
        part = sock.recv(65536)
        if not part:
            break
        data += part
    return data


def exchange(host, url, method, lines, body=b""):
    """
    One request with exactly these header lines, as a client without an HTTP library
    sends it, and its answer read as such a client reads it: by Content-Length and
    nothing else (CL-14). Status, headers, body.
    """
    parts = urllib.parse.urlsplit(url)
    head = "\r\n".join([f"{method} {parts.path} HTTP/1.1", *lines]) + "\r\n\r\n"
    with host.connect((parts.hostname, parts.port), HTTP_S) as sock:
        sock.sendall(head.encode() + body)
        data = receive_all(sock, lambda data: b"\r\n\r\n" in data)
        top, _, rest = data.partition(b"\r\n\r\n")
        first, *fields = top.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, value in
                   (field.split(":", 1) for field in fields)}
        assert first.startswith("HTTP/1.1 "), first
        assert "transfer-encoding" not in headers, "CL-14: chunks"
        length = int(headers["content-length"])
        rest += receive_all(sock, lambda data: len(rest) + len(data) >= length)
    assert len(rest) == length, "CL-14"
    return int(first.split()[1]), headers, rest


def local_name(tag):
    return tag.rpartition("}")[2]


class ControlPoint:
    """What all of them have in common. Sub-classes say how they differ."""

    AGENT = None
    SOAPACTION = "SOAPAction"
    SEARCH_S = 2.0

    def __init__(self, host):
        self.host = host
        self.location = None
        self.root = None
        self.urls = {}

    # How it finds the gateway

    def ask(self, packet, wanted, to=GROUP4, within_s=None):
        """Headers of the first answer that is wanted, or None."""
        family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
        with open_udp(self.host, family) as sock:
            sock.sendto(packet, to)
            return hear(sock, self.SEARCH_S if within_s is None else within_s, wanted)

    def discover(self):
        """Find the gateway and read its description; self."""
        answer = self.search()
        if answer is None:
            raise GaveUp("no gateway found")
        return self.describe(answer["location"])

    def search(self):
        raise NotImplementedError

    # How it reads

    def head(self, url, *lines):
        parts = urllib.parse.urlsplit(url)
        agent = [f"User-Agent: {self.AGENT}"] if self.AGENT else []
        return [f"Host: {parts.netloc}", *agent, *lines]

    def get(self, url):
        status, headers, body = exchange(self.host, url, "GET",
                                         self.head(url, "Connection: close"))
        if status != 200:
            raise GaveUp(f"{url}: {status}")
        assert headers["content-type"].startswith("text/xml"), "HTTP-5"
        return body

    def describe(self, location):
        self.location = location
        self.root = xml.etree.ElementTree.fromstring(self.get(location))
        assert self.root.find(DEVICE + "URLBase") is None, "CL-12"
        self.urls = {}
        for service in self.root.iter(DEVICE + "service"):
            found = {local_name(child.tag): child.text for child in service}
            assert found["controlURL"].startswith("/"), "CL-12"
            self.urls[found["serviceType"]] = {
                name: urllib.parse.urljoin(location, found[name])
                for name in ("SCPDURL", "controlURL", "eventSubURL")}
        return self

    def read_scpd(self, service):
        """{action: ([in-arguments], [out-arguments])} of a service, and its variables."""
        root = xml.etree.ElementTree.fromstring(self.get(self.urls[service]["SCPDURL"]))
        actions = {}
        for action in root.iter(SERVICE + "action"):
            arguments = [(x.findtext(SERVICE + "name"), x.findtext(SERVICE + "direction"))
                         for x in action.iter(SERVICE + "argument")]
            actions[action.findtext(SERVICE + "name")] = tuple(
                [name for name, way in arguments if way == wanted]
                for wanted in ("in", "out"))
        return actions, {x.findtext(SERVICE + "name"): x
                         for x in root.iter(SERVICE + "stateVariable")}

    # How it speaks

    def call(self, action, *arguments, service=WANIP + "1"):
        """Out-arguments of an action whose (name, value) go in this order; SoapError."""
        inner = "".join(f"<{name}>{html.escape(str(value))}</{name}>"
                        for name, value in arguments)
        body = ('<?xml version="1.0"?>\r\n<s:Envelope xmlns:s='
                '"http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle='
                '"http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
                f'<u:{action} xmlns:u="{service}">{inner}</u:{action}>'
                "</s:Body></s:Envelope>\r\n").encode()
        url = self.urls[service]["controlURL"]
        return self.post(url, f"{service}#{action}", body)

    def post(self, url, name, body):
        status, headers, data = exchange(self.host, url, "POST", self.head(
            url, 'Content-Type: text/xml; charset="utf-8"', f"Content-Length: {len(body)}",
            f'{self.SOAPACTION}: "{name}"'), body)
        assert headers["content-type"].split(";")[0].strip() in (
            "text/xml", "application/soap+xml"), "CL-13"
        answer = list(xml.etree.ElementTree.fromstring(data)[0])[0]
        if status == 500:
            # CL-30: the names as UDA spells them, letter by letter
            assert [local_name(x.tag) for x in answer] == [
                "faultcode", "faultstring", "detail"]
            found = {local_name(x.tag): x.text for x in answer.iter()}
            raise SoapError(int(found["errorCode"]), found["errorDescription"])
        assert status == 200, data
        return {child.tag: child.text or "" for child in answer}

    def add(self, external, internal, protocol, text, lease, **options):
        """AddPortMapping in the order of the service's document."""
        service = options.get("service", WANIP + "1")
        return self.call(
            options.get("action", "AddPortMapping"),
            ("NewRemoteHost", ""), ("NewExternalPort", external),
            ("NewProtocol", protocol), ("NewInternalPort", internal),
            ("NewInternalClient", options.get("client", self.host.ipv4)),
            ("NewEnabled", 1), ("NewPortMappingDescription", text),
            ("NewLeaseDuration", lease), service=service)

    def find(self, external, protocol):
        """The entry of a port, or None: the gateway says 714 (CL-27)."""
        try:
            return self.call("GetSpecificPortMappingEntry", ("NewRemoteHost", ""),
                             ("NewExternalPort", external), ("NewProtocol", protocol))
        except SoapError as error:
            if error.code != 714:
                raise GaveUp(f"GetSpecificPortMappingEntry: {error}") from None
            return None

    def delete(self, external, protocol):
        """714 is as good (CL-28)."""
        try:
            self.call("DeletePortMapping", ("NewRemoteHost", ""),
                      ("NewExternalPort", external), ("NewProtocol", protocol))
        except SoapError as error:
            if error.code != 714:
                raise

    def external_address(self):
        return self.call("GetExternalIPAddress")["NewExternalIPAddress"]


def is_public(address):
    """What consoles and miniupnpc take for an address of the internet."""
    octets = [int(x) for x in address.split(".")]
    private = (octets[0] in (0, 10, 127) or octets[0] >= 224 or octets[:2] in (
        [192, 168], [169, 254]) or octets[0] == 172 and 16 <= octets[1] <= 31
        or octets[0] == 100 and 64 <= octets[1] <= 127)
    reserved = octets[:3] in ([192, 0, 2], [198, 51, 100], [203, 0, 113])
    return not private and not reserved


class Xbox(ControlPoint):
    """
    The sequence of miniupnp #519: description, external address, GetSpecific, Add of
    3074/UDP for ever. A second console is told 718 and asks for another port.
    """

    AGENT = "Xbox/2.0.17559.0 UPnP/1.0 Xbox/2.0.17559.0"
    PORT = 3074

    def search(self):
        return self.ask(pack_search([
            "HOST: 239.255.255.250:1900", f"ST: {IGD}1", 'MAN: "ssdp:discover"', "MX: 3",
            f"USER-AGENT: {self.AGENT}"]), lambda x: x["st"] == IGD + "1")

    def text(self, external):
        return f"Teredo {self.host.ipv4}:{self.PORT}->{external} UDP"

    def open_port(self):
        """The external port of its Teredo; GaveUp is its red line."""
        if not is_public(self.external_address()):
            raise GaveUp("double NAT detected")
        for port in (self.PORT, *random.sample(range(49160, 65000), 4)):
            held = self.find(port, "UDP")
            if held and held["NewInternalClient"] != self.host.ipv4:
                continue
            try:
                self.add(port, self.PORT, "UDP", self.text(port), 0)
            except SoapError as error:
                if error.code != 718:
                    raise GaveUp(str(error)) from None
                continue
            return port
        raise GaveUp("no port")


class Windows(ControlPoint):
    """Windows 7 to 11: its SSDP service finds, its UPnP host reads and calls everything."""

    AGENT = "Microsoft-Windows/10.0 UPnP/1.0"

    def search(self):
        return self.ask(pack_search([
            "Host:239.255.255.250:1900", f"ST:{IGD}1", 'Man:"ssdp:discover"', "MX:3"]),
            lambda x: x["st"] == IGD + "1")

    def query(self, variable, service=WANIP + "1"):
        """QueryStateVariable, as Windows XP asks for ConnectionStatus (SOAP-9)."""
        control = SCHEMA + "control-1-0"
        body = ('<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
                f'<u:QueryStateVariable xmlns:u="{control}"><u:varName>{variable}'
                "</u:varName></u:QueryStateVariable></s:Body></s:Envelope>").encode()
        return self.post(self.urls[service]["controlURL"],
                         f"{control}#QueryStateVariable", body)["return"]


class DiscoveryService(Windows):
    """FDSSDP, the part of Windows that fills the network folder."""

    AGENT = "FDSSDP"


class PlayStation(ControlPoint):
    """
    PS3 to PS5: upnp:rootdevice, leases for ever. Game ports move on 718, 9308 does not
    (miniupnp #529).
    """

    AGENT = "UPnP/1.0"
    PORTS = (3074, 3658)
    CONSOLE_PORT = 9308

    def search(self):
        return self.ask(pack_search([
            "HOST:239.255.255.250:1900", "ST:upnp:rootdevice", "MX:5",
            'MAN:"ssdp:discover"']), lambda x: x["st"] == "upnp:rootdevice")

    def open_port(self, internal):
        for external in (internal, *range(internal + 1, internal + 5)):
            try:
                self.add(external, internal, "UDP", f"{self.host.ipv4}:{internal} to "
                         f"{external} (UDP)", 0)
                return external
            except SoapError as error:
                if error.code != 718 or internal == self.CONSOLE_PORT:
                    raise GaveUp(str(error)) from None
        raise GaveUp("no port")


class Libtorrent(ControlPoint):
    """upnp.cpp of libtorrent: own spelling of everything, and a reaction to each error."""

    AGENT = "libtorrent/2.0"
    SOAPACTION = "Soapaction"
    TRIES = 4
    LEASE_S = 3600

    def search(self):
        """No blank after the colon, one more line end (CL-16)."""
        return self.ask(pack_search([
            "HOST: 239.255.255.250:1900", "ST:upnp:rootdevice", 'MAN:"ssdp:discover"',
            "MX:3"], "\r\n\r\n\r\n"), lambda x: "location" in x)

    def discover(self):
        super().discover()
        host = urllib.parse.urlsplit(self.location).hostname
        # CL-11: it takes an address literal only, and no link-local one
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.inet_pton(family, host)
        assert not host.startswith(("127.", "169.254.", "fe80"))
        return self

    def map(self, port, protocol, text=""):
        """(external port, lease) granted; GaveUp where libtorrent stops trying."""
        external, lease = port, self.LEASE_S
        for _ in range(self.TRIES):
            try:
                self.add(external, port, protocol, text, lease)
                return external, lease
            except SoapError as error:
                if error.code == 725:
                    lease = 0
                elif error.code in (718, 501):
                    external = random.randrange(40000, 50000)
                else:
                    raise GaveUp(str(error)) from None
        raise GaveUp(f"{self.TRIES} tries")


class MicroTorrent(ControlPoint):
    """uTorrent and other old ones: for ever, and the same port four times (RFC 6970)."""

    TRIES = 4

    def search(self):
        return self.ask(pack_search([
            "Host:239.255.255.250:1900", f"ST:{IGD}1", 'Man:"ssdp:discover"', "MX:3"]),
            lambda x: x["st"] == IGD + "1")

    def map(self, port, protocol):
        """Codes it was answered before it had its port; GaveUp after the last try."""
        codes = []
        for _ in range(self.TRIES):
            try:
                self.add(port, port, protocol, f"uTorrent ({protocol})", 0)
                return codes
            except SoapError as error:
                codes.append(error.code)
        raise GaveUp(str(codes))


class MiniUpnpc(ControlPoint):
    """UPNP_GetValidIGD() of miniupnpc, on which Transmission and many games build."""

    AGENT = "Debian/12 UPnP/1.1 MiniUPnPc/2.2.4"
    CONNECTED, NOT_CONNECTED, NOT_IGD = 1, 2, 3
    SEARCHES = (IGD + "1", WANIP + "1", SCHEMA + "service:WANPPPConnection:1",
                "upnp:rootdevice")

    def search(self):
        """One type after the other, until something is heard."""
        for target in self.SEARCHES:
            found = self.ask(pack_search([
                "HOST: 239.255.255.250:1900", f"ST: {target}", 'MAN: "ssdp:discover"',
                "MX: 2"]), lambda x, target=target: x["st"] == target)
            if found:
                return found
        return None

    def state(self):
        """As GetValidIGD returns it: 1 is the only one that Transmission takes (CL-19)."""
        if WANCIC not in self.urls or WANIP + "1" not in self.urls:
            return self.NOT_IGD
        status = self.call("GetStatusInfo")["NewConnectionStatus"]
        if status not in ("Connected", "Up"):
            return self.NOT_CONNECTED
        return self.CONNECTED if is_public(self.external_address()) else self.NOT_CONNECTED


class Transmission(MiniUpnpc):
    """port-forwarding-upnp.cc: state 1 only; what is not listed is added again."""

    def pulse(self, port, protocol):
        """Its periodic look: whether the port was mapped anew."""
        if self.state() != self.CONNECTED:
            raise GaveUp("no valid IGD")
        if self.find(port, protocol):
            return False
        self.add(port, port, protocol, f"Transmission at {port}", 0)
        return True
