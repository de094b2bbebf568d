# SPDX-License-Identifier: GPL-2.0-or-later
"""A backend without a daemon, for tests: backend_tool in the gateway."""

import os
import subprocess

from conftest import get_build
from firewall import BACKEND, firewall
from lab import wait_for

BACKEND_TOOL = os.path.join(get_build("asan"), "test/e2e/backend_tool")
WAN = "203.0.113.1"
LAN1 = "192.168.77.2"
LAN2 = "192.168.77.3"
PATIENCE_MS = 5000
# Longer than any notification takes; what must not come is waited for this long.
QUIET_MS = 200


class ToolError(Exception):
    """The backend refused; the text is the name of the error."""


class Tool:
    """backend_tool in the gateway: a daemon reduced to its backend."""

    def __init__(self, lab, prefix=(), uid=None, path=BACKEND_TOOL, backend=BACKEND):
        self.log = os.path.join(lab.directory, f"tool{len(os.listdir(lab.directory))}.log")

        def enter():
            lab.gw.enter()
            if uid is not None:
                os.setgroups([])
                os.setresuid(uid, uid, uid)

        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*prefix, path, backend], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True, bufsize=1, preexec_fn=enter)

    def send(self, *lines):
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.flush()

    def read(self):
        lines = []
        while True:
            line = self.process.stdout.readline()
            assert line, f"backend_tool ended: {self.output()}"
            words = line.split()
            if words[0] == "ok":
                return lines, [int(word) for word in words[1:]]
            if words[0] == "error":
                raise ToolError(words[1])
            lines.append(line.strip())

    def do(self, line):
        self.send(line)
        return self.read()

    def start(self, options="", addresses=WAN):
        self.do(f"open {options}")
        self.network("wan0", addresses)
        return self

    def network(self, wan, addresses):
        """The LANs of the laboratory, and this WAN."""
        self.do(f"network {wan} lan0,guest0 {addresses} 192.168.77.0/24,192.168.78.0/24")

    def apply(self, *changes):
        for change in changes:
            self.do(change)
        self.do("apply")

    def sync(self, *rules):
        """(added, removed)"""
        for rule in rules:
            self.do(f"want {rule}")
        return tuple(self.do("sync")[1])

    def dump(self):
        """Rules without their time left, sorted."""
        rows = []
        for line in self.do("dump")[0]:
            words = line.split()[1:]
            rows.append(" ".join(words[:5] + words[6:]))
        return sorted(rows)

    def disturbed(self, wait_ms=PATIENCE_MS):
        return self.do(f"event {wait_ms}")[1][0]

    def settle(self, done, what):
        """Serve the backend until it has ended the flows that it shall end."""
        wait_for(lambda: not self.disturbed(50) and done(), what)

    def counters(self, rule):
        return tuple(self.do(f"counters {rule}")[1])

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self, how="close"):
        """close, keep, or kill"""
        if self.process.poll() is None:
            if how == "kill":
                self.process.kill()
            elif how == "close":
                self.do("close")
            self.process.stdin.close()
            self.process.wait(10)
        assert "Sanitizer" not in self.output() and "runtime error" not in self.output(), \
            self.output()


def serve_tools(lab):
    """The fixture "tools" of a test file: as pytest wants it, a generator."""
    made = []
    # A flow of an earlier test would take packets of the same ports its own way.
    assert lab.gw.run(["conntrack", "-F"]).returncode == 0

    def make(**options):
        made.append(Tool(lab, **options))
        return made[-1]

    yield make
    for tool in made:
        if tool.process.poll() is None:
            tool.stop("keep")
    firewall(lab).remove()


def rule(protocol="udp", external=5000, internal=6000, **more):
    host = more.get("host", LAN1)
    address = more.get("address", host if ":" in host else WAN)
    words = [protocol, address, external, host, internal, more.get("timeout", 600000),
             "out" if more.get("out") else "-", *more.get("filters", ())]
    return " ".join(str(word) for word in words)


def pinhole(**more):
    return rule(external=6000, host=more.pop("host", "fd77::2"), **more)


def stripped(text):
    words = text.split()
    return " ".join(words[:5] + words[6:])


def flows(lab, *arguments):
    return lab.gw.run(["conntrack", "-L", *arguments], stderr=subprocess.DEVNULL).stdout


def count_elements(lab):
    return lab.gw.run(["nft", "list", "table", "inet", "portreeve"]).stdout.count("expires")


# On an "old" kernel the backend uses neither in-place updates nor DESTROYSETELEM.
OLD_KERNEL = ("setarch", "--uname-2.6")
