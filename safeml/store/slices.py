"""The stored slices of an unfinished stage: `work/STAGE/ITEM-KEY.npz`, each sealed under the key of everything it depends on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from safeml import interruption
from safeml.errors import StageError
from safeml.sealed import Arrays, Damaged, Form, fits, largest, seal, unseal
from safeml.store.files import content_key, keep, keep_folder
from safeml.work import FORWARD, ITEM, Cost, MeasuresAhead, Request, check_item

if TYPE_CHECKING:
    from safeml.store.journal import Journal

WORK = "work"
SLICE = re.compile(ITEM.pattern + r"-[0-9a-f]{24}\.npz")


class Elsewhere(Protocol):
    """What measures slices in other processes; see `safeml.scale.shards`."""

    def measure(
        self, work: StoredWork, requests: Sequence[Request], done: Callable[[int], None]
    ) -> dict[str, str]:
        """Measure and store `requests`; return those that raised an error, by file name, with the error.

        Raises StageError where the others cannot be measured.
        """
        ...


class StoredWork(MeasuresAhead):
    """A `Work` that stores the slices of one stage as long as `evidence` (JSON-able) is the same.

    elsewhere: measures announced slices in other processes; None: each slice is measured here when the stage asks for it.
    """

    def __init__(
        self, journal: Journal, stage: str, evidence: Mapping[str, Any], elsewhere: Elsewhere | None = None
    ) -> None:
        self.journal, self.stage, self.evidence, self.elsewhere = journal, stage, evidence, elsewhere
        self._read: dict[str, Arrays] = {}  # announced slices, until the stage asks for them
        self._failed: dict[str, str] = {}  # slices that raised an error elsewhere, by file name

    def __call__(
        self,
        item: str,
        parts: Mapping[str, Any],
        form: Form,
        measure: Callable[[], Arrays],
        cost: Cost = FORWARD,
    ) -> Arrays:
        """See `Work`."""
        check_item(item)
        request = Request(item, parts, form, measure, cost)
        key = self.key(request)
        arrays = self._read.pop(key, None)
        if arrays is None:
            arrays = self.read(request)
            if arrays is not None:
                self.journal.slices += 1
        return self.measured(request) if arrays is None else arrays

    def ahead(self, requests: Sequence[Request], done: Callable[[int], None]) -> None:
        """See `MeasuresAhead`. Without other processes, nothing is to be done ahead."""
        if self.elsewhere is None:
            return
        missing = []
        for request in requests:
            check_item(request.item)
            arrays = self.read(request)
            if arrays is None:
                missing.append(request)
            else:
                self.journal.slices += 1
                self._read[self.key(request)] = arrays
        count = len(requests) - len(missing)
        self._failed |= self.elsewhere.measure(self, missing, lambda finished: done(count + finished))

    def measured(self, request: Request) -> Arrays:
        """Measure a slice here and store it. What failed elsewhere fails here too, in the order of the stage, or is noted."""
        interruption.check()
        arrays = request.measure()
        path = self.path(request)
        if path.name in self._failed:
            self.journal.note(path, self._failed.pop(path.name))
        if fits(arrays, request.form):  # the caller refuses other arrays
            self.store(request, seal(self.key(request), arrays))
        return arrays

    def key(self, request: Request) -> str:
        """Return the hash of all inputs of a slice."""
        return content_key(
            {"evidence": self.evidence, "stage": self.stage, "item": request.item, "parts": request.parts}
        )

    @property
    def folder(self) -> Path:
        """Return the folder of the stage's slices."""
        return self.journal.folder / WORK / self.stage

    def path(self, request: Request) -> Path:
        """Return the file of a slice."""
        return self.folder / f"{request.item}-{self.key(request)[:24]}.npz"

    def read(self, request: Request) -> Arrays | None:
        """Read a slice; None, with a note where there was a file, if it cannot be used."""
        path = self.path(request)
        raw = self.journal.read(path, largest(request.form))
        if raw is None:
            return None
        try:
            return unseal(raw, self.key(request), request.form)
        except Damaged as error:
            self.journal.note(path, str(error))
            return None

    def store(self, request: Request, sealed: bytes) -> None:
        """Write a sealed slice in one step."""
        path = self.path(request)
        keep_folder(path.parent)
        keep(path, sealed)

    def accept(self, request: Request, sealed: bytes) -> None:
        """Check a slice that another process sealed, and hold it for the stage. Raises StageError with the reason."""
        try:
            if len(sealed) > largest(request.form):
                raise Damaged("is larger than a slice of this kind")
            self._read[self.key(request)] = unseal(sealed, self.key(request), request.form)
        except Damaged as error:
            raise StageError(str(error)) from None
