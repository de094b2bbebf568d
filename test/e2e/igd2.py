# SPDX-License-Identifier: GPL-2.0-or-later
"""The second face of the device, and IPv6 pinholes, as a control point uses them."""

import concurrent.futures
import xml.etree.ElementTree

import igd
import pytest
from igd import SERVICE, Gateway, SoapError

LISTING = "{urn:schemas-upnp-org:gw:WANIPConnection}"
# Of the two root devices on the LAN of lan1 and lan2.
ROOTS = ("http://192.168.77.1:49152/igd1/root.xml",
         "http://192.168.77.1:49152/igd2/root.xml")
# Control points call from an address of their own by IPv6 (V6FW-7).
ROOT6 = "http://[fd77::1]:49152/igd1/root.xml"


def refused(code, function, *arguments, **options):
    """The call fails with this error, or one of these."""
    with pytest.raises(SoapError) as caught:
        function(*arguments, **options)
    assert caught.value.code in (code if isinstance(code, tuple) else (code,)), caught.value


def list_actions(gateway):
    """[(service type, action, [in-arguments])] as the service documents have them."""
    found = []
    for service, urls in Gateway.services(gateway).items():
        _, _, data = igd.request(gateway.host, urls["SCPDURL"])
        for action in xml.etree.ElementTree.fromstring(data).iter(SERVICE + "action"):
            arguments = [x.findtext(SERVICE + "name")
                         for x in action.iter(SERVICE + "argument")
                         if x.findtext(SERVICE + "direction") == "in"]
            found.append((service, action.findtext(SERVICE + "name"), arguments))
    return found


def call_at_once(calls):
    """Run functions side by side; their results, in order."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [job.result() for job in [pool.submit(call) for call in calls]]


class Gateway2(Gateway):
    """The second root device; WANIPConnection:2 unless another service is named."""

    def __init__(self, host):
        super().__init__(host, igd.search(host, igd.IGD2)[0]["location"])

    def services(self):
        """A version-2 service is a version-1 service, too (IGD-2)."""
        found = super().services()
        return {igd.WANIP1: found[igd.WANIP2], **found}

    def call(self, action, service=igd.WANIP2, **arguments):
        return super().call(action, service, **arguments)

    def add_any(self, external, internal, protocol="UDP", **options):
        """AddAnyPortMapping; the port that was got."""
        values = {"RemoteHost": "", "ExternalPort": external, "Protocol": protocol,
                  "InternalPort": internal, "InternalClient": self.host.ipv4,
                  "Enabled": 1, "PortMappingDescription": "test", "LeaseDuration": 3600}
        values.update(options)
        answer = self.call("AddAnyPortMapping",
                           **{"New" + key: value for key, value in values.items()})
        return int(answer["NewReservedPort"])

    def delete_range(self, start, end, protocol="UDP", manage=0):
        return self.call("DeletePortMappingRange", NewStartPort=start, NewEndPort=end,
                         NewProtocol=protocol, NewManage=manage)

    def list(self, start=1, end=65535, protocol="UDP", number=0, manage=0):
        """GetListOfPortMappings; [{element without New: text}]."""
        answer = self.call("GetListOfPortMappings", NewStartPort=start, NewEndPort=end,
                           NewProtocol=protocol, NewManage=manage, NewNumberOfPorts=number)
        root = xml.etree.ElementTree.fromstring(answer["NewPortListing"])
        assert root.tag == LISTING + "PortMappingList"
        return [{child.tag.removeprefix(LISTING + "New"): child.text or ""
                 for child in entry} for entry in root]


class Firewall(Gateway):
    """WANIPv6FirewallControl:1, over IPv6 unless another location is given."""

    def __init__(self, host, location=ROOT6):
        super().__init__(host, location)

    def call(self, action, service=igd.V6FC1, **arguments):
        return super().call(action, service, **arguments)

    def open(self, port, **options):
        """AddPinhole for a port of this host; its UniqueID."""
        values = {"RemoteHost": "", "RemotePort": 0, "InternalClient": self.host.ipv6,
                  "InternalPort": port, "Protocol": 17, "LeaseTime": 3600}
        values.update(options)
        return int(self.call("AddPinhole", **values)["UniqueID"])

    def update(self, unique, lease):
        return self.call("UpdatePinhole", UniqueID=unique, NewLeaseTime=lease)

    def close(self, unique):
        return self.call("DeletePinhole", UniqueID=unique)

    def packets(self, unique):
        return int(self.call("GetPinholePackets", UniqueID=unique)["PinholePackets"])

    def works(self, unique):
        return self.call("CheckPinholeWorking", UniqueID=unique)["IsWorking"]
