"""`safeml quantize` from a settings file to its folder: what the record states, resuming, reuse, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.config.quantization import load_quantize_settings
from safeml.data.place import Place
from safeml.errors import ConfigError, ExitCode, InputRefused, MissingInput, SafemlError
from safeml.quantization.build import quantize
from safeml.quantization.inputs import QuantizationInputs, read_inputs
from safeml.store.files import file_sha256
from tests.opening import command_here
from tests.small_signs import SETTINGS, SIDE, K, network, pictures, write_project

pytestmark = pytest.mark.slow
TRAINED = SETTINGS.replace("epochs = 0", "epochs = 2")
MODELS = ("float.keras", "ptq.keras", "qat.keras", "finetuned.keras", "int8.keras")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    (folder / "trained.toml").write_text(TRAINED, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(project: Path) -> Path:
    """The folder of a quantization with two epochs."""
    return quantize(inputs(project / "trained.toml"), project / "trained")


def inputs(file: Path) -> QuantizationInputs:
    return read_inputs(file, Place(file.parent, None))


def record(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "quantization.json").read_text(encoding="utf-8"))
    return content


def predictions(folder: Path, name: str, images: np.ndarray) -> np.ndarray:
    import keras

    model = keras.models.load_model(folder / name, compile=False)
    return np.asarray(model(images.astype(np.float32) / np.float32(255), training=False))


def test_the_record_states_what_the_models_are(trained: Path) -> None:
    import keras

    from safeml.int8.layers import ActivationQuantizer, QuantizedKernel

    content = record(trained)
    assert {entry["file"] for entry in content["files"].values()} == set(MODELS)
    for entry in content["files"].values():
        file = trained / entry["file"]
        assert (entry["sha256"], entry["bytes"]) == (file_sha256(file), file.stat().st_size)
    images, labels = pictures(48, 1)  # valid.npz
    for name in ("float", "ptq", "qat", "finetuned"):
        accuracy = float((predictions(trained, f"{name}.keras", images).argmax(1) == labels).mean())
        assert content["validation"][name]["val_accuracy"] == pytest.approx(accuracy)
    ptq, qat = (content["validation"][name]["val_accuracy"] for name in ("ptq", "qat"))
    chosen = content["chosen"]["model"]
    assert chosen == ("qat" if qat > ptq else "ptq")
    assert content["files"]["int8"]["sha256"] == content["files"][chosen]["sha256"]
    model = keras.models.load_model(trained / "int8.keras", compile=False)
    scales = {
        layer.name: float(layer.scale) for layer in model.layers if isinstance(layer, ActivationQuantizer)
    }
    assert {row["name"]: row["scale"] for row in content["quantizers"]} == scales
    kernels = {layer.name for layer in model.layers if isinstance(layer, QuantizedKernel)}
    assert {row["name"] for row in content["layers"] if row["quantized"]} == kernels == {"conv", "logits"}
    assert content["train"]["images"] == 96
    assert content["calibration"]["images"] == 48
    # kernels in one byte; biases and a scale of each channel and of each quantizer in four
    codes, biases, channels = 3 * 3 * 3 * 6 + 96 * K, 6 + K, 6 + K
    assert content["sizes"]["float32_bytes"] == 4 * (codes + biases)
    assert content["sizes"]["int8_bytes"] == codes + 4 * (biases + channels + len(scales))


def test_the_float_model_of_the_folder_is_its_source(project: Path, trained: Path) -> None:
    images, _ = pictures(8, 4)
    np.testing.assert_array_equal(
        predictions(project, "model.keras", images), predictions(trained, "float.keras", images)
    )
    moved = predictions(trained, "finetuned.keras", images) - predictions(trained, "float.keras", images)
    assert np.abs(moved).max() > 0  # it was trained further


def test_an_interrupted_quantization_resumes_to_the_same_bytes(
    project: Path, trained: Path, tmp_path: Path
) -> None:
    lines: list[str] = []

    def interrupt(epoch: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    given = inputs(project / "trained.toml")
    with pytest.raises(KeyboardInterrupt):
        quantize(given, tmp_path, interrupt)
    assert not (tmp_path / "quantization.json").exists()
    seen: list[int] = []
    quantize(given, tmp_path, lambda epoch: seen.append(epoch["epoch"]), say=lines.append)
    assert seen == [2, 1, 2]  # the rest of the first fit, and the second one
    for name in (*MODELS, "calibration.npz"):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes(), name
    assert (
        "The qat fit was resumed after epoch 1 of 2."
        in json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["notes"]
    )


def test_a_done_result_is_reused_another_is_refused_and_force_starts_again(
    project: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained, out)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.glob("*.*")}
    again = command_here("quantize", project / "trained.toml", "-o", out)
    assert again.returncode == ExitCode.PASSED
    assert "holds this quantization already; it is reused." in again.stderr
    for name in ("model.keras", "valid.npz"):
        shutil.copy(project / name, tmp_path)
    images, labels = pictures(8, 0)
    images[:] = 120
    np.savez(tmp_path / "train.npz", images=images, labels=labels, track_id=np.arange(8))
    file = tmp_path / "quantize.toml"
    file.write_text(TRAINED, encoding="utf-8")
    refused = command_here("quantize", file, "-o", out)
    assert refused.returncode == ExitCode.USAGE
    assert "holds another quantization: other settings, another source or other images" in refused.stderr
    kept = SETTINGS.replace("epochs = 0", 'epochs = 0\nkeep_float = ["logits"]')
    file.write_text(kept.replace("images = 48", 'images = 1\nobserver = "max"'), encoding="utf-8")
    assert command_here("quantize", file, "-o", out).returncode == ExitCode.USAGE
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.glob("*.*")} == before
    assert "int8.keras" in command_here("quantize", file, "-o", out, "--force").stdout
    assert not (out / "finetuned.keras").exists()  # nothing was trained
    assert not (out / "qat.keras").exists()
    content = record(out)
    notes = content["calibration"]["notes"]
    assert notes[0].startswith("Only 1 calibration images")
    assert notes[1] == "1 of 1 calibration images have one value in all pixels."
    assert notes[2].startswith("3 of 4 classes have no calibration image: ")
    rows = {row["name"]: (row["quantized"], row["reason"]) for row in content["layers"]}
    assert rows == {"conv": (True, ""), "logits": (False, "listed in keep_float")}
    assert [row["layer"] for row in content["sensitivity"]["layers"]] == ["conv"]


def recurrent() -> Any:
    """A model with a layer whose kernels have no INT8 form; its branch adds nothing to the logits."""
    import keras

    model, layers = network(), keras.layers
    rows = layers.Reshape((SIDE, SIDE * 3), name="rows")(model.input)
    branch = layers.Dense(K, kernel_initializer="zeros", name="nothing")(layers.LSTM(2, name="memory")(rows))
    return keras.Model(model.input, layers.Add(name="sum")([model.output, branch]))


def two_outputs() -> Any:
    import keras

    model = network()
    return keras.Model(model.input, [model.output, model.get_layer("pool").output])


def infinite() -> Any:
    """A model whose activations overflow on images."""
    model = network()
    kernel = model.get_layer("conv").get_weights()[0]
    model.get_layer("conv").set_weights([np.full_like(kernel, 3e38)])
    return model


def quantized_by_keras() -> Any:
    model = network()
    model.quantize("int8")
    return model


def another_order() -> Any:
    """The classes in another order than the data's: no image is classified correctly."""
    model = network()
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([np.roll(kernel, 1, axis=1), bias])
    return model


@pytest.mark.parametrize(
    ("build", "error", "sentence"),
    [
        (recurrent, InputRefused, 'layer "memory" \\(LSTM\\) has no INT8 form.*keep_float'),
        (two_outputs, InputRefused, "2 outputs"),
        (infinite, InputRefused, "not finite"),
        (quantized_by_keras, InputRefused, "quantized by Keras already"),
        (another_order, ConfigError, "no more than chance for 4 classes"),
    ],
    ids=lambda case: getattr(case, "__name__", None),
)
def test_a_model_that_cannot_be_quantized_is_refused(
    build: Any, error: type[SafemlError], sentence: str, project: Path, tmp_path: Path
) -> None:
    for name in ("quantize.toml", "valid.npz", "train.npz"):
        shutil.copy(project / name, tmp_path)
    build().save(tmp_path / "model.keras")
    with pytest.raises(error, match=sentence):
        quantize(inputs(tmp_path / "quantize.toml"), tmp_path / "out")
    assert not (tmp_path / "out" / "int8.keras").exists()


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (("model.keras", "gone.keras"), MissingInput, "gone.keras"),
        (("model.keras", "model.onnx"), InputRefused, "only the layers of a Keras model"),
        (("epochs = 0", 'epochs = 0\nkeep_float = ["convv"]'), ConfigError, 'did you mean "conv"'),
        (('path = "train.npz"', 'path = "one.npz"'), InputRefused, "one: has one class"),
        (('path = "train.npz"', 'path = "nan.npz"'), InputRefused, "nan.npz"),
        (("epochs = 0", "epochs = 1\nfreeze_epochs = 2"), ConfigError, "freeze_epochs is 2"),
        (
            ('path = "model.keras"', 'path = "model.keras"\nrecipe = "recipe.toml"'),
            ConfigError,
            "one of path .* or recipe",
        ),
    ],
    ids=[
        "no model",
        "ONNX",
        "unknown layer",
        "one image",
        "NaN",
        "frozen longer than trained",
        "path and recipe",
    ],
)
def test_settings_and_data_that_do_not_fit_are_refused(
    change: tuple[str, str], error: type[SafemlError], sentence: str, project: Path, tmp_path: Path
) -> None:
    for name in ("model.keras", "valid.npz", "train.npz"):
        shutil.copy(project / name, tmp_path)
    images, labels = pictures(4, 0)
    np.savez(tmp_path / "one.npz", images=images[:1], labels=labels[:1], track_id=np.arange(1))
    bad = images.astype(np.float32) * np.nan
    np.savez(tmp_path / "nan.npz", images=bad, labels=labels, track_id=np.arange(4))
    write_onnx(tmp_path / "model.onnx")
    file = tmp_path / "quantize.toml"
    assert change[0] in SETTINGS
    file.write_text(SETTINGS.replace(*change), encoding="utf-8")
    with pytest.raises(error, match=sentence):
        quantize(inputs(file), tmp_path / "out")
    assert error.exit_code in (ExitCode.USAGE, ExitCode.REFUSED)
    assert not (tmp_path / "out" / "int8.keras").exists()


def test_a_recipe_is_trained_first_and_its_model_is_the_source(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safeml.cli import quantize as command
    from safeml.cli import training

    for name in ("valid.npz", "train.npz"):
        shutil.copy(project / name, tmp_path)
    file, folder = tmp_path / "quantize.toml", tmp_path / "trained"
    file.write_text(SETTINGS.replace('path = "model.keras"', 'recipe = "recipe.toml"'), encoding="utf-8")

    def train(recipe: Path, out: Path) -> Path:
        assert (recipe, out.parent) == (tmp_path / "recipe.toml", tmp_path / "reports" / "trained")
        folder.mkdir()
        return Path(shutil.copy(project / "model.keras", folder)).parent

    monkeypatch.setattr(training, "prepared_recipe", lambda recipe, data_root: recipe)
    monkeypatch.setattr("safeml.recipes.trained_folder", lambda reports, recipe: reports / "trained" / "x")
    monkeypatch.setattr(training, "train_recipe", train)
    trained = command._trained(file, load_quantize_settings(file), tmp_path / "reports", None)
    assert read_inputs(file, Place(tmp_path), trained).source == folder / "model.keras"


def write_onnx(file: Path) -> None:
    """Write one dense layer as ONNX."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.zeros((SIDE * SIDE * 3, K), np.float32)
    kernel[:K] = np.eye(K)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "kernel"], ["logits"]),
        ],
        "dense",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", K])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, file)
