"""What a stage is: one row that holds everything another room may know about it.

Importing a row loads no NumPy and no framework. `safeml.audits.NAME` measures; `safeml.pipeline` runs; `safeml.planning` plans.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, Literal, TypeVar

from safeml.results import Gate
from safeml.settings.base import Settings

NO_AUTHORITY = "No standard sets this limit; it is a starting point for you to own."
# A slice name that ends with a colon is the start of names that come from the data.
CLASSES, FAMILIES = "class:", "family:"
Head = Literal["classification", "regression"]
Resource = Literal["contract", "origin", "manifest", "surrogate"]


class StageTable(Settings):
    """What the table of every stage has."""

    enabled: bool = True


@dataclass(frozen=True)
class Declared:
    """One metric of a stage, as known before it runs.

    name: as in its `Metric`.
    direction: which way is better.
    low, high: range of its value.
    slices: exact names, or with a colon at the end the start of names from the data.
    counted: a complete count, so that its value can decide an equality.
    whole: it counts whole things.
    weak: why no gate may read it under these settings; "" where one may.
    weakest_of: the start of the slices whose worst value it is, or "".
    """

    name: str
    direction: Literal["up", "down"] = "up"
    low: float = 0.0
    high: float = 1.0
    slices: tuple[str, ...] = ("all",)
    counted: bool = False
    whole: bool = False
    weak: str = ""
    weakest_of: str = ""

    @property
    def is_share(self) -> bool:
        """Whether its value is a proportion."""
        return self.high == 1.0


def count(name: str, slices: tuple[str, ...] = ("all",), weak: str = "") -> Declared:
    """Declare a complete count of things of which fewer are better."""
    return Declared(name, "down", 0.0, math.inf, slices, counted=True, whole=True, weak=weak)


S = TypeVar("S", bound=StageTable)


@dataclass(frozen=True)
class Stage(Generic[S]):
    """One stage.

    name: of its table `[stages.NAME]`, its page NAME.html and its entries in the run folder.
    title: as the report writes it.
    summary: what it measures, for the table of stages.
    settings: its table.
    run: "module:function", (inputs, settings) -> `StageResult`, imported when it runs.
    records: settings -> the metrics that a gate may read.
    gates: written by `safeml init`.
    quick: the settings of the quick profile; the second argument holds the metric names that gates of this stage read.
    images: settings -> number of test images measured; None for all of them, 0 for none.
    needs: resources beside model and test data. Its result is reused only while they are unchanged.
    heads: the model outputs that it can measure.
    perfect: "module:name" of its `safeml.audits.perfect.Perfect`, with which a plan runs it without a model; "" where a plan
        cannot say anything.
    """

    name: str
    title: str
    summary: str
    settings: type[S]
    run: str
    records: Callable[[S], tuple[Declared, ...]]
    gates: tuple[Gate, ...] = ()
    quick: Callable[[S, frozenset[str]], S] = lambda settings, gated: settings
    images: Callable[[S], int | None] = lambda settings: None
    needs: tuple[Resource, ...] = ()
    heads: tuple[Head, ...] = ("classification",)
    perfect: str = ""


def load(path: str) -> Any:
    """Import the object that "module:name" names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def at_most(settings: S, **bounds: int) -> S:
    """Lower each of the named settings to its bound, where it is above."""
    return settings.model_copy(
        update={key: min(bound, getattr(settings, key)) for key, bound in bounds.items()}
    )
