"""Files that pass the scan and fail, or must not matter, when they are loaded and run: rows 17, 18, 20, 22, 24, 29 and 30.

Also the proof that the clean files of `hostile.clean`, which no framework wrote, are what Keras writes and reads.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.classifiers import load as load_module
from safeml.classifiers.load import Opened, load_model
from safeml.data.dataset import ImageDataset
from safeml.errors import ExitCode, InputRefused, StageError
from safeml.limits import LIMITS, MIB
from safeml.results import ModelScan
from safeml.sandbox import Kind, Outcome, run_limited
from safeml.scan import scan as scan_module
from safeml.scan.scan import Scanned, scan_path
from safeml.scan.sources import Source
from safeml.settings.model import InputSettings
from safeml.stages.performance import PerformanceSettings
from tests.opening import open_scanned
from tests.security.bounds import in_process
from tests.security.hostile import CASES, Case, clean, texts
from tests.security.hostile.clean import Config, dense, layer, named

pytestmark = pytest.mark.slow

NAMES = ("one", "two", "three", "four")
IMAGES = np.random.default_rng(0).random((5, 8, 8, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def _scanned_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child of the scan is tested with the scan; here it would cost more than the rest."""
    monkeypatch.setattr(scan_module, "run_limited", in_process)


def expected(values: np.ndarray, weights: dict[str, list[np.ndarray]] | None = None) -> np.ndarray:
    """The clean model's outputs, float32 [N, 4], by its definition."""
    (kernel, bias), (last_kernel, last_bias) = (weights or clean.weights()).values()
    hidden = np.maximum(values.reshape(len(values), -1) @ kernel + bias, 0)
    logits: np.ndarray = hidden @ last_kernel + last_bias
    return logits


def outputs(opened: Opened) -> np.ndarray:
    return np.asarray(opened.model.forward(IMAGES), np.float32)  # type: ignore[attr-defined]


MAKERS: dict[str, Callable[[Path], Path]] = {
    "sequential.keras": clean.keras_file,
    "functional.keras": lambda path: clean.keras_file(path, clean.functional_config()),
    "keras_3.h5": clean.keras3_h5,
    "keras_2.h5": clean.keras2_h5,
}


# The clean samples


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "keras_2.h5"])
def test_keras_reads_the_clean_files(name: str, tmp_path: Path) -> None:
    """Keras 3 itself does not read the file of Keras 2.3; the next test loads it through this package."""
    import keras

    model = keras.models.load_model(MAKERS[name](tmp_path / name), compile=False)
    assert np.abs(np.asarray(model(IMAGES)) - expected(IMAGES)).max() < 1e-5


@pytest.mark.parametrize("name", MAKERS)
def test_the_clean_files_load(name: str, tmp_path: Path) -> None:
    model = open_scanned(MAKERS[name](tmp_path / name))
    assert np.abs(np.asarray(model.forward(IMAGES)) - expected(IMAGES)).max() < 1e-5
    assert (model.outputs, model.gives, model.parameters) == (4, "logits", 3156)


def test_the_layout_is_the_one_that_keras_writes(tmp_path: Path) -> None:
    """Otherwise the hostile files would differ from real ones in more than their one fault."""
    import keras

    ours, theirs = clean.keras_file(tmp_path / "ours.keras"), tmp_path / "theirs.keras"
    keras.models.load_model(ours, compile=False).save(theirs)
    with zipfile.ZipFile(ours) as one, zipfile.ZipFile(theirs) as other:
        assert set(one.namelist()) == set(other.namelist())
        assert {info.compress_type for info in one.infolist()} == {
            info.compress_type for info in other.infolist()
        }
        assert _unshared(json.loads(one.read("config.json"))) == _unshared(
            json.loads(other.read("config.json"))
        )
        assert _objects(one, tmp_path / "a.h5") == _objects(other, tmp_path / "b.h5")


def _unshared(value: Any) -> Any:
    """A configuration without the numbers by which Keras knows shared objects again."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items() if key != "shared_object_id"}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


def _objects(archive: zipfile.ZipFile, path: Path) -> dict[str, object]:
    path.write_bytes(archive.read("model.weights.h5"))
    found: dict[str, object] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, thing: found.update({name: (getattr(thing, "shape", None), dict(thing.attrs))})
        )
    return found


# Row 17: far larger than their files


@pytest.mark.parametrize(("units", "loads"), [(16, True), (4_000, False)])
def test_a_model_that_needs_more_memory_than_the_bound_is_refused(
    units: int, loads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two layers of 4,000 units are 61 MiB of weights, in a file of less than 100 kB; the bound is lowered to 32 MiB."""
    monkeypatch.setattr(load_module, "LIMITS", replace(LIMITS, load_memory=32 * MIB))
    layers = [*clean.clean_layers()[:2], dense("dense", units, "relu")]
    more = [] if loads else [dense("more", units)]
    path = clean.keras_file(tmp_path / "model.keras", clean.sequential([*layers, *more, dense("logits", 4)]))
    assert path.stat().st_size < 100_000
    if loads:
        assert load_model(path).model.parameters == 3156
        return
    with pytest.raises(InputRefused, match=r"memory to load and run once") as refused:
        load_model(path)
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("refused", InputRefused, "so"),
        ("out of memory", InputRefused, "needs more than 2 GiB of memory"),
        ("timeout", InputRefused, "does not load and run once within 300 seconds"),
        ("crashed", StageError, "its first load, in a separate process, failed: so"),
        ("inconclusive", StageError, "its first load, in a separate process, failed: so"),
    ],
)
@pytest.mark.parametrize(
    ("form", "files"),
    [
        ("Keras archive", LIMITS.model_bytes),
        ("HDF5 file", LIMITS.model_bytes),
        ("ONNX file", 0),
        ("SavedModel folder", 0),
    ],
)
def test_the_first_load_has_bounds_and_only_its_success_goes_on(
    kind: Kind,
    error: type[Exception],
    says: str,
    form: str,
    files: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A graph has no right to write a byte: what the scan of a graph might miss cannot change a file."""
    asked: dict[str, Any] = {}

    def ended(target: str, arguments: dict[str, str], **limits: Any) -> Outcome:
        asked.update(limits)
        return Outcome(kind, {}, "so")

    monkeypatch.setattr(load_module, "run_limited", ended)
    path = tmp_path / "given"
    scan = ModelScan(
        status="accepted", path=str(path), format=form, sha256="0", bytes=1, reason="", scanner=1
    )
    with pytest.raises(error, match=says):
        load_module._trial(Scanned(Source(path), scan, copy=tmp_path / "private" / "model"))
    assert asked["files"] == files
    assert (asked["memory"], asked["seconds"]) == (LIMITS.load_memory, LIMITS.load_seconds)
    assert asked["folders"] == (tmp_path / "private",)


# Row 18: weights of no use


def test_all_zero_weights_load_and_are_found_out(tmp_path: Path) -> None:
    from safeml.audits.performance import run as performance

    zero = {name: [np.zeros_like(array) for array in arrays] for name, arrays in clean.weights().items()}
    path = clean.keras_file(tmp_path / "model.keras", arrays=clean.weights_h5(zero))
    classifier = open_scanned(path).fed(InputSettings(), NAMES, "zero")
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    data = ImageDataset(
        name="noise", images=images, labels=np.arange(40) % 4, class_names=NAMES, frames_per_sign=1.0
    )
    result = performance.run(AuditInputs(classifier, data, None, None, 0), PerformanceSettings(bootstrap=100))
    codes = {finding.code: finding.severity for finding in result.findings}
    assert {"constant-answer", "tied-logits"} & set(codes), codes
    accuracy = next(metric for metric in result.metrics if metric.name == "clean_accuracy")
    assert accuracy.value is None or accuracy.value <= 0.25


# Row 20: shapes that no classifier has


SHAPES = {
    "two_inputs": r"2 inputs",
    "two_outputs": r"2 outputs",
    "output_rank_3": r"\[None, 2, 2\]",
    "output_rank_4": r"\[None, 1, 2, 2\]",
    "output_rank_1": "does not load it",
    "input_rank_2": r"\[None, 192\]",
    "no_layers": "has no layers",
    "input_only": "the loaded model 0",
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_of_no_classifier_is_refused(name: str, tmp_path: Path) -> None:
    path = clean.keras_file(tmp_path / "model.keras", texts.SHAPES[name]())
    with pytest.raises(InputRefused, match=SHAPES[name]):
        open_scanned(path)


def test_one_class_and_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    one = clean.sequential([*clean.clean_layers()[:3], dense("logits", 1)])
    arrays = clean.weights()
    arrays["logits"] = [arrays["logits"][0][:, :1], arrays["logits"][1][:1]]
    single = open_scanned(clean.keras_file(tmp_path / "one.keras", one, arrays=clean.weights_h5(arrays)))
    with pytest.raises(InputRefused, match=r"\[None, 1\]"):
        single.fed(InputSettings(), ("a",), "one")
    model = open_scanned(clean.keras_file(tmp_path / "four.keras"))
    with pytest.raises(InputRefused, match=r"4 outputs.*43 classes"):
        model.fed(InputSettings(), tuple(map(str, range(43))), "four")


# Rows 22 and 24: behaviour at inference


def test_dropout_that_was_saved_as_training_is_off_in_the_audit(tmp_path: Path) -> None:
    """The call says training=True; the audit calls for inference, and that wins: the answers are the definition's."""
    layers = clean.functional_layers()
    dropout = layer("Dropout", "dropout", rate=0.5, seed=None, noise_shape=None)
    layers[3:] = [
        clean.node(dropout, clean.tensor("dense", [16]), training=True),
        clean.node(dense("logits", 4), clean.tensor("dropout", [16])),
    ]
    config = clean.functional(layers, ["input_layer", 0, 0], ["logits", 0, 0])
    classifier = open_scanned(clean.keras_file(tmp_path / "model.keras", config)).fed(
        InputSettings(range=(0.0, 1.0)), NAMES, "dropout"
    )
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    assert np.abs(classifier.predict_logits(pixels) - expected(pixels / np.float32(255))).max() < 1e-5


def test_a_model_that_answers_otherwise_each_time_is_refused() -> None:
    """No layer of the allow-list is random at inference; a model made in memory may be."""
    import keras

    from safeml.classifiers.keras import wrap

    inputs = keras.Input((8, 8, 3))
    values = keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
    noisy = keras.layers.Lambda(lambda x: x + keras.random.normal((4,)), output_shape=(4,))(values)
    with pytest.raises(InputRefused, match="each time"):
        wrap(keras.Model(inputs, noisy), InputSettings(), NAMES, "random")


def _of_type(policy: str) -> Config:
    last = dense("logits", 4)
    last["config"]["dtype"] = named("keras", "DTypePolicy", {"name": policy})
    return clean.sequential([*clean.clean_layers()[:3], last])


@pytest.mark.parametrize(
    ("policy", "stored"),
    [
        ("float16", "float16"),
        ("mixed_float16", "float32"),
        ("mixed_bfloat16", "float32"),
        ("float64", "float64"),
    ],
)
def test_outputs_of_another_float_type_are_cast(policy: str, stored: str, tmp_path: Path) -> None:
    arrays = clean.weights()
    arrays["logits"] = [array.astype(stored) for array in arrays["logits"]]
    path = clean.keras_file(tmp_path / "model.keras", _of_type(policy), arrays=clean.weights_h5(arrays))
    classifier = open_scanned(path).fed(InputSettings(range=(0.0, 1.0)), NAMES, policy)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    logits = classifier.predict_logits(pixels)
    assert logits.dtype == np.float32
    assert np.abs(logits - expected(pixels / np.float32(255))).max() < 0.05


@pytest.mark.parametrize(
    "policy", ["complex64", "string", "int8", "uint8", "bool", "no such type", "", "int8_from_float32"]
)
def test_outputs_of_other_types_are_refused(policy: str, tmp_path: Path) -> None:
    path = clean.keras_file(tmp_path / "model.keras", _of_type(policy))
    with pytest.raises(InputRefused):
        open_scanned(path).fed(InputSettings(), NAMES, "odd")


# Rows 29 and 30: the file changes meanwhile


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """A model whose file is replaced by another model's at the moment between its scan and its load."""
    path = clean.keras_file(tmp_path / "model.keras")
    other = {name: [2 * array for array in arrays] for name, arrays in clean.weights().items()}

    def replacing(*arguments: Any, **limits: Any) -> Outcome:
        clean.keras_file(tmp_path / "other.keras", arrays=clean.weights_h5(other)).rename(path)
        return run_limited(*arguments, **limits)

    monkeypatch.setattr(load_module, "run_limited", replacing)
    return load_model(path)


def test_what_was_scanned_is_loaded_and_the_run_is_void(opened: Opened) -> None:
    assert np.abs(outputs(opened) - expected(IMAGES)).max() < 1e-5
    assert scan_path(opened.source.file).sha256 != opened.origin.scan.sha256
    with pytest.raises(InputRefused, match="changed while it was audited") as void:
        opened.check_unchanged()
    assert void.value.exit_code == ExitCode.REFUSED
    opened.source.file.unlink()
    with pytest.raises(StageError, match="disappeared") as gone:
        opened.check_unchanged()
    assert gone.value.exit_code == ExitCode.INCOMPLETE
    opened.source.file.mkdir()
    with pytest.raises(InputRefused):
        opened.check_unchanged()


# What the scan leaves to the load


ODD = [case for case in CASES if "accepted" in case.answers]


@pytest.mark.parametrize("case", ODD, ids=lambda case: case.name)
def test_what_the_scan_lets_through_loads_or_is_refused(case: Case, tmp_path: Path) -> None:
    """Nothing in between: no other exception, and no model that is not checked."""
    path = case.build(tmp_path)
    refusal, classifier = "", None
    try:
        model = open_scanned(path)
        classifier = model.fed(InputSettings(), tuple(map(str, range(model.outputs))), case.name)
    except InputRefused as error:
        refusal = str(error)
    if classifier is None:
        assert refusal.startswith(f"{path}: ")
        assert refusal.isprintable()
        assert len(refusal) < 1_000
        return
    images = np.zeros((2, classifier.spec.height, classifier.spec.width, classifier.spec.depth), np.uint8)
    assert np.isfinite(classifier.predict_logits(images)).all()
