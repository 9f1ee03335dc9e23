"""The runs below a folder in the order of their start: verdicts, gated metrics and limits; and what devices recorded beside them."""

from __future__ import annotations

from pathlib import Path

from safeml.comparison.compare import summary_of
from safeml.comparison.devices import audited_words, device_trends, read_devices
from safeml.comparison.limits import limit_changes, requirement_changes
from safeml.comparison.records import History, LimitChange, RunSummary, Trend, TrendPoint, Unreadable
from safeml.errors import ConfigError, InputRefused
from safeml.results import GateResult, Run
from safeml.store.files import read_run, read_times
from safeml.verdict_text import title_of
from safeml.waivers import expired, today_utc
from safeml.wording import counted, limit_percent

MOST_RUNS = 500
PASS_AT_LIMIT = 0.025


def history_of(folder: Path) -> History:
    """Read every run below `folder`.

    A results.json that cannot be read is listed with its reason. Raises ConfigError where there is no run, or too many.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: is not a folder; expected one that holds run folders of `safeml audit`."
        )
    files = sorted(folder.rglob("results.json"))
    devices, damaged = read_devices(folder)
    if not files and not devices:
        first = f" {damaged[0].reason}" if damaged else ""
        raise ConfigError(
            f"{folder}: holds no results.json; expected run folders of `safeml audit`, or records of devices.{first}"
        )
    if len(files) > MOST_RUNS:
        raise ConfigError(
            f"{folder}: holds {len(files):,} results.json; expected at most {MOST_RUNS}. Give a folder with fewer runs."
        )
    runs: list[tuple[RunSummary, Run]] = []
    unreadable: list[Unreadable] = list(damaged)
    for file in files:
        place = file.parent.relative_to(folder).as_posix()
        try:
            run = read_run(file)
            runs.append((summary_of(run, place, read_times(file)), run))
        except InputRefused as error:
            unreadable.append(Unreadable(path=place, reason=str(error)))
    if not runs and not devices:
        raise ConfigError(
            f"{folder}: none of its {len(files)} results.json can be read: {unreadable[0].reason}"
        )
    runs.sort(key=lambda entry: (entry[0].started, entry[0].folder))
    return History(
        folder=folder.name,
        runs=[summary for summary, _ in runs],
        trends=_trends([run for _, run in runs]),
        limits=_limits(runs),
        devices=devices,
        device_trends=device_trends(devices),
        unreadable=unreadable,
        notes=[
            *(_notes([summary for summary, _ in runs]) if runs else []),
            *(
                f"Run {place}, {summary.folder}: {sentence}"
                for place, (summary, run) in enumerate(runs, 1)
                for sentence in expired(run, today_utc())
            ),
            *audited_words(devices, [summary.model_fingerprint for summary, _ in runs]),
        ],
    )


def _trends(runs: list[Run]) -> list[Trend]:
    """Return one trend per requirement, in the order in which the gates of the latest run name them."""
    points: dict[tuple[str, str, str, str, str], list[TrendPoint]] = {}
    titles: dict[tuple[str, str, str, str, str], str] = {}
    for place, run in reversed(list(enumerate(runs))):
        decided = {result.gate.id: result for result in run.verdict.gates}
        for gate in run.gates:
            result = decided.get(gate.id)
            if result is None:
                continue
            key = (gate.subject, gate.stage, gate.metric, gate.slice, gate.op)
            titles.setdefault(key, title_of(gate, result.metric))
            points.setdefault(key, []).insert(0, _point(place, result))
    return [
        Trend(title=titles[key], subject=key[0], stage=key[1], name=key[2], slice=key[3], points=row)
        for key, row in points.items()
    ]


def _point(place: int, result: GateResult) -> TrendPoint:
    gate = result.gate
    return TrendPoint(run=place, metric=result.metric, limit=gate.threshold, op=gate.op, status=result.status)


def _limits(runs: list[tuple[RunSummary, Run]]) -> list[tuple[int, LimitChange]]:
    """Compare each run with the one before it of the same form: the limits of an INT8 file replace none of the float model."""
    changes = []
    latest: dict[str, Run] = {}
    for place, (summary, run) in enumerate(runs):
        before = latest.get(summary.form)
        if before is not None:
            made = (*limit_changes(before.gates, run.gates), *requirement_changes(before, run))
            changes += [(place, change) for change in made]
        latest[summary.form] = run
    return changes


def _notes(runs: list[RunSummary]) -> list[str]:
    notes = []
    models: dict[str, set[str]] = {}
    for run in runs:
        models.setdefault(run.data_fingerprint, set()).add(run.model_fingerprint)
    lines = {(run.form, run.profile) for run in runs}
    if len(lines) > 1:
        notes.append(
            f"The runs are of {counted(len(lines), 'form or profile', 'forms or profiles')}; each is a separate line, because a step between them may be "
            "that of the quantization, or of fewer images, steps and threats."
        )
    if len(models) > 1:
        notes.append(
            f"The runs are on {counted(len(models), 'test set')}; values on different test sets are separate lines, because a "
            "step between them may be the data."
        )
    most = max(map(len, models.values()))
    if most > 1:
        chance = 1 - (1 - PASS_AT_LIMIT) ** most
        notes.append(
            f"{counted(most, 'model')} were audited on one test set. If each were exactly at a limit, at least one would pass "
            f"with a chance of up to {limit_percent(round(chance, 2))}, not {limit_percent(PASS_AT_LIMIT)}: choose a model on "
            "validation data."
        )
    if any(not run.started for run in runs):
        notes.append("Runs without a run.json have no date and come first.")
    return notes
