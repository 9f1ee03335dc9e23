"""One run: the identity of model and data, and everything that belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import model_validator

from safeml.results.base import Finite, Proportion, Record
from safeml.results.decision import Accepted, Gate, Loosened, Requirement, Verdict
from safeml.results.stage import StageResult


class ModelScan(Record):
    """Result of the static scan of a model file. Inconclusive is never treated as accepted.

    format: in words, as found by content. facts: what was counted in it. sha256, bytes: of the file (of a folder: of the
    sorted list of its files' hashes, and their sum). chosen: why this file of its folder. reason: one sentence where the file is not accepted.
    """

    status: Literal["accepted", "refused", "inconclusive"]
    path: str
    chosen: str = ""
    format: str
    sha256: str
    bytes: int
    facts: dict[str, int | str] = {}
    reason: str = ""
    scanner: int


class ModelOrigin(Record):
    """How a model file was opened: scanned, and loaded first in a process with limits.

    network: how the first load was kept from the network. confined: whether it was
    kept from all files but its own. safeml_trained: a manifest of
    `safeml train` names this file.
    """

    scan: ModelScan
    network: str
    confined: bool = False
    memory_limit: int
    seconds_limit: int
    safeml_trained: bool = False


class GradientsIdentity(Record):
    """The model that gives the gradients of a file without gradients, and how the two were compared.

    images: test images on which both predicted.
    agreement: share of them with the same predicted class, 0..1; None for a regression, which has no classes.
    difference: root mean square of the difference of the logits, as a share of their size.
    largest: largest difference of a logit.
    """

    name: str
    fingerprint: str
    images: int
    agreement: Proportion | None
    difference: Finite
    largest: Finite


class ModelIdentity(Record):
    """The model under test. gradients: of a file without gradients; None where it has its own, or none."""

    name: str
    fingerprint: str
    input: dict[str, Any]
    parameters: int
    notes: list[str] = []
    gradients: GradientsIdentity | None = None


class DataIdentity(Record):
    """The data of a role. notes: what is read differently from Keras, or left out, one sentence each."""

    role: Literal["test", "train", "valid"]
    name: str
    fingerprint: str
    images: int
    classes: int
    signs: Finite | None = None
    clustering: str = "unknown"
    notes: list[str] = []


def test_data_of(data: Sequence[DataIdentity]) -> DataIdentity | None:
    """Return the data in the role "test"."""
    return next((entry for entry in data if entry.role == "test"), None)


class CardText(Record):
    """What a model card says that no measurement can: `[card]` of the settings.

    license: SPDX identifier of the model.
    intended_use, out_of_scope: what the model is for, and what it is not for.
    training_data: where the training images are from, and their licence.
    contact: who answers questions.
    """

    license: str = ""
    intended_use: str = ""
    out_of_scope: str = ""
    training_data: str = ""
    contact: str = ""


class Run(Record):
    """Everything about one run that a second run of the same thing repeats to the byte.

    Times, durations and the machine live in `RunTimes`, in a separate file.

    accept_quick: the user accepts that the quick profile decides.
    accepted: measurements that an owner accepts without a gate.
    requirements: what the gates are there for.
    card: what the model card says beside the measurements.
    loosened: gates of an earlier run of the folder, or of a baseline, that are looser now.
    """

    schema_version: Literal[1] = 1
    safeml_version: str
    title: str = "Safety report"
    responsible: str = ""
    profile: str = "full"
    accept_quick: bool = False
    model: ModelIdentity
    data: list[DataIdentity]
    stages: list[StageResult]
    gates: list[Gate]
    accepted: list[Accepted] = []
    requirements: list[Requirement] = []
    card: CardText = CardText()
    loosened: list[Loosened] = []
    verdict: Verdict
    versions: dict[str, str]
    configuration: dict[str, Any]
    command: list[str] = []

    @model_validator(mode="after")
    def _each_once(self) -> Run:
        stages = [(stage.subject, stage.stage) for stage in self.stages]
        for what, names in (("a stage", stages), ("data", [entry.role for entry in self.data])):
            if len(set(names)) != len(names):
                raise ValueError(f"{what} of one name is recorded twice")
        return self

    @property
    def test_data(self) -> DataIdentity | None:
        """The data that the verdict is computed on; None for a run of training alone."""
        return test_data_of(self.data)
