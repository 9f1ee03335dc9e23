"""The result of one stage."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from safeml.results.artefacts import Artefact
from safeml.results.base import MODEL, Record, StageName, SubjectName
from safeml.results.charts import Table
from safeml.results.figures import Figure
from safeml.results.metrics import Alarm, Finding, Metric
from safeml.results.pictures import Gallery


class Fact(Record):
    """One of the (at most five) facts at the head of a stage page."""

    label: str
    value: str
    detail: str = ""


class Card(Record):
    """A stage's card on the index: one number in words and the figure to draw small."""

    headline: str
    text: str
    figure_id: str = ""


class Provenance(Record):
    """What a stage's numbers belong to."""

    model: str
    data: str
    settings: dict[str, Any]
    seed: int
    key: str = ""


class StageResult(Record):
    """What one stage measured. `status` is about the stage itself, never about a limit.

    subject: what was measured, such as "model", "int8", "device" or "baseline".
    alarms: declared by the stage's row; raised or not is decided from `metrics`.
    artefacts: files that the stage handed over; drawing the report needs none of them.
    """

    stage: StageName
    subject: SubjectName = MODEL
    title: str
    status: Literal["ok", "error", "skipped"] = "ok"
    reason: str = ""
    tested: str = ""
    on_what: str = ""
    facts: list[Fact] = []
    metrics: list[Metric] = []
    alarms: list[Alarm] = []
    findings: list[Finding] = []
    figures: list[Figure] = []
    meaning: list[str] = []
    worst_cases: Gallery | None = None
    ledger: Table | None = None
    limits: list[str] = []
    not_tested: list[Fact] = []
    reproduce: list[str] = []
    artefacts: list[Artefact] = []
    card: Card | None = None
    provenance: Provenance | None = None

    @model_validator(mode="after")
    def _reason_given(self) -> StageResult:
        if self.status != "ok" and not self.reason:
            raise ValueError(f"stage {self.stage}: a stage that is {self.status} states its reason")
        return self

    @model_validator(mode="after")
    def _artefacts_once(self) -> StageResult:
        names = [artefact.name for artefact in self.artefacts]
        if len(set(names)) != len(names):
            raise ValueError(f"stage {self.stage}: an artefact of one name is recorded twice")
        return self
