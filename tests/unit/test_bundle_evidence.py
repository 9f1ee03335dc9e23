"""What becomes a bundle: a run whose files, verdict, export and model belong together, and nothing else without a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safeml.bundle.build import NO_MONITOR, check_override
from safeml.bundle.evidence import NotReleased, class_names, read_evidence
from safeml.bundle.models import read_export
from safeml.errors import InputRefused, MissingInput
from safeml.report.write import CHECKSUMS
from safeml.results import Gate, Provenance, Run
from safeml.store.files import file_sha256, read_run, read_times, to_json
from tests import bundle_runs
from tests.bundle_runs import DAY
from tests.sample_run import gate, waiver

pytestmark = pytest.mark.slow


def again(folder: Path, name: str) -> None:
    """List the present content of a file in SHA256SUMS."""
    sums = folder / CHECKSUMS
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(f"  {name}")]
    sums.write_text("\n".join(sorted([*lines, f"{file_sha256(folder / name)}  {name}"])) + "\n")


def edit_run(folder: Path, change: Callable[[Run], Run]) -> None:
    """Change the records of a run, and its checksums with them."""
    (folder / "results.json").write_text(to_json(change(read_run(folder))))
    again(folder, "results.json")


def test_a_passed_full_run_is_a_release(tmp_path: Path) -> None:
    run, export = bundle_runs.release(tmp_path)
    evidence = read_evidence(run, DAY)
    assert (evidence.reasons, evidence.monitor, evidence.result(False)) == ((), True, "PASSED")
    assert evidence.counts() == {"passed": 1, "failed": 0, "not_proven": 0, "waived": 0}
    assert class_names(evidence.run) == bundle_runs.NAMES
    assert [model.key for model in read_export(export, evidence).models] == ["int8", "float"]


@pytest.mark.parametrize(
    ("fields", "result", "code", "words"),
    [
        ({"threshold": 0.99}, "FAILED", 1, "failed"),
        ({"threshold": 0.97}, "FAILED", 3, "not proven"),
        ({"profile": "standard"}, "WARNED", 4, "standard profile"),
        ({"profile": "quick"}, "WARNED", 3, "quick profile"),
        ({"profile": "quick", "accept_quick": True}, "WARNED", 4, "quick profile"),
        ({"without": "performance"}, "FAILED", 4, "incomplete"),
        ({"without": "comparison"}, "WARNED", 4, "name a reference model"),
    ],
)
def test_what_is_no_release_needs_a_reason(fields: Any, result: str, code: int, words: str, tmp_path: Path) -> None:  # fmt: skip
    run, _ = bundle_runs.release(tmp_path, **fields)
    evidence = read_evidence(run, DAY)
    assert evidence.result(True) == result
    with pytest.raises(NotReleased, match=words) as caught:
        check_override(evidence.reasons, " ", evidence)
    assert int(caught.value.exit_code) == code
    check_override(evidence.reasons, "the fleet waits", evidence)


def test_without_a_monitor_a_reason_is_needed(tmp_path: Path) -> None:
    run, _ = bundle_runs.release(tmp_path, monitor=False)
    evidence = read_evidence(run, DAY)
    assert not evidence.monitor
    with pytest.raises(NotReleased, match="no monitor"):
        check_override((NO_MONITOR,), "", evidence)


def waived(until: str) -> list[Gate]:
    return [gate("clean-accuracy", "clean_accuracy", threshold=0.99, waiver=waiver(until))]


def test_a_waiver_that_expired_since_fails_its_gate(tmp_path: Path) -> None:
    run, _ = bundle_runs.release(tmp_path, gates=waived("2026-07-01"))
    assert read_evidence(run, "2026-07-01").reasons == ()
    late = read_evidence(run, "2026-07-02")
    assert late.verdict.status == "failed"
    assert "verdict is failed" in late.reasons[0]
    assert late.counts()["failed"] == 1


@pytest.mark.parametrize(
    "name", ["results.json", "run.json", "index.html", "performance.html", "artefacts/monitors/monitor.npz"]
)
def test_a_file_that_changed_is_found(name: str, tmp_path: Path) -> None:
    run, _ = bundle_runs.release(tmp_path)
    path = run / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputRefused, match=f"{Path(name).name}: has another sha256"):
        read_evidence(run, DAY)


@pytest.mark.parametrize("name", ["index.html", "run.json", "artefacts/monitors/monitor.json"])
def test_a_file_that_is_gone_or_a_link_is_found(name: str, tmp_path: Path) -> None:
    run, _ = bundle_runs.release(tmp_path)
    path = run / name
    moved = path.rename(tmp_path / "moved")
    with pytest.raises(InputRefused, match="not there as a plain file"):
        read_evidence(run, DAY)
    path.symlink_to(moved)
    with pytest.raises(InputRefused, match="not there as a plain file"):
        read_evidence(run, DAY)


@pytest.mark.parametrize("name", ["results.json", "comparison.html", "artefacts/monitors/monitor.json"])
def test_a_file_that_no_checksum_covers_is_found(name: str, tmp_path: Path) -> None:
    run, _ = bundle_runs.release(tmp_path)
    sums = run / CHECKSUMS
    sums.write_text("".join(f"{line}\n" for line in sums.read_text().splitlines() if name not in line))
    with pytest.raises(InputRefused, match=f"does not list {name}"):
        read_evidence(run, DAY)


@pytest.mark.parametrize("line", ["no sum", f"{'0' * 64}  ../out", f"{'0' * 64}  /etc/x", f"{'0' * 63}  a"])
def test_a_list_of_another_form_is_refused(line: str, tmp_path: Path) -> None:
    run, _ = bundle_runs.release(tmp_path)
    with (run / CHECKSUMS).open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(InputRefused, match="is no line of a sha256"):
        read_evidence(run, DAY)


def test_an_edited_verdict_is_found(tmp_path: Path) -> None:
    run, _ = bundle_runs.release(tmp_path, threshold=0.99)
    passed = {"status": "passed", "exit_code": 0}
    edit_run(run, lambda found: found.model_copy(update={"verdict": found.verdict.model_copy(update=passed)}))
    with pytest.raises(InputRefused, match="does not follow from the evidence"):
        read_evidence(run, DAY)


def test_a_stage_of_another_model_is_found(tmp_path: Path) -> None:
    run, _ = bundle_runs.release(tmp_path)

    def foreign(found: Run) -> Run:
        made = Provenance(model="f" * 64, data="d" * 64, settings={}, seed=7)
        return found.model_copy(
            update={"stages": [found.stages[0].model_copy(update={"provenance": made}), *found.stages[1:]]}
        )

    edit_run(run, foreign)
    with pytest.raises(InputRefused, match="was measured on another model"):
        read_evidence(run, DAY)


def test_a_monitor_that_the_stage_did_not_record_is_found(tmp_path: Path) -> None:
    run, _ = bundle_runs.release(tmp_path)
    name = "artefacts/monitors/monitor.json"
    (run / name).write_bytes((run / name).read_bytes() + b"\n")
    again(run, name)
    with pytest.raises(InputRefused, match="is not the file that its stage recorded"):
        read_evidence(run, DAY)


def test_a_folder_without_a_finished_run_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingInput):
        read_evidence(tmp_path / "none", DAY)
    run, _ = bundle_runs.release(tmp_path)
    (run / CHECKSUMS).unlink()
    with pytest.raises(MissingInput, match="the run is not finished"):
        read_evidence(run, DAY)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "failed"}, "the export failed"),
        ({"checks": [{"name": "parity", "status": "failed"}]}, "parity"),
        ({"files": []}, "does not list model.int8.onnx"),
    ],
)
def test_an_export_that_failed_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    run, export = bundle_runs.release(tmp_path)
    record = json.loads((export / "export.json").read_text())
    (export / "export.json").write_text(json.dumps({**record, **changes}))
    with pytest.raises(InputRefused, match=words):
        read_export(export, read_evidence(run, DAY))


def test_another_file_than_the_listed_one_is_refused(tmp_path: Path) -> None:
    run, export = bundle_runs.release(tmp_path)
    bundle_runs.write_model(export / "model.float.onnx", seed=9)
    with pytest.raises(InputRefused, match=r"is not the file that export\.json lists"):
        read_export(export, read_evidence(run, DAY))


def test_another_model_than_the_audited_one_is_refused(tmp_path: Path) -> None:
    run, export = bundle_runs.release(tmp_path)
    evidence = read_evidence(run, DAY)
    other = evidence.run.model.model_copy(update={"fingerprint": "a" * 64})
    renamed = evidence.run.model_copy(update={"model": other})
    with pytest.raises(InputRefused, match="its fingerprint is"):
        read_export(export, type(evidence)(**{**vars(evidence), "run": renamed}))
    times = read_times(run)
    assert times is not None
    moved = times.model_copy(update={"model_file_sha256": "b" * 64})
    with pytest.raises(InputRefused, match="its sha256 is"):
        read_export(export, type(evidence)(**{**vars(evidence), "times": moved}))


def test_no_export_is_missing_and_a_name_outside_is_refused(tmp_path: Path) -> None:
    run, export = bundle_runs.release(tmp_path)
    evidence = read_evidence(run, DAY)
    with pytest.raises(MissingInput, match="there is no such file"):
        read_export(tmp_path, evidence)
    record = json.loads((export / "export.json").read_text())
    record["files"].append({"name": "../run/results.json", "bytes": 1, "sha256": "0" * 64})
    (export / "export.json").write_text(json.dumps(record))
    with pytest.raises(InputRefused, match="outside of the folder"):
        read_export(export, evidence)
