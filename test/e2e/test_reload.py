# SPDX-License-Identifier: GPL-2.0-or-later
"""Another configuration while it runs: what is in force, what ends, what stays."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading

import igd
import natpmp
import pcp
import pytest
from lab import Lab, wait_for
from wire import collect

WAN = Lab.WAN_ADDRESS
SINGLE = ["--single"]
SO_RCVBUFFORCE = 33
SSDP = ("239.255.255.250", 1900)
DENY = "[policy]\nrule = deny external 4000-4999\nrule = allow external 1024-65535\n"
PINHOLES_OFF = "[wan]\npinholes = off\n"
LAN0 = "[lan lan0]\n"
BOTH_LANS = "[lan lan0]\n[lan guest0]\n"


@pytest.fixture(params=[[], SINGLE], ids=["roles", "single"])
def daemon(daemon_factory, request):
    return daemon_factory(arguments=request.param).start()


def reload(daemon, config, ended=0):
    """Put it into the file and have it read; the answer."""
    daemon.configure(config)
    answer = daemon.json("reload")
    assert (answer["ended"], answer["left"]) == (ended, 0), answer
    return answer


def ask(host, internal, external, protocol="udp", lifetime=600):
    with natpmp.Client(host) as client:
        return client.map(protocol, internal, external, lifetime)


def arrives(lab, port, host=None):
    host = host or lab.lan1
    return lab.udp_arrives(lab.inet1, (WAN, port), host, port) is not None


def ports(daemon):
    return {lease["external_port"] for lease in daemon.leases()}


def add_all(lab, daemon, first=4000):
    """A lease of each origin; their ports."""
    assert ask(lab.lan1, first, first).external == first
    igd.Gateway(lab.lan1).add(first + 1, first + 1)
    daemon.admin("add", "udp", str(first + 3), f"{lab.lan1.ipv4}:{first + 3}")
    with pcp.Client(lab.lan1) as client:
        assert client.grant("udp", first + 2, first + 2).port == first + 2
    return {first, first + 1, first + 2, first + 3}


# --- nothing new, and nothing to use ---

def test_as_it_was(lab, daemon):
    """By the tool and by SIGHUP: nobody ends, and it says so."""
    wanted = add_all(lab, daemon)
    roles = daemon.roles()
    assert daemon.json("reload") == {"changed": False, "ended": 0, "left": 0, "restart": ""}
    assert "as it was" in daemon.admin("reload")
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_log("the configuration is as it was", 3)
    assert daemon.roles() == roles and ports(daemon) == wanted
    assert arrives(lab, 4000)


def test_comment_moves_rules(daemon):
    """What is only at another place in the file is as it was."""
    assert reload(daemon, DENY)["changed"]
    assert not reload(daemon, "# a comment\n\n" + DENY)["changed"]


BAD = {
    "rule": "[policy]\nrule = denyx\n",
    "key": "[policy]\nruel = deny\n",
    "contradiction": "[wan]\ninterface = lan0\n[lan lan0]\n",
    "value": "[global]\nhttp-port = 80\n",
}


@pytest.mark.parametrize("mistake", BAD)
def test_bad_file(lab, daemon, mistake):
    """Exit 1 with file and line; all is as before, and stays so."""
    assert ask(lab.lan1, 4000, 4000).external == 4000
    daemon.configure(DENY + BAD[mistake] if mistake != "rule" else BAD[mistake])
    done = daemon.run_tool("reload")
    assert done.returncode == 1, done.stdout
    assert f"{daemon.file}:" in done.stdout and "nothing has changed" in done.stdout
    os.kill(daemon.pid, signal.SIGHUP)
    line = daemon.wait_log("nothing has changed", 2)
    assert "error" in line and daemon.file in line
    assert arrives(lab, 4000)
    assert ask(lab.lan1, 4001, 4001).external == 4001
    # and it is read again when it is mended
    assert reload(daemon, DENY, ended=2)["changed"]


def test_missing_file(lab, daemon):
    os.unlink(daemon.file)
    done = daemon.run_tool("reload")
    assert done.returncode == 1 and "there is no such file" in done.stdout, done.stdout
    assert ask(lab.lan1, 4000, 4000).external == 4000


def test_unreadable_file(lab, daemon_factory):
    """The launcher gave its right to read everything away: it says so."""
    daemon = daemon_factory().start()
    os.chown(daemon.file, 65534, 65534)
    os.chmod(daemon.file, 0o600)
    done = daemon.run_tool("reload")
    assert done.returncode == 1, done.stdout
    assert "no permission" in done.stdout and "CAP_DAC_OVERRIDE" in done.stdout
    os.chown(daemon.file, 0, 0)
    assert daemon.json("reload")["changed"] is False


def test_lan_is_wan(lab, daemon):
    """What only core can see: the default route goes out by wan0. As at start."""
    daemon.configure("[lan wan0]\n")
    done = daemon.run_tool("reload")
    assert done.returncode == 1 and "two interfaces" in done.stdout, done.stdout
    assert daemon.json("status")["status"]["state"] == "ok"
    assert ask(lab.lan1, 4000, 4000).external == 4000


def test_who_may(lab, daemon, copy_for_all):
    """Only an admin."""
    tool = copy_for_all(daemon.tool)
    done = lab.gw.run(["setpriv", "--reuid=nobody", "--clear-groups", tool, "--socket",
                       daemon.control, "reload"])
    assert done.returncode == 4, done.stdout
    assert "reload: reading" not in daemon.log()


def test_restart_only(daemon):
    """Told, and as it was; the rest of the file is in force."""
    roles = daemon.roles()
    daemon.configure("[backend]\nmark = 0x2\n" + DENY)
    done = daemon.run_tool("reload")
    assert done.returncode == 0 and "[backend] mark" in done.stdout, done.stdout
    assert "The configuration is in force.\n" in done.stdout
    assert "portreeve: only a restart" in done.stdout
    assert daemon.roles() == roles
    assert daemon.json("status")["status"]["settings"]["mark"] == 0x10000000
    # with nothing else in it the file is not called as it was
    done = daemon.run_tool("reload")
    assert (done.returncode, done.stdout) == (
        0, "portreeve: nothing has changed: only a restart of portreeved changes "
           "[backend] mark\n")
    daemon.wait_log(r"nothing has changed: only a restart .*\[backend\] mark")
    assert "as it was" not in daemon.log()


def test_user_who_does_not_exist(daemon_factory):
    """With it the next start would fail: told when it comes into the file."""
    daemon = daemon_factory().start()
    daemon.configure("[global]\nnet-user = nosuch\n")
    done = daemon.run_tool("reload")
    assert done.returncode == 0, done.stdout
    assert "[global] net-user (there is no such user" in done.stdout, done.stdout
    daemon.wait_log('there is no user "nosuch"')
    daemon.configure("[global]\nnet-user = root\n")
    assert daemon.run_tool("reload").stdout.endswith(" [global] net-user\n")


# --- rules ---

@contextlib.contextmanager
def watching(daemon):
    """A list that fills with events."""
    argv = [daemon.tool, "--socket", daemon.control, "--json", "watch"]
    log = os.path.join(daemon.directory, "watch")
    process = daemon.lab.gw.start(argv, log=log)

    def events():
        return [json.loads(line) for line in process.output().splitlines() if line]
    wait_for(lambda: events()[:1] == [{"ready": True}], "the watch to begin")
    try:
        yield events
    finally:
        process.stop()


def test_rules_end_leases(lab, daemon):
    """Those that the rules forbid end with why=policy: packets stop, live flows too."""
    wanted = add_all(lab, daemon, 4000)
    others = add_all(lab, daemon, 5000)
    with lab.lan1.udp(4000) as sink, lab.inet1.udp() as source, \
            pcp.Client(lab.lan1) as client, watching(daemon) as events:
        client.grant("udp", 4010, 4010)
        assert lab.udp_arrives(lab.inet1, (WAN, 4000), lab.lan1, 4000, source=source,
                               sink=sink)
        reload(daemon, DENY, ended=4)
        update = client.updates()
        assert (update.result, update.lifetime, update.port) == (pcp.OK, 0, 4010)
        wait_for(lambda: len([x for x in events() if x.get("why") == "policy"]) == 4,
                 "four events")
        assert {x["event"] for x in events() if "why" in x} == {"deleted"}
        wait_for(lambda: lab.udp_arrives(lab.inet1, (WAN, 4000), lab.lan1, 4000,
                                         source=source, sink=sink, reply=False) is None,
                 "the live flow to end")
    # what the owner made stays
    assert ports(daemon) == others | {4003}
    assert not any(arrives(lab, port) for port in wanted - {4003})
    assert all(arrives(lab, port) for port in others | {4003})
    assert ask(lab.lan1, 4000, 4000).external not in range(4000, 5000)


def test_flows_may_stay(lab, daemon):
    """keep-flows is in force at once, for ends by this very reload too."""
    assert ask(lab.lan1, 4000, 4000).external == 4000
    with lab.lan1.udp(4000) as sink, lab.inet1.udp() as source:
        assert lab.udp_arrives(lab.inet1, (WAN, 4000), lab.lan1, 4000, source=source,
                               sink=sink)
        reload(daemon, "[backend]\nkeep-flows = yes\n" + DENY, ended=1)
        assert lab.udp_arrives(lab.inet1, (WAN, 4000), lab.lan1, 4000, source=source,
                               sink=sink)
        assert not arrives_from(lab, 4000, sink)


def arrives_from(lab, port, sink):
    return lab.udp_arrives(lab.inet2, (WAN, port), lab.lan1, port, sink=sink)


def test_forbidden_leases_may_stay(lab, daemon):
    """forbidden-leases = keep; until it says end."""
    wanted = add_all(lab, daemon)
    reload(daemon, DENY + "forbidden-leases = keep\n")
    assert ports(daemon) == wanted
    assert all(arrives(lab, port) for port in wanted)
    assert ask(lab.lan2, 4020, 4020).external not in range(4000, 5000)
    reload(daemon, DENY, ended=3)
    assert 4003 in ports(daemon) and not wanted - {4003} & ports(daemon)


def test_many_leases(lab, daemon):
    """More than go in one group; others are served meanwhile."""
    free = "[limits]\nrequests-per-second = 0\nleases-per-client = 0\n"
    reload(daemon, free)
    with natpmp.Client(lab.lan1) as client:
        for port in range(4000, 4700):
            assert client.map("udp", port, port).external == port
        reload(daemon, free + DENY, ended=700)
        assert client.map("udp", 5000, 5000).external == 5000
    assert ports(daemon) == {5000}
    assert len(daemon.rules()) == 1


def test_another_start(lab, daemon_factory):
    """What a reload would end does not come back by a start either."""
    daemon = daemon_factory().start()
    wanted = add_all(lab, daemon)
    daemon.stop()
    daemon.configure(DENY + "forbidden-leases = keep\n")
    daemon.start()
    assert ports(daemon) == wanted
    daemon.stop()
    daemon.configure(DENY)
    daemon.start()
    assert ports(daemon) == {4003} and arrives(lab, 4003)
    daemon.wait_log("3 leases have ended")


def test_pinholes(lab, daemon):
    """V6FW-1: off ends those of hosts, on lets them ask again."""
    with pcp.Client(lab.lan1, family=socket.AF_INET6) as client:
        assert client.grant("udp", 4000, 4000).port == 4000
        assert ask(lab.lan1, 4001, 4001).external == 4001

        def opens():
            return lab.udp_arrives(lab.inet1, (lab.lan1.ipv6, 4000), lab.lan1,
                                   4000) is not None
        assert opens()
        reload(daemon, PINHOLES_OFF + "[policy]\nforbidden-leases = keep\n", ended=1)
        assert not opens() and ports(daemon) == {4001}
        assert client.updates().lifetime == 0
        assert client.map("udp", 4000, 4000).result != pcp.OK
        reload(daemon, "")
        assert client.grant("udp", 4000, 4000).port == 4000
        assert opens()


def test_no_translation(lab, daemon):
    """NP-5: nat = no ends what is translated, and is told as at start."""
    add_all(lab, daemon)
    reload(daemon, "[wan]\nnat = no\n", ended=3)
    assert ports(daemon) == {4003}
    with natpmp.Client(lab.lan1) as client:  # only PCP answers, that it is no PCP
        answer = client.ask(natpmp.pack_map("udp", 4000, 4000, 600))
    assert (answer[0], answer[3]) == (2, pcp.UNSUPP_VERSION), answer.hex()
    reload(daemon, "")
    assert ask(lab.lan1, 4000, 4000).external == 4000


def test_integrate(lab, daemon):
    """The one rule in somebody else's chain comes and goes."""
    lab.gw.nft("table inet alien {\n chain forward {\n"
               "  type filter hook forward priority 10; policy drop;\n"
               "  ct state established accept\n  iifname != \"wan0\" accept\n }\n}\n")
    try:
        assert ask(lab.lan1, 4000, 4000).external == 4000
        assert not arrives(lab, 4000)
        reload(daemon, "[backend]\nintegrate = auto\n")
        assert arrives(lab, 4000)
        reload(daemon, "[backend]\nintegrate = inet alien forward\n")
        assert arrives(lab, 4000)
        reload(daemon, "")
        assert not arrives(lab, 4000)
        kept = lab.gw.run(["nft", "list", "table", "inet", "alien"]).stdout
        assert "portreeve" not in kept and "wan0" in kept
    finally:
        lab.gw.nft("delete table inet alien")


# --- limits and the rest ---

def test_lower_limits(lab, daemon):
    """Who has more than is allowed now keeps it, and gets no more."""
    for port in range(4000, 4004):
        assert ask(lab.lan1, port, port).external == port
    reload(daemon, "[limits]\nleases-per-client = 2\nlifetime-max = 300\n")
    assert ports(daemon) == {4000, 4001, 4002, 4003}
    assert ask(lab.lan1, 4010, 4010).result == natpmp.NO_RESOURCES
    assert ask(lab.lan1, 4000, 4000, lifetime=3000).lifetime == 300
    assert ask(lab.lan2, 4010, 4010).external == 4010
    reload(daemon, "")
    assert ask(lab.lan1, 4011, 4011).external == 4011


def test_log_level(lab, daemon):
    """Of all roles, at once."""
    roles = daemon.roles()
    reload(daemon, "[global]\nlog-level = error\n")
    before = daemon.log().count("lease added")
    assert ask(lab.lan1, 4000, 4000).external == 4000
    reload(daemon, "")
    assert ask(lab.lan1, 4001, 4001).external == 4001
    daemon.wait_log("lease added .*ext=4001")
    assert daemon.log().count("lease added") == before + 1
    assert daemon.roles() == roles


def test_http_port(lab, daemon_factory):
    """Only the worker that was told once comes anew, and serves when it is answered."""
    daemon = daemon_factory().start()
    roles = daemon.roles()
    drain_notify(daemon)
    wanted = add_all(lab, daemon)
    reload(daemon, "[global]\nhttp-port = 50001\n")
    now = daemon.roles()
    assert now["core"] == roles["core"] and now["pcp"] == roles["pcp"]
    assert now["upnp"] != roles["upnp"]
    gateway = igd.Gateway(lab.lan1)
    assert ":50001/" in gateway.location
    gateway.add(4020, 4020)
    assert ports(daemon) == wanted | {4020}
    workers = daemon.json("status")["status"]["workers"]
    assert {(x["name"], x["state"], x["restarts"]) for x in workers} == {
        ("upnp", "up", 0), ("pcp", "up", 0)}
    text = drain_notify(daemon)
    assert text.index(b"RELOADING=1\nMONOTONIC_USEC=") < text.index(b"READY=1")
    assert "restart_in_ms" not in daemon.log()


def test_workers_in_one_process(lab, daemon_factory):
    daemon = daemon_factory(arguments=SINGLE).start()
    for number in (50001, 50002):
        reload(daemon, f"[global]\nhttp-port = {number}\npcp-opcodes = map\n")
        assert f":{number}/" in igd.Gateway(lab.lan1).location
    with pcp.Client(lab.lan1) as client:
        assert client.grant("udp", 4000, 4000).port == 4000
        assert client.peer("udp", 4001, (lab.inet1.ipv4, 80)).result != pcp.OK


def drain_notify(daemon):
    text = b""
    while True:
        try:
            text += daemon.notify.recv(4096) + b"\n"
        except BlockingIOError:
            return text


def test_bad_file_is_told_to_the_service_manager(daemon_factory):
    """RELOADING=1 never stays alone."""
    daemon = daemon_factory().start()
    drain_notify(daemon)
    daemon.configure("[nonsense]\n")
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_log("nothing has changed")
    text = b""

    def told():
        nonlocal text
        text += drain_notify(daemon)
        return b"READY=1" in text
    wait_for(told, "READY=1")
    assert b"RELOADING=1" in text


# --- WAN and LANs ---

def test_wan(lab, daemon):
    """An address that is told, and another interface."""
    assert ask(lab.lan1, 4000, 4000).external == 4000
    with natpmp.Client(lab.lan1) as client:
        reload(daemon, "[wan]\naddress = 198.51.100.77\n")
        assert client.address().address == "198.51.100.77"
        assert arrives(lab, 4000)
        reload(daemon, "[wan]\ninterface = nowhere0\n" + BOTH_LANS)
        assert client.address().result == natpmp.NETWORK_FAILURE
        assert not arrives(lab, 4000)
        assert daemon.json_any("status")["status"]["state"] == "degraded"
        reload(daemon, "[wan]\ninterface = wan0\n" + BOTH_LANS)
        assert client.address().address == WAN
    assert arrives(lab, 4000) and ports(daemon) == {4000}


def test_lan_leaves_and_comes_back(lab, daemon):
    """Its leases end, its hosts get no answer; others' indices are as they were."""
    reload(daemon, BOTH_LANS)
    assert ask(lab.lan1, 4000, 4000).external == 4000
    assert ask(lab.guest1, 4001, 4001).external == 4001
    daemon.admin("add", "udp", "4002", f"{lab.guest1.ipv4}:4002")
    with pcp.Client(lab.guest1) as client, lab.guest1.capture(*SSDP) as ear:
        client.grant("udp", 4003, 4003)
        reload(daemon, LAN0, ended=2)
        assert client.updates().lifetime == 0
        assert collect(ear, 5, 1, lambda data: b"ssdp:byebye" in data)
    assert ports(daemon) == {4000, 4002}
    assert not arrives(lab, 4001, lab.guest1)
    assert [x["name"] for x in daemon.json("status")["status"]["lans"]] == ["lan0"]
    with pytest.raises(TimeoutError), natpmp.Client(lab.guest1) as client:
        client.ask(natpmp.pack_map("udp", 4001, 4001, 600), timeout=0.3)
    assert ask(lab.lan1, 4005, 4005).external == 4005
    reload(daemon, "[lan guest0]\n[lan lan0]\n")
    assert ask(lab.guest1, 4001, 4001).external == 4001
    assert arrives(lab, 4001, lab.guest1) and arrives(lab, 4000)
    told = {x["external_port"]: x["lan"] for x in daemon.leases()}
    assert told == {4000: "lan0", 4001: "guest0", 4002: "guest0", 4005: "lan0"}


def test_large_lan_leaves(lab, daemon):
    """Others do not wait until all its leases have ended: the hosts of one group
    (LEDGER_ENDS_MAX) are told before the LAN goes, and none of all stays."""
    free = "[limits]\nrequests-per-second = 0\nleases-per-client = 0\n"
    reload(daemon, BOTH_LANS + free)
    assert ask(lab.lan1, 3999, 3999).external == 3999
    with pcp.Client(lab.guest1) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
        for port in range(4000, 4600):
            client.grant("udp", port, port)
        reload(daemon, LAN0 + free, ended=600)
        told = {pcp.Response(x.data).port for x in collect(client.socket, 0.3)}
    assert 0 < len(told) <= 256, len(told)
    assert ports(daemon) == {3999} and arrives(lab, 3999)


def test_lan_leaves_and_leases_stay(lab, daemon):
    reload(daemon, BOTH_LANS)
    assert ask(lab.guest1, 4001, 4001).external == 4001
    reload(daemon, LAN0 + "[policy]\nforbidden-leases = keep\n")
    assert ports(daemon) == {4001}
    [lease] = daemon.leases()
    assert lease["lan"] == "", "as after a restart"
    reload(daemon, BOTH_LANS)
    assert [lease["lan"] for lease in daemon.leases()] == ["guest0"]
    assert arrives(lab, 4001, lab.guest1)
    assert ask(lab.guest1, 4001, 4001).external == 4001


def test_lan_by_choice_again(lab, daemon):
    """From named LANs to those that are found, and back."""
    reload(daemon, LAN0)
    assert ask(lab.lan1, 4000, 4000).external == 4000
    reload(daemon, "")
    assert ask(lab.guest1, 4001, 4001).external == 4001
    reload(daemon, BOTH_LANS)
    assert ports(daemon) == {4000, 4001}
    assert arrives(lab, 4000) and arrives(lab, 4001, lab.guest1)


def test_protocols_of_a_lan(lab, daemon):
    """What a LAN speaks no more is said goodbye, and its leases end."""
    reload(daemon, LAN0)
    add_all(lab, daemon)
    with lab.lan1.capture(*SSDP) as ear:
        reload(daemon, "[lan lan0]\nprotocols = nat-pmp pcp\n", ended=1)
        assert collect(ear, 5, 1, lambda data: b"ssdp:byebye" in data)
    assert ports(daemon) == {4000, 4002, 4003}
    assert not igd.search(lab.lan1, igd.IGD1)
    assert ask(lab.lan1, 4000, 4000).external == 4000
    reload(daemon, "[lan lan0]\nprotocols = upnp\n", ended=2)
    assert igd.search(lab.lan1, igd.IGD1)
    with pytest.raises(TimeoutError), natpmp.Client(lab.lan1) as client:
        client.ask(natpmp.pack_map("udp", 4000, 4000, 600), timeout=0.3)


def test_igd_faces(lab, daemon):
    reload(daemon, LAN0)
    assert igd.search(lab.lan1, igd.IGD1) and igd.search(lab.lan1, igd.IGD2)
    reload(daemon, "[lan lan0]\nigd = 1\n")
    wait_for(lambda: not igd.search(lab.lan1, igd.IGD2), "version 2 to go")
    assert igd.search(lab.lan1, igd.IGD1)
    reload(daemon, "[lan lan0]\nigd = both\n")
    wait_for(lambda: igd.search(lab.lan1, igd.IGD2), "version 2 to come")


EVERYTHING = """[global]
friendly-name = Another
[wan]
pinholes = off
bit-rate-up = 3000000
[limits]
requests-per-second = 33
leases-per-client = 7
lifetime-max = 900
[backend]
keep-flows = yes
"""


def test_as_freshly_started(lab, daemon_factory):
    """What a reloaded daemon tells is what one tells that started with that file."""
    told = []
    for first in ("", EVERYTHING):
        daemon = daemon_factory(first, arguments=SINGLE).start()
        reload(daemon, EVERYTHING)
        gateway = igd.Gateway(lab.lan1)
        rate = gateway.call("GetCommonLinkProperties", igd.WANCIC1)
        told.append((daemon.json("status")["status"]["settings"],
                     b"<friendlyName>Another<" in gateway.description,
                     rate["NewLayer1UpstreamMaxBitRate"]))
        daemon.stop()
    assert told[0] == told[1]
    assert told[0][1:] == (True, "3000000"), told


# --- at once, and in the middle ---

def test_at_once(lab, daemon):
    """Many ask, the file changes under them: all are answered, the last one counts."""
    answers = []

    def ask_for_it():
        answers.append(daemon.run_tool("reload").returncode)
    threads = [threading.Thread(target=ask_for_it) for _ in range(8)]
    for number, thread in enumerate(threads):
        daemon.configure(f"[global]\nhttp-port = {50001 + number % 3}\n")
        thread.start()
        os.kill(daemon.pid, signal.SIGHUP)
    for thread in threads:
        thread.join()
    assert answers == [0] * len(threads)
    reload(daemon, "[global]\nhttp-port = 50009\n" + DENY)
    assert ":50009/" in igd.Gateway(lab.lan1).location
    assert ask(lab.lan1, 4000, 4000).external not in range(4000, 5000)


def test_worker_killed_meanwhile(lab, daemon_factory):
    """The answer does not wait for ever for one that is gone, and it comes back."""
    daemon = daemon_factory().start()
    os.kill(daemon.roles()["upnp"], signal.SIGKILL)
    reload(daemon, "[global]\nhttp-port = 50001\n")
    wait_for(lambda: ":50001/" in (igd.search(lab.lan1, igd.IGD1) or [{}])[0].get(
        "location", ""), "the new port", 10)


def test_firewall_wiped_meanwhile(lab, daemon_factory):
    """Somebody removes our table as leases are to end: those that stay forward again."""
    nftables = "[backend]\ntype = nftables\n"
    daemon = daemon_factory(nftables).start()
    wanted = add_all(lab, daemon, 4000) | add_all(lab, daemon, 5000)
    lab.gw.nft("delete table inet portreeve")
    reload(daemon, nftables + DENY, ended=3)
    stays = wanted - {4000, 4001, 4002}
    assert ports(daemon) == stays
    wait_for(lambda: all(arrives(lab, port) for port in stays), "the others to forward")
    assert not any(arrives(lab, port) for port in wanted - stays)


@pytest.mark.parametrize("port", range(4000, 4003))
def test_core_killed_in_the_middle(lab, daemon_factory, port):
    """The changed file is in force when core is back, wherever it was ended."""
    daemon = daemon_factory(build="release").start()
    assert ask(lab.lan1, port, port).external == port
    assert ask(lab.lan1, 5000, 5000).external == 5000
    core = daemon.roles()["core"]
    daemon.configure(DENY)
    if port == 4001:  # it has no time to answer
        os.kill(core, signal.SIGSTOP)
    os.kill(daemon.pid, signal.SIGHUP)
    if port == 4002:
        daemon.wait_log("reload: reading")
    os.kill(core, signal.SIGKILL)
    wait_for(lambda: daemon.roles().get("core", core) != core and
             daemon.run_tool("status").returncode == 0, "core to be back", 10)
    wait_for(lambda: ports(daemon) == {5000}, "the forbidden lease to end", 5)
    assert not arrives(lab, port) and arrives(lab, 5000)
    assert ask(lab.lan1, port, port).external not in range(4000, 5000)
    assert daemon.stop() == 0


def test_core_starts_with_what_is_in_force(lab, daemon_factory):
    """Not with what the file says since."""
    daemon = daemon_factory(build="release").start()
    reload(daemon, DENY)
    daemon.configure("[nonsense]\n")
    core = daemon.roles()["core"]
    os.kill(core, signal.SIGKILL)
    wait_for(lambda: daemon.roles().get("core", core) != core and
             daemon.run_tool("status").returncode == 0, "core to be back", 10)
    assert ask(lab.lan1, 4000, 4000).external not in range(4000, 5000)


@pytest.mark.parametrize("second", ["[lan wan0]\n", "[nonsense]\n"],
                         ids=["core-refuses", "bad-file"])
def test_second_before_the_first_is_answered(lab, daemon_factory, second):
    """What core took stays in force when it is started again, whatever came next."""
    daemon = daemon_factory(build="release").start()
    core = daemon.roles()["core"]
    daemon.configure(DENY)
    os.kill(core, signal.SIGSTOP)
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_log("reload: reading")
    daemon.configure(second)
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_log("reload: (waiting for core|reading)", 2)
    os.kill(core, signal.SIGCONT)
    daemon.wait_log("the configuration is in force")
    daemon.wait_log("nothing has changed")
    os.kill(core, signal.SIGKILL)
    wait_for(lambda: daemon.roles().get("core", core) != core and
             daemon.run_tool("status").returncode == 0, "core to be back", 10)
    assert ask(lab.lan1, 4000, 4000).external not in range(4000, 5000)


def test_tool_does_not_wait_for_the_dead(daemon_factory):
    """A tool whose daemon goes away says so."""
    daemon = daemon_factory().start()
    daemon.configure("[global]\nhttp-port = 50001\n")
    os.kill(daemon.roles()["core"], signal.SIGSTOP)
    argv = [daemon.tool, "--socket", daemon.control, "--timeout", "1", "reload"]
    done = daemon.lab.gw.run(argv, stdout=subprocess.PIPE)
    os.kill(daemon.roles()["core"], signal.SIGCONT)
    assert done.returncode == 3, done.stdout


def test_stun_comes_and_goes(lab, daemon_factory):
    """A role that only this configuration wants."""
    daemon = daemon_factory().start()
    roles = daemon.roles()
    for _ in range(2):
        reload(daemon, "[wan]\naddress = stun:198.51.100.99\n")
        wait_for(lambda: "stun" in daemon.roles(), "the worker to come")
        reload(daemon, "")
        wait_for(lambda: daemon.roles() == roles, "the worker to go")
    assert daemon.json("status")["status"]["state"] == "ok"
    assert ask(lab.lan1, 4000, 4000).external == 4000


def test_stun_in_one_process(lab, daemon_factory):
    daemon = daemon_factory(arguments=SINGLE).start()
    for _ in range(2):
        reload(daemon, "[wan]\naddress = stun:198.51.100.99\n")
        names = {x["name"] for x in daemon.json_any("status")["status"]["workers"]}
        assert names == {"upnp", "pcp", "stun"}
        reload(daemon, "")
        names = {x["name"] for x in daemon.json("status")["status"]["workers"]}
        assert names == {"upnp", "pcp"}
    assert ask(lab.lan1, 4000, 4000).external == 4000
