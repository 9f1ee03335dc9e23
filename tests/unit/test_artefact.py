"""The settings of the audit of an INT8 file that `safeml run` makes, when its export is reused, and which gates its settings get."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.config.audit import Config, parse_config
from safeml.config.quantization import QuantizeSettings
from safeml.errors import ConfigError, InputRefused
from safeml.export.artefact import artefact_folder, audit_settings, check_settings, exported, is_exported
from safeml.quantization.inputs import QuantizationInputs
from safeml.scan.sources import find_model
from safeml.store.files import file_sha256
from safeml.version import __version__
from tests.fakes import dataset

DATA = {"train": {"kind": "npz", "path": "t.npz"}, "valid": {"kind": "npz", "path": "v.npz"}}
GATE: dict[str, Any] = {
    "id": "a", "stage": "performance", "metric": "clean_accuracy", "op": ">=", "threshold": 0.5,
}  # fmt: skip
CHECKS: dict[str, Any] = {
    "id": "mine", "stage": "conversion", "metric": "failed_checks", "op": "<=", "threshold": 2.0,
}  # fmt: skip


def inputs(**changes: Any) -> QuantizationInputs:
    values = {"name": "small", "epochs": 0, "model": {"path": "m.keras"}, "data": DATA, **changes}
    images = dataset(np.arange(4) % 2)
    settings = QuantizeSettings.model_validate(values)
    return QuantizationInputs(settings, Path(), Path("m.keras"), "0" * 64, images, images)


def config(*gates: dict[str, Any], **tables: Any) -> Config:
    values = {
        "model": {"quantize": "quantize.toml"}, "data": {"test": {"kind": "npz", "path": "x.npz"}},
        "gates": list(gates), **tables,
    }  # fmt: skip
    return parse_config(values, "safeml.toml")


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({}, "float.keras"),
        ({"epochs": 2}, "finetuned.keras"),
        ({"epochs": 2, "prune": {}}, "float.keras"),  # the fine-tuned model has the zeros too
    ],
    ids=["calibrated", "trained", "pruned"],
)
def test_the_file_is_audited_with_the_gradients_contract_and_reference_of_its_folder(
    changes: dict[str, Any], reference: str, tmp_path: Path
) -> None:
    given = inputs(model={"path": "m.keras", "input": {"range": (-1.0, 1.0), "channels": "bgr"}}, **changes)
    made = audit_settings(config(GATE), tmp_path, tmp_path / "reports" / "q", given)
    assert (made.model.path, made.model.gradients) == ("reports/q/model.int8.onnx", "reports/q/int8.keras")
    assert (made.model.name, made.model.quantize) == ("small", "")
    comparison = made.stages.comparison  # type: ignore[attr-defined]
    assert comparison.reference.path == f"reports/q/{reference}"
    assert made.model.input == comparison.reference.input == given.settings.model.input
    outside = audit_settings(config(GATE), tmp_path / "a", tmp_path / "q", given)
    assert outside.model.path == str(tmp_path / "q" / "model.int8.onnx")


def test_a_reference_and_a_name_of_the_settings_stay(tmp_path: Path) -> None:
    mine = config(
        GATE,
        model={"quantize": "quantize.toml", "name": "mine"},
        stages={"comparison": {"reference": {"path": "released.keras"}, "largest_loss": 0.2}},
    )
    made = audit_settings(mine, tmp_path, tmp_path, inputs())
    comparison = made.stages.comparison  # type: ignore[attr-defined]
    assert (made.model.name, comparison.reference.path, comparison.largest_loss) == (
        "mine",
        "released.keras",
        0.2,
    )


def test_another_input_contract_than_that_of_the_quantization_is_refused() -> None:
    given = inputs(model={"path": "m.keras", "input": {"range": (-1.0, 1.0)}})
    same = {"quantize": "quantize.toml", "input": {"range": (-1.0, 1.0)}}
    for model in ({"quantize": "quantize.toml"}, same):
        check_settings(config(GATE, model=model), given)
    with pytest.raises(ConfigError, match=r"model.input: differs from \[model.input\] of quantize.toml"):
        check_settings(config(GATE, model={**same, "input": {"range": (0.0, 255.0)}}), given)


def test_the_folder_is_named_by_all_that_the_result_depends_on() -> None:
    folders = {
        artefact_folder(Path("r"), given)
        for given in (inputs(), inputs(seed=8), inputs(calibration={"observer": "max"}))
    }
    assert len(folders) == 3
    assert {folder.parent for folder in folders} == {Path("r/quantized")}
    assert all(folder.name.startswith("small-") for folder in folders)


@pytest.mark.parametrize(
    ("gates", "accepted", "ids"),
    [
        ((GATE,), (), ["a", "linter", "export-checks"]),
        ((GATE, CHECKS), (), ["a", "mine", "linter"]),
        ((GATE | {"id": "linter"},), (), ["linter", "conversion-linter", "export-checks"]),
        (
            (GATE,),
            ({"stage": "conversion", "metric": "linter_findings", "reason": "known"},),
            ["a", "export-checks"],
        ),
        ((GATE,), ({"stage": "conversion", "reason": "known"},), ["a"]),
    ],
    ids=["none of the conversion", "own gate", "id in use", "accepted", "stage accepted"],
)
def test_gates_of_the_conversion_are_added(
    gates: tuple[dict[str, Any], ...], accepted: tuple[dict[str, Any], ...], ids: list[str]
) -> None:
    made = config(*gates, accepted=list(accepted))
    assert [gate.id for gate in made.gates] == ids
    values = {"path": "m.keras"}
    assert [gate.id for gate in config(*gates, accepted=list(accepted), model=values).gates] == [
        gate["id"] for gate in gates
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of `safeml quantize` and `safeml export`, without true models."""
    for name in ("int8.keras", "float.keras", "model.int8.onnx"):
        (tmp_path / name).write_text(name)
    write_export(tmp_path)
    settings = {"model": {"input": {"range": [-1.0, 1.0]}}}
    (tmp_path / "quantization.json").write_text(json.dumps({"settings": settings}))
    return tmp_path


def write_export(folder: Path, **changes: Any) -> None:
    hashes = {name: file_sha256(folder / name) for name in ("int8.keras", "float.keras", "model.int8.onnx")}
    record = {
        "safeml": __version__,
        "status": "passed",
        "sources": {name: hashes[name] for name in ("int8.keras", "float.keras")},
        "files": [{"name": "model.int8.onnx", "bytes": 1, "sha256": hashes["model.int8.onnx"]}],
        **changes,
    }
    (folder / "export.json").write_text(json.dumps(record))


def test_an_export_is_reused_only_for_the_same_files(folder: Path) -> None:
    assert is_exported(folder)
    for change in ({"safeml": "0.0.1"}, {"status": "failed"}, {"sources": {}}, {"files": None}):
        write_export(folder, **change)
        assert not is_exported(folder), change
    for name in ("int8.keras", "float.keras", "model.int8.onnx"):
        write_export(folder)
        assert is_exported(folder)
        (folder / name).write_text("changed")
        assert not is_exported(folder), name
    (folder / "export.json").unlink()
    assert not is_exported(folder)


def test_the_folder_of_a_quantization_is_its_int8_file_with_what_lies_beside_it(folder: Path) -> None:
    assert find_model(folder).file == folder / "model.int8.onnx"
    for path in (folder, folder / "model.int8.onnx"):
        found = exported(path)
        assert found is not None
        assert (found.gradients, found.reference) == (folder / "int8.keras", folder / "float.keras")
        assert found.contract.range == (-1.0, 1.0)
    assert exported(folder / "float.keras") is None
    (folder / "finetuned.keras").touch()
    found = exported(folder)
    assert found is not None
    assert found.reference == folder / "finetuned.keras"
    (folder / "quantization.json").write_text('{"settings": {}}')
    with pytest.raises(InputRefused, match=r"quantization.json: settings.model.input is no input contract"):
        exported(folder)
    (folder / "model.int8.onnx").rename(folder / "rejected.model.int8.onnx")
    with pytest.raises(InputRefused, match=r"whose model.int8.onnx failed a check"):
        find_model(folder)
    (folder / "rejected.model.int8.onnx").unlink()
    with pytest.raises(InputRefused, match=r"without model.int8.onnx, .* `safeml export "):
        find_model(folder)


def test_the_settings_of_the_guide_are_accepted_and_its_numbers_are_computed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "int8-audit.md").read_text(encoding="utf-8")
    quantize, audit = map(tomllib.loads, re.findall(r"```toml\n(.*?)```", page, re.DOTALL))
    assert QuantizeSettings.model_validate(quantize).model.input.range == (0.0, 1.0)
    gates = parse_config(audit, "safeml.toml").gates
    assert [gate.id for gate in gates][-2:] == ["linter", "export-checks"]
    rows = re.findall(r"^\| ([\d.]+)(?:, no assumption)? \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert [float(share) for share, *_ in rows] == [1, 0.5, 0.2, 0.1]
    for share, half, whole in rows:
        for margin, signs in ((0.005, int(half)), (0.01, int(whole))):
            # Without any difference: the bound s (1 - 0.05^(1/C)) of one sign track fewer is above the margin.
            assert float(share) * (1 - 0.05 ** (1 / signs)) <= margin
            assert float(share) * (1 - 0.05 ** (1 / (signs - 1))) > margin
