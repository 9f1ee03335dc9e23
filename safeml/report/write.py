"""Write a run's report into its folder: pages, JUnit, Markdown and checksums, each file whole or absent."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from safeml.errors import StageError
from safeml.report import card
from safeml.report.html import render_index, render_stage
from safeml.report.junit import junit
from safeml.report.markdown import summary
from safeml.report.page import SAFETY_CASE, page_of
from safeml.report.safety_case import render_safety_case
from safeml.report.signature import STALE, stale_sentence
from safeml.results import Run, RunTimes, artefact_path
from safeml.store.files import atomic_write, file_sha256, to_json

CHECKSUMS = "SHA256SUMS"
PAGE = re.compile(r"[a-z][a-z0-9_-]*\.html")


def write_report(run: Run, folder: Path, times: RunTimes | None) -> list[Path]:
    """Write index.html, a page a stage, the safety case, junit.xml, summary.md, the model card and SHA256SUMS into `folder`; return their paths.

    Where a signature in the folder is of other content than that, every page says so.
    """
    # Drawn is what is recorded: its mappings are in the order of the file, today and when it is read again.
    run = Run.model_validate_json(to_json(run))
    times = times and RunTimes.model_validate_json(to_json(times))
    recorded = folder / "results.json"
    results_hash = (
        file_sha256(recorded) if recorded.is_file() else hashlib.sha256(to_json(run).encode()).hexdigest()
    )
    artefacts = _artefact_sums(run, folder)
    paths = _write(folder, _texts(run, results_hash, times, ""), artefacts)
    if stale_sentence(folder):  # known only when the pages are there that it could be of
        paths = _write(folder, _texts(run, results_hash, times, STALE), artefacts)
    return paths


def _texts(run: Run, results_hash: str, times: RunTimes | None, note: str) -> dict[str, str]:
    """Return the content of each file of the report by its name; `note`: a warning on every page."""
    return {
        "index.html": render_index(run, results_hash, times, note),
        **{page_of(stage): render_stage(run, stage, results_hash, times, note) for stage in run.stages},
        SAFETY_CASE: render_safety_case(run, results_hash, times, note),
        "junit.xml": junit(run),
        card.MARKDOWN: card.card_markdown(run),
        card.JSON: card.card_json(run),
        "summary.md": summary(run, note),
    }


def _artefact_sums(run: Run, folder: Path) -> dict[str, str]:
    """Return the recorded sha256 of the artefacts in `folder`, so that a check of the sums finds a changed one.

    A report that is drawn elsewhere has none of them, and lists none.
    """
    paths = {
        artefact_path(stage.stage, artefact.name): artefact.sha256
        for stage in run.stages
        for artefact in stage.artefacts
    }
    return {path: sha256 for path, sha256 in paths.items() if (folder / path).is_file()}


def write_page(run: Run, folder: Path, times: RunTimes | None = None) -> Path:
    """Write the page of a run's one stage into `folder`, without an index; return its path."""
    [stage] = run.stages
    results_hash = hashlib.sha256(to_json(run).encode()).hexdigest()
    path = folder / page_of(stage)
    atomic_write(path, render_stage(run, stage, results_hash, times, alone=True))
    return path


def _write(folder: Path, texts: dict[str, str], sums: dict[str, str]) -> list[Path]:
    try:
        stale = _pages_before(folder) - texts.keys()
        for name, text in texts.items():
            atomic_write(folder / name, text)
        for name in stale:
            (folder / name).unlink(missing_ok=True)
        listed = [*texts, *(name for name in ("results.json", "run.json") if (folder / name).is_file())]
        sums = sums | {name: file_sha256(folder / name) for name in listed}
        lines = [f"{sha256}  {name}\n" for name, sha256 in sorted(sums.items())]
        atomic_write(folder / CHECKSUMS, "".join(lines))
    except OSError as error:
        raise StageError(
            f"{folder}: the report cannot be written ({error.strerror}); results.json is kept."
        ) from error
    return [folder / name for name in (*texts, CHECKSUMS)]


def _pages_before(folder: Path) -> set[str]:
    """The pages that an earlier report listed: one that is not drawn again would show another run."""
    listed = folder / CHECKSUMS
    names = (
        [line[66:] for line in listed.read_text(encoding="utf-8").splitlines()] if listed.is_file() else []
    )
    return {name for name in names if PAGE.fullmatch(name)}
