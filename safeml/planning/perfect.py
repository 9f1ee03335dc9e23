"""A `Work` that returns the arrays of a model with known predictions: a stage computes its metrics without a framework.

Legend: N images, M images of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safeml.audits.perfect import Call, Maker, Request, Simulated
from safeml.audits.slices import BATCHES
from safeml.errors import StageError
from safeml.sealed import Arrays, Form
from safeml.work import FORWARD, Cost

# Larger than any batch: batches that were never halved.
NEVER_HALVED = 1 << 40


@dataclass(eq=False)
class PerfectWork:
    """A `Work` for one stage and one simulated model.

    stage_arrays: the stage's arrays of a slice by name, see `Perfect.arrays`; None for a stage without arrays.
    numbers: int [N], see `slices.numbers`.
    calls: the requests, in order.
    """

    model: Simulated
    stage_arrays: Callable[[Simulated, Request], Mapping[str, Maker]] | None
    numbers: np.ndarray
    calls: list[Call] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def __call__(
        self,
        item: str,
        parts: Mapping[str, Any],
        form: Form,
        measure: Callable[[], Arrays],
        cost: Cost = FORWARD,
    ) -> Arrays:
        """See `Work`. Raises StageError for an array that the stage does not define."""
        self.calls.append(Call(item, images_of(form), cost))
        return self.arrays(item, parts, form)

    def arrays(self, item: str, parts: Mapping[str, Any], form: Form) -> Arrays:
        """Return the arrays of `form`, [M, ...] of the next M images of the item."""
        request = Request(item, parts, self._rows(item, parts, images_of(form)))
        makers = dict(self.stage_arrays(self.model, request)) if self.stage_arrays is not None else {}
        makers[BATCHES] = lambda shape: np.full(shape, NEVER_HALVED, np.int64)
        unknown = [name for name in form if name not in makers]
        if unknown:
            raise StageError(f"{item}: the value of {unknown[0]} for a perfect model is not known.")
        return {name: makers[name](shape) for name, (_, shape) in form.items()}

    def _rows(self, item: str, parts: Mapping[str, Any], count: int) -> np.ndarray:
        """Return the images of a slice, if the stage names them; else the next ones. Images of another split are not among them."""
        if "ids" not in parts or not np.isin(parts["ids"], self.numbers).all():
            return self._next(item, count)
        order = np.argsort(self.numbers)
        rows: np.ndarray = order[np.searchsorted(self.numbers, parts["ids"], sorter=order)]
        return rows

    def _next(self, item: str, count: int) -> np.ndarray:
        """Return the rows of the next slice; a stage requests the images of an item in order, possibly more than once."""
        start = self._places.get(item, 0) % len(self.model.answers)
        self._places[item] = start + count
        return np.arange(start, start + count) % len(self.model.answers)


def images_of(form: Form) -> int:
    """Return how many images a slice of this form has."""
    return max(shape[0] for name, (_, shape) in form.items() if name != BATCHES)
