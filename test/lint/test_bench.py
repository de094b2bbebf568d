# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmark makes of its figures: medians, spread, ratios, table."""

import json
import os
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench"))

import bench  # noqa: E402 (found by the path above)
import measures  # noqa: E402
import measures_requests  # noqa: E402
import render  # noqa: E402
import results  # noqa: E402
import targets  # noqa: E402
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
                   missing={("add", THEIRS, 100): "not asked: it takes minutes",
                            ("walk", THEIRS, 5): "failed: no answer"})
    lines = results.show_table(found)
    assert lines[0] == "add, p50 (us)"
    assert [line.split() for line in lines[1:4]] == [
        ["leases", OURS, THEIRS], ["1", "7.25"], ["100", "5", "-[1]"]]
    assert lines[4:] == ["[1] not asked: it takes minutes",
                         f"{THEIRS}, walk, 5 leases: failed: no answer"]


def test_a_sample_without_a_value_tells_why():
    sample = Sample("add, p50", 100, "us", None, LESS, "no answer in 5 s")
    lines = results.show_table(finish(rows(OURS, (5,)), [(THEIRS, "add", sample)]))
    assert lines[2].split() == ["100", "5", "-[1][2]"]
    assert lines[3:] == ["[1] no answer in 5 s", "[2] 1 of 1 rounds without a figure"]


def test_rounds_without_a_figure_are_told():
    found = finish(rows(OURS, (5, None, 7)))
    sample = found["samples"][0]
    assert (sample["values"], sample["failed"], sample["median"]) == ([5, 7], 1, 6)
    assert "[1] 1 of 3 rounds without a figure" in results.show_table(found)


def test_fewer_rounds_than_others_are_told():
    found = {**finish(rows(OURS, (5, 6)), rows(OURS, (1, 2, 3), measure="walk")),
             "rounds": 3}
    assert results.show_table(found)[-1] == "[1] 2 of 3 rounds"


def test_long_notes_are_wrapped():
    sample = Sample("add, p50", 100, "us", None, LESS, 30 * "long ")
    lines = results.show_table(finish([(OURS, "add", sample)]))
    assert max(map(len, lines)) <= results.WIDTH and len(lines) > 5


def test_results_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "results.json"
    results.write(path, {"rounds": 1})
    with pytest.raises(TypeError):
        results.write(path, {"rounds": object()})
    assert json.loads(path.read_text()) == {"rounds": 1}


class Mortal:
    """A candidate that ends in its first measure."""

    name, incumbent = THEIRS, True

    def __init__(self):
        self.ended, self.revived = False, []

    def has_ended(self):
        return self.ended

    def revive(self, count):
        self.ended = False
        self.revived.append(count)


@pytest.mark.parametrize("group, count", [("requests", 100), ("plane", None)])
def test_a_daemon_that_ends_has_no_figure_and_is_started_again(group, count):
    def end(candidate, leases):
        candidate.ended = not candidate.revived
        return [Sample("add, p50", leases, "us", 1)]

    run, candidate = bench.Run("short", None, bench.Clock(1)), Mortal()
    row = measures.Measure("add", end, group, {}, {}, (), {})
    run.measure(candidate, row, 100)
    assert (run.rows, candidate.revived, run.failed) == ([], [count], False)
    assert run.missing[("add", THEIRS, 100)].startswith("ended: ")
    run.measure(candidate, row, 100)
    assert len(run.rows) == 1


def load_run(granted, requests=100, refused=0, lost=0):
    return {"granted": granted, "requests": requests, "refused": refused, "lost": lost,
            "seconds": 2.0, "p50_us": 10, "more": 0}


@pytest.mark.parametrize("run, value, note", [
    (load_run(100), 10, ""),
    (load_run(99, refused=1), 10, "1 % failed: 1 refused"),
    (load_run(60, refused=40), None, "40 % failed: 40 refused"),
    (load_run(97, lost=1), None, "3 % failed: 1 lost, 2 without an answer"),
    (load_run(0), None, "no answer in 2 s"),
    (load_run(0, refused=100), None, "100 % failed: 100 refused")])
def test_what_fails_has_no_figure(run, value, note):
    sample, = measures_requests.tell(run, "add", 100, ["p50_us"])
    assert (sample.value, sample.note) == (value, note)


def judge(*parts):
    """{first words of a target: its verdict}"""
    return {verdict.what.split(":")[0]: verdict
            for verdict in targets.judge_all(finish(*parts))}


def make_sizes(candidate, sizes, value, **some):
    return [(candidate, "add", Sample(leases=size, value=value, **some)) for size in sizes]


ADD = {"measure": "NAT-PMP add, window 1, p50", "unit": "us"}
KNOWN = {"measure": "packets in, leased", "unit": "1/s", "better": MORE}


@pytest.mark.parametrize("sizes, value, state", [
    (targets.SIZES, 90, targets.REACHED), (targets.SIZES[1:], 90, targets.OPEN),
    (targets.SIZES, 110, targets.MISSED), (targets.SIZES[1:], 110, targets.MISSED),
    ((), 90, targets.OPEN)])
def test_every_size_is_every_size(sizes, value, state):
    found = judge(make_sizes(OURS, sizes, value, **ADD))["NAT-PMP add, window 1, p50"]
    assert found.state == state
    assert ("no figure at 0" in found.measured) == (len(sizes) == len(targets.SIZES) - 1)


def test_nothing_is_reached_where_a_round_failed():
    failed = [(OURS, "add", Sample(leases=100, value=None, **ADD))]
    found = judge(make_sizes(OURS, targets.SIZES, 90, **ADD), failed)
    assert found["NAT-PMP add, window 1, p50"].state == targets.OPEN


def test_packets_of_leased_flows_are_held_against_no_daemon():
    out = {**KNOWN, "measure": "packets out, leased"}
    found = judge(*(make_sizes(who, targets.LEASED, rate, **way) for way in (KNOWN, out)
                    for who, rate in ((OURS, 1000), ("none", 1150))))
    assert found["packets of leased flows"] == (
        "packets of leased flows: time at most 1.02x of no daemon, at every size",
        "1.150x", targets.MISSED)


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


class Rounds(bench.Run):
    """One whose sessions measure nothing; each takes so many seconds of its clock."""

    def __init__(self, minutes, take_s, large_s):
        super().__init__("full", None, bench.Clock(minutes))
        self.take_s, self.large_s, self.done = take_s, large_s, []

    def find_plan(self, name, group, number, large):
        wanted = group == "requests" and (not large or name in bench.INCUMBENTS)
        return {1: []} if wanted else {}

    def session(self, name, group, number, large=False):
        if self.find_plan(name, group, number, large) and self.clock.left_s() > 0:
            self.done.append((number, name, large))
            spent = min(self.large_s if large else self.take_s, self.clock.left_s())
            self.clock.began_s -= spent
            self.clock.end_s -= spent


def count_rounds(minutes, take_s, large_s):
    run, saved = Rounds(minutes, take_s, large_s), []
    options = bench.argparse.Namespace(rounds=3, large_rounds=2)
    bench.run_all(run, [OURS, THEIRS, "none"], options, saved.append)
    assert [name for _, name, _ in run.done[:3]] == [OURS, "none", THEIRS]
    return [sum(large == wanted for _, name, large in run.done if name == THEIRS)
            for wanted in (False, True)]


@pytest.mark.parametrize("minutes, take_s, large_s, rounds", [
    (26, 60, 100, [3, 2]), (20, 110, 300, [3, 1]), (20, 190, 300, [2, 1]),
    (20, 400, 300, [1, 1])])
def test_a_run_keeps_to_its_time(minutes, take_s, large_s, rounds, monkeypatch):
    monkeypatch.setattr(bench, "LARGE_KEPT_S", 200)
    assert count_rounds(minutes, take_s, large_s) == rounds


def test_the_clock_rings_only_within_its_block():
    with pytest.raises(bench.TimeOver), bench.Clock(0.001) as clock:
        signal.sigtimedwait((), 5)
    assert clock.left_s() <= 0
    with pytest.raises(bench.TimeOver), clock:
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.mark.parametrize("arguments, words", [
    (["--candidates", "nobody"], "no such candidate: nobody"),
    (["--only", "no such measure"], "no measure has a name with no such measure"),
    (["--rounds", "0"], "rounds and minutes are 1 or more")])
def test_what_cannot_be_run_is_said_in_a_line(arguments, words, tmp_path):
    done = subprocess.run([sys.executable, bench.__file__, *arguments, "--output",
                           tmp_path / "x.json"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"samples": []}'])
def test_no_page_is_made_of_no_figures(text, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError):
        render.read_results(path)
