"""What every test shares."""

import gc
import os
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import settings

from tests import budget

# How long an example takes says how busy the machine is, and nothing about the code. The examples are the same each time, so
# that a test which fails was broken by a change; SAFEML_EXPLORE=1 looks at new ones.
settings.register_profile("safeml", deadline=None, derandomize=not os.environ.get("SAFEML_EXPLORE"))
settings.load_profile("safeml")


# There is a worker for each core, and TensorFlow's idle threads spin: one thread a process costs a sixth less processor time.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

# Modules and graphs are millions of objects that live to the end. Searching them for garbage takes a tenth of the time.
gc.set_threshold(50_000, 20, 50)


@cache
def leave_out_of_collections() -> None:
    """Exclude the modules and the collected tests, which live to the end, from later garbage collections.

    Not in the product: in a notebook it would keep the garbage of the user's own objects for ever.
    """
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(budget, "tests.budget")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start the framework as the command line does before a test that may import it in another way."""
    if item.get_closest_marker("slow"):
        from safeml import framework

        framework.start()
        leave_out_of_collections()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the nightly tests out of every run that does not select them by their marker."""
    if "nightly" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("nightly")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="module")
def compiled_attacks_kept() -> Iterator[None]:
    """Keep every compiled attack of a file: an audit has fewer than the 24 that the engine keeps, and some files have more."""
    from safeml.attacks import slots

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots, "compile_for", cache(slots.compile_for.__wrapped__))
        yield
