"""From a job to the stages of its run: the same model, data, settings and versions as the client, or a refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safeml.config.audit import Config
from safeml.data.place import Place
from safeml.errors import ConfigError
from safeml.pipeline import stage_key
from safeml.scale.base import Job
from safeml.scale.identity import identity
from safeml.stages import STAGES, settings_of
from safeml.stages.base import load
from safeml.store.journal import Journal
from safeml.store.lock import lock_content
from safeml.subject import Subject, open_subject
from safeml.work import Work, silent
from safeml.worker.follower import Follower


@dataclass(frozen=True)
class Opened:
    """A job on a worker.

    identity: of this worker, see `safeml.scale.identity`.
    shared: the worker has the run folder.
    """

    config: Config
    subject: Subject
    identity: dict[str, Any]
    shared: bool

    def follow(self, name: str, folder: Path) -> Follower:
        """Start the stage of this name, with its slices in `folder`."""
        [stage] = [stage for stage in STAGES if stage.name == name]
        settings = settings_of(self.config.stages, stage)
        evidence, _ = stage_key(stage, self.subject, settings)
        measure: Callable[[Any, Any], object] = load(stage.run)

        def run(work: Work) -> object:
            return measure(replace(self.subject.inputs, work=work), settings)

        return Follower(run, Journal(folder).work(name, evidence))


def open_job(job: Job) -> Opened:
    """Open the model and the data of a job. Raises the errors of `open_subject`."""
    config = Config.model_validate_json(json.dumps(job.config))
    place = Place(Path(job.base), Path(job.data_root) if job.data_root else None)
    model = Path(job.model)
    if not model.exists():
        raise ConfigError(f"does not have {model}; the model has the same path on every worker")
    subject = open_subject(config, place, model, silent)
    mine = identity(subject.inputs, subject.evidence, subject.file_sha256)
    return Opened(config, subject, mine, shares(job))


def shares(job: Job) -> bool:
    """Return whether this process has the run folder: its lock has the content that the client wrote."""
    return bool(job.lock) and lock_content(Path(job.folder)) == job.lock
