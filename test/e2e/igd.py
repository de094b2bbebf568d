# SPDX-License-Identifier: GPL-2.0-or-later
"""A UPnP control point written from the specifications, to hold the device against."""

import contextlib
import html
import http.client
import re
import select
import socket
import time
import urllib.parse
import xml.etree.ElementTree

GROUP = ("239.255.255.250", 1900)
GROUP6_LINK = ("ff02::c", 1900)
GROUP6_SITE = ("ff05::c", 1900)
IGD1 = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
WANIP1 = "urn:schemas-upnp-org:service:WANIPConnection:1"
WANCIC1 = "urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1"
L3F1 = "urn:schemas-upnp-org:service:Layer3Forwarding:1"
V6FC1 = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1"
IGD2 = "urn:schemas-upnp-org:device:InternetGatewayDevice:2"
WANIP2 = "urn:schemas-upnp-org:service:WANIPConnection:2"
DEVICE = "{urn:schemas-upnp-org:device-1-0}"
SERVICE = "{urn:schemas-upnp-org:service-1-0}"
ENVELOPE = "{http://schemas.xmlsoap.org/soap/envelope/}"
CONTROL = "{urn:schemas-upnp-org:control-1-0}"
REPLY_S = 5.0


class SoapError(Exception):
    """A UPnPError answer."""

    def __init__(self, code, text):
        super().__init__(f"{code} {text}")
        self.code = code


def pack_search(target, mx=1, man='"ssdp:discover"', agent=None):
    lines = ["M-SEARCH * HTTP/1.1", "HOST: 239.255.255.250:1900", f"ST: {target}"]
    if man:
        lines.append(f"MAN: {man}")
    if mx is not None:
        lines.append(f"MX: {mx}")
    if agent:
        lines.append(f"USER-AGENT: {agent}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def parse_headers(data):
    """First line and headers (names in lower case) of an SSDP message."""
    text = data.decode()
    assert text.endswith("\r\n\r\n"), data
    first, *lines = text[:-4].split("\r\n")
    headers = dict(line.split(":", 1) for line in lines)
    return first, {name.lower(): value.strip() for name, value in headers.items()}


def open_searcher(host, to, source=None):
    """A UDP socket of this host for searches to that address, from one of its own."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    sock, scope = host.open_socket(family), ()
    if family == socket.AF_INET6:
        with host.inside():
            index = socket.if_nametoindex(host.interface)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        scope = (0, index)
    sock.bind((source or host.address(family), 0, *scope))
    return sock


def search(host, target, to=GROUP, quiet_s=0.4, source=None, **options):
    """
    Answers to a search, as headers with the source and delay_s added. Listening ends when
    nothing more came for quiet_s, so it costs that long.
    """
    with open_searcher(host, to[0], source) as sock:
        sock.sendto(pack_search(target, **options), to)
        began, answers = time.monotonic(), []
        while select.select([sock], [], [], quiet_s)[0]:
            data, sender = sock.recvfrom(4096)
            first, headers = parse_headers(data)
            assert first == "HTTP/1.1 200 OK", data
            answers.append(dict(headers, source=sender[:2], size=len(data),
                                delay_s=time.monotonic() - began))
        return answers


class Connection(http.client.HTTPConnection):
    """HTTP from one host of the laboratory."""

    def __init__(self, lab_host, address):
        super().__init__(*address, timeout=REPLY_S)
        self.lab_host = lab_host

    def connect(self):
        self.sock = self.lab_host.connect((self.host, self.port), REPLY_S)


def request(host, url, method="GET", body=None, headers=None):
    """Status, headers and body of an answer."""
    parts = urllib.parse.urlsplit(url)
    with contextlib.closing(Connection(host, (parts.hostname, parts.port))) as connection:
        connection.request(method, parts.path,
                           body.encode() if isinstance(body, str) else body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


class Gateway:
    """The device as one host of the laboratory sees it."""

    def __init__(self, host, location=None):
        self.host = host
        self.location = location or search(host, IGD1)[0]["location"]
        status, _, self.description = request(host, self.location)
        assert status == 200
        self.root = xml.etree.ElementTree.fromstring(self.description)

    def services(self):
        """{service type: {SCPDURL: ..., controlURL: ..., eventSubURL: ...}}, absolute."""
        found = {}
        for service in self.root.iter(DEVICE + "service"):
            urls = {child.tag.removeprefix(DEVICE): child.text for child in service}
            for name in ("SCPDURL", "controlURL", "eventSubURL"):
                urls[name] = urllib.parse.urljoin(self.location, urls[name])
            found[urls["serviceType"]] = urls
        return found

    def post(self, action, body, service=WANIP1, headers=None):
        """A SOAP request with any body; status, headers, body."""
        sent = {"Content-Type": 'text/xml; charset="utf-8"',
                "SOAPAction": f'"{service}#{action}"'}
        sent.update(headers or {})
        return request(self.host, self.services()[service]["controlURL"], "POST", body,
                       {k: v for k, v in sent.items() if v is not None})

    def call(self, action, service=WANIP1, **arguments):
        """Out-arguments of an action, in their order; SoapError."""
        inner = "".join(f"<{name}>{html.escape(str(value))}</{name}>"
                        for name, value in arguments.items())
        body = ('<?xml version="1.0"?><s:Envelope '
                'xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
                's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
                f'<u:{action} xmlns:u="{service}">{inner}</u:{action}>'
                '</s:Body></s:Envelope>')
        status, headers, data = self.post(action, body, service)
        assert headers.get("Content-Length") == str(len(data)), "HTTP-1"
        assert re.match(r"text/xml", headers["Content-Type"]), "CL-13"
        answer = xml.etree.ElementTree.fromstring(data).find(ENVELOPE + "Body")[0]
        if status == 500:
            error = next(answer.iter(CONTROL + "UPnPError"))
            raise SoapError(int(error.findtext(CONTROL + "errorCode")),
                            error.findtext(CONTROL + "errorDescription"))
        assert status == 200, data
        assert answer.tag == f"{{{service}}}{action}Response", data
        return {child.tag: child.text or "" for child in answer}

    def add(self, external, internal, protocol="UDP", **options):
        """AddPortMapping; options are its arguments without New."""
        values = {"RemoteHost": "", "ExternalPort": external, "Protocol": protocol,
                  "InternalPort": internal, "InternalClient": self.host.ipv4,
                  "Enabled": 1, "PortMappingDescription": "test", "LeaseDuration": 3600}
        values.update(options)
        return self.call("AddPortMapping", **{"New" + k: v for k, v in values.items()
                                              if v is not None})

    def get(self, external, protocol="UDP", remote=""):
        return self.call("GetSpecificPortMappingEntry", NewRemoteHost=remote,
                         NewExternalPort=external, NewProtocol=protocol)

    def delete(self, external, protocol="UDP", remote=""):
        return self.call("DeletePortMapping", NewRemoteHost=remote,
                         NewExternalPort=external, NewProtocol=protocol)

    def entries(self):
        """GetGenericPortMappingEntry from 0 until 713."""
        found = []
        while True:
            try:
                found.append(self.call("GetGenericPortMappingEntry",
                                       NewPortMappingIndex=len(found)))
            except SoapError as error:
                assert error.code == 713, error
                return found
