"""Gates against a baseline: the loss is that of the statistics called directly, and no doubt about the baseline passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from safeml.comparison.baseline import LEVEL, compared_again
from safeml.comparison.images import image_records
from safeml.config.audit import parse_config
from safeml.config.gate_checks import check_gates
from safeml.errors import ConfigError
from safeml.report.write import write_report
from safeml.results import BASELINE, Gate, Run, StageResult
from safeml.stages import OWN, StageSettings
from safeml.stages.base import losses
from safeml.statistics import Clustering
from safeml.statistics.noninferiority import paired_noninferiority
from tests.sample_run import run_of
from tests.unit.test_comparison import TRACKS, N, adversarial, far, outcomes, safeml, write

METRIC = "loss.clean_accuracy_attacked_sample"
RELEASED = np.full(N, True)
FAR = np.full(N, np.inf)


def loss_gate(threshold: float = 0.3, metric: str = METRIC) -> Gate:
    return Gate(
        id="no-loss", subject=BASELINE, stage="adversarial", metric=metric, op="<=", threshold=threshold
    )


def run(stage: StageResult, gates: list[Gate] | None = None, **fields: Any) -> Run:
    return run_of([stage], gates or [loss_gate()], **fields)


def decided(new: StageResult, old: StageResult, gates: list[Gate] | None = None, share: float = 1.0) -> Any:
    """The result of the first gate and the stage of the baseline."""
    made = compared_again(run(new, gates), run(old), gates or [loss_gate()], share)
    again = run_of(made.stages, made.gates)
    return again.verdict.gates[0], next(s for s in again.stages if s.subject == BASELINE), again


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_loss_is_that_of_the_statistics_on_the_recorded_images(share: float) -> None:
    lost = RELEASED.copy()
    lost[[3, 40, 41]] = False
    result, stage, _ = decided(adversarial(lost, FAR), adversarial(RELEASED, FAR), share=share)
    expected = paired_noninferiority(
        "x", "x", RELEASED, lost, clustering=Clustering(TRACKS), largest_loss=share, level=LEVEL
    )
    metric = result.metric
    assert (metric.value, metric.low, metric.high) == (expected.value, expected.low, expected.high)
    assert (metric.value, metric.sides, metric.level) == (pytest.approx(3 / N), 1, 0.975)
    assert ("declared: no sign track loses more than 50\u202f% of its frames" in result.message) == (
        share == 0.5
    )
    assert "one-sided 97.5\u202f% bounds" in result.message
    assert stage.subject == BASELINE
    assert [(fact.value, fact.detail) for fact in stage.facts] == [("3 lost, 0 won", f"of {N} images")]


@pytest.mark.parametrize(("threshold", "status"), [(0.3, "pass"), (0.02, "not_proven"), (-0.9, "fail")])
def test_a_gate_passes_only_where_the_bound_of_the_loss_is_below_its_margin(
    threshold: float, status: str
) -> None:
    lost = RELEASED.copy()
    lost[3] = False
    gates = [loss_gate(threshold)]
    result, _, _ = decided(adversarial(lost, FAR), adversarial(RELEASED, FAR), gates)
    assert result.status == status


def test_a_wholly_worse_model_fails_and_a_gain_passes() -> None:
    bad, good = adversarial(~RELEASED, FAR), adversarial(RELEASED, FAR)
    assert decided(bad, good)[0].status == "fail"
    gain = decided(good, bad, [loss_gate(0.01)])[0]
    assert (gain.status, gain.metric.value) == ("pass", -1.0)


def test_a_baseline_that_was_not_given_is_missing_evidence() -> None:
    verdict = run(adversarial(RELEASED, FAR)).verdict
    assert (verdict.exit_code, verdict.gates[0].status) == (4, "skipped")
    assert "no baseline was given; name the earlier run with --baseline" in verdict.sentence


def test_other_data_other_images_and_other_labels_are_no_pass() -> None:
    new, old = adversarial(RELEASED, FAR), run(adversarial(RELEASED, FAR))
    other = old.model_copy(update={"data": [old.data[0].model_copy(update={"fingerprint": "cd" * 32})]})
    made = compared_again(run(new), other, [loss_gate()], 1.0)
    verdict = run_of(made.stages, made.gates).verdict
    assert (verdict.exit_code, verdict.gates[0].status) == (4, "error")
    assert "other test data" in verdict.sentence
    some = np.arange(N)[: N - 6]
    sample = adversarial(RELEASED[some], FAR[some], ids=some, tracks=TRACKS[some])
    result = decided(sample, adversarial(RELEASED, FAR))[0]
    assert (result.status, "the runs measured different images" in result.message) == ("error", True)
    result = decided(new, adversarial(RELEASED, FAR, names=("Yield", "Stop")))[0]
    assert (result.status, "another class in each run" in result.message) == ("error", True)


def test_masked_or_weaker_attacks_and_unknown_tracks_are_no_pass() -> None:
    gates = [loss_gate(metric="loss.robust_accuracy.linf_4")]
    clean, sizes = outcomes(1), far(1)
    strong = adversarial(clean, sizes)
    for weak, words in (
        (adversarial(clean, sizes, flags=1.0), "gradient-masking"),
        (adversarial(clean, sizes, steps=5), "the attacks differ between the runs: steps"),
    ):
        result = decided(weak, strong, gates)[0]
        assert (result.status, words in result.message) == ("error", True)
    assert strong.provenance is not None
    settings = {**strong.provenance.settings, "spend": "where_it_counts"}
    spared = strong.model_copy(
        update={"provenance": strong.provenance.model_copy(update={"settings": settings})}
    )
    result = decided(spared, spared, gates)[0]
    assert (result.status, "a run spared images a part of the attacks" in result.message) == ("error", True)
    unknown = adversarial(clean, sizes, tracks=None)
    assert decided(unknown, unknown, gates)[0].status == "not_proven"


def test_data_that_contradict_the_declared_largest_loss_are_no_pass() -> None:
    lost = RELEASED & (TRACKS != 2)
    result = decided(adversarial(lost, FAR), adversarial(RELEASED, FAR), share=0.5)[0]
    assert (result.status, "largest_loss declares at most 50\u202f%" in result.message) == ("error", True)


def test_a_baseline_that_proves_little_is_a_finding() -> None:
    _, stage, _ = decided(adversarial(RELEASED, FAR), adversarial(RELEASED, FAR))
    assert {finding.code for finding in stage.findings} == {"baseline-is-this-model", "baseline-did-not-pass"}


def test_the_gate_command_measures_the_loss_and_every_view_carries_it(tmp_path: Path) -> None:
    lost = RELEASED.copy()
    lost[:36] = False
    new = write(tmp_path / "new", run(adversarial(lost, FAR)))
    old = write(tmp_path / "old", run(adversarial(RELEASED, FAR)))
    assert safeml("gate", new).exit_code == 4
    done = safeml(
        "gate",
        new,
        "--baseline",
        old,
        "--junit",
        tmp_path / "j.xml",
        "--sarif",
        tmp_path / "s.sarif",
        "--json",
    )
    assert done.exit_code == 3, done.output
    again = Run.model_validate(json.loads(done.stdout))
    assert [stage.subject for stage in again.stages] == ["model", BASELINE]
    [case] = [
        c for c in ET.parse(tmp_path / "j.xml").getroot().iter("testcase") if c.get("name") == "no-loss"
    ]
    assert case.get("classname") == "safeml.baseline.adversarial"
    assert case.find("failure") is not None
    assert '"ruleId": "no-loss"' in (tmp_path / "s.sarif").read_text()
    write_report(again, tmp_path / "new", None)
    page = (tmp_path / "new" / "baseline-adversarial.html").read_text()
    assert "Baseline: m.keras, sha256 9f2c41d7, verdict incomplete" in page
    assert "Loss of adversarial robustness" in (tmp_path / "new" / "index.html").read_text()


SETTINGS: dict[str, Any] = {"model": {"path": "m"}, "data": {"test": {"kind": "npz", "path": "t.npz"}}}


def table(**fields: Any) -> dict[str, Any]:
    return {"id": "g", "subject": "baseline", "stage": "performance", "metric": "loss.clean_accuracy", "op": "<=", "threshold": 0.005, **fields}  # fmt: skip


def test_settings_accept_the_documented_form() -> None:
    config = parse_config({**SETTINGS, "baseline": {"largest_loss": 0.25}, "gates": [table()]}, "safeml.toml")
    assert (config.gates[0].subject, config.baseline.largest_loss) == (BASELINE, 0.25)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"metric": "clean_accuracy"}, 'did you mean "loss.clean_accuracy"'),
        ({"metric": "loss.macro_f1"}, "does not record under these settings"),
        ({"stage": "balance"}, "the stage balance records no metric image by image"),
        ({"op": ">="}, "lower is better for loss.clean_accuracy; use <="),
        ({"threshold": 0.5 * 100}, "write 0.5"),
        ({"threshold": 1.0}, "cannot miss"),
        ({"subject": "basline"}, 'did you mean "baseline"'),
    ],
)
def test_a_gate_on_a_loss_that_no_run_measures_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({**SETTINGS, "gates": [table(**fields)]}, "safeml.toml")
    assert words in str(refused.value)


def test_a_weak_attack_has_no_loss_that_a_gate_may_read() -> None:
    stages = StageSettings.model_validate({"adversarial": {"attacks": ["pgd"]}})
    with pytest.raises(ConfigError, match="attacked without"):
        check_gates([loss_gate(metric="loss.robust_accuracy.linf_4")], stages, "safeml.toml")


def test_each_row_that_says_paired_has_records_of_each_image() -> None:
    named = {row.name for stage in OWN for row in losses(stage.records(stage.settings()))}
    records = image_records(adversarial(outcomes(1), far(1)))
    assert records is not None
    assert {f"loss.{name}" for name in records.correct} <= named
    assert "loss.clean_accuracy" in named
    assert not [name for name in named if name.endswith(".pgd") or "success" in name]
