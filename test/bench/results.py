# SPDX-License-Identifier: GPL-2.0-or-later
"""From the figures of all rounds to medians, spread, ratios, a table and results.json.

Nothing in here measures. What results.json holds:

    form, command, date, rounds, seconds   how it was run
    machine    cpu, cores, memory_mib, kernel, load
    versions   of each program
    samples    [{measure, candidate, leases, unit, better, values, median, min, max, note}]
    ratios     [{measure, leases, candidate, against, ratio, low, high}]
    missing    [{measure, candidate, leases, why}]

A sample has one value a round; the ratio says how many times better than `against` the
candidate is, from the medians of this run, and low and high what it is at the ends of
both spreads.
"""

import json
import statistics

# Whom each is compared with. The targets are about the incumbent's nftables build.
AGAINST = {
    "portreeve-nft": "miniupnpd-nft",
    "portreeve-ipt": "miniupnpd-ipt",
}


def collect(rows):
    """Samples of results.json from (candidate, Sample) of all rounds, in their order."""
    found = {}
    for candidate, sample in rows:
        key = (sample.measure, candidate, sample.leases, sample.unit)
        entry = found.setdefault(key, {
            "measure": sample.measure, "candidate": candidate, "leases": sample.leases,
            "unit": sample.unit, "better": sample.better, "values": [], "note": ""})
        if sample.value is not None:
            entry["values"].append(sample.value)
        if sample.note:
            entry["note"] = sample.note
    return [summarize(entry) for entry in found.values()]


def summarize(entry):
    """The entry with median and spread; of no values they are None."""
    values = entry["values"]
    return {**entry, "median": statistics.median(values) if values else None,
            "min": min(values, default=None), "max": max(values, default=None)}


def divide(ours, theirs, better):
    """How many times better ours is; None where that cannot be said."""
    above, below = (theirs, ours) if better == "less" else (ours, theirs)
    return above / below if above is not None and below else None


def compare(samples):
    """Ratios of results.json."""
    by_key = {(x["measure"], x["leases"], x["unit"], x["candidate"]): x for x in samples}
    ratios = []
    for (measure, leases, unit, candidate), ours in by_key.items():
        theirs = by_key.get((measure, leases, unit, AGAINST.get(candidate)))
        if not theirs or not theirs["values"] or not ours["values"]:
            continue
        better = ours["better"]
        worst, best = ("max", "min") if better == "less" else ("min", "max")
        ratio = divide(ours["median"], theirs["median"], better)
        if ratio is not None:
            ratios.append({"measure": measure, "leases": leases, "candidate": candidate,
                           "against": theirs["candidate"], "ratio": ratio,
                           "low": divide(ours[worst], theirs[best], better),
                           "high": divide(ours[best], theirs[worst], better)})
    return ratios


def round_figure(value):
    """Three digits that count, as text."""
    if value is None:
        return "-"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def show_cell(sample):
    """Median and, of several rounds, the spread."""
    if sample is None:
        return ""
    if not sample["values"]:
        return sample["note"] or "-"
    text = round_figure(sample["median"])
    if len(sample["values"]) > 1:
        text += f" ({round_figure(sample['min'])}-{round_figure(sample['max'])})"
    return text


def show_table(results):
    """Lines: one row a measure and size, one column a candidate, ratios behind."""
    samples, ratios = results["samples"], results["ratios"]
    names = list(dict.fromkeys(x["candidate"] for x in samples))
    cells = {(x["measure"], x["leases"], x["unit"], x["candidate"]): x for x in samples}
    better = {(x["measure"], x["leases"], x["candidate"]): x["ratio"] for x in ratios}
    compared = [name for name in names if name in AGAINST]
    rows = [["measure", "leases", "unit", *names, *(f"{x} is better" for x in compared)]]
    for measure, leases, unit in sorted(
            {key[:3] for key in cells},
            key=lambda key: (list(dict.fromkeys(x["measure"] for x in samples))
                             .index(key[0]), key[1])):
        row = [measure, f"{leases:,}", unit]
        row += [show_cell(cells.get((measure, leases, unit, name))) for name in names]
        for name in compared:
            ratio = better.get((measure, leases, name))
            row.append(f"{round_figure(ratio)}x" if ratio is not None else "")
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) if i == 0 else text.rjust(width)
                      for i, (text, width) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def write(path, results):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
