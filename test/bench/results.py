# SPDX-License-Identifier: GPL-2.0-or-later
"""From the figures of all rounds to medians, spread, ratios, a table and results.json.

Nothing in here measures. What results.json holds:

    form, command, date, rounds, seconds   how it was run
    machine    cpu, cores, memory_mib, kernel, load
    versions   of each program
    samples    [{measure, by, candidate, leases, unit, better, values, median, min, max,
                 note}]
    ratios     [{measure, leases, candidate, against, ratio, low, high}]
    missing    [{by, candidate, leases, why}]

`by` is the name in the table of measures. A sample has one value a round; the ratio says how many times better than `against` the
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


def finish(rows, missing):
    """
    The last three of results.json. rows: (candidate, name of the measure, Sample) of all
    rounds. missing: {(name of the measure, candidate, leases): why}.
    """
    samples = collect(rows)
    return {"samples": samples, "ratios": compare(samples),
            "missing": [{"by": by, "candidate": candidate, "leases": leases, "why": why}
                        for (by, candidate, leases), why in missing.items()]}


def collect(rows):
    """Samples of results.json, in the order in which they came first."""
    found = {}
    for candidate, by, sample in rows:
        key = (sample.measure, candidate, sample.leases, sample.unit)
        entry = found.setdefault(key, {
            "measure": sample.measure, "by": by, "candidate": candidate,
            "leases": sample.leases, "unit": sample.unit, "better": sample.better,
            "values": [], "note": ""})
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
    if not sample["values"]:
        return sample["note"] or "-"
    text = round_figure(sample["median"])
    if len(sample["values"]) > 1:
        text += f" ({round_figure(sample['min'])}-{round_figure(sample['max'])})"
    return text


class Table:
    """What results.json holds, as rows: a measure at a size, a column a candidate."""

    def __init__(self, results):
        samples = results["samples"]
        self.candidates = list(dict.fromkeys(x["candidate"] for x in samples))
        self.compared = [name for name in self.candidates if name in AGAINST]
        self.cells, self.by = {}, {}
        for x in samples:
            self.cells[(x["measure"], x["leases"], x["unit"], x["candidate"])] = x
            self.by[x["measure"]] = x["by"]
        self.ratios = {(x["measure"], x["leases"], x["candidate"]): x["ratio"]
                       for x in results["ratios"]}
        self.missing = {(x["by"], x["leases"], x["candidate"]): x["why"]
                        for x in results["missing"]}
        order = {name: i for i, name in enumerate(self.by)}
        self.rows = sorted(dict.fromkeys(key[:3] for key in self.cells),
                           key=lambda key: (order[key[0]], key[1]))

    def show_value(self, measure, leases, unit, candidate):
        """Text of one cell; of what is missing, the word before the colon of why."""
        sample = self.cells.get((measure, leases, unit, candidate))
        if sample:
            return show_cell(sample)
        return self.missing.get((self.by[measure], leases, candidate), "").partition(":")[0]

    def show_ratio(self, measure, leases, candidate):
        ratio = self.ratios.get((measure, leases, candidate))
        return "" if ratio is None else f"{round_figure(ratio)}x"

    def show(self):
        """All of it: rows of text, the first with the titles."""
        yield ["measure", "leases", "unit", *self.candidates,
               *(f"{name} / {AGAINST[name]}" for name in self.compared)]
        for measure, leases, unit in self.rows:
            yield [measure, f"{leases:,}", unit,
                   *(self.show_value(measure, leases, unit, x) for x in self.candidates),
                   *(self.show_ratio(measure, leases, x) for x in self.compared)]


def show_table(results):
    """The table as lines, and below it why figures are missing."""
    rows = list(Table(results).show())
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(text.rjust(width) if i else text.ljust(width)
                       for i, (text, width) in enumerate(zip(row, widths))).rstrip()
             for row in rows]
    lines += [f"{x['candidate']}, {x['by']}, {x['leases']:,} leases: {x['why']}"
              for x in results["missing"]]
    return lines


def write(path, results):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
