"""What `safeml inspect` found, as plain records: `--json` prints them, the page is drawn from them."""

from __future__ import annotations

from typing import Literal

from safeml.results import Finite, Metric, Record
from safeml.settings.model import InputSettings

Reason = Literal["", "same", "classes", "chance", "permutation"]


class Tried(Record):
    """One contract that was tried.

    accuracy: on the images of the last round that it was in. drop: what the best contract's accuracy loses under this one,
    on the same images, at the level that is corrected for all comparisons; None for the best itself. kept: whether it was
    never significantly worse. reason: why it could not be measured.
    """

    name: str
    settings: InputSettings
    accuracy: Metric | None = None
    drop: Metric | None = None
    kept: bool = False
    reason: str = ""


class Permutation(Record):
    """The best assignment of outputs to classes, fitted on one half of the images and measured on the other.

    class_of_output: class id of each output. support: for each output, how many images of the fitted half speak for it.
    thin: outputs with fewer than 3 such images. as_given, permuted, gain: on the half that was not fitted.
    """

    contract: str
    as_given: Metric
    permuted: Metric
    gain: Metric
    class_of_output: tuple[int, ...]
    support: tuple[int, ...]
    thin: int


class Outcome(Record):
    """The decision and everything that it rests on.

    chance: the larger of 1/K and the share of the most frequent class. same: names of the contracts that cannot be told
    apart. tried: best first. rounds: images of each round that was run.
    """

    schema_version: Literal[1] = 1
    status: Literal["proposed", "cannot_tell"]
    reason: Reason = ""
    sentence: str
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    model: str
    model_fingerprint: str
    parameters: int
    input_shape: tuple[int | None, int | None, int | None]
    outputs: int
    data: str
    data_fingerprint: str
    pixels_fingerprint: str
    images: int
    classes: int
    seed: int
    rounds: tuple[int, ...] = ()
    chance: Finite | None = None
    winner: Tried | None = None
    runner_up: Tried | None = None
    same: tuple[str, ...] = ()
    permutation: Permutation | None = None
    tried: tuple[Tried, ...] = ()
    not_tried: tuple[str, ...]
