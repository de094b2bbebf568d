# SPDX-License-Identifier: GPL-2.0-or-later
"""From the figures of all rounds to medians, spread, ratios, a table and results.json.

Nothing in here measures. What results.json holds:

    form, command, date, rounds, seconds   how it was run
    machine    cpu, cores, memory_mib, kernel, load
    versions   of each program
    samples    [{measure, by, candidate, leases, unit, better, values, failed, median,
                 min, max, note}]
    ratios     [{measure, leases, candidate, against, ratio, low, high}]
    missing    [{by, candidate, leases, why}]

`by` is the name in the table of measures. A sample has one value a round; `failed` is in
how many rounds there was none, for what `note` says. The ratio says how many times better
than `against` the candidate is, from the medians of this run, and low and high what it is
at the ends of both spreads.
"""

import json
import os
import statistics
import textwrap

WIDTH = 80  # of a terminal
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
            "values": [], "failed": 0, "note": ""})
        if sample.value is None:
            entry["failed"] += 1
            entry["note"] = sample.note or entry["note"]
        else:
            entry["values"].append(sample.value)
            if not entry["failed"]:  # why there was none says more
                entry["note"] = sample.note or entry["note"]
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
        return "-"
    text = round_figure(sample["median"])
    if len(sample["values"]) > 1:
        text += f" ({round_figure(sample['min'])}-{round_figure(sample['max'])})"
    return text


def show_short_cell(sample):
    """Median and, of several rounds, how far the farthest of them is from it."""
    if not sample["values"]:
        return "-"
    text = round_figure(sample["median"])
    if len(sample["values"]) > 1 and sample["median"]:
        far = max(sample["max"] - sample["median"], sample["median"] - sample["min"])
        text += f" \N{PLUS-MINUS SIGN}{100 * far / abs(sample['median']):.0f}%"
    return text


def tell_rounds(sample, rounds):
    """Of how many rounds a median is, where those are not all; else nothing."""
    count = len(sample["values"])
    if sample["failed"]:
        return f"{sample['failed']} of {count + sample['failed']} rounds without a figure"
    return f"{count} of {rounds} rounds" if 0 < count < rounds else ""


class Notes:
    """Footnotes: each text has a number, from 1 on."""

    def __init__(self):
        self.numbers = {}

    def mark(self, *texts):
        """The numbers of those that say anything."""
        return [self.numbers.setdefault(text, len(self.numbers) + 1)
                for text in texts if text]


class Table:
    """What results.json holds, as rows: a measure at a size, a column a candidate."""

    def __init__(self, results):
        samples = results["samples"]
        self.rounds = results.get("rounds", 0)
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

    def has_row(self, missing):
        """Where a footnote says what is missing."""
        return any((self.by[row[0]], row[1]) == (missing["by"], missing["leases"])
                   for row in self.rows)

    def show_value(self, row, candidate, notes, show=show_cell):
        """Text and numbers of footnotes of one cell. row: one of rows."""
        sample = self.cells.get((*row, candidate))
        why = self.missing.get((self.by[row[0]], row[1], candidate))
        if not sample:
            return ("-" if why else ""), notes.mark(why)
        return show(sample), notes.mark(sample["note"], tell_rounds(sample, self.rounds),
                                        why)

    def show_ratio(self, row, candidate):
        ratio = self.ratios.get((*row[:2], candidate))
        return "" if ratio is None else f"{round_figure(ratio)}x"


def align(rows):
    """Lines of a table; the first column is text."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [" ".join(text.rjust(width) if i else text.ljust(width)
                     for i, (text, width) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def show_table(results):
    """
    The figures as lines for a terminal: below the name of each measure a line a size. The
    last columns say how many times better ours are than the incumbent with the same
    backend; below all are the footnotes.
    """
    table, notes, lines = Table(results), Notes(), []
    for measure, unit in dict.fromkeys((row[0], row[2]) for row in table.rows):
        rows = [row for row in table.rows if (row[0], row[2]) == (measure, unit)]
        present = [name for name in table.candidates if any(
            table.show_value(row, name, Notes())[0] for row in rows)]
        compared = [name for name in table.compared
                    if any(table.show_ratio(row, name) for row in rows)]
        body = [["leases", *present, *(f"x {name[-3:]}" for name in compared)]]
        for row in rows:
            cells = [f"{row[1]:,}"]
            for name in present:
                text, numbers = table.show_value(row, name, notes, show_short_cell)
                cells.append(text + "".join(f"[{number}]" for number in numbers))
            body.append(cells + [table.show_ratio(row, name) for name in compared])
        lines += [f"{measure} ({unit})", *("  " + line for line in align(body))]
    for text, number in notes.numbers.items():
        lines += textwrap.wrap(f"[{number}] {text}", WIDTH, subsequent_indent="    ")
    for x in results["missing"]:
        if not table.has_row(x):
            lines += textwrap.wrap(f"{x['candidate']}, {x['by']}, {x['leases']:,} leases: "
                                   f"{x['why']}", WIDTH, subsequent_indent="    ")
    return lines


def write(path, results):
    """All of it or nothing: what was there stays until the new file is complete."""
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    os.replace(part, path)
