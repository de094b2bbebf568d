# SPDX-License-Identifier: GPL-2.0-or-later
"""How test/run shares out what runs side by side."""

import importlib.machinery
import importlib.util
import os

import pytest

TEST = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """test/run as a module, with a build directory of its own."""
    monkeypatch.setenv("PORTREEVE_BUILD", str(tmp_path))
    loader = importlib.machinery.SourceFileLoader("run", os.path.join(TEST, "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
    loader.exec_module(module)
    return module


def test_shares_take_the_same_time(runner):
    names = {name for name in os.listdir(os.path.join(TEST, "e2e"))
             if name.startswith("test_") and name.endswith(".py")}
    seconds = runner.measure_e2e()
    assert seconds == runner.E2E_SECONDS and set(seconds) <= names
    shares = runner.share_out(names, seconds, 2)
    assert sorted(sum(shares, [])) == sorted(names)
    times = [sum(seconds.get(name, runner.E2E_SECONDS_OTHER) for name in share)
             for share in shares]
    assert abs(times[0] - times[1]) < 0.1 * max(times)


def test_what_was_measured_goes_first(runner, tmp_path):
    (tmp_path / "e2e-0.xml").write_text(
        '<testsuites><testsuite><testcase classname="test.e2e.test_x" name="a" time="20.5"/>'
        '<testcase classname="test.e2e.test_x" name="b" time="20"/></testsuite></testsuites>')
    (tmp_path / "e2e-1.xml").write_text("<cut")
    seconds = runner.measure_e2e()
    assert seconds["test_x.py"] == 40.5
    assert seconds["test_ssdp.py"] == runner.E2E_SECONDS["test_ssdp.py"]
    assert runner.share_out(["test_a.py", "test_b.py", "test_x.py"], seconds, 2) == [
        ["test_x.py"], ["test_a.py", "test_b.py"]]
