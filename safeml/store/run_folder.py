"""Whose folder is it? A run is never written over the run of another model or other data, nor over a stranger's pages."""

from __future__ import annotations

import json
from pathlib import Path

from safeml.errors import ConfigError, InputRefused
from safeml.store.files import MAX_RESULTS_BYTES, read_plain, read_run

# What stands at the foot of every index that safeml draws.
DRAWN = b'Drawn from <span class="id">results.json</span>'
VERDICT = ("index.html", "junit.xml", "summary.md", "SHA256SUMS")
REMEDY = "choose another folder with --out, or replace what is there with --force."


def refuse_other_run(folder: Path, model: str, data: str, profile: str) -> None:
    """Raise ConfigError where `folder` holds something else than runs of this model on these test images.

    model, data: the fingerprints of both. profile: a quick run does not replace a full one, nor the other way round.
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
        raise ConfigError(f"{folder}: holds an index.html that safeml did not draw; {REMEDY}")
    for stage in sorted((folder / "stages").glob("*.json")):
        if _model_of(stage) not in ("", model):
            raise ConfigError(f"{folder}: holds an unfinished run of another model; {REMEDY}")


def forget_verdict(folder: Path) -> None:
    """Remove what tells an earlier verdict: a run that ends before its report is drawn must not stand beside an older one."""
    for name in VERDICT:
        (folder / name).unlink(missing_ok=True)


def refuse_audit(folder: Path) -> None:
    """Raise ConfigError where `folder` holds an audit: a training would write over its record."""
    for name in ("results.json", "stages", "work"):
        if (folder / name).exists():
            raise ConfigError(
                f"{folder}: holds an audit ({name}), and a training would mix with it; choose another folder with --out."
            )


def _refuse_other_results(folder: Path, model: str, data: str, profile: str) -> None:
    try:
        run = read_run(folder)
    except InputRefused:
        raise ConfigError(
            f"{folder}: holds a results.json that is damaged or that safeml did not write; {REMEDY}"
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
    """The bytes of a plain file; none where it is too large, cannot be read, or is not plain."""
    try:
        return read_plain(path, MAX_RESULTS_BYTES)
    except (OSError, ValueError):
        return b""


def _model_of(stage: Path) -> str:
    """The model that a kept stage speaks of; "" where it cannot be told, because then the stage is measured again."""
    try:
        return str(json.loads(_content(stage))["result"]["provenance"]["model"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
