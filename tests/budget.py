"""The processor time that the tests of every day may take: measured around each item, children included, and enforced.

Wall time says how busy the machine is; processor seconds say what a test costs wherever it runs.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

import pytest

# An item that is not marked slow: `make fast` runs some thousands of them. Most take milliseconds; a disk that is busy makes one cost seconds.
FAST_SECONDS = 3.0
FILE_SECONDS = 45.0
# The bounds hold on an idle machine. One file took 75 and 107 s for the same work, alone and beside another.
NOISE = 1.5
SHOWN = 20
PROPERTY = "cpu_seconds"
# The files that may cost more, each with its bound in processor seconds and the reason.
LARGER: dict[str, tuple[float, str]] = {
    "tests/integration/test_durable_audit.py": (50, "an audit in three processes"),
    "tests/integration/test_inspect.py": (55, "fourteen input contracts are measured on each of the models"),
    "tests/integration/test_masking.py": (
        60,
        "attacks are compiled anew for each network that hides its gradient",
    ),
    "tests/integration/test_recipes.py": (50, "each recipe is trained and its training reported"),
    "tests/integration/test_training_fit.py": (55, "each interrupted training is compiled again"),
}
# Loaded by no test file when it is collected: each worker collects all of them.
FRAMEWORKS = ("keras", "onnxruntime", "tensorflow")
STARTED = pytest.StashKey[float]()
# What several files share is made by the first that asks and charged to none of them: it has a line and a bound of a file.
SHARED = "shared_seconds"
_shared: dict[str, float] = {}
_before: set[str] = set()


def used() -> float:
    """Return the processor seconds of this process and of its children that ended."""
    usages = (getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def shared(name: str) -> Iterator[None]:
    """Charge the processor seconds of the block to `name` instead of the item that asks first."""
    began = used()
    try:
        yield
    finally:
        _shared[name] = _shared.get(name, 0.0) + used() - began


def over_item(seconds: float, slow: bool) -> str:
    """Return what is wrong with an item that took `seconds`, or "". Items marked slow are bounded by their file only."""
    if slow or seconds <= NOISE * FAST_SECONDS:
        return ""
    return f"took {seconds:.1f} processor seconds; mark an item slow that takes more than {FAST_SECONDS:g}."


def over_file(file: str, seconds: float) -> str:
    """Return what is wrong with a file whose items took `seconds` together, or ""."""
    bound = LARGER.get(file, (FILE_SECONDS, ""))[0]
    if seconds <= NOISE * bound:
        return ""
    return (
        f"{file} took {seconds:.1f} processor seconds and may take {bound:g}; make it cheaper, or list it in "
        "tests/budget.py with a larger bound and the reason."
    )


class Spent:
    """The seconds of each file, as the reports of its items come in, from this process or from workers."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            properties = dict(report.user_properties)
            self.seconds[report.nodeid.partition("::")[0]] += properties.get(PROPERTY, 0.0)
            for name, seconds in properties.get(SHARED, {}).items():
                self.seconds[name] += seconds

    @property
    def over(self) -> list[str]:
        return [line for line in (over_file(*row) for row in sorted(self.seconds.items())) if line]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.over and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        rows = sorted(self.seconds.items(), key=lambda row: -row[1])[:SHOWN]
        terminalreporter.section(
            f"processor time: {sum(self.seconds.values()):.0f} s; the most expensive files"
        )
        for file, seconds in rows:
            terminalreporter.write_line(f"{seconds:7.1f} s  {file}")
        for line in self.over:
            terminalreporter.write_line(line, red=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that cost most first, so that no worker is left alone with one at the end."""
    slow = {_file(item) for item in items if item.get_closest_marker("slow")}

    def rank(item: pytest.Item) -> float:
        file = _file(item)
        return -LARGER[file][0] if file in LARGER else -FILE_SECONDS * (file in slow)

    items.sort(key=rank)
    loaded = [name for name in FRAMEWORKS if name in sys.modules and name not in _before]
    if loaded:
        raise pytest.UsageError(
            f"Collecting the tests loaded {', '.join(loaded)}; import it inside the test or fixture that needs it."
        )


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_configure(config: pytest.Config) -> None:
    _before.update(sys.modules)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Spent(), "safeml-budget")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    item.stash[STARTED] = used()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when != "teardown":
        return report
    charged = dict(_shared)
    _shared.clear()
    if charged:
        report.user_properties.append((SHARED, charged))
    # A nightly search works for as long as it is given.
    if not item.get_closest_marker("nightly"):
        seconds = used() - item.stash[STARTED] - sum(charged.values())
        report.user_properties.append((PROPERTY, round(seconds, 2)))
        wrong = over_item(seconds, item.get_closest_marker("slow") is not None)
        if wrong and report.passed:
            report.outcome, report.longrepr = "failed", f"{item.nodeid} {wrong}"
    return report
