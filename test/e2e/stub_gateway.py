# SPDX-License-Identifier: GPL-2.0-or-later
"""
A gateway made of a few lines, which answers NAT-PMP, PCP and UPnP as it should until a
test replaces one of its answers by a wrong one.
"""

import contextlib
import http.client
import re
import select
import socket
import socketserver
import struct
import threading
import time

import igd
import natpmp
import pcp
from http.server import BaseHTTPRequestHandler

LAN_ADDRESS = "192.168.77.1"
HTTP_PORT = 5000
EXTERNAL = "198.51.100.7"
SID = "uuid:9e8c1a3e-0000-4000-8000-00000000cafe"

DESCRIPTION = """<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major>
<minor>0</minor></specVersion><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<friendlyName>stub</friendlyName><manufacturer>x</manufacturer><modelName>y</modelName>
<UDN>uuid:00000000-0000-4000-8000-000000000001</UDN><serviceList><service>
<serviceType>{service}</serviceType>
<serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId><SCPDURL>/scpd</SCPDURL>
<controlURL>{control}</controlURL><eventSubURL>{event}</eventSubURL>
</service></serviceList></device></root>"""

ENVELOPE = ('<?xml version="1.0"?><s:Envelope xmlns:s='
            '"http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle='
            '"http://schemas.xmlsoap.org/soap/encoding/"><s:Body>{}</s:Body></s:Envelope>')

FAULT = ('<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring>'
         '<detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{}'
         '</errorCode><errorDescription>x</errorDescription></UPnPError></detail>'
         '</s:Fault>')

EVENT = ('<?xml version="1.0"?><e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0">'
         '<e:property><ExternalIPAddress>{}</ExternalIPAddress></e:property>'
         '</e:propertyset>')


class Hang(Exception):
    """Raised by an answer that never comes."""


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the stub's method of that name."""

    protocol_version = "HTTP/1.1"

    def handle_any(self):
        stub = self.server.stub
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        try:
            answer = getattr(stub, "http_" + self.command.lower())(
                self.path, self.headers, body)
        except Hang:
            stub.closed.wait()
            return
        if isinstance(answer, bytes):  # raw
            self.wfile.write(answer)
            self.close_connection = True
            return
        status, headers, text = answer
        self.send_response(status)
        for name, value in {"Content-Type": 'text/xml; charset="utf-8"',
                            "Content-Length": str(len(text)), "Connection": "close",
                            **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_SUBSCRIBE = do_UNSUBSCRIBE = handle_any

    def log_message(self, *_):
        """Nobody reads it."""


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_):
        """A client that went away is no news."""


class StubGateway:
    """Serves from `with` to its end. Replace any method named answer_ or http_."""

    def __init__(self, host, **answers):
        self.host = host
        self.address = LAN_ADDRESS
        self.location = f"http://{self.address}:{HTTP_PORT}/root.xml"
        self.urls = {"service": igd.WANIP1, "control": "/ctl", "event": "/evt"}
        self.external = EXTERNAL
        self.began = time.monotonic()
        self.mappings = {}
        self.actions = []  # names, in the order they came
        self.datagrams = []
        self.closed = threading.Event()
        self.sockets = []
        for name, answer in answers.items():
            assert hasattr(self, name), name
            setattr(self, name, answer)

    def __enter__(self):
        port = self.host.udp(natpmp.PORT, self.address)
        search = self.host.udp(1900, "239.255.255.250")
        search.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                          socket.inet_aton("239.255.255.250")
                          + socket.inet_aton(self.address))
        self.sockets = [port, search]
        threading.Thread(target=self.serve, args=(port, self.answer_5351),
                         daemon=True).start()
        threading.Thread(target=self.serve, args=(search, self.answer_search),
                         daemon=True).start()
        self.server = Server(None, Handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = self.host.listen(HTTP_PORT, address=self.address)
        self.server.socket.settimeout(None)
        self.server.stub = self
        threading.Thread(target=self.server.serve_forever, args=(0.05,),
                         daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()
        for sock in self.sockets:
            sock.close()

    def serve(self, sock, answer):
        while not self.closed.is_set():
            with contextlib.suppress(OSError, ValueError):
                if not select.select([sock], [], [], 0.05)[0]:
                    continue
                data, source = sock.recvfrom(2048)
                self.datagrams.append(data)
                for reply in answer(data) or ():
                    sock.sendto(reply, source)

    def epoch(self):
        return int(time.monotonic() - self.began) + 100

    # NAT-PMP and PCP: lists of datagrams

    def answer_5351(self, data):
        return self.answer_natpmp(data) if data[0] == 0 else self.answer_pcp(data)

    def answer_natpmp(self, data):
        head = struct.pack("!BBHI", 0, data[1] | 0x80, 0, self.epoch())
        if data[1] == 0:
            return [head + socket.inet_aton(self.external)]
        internal, external, lifetime = struct.unpack("!HHI", data[4:12])
        return [head + struct.pack("!HHI", internal, external, lifetime)]

    def answer_pcp(self, data):
        if data[0] != 2:
            return [bytes([2, data[1] | 0x80, 0, 1]) + bytes(20)]
        head = struct.pack("!BBBBII12x", 2, data[1] | 0x80, 0, 0,
                           struct.unpack("!I", data[4:8])[0], self.epoch())
        return [head + data[24:44] + pcp.pack_address(self.external)
                if data[1] == pcp.MAP else head]

    def refuse(self, data, code):
        """The same, but every mapping is refused with a code of both protocols."""
        if data[0] == 0 and data[1] != 0:
            return [struct.pack("!BBHI", 0, data[1] | 0x80, code, self.epoch())
                    + data[4:8] + bytes(4)]
        if data[0] == 2 and data[1] == pcp.MAP:
            return [bytes([2, data[1] | 0x80, 0, code]) + data[4:8]
                    + struct.pack("!I12x", self.epoch()) + data[24:]]
        return StubGateway.answer_5351(self, data)

    # UPnP

    def answer_search(self, data):
        found = re.search(r"(?im)^ST:\s*(\S*GatewayDevice:1)\r", data.decode())
        if not data.startswith(b"M-SEARCH") or not found:
            return []
        target = found.group(1)
        return [f"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\n"
                f"LOCATION: {self.location}\r\nSERVER: x/1 UPnP/1.0 y/1\r\nST: {target}\r\n"
                f"USN: uuid:00000000-0000-4000-8000-000000000001::{target}\r\n\r\n".encode()]

    def http_get(self, path, headers, body):
        return 200, {}, DESCRIPTION.format(**self.urls)

    def http_post(self, path, headers, body):
        action = headers["SOAPACTION"].strip('"').rpartition("#")[2]
        arguments = dict(re.findall(r"<(New\w+)>([^<]*)</", body))
        self.actions.append(action)
        out = self.act(action, arguments)
        if isinstance(out, int):
            return 500, {}, ENVELOPE.format(FAULT.format(out))
        values = "".join(f"<{name}>{value}</{name}>" for name, value in out.items())
        return 200, {"EXT": ""}, ENVELOPE.format(
            f'<u:{action}Response xmlns:u="{igd.WANIP1}">{values}</u:{action}Response>')

    def act(self, action, arguments):
        """Values of an action, or the code of its fault."""
        port = arguments.get("NewExternalPort")
        if action == "GetExternalIPAddress":
            return {"NewExternalIPAddress": self.external}
        if action == "GetStatusInfo":
            return {"NewConnectionStatus": "Connected",
                    "NewLastConnectionError": "ERROR_NONE", "NewUptime": "5"}
        if action == "AddPortMapping":
            self.mappings[port] = {name: arguments[name] for name in (
                "NewInternalPort", "NewInternalClient", "NewEnabled",
                "NewPortMappingDescription", "NewLeaseDuration")}
            return {}
        if action == "GetSpecificPortMappingEntry":
            return self.mappings.get(port, 714)
        if action == "DeletePortMapping":
            return {} if self.mappings.pop(port, None) else 714
        return 401

    def http_subscribe(self, path, headers, body):
        callback = headers["CALLBACK"].strip("<>")
        threading.Thread(target=self.notify, args=(callback,), daemon=True).start()
        return 200, {"SID": SID, "TIMEOUT": "Second-300"}, ""

    def http_unsubscribe(self, path, headers, body):
        return 200, {}, ""

    def notify(self, callback):
        host, port, path = re.fullmatch(r"http://([\d.]+):(\d+)(/.*)", callback).groups()
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(host, int(port))
            connection.sock = self.host.connect((host, int(port)))
            connection.request("NOTIFY", path, EVENT.format(self.external), {
                "Content-Type": "text/xml", "NT": "upnp:event", "NTS": "upnp:propchange",
                "SID": SID, "SEQ": "0"})
            connection.getresponse().read()
            connection.close()
