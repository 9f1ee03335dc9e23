"""The start of the framework: garbage collection is as it was, whatever the import did."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest

from safeml.framework import uncollected


def failed_import() -> bool:
    """Return whether garbage collection was enabled in the context, which an error leaves."""
    enabled = True
    with suppress(ImportError), uncollected():
        enabled = gc.isenabled()
        raise ImportError
    return enabled


@pytest.mark.parametrize("was", [True, False])
def test_imports_are_not_collected_and_the_state_returns(was: bool) -> None:
    before = gc.isenabled()
    (gc.enable if was else gc.disable)()
    try:
        assert not failed_import()
        assert gc.isenabled() is was
    finally:
        (gc.enable if before else gc.disable)()
