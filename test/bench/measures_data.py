# SPDX-License-Identifier: GPL-2.0-or-later
"""What leases cost the packets: of new flows, and of flows that the gateway knows.

load_data sends; the host at the other end counts and drops what arrives, so that one
processor does all the work: the rate is that of its time, for the whole way from the
sender's socket to the receiver's interface. On an idle machine it is the clock's, too;
where others want the processor as well, it is what it would be without them. Each run is checked: what was sent has arrived, and the
gateway's connection tracking has as many new flows as it should have, or none.

"leased" is traffic of leased ports, in turn of all of them; "other" is that of other
ports of the same hosts, which has nothing to do with leases but meets their rules.
"""

import functools
import json
import statistics

from candidates import CANDIDATES, CLIENTS, FILL_PORT, FIRST_CLIENT, NFTABLES
from lab import LabError
from measures import ALL, LESS, MORE, Sample, measure

# Behind those of fill().
OTHER_PORT, OTHER_PORTS = 54000, 10000
# Flows of one run: fewer than connection tracking holds.
FLOWS_MAX = 60000
KNOWN_FLOWS = 256
RUN_MS = 150
# Establishing a few may take long where each walks through all leases.
PATIENCE_MS = 60000
# Ports that the gateway uses itself are leased as others: nothing arrives by those.
ARRIVED_MIN = 0.99
# Connection tracking has a few flows of others, of the daemon's own for one.
STRANGE_FLOWS = 200
PAIRS = 3  # odd
DSCP = 42  # of load_data.c
SINK = f"""
table inet bench_sink
delete table inet bench_sink
table inet bench_sink {{
	counter arrived {{
	}}
	chain arrive {{
		type filter hook prerouting priority raw; policy accept;
		ip dscp {DSCP} counter name arrived drop
	}}
}}
"""


def read_arrived(host):
    """What has arrived since the last time."""
    done = host.run(["nft", "-j", "reset", "counter", "inet", "bench_sink", "arrived"],
                    check=True)
    return sum(entry["counter"]["packets"] for entry in json.loads(done.stdout)["nftables"]
               if "counter" in entry)


class Traffic:
    """Packets between the clients and a host of the internet."""

    def __init__(self, candidate, first_port, ports):
        """Of flows of so many ports from the first on, inside and outside."""
        self.lab, self.setting = candidate.lab, candidate.setting
        self.first_port, self.ports = first_port, ports
        self.prefix = []  # of load_data's command
        for host in (self.lab.lan1, self.lab.inet1):
            host.nft(SINK)

    def count_flows(self):
        with self.lab.gw.inside(), open("/proc/sys/net/netfilter/nf_conntrack_count",
                                        encoding="ascii") as file:
            return int(file.read())

    def forget(self):
        """The gateway knows no flow."""
        self.lab.gw.run(["conntrack", "-F"], check=True)

    def send(self, mode, flows, *flags, **options):
        """What load_data tells, and how many `arrived` and how many flows are `new`."""
        source, target = ((self.lab.inet1, self.lab.lan1) if mode == "in"
                          else (self.lab.lan1, self.lab.inet1))
        arguments = [*self.prefix, self.setting.bench("load_data"), "--json", "--mode", mode,
                     "--wan", self.lab.WAN_ADDRESS, "--peer", self.lab.inet1.ipv4,
                     "--client", FIRST_CLIENT, "--clients", str(CLIENTS),
                     "--first-port", str(self.first_port), "--leases", str(self.ports),
                     "--flows", str(flows), *flags]
        for name, value in options.items():
            arguments += ["--" + name, str(value)]
        read_arrived(target)
        before = self.count_flows()
        done = source.run(arguments, timeout=None)
        try:
            run = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            raise LabError(f"{' '.join(arguments)}: {done.stdout.strip()}") from None
        run["new"] = self.count_flows() - before
        run["arrived"] = read_arrived(target)
        if run["arrived"] < ARRIVED_MIN * run["sent"]:
            raise LabError(f"packets were lost: {' '.join(arguments)}: {run}")
        return run

    def begin(self, mode, *flags):
        """New flows, one packet each."""
        self.forget()
        run = self.send(mode, FLOWS_MAX, *flags, milliseconds=RUN_MS)
        if abs(run["new"] - run["sent"]) > STRANGE_FLOWS:
            raise LabError(f"not a flow a packet: {run}")
        return run

    def establish(self, *modes):
        """KNOWN_FLOWS flows have had a packet in each direction, in this order."""
        self.forget()
        for mode in modes:
            self.send(mode, KNOWN_FLOWS, milliseconds=PATIENCE_MS)

    def go_on(self, mode):
        """Packets of the flows that are known."""
        run = self.send(mode, KNOWN_FLOWS, packets=10 ** 8, milliseconds=RUN_MS)
        if run["new"] > STRANGE_FLOWS:
            raise LabError(f"packets of known flows made new ones: {run}")
        return run


def get_rate(run):
    return run["sent"] / run["cpu_seconds"]


def repeat(tries, title, leases, function, *arguments):
    """One figure: the median rate of some runs."""
    rates = [get_rate(function(*arguments)) for _ in range(tries)]
    return Sample(title, leases, "1/s", statistics.median(rates), MORE)


def send_known(traffic, tries, what, leases):
    """Samples of packets of flows that are established, which are forgotten then."""
    samples = [repeat(tries, f"packets {mode}, {what}", leases, traffic.go_on, mode)
               for mode in ("in", "out")]
    traffic.forget()
    return samples


def measure_leased(tries, candidate, leases):
    traffic = Traffic(candidate, FILL_PORT, leases)
    traffic.send("in", min(leases, CLIENTS), milliseconds=PATIENCE_MS)  # neighbours
    samples = [repeat(tries, f"new flows {mode}, leased", leases, traffic.begin, mode)
               for mode in ("in", "out")]
    traffic.establish("in", "out")
    return samples + send_known(traffic, tries, "leased", leases)


def measure_other(tries, candidate, leases):
    """As the household does: a new flow is one of TCP."""
    traffic = Traffic(candidate, OTHER_PORT, OTHER_PORTS)
    traffic.establish("out", "in")
    begun = repeat(tries, "new flows out, other", leases, traffic.begin, "out", "--tcp")
    traffic.establish("out", "in")
    return [begun, *send_known(traffic, tries, "other", leases)]


def measure_pairs(candidate, leases):
    """
    Packets of other flows with the daemon and without one, in turn in one laboratory:
    what differs is less than what two laboratories differ by.
    """
    traffic = Traffic(candidate, OTHER_PORT, OTHER_PORTS)
    ratios = []
    for number in range(PAIRS):
        rates = {}
        # The other way round each time; the last one ends as it began.
        for there in (False, True) if number % 2 == 0 else (True, False):
            if there and not candidate.pids():
                candidate.start()
            elif not there and candidate.pids():
                candidate.stop()
            traffic.establish("out", "in")
            rates[there] = sum(get_rate(traffic.go_on(mode)) for mode in ("out", "in"))
        ratios.append(rates[False] / rates[True])
    traffic.forget()
    return [Sample("packets, other, time with the daemon / without", leases, "x",
                   statistics.median(ratios), LESS)]


def enter(name, function, sizes, candidates=(*ALL, "none")):
    """Into the table: the short form has one try a round."""
    for form, tries in (("short", 1), ("full", 2)):
        measure(name, group="plane", candidates=candidates, **{form: sizes[form]})(
            functools.partial(function, tries))


def choose(backend):
    return tuple(name for name in (*ALL, "none") if CANDIDATES[name].backend == backend)


enter("data plane, leased", measure_leased,
      {"short": (1, 1000), "full": (1, 1000, 10000)})
enter("data plane, leased", measure_leased, {"short": (), "full": (50000,)},
      (*choose(NFTABLES), *choose(None)))
enter("data plane, other", measure_other, {"short": (0,), "full": (0, 1000, 10000)})
enter("data plane, other", measure_other, {"short": (), "full": (50000,)}, choose(NFTABLES))
measure("data plane, pairs", short=(1000,), full=(1000, 10000, 50000), group="plane",
        candidates=("portreeve-nft",))(measure_pairs)
