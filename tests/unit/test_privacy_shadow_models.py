"""Shadow models in the privacy stage: a leak that a threshold misses, work that is reused, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.privacy import shadows
from safeml.audits.privacy.perfect import PERFECT
from safeml.audits.privacy.run import run
from safeml.data.dataset import ImageDataset
from safeml.stages.privacy import PrivacySettings, ShadowRecipe
from tests.leaks import K, Remembering, images_of_signs
from tests.privacy_cases import FAST, TEST, TRAIN, inputs, metrics

pytestmark = pytest.mark.slow


class Memory:
    """Stands for a trained network: log odds by the image, and higher for the images that it was trained on."""

    def __init__(self, train: ImageDataset, gain: float) -> None:
        self.known = {image.tobytes() for image in train.images}
        self.gain = gain

    def __call__(self, images: np.ndarray) -> np.ndarray:
        logits = np.zeros((len(images), K), np.float32)
        for row, image in enumerate(images):
            value = difficulty(image) + self.gain * (image.tobytes() in self.known)
            logits[row] = value
        return logits


def difficulty(image: np.ndarray) -> float:
    """Log odds that differ far more between images than a leak moves them."""
    return float(image[0, 0, 0]) / 8


class Shadowed(Remembering):
    """The model under test of the same family: a leak of `leak` on top of the difficulty of each image."""

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        known = {image.tobytes() for image in self.members.images}
        logits = np.zeros((len(images), K), np.float32)
        for row, image in enumerate(images):
            label = self.labels[image.tobytes()]
            logits[row, label] = difficulty(image) + self.leak * (image.tobytes() in known)
        return logits

    @property
    def labels(self) -> dict[bytes, int]:
        return {
            image.tobytes(): int(label)
            for data in (self.members, *self.others)
            for image, label in zip(data.images, data.labels, strict=True)
        }


def shadowed(monkeypatch: pytest.MonkeyPatch, gain: float) -> tuple[AuditInputs, list[ImageDataset]]:
    """Inputs of a model with that leak, and the list of the training sets of its shadow models."""
    trained: list[ImageDataset] = []
    model = Shadowed(TRAIN, (TEST,), gain)
    labels = model.labels

    def train(recipe: Any, data: ImageDataset) -> Any:
        trained.append(data)
        memory, rng = Memory(data, gain), np.random.default_rng(recipe.seed)

        def predict(images: np.ndarray) -> np.ndarray:
            logits = np.zeros((len(images), K), np.float32)
            values = memory(images)[:, 0] + rng.normal(0, 0.5, len(images))
            logits[np.arange(len(images)), [labels[image.tobytes()] for image in images]] = values
            return logits

        return predict

    monkeypatch.setattr(shadows, "_train", train)
    return AuditInputs(model, TEST, TRAIN), trained


LIRA = FAST.model_copy(update={"shadows": 16, "recipe": ShadowRecipe(architecture="lenet", epochs=3)})


def test_shadow_models_find_a_leak_that_a_threshold_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    given, trained = shadowed(monkeypatch, 2.0)
    result = run(given, LIRA)
    of = metrics(result)
    assert of["membership_auc", "lira"].value > 0.95
    assert of["membership_auc", "threshold"].high < 0.75
    assert of["membership_advantage", "all"].value == of["membership_advantage", "lira"].value
    assert len(trained) == 16
    digests = {image.tobytes() for image in TEST.images}
    for data in trained:
        assert not digests & {image.tobytes() for image in data.images}
        assert set(np.unique(data.tracks, return_counts=True)[1]) == {5}
        assert 350 <= len(data) <= 650
    each = np.bincount(np.concatenate([np.unique(data.tracks) for data in trained]))
    assert set(each) == {8}


def test_shadow_models_of_a_model_without_a_leak_find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given, _ = shadowed(monkeypatch, 0.0)
    area = metrics(run(given, LIRA))["membership_auc", "lira"]
    assert area.value == pytest.approx(0.5, abs=0.06)


def test_a_finished_shadow_model_is_not_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given, trained = shadowed(monkeypatch, 2.0)
    stored: dict[str, Any] = {}

    def work(item: str, parts: Any, form: Any, measure: Any, cost: Any = None) -> Any:
        if len(stored) == 9 and item not in stored:
            raise KeyboardInterrupt
        if item not in stored:
            stored[item] = measure()
        return stored[item]

    with pytest.raises(KeyboardInterrupt):
        run(replace(given, work=work), LIRA)
    assert len(trained) == 5  # four slices of predictions were stored before
    stored["room"] = {}
    whole = run(replace(given, work=work), LIRA)
    assert len(trained) == 16
    assert metrics(whole)["membership_auc", "lira"].value is not None


def test_without_a_recipe_there_are_no_shadow_models_and_the_reason_is_stated() -> None:
    result = run(inputs(), FAST.model_copy(update={"shadows": 4}))
    reason = metrics(result)["membership_advantage", "lira"].reason
    assert reason == "the model has no training.json with a recipe; set [stages.privacy.recipe]"
    assert metrics(result)["membership_advantage", "all"].value is not None


def test_shadow_models_of_grey_images_are_refused_with_a_reason() -> None:
    grey = images_of_signs("grey", 200, 5, 1, channels=1)
    result = run(inputs(train=grey, test=images_of_signs("test", 200, 5, 2, channels=1)), LIRA)
    assert "the images are grey" in metrics(result)["membership_advantage", "lira"].reason


def test_the_plan_counts_the_training_of_the_shadow_models() -> None:
    calls = PERFECT.calls(inputs(), LIRA, True)
    trainings = [call for call in calls if call.cost.passes > 1]
    assert len(trainings) == 16
    assert {(call.images, call.cost.passes) for call in trainings} == {(500, 9)}
    state, note = PERFECT.state(inputs(), LIRA, False)
    assert state == "runs"
    assert note.startswith("16 shadow models of 3 epochs each")
    assert PERFECT.state(replace(inputs(), train=None), LIRA, False)[0] == "idle"


@pytest.mark.parametrize("shadow_models", [1, 2, 7])
def test_an_odd_number_of_shadow_models_is_refused(shadow_models: int) -> None:
    with pytest.raises(ValueError, match="expected 0 or an even number from 4 on"):
        PrivacySettings(shadows=shadow_models)
