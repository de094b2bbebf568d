# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemons that are compared, each on the gateway of a laboratory of its own.

A candidate is made, start()ed, filled and measured, and goes with its laboratory:

    with open_candidate("portreeve-nft", setting) as candidate:
        candidate.start()
        candidate.fill(1000)

All get the same network, the same clients, a firewall that says the same, and the
settings under which each is fastest among those that are as safe: no limit of requests,
hosts map to themselves only, ports from 1024 on, leases kept in a file.
"""

import contextlib
import ipaddress
import json
import os
import select
import shutil
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))

import igd  # noqa: E402 (found by the path above)
import natpmp  # noqa: E402 (found by the path above)
from daemon import Daemon, alive, children  # noqa: E402
from firewall import IPTABLES, NFTABLES  # noqa: E402
from lab import Lab, LabError, wait_for  # noqa: E402

# One of the addresses that are anybody's: the incumbent forwards behind no other.
WAN_NET = "11.22.33"
GATEWAY = "192.168.77.1"
FIRST_CLIENT = "192.168.77.10"
CLIENTS = 20
HTTP_PORT = 49152
LIFETIME_S = 86400
# Ports of the leases that are there while others are measured: UDP, from here on.
FILL_PORT = 1024
PROOF_PORT = 65400
ASK_S = 0.005
# Leases that an incumbent may have more, as a part and in any case, before it begins anew.
MORE_PART, MORE_MIN = 4, 16
# The translation of the iptables candidates is at srcnat: the masquerade comes after it.
AFTER_IPTABLES = "srcnat + 10"

# What a careful owner has, as the laboratory's own; the incumbent's chain comes last, so
# that packets of what is established do not walk through its rules.
INCUMBENT_NFT = """
table inet filter {
	chain miniupnpd {
	}
	chain prerouting_miniupnpd {
	}
	chain postrouting_miniupnpd {
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname { "lan0", "guest0" } oifname "wan0" accept
		jump miniupnpd
	}
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		jump prerouting_miniupnpd
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		jump postrouting_miniupnpd
	}
}
"""
INCUMBENT_IPTABLES = (
    "-P FORWARD DROP",
    "-I FORWARD 1 -i lan0 -o wan0 -j ACCEPT",
    "-I FORWARD 1 -i guest0 -o wan0 -j ACCEPT",
    "-I FORWARD 1 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
)
INCUMBENT_CONFIG = """\
ext_ifname=wan0
listening_ip=lan0
listening_ip=guest0
http_port={http}
enable_upnp=yes
enable_natpmp=yes
min_lifetime=120
max_lifetime=86400
lease_file={leases}
system_uptime=yes
secure_mode=yes
uuid=6f2a2fb8-4a5e-4d4b-8d47-5f0a1e0d6a11
allow 1024-65535 192.168.77.0/24 1024-65535
allow 1024-65535 192.168.78.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
OUR_CONFIG = """
[limits]
leases-per-client = 0
leases-total = 0
requests-per-second = 0
[backend]
type = {backend}
"""

BY_HAND = """
table inet by_hand
delete table inet by_hand
table inet by_hand {{
	map ports {{
		type inet_proto . inet_service : ipv4_addr . inet_service
		{elements}
	}}
	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr {wan} dnat ip to meta l4proto . th dport map @ports
	}}
}}
"""


class NotReached(Exception):
    """A size or an answer that took too long; the text says how long was waited."""


class Setting:
    """Where the programs are."""

    def __init__(self, build, incumbent, step_s=1, reach_s=60):
        """
        build: of portreeve. incumbent: where incumbent.fetch() has unpacked it. step_s:
        how long one step of a measure asks. reach_s: how long a start or filling may take.
        """
        self.build = os.path.abspath(build)
        self.incumbent = os.path.abspath(incumbent)
        self.step_s, self.reach_s = step_s, reach_s

    def bench(self, program):
        return os.path.join(self.build, "test/bench", program)


def get_lease(number):
    """External and internal port, and host, of that lease of fill() and forward()."""
    first = ipaddress.IPv4Address(FIRST_CLIENT)
    return FILL_PORT + number, str(first + number % CLIENTS)


class Candidate:
    """
    A daemon on a gateway. Its public parts: name, backend, gateway, natpmp_port, http_port,
    control_path (of WANIPConnection:1), list_path and list_service (of the version that
    has GetListOfPortMappings), slow (its requests take the longer the more leases there
    are, so few are asked).
    """

    name = backend = None
    firewall = True  # the laboratory's own, which knows portreeve's mark
    gateway, natpmp_port, http_port = GATEWAY, natpmp.PORT, HTTP_PORT
    control_path = list_path = None
    list_service = "urn:schemas-upnp-org:service:WANIPConnection:2"
    incumbent = slow = False

    def __init__(self, lab, setting):
        self.lab, self.setting = lab, setting
        self.filled = 0  # leases of fill()
        self.more = 0  # and what measures left

    # ---- what each candidate has its own way of ----

    def prepare(self):
        """Once, before its first start: firewall and files."""

    def launch(self):
        """Start it without waiting for anything."""

    def stop(self):
        """End it as its service manager would; leases stay in its file."""

    def kill(self):
        """End it with -9."""

    def pids(self):
        """Its processes that are there."""
        return []

    def is_over(self):
        """What launch() started has failed."""
        return False

    def log(self):
        return ""

    def count(self):
        """Leases that the daemon says it has, or that are in the kernel."""
        raise NotImplementedError

    def fill(self, count):
        """It holds so many leases, or a few more, see get_lease(). NotReached."""
        raise NotImplementedError

    def forward(self, count):
        """
        The kernel forwards what it would with count leases of get_lease(); whether the
        daemon knows of them is open. For what measures packets only.
        """
        self.fill(count)

    # ---- what is the same for all ----

    def start(self):
        """Start it; seconds until it answers, with all that it restores. NotReached."""
        began = time.monotonic()
        self.launch()
        self.wait_answer(began + self.setting.reach_s)
        return time.monotonic() - began

    def wait_answer(self, end_s):
        """It answers NAT-PMP (asked again until that instant, else NotReached)."""
        with self.lab.lan1.udp() as sock:
            sock.connect((self.gateway, self.natpmp_port))
            sock.settimeout(ASK_S)
            while time.monotonic() < end_s:
                if self.is_over():
                    raise LabError(f"{self.name} ended at its start:\n{self.log()}")
                try:
                    sock.send(bytes([0, natpmp.OP_ADDRESS]))
                    if len(sock.recv(64)) == 12:
                        return
                except TimeoutError:
                    continue
                except ConnectionRefusedError:
                    select.select([], [], [], ASK_S)
        raise NotReached(f"no answer after {self.setting.reach_s:g} s")

    def load(self, program, *flags, **options):
        """
        A run of load_natpmp or load_soap from the clients: what it tells, and of our
        own `cpu_us`, time on a processor of all processes for each answer, `own_cpu_us`,
        that of the program, and `more`, how many leases were left of earlier ones.
        """
        arguments = [self.setting.bench(program), "--json", "--gateway", self.gateway,
                     "--client", FIRST_CLIENT, "--clients", str(CLIENTS),
                     "--lifetime", str(LIFETIME_S), *flags]
        for name, value in options.items():
            arguments += ["--" + name.replace("_", "-"), str(value)]
        more, before = max(self.more, 0), self.cpu_ns()
        done = self.lab.lan1.run(arguments, timeout=None)
        spent_ns = self.cpu_ns() - before
        try:
            run = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            raise LabError(f"{' '.join(arguments)}: {done.stdout.strip()}") from None
        run["cpu_us"] = spent_ns / 1000 / max(run["granted"], 1)
        run["own_cpu_us"] = run["own_cpu_ns"] / 1000 / max(run["granted"], 1)
        run["more"] = more
        self.more += run["granted"] * {"add": 1, "delete": -1}.get(run["mode"], 0)
        return run

    def prove(self):
        """LabError unless a port that it grants forwards, and no longer when it is deleted."""
        some = {"requests": 1, "window": 1, "first_port": PROOF_PORT}
        for mode, wanted in (("add", True), ("delete", False)):
            self.load("load_natpmp", "--own-ports", mode=mode, **some)
            with self.lab.lan1.udp(PROOF_PORT, address=FIRST_CLIENT) as sink:
                arrived = self.lab.udp_arrives(
                    self.lab.inet1, (self.lab.WAN_ADDRESS, PROOF_PORT), self.lab.lan1,
                    PROOF_PORT, sink=sink)
            if bool(arrived) != wanted:
                raise LabError(f"{self.name}: {mode}, and a packet from the WAN "
                               + ("arrived" if arrived else "did not arrive"))

    def post(self, path, service, action, body):
        """The text of the answer to a SOAP request of a client."""
        status, _, data = igd.request(
            self.lab.lan1, f"http://{self.gateway}:{self.http_port}{path}", "POST", body,
            {"Content-Type": 'text/xml; charset="utf-8"',
             "SOAPAction": f'"{service}#{action}"'})
        if status != 200:
            raise LabError(f"{action}: {status} {data!r}")
        return data.decode()

    def empty_kernel(self):
        """None of its rules is left there, as after a restart of the machine."""
        raise NotImplementedError

    def restore(self, count, empty=True):
        """
        Seconds of a start after a crash with so many leases to restore, into an empty
        kernel or into one that is as it was left. NotReached.
        """
        del count
        self.kill()
        if empty:
            self.empty_kernel()
        return self.start()

    def has_ended(self):
        """It was started, and is no longer there."""
        return not self.pids()

    def revive(self, count):
        """It has ended: start it, with as many leases of fill() unless None. NotReached."""
        del count
        self.start()

    def cpu_ns(self):
        """Time on a processor that its processes have had."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                        total += int(file.read().split()[0])
        return total

    def pss_kib(self):
        """Proportional set sizes of its processes, summed up."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file
                             if line.startswith("Pss:"))
        return total


class Portreeve(Candidate):
    """portreeved with one of its backends."""

    control_path = "/igd1/ctl/WANIPConn1"
    list_path = "/igd2/ctl/WANIPConn1"

    def prepare(self):
        self.daemon = Daemon(self.lab, self.setting.build,
                             OUR_CONFIG.format(backend=self.backend))

    def launch(self):
        self.daemon.launch()

    def stop(self):
        self.daemon.stop()

    def kill(self):
        self.daemon.kill()

    def is_over(self):
        return self.daemon.process.poll() is not None

    def pids(self):
        process = self.daemon.process
        if not process or process.poll() is not None:
            return []
        return [process.pid, *children(process.pid)]

    def log(self):
        return self.daemon.log()

    def count(self):
        return len(self.daemon.leases())

    def fill(self, count):
        wanted = count - self.filled
        if wanted <= 0:
            return
        run = self.load("load_natpmp", "--own-ports", requests=wanted, window=64,
                        first_port=FILL_PORT, skip=self.filled, seconds=self.setting.reach_s)
        self.more -= run["granted"]
        self.filled += run["granted"]
        if run["granted"] < wanted:
            raise NotReached(f"{self.filled} leases in {self.setting.reach_s:g} s: {run}")


class PortreeveNft(Portreeve):
    name, backend = "portreeve-nft", NFTABLES

    def empty_kernel(self):
        self.lab.gw.nft("delete table inet portreeve")


class PortreeveIpt(Portreeve):
    name, backend, slow = "portreeve-ipt", IPTABLES, True

    def empty_kernel(self):
        """There are no rules of others in these tables: the laboratory's are nftables'."""
        for tables in ("iptables-legacy", "ip6tables-legacy"):
            for table in ("nat", "mangle", "filter"):
                for flag in ("-F", "-X"):
                    self.lab.gw.run([tables, "-t", table, flag], check=True)


class Incumbent(Candidate):
    """Debian's miniupnpd with one of its backends."""

    incumbent = slow = True
    firewall = False
    control_path = list_path = "/ctl/IPConn"

    def prepare(self):
        self.root = os.path.join(self.setting.incumbent, self.backend)
        self.binary = os.path.join(self.root, "usr/sbin/miniupnpd")
        if not os.path.exists(self.binary):
            raise LabError(f"{self.binary} is not there: see incumbent.py")
        self.file, self.pid_file, self.leases = (
            os.path.join(self.lab.directory, "miniupnpd." + end)
            for end in ("conf", "pid", "leases"))
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(INCUMBENT_CONFIG.format(http=self.http_port, leases=self.leases))
        self.process = None
        self.restored = {}  # leases -> seconds of the start that restored them
        self.prepare_firewall()

    def prepare_firewall(self):
        raise NotImplementedError

    def empty_chains(self):
        """No rule is left, as after the script that its unit runs when it has ended."""
        raise NotImplementedError

    def launch(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.pid_file)
        # It leaves this process, and tells which one it is then; until it has, it is none.
        self.process = self.lab.gw.start([self.binary, "-f", self.file, "-P", self.pid_file])

    def is_over(self):
        status = self.process.poll()
        # Its parent has left, the pid is told, and nobody has it: it has ended since.
        return status not in (None, 0) or (status == 0 and self.read_pid() is not None
                                           and not self.pids())

    def read_pid(self):
        try:
            with open(self.pid_file, encoding="ascii") as file:
                return int(file.read())
        except (FileNotFoundError, ValueError):
            return None

    def pids(self):
        pid = self.read_pid()
        return [pid] if pid is not None and alive(pid) else []

    def end(self, how):
        for pid in self.pids():
            os.kill(pid, how)
        wait_for(lambda: not self.pids(), f"{self.name} to end", self.setting.reach_s)

    def stop(self):
        self.end(signal.SIGTERM)
        self.empty_chains()

    def kill(self):
        self.end(signal.SIGKILL)

    def log(self):
        return self.process.output() if self.process else ""

    def fill(self, count):
        """By its file and a start, which is faster than to ask."""
        if self.filled == count and self.more <= max(count // MORE_PART, MORE_MIN):
            return
        self.kill()
        self.empty_chains()
        end_s = int(time.time()) + LIFETIME_S
        with open(self.leases, "w", encoding="ascii") as file:
            for number in range(count):
                port, host = get_lease(number)
                file.write(f"UDP:{port}:{host}:{port}:{end_s}:NAT-PMP {port} udp\n")
        self.restored[count] = self.start()
        self.filled, self.more = self.count(), 0
        if self.filled != count:
            raise NotReached(f"{self.filled} of {count} leases were restored")

    def revive(self, count):
        if count is None:
            self.start()
        else:
            self.filled = -1
            self.fill(count)

    def restore(self, count, empty=True):
        """What fill() has measured: it is a start after a crash into emptied chains."""
        assert empty
        if count not in self.restored:
            self.filled = -1
            self.fill(count)
        return self.restored[count]


class IncumbentNft(Incumbent):
    name, backend = "miniupnpd-nft", NFTABLES

    def prepare_firewall(self):
        self.lab.gw.nft(INCUMBENT_NFT)

    def empty_chains(self):
        self.lab.gw.nft("".join(f"flush chain inet filter {chain}miniupnpd\n"
                                for chain in ("", "prerouting_", "postrouting_")))

    def count(self):
        done = self.lab.gw.run(["nft", "list", "chain", "inet", "filter", "miniupnpd"])
        return done.stdout.count(" accept\n")

    def forward(self, count):
        lines = []
        for number in range(count):
            port, host = get_lease(number)
            address = int(ipaddress.IPv4Address(host))
            # Its own comparisons in its own order, so that what does not match costs the
            # same. nft takes no dnat without the last one: what matches has one more.
            lines.append("add rule inet filter miniupnpd iif wan0 "
                         f"th dport {port} @nh,128,32 {address:#x} @nh,72,8 17 accept\n"
                         "add rule inet filter prerouting_miniupnpd iif wan0 @nh,72,8 17 "
                         f"th dport {port} meta l4proto udp dnat ip to {host}:{port}\n")
        self.empty_chains()
        self.lab.gw.nft("".join(lines))


class IncumbentIpt(Incumbent):
    name, backend = "miniupnpd-ipt", IPTABLES

    def prepare_firewall(self):
        # The script of the package calls iptables, which is another where nft's is chosen.
        tools = os.path.join(self.lab.directory, "bin")
        os.mkdir(tools)
        os.symlink(shutil.which("iptables-legacy"), os.path.join(tools, "iptables"))
        self.lab.gw.run(["sh", os.path.join(self.root, "etc/miniupnpd/iptables_init.sh"),
                         "-i", "wan0"], check=True,
                        env=dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}"))
        for line in INCUMBENT_IPTABLES:
            self.lab.gw.run(["iptables-legacy", *line.split()], check=True)

    def load_rules(self, lines):
        self.lab.gw.run(["iptables-legacy-restore", "--noflush"], check=True,
                        input="\n".join(lines) + "\n", timeout=None)

    def empty_chains(self):
        self.load_rules(["*nat", "-F MINIUPNPD", "-F MINIUPNPD-POSTROUTING", "COMMIT",
                         "*filter", "-F MINIUPNPD", "COMMIT"])

    def count(self):
        done = self.lab.gw.run(["iptables-legacy", "-t", "filter", "-S", "MINIUPNPD"])
        return done.stdout.count(" -j ACCEPT\n")

    def forward(self, count):
        leases = [get_lease(number) for number in range(count)]
        self.empty_chains()
        self.load_rules(
            ["*nat", *(f"-A MINIUPNPD -p udp -m udp --dport {port} -j DNAT "
                       f"--to-destination {host}:{port}" for port, host in leases),
             *(f"-A MINIUPNPD-POSTROUTING -s {host}/32 -p udp -m udp --sport {port} "
               f"-j MASQUERADE --to-ports {port}" for port, host in leases),
             "COMMIT", "*filter",
             *(f"-A MINIUPNPD -d {host}/32 -p udp -m udp --dport {port} -j ACCEPT"
               for port, host in leases), "COMMIT"])


class Nobody(Candidate):
    """The same gateway without any daemon: what the kernel does by itself."""

    name = "none"

    def prepare(self):
        self.lab.gw.nft("insert rule inet lab_firewall forward ct status dnat accept")

    def start(self):
        return 0.0

    def has_ended(self):
        return False

    def count(self):
        return 0

    def fill(self, count):
        if count:
            raise NotReached("without a daemon there are no leases")

    def forward(self, count):
        """As an owner would by hand: one rule and a map."""
        leases = [get_lease(number) for number in range(count)]
        self.lab.gw.nft(BY_HAND.format(
            wan=self.lab.WAN_ADDRESS,
            elements="elements = {%s}" % ", ".join(
                f"udp . {port} : {host} . {port}" for port, host in leases) if leases else ""))


OURS = ("portreeve-nft", "portreeve-ipt")
INCUMBENTS = ("miniupnpd-nft", "miniupnpd-ipt")
ALL = (*OURS, *INCUMBENTS)
CANDIDATES = {kind.name: kind for kind in
              (PortreeveNft, IncumbentNft, PortreeveIpt, IncumbentIpt, Nobody)}


@contextlib.contextmanager
def open_candidate(name, setting):
    """It and its laboratory, prepared and not started."""
    kind = CANDIDATES[name]
    masquerade = AFTER_IPTABLES if kind.backend == IPTABLES else "srcnat"
    with Lab(firewall=kind.firewall, wan=WAN_NET, masquerade=masquerade) as lab:
        for number in range(CLIENTS):
            address = ipaddress.IPv4Address(FIRST_CLIENT) + number
            lab.lan1.ip("addr", "add", f"{address}/24", "dev", "eth0")
        candidate = kind(lab, setting)
        candidate.prepare()
        yield candidate
