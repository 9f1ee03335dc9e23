"""Transfer learning from a trained model: taken over exactly, frozen truly, trained in phases, resumed at any epoch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.config.recipe import Recipe
from safeml.data.dataset import ImageDataset
from safeml.data.rendered import render
from safeml.errors import ConfigError
from safeml.settings.model import InputSettings
from tests.opening import open_here

pytestmark = pytest.mark.slow

SIZE = 16
TINY = {"source": "MobileNetV2", "alpha": 0.35, "weights": "none"}


def recipe_of(backbone: dict[str, Any], **values: Any) -> Recipe:
    data = {"train": {"kind": "rendered", "images": 86, "size": SIZE}, "valid_fraction": 0.2}
    made = {"name": "moved", "epochs": 3, "batch": 32, "optimizer": "sgd", "data": data, **values}
    return Recipe.model_validate({**made, "architecture": "backbone", "backbone": backbone})


def signs(size: int = SIZE, images: int = 86) -> ImageDataset:
    """Two frames of one sign of each class, and of these the first three classes."""
    data = render(images, frames_per_sign=2, size=size)
    return data.only(data.class_names[:3])


def transferred(settings: dict[str, Any], base: Path, size: int = 32, **values: Any) -> tuple[Any, Any]:
    from safeml.training.architectures.backbone import transfer

    recipe = recipe_of(settings, **values)
    assert recipe.backbone is not None
    return transfer(recipe, recipe.backbone, signs(size), base)


def pixels(size: int = 32) -> np.ndarray:
    return np.random.default_rng(3).random((4, size, size, 3), np.float32)


def trained_source() -> Any:
    """A small network of two blocks, whose batch normalisation is that of no untrained one."""

    import keras

    keras.utils.set_random_seed(5)
    x = inputs = keras.Input((SIZE, SIZE, 3), name="image")
    for block, channels in enumerate((4, 8)):
        x = keras.layers.Conv2D(channels, 3, 2, use_bias=False, name=f"conv{block}")(x)
        x = keras.layers.BatchNormalization(name=f"bn{block}")(x)
        x = keras.layers.ReLU(name=f"relu{block}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    model = keras.Model(inputs, keras.layers.Dense(7, name="logits")(x))
    rng = np.random.default_rng(5)
    model.set_weights([w + rng.uniform(0.0, 0.1, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the source own.keras; it is opened at once, because the safe way takes seconds and has its own test."""

    import keras

    from safeml.training.architectures import backbone
    from safeml.training.architectures.source_model import Opened

    trained_source().save(tmp_path / "own.keras")

    def opened(path: Path, shape: tuple[int, int, int], where: str) -> Any:
        return Opened(keras.models.load_model(path, compile=False), "own.keras, opened by the test")

    monkeypatch.setattr(backbone, "open_source", opened)
    return tmp_path


# A network with others inside.


def test_inner_models_are_opened_and_names_become_unique() -> None:
    import keras

    from safeml.training.architectures.flatten import flatten
    from safeml.training.architectures.parts import image_input

    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="logits")], name="inner")
    twin = keras.Sequential([keras.Input((6, 6, 4)), keras.layers.Conv2D(4, 3, name="logits"), keras.layers.BatchNormalization(name="pool")])  # fmt: skip
    x = inputs = keras.Input((8, 8, 3))
    x = twin(inner(x), training=False)
    outputs = keras.layers.Dense(2, name="dense", trainable=False)(keras.layers.Flatten()(x + 1.0))
    model = keras.Model(inputs, outputs)
    expected = np.asarray(model(pixels(8)))
    flat, names = flatten(model, image_input(8, 8))
    assert np.array_equal(np.asarray(flat(pixels(8))), expected)
    found = [layer.name for layer in flat.layers]
    assert len(set(found)) == len(found)
    assert not {"pool", "dropout", "logits"} & set(found)
    assert names["logits"] in found
    assert all(layer.trainable for layer in flat.layers)
    config = json.dumps(flat.get_config())
    assert "Sequential" not in config
    assert "ConvertToTensor" not in config


# A trained model as the source.


def test_a_trained_model_is_taken_over_the_safe_way_and_can_be_audited(tmp_path: Path) -> None:
    import keras

    source = trained_source()
    source.save(tmp_path / "own.keras")
    model, phases = transferred({"source": "own.keras", "freeze": "all"}, tmp_path, size=SIZE, dropout=0.3)
    assert open_here(tmp_path / "own.keras").fingerprint in phases[0].note
    images = pixels(SIZE)
    penultimate = keras.Model(source.inputs[0], source.get_layer("logits").input)
    features = keras.Model(model.inputs[0], model.get_layer("logits").input)
    assert np.allclose(np.asarray(features(images)), np.asarray(penultimate(images)), atol=1e-6)
    drops = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in drops] == [0.3]
    model.save(tmp_path / "moved.keras")
    classifier = open_here(tmp_path / "moved.keras").fed(InputSettings(), ("a", "b", "c"), "moved")
    assert np.allclose(classifier.predict_logits(images), np.asarray(model(images)), atol=1e-5)


def test_a_source_of_another_input_contract_is_one_sentence() -> None:
    import keras

    from safeml.training.architectures.source_model import check_contract

    def model(size: int | None, channels: int, *first: Any) -> Any:
        return keras.Sequential([keras.Input((size, size, channels)), *first, keras.layers.Conv2D(2, 3)])

    check_contract(model(None, 3), (32, 32, 3), "r")
    check_contract(model(32, 3, keras.layers.Rescaling(2.0, -1.0)), (32, 32, 3), "r")
    cases = {
        "16x16 pixels": model(16, 3),
        "1 channels": model(32, 1),
        "0..255.*small": model(32, 3, keras.layers.Rescaling(1 / 127.5, -1.0, name="small")),
        "pixels of 0..255": model(
            None, 3, keras.layers.Normalization(mean=[120.0] * 3, variance=[60.0**2] * 3)
        ),
        "of 0..255": model(None, 3, model(None, 3, keras.layers.Rescaling(1 / 255))),
    }
    for match, wrong in cases.items():
        with pytest.raises(ConfigError, match=match):
            check_contract(wrong, (32, 32, 3), "r")


@pytest.mark.parametrize("values", [{"weights": "none"}, {"alpha": 0.5}])
def test_settings_of_applications_are_not_for_a_model_of_ones_own(values: dict[str, Any], own: Path) -> None:
    with pytest.raises(ConfigError, match=f"backbone.{next(iter(values))} applies only to names"):
        transferred({"source": "own.keras", **values}, own, size=SIZE)


def test_a_frozen_backbone_stays_as_it_is_and_its_statistics_too(own: Path, tmp_path: Path) -> None:
    import keras

    from safeml.training.fit import fit

    recipe = recipe_of({"source": "own.keras", "freeze": "all"}, epochs=2, learning_rate=0.1)
    data = signs()
    fitted = fit(recipe, data, data, tmp_path / "out", base=own)
    assert [(entry["first"], entry["last"]) for entry in fitted.phases] == [(1, 2)]
    file = next((tmp_path / "out" / "checkpoints").iterdir())
    model, source = keras.models.load_model(file, compile=False), trained_source()
    statistics = 0
    for layer in source.layers[:-1]:
        for before, after in zip(layer.get_weights(), _same(model, layer).get_weights(), strict=True):
            assert np.array_equal(before, after), layer.name
        statistics += isinstance(layer, keras.layers.BatchNormalization)
    assert statistics == 2
    assert np.abs(model.get_layer("logits").bias.numpy()).max() > 0


def test_a_share_freezes_the_layers_from_the_input_on(own: Path, tmp_path: Path) -> None:
    import keras

    from safeml.training.fit import fit

    recipe = recipe_of({"source": "own.keras", "freeze": 0.5, "head_epochs": 0, "fine_tune_rate": 1.0}, learning_rate=0.1)  # fmt: skip
    data = signs()
    fit(recipe, data, data, tmp_path / "out", base=own)
    last = max((tmp_path / "out" / "checkpoints").iterdir())
    model, source = keras.models.load_model(last, compile=False), trained_source()
    weighted = [layer for layer in source.layers[:-1] if layer.weights]
    changed = [
        any(
            not np.array_equal(before, after)
            for before, after in zip(layer.get_weights(), _same(model, layer).get_weights(), strict=True)
        )
        for layer in weighted
    ]
    assert changed == [False] * (len(changed) // 2) + [True] * (len(changed) - len(changed) // 2)


def _same(model: Any, layer: Any) -> Any:
    """The layer of `model` that was taken over from `layer`; one without weights where it was left out."""
    names = {found.name for found in model.layers}
    return next((model.get_layer(n) for n in (f"source_{layer.name}", layer.name) if n in names), layer)


def test_an_interrupted_transfer_ends_as_an_uninterrupted_one(own: Path, tmp_path: Path) -> None:
    """Interrupted within a phase, at its end and in the next one. With averaged weights, which are one state more than without."""

    import keras

    from safeml.training.fit import fit

    ends = (1, 2, 3)
    recipe = recipe_of(
        {"source": "own.keras", "freeze": 0.5, "head_epochs": 2},
        epochs=4, dropout=0.2, optimizer="adamw", save_best_only=False, weight_average=0.9,
    )  # fmt: skip
    data = signs()
    whole = fit(recipe, data, data, tmp_path / "whole", base=own)
    assert [entry["last"] for entry in whole.phases] == [2, 4]
    rates = [entry["learning_rate"] for entry in whole.phases]
    assert rates == pytest.approx([2e-3, 2e-4])

    def interrupt(epoch: dict[str, Any]) -> None:
        if epoch["epoch"] in ends:
            raise KeyboardInterrupt

    for _ in ends:
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, data, data, tmp_path / "parts", interrupt, own)
    parts = fit(recipe, data, data, tmp_path / "parts", base=own)
    assert parts.resumed_after == ends[-1]
    assert parts.epochs == whole.epochs
    for number in range(1, 5):
        one, other = (
            keras.models.load_model(next((tmp_path / folder / "checkpoints").glob(f"{number:02d}-*")), compile=False)
            for folder in ("whole", "parts")
        )  # fmt: skip
        assert all(map(np.array_equal, one.get_weights(), other.get_weights())), number


def test_the_manifest_says_what_was_decided(own: Path, tmp_path: Path) -> None:
    import keras

    from safeml.data.place import Place
    from safeml.recipes import prepare, train
    from safeml.training.phases import recorded

    lines = [
        'name = "moved"', 'architecture = "backbone"', "epochs = 2", "[backbone]", 'source = "own.keras"', "similar = true",
        "[data]", "valid_fraction = 0.5", "[data.train]", 'kind = "rendered"', "images = 860", f"size = {SIZE}",
        'classes = ["Stop", "Priority road"]',
    ]  # fmt: skip
    (own / "recipe.toml").write_text("\n".join(lines))
    train(prepare(own / "recipe.toml", Place(own)), tmp_path / "out", lambda epoch: None)
    manifest = json.loads((tmp_path / "out" / "training.json").read_text())
    (phase,) = manifest["phases"]
    assert (phase["first"], phase["last"]) == (1, 2)
    assert "10 images per class (few; 500 count as many), similar" in phase["note"]
    assert "own.keras" in phase["note"]
    published = keras.models.load_model(tmp_path / "out" / manifest["chosen"]["file"], compile=False)
    assert all(layer.trainable for layer in published.layers)  # what was frozen says nothing about the model
    assert recorded(()) == []


GTSRB = Path(os.environ.get("SAFEML_DATA_ROOT", "nowhere"), "gtsrb", "train.npz")


@pytest.mark.skipif(not GTSRB.is_file(), reason="SAFEML_DATA_ROOT names no folder with gtsrb/train.npz")
def test_the_recipe_of_two_signs_finds_its_source_and_its_classes() -> None:
    from safeml.config.recipe import load_recipe
    from safeml.data.place import Place
    from safeml.recipes import recipe_data

    folder = Path(__file__).parents[2] / "models" / "stop-priority"
    recipe = load_recipe(folder / "recipe.toml")
    training, choosing = recipe_data(recipe, Place(folder, Path(os.environ["SAFEML_DATA_ROOT"])))
    assert training.class_names == choosing.class_names == ("Stop", "Priority road")
    assert recipe.backbone is not None
    assert (folder / recipe.backbone.source / "training.json").is_file()
