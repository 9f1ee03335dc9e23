"""The optimizer and the learning-rate schedule of a recipe."""

from __future__ import annotations

import math
from typing import Any

import keras

from safeml.config.recipe import FitSettings

WARMUP = 20  # a twentieth of all steps
DROPS = (0.5, 0.75)  # "steps": shares of all steps at which the rate falls to a tenth


def optimizer(recipe: FitSettings, learning_rate: float, steps: int, library: Any = keras) -> Any:
    """Return the optimizer for a fit of `steps` steps with the maximum `learning_rate`.

    library: `keras`, or `tf_keras` for a model of Keras 2.
    """
    average = recipe.weight_average
    shared: dict[str, Any] = {
        "learning_rate": schedule(recipe, learning_rate, steps, library),
        "weight_decay": recipe.weight_decay or None,
        "use_ema": average > 0,
        "ema_momentum": average or 0.99,
    }
    if recipe.optimizer == "sgd":
        return library.optimizers.SGD(momentum=0.9, nesterov=True, **shared)
    if recipe.optimizer == "adam":
        return library.optimizers.Adam(**shared)
    return library.optimizers.AdamW(**{**shared, "weight_decay": recipe.weight_decay})


def schedule(recipe: FitSettings, learning_rate: float, steps: int, library: Any = keras) -> Any:
    """Return a schedule of `library`: warm-up over a twentieth of the steps, then as configured.

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017 (cosine, without restarts).
    """
    warmup = max(1, steps // WARMUP)
    if recipe.schedule == "cosine":
        return library.optimizers.schedules.CosineDecay(
            learning_rate / WARMUP,
            max(1, steps - warmup),
            warmup_target=learning_rate,
            warmup_steps=warmup,
        )
    rises = [learning_rate * (part + 1) / WARMUP for part in range(WARMUP)]
    bounds = [math.ceil(warmup * (part + 1) / WARMUP) for part in range(WARMUP - 1)]
    if recipe.schedule == "steps":
        bounds += [round(steps * share) for share in DROPS]
        rises += [learning_rate * 0.1 ** (drop + 1) for drop in range(len(DROPS))]
    return library.optimizers.schedules.PiecewiseConstantDecay(_ascending(bounds), rises)


def _ascending(bounds: list[int]) -> list[int]:
    """Make bounds strictly ascending, since a short fit would repeat a step."""
    found: list[int] = []
    for bound in bounds:
        found.append(max(bound, found[-1] + 1 if found else 1))
    return found
