#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A torrent client that has its port opened, and says what it was told.

    torrent.py ADDRESS PORT SECONDS [pcp|upnp]

libtorrent is what qBittorrent and Deluge are made of. It listens at PORT, asks for it in
TCP and UDP, by PCP unless told otherwise, and prints what it hears of it. It ends when
time is over or on SIGTERM, and then gives its ports back.
"""

import signal
import sys
import time

import libtorrent


def open_session(address, port, protocol):
    kinds = libtorrent.alert.category_t
    return libtorrent.session({
        "listen_interfaces": f"{address}:{port}",
        "enable_natpmp": protocol == "pcp", "enable_upnp": protocol == "upnp",
        "enable_dht": False, "enable_lsd": False,
        "alert_mask": kinds.port_mapping_notification | kinds.port_mapping_log_notification,
    })


def main():
    address, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    end = time.monotonic() + seconds
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    protocol = sys.argv[4] if len(sys.argv) > 4 else "pcp"
    session = open_session(address, port, protocol)
    while not ended and time.monotonic() < end:
        session.wait_for_alert(100)
        for alert in session.pop_alerts():
            print(alert.message(), flush=True)


if __name__ == "__main__":
    main()
