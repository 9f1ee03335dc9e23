"""The records of `safeml inspect`, for `--json` and the report page."""

from __future__ import annotations

from typing import Literal

from safeml.results import Finite, Metric, Record
from safeml.settings.model import InputSettings

Reason = Literal["", "same", "classes", "chance", "permutation"]


class ContractResult(Record):
    """The result of one contract.

    accuracy: on the images of its last round.
    drop: loss of accuracy relative to the best contract on the same images, at the level corrected for all comparisons;
        None for the best.
    kept: whether it was never significantly worse.
    reason: why it could not be measured.
    """

    name: str
    settings: InputSettings
    accuracy: Metric | None = None
    drop: Metric | None = None
    kept: bool = False
    reason: str = ""


class Permutation(Record):
    """The best assignment of outputs to classes, fitted on one half of the images and measured on the other.

    class_of_output: class id of each output.
    support: per output, number of images of the fitted half that support the assignment.
    thin: outputs with fewer than 3 such images.
    thin_classes: class ids of these outputs: their assignment rests on few images.
    as_given, permuted, gain: on the other half.
    runner_up: the second-best contract among those with permuted classes, or "".
    runner_up_permuted, runner_up_loss: its accuracy, and its loss relative to the best one on the same images.
    """

    contract: str
    as_given: Metric
    permuted: Metric
    gain: Metric
    class_of_output: tuple[int, ...]
    support: tuple[int, ...]
    thin: int
    thin_classes: tuple[int, ...] = ()
    runner_up: str = ""
    runner_up_permuted: Metric | None = None
    runner_up_loss: Metric | None = None


class Outcome(Record):
    """The decision and its evidence.

    chance: the larger of 1/K and the share of the most frequent class.
    same: names of the contracts that cannot be distinguished.
    tried: best first.
    rounds: images of each round.
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
    winner: ContractResult | None = None
    runner_up: ContractResult | None = None
    same: tuple[str, ...] = ()
    permutation: Permutation | None = None
    tried: tuple[ContractResult, ...] = ()
    not_tried: tuple[str, ...]
