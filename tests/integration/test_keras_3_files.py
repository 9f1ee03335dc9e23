"""Files of Keras 3 load as they are, damaged ones are refused in one sentence, and no compilation is built."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from safeml.classifiers import keras_files
from safeml.errors import InputRefused
from tests.integration.keras_cases import private

pytestmark = pytest.mark.slow


def keras_3_model() -> Any:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((16, 16, 3)),
            layers.RandomFlip(),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.random.default_rng(0).random((8, 16, 16, 3)), np.arange(8) % 5, verbose=0)
    return model


@pytest.fixture(scope="module")
def keras_3(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder, model = tmp_path_factory.mktemp("keras3"), keras_3_model()
    for name in ("m.keras", "m.h5"):
        model.save(folder / name)
    model.save_weights(folder / "m.weights.h5")
    (folder / "m.json").write_text(model.to_json())
    with zipfile.ZipFile(folder / "m.keras") as archive:
        archive.extract("model.weights.h5", folder)
    return model, folder


def test_files_of_keras_3_load_without_repairs(keras_3: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = keras_3
    archive = keras_files.open_archive(private(tmp_path, folder / "m.keras", "model.keras"), "m")
    whole = keras_files.load_h5(private(tmp_path, folder / "m.h5"), "m")
    # The private copy of "m.weights.h5" is named "model.h5".
    weights = private(tmp_path, folder / "m.weights.h5")
    beside = keras_files.load_weights(folder / "m.json", weights, "m")
    for (found, notes), path in (
        (archive, folder / "model.weights.h5"),
        (whole, folder / "m.h5"),
        (beside, weights),
    ):
        assert notes == ()
        for one, other in zip(found.get_weights(), model.get_weights(), strict=True):
            assert np.array_equal(one, other)
        keras_files.check_weights(found, path, "m")


def test_weights_that_are_not_those_of_the_file_are_refused(
    keras_3: tuple[Any, Path], tmp_path: Path
) -> None:
    import keras

    model, folder = keras_3
    changed = keras.models.clone_model(model)
    values = model.get_weights()
    values[0] = values[0] + 1e-6
    changed.set_weights(values)
    for name in ("m.h5", "model.weights.h5"):
        with pytest.raises(
            InputRefused, match=r"m: 1 of the 8 arrays of the file \(of shape \[3, 3, 3, 4\]\)"
        ):
            keras_files.check_weights(changed, folder / name, "m")
    values = model.get_weights()
    values[4], values[5] = values[5], values[4]  # moving mean and variance: the same arrays, in other places
    changed.set_weights(values)
    with pytest.raises(InputRefused, match=r"layer batch_normalization\w* change places"):
        keras_files.check_weights(changed, folder / "m.h5", "m")
    smaller = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(InputRefused, match="the file holds 8 arrays, the loaded model 2"):
        keras_files.check_weights(smaller, folder / "m.h5", "m")


def test_what_keras_refuses_is_one_sentence(keras_3: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = keras_3
    path = private(tmp_path, folder / "m.h5")
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["class_name"] = "Unknown"
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(InputRefused, match=r"^m: Keras does not load it in safe mode: .*") as caught:
        keras_files.load_h5(path, "m")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    with pytest.raises(InputRefused, match="holds weights alone"):
        keras_files.load_h5(folder / "m.weights.h5", "m")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputRefused, match="is not valid JSON"):
        keras_files.load_weights(tmp_path / "broken.json", private(tmp_path, folder / "m.weights.h5"), "m")


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_no_compilation_is_built_not_even_of_a_nested_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    import keras

    layers = keras.layers
    inner = keras.Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(4)])
    inner.compile("adam", "mse")
    model = keras.Sequential([layers.Input((8, 8, 3)), inner, layers.Dense(3)])
    model.compile("sgd", "mse")
    path = tmp_path / f"model.{ending}"
    model.save(path)
    built: list[object] = []
    owner = next(kind for kind in keras.Model.__mro__ if "compile_from_config" in vars(kind))
    monkeypatch.setattr(owner, "compile_from_config", lambda self, config: built.append(config))
    keras.models.load_model(path, compile=False)
    if ending == "keras":
        assert built, "Keras builds the nested compilation by itself, so that it has to be removed"
    built.clear()
    load = keras_files.open_archive if ending == "keras" else keras_files.load_h5
    loaded, _ = load(path, "m")
    assert not built
    keras_files.check_weights(loaded, _weights_of(path, tmp_path) if ending == "keras" else path, "m")


def _weights_of(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        return Path(opened.extract("model.weights.h5", folder))
