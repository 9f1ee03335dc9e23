"""The records of a plan: plain, typed, serialisable. `safeml plan --json` prints a `Plan`, keys sorted."""

from __future__ import annotations

from typing import Literal

from safeml.results import DataIdentity, Finite, Gate, Metric, Record

GateState = Literal["provable", "depends", "waived", "not_provable", "fails", "missing"]


class Seconds(Record):
    """A range of wall time in seconds, valid for this machine and its present load."""

    low: Finite
    high: Finite


class StagePlan(Record):
    """The work of one stage. Counts are upper bounds: an attack stops at the first misclassified iterate of an image.

    state: `done`: stored in the run folder; `off`: disabled; `idle`: computes nothing (no manifest, no gradient).
    images, signs: measured images and sign tracks; signs None if clustering is unknown.
    forward_passes: images in passes without gradients.
    gradient_steps: images in passes with gradients.
    slices, slices_kept: pieces of work, and how many the run folder holds already (not counted otherwise).
    seconds: None if not timed.
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
    """The number of misclassified units with which a gate still passes.

    wrong, of: wholly misclassified `unit`s, and their total.
    value: the metric at that number.
    group: the group of all of them (`family:...`), or "" for any.
    """

    wrong: int
    of: int
    unit: Literal["sign", "image"]
    value: Finite
    group: str = ""


class GatePlan(Record):
    """The possible result of a gate on these images.

    state:
        provable      a model can pass it; `allowed`: number of permitted mistakes
        depends       unknown before the model is measured
        waived        a perfect model does not pass it, and a waiver covers it
        not_provable  too few sign tracks even for a perfect model; `needs_signs` in total suffice
        fails         it fails for every model
        missing       its evidence will be missing
    best: the metric of a perfect model.
    message: one sentence.
    needs_signs: sign tracks in total (of the weakest group for its metric); None if unknown.
    """

    gate: Gate
    state: GateState
    message: str
    best: Metric | None = None
    needs_signs: int | None = None
    allowed: Allowed | None = None


class TrainingPlan(Record):
    """A recipe to train before the audit.

    steps: batches per epoch.
    first_epoch: duration of the first epoch, validation included.
    """

    recipe: str
    epochs: int
    steps: int
    images: int
    seconds: Seconds | None = None
    first_epoch: Seconds | None = None
    note: str = ""


class Plan(Record):
    """The plan of `safeml audit` or `safeml run` with these settings.

    best_exit_code: best exit code of any model; 0 is a pass.
    sentence: the same in words.
    first: what `safeml run` does before the audit and the plan does not time, as a sentence; "" for nothing.
    opening: reading model and data.
    compiling: graphs, once per process.
    seconds: total, training included.
    workers: processors that share the slices of the stages; opening, compiling and training are not shared.
    folder: the run folder, "" for none.
    """

    schema_version: Literal[1] = 1
    title: str
    profile: str
    model: str
    data: DataIdentity
    best_exit_code: int
    sentence: str
    first: str = ""
    stages: list[StagePlan]
    gates: list[GatePlan]
    training: TrainingPlan | None = None
    opening: Seconds | None = None
    compiling: Seconds | None = None
    seconds: Seconds | None = None
    workers: int = 1
    folder: str = ""
    note: str = ""
