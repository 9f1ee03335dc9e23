"""The shadow models of the likelihood-ratio attack: each is trained on half of the training signs, and scores all images.

Legend: N images, S shadow models, M members, O non-members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from safeml.attacks.art.surroundings import seeded
from safeml.audits.base import AuditInputs
from safeml.audits.privacy.attacks import TITLES, Attacked, Part, at_threshold
from safeml.audits.privacy.sides import Pair, Sides, units_of
from safeml.audits.slices import numbers
from safeml.config.recipe import AugmentSettings, Recipe, TrainingData
from safeml.data.dataset import ImageDataset
from safeml.metrics.membership import lira_scores, true_class_score
from safeml.sealed import Arrays
from safeml.settings.data import DataSettings
from safeml.stages.privacy import LIRA, PrivacySettings
from safeml.work import Cost, Request, announce

PURPOSE = 0x11A
# A step of training costs about three forward passes: one forward, and two backward.
STEP_PASSES = 3
RGB = 3
PARTS = ("calibration-members", "calibration-others", "evaluation-members", "evaluation-others")
NO_CHANGE = AugmentSettings(
    shift=0.0, rotation_degrees=0.0, zoom=0.0, brightness=0.0, contrast=0.0, blur_sigma=0.0
)


@dataclass(frozen=True, eq=False)
class Halves:
    """Which shadow models are trained without which images.

    training: bool [S, T], the training images of each shadow model.
    outside: by part, bool [S, N]: the image is used as one that the shadow model was trained without. Half of the models for each.
    """

    training: np.ndarray
    outside: dict[str, np.ndarray]


def shadow_recipe(inputs: AuditInputs, settings: PrivacySettings) -> Recipe | str:
    """Return the recipe of the shadow models, or a clause that says why there is none."""
    if inputs.train is not None and inputs.train.images.shape[3] != RGB:
        return "the images are grey, and the recipes train on RGB images"
    if settings.recipe is not None:
        own = settings.recipe
        values = own.model_dump(exclude={"augment"})
        recipe = Recipe(
            name="shadow",
            data=_no_data(),
            augment=AugmentSettings() if own.augment else NO_CHANGE,
            seed=inputs.seed,
            **values,
        )
    else:
        stated = (inputs.manifest or {}).get("recipe")
        if stated is None:
            return "the model has no training.json with a recipe; set [stages.privacy.recipe]"
        try:
            recipe = Recipe.model_validate(stated)
        except ValidationError:
            return "the recipe in training.json cannot be read; set [stages.privacy.recipe]"
        if recipe.backbone is not None:
            return "the model is trained from another network, whose weights may not be fetched in an audit; set [stages.privacy.recipe]"
    # A teacher is another model, and a running average or an early stop would need validation images.
    changes: dict[str, Any] = {
        "distill": None,
        "inflation": False,
        "weight_average": 0.0,
        "early_stopping": 0,
        "monitor": "val_accuracy",
    }
    if settings.epochs:
        changes["epochs"] = settings.epochs
    return recipe.model_copy(update=changes)


def halves(sides: Sides, shadows: int, seed: int) -> Halves:
    """Assign each training sign to a random half of the shadow models, and each non-member a random half that counts for it.

    No shadow model is trained on a non-member. Members and non-members have equal numbers of models, so that the number of
    models tells them not apart.
    """
    rng = np.random.default_rng([seed, PURPOSE])
    units = units_of(sides.training)
    inside = _random_halves(int(units.max()) + 1, shadows, rng)[:, units]
    places = {int(number): place for place, number in enumerate(numbers(sides.training))}
    outside = {}
    for part, data in _parts(sides).items():
        if part.endswith("members"):
            rows = np.array([places[int(number)] for number in numbers(data)])
            outside[part] = ~inside[:, rows]
        else:
            outside[part] = _random_halves(len(data), shadows, rng)
    return Halves(inside, outside)


def lira_attack(
    inputs: AuditInputs,
    settings: PrivacySettings,
    recipe: Recipe,
    sides: Sides,
    calibration: Part,
    evaluation: Part,
) -> Attacked:
    """Train the shadow models, each stored when it is finished, and compare the model with them."""
    assigned = halves(sides, settings.shadows, inputs.seed)
    parts = _parts(sides)
    scores: dict[str, list[np.ndarray]] = {part: [] for part in parts}
    requests = [
        _shadow(recipe, shadow, sides.training, np.flatnonzero(member), parts)
        for shadow, member in enumerate(assigned.training)
    ]
    announce(
        inputs.work, requests, lambda done: inputs.progress("train shadow models", done, settings.shadows)
    )
    for shadow, request in enumerate(requests):
        inputs.progress("train shadow models", shadow, settings.shadows)
        one = inputs.work(request.item, request.parts, request.form, request.measure, request.cost)
        for part, own in scores.items():
            own.append(one[part.replace("-", "_")])
    inputs.progress("train shadow models", settings.shadows, settings.shadows)
    observed = {
        part: true_class_score(side.logits, side.labels)
        for part, side in zip(
            PARTS,
            (calibration.members, calibration.others, evaluation.members, evaluation.others),
            strict=True,
        )
    }
    # One call for all images: the standard deviation is common to both sides.
    joint = lira_scores(
        np.concatenate([observed[part] for part in PARTS]),
        np.concatenate([np.array(scores[part]) for part in PARTS], axis=1),
        np.concatenate([assigned.outside[part] for part in PARTS], axis=1),
    )
    ends = np.cumsum([len(observed[part]) for part in PARTS])[:-1]
    first, second, third, fourth = np.split(joint, ends)
    return at_threshold(LIRA, TITLES[LIRA], (first, second), (third, fourth))


def shadow_cost(recipe: Recipe) -> Cost:
    """Return the cost of one training image of a shadow model."""
    return Cost(passes=STEP_PASSES * recipe.epochs)


def _shadow(
    recipe: Recipe, shadow: int, training: ImageDataset, rows: np.ndarray, parts: dict[str, ImageDataset]
) -> Request:
    """Return the request of one shadow model, trained on `rows` (int [M]) of `training`."""
    own = recipe.model_copy(update={"seed": (recipe.seed + 1 + shadow) % 2**31, "name": f"shadow-{shadow}"})

    def trained() -> Arrays:
        predict = _train(own, training.take(rows))
        return {
            part.replace("-", "_"): true_class_score(predict(data.images), data.labels)
            for part, data in parts.items()
        }

    form = {part.replace("-", "_"): ("float64", (len(data),)) for part, data in parts.items()}
    whole = {
        "recipe": own.model_dump(mode="json"),
        "train": training.take(rows).fingerprint,
        "asked": [data.fingerprint for data in parts.values()],
    }
    return Request(f"shadow-{shadow:03d}", whole, form, trained, shadow_cost(own))


def _train(recipe: Recipe, train: ImageDataset) -> Any:
    from safeml import framework

    framework.start()
    from safeml.training.shadow import train_shadow

    with seeded(recipe.seed):
        return train_shadow(recipe, train)


def _parts(sides: Sides) -> dict[str, ImageDataset]:
    pairs: tuple[Pair, Pair] = (sides.calibration, sides.evaluation)
    data = [side for pair in pairs for side in (pair.members, pair.others)]
    return dict(zip(PARTS, data, strict=True))


def _random_halves(count: int, shadows: int, rng: np.random.Generator) -> np.ndarray:
    """Return bool [S, N] with exactly half of the shadow models true for each of `count` items."""
    ranks = rng.random((shadows, count)).argsort(axis=0).argsort(axis=0)
    return np.asarray(ranks < shadows // 2)


def _no_data() -> TrainingData:
    """Return settings in place of the training data, which a shadow model is given as images."""
    return TrainingData(train=DataSettings(kind="rendered"), valid_fraction=0.5)
