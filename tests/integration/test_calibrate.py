"""Scaling as a layer of the model: what is audited is what is deployed. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from safeml.audits.base import AuditInputs
from safeml.audits.calibration.saving import check_scaled, scaled_model
from safeml.classifiers.keras import wrap
from safeml.classifiers.scaled import LAYER, with_scaled_logits
from safeml.data.dataset import ImageDataset
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.settings.model import InputSettings
from tests.fakes import Answers

pytestmark = pytest.mark.slow

K, SIDE = 4, 8
NAMES = tuple(f"class {k}" for k in range(K))


def network(outputs: str = "softmax", units: int = K) -> Any:
    """A dense layer of fixed weights on the pixels."""
    import keras

    if outputs == "dense":
        end = [keras.layers.Dense(units, activation="softmax")]
    else:
        end = [
            keras.layers.Dense(units),
            *([keras.layers.Activation(outputs)] if outputs != "logits" else []),
        ]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), *end])
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.6, weight.shape) for weight in model.get_weights()])
    return model


def split(model: Any, name: str, count: int, seed: int, temperature: float) -> ImageDataset:
    """Images of one frame each, with labels drawn at `temperature`: the model is calibrated after division by it."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    blank = ImageDataset(name, images, np.zeros(count, np.int64), NAMES)
    logits = wrap(model, InputSettings(), NAMES, name).predict_logits(blank.images) / temperature
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return replace(blank, labels=labels, tracks=seed * 10_000 + np.arange(count))


def inputs_of(model: Any, temperature: float = 2.5, settings: InputSettings | None = None) -> AuditInputs:
    test, valid = split(model, "test", 60, 1, temperature), split(model, "valid", 900, 2, temperature)
    return AuditInputs(
        wrap(model, settings or InputSettings(), NAMES, "net"), test, split(model, "train", 60, 3, 1), valid
    )


@pytest.mark.parametrize("outputs", ["softmax", "dense", "logits"])
def test_a_temperature_divides_the_logits_and_changes_no_class(outputs: str) -> None:
    model = network(outputs)
    inputs = inputs_of(model)
    scaled = scaled_model(inputs, "temperature")
    assert scaled.temperature == pytest.approx(2.5, rel=0.2)
    assert scaled.after < scaled.before
    again = wrap(scaled.model, InputSettings(), NAMES, "scaled")
    assert LAYER in {layer.name for layer in scaled.model.layers}
    before = inputs.classifier.predict_logits(inputs.valid.images)
    after = again.predict_logits(inputs.valid.images)
    np.testing.assert_allclose(after, before / scaled.temperature, rtol=1e-5, atol=1e-6)
    assert np.array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert scaled.changed == 0
    check_scaled(again, inputs, scaled, "temperature")
    assert np.asarray(scaled.model(inputs.test.images / np.float32(255))).shape == (60, K)
    assert again.fingerprint != inputs.classifier.fingerprint


def test_a_vector_is_in_the_order_of_the_outputs() -> None:
    """The file numbers the classes otherwise: scaling is fitted on classes, and written for outputs."""
    order = (2, 0, 3, 1)
    inputs = inputs_of(network(), settings=InputSettings(class_order=order))
    scaled = scaled_model(inputs, "vector")
    assert scaled.after < scaled.before
    again = wrap(scaled.model, InputSettings(class_order=order), NAMES, "scaled")
    check_scaled(again, inputs, scaled, "vector")
    other = wrap(scaled.model, InputSettings(), NAMES, "other order")
    with pytest.raises(StageError, match="expected"):
        check_scaled(other, inputs, scaled, "vector")


def test_inadmissible_images_and_models_are_refused() -> None:
    inputs = inputs_of(network())
    with pytest.raises(ConfigError, match=r"no \[data.valid\]"):
        scaled_model(replace(inputs, valid=None), "temperature")
    with pytest.raises(InputRefused, match="also training images"):
        scaled_model(replace(inputs, train=inputs.valid), "temperature")
    with pytest.raises(InputRefused, match="no Keras model"):
        with_scaled_logits(Answers(np.eye(K)), np.ones(1), np.zeros(1))


def test_the_command_writes_a_model_that_opens_with_the_same_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safeml.classifiers.load import load_model
    from safeml.cli.main import app

    monkeypatch.chdir(tmp_path)
    model = network()
    model.save("net.keras")
    inputs = inputs_of(model)
    for role, data in (("test", inputs.test), ("train", inputs.train), ("valid", inputs.valid)):
        np.savez(f"{role}.npz", images=data.images, labels=data.labels, class_names=np.array(NAMES))
    tables = "\n".join(
        f'[data.{role}]\nkind = "npz"\npath = "{role}.npz"\nframes_per_sign = 1'
        for role in ("test", "train", "valid")
    )
    gate = '[[gates]]\nid = "a"\ntitle = "A"\nstage = "performance"\nmetric = "clean_accuracy"\nop = ">="\nthreshold = 0.5\nrationale = "test"'
    Path("safeml.toml").write_text(f'[model]\npath = "net.keras"\n{tables}\n{gate}\n')
    done = CliRunner().invoke(app, ["calibrate", "-o", "scaled.keras"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "the predicted class of 0 changed" in done.output
    saved = load_model(Path("scaled.keras")).model.fed(InputSettings(), NAMES, "scaled")
    before = inputs.classifier.predict_logits(inputs.test.images)
    assert np.array_equal(saved.predict_logits(inputs.test.images).argmax(axis=1), before.argmax(axis=1))
    with pytest.raises(ConfigError, match="exists already"):
        CliRunner().invoke(app, ["calibrate", "-o", "scaled.keras"], catch_exceptions=False)
