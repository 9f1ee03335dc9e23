"""The page of the model file: what it must say to whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.model import run
from safeml.classifiers.base import InputSpec
from safeml.classifiers.contract import contract_key
from safeml.results import ModelOrigin, ModelScan, StageResult
from safeml.settings.model import InputSettings
from safeml.stages.model import ModelFileSettings
from tests.fakes import dataset, oracle
from tests.records import severities

LABELS = np.arange(40) % 4
SCAN = ModelScan(
    status="accepted",
    path="model.h5",
    format="HDF5 file",
    sha256="ab" * 32,
    bytes=1234,
    facts={"Keras version": "2.3.1", "layers": 12},
    scanner=1,
)


def page(trained: bool = False, train: bool = False, **contract: object) -> StageResult:
    test = dataset(LABELS)
    other = dataset(LABELS, seed=1) if train else None
    origin = ModelOrigin(
        scan=SCAN, network="dropped", memory_limit=2**31, seconds_limit=300, safeml_trained=trained
    )
    classifier = replace(oracle(LABELS, 4), notes=("the softmax was taken off",))
    inputs = AuditInputs(classifier, test, other, contract=InputSettings(**contract), origin=origin)
    return run(inputs, ModelFileSettings())


def cells(result: StageResult) -> set[str]:
    return {str(cell) for figure in result.figures for row in figure.rows for cell in row}


@pytest.mark.parametrize(
    ("trained", "train", "expected"),
    [
        (False, False, {"training-not-visible": "warning", "contract-not-measured": "warning"}),
        (False, True, {"training-not-visible": "info", "contract-not-measured": "warning"}),
        (True, False, {"training-not-visible": "warning"}),
        (True, True, {}),
    ],
)
def test_whose_training_is_not_visible_is_said(trained: bool, train: bool, expected: dict[str, str]) -> None:
    assert severities(page(trained, train)) == expected


def test_a_contract_that_was_chosen_on_the_test_images_is_said() -> None:
    here = contract_key(InputSettings(channels="bgr"), dataset(LABELS).pixels_fingerprint, "f" * 64)
    measured = page(True, True, channels="bgr", chosen_on=here)
    assert severities(measured) == {"contract-chosen-on-test": "warning"}


@pytest.mark.parametrize(
    "changed",
    [{"channels": "rgb"}, {"range": (0, 255)}, {"class_order": (1, 0, 2, 3)}, {"chosen_on": "cd" * 32}],
)
def test_a_contract_that_was_changed_since_is_not_called_measured(changed: dict) -> None:
    here = contract_key(InputSettings(channels="bgr"), dataset(LABELS).pixels_fingerprint, "f" * 64)
    settings = {"channels": "bgr", "chosen_on": here, **changed}
    assert severities(page(True, True, **settings)) == {"contract-measured-elsewhere": "info"}


def test_the_scan_and_the_loading_are_shown() -> None:
    shown = cells(page())
    assert {"ab" * 32, "2.3.1", "12", "1,234", "the softmax was taken off"} <= shown
    assert any("network dropped" in cell for cell in shown)


def test_every_part_of_the_contract_is_shown() -> None:
    test = dataset(LABELS)
    origin = ModelOrigin(scan=SCAN, network="dropped", memory_limit=2**31, seconds_limit=300)
    spec = InputSpec(30, 30, "bgr", 0.0, 255.0, mean=(103.9, 116.8, 123.7), std=(1.0, 2.0, 3.0))
    inputs = AuditInputs(replace(oracle(LABELS, 4), spec=spec), test, origin=origin)
    shown = cells(run(inputs, ModelFileSettings()))
    assert {"30 x 30 pixels", "bgr", "255", "103.9, 116.8, 123.7", "1, 2, 3"} <= shown
    whitened = replace(inputs, classifier=replace(oracle(LABELS, 4), spec=InputSpec(8, 8, standardise=True)))
    shown = cells(run(whitened, ModelFileSettings()))
    assert any("minus its mean" in cell for cell in shown)


def test_a_model_made_in_memory_has_no_file_and_the_page_says_so() -> None:
    result = run(AuditInputs(oracle(LABELS, 4), dataset(LABELS)), ModelFileSettings())
    assert result.status == "skipped"
    assert "no file was scanned or audited" in result.reason
