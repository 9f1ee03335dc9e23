"""Artefacts of a stage: handed over whole, listed with their sha256, and a stage without its artefacts counts as not measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from safeml import pipeline
from safeml.classifiers.identity import model_identity
from safeml.config.audit import parse_config
from safeml.data.identity import data_identity
from safeml.data.place import Place
from safeml.errors import InputRefused, MissingInput
from safeml.monitors.state import load_state
from safeml.report.tracking import report_files
from safeml.report.write import write_report
from safeml.results import Artefact, RunTimes, StageResult, artefact_path
from safeml.stages.base import load
from safeml.stages.monitors import MONITORS
from safeml.store.artefacts import drop_other_artefacts, keep_artefact, read_artefact
from safeml.store.files import FolderError, file_sha256, keep_folder, read_run, sweep
from safeml.store.journal import Journal
from safeml.subject import Subject
from tests.monitor_cases import GATE, QUICK, Levels, inputs, signs

pytestmark = pytest.mark.slow

CONTENT = b'{"score": 1}\n'
KEY = "ef" * 32


def stored(folder: Path) -> StageResult:
    """A stage of the journal with one artefact."""
    journal = Journal(folder)
    artefact = journal.hand_over("monitors")("monitor.json", CONTENT)
    result = StageResult(stage="monitors", title="Monitors", artefacts=[artefact])
    journal.keep_stage(result, KEY, 1.0)
    return result


def test_an_artefact_is_recorded_and_read_back(tmp_path: Path) -> None:
    artefact = stored(tmp_path).artefacts[0]
    assert artefact.model_dump() == {
        "name": "monitor.json",
        "bytes": 13,
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    assert (tmp_path / "artefacts" / "monitors" / "monitor.json").read_bytes() == CONTENT
    assert read_artefact(tmp_path, "monitors", artefact) == CONTENT
    assert Journal(tmp_path).stage("monitors", KEY) is not None


def removed(path: Path) -> None:
    path.unlink()


def changed(path: Path) -> None:
    path.write_bytes(CONTENT.replace(b"1", b"2"))


def longer(path: Path) -> None:
    path.write_bytes(CONTENT + b" ")


def linked(path: Path) -> None:
    other = path.with_name("other.json")
    path.rename(other)
    path.symlink_to(other)


@pytest.mark.parametrize("change", [removed, changed, longer, linked])
def test_a_stage_whose_artefact_is_not_the_recorded_file_is_measured_again(change, tmp_path: Path) -> None:
    artefact = stored(tmp_path).artefacts[0]
    change(tmp_path / artefact_path("monitors", artefact.name))
    journal = Journal(tmp_path)
    assert journal.stage("monitors", KEY) is None
    reason = "is missing" if change is removed else "is not the file that the stage recorded"
    assert [(entry.entry, entry.reason) for entry in journal.recomputed] == [
        ("artefacts/monitors/monitor.json", reason)
    ]
    with pytest.raises(MissingInput if change is removed else InputRefused, match=r"monitor\.json"):
        read_artefact(tmp_path, "monitors", artefact)


@pytest.mark.parametrize("name", ["../monitor.json", "a/b.json", "monitor.html", ".json", "Monitor.json", ""])
def test_an_artefact_has_a_plain_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        keep_artefact(tmp_path, "monitors", name, CONTENT)
    assert list(tmp_path.iterdir()) == []


def test_an_artefact_of_one_name_is_recorded_once() -> None:
    artefact = Artefact.of("monitor.json", CONTENT)
    with pytest.raises(ValidationError, match="recorded twice"):
        StageResult(stage="monitors", title="Monitors", artefacts=[artefact, artefact])


def test_artefacts_of_no_recorded_stage_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    result = stored(tmp_path)
    keep_artefact(tmp_path, "monitors", "older.npz", b"1")
    keep_artefact(tmp_path, "calibration", "older.json", b"1")
    (tmp_path / "artefacts" / "monitors" / "notes.txt").write_text("of the user")
    left = keep_folder(tmp_path / "artefacts" / "monitors") / ".monitor.npz.abcd1234.tmp"
    left.write_bytes(b"half")
    sweep(tmp_path)
    drop_other_artefacts(tmp_path, [result])
    there = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "artefacts").rglob("*"))
    assert there == [
        "artefacts/monitors",
        "artefacts/monitors/monitor.json",
        "artefacts/monitors/notes.txt",
    ]


def audited(
    folder: Path, monkeypatch: pytest.MonkeyPatch, measured: list[str]
) -> tuple[pipeline.Run, RunTimes]:
    """Run the pipeline on the stage monitors alone, with a model of NumPy; `measured` counts its measurements."""
    given = inputs(test=signs(60, 4, 3))
    data = [
        data_identity(role, getattr(given, name))
        for role, name in (("test", "test"), ("train", "train"), ("valid", "valid"))
    ]
    subject = Subject(given, lambda: None, "", model_identity(given.classifier), data, {})
    monkeypatch.setattr(pipeline, "open_subject", lambda *rest: subject)
    config = parse_config(
        {
            "model": {"path": "levels.keras"},
            "data": {"test": {"kind": "npz", "path": "test.npz", "frames_per_sign": 1}},
            "stages": {"monitors": QUICK.model_dump(mode="json")},
            "gates": [GATE],
        },
        "safeml.toml",
    )

    def counted(name: str) -> object:
        measured.append(name)
        return load(name)

    monkeypatch.setattr(pipeline, "load", counted)
    run, times, _ = pipeline.audit(
        config,
        Place(folder.parent, None),
        folder.parent / "levels.keras",
        folder,
        stages=[MONITORS],
        finish=lambda run, times, folder: write_report(run, folder, times),
    )
    return run, times


def test_a_run_lists_its_artefacts_and_measures_again_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    run, _ = audited(tmp_path / "one", monkeypatch, measured)
    [stage] = run.stages
    assert [artefact.name for artefact in stage.artefacts] == ["monitor.json", "monitor.npz"]
    files = tmp_path / "one" / "artefacts" / "monitors"
    sums = dict(
        reversed(line.split("  ")) for line in (tmp_path / "one" / "SHA256SUMS").read_text().splitlines()
    )
    for artefact in stage.artefacts:
        assert (files / artefact.name).stat().st_size == artefact.bytes
        assert sums[f"artefacts/monitors/{artefact.name}"] == artefact.sha256
        assert file_sha256(files / artefact.name) == artefact.sha256
    assert files / "monitor.npz" in report_files(tmp_path / "one")
    page = (tmp_path / "one" / "monitors.html").read_text()
    assert "artefacts/monitors/monitor.npz" in page

    # Equal runs give equal bytes, and a finished stage is not measured again.
    audited(tmp_path / "two", monkeypatch, measured)
    other = tmp_path / "two" / "artefacts" / "monitors"
    for artefact in stage.artefacts:
        assert (files / artefact.name).read_bytes() == (other / artefact.name).read_bytes()
    assert len(measured) == 2
    _, times = audited(tmp_path / "one", monkeypatch, measured)
    assert (len(measured), times.resume.stages) == (2, ["monitors"])

    before = (files / "monitor.npz").read_bytes()
    (files / "monitor.npz").unlink()
    again, times = audited(tmp_path / "one", monkeypatch, measured)
    assert len(measured) == 3
    assert [(entry.entry, entry.reason) for entry in times.resume.recomputed] == [
        ("artefacts/monitors/monitor.npz", "is missing")
    ]
    assert (files / "monitor.npz").read_bytes() == before
    assert again.stages == run.stages


def test_a_folder_that_takes_no_artefact_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later stages could not be stored either; a stage is not recorded without its files."""

    def full(path: Path, content: bytes) -> None:
        raise FolderError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr("safeml.store.artefacts.keep", full)
    with pytest.raises(FolderError, match="No space left"):
        audited(tmp_path / "run", monkeypatch, [])
    assert not (tmp_path / "run" / "stages").exists()
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_report_is_drawn_from_the_results_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audited(tmp_path / "run", monkeypatch, [])
    run = read_run(tmp_path / "run")
    keep_folder(tmp_path / "elsewhere")
    write_report(run, tmp_path / "elsewhere", None)
    assert "artefacts/monitors/monitor.json" in (tmp_path / "elsewhere" / "monitors.html").read_text()
    assert "artefacts/" not in (tmp_path / "elsewhere" / "SHA256SUMS").read_text()
    # A changed artefact keeps the recorded sum, so that `sha256sum -c` finds it.
    changed_file = tmp_path / "run" / "artefacts" / "monitors" / "monitor.json"
    changed_file.write_text("{}")
    write_report(run, tmp_path / "run", None)
    assert file_sha256(changed_file) not in (tmp_path / "run" / "SHA256SUMS").read_text()


def test_the_state_belongs_to_the_model_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = audited(tmp_path / "run", monkeypatch, [])
    folder = tmp_path / "run" / "artefacts" / "monitors"
    state = load_state(str(folder), run.model.fingerprint, 4, 5)
    assert state.fingerprint == file_sha256(folder / "monitor.json")
    assert json.loads((folder / "monitor.json").read_text())["model"] == Levels().fingerprint
