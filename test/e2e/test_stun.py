# SPDX-License-Identifier: GPL-2.0-or-later
"""[wan] address = stun:HOST: the address is learned, and nothing else depends on it."""

import itertools
import os
import signal
import stat

import igd
import natpmp
import pytest
import stun
from lab import wait_for

WAN_NET = "10.99.0"
OWN = WAN_NET + ".1"
SERVER = stun.Provider.SERVER
CONFIG = "[wan]\ninterface = wan0\naddress = stun:%s\n[lan lan0]\n"
PORTS = itertools.count(24000)


@pytest.fixture(scope="module")
def provider(lab):
    return stun.Provider(lab)


@pytest.fixture
def server(provider):
    process = provider.serve()
    yield process
    process.stop()


@pytest.fixture
def client(lab):
    with natpmp.Client(lab.lan1) as made:
        yield made


def status(daemon):
    return daemon.json_any("status")["status"]


def problems(daemon):
    return {problem["code"] for problem in status(daemon)["problems"]}


def told(client):
    return client.address()[::2]


def wait_told(client, address):
    wait_for(lambda: told(client) == (natpmp.OK, address), f"{address} to be told")


def is_announcement(data, address):
    """PCP announces to the same port."""
    return data[0] == 0 and natpmp.parse_address(data).address == address


def check_forwards(lab, client):
    """Mappings are made and work as far as the gateway's own address."""
    port = next(PORTS)
    assert client.map("udp", port, port).external == port
    assert lab.udp_arrives(lab.inet1, (OWN, port), lab.lan1, port)


def test_address_is_learned(lab, daemon_factory, provider, server, client):
    daemon = daemon_factory(CONFIG % SERVER).start()
    wait_told(client, provider.address)
    wan = status(daemon)["wan"]
    assert (wan["address"], wan["external_address"]) == (OWN, provider.address)
    assert wan["source"] == "stun" and not wan["private"]
    assert {**wan["stun"], "since": None} == {
        "server": SERVER, "port": 3478, "state": "ok", "since": None, "text": ""}
    assert problems(daemon) == set() and status(daemon)["state"] == "ok"
    text = daemon.admin("status")
    assert f"by STUN from {SERVER}" in text, text
    assert igd.Gateway(lab.lan1).call("GetExternalIPAddress") == {
        "NewExternalIPAddress": provider.address}
    check_forwards(lab, client)
    assert set(daemon.roles()) == {"core", "pcp", "upnp", "stun"}
    assert daemon.log().count("says that the external address is") == 1


def test_no_worker_without_a_server(daemon_factory, provider):
    daemon = daemon_factory(CONFIG.replace("stun:%s", "auto")).start()
    assert set(daemon.roles()) == {"core", "pcp", "upnp"}
    assert status(daemon)["wan"]["stun"] is None
    assert problems(daemon) == {"wan-private"}


def test_no_new_epoch_by_a_restart(lab, daemon_factory, provider, server, client):
    daemon = daemon_factory(CONFIG % SERVER).start()
    wait_told(client, provider.address)
    epoch = client.address().epoch
    for how in (daemon.stop, daemon.kill):
        how()
        daemon.start()
        assert told(client) == (natpmp.OK, provider.address)
        wait_for(lambda: status(daemon)["wan"]["stun"]["state"] == "ok", "the answer")
        assert client.address().epoch >= epoch
    # the first of all, when nothing was known of another NAT
    assert daemon.log().count("a new epoch begins") == 1


def test_address_changes_later(lab, daemon_factory, provider, server, client):
    """Clients hear of it as of any other change (NP-55)."""
    daemon = daemon_factory(CONFIG % SERVER).start()
    wait_told(client, provider.address)
    first, second = provider.address, "198.51.100.2"
    with lab.lan1.capture(natpmp.ANNOUNCE_GROUP, natpmp.ANNOUNCE_PORT) as heard:
        provider.move(second)
        try:
            os.kill(daemon.roles()["stun"], signal.SIGKILL)  # its successor is asked at once
            wait_told(client, second)
            wait_for(lambda: is_announcement(heard.recv(64), second), "the announcement")
        finally:
            provider.move(first)
    assert daemon.log().count("a new epoch begins") == 2
    check_forwards(lab, client)


def test_dead_server(lab, daemon_factory, provider, client):
    """The interface's own address is told, status says so; then it comes back."""
    daemon = daemon_factory(CONFIG % SERVER).start()
    wait_for(lambda: status(daemon)["wan"]["stun"]["state"] == "failed", "it to be noticed")
    assert told(client) == (natpmp.OK, OWN)
    assert problems(daemon) == {"stun", "wan-private"}
    assert status(daemon)["wan"]["source"] == "interface"
    done = daemon.run_tool("status")
    assert done.returncode == 7 and "since" in done.stdout, done.stdout
    check_forwards(lab, client)
    daemon.wait_log("does not tell the external address")
    process = provider.serve()
    wait_told(client, provider.address)
    assert status(daemon)["state"] == "ok"
    process.stop()
    # what it said holds on
    os.kill(daemon.roles()["stun"], signal.SIGKILL)
    wait_for(lambda: "stun" in problems(daemon), "the loss to be noticed")
    assert told(client) == (natpmp.OK, provider.address)
    assert daemon.log().count("does not tell the external address") == 2


def make_liars(far):
    """Answers that must not be believed, one for each question, and then the truth."""
    other = far.udp(0, "198.51.100.10")
    lie = stun.pack_address("198.51.100.66", 1)
    truth = stun.pack_address("198.51.100.77", 1)

    def lies(identity):
        wrong = bytes([identity[0] ^ 1]) + identity[1:]
        yield [(os.urandom(60), None), (b"", None), (b"\1\1\0\0", None)]
        yield [(stun.pack(0x101, wrong, lie), None)]
        yield [(stun.pack(0x101, identity, lie), other)]  # of another address
        yield [(stun.pack(0x111, identity, lie), None)]  # an error without a code

    answers = []

    def answer(data, _):
        identity = data[8:20]
        number = len(answers)
        answers.append(identity)
        made = list(lies(identity))
        return made[number] if number < len(made) else [
            (stun.pack(0x101, identity, truth), None)]
    return other, answer, answers


def test_lies_are_not_believed(lab, daemon_factory, provider, client):
    """
    Garbage, another transaction, another source: as if nothing had come, so the
    question is sent again, at the times and with the octets of RFC 8489 §6.2.1.
    """
    other, answer, answers = make_liars(provider.far)
    with other, stun.Server(provider.far, answer) as server:
        daemon = daemon_factory(CONFIG % SERVER).start()
        wait_told(client, "198.51.100.77")
        assert len(set(answers[:4])) == 1 and answers[4] != answers[3]
        assert {len(data) for data in server.asked} == {20}
        assert server.asked[0][:8] == bytes.fromhex("000100002112a442")
    assert "198.51.100.66" not in daemon.log()


def test_silent_server(daemon_factory, provider, client):
    """RFC 8489 §6.2.1: the same request after 0.5, 1, 2 and 4 s, and an end to it."""
    with stun.Server(provider.far, lambda data, _: []) as server:
        daemon = daemon_factory(CONFIG % SERVER).start()
        wait_told(client, OWN)
        assert status(daemon)["wan"]["stun"]["state"] == "asking"
        assert problems(daemon) == {"stun", "wan-private"}
        wait_for(lambda: status(daemon)["wan"]["stun"]["state"] == "failed", "the end", 25)
        first = server.asked[0]
        count = server.asked.count(first)
        gaps = [b - a for a, b in itertools.pairwise(server.times[:count])]
    assert "does not answer" in daemon.log() and count == 5
    for gap, wanted in zip(gaps, (0.5, 1, 2, 4), strict=True):
        assert wanted - 0.02 < gap < wanted + 0.5, gaps


def test_sandbox(daemon_factory, provider):
    """Law 4: no capability, another user, a filter; and nothing is listened on."""
    daemon = daemon_factory(CONFIG % SERVER, build="release").start()
    with open(f"/proc/{daemon.roles()['stun']}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert fields["NoNewPrivs"].strip() == "1" and fields["Seccomp"].strip() == "2"
    assert "0" not in fields["Uid"].split()


def test_reload_turns_it_on_and_off(daemon_factory, provider, server, client):
    off = CONFIG.replace("stun:%s", "auto")
    daemon = daemon_factory(off).start()
    for _ in range(2):
        daemon.configure(CONFIG % SERVER)
        daemon.admin("reload")
        wait_told(client, provider.address)
        assert set(daemon.roles()) == {"core", "pcp", "upnp", "stun"}
        daemon.configure(off)
        daemon.admin("reload")
        wait_told(client, OWN)
        wait_for(lambda: set(daemon.roles()) == {"core", "pcp", "upnp"}, "it to end")
        assert problems(daemon) == {"wan-private"}
    assert "restart_in_ms" not in daemon.log()


@pytest.mark.parametrize("what", ["loopback", "ipv6", "refused", "fingerprint"])
def test_answers_of_no_use(lab, daemon_factory, provider, client, what):
    def answer(data, _):
        identity = data[8:20]
        good = stun.pack(0x101, identity, stun.pack_address("198.51.100.66", 1))
        return [({
            "loopback": stun.pack(0x101, identity, stun.pack_address("127.0.0.1", 1)),
            "ipv6": stun.pack(0x101, identity, stun.pack_attribute(
                0x20, b"\0\2\1\1" + bytes(range(1, 17)))),
            "refused": stun.pack(0x111, identity, stun.pack_attribute(9, b"\0\0\4\1No")),
            "fingerprint": stun.pack_fingerprint(good, wrong=1),
        }[what], None)]
    with stun.Server(provider.far, answer):
        daemon = daemon_factory(CONFIG % SERVER).start()
        wait_for(lambda: status(daemon)["wan"]["stun"]["state"] == "failed", "the failure")
        assert told(client) == (natpmp.OK, OWN)
        check_forwards(lab, client)
        assert set(daemon.roles()) == {"core", "pcp", "upnp", "stun"}


def test_old_server(lab, daemon_factory, provider, client):
    """RFC 3489: only MAPPED-ADDRESS; and a fingerprint that is right."""
    def answer(data, _):
        return [(stun.pack_fingerprint(stun.pack(
            0x101, data[8:20], stun.pack_address("198.51.100.88", 1, kind=1))), None)]
    with stun.Server(provider.far, answer):
        daemon_factory(CONFIG % SERVER).start()
        wait_told(client, "198.51.100.88")


def wrap(daemon, text):
    """Have that daemon find a resolv.conf of its own."""
    path = os.path.join(daemon.directory, "resolv.conf")
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    script = os.path.join(daemon.directory, "portreeved")
    with open(script, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {path} "
                   f'/etc/resolv.conf && exec {daemon.binary} "$@"\' sh "$@"\n')
    os.chmod(script, os.stat(script).st_mode | stat.S_IXUSR)
    daemon.binary = script


@pytest.mark.parametrize("build", ["asan", "release"])
def test_by_name(lab, daemon_factory, provider, server, client, build):
    """By DNS, from within the sandbox."""
    daemon = daemon_factory(CONFIG % "stun.example.net:3478", build=build)
    wrap(daemon, f"# of the provider\nnameserver {SERVER}\n")
    answer = stun.answer_name(SERVER)
    with stun.Server(provider.far, answer, port=53) as names:
        daemon.start()
        wait_told(client, provider.address)
        assert status(daemon)["wan"]["stun"]["server"] == "stun.example.net"
        assert b"\x04stun\x07example\x03net\0" in names.asked[0].lower()
        check_forwards(lab, client)


def test_name_that_is_unknown(lab, daemon_factory, provider, client):
    daemon = daemon_factory(CONFIG % "stun.example.net")
    wrap(daemon, f"nameserver {SERVER}\n")
    with stun.Server(provider.far, lambda data, _: [
            (data[:2] + b"\x81\x83" + data[4:6] + bytes(6) + data[12:], None)], port=53):
        daemon.start()
        wait_for(lambda: "name" in (status(daemon)["wan"]["stun"] or {})["text"],
                 "it to be told")
        assert told(client) == (natpmp.OK, OWN)


def test_wan_without_an_address(lab, daemon_factory, provider, server, client):
    """STUN needs an address to ask from; the WAN comes back and it is asked anew."""
    daemon = daemon_factory(CONFIG % SERVER).start()
    wait_told(client, provider.address)
    lab.gw.ip("address", "del", f"{OWN}/24", "dev", "wan0")
    try:
        wait_for(lambda: told(client)[0] == natpmp.NETWORK_FAILURE, "the loss")
        assert status(daemon)["wan"]["stun"]["state"] == "idle"
        assert "stun" not in problems(daemon)
    finally:
        lab.batch("gw", [f"address add {OWN}/24 dev wan0",
                         f"route replace default via {lab.inet1.ipv4}"])
    wait_told(client, provider.address)
    wait_for(lambda: status(daemon)["state"] == "ok", "all to be well")
