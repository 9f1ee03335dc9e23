"""The allow-list against the installed Keras: every public class has been looked at, and every allowed one exists."""

from __future__ import annotations

import importlib
import inspect

import pytest

from safeml.scan import keras_names
from safeml.scan.keras_names import LAYERS, MODULES, REFUSED_LAYERS

pytestmark = pytest.mark.slow


def classes(module: str) -> set[str]:
    found = importlib.import_module(module)
    return {name for name in dir(found) if inspect.isclass(getattr(found, name))}


def test_every_public_layer_is_either_allowed_or_refused_with_a_reason() -> None:
    assert classes("keras.layers") == LAYERS | set(REFUSED_LAYERS)
    assert not LAYERS & set(REFUSED_LAYERS)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_allowed_class_exists_where_it_is_allowed(module: str) -> None:
    importlib.import_module("keras")
    missing = {name for name in MODULES[module] if not hasattr(importlib.import_module(module), name)}
    # Keras keeps `Functional` out of its public module and still writes it there.
    assert missing <= {"Functional", "DTypePolicyMap", "FloatDTypePolicy", "DTypePolicy"}, missing


@pytest.mark.parametrize(
    ("kind", "allowed", "left_out"),
    [
        ("initializers", keras_names.INITIALIZERS, {"Initializer"}),
        ("regularizers", keras_names.REGULARIZERS, {"Regularizer"}),
        ("constraints", keras_names.CONSTRAINTS, {"Constraint"}),
        ("losses", keras_names.LOSSES, {"Loss"}),
        ("metrics", keras_names.METRICS, {"Metric", "MeanMetricWrapper"}),
        ("optimizers", keras_names.OPTIMIZERS, {"Optimizer", "OptimizerMap", "MultiOptimizer"}),
        ("optimizers.schedules", keras_names.SCHEDULES, {"LearningRateSchedule"}),
    ],
)
def test_every_public_class_of_a_kind_is_allowed_or_left_out_by_name(
    kind: str, allowed: frozenset[str], left_out: set[str]
) -> None:
    named = {name for name in classes(f"keras.{kind}") if name[0].isupper()}
    assert named == allowed | left_out


def test_no_operation_that_takes_a_function_is_allowed() -> None:
    takes_functions = {
        "AssociativeScan",
        "Cond",
        "ForiLoop",
        "Map",
        "Scan",
        "Switch",
        "VectorizedMap",
        "WhileLoop",
        "JVP",
    }
    operations = [names for module, names in MODULES.items() if module.startswith("keras.src.ops.")]
    assert operations
    assert not takes_functions & frozenset().union(*operations)


def test_allowed_activations_are_public_functions_of_keras() -> None:
    import keras

    for name in keras_names.ACTIVATIONS:
        assert callable(getattr(keras.activations, name))
