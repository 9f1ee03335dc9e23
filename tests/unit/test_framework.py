"""The start of the framework: garbage collection is as it was, whatever the import did; and how graphs are made."""

from __future__ import annotations

import ast
import gc
import json
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


STARTED = """
import gc, json, sys
before = gc.get_freeze_count()
from safeml import framework
framework.start()
said = {"frozen": gc.get_freeze_count() - before, "enabled": gc.isenabled()}
import keras, numpy as np, tensorflow as tf
model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
tf.function(model)(np.ones((2, 4, 4, 3), np.float32))
said["early"] = "sklearn" in sys.modules or hasattr(keras.wrappers, "__file__")
stand_in = keras.wrappers
by_name = stand_in.SKLearnClassifier
said["listed"] = "SKLearnClassifier" in dir(stand_in)
said["used"] = "sklearn" in sys.modules and hasattr(keras.wrappers, "__file__")
from keras.wrappers import SKLearnClassifier
said["same"] = by_name is SKLearnClassifier is keras.wrappers.SKLearnClassifier
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def started() -> dict[str, object]:
    """What a new process says after the framework was started in it."""
    done = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_the_product_leaves_every_object_to_the_garbage_collector(started: dict[str, object]) -> None:
    """In a notebook, what it excluded would be the user's objects too."""
    assert (started["frozen"], started["enabled"]) == (0, True)


def test_keras_wrappers_are_imported_when_they_are_used(started: dict[str, object]) -> None:
    """And not before: they bring scikit-learn, which opening and attacking a model do not need."""
    assert started["early"] is False
    assert [started[name] for name in ("used", "same", "listed")] == [True, True, True]


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
