"""The phases of a fit: one, or first the head of a transferred model and then more layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from safeml.config.recipe import FitSettings


@dataclass(frozen=True)
class Phase:
    """A phase: epochs `first` to `end` - 1, counted from 0; `prepare` sets the trained layers.

    note: the decision and its reason, for the manifest; "" if all layers are trained by default.
    """

    first: int
    end: int
    learning_rate: float
    prepare: Callable[[keras.Model], None]
    note: str = ""


def whole(recipe: FitSettings) -> tuple[Phase, ...]:
    """Return one phase of all epochs in which every layer is trained."""
    return (Phase(0, recipe.epochs, recipe.learning_rate, lambda model: None),)


def recorded(phases: tuple[Phase, ...]) -> list[dict[str, Any]]:
    """Return the phases with a note for the manifest; epochs are counted from 1 there."""
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
