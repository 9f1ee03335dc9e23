"""Who audits the auditor: models whose verdict is known before the audit, from the settings file to the exit code.

The models are tables of logits, so each run takes no framework. A linear classifier, whose robust accuracy has a closed form,
and networks that hide their gradient need one: they are in test_adversarial_audit and test_masking.
Legend: N images, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from safeml.audits.base import AuditInputs, Reference
from safeml.audits.comparison.run import run as compare
from safeml.classifiers import load
from safeml.classifiers.batches import BatchSize
from safeml.gates import decide
from safeml.results import GateStatus, ModelOrigin, ModelScan, Run, StageResult
from safeml.scan.sources import Source
from safeml.stages import OWN
from safeml.stages.alarms import with_alarms
from safeml.stages.comparison import COMPARISON, ComparisonSettings
from safeml.store.files import read_run
from tests.fakes import Answers, dataset, numbered_images
from tests.opening import command_here
from tests.records import codes, metric

pytestmark = pytest.mark.slow

K, N = 4, 600
LABELS = np.random.default_rng(0).permutation(np.arange(N) % K)
DARK = np.arange(N) < N // 2
MEASURED = ("performance", "fairness", "calibration")
SETTINGS = "\n".join(
    [
        '[model]\npath = "model.bin"',
        '[data.test]\nkind = "npz"\npath = "test.npz"\nframes_per_sign = 1',
        '[data]\ngroups = "groups.csv"',
        "[stages.performance]\nbootstrap = 100",
        "[stages.calibration]\nresamples = 100",
        *(f"[stages.{row.name}]\nenabled = false" for row in OWN if row.name not in MEASURED),
        *(
            f'[[gates]]\nid = "{name}"\nstage = "{stage}"\nmetric = "{metric}"\nop = "{op}"\nthreshold = {limit}'
            for name, stage, metric, op, limit in (
                ("accuracy", "performance", "clean_accuracy", ">=", 0.95),
                ("harm", "performance", "hazard_weighted_error", "<=", 0.05),
                ("calibration", "calibration", "smooth_ece_excess", "<=", 0.04),
                ("gap", "fairness", "accuracy_gap_groups", "<=", 0.05),
            )
        ),
    ]
)


@dataclass(frozen=True, eq=False)
class Known(Answers):
    """A table of logits that is asked in batches."""

    batch: BatchSize = field(default_factory=lambda: BatchSize(256))


class Audited(NamedTuple):
    """The exit code of a run, the record, the state of each gate and the stages by name."""

    code: int
    run: Run
    gates: dict[str, GateStatus]
    stages: dict[str, StageResult]


Audit = Callable[..., Audited]


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """Audit a table of logits [N, K] on test images with these labels, by the command line."""

    def audited(logits: np.ndarray, labels: np.ndarray = LABELS, images: int = N) -> Audited:
        model = Known(logits)
        scan = ModelScan(
            status="accepted", path="model.bin", format="Keras archive", sha256="0" * 64, bytes=1, scanner=1
        )
        opened = SimpleNamespace(
            model=SimpleNamespace(fed=lambda contract, class_names, name: model),
            source=Source(tmp_path / "model.bin"),
            title="known",
            manifest=None,
            file_sha256="0" * 64,
            origin=ModelOrigin(scan=scan, network="none", memory_limit=0, seconds_limit=0),
            check_unchanged=lambda: None,
        )
        monkeypatch.setattr(load, "load_model", lambda path: opened)
        names = np.array([f"class {k}" for k in range(K)])
        np.savez(
            tmp_path / "test.npz",
            images=numbered_images(N)[:images],
            labels=labels[:images],
            class_names=names,
        )
        (tmp_path / "safeml.toml").write_text(SETTINGS)
        rows = (f"{k},{'dark' if DARK[k] else 'light'}" for k in range(images))
        (tmp_path / "groups.csv").write_text("\n".join(["image,light", *rows]))
        done = command_here("audit", "--config", tmp_path / "safeml.toml", "--out", tmp_path / "run")
        assert (tmp_path / "run" / "results.json").exists(), done.stderr
        run = read_run(tmp_path / "run")
        assert done.returncode == run.verdict.exit_code, done.stderr
        assert command_here("gate", tmp_path / "run").returncode == done.returncode
        assert (
            run.verdict.status.replace("_", " ").upper()
            in (tmp_path / "run" / "index.html").read_text().upper()
        )
        states = {result.gate.id: result.status for result in run.verdict.gates}
        return Audited(done.returncode, run, states, {stage.stage: stage for stage in run.stages})

    return audited


def answers(predicted: np.ndarray, confidence: float = 0.999) -> np.ndarray:
    """Logits [N, K] of these classes with this confidence; the rest is shared evenly."""
    shares = np.full((len(predicted), K), (1 - confidence) / (K - 1))
    shares[np.arange(len(predicted)), predicted] = confidence
    return np.log(shares)


def check_chance(result: Audited) -> None:
    """The accuracy is that of guessing, within four standard errors."""
    accuracy = metric(result.stages["performance"], "clean_accuracy").value
    assert accuracy == pytest.approx(1 / K, abs=4 * (1 / K * (1 - 1 / K) / N) ** 0.5)


def test_an_oracle_passes(audit: Audit) -> None:
    result = audit(answers(LABELS))
    assert (result.code, result.run.verdict.status) == (0, "passed")
    assert result.gates == dict.fromkeys(("accuracy", "harm", "calibration", "gap"), "pass")
    accuracy = metric(result.stages["performance"], "clean_accuracy")
    assert accuracy.value == 1
    assert accuracy.low == pytest.approx(0.025 ** (1 / N), abs=2e-3)  # Clopper and Pearson without an error


def test_a_constant_model_fails(audit: Audit) -> None:
    result = audit(answers(np.zeros(N, int)))
    assert result.code == 1
    assert result.gates["accuracy"] == result.gates["harm"] == "fail"
    assert metric(result.stages["performance"], "clean_accuracy").value == 1 / K
    assert "constant-answer" in codes(result.stages["performance"])


def test_equal_logits_are_no_prediction_to_trust(audit: Audit) -> None:
    result = audit(np.zeros((N, K)))
    assert result.code == 1
    assert "tied-logits" in codes(result.stages["performance"])


def test_a_random_model_fails(audit: Audit) -> None:
    result = audit(answers(np.random.default_rng(1).integers(0, K, N)))
    assert (result.code, result.gates["accuracy"]) == (1, "fail")
    check_chance(result)


def test_permuted_labels_fail(audit: Audit) -> None:
    """Labels in random order: the model is the oracle of the labels before."""
    result = audit(answers(LABELS), np.random.default_rng(2).permutation(LABELS))
    assert (result.code, result.gates["accuracy"]) == (1, "fail")
    check_chance(result)


@pytest.mark.parametrize(
    ("confidence", "state"), [(0.999, "pass"), (0.97, "pass"), (0.93, "fail"), (0.7, "fail")]
)
def test_a_miscalibrated_model_has_its_known_error(
    audit: Audit, confidence: float, state: GateStatus
) -> None:
    """Every prediction is correct, with one confidence: the calibration error is what is missing to 1."""
    result = audit(answers(LABELS, confidence))
    assert metric(result.stages["calibration"], "smooth_ece").value == pytest.approx(1 - confidence, abs=1e-6)
    assert result.gates["calibration"] == state
    assert result.gates["accuracy"] == "pass"
    assert result.code == (0 if state == "pass" else 1)


def test_a_biased_model_has_its_known_gap(audit: Audit) -> None:
    """12 % of the images of one group are misclassified, and none of the other."""
    wrong = DARK & (np.arange(N) % 25 < 3)
    result = audit(answers(np.where(wrong, (LABELS + 1) % K, LABELS)))
    gap = metric(result.stages["fairness"], "accuracy_gap_groups")
    assert gap.value == pytest.approx(wrong.sum() / DARK.sum())
    assert (result.code, result.gates["gap"]) == (1, "fail")
    assert metric(result.stages["fairness"], "group_accuracy_worst").value == pytest.approx(1 - gap.value)
    assert result.gates["accuracy"] != "pass"


def test_a_model_at_the_limit_is_not_proven(audit: Audit) -> None:
    """5 % of errors, evenly over the groups: the confidence interval contains the threshold."""
    wrong = np.arange(N) % 20 == 0
    result = audit(answers(np.where(wrong, (LABELS + 1) % K, LABELS)))
    assert metric(result.stages["performance"], "clean_accuracy").value == 0.95
    assert (result.gates["accuracy"], result.gates["harm"]) == ("not_proven", "not_proven")
    assert result.code == 3


def test_logits_that_are_not_finite_fail(audit: Audit) -> None:
    """One class of NaN: its images count as errors and are not left out."""
    logits = answers(LABELS)
    logits[LABELS == 2] = np.nan
    result = audit(logits)
    accuracy = metric(result.stages["performance"], "clean_accuracy")
    assert (accuracy.value, accuracy.n) == (1 - 1 / K, N)
    assert (result.code, result.gates["accuracy"]) == (1, "fail")


def test_one_image_proves_nothing(audit: Audit) -> None:
    result = audit(answers(LABELS), images=1)
    assert result.gates["accuracy"] == "not_proven"
    assert result.code != 0
    assert "pass" not in result.gates.values()


def test_an_edited_record_of_a_known_model_is_refused(audit: Audit, tmp_path: Path) -> None:
    """The failed run of a constant model, with the words of a pass."""
    audit(answers(np.zeros(N, int)))
    file = tmp_path / "run" / "results.json"
    record = json.loads(file.read_text())
    record["verdict"].update(status="passed", exit_code=0)
    for result in record["verdict"]["gates"]:
        result["status"] = "pass"
    file.write_text(json.dumps(record))
    assert command_here("report", tmp_path / "run").returncode == 5
    assert command_here("gate", tmp_path / "run").returncode == 1


DATA = dataset(LABELS, frames_per_sign=1.0)
LOST = {
    "nothing": LABELS,
    "another order of classes": (LABELS + 1) % K,
    "constant": np.zeros(N, int),
    "one class": np.where(LABELS == 3, 0, LABELS),
}


@pytest.mark.parametrize("what", LOST)
def test_an_int8_file_that_lost_something_fails(what: str) -> None:
    """The reference is the oracle, so that each error is a negative flip."""
    predicted = LOST[what]
    settings = ComparisonSettings(attacked_images=0, explained_images=0, resamples=100)
    reference = Reference(Known(answers(LABELS)))
    result = compare(AuditInputs(Known(answers(predicted)), DATA, reference=reference), settings)
    errors = predicted != LABELS
    flips = metric(result, "negative_flips")
    assert flips.value == metric(result, "accuracy_drop").value == errors.mean()
    assert metric(result, "agreement").value == pytest.approx(1 - errors.mean())
    for k in range(K):
        assert metric(result, "negative_flips", f"class:class {k}").value == errors[k == LABELS].mean()
    gates = [gate for gate in COMPARISON.gates if gate.metric in ("accuracy_drop", "negative_flips")]
    verdict = decide([with_alarms(result, COMPARISON.alarms(settings))], gates, "2026-11-29")
    assert {entry.status for entry in verdict.gates} == ({"fail"} if errors.any() else {"pass"})
    assert verdict.exit_code == int(errors.any())
    if what == "one class":
        worst = metric(result, "recall_drop_worst_class")
        assert (worst.value, metric(result, "recall_drop", "class:class 3").value) == (1, 1)
        assert worst.title.endswith("(class 3)")
