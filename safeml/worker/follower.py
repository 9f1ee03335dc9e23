"""Runs the code of a stage in a thread, up to the slice that is asked for.

Slices depend on earlier ones: an attack gets the survivors of the attacks before it. A worker therefore runs the same stage code as
the client. It reads the slices that are stored, stops where a slice is missing, and measures there what the client asks for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Literal

from safeml.errors import first_line
from safeml.sealed import Arrays, Form, seal
from safeml.store.slices import StoredWork
from safeml.work import FORWARD, Cost, MeasuresAhead, Request, Work


@dataclass(frozen=True)
class Answer:
    """What became of one slice.

    kind:
        stored   `sealed` is in the worker's folder
        missing  an earlier slice is not stored
        failed   measuring it raised an error
        ended    the stage ended without it
    """

    kind: Literal["stored", "missing", "failed", "ended"]
    sealed: bytes = b""
    reason: str = ""


class _Abandoned(BaseException):
    """Ends the thread of a stage; no `Exception`, which the stage may handle."""


class Follower(MeasuresAhead):
    """One stage, up to the slices that are asked for.

    run: measures the stage with a `Work`; its result is not used.
    store: the slices of the stage.
    """

    def __init__(self, run: Callable[[Work], object], store: StoredWork) -> None:
        self.stage, self._run, self.store = store.stage, run, store
        self._asked: SimpleQueue[str | None] = SimpleQueue()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._target = ""  # the slice that is asked for, and not answered yet
        self._passed: set[str] = set()  # slices that the stage has read and left behind
        self._read: dict[str, Arrays] = {}  # announced slices, until the stage asks for them
        self._thread = threading.Thread(target=self._follow, name=f"safeml {self.stage}", daemon=True)
        self._thread.start()

    def measure(self, name: str) -> Answer:
        """Measure and store the slice with this file name, or say why not."""
        self._asked.put(name)
        return self._answers.get()

    def end(self) -> None:
        """End the thread; it must not be measuring."""
        self._asked.put(None)
        self._thread.join()

    def __call__(
        self,
        item: str,
        parts: Mapping[str, Any],
        form: Form,
        measure: Callable[[], Arrays],
        cost: Cost = FORWARD,
    ) -> Arrays:
        """Read a stored slice; one that was not announced is measured by the client."""
        request = Request(item, parts, form, measure, cost)
        held = self._read.pop(self.store.path(request).name, None)
        if held is not None:
            return held
        while (arrays := self.store.read(request)) is None:
            if self._target:
                self._lacks(self.store.path(request).name)
            self._target = self._next()
        return arrays

    def ahead(self, requests: Sequence[Request], done: Callable[[int], None]) -> None:
        """Measure what is asked for among `requests`, until a later slice is asked for and all of them are stored."""
        named = {self.store.path(request).name: request for request in requests}
        while True:
            self._target = self._target or self._next()
            if self._target in named:
                self._answer(self._measured(named[self._target]))
                continue
            for name in [name for name in named if name not in self._read]:
                if (arrays := self.store.read(named[name])) is not None:
                    self._read[name] = arrays
            absent = [name for name in named if name not in self._read]
            if not absent and self._target not in self._passed:
                self._passed.update(named)
                return
            self._lacks(absent[0] if absent else "")

    def _lacks(self, name: str) -> None:
        """Answer that the slice `name` must be stored first, or that the stage is past the one that is asked for."""
        passed = self._target in self._passed
        self._answer(
            Answer("ended", reason="the stage is past it")
            if passed
            else Answer("missing", reason=f"lacks {name}")
        )

    def _measured(self, request: Request) -> Answer:
        try:
            arrays = self.store.read(request)
            if arrays is None:
                arrays = request.measure()
                self.store.store(request, seal(self.store.key(request), arrays))
        except Exception as error:
            return Answer("failed", reason=first_line(error))
        return Answer("stored", seal(self.store.key(request), arrays))

    def _follow(self) -> None:
        reason = "the stage ended without this slice"
        try:
            self._run(self)
        except _Abandoned:
            return
        except BaseException as error:
            reason = f"the stage ended without this slice ({type(error).__name__}: {first_line(error)})"
        if self._target:
            self._answer(Answer("ended", reason=reason))
        while self._asked.get() is not None:
            self._answers.put(Answer("ended", reason=reason))

    def _next(self) -> str:
        name = self._asked.get()
        if name is None:
            raise _Abandoned
        return name

    def _answer(self, answer: Answer) -> None:
        self._target = ""
        self._answers.put(answer)
