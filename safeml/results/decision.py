"""Gates, what an owner accepts, and the verdict."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from safeml.results.base import MODEL, Finite, Record, StageName, SubjectName
from safeml.results.metrics import Metric


def _as_text(value: Any) -> Any:
    """TOML knows dates without quotes: `until = 2027-01-31` is what it says."""
    return value.isoformat() if type(value) is date else value


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank; expected a name or a reason")
    return text


def _a_day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"is {text}, which is not a valid date; expected a day such as 2027-01-31") from None
    return text


class Waiver(Record):
    """An accepted failed or open gate.

    owner: who accepts it.
    reason: why.
    until: the last day, as YYYY-MM-DD (UTC).
    """

    model_config = ConfigDict(strict=True)

    owner: Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
    reason: Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
    until: Annotated[
        str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), BeforeValidator(_as_text), AfterValidator(_a_day)
    ]


class Accepted(Record):
    """A measurement that its owner accepts without a gate.

    stage, metric, slice: what is accepted; without a metric, all that the stage measures and no gate reads.
    reason: why no gate reads it.
    owner: who accepts it; while it is empty, the verdict is not proven.
    """

    model_config = ConfigDict(strict=True)

    stage: StageName
    metric: str = ""
    slice: str = "all"
    reason: Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
    owner: Annotated[str, AfterValidator(str.strip)] = ""


class Gate(Record):
    """One requirement: the pessimistic end of the metric's interval against a limit.

    id: small letters, digits, dots, hyphens and underscores; unique.
    title: in the report; by default that of the metric.
    subject: whose metric is read, as in `StageResult`.
    stage, metric, slice: what is read.
    op: the model passes where the whole interval is on this side of the threshold; == only for complete counts.
    threshold: in the unit of the metric.
    min_n: with fewer images, the gate is not proven.
    rationale: why this limit; the report states it.
    owner: who set it.
    """

    model_config = ConfigDict(strict=True)  # a limit of "0.9" is no number

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=80)
    title: str = ""
    subject: SubjectName = MODEL
    stage: str
    metric: str
    slice: str = "all"
    op: Literal[">=", "<=", "=="]
    threshold: Finite
    min_n: int = Field(default=1, ge=1)
    rationale: str = ""
    owner: str = ""
    waiver: Waiver | None = None


class Requirement(Record):
    """What the model must do, in the words of its owner, with the gates that verify it.

    id: letters, digits, dots, hyphens and underscores; unique.
    text: the requirement.
    rationale: why it is required, and where it comes from.
    owner: who answers for it.
    gates: ids of the gates that verify it; a gate may verify several requirements.
    elsewhere: where its evidence is, if no gate of these settings verifies it; it needs an owner.
    """

    model_config = ConfigDict(strict=True)

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)
    text: Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
    rationale: str = ""
    owner: Annotated[str, AfterValidator(str.strip)] = ""
    gates: list[str] = []
    elsewhere: Annotated[str, AfterValidator(str.strip)] = ""


GateStatus = Literal["pass", "fail", "not_proven", "error", "skipped", "waived"]


class GateResult(Record):
    """A gate's decision. `message` is one sentence; `needs_signs`: more sign tracks that would decide an open gate with even odds, or None."""

    gate: Gate
    status: GateStatus
    message: str
    metric: Metric | None = None
    margin: Finite | None = None
    needs_signs: int | None = None
    decided_without_waiver: GateStatus | None = None


UngatedState = Literal["alarm", "unsigned", "accepted", "noted"]


class Ungated(Record):
    """What was measured and no gate reads.

    state:
        alarm     beyond its alarm level, or a serious finding; no owner accepts it, so the verdict is no pass
        unsigned  an accepted entry without an owner; the verdict is no pass
        accepted  by the owner of `accepted`
        noted     neither; it is named beside the verdict
    title: of the metric, or of the stage.
    value: in words, with its unit.
    finding: the first sentence of the finding that stands here for a stage, without its full stop; else empty.
    message: one or two sentences.
    """

    stage: StageName
    subject: SubjectName = MODEL
    state: UngatedState
    title: str
    value: str = ""
    finding: str = ""
    message: str
    metric: Metric | None = None
    accepted: Accepted | None = None


RequirementStatus = Literal[
    "met", "waived", "elsewhere", "not_proven", "unsigned", "untested", "incomplete", "failed"
]


# A requirement in one of these states is no gate's failure, and still prevents a pass.
WITHOUT_EVIDENCE: tuple[RequirementStatus, ...] = ("unsigned", "untested")


class RequirementResult(Record):
    """The decision on a requirement: that of its worst gate.

    status:
        met         every gate passes
        waived      every gate passes or is waived
        elsewhere   the owner names evidence outside this run
        not_proven  a gate is not proven, or the profile proves nothing
        unsigned    evidence elsewhere that no owner answers for; the verdict is no pass
        untested    neither gate nor evidence elsewhere; the verdict is no pass
        incomplete  the evidence of a gate is missing
        failed      a gate failed
    message: one sentence.
    """

    requirement: Requirement
    status: RequirementStatus
    message: str


class Loosened(Record):
    """A gate of an earlier run that is dropped, has a lower limit or is waived since, or a requirement that asks for less.

    kind: "lowered" is a limit that more models pass, a smaller `min_n`, or a requirement that fewer gates verify.
    old, new: the gate or the requirement before and now; new is None for a dropped one.
    message: one sentence.
    """

    kind: Literal["dropped", "lowered", "waived"]
    old: Gate | Requirement
    new: Gate | Requirement | None = None
    message: str


class Verdict(Record):
    """The whole decision; gates are sorted worst first.

    ungated: what was measured and no gate reads, worst first.
    requirements: each requirement of the settings, in their order.
    rules: version of the rules of the decision: 1 without alarms, with missing evidence graver than a failure.
    """

    status: Literal["passed", "failed", "not_proven", "incomplete"]
    exit_code: int
    sentence: str
    detail: str = ""
    gates: list[GateResult]
    ungated: list[Ungated] = []
    requirements: list[RequirementResult] = []
    rules: int = 1
