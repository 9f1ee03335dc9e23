"""What the tests of whole runs share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from safeml.data import rendered
from safeml.data.dataset import ImageDataset
from tests import subjects
from tests.integration.adversarial_cases import K as CLASSES
from tests.integration.trained import session_project
from tests.opening import trials_here

# The processes in which a file is scanned and loaded first are what these files test; commands in a process of their own have them too.
IN_CHILDREN = ("test_load_model",)


@pytest.fixture(scope="module", autouse=True)
def opened_in_this_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """Scan and load model files in this process: each child imports the framework, which takes longer than most tests."""
    if request.module.__name__.rpartition(".")[2] in IN_CHILDREN:
        yield
    else:
        with trials_here():
            yield


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose model is trained and whose run is in `run`. Nothing in it is to be changed; copy it."""
    return session_project(tmp_path_factory)


@pytest.fixture(scope="module")
def corner() -> subjects.Subject:
    """One object for all tests of a file that only attack it: the engine compiles once for each object."""
    return subjects.corner_oracle(CLASSES, scale=10.0)


@pytest.fixture(scope="session", autouse=True)
def rendered_once() -> Iterator[None]:
    """Render equal data once in this process, where every recipe would render its own; its images cannot be changed.

    That the same settings give the same bytes is a test of tests/unit/test_rendered.py.
    """
    render = rendered.render

    @cache
    def once(*arguments: object, **options: object) -> ImageDataset:
        data = render(*arguments, **options)  # type: ignore[arg-type]
        data.images.setflags(write=False)
        return data

    once.__wrapped__ = render  # its signature is that of the settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "render", once)
        yield
