"""From a file to a checked model: scanned, tried in a child, loaded from the same bytes; or one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from safeml.classifiers.load import load_model
from safeml.errors import InputRefused, StageError
from safeml.settings.model import InputSettings
from tests.integration.test_keras_classifier import NAMES, dense_model, images
from tests.opening import open_here, trials_here

pytestmark = pytest.mark.slow


def test_the_fingerprint_is_of_content_and_not_of_the_saving_date(tmp_path: Path) -> None:
    model = dense_model()
    model.save(tmp_path / "a.keras")
    model.save(tmp_path / "b.keras")
    prints = {open_here(tmp_path / f"{n}.keras").fingerprint for n in "ab"}
    assert len(prints) == 1
    weights = model.get_weights()
    weights[0][0, 0] += 1e-3
    model.set_weights(weights)
    model.save(tmp_path / "c.keras")
    assert open_here(tmp_path / "c.keras").fingerprint not in prints


def test_a_loaded_file_answers_as_the_model_that_was_saved(tmp_path: Path) -> None:
    model = dense_model()
    expected = np.asarray(model(images().astype(np.float32) / 255))
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        opened = load_model(tmp_path / name)
        found = opened.model.fed(InputSettings(), NAMES, "m").predict_logits(images())
        assert np.allclose(found, expected, atol=1e-5)
        assert opened.origin.scan.status == "accepted"
        assert opened.model.parameters == model.count_params()
        opened.check_unchanged()


@pytest.mark.parametrize("cut", [1, 8, 15])
def test_a_truncated_file_is_damaged_and_not_missing(tmp_path: Path, cut: int) -> None:
    dense_model().save(tmp_path / "m.keras")
    whole = (tmp_path / "m.keras").read_bytes()
    (tmp_path / "m.keras").write_bytes(whole[: len(whole) * cut // 16])
    with pytest.raises(InputRefused, match="damaged"):
        load_model(tmp_path / "m.keras")


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.keras").touch()
    (tmp_path / "text.keras").write_text("hello")
    (tmp_path / "folder").mkdir()
    cases = {
        "absent.keras": "no such file",
        "empty.keras": "is empty",
        "text.keras": "no model file",
        "folder": "expected",
    }
    for name, message in cases.items():
        with pytest.raises(InputRefused, match=message) as caught:
            load_model(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_lambda_is_refused_by_the_scan(tmp_path: Path) -> None:
    import keras

    base = dense_model()
    model = keras.Model(base.inputs[0], keras.layers.Lambda(lambda x: x * 2)(base.outputs[0]))
    model.save(tmp_path / "m.keras")
    with pytest.raises(InputRefused, match=r"layers\[4\] is a Lambda layer, which runs code"):
        load_model(tmp_path / "m.keras")


def test_a_model_that_was_changed_or_has_gone_since_voids_the_run(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    dense_model().save(path)
    with trials_here():
        opened = load_model(path)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputRefused, match="changed while it was audited"):
        opened.check_unchanged()
    path.unlink()
    with pytest.raises(StageError, match="disappeared"):
        opened.check_unchanged()


def test_a_model_that_answers_by_its_neighbours_is_refused(tmp_path: Path) -> None:
    """Correct in a batch, at chance alone: the audited model would not be the deployed one."""
    import keras

    inputs = keras.Input((8, 8, 3))
    means = keras.layers.GlobalAveragePooling2D()(inputs)
    centred = means - keras.ops.mean(means, axis=0, keepdims=True)
    path = tmp_path / "neighbours.keras"
    keras.Model(inputs, keras.layers.Dense(3)(centred)).save(path)
    opened = open_here(path)
    with pytest.raises(InputRefused, match="when other images stand beside it in the batch"):
        opened.fed(InputSettings(), ("a", "b", "c"), "neighbours")
