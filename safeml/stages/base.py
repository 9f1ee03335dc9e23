"""A stage as one row: everything that another package may know about it.

Importing a row loads no NumPy and no framework. `safeml.audits.NAME` measures; `safeml.pipeline` runs; `safeml.planning` plans.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, Literal, TypeVar

from safeml.results import LOSS, Alarm, Gate
from safeml.settings.base import Settings
from safeml.settings.model import Head

NO_AUTHORITY = "No standard sets this limit; it is a starting point for you to adapt."
# A slice name that ends with a colon is a prefix of names from the data.
CLASSES, FAMILIES = "class:", "family:"
# A group of a column of the user, of a condition that is measured on the images, and a whole column.
GROUPS, CONDITIONS, COLUMNS = "group:", "condition:", "column:"
# One target of a regression.
TARGETS = "target:"
# An alarm's usual level: the model is incorrect more often than correct. No standard sets it.
HALF = 0.5
Resource = Literal[
    "contract", "origin", "manifest", "surrogate", "reference", "quantization", "export", "ood", "targets"
]


class StageTable(Settings):
    """The settings of every stage.

    enabled: run the stage; a gate on a stage that does not run is missing evidence.
    """

    enabled: bool = True


@dataclass(frozen=True)
class Declared:
    """A metric of a stage, as declared before it runs.

    name: as in its `Metric`.
    direction: which way is better.
    low, high: range of its value.
    slices: exact names, or with a colon at the end a prefix of names from the data.
    counted: a complete count, whose value can decide an equality.
    whole: a whole number.
    weak: why no gate may read it under these settings; "" if one may.
    context: why neither a gate of `safeml init` nor an alarm reads it, such as the metric that speaks for it; "" if one does.
    weakest_of: the prefix, or prefixes, of the slices whose worst value or largest difference it is, or "".
    least_signs: smaller slices are left out of the worst, unless all are smaller.
    requires: the setting without which it is not recorded; "" if it always is.
    plain: a number that is no proportion, although its highest value is 1, such as a correlation.
    paired: the ledger of the stage has it image by image, so that its loss against a baseline can be measured.
    """

    name: str
    direction: Literal["up", "down"] = "up"
    low: float = 0.0
    high: float = 1.0
    slices: tuple[str, ...] = ("all",)
    counted: bool = False
    whole: bool = False
    weak: str = ""
    context: str = ""
    weakest_of: str | tuple[str, ...] = ""
    least_signs: int = 0
    paired: bool = False
    requires: str = ""
    plain: bool = False

    @property
    def is_share(self) -> bool:
        """Return whether its value is a proportion."""
        return self.high == 1.0 and not self.plain


def count(name: str, slices: tuple[str, ...] = ("all",), weak: str = "", context: str = "") -> Declared:
    """Declare a complete count; lower is better."""
    return Declared(name, "down", 0.0, math.inf, slices, counted=True, whole=True, weak=weak, context=context)


def losses(records: tuple[Declared, ...]) -> tuple[Declared, ...]:
    """Declare the loss against a baseline of each metric that a stage records image by image, -1 to 1."""
    return tuple(
        Declared(f"{LOSS}{row.name}", "down", -1.0, 1.0, weak=row.weak) for row in records if row.paired
    )


S = TypeVar("S", bound=StageTable)


@dataclass(frozen=True)
class Stage(Generic[S]):
    """A stage.

    name: of its table `[stages.NAME]`, its page NAME.html and its entries in the run folder.
    title: in the report.
    summary: its measurements, for the table of stages.
    settings: its table.
    run: "module:function", (inputs, settings) -> `StageResult`, imported when it runs.
    records: settings -> the metrics that a gate may read.
    gates: written by `safeml init`.
    alarms: settings -> the levels beyond which a metric may not stay without a gate or an owner. For a stage without
        default gates `safeml init` writes an accepted entry without an owner for each metric with an alarm.
    alarms_expected: whether most models raise the alarms. Without it and without default gates, `safeml init` writes no entries:
        the alarms wait until they are raised.
    standard: the settings of the standard profile, which takes fewer images and changes nothing else; arguments as of quick.
    quick: the settings of the quick profile; the second argument holds the metric names that gates of this stage read.
    images: settings -> number of test images measured; None for all of them, 0 for none.
    needs: resources beside model and test data. Its result is reused only while they are unchanged.
    only_with: the resource without which it has nothing to measure. Where that is absent, the stage is not part of the run,
        unless a gate or an accepted entry names it: then it is skipped, and its gates are missing evidence. None for a stage
        of every run.
    heads: the model outputs that it supports; for a model with another one it is skipped, and its gates are missing evidence.
    perfect: "module:name" of its `safeml.audits.perfect.Perfect`, with which a plan runs it without a model; "" if a plan
        cannot.
    unsuited: (metric, class names of the data, whether they have costs) -> why `safeml init` writes no gate on the metric,
        although it is measured; "" to write it.
    """

    name: str
    title: str
    summary: str
    settings: type[S]
    run: str
    records: Callable[[S], tuple[Declared, ...]]
    gates: tuple[Gate, ...] = ()
    alarms: Callable[[S], tuple[Alarm, ...]] = lambda settings: ()
    alarms_expected: bool = True
    standard: Callable[[S, frozenset[str]], S] = lambda settings, gated: settings
    quick: Callable[[S, frozenset[str]], S] = lambda settings, gated: settings
    images: Callable[[S], int | None] = lambda settings: None
    needs: tuple[Resource, ...] = ()
    only_with: Resource | None = None
    heads: tuple[Head, ...] = ("classification",)
    perfect: str = ""
    unsuited: Callable[[str, tuple[str, ...], bool], str] = lambda metric, class_names, costs: ""


def load(path: str) -> Any:
    """Import the object "module:name"."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def at_most(settings: S, **bounds: int) -> S:
    """Reduce each of these settings to its bound."""
    return settings.model_copy(
        update={key: min(bound, getattr(settings, key)) for key, bound in bounds.items()}
    )
