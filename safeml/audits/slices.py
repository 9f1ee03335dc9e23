"""A stage's images in slices: each is measured whole, kept at once, and joined with the others in their order.

How the images are cut depends on the settings alone, never on what an earlier run has left, so that an interrupted run and an
uninterrupted one compute the same batches and come to the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from safeml.classifiers.batches import BatchSize
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.results import Finding
from safeml.sealed import Arrays, Form, fits
from safeml.wording import counted
from safeml.work import FORWARD, Cost, Work

BATCHES = "batches"


@dataclass(eq=False)
class Slices:
    """Measures the items of one stage. size: images in a slice. batches: what is halved when memory runs out, by its name."""

    work: Work
    size: int
    batches: dict[str, BatchSize]

    def __post_init__(self) -> None:
        self._smallest = self._sizes()

    def measure(
        self,
        item: str,
        columns: Mapping[str, np.ndarray],
        parts: Mapping[str, Any],
        form: Form,
        compute: Callable[[slice], Arrays],
        progress: Callable[[int], None] = lambda done: None,
        cost: Cost = FORWARD,
    ) -> Arrays:
        """The arrays of `form` (types, and shapes of one image's row), one row an image, slice by slice.

        columns: arrays of N rows, from which `compute` takes the rows of a slice: their content is what the slice depends on.
        With the images' ids among them, no two slices are the same. parts: what else `compute` depends on, JSON-able.
        progress: gets the number of images that are done. cost: for each image. Raises StageError where `compute` gives other arrays.
        """
        done: list[Arrays] = []
        [count] = {len(column) for column in columns.values()}
        for start in range(0, count, self.size):
            progress(start)
            rows = slice(start, min(start + self.size, count))
            whole = {**parts, "columns": _content(columns, rows)}
            if "ids" in columns:
                whole["ids"] = columns["ids"][rows].tolist()
            done.append(self._slice(item, whole, form, rows, compute, cost))
        progress(count)
        return {name: np.concatenate([arrays[name] for arrays in done]) for name in form}

    def halved(self) -> list[Finding]:
        """What was computed in smaller batches than it was asked for, here or in the run that the slices were kept from."""
        return [
            Finding(
                code="batch-halved",
                severity="warning",
                message=f"Memory did not suffice for {counted(batch.first, 'image')} at a time ({name}); "
                f"{counted(int(least), 'image')} at a time were computed instead, which changes no more than the last digits.",
                remedy="Nothing needs to be done; on a machine with more memory the run is faster.",
                evidence={"from": batch.first, "to": int(least), "batch": name},
            )
            for (name, batch), least in zip(self.batches.items(), self._smallest, strict=True)
            if least < batch.first
        ]

    def _slice(
        self,
        item: str,
        parts: Mapping[str, Any],
        form: Form,
        rows: slice,
        compute: Callable[[slice], Arrays],
        cost: Cost,
    ) -> Arrays:
        whole = {name: (kind, (rows.stop - rows.start, *shape)) for name, (kind, shape) in form.items()}
        whole[BATCHES] = ("int64", (len(self.batches),))

        def measured() -> Arrays:
            arrays = {**compute(rows), BATCHES: self._sizes()}
            if not fits(arrays, whole):
                raise StageError(f"{item}: {_difference(arrays, whole)}.")
            return arrays

        arrays = self.work(item, parts, whole, measured, cost)
        self._smallest = np.minimum(self._smallest, arrays[BATCHES])
        return arrays

    def _sizes(self) -> np.ndarray:
        return np.array([batch.size for batch in self.batches.values()], np.int64)


def numbers(data: ImageDataset) -> np.ndarray:
    """int64 [N], a number for each image: its own in its source, or else its place."""
    return np.arange(len(data)) if data.ids is None else data.ids


def _content(columns: Mapping[str, np.ndarray], rows: slice) -> str:
    """sha256 of the rows of a slice in every column."""
    digest = hashlib.sha256()
    for name in sorted(columns):
        part = np.ascontiguousarray(columns[name][rows])
        digest.update(f"{name}\0{part.dtype.str}\0{part.shape}\0".encode() + part.tobytes())
    return digest.hexdigest()


def _difference(arrays: Arrays, form: Form) -> str:
    name = next(name for name in {**form, **arrays} if not fits({name: arrays[name]}, {name: form[name]}))
    kind, shape = form[name]
    return f"{name} came as {arrays[name].dtype} {list(arrays[name].shape)}; expected {kind} {list(shape)}"
