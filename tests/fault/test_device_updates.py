"""A device whose power is cut at any call of an installation: it has the old release or the new one, and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.cut_updates import holds
from tests.fault.power_cut import DISKS, LOST
from tests.fault.update_cases import often

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "disk"), often(DISKS, LOST))
def test_a_power_cut_at_any_call_leaves_the_old_release_or_the_new(
    tmp_path: Path, name: str, disk: str
) -> None:
    holds("at_any_call", tmp_path, name, disk)


@pytest.mark.parametrize("before_the_end", [10, 16, 22])
def test_a_power_cut_during_the_recovery_is_recovered(tmp_path: Path, before_the_end: int) -> None:
    """The power is cut in the middle of the switch, and then again at each call of the recovery."""
    holds("during_the_recovery", tmp_path, before_the_end)


def test_a_check_that_fails_in_its_process_fails_the_test(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="KeyError: 'no such scenario'"):
        holds("at_any_call", tmp_path, "no such scenario", LOST)
