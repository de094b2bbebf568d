# SPDX-License-Identifier: GPL-2.0-or-later
"""A torrent client of today speaks PCP, and its port is open (CL-2)."""

import os
import sys

import pytest
from lab import Lab, wait_for

CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torrent.py")
PORT = 6881
SECONDS = 30


@pytest.fixture
def torrent(lab, daemon):
    host = lab.lan1
    client = host.start([sys.executable, CLIENT, host.ipv4, str(PORT), str(SECONDS)])
    yield client
    client.stop()


def granted(client):
    return client.output().count("successfully mapped") >= 2


def test_torrent_client_maps_by_pcp(lab, daemon, torrent):
    """PCP-26, PCP-44, PCP-65: libtorrent takes our answers, and gives its ports back"""
    wait_for(lambda: granted(torrent), "the client to have its ports")
    assert torrent.output().count("<== port map [ transport: PCP") == 2, torrent.output()
    leases = daemon.leases()
    assert sorted(lease["protocol"] for lease in leases) == ["tcp", "udp"]
    assert all(lease["origin"] == "pcp" for lease in leases)
    ports = {lease["external_port"] for lease in leases}
    assert len(ports) == 1
    # it is the client itself that takes the connection
    with lab.inet1.connect((Lab.WAN_ADDRESS, ports.pop())):
        pass
    torrent.stop()
    wait_for(lambda: not daemon.leases(), "the ports to be given back")
