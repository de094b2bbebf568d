# SPDX-License-Identifier: GPL-2.0-or-later
"""Start, stop, crash, restart, and a world that is not as it should be."""

import binascii
import os
import random
import re
import signal
import socket
import subprocess
import time

import natpmp
import pytest
from firewall import BACKEND, IPTABLES, WRECKS, firewall
from lab import Lab, wait_for

WAN = Lab.WAN_ADDRESS


def add(lab, port, lifetime=3600, host=None, protocol="udp"):
    """A lease by NAT-PMP, external = internal = port."""
    with natpmp.Client(host or lab.lan1) as client:
        answer = client.map(protocol, port, port, lifetime)
        assert (answer.result, answer.external) == (natpmp.OK, port)


def arrives(lab, port, host=None):
    return lab.udp_arrives(lab.inet1, (WAN, port), host or lab.lan1, port) is not None


def stable(leases):
    """What must not change over a restart."""
    return sorted((x["id"], x["protocol"], x["external_port"], x["internal_address"],
                   x["internal_port"], x["origin"], x["description"]) for x in leases)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restart_keeps_leases(lab, daemon_factory, how):
    """Every live lease comes back with its remaining time, and the epoch with it."""
    daemon = daemon_factory().start()
    add(lab, 4000, 600)
    add(lab, 4001, 7200, lab.lan2)
    daemon.admin("add", "tcp", "6000", f"{lab.lan1.ipv4}:6000")
    with natpmp.Client(lab.lan1) as client:
        epoch = client.address().epoch
    before, began = daemon.leases(), time.monotonic()
    getattr(daemon, how)()
    daemon.start()
    after = daemon.leases()
    assert stable(after) == stable(before) and len(after) == 3
    passed = time.monotonic() - began
    for old in before:
        new = next(x for x in after if x["id"] == old["id"])
        if old["lifetime_s"] is not None:
            assert abs(old["lifetime_s"] - new["lifetime_s"] - passed) < 3
    assert arrives(lab, 4000) and arrives(lab, 4001, lab.lan2)
    with natpmp.Client(lab.lan1) as client:  # NP-53
        assert epoch <= client.address().epoch <= epoch + passed + 2
    add(lab, 4002)
    assert max(x["id"] for x in daemon.leases()) > max(x["id"] for x in after)


def leave_in_other_boot(daemon):
    """As if the machine had gone down under the daemon: the mark names another boot."""
    with open(os.path.join(daemon.state, "leases.lock"), "r+b") as file:
        mark = bytearray(file.read())
        mark[2] ^= 1
        mark[-4:] = binascii.crc32(mark[:-4]).to_bytes(4, "big")
        file.seek(0)
        file.write(mark)


def test_power_failure_begins_an_epoch(lab, daemon_factory):
    """NP-52: the last changes may be missing, so clients shall ask again; what is there
    is kept"""
    daemon = daemon_factory().start()
    add(lab, 4000)
    with natpmp.Client(lab.lan1) as client:
        wait_for(lambda: client.address().epoch >= 3, "some time to pass")
        daemon.kill()
        leave_in_other_boot(daemon)
        daemon.start()
        assert client.address().epoch < 3
        assert arrives(lab, 4000)
        wait_for(lambda: client.address().epoch >= 3, "some time to pass")
        assert daemon.stop() == 0
        leave_in_other_boot(daemon)  # of a clean end it does not matter
        daemon.start()
        assert client.address().epoch >= 3
    assert arrives(lab, 4000) and len(daemon.leases()) == 1


@pytest.mark.nftables("the kernel ends leases by itself")
def test_lease_ends_while_the_daemon_is_down(lab, daemon_factory):
    """Nothing outlives its lease: not in the kernel, not over a restart."""
    daemon = daemon_factory().start()
    add(lab, 4000, 2)
    add(lab, 4001, 600)
    daemon.kill()
    wait_for(lambda: not arrives(lab, 4000), "the kernel to end the lease", 5)
    daemon.start()
    assert [x["external_port"] for x in daemon.leases()] == [4001]
    assert not arrives(lab, 4000) and arrives(lab, 4001)


def test_without_store_the_epoch_starts_again(lab, daemon_factory):
    """NP-52: state that was lost is told by the epoch"""
    daemon = daemon_factory()
    daemon.configure("")
    with open(daemon.file, encoding="utf-8") as file:
        text = file.read()
    with open(daemon.file, "w", encoding="utf-8") as file:
        file.write(re.sub(r"state-dir = .*", "state-dir =", text))
    daemon.start()
    add(lab, 4000)
    with natpmp.Client(lab.lan1) as client:
        wait_for(lambda: client.address().epoch >= 3, "some time to pass")
        daemon.stop()
        daemon.start()
        assert client.address().epoch < 2
    assert daemon.leases() == [] and not arrives(lab, 4000)


def test_clean_stop_removes_the_table(lab, daemon_factory):
    daemon = daemon_factory().start()
    add(lab, 4000)
    assert "4000" in daemon.table()
    others = lab.gw.run(["nft", "list", "table", "ip", "lab_nat"]).stdout
    assert daemon.stop() == 0
    assert daemon.table() == ""
    assert lab.gw.run(["nft", "list", "table", "ip", "lab_nat"]).stdout == others
    assert not os.path.exists(daemon.control)
    assert not arrives(lab, 4000)


def test_table_kept_for_a_restart(lab, daemon_factory):
    """keep-rules: no gap while the daemon is stopped"""
    daemon = daemon_factory("[backend]\nkeep-rules = yes\n").start()
    assert ("iptables knows no time" in daemon.log()) == (BACKEND == IPTABLES)
    try:
        add(lab, 4000)
        assert daemon.stop() == 0
        assert arrives(lab, 4000)
        daemon.start()
        assert arrives(lab, 4000)
        assert len(daemon.leases()) == 1
        daemon.stop()
    finally:
        firewall(lab).remove()


def test_stray_rules_are_removed_at_start(lab, daemon_factory):
    """At start the kernel is made to agree with the store."""
    daemon = daemon_factory().start()
    add(lab, 4000)
    daemon.kill()
    firewall(lab).add("udp", 4444, lab.lan1.ipv4, 4444)
    assert arrives(lab, 4444)
    daemon.start()
    assert not arrives(lab, 4444) and arrives(lab, 4000)


@pytest.mark.parametrize("command", WRECKS)
def test_flushed_firewall_heals(lab, daemon, command):
    """When somebody reloads the firewall, everything is back within a second."""
    add(lab, 4000)
    kernel = firewall(lab)
    assert "4000" in kernel.read()
    began = time.monotonic()
    kernel.wreck(command)
    wait_for(lambda: arrives(lab, 4000), "the table to come back", 5)
    assert time.monotonic() - began < kernel.HEALED_S
    add(lab, 4001)
    assert arrives(lab, 4001)
    assert daemon.json("status")["status"]["backend"]["resyncs"] >= 1


def test_own_changes_are_no_disturbance(lab, daemon_factory):
    """A busy minute of ours does not look like a stranger's flush."""
    daemon = daemon_factory("[limits]\nrequests-per-second = 0\n").start()
    with natpmp.Client(lab.lan1) as client:
        for port in range(4000, 4100):
            client.map("udp", port, port, 600)
        for port in range(4000, 4100):
            client.unmap("udp", port)
    assert daemon.json("status")["status"]["backend"]["resyncs"] == 0


def ends(daemon, status, pattern):
    """It does not start: exit status, and one clear line."""
    daemon.launch()
    try:
        got = daemon.process.wait(20)
    except subprocess.TimeoutExpired:
        pytest.fail(f"portreeved runs on:\n{daemon.log()}")
    assert got == status, daemon.log()
    assert re.search(pattern, daemon.log()), daemon.log()


def test_read_only_directory(daemon_factory, tmp_path):
    """What does not help against it is not advised."""
    where = tmp_path / "read-only"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=755", "none", where], check=True)
    try:
        daemon = daemon_factory()
        with open(daemon.file, encoding="utf-8") as file:
            text = re.sub("control-socket = .*", f"control-socket = {where}/socket", file.read())
        with open(daemon.file, "w", encoding="utf-8") as file:
            file.write(text)
        ends(daemon, 1, f"{where} cannot be written: its file system is read-only")
        assert "chown" not in daemon.log()
    finally:
        subprocess.run(["umount", where], check=True)


def test_second_instance(lab, daemon_factory):
    """The second says why and changes nothing; the first serves on."""
    first = daemon_factory().start()
    add(lab, 4000)
    second = daemon_factory()
    second.control = first.control
    second.configure("")
    ends(second, 1, "another portreeved")
    assert first.process.poll() is None
    assert arrives(lab, 4000)
    assert len(first.leases()) == 1


def test_second_instance_apart(lab, daemon_factory):
    """
    With a control socket and a store of its own, too: there is one table in a network
    namespace, so the second says why in one line, before it touches that.
    """
    first = daemon_factory().start()
    add(lab, 4000)
    second = daemon_factory()
    ends(second, 1, "another portreeved")
    assert len(re.findall("another portreeved", second.log())) == 1
    assert not os.path.exists(second.control)
    assert first.process.poll() is None
    assert arrives(lab, 4000)
    assert first.json("status")["status"]["backend"]["resyncs"] == 0
    first.kill()  # and what is left of a dead one is no hindrance
    second.start()
    add(lab, 4001)
    assert arrives(lab, 4001)


def test_stale_control_socket_is_no_hindrance(lab, daemon_factory):
    daemon = daemon_factory()
    daemon.make_run_directory()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(daemon.control)
    daemon.start()
    assert daemon.leases() == []


def test_control_socket_is_somebody_elses(lab, daemon_factory):
    """Another program listens there: it keeps its socket."""
    daemon = daemon_factory()
    daemon.make_run_directory()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(daemon.control)
        other.listen()
        ends(daemon, 1, r"control\.sock")
        assert daemon.table() == ""
        assert os.path.exists(daemon.control)


def test_port_5351_taken(lab, daemon_factory):
    """One clear line; the other protocol serves, and status tells."""
    with lab.gw.udp(natpmp.PORT, "0.0.0.0"):
        daemon = daemon_factory().launch()
        daemon.wait_log(r"5351.*(in use|taken|belongs)")


CONFIG_ERRORS = [
    ("[wann]\n", 4, "wan"),
    ("[wan]\ninterfce = eth0\n", 5, "interface"),
    ("[limits]\nleases-total = many\n", 5, "leases-total"),
    ("[limits]\nlifetime-max = -1\n", 5, "-1"),
    ("[policy]\nrule = permit\n", 5, "allow"),
    ("[policy]\nrule = allow external 2000-1000\n", 5, "2000-1000"),
    ("[backend]\ntype = pf\n", 5, "nftables"),
    ("rubbish\n", 4, "rubbish|="),
]


@pytest.mark.parametrize("text,line,word", CONFIG_ERRORS)
def test_wrong_configuration(lab, daemon_factory, text, line, word):
    """File, line, what is wrong, what would be right; exit 2, nothing changed."""
    daemon = daemon_factory(text)
    ends(daemon, 2, rf"portreeve\.conf:{line}: .*({word})")
    assert daemon.table() == ""
    done = lab.gw.run([daemon.binary, "-c", daemon.file, "--check-config"])
    assert done.returncode == 2 and re.search(rf"portreeve\.conf:{line}: ", done.stdout)


def test_check_config(lab, daemon_factory):
    daemon = daemon_factory("[limits]\nleases-total = 5\n")
    done = lab.gw.run([daemon.binary, "-c", daemon.file, "--check-config"])
    assert (done.returncode, done.stdout) == (0, f"{daemon.file}: no errors\n")
    assert daemon.table() == ""
    daemon.configure("[global]\nnet-user = nosuch\n")
    done = lab.gw.run([daemon.binary, "-c", daemon.file, "--check-config"])
    assert done.returncode == 0 and 'there is no user "nosuch"' in done.stdout, done.stdout


def test_named_file_is_missing(lab, daemon_factory):
    daemon = daemon_factory()
    os.unlink(daemon.file)
    ends(daemon, 2, r"portreeve\.conf.*no such file")


def test_shipped_configuration_is_the_default(lab, daemon_factory):
    """conf/portreeve.conf as installed changes nothing."""
    daemon = daemon_factory()
    root = os.path.dirname(os.path.abspath(__file__)) + "/../.."
    with open(os.path.join(root, "conf/portreeve.conf"), encoding="utf-8") as file:
        shipped = file.read()
    daemon.configure(shipped)
    daemon.start()
    add(lab, 4000)
    assert arrives(lab, 4000)


def test_missing_interface_is_waited_for(lab, daemon_factory):
    """A LAN that is not there yet is served when it comes, and left when it goes."""
    daemon = daemon_factory("[lan lan0]\nprotocols = nat-pmp\n"
                            "[lan late0]\nprotocols = nat-pmp\n").start()
    daemon.wait_log("late0")
    add(lab, 4000)
    lab.gw.ip("link", "add", "late0", "type", "veth", "peer", "name", "late1",
              "netns", lab.lan2.namespace)
    try:
        lab.gw.ip("address", "add", "192.168.79.1/24", "dev", "late0")
        lab.gw.ip("link", "set", "late0", "up")
        lab.lan2.ip("address", "add", "192.168.79.2/24", "dev", "late1")
        lab.lan2.ip("link", "set", "late1", "up")
        with lab.lan2.udp(address="192.168.79.2") as sock:
            def answered():
                sock.settimeout(0.1)
                sock.sendto(bytes(2), ("192.168.79.1", natpmp.PORT))
                try:
                    return len(sock.recv(64)) == 12
                except (TimeoutError, ConnectionRefusedError):
                    return False
            wait_for(answered, "an answer on the new LAN", 5)
    finally:
        lab.gw.ip("link", "del", "late0")
    add(lab, 4001)


def test_wan_interface_comes_later(lab, daemon_factory):
    """No WAN: it starts, says so, and grants when the WAN is there."""
    daemon = daemon_factory("[wan]\ninterface = wan9\n[lan lan0]\n").start()
    daemon.wait_log("wan9")
    with natpmp.Client(lab.lan1) as client:
        assert client.address().result == natpmp.NETWORK_FAILURE
        lab.gw.ip("link", "add", "wan9", "type", "veth", "peer", "name", "wan9p")
        try:
            lab.gw.ip("address", "add", "198.51.100.1/24", "dev", "wan9")
            for name in ("wan9", "wan9p"):
                lab.gw.ip("link", "set", name, "up")
            wait_for(lambda: client.address()[::2] == (natpmp.OK, "198.51.100.1"),
                     "the new WAN", 5)
            assert client.map("udp", 4000, 4000).result == natpmp.OK
        finally:
            lab.gw.ip("link", "del", "wan9")


def test_cannot_tell_the_wan(lab, daemon_factory):
    """Without file and default route it refuses with a clear message."""
    routes = [("del", "default"), ("add", "default", "via", "203.0.113.2")]
    lab.gw.ip("route", *routes[0])
    try:
        ends(daemon_factory(), 1, r"default route")
    finally:
        lab.gw.ip("route", *routes[1])


def store_file(daemon):
    """The largest file of the state directory."""
    paths = [os.path.join(daemon.state, name) for name in os.listdir(daemon.state)]
    return max((p for p in paths if os.path.isfile(p)), key=os.path.getsize)


@pytest.mark.parametrize("harm", ["garbage", "cut", "empty"])
def test_damaged_store_is_set_aside(lab, daemon_factory, harm):
    """It starts, says so, keeps the damaged file, and grants again."""
    daemon = daemon_factory().start()
    add(lab, 4000)
    daemon.stop()
    path = store_file(daemon)
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        if harm == "garbage":
            file.write(random.Random(7).randbytes(size))
        else:
            file.truncate(4096 + 100 if harm == "cut" else 0)
    before = set(os.listdir(daemon.state))
    daemon.start()
    if harm != "empty":
        daemon.wait_log(r"(?i)damaged|set aside")
        assert set(os.listdir(daemon.state)) - before, "the old file is kept"
    assert daemon.leases() == []
    with natpmp.Client(lab.lan1) as client:
        assert client.address().epoch < 3, "lost leases start a new epoch"
    add(lab, 4001)
    assert arrives(lab, 4001)


def test_disk_full(lab, daemon_factory):
    """It serves on, says so in log and status, and mends itself when there is room."""
    daemon = daemon_factory("[limits]\nrequests-per-second = 0\n")
    os.mkdir(daemon.state)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=777", "none",
                           daemon.state], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("cannot mount a tmpfs: " + done.stderr.strip())
    try:
        daemon.start()
        add(lab, 4000)
        ballast = os.path.join(daemon.state, "ballast")
        with open(ballast, "wb", buffering=0) as file:
            with pytest.raises(OSError):
                while file.write(b"x" * 4096):
                    pass
        with natpmp.Client(lab.lan1) as client:
            for port in range(4001, 4101):
                assert client.map("udp", port, port).result == natpmp.OK
        assert arrives(lab, 4100)
        assert daemon.run_tool("status").returncode == 7
        status = daemon.json_any("status")["status"]
        assert status["state"] == "degraded" and status["store"]["state"] != "ok"
        daemon.wait_log(r"(?i)no space|full")
        os.unlink(ballast)
        wait_for(lambda: (add(lab, 4200) or
                          daemon.json_any("status")["status"]["state"] == "ok"),
                 "the store to recover", 30)
        daemon.kill()
        daemon.start()
        assert {4000, 4100, 4200} <= {x["external_port"] for x in daemon.leases()}
    finally:
        daemon.close()
        subprocess.run(["umount", "-l", daemon.state], check=True)


def test_state_directory_is_no_directory(lab, daemon_factory):
    """Leases cannot be kept: told in the log and in status, and served all the same."""
    daemon = daemon_factory()
    with open(daemon.state, "w", encoding="ascii"):
        pass
    daemon.start()
    assert re.search(re.escape(daemon.state) + ".*[Nn]ot a directory", daemon.log())
    status = daemon.json_any("status")["status"]
    assert status["state"] == "degraded" and status["store"]["state"] == "failed"
    add(lab, 4000)
    assert arrives(lab, 4000)


def test_not_root(lab, daemon_factory, copy_for_all):
    """One clear line."""
    daemon = daemon_factory()
    done = lab.gw.run(["setpriv", "--reuid=65534", "--clear-groups", "--regid=65534",
                       copy_for_all(daemon.binary), "-c", daemon.file])
    assert done.returncode == 1 and "root" in done.stdout, done.stdout
    assert len(done.stdout.strip().splitlines()) <= 2


def test_signals_end_it(lab, daemon_factory):
    for how in (signal.SIGINT, signal.SIGTERM):
        daemon = daemon_factory().start()
        assert daemon.stop(how) == 0
        assert daemon.table() == ""


def test_idle_daemon_sleeps(lab, daemon_factory):
    """No wake-ups but its own timers: hardly a context switch in a second."""
    daemon = daemon_factory(build="release").start()
    pids = [daemon.pid, *daemon.roles().values()]

    def switches():
        total = 0
        for pid in pids:
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", file.read(),
                                       re.M)[1])
        return total

    def quiet():
        before, end = switches(), time.monotonic() + 1
        wait_for(lambda: time.monotonic() > end, "a second")
        return switches() - before <= 10
    wait_for(quiet, "an idle second", 20)
