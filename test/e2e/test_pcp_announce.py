# SPDX-License-Identifier: GPL-2.0-or-later
"""Epoch, ANNOUNCE and Mapping Updates: rows PCP-31..42 of the checklist of PCP."""

import contextlib
import itertools
import os
import re
import signal
import socket

import natpmp
import pcp
import pytest
import wire
from lab import Lab, wait_for

WAN, ELSEWHERE = Lab.WAN_ADDRESS, "203.0.113.77"
CONFIG = "[wan]\ninterface = wan0\n"
THIRD = """[policy]
rule = allow client 192.168.77.2/32 third-party 192.168.77.0/24
rule = allow external 1024-65535
"""
PORTS = itertools.count(26000, 3)
# Gaps of updates and of the first announcements, and what a loaded machine adds.
GAPS_S, LATE_S = (0.25, 0.5, 1.0), 0.15
# From the change of the address to the first packet that tells of it.
PROMPT_S = 0.05


@pytest.fixture
def daemon(lab, keeper):
    """It knows of the address that the test before has restored."""
    made = keeper.get(CONFIG)
    with natpmp.Client(lab.lan1) as client:
        wait_for(lambda: client.address().address == WAN, "the usual external address")
    return made


@pytest.fixture
def port():
    """A port that no other test uses."""
    return next(PORTS)


def leases_of(daemon, port):
    return [x for x in daemon.leases() if x["internal_port"] == port]


def is_pcp(data):
    return data[:1] == b"\2"


def capture(host, family=socket.AF_INET):
    """A socket that hears announcements on that host's link, and when they came."""
    if family == socket.AF_INET:
        return wire.stamp(host.capture(pcp.ANNOUNCE_GROUP, pcp.ANNOUNCE_PORT))
    return wire.stamp(wire.capture6(host, pcp.ANNOUNCE_GROUP6, pcp.ANNOUNCE_PORT))


def parse(heard):
    """An announcement: an ANNOUNCE response that nobody asked for (PCP-37)."""
    answer = pcp.Response(heard.data)
    assert (answer.opcode, answer.result, answer.lifetime) == (pcp.ANNOUNCE, pcp.OK, 0)
    assert len(heard.data) == pcp.HEADER and answer.reserved == bytes(12)
    assert heard.source[1] == pcp.PORT
    return answer


def check_gaps(times, count):
    """PCP-39, PCP-40: 250 ms, and twice as long each time"""
    assert len(times) >= count, times
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    for gap, wanted in zip(gaps, GAPS_S):
        assert wanted - 0.02 <= gap <= wanted + LATE_S, gaps


# Epoch


def test_epoch_counts_seconds(lan1):
    """PCP-31, PCP-30, PCP-33: in answers of every kind, and NAT-PMP's is the same"""
    began = lan1.announce().epoch

    def later():
        with natpmp.Client(lan1.host) as other:
            epochs = [lan1.announce().epoch, other.address().epoch,
                      lan1.map("gre", 1).epoch, lan1.ask(b"\3\1").epoch,
                      lan1.grant("udp", 4000).epoch]
        return epochs if epochs[0] > began + 1 else None
    epochs = wait_for(later, "the epoch to grow", 5)
    assert max(epochs) - min(epochs) <= 1 and max(epochs) <= began + 4


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_epoch_over_a_restart(lan1, daemon, port, how):
    """PCP-34: it goes on when every lease came back"""
    lan1.grant("udp", port)
    before = wait_for(lambda: lan1.announce().epoch >= 3 and lan1.announce().epoch,
                      "some time to pass")
    getattr(daemon, how)()
    daemon.start()
    after = lan1.announce().epoch
    assert before <= after <= before + 15


def test_epoch_without_store(lab, keeper, port):
    """PCP-31: leases that are lost start it anew"""
    daemon = keeper.get(CONFIG, fresh=True)
    with open(daemon.file, encoding="utf-8") as file:
        text = re.sub(r"state-dir = .*", "state-dir =", file.read())
    with open(daemon.file, "w", encoding="utf-8") as file:
        file.write(text)
    daemon.stop()
    daemon.start()
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", port)
        wait_for(lambda: client.announce().epoch >= 3, "some time to pass")
        daemon.stop()
        daemon.start()
        assert client.announce().epoch <= 2
    daemon.stop()  # nobody else wants a daemon without a store


def test_epoch_and_external_address(lab, lan1, daemon, wan, port):
    """PCP-32, PCP-33: another one starts it anew; a loss of the same one does not"""
    lan1.grant("udp", port)
    before = wait_for(lambda: lan1.announce().epoch >= 3 and lan1.announce().epoch,
                      "some time to pass")
    wan.lose()
    wait_for(lambda: lan1.map("udp", port).result == pcp.NETWORK_FAILURE, "the loss")
    wan.restore()
    wait_for(lambda: lan1.map("udp", port).result == pcp.OK, "the address")
    assert before <= lan1.announce().epoch <= before + 15
    wan.move(ELSEWHERE)
    answer = wait_for(lambda: next((x for x in [lan1.grant("udp", port)]
                                    if x.address == ELSEWHERE), None), "the new address")
    assert answer.epoch <= 2
    with natpmp.Client(lab.lan1) as other:
        assert other.address().epoch <= 3


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_epoch_and_a_move_while_away(lab, lan1, daemon, wan, port, how):
    """PCP-32: the address of before the restart is known"""
    lan1.grant("udp", port, port)
    wait_for(lambda: lan1.announce().epoch >= 3, "some time to pass")
    getattr(daemon, how)()
    wan.move(ELSEWHERE)
    daemon.start()
    assert lan1.updates().endpoint == (ELSEWHERE, port), "PCP-40"
    assert lan1.announce().epoch <= 2
    assert lan1.grant("udp", port).endpoint == (ELSEWHERE, port)
    assert lab.udp_arrives(lab.inet1, (ELSEWHERE, port), lab.lan1, port)


# ANNOUNCE


def test_announce_request(lan1):
    """PCP-36: a success with no lifetime, whatever was asked for"""
    for lifetime in (0, 99, 0xffffffff):
        answer = lan1.announce(lifetime)
        assert (answer.result, answer.lifetime, len(answer.raw)) == (pcp.OK, 0, 24)


def test_announcements_at_start(lab, keeper):
    """PCP-35, PCP-37, PCP-38, PCP-39: each LAN, each family and address, never the WAN"""
    keeper.end()
    with contextlib.ExitStack() as stack:
        sockets = {(host, family): stack.enter_context(capture(host, family))
                   for host in (lab.lan1, lab.guest1, lab.inet1)
                   for family in (socket.AF_INET, socket.AF_INET6)}
        keeper.get(CONFIG)
        for host, lan, interface in ((lab.lan1, "77", "lan0"),
                                     (lab.guest1, "78", "guest0")):
            heard = wire.collect(sockets[host, socket.AF_INET], 6, 4, is_pcp)
            assert {x.source[0] for x in heard} == {f"192.168.{lan}.1"}
            check_gaps([x.time for x in heard], 4)
            answers = [parse(x) for x in heard]
            assert answers[0].epoch <= 3 and answers[-1].epoch > answers[0].epoch
            wanted = {f"fd{lan}::1", wire.link_local(lab.gw, interface)}
            heard = wire.collect(sockets[host, socket.AF_INET6], 6, 8, is_pcp)
            assert {x.source[0].partition("%")[0] for x in heard} == wanted
            assert all(parse(x) for x in heard) and len(heard) == 8
        for family in (socket.AF_INET, socket.AF_INET6):
            assert wire.collect(sockets[lab.inet1, family], 0) == []


def test_announcement_of_a_new_address(lab, daemon, wan):
    """PCP-32, PCP-37, PCP-39: the new epoch is told in a new series"""
    with capture(lab.lan1) as lan, capture(lab.inet1) as outside, capture(
            lab.lan1, socket.AF_INET6) as lan6:
        with pcp.Client(lab.lan1) as client:
            wait_for(lambda: client.announce().epoch >= 3, "some time to pass")
        for sock in (lan, lan6):
            wire.drain(sock)
        wan.move(ELSEWHERE)

        def next_of(sock):
            return wait_for(lambda: next((x for x in wire.collect(sock, 1, 1, is_pcp)
                                          if parse(x).epoch <= 1), None), "the new epoch")
        first = next_of(lan)
        heard = [first, *wire.collect(lan, 3, 2, is_pcp)]
        check_gaps([x.time for x in heard], 3)
        next_of(lan6)
        assert wire.collect(outside, 0) == []


def test_speed(lab, keeper, wan):
    """PCP-37, PCP-40: the first packets go out within 50 ms of the change"""
    keeper.get(CONFIG, build="release")
    took = {"announcement": [], "update": []}
    with capture(lab.lan1) as lan, pcp.Client(lab.lan1) as client:
        wire.stamp(client.socket)
        for address in (ELSEWHERE, WAN, "203.0.113.78", "203.0.113.79"):
            client.grant("udp", 4000, 4000)
            for sock in (lan, client.socket):
                wire.drain(sock)
            began = wan.move(address)
            [update] = wire.collect(client.socket, 5, 1)
            assert pcp.Response(update.data).address == address
            [announced] = wire.collect(lan, 5, 1, lambda data: is_pcp(data) and
                                       pcp.Response(data).epoch <= 1)
            for name, heard in (("update", update), ("announcement", announced)):
                took[name].append(heard.time - began)
    # The machine may be busy elsewhere for a moment: the median counts.
    assert all(0 < sorted(each)[2] < PROMPT_S for each in took.values()), took


# Mapping Updates


def test_update_of_the_external_address(lab, daemon, wan, port):
    """PCP-40: three for who does not ask, one for who asks; to the socket that asked"""
    with pcp.Client(lab.lan1) as idle, pcp.Client(lab.lan1) as eager, pcp.Client(
            lab.lan2) as other, natpmp.Client(lab.lan1) as old:
        wire.stamp(idle.socket)
        idle.grant("udp", port, port, 1000)
        eager.grant("tcp", port, port, 1000)
        old.map("udp", port + 500, port + 500)
        assert other.announce().result == pcp.OK
        wan.move(ELSEWHERE)
        first = eager.updates()
        assert first.nonce == eager.nonce and first.endpoint == (ELSEWHERE, port)
        assert eager.grant("tcp", port, 0, 1000).endpoint == (ELSEWHERE, port)
        heard = wire.collect(idle.socket, 1.5, 4)
        assert len(heard) == 3
        check_gaps([x.time for x in heard], 3)
        for each in heard:
            assert each.source == ("192.168.77.1", pcp.PORT)
            answer = pcp.Response(each.data)
            assert (answer.opcode, answer.result) == (pcp.MAP, pcp.OK)
            assert len(each.data) == pcp.MAP_SIZE
            assert (answer.nonce, answer.protocol, answer.internal) == (
                idle.nonce, 17, port)
            assert answer.endpoint == (ELSEWHERE, port)
            assert 990 <= answer.lifetime <= 1000 and answer.epoch <= 3
        assert wire.collect(eager.socket, 0) == [], "PCP-40: it was refreshed"
        assert wire.collect(other.socket, 0) == [] and wire.collect(old.socket, 0) == []
    assert lab.udp_arrives(lab.inet1, (ELSEWHERE, port), lab.lan1, port)


def test_update_goes_to_the_last_socket(lab, daemon, wan, port):
    """PCP-40: a client that renewed from another port is told there"""
    with pcp.Client(lab.lan1) as first, pcp.Client(lab.lan1) as second:
        second.nonce = first.nonce
        first.grant("udp", port, port)
        second.grant("udp", port, port)
        wan.move(ELSEWHERE)
        assert second.updates().endpoint == (ELSEWHERE, port)
        assert wire.collect(first.socket, 0) == []


def test_update_after_a_restart(lab, lan1, daemon, wan, port):
    """PCP-40: whom to tell is kept with the lease"""
    lan1.grant("udp", port, port)
    daemon.kill()
    daemon.start()
    wan.move(ELSEWHERE)
    assert lan1.updates().endpoint == (ELSEWHERE, port)


def test_update_without_a_worker(lab, lan1, daemon, wan, port):
    """PCP-40: a worker that has just died is waited for"""
    lan1.grant("udp", port, port)
    os.kill(daemon.roles()["pcp"], signal.SIGKILL)
    # What core sends before it knows goes to nobody; the new epoch still tells clients.
    wait_for(lambda: any(worker["name"] == "pcp" and
                         (worker["state"] == "down" or worker["restarts"] > 0)
                         for worker in daemon.json_any("status")["status"]["workers"]),
             "core to know of the worker's end")
    wan.move(ELSEWHERE)
    assert lan1.updates().endpoint == (ELSEWHERE, port)


def test_many_updates(lab, keeper, wan):
    """PCP-40: every mapping is told of, each three times at most"""
    keeper.get(CONFIG + "[limits]\nrequests-per-second = 0\nleases-per-client = 0\n")
    ports = range(30000, 30200)
    with pcp.Client(lab.lan1) as client:
        for port in ports:
            client.grant("udp", port, port)
        wan.move(ELSEWHERE)
        heard = [pcp.Response(x.data) for x in wire.collect(client.socket, 5, 600)]
        assert wire.collect(client.socket, 0) == []
    assert {x.endpoint for x in heard} == {(ELSEWHERE, port) for port in ports}
    assert all(sum(x.port == port for x in heard) == 3 for port in ports)


def test_update_of_a_port_set(lab, lan1, daemon, wan, port):
    """PCP-116, PCP-40, PCP-42: each mapping of a set is told of, and all end as one"""
    lan1.grant("udp", port, port, options=[pcp.port_set(3, port)])
    wan.move(ELSEWHERE)
    told = {pcp.Response(x.data).endpoint for x in wire.collect(lan1.socket, 3, 3)}
    assert told == {(ELSEWHERE, port + number) for number in range(3)}
    daemon.admin("delete", str(leases_of(daemon, port + 1)[0]["id"]))
    ended = wait_for(lambda: {pcp.Response(x.data).internal
                              for x in wire.collect(lan1.socket, 0.5)
                              if pcp.Response(x.data).lifetime == 0}, "its end to be told")
    assert ended == set(range(port, port + 3))
    assert not [x for x in daemon.leases() if port <= x["internal_port"] < port + 3]


def test_update_of_a_set_that_is_deleted(lab, lan1, daemon, wan, port):
    """PCP-40, PCP-116: whichever port of a set is named, no more is told of any"""
    lan1.grant("udp", port, port, options=[pcp.port_set(3, port)])
    wan.move(ELSEWHERE)
    wire.collect(lan1.socket, 3, 3)
    lan1.send(lan1.pack_map("udp", port + 1, lifetime=0))
    heard = [pcp.Response(x.data) for x in wire.collect(lan1.socket, sum(GAPS_S))]
    assert [x.lifetime for x in heard] == [0]
    assert not [x for x in daemon.leases() if port <= x["internal_port"] < port + 3]


def test_updates_of_third_parties(lab, keeper, wan, port):
    """PCP-40, PCP-73: the same port of two hosts is two mappings"""
    keeper.get(CONFIG + THIRD)
    hosts = [lab.lan2.ipv4, "192.168.77.9"]
    with pcp.Client(lab.lan1) as client:
        for host in hosts:
            client.grant("udp", port, options=[pcp.third_party(host)])
        wan.move(ELSEWHERE)
        heard = [pcp.Response(x.data).option(pcp.THIRD_PARTY)
                 for x in wire.collect(client.socket, 3, 6)]
    assert sorted(heard) == sorted(3 * [pcp.pack_address(host) for host in hosts])


def test_update_of_a_loss_and_return(lab, lan1, daemon, wan, port):
    """PCP-40, PCP-32: the same address again is nothing to tell"""
    lan1.grant("udp", port, port)
    wan.lose()
    wait_for(lambda: lan1.map("udp", port).result == pcp.NETWORK_FAILURE, "the loss")
    wan.restore()
    wait_for(lambda: lan1.map("udp", port).result == pcp.OK, "the address")
    assert lan1.is_silent(b"")


def test_update_with_filters_and_description(lab, lan1, daemon, wan, port):
    """PCP-41: FILTER is sent along, optional options are not"""
    wanted = [pcp.pack_filter(lab.inet1.ipv4), pcp.pack_filter(lab.inet2.ipv4, port=7)]
    lan1.grant("udp", port, port, options=[*wanted, pcp.description("text")])
    wan.move(ELSEWHERE)
    answer = lan1.updates()
    assert sorted(answer.filters) == [pcp.Filter(128, 0, lab.inet1.ipv4),
                                      pcp.Filter(128, 7, lab.inet2.ipv4)]
    assert {code for code, _ in answer.options} == {pcp.FILTER}


def test_update_for_a_third_party(lab, keeper, wan, port):
    """PCP-41, PCP-44: to who asked, with THIRD_PARTY"""
    keeper.get(CONFIG + THIRD)
    with pcp.Client(lab.lan1) as client:
        client.grant("udp", port, port, options=[pcp.third_party(lab.lan2.ipv4)])
        wan.move(ELSEWHERE)
        answer = client.updates()
        assert answer.endpoint == (ELSEWHERE, port)
        assert answer.option(pcp.THIRD_PARTY) == pcp.pack_address(lab.lan2.ipv4)
    assert lab.udp_arrives(lab.inet1, (ELSEWHERE, port), lab.lan2, port)


def test_update_of_what_must_not_move(lab, lan1, daemon, wan, port):
    """PCP-41: PREFER_FAILURE with an address that is gone: result 11, and the end"""
    prefer = [pcp.prefer_failure()]
    with pcp.Client(lab.lan1) as other:
        lan1.grant("udp", port, port, options=prefer, suggested=WAN)
        other.grant("udp", port + 500, port + 500, options=prefer)
        wan.move(ELSEWHERE)
        answer = lan1.updates()
        assert answer.result == pcp.CANNOT_PROVIDE_EXTERNAL
        assert (answer.nonce, answer.internal) == (lan1.nonce, port)
        answer = other.updates()
        assert (answer.result, answer.endpoint) == (pcp.OK, (ELSEWHERE, port + 500))
    assert leases_of(daemon, port) == []
    assert not lab.udp_arrives(lab.inet1, (ELSEWHERE, port), lab.lan1, port)


def test_update_of_peer(lab, lan1, daemon, wan, port):
    """PCP-40: by a PEER response"""
    answer = lan1.peer("udp", port, (lab.inet1.ipv4, 9), port, 1000)
    assert answer.result == pcp.OK
    wan.move(ELSEWHERE)
    answer = lan1.updates()
    assert (answer.opcode, len(answer.raw)) == (pcp.PEER, pcp.PEER_SIZE)
    assert (answer.remote, answer.remote_port) == (lab.inet1.ipv4, 9)
    assert answer.result != pcp.OK or answer.address == ELSEWHERE


def test_update_of_a_deletion(lab, daemon, port):
    """PCP-42: who had it is told when the owner takes it, by IPv4 and by IPv6"""
    with pcp.Client(lab.lan1) as first, pcp.Client(
            lab.lan1, family=socket.AF_INET6) as second, natpmp.Client(lab.lan1) as old:
        wire.stamp(second.socket)
        for client in (first, second):
            client.grant("udp", port, port)
            [lease] = [x for x in leases_of(daemon, port)
                       if x["internal_address"] == client.address]
            daemon.admin("delete", str(lease["id"]))
            answer = client.updates()
            assert (answer.opcode, answer.result, answer.lifetime) == (pcp.MAP, pcp.OK, 0)
            assert (answer.nonce, answer.internal, answer.protocol) == (
                client.nonce, port, 17)
        heard = wire.collect(second.socket, 1.2, 3)
        assert len(heard) == 2 and heard[1].time - heard[0].time >= 0.45
        old.map("udp", port + 500, port + 500)
        daemon.admin("delete", str(leases_of(daemon, port + 500)[0]["id"]))
        assert old.is_silent(b"")


def test_no_update_of_what_clients_do(lab, lan1, daemon, port):
    """PCP-42: nobody is told what they asked for themselves, or what just ends"""
    lan1.grant("udp", port, port)
    assert lan1.unmap("udp", port).result == pcp.OK
    assert lan1.is_silent(b"")
    assert lan1.grant("udp", port, port, nonce=os.urandom(12)).port == port
    assert lan1.is_silent(b"")
