"""The audit: load, run each unfinished stage, decide, record. One loop over the rows of `safeml.stages`."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from safeml import gates as deciding
from safeml import interruption, provenance
from safeml.audits.base import AuditInputs
from safeml.classifiers.base import head_of
from safeml.classifiers.memory import InMemory
from safeml.comparison.baseline import Candidate, baseline_stages
from safeml.config.audit import Config
from safeml.data.dataset import ImageDataset
from safeml.data.place import Place
from safeml.errors import ConfigError, SafemlError, first_line
from safeml.loosening import loosened_since
from safeml.profiles import FULL, PROFILES
from safeml.results import Finding, Loosened, Resume, Run, RunTimes, StageResult, test_data_of
from safeml.scale.identity import identity
from safeml.scale.start import HERE, Scale, begun, connected
from safeml.settings.model import Head
from safeml.stages import STAGES, settings_of
from safeml.stages.alarms import with_alarms
from safeml.stages.base import Stage, load
from safeml.store.artefacts import drop_other_artefacts
from safeml.store.files import FolderError, content_key, keep, make_folder, sweep, to_json
from safeml.store.journal import Journal, KeptStage
from safeml.store.lock import folder_lock, lock_content
from safeml.store.run_folder import earlier_run, forget_verdict, refuse_other_limits, refuse_other_run
from safeml.subject import Subject, default_folder, open_subject
from safeml.surrogate import reference_identity, surrogate_identity
from safeml.version import __version__
from safeml.work import Phase, Progress, silent


def in_profile(config: Config, profile: str, stages: Sequence[Stage[Any]] = STAGES) -> Config:
    """Return the settings of a profile: that form of each stage, with the same gates. Raises ConfigError for an unknown profile."""
    if profile == FULL:
        return config
    if profile not in PROFILES:
        raise ConfigError(f"there is no profile {profile[:40]!r}; expected {', '.join(PROFILES)}.")
    tables = {
        stage.name: (stage.quick if profile == "quick" else stage.standard)(
            settings_of(config.stages, stage),
            frozenset(gate.metric for gate in config.gates if gate.stage == stage.name),
        )
        for stage in stages
    }
    return config.model_copy(update={"stages": config.stages.model_copy(update=tables)})


def audit(
    config: Config,
    place: Place,
    model: Path | InMemory,
    folder: Path | None,
    profile: str = "full",
    command: tuple[str, ...] = (),
    progress: Progress = silent,
    *,
    force: bool = False,
    accept_quick: bool = False,
    baseline: Run | None = None,
    only: Collection[str] = (),
    scale: Scale = HERE,
    stages: Sequence[Stage[Any]] = STAGES,
    finish: Callable[[Run, RunTimes, Path], object] = lambda run, times, folder: None,
) -> tuple[Run, RunTimes, Path]:
    """Run every enabled stage of `stages` on `model`, decide the gates and write `results.json` and `run.json`.

    Returns the run, its times and its folder. Finished work with the same model, data, settings and code is reused. The
    folder is locked until `finish`, which may write into it, has returned.
    force: write into a folder with another run, or with other limits.
    accept_quick: the user accepts that the quick profile decides; without it such a run does not pass.
    baseline: an earlier run; gates with the subject "baseline" read the losses against it. Gates that are looser than its
        gates are recorded, as are those of the folder's earlier run.
    only: the stages to measure, () for all; the others are read from the folder, or skipped.
    scale: where slices are measured; the results are the same bytes.
    Raises ConfigError if the folder is in use, or holds another run or other limits.
    """
    started = datetime.now(UTC)
    config = in_profile(config, profile, stages)
    with ExitStack() as held:
        earlier = None
        there = folder is not None and os.path.lexists(folder)
        if folder is not None and there:  # refused before the model is loaded
            earlier = held.enter_context(folder_lock(make_folder(folder), command))
        transport = held.enter_context(connected(scale, config.run.threads))
        subject = open_subject(config, place, model, progress)
        folder = folder or default_folder(place.base / config.run.reports, subject, config, profile)
        if not there:
            earlier = held.enter_context(folder_lock(make_folder(folder), command))
        if not force:
            refuse_other_run(folder, subject.identity.fingerprint, subject.inputs.test.fingerprint, profile)
            refuse_other_limits(folder, config.gates, config.requirements)
        sweep(folder)
        stages = applying(stages, config, subject.inputs)
        shards = None
        if transport is not None and isinstance(model, Path):
            progress(Phase(f"Opening the run on {transport.words}"), 0, 1)
            own = identity(subject.inputs, subject.evidence, subject.file_sha256)
            lock = lock_content(folder)
            shards = begun(transport, scale, config, place.base, place.data_root, model, folder, lock, own)
        journal = Journal(folder, shards)
        done = {
            stage.name: _stage(
                stage, subject, config, journal, (number, len(stages)), not only or stage.name in only
            )
            for number, stage in enumerate(stages)
        }
        interruption.check()
        if shards is not None:
            _clear_late(done, journal)
        progress(Phase("Verdict"), len(stages), len(stages))
        subject.check_unchanged()
        results = [
            with_alarms(done[stage.name][0].result, stage.alarms(settings_of(config.stages, stage)))
            for stage in stages
        ]
        candidate = Candidate(subject.identity, test_data_of(subject.data), results)
        results += baseline_stages(baseline, candidate, config.gates, config.baseline.largest_loss)
        run = Run(
            safeml_version=__version__,
            title=config.title,
            responsible=config.run.responsible,
            profile=profile,
            accept_quick=accept_quick,
            model=subject.identity,
            data=subject.data,
            stages=results,
            gates=list(config.gates),
            accepted=list(config.accepted),
            requirements=list(config.requirements),
            card=config.card,
            loosened=_loosened(config, [run for run in (earlier_run(folder), baseline) if run]),
            verdict=deciding.decide(
                results,
                config.gates,
                today=started.date().isoformat(),
                accepted=config.accepted,
                requirements=config.requirements,
                profile=profile,
                accept_quick=accept_quick,
            ),
            versions=provenance.versions(),
            configuration=_without_folders(place.recorded(config.model_dump(mode="json"))),
            command=list(command),
        )
        times = RunTimes(
            started=started.isoformat(timespec="seconds"),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds={name: kept.seconds for name, (kept, _) in done.items()},
            hardware={**provenance.hardware(), **({"workers": transport.words} if transport else {})},
            model_file_sha256=subject.file_sha256,
            code_commit=provenance.commit(place.base),
            resume=Resume(
                stages=[name for name, (_, read_back) in done.items() if read_back],
                slices=journal.slices,
                recomputed=journal.recomputed,
                interrupted=earlier is not None,
                began=earlier.start if earlier else "",
            ),
        )
        forget_verdict(folder)
        drop_other_artefacts(folder, results)
        keep(folder / "results.json", to_json(run))
        keep(folder / "run.json", to_json(times))
        finish(run, times, folder)
    return run, times, folder


def _loosened(config: Config, earlier: Sequence[Run]) -> list[Loosened]:
    """Return the gates and requirements that are looser than those of an earlier run, each once."""
    changes: list[Loosened] = []
    for run in earlier:
        since = loosened_since(run, config.gates, config.requirements)
        changes += [change for change in since if change not in changes]
    return changes


def _clear_late(done: Mapping[str, tuple[KeptStage, bool]], journal: Journal) -> None:
    """Remove slices that a worker stored after their stage was finished, because it measured a shard twice."""
    for name, (kept, _) in done.items():
        if kept.result.status == "ok":
            journal.clear(name)


def applying(stages: Sequence[Stage[Any]], config: Config, inputs: AuditInputs) -> list[Stage[Any]]:
    """Return the stages of a run: without those that have nothing to measure and that no gate and no accepted entry names."""
    named = {gate.stage for gate in config.gates} | {entry.stage for entry in config.accepted}
    return [
        stage
        for stage in stages
        if stage.only_with is None or stage.name in named or getattr(inputs, stage.only_with) is not None
    ]


def stage_key(stage: Stage[Any], subject: Subject, settings: BaseModel) -> tuple[dict[str, Any], str]:
    """Return the inputs of a stage beside its settings, and the key of its result."""
    evidence = subject.evidence | {name: _plain(subject.inputs, name) for name in stage.needs}
    if not stage.run.startswith("safeml."):  # of another package, whose code `subject.evidence` does not hold
        evidence["stage code"] = provenance.code_of(stage.run)
    key = content_key({**evidence, "stage": stage.name, "settings": settings.model_dump(mode="json")})
    return evidence, key


def _stage(
    stage: Stage[Any],
    subject: Subject,
    config: Config,
    journal: Journal,
    number: tuple[int, int],
    measured: bool,
) -> tuple[KeptStage, bool]:
    """Return the stored stage, or measure and store it where `measured`; and whether it was stored."""
    interruption.check()
    settings = settings_of(config.stages, stage)
    if not settings.enabled:
        return _skipped(stage, f"[stages.{stage.name}] enabled = false in the configuration"), False
    head = head_of(subject.inputs.classifier)
    if head not in stage.heads:
        return KeptStage(other_head(stage, head), 0.0), False
    evidence, key = stage_key(stage, subject, settings)
    kept = journal.stage(stage.name, key)
    if kept is None and not measured:
        return _skipped(
            stage, "it is not among the stages of --only, and the folder holds no result of it"
        ), False
    subject.inputs.progress(Phase(f"{stage.title} (stored)" if kept else stage.title), *number)
    if kept is not None:
        journal.clear(
            stage.name
        )  # a run that ended between storing the stage and clearing its slices left them
        return kept, True
    began = time.monotonic()
    inputs = replace(
        subject.inputs, work=journal.work(stage.name, evidence), hand_over=journal.hand_over(stage.name)
    )
    result = _measured(stage, inputs, settings, journal.folder)
    seconds = round(time.monotonic() - began, 3)
    result = _stamped(result, stage, inputs, settings, key)
    if result.status != "error":
        journal.keep_stage(result, key, seconds)
    return KeptStage(result, seconds), False


def _stamped(
    result: StageResult, stage: Stage[Any], inputs: AuditInputs, settings: BaseModel, key: str
) -> StageResult:
    """Return a result under the name and title of its row, with what its numbers belong to."""
    made = result.provenance
    if made is None and result.status == "ok":
        made = inputs.provenance(settings)
    stamped = made.model_copy(update={"key": key}) if made is not None else None
    return result.model_copy(update={"stage": stage.name, "title": stage.title, "provenance": stamped})


def other_head(stage: Stage[Any], head: Head) -> StageResult:
    """Return the result of a stage that does not support the outputs of the model: its gates are missing evidence."""
    reason = f"it measures {' and '.join(stage.heads)} models; this is a {head} model"
    return _skipped(stage, reason).result


def _skipped(stage: Stage[Any], reason: str) -> KeptStage:
    return KeptStage(StageResult(stage=stage.name, title=stage.title, status="skipped", reason=reason), 0.0)


def _measured(stage: Stage[Any], inputs: AuditInputs, settings: Any, folder: Path) -> StageResult:
    """Measure the stage; a failure becomes a result with a reason, unless the folder cannot be written."""
    try:
        result: StageResult = load(stage.run)(inputs, settings)
    except FolderError:
        raise
    except (Exception, SystemExit) as error:  # an exit code of a library is no verdict
        interruption.check()  # native code may convert the exception of a signal to another error
        reason = first_line(error, 300)
        code, remedy = "not-measured", ""
        if not isinstance(
            error, SafemlError
        ):  # a defect of safeml: the log holds the traceback for a bug report
            code, remedy = "stage-crashed", f"See {stage.name}.log."
            reason = f"{type(error).__name__}: {reason}"
            keep(folder / f"{stage.name}.log", traceback.format_exc())
        finding = Finding(code=code, severity="serious", message=reason, remedy=remedy)
        return StageResult(
            stage=stage.name, title=stage.title, status="error", reason=reason, findings=[finding]
        )
    return result


def _plain(inputs: AuditInputs, name: str) -> Any:
    identities = {"surrogate": surrogate_identity, "reference": reference_identity}
    value = identities[name](inputs) if name in identities else getattr(inputs, name)
    if isinstance(value, ImageDataset):
        return value.fingerprint
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _without_folders(values: Any) -> Any:
    """Return settings with only the last part of absolute paths, whose folders would reveal user and machine."""
    if isinstance(values, dict):
        return {key: _without_folders(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_without_folders(value) for value in values]
    return Path(values).name if isinstance(values, str) and Path(values).is_absolute() else values
