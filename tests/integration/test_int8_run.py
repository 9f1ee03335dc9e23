"""`safeml run` from a `quantize.toml` to a verdict on the exported INT8 file: its measurements, its pages, and checks that failed."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from safeml.config.audit import load_config
from safeml.errors import ExitCode
from safeml.export import build
from safeml.export.checks import Check
from safeml.results import Run, StageResult
from safeml.store.files import read_run
from tests import tiny
from tests.opening import command_here
from tests.small_signs import write_project

pytestmark = pytest.mark.slow
OFF = ("training", "calibration", "balance", "physical", "perturbation")
SETTINGS = f"""
[model]
quantize = "quantize.toml"
[data.test]
kind = "npz"
path = "test.npz"
{tiny.toml(**{name: {"enabled": False} for name in OFF}, adversarial={"certify": False, "images": 24, "threats": [{"norm": "linf", "epsilon": "4/255"}]})}
[[gates]]
id = "accuracy"
stage = "performance"
metric = "clean_accuracy"
op = ">="
threshold = 0.9
[[gates]]
id = "robust"
stage = "adversarial"
metric = "robust_accuracy.linf_4"
op = ">="
threshold = 0.5
[[gates]]
id = "robust-drop"
stage = "comparison"
metric = "robust_accuracy_drop"
op = "<="
threshold = 0.9
[[gates]]
id = "masking"
stage = "adversarial"
metric = "masking_flags"
op = "=="
threshold = 0
"""
# The other formats have tests of their own, and take longer than the audit.
ROWS = tuple(row for row in build.ROWS if row.name in ("lint", "parity", "float"))


@pytest.fixture(scope="module", autouse=True)
def _few_checks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "ROWS", ROWS)
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    (folder / "safeml.toml").write_text(SETTINGS, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def planned(project: Path) -> str:
    """The plan of a run before it."""
    text = command_here("plan", "--no-probe", folder=project).stdout
    assert not (project / "reports").exists()
    return text


@pytest.fixture(scope="module")
def audited(project: Path, planned: str) -> tuple[Run, str]:
    """The run, and what it printed."""
    done = command_here("run", "-o", "run", folder=project)
    assert (project / "run").is_dir(), done.stderr
    return read_run(project / "run"), done.stdout + done.stderr


def int8_folder(project: Path) -> Path:
    (folder,) = (project / "reports" / "quantized").iterdir()
    return folder


def stage(run: Run, name: str) -> StageResult:
    return next(entry for entry in run.stages if entry.stage == name)


def failing(name: str) -> tuple[build.Row, ...]:
    """The rows of the checks, of which one fails."""

    def failed(row: build.Row) -> build.Row:
        def run(material: object) -> Check:
            row.run(material)  # type: ignore[arg-type]
            return Check(row.name, "failed", "It is made to fail.")

        return replace(row, run=run)

    return tuple(failed(row) if row.name == name else row for row in ROWS)


def test_the_plan_states_what_is_done_first_and_the_stages_of_the_file(planned: str) -> None:
    text = " ".join(planned.split())
    assert "`safeml run` first quantizes model.keras into reports/quantized/tiny-int8-" in text
    assert "it calibrates on 48 images and exports the INT8 file" in text
    assert "export-checks = 0 open" in text  # a gate that the settings do not have
    assert "robust-drop" in text


def test_a_run_ends_in_a_verdict_on_the_file(project: Path, audited: tuple[Run, str]) -> None:
    run, printed = audited
    folder = int8_folder(project)
    assert run.model.name == "tiny-int8"
    assert f"Exporting reports/quantized/{folder.name}/int8.keras." in printed
    assert {gate.id for gate in run.gates} == {
        "accuracy", "robust", "robust-drop", "masking", "linter", "export-checks",
    }  # fmt: skip
    states = {result.gate.id: result.status for result in run.verdict.gates}
    assert states["linter"] == states["export-checks"] == states["accuracy"] == "pass"
    # The robust accuracy of the file is measured, along the gradients of its source.
    robust = next(
        metric for metric in stage(run, "adversarial").metrics if metric.name == "robust_accuracy.linf_4"
    )
    assert robust.value is not None
    assert states["robust"] in ("pass", "not_proven", "fail")
    assert run.model.gradients is not None
    record = json.loads((folder / "quantization.json").read_text(encoding="utf-8"))
    assert run.model.gradients.fingerprint == record["files"]["int8"]["fingerprint"]
    assert stage(run, "comparison").provenance is not None
    assert run.configuration["model"]["path"].endswith("model.int8.onnx")
    for name in ("quantization", "conversion", "comparison"):
        assert stage(run, name).status == "ok", stage(run, name).reason
        page = (project / "run" / f"{name}.html").read_text(encoding="utf-8")
        assert stage(run, name).title in page
    assert not [finding for finding in stage(run, "quantization").findings if finding.severity == "serious"]


def test_finished_work_is_reused(project: Path, audited: tuple[Run, str]) -> None:
    folder = int8_folder(project)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    done = command_here("run", "-o", "run", folder=project)
    assert "holds this quantization already; it is reused." in done.stderr
    assert "holds the export of this model already; it is reused." in done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    assert done.returncode == audited[0].verdict.exit_code
    plan = command_here("plan", "--no-probe", folder=project).stdout
    assert "first quantizes" not in plan


def test_init_proposes_the_audit_of_the_file(project: Path, audited: tuple[Run, str]) -> None:
    folder = int8_folder(project)
    for model in (folder, folder / "model.int8.onnx"):
        done = command_here("init", "--model", model, "--data", "test.npz", "-o", "new.toml", "--force", folder=project)  # fmt: skip
        assert done.returncode == ExitCode.PASSED, done.stderr
        config = load_config(project / "new.toml")
        assert (project / config.model.path).resolve() == folder / "model.int8.onnx"
        assert (project / config.model.gradients).resolve() == folder / "int8.keras"
        values = tomllib.loads((project / "new.toml").read_text(encoding="utf-8"))
        reference = values["stages"]["comparison"]["reference"]
        assert (project / reference["path"]).resolve() == folder / "float.keras"
        # A drop is gated where so few signs can prove it, else accepted without an owner.
        named = {(entry.stage, entry.metric) for entry in (*config.gates, *config.accepted)}
        assert named > {("conversion", "linter_findings"), ("conversion", "failed_checks")}
        assert named > {("comparison", "accuracy_drop"), ("comparison", "negative_flips")}
        assert ("comparison", "robust_accuracy_drop") in named
    done = command_here("init", "--model", folder / "float.keras", "--data", "test.npz", "-o", "new.toml", "--force", folder=project)  # fmt: skip
    config = load_config(project / "new.toml")
    assert not config.model.gradients
    assert not {gate.stage for gate in config.gates} & {"conversion", "comparison"}


def test_a_failed_check_of_another_file_fails_the_verdict(
    project: Path, audited: tuple[Run, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (int8_folder(project) / "export.json").unlink()
    monkeypatch.setattr(build, "ROWS", failing("float"))
    done = command_here(
        "run", "-o", "failed", "--only", "conversion", "--only", "performance", folder=project
    )
    assert done.returncode == ExitCode.FAILED
    run = read_run(project / "failed")
    assert run.verdict.status == "failed"
    assert [result.gate.id for result in run.verdict.gates if result.status == "fail"] == ["export-checks"]
    again = command_here("gate", "failed", "-c", "safeml.toml", folder=project)
    assert again.returncode == ExitCode.FAILED
    # Without the gate, an alarm keeps the same evidence from a pass.
    head, first, *_ = SETTINGS.replace('quantize = "quantize.toml"', 'path = "m.keras"').split("[[gates]]")
    (project / "gates.toml").write_text(f"{head}[[gates]]{first}", encoding="utf-8")
    again = command_here("gate", "failed", "-c", "gates.toml", folder=project)
    assert again.returncode == ExitCode.NOT_PROVEN
    assert "Failed checks of the export" in again.stdout


def test_a_rejected_file_is_not_audited(
    project: Path, audited: tuple[Run, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = int8_folder(project)
    (folder / "export.json").unlink()
    monkeypatch.setattr(build, "ROWS", failing("lint"))
    done = command_here("run", "-o", "rejected", folder=project)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "model.int8.onnx failed the check lint of the export" in done.stderr
    assert "It is made to fail." in done.stderr
    assert not (project / "rejected").exists()
    init = command_here("init", "--model", folder, "--data", "test.npz", "-o", "refused.toml", folder=project)
    assert init.returncode == ExitCode.REFUSED
    assert "whose model.int8.onnx failed a check of its export" in init.stderr


@pytest.mark.parametrize(
    ("arguments", "text", "sentence"),
    [
        (("audit",), SETTINGS, "model.quantize is set, not model.path; use `safeml run`, which quantizes and exports"),
        (("calibrate",), SETTINGS, "model.quantize is set, not model.path; name the model to scale"),
        (
            ("run",),
            SETTINGS.replace("[data.test]", "[model.input]\nrange = [-1.0, 1.0]\n[data.test]"),
            "model.input: differs from [model.input] of quantize.toml",
        ),
        (("plan", "--no-probe"), SETTINGS.replace("quantize.toml", "gone.toml"), "gone.toml"),
    ],
    ids=["audit", "calibrate", "another contract", "no quantize.toml"],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    arguments: tuple[str, ...], text: str, sentence: str, project: Path
) -> None:
    (project / "bad.toml").write_text(text, encoding="utf-8")
    done = command_here(*arguments, "-c", "bad.toml", folder=project)
    assert done.returncode == ExitCode.USAGE
    assert sentence in " ".join(done.stderr.split())
