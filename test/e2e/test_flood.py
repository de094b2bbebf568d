# SPDX-License-Identifier: GPL-2.0-or-later
"""
One host sends requests as fast as it can; another is served as if nothing was. The
release build, its own roles, the default configuration.
"""

import os
import re

import flood
import pytest
from conftest import get_build
from lab import wait_for

PROGRAM = os.path.join(get_build("release"), "test/bench/flood")
ROUNDS = 3


@pytest.mark.parametrize("kind", flood.FLOODS)
def test_flood(lab, daemon_factory, kind):
    """PCP-7, NP-11: 99 % of another host's requests are answered within 50 ms"""
    daemon = daemon_factory(build="release").start()
    flood.add_addresses(lab)
    with flood.Honest(lab.lan2, kind) as honest:
        print(f"\n{kind}: calm", flood.FIGURES % honest.measure())
        running = flood.start(lab, PROGRAM, kind)
        wait_for(lambda: re.search("asks too fast|in flight", daemon.log()),
                 "the flood to be noticed")
        # The machine may be busy elsewhere: what it can do is asked, not what it did once.
        best = float("inf")
        for _ in range(ROUNDS):
            figures = honest.measure()
            print(f"{kind}: flood", flood.FIGURES % figures)
            assert running.poll() is None, "the flood has ended: " + running.output()
            best = min(best, figures[1])
            if best <= 1000 * flood.PROMPT_S:
                break
        running.kill()
    assert best <= 1000 * flood.PROMPT_S
