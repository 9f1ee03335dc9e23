"""Distillation: the loss of the teacher, what is saved and selected, and which teachers are refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from safeml.config.recipe import DistillSettings
from safeml.errors import ConfigError, InputRefused, MissingInput
from safeml.framework import start
from tests.integration.test_training_fit import TRAIN, VALID, Interrupted, recipe, stop_after

pytestmark = pytest.mark.slow
DISTILL = {"teacher": "teacher.keras", "temperature": 2.0, "alpha": 0.7}
ASKED = recipe(epochs=2, distill=DISTILL)


@pytest.fixture(scope="module", autouse=True)
def _keras() -> None:
    start()


def linear(side: int = 16, classes: int = 3, gain: float = 40.0) -> Any:
    """A model that reads off which colour is brightest: correct for every image of TRAIN and VALID."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((side, side, 3), name="image"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, name="logits"),
        ]
    )
    kernel = np.zeros((3, classes), np.float32)
    kernel[range(3), range(3)] = gain
    model.layers[-1].set_weights([kernel, np.zeros(classes, np.float32)])
    return model


@pytest.fixture(scope="module")
def teacher() -> Any:
    from safeml.classifiers.keras import wrap
    from safeml.settings.model import InputSettings

    return wrap(linear(), InputSettings(), VALID.class_names, "teacher")


def test_the_loss_is_that_of_the_labels_and_of_the_softened_teacher(teacher: Any) -> None:
    import keras

    from safeml.training.distillation import taught_by

    student = linear(gain=3.0)
    taught_by(teacher, DistillSettings.model_validate(DISTILL))(student)
    crossentropy = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    student.compile("sgd", crossentropy)
    x = TRAIN.images[:16].astype(np.float32) / 255
    labels, factors = np.eye(3, dtype=np.float32)[TRAIN.labels[:16]], np.linspace(0.5, 1.5, 16)
    given = student(x, training=True)
    loss = float(student.compute_loss(x, labels, given, factors, training=True))
    smooth = 0.9 * labels + 0.1 / 3
    hard = np.mean(factors * -(smooth * log_softmax(given.numpy(), axis=1)).sum(1))
    warm, own = (log_softmax(each.numpy() / 2, axis=1) for each in (teacher.logits(x), given))
    soft = 2**2 * np.mean((np.exp(warm) * (warm - own)).sum(1))
    assert loss == pytest.approx(0.3 * hard + 0.7 * soft, rel=1e-4)
    assert float(student.compute_loss(x, labels, given, factors, training=False)) == pytest.approx(
        hard, rel=1e-5
    )
    distiller = keras.distillation.Distiller(
        linear(),
        linear(gain=3.0),
        distillation_losses=keras.distillation.LogitsDistillation(2.0, keras.losses.KLDivergence()),
        student_loss_weight=0.3,
    )
    distiller.compile("sgd", crossentropy)
    theirs = distiller.compute_loss(x, labels, distiller(x, training=True), factors, training=True)
    assert loss == pytest.approx(float(theirs), rel=1e-4)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, and in `out` a model that was trained with it, without interruption."""
    from safeml import recipes

    folder = tmp_path_factory.mktemp("distilled")
    with pytest.raises(MissingInput, match=r"distill\.teacher is .*teacher\.keras, which does not exist"):
        prepared(folder)
    linear().save(folder / "teacher.keras")
    recipes.train(prepared(folder), folder / "out", lambda epoch: None)
    return folder


def prepared(folder: Path) -> Any:
    from safeml import recipes

    return recipes.Prepared(ASKED, folder, TRAIN, VALID, recipes._taken_over(ASKED, folder))


def test_an_interrupted_training_ends_with_the_student_of_an_uninterrupted_one(
    teacher: Any, project: Path, tmp_path: Path
) -> None:
    import keras

    from safeml.training.fit import fit

    with pytest.raises(Interrupted):
        fit(ASKED, TRAIN, VALID, tmp_path, stop_after(1), teacher=teacher)
    epochs = fit(ASKED, TRAIN, VALID, tmp_path, teacher=teacher).epochs
    once = json.loads((project / "out" / "training.json").read_text())
    assert epochs == once["epochs"]
    models = [
        keras.models.load_model(folder / once["chosen"]["file"], compile=False)
        for folder in (tmp_path / "checkpoints", project / "out")
    ]
    for first, second in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(first, second)
    # The file holds the student alone, and its validation is that of the labels.
    assert type(models[0]).__name__ == "Functional"
    assert not any("teacher" in weight.path for weight in models[0].weights)
    best = epochs[once["chosen"]["epoch"] - 1]
    logits = models[0].predict(VALID.images.astype(np.float32) / 255, verbose=0)
    assert best["val_accuracy"] == pytest.approx(np.mean(logits.argmax(1) == VALID.labels))
    own_loss = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(VALID)), VALID.labels].mean()
    assert best["val_loss"] == pytest.approx(own_loss, rel=1e-4)
    with pytest.raises(ValueError, match="is trained with its teacher"):
        fit(ASKED, TRAIN, VALID, tmp_path)
    with pytest.raises(ValueError, match=r"\[distill\] and \[adversarial\] exclude each other"):
        recipe(distill=DISTILL, adversarial={"epsilon": 0.01})


def test_a_teacher_of_other_classes_other_images_or_without_skill_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safeml.classifiers.keras import from_keras
    from safeml.training import distillation

    settings = DistillSettings.model_validate(DISTILL)

    def open_as(model: Any, kind: str = "Keras archive") -> Any:
        scan = SimpleNamespace(format=kind)
        opened = SimpleNamespace(
            model=from_keras(model, "teacher.keras"),
            source=SimpleNamespace(file=Path("teacher.keras")),
            origin=SimpleNamespace(scan=scan),
            file_sha256="0",
        )
        monkeypatch.setattr(distillation, "load_model", lambda path: opened)
        return distillation.open_teacher(recipe(), settings, tmp_path, VALID)

    with pytest.raises(InputRefused, match=r"^stripes: distill\.teacher: .*4"):
        open_as(linear(classes=4))
    with pytest.raises(ConfigError, match=r"takes images of 8x8 pixels .*have 16x16"):
        open_as(linear(side=8))
    with pytest.raises(
        ConfigError, match=r"classifies 0\.0% of the validation images correctly, no more than chance"
    ):
        open_as(linear(gain=-1.0))
    with pytest.raises(ConfigError, match="has the format ONNX file; expected a Keras model"):
        open_as(linear(), "ONNX file")
    np.testing.assert_array_equal(open_as(linear()).decisions, VALID.labels)


def test_a_recipe_with_a_teacher_is_recorded_and_reported(project: Path) -> None:
    from safeml import recipes
    from safeml.audits.training.distillation import distillation_meaning, distillation_table
    from safeml.audits.training.manifest import parse_manifest

    out = project / "out"
    values = json.loads((out / "training.json").read_text())
    assert set(values["taken_over"]) == {"teacher"}
    part = values["distillation"]
    assert part["teacher"]["val_accuracy"] == 1.0
    assert part["student"]["val_accuracy"] == pytest.approx(values["chosen"]["value"])
    assert part["agreement"] == part["student"]["val_accuracy"]  # the teacher is correct throughout
    assert (part["lost"], part["gained"]) == (round(30 * (1 - part["agreement"])), 0)
    manifest = parse_manifest(values)
    assert manifest.distillation is not None
    assert manifest.settings["distill.teacher"] == "teacher.keras"
    rows = distillation_table(manifest.distillation).rows
    assert list(rows[0][:4]) == ["teacher", "teacher.keras", 12, 1.0]
    words = distillation_meaning(manifest.distillation)
    assert words[0].endswith(
        f"{part['lost']} are classified correctly by the teacher alone, 0 by the model alone."
    )
    assert recipes.is_done(prepared(project), out)
    with pytest.raises(InputRefused, match=r"distillation\.agreement"):
        parse_manifest({**values, "distillation": {**part, "agreement": 2.0}})
    linear(gain=20.0).save(project / "teacher.keras")
    with pytest.raises(ConfigError, match="of another backbone or teacher"):
        recipes.is_done(prepared(project), out)
