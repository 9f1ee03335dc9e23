"""The phases of a fit: one, or first the head of a transferred model and then more of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from safeml.config.recipe import Recipe


@dataclass(frozen=True)
class Phase:
    """Epochs `first` up to, but without, `end`, counted from 0. `prepare` says which layers are trained in it.

    note: what was decided and why, for the manifest; "" where everything is trained because nothing else was asked for.
    """

    first: int
    end: int
    learning_rate: float
    prepare: Callable[[keras.Model], None]
    note: str = ""


def whole(recipe: Recipe) -> tuple[Phase, ...]:
    """All epochs alike, everything trained."""
    return (Phase(0, recipe.epochs, recipe.learning_rate, lambda model: None),)


def recorded(phases: tuple[Phase, ...]) -> list[dict[str, Any]]:
    """What the manifest says of the phases that have something to say; epochs are counted from 1 there."""
    return [
        {
            "first": phase.first + 1,
            "last": phase.end,
            "learning_rate": phase.learning_rate,
            "note": phase.note,
        }
        for phase in phases
        if phase.note
    ]
