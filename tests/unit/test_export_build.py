"""`safeml export`: what is released, what is rejected, what is refused, and what export.json says."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from safeml.cli.export import export_files
from safeml.errors import ConfigError, ExitCode, InputRefused, MissingInput, StageError
from safeml.export import acceptance, build
from safeml.export.build import export
from safeml.export.checks import Check
from safeml.export.parity import Flip, Parity, predict
from safeml.store.files import file_sha256
from safeml.store.lock import folder_lock
from tests.int8_nets import images, tiny

pytestmark = pytest.mark.slow
OTHERS = ("tensorrt_rtx", "tensorrt_rtx_float", "tensorrt_rtx_half", "tftrt", "litert")
LINT_ALONE = (*OTHERS, "parity", "emulator", "half")


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `safeml quantize` writes it."""
    folder = tmp_path_factory.mktemp("quantized")
    model = tiny()
    model.save(folder / "int8.keras")
    (folder / "quantization.json").write_text('{"format": 1}')
    candidates = images(512)
    outputs = np.sort(predict(model, candidates), 1)
    margins = outputs[:, -1] - outputs[:, -2]  # agreement is a question about images with an answer
    np.savez(folder / "calibration.npz", images=candidates[np.argsort(margins)[-128:]])
    return folder


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for name in ("int8.keras", "quantization.json", "calibration.npz"):
        os.link(folder / name, target / name)
    return target


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "export.json").read_text())


@pytest.fixture(scope="module")
def exported(quantized: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    assert export(quantized, folder, skip=OTHERS).exit_code is ExitCode.PASSED
    return folder


def test_files_and_checks_are_recorded(quantized: Path, exported: Path) -> None:
    found = record(exported)
    assert {check["name"]: check["status"] for check in found["checks"]} == {
        "lint": "passed",
        "parity": "passed",
        "emulator": "passed",
        "sparsity": "not_run",
        "float": "not_run",
        "half": "passed",
        "tensorrt_rtx": "not_run",
        "tensorrt_rtx_float": "not_run",
        "tensorrt_rtx_half": "not_run",
        "tftrt": "not_run",
        "litert": "not_run",
    }
    assert all(check["reason"] for check in found["checks"])
    assert (found["status"], found["rejected"]) == ("passed", [])
    assert found["sources"] == {"int8.keras": file_sha256(quantized / "int8.keras")}
    assert found["images"] == {"count": 128, "from": "calibration.npz"}
    for row in found["files"]:
        file = exported / row["name"]
        assert (row["bytes"], row["sha256"]) == (file.stat().st_size, file_sha256(file))
    written = {"model.int8.onnx", "model.int8-fp16.onnx", "export.json"}
    assert {path.name for path in exported.iterdir()} == written


def test_the_half_variant_is_fp16_between_float32_ends(exported: Path) -> None:
    model = onnx.load(exported / "model.int8-fp16.onnx")
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.FLOAT not in types
    assert onnx.TensorProto.FLOAT16 in types
    ends = [*model.graph.input, *model.graph.output]
    assert {value.type.tensor_type.elem_type for value in ends} == {onnx.TensorProto.FLOAT}
    assert [entry.version for entry in model.opset_import] == [19]
    check = next(row for row in record(exported)["checks"] if row["name"] == "half")
    assert check["facts"]["agreement"] >= 0.99


def test_a_file_that_fails_a_check_is_rejected_by_name(quantized: Path, tmp_path: Path) -> None:
    folder = copy_of(quantized, tmp_path / "model")
    export(folder, skip=LINT_ALONE)
    first = (folder / "export.json").read_bytes()
    export(folder, skip=LINT_ALONE)
    assert (folder / "export.json").read_bytes() == first  # with the hash of the same bytes
    assert (folder / "model.int8.onnx").exists()
    model = tiny()
    model.get_layer("stem").bias.assign(np.full(8, 1e9))
    (folder / "int8.keras").unlink()
    model.save(folder / "int8.keras")
    result = export(folder, skip=LINT_ALONE)
    assert result.exit_code is ExitCode.FAILED
    assert result.rejected[0] == "rejected.model.int8.onnx"
    assert not (folder / "model.int8.onnx").exists()  # the one of the first export is gone too
    found = record(folder)
    assert found["status"] == "failed"
    assert "model.int8.onnx" not in {row["name"] for row in found["files"]}
    lint = found["checks"][0]
    assert lint["status"] == "failed"
    assert lint["facts"]["findings"][0].startswith("bias-range: stem/Conv")


def test_a_flip_without_a_tie_fails_parity(
    quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip = Flip(3, 1, 2, "stem_input/QuantizeLinear", 4, 1, 0.2, False)
    monkeypatch.setattr(
        "safeml.export.parity.compare", lambda *_: Parity(8, (flip, replace(flip, at_tie=True)), 0.5, (), 0.0)
    )
    export(quantized, tmp_path / "a", skip=(*OTHERS, "half", "emulator"))
    check = record(tmp_path / "a")["checks"][1]
    assert check["status"] == "failed"
    assert "1 of 8 images change their class without a rounding tie; image 3 at stem_input" in check["reason"]


def test_a_full_disk_is_one_sentence(
    quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "atomic_write", full)
    with pytest.raises(StageError, match=r"cannot be written \(No space left on device\)"):
        export(quantized, tmp_path / "a", skip=LINT_ALONE)
    assert not (tmp_path / "a" / "export.json").exists()


def test_a_folder_in_use_is_refused_and_left_as_it_is(quantized: Path, exported: Path) -> None:
    before = (exported / "export.json").read_bytes()
    with folder_lock(exported), pytest.raises(ConfigError, match="another run uses it"):
        export(quantized, exported, skip=OTHERS)
    assert (exported / "export.json").read_bytes() == before
    assert not list(exported.glob(".export-*"))


def test_outputs_that_differ_without_a_flip_fail_parity(
    quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits of twice their size have the classes of the model."""
    monkeypatch.setattr("safeml.export.parity.predict", lambda model, values: predict(model, values) / 2)
    export(quantized, tmp_path / "a", skip=(*OTHERS, "half", "emulator"))
    check = record(tmp_path / "a")["checks"][1]
    assert check["status"] == "failed"
    assert "differ by 100.0% of their size; expected at most 5%" in check["reason"]


def test_a_crash_leaves_the_folder_as_it_was(
    quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of(quantized, tmp_path / "model")
    export(folder, skip=LINT_ALONE)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def crash(material: Any) -> Check:
        raise RuntimeError("power cut")

    rows = tuple(replace(row, run=crash) if row.name == "half" else row for row in acceptance.ROWS)
    monkeypatch.setattr(build, "ROWS", rows)
    with pytest.raises(RuntimeError, match="power cut"):
        export(folder, skip=(*OTHERS, "parity", "emulator"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_layer_kept_in_float_is_exempted_with_its_reason(quantized: Path, tmp_path: Path) -> None:
    import keras

    from tests.int8_nets import calibrated

    source = tiny()
    x = keras.layers.Dense(5, name="plain")(source.get_layer("flatten").output)
    model = calibrated(keras.Model(source.inputs[0], x))
    model.save(tmp_path / "int8.keras")
    (tmp_path / "quantization.json").write_text(
        '{"format": 1, "layers": [{"name": "plain", "quantized": false, "reason": "it loses most"}, {"name": "stem", "quantized": true}]}'
    )
    export(tmp_path, skip=LINT_ALONE)
    check = record(tmp_path)["checks"][0]
    assert check["status"] == "passed", check
    assert [line.rpartition(": ")[2] for line in check["facts"]["exempted"]] == ["it loses most"]
    (tmp_path / "quantization.json").write_text('{"format": 1}')
    assert export(tmp_path, skip=LINT_ALONE).exit_code is ExitCode.FAILED


def test_without_images_agreement_is_not_measured(quantized: Path, tmp_path: Path) -> None:
    folder = copy_of(quantized, tmp_path / "model")
    (folder / "calibration.npz").unlink()
    result = export(folder)
    status = {check.name: check for check in result.checks}
    assert status["parity"].status == "passed"
    assert "made images" in status["parity"].reason
    for name in ("half", "tftrt", "litert"):
        assert status[name].status == "not_run"
        assert "--images FILE.npz" in status[name].reason
    assert result.exit_code is ExitCode.PASSED


def test_a_module_that_is_not_there_is_not_run_and_one_that_is_there_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = acceptance.elsewhere(
        "other", "safeml.export.nothing", lambda module, material: module.check(material)
    )
    material: Any = SimpleNamespace()
    assert run(material).status == "not_run"
    fake = SimpleNamespace(check=lambda _: Check("its own name", "failed", "It does not parse."))
    monkeypatch.setattr(acceptance, "find_spec", lambda _: True)
    monkeypatch.setattr(acceptance, "import_module", lambda _: fake)
    assert run(material) == Check("other", "failed", "It does not parse.")


def test_an_input_that_a_check_refuses_is_a_failure(
    quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(material: Any) -> Check:
        raise InputRefused("model: has no such form; leave it out.")

    rows = tuple(replace(row, run=refuse) if row.name == "half" else row for row in acceptance.ROWS)
    monkeypatch.setattr(build, "ROWS", rows)
    result = export(quantized, tmp_path / "a", skip=(*OTHERS, "emulator"))
    assert result.exit_code is ExitCode.FAILED
    assert (
        next(c for c in result.checks if c.name == "half").reason == "model: has no such form; leave it out."
    )


@pytest.mark.parametrize(
    ("break_it", "error", "sentence"),
    [
        (lambda folder: (folder / "int8.keras").unlink(), MissingInput, "make it with `safeml quantize"),
        (lambda folder: (folder / "quantization.json").unlink(), MissingInput, "`safeml quantize` writes it"),
        (lambda folder: _write(folder, "quantization.json", "{"), InputRefused, "is not valid JSON"),
        (lambda folder: _write(folder, "quantization.json", "[]"), InputRefused, "expected a JSON object"),
        (
            lambda folder: _write(
                folder, "quantization.json", '{"format": 1, "files": {"int8": {"sha256": "0"}}}'
            ),
            InputRefused,
            "describes another int8.keras; quantize again",
        ),
        (lambda folder: _write(folder, "int8.keras", "text"), InputRefused, "int8.keras: "),
        (lambda folder: _write(folder, "calibration.npz", "text"), InputRefused, "has no array `images`"),
        (
            lambda folder: _write(folder, "calibration.npz", "PK\x03\x04"),
            InputRefused,
            "has no array `images`",
        ),
        (lambda folder: _write(folder, "calibration.npz", ""), InputRefused, "has no array `images`"),
        (lambda folder: _array(folder), InputRefused, "has no array `images`"),
        (lambda folder: _images(folder, images(4)[:, :4]), InputRefused, "expected float32 .N, 8, 8, 3."),
        (lambda folder: _images(folder, images(4).astype(np.float64)), InputRefused, "`images` is float64"),
        (lambda folder: _images(folder, images(4) * np.nan), InputRefused, "not finite"),
    ],
)
def test_bad_folders_are_refused_and_nothing_is_written(
    quantized: Path, tmp_path: Path, break_it: Any, error: type[Exception], sentence: str
) -> None:
    folder = copy_of(quantized, tmp_path / "model")
    break_it(folder)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(error, match=sentence):
        export(folder)
    assert sorted(path.name for path in folder.iterdir()) == before


def _write(folder: Path, name: str, text: str) -> None:
    (folder / name).unlink()
    (folder / name).write_text(text)


def _array(folder: Path) -> None:
    (folder / "calibration.npz").unlink()
    with (folder / "calibration.npz").open("wb") as file:
        np.save(file, images(4))


def _images(folder: Path, values: np.ndarray) -> None:
    (folder / "calibration.npz").unlink()
    np.savez(folder / "calibration.npz", images=values)


def test_wrong_options_are_refused(quantized: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--skip lint is no check that can be left out"):
        export(quantized, skip=("lint",))
    with pytest.raises(ConfigError, match="--opset 18 is out of range; expected 13 to 17"):
        export(quantized, opset=18)
    with pytest.raises(MissingInput, match="is not a folder; give the folder of `safeml quantize`"):
        export(tmp_path / "nothing")
    with pytest.raises(MissingInput, match=r"images\.npz: does not exist"):
        export(quantized, images=tmp_path / "images.npz")


def test_the_command_shows_files_and_checks(
    quantized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = export_files(quantized, tmp_path / "a", None, 8, 15, [*LINT_ALONE])
    shown = capsys.readouterr()
    assert code == 0
    assert "bytes  model.int8.onnx" in shown.out
    assert "passed   lint: 23 rules hold" in shown.err
    assert "not run  litert: It was left out with --skip." in shown.err
    model = onnx.load(tmp_path / "a" / "model.int8.onnx")
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 8
    assert [entry.version for entry in model.opset_import] == [15]
