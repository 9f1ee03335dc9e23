"""The evidence of a release: a run folder whose files are unchanged, and the verdict that follows from it today."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safeml.errors import ExitCode, InputRefused, MissingInput, SafemlError
from safeml.monitors.state import ARRAYS, DESCRIPTION
from safeml.profiles import FULL
from safeml.recorded_verdict import decide_again, follows
from safeml.report.page import page_of
from safeml.report.write import CHECKSUMS
from safeml.results import MODEL, GateStatus, Run, RunTimes, StageResult, Verdict, artefact_path
from safeml.stages.comparison import COMPARISON
from safeml.stages.monitors import MONITORS
from safeml.store.files import file_sha256, read_plain, read_run, read_times
from safeml.wording import NARROW_SPACE

Result = Literal["PASSED", "WARNED", "FAILED"]
LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*){0,3})")
MOST_CHECKSUM_BYTES = 256 * 1024
MOST_FILES = 400
# The monitor that a run measured, as the stage hands it over.
MONITOR = tuple(artefact_path(MONITORS.name, name) for name in (DESCRIPTION, ARRAYS))
COUNTED: dict[GateStatus, str] = {
    "pass": "passed",
    "fail": "failed",
    "error": "failed",
    "not_proven": "not_proven",
    "skipped": "not_proven",
    "waived": "waived",
}


class NotReleased(SafemlError):
    """A run that may not become a bundle without an override. The exit code is that of its verdict."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(code)


@dataclass(frozen=True)
class Evidence:
    """A run folder whose files match their checksums.

    folder: the run folder.
    run: the recorded run.
    times: of run.json.
    verdict: decided today, with the limits of the run. That a quick run may not pass is a separate reason.
    files: sha256 of each file of the folder that SHA256SUMS lists, by name.
    reasons: sentences that say why this run is no release; empty for one that is.
    """

    folder: Path
    run: Run
    times: RunTimes
    verdict: Verdict
    files: dict[str, str]
    reasons: tuple[str, ...]

    @property
    def results_sha256(self) -> str:
        """The sha256 of results.json."""
        return self.files["results.json"]

    @property
    def monitor(self) -> bool:
        """Whether the run recorded the monitor that it measured."""
        return set(MONITOR) <= _artefacts(self.run).keys()

    def result(self, overridden: bool) -> Result:
        """Return the result of the statement: PASSED for a release alone."""
        if not overridden:
            return "PASSED"
        return "WARNED" if self.verdict.exit_code == ExitCode.PASSED else "FAILED"

    def counts(self) -> dict[str, int]:
        """Return the number of gates passed, failed, not proven and waived."""
        counts = {"passed": 0, "failed": 0, "not_proven": 0, "waived": 0}
        for result in self.verdict.gates:
            counts[COUNTED[result.status]] += 1
        return counts

    def tests(self, *states: str) -> list[str]:
        """Return the ids of the gates in the given states of `counts`, sorted."""
        return sorted(result.gate.id for result in self.verdict.gates if COUNTED[result.status] in states)


def read_evidence(folder: Path, today: str) -> Evidence:
    """Read a finished run folder, check all of it, and decide it again.

    today: ISO date (UTC), against which waivers expire.
    Raises InputRefused for a file that differs from SHA256SUMS or a verdict that does not follow from the evidence, and
    MissingInput for a folder without a finished run. A verdict that is no pass raises nothing: see `Evidence.reasons`.
    """
    if not folder.is_dir():
        raise MissingInput(f"{folder}: is not a folder; give the run folder of `safeml audit`.")
    run = read_run(folder)
    files = _checksums(folder)
    artefacts = _artefacts(run)
    needed = ["results.json", "run.json", "index.html", *(page_of(stage) for stage in run.stages), *artefacts]
    for name in needed:
        if name not in files:
            raise InputRefused(
                f"{folder / CHECKSUMS}: does not list {name}; finish the run, or draw its report again with `safeml report {folder}`."
            )
    for name, expected in files.items():
        _check_file(folder, name, expected)
        if artefacts.get(name, expected) != expected:
            raise InputRefused(
                f"{folder / name}: is not the file that its stage recorded in results.json; audit again with --out {folder}."
            )
    times = read_times(folder)
    assert times is not None  # run.json is listed, so it is there
    if not follows(run, times.started[:10]):
        raise InputRefused(
            f"{folder / 'results.json'}: the verdict does not follow from the evidence and gates on {times.started[:10]}, so the file "
            "was edited; audit again."
        )
    _check_subjects(run, folder)
    verdict = decide_again(run.model_copy(update={"accept_quick": True}), today)
    return Evidence(
        folder,
        run,
        times,
        verdict,
        files,
        tuple(_reasons(run, verdict)),
    )


def _artefacts(run: Run) -> dict[str, str]:
    """Return the sha256 of each file that a stage of the model handed over, by its name in the run folder."""
    return {
        artefact_path(stage.stage, artefact.name): artefact.sha256
        for stage in run.stages
        if stage.subject == MODEL and stage.status == "ok"
        for artefact in stage.artefacts
    }


def _reasons(run: Run, verdict: Verdict) -> list[str]:
    """Return why the run is no release, one sentence each."""
    reasons = []
    if verdict.exit_code != ExitCode.PASSED:
        words = verdict.status.replace("_", " ")
        sentence = verdict.sentence.replace(NARROW_SPACE, " ")
        reasons.append(f"The verdict is {words}: {sentence}")
    if run.profile != FULL:
        reasons.append(f"The run is of the {run.profile} profile; a release needs the full one.")
    if _names_reference(run) and not any(_is_comparison(stage) for stage in run.stages):
        reasons.append("The settings name a reference model, and the comparison with it was not measured.")
    return reasons


def _names_reference(run: Run) -> bool:
    stages = run.configuration.get("stages")
    comparison = stages.get(COMPARISON.name) if isinstance(stages, dict) else None
    return isinstance(comparison, dict) and comparison.get("reference") is not None


def _is_comparison(stage: StageResult) -> bool:
    return (stage.stage, stage.subject, stage.status) == (COMPARISON.name, MODEL, "ok")


def _check_subjects(run: Run, folder: Path) -> None:
    """Raise InputRefused for a stage whose numbers are those of another model."""
    for stage in run.stages:
        made = stage.provenance
        if stage.subject == MODEL and made is not None and made.model != run.model.fingerprint:
            raise InputRefused(
                f"{folder / 'results.json'}: the stage {stage.stage} was measured on another model ({made.model[:12]}) than the run "
                f"({run.model.fingerprint[:12]}); audit again."
            )


def _checksums(folder: Path) -> dict[str, str]:
    """Read SHA256SUMS: names relative to the folder, each once."""
    path = folder / CHECKSUMS
    try:
        text = read_plain(path, MOST_CHECKSUM_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise MissingInput(
            f"{path}: there is no such file, so the run is not finished; finish it, or draw its report again with `safeml report {folder}`."
        ) from None
    except (OSError, ValueError) as error:
        raise InputRefused(
            f"{path}: cannot be read ({error}); expected the file of `safeml audit`."
        ) from None
    files: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = LINE.fullmatch(line)
        if match is None or match[2] in files or len(files) >= MOST_FILES:
            raise InputRefused(
                f"{path}:{number}: is no line of a sha256 and a new file name; draw the report again with `safeml report {folder}`."
            )
        files[match[2]] = match[1]
    return files


def _check_file(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise InputRefused(f"{path}: is listed in {CHECKSUMS} and is not there as a plain file; audit again.")
    if file_sha256(path) != expected:
        raise InputRefused(
            f"{path}: has another sha256 than {CHECKSUMS} lists, so one of them was changed after the run; restore it, or audit again."
        )


def class_names(run: Run) -> tuple[str, ...]:
    """Return the names of the classes in their order, () where the run does not record them.

    The recall of each class is recorded in the order of the classes.
    """
    start = "class:"
    for stage in run.stages:
        if (stage.stage, stage.subject) == ("performance", MODEL):
            slices = [metric.slice for metric in stage.metrics if metric.name == "recall"]
            return tuple(entry.removeprefix(start) for entry in slices if entry.startswith(start))
    return ()
