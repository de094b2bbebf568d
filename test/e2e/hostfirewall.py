# SPDX-License-Identifier: GPL-2.0-or-later
"""
Firewalls that hosts have besides portreeve's table, loaded on the gateway of a laboratory:
as text that was written once, or by the programs that Debian packages.
"""

import os
import re
import shutil
import subprocess

from lab import MARK, wait_for

RULESETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rulesets")
# The rule that portreeve puts into others' chains, as nft and as iptables list it.
OURS = re.compile(rf"^\s*ct mark (and|&) {MARK:#x} == {MARK:#x}.*\n", re.M)
OURS_IPTABLES = (f"-m connmark --mark {MARK:#x}/{MARK:#x} -m comment --comment portreeve "
                 "-j ACCEPT")
STARTUP_S = 20.0


class HostFirewall:
    """
    chains: those that keep leased traffic out. lets: what of it passes all the same, as
    "ipv4". named: one chain that integrate may name for each family.
    """

    name = ""
    chains = ()
    lets = ()

    def __init__(self, lab):
        self.lab, self.gw = lab, lab.gw

    def run(self, *argv, **options):
        done = self.gw.run(list(argv), **options)
        assert done.returncode == 0, f"{argv}: {done.stdout}"
        return done.stdout

    def load(self):
        """Put it in force."""
        raise NotImplementedError

    def reload(self):
        """As its owner does who has changed something."""
        self.load()

    def check(self):
        """Its own tools work as ever."""

    def unload(self):
        """What it has besides the kernel's rules goes."""

    def listing(self):
        """Every rule with its handle but our table, and without ours in others'."""
        text = self.gw.run(["nft", "-a", "-s", "list", "ruleset"],
                           stderr=subprocess.DEVNULL).stdout
        text = re.sub(r"^table inet portreeve \{.*?^\}\n", "", text, flags=re.M | re.S)
        return OURS.sub("", text)

    def count_ours(self):
        """Chain of another's -> how many rules of ours it has."""
        found = {}
        text = self.gw.run(["nft", "list", "ruleset"], stderr=subprocess.DEVNULL).stdout
        for table, body in re.findall(r"^table (\S+ \S+) \{(.*?)^\}", text, re.M | re.S):
            for chain, rules in re.findall(r"^\tchain (\S+) \{(.*?)^\t\}", body,
                                           re.M | re.S):
                count = len(OURS.findall(rules))
                if count and table != "inet portreeve":
                    found[f"{table} {chain}"] = count
        return found


class Nftables(HostFirewall):
    """nftables.service: the file begins with flush ruleset."""

    name = "nftables"
    file = "nftables.nft"
    chains = ("inet filter forward",)

    def load(self):
        self.gw.nft(f'include "{RULESETS}/{self.file}"\n')

    def reload(self):
        self.gw.nft(f'delete table inet filter\ninclude "{RULESETS}/{self.file}"\n')


class Fw4(Nftables):
    """OpenWrt: the text flushes its own table."""

    name = "fw4"
    file = "fw4.nft"
    chains = ("inet fw4 forward",)

    def reload(self):
        self.load()


class Docker(HostFirewall):
    """iptables-nft with FORWARD's policy DROP; reloaded by iptables-restore."""

    name = "docker"
    chains = ("ip filter FORWARD", "ip6 filter FORWARD")

    def load(self):
        for tool in ("iptables", "ip6tables"):
            self.run(f"{tool}-nft-restore", f"{RULESETS}/docker.{tool}")

    def check(self):
        for tool in ("iptables-nft", "ip6tables-nft"):
            text = self.run(tool, "-S", "FORWARD")
            assert text.count(OURS_IPTABLES) == 1, text
            assert f"-A FORWARD {OURS_IPTABLES}" == text.splitlines()[1], text
            assert "incompatible" not in self.run(tool, "-L", "-n")

    def save_and_restore(self):
        """netfilter-persistent: what was in force, ours and all, is in force again."""
        for tool in ("iptables-nft", "ip6tables-nft"):
            saved = self.run(f"{tool}-save", stderr=subprocess.DEVNULL)
            assert OURS_IPTABLES in saved
            self.run(f"{tool}-restore", input=saved)


class Ufw(HostFirewall):
    """The real one, with a copy of its configuration that only it sees."""

    name = "ufw"
    chains = ("ip filter FORWARD", "ip6 filter FORWARD")
    keep = ("/etc/ufw", "/etc/default/ufw")

    def __init__(self, lab):
        super().__init__(lab)
        self.directory = os.path.join(lab.directory, "ufw")

    def ufw(self, *arguments):
        binds = "; ".join(f"mount --bind {self.directory}{path} {path}" for path in self.keep)
        script = f"mount --make-rprivate /; {binds}; exec ufw \"$@\""
        return self.run("unshare", "-m", "sh", "-ec", script, "ufw", *arguments)

    def load(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        for path in self.keep:
            os.makedirs(self.directory + os.path.dirname(path), exist_ok=True)
            copy = shutil.copytree if os.path.isdir(path) else shutil.copy
            copy(path, self.directory + path)
        for lan in ("lan0", "guest0"):
            self.ufw("allow", "in", "on", lan)
            self.ufw("route", "allow", "in", "on", lan, "out", "on", "wan0")
        assert "enabled" in self.ufw("--force", "enable")

    def reload(self):
        assert "reloaded" in self.ufw("reload")

    def check(self):
        assert "Status: active" in self.ufw("status")
        assert OURS_IPTABLES in self.run("iptables-nft", "-S", "FORWARD")
        self.ufw("allow", "in", "on", "lan0", "to", "any", "port", "8123")
        assert "8123" in self.ufw("status")

    def unload(self):
        if os.path.exists(self.directory):
            self.ufw("disable")
            shutil.rmtree(self.directory)


BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/>
    <allow send_requested_reply="true"/><allow receive_requested_reply="true"/>
    <allow receive_type="method_call"/><allow receive_type="signal"/>
  </policy>
</busconfig>
"""
ZONE = """<?xml version="1.0" encoding="utf-8"?>
<zone{target}>{interfaces}</zone>
"""


class Firewalld(HostFirewall):
    """
    The real one, on a bus of its own, wan0 in the zone external. It lets translated
    connections pass, whoever translated them.
    """

    name = "firewalld"
    chains = ("inet firewalld filter_FORWARD",)
    lets = ("ipv4",)

    def __init__(self, lab):
        super().__init__(lab)
        self.directory = os.path.join(lab.directory, "firewalld")
        self.bus = os.path.join(self.directory, "bus")
        self.environment = dict(os.environ,
                                DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={self.bus}")
        self.processes = []

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def command(self, *arguments):
        return self.run("firewall-cmd", *arguments, env=self.environment)

    def load(self):
        self.write("firewalld.conf", "DefaultZone=external\n")
        self.write("zones/external.xml", ZONE.format(
            target="", interfaces='<interface name="wan0"/>'))
        self.write("zones/trusted.xml", ZONE.format(
            target=' target="ACCEPT"',
            interfaces='<interface name="lan0"/><interface name="guest0"/>'))
        bus = self.write("bus.conf", BUS.format(path=self.bus))
        self.start("dbus-daemon", f"--config-file={bus}", "--nofork", "--nopidfile")
        wait_for(lambda: os.path.exists(self.bus), "a message bus", STARTUP_S)
        self.start("firewalld", "--nofork", "--nopid", "--log-target", "console",
                   "--system-config", self.directory)
        wait_for(self.is_running, "firewalld", STARTUP_S)

    def start(self, *argv):
        self.processes.append(self.gw.start(list(argv), env=self.environment))

    def is_running(self):
        done = self.gw.run(["firewall-cmd", "--state"], env=self.environment)
        return done.returncode == 0

    def reload(self):
        self.command("--reload")

    def check(self):
        assert "wan0" in self.command("--zone=external", "--list-interfaces")
        self.command("--zone=external", "--add-port=8123/tcp")

    def unload(self):
        for process in reversed(self.processes):
            process.stop()
        self.processes.clear()
        shutil.rmtree(self.directory, ignore_errors=True)


FIREWALLS = {kind.name: kind for kind in (Nftables, Fw4, Docker, Ufw, Firewalld)}
NEEDS = {"ufw": "ufw", "firewalld": "firewalld", "docker": "iptables-nft-restore"}


def find_missing(name):
    """The program that a firewall needs and that is not installed; None."""
    program = NEEDS.get(name)
    return program if program and not shutil.which(program) else None
