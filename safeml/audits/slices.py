"""Slices of a stage's images: each is measured, stored at once, and concatenated in order.

The slicing depends on the settings alone, never on the results of an earlier run, so an interrupted run and an
uninterrupted one compute the same batches and the same bytes.
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
from safeml.work import FORWARD, Cost, Request, Work, announce

BATCHES = "batches"


@dataclass(eq=False)
class Slices:
    """The items of one stage, measured in slices.

    size: images per slice.
    batches: batch sizes by name; each is halved when memory runs out.
    """

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
        """Measure the arrays of `form` (types, and shapes of one image's row) slice by slice, one row per image.

        columns: arrays of N rows; a slice depends on the content of its rows. With the ids among them, all slices differ.
        parts: all other inputs of `compute`, JSON-able.
        progress: receives the number of finished images.
        cost: per image.
        Raises StageError if `compute` returns other arrays.
        """
        done: list[Arrays] = []
        [count] = {len(column) for column in columns.values()}
        cuts = [slice(start, min(start + self.size, count)) for start in range(0, count, self.size)]
        requests = [self._request(item, columns, parts, form, rows, compute, cost) for rows in cuts]
        announce(self.work, requests, lambda finished: progress(min(finished * self.size, count)))
        for rows, request in zip(cuts, requests, strict=True):
            progress(rows.start)
            done.append(self._slice(request))
        progress(count)
        return {name: np.concatenate([arrays[name] for arrays in done]) for name in form}

    def halved(self) -> list[Finding]:
        """Report batches that were halved for lack of memory, in this run or in the one that stored the slices."""
        return [
            Finding(
                code="batch-halved",
                severity="warning",
                message=f"A batch of {counted(batch.first, 'image')} did not fit in memory ({name}); "
                f"the batch size was reduced to {counted(int(least), 'image')}, which changes only the last digits.",
                remedy="No action needed; a machine with more memory is faster.",
                evidence={"from": batch.first, "to": int(least), "batch": name},
            )
            for (name, batch), least in zip(self.batches.items(), self._smallest, strict=True)
            if least < batch.first
        ]

    def _request(
        self,
        item: str,
        columns: Mapping[str, np.ndarray],
        parts: Mapping[str, Any],
        form: Form,
        rows: slice,
        compute: Callable[[slice], Arrays],
        cost: Cost,
    ) -> Request:
        inputs = {**parts, "columns": _content(columns, rows)}
        if "ids" in columns:
            inputs["ids"] = columns["ids"][rows].tolist()
        whole = {name: (kind, (rows.stop - rows.start, *shape)) for name, (kind, shape) in form.items()}
        whole[BATCHES] = ("int64", (len(self.batches),))

        def measured() -> Arrays:
            arrays = {**compute(rows), BATCHES: self._sizes()}
            if not fits(arrays, whole):
                raise StageError(f"{item}: {_difference(arrays, whole)}.")
            return arrays

        return Request(item, inputs, whole, measured, cost)

    def _slice(self, request: Request) -> Arrays:
        arrays = self.work(request.item, request.parts, request.form, request.measure, request.cost)
        self._smallest = np.minimum(self._smallest, arrays[BATCHES])
        return arrays

    def _sizes(self) -> np.ndarray:
        return np.array([batch.size for batch in self.batches.values()], np.int64)


def numbers(data: ImageDataset) -> np.ndarray:
    """Return a number per image, int64 [N]: its id in the source, else its position."""
    return np.arange(len(data)) if data.ids is None else data.ids


def _content(columns: Mapping[str, np.ndarray], rows: slice) -> str:
    """Return the sha256 of the rows of a slice in every column."""
    digest = hashlib.sha256()
    for name in sorted(columns):
        part = np.ascontiguousarray(columns[name][rows])
        digest.update(f"{name}\0{part.dtype.str}\0{part.shape}\0".encode() + part.tobytes())
    return digest.hexdigest()


def _difference(arrays: Arrays, form: Form) -> str:
    name = next(name for name in {**form, **arrays} if not fits({name: arrays[name]}, {name: form[name]}))
    kind, shape = form[name]
    return f"{name} is {arrays[name].dtype} {list(arrays[name].shape)}; expected {kind} {list(shape)}"
