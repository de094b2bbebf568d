# SPDX-License-Identifier: GPL-2.0-or-later
"""A subscriber to events written from UDA 1.1 §4, to hold the publisher against."""

import collections
import contextlib
import re
import select
import socket
import time
import xml.etree.ElementTree

import igd
from lab import PATIENCE_S

EVENT = "{urn:schemas-upnp-org:event-1-0}"
OK = "200 OK"

# values: {variable: value}; at: time.time() when it had come
Event = collections.namedtuple("Event", "seq sid values path host at source")


def parse_event(data, at, source):
    """An Event out of a whole NOTIFY; what the specification asks for is checked."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    method, path, version = first.split(" ")
    assert (method, version) == ("NOTIFY", "HTTP/1.1")
    headers = {name.lower(): value.strip()
               for name, value in (line.split(":", 1) for line in lines)}
    assert len(headers) == len(lines), "a header came twice"
    assert headers["content-type"] == 'text/xml; charset="utf-8"'
    assert (headers["nt"], headers["nts"]) == ("upnp:event", "upnp:propchange")
    assert int(headers["content-length"]) == len(body)
    assert re.fullmatch(r"uuid:[0-9a-f-]{36}", headers["sid"])
    root = xml.etree.ElementTree.fromstring(body)
    assert root.tag == EVENT + "propertyset"
    assert all(child.tag == EVENT + "property" and len(child) == 1 for child in root)
    values = [(child[0].tag, child[0].text or "") for child in root]
    assert len(dict(values)) == len(values) > 0, values
    return Event(int(headers["seq"]), headers["sid"], dict(values), path, headers["host"],
                 at, source)


def read_event(connection, source):
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(connection)
    length = int(re.search(rb"(?im)^content-length:\s*(\d+)\s*$", data)[1])
    while len(data.partition(b"\r\n\r\n")[2]) < length:
        data += receive(connection)
    return parse_event(data, time.time(), source)


def receive(connection):
    piece = connection.recv(65536)
    assert piece, "the publisher hung up"
    return piece


class Sink:
    """A callback of one host, which takes events one by one, when it is asked to."""

    def __init__(self, host, family=socket.AF_INET, address=None):
        self.host = host
        self.address = address or host.address(family)
        self.server = host.listen(0, family, address)
        self.port = self.server.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.close()

    def url(self, path="/event"):
        name = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{name}:{self.port}{path}"

    @contextlib.contextmanager
    def hold(self, status=OK, timeout=PATIENCE_S):
        """The next event; it is answered at the end of the block. None: not at all."""
        self.server.settimeout(timeout)
        connection, source = self.server.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            yield read_event(connection, source)
            if status:
                connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    def take(self, status=OK, timeout=PATIENCE_S):
        with self.hold(status, timeout) as event:
            return event

    def take_until(self, wanted, what="an event"):
        """Take events until wanted(values of all so far); these values."""
        values, end = {}, time.monotonic() + PATIENCE_S
        while not wanted(values):
            left = end - time.monotonic()
            assert left > 0, f"no {what} came: {values}"
            values.update(self.take(timeout=left).values)
        return values

    def is_quiet(self):
        """Nobody has connected whom no take() has met."""
        return not select.select([self.server], [], [], 0)[0]


def ask(host, method, url, **headers):
    """Status and headers of the answer; options are headers."""
    status, answer, body = igd.request(host, url, method, headers=headers)
    assert body == b""
    return status, answer


def subscribe(host, url, *callbacks, **headers):
    """The SID."""
    callback = "".join(f"<{callback}>" for callback in callbacks)
    status, answer = ask(host, "SUBSCRIBE", url, CALLBACK=callback, NT="upnp:event",
                         **headers)
    assert status == 200, status
    assert int(re.fullmatch(r"Second-(\d+)", answer["TIMEOUT"])[1]) >= 1800
    assert answer["Content-Length"] == "0" and answer["Server"] and answer["Date"]
    return answer["SID"]


def subscribe_from(host, source, gateway, path, callback):
    """What is answered to one IPv6 address of the host; both are (address, index)."""
    with host.open_socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.bind((source[0], 0, 0, source[1]))
        sock.connect((gateway[0], 49152, 0, gateway[1]))
        sock.sendall((f"SUBSCRIBE {path} HTTP/1.1\r\nHost: [{gateway[0]}]:49152\r\n"
                      f"CALLBACK: <{callback}>\r\nNT: upnp:event\r\n\r\n").encode())
        answer = b""
        while piece := sock.recv(4096):
            answer += piece
    return answer


def subscribe_link_local(host, gateway, path, sink):
    """The same from one link-local address to another, which has no URL."""
    with host.inside():
        index = socket.if_nametoindex(host.interface)
    answer = subscribe_from(host, (sink.address, index), (gateway, index), path, sink.url())
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return re.search(rb"(?im)^SID: (\S+)", answer)[1].decode()
