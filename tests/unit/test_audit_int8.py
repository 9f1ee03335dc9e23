"""The stages quantization and conversion on records: what is taken from them, what is a finding, and what is refused. No framework runs."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.conversion import run as conversion
from safeml.audits.quantization import run as quantization
from safeml.errors import InputRefused
from safeml.export.acceptance import ROWS
from safeml.gates import decide
from safeml.results import Gate, StageResult
from safeml.stages.alarms import with_alarms
from safeml.stages.conversion import CONVERSION, ConversionSettings
from safeml.stages.quantization import QuantizationSettings
from safeml.wording import percent
from tests.fakes import Answers, dataset, oracle

LABELS = np.arange(8) % 2
INT8, FLOAT, FILE, KERAS = "8" * 64, "1" * 64, "f" * 64, "a" * 64
RECORD: dict[str, Any] = {
    "format": 1,
    "train": {"name": "train", "images": 90, "fingerprint": "t" * 64},
    "valid": {"name": "valid", "images": 40, "fingerprint": "v" * 64},
    "calibration": {"name": "train", "images": 48, "observer": "mse", "notes": ["Only 48 images."]},
    "quantizers": [{}, {}],
    "layers": [
        {"name": "conv", "kind": "QuantizedConv2D", "quantized": True, "reason": ""},
        {"name": "slope", "kind": "PReLU", "quantized": False, "reason": "no INT8 form"},
    ],
    "validation": {"images": 40, "float": {"val_accuracy": 0.95}, "ptq": {"val_accuracy": 0.9}},
    "chosen": {"model": "ptq", "monitor": "val_accuracy", "reason": "The calibrated model is kept."},
    "sensitivity": {
        "images": 48, "logit_error": 0.1, "decisions_changed": 0.25,
        "layers": [{"layer": "conv", "sqnr_db": 21.5}],
        "kept_float": [{"layer": "conv", "logit_error": 0.01, "decisions_changed": 0.125}],
    },
    "sizes": {"float32_bytes": 400, "int8_bytes": 130},
    "files": {
        "float": {"sha256": "b" * 64, "fingerprint": FLOAT},
        "ptq": {"sha256": KERAS, "fingerprint": INT8},
        "int8": {"sha256": KERAS, "fingerprint": INT8},
    },
}  # fmt: skip
EXPORT: dict[str, Any] = {
    "sources": {"int8.keras": KERAS},
    "files": [{"name": "model.int8.onnx", "bytes": 99, "sha256": "c" * 64}],
    "checks": [
        {"name": row.name, "status": "passed", "reason": "It holds."}
        if row.name != "tensorrt_rtx"
        else {"name": row.name, "status": "not_run", "reason": "It is not installed."}
        for row in ROWS
    ],
}


def origin(sha256: str = "c" * 64) -> Any:
    return SimpleNamespace(scan=SimpleNamespace(path="model.int8.onnx", sha256=sha256, bytes=99))


def quantized(
    record: dict[str, Any] | None = RECORD, fingerprint: str = INT8, **given: Any
) -> tuple[StageResult, set[str]]:
    """Return the stage, and the codes of its serious findings."""
    model = Answers(oracle(LABELS, 2).table, fingerprint=fingerprint)
    inputs = AuditInputs(
        model, given.pop("test", dataset(LABELS)), quantization=copy.deepcopy(record), **given
    )
    result = quantization.run(inputs, QuantizationSettings())
    return result, {finding.code for finding in result.findings if finding.severity == "serious"}


def test_the_numbers_of_the_record_are_those_of_the_stage() -> None:
    result, serious = quantized()
    values = {metric.name: (metric.value, metric.n, metric.low) for metric in result.metrics}
    assert values["validation_accuracy_int8"] == (0.9, 40, None)
    assert values["validation_accuracy_drop"] == (pytest.approx(0.05), 40, None)
    assert not serious
    assert [finding.code for finding in result.findings] == ["layers-in-float"]
    assert "slope" in result.findings[0].message
    assert "Only 48 images." in result.limits
    share, of = percent(0.125), percent(0.25)
    assert f"With the layer conv in float, {share} of the decisions change instead of {of}." in result.meaning


def test_a_record_of_another_model_is_a_finding() -> None:
    assert quantized(fingerprint=FILE)[1] == {"quantization-of-another-model"}
    # The exported file belongs to the record by export.json, which names source and file.
    assert not quantized(fingerprint=FILE, export=EXPORT, origin=origin())[1]
    other = {"quantization-of-another-model"}
    assert quantized(fingerprint=FILE, export=EXPORT, origin=origin("d" * 64))[1] == other
    stranger = {**EXPORT, "sources": {"int8.keras": "e" * 64}}
    assert quantized(fingerprint=FILE, export=stranger, origin=origin())[1] == other
    for form in ([], "x", None):
        assert (
            quantized(fingerprint=FILE, export={"sources": form, "files": form}, origin=origin())[1] == other
        )


@pytest.mark.parametrize("role", ["train", "valid"])
def test_a_quantization_on_the_test_set_is_a_finding(role: str) -> None:
    test = dataset(LABELS)
    record = copy.deepcopy(RECORD)
    record[role]["fingerprint"] = test.fingerprint
    assert quantized(record, test=test)[1] == {"quantized-on-test"}


def test_the_stage_is_skipped_for_the_float_model_and_without_a_record() -> None:
    assert quantized(fingerprint=FLOAT)[0].status == "skipped"
    assert quantized(None)[0].status == "skipped"


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("format",), 2, "has format 2; expected 1"),
        (("validation", "ptq", "val_accuracy"), 1.5, "validation|val_accuracy"),
        (("validation", "ptq", "val_accuracy"), float("nan"), "val_accuracy"),
        (("validation",), {"images": 40, "float": {"val_accuracy": 0.9}}, "names no chosen model"),
        (("chosen", "model"), "float", "names no chosen model"),
        (("sensitivity", "kept_float"), [{"layer": "conv"}], "sensitivity.kept_float.0"),
        (("files", "int8"), "int8.keras", "files.int8"),
        (("layers",), None, "layers"),
    ],
)
def test_a_record_of_another_form_is_refused(place: tuple[str, ...], value: Any, sentence: str) -> None:
    record = copy.deepcopy(RECORD)
    table = record
    for key in place[:-1]:
        table = table[key]
    table[place[-1]] = value
    with pytest.raises(InputRefused, match=sentence):
        quantized(record)


def converted(
    monkeypatch: pytest.MonkeyPatch,
    exempting: list[Any] | None = None,
    quantization: dict[str, Any] | None = None,
    **changes: Any,
) -> StageResult:
    """Return the stage for a file without findings of the linter. exempting: receives the record that may explain some."""

    def linted(proto: Any, record: Any) -> tuple[list[Any], list[Any]]:
        if exempting is not None:
            exempting.append(record)
        return [], []

    monkeypatch.setattr(conversion, "_linted", linted)
    monkeypatch.setattr(conversion, "_nodes", lambda proto: 12)
    model: Any = Answers(oracle(LABELS, 2).table, fingerprint=FILE)
    object.__setattr__(model, "quantized_proto", object())
    inputs = AuditInputs(
        model,
        dataset(LABELS),
        quantization=quantization,
        export={**EXPORT, **changes},
        origin=changes.get("origin", origin()),
    )
    return with_alarms(conversion.run(inputs, ConversionSettings()), CONVERSION.alarms(ConversionSettings()))


def counts(result: StageResult) -> dict[str, float | None]:
    return {metric.name: metric.value for metric in result.metrics}


def verdict(result: StageResult, gates: tuple[str, ...]) -> int:
    """Return the exit code with these gates of the conversion, and one that passes."""
    passing = Gate(id="p", stage="conversion", metric="checks_not_run", op="<=", threshold=99.0)
    rows = [gate for gate in CONVERSION.gates if gate.metric in gates]
    return decide([result], [passing, *rows], "2026-01-01").exit_code


def test_checks_that_passed_pass_and_what_did_not_run_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    result = converted(monkeypatch)
    assert counts(result) == {
        "linter_findings": 0, "parity_flips": None, "failed_checks": 0, "checks_not_run": 1,
    }  # fmt: skip
    assert not result.findings
    assert verdict(result, ("failed_checks", "linter_findings")) == 0


@pytest.mark.parametrize(
    "checks",
    [
        [{"name": "float", "status": "failed", "reason": "It differs."}],
        [{"name": "float", "status": "PASSED", "reason": "no such status"}],
        [7],
        [],
        {"lint": "passed"},
        None,
    ],
    ids=["failed", "unknown status", "no table", "no check", "no list", "none"],
)
def test_a_check_that_failed_or_cannot_be_read_never_passes(
    checks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = converted(monkeypatch, checks=checks)
    assert counts(result)["failed_checks"] == 1
    assert "export-check-failed" in {finding.code for finding in result.findings}
    assert verdict(result, ("failed_checks",)) == 1
    assert verdict(result, ()) == 3  # an alarm, where no gate reads it


def test_an_export_of_another_file_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    for changes in ({"files": []}, {"files": None}, {"origin": origin("d" * 64)}):
        result = converted(monkeypatch, **changes)
        assert "export-of-another-file" in {finding.code for finding in result.findings}, changes
        assert counts(result)["failed_checks"] is counts(result)["checks_not_run"] is None
        assert verdict(result, ("failed_checks",)) == 4  # its checks say nothing about this file


def test_an_export_of_an_earlier_quantization_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    exempting: list[Any] = []
    for sha256, codes in ((KERAS, set()), ("e" * 64, {"export-of-another-model"})):
        record = {**RECORD, "files": {"int8": {"sha256": sha256}}}
        result = converted(monkeypatch, exempting, quantization=record)
        assert {finding.code for finding in result.findings} == codes
        assert verdict(result, ("failed_checks",)) == (4 if codes else 0)
    assert [record is None for record in exempting] == [False, True]  # another record explains no finding


def test_a_failed_check_that_was_taken_out_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    result = converted(monkeypatch, status="failed")
    assert counts(result)["failed_checks"] == 1
    assert verdict(result, ("failed_checks",)) == 1


def test_a_check_whose_row_was_taken_out_did_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    result = converted(monkeypatch, checks=EXPORT["checks"][:1])
    assert counts(result)["checks_not_run"] == len(ROWS) - 1
    assert {"parity", "litert"} <= {fact.label for fact in result.not_tested}


def test_a_file_without_int8_is_not_converted() -> None:
    inputs = AuditInputs(oracle(LABELS, 2), dataset(LABELS), export=EXPORT)
    assert conversion.run(inputs, ConversionSettings()).status == "skipped"
