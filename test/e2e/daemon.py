# SPDX-License-Identifier: GPL-2.0-or-later
"""portreeved running on the gateway of a laboratory, and the admin tool beside it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile

from firewall import configure, firewall
from lab import PATIENCE_S, LabError, wait_for

# Sanitizers write into the log; the sandbox lets no process open another file.
SANITIZER_REPORT = re.compile(
    r"ERROR: \w+Sanitizer|runtime error:|\w+Sanitizer:DEADLYSIGNAL|WARNING: \w+Sanitizer")
START_S = 20.0


class CommandError(Exception):
    """The admin tool said no; .status is its exit status, .text what it wrote."""

    def __init__(self, argv, status, text):
        super().__init__(f"{' '.join(argv)}: exit status {status}: {text.strip()}")
        self.status, self.text = status, text


class Daemon:
    """One portreeved: start(), stop(), kill(), and start() again on the same state."""

    def __init__(self, lab, build, config="", **options):
        self.lab = lab
        self.binary = os.path.abspath(os.path.join(build, "daemon/portreeved"))
        self.tool = os.path.abspath(os.path.join(build, "admin/portreeve"))
        if not os.path.exists(self.binary):
            raise LabError(f"{self.binary} is not built")
        self.directory = tempfile.mkdtemp(prefix="gw-", dir=lab.directory)
        os.chmod(self.directory, 0o755)  # the roles run as other users
        self.state = options.get("state", os.path.join(self.directory, "state"))
        self.control = os.path.join(self.directory, "run/control.sock")
        self.file = os.path.join(self.directory, "portreeve.conf")
        self.arguments = options.get("arguments", [])
        self.process = None
        self.notify = None
        self.configure(config)

    def configure(self, config):
        """What stands in the file: config, and where state and control socket are."""
        head = f"[global]\nstate-dir = {self.state}\ncontrol-socket = {self.control}\n"
        if "[global]" in config:
            config = config.replace("[global]\n", head, 1)
            head = ""
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(configure(head + config))

    def make_run_directory(self):
        """The directory of the control socket, before the daemon makes it itself."""
        os.mkdir(os.path.dirname(self.control))
        os.chmod(os.path.dirname(self.control), 0o777)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.process.output() if self.process else ""

    def launch(self):
        """Start it without waiting for anything."""
        path = os.path.join(self.directory, "notify")
        if self.notify:
            self.notify.close()
            os.unlink(path)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.notify.bind(path)
        os.chmod(path, 0o777)
        environment = dict(os.environ, NOTIFY_SOCKET=path)
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        log = os.path.join(self.directory, "log")
        self.process = self.lab.gw.start([self.binary, "-c", self.file, *self.arguments],
                                         log=log, env=environment)
        return self

    def start(self):
        """Start it; when this returns it serves."""
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self, deadline_s=START_S):
        def ready():
            try:
                if b"READY=1" in self.notify.recv(4096):
                    return True
            except BlockingIOError:
                pass
            if self.process.poll() is not None:
                raise RuntimeError("portreeved ended at start with status "
                                   f"{self.process.poll()}:\n{self.log()}")
            return False
        try:
            wait_for(ready, "READY=1 from portreeved", deadline_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; its log:\n{self.log()}") from None

    def wait_log(self, pattern, count=1, deadline_s=PATIENCE_S):
        """Until the log holds `count` lines that match; the last of them."""
        def find():
            found = [line for line in self.log().splitlines() if re.search(pattern, line)]
            return found[count - 1:] or None
        try:
            return wait_for(find, f"{pattern!r} in the log", deadline_s)[-1]
        except TimeoutError as error:
            raise TimeoutError(f"{error}:\n{self.log()}") from None

    def stop(self, how=signal.SIGTERM):
        """End it cleanly; its exit status."""
        return self.process.stop(how)

    def kill(self):
        """End all its processes with -9: the kernel stays, and what it was given."""
        pids = children(self.pid)
        self.process.kill()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(alive(pid) for pid in pids), "all roles to end")

    def close(self):
        if self.process and self.process.poll() is None:
            try:
                self.process.stop()
            except subprocess.TimeoutExpired:
                raise AssertionError(f"portreeved did not end:\n{self.log()}") from None
        if self.notify:
            self.notify.close()

    def check_log(self):
        """No sanitizer found anything."""
        log = self.log()
        assert not SANITIZER_REPORT.search(log), log

    def run_tool(self, *arguments, **options):
        """Run the admin tool; a subprocess.CompletedProcess."""
        argv = [self.tool, "--socket", self.control, *arguments]
        return self.lab.gw.run(argv, **options)

    def admin(self, *arguments):
        """What the admin tool prints; CommandError unless it exits 0."""
        done = self.run_tool(*arguments)
        if done.returncode != 0:
            raise CommandError(["portreeve", *arguments], done.returncode, done.stdout)
        return done.stdout

    def json(self, *arguments):
        return json.loads(self.admin("--json", *arguments))

    def json_any(self, *arguments):
        """The same where the exit status may tell of a degraded daemon."""
        return json.loads(self.run_tool("--json", *arguments).stdout)

    def leases(self):
        """All leases as the admin tool's JSON has them."""
        answer = self.json("list")
        return answer["leases"] if isinstance(answer, dict) else answer

    def roles(self):
        """Its processes but the launcher: name of the role -> pid."""
        found = {}
        for pid in children(self.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                    name = file.read().strip()
                if name.startswith("portreeved:") and alive(pid):
                    found[name.partition(":")[2]] = pid
        return found

    def table(self):
        """The text of what is ours in the kernel; empty when there is nothing."""
        return firewall(self.lab).read()

    def rules(self):
        """The mappings without filters that the kernel holds: a set of firewall.Rule."""
        return firewall(self.lab).rules()


def children(pid):
    """All descendants of a process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            found = [int(child) for child in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return found + [pid for child in found for pid in children(child)]


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
