# SPDX-License-Identifier: GPL-2.0-or-later
"""The targets of the comparison, and whether the figures of one run reach them."""

import collections

NFT, IPT = "portreeve-nft", "portreeve-ipt"
REACHED, MISSED, OPEN = "reached", "**missed**", "not measured"

# Leases of the targets that are wanted at every size.
SIZES = (0, 100, 1000, 5000, 10000, 50000)
LEASED = (1, 1000, 10000, 50000)
PAIRED = (1000, 10000, 50000)

# what: the target in words. measured: text. state: REACHED, MISSED or OPEN.
Verdict = collections.namedtuple("Verdict", "what measured state")


class Figures:
    """
    Medians and ratios of results.json by name; not those of what failed in any round,
    by which nothing is reached.
    """

    def __init__(self, results):
        sound = {(x["measure"], x["candidate"], x["leases"]): x["median"]
                 for x in results["samples"] if x["values"] and not x["failed"]}
        self.samples = sound
        self.ratios = {(x["measure"], x["candidate"], x["leases"]): x["ratio"]
                       for x in results["ratios"]
                       if (x["measure"], x["candidate"], x["leases"]) in sound
                       and (x["measure"], x["against"], x["leases"]) in sound}

    def get(self, measure, leases, candidate=NFT):
        return self.samples.get((measure, candidate, leases))

    def get_sizes(self, measure, candidate=NFT):
        """{leases: median}, ascending."""
        return {leases: value for (name, who, leases), value in sorted(
            self.samples.items()) if (name, who) == (measure, candidate)}


def tell_sizes(sizes):
    return ", ".join(f"{size:,}" for size in sizes)


def judge_sizes(verdict, present, wanted=SIZES):
    """What is wanted at every size is not reached while one of them has no figure."""
    absent = [size for size in wanted if size not in present]
    if not absent or verdict.state == OPEN:
        return verdict
    return Verdict(verdict.what, f"{verdict.measured}; no figure at {tell_sizes(absent)}",
                   MISSED if verdict.state == MISSED else OPEN)


def judge(what, value, wanted, text):
    """wanted: a predicate. text: how the value is shown, with one place for it."""
    if value is None:
        return Verdict(what, "", OPEN)
    return Verdict(what, text.format(value), REACHED if wanted(value) else MISSED)


def judge_ratio(figures, measure, leases, least, candidate=NFT):
    against = candidate.replace("portreeve", "miniupnpd")
    return judge(f"{measure}, at {leases:,} leases: {least}x {against}",
                 figures.ratios.get((measure, candidate, leases)),
                 lambda ratio: ratio >= least, "{:,.1f}x")


def judge_worst(figures, measure, unit, limit, least):
    """At every size. least: the limit is a lower one."""
    sizes = figures.get_sizes(measure)
    worst = (min if least else max)(sizes.values(), default=None)
    what = f"{measure}: at {'least' if least else 'most'} {limit:,} {unit}, at every size"
    return judge_sizes(judge(
        what, worst, lambda value: value >= limit if least else value <= limit,
        "{:,.0f} " + unit), sizes)


def judge_flat(figures, measure, least):
    """The slowest size against the fastest."""
    sizes = figures.get_sizes(measure)
    part = (min(sizes.values()) / max(sizes.values())) if len(sizes) > 1 else None
    return judge_sizes(judge(
        f"{measure}: flat (slowest size / fastest at least {least})", part,
        lambda value: value >= least, "{:.2f}"), sizes)


def judge_plane(figures, way, leases, most):
    measure = f"new flows {way}, leased"
    one, many = figures.get(measure, 1), figures.get(measure, leases)
    return judge(f"{measure}: time at {leases:,} leases at most {most}x of one",
                 one / many if one and many else None, lambda value: value <= most,
                 "{:.2f}x")


def judge_known(figures):
    """Packets of flows that are established, of leased ports, against no daemon."""
    parts = {}
    for way in ("in", "out"):
        ours = figures.get_sizes(f"packets {way}, leased")
        none = figures.get_sizes(f"packets {way}, leased", "none")
        parts.update({(leases, way): none[leases] / ours[leases]
                      for leases in ours if leases in none})
    both = [leases for leases in LEASED if (leases, "in") in parts
            and (leases, "out") in parts]
    return judge_sizes(judge(
        "packets of leased flows: time at most 1.02x of no daemon, at every size",
        max(parts.values(), default=None), lambda value: value <= 1.02, "{:.3f}x"),
        both, LEASED)


def judge_memory(figures, start_kib, lease_bytes):
    sizes = figures.get_sizes("memory, sum of PSS")
    none, most = sizes.get(0), max(SIZES)
    yield judge("memory at start: at most 8 MB", none, lambda value: value <= start_kib,
                "{:,.0f} KiB")
    each = (sizes[most] - none) * 1024 / most if none and most in sizes else None
    yield judge(f"memory of a lease, to {most:,}: at most {lease_bytes} bytes", each,
                lambda value: value <= lease_bytes, "{:,.0f} bytes")


def judge_all(results):
    """Verdicts in the order of the targets."""
    figures = Figures(results)
    add_one, add_many = "NAT-PMP add, window 1, p50", "NAT-PMP add, window 64, rate"
    pcp_many, soap = "PCP add, window 64, rate", "SOAP add, 32 connections, rate"
    yield from (judge_ratio(figures, add_one, leases, least)
                for leases, least in ((100, 10), (1000, 80), (5000, 700)))
    yield judge_worst(figures, add_one, "us", 100, False)
    for measure in (add_many, pcp_many):
        yield judge_worst(figures, measure, "1/s", 40000, True)
        yield judge_flat(figures, measure, 0.8)
    yield judge_worst(figures, soap, "1/s", 12000, True)
    yield judge_ratio(figures, "walk by GetGenericPortMappingEntry, an entry", 5000, 5)
    yield judge("restore of 10,000 leases into an empty kernel: at most 0.3 s",
                figures.get("restore at start, empty kernel", 10000), lambda value: value <= 0.3,
                "{:.3f} s")
    yield from (judge_plane(figures, way, leases, 1.1)
                for way in ("in", "out") for leases in (10000, 50000))
    pairs = figures.get_sizes("packets, other, time with the daemon / without")
    yield judge_sizes(judge(
        "packets of flows without a lease: time at most 1.02x of no daemon, at every size",
        max(pairs.values(), default=None), lambda value: value <= 1.02, "{:.3f}x"),
        pairs, PAIRED)
    yield judge_known(figures)
    yield judge_ratio(figures, add_many, 5000, 30, IPT)
    yield from judge_memory(figures, 8_000_000 // 1024, 400)
