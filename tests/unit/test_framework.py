"""The start of the framework: garbage collection is as it was, whatever the import did; and how graphs are made."""

from __future__ import annotations

import ast
import gc
import subprocess
import sys
from contextlib import suppress

import pytest

from safeml import framework
from safeml.framework import uncollected
from tests.source_texts import nodes, sources

pytestmark = pytest.mark.slow


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


def test_the_product_leaves_every_object_to_the_garbage_collector() -> None:
    """In a notebook, what it excluded would be the user's objects too."""
    code = (
        "import gc; before = gc.get_freeze_count(); from safeml import framework; framework.start(); "
        "print(gc.get_freeze_count() - before, gc.isenabled())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True"]


@pytest.mark.parametrize(("gpus", "disabled"), [([], True), (["/physical_device:GPU:0"], False)])
def test_grappler_is_disabled_without_a_gpu_only(
    gpus: list[str], disabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras may be imported already: the graphs of a notebook are those of the command line."""
    framework.start()
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    try:
        with monkeypatch.context() as patch:
            patch.setattr(tf.config, "list_physical_devices", lambda kind=None: gpus)
            framework.start()
            assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"] is disabled
    finally:
        framework.start()


def test_grappler_is_disabled_for_a_model_in_memory_too() -> None:
    framework.start()
    import keras
    import tensorflow as tf

    from safeml.classifiers.keras import from_keras

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    try:
        from_keras(keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()]), "memory")
        without_gpu = not tf.config.list_physical_devices("GPU")
        assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"] is without_gpu
    finally:
        framework.start()


def test_no_graph_is_rewritten_by_autograph() -> None:
    """The functions of the product branch on nothing that a graph computes; rewriting their source takes seconds a run."""
    calls = [
        (path.name, node)
        for path in sources()
        for node in nodes(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "tf.function"
    ]
    assert len(calls) > 10
    for name, call in calls:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("autograph") == "False", f"{name}:{call.lineno}"
