"""Training on attacked images: where the attack stays, what is kept, and what it is good for. Legend: N images, K classes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.config.recipe import AdversarialTrainingSettings, load_recipe
from safeml.errors import ConfigError
from safeml.metrics.perturbation import perturbation_size
from safeml.settings.model import InputSettings
from safeml.threats import Threat
from tests.integration.test_recipes import CLASSES, Interrupted, manifest, ready, run, write
from tests.integration.test_training_fit import TRAIN, VALID, recipe
from tests.opening import open_here
from tests.subjects import Subject

pytestmark = pytest.mark.slow

EPSILON = {"linf": 0.05, "l2": 0.6}
ATTACKED = f"""
name = "attacked"
architecture = "lenet"
width = 4
epochs = 2
batch = 16
weight_average = 0.5
dropout = 0.2
monitor = "val_robust_accuracy"
[adversarial]
epsilon = "4/255"
validation_images = 20
validation_steps = 2
[data.train]
kind = "rendered"
images = 860
seed = 1
classes = {CLASSES}
[data.valid]
kind = "rendered"
images = 430
seed = 2
classes = {CLASSES}
"""
METHODS = [(method, norm) for method in ("fgsm_rs", "pgd") for norm in EPSILON]


def settings(method: str = "fgsm_rs", norm: str = "linf", **changes: Any) -> AdversarialTrainingSettings:
    values = {"method": method, "norm": norm, "epsilon": EPSILON[norm], "validation_steps": 3}
    return AdversarialTrainingSettings.model_validate({**values, **changes})


def pictures(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Noise with pixels at both ends of 0..1, float32 [N, 8, 8, 3], and one-hot labels [N, 3]."""
    rng = np.random.default_rng(5)
    images = np.clip(rng.uniform(-0.5, 1.5, (count, 8, 8, 3)), 0, 1).astype(np.float32)
    return images, np.eye(3, dtype=np.float32)[np.arange(count) % 3]


def network() -> Any:
    """Untrained, with what must not move while it is attacked: statistics of a batch, and dropout."""
    import keras

    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(x))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


def perturbed(model: Any, asked: AdversarialTrainingSettings, seed: tuple[int, int] = (7, 3)) -> np.ndarray:
    import tensorflow as tf

    from safeml.training.adversarial import perturbation

    images, labels = pictures()
    given = (tf.constant(images), tf.constant(labels), tf.constant(seed, tf.int64))
    return np.asarray(perturbation(model, asked)(*given))


def loss(model: Any, images: np.ndarray) -> float:
    import tensorflow as tf

    _, labels = pictures()
    return float(tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, model(images))))


@pytest.mark.parametrize(("method", "norm"), METHODS)
def test_an_attacked_batch_is_in_the_ball_and_in_the_pixels_and_worse(method: str, norm: str) -> None:
    images, _ = pictures()
    model = network()
    found = perturbed(model, settings(method, norm))
    size = perturbation_size(images, found, norm)
    assert (size <= EPSILON[norm] * (1 + 1e-5) + 1e-7).all()
    assert (
        size > EPSILON[norm] / 2
    ).all()  # clipping takes a part of some, and no step leaves one where it was
    assert found.min() >= 0
    assert found.max() <= 1
    assert loss(model, found) > loss(model, images) + 0.01


@pytest.mark.parametrize("norm", sorted(EPSILON))
def test_a_step_that_is_far_too_long_stays_in_the_ball(norm: str) -> None:
    images, _ = pictures()
    found = perturbed(network(), settings("pgd", norm, step_size=1.0))
    assert (perturbation_size(images, found, norm) <= EPSILON[norm] * (1 + 1e-5) + 1e-7).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_attack_follows_from_its_seed_and_moves_nothing_in_the_model() -> None:
    model = network()
    before = [variable.numpy() for variable in model.variables]
    first, again = (perturbed(model, settings()) for _ in range(2))
    np.testing.assert_array_equal(first, again)  # dropout would make them differ
    assert not np.array_equal(first, perturbed(model, settings(), seed=(7, 19)))
    assert not np.array_equal(first, perturbed(model, settings(), seed=(8, 3)))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_an_interrupted_attacked_training_ends_with_the_same_bytes(tmp_path: Path) -> None:
    from safeml.recipes import train

    asked = write(tmp_path, ATTACKED)

    def stop(entry: dict[str, Any]) -> None:
        raise Interrupted

    assert run(asked, tmp_path / "whole") == [1, 2]
    with pytest.raises(Interrupted):
        train(ready(asked), tmp_path / "again", stop)
    assert run(asked, tmp_path / "again") == [2]
    whole, again = (manifest(tmp_path / name) for name in ("whole", "again"))
    assert whole == again
    file = whole["chosen"]["file"]
    assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert whole["recipe"]["adversarial"]["epsilon"] == pytest.approx(4 / 255)

    # An attack that is left out is another training, and the model of the one is never taken for the other's.
    write(tmp_path, re.sub(r"monitor = .*\n|\[adversarial\]\n(.+\n){3}", "", ATTACKED))
    with pytest.raises(ConfigError, match="the training of another recipe"):
        run(asked, tmp_path / "whole")


def test_the_checkpoint_is_chosen_by_accuracy_under_attack_and_is_an_ordinary_model(tmp_path: Path) -> None:
    import keras

    from safeml.training.adversarial import RobustValidation
    from safeml.training.fit import fit
    from safeml.training.publish import best_epoch

    table = {"epsilon": "16/255", "validation_images": 30, "validation_steps": 3}
    asked = recipe(
        adversarial=table, monitor="val_robust_accuracy", save_best_only=False, epochs=3, learning_rate=0.03
    )
    epochs = fit(asked, TRAIN, VALID, tmp_path).epochs
    names = [f"{entry['epoch']:02d}-{entry['val_robust_accuracy']:.4f}.keras" for entry in epochs]
    assert [entry["file"] for entry in epochs] == names
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == set(names)
    best = best_epoch(epochs, "val_robust_accuracy")
    assert best["val_robust_accuracy"] == max(entry["val_robust_accuracy"] for entry in epochs)
    assert all(0 <= entry["val_robust_accuracy"] <= entry["val_accuracy"] <= 1 for entry in epochs)

    file = tmp_path / "checkpoints" / best["file"]
    model = keras.models.load_model(file)
    assert type(model) is keras.Model or type(model).__name__ == "Functional"
    assert "train_step" not in vars(model)  # trained on, it learns from the images as they are
    again = RobustValidation(asked.adversarial, VALID, asked.batch, asked.seed)
    again.set_model(model)
    logs: dict[str, float] = {}
    again.on_epoch_end(0, logs)  # of the averaged weights, which are the ones that are saved
    assert logs["val_robust_accuracy"] == pytest.approx(best["val_robust_accuracy"], abs=1e-9)

    opened = open_here(file).fed(InputSettings(), VALID.class_names, "attacked")
    right = opened.predict_logits(VALID.images).argmax(axis=1) == VALID.labels
    assert right.mean() == pytest.approx(best["val_accuracy"], abs=1e-6)


def test_only_better_checkpoints_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    from safeml.training.fit import fit

    asked = recipe(adversarial={"epsilon": "8/255"}, monitor="val_robust_accuracy", epochs=4)
    best = -1.0
    for entry in fit(asked, TRAIN, VALID, tmp_path).epochs:
        assert bool(entry["file"]) == (entry["val_robust_accuracy"] > best)
        best = max(best, entry["val_robust_accuracy"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (re.sub(r"\[adversarial\]\n(.+\n){3}", "", ATTACKED), r"requires the table \[adversarial\]; add it"),
        (ATTACKED.replace('"4/255"', "4"), r'epsilon is 4; pixels are 0\.\.1 here, so write "4/255"'),
        (ATTACKED.replace('"4/255"', "0"), r"epsilon is 0; expected a positive number"),
        (ATTACKED.replace('"4/255"', '"4/255"\nstep_size = 2'), r'step_size is 2; .* write "2/255"'),
        (ATTACKED.replace("epsilon", "epsilom", 1), r"epsilom"),
        (ATTACKED.replace("validation_steps", 'method = "trades"\nvalidation_steps'), r"method"),
    ],
    ids=["no table", "not in pixels", "nothing", "long step", "misspelt", "unknown method"],
)
def test_a_recipe_that_cannot_be_meant_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_recipe(write(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "recipe.toml"))


def two_features(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Left half: darker or lighter by 0.08, true of four in five. Right half: by 0.02, true of all. float32 [N, 8, 8, 1].

    A change of 0.04 at every pixel turns the second feature round, and leaves the first one as it is.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    sign = 2.0 * labels - 1
    told = np.where(np.arange(count) % 10 < 2, -sign, sign)  # one in five of each class misleads
    images = 0.5 + rng.normal(0, 0.02, (count, 8, 8, 1))
    images[:, :, :4] += 0.08 * told[:, None, None, None]
    images[:, :, 4:] += 0.02 * sign[:, None, None, None]
    return images.astype(np.float32), labels


def learned(asked: AdversarialTrainingSettings | None) -> Any:
    """A linear model of the two features, trained with or without an attack."""
    import keras
    import tensorflow as tf

    from safeml.training.adversarial import attacked_training

    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 1))
    centred = keras.layers.Flatten()(keras.layers.Rescaling(1.0, offset=-0.5)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(centred))
    if asked is not None:
        attacked_training(model, asked, seed=1)
    model.compile(keras.optimizers.Adam(0.1), keras.losses.CategoricalCrossentropy(from_logits=True))
    images, labels = two_features(400, 1)
    rows = (images, np.eye(2, dtype=np.float32)[labels], np.ones(len(images), np.float32))
    model.fit(tf.data.Dataset.from_tensor_slices(rows).batch(100), epochs=60, verbose=0, shuffle=False)
    return model


def accuracies(model: Any, epsilon: float) -> tuple[float, float]:
    """Clean, and under the audit's PGD, on images that no model has seen."""
    from safeml.attacks.base import SURVIVED, Budget
    from safeml.attacks.registry import ATTACKS

    images, labels = two_features(200, 2)
    subject = Subject("linear", 2, lambda pixels: model(pixels, training=False))
    threat, budget = Threat(norm="linf", epsilon=epsilon), Budget(10, 1, seed=0, batch=200)
    found = ATTACKS["pgd"](subject, images, labels, threat, budget, np.arange(len(images)))
    clean = subject.predict_logits(images).argmax(axis=1) == labels
    return float(clean.mean()), float((found.first_step == SURVIVED).mean())


@pytest.mark.parametrize("method", ["fgsm_rs", "pgd"])
def test_it_learns_the_feature_that_an_attack_cannot_turn_round(method: str) -> None:
    """Robustness is at odds with accuracy here by design (Tsipras et al., "Robustness may be at odds with accuracy", 2019)."""
    plain = accuracies(learned(None), 0.04)
    attacked = accuracies(learned(settings(method, "linf", epsilon=0.04)), 0.04)
    assert plain[0] > 0.97
    assert plain[1] < 0.1
    assert attacked[0] == pytest.approx(0.8, abs=0.02)
    assert attacked[1] == pytest.approx(0.8, abs=0.02)
