# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured: a table that the files measures_*.py fill.

    @measure("walk", short=(100, 1000), full=(100, 1000, 5000))
    def measure_walk(candidate, leases):
        ...
        return [Sample("walk, per entry", leases, "us", 12.5)]

`candidate` holds that many leases when it is called (see candidates.py), and shall hold
about as many after it. All measures of a group share one laboratory and one daemon, size
after size; groups follow each other. In group "plane" the leases are in the kernel, and
an incumbent's daemon may know nothing of them.
"""

import collections
import dataclasses

from candidates import ALL

LESS, MORE = "less", "more"
FORMS = ("short", "full")
GROUPS = ("memory", "requests", "plane", "other")


@dataclasses.dataclass(frozen=True)
class Sample:
    """One figure. better: LESS or MORE is better. value None: why stands in note."""

    measure: str
    leases: int
    unit: str
    value: float
    better: str = LESS
    note: str = ""


Measure = collections.namedtuple("Measure", "name function group sizes rounds candidates most")
MEASURES = []


def measure(name, *, short=(), full=(), group="requests", rounds=None, candidates=ALL,
            most=None):
    """
    Enter a function into the table. short, full: leases at which it runs in that form.
    rounds: {"short": N, "full": N} where fewer than all are enough. candidates: names.
    most: {form: leases} beyond which an incumbent is not asked, which is told.
    """
    assert group in GROUPS, group

    def enter(function):
        MEASURES.append(Measure(name, function, group, {"short": short, "full": full},
                                rounds or {}, candidates, most or {}))
        return function

    return enter


def find(form, group, candidate, number):
    """{leases: [Measure...]} of one session, leases ascending. number: of the round."""
    found = collections.defaultdict(list)
    for row in MEASURES:
        if (row.group == group and candidate in row.candidates
                and number < row.rounds.get(form, number + 1)):
            for leases in row.sizes[form]:
                found[leases].append(row)
    return dict(sorted(found.items()))
