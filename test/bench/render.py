#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Write the figures of a run into doc/performance.md, and its plots beside it.

    test/bench/render.py [--results FILE] [--page FILE]

What stands between a line `<!-- generated: NAME -->` and the next `<!-- end -->` is
replaced; all else is written by hand and stays. Run it again with the same results and
nothing changes.
"""

import argparse
import json
import os
import re
import sys

import plot
import targets
from results import AGAINST, Notes, Table, round_figure

HERE = os.path.dirname(os.path.abspath(__file__))
DOC = os.path.join(os.path.dirname(os.path.dirname(HERE)), "doc")
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.S)
# Measures by their names in the table of measures; the others are of no page.
TOPICS = {
    "requests": ("add NAT-PMP", "add PCP", "add SOAP"),
    "reading": ("walk", "listing", "list --json"),
    "memory": ("memory", "restore"),
    "packets": ("data plane, leased", "data plane, other", "data plane, pairs"),
    "kernel": ("kernel",),
    "profile": ("profile",),
    "flows": ("profile of packets",),
    "company": ("slow HTTP", "flood", "announcement", "idle"),
}
KERNEL_LEASE = "kernel, a lease, {} a transaction"
NFT = "portreeve-nft"
# Names of candidates as a reader knows them.
TITLES = {
    "portreeve-nft": "portreeve, nftables",
    "portreeve-ipt": "portreeve, iptables",
    "miniupnpd-nft": "miniupnpd, nftables",
    "miniupnpd-ipt": "miniupnpd, iptables",
    "none": "no daemon",
}


def write_row(cells):
    return "| " + " | ".join(cells) + " |"


def write_table(head, rows):
    """Markdown; the first column is text, the others are figures."""
    return [write_row(head), write_row(["---"] + ["---:"] * (len(head) - 1)),
            *(write_row(row) for row in rows)]


def write_topic(results, topic):
    """Rows of the measures of a topic, columns of the candidates that have any figure."""
    table = Table(results)
    rows = [row for row in table.rows if table.by[row[0]] in TOPICS[topic]]
    if not rows:
        return ["Not measured in this run."]
    present = [name for name in table.candidates
               if any((*row, name) in table.cells for row in rows)]
    compared = [name for name in table.compared
                if any((row[0], row[1], name) in table.ratios for row in rows)]
    head = ["", "leases", "unit", *(TITLES.get(name, name) for name in present),
            *(f"{name} / {AGAINST[name]}" for name in compared)]
    body, before, notes = [], None, Notes()
    for row in rows:
        body.append([row[0] if row[0] != before else "", f"{row[1]:,}", row[2],
                     *(write_cell(*table.show_value(row, name, notes)) for name in present),
                     *(table.show_ratio(row, name) for name in compared)])
        before = row[0]
    return write_table(head, body) + write_notes(notes) + write_missing(results, table,
                                                                        topic)


def write_cell(text, numbers):
    """With the numbers of its footnotes."""
    marks = ", ".join(map(str, numbers))
    return text + (f" <sup>{marks}</sup>" if marks else "")


def write_notes(notes):
    return ["", *(f"{number}. {text}" for text, number in notes.numbers.items())] \
        if notes.numbers else []


def write_missing(results, table, topic):
    """Why whole measures are missing: others are told of in footnotes."""
    why = [f"- {TITLES.get(x['candidate'], x['candidate'])}, {x['by']}, "
           f"{x['leases']:,} leases: {x['why']}"
           for x in results["missing"] if x["by"] in TOPICS[topic]
           and not table.has_row(x)]
    return ["", "Without a figure:", "", *why] if why else []


def write_machine(results):
    machine, versions = results["machine"], results["versions"]
    return write_table(["", ""], [
        ["machine", f"{machine['cpu']}, {machine['cores']} cores, "
                    f"{machine['memory_mib'] / 1024:.0f} GiB"],
        ["system", f"{machine['system']}, Linux {machine['kernel']}"],
        ["load before the run", f"{machine['load']:g}"],
        *([name, version] for name, version in versions.items()),
        ["run", f"{results['date']}, {results['rounds']} rounds, "
                f"{results['seconds']} s, {results['form']} form"]])


def write_targets(results):
    return write_table(["target", "measured", ""], [
        [verdict.what, verdict.measured, verdict.state]
        for verdict in targets.judge_all(results)])


def write_limits(results):
    """Our adding beside what the kernel takes for the elements of a lease alone."""
    figures = targets.Figures(results)
    rows = []
    for batch, measure in ((1, "NAT-PMP add, window 1, p50"),
                           (64, "NAT-PMP add, window 64, rate")):
        limits = figures.get_sizes(KERNEL_LEASE.format(batch), "none")
        for leases, ours in figures.get_sizes(measure).items():
            limit = limits.get(leases)
            if limit is None:
                continue
            if batch == 1:
                rows.append([measure, f"{leases:,}", f"{round_figure(ours)} us",
                             f"{round_figure(1e6 / limit)} us",
                             f"{1e6 / limit / ours:.0%}"])
            else:
                rows.append([measure, f"{leases:,}", f"{round_figure(ours)} /s",
                             f"{round_figure(limit)} /s", f"{ours / limit:.0%}"])
    if not rows:
        return ["Not measured in this run."]
    return write_table(["", "leases", "portreeve", "the kernel alone",
                        "part of it"], rows)


def find_lines(results, measure, candidates, least=1):
    """{title: points} of a plot; what lies on neither axis is left out."""
    lines = {}
    for name in candidates:
        points = sorted((x["leases"], x["median"], x["min"], x["max"])
                        for x in results["samples"]
                        if (x["measure"], x["candidate"]) == (measure, name)
                        and x["leases"] >= least and x["median"])
        if points:
            lines[TITLES.get(name, name)] = points
    return lines


def plot_adds(results):
    """With the kernel's own time as a line below."""
    lines = find_lines(results, "NAT-PMP add, window 1, p50", AGAINST.keys()
                       | AGAINST.values(), 100)
    lines = {title: lines[title] for title in TITLES.values() if title in lines}
    kernel = [(leases, *(1e6 / rate for rate in rates)) for leases, *rates in find_lines(
        results, KERNEL_LEASE.format(1), ["none"], 100).get("no daemon", ())]
    if kernel:
        lines["the kernel alone"] = kernel
    return lines, {
        "title": "One NAT-PMP request for a port, microseconds to its answer (median)",
        "x": "leases that are there", "y": "microseconds, less is better",
        "about": "Time of one request over the number of leases, both axes logarithmic."}


def plot_flows(results):
    lines = find_lines(results, "new flows in, leased", TITLES)
    return lines, {
        "title": "New flows that come in through leases, per second of one processor",
        "x": "leases that are there", "y": "flows a second, more is better",
        "about": "Rate of new flows over the number of leases, both axes logarithmic."}


PLOTS = {"performance-add.svg": plot_adds, "performance-flows.svg": plot_flows}
BLOCKS = {
    "machine": write_machine,
    "targets": write_targets,
    "limits": write_limits,
    **{topic: lambda results, topic=topic: write_topic(results, topic)
       for topic in TOPICS},
}


def fill_blocks(text, results):
    """The page with its generated parts. KeyError: it has a part that nobody writes."""
    return BLOCK.sub(lambda found: found.group(1) + "\n" + "\n".join(
        BLOCKS[found.group(2)](results)) + "\n\n" + found.group(3), text)


def read_results(path):
    """OSError or ValueError: there are none, and the text says why."""
    with open(path, encoding="utf-8") as file:
        try:
            results = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is no file of results: {error}") from None
    if not isinstance(results, dict) or not results.get("samples"):
        raise ValueError(f"{path} has no figures: run `make bench-full` first")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", default=os.path.join(HERE, "results.json"))
    parser.add_argument("--page", default=os.path.join(DOC, "performance.md"))
    options = parser.parse_args()
    try:
        results = read_results(options.results)
    except (OSError, ValueError) as error:
        print(f"render.py: {error}", file=sys.stderr)
        return 2
    with open(options.page, encoding="utf-8") as file:
        page = fill_blocks(file.read(), results)
    with open(options.page, "w", encoding="utf-8") as file:
        file.write(page)
    for name, make in PLOTS.items():
        lines, labels = make(results)
        if lines:
            with open(os.path.join(os.path.dirname(options.page), name), "w",
                      encoding="utf-8") as file:
                file.write(plot.draw(lines, labels))
    return 0


if __name__ == "__main__":
    sys.exit(main())
