"""What a model lost against a baseline, as evidence for gates: the records of two runs, image by image.

Its subject is "baseline", so gates, report and JUnit read it like any other stage. Only what a gate reads is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safeml.comparison.compare import summary_of
from safeml.comparison.paired import Pairs, paired_outcomes
from safeml.errors import InputRefused
from safeml.results import (
    BASELINE,
    LOSS,
    Card,
    DataIdentity,
    Fact,
    Finding,
    Gate,
    Metric,
    ModelIdentity,
    Provenance,
    Run,
    StageResult,
)
from safeml.statistics.noninferiority import paired_noninferiority
from safeml.statistics.paired import flips
from safeml.wording import counted, limit_percent, number, quantity

# One-sided: a model exactly at a limit passes with the same chance as at any other gate.
LEVEL = 0.975
TITLE = "Loss of {}"
MOST_FACTS = 5


@dataclass(frozen=True)
class Candidate:
    """The run that is compared with the baseline.

    data: test data, None for a run without them.
    """

    model: ModelIdentity
    data: DataIdentity | None
    stages: Sequence[StageResult]


def baseline_stages(
    baseline: Run | None, candidate: Candidate, gates: Sequence[Gate], largest_loss: float
) -> list[StageResult]:
    """Return a result of the subject "baseline" for each stage of which a gate reads a loss.

    baseline: None gives no result, so that these gates are without evidence.
    largest_loss: as in `paired_noninferiority`, above 0 and at most 1.

    Runs on other test data, or on other images of them, are not comparable: the result is an error, or its metric is
    undefined. No gate passes on either.
    """
    read = [gate for gate in gates if gate.subject == BASELINE]
    if baseline is None:
        return []
    return [
        _result(name, [gate.metric for gate in read if gate.stage == name], baseline, candidate, largest_loss)
        for name in dict.fromkeys(gate.stage for gate in read)
    ]


def compared_again(run: Run, baseline: Run, gates: Sequence[Gate], largest_loss: float | None = None) -> Run:
    """Return a recorded run with its losses against `baseline`, which replace the recorded ones.

    largest_loss: None for that of the run's settings.
    """
    own = [stage for stage in run.stages if stage.subject != BASELINE]
    share = run.configuration.get("baseline", {}).get("largest_loss", 1.0)
    candidate = Candidate(run.model, run.test_data, own)
    stages = baseline_stages(baseline, candidate, gates, share if largest_loss is None else largest_loss)
    return run.model_copy(update={"stages": [*own, *stages]})


def _result(
    name: str, metrics: Sequence[str], baseline: Run, candidate: Candidate, largest_loss: float
) -> StageResult:
    before, after = _stage(baseline.stages, name), _stage(candidate.stages, name)
    title = TITLE.format((after.title if after is not None else name).lower())
    reason = _not_comparable(baseline.test_data, candidate.data)
    if reason or before is None or after is None:
        who = "this run" if before is not None else "the baseline"
        return _error(name, title, reason or f"{who} has no result of the stage {name}")
    try:
        pairs = paired_outcomes(before, after)
    except InputRefused as error:
        return _error(name, title, str(error).rstrip("."))
    measured = [_loss(metric, pairs, before, after, largest_loss) for metric in dict.fromkeys(metrics)]
    return StageResult(
        stage=name,
        subject=BASELINE,
        title=title,
        tested="How much accuracy the model lost against an earlier run on the same images; below 0 is a gain.",
        on_what=_words(baseline),
        facts=_facts(pairs, metrics),
        metrics=measured,
        findings=_findings(baseline, candidate),
        meaning=[
            "Each sign track counts once: its loss is the share of its frames that only the baseline classifies correctly, minus the "
            "share that only this model does. The metric is the mean over sign tracks.",
            f"A model exactly at a limit passes with a chance of at most {limit_percent(1 - LEVEL)}.",
        ],
        limits=_limits(largest_loss),
        reproduce=["safeml compare BASELINE RUN"],
        card=Card(
            headline=quantity(measured[0].value, "proportion"),
            text=f"{measured[0].title[:1].lower()}{measured[0].title[1:]}",
        ),
        provenance=Provenance(
            model=candidate.model.fingerprint,
            data=candidate.data.fingerprint if candidate.data else "",
            settings={
                "baseline": baseline.model.fingerprint,
                "largest_loss": largest_loss,
                "level": LEVEL,
            },
            seed=0,
        ),
    )


def _stage(stages: Sequence[StageResult], name: str) -> StageResult | None:
    return next(
        (stage for stage in stages if (stage.stage, stage.subject, stage.status) == (name, "model", "ok")),
        None,
    )


def _not_comparable(before: DataIdentity | None, after: DataIdentity | None) -> str:
    """Say why two runs cannot be compared, as a clause, or ""."""
    if before is None or after is None:
        return "a run has no test data; expected two runs of `safeml audit`"
    if before.fingerprint != after.fingerprint:
        return (
            f"the baseline was measured on other test data ({before.name}, sha256 {before.fingerprint[:8]}) than this run "
            f"({after.name}, sha256 {after.fingerprint[:8]}); audit the baseline's model on these images"
        )
    return ""


def _loss(metric: str, pairs: Pairs, before: StageResult, after: StageResult, largest_loss: float) -> Metric:
    name = metric.removeprefix(LOSS)
    title = next(
        (entry.title for stage in (after, before) for entry in stage.metrics if entry.name == name), name
    )
    assumed = (
        ""
        if largest_loss == 1
        else f" (declared: no sign track loses more than {limit_percent(largest_loss)} of its frames)"
    )
    words = f"Loss of {title[:1].lower()}{title[1:]}{assumed}"
    if name not in pairs.outcomes or not pairs.same_images:
        reason = pairs.reasons.get(name, "the stage records no result of each image")
        if name in pairs.outcomes:
            reason = "the runs measured different images"
        return Metric.undefined(metric, words, reason, direction="down", level=LEVEL)
    was, is_now = pairs.outcomes[name]
    return paired_noninferiority(
        metric,
        words,
        was,
        is_now,
        clustering=pairs.clustering,
        largest_loss=largest_loss,
        level=LEVEL,
    )


def _facts(pairs: Pairs, metrics: Sequence[str]) -> list[Fact]:
    """Count the images whose result differs, for the first metrics that were measured."""
    facts = []
    for metric in dict.fromkeys(metrics):
        name = metric.removeprefix(LOSS)
        if name in pairs.outcomes and pairs.same_images:
            lost, won = flips(metric, *pairs.outcomes[name])
            value = f"{number(int(lost.sum()))} lost, {number(int(won.sum()))} won"
            facts.append(
                Fact(label=name.replace("_", " "), value=value, detail=f"of {counted(len(lost), 'image')}")
            )
    return facts[:MOST_FACTS]


def _words(baseline: Run) -> str:
    """Name the baseline and what it is worth."""
    summary = summary_of(baseline)
    images = counted(baseline.test_data.images, "image") if baseline.test_data else "no images"
    status = summary.status.replace("_", " ")
    return (
        f"{summary.data}, {images}. Baseline: {summary.model}, sha256 {summary.model_fingerprint[:8]}, verdict {status}, "
        f"{summary.profile} profile, safeml {summary.safeml_version}."
    )


def _findings(baseline: Run, candidate: Candidate) -> list[Finding]:
    findings = []
    if baseline.model.fingerprint == candidate.model.fingerprint:
        findings.append(
            Finding(
                code="baseline-is-this-model",
                severity="warning",
                message="The baseline is a run of the same model, so nothing can be lost.",
                remedy="Give the run of the released model with --baseline.",
            )
        )
    if baseline.verdict.status != "passed":
        findings.append(
            Finding(
                code="baseline-did-not-pass",
                severity="warning",
                message=f"The verdict of the baseline is {baseline.verdict.status.replace('_', ' ')}: a model that is no worse may "
                "still be worse than the limits allow.",
                remedy="Give a run that passed with --baseline, and keep a gate on the metric itself.",
            )
        )
    return findings


def _limits(largest_loss: float) -> list[str]:
    limits = [
        "No loss against a baseline is no limit: a baseline may be poor, so each metric needs a gate as well.",
        "Several releases, each within its margin of the one before, may together lose more than one margin.",
    ]
    if largest_loss != 1:
        limits.append(
            f"Declared in [baseline] largest_loss: no sign track loses more than {limit_percent(largest_loss)} of its frames net. "
            "If that is false, the loss is underestimated."
        )
    return limits


def _error(name: str, title: str, reason: str) -> StageResult:
    return StageResult(stage=name, subject=BASELINE, title=title, status="error", reason=reason)
