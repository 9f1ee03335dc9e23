"""What the tests of whole runs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.trained import session_project


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose model is trained and whose run is in `run`. Nothing in it is to be changed; copy it."""
    return session_project(tmp_path_factory)
