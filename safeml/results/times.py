"""When and where a run happened, and what it took over: never part of the evidence."""

from __future__ import annotations

from safeml.results.base import Finite, Record


class Recomputed(Record):
    """An entry of the run folder that was there and could not be used. reason: a clause, such as "is damaged"."""

    entry: str
    reason: str


class Resume(Record):
    """What a run took over from earlier runs of its folder.

    stages: read back whole. slices: of other stages, read back. recomputed: entries that were measured again.
    interrupted: an earlier run of the folder did not finish; began: when it started (ISO, UTC), where that is known.
    """

    stages: list[str] = []
    slices: int = 0
    recomputed: list[Recomputed] = []
    interrupted: bool = False
    began: str = ""


class RunTimes(Record):
    """When and where a run happened (`run.json`); never part of the evidence.

    seconds: of each stage when it was measured, also where this run read it back.
    """

    started: str
    finished: str
    seconds: dict[str, Finite] = {}
    hardware: dict[str, str] = {}
    model_file_sha256: str = ""
    code_commit: str = ""
    notes: list[str] = []
    resume: Resume = Resume()
