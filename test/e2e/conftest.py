# SPDX-License-Identifier: GPL-2.0-or-later
"""What the end-to-end tests share: a laboratory and daemons in it."""

import glob
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import firewall  # noqa: E402 (found by the path above)
import pcp  # noqa: E402 (found by the path above)
import wire  # noqa: E402 (found by the path above)
from daemon import Daemon  # noqa: E402 (found by the path above)
from lab import Lab  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


# Logs of the processes started last that a failed test shows.
SHOWN_LOGS = 3


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "nftables(why): a test of the nftables backend, or of what it alone has")


def pytest_collection_modifyitems(items):
    for item in items:
        mark = item.get_closest_marker("nftables")
        if mark and firewall.BACKEND != firewall.NFTABLES:
            item.add_marker(pytest.mark.skip(reason=f"nftables only: {mark.args[0]}"))


def get_build(name):
    """Build directory: PORTREEVE_ASAN or PORTREEVE_RELEASE, else build/asan ..."""
    path = os.environ.get("PORTREEVE_" + name.upper(), os.path.join(ROOT, "build", name))
    return os.path.abspath(path)


@pytest.fixture
def copy_for_all():
    """
    copy_for_all(program) -> the same program, and the modules beside it, where every user
    may run it: the build can be below a directory that is root's alone.
    """
    with tempfile.TemporaryDirectory(prefix="portreeve-") as directory:
        os.chmod(directory, 0o755)

        def copy(program):
            beside = os.path.join(os.path.dirname(program), "portreeve-*.so")
            for path in [*glob.glob(beside), program]:
                made = shutil.copy(path, directory)
                os.chmod(made, 0o755)
            return made

        yield copy


@pytest.fixture(scope="module")
def lab(request):
    """The hosts; a module's WAN_NET says where its internet is (see Lab)."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces are made")
    net = getattr(request.module, "WAN_NET", None)
    with (Lab(wan=net) if net else Lab()) as laboratory:
        yield laboratory


@pytest.fixture
def daemon_factory(lab):
    """
    daemon_factory(config, build="asan", ...) -> Daemon, not started. At the end of the
    test every one is stopped, and no log may hold a sanitizer's report.
    """
    made = []

    def make(config="", build="asan", **options):
        daemon = Daemon(lab, get_build(build), config, **options)
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.close()
    for daemon in made:
        daemon.check_log()
        shutil.rmtree(daemon.directory, ignore_errors=True)


@pytest.fixture
def daemon(daemon_factory):
    """portreeved on its default configuration, serving."""
    return daemon_factory().start()


@pytest.fixture
def lan1(lab, daemon):
    """A PCP client on the host of that name; tests of other protocols have their own."""
    with pcp.Client(lab.lan1) as client:
        yield client


@pytest.fixture
def lan2(lab, daemon):
    with pcp.Client(lab.lan2) as client:
        yield client


@pytest.fixture
def wan(lab):
    """The WAN's addresses, as a test changes them; put right at its end."""
    made = wire.Wan(lab)
    yield made
    made.restore()


class Keeper:
    """One daemon at a time, which tests share as long as they want the same of it."""

    def __init__(self, lab):
        self.lab, self.daemon, self.wanted, self.made = lab, None, None, []

    def get(self, config="", build="asan", fresh=False):
        """A daemon of that configuration, serving; fresh: one that nobody used yet."""
        running = self.daemon and self.daemon.process.poll() is None
        if not running or fresh or self.wanted != (config, build):
            self.end()
            self.daemon = Daemon(self.lab, get_build(build), config)
            self.wanted = (config, build)
            self.made.append(self.daemon)
            self.daemon.start()
        return self.daemon

    def end(self):
        if self.daemon:
            self.daemon.close()
            self.daemon = None

    def check_logs(self):
        self.end()
        for daemon in self.made:
            daemon.check_log()


@pytest.fixture(scope="module")
def keeper(lab):
    """Keeper for the tests of a module that need no daemon of their own each."""
    made = Keeper(lab)
    yield made
    made.check_logs()


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test tells what the daemons had logged."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed and "lab" in getattr(item, "funcargs", {}):
        for process in item.funcargs["lab"].processes[-SHOWN_LOGS:]:
            if os.path.exists(process.log):
                report.sections.append((f"{process.argv[0]} {process.pid}",
                                        process.output()[-8000:]))


