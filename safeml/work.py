"""How a stage reports its progress and keeps its arrays; a leaf that audits, the store, the commands and the plan share."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from safeml.sealed import Arrays, Form

ITEM = re.compile(r"[a-z0-9][a-z0-9_.-]{0,80}")  # the name of a piece of stored work
Progress = Callable[[str, int, int], None]


class Phase(str):
    """A step that a user waits for as a whole, such as a stage; the steps that follow it are its parts."""

    __slots__ = ()


def silent(step: str, done: int, total: int) -> None:
    """Show nothing: a progress callback. step: in words. done, total: how many of how many."""


@dataclass(frozen=True)
class Cost:
    """What a slice costs per image. The stage that asks for the slice states it; a plan adds it up.

    steps: steps of an attack, over all attempts; 0 for forward passes alone.
    attempts: restarts or targets among them.
    gradient: each step takes a gradient, not only a forward pass.
    graph: what is compiled and timed for the attack: its norm, with a prefix where it runs on another model.
    passes: forward passes, where there are no steps: one for each form of the image.
    """

    steps: int = 0
    attempts: int = 0
    gradient: bool = True
    graph: str = ""
    passes: int = 1


FORWARD = Cost()
SURROGATE_GRAPH = "surrogate "  # prefix of `Cost.graph` for an attack that runs on the surrogate


class Work(Protocol):
    """Where a stage's arrays are stored while it is measured, so that an interrupted run resumes there."""

    def __call__(
        self,
        item: str,
        parts: Mapping[str, Any],
        form: Form,
        measure: Callable[[], Arrays],
        cost: Cost = FORWARD,
    ) -> Arrays:
        """Return the arrays of one slice of one item: the stored ones, or else those of `measure()`.

        item: a name of small letters, digits, `_`, `.` and `-`.
        parts: what the arrays depend on beside the stage's model, data and seed; JSON-able.
        form: names, dtypes and shapes of the arrays that `measure` returns.
        cost: for each image of the slice.
        """
        ...


@dataclass(frozen=True, eq=False)
class Request:
    """One slice of one item, as a stage asks a `Work` for it; the fields are the arguments of `Work.__call__`."""

    item: str
    parts: Mapping[str, Any]
    form: Form
    measure: Callable[[], Arrays]
    cost: Cost = FORWARD


class MeasuresAhead(ABC):
    """A `Work` that can measure several slices at the same time, in other processes.

    A stage first announces all slices of an item, and then asks for each of them in order. The announcement changes no number.
    """

    @abstractmethod
    def ahead(self, requests: Sequence[Request], done: Callable[[int], None]) -> None:
        """Measure and store all of `requests`. done: receives how many of them are finished."""

    @abstractmethod
    def __call__(
        self,
        item: str,
        parts: Mapping[str, Any],
        form: Form,
        measure: Callable[[], Arrays],
        cost: Cost = FORWARD,
    ) -> Arrays:
        """See `Work`."""


def announce(
    work: Work, requests: Sequence[Request], done: Callable[[int], None] = lambda done: None
) -> None:
    """Let a `Work` that measures in other processes measure all of `requests`, which must not depend on each other."""
    if isinstance(work, MeasuresAhead):
        work.ahead(requests, done)


def keep_nothing(
    item: str, parts: Mapping[str, Any], form: Form, measure: Callable[[], Arrays], cost: Cost = FORWARD
) -> Arrays:
    """Measure and store nothing: a `Work`."""
    check_item(item)
    return measure()


def check_item(item: str) -> None:
    """Raise ValueError for a name that is no name of stored work; also where nothing is stored, so that a test notices."""
    if not ITEM.fullmatch(item):
        raise ValueError(f"{item} is not a valid item name")
