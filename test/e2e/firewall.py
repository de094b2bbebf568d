# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the kernel of the gateway holds of ours, whichever backend the daemon uses.

PORTREEVE_BACKEND=nftables or iptables chooses the backend of every daemon whose test does
not name one itself. firewall(lab) then reads the kernel, and does what strangers do.
"""

import collections
import json
import os
import re

NFTABLES, IPTABLES = "nftables", "iptables"
CHOSEN = os.environ.get("PORTREEVE_BACKEND", "")
BACKEND = CHOSEN or NFTABLES
# The laboratory's own tables, which a host's firewall would load again.
OTHERS = ("ip lab_nat", "inet lab_firewall")
TOOLS = {4: ("iptables-legacy", ("nat", "mangle", "filter")),
         6: ("ip6tables-legacy", ("mangle", "filter"))}

# A mapping without filters; of a pinhole the host's own port is the external one.
Rule = collections.namedtuple("Rule", "protocol external host internal")


def configure(text):
    """A configuration with the chosen backend where it names none."""
    if not CHOSEN or re.search(r"^\s*type\s*=", text, re.M):
        return text
    line = f"[backend]\ntype = {CHOSEN}\n"
    if "[backend]\n" in text:
        return text.replace("[backend]\n", line, 1)
    return text + line


class Nftables:
    """`table inet portreeve`"""

    # What strangers do, and how long it takes until everything forwards again.
    WRECKS = ("flush ruleset", "delete table inet portreeve",
              "flush map inet portreeve dnat4")
    WRECK6 = "flush ruleset"
    HEALED_S = 1.0

    def __init__(self, lab):
        self.gw = lab.gw

    def read(self):
        """All that is ours as text, "" when there is nothing."""
        done = self.gw.run(["nft", "list", "table", "inet", "portreeve"])
        return done.stdout if done.returncode == 0 else ""

    def remove(self):
        self.gw.run(["nft", "delete", "table", "inet", "portreeve"])

    def pack_wreck(self, command):
        """`command` as a reload of the firewall does it: other tables are loaded again."""
        if "ruleset" not in command:
            return command + "\n"
        others = "".join(self.gw.run(["nft", "list", "table", *name.split()]).stdout
                         for name in OTHERS)
        return f"{command}\n{others}"

    def wreck(self, command):
        self.gw.nft(self.pack_wreck(command))

    def add(self, protocol, external, host, internal):
        """A mapping that is not ours among ours."""
        self.gw.nft("add element inet portreeve dnat4 "
                    f"{{ {protocol} . {external} timeout 1h : {host} . {internal} }}\n"
                    "add element inet portreeve count4 "
                    f"{{ {protocol} . {external} . {host} . {internal} timeout 1h }}")

    def elements(self):
        """Name of a map or set -> its elements, each a tuple of key and value."""
        done = self.gw.run(["nft", "-j", "list", "table", "inet", "portreeve"])
        found = {}
        for item in json.loads(done.stdout)["nftables"] if done.returncode == 0 else []:
            for kind in ("map", "set"):
                if kind in item:
                    found[item[kind]["name"]] = {flatten(x)
                                                 for x in item[kind].get("elem", ())}
        return found

    def rules(self):
        elements = self.elements()
        return ({Rule(*x) for x in elements.get("dnat4", ())}
                | {Rule(protocol, port, host, port)
                   for protocol, host, port in elements.get("pinhole6", ())})


def flatten(element):
    """What nft's JSON has of one element: (protocol, port, address, ...)"""
    if isinstance(element, list):  # key and value of a map
        return flatten(element[0]) + flatten(element[1])
    if isinstance(element, dict):
        if "elem" in element:
            return flatten(element["elem"]["val"])
        return tuple(element["concat"])
    return (element,)


class Iptables:
    """Chains whose names begin with PORTREEVE, and the jumps to them."""

    WRECKS = ("iptables-legacy -t nat -F", "iptables-legacy -t mangle -F",
              "iptables-legacy -t nat -D {first nat}")
    WRECK6 = "ip6tables-legacy -t mangle -F"
    HEALED_S = 6.0  # the backend has no notifications: it looks every few seconds

    def __init__(self, lab):
        self.gw = lab.gw

    def save(self, version):
        return self.gw.run([f"{TOOLS[version][0]}-save"]).stdout.splitlines()

    def read(self):
        return "".join(line + "\n" for version in TOOLS for line in self.save(version)
                       if "PORTREEVE" in line)

    def remove(self):
        """Jumps first, then rules, then the chains, as an owner would by hand."""
        for version, (tool, tables) in TOOLS.items():
            for table in tables:
                lines = [line for line in self.gw.run([tool + "-save", "-t", table])
                         .stdout.splitlines() if "PORTREEVE" not in line]
                self.gw.run([tool + "-restore", "-T", table], check=True,
                            input="\n".join(lines) + "\n")

    def wreck(self, command):
        if "{first nat}" in command:
            line = next(x for x in self.save(4) if x.startswith("-A PORTREEVE")
                        and "--to-destination" in x)
            command = command.replace("{first nat}", line.removeprefix("-A "))
        self.gw.run(command.split(), check=True)

    def add(self, protocol, external, host, internal):
        self.gw.run(["iptables-legacy", "-t", "nat", "-I", "PORTREEVE-DNAT", "-p", protocol,
                     "--dport", str(external), "-j", "DNAT", "--to-destination",
                     f"{host}:{internal}"], check=True)
        self.gw.run(["iptables-legacy", "-t", "mangle", "-I", "PORTREEVE-NEW", "-m",
                     "conntrack", "--ctproto", protocol, "--ctorigdstport", str(external),
                     "-g", "PORTREEVE-SET"], check=True)

    def leaves(self):
        """Options of each rule of ours that is about single ports."""
        for line in self.save(4):
            if re.match(r"-A PORTREEVE-[A-Z]+-(udp|tcp)-[0-9]+ ", line):
                yield parse_options(line)

    def elements(self):
        """As the sets of nftables would have it: what marks and counts, SNAT, held ports."""
        found = {"count4": set(), "snat4": set(), "held4": set()}
        for words in self.leaves():
            protocol = words["-p"]
            if words.get("-g", "").startswith("PORTREEVE-SET"):
                found["count4"].add((protocol, int(words["--ctorigdstport"]),
                                     words["--ctreplsrc"], int(words["--ctreplsrcport"])))
            elif words.get("-j") == "SNAT":
                host = words["-s"].removesuffix("/32")
                to, _, port = words["--to-source"].partition(":")
                found["snat4"].add((protocol, host, int(words["--sports"]), to, int(port)))
            elif words.get("-g") == "PORTREEVE-HELD":
                found["held4"] |= {(protocol, port) for port in parse_ports(words["--sports"])}
        return found

    def rules(self):
        found = set()
        for line in self.save(4):
            words = parse_options(line)
            if line.startswith("-A PORTREEVE") and words.get("-j") == "DNAT":
                host, _, port = words["--to-destination"].partition(":")
                external = words.get("--dport") or words["--dports"]
                found |= {Rule(words["-p"], number, host, int(port or number))
                          for number in parse_ports(external)}
        for line in self.save(6):
            words = parse_options(line)
            if line.startswith("-A PORTREEVE") and {"-p", "--ctorigdst"} <= set(words):
                port = int(words["--ctorigdstport"])
                host = words["--ctorigdst"]
                found.add(Rule(words["-p"], port, host, port))
        return found


def parse_options(line):
    """Options of a line of iptables-save, each with the word after it."""
    words = line.split()
    return {words[i]: words[i + 1] for i in range(len(words) - 1)
            if words[i].startswith("-")}


def parse_ports(text):
    """The ports that `multiport` is given: 1,5:7"""
    for part in text.split(","):
        first, _, last = part.partition(":")
        yield from range(int(first), int(last or first) + 1)


BACKENDS = {NFTABLES: Nftables, IPTABLES: Iptables}
WRECKS = BACKENDS[BACKEND].WRECKS


def firewall(lab):
    return BACKENDS[BACKEND](lab)
