#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A laboratory of hosts in network namespaces.

    lan1 192.168.77.2 --.                                       .-- inet1 203.0.113.2
    lan2 192.168.77.3 --+-- lan0    gw    wan0 203.0.113.1 -----+-- inet2 203.0.113.3
    guest1 192.168.78.2 --- guest0

with IPv6 beside it: fd77::/64, fd78::/64 and 2001:db8:1::/64. The gateway forwards,
masquerades on wan0, and may have a firewall of its own that forwards nothing inwards but
connections with portreeve's mark.

As a library:

    with Lab() as lab:
        lab.lan1.run(["upnpc", "-s"])
        lab.inet1.udp().sendto(b"hello", ("203.0.113.1", 3074))

A socket belongs to the namespace it was made in for ever, so one Python process talks
for all hosts and no helper processes are needed.

As a command: `lab.py shell [HOST]` opens a shell in a new laboratory, `lab.py clean`
removes what a crashed run left (every start does so too).
"""

import atexit
import contextlib
import ctypes
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

PREFIX = "prlab"
MARK = 0x10000000
CLONE_NEWNET = 0x40000000
CLONE_NEWNS, MS_BIND, MS_REC, MS_SLAVE = 0x20000, 0x1000, 0x4000, 0x80000
# What all users of iptables on a machine lock, whatever their network.
XTABLES_LOCK = b"/run/xtables.lock"
IP_PKTINFO = 8
# Longest wait for something that takes no time on an idle machine.
PATIENCE_S = 10.0
# More than a datagram takes through the laboratory's bridges, with questions for
# neighbours' addresses on the way.
HOPS_MAX = 20

LIBC = ctypes.CDLL(None, use_errno=True)

# With the iptables backend, after the translation that is in iptables.
PRIORITY = "srcnat + 10" if os.environ.get("PORTREEVE_BACKEND") == "iptables" else "srcnat"

MASQUERADE = """
table ip lab_nat {
	chain postrouting {
		type nat hook postrouting priority %s; policy accept;
		oifname "wan0" masquerade
	}
}
"""

# What a careful owner has, with the one line that portreeve asks for.
FIREWALL = """
table inet lab_firewall {
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname { "lan0", "guest0" } oifname "wan0" accept
		ct mark and %#x == %#x accept
	}
}
"""


class LabError(Exception):
    """The laboratory cannot be built; the text says what is missing."""


def wait_for(condition, what, deadline_s=PATIENCE_S):
    """The first true answer of condition(), asked again until the deadline."""
    end = time.monotonic() + deadline_s
    pause = 0.002
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline_s:g} s for {what}")
        select.select([], [], [], pause)
        pause = min(pause * 1.5, 0.05)


@contextlib.contextmanager
def one_processor():
    """Stay on one, so that what is sent is also received in this order."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def set_namespace(fd):
    if LIBC.setns(fd, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, "setns: " + os.strerror(error))


def use_lock(path):
    """This process, and what it starts, locks a file of the laboratory's instead."""
    if (LIBC.unshare(CLONE_NEWNS) != 0
            or LIBC.mount(None, b"/", None, MS_REC | MS_SLAVE, None) != 0
            or LIBC.mount(path.encode(), XTABLES_LOCK, None, MS_BIND, None) != 0):
        error = ctypes.get_errno()
        raise OSError(error, "a lock of our own: " + os.strerror(error))


class Process:
    """A program running in a namespace, its output in a file."""

    def __init__(self, argv, log, popen):
        self.argv, self.log, self.popen = argv, log, popen

    @property
    def pid(self):
        return self.popen.pid

    def poll(self):
        return self.popen.poll()

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait(self, timeout=PATIENCE_S):
        return self.popen.wait(timeout)

    def stop(self, how=signal.SIGTERM, timeout=PATIENCE_S):
        """End it; its exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(how)
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.popen.returncode

    def kill(self):
        """End it and whatever it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(PATIENCE_S)


class Host:
    """One namespace with its addresses."""

    def __init__(self, lab, name, interface, ipv4, ipv6):
        self.lab, self.name, self.interface = lab, name, interface
        self.ipv4, self.ipv6 = ipv4, ipv6
        self.namespace = f"{lab.prefix}-{name}"
        self.fd = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY | os.O_CLOEXEC)

    def __repr__(self):
        return self.name

    @contextlib.contextmanager
    def inside(self):
        """This thread is in the namespace, to open sockets there."""
        set_namespace(self.fd)
        try:
            yield
        finally:
            set_namespace(self.lab.outside_fd)

    def enter(self):
        """This process is in the namespace from now on."""
        set_namespace(self.fd)
        use_lock(self.lab.lock)

    def run(self, argv, timeout=30, check=False, **options):
        """Run a program to its end; a subprocess.CompletedProcess with text output."""
        options.setdefault("stderr", subprocess.STDOUT)
        options.setdefault("stdout", subprocess.PIPE)
        return subprocess.run(argv, preexec_fn=self.enter, text=True, errors="replace",
                              stdin=options.pop("stdin", None if "input" in options
                                                else subprocess.DEVNULL),
                              timeout=timeout, check=check, **options)

    def start(self, argv, log=None, **options):
        """Start a program; a Process that ends with the laboratory at the latest."""
        log = log or os.path.join(self.lab.directory, f"{len(self.lab.processes)}.log")
        with open(log, "ab") as out:
            popen = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=self.enter,
                **options)
        process = Process(argv, log, popen)
        self.lab.processes.append(process)
        return process

    def open_socket(self, family=socket.AF_INET, kind=socket.SOCK_DGRAM, protocol=0):
        with self.inside():
            return socket.socket(family, kind, protocol)

    def address(self, family=socket.AF_INET):
        return self.ipv4 if family == socket.AF_INET else self.ipv6

    def udp(self, port=0, address=None, family=socket.AF_INET):
        """A UDP socket of this host, bound; receiving gives up after PATIENCE_S."""
        sock = self.open_socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self.address(family) if address is None else address, port))
        sock.settimeout(PATIENCE_S)
        return sock

    def listen(self, port, family=socket.AF_INET, address=None):
        """A TCP socket of this host that accepts connections."""
        sock = self.open_socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self.address(family) if address is None else address, port))
        sock.listen(8)
        sock.settimeout(PATIENCE_S)
        return sock

    def connect(self, address, timeout=PATIENCE_S, port=0):
        """A TCP connection from this host."""
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = self.open_socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(timeout)
        try:
            sock.bind((self.address(family), port))
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        return sock

    def capture(self, group, port):
        """A socket that receives what is sent to a multicast group on this link."""
        sock = self.open_socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((group, port))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                        socket.inet_aton(group) + socket.inet_aton(self.ipv4))
        sock.settimeout(PATIENCE_S)
        return sock

    def send_forged(self, source, destination, payload):
        """Send a UDP datagram with any source (address, port), right checksum or none."""
        head = struct.pack("!HHHH", source[1], destination[1], 8 + len(payload), 0)
        packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, 17, 0,
                             socket.inet_aton(source[0]),
                             socket.inet_aton(destination[0])) + head + payload
        with self.open_socket(kind=socket.SOCK_RAW, protocol=socket.IPPROTO_RAW) as sock:
            sock.sendto(packet, (destination[0], 0))

    def write_sysctl(self, name, value):
        with self.inside(), open("/proc/sys/" + name, "w", encoding="ascii") as file:
            file.write(str(value))

    def nft(self, text):
        """Run nft commands; raises LabError with what nft said."""
        done = self.run(["nft", "-f", "-"], input=text)
        if done.returncode != 0:
            raise LabError(f"nft in {self.name}: {done.stdout.strip()}")
        return done.stdout

    def ip(self, *arguments):
        done = self.run(["ip", *arguments])
        if done.returncode != 0:
            raise LabError(f"ip {' '.join(arguments)} in {self.name}: "
                           f"{done.stdout.strip()}")
        return done.stdout


class Lab:
    """The hosts, from `with Lab() as lab:` to the end of that block."""

    WAN_ADDRESS = "203.0.113.1"
    WAN_ADDRESS6 = "2001:db8:1::1"

    # name, interface, IPv4, IPv6, IPv4 gateway, IPv6 gateway, the switch it is plugged in
    HOSTS = (
        ("gw", "wan0", "203.0.113.1", "2001:db8:1::1", None, None, None),
        ("lan1", "eth0", "192.168.77.2", "fd77::2", "192.168.77.1", "fd77::1", "lan0"),
        ("lan2", "eth0", "192.168.77.3", "fd77::3", "192.168.77.1", "fd77::1", "lan0"),
        ("guest1", "eth0", "192.168.78.2", "fd78::2", "192.168.78.1", "fd78::1",
         "guest0"),
        ("inet1", "eth0", "203.0.113.2", "2001:db8:1::2", None, None, "wan"),
        ("inet2", "eth0", "203.0.113.3", "2001:db8:1::3", None, None, "wan"),
    )

    def __init__(self, firewall=True, wan="203.0.113", masquerade=PRIORITY):
        """
        wan: the first three octets of the addresses on the WAN. masquerade: the priority
        of the chain that does it.
        """
        self.firewall, self.masquerade = firewall, masquerade
        self.WAN_ADDRESS = wan + ".1"
        self.HOSTS = tuple(
            tuple(x.replace("203.0.113", wan) if x else x for x in row)
            for row in Lab.HOSTS)
        self.prefix = f"{PREFIX}{os.getpid()}-{random.randrange(0x10000):04x}"
        self.hosts = {}
        self.processes = []
        self.outside_fd = -1
        self.directory = None
        self.lock = None  # what iptables locks in this laboratory

    def __getattr__(self, name):
        try:
            return self.__dict__["hosts"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __enter__(self):
        atexit.register(self.close)
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def build(self):
        check_tools()
        remove_leftovers()
        self.outside_fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.directory = f"/tmp/{self.prefix}"
        os.mkdir(self.directory, 0o755)
        self.lock = os.path.join(self.directory, "xtables.lock")
        for lock in (self.lock, XTABLES_LOCK):
            os.close(os.open(lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        for name in [row[0] for row in self.HOSTS] + ["wan"]:
            call(["ip", "netns", "add", f"{self.prefix}-{name}"],
                 "network namespaces (CONFIG_NET_NS)")
        for row in self.HOSTS:
            self.hosts[row[0]] = Host(self, *row[:4])
        self.hosts["wan"] = Host(self, "wan", "wan", None, None)
        for host in self.hosts.values():
            self.prepare(host)
        self.build_links()
        self.build_addresses()
        self.build_firewall()
        del self.hosts["wan"]

    @staticmethod
    def prepare(host):
        """No duplicate address detection: addresses work at once."""
        for which in ("all", "default"):
            host.write_sysctl(f"net/ipv6/conf/{which}/accept_dad", 0)
            host.write_sysctl(f"net/ipv6/conf/{which}/accept_ra", 0)
        # Where br_netfilter is loaded, what the switches pass on is no business of nft.
        for which in ("iptables", "ip6tables", "arptables"):
            with contextlib.suppress(FileNotFoundError):
                host.write_sysctl(f"net/bridge/bridge-nf-call-{which}", 0)
        if host.name == "gw":
            host.write_sysctl("net/ipv4/ip_forward", 1)
            host.write_sysctl("net/ipv6/conf/all/forwarding", 1)

    def build_links(self):
        bridge = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        self.batch("gw", [f"link add lan0 {bridge}", f"link add guest0 {bridge}"],
                   "Ethernet bridges (CONFIG_BRIDGE)")
        self.batch("wan", [f"link add wan {bridge}"], "Ethernet bridges (CONFIG_BRIDGE)")
        self.batch("gw", ["link add wan0 type veth peer name p-gw netns "
                          f"{self.prefix}-wan"], "virtual Ethernet (CONFIG_VETH)")
        wan = ["link set wan up", "link set p-gw addrgenmode none master wan up"]
        gateway = ["link set lan0 up", "link set guest0 up", "link set wan0 up"]
        for name, interface, _, _, _, _, switch in self.HOSTS:
            if switch:
                where = "wan" if switch == "wan" else "gw"
                self.batch(where, [f"link add p-{name} type veth peer name {interface} "
                                   f"netns {self.prefix}-{name}"],
                           "virtual Ethernet (CONFIG_VETH)")
                (wan if switch == "wan" else gateway).append(
                    f"link set p-{name} addrgenmode none master {switch} up")
        self.batch("wan", wan)
        self.batch("gw", gateway)

    def build_addresses(self):
        self.batch("gw", [
            "link set lo up",
            "address add 192.168.77.1/24 dev lan0", "address add fd77::1/64 dev lan0",
            "address add 192.168.78.1/24 dev guest0", "address add fd78::1/64 dev guest0",
            f"address add {self.WAN_ADDRESS}/24 dev wan0",
            "address add 2001:db8:1::1/64 dev wan0",
            f"route add default via {self.hosts['inet1'].ipv4}",
            "-6 route add default via 2001:db8:1::2"])
        for name, interface, ipv4, ipv6, gateway, gateway6, _ in self.HOSTS[1:]:
            lines = ["link set lo up", f"link set {interface} up",
                     f"address add {ipv4}/24 dev {interface}",
                     f"address add {ipv6}/64 dev {interface}"]
            if gateway:
                lines += [f"route add default via {gateway}",
                          f"-6 route add default via {gateway6}"]
            else:  # IPv6 is not translated: the internet knows the way to the LANs
                lines += [f"-6 route add {net} via 2001:db8:1::1"
                          for net in ("fd77::/64", "fd78::/64")]
            self.batch(name, lines)

    def build_firewall(self):
        try:
            self.hosts["gw"].nft(MASQUERADE % self.masquerade)
            if self.firewall:
                self.hosts["gw"].nft(FIREWALL % (MARK, MARK))
        except LabError as error:
            raise LabError("missing kernel feature: nftables with NAT, masquerading and "
                           "connection tracking (CONFIG_NF_TABLES, CONFIG_NFT_NAT, "
                           f"CONFIG_NFT_MASQ, CONFIG_NFT_CT): {error}") from None

    def batch(self, name, lines, feature=None):
        """ip commands in one process. -6 at the start of a line is IPv6."""
        for version in ("-4", "-6"):
            part = [line.removeprefix("-6 ") for line in lines
                    if line.startswith("-6 ") == (version == "-6")]
            if part:
                options = [] if version == "-4" else ["-6"]
                call(["ip", *options, "-n", f"{self.prefix}-{name}", "-batch", "-"],
                     feature, "\n".join(part) + "\n")

    def close(self):
        atexit.unregister(self.close)
        for process in self.processes:
            process.kill()
        self.processes.clear()
        for host in self.hosts.values():
            os.close(host.fd)
        self.hosts.clear()
        remove_namespaces(self.prefix)
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None
        if self.outside_fd >= 0:
            os.close(self.outside_fd)
            self.outside_fd = -1

    # What the tests are about: does a packet get through?

    def udp_arrives(self, sender, target, receiver, port, **options):
        """
        Send a datagram from sender to target (address, port). The source address and
        port that receiver:port saw, or None when it did not arrive. Options: source
        (socket of the sender), sink (socket of the receiver), reply (False: one way).
        """
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        with contextlib.ExitStack() as stack:
            sink = options.get("sink") or stack.enter_context(
                receiver.udp(port, family=family))
            source = options.get("source") or stack.enter_context(
                sender.udp(family=family))
            token = b"token %016x" % random.getrandbits(64)
            with one_processor():
                source.sendto(token, target)
                seen = self.receive_until_marker(sink, token, family)
            if seen and options.get("reply", True):
                sink.sendto(b"re: " + token, seen)
                answer = receive(source, b"re: " + token, PATIENCE_S)
                assert answer, f"{token} arrived from {seen}, its answer did not"
                assert answer[:2] == target, f"{target} was asked, {answer} answers"
            return seen[:2] if seen else None

    def receive_until_marker(self, sink, token, family):
        """
        The source of the datagram `token`; None once later ones of the gateway's own
        arrived instead. A processor's packets wait in one queue, into which each hop
        puts them again: when as many markers came, one after the other, as the token has
        hops, it is not on its way any more. So nothing is a guessed wait.
        """
        for _ in range(HOPS_MAX):
            source = self.receive_or_marker(sink, token, family)
            if source:
                return source
        return None

    def receive_or_marker(self, sink, token, family):
        """The source of the datagram `token`, or None when a new marker came before."""
        marker = b"marker %016x" % random.getrandbits(64)
        address = sink.getsockname()
        with self.hosts["gw"].udp(address="", family=family) as gateway:
            gateway.sendto(marker, address[:2])
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            sink.settimeout(max(end - time.monotonic(), 0.001))
            with contextlib.suppress(TimeoutError):
                data, source = sink.recvfrom(2048)
                if data in (token, marker):
                    return source if data == token else None
        raise TimeoutError(f"the marker did not reach {address}")

    def tcp_arrives(self, sender, target, receiver, port, timeout=0.5):
        """The same by TCP: connect, send, answer. The source seen, or None."""
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        with receiver.listen(port, family) as server:
            try:
                client = sender.connect(target, timeout)
            except OSError:
                return None
            with client:
                server.settimeout(timeout)
                try:
                    connection, source = server.accept()
                except TimeoutError:
                    return None  # somebody else answered
                with connection:
                    connection.settimeout(PATIENCE_S)
                    client.sendall(b"ping")
                    assert connection.recv(4) == b"ping"
                    connection.sendall(b"pong")
                    assert client.recv(4) == b"pong"
                return source[:2]


def receive(sock, wanted, deadline_s):
    """Source of the first datagram equal to wanted, or None at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([sock], [], [], left)[0]:
            return None
        data, source = sock.recvfrom(2048)
        if data == wanted:
            return source


def call(argv, feature=None, text=None):
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        what = done.stderr.strip().splitlines()[:1] or ["failed"]
        hint = f"missing kernel feature: {feature}: " if feature else ""
        raise LabError(f"{hint}{' '.join(argv)}: {what[0]}")
    return done.stdout


def check_tools():
    if os.geteuid() != 0:
        raise LabError("the laboratory needs root: network namespaces are made there")
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        if not shutil.which(tool):
            raise LabError(f"{tool} is not installed (Debian package {package})")


def remove_namespaces(prefix):
    """Remove our namespaces of that name, and what still runs in them."""
    for line in call(["ip", "netns", "list"]).splitlines():
        name = line.split()[0]
        if not re.fullmatch(re.escape(prefix) + r"(-\w+)+", name):
            continue
        try:
            remove_namespace(name)
        except LabError:
            # Laboratories that begin at the same time clean up the same.
            if os.path.exists("/run/netns/" + name):
                raise


def remove_namespace(name):
    for pid in call(["ip", "netns", "pids", name]).split():
        if int(pid) != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    call(["ip", "netns", "del", name])


def remove_leftovers():
    """Remove the laboratories of runs that are no more."""
    try:
        names = {line.split()[0] for line in call(["ip", "netns", "list"]).splitlines()}
    except LabError as error:
        raise LabError(f"missing kernel feature: network namespaces: {error}") from None
    owners = {found.group(0, 1) for found in
              (re.match(PREFIX + r"(\d+)", name) for name in names) if found}
    for prefix, pid in owners:
        if not os.path.exists(f"/proc/{pid}"):
            remove_namespaces(prefix)
            for name in os.listdir("/tmp"):
                if name.startswith(prefix + "-"):
                    shutil.rmtree("/tmp/" + name, ignore_errors=True)


def end_by_signal(*_):
    sys.exit(130)


def main():
    if sys.argv[1:] == ["clean"]:
        check_tools()
        remove_leftovers()
        return 0
    if sys.argv[1:2] != ["shell"] or len(sys.argv) > 3:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, end_by_signal)
    with Lab() as lab:
        host = lab.hosts[sys.argv[2]] if len(sys.argv) == 3 else lab.gw
        print("namespaces:", " ".join(h.namespace for h in lab.hosts.values()))
        print(f"shell in {host}; exit removes everything")
        return subprocess.run([os.environ.get("SHELL", "/bin/sh")], check=False,
                              preexec_fn=lambda: set_namespace(host.fd)).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as problem:
        sys.exit(f"lab: {problem}")
