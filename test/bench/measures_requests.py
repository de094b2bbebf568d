# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures of requests: how many, how fast, at what cost, and what restoring them takes.

Besides the leases that are there, those that are added for measuring count: so few are
added where the cost depends on how many there are, and at the same ports again and again.
Each step ends after some seconds, whatever was asked until then. Times are those of what
was granted; where more than FAILED_MAX of what was asked was not, there is no figure.
"""

import re
import statistics
import time

from candidates import ALL, INCUMBENTS, OURS
from measures import LESS, MORE, Sample, measure

SIZES = {"short": (100, 1000, 10000), "full": (0, 100, 1000, 5000, 10000, 50000)}
FILLED = {form: tuple(x for x in sizes if x) for form, sizes in SIZES.items()}
MEMORY = {"short": (0, 1000, 10000), "full": (0, 1000, 5000, 10000, 50000)}
WALKS = {"short": (100, 1000), "full": (100, 1000, 5000)}
PATIENCE_S = 60
FAILED_MAX = 0.01
WINDOW = 64
CONNECTIONS = 32
# Ports of what is added: those of fill() end before. An incumbent may be too slow to
# delete all of it, so it has others for each protocol.
PORT_ONE, PORT_MANY, PORT_STEP = 52100, 53200, 200
LISTING_PORT = 61250  # TCP; nobody has these of UDP then
# An incumbent deletes one after the other, and knows no end: so many are not deleted at
# once where it would be busy for more than so many steps.
STEPS_MAX = 4

# What is asked: program and its flags, and how it is told to ask at once. All of it is
# UDP: of TCP the incumbent reads /proc/net/tcp each time, which takes 5 ms here.
PROTOCOLS = {
    "NAT-PMP": ("load_natpmp", ("--own-ports",), "window", WINDOW),
    "PCP": ("load_natpmp", ("--own-ports", "--pcp"), "window", WINDOW),
    "SOAP": ("load_soap", (), "connections", CONNECTIONS),
}


def count_requests(candidate, leases, protocol):
    """How many are asked one by one, and at once."""
    if not candidate.slow:
        step_s = candidate.setting.step_s
        return 500 * step_s, (2000 if protocol == "SOAP" else 4000) * step_s
    if not candidate.incumbent:
        return 100, max(640, leases // 5)
    return max(20, leases // 50), max(64, leases // 50)


def ask(candidate, protocol, many, **options):
    """A run of the load program of a protocol, in parallel or one by one."""
    program, flags, parallel, width = PROTOCOLS[protocol]
    port = PORT_MANY if many else PORT_ONE
    if candidate.incumbent:
        port += PORT_STEP * list(PROTOCOLS).index(protocol)
    options = {parallel: width if many else 1, "seconds": candidate.setting.step_s,
               "first_port": port, **options}
    if program == "load_soap":
        options["path"] = candidate.control_path
        options["http_port"] = candidate.http_port
    else:
        options["patience"] = PATIENCE_S
    return candidate.load(program, *flags, max_seconds=3 * PATIENCE_S, **options)


def name_way(protocol, many):
    _, _, parallel, width = PROTOCOLS[protocol]
    width = width if many else 1
    return (f"{width} connection{'s' if width > 1 else ''}" if parallel == "connections"
            else f"window {width}")


def count_failures(run):
    """What a run has asked for and was not granted, as a part of all, and in words."""
    asked = max(run["requests"], run["granted"])
    if asked == 0 or run["granted"] == 0 and not run["refused"] and not run["lost"]:
        return 1.0, f"no answer in {run['seconds']:.0f} s"
    waiting = asked - run["granted"] - run["refused"] - run["lost"]
    words = [f"{count} {what}" for count, what in (
        (run["refused"], "refused"), (run["lost"], "lost"), (waiting, "without an answer"))
        if count > 0]
    part = (asked - run["granted"]) / asked
    return part, f"{100 * part:.3g} % failed: {', '.join(words)}" if words else ""


def tell(run, title, leases, keys, note=""):
    """Samples of what a run says. keys: those of KEYS that are wanted."""
    failed, why = count_failures(run)
    notes = [x for x in (why, note) if x]
    if failed <= FAILED_MAX and run["more"] > leases // 20:
        notes.append(f"with {run['more']} leases more")
    return [Sample(f"{title}, {KEYS[key][0]}", leases, KEYS[key][1],
                   run[key] if failed <= FAILED_MAX else None, KEYS[key][2],
                   "; ".join(notes))
            for key in keys]


KEYS = {
    "p50_us": ("p50", "us", LESS),
    "p99_us": ("p99", "us", LESS),
    "per_second": ("rate", "1/s", MORE),
    "cpu_us": ("CPU each", "us", LESS),
    "own_cpu_us": ("the asking program's CPU each", "us", LESS),
}
TIMES = ("p50_us", "p99_us", "per_second")
ALL_KEYS = tuple(KEYS)
# miniupnpd listens with a backlog of 5; `ss -ltn` shows it.
BACKLOG = ("its listen backlog is 5: with more connections at once SYNs are sent again, "
           "which the time is of; CPU each is not")


@measure("memory", short=MEMORY["short"], full=MEMORY["full"], candidates=INCUMBENTS)
@measure("memory", short=MEMORY["short"], full=MEMORY["full"], candidates=OURS,
         group="memory")
def measure_memory(candidate, leases):
    """Of ours in a group of its own: nothing but fill() has asked; of the incumbent after
    its start, which comes to the same and is not waited for twice."""
    return [Sample("memory, sum of PSS", leases, "KiB", candidate.pss_kib(), LESS)]


def measure_protocol(candidate, leases, protocol):
    """Add, renew and delete, one by one and many at once."""
    samples, slowest_us = [], 0
    busy_us = STEPS_MAX * candidate.setting.step_s * 1e6
    for many, number in zip((False, True), count_requests(candidate, leases, protocol)):
        way = name_way(protocol, many)
        run = ask(candidate, protocol, many, requests=number)
        crowded = many and protocol == "SOAP" and candidate.incumbent
        note = BACKLOG if crowded else ""
        samples += tell(run, f"{protocol} add, {way}", leases, ALL_KEYS, note)
        some = {"requests": max(run["granted"], 1)}
        if many and protocol != "SOAP":
            again = ask(candidate, protocol, many, mode="renew", **some)
            samples += tell(again, f"{protocol} renew, {way}", leases, ["per_second"])
        title = f"{protocol} delete, {way}"
        if many and candidate.incumbent and slowest_us * number > busy_us:
            samples.append(Sample(f"{title}, rate", leases, "1/s", None, MORE,
                                  f"not asked: {slowest_us / 1e6:.1f} s each"))
            continue
        end = ask(candidate, protocol, many, mode="delete", **some)
        slowest_us = end["p50_us"]
        samples += tell(end, title, leases, ["per_second"] if many else TIMES, note)
        if end["granted"] < some["requests"] and not candidate.incumbent:
            ask(candidate, protocol, many, mode="delete", seconds=PATIENCE_S, **some)
    candidate.fill(leases)  # an incumbent that has too many begins anew
    return samples


@measure("add NAT-PMP", short=SIZES["short"], full=SIZES["full"])
def measure_natpmp(candidate, leases):
    return measure_protocol(candidate, leases, "NAT-PMP")


# The incumbent has the same way behind NAT-PMP and PCP, and it is long.
@measure("add PCP", short=SIZES["short"], full=SIZES["full"],
         most={"short": 100, "full": 1000})
def measure_pcp(candidate, leases):
    return measure_protocol(candidate, leases, "PCP")


@measure("add SOAP", short=SIZES["short"], full=SIZES["full"])
def measure_soap(candidate, leases):
    return measure_protocol(candidate, leases, "SOAP")


@measure("walk", short=WALKS["short"], full=WALKS["full"])
def measure_walk(candidate, leases):
    """GetGenericPortMappingEntry of all, one after the other, as upnpc -l does."""
    run = ask(candidate, "SOAP", False, mode="entry", requests=leases,
              seconds=5 * candidate.setting.step_s)
    failed, note = count_failures(run)
    if not note and run["granted"] < leases:
        note = f"of the first {run['granted']}"
    each = run["seconds"] * 1e6 / run["granted"] if failed <= FAILED_MAX else None
    return [Sample("walk by GetGenericPortMappingEntry, an entry", leases, "us", each,
                   LESS, note)]


LISTING = """<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap\
/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>\
<u:GetListOfPortMappings xmlns:u="{service}"><NewStartPort>1</NewStartPort>\
<NewEndPort>65535</NewEndPort><NewProtocol>{protocol}</NewProtocol><NewManage>0</NewManage>\
<NewNumberOfPorts>0</NewNumberOfPorts></u:GetListOfPortMappings></s:Body></s:Envelope>"""
LISTINGS, LISTED_MAX = 5, 4096
LISTED = "GetListOfPortMappings, an entry"


def list_mappings(candidate, protocol):
    """Seconds and entries of one answer."""
    began = time.monotonic()
    body = candidate.post(candidate.list_path, candidate.list_service,
                          "GetListOfPortMappings",
                          LISTING.format(service=candidate.list_service, protocol=protocol))
    return time.monotonic() - began, len(re.findall(r"NewExternalPort(?:>|&gt;)\d", body))


@measure("listing", short=WALKS["short"], full=WALKS["full"])
def measure_listing(candidate, leases):
    """
    GetListOfPortMappings, all in one answer. Each host is told its own, so one gets as
    many beside those that are there, up to the most that portreeve tells; but an
    incumbent tells everybody's to everybody.
    """
    own = {"clients": 1, "client": candidate.lab.lan1.ipv4,
           "requests": min(leases, LISTED_MAX),
           "first_port": LISTING_PORT, "seconds": PATIENCE_S}
    if not candidate.incumbent:
        run = candidate.load("load_natpmp", "--own-ports", "--tcp", **own)
        assert run["granted"] == own["requests"], f"to be listed: {run}"
    try:
        answers = [list_mappings(candidate, "UDP" if candidate.incumbent else "TCP")
                   for _ in range(LISTINGS)]
    except ConnectionError as error:
        return [Sample(LISTED, leases, "us", None, LESS, f"no answer: {error}")]
    finally:
        if not candidate.incumbent:
            candidate.load("load_natpmp", "--own-ports", "--tcp", mode="delete", **own)
    entries = answers[-1][1]
    each_s = statistics.median(took_s for took_s, _ in answers) / max(entries, 1)
    return [Sample(LISTED, leases, "us", each_s * 1e6 if entries else None, LESS,
                   f"{entries} in an answer")]


@measure("list --json", short=FILLED["short"], full=FILLED["full"], candidates=OURS)
def measure_list(candidate, leases):
    began = time.monotonic()
    count = candidate.count()
    took_ms = (time.monotonic() - began) * 1000
    assert count >= leases, f"{count} leases listed"
    return [Sample("portreeve list --json", leases, "ms", took_ms)]


RESTORE = {True: "restore at start, empty kernel",
           False: "restore at start, kernel as it was left"}


@measure("restore", short=FILLED["short"], full=FILLED["full"], candidates=ALL)
def measure_restore(candidate, leases):
    """From exec to the first answer with all leases back; last, as it begins anew."""
    samples = []
    for empty in (True, False):
        if not empty and candidate.incumbent:
            continue  # its own scripts empty its chains
        took_s = candidate.restore(leases, empty)
        count = candidate.count()
        assert count >= leases, f"{count} of {leases} leases came back"
        samples.append(Sample(RESTORE[empty], leases, "s", took_s))
    return samples
