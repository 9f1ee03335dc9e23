"""The owner of a run folder: a run never overwrites the run of another model or other data, or foreign pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safeml.errors import ConfigError, InputRefused
from safeml.loosening import loosened_since, same_limits, same_requirements
from safeml.results import Gate, Requirement, Run
from safeml.store.files import MAX_RESULTS_BYTES, read_plain, read_run

# The footer of every index page of safeml.
DRAWN = b'Drawn from <span class="id">results.json</span>'
VERDICT = (
    "index.html",
    "safety_case.html",
    "junit.xml",
    "summary.md",
    "model-card.md",
    "model-card.json",
    "SHA256SUMS",
)
REMEDY = "set another folder with --out, or replace its content with --force."


def refuse_other_run(folder: Path, model: str, data: str, profile: str) -> None:
    """Raise ConfigError if `folder` holds other content than runs of this model on these test images.

    model, data: the fingerprints.
    profile: a run of one profile does not replace that of another.
    """
    if (folder / "training.json").exists():
        raise ConfigError(f"{folder}: holds a trained model, and a run would mix with it; {REMEDY}")
    if (folder / "results.json").exists():
        _refuse_other_results(folder, model, data, profile)
    else:
        for name in ("run.json", *VERDICT[1:]):
            if (folder / name).exists():
                raise ConfigError(f"{folder}: holds a {name} without the results.json of its run; {REMEDY}")
    if (folder / "index.html").exists() and DRAWN not in _content(folder / "index.html"):
        raise ConfigError(f"{folder}: holds an index.html not written by safeml; {REMEDY}")
    for stage in sorted((folder / "stages").glob("*.json")):
        if _model_of(stage) not in ("", model):
            raise ConfigError(f"{folder}: holds an unfinished run of another model; {REMEDY}")


def refuse_other_limits(
    folder: Path, gates: Sequence[Gate], requirements: Sequence[Requirement] = ()
) -> None:
    """Raise ConfigError if `folder` holds a run that was decided by other limits or requirements."""
    run = earlier_run(folder)
    if run is None or (same_limits(run.gates, gates) and same_requirements(run.requirements, requirements)):
        return
    changes = loosened_since(run, gates, requirements)
    what = f" {changes[0].message}" if changes else ""
    raise ConfigError(
        f"{folder}: holds the verdict of other limits, which this run would replace.{what} Set another folder with --out, or "
        "replace it with --force; looser limits are named in the report."
    )


def earlier_run(folder: Path) -> Run | None:
    """Return the run that `folder` holds, or None if there is none that can be read."""
    try:
        return read_run(folder) if (folder / "results.json").exists() else None
    except InputRefused:
        return None


def forget_verdict(folder: Path) -> None:
    """Remove an earlier verdict, so that an interrupted run is not next to an older report."""
    for name in VERDICT:
        (folder / name).unlink(missing_ok=True)


def refuse_audit(folder: Path) -> None:
    """Raise ConfigError if `folder` holds an audit, whose record a training would overwrite."""
    for name in ("results.json", "stages", "work"):
        if (folder / name).exists():
            raise ConfigError(
                f"{folder}: holds an audit ({name}), and a training would mix with it; set another folder with --out."
            )


def _refuse_other_results(folder: Path, model: str, data: str, profile: str) -> None:
    try:
        run = read_run(folder)
    except InputRefused:
        raise ConfigError(
            f"{folder}: holds a results.json that is damaged or not written by safeml; {REMEDY}"
        ) from None
    if run.model.fingerprint != model:
        raise ConfigError(f"{folder}: holds the run of another model ({run.model.name}); {REMEDY}")
    if run.profile != profile:
        raise ConfigError(
            f"{folder}: holds a run of the {run.profile} profile, and this one is {profile}; {REMEDY}"
        )
    if run.test_data is None or run.test_data.fingerprint != data:
        name = run.test_data.name if run.test_data else "none"
        raise ConfigError(f"{folder}: holds a run on other test data ({name}); {REMEDY}")


def _content(path: Path) -> bytes:
    """Read a plain file; empty if it is too large, unreadable, or not plain."""
    try:
        return read_plain(path, MAX_RESULTS_BYTES)
    except (OSError, ValueError):
        return b""


def _model_of(stage: Path) -> str:
    """Return the model of a stored stage; "" if unknown, because the stage is then measured again."""
    try:
        return str(json.loads(_content(stage))["result"]["provenance"]["model"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
