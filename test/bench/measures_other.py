# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures of what is no request: the kernel alone, bad company, news, and silence.

The kernel's own limit is that of bench_kernel, the same elements without a daemon; the
rate is that of a processor's time, as in measures_data.py. Bad
company are clients that hold connections and say nothing, or little, and one that asks
as fast as it can while another wants to be served. News is an external address that
changes; the time is that to the first announcement. Silence is how often processes wake
up when nobody asks.
"""

import contextlib
import itertools
import json
import select
import socket
import statistics
import threading
import time

import flood
import natpmp
import wire
from candidates import ALL, OURS, OUR_CONFIG
from lab import set_namespace
from measures import LESS, MORE, Sample, measure

KERNEL_LEASES = {"short": (0, 10000), "full": (0, 100, 1000, 5000, 10000, 50000)}
KERNEL_SAMPLES = {1: 2000, 64: 6400}

HOLDERS, HOLDER_ADDRESSES = 64, 8
FIRST_HOLDER = 120  # 192.168.77.120 and on
# A holder that dribbles says an octet of this time after time.
SLOW_REQUEST = b"GET /rootDesc.xml HTTP/1.1\r\nHost: 192.168.77.1\r\nX-Long: " + 1000 * b"x"
DRIBBLE_S = 0.1
SOAP_PORT, SOAP_ADDS = 56000, 100

FLOOD_SETTLE_S, FLOOD_S = 1.0, 3.0
ANSWER_S = 10 * flood.PROMPT_S  # as flood.Honest has it
HONEST_PORT, HONEST_PORTS = 6000, 50

MOVES = 4
NEWS_S = 5.0
IDLE_S = 20.0
ONCE, SHORTLY_ONCE = {"short": 1, "full": 1}, {"short": 1}


def measure_kernel(form, candidate, leases):
    del leases  # it makes its own
    samples = []
    for held, (batch, count) in itertools.product(KERNEL_LEASES[form],
                                                  KERNEL_SAMPLES.items()):
        done = candidate.lab.gw.run([candidate.setting.bench("bench_kernel"), "--json",
                                     "--leases", str(held), "--batch", str(batch),
                                     "--samples", str(count)], check=True)
        for line in map(json.loads, done.stdout.splitlines()):
            what = "a lease" if line["what"] == "lease" else f"element of {line['what']}"
            samples.append(Sample(f"kernel, {what}, {batch} a transaction", held, "1/s",
                                  1e6 / line["cpu_us"], MORE))
    return samples


def count_wakeups(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return sum(int(line.split()[1]) for line in file
                   if line.startswith("voluntary_ctxt_switches:"))


def read_name(pid):
    with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as file:
        return file.read().strip().replace("portreeved:", "")


@measure("idle", full=(100,), group="other", rounds=ONCE)
def measure_idle(candidate, leases):
    """Of each process, and of all; some wake up for announcements soon after a start."""
    before = {pid: count_wakeups(pid) for pid in candidate.pids()}
    assert before, "nobody is there"
    select.select([], [], [], IDLE_S)  # nothing is waited for: it is the window
    woken = {pid: count_wakeups(pid) - count for pid, count in before.items()}
    minute = 60 / IDLE_S
    samples = [Sample("wake-ups when idle, all processes", leases, "1/min",
                      minute * sum(woken.values()))]
    if len(woken) > 1:
        samples += [Sample(f"wake-ups when idle, {read_name(pid)}", leases, "1/min",
                           minute * count) for pid, count in woken.items()]
    return samples


class Holders(threading.Thread):
    """
    Connections of another host that stay open, in a thread: one that the server ends is
    opened again. octets: how many of SLOW_REQUEST each says, one each DRIBBLE_S.
    """

    def __init__(self, candidate, octets):
        super().__init__(daemon=True)
        self.host, self.octets = candidate.lab.lan2, octets
        self.target = (candidate.gateway, candidate.http_port)
        self.over = threading.Event()
        self.opened = self.refused = 0
        self.connections = {}  # number -> [socket, octets said]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        set_namespace(self.host.fd)  # of this thread only
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: [sock.close() for sock, _ in self.connections.values()])
            while not self.over.wait(DRIBBLE_S):
                for number in range(HOLDERS):
                    self.go_on(number)

    def open(self, number):
        sock = socket.socket()
        sock.bind((f"192.168.77.{FIRST_HOLDER + number % HOLDER_ADDRESSES}", 0))
        sock.settimeout(DRIBBLE_S)
        try:
            sock.connect(self.target)
        except OSError:
            self.refused += 1
            sock.close()
            return
        self.opened += 1
        self.connections[number] = [sock, 0]

    def go_on(self, number):
        connection = self.connections.get(number)
        if not connection:
            self.open(number)
            return
        sock, said = connection
        try:
            if said < self.octets:
                sock.send(SLOW_REQUEST[said:said + 1])
                connection[1] += 1
            ended = select.select([sock], [], [], 0)[0] and not sock.recv(4096)
        except OSError:
            ended = True
        if ended:
            sock.close()
            del self.connections[number]


def add_addresses(lab):
    for number in range(HOLDER_ADDRESSES):
        lab.lan2.ip("address", "replace", f"192.168.77.{FIRST_HOLDER + number}/24",
                    "dev", "eth0")


@measure("slow HTTP", short=(100,), full=(100,), group="other", rounds=SHORTLY_ONCE)
def measure_slow(candidate, leases):
    """AddPortMapping of one client, a connection each, while HOLDERS connections are held."""
    add_addresses(candidate.lab)
    samples = []
    for number, (name, octets) in enumerate((("nobody else", None), ("half-open", 0),
                                             ("dribbling", len(SLOW_REQUEST)))):
        some = {"requests": SOAP_ADDS, "connections": 1, "path": candidate.control_path,
                "http_port": candidate.http_port, "first_port": SOAP_PORT + SOAP_ADDS * number}
        with contextlib.ExitStack() as stack:
            note = ""
            if octets is not None:
                holders = stack.enter_context(Holders(candidate, octets))
                holders.over.wait(10 * DRIBBLE_S)
            run = candidate.load("load_soap", "--tcp", seconds=3, **some)
            if octets is not None:
                note = (f"{HOLDERS} connections, opened {holders.opened} times, "
                        f"{holders.refused} times refused; ")
        note += f"{run['granted']} added, {run['refused'] + run['lost']} failed"
        samples += [Sample(f"SOAP add, p99, {name}", leases, "us",
                           run["p99_us"] if run["granted"] else None, LESS, note)]
        candidate.load("load_soap", "--tcp", mode="delete", seconds=3, **some)
    return samples


def ask_while_flooded(honest, seconds):
    """Times of the answered requests of another host in ms, and how many it asked."""
    taken, asked = [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            honest.ask(HONEST_PORT + asked % HONEST_PORTS)
            taken.append(1000 * (time.monotonic() - began))
        except TimeoutError:
            pass
        asked += 1
        # The pace of the questions; nothing is waited for.
        select.select([], [], [], max(0, began + flood.PACE_S - time.monotonic()))
    return sorted(taken), asked


@contextlib.contextmanager
def use_defaults(candidate):
    """Ours with the limits that it has by default; the incumbent has none."""
    if candidate.name not in OURS:
        yield
        return
    backend = f"[backend]\ntype = {candidate.backend}\n"
    for text in (backend, OUR_CONFIG.format(backend=candidate.backend)):
        candidate.stop()
        candidate.daemon.configure(text)
        candidate.start()
        if text == backend:
            yield


@measure("flood", short=(100,), full=(100,), group="other", rounds=SHORTLY_ONCE)
def measure_flood(candidate, leases):
    """Another host asks for ports by NAT-PMP as fast as it can."""
    with use_defaults(candidate), flood.Honest(candidate.lab.lan2, "nat-pmp") as honest:
        running = flood.start(candidate.lab, candidate.setting.bench("flood"), "nat-pmp")
        ask_while_flooded(honest, FLOOD_SETTLE_S)
        taken, asked = ask_while_flooded(honest, FLOOD_S)
        running.kill()
    note = f"{len(taken)} of {asked} answered within {ANSWER_S:g} s"
    late = taken[(len(taken) - 1) * 99 // 100] if taken else None
    return [
        Sample("flooded: another's requests answered", leases, "%",
               100 * len(taken) / asked, MORE, note),
        Sample("flooded: another's requests, p50", leases, "ms",
               statistics.median(taken) if taken else None, LESS, note),
        Sample("flooded: another's requests, p99", leases, "ms", late, LESS, note),
    ]


def tells(address):
    """Whether a datagram announces that external address by NAT-PMP."""
    announced = socket.inet_aton(address)
    return lambda data: data[:2] == bytes([0, 128]) and data[8:12] == announced


@measure("announcement", short=(100,), full=(100,), group="other", rounds=SHORTLY_ONCE)
def measure_announcement(candidate, leases):
    """From the change of the external address to the first packet that tells it."""
    lab, wan = candidate.lab, wire.Wan(candidate.lab)
    net = lab.WAN_ADDRESS.rpartition(".")[0]
    taken = []
    with wire.stamp(lab.lan1.capture(natpmp.ANNOUNCE_GROUP,
                                     natpmp.ANNOUNCE_PORT)) as heard:
        for number in range(MOVES):
            address = f"{net}.{70 + number}" if number + 1 < MOVES else lab.WAN_ADDRESS
            began = wan.move(address)
            taken += [(x.time - began) * 1000
                      for x in wire.collect(heard, NEWS_S, 1, tells(address))]
    note = f"{len(taken)} of {MOVES} changes announced within {NEWS_S:g} s"
    return [Sample("announcement after a change of the address", leases, "ms",
                   statistics.median(taken) if taken else None, LESS, note)]


for _form in ("short", "full"):
    measure("kernel", group="other", rounds=SHORTLY_ONCE, candidates=("none",),
            **{_form: (0,)})(
        lambda candidate, leases, form=_form: measure_kernel(form, candidate, leases))
