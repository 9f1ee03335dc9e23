"""The budget of the tests: what fails it, and that the bounds that it lists are of files that are there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests import budget

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]


def test_every_larger_bound_is_of_a_file_that_is_there_and_has_a_reason() -> None:
    for file, (bound, reason) in budget.LARGER.items():
        assert (ROOT / file).is_file(), file
        assert bound > budget.FILE_SECONDS
        assert len(reason.split()) >= 3


@pytest.mark.parametrize(
    ("mark", "item", "file", "failed"), [("", 0.05, 9.0, 1), ("@pytest.mark.slow", 0.05, 9.0, 0)]
)
def test_an_item_over_its_bound_fails_unless_it_is_slow(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    mark: str,
    item: float,
    file: float,
    failed: int,
) -> None:
    result = _run(pytester, monkeypatch, mark, item, file)
    assert result.parseoutcomes().get("errors", 0) == failed
    assert result.ret == failed


def test_a_file_over_its_bound_fails_the_session_and_is_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _run(pytester, monkeypatch, "", 9.0, 0.05)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*processor time: *", "*test_busy.py", "test_busy.py took * may take 0.05;*"]
    )


def test_what_files_share_is_charged_to_a_line_with_a_bound(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    with budget.shared("the run that files share"):
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
    assert 0.15 < budget._shared["the run that files share"] < 5
    result = _run(pytester, monkeypatch, "", 9.0, 0.05)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["the run that files share took * may take 0.05;*"])
    assert not budget._shared


def test_a_nightly_search_has_no_bound(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _run(pytester, monkeypatch, "@pytest.mark.nightly", 0.05, 0.05).ret == 0


def test_a_framework_that_collecting_loads_is_refused(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "FRAMEWORKS", ("heavy_framework",))
    pytester.makepyfile(heavy_framework="", test_heavy="import heavy_framework\ndef test_nothing(): pass\n")
    result = pytester.runpytest_inprocess("-p", "tests.budget", "-p", "no:xdist", "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*Collecting the tests loaded heavy_framework; import it inside the test*"])


def _run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mark: str, item: float, file: float
) -> pytest.RunResult:
    """Run a test that works 0.2 processor seconds in a session of its own, in this process, under these bounds."""
    monkeypatch.setattr(budget, "FAST_SECONDS", item)
    monkeypatch.setattr(budget, "FILE_SECONDS", file)
    pytester.makeini("[pytest]\nmarkers =\n    slow: slow\n    nightly: nightly")
    pytester.makepyfile(
        test_busy=f"import time, pytest\n{mark}\ndef test_busy():\n"
        "    end = time.process_time() + 0.2\n    while time.process_time() < end: pass\n"
    )
    return pytester.runpytest_inprocess("-p", "tests.budget", "-p", "no:xdist", "-p", "no:cacheprovider")
