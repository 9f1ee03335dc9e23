"""From settings to a verdict: load, run each stage unless it is done, decide, record. One loop, one row a stage."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from safeml import gates as deciding
from safeml import interruption, provenance
from safeml.audits.base import AuditInputs, Progress, silent
from safeml.config import Config
from safeml.data.place import Place
from safeml.errors import SafemlError, first_line
from safeml.results import Finding, Resume, Run, RunTimes, StageResult
from safeml.store.files import FolderError, content_key, keep, make_folder, sweep, to_json
from safeml.store.journal import Journal, KeptStage
from safeml.store.lock import folder_lock
from safeml.store.run_folder import forget_verdict, refuse_other_run
from safeml.subject import Subject, default_folder, open_subject
from safeml.surrogate import surrogate_identity
from safeml.version import __version__


@dataclass(frozen=True)
class Stage:
    """One row a stage: `module.run(inputs, settings)` measures it, `[stages.NAME]` configures it.

    reads: what it takes from its inputs beside model and data, so that its result is kept only as long as that is the same.
    """

    name: str
    title: str
    module: str
    reads: tuple[Literal["contract", "origin", "manifest", "surrogate"], ...] = ()


STAGES = (
    Stage("model", "Model file", "safeml.audits.model", reads=("origin", "contract")),
    Stage("training", "Training", "safeml.audits.training", reads=("manifest",)),
    Stage("performance", "Performance", "safeml.audits.performance"),
    Stage("balance", "Class balance", "safeml.audits.balance"),
    Stage("adversarial", "Adversarial robustness", "safeml.audits.adversarial", reads=("surrogate",)),
    Stage("physical", "Physical threats", "safeml.audits.physical"),
)
# The most that the quick profile does of each.
QUICK: dict[str, dict[str, int]] = {
    "performance": {"bootstrap": 200},
    "adversarial": {
        "images": 256,
        "steps": 10,
        "apgd_steps": 20,
        "targets": 3,
        "fmn_steps": 30,
        "queries": 200,
        "breadth_images": 8,
        "smoothed_images": 16,
    },
    "physical": {
        "images": 64,
        "sticker_steps": 20,
        "patch_steps": 60,
        "shift_points": 3,
        "rotation_points": 3,
    },
}
QUICK_THREATS = ("linf_1", "linf_4", "l2_0.5")


def quick(config: Config) -> Config:
    """The quick profile: at most so many images and steps, the threats that a gate reads and a few more, the same gates."""
    stages: dict[str, Any] = {
        name: getattr(config.stages, name).model_copy(
            update={
                key: min(most, getattr(getattr(config.stages, name), key)) for key, most in bounds.items()
            }
        )
        for name, bounds in QUICK.items()
    }
    attacked = stages["adversarial"]
    read = " ".join(gate.metric for gate in config.gates)
    threats = tuple(
        threat
        for threat in attacked.threats
        if threat.label in QUICK_THREATS or threat.label in read or threat == attacked.main
    )
    gated = tuple(threat.label for threat in threats if attacked.is_full(threat) and threat.label in read)
    stages["adversarial"] = attacked.model_copy(
        update={"threats": threats, "full_ensemble": gated or (attacked.main.label,)}
    )
    return config.model_copy(update={"stages": config.stages.model_copy(update=stages)})


def audit(
    config: Config,
    place: Place,
    model_path: Path,
    folder: Path | None,
    profile: str = "full",
    command: tuple[str, ...] = (),
    progress: Progress = silent,
    *,
    force: bool = False,
    finish: Callable[[Run, RunTimes, Path], object] = lambda run, times, folder: None,
) -> tuple[Run, RunTimes, Path]:
    """Run every enabled stage on the model at `model_path`, decide the gates and write `results.json` and `run.json`.

    Returns the run, its times and its folder. What is finished of the same model, data, settings and code is not measured
    again. The folder is held against other runs until `finish` has returned, which may write into it.
    force: write into a folder that holds another run. Raises ConfigError where the folder is in use or holds another run.
    """
    started = datetime.now(UTC)
    if profile == "quick":
        config = quick(config)
    with ExitStack() as held:
        earlier = None
        there = folder is not None and os.path.lexists(folder)
        if folder is not None and there:  # refused at once, not after the model has been loaded
            earlier = held.enter_context(folder_lock(make_folder(folder), command))
        subject = open_subject(config, place, model_path, progress)
        folder = folder or default_folder(place.base / config.run.reports, subject, config, profile)
        if not there:
            earlier = held.enter_context(folder_lock(make_folder(folder), command))
        if not force:
            refuse_other_run(folder, subject.identity.fingerprint, subject.inputs.test.fingerprint, profile)
        sweep(folder)
        journal = Journal(folder)
        done = {stage.name: _stage(stage, subject, config, journal, n) for n, stage in enumerate(STAGES)}
        interruption.check()
        progress("Verdict", len(STAGES), len(STAGES))
        subject.check_unchanged()
        stages = [kept.result for kept, _ in done.values()]
        run = Run(
            safeml_version=__version__,
            title=config.title,
            responsible=config.run.responsible,
            profile=profile,
            model=subject.identity,
            data=subject.data,
            stages=stages,
            gates=list(config.gates),
            verdict=deciding.decide(stages, config.gates, today=started.date().isoformat()),
            versions=provenance.versions(),
            configuration=_without_folders(config.model_dump(mode="json")),
            command=list(command),
        )
        times = RunTimes(
            started=started.isoformat(timespec="seconds"),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds={name: kept.seconds for name, (kept, _) in done.items()},
            hardware=provenance.hardware(),
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
        keep(folder / "results.json", to_json(run))
        keep(folder / "run.json", to_json(times))
        finish(run, times, folder)
    return run, times, folder


def stage_key(stage: Stage, subject: Subject, settings: BaseModel) -> tuple[dict[str, Any], str]:
    """What the numbers of a stage depend on beside its settings, and the key under which its result is kept."""
    evidence = subject.evidence | {name: _plain(subject.inputs, name) for name in stage.reads}
    key = content_key({**evidence, "stage": stage.name, "settings": settings.model_dump(mode="json")})
    return evidence, key


def _stage(
    stage: Stage, subject: Subject, config: Config, journal: Journal, number: int
) -> tuple[KeptStage, bool]:
    """The stage as it is kept, or measured and kept; and whether it was read back."""
    interruption.check()
    settings = getattr(config.stages, stage.name)
    if not settings.enabled:
        reason = f"[stages.{stage.name}] enabled = false in the configuration"
        skipped = StageResult(stage=stage.name, title=stage.title, status="skipped", reason=reason)
        return KeptStage(skipped, 0.0), False
    evidence, key = stage_key(stage, subject, settings)
    kept = journal.stage(stage.name, key)
    subject.inputs.progress(f"{stage.title} (kept)" if kept else stage.title, number, len(STAGES))
    if kept is not None:
        journal.clear(
            stage.name
        )  # a run that ended between keeping the stage and clearing its slices left them
        return kept, True
    began = time.monotonic()
    inputs = replace(subject.inputs, work=journal.work(stage.name, evidence))
    result = _measured(stage, inputs, settings, journal.folder)
    seconds = round(time.monotonic() - began, 3)
    if result.provenance is not None:
        result = result.model_copy(update={"provenance": result.provenance.model_copy(update={"key": key})})
    if result.status != "error":
        journal.keep_stage(result, key, seconds)
    return KeptStage(result, seconds), False


def _measured(stage: Stage, inputs: AuditInputs, settings: Any, folder: Path) -> StageResult:
    """What the stage measures; a stage that fails is a result with a reason, unless nothing can be written any more."""
    try:
        result: StageResult = importlib.import_module(stage.module).run(inputs, settings)
    except FolderError:
        raise
    except Exception as error:
        interruption.check()  # native code may hand on a signal's exception as an error of its own
        reason = first_line(error, 300)
        code, remedy = "not-measured", ""
        if not isinstance(error, SafemlError):  # a defect of safeml, whose place a reader may want to send
            code, remedy = "stage-crashed", f"See {stage.name}.log."
            reason = f"{type(error).__name__}: {reason}"
            keep(folder / f"{stage.name}.log", traceback.format_exc())
        finding = Finding(code=code, severity="serious", message=reason, remedy=remedy)
        return StageResult(
            stage=stage.name, title=stage.title, status="error", reason=reason, findings=[finding]
        )
    return result


def _plain(inputs: AuditInputs, name: str) -> Any:
    value = surrogate_identity(inputs) if name == "surrogate" else getattr(inputs, name)
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _without_folders(values: Any) -> Any:
    """Settings as they are recorded: of absolute paths the last part, because their folders say who ran it and where."""
    if isinstance(values, dict):
        return {key: _without_folders(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_without_folders(value) for value in values]
    return Path(values).name if isinstance(values, str) and Path(values).is_absolute() else values
