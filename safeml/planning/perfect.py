"""A model that is right but for a chosen few images, handed to the stages as work that is done already.

A stage asks for its arrays slice by slice (`safeml.audits.base.Work`). Here they come from what is wanted of the model and
not from a model, so that the stage's own code makes the metrics of any model that one can think of, without a framework.
Legend: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import numpy as np

from safeml.attacks.effort import EFFORT
from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize
from safeml.errors import StageError
from safeml.sealed import Arrays, Form

# Of batches that were never halved: more than any is.
NEVER_HALVED = 1 << 40
# A certificate beyond every threat but the unbounded one, which breaks every image, from as far away as pixels go.
CERTIFIED, UNBOUNDED = 1 - 1e-6, 1.0
SURROGATE = "surrogate "  # before the norm of an attack on it
# What speaks against an attack, or counts its work.
NOTHING = {
    "zero_gradients": bool,
    "faults": np.uint8,
    "step": np.int64,
    "attempt": np.int64,
    "looks": np.int64,
    "answers": np.int64,
    "attacked": np.float32,
}


@dataclass(frozen=True)
class Call:
    """One slice that a stage asked for.

    images: in it. steps: steps of an attack on each of them, with all attempts; 0 where there is no attack.
    attempts: of these. gradient: each step takes a gradient, and not an answer alone. elsewhere: one of the surrogate.
    """

    item: str
    images: int
    steps: int = 0
    attempts: int = 0
    gradient: bool = True
    norm: str = ""
    kept: bool = False
    elsewhere: bool = False

    @property
    def graph(self) -> str:
        """What is compiled for an attack, and timed: its norm, of which model."""
        return f"{SURROGATE}{self.norm}" if self.elsewhere else self.norm


@dataclass(eq=False)
class PerfectWork:
    """A `Work` that answers as a model would which gets the images in `wrong` wrong and in `broken` attacked, and no others.

    answers: int64 [N], what the model says of the clean images. broken: bool [N]. numbers: int [N], see `slices.numbers`. calls: what was asked for, in order.
    """

    answers: np.ndarray
    broken: np.ndarray
    classes: int
    numbers: np.ndarray
    calls: list[Call] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def __call__(
        self, item: str, parts: Mapping[str, Any], form: Form, measure: Callable[[], Arrays]
    ) -> Arrays:
        """See `Work`. Raises StageError for an array that nothing is known of."""
        self.calls.append(call_of(item, parts, form))
        return self.arrays(item, parts, form)

    def arrays(self, item: str, parts: Mapping[str, Any], form: Form) -> Arrays:
        """The arrays of `form`, [M, ...] of the next M images of the item."""
        rows = self._rows(item, parts, images_of(form))
        broken = np.ones(len(rows), bool) if _unbounded(parts) else self.broken[rows]
        given: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
            "logits": lambda shape: np.eye(self.classes, dtype=np.float32)[self.answers[rows]] * 10,
            "right": lambda shape: np.ones(shape, bool),
            "robust": lambda shape: ~broken,
            "size": lambda shape: np.where(self.broken[rows], 0, np.where(broken, UNBOUNDED, np.inf)).astype(
                np.float32
            ),
            "claimed": lambda shape: broken,
            "wrong": lambda shape: broken,
            "promise": partial(np.ones, dtype=np.float32),
            "radius": lambda shape: np.where(self.broken[rows], 0.0, CERTIFIED),
            # Every loss still moves, so that each check which then asks for more steps is counted.
            "unconverged": lambda shape: np.ones(shape, np.float32),
            **{name: partial(np.zeros, dtype=kind) for name, kind in NOTHING.items()},
            "batches": lambda shape: np.full(shape, NEVER_HALVED, np.int64),
        }
        unknown = [name for name in form if name not in given]
        if unknown:
            raise StageError(f"{item}: what a perfect model gives for {unknown[0]} is not known.")
        return {name: given[name](shape) for name, (_, shape) in form.items()}

    def _rows(self, item: str, parts: Mapping[str, Any], count: int) -> np.ndarray:
        """The images of a slice, where the stage names them; or the next ones."""
        if "ids" not in parts:
            return self._next(item, count)
        order = np.argsort(self.numbers)
        rows: np.ndarray = order[np.searchsorted(self.numbers, parts["ids"], sorter=order)]
        return rows

    def _next(self, item: str, count: int) -> np.ndarray:
        """The rows of the next slice: a stage asks for an item's images in their order, and perhaps again from the start."""
        start = self._places.get(item, 0) % len(self.answers)
        self._places[item] = start + count
        return np.arange(start, start + count) % len(self.answers)


def images_of(form: Form) -> int:
    """How many images a slice of this form has."""
    return max(shape[0] for name, (_, shape) in form.items() if name != "batches")


def call_of(item: str, parts: Mapping[str, Any], form: Form, kept: bool = False) -> Call:
    """What a slice costs, from what the stage says of it."""
    if "attack" not in parts:
        return Call(item, images_of(form), kept=kept)
    attempts, effort = parts["attempts"], EFFORT[parts["attack"]]
    return Call(
        item,
        images_of(form),
        parts["steps"] * attempts,
        attempts,
        effort.gradient,
        parts["threat"]["norm"],
        kept,
        effort.knowledge == "transfer",
    )


def _unbounded(parts: Mapping[str, Any]) -> bool:
    """The check that an attack without a bound breaks every image: also of the best model."""
    threat = parts.get("threat", {})
    if parts.get("attack") != "pgd":
        return False
    return bool(threat.get("norm") == "linf" and threat.get("epsilon") == 1.0)


@dataclass(eq=False)
class NoModel:
    """Stands where a stage expects a classifier. It is never asked: all its work is done. See `Classifier` for the fields.

    logits: `no_answer` for a model of a kind that gives gradients, None for any other.
    """

    name: str
    classes: int
    logits: Callable[[Any], Any] | None = None
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=1, width=1))
    parameters: int = 0
    fingerprint: str = ""
    notes: tuple[str, ...] = ()
    batch: BatchSize = field(default_factory=lambda: BatchSize(1))

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        no_answer(images)

    def features(self, images: np.ndarray) -> np.ndarray:
        no_answer(images)


def no_answer(images: Any) -> NoReturn:
    """Raise StageError."""
    raise StageError("a plan has no model to ask; its stages take kept work alone.")
