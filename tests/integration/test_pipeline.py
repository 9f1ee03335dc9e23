"""The whole chain on rendered signs: settings in; verdict, report and exit code out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from safeml.stages import STAGES
from safeml.store.files import read_run
from tests.integration.trained import trained_model, write_project
from tests.opening import command_here as safeml
from tests.toy.project import finish, write_toy

pytestmark = pytest.mark.slow


def test_a_weak_model_fails_and_the_exit_code_says_so(tiny_project: Path) -> None:
    run = read_run(tiny_project / "run")
    assert run.verdict.status == "failed"
    assert run.verdict.exit_code == 1
    assert {stage.stage: stage.status for stage in run.stages} == {
        row.name: "ok" for row in STAGES if row.only_with is None
    }
    attacked = next(stage for stage in run.stages if stage.stage == "adversarial")
    assert attacked.ledger is not None
    assert len(attacked.ledger.rows) == 32
    [rows] = [figure.rows for figure in attacked.figures if figure.id == "attacks"]
    assert [row[0] for row in rows] == [
        "FGSM", "PGD", "FMN", "APGD-PM", "APGD-CE", "APGD-T", "Square", "worst case",
    ]  # fmt: skip
    names = {path.name for path in (tiny_project / "run").iterdir()}
    pages = {f"{stage.stage}.html" for stage in run.stages}
    assert {
        "index.html",
        "junit.xml",
        "summary.md",
        "safety_case.html",
        "model-card.md",
        "model-card.json",
        "SHA256SUMS",
        "results.json",
        "run.json",
        *pages,
    } <= names
    assert run.verdict.sentence in (tiny_project / "run" / "summary.md").read_text()


def test_training_left_checkpoints_of_modelcheckpoint_and_a_manifest(tiny_project: Path) -> None:
    trained = trained_model(tiny_project)
    manifest = json.loads((trained / "training.json").read_text())
    assert (trained / manifest["chosen"]["file"]).is_file()
    assert manifest["chosen"]["value"] == max(epoch["val_accuracy"] for epoch in manifest["epochs"])
    assert manifest["chosen"]["file"] in {path.name for path in (trained / "checkpoints").iterdir()}
    assert read_run(tiny_project / "run").model.fingerprint == manifest["model_fingerprint"]


def test_training_alone_ends_in_a_report_and_the_same_recipe_in_the_same_file(
    tiny_project: Path, tmp_path: Path
) -> None:
    done = safeml("train", tiny_project / "recipe.toml", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "training.html" in done.stdout
    page = (tmp_path / "out" / "training.html").read_text()
    assert "Validation accuracy" in page
    assert 'href="index.html"' not in page
    trained = trained_model(tiny_project)
    chosen = json.loads((trained / "training.json").read_text())["chosen"]["file"]
    assert (tmp_path / "out" / chosen).read_bytes() == (trained / chosen).read_bytes()


def test_an_onnx_model_is_audited_and_its_missing_gradient_is_missing_evidence(
    tiny_project: Path, tmp_path: Path
) -> None:
    import keras
    import numpy as np

    trained = trained_model(tiny_project)
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
        for folder in (tmp_path / "run", tiny_project / "run")
    ]
    assert values[0] == pytest.approx(values[1], abs=0.005)


def test_the_gate_command_decides_by_other_limits_without_the_model(
    tiny_project: Path, tmp_path: Path
) -> None:
    assert safeml("gate", tiny_project / "run").returncode == 1
    accepted = "".join(
        f'[[accepted]]\nstage = "{stage}"\nreason = "A tiny model"\nowner = "A. Owner"\n'
        for stage in (row.name for row in STAGES)
    )
    lenient = write_project(tmp_path, threshold=1e-6, extra=accepted)
    assert safeml("gate", tiny_project / "run", "--config", lenient).returncode == 0
    gate = '[[gates]]\nid = "x"\nstage = "adversarial"\nmetric = "robust_accuracy.linf_2"\nop = ">="\nthreshold = 1e-6\n'
    missing = write_project(tmp_path, 1e-6, gate)
    missing.write_text(missing.read_text().replace("4/255", "2/255"))  # which that run did not measure
    assert safeml("gate", tiny_project / "run", "--config", missing).returncode == 4


def test_the_report_is_drawn_again_to_the_byte(tiny_project: Path, tmp_path: Path) -> None:
    assert safeml("report", tiny_project / "run", "--out", tmp_path / "again").returncode == 0
    for name in ("index.html", "adversarial.html", "junit.xml", "summary.md", "SHA256SUMS"):
        assert (tmp_path / "again" / name).read_bytes() == (tiny_project / "run" / name).read_bytes(), name


def test_a_crashed_stage_never_passes(tmp_path: Path) -> None:
    write_toy(tmp_path)
    crash = """
from safeml.audits.performance import run as performance
def crash(*arguments):
    raise RuntimeError("the disk is on fire")
performance.run = crash
"""
    done = finish(tmp_path, "out", before=crash)
    assert done.returncode == 4, done.stderr
    assert "the disk is on fire" in (tmp_path / "out" / "performance.html").read_text()
    assert "the disk is on fire" in (tmp_path / "out" / "performance.log").read_text()
    assert not (tmp_path / "out" / "stages" / "performance.json").exists()


def test_a_disabled_stage_leaves_its_gates_missing(tmp_path: Path) -> None:
    config = write_toy(tmp_path)
    config.write_text(config.read_text().replace("bootstrap = 100", "enabled = false"))
    assert finish(tmp_path, "out").returncode == 4
    [skipped] = [s for s in read_run(tmp_path / "out").stages if s.stage == "performance"]
    assert skipped.status == "skipped"


def test_the_test_images_are_never_the_training_images(tiny_project: Path, tmp_path: Path) -> None:
    config = write_project(tmp_path)
    config.write_text(config.read_text().replace("images = 430\nseed = 3", "images = 860\nseed = 1"))
    model = trained_model(tiny_project)
    done = safeml("audit", "--config", config, "--model", model, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "same images" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["audit", "--config", "absent.toml"], 2, "absent.toml: cannot be read"),
        (["audit", "--model", "absent.keras"], 2, "absent.keras: there is no such file"),
        (["audit", "--profle", "quick"], 2, "--profile"),
        (["audit", "--profile", "fast"], 2, "fast"),
        (["audti"], 2, "audti"),
        (["audit"], 2, "safeml run"),
        (["gate", "."], 2, "results.json: there is no such file"),
        (["train", "absent.toml"], 2, "absent.toml: cannot be read"),
        (["init", "--model", "a", "--data", "b"], 2, "exists already"),
    ],
)
def test_a_mistake_is_one_sentence_and_an_exit_code(
    tiny_project: Path, arguments: list[str], code: int, message: str
) -> None:
    before = sorted(tiny_project.rglob("*"))
    done = safeml(*arguments, folder=tiny_project)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tiny_project.rglob("*")) == before
