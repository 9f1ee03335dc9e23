"""Compare two runs on the same test data. Legend: N images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from safeml.comparison.forms import form_of
from safeml.comparison.limits import gate_changes, limit_changes, requirement_changes, setting_changes
from safeml.comparison.paired import paired_outcomes
from safeml.comparison.records import LOOSENED, Comparison, PairedDifference, RunSummary, Side, Unpaired
from safeml.errors import InputRefused
from safeml.results import LOSS, Metric, Run, RunTimes, StageResult
from safeml.statistics.clusters import Clustering
from safeml.statistics.paired import flips, paired_difference_metric
from safeml.waivers import expired, today_utc
from safeml.wording import counted, limit_percent

NOT_RECORDED = "no record of single images"
BEST_OF_SEVERAL = (
    "The best of several models audited on one test set passes too often: a model exactly at a limit passes with a chance of "
    f"up to {limit_percent(0.025)}, so the best of 20 such models with up to {limit_percent(0.4)}. Choose a model on validation "
    "data, and audit the chosen one."
)
SEVERAL_TESTS = (
    "Each interval holds by itself: of 20 comparisons of equal models, one may show a difference by chance."
)
NO_VERDICT = "A comparison is no verdict: no difference shown does not mean that there is none."


@dataclass(frozen=True)
class _Pair:
    """A stage in both runs; None where a run does not have it."""

    first: StageResult | None
    second: StageResult | None

    @property
    def either(self) -> StageResult:
        stage = self.second or self.first
        assert stage is not None
        return stage


def compare_runs(
    first: Run, second: Run, first_folder: str = "", second_folder: str = "", today: str = ""
) -> Comparison:
    """Return what changed from the first run to the second.

    today: ISO date (UTC); waivers that have expired by it are named. "" for the present date.
    Raises InputRefused where the runs have no test data or not the same.
    """
    _check_same_data(first, second)
    paired: list[PairedDifference] = []
    unpaired: list[Unpaired] = []
    for pair in _stages(first, second):
        differences, reasons = _differences(pair)
        paired += differences
        unpaired += _others(pair, {entry.name for entry in differences}, reasons)
    limits = [*limit_changes(first.gates, second.gates), *requirement_changes(first, second)]
    gates = gate_changes(first, second)
    return Comparison(
        first=summary_of(first, first_folder),
        second=summary_of(second, second_folder),
        sentence=_sentence(paired, len(gates), sum(change.kind in LOOSENED for change in limits)),
        notes=[*_notes(first, second, paired), *_expired(first, second, today or today_utc())],
        paired=paired,
        unpaired=unpaired,
        gates=gates,
        limits=limits,
        settings=setting_changes(first, second),
    )


def shown_folder(path: Path) -> str:
    """Return a path for a reader: of an absolute one only the last part, because its folders reveal user and machine."""
    return path.name if path.is_absolute() else path.as_posix()


def summary_of(run: Run, folder: str = "", times: RunTimes | None = None) -> RunSummary:
    """Return what identifies a run, and its verdict."""
    test = run.test_data
    return RunSummary(
        folder=folder,
        model=run.model.name,
        model_fingerprint=run.model.fingerprint,
        data=test.name if test else "",
        data_fingerprint=test.fingerprint if test else "",
        profile=run.profile,
        status=run.verdict.status,
        exit_code=run.verdict.exit_code,
        sentence=run.verdict.sentence,
        safeml_version=run.safeml_version,
        started=times.started if times else "",
        form=form_of(run),
    )


def _check_same_data(first: Run, second: Run) -> None:
    tested = [run.test_data for run in (first, second)]
    if tested[0] is None or tested[1] is None:
        raise InputRefused("a run has no test data; expected two runs of `safeml audit`.")
    if tested[0].fingerprint != tested[1].fingerprint:
        raise InputRefused(
            f"the runs are on different test data ({tested[0].name}, sha256 {tested[0].fingerprint[:8]}, and {tested[1].name}, "
            f"sha256 {tested[1].fingerprint[:8]}); expected the same images, labels and sign tracks. Audit both models on the "
            "same data."
        )


def _stages(first: Run, second: Run) -> Iterator[_Pair]:
    before = {(stage.subject, stage.stage): stage for stage in first.stages}
    after = {(stage.subject, stage.stage): stage for stage in second.stages}
    for key in dict.fromkeys([*after, *before]):
        yield _Pair(before.get(key), after.get(key))


def _differences(pair: _Pair) -> tuple[list[PairedDifference], dict[str, str]]:
    """Return the paired differences of a stage, and by metric the reason why there is none."""
    if pair.first is None or pair.second is None:
        return [], {}
    pairs = paired_outcomes(pair.first, pair.second)
    differences = [
        _difference(pair.either, name, before, after, pairs.clustering)
        for name, (before, after) in pairs.outcomes.items()
    ]
    return differences, pairs.reasons


def _difference(
    stage: StageResult, name: str, before: np.ndarray, after: np.ndarray, clustering: Clustering
) -> PairedDifference:
    title = next(metric.title for metric in stage.metrics if metric.name == name)
    lost, won = flips(name, before, after)
    metric = paired_difference_metric(
        f"{LOSS}{name}", f"Loss of: {title}", before, after, clustering=clustering
    )
    return PairedDifference(
        stage=stage.stage,
        subject=stage.subject,
        name=name,
        title=title,
        first=float(before.mean()),
        second=float(after.mean()),
        lost=int(lost.sum()),
        won=int(won.sum()),
        difference=metric,
        side=_side(metric),
    )


def _side(metric: Metric) -> Side:
    if metric.low is None or metric.high is None:
        return "no interval"
    return "lower" if metric.low > 0 else "higher" if metric.high < 0 else "no difference shown"


def _others(pair: _Pair, done: set[str], reasons: dict[str, str]) -> list[Unpaired]:
    """Return the numbers of a stage that were not compared image by image, where the runs differ."""
    before, after = (
        {(metric.name, metric.slice): metric for metric in (stage.metrics if stage else [])}
        for stage in (pair.first, pair.second)
    )
    stage = pair.either
    return [
        Unpaired(
            stage=stage.stage,
            subject=stage.subject,
            first=before.get(key),
            second=after.get(key),
            reason=reasons.get(key[0], NOT_RECORDED) if key[1] == "all" else NOT_RECORDED,
        )
        for key in dict.fromkeys([*after, *before])
        if not (key[1] == "all" and key[0] in done)
        and (_number(before.get(key)) != _number(after.get(key)) or key[0] in reasons)
    ]


def _number(metric: Metric | None) -> tuple[float | None, ...]:
    return () if metric is None else (metric.value, metric.low, metric.high)


def _sentence(paired: list[PairedDifference], gates: int, loosened: int) -> str:
    if paired:
        count = {
            side: sum(entry.side == side for entry in paired) for side in ("lower", "higher", "no interval")
        }
        text = (
            f"Of {counted(len(paired), 'accuracy', 'accuracies')} compared on the same images, {count['lower']} "
            f"{'is' if count['lower'] == 1 else 'are'} lower in the second run, {count['higher']} higher"
        )
        text += f", and {count['no interval']} without an interval" if count["no interval"] else ""
    else:
        text = "No accuracy could be compared image by image"
    parts = [f"{text}."]
    parts += [f"{counted(gates, 'gate')} changed status."] if gates else ["No gate changed its status."]
    parts += [f"Loosened: {counted(loosened, 'limit')}."] if loosened else []
    return " ".join(parts)


def _expired(first: Run, second: Run, today: str) -> list[str]:
    return [
        f"{name} run: {sentence}"
        for name, run in (("First", first), ("Second", second))
        for sentence in expired(run, today)
    ]


def _notes(first: Run, second: Run, paired: list[PairedDifference]) -> list[str]:
    notes = [NO_VERDICT]
    if first.model.fingerprint == second.model.fingerprint:
        notes.append(
            "Both runs are of the same model: differences come from settings, versions or the machine."
        )
    else:
        notes.append(BEST_OF_SEVERAL)
    forms = (form_of(first), form_of(second))
    if forms[0] != forms[1]:
        notes.append(
            f"The forms differ: {forms[0]} and {forms[1]}. A loss is that of making the one from the other only if both are of the same training."
        )
    if len(paired) > 1:
        notes.append(SEVERAL_TESTS)
    if any(entry.side == "no interval" for entry in paired):
        notes.append(
            "Without sign tracks or frames_per_sign there is no interval; set frames_per_sign in [data.test], or give track ids."
        )
    if first.profile != second.profile:
        notes.append(f"The profiles differ: {first.profile} and {second.profile}.")
    if first.safeml_version != second.safeml_version:
        notes.append(
            f"The runs are of different versions of safeml: {first.safeml_version} and {second.safeml_version}."
        )
    return notes
