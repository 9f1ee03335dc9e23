"""The other models of an audit: the reference is not the model under test, and gradients are compared over all of the data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from safeml import surrogate
from safeml.audits.base import AuditInputs, Reference
from safeml.audits.comparison import run as comparison
from safeml.classifiers.batches import BatchSize
from safeml.classifiers.twin import IMAGES, with_gradients
from safeml.errors import InputRefused
from safeml.settings.model import ReferenceSettings
from safeml.stages.comparison import ComparisonSettings
from tests.fakes import Answers, dataset, numbered_images


class Batched(Answers):
    batch = BatchSize(64)


def test_the_model_under_test_is_no_reference_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: Any) -> Any:
        return SimpleNamespace(
            classifier=Answers(np.eye(2), fingerprint="a" * 64),
            opened=SimpleNamespace(source=SimpleNamespace(file=Path("same.keras"))),
        )

    monkeypatch.setattr(surrogate, "open_companion", opened)
    monkeypatch.setattr(surrogate, "_reference", lambda config: ReferenceSettings(path="same.keras"))

    def open_reference(fingerprint: str) -> Any:
        model: Any = Answers(np.eye(2), fingerprint=fingerprint)
        config: Any = SimpleNamespace()
        place: Any = SimpleNamespace(base=Path())
        return surrogate.open_reference(config, place, model, ("a", "b"), lambda *_: None)

    assert open_reference("b" * 64).classifier.fingerprint == "a" * 64
    with pytest.raises(InputRefused, match=r"same\.keras is the model under test itself"):
        open_reference("a" * 64)


@pytest.mark.parametrize("fingerprint", ["a" * 64, "b" * 64])
def test_a_reference_that_the_file_was_exported_from_is_a_finding(fingerprint: str) -> None:
    labels = np.arange(40) % 2
    test = dataset(labels)
    artefact: Any = Batched(np.eye(2)[labels] * 5.0, fingerprint="c" * 64)
    source: Any = Batched(artefact.table, fingerprint="a" * 64)
    other: Any = Batched(artefact.table, fingerprint=fingerprint)
    inputs = AuditInputs(
        with_gradients(artefact, source, test.images, "x"), test, reference=Reference(other, 0)
    )
    result = comparison.run(inputs, ComparisonSettings(attacked_images=0, explained_images=0, resamples=100))
    codes = {finding.code for finding in result.findings}
    assert codes == ({"reference-is-the-source"} if fingerprint == "a" * 64 else set())


@pytest.mark.parametrize(
    ("files", "codes"),
    [
        (
            {"float": {"fingerprint": "a" * 64}, "int8": {"fingerprint": "b" * 64}},
            {"reference-not-of-the-quantization"},
        ),
        ({"float": {"fingerprint": "a" * 64}, "finetuned": {"fingerprint": "b" * 64}}, set()),
        ({}, set()),
        ({"float": 7}, set()),
        (None, set()),
    ],
    ids=["replaced", "of the record", "no models", "another shape", "no files"],
)
def test_a_reference_that_is_not_of_the_quantization_is_a_finding(files: Any, codes: set[str]) -> None:
    labels = np.arange(40) % 2
    model: Any = Batched(np.eye(2)[labels] * 5.0, fingerprint="c" * 64)
    other: Any = Batched(model.table, fingerprint="b" * 64)
    inputs = AuditInputs(model, dataset(labels), reference=Reference(other, 0), quantization={"files": files})
    result = comparison.run(inputs, ComparisonSettings(attacked_images=0, explained_images=0, resamples=100))
    assert {finding.code for finding in result.findings} == codes


def test_gradients_are_compared_over_all_of_the_data() -> None:
    """Data are often sorted by class, and another model may agree on the first ones."""
    count = 4 * IMAGES
    images = numbered_images(count)
    table = np.eye(4)[np.arange(count) * 4 // count] * 5.0
    other = table.copy()
    other[IMAGES:] = np.roll(table, 1, axis=1)[IMAGES:]
    models: Any = (Batched(each) for each in (table, table.copy(), other))
    artefact, agreeing, alien = models
    assert with_gradients(artefact, agreeing, images, "x").checked.images == IMAGES
    with pytest.raises(InputRefused, match="expected at least 99"):
        with_gradients(artefact, alien, images, "x")
