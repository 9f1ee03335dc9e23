"""`safeml inspect` on Keras models: one whose contract is known by construction, and models that strangers trained."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from safeml.classifiers.contract import contract_key
from safeml.classifiers.keras import from_keras
from safeml.cli import inspect as command
from safeml.config.audit import load_config
from safeml.contracts.candidates import Candidate
from safeml.contracts.decide import inspect_model
from safeml.contracts.feeds import Feeds
from safeml.contracts.records import Outcome
from safeml.data.dataset import ImageDataset
from safeml.data.place import Place
from safeml.errors import InputRefused
from safeml.settings.data import DataSettings
from tests.opening import open_here

pytestmark = pytest.mark.slow

SHARED = Path(os.environ.get("SAFEML_SHARED", Path(__file__).parents[3] / "shared"))
NAMES = ("red", "green", "blue", "dark")
STRANGERS = {
    "AlexDieterr-TrafficSignNN/model.keras": ("rgb", (0.0, 1.0), 0.9547),
    "yasar-beg368-traffic_sign_recognition/model.h5": ("bgr", (0.0, 1.0), 0.9685),
    "shubham129-Traffic-Sign-Image-Classifier/model.h5": ("rgb", (0.0, 255.0), 0.9607),
}


def lamps(count: int = 2000) -> ImageDataset:
    """Noisy grey of any brightness, coloured red, green or blue by 0.2 to 0.4 of 0..1; or dark, coloured by at most 0.1."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 4, count)
    dark = labels == 3
    channel = np.where(dark, rng.integers(0, 3, count), labels)
    level = np.where(dark, 0.08, rng.uniform(0.15, 0.6, count))[:, None] * np.ones((1, 3))
    level[np.arange(count), channel] += np.where(
        dark, rng.uniform(0, 0.1, count), rng.uniform(0.2, 0.4, count)
    )
    pixels = level[:, None, None, :] + rng.normal(0, 0.02, (count, 16, 16, 3))
    return ImageDataset("lamps", (pixels.clip(0, 1) * 255).round().astype(np.uint8), labels, NAMES)


def lamp_model(bias: float, brightness: float, flip: bool = False):
    """Linear in the mean colour. Dark wins where colour is weak, by a margin that is meant for RGB (or BGR) in 0..1.

    Without bias and brightness the answer does not depend on the scale, and dark never wins.
    """
    import keras

    inputs = keras.Input((16, 16, 3))
    head = keras.layers.Dense(4)
    model = keras.Model(inputs, head(keras.layers.GlobalAveragePooling2D()(inputs)))
    colours = np.eye(3) * 1.5 - 0.5
    weights = np.concatenate([colours[::-1] if flip else colours, np.full((3, 1), -brightness)], axis=1)
    head.set_weights([weights.astype(np.float32), np.array([0, 0, 0, bias], np.float32)])
    return model


@pytest.mark.parametrize("flip", [False, True])
def test_a_contract_known_by_construction_is_proposed(flip: bool) -> None:
    found = inspect_model(from_keras(lamp_model(0.35, 0.3, flip), "lamps"), lamps())
    assert found.status == "proposed", found.sentence
    assert found.winner is not None
    assert found.winner.settings.channels == ("bgr" if flip else "rgb")
    assert found.winner.settings.range == (0, 1)
    assert not found.winner.settings.mean
    assert not found.winner.settings.standardise


def test_a_model_that_does_not_know_its_scale_gives_the_same_answers() -> None:
    data = lamps()
    coloured = data.take(np.flatnonzero(data.labels < 3))
    found = inspect_model(from_keras(lamp_model(-1000, 0), "lamps"), coloured)
    assert (found.status, found.reason) == ("cannot_tell", "same")
    assert {"RGB, 0..1", "RGB, 0..255", "RGB, standardised per image"} <= set(found.same)
    assert all(name.startswith("RGB") for name in found.same)
    assert "same predictions" in found.sentence


def test_the_command_on_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = lamps()
    lamp_model(0.35, 0.3, flip=True).save(tmp_path / "m.keras")
    np.savez(tmp_path / "d.npz", images=data.images, labels=data.labels, class_names=np.array(NAMES))
    monkeypatch.chdir(tmp_path)
    app = typer.Typer(pretty_exceptions_enable=False)
    command.register(app)
    done = CliRunner().invoke(app, ["m.keras", "--data", "d.npz", "--json"])
    assert done.exit_code == 0, done.output
    found = Outcome.model_validate(json.loads(done.stdout))
    contract = load_config(tmp_path / "safeml.toml").model.input
    assert (contract.channels, contract.range) == ("bgr", (0.0, 1.0))
    assert contract.chosen_on == contract_key(contract, data.pixels_fingerprint, found.model_fingerprint)


def inspected(folder: Path, model: object, monkeypatch: pytest.MonkeyPatch) -> Result:
    """`safeml inspect` on a saved model and the lamps."""
    data = lamps()
    model.save(folder / "m.keras")
    np.savez(folder / "d.npz", images=data.images, labels=data.labels, class_names=np.array(NAMES))
    monkeypatch.chdir(folder)
    app = typer.Typer(pretty_exceptions_enable=False)
    command.register(app)
    return CliRunner().invoke(app, ["m.keras", "--data", "d.npz"])


def test_a_model_at_chance_gets_its_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lamp_model(0.35, 0.3)
    model.layers[-1].set_weights([np.zeros((3, 4), np.float32), np.array([0, 0, 0, 1], np.float32)])
    done = inspected(tmp_path, model, monkeypatch)
    assert done.exit_code == 3
    assert "no better than chance under all 14 contracts" in done.output
    assert not (tmp_path / "safeml.toml").exists()


def test_a_model_of_permuted_classes_gets_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, order = lamp_model(0.35, 0.3), [2, 3, 1, 0]
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel[:, order], bias[order]])
    done = inspected(tmp_path, model, monkeypatch)
    assert done.exit_code == 3
    assert "with permuted classes" in done.output
    assert "Class of each output: 2, 3, 1, 0." in done.output
    assert not (tmp_path / "safeml.toml").exists()


def test_a_model_of_58_outputs_gets_its_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    inputs = keras.Input((16, 16, 3))
    outputs = keras.layers.Dense(58)(keras.layers.GlobalAveragePooling2D()(inputs))
    done = inspected(tmp_path, keras.Model(inputs, outputs), monkeypatch)
    assert isinstance(done.exception, InputRefused)
    assert done.exception.exit_code == 5
    assert "the model has 58 outputs, but the data d have 4 classes" in str(done.exception)
    assert not (tmp_path / "safeml.toml").exists()


def remember_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a model once for the same images under the same contract: its answers do not depend on the tracks."""
    ask, known = Feeds.__call__, {}

    def answers(feeds: Feeds, candidate: Candidate, data: ImageDataset) -> np.ndarray:
        key = candidate.feed, data.pixels_fingerprint
        if key not in known:
            known[key] = ask(feeds, candidate, data)
        return known[key]

    monkeypatch.setattr(Feeds, "__call__", answers)


@pytest.fixture(scope="module")
def gtsrb() -> ImageDataset:
    """The GTSRB test images."""
    path = SHARED / "data" / "gtsrb" / "test.npz"
    if not path.is_file():
        pytest.skip("data/gtsrb/test.npz is not there (set SAFEML_SHARED to its folder)")
    return Place(Path(), Path()).data(DataSettings(kind="npz", path=str(path)))


@pytest.mark.parametrize("file", sorted(STRANGERS))
def test_models_of_strangers(file: str, gtsrb: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented contract is proposed, with the frames of a sign track declared or not."""
    path = SHARED / "models_third_party" / file
    if not path.is_file():
        pytest.skip(f"models_third_party/{file} is not there (set SAFEML_SHARED to its folder)")
    remember_answers(monkeypatch)
    model = open_here(path)
    channels, ends, known = STRANGERS[file]
    for frames_per_sign in (None, 15):
        data = replace(gtsrb, frames_per_sign=frames_per_sign)
        found = inspect_model(model, data)
        assert found.status == "proposed", found.sentence
        assert found.winner is not None
        contract = found.winner.settings
        assert (contract.channels, contract.range, contract.class_order) == (channels, ends, None)
        assert not contract.mean
        assert not contract.standardise
    classifier = model.fed(contract, data.class_names, file)
    right = classifier.predict_logits(data.images).argmax(axis=1) == data.labels
    assert abs(float(right.mean()) - known) <= 0.003  # known: of all test images, as its card says
