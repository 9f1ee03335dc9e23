"""The records of a plan: plain, typed, serialisable. `safeml plan --json` prints a `Plan`, keys sorted."""

from __future__ import annotations

from typing import Literal

from safeml.results import DataIdentity, Finite, Gate, Metric, Record

GateState = Literal["provable", "depends", "waived", "not_provable", "fails", "missing"]


class Seconds(Record):
    """A range of wall time in seconds on this machine; another one, or a busy one, takes another time."""

    low: Finite
    high: Finite


class StagePlan(Record):
    """What one stage computes. Counts are upper bounds: an attack leaves an image at its first misclassified iterate.

    state: `done` is kept in the run folder whole; `off` is disabled; `idle` computes nothing (no manifest, no gradient).
    images, signs: what it is measured on; signs None where clustering is unknown.
    forward_passes: images answered without a gradient. gradient_steps: images answered with one.
    slices, slices_kept: pieces of its work, and how many of them the run folder holds already (not counted otherwise).
    seconds: None where nothing was timed.
    """

    stage: str
    title: str
    state: Literal["runs", "done", "off", "idle"]
    images: int = 0
    signs: Finite | None = None
    forward_passes: int = 0
    gradient_steps: int = 0
    slices: int = 0
    slices_kept: int = 0
    seconds: Seconds | None = None
    note: str = ""


class Allowed(Record):
    """How much may be wrong while a gate still passes.

    wrong, of: `unit`s that are wrong as a whole, and how many there are. value: the metric at that many.
    group: where they all lie (`family:...`), or "" for anywhere.
    """

    wrong: int
    of: int
    unit: Literal["sign", "image"]
    value: Finite
    group: str = ""


class GatePlan(Record):
    """What a gate can come to with these images.

    state:
        provable      a model can pass it; `allowed` says how much it may get wrong
        depends       nothing can be said before the model is measured
        waived        a perfect model does not pass it, and somebody answers for that
        not_provable  even a perfect model is not proven on so few signs; `needs_signs` in all would do
        fails         it fails whatever the model does
        missing       its evidence will be missing
    best: the metric of a perfect model. message: one sentence. needs_signs: in all (of the weakest group, where the
    metric is of that); None where no number is known.
    """

    gate: Gate
    state: GateState
    message: str
    best: Metric | None = None
    needs_signs: int | None = None
    allowed: Allowed | None = None


class TrainingPlan(Record):
    """A recipe that has to be trained first. steps: batches of one epoch. first_epoch: until it ends, validation included."""

    recipe: str
    epochs: int
    steps: int
    images: int
    seconds: Seconds | None = None
    first_epoch: Seconds | None = None
    note: str = ""


class Plan(Record):
    """What `safeml audit` (or `safeml run`) with these settings will do.

    best_exit_code: the best that any model can reach; 0 is a pass. sentence: the same in words.
    opening: until model and data are read. compiling: the graphs, once for each process. seconds: all of it, training included.
    folder: the run folder that was looked at, "" for none.
    """

    schema_version: Literal[1] = 1
    title: str
    profile: str
    model: str
    data: DataIdentity
    best_exit_code: int
    sentence: str
    stages: list[StagePlan]
    gates: list[GatePlan]
    training: TrainingPlan | None = None
    opening: Seconds | None = None
    compiling: Seconds | None = None
    seconds: Seconds | None = None
    folder: str = ""
    note: str = ""
