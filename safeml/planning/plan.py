"""The plan of an audit: gates, stages and times."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from safeml.audits.judged import judged_inputs, lacks_tolerance
from safeml.audits.perfect import Call
from safeml.audits.slices import numbers
from safeml.config.audit import Config
from safeml.data.identity import data_identity
from safeml.data.place import Place
from safeml.errors import ExitCode, SafemlError
from safeml.pipeline import applying, in_profile, other_head
from safeml.planning.base import Plan, StagePlan
from safeml.planning.best_case import BestCase, correct_model, perfect_of
from safeml.planning.cost import DryWork, Rates, about, forward_passes, gradient_steps, seconds_of, together
from safeml.planning.perfect import PerfectWork
from safeml.planning.probe import probe
from safeml.planning.provable import plan_gates
from safeml.planning.subject import Planned, planned
from safeml.planning.words import plan_words
from safeml.profiles import proves
from safeml.stages import STAGES, settings_of
from safeml.stages.adversarial import ADVERSARIAL
from safeml.stages.base import Stage, load
from safeml.statistics.clusters import clusters_of
from safeml.waivers import today_utc
from safeml.wording import counted
from safeml.work import SURROGATE_GRAPH, Progress, keep_nothing, silent

NOISY = "Times are valid for this machine under its present load; another machine or load takes another time."


def make_plan(
    config: Config,
    place: Place,
    model: Path | None = None,
    out: Path | None = None,
    profile: str = "full",
    timing: bool = True,
    progress: Progress = silent,
    workers: int = 1,
) -> Plan:
    """Plan the work, the duration and the provable gates of an audit. Writes nothing.

    model: instead of the configured one.
    out: the run folder, whose stored work is not counted again.
    timing: open the model and time it; otherwise no framework starts and there are no times.
        Raises ConfigError and InputRefused as the audit would.
    workers: equal processors that share the work, see docs/scale-out.md.
    """
    config = in_profile(config, profile)
    subject = planned(config, place, model, out, profile, timing, progress)
    known, opening = subject.known, subject.opening
    config = known.config  # with what a quantization adds to the settings
    progress("deciding gates on a perfect model", 0, 1)
    today = today_utc()
    best = BestCase(known)
    gates, code = plan_gates(best, config.gates, today)
    unsettled = _unsettled(config, profile)
    if unsettled and code == ExitCode.PASSED:
        code = int(ExitCode.NOT_PROVEN)
    rows = applying(STAGES, config, subject.inputs)
    if subject.opened:
        dry = {stage.name: _dry(stage, subject) for stage in rows}
        rates = _rates(subject, dry, progress)
    else:
        dry = {stage.name: _undone(stage, subject, best) for stage in rows}
        rates = None
    stages = [_stage(stage, subject, dry[stage.name], rates, workers) for stage in rows]
    training = subject.training
    compiling = sum(rates.compiling.get(graph, 0.0) for graph in _graphs(dry)) if rates else 0.0
    if not timing or (training is not None and training.seconds is None):
        rates = None
    parts = [about(opening), about(compiling), *(stage.seconds for stage in stages)]
    return Plan(
        title=config.title,
        profile=profile,
        model=known.name,
        data=data_identity("test", known.test),
        best_exit_code=code,
        sentence=plan_words(gates, code, unsettled),
        first=subject.first,
        stages=stages,
        gates=gates,
        training=training,
        opening=about(opening) if rates else None,
        compiling=about(compiling) if rates else None,
        seconds=together([*parts, training.seconds if training else None]) if rates else None,
        folder=str(subject.folder) if subject.journal is not None else "",
        workers=workers,
        note=NOISY if rates else "",
    )


def _unsettled(config: Config, profile: str) -> list[str]:
    """Return why no model passes whatever the images prove, each as a clause."""
    unsigned = sum(not entry.owner for entry in config.accepted)
    clauses = []
    if unsigned:
        clauses.append(f"{counted(unsigned, 'accepted entry names', 'accepted entries name')} no owner")
    untested = [entry.id for entry in config.requirements if not entry.gates and not entry.elsewhere]
    if untested:
        clauses.append(f"no gate verifies {counted(len(untested), 'requirement')} ({', '.join(untested)})")
    unanswered = [entry.id for entry in config.requirements if entry.elsewhere and not entry.owner]
    if unanswered:
        clauses.append(
            f"{counted(len(unanswered), 'requirement has', 'requirements have')} evidence elsewhere and no owner ({', '.join(unanswered)})"
        )
    if not proves(profile, False):
        clauses.append(f"the {profile} profile passes only with --accept-{profile}")
    return clauses


@dataclass(frozen=True)
class DryRun:
    """The calls of a stage, the seconds of its other work, and whether the run folder holds all results."""

    calls: list[Call] = field(default_factory=list)
    beside: float = 0.0
    kept: bool = False


def _dry(stage: Stage[Any], subject: Planned) -> DryRun:
    """Run a stage without its model: stored results are read, the others are simulated, and model calls are not timed."""
    known, journal = subject.known, subject.journal
    settings = settings_of(known.config.stages, stage)
    if not settings.enabled or known.config.head not in stage.heads:
        return DryRun()
    evidence, key = subject.keys.get(stage.name, ({}, ""))
    if journal is not None and key and journal.stage(stage.name, key) is not None:
        return DryRun(kept=True)
    perfect, images = perfect_of(stage), known.images_of(stage)
    if perfect is None:
        return DryRun()
    if perfect.calls is not None:
        return DryRun(perfect.calls(subject.inputs, settings, known.gradient))
    images = known.blank if images is None else images
    pretended = PerfectWork(correct_model(images), perfect.arrays, numbers(images))
    work = DryWork(
        journal.work(stage.name, evidence) if journal is not None and key else keep_nothing, pretended
    )
    inputs = replace(subject.inputs, classifier=known.no_model, work=work, progress=silent)
    began = time.perf_counter()
    try:
        load(stage.run)(inputs, settings)
    except SafemlError:  # the gates report a stage that cannot be measured
        return DryRun()
    return DryRun(work.calls, time.perf_counter() - began)


def _undone(stage: Stage[Any], subject: Planned, best: BestCase) -> DryRun:
    """Return the calls of a stage on a perfect model, without stored results."""
    known = subject.known
    settings, perfect = settings_of(known.config.stages, stage), perfect_of(stage)
    if known.config.head not in stage.heads:
        return DryRun()
    if settings.enabled and perfect is not None and perfect.calls is not None:
        return DryRun(perfect.calls(subject.inputs, settings, known.gradient))
    return DryRun(best.calls.get(stage.name, []))


def _graphs(dry: dict[str, DryRun]) -> set[str]:
    """Return the graphs to compile: predictions, and attacks by norm, on the model and on the surrogate."""
    calls = [call for found in dry.values() for call in found.calls if not call.kept]
    return {"forward" for _ in calls} | {call.cost.graph for call in calls if call.cost.steps}


def _rates(subject: Planned, dry: dict[str, DryRun], progress: Progress) -> Rates:
    progress("timing a few batches", 0, 1)
    settings = settings_of(subject.known.config.stages, ADVERSARIAL)
    graphs, images = _graphs(dry) - {"forward"}, subject.known.test.images
    away = {graph for graph in graphs if graph.startswith(SURROGATE_GRAPH)}
    inputs = subject.inputs
    if lacks_tolerance(inputs):  # no attack runs
        return probe(inputs.classifier, images, settings, ())
    rates = probe(judged_inputs(inputs).classifier, images, settings, graphs - away)
    if not away:
        return rates
    norms = {graph.removeprefix(SURROGATE_GRAPH) for graph in away}
    other = probe(subject.inputs.surrogate, images, settings, norms)

    def both(mine: Mapping[str, float], its: Mapping[str, float]) -> dict[str, float]:
        return {**mine, **{f"{SURROGATE_GRAPH}{norm}": its[norm] for norm in norms if norm in its}}

    return replace(
        rates,
        step=both(rates.step, other.step),
        turn=both(rates.turn, other.turn),
        compiling=both(rates.compiling, other.compiling),
    )


def _stage(stage: Stage[Any], subject: Planned, dry: DryRun, rates: Rates | None, workers: int) -> StagePlan:
    known = subject.known
    images = known.images_of(stage)
    state, note = _state(stage, subject, dry.kept)
    seconds = seconds_of(dry.calls, rates, dry.beside, workers) if rates and state == "runs" else None
    if rates and state == "runs" and seconds is None:
        note = "an attack could not be timed"
    return StagePlan(
        stage=stage.name,
        title=stage.title,
        state=state,
        images=0 if images is None else len(images),
        signs=None if images is None else clusters_of("plan", len(images), images.clustering).signs,
        forward_passes=forward_passes(dry.calls),
        gradient_steps=gradient_steps(dry.calls),
        slices=len(dry.calls),
        slices_kept=sum(call.kept for call in dry.calls),
        seconds=seconds,
        note=note,
    )


def _state(
    stage: Stage[Any], subject: Planned, kept: bool
) -> tuple[Literal["runs", "done", "off", "idle"], str]:
    """Return the state of a stage, with the reason if it does not run."""
    known = subject.known
    if not settings_of(known.config.stages, stage).enabled:
        return "off", f"[stages.{stage.name}] enabled = false"
    if kept:
        return "done", "stored in the run folder"
    if known.config.head not in stage.heads:
        return "idle", other_head(stage, known.config.head).reason
    perfect = perfect_of(stage)
    if perfect is None:
        return "runs", "its cost is not known"
    return perfect.state(known.inputs(), settings_of(known.config.stages, stage), known.untrained)
