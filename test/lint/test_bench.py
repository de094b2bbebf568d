# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmark makes of its figures: medians, spread, ratios, table."""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench"))

import measures  # noqa: E402 (found by the path above)
import results  # noqa: E402
from measures import LESS, MORE, Sample  # noqa: E402

OURS, THEIRS = "portreeve-nft", "miniupnpd-nft"


def rows(candidate, values, unit="us", better=LESS, measure="add, p50"):
    return [(candidate, "add", Sample(measure, 100, unit, value, better))
            for value in values]


def finish(*parts, missing=None):
    return results.finish(sum(parts, []), missing or {})


def test_the_median_counts_and_the_spread_is_told():
    found = finish(rows(OURS, (3, 1, 20)))["samples"]
    assert len(found) == 1
    assert (found[0]["values"], found[0]["median"], found[0]["min"], found[0]["max"]) == (
        [3, 1, 20], 3, 1, 20)
    assert results.show_cell(found[0]) == "3 (1-20)"


def test_ratios_say_how_many_times_better():
    found = finish(rows(OURS, (2, 4, 8)), rows(THEIRS, (40, 80, 160)))["ratios"]
    assert [(x["candidate"], x["against"], x["ratio"], x["low"], x["high"])
            for x in found] == [(OURS, THEIRS, 20, 5, 80)]


def test_where_more_is_better_ratios_are_the_other_way_round():
    some = {"unit": "1/s", "better": MORE, "measure": "rate"}
    found = finish(rows(OURS, (100, 200, 400), **some), rows(THEIRS, (10, 20, 50), **some))
    assert [(x["ratio"], x["low"], x["high"]) for x in found["ratios"]] == [(10, 2, 40)]


@pytest.mark.parametrize("ours, theirs", [((1,), ()), ((), (1,)), ((1,), (None,)),
                                          ((0,), (1,))])
def test_no_ratio_without_two_figures(ours, theirs):
    assert finish(rows(OURS, ours), rows(THEIRS, theirs))["ratios"] == []


def test_other_backends_and_sizes_are_not_compared():
    other = [("portreeve-ipt", "add", Sample("add, p50", 100, "us", 1)),
             (OURS, "add", Sample("add, p50", 1000, "us", 1))]
    assert finish(other, rows(THEIRS, (5,)))["ratios"] == []


def test_what_is_missing_is_in_the_table_and_below_it():
    found = finish(rows(OURS, (5,)), [(THEIRS, "add", Sample("add, p50", 1, "us", 7.25))],
                   missing={("add", THEIRS, 100): "not asked: it takes minutes"})
    lines = results.show_table(found)
    assert lines[0].split("  ")[0] == "measure" and OURS in lines[0] and THEIRS in lines[0]
    assert [line.split()[-2:] for line in lines[1:3]] == [["us", "7.25"], ["not", "asked"]]
    assert lines[3:] == [f"{THEIRS}, add, 100 leases: not asked: it takes minutes"]


def test_a_sample_without_a_value_tells_why():
    sample = Sample("add, p50", 100, "us", None, LESS, "no answer in 5 s")
    found = finish(rows(OURS, (5,)), [(THEIRS, "add", sample)])
    assert "no answer in 5 s" in results.show_table(found)[1]


@pytest.mark.parametrize("value, text", [
    (None, "-"), (0, "0"), (7.25, "7.25"), (0.0123, "0.0123"), (99.96, "100"),
    (12345.6, "12,346")])
def test_figures_have_three_digits(value, text):
    assert results.round_figure(value) == text


def test_measures_come_by_form_size_and_round(monkeypatch):
    monkeypatch.setattr(measures, "MEASURES", [])
    enter = measures.measure("often", short=(100, 0), full=(5000,))
    once = measures.measure("once", short=(100,), rounds={"short": 1}, candidates=(OURS,))
    enter(len)
    once(len)

    def names(*arguments):
        return {size: [row.name for row in found]
                for size, found in measures.find(*arguments).items()}

    assert list(names("short", "requests", OURS, 0)) == [0, 100]
    assert names("short", "requests", OURS, 0)[100] == ["often", "once"]
    assert names("short", "requests", OURS, 1)[100] == ["often"]
    assert names("short", "requests", THEIRS, 0)[100] == ["often"]
    assert names("full", "requests", OURS, 0) == {5000: ["often"]}
    assert names("short", "plane", OURS, 0) == {}
