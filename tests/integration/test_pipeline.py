"""The whole chain on rendered signs: settings in; verdict, report and exit code out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from safeml.data.place import Place
from safeml.report.write import write_report
from safeml.store.files import read_run

pytestmark = pytest.mark.slow

# Right for a third of the test images: enough for every attack to have some, and few enough to fail.
RECIPE = """
name = "tiny"
architecture = "lenet"
width = 4
epochs = 6
batch = 16
learning_rate = 0.01
[data.train]
kind = "rendered"
images = 860
seed = 1
[data.valid]
kind = "rendered"
images = 430
seed = 2
[augment]
shift = 0
rotation_degrees = 0
zoom = 0
brightness = 0
contrast = 0
"""
# The fewest steps and candidates that go through every attack and every threat to the sign.
TINY_ATTACKS = """apgd_steps = 10
targets = 2
fmn_steps = 5
queries = 50
"""
TINY_PHYSICAL = """[stages.physical]
images = 4
sticker_steps = 2
sticker_places = 2
shadow_shapes = 2
shadow_factors = [0.43]
graffiti_shapes = 2
rotation_points = 3
shift_points = 1
shift = 0
zoom_points = 1
zoom = 0
patch_steps = 2
"""
CONFIG = f"""
[model]
recipe = "recipe.toml"
[data.test]
kind = "rendered"
images = 430
seed = 3
[data.train]
kind = "rendered"
images = 860
seed = 1
[stages.performance]
bootstrap = 100
[stages.adversarial]
images = 32
steps = 5
{TINY_ATTACKS}threats = [{{norm = "linf", epsilon = "1/510"}}, {{norm = "linf", epsilon = "4/255"}}]
{TINY_PHYSICAL}[[gates]]
id = "accuracy"
stage = "performance"
metric = "clean_accuracy"
op = ">="
threshold = THRESHOLD
"""


def write_project(folder: Path, threshold: float = 0.95, extra: str = "") -> Path:
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "safeml.toml").write_text(CONFIG.replace("THRESHOLD", str(threshold)) + extra)
    return folder / "safeml.toml"


def safeml(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "safeml.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose model is trained and whose first run is done."""
    folder = tmp_path_factory.mktemp("project")
    done = safeml("run", "--config", write_project(folder), "--out", folder / "first")
    assert done.returncode == 1, done.stderr
    return folder


def test_a_weak_model_fails_and_the_exit_code_says_so(project: Path) -> None:
    run = read_run(project / "first")
    assert run.verdict.status == "failed"
    assert run.verdict.exit_code == 1
    assert {stage.stage: stage.status for stage in run.stages} == {
        "model": "ok", "training": "ok", "performance": "ok", "balance": "ok", "adversarial": "ok",
        "physical": "ok",
    }  # fmt: skip
    attacked = next(stage for stage in run.stages if stage.stage == "adversarial")
    assert attacked.ledger is not None
    assert len(attacked.ledger.rows) == 32
    [rows] = [figure.rows for figure in attacked.figures if figure.id == "attacks"]
    assert [row[0] for row in rows] == [
        "FGSM", "PGD", "FMN", "APGD-CE", "APGD-T", "Square", "worst case",
    ]  # fmt: skip
    names = {path.name for path in (project / "first").iterdir()}
    pages = {f"{stage.stage}.html" for stage in run.stages}
    assert {
        "index.html",
        "junit.xml",
        "summary.md",
        "SHA256SUMS",
        "results.json",
        "run.json",
        *pages,
    } <= names
    assert run.verdict.sentence in (project / "first" / "summary.md").read_text()


def test_training_left_checkpoints_of_modelcheckpoint_and_a_manifest(project: Path) -> None:
    [trained] = (project / "reports" / "trained").iterdir()
    manifest = json.loads((trained / "training.json").read_text())
    assert (trained / manifest["chosen"]["file"]).is_file()
    assert manifest["chosen"]["value"] == max(epoch["val_accuracy"] for epoch in manifest["epochs"])
    assert manifest["chosen"]["file"] in {path.name for path in (trained / "checkpoints").iterdir()}
    assert read_run(project / "first").model.fingerprint == manifest["model_fingerprint"]


def test_training_alone_ends_in_a_report_and_the_same_recipe_in_the_same_file(
    project: Path, tmp_path: Path
) -> None:
    done = safeml("train", project / "recipe.toml", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "training.html" in done.stdout
    page = (tmp_path / "out" / "training.html").read_text()
    assert "Validation accuracy" in page
    assert 'href="index.html"' not in page
    [trained] = (project / "reports" / "trained").iterdir()
    chosen = json.loads((trained / "training.json").read_text())["chosen"]["file"]
    assert (tmp_path / "out" / chosen).read_bytes() == (trained / chosen).read_bytes()


def test_an_onnx_model_is_audited_and_its_missing_gradient_is_missing_evidence(
    project: Path, tmp_path: Path
) -> None:
    import keras
    import numpy as np

    [trained] = (project / "reports" / "trained").iterdir()
    chosen = json.loads((trained / "training.json").read_text())["chosen"]["file"]
    model = keras.models.load_model(trained / chosen, compile=False)
    model(np.zeros((1, *model.input_shape[1:]), np.float32))
    model.export(tmp_path / "m.onnx", format="onnx", verbose=False)
    extra = '[[gates]]\nid = "robust"\nstage = "adversarial"\nmetric = "robust_accuracy.linf_4"\nop = ">="\nthreshold = 0.01\n'
    config = write_project(tmp_path, threshold=0.01, extra=extra)
    done = safeml("audit", "--config", config, "--model", tmp_path / "m.onnx", "--out", tmp_path / "run")
    assert done.returncode == 4, done.stderr
    assert "gives no gradient" in done.stdout
    stages = {stage.stage: stage for stage in read_run(tmp_path / "run").stages}
    for name, codes in (("adversarial", {"no_gradient"}), ("physical", {"no_gradient"})):
        assert stages[name].status == "ok"
        assert codes <= {finding.code for finding in stages[name].findings}
    undefined = {
        m.name for name in ("adversarial", "physical") for m in stages[name].metrics if m.value is None
    }
    assert {"robust_accuracy.linf_4", "physical_accuracy.sticker", "physical_accuracy.worst"} <= undefined
    values = [
        {m.name: m.value for stage in read_run(folder).stages for m in stage.metrics}["clean_accuracy"]
        for folder in (tmp_path / "run", project / "first")
    ]
    assert values[0] == pytest.approx(values[1], abs=0.005)


def test_a_second_run_gives_the_same_bytes(project: Path) -> None:
    done = safeml("run", "--config", project / "safeml.toml", "--out", project / "second")
    assert done.returncode == 1, done.stderr
    first, second = (json.loads((project / n / "results.json").read_text()) for n in ("first", "second"))
    assert first.pop("command") != second.pop("command")  # they name their folders
    assert first == second


def test_a_finished_stage_is_not_measured_again_and_a_damaged_one_is(project: Path) -> None:
    before = (project / "first" / "results.json").read_bytes()
    stage = project / "first" / "stages" / "performance.json"
    stage.write_text(stage.read_text().replace("0.", "0.9", 1))
    untouched = (project / "first" / "stages" / "adversarial.json").stat().st_mtime_ns
    assert safeml("run", "--config", project / "safeml.toml", "--out", project / "first").returncode == 1
    assert (project / "first" / "results.json").read_bytes() == before
    assert (project / "first" / "stages" / "adversarial.json").stat().st_mtime_ns == untouched


def test_the_gate_command_decides_by_other_limits_without_the_model(project: Path, tmp_path: Path) -> None:
    assert safeml("gate", project / "first").returncode == 1
    lenient = write_project(tmp_path, threshold=1e-6)
    assert safeml("gate", project / "first", "--config", lenient).returncode == 0
    missing = write_project(
        tmp_path,
        1e-6,
        '[[gates]]\nid = "x"\nstage = "balance"\nmetric = "small_classes"\nslice = "split:valid"\nop = "<="\nthreshold = 0\n',
    )
    assert safeml("gate", project / "first", "--config", missing).returncode == 4


def test_the_report_is_drawn_again_to_the_byte(project: Path, tmp_path: Path) -> None:
    assert safeml("report", project / "first", "--out", tmp_path / "again").returncode == 0
    for name in ("index.html", "adversarial.html", "junit.xml", "summary.md", "SHA256SUMS"):
        assert (tmp_path / "again" / name).read_bytes() == (project / "first" / name).read_bytes(), name


def test_a_crashed_stage_never_passes(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safeml import pipeline
    from safeml.audits.performance import run as performance
    from safeml.config.audit import load_config

    def crash(*arguments: object) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(performance, "run", crash)
    config = load_config(write_project(tmp_path, threshold=1e-6))
    [model] = (project / "reports" / "trained").iterdir()
    run, times, folder = pipeline.audit(config, Place(tmp_path, tmp_path), model, tmp_path / "out")
    write_report(run, folder, times)
    assert run.verdict.exit_code == 4
    assert "the disk is on fire" in (folder / "performance.html").read_text()
    assert not (folder / "stages" / "performance.json").exists()


def test_a_disabled_stage_leaves_its_gates_missing(project: Path, tmp_path: Path) -> None:
    config = write_project(tmp_path, threshold=1e-6)
    config.write_text(config.read_text().replace("bootstrap = 100", "enabled = false"))
    [model] = (project / "reports" / "trained").iterdir()
    assert safeml("audit", "--config", config, "--model", model, "--out", tmp_path / "out").returncode == 4


def test_the_test_images_are_never_the_training_images(project: Path, tmp_path: Path) -> None:
    config = write_project(tmp_path)
    config.write_text(config.read_text().replace("images = 430\nseed = 3", "images = 860\nseed = 1"))
    [model] = (project / "reports" / "trained").iterdir()
    done = safeml("audit", "--config", config, "--model", model, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "same images" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["audit", "--config", "absent.toml"], 2, "absent.toml: cannot be read"),
        (["audit", "--model", "absent.keras"], 5, "absent.keras: there is no such file"),
        (["audit", "--profle", "quick"], 2, "--profile"),
        (["audit", "--profile", "fast"], 2, "fast"),
        (["audti"], 2, "audti"),
        (["audit"], 2, "safeml run"),
        (["gate", "."], 5, "results.json: cannot be read"),
        (["train", "absent.toml"], 2, "absent.toml: cannot be read"),
        (["init", "--model", "a", "--data", "b"], 2, "exists already"),
    ],
)
def test_a_mistake_is_one_sentence_and_an_exit_code(
    project: Path, arguments: list[str], code: int, message: str
) -> None:
    before = sorted(project.rglob("*"))
    done = safeml(*arguments, cwd=project)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(project.rglob("*")) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_ends_cleanly_and_goes_on(project: Path, number: int, code: int) -> None:
    out = project / f"interrupted-{code}"
    command = [
        sys.executable,
        "-m",
        "safeml.cli.main",
        "run",
        "--config",
        str(project / "safeml.toml"),
        "--out",
        str(out),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ})
    deadline = time.monotonic() + 240
    while not (out / "stages" / "performance.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    if process.returncode != 1:  # it may have been done already
        assert process.returncode == code, errors
        assert "resumes from it" in errors
        assert not (out / "results.json").exists()
    assert not list(out.rglob("*.tmp"))
    assert safeml("run", "--config", project / "safeml.toml", "--out", out).returncode == 1
    found, expected = (
        json.loads((folder / "results.json").read_text()) for folder in (out, project / "first")
    )
    assert found["stages"] == expected["stages"]
