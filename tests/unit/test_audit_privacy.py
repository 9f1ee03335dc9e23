"""The privacy stage on models whose leak is known, and on data that cannot show one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.privacy import measure as measuring
from safeml.audits.privacy import run as running
from safeml.audits.privacy.blind import blind_scores
from safeml.audits.privacy.metrics import resamples_of, two_sided_metric
from safeml.audits.privacy.perfect import PERFECT
from safeml.audits.privacy.run import run
from safeml.audits.privacy.sides import Pair, Sides, draw
from safeml.gates import decide
from safeml.metrics.membership import resampled_separation, separation
from safeml.results import Metric, StageResult
from safeml.stages.alarms import with_alarms
from safeml.stages.base import Declared
from safeml.stages.privacy import GATES, LEAST_CONTROL, PRIVACY, PrivacySettings
from tests.leaks import K, Remembering, images_of_signs
from tests.privacy_cases import FAST, TEST, TRAIN, inputs, metrics
from tests.sample_run import TODAY

pytestmark = pytest.mark.slow


VALID = images_of_signs("valid", 120, 5, 3, first=1000)


def codes(result: StageResult) -> set[str]:
    return {finding.code for finding in result.findings}


def gate_status(result: StageResult) -> str:
    return decide([result], list(GATES), TODAY).gates[0].status


def is_declared(metric: Metric, declared: Declared) -> bool:
    return metric.name == declared.name and any(
        metric.slice.startswith(name) if name.endswith(":") else metric.slice == name
        for name in declared.slices
    )


def test_a_planted_leak_is_found_by_both_attacks_and_fails_the_gate() -> None:
    """Log odds of N(2, 1.05) against N(0, 1.05): AUC = Phi(2 / (1.05 sqrt 2)) = 0.911, best advantage 2 Phi(1 / 1.05) - 1 = 0.66."""
    result = run(inputs(leak=2.0), PrivacySettings(bootstrap=100))
    of = metrics(result)
    assert of["membership_auc", "threshold"].low < 0.911 < of["membership_auc", "threshold"].high
    for attack in ("threshold", "art"):
        advantage = of["membership_advantage", attack]
        assert advantage.low > 0.3, attack
        assert of["membership_control", attack].value >= LEAST_CONTROL
    assert of["membership_advantage", "threshold"].low < 0.66 < of["membership_advantage", "threshold"].high
    assert of["membership_advantage", "all"].value == max(
        of["membership_advantage", name].value for name in ("threshold", "art")
    )
    assert of["sign_membership_auc", "all"].value >= of["membership_auc", "threshold"].value
    assert gate_status(result) == "fail"
    assert "membership-leak" in codes(result)
    raised = with_alarms(result, PRIVACY.alarms(PrivacySettings()))
    assert "alarm" in codes(raised)


def test_every_metric_is_declared_and_every_declared_one_is_recorded() -> None:
    settings = PrivacySettings(bootstrap=100, shadows=4)
    declared = PRIVACY.records(settings)
    for given in (inputs(leak=1.0), inputs(train=images_of_signs("few", 10, 5, 4))):
        result = run(given, settings)
        assert all(any(is_declared(metric, row) for row in declared) for metric in result.metrics)
        recorded = {metric.name for metric in result.metrics}
        assert {row.name for row in declared} - recorded <= {"membership_class_advantage"}
        assert len({(metric.name, metric.slice) for metric in result.metrics}) == len(result.metrics)


def test_without_a_leak_the_gate_is_not_failed_and_the_value_is_near_zero() -> None:
    result = run(inputs(), FAST)
    advantage = metrics(result)["membership_advantage", "all"]
    assert advantage.low < 0 < advantage.high
    assert abs(advantage.value) < 0.15
    assert gate_status(result) in ("pass", "not_proven")
    assert "membership-leak" not in codes(result)


def test_the_interval_of_the_auc_covers_one_half_for_equal_sides() -> None:
    """150 draws of sign scores from one distribution, the frames of a sign alike: 95 % of the intervals hold 0.5, less luck."""
    members, others = images_of_signs("m", 60, 4, 5, size=2), images_of_signs("o", 80, 4, 6, size=2)
    pair, rng, covered = Pair(members, others), np.random.default_rng(8), 0
    for seed in range(150):
        scores = [np.repeat(rng.normal(size=signs), 4) + rng.normal(0, 0.1, 4 * signs) for signs in (60, 80)]
        resamples = resamples_of(pair, 200, seed)
        areas, _ = resampled_separation(*scores, resamples.members, resamples.others, ())
        metric = two_sided_metric("membership_auc", "AUC", separation(*scores, ()).auc, areas, pair)
        assert (metric.n, metric.signs) == (560, 60)
        covered += metric.low <= 0.5 <= metric.high
    assert covered >= 136  # 142.5 expected; 150 draws have a standard error of 2.7


def test_no_sign_is_in_two_parts() -> None:
    sides = draw(inputs(valid=VALID), FAST)
    assert isinstance(sides, Sides)
    assert sides.by_sign
    for calibrating, evaluating in (
        (sides.calibration.members, sides.evaluation.members),
        (sides.calibration.others, sides.evaluation.others),
    ):
        assert not set(calibrating.tracks.tolist()) & set(evaluating.tracks.tolist())
        assert set(np.unique(calibrating.tracks, return_counts=True)[1]) == {5}


def test_at_most_the_images_of_the_settings_and_whole_signs() -> None:
    sides = draw(inputs(), replace_settings(images=250))
    for data in (sides.calibration.members, sides.evaluation.members, sides.evaluation.others):
        assert 225 <= len(data) <= 260
        assert set(np.unique(data.tracks, return_counts=True)[1]) == {5}


def test_the_numbers_do_not_depend_on_the_order_of_the_images_or_on_the_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = PrivacySettings(bootstrap=100, art_images=200)
    given = inputs(leak=0.5)
    before = run(given, settings)
    monkeypatch.setattr(running, "SLICE", 77)
    order = np.random.default_rng(9).permutation(1000)
    after = run(replace(given, train=TRAIN.take(order), test=TEST.take(order[::-1])), settings)
    assert [(m.name, m.slice, m.value, m.low, m.high) for m in after.metrics] == [
        (m.name, m.slice, m.value, m.low, m.high) for m in before.metrics
    ]


def test_classes_that_are_more_frequent_in_training_are_no_leak() -> None:
    """Three of four training signs are of the class that the model knows best. Drawn at random, they would be told by that."""
    train = images_of_signs("train", 500, 3, 1)
    train = replace(train, labels=np.repeat(np.where(np.arange(500) < 375, 0, 1 + np.arange(500) % 3), 3))
    test = images_of_signs("test", 300, 5, 2)
    model = Remembering(train, (test,), by_class=(6.0, 0.0, 0.0, 0.0))
    result = run(AuditInputs(model, test, train), FAST)
    advantage = metrics(result)["membership_advantage", "all"]
    assert advantage.low < 0 < advantage.high
    assert abs(advantage.value) < 0.25


def test_images_on_both_sides_are_left_out_and_reported() -> None:
    test = replace(TEST, images=np.concatenate([TRAIN.images[:50], TEST.images[50:]]))
    result = run(AuditInputs(Remembering(TRAIN, (test,)), test, TRAIN), FAST)
    [finding] = [one for one in result.findings if one.code == "members-among-non-members"]
    assert finding.evidence["images"] == 100
    sides = draw(AuditInputs(Remembering(TRAIN, (test,)), test, TRAIN), FAST)
    assert len(sides.training) == 950


def undefined_cases() -> dict[str, tuple[AuditInputs, str]]:
    one_class = tuple(replace(data, labels=data.labels * 0, class_names=("only",)) for data in (TRAIN, TEST))
    other = replace(TRAIN, class_names=("a", "b", "c", "d"))
    broken = inputs()
    broken.classifier.table = {key: value * np.nan for key, value in broken.classifier.table.items()}
    same = inputs()
    same.classifier.table = {key: np.zeros(K) for key in same.classifier.table}
    return {
        "no training data": (replace(inputs(), train=None), "no [data.train] is configured"),
        "one class": (AuditInputs(inputs().classifier, one_class[1], one_class[0]), "one class"),
        "other classes": (replace(inputs(), train=other), "train has other classes than test"),
        "few signs": (
            inputs(train=images_of_signs("few", 60, 5, 4)),
            "sign tracks; expected at least 36 of each",
        ),
        "the same images": (replace(inputs(), train=TEST), "every image of one side"),
        "not finite": (broken, "the logits are not finite"),
        "constant scores": (same, "every image has the same score"),
    }


@pytest.mark.parametrize("case", undefined_cases())
def test_what_cannot_be_measured_is_undefined_and_never_passes(case: str) -> None:
    given, reason = undefined_cases()[case]
    result = run(given, FAST)
    assert all(metric.value is None for metric in result.metrics)
    assert reason in metrics(result)["membership_advantage", "all"].reason
    assert gate_status(result) != "pass"


def test_valid_as_non_members_needs_validation_data() -> None:
    result = run(inputs(), replace_settings(non_members="valid"))
    assert "no [data.valid] is configured" in metrics(result)["membership_advantage", "all"].reason
    result = run(inputs(leak=2.0, valid=VALID), replace_settings(non_members="valid"))
    assert metrics(result)["membership_advantage", "all"].low > 0.2
    assert any("chose the checkpoint" in limit for limit in result.limits)


def replace_settings(**changes: Any) -> PrivacySettings:
    return FAST.model_copy(update=changes)


def blunt(calibration: Any, evaluation: Any) -> Any:
    """Return an attack that sees only noise."""
    from safeml.audits.privacy.attacks import at_threshold

    rng = np.random.default_rng(0)
    sides = [
        rng.normal(size=len(side.labels))
        for part in (calibration, evaluation)
        for side in (part.members, part.others)
    ]
    return at_threshold("threshold", "Blunt", (sides[0], sides[1]), (sides[2], sides[3]))


def test_an_attack_that_misses_a_planted_leak_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken attack finds nothing in a model that leaks; without its control the gate would not fail."""
    monkeypatch.setattr(measuring, "threshold_attack", blunt)
    result = run(inputs(leak=3.0), FAST)
    of = metrics(result)
    assert of["membership_control", "threshold"].value < LEAST_CONTROL
    assert of["membership_advantage", "all"].value is None
    assert "misses a planted leak" in of["membership_advantage", "threshold"].reason
    assert {"control-failed-threshold"} <= codes(result)
    assert gate_status(result) not in ("pass", "not_proven")


def test_the_control_recovers_the_planted_share_on_a_model_without_and_with_a_leak() -> None:
    for leak in (0.0, 3.0):
        control = metrics(run(inputs(leak=leak), FAST))["membership_control", "threshold"]
        assert control.value == pytest.approx(0.3, abs=0.08)


def test_non_members_without_track_ids_calibrate_on_the_validation_signs() -> None:
    test = images_of_signs("test", 200, 5, 2, tracks=False)
    with_valid = run(inputs(leak=2.0, test=test, valid=VALID), PrivacySettings(bootstrap=100))
    of = metrics(with_valid)
    assert of["membership_advantage", "art"].value is not None
    assert of["membership_advantage", "all"].clustering == "declared"
    assert "have no track ids" in of["sign_membership_auc", "all"].reason
    alone = metrics(run(inputs(leak=2.0, test=test), PrivacySettings(bootstrap=100)))
    assert "would recognise the signs" in alone["membership_advantage", "art"].reason
    assert alone["membership_advantage", "threshold"].low > 0.3


def test_without_track_ids_and_frames_per_sign_there_is_no_interval_and_no_pass() -> None:
    test = replace(TEST, tracks=None)
    result = run(inputs(test=test), FAST)
    advantage = metrics(result)["membership_advantage", "all"]
    assert advantage.value is not None
    assert advantage.low is None
    assert gate_status(result) == "not_proven"
    assert "halves-share-signs" in codes(result)


def test_rare_false_positives_need_independent_non_members() -> None:
    of = metrics(run(inputs(test=images_of_signs("test", 300, 5, 2)), FAST))
    assert of["membership_tpr_1", "threshold"].value is not None
    assert "needs at least 1,000 independent" in of["membership_tpr_01", "threshold"].reason
    few = metrics(run(inputs(test=images_of_signs("test", 140, 5, 2)), FAST))
    assert "needs at least 100 independent" in few["membership_tpr_1", "threshold"].reason


def test_other_training_images_than_those_of_the_manifest_are_reported() -> None:
    stated = {"train": {"fingerprint": TRAIN.fingerprint}}
    assert "other-training-data" not in codes(run(replace(inputs(), manifest=stated), FAST))
    stated = {"train": {"fingerprint": "0" * 64}}
    assert "other-training-data" in codes(run(replace(inputs(), manifest=stated), FAST))
    assert "other-training-data" not in codes(run(inputs(), FAST))


def test_the_blind_baseline_sees_a_shift_of_the_light_and_nothing_else() -> None:
    pair = Pair(TRAIN, TEST)
    assert separation(*blind_scores(pair, 7), ()).auc == pytest.approx(0.5, abs=0.06)
    darker = replace(TEST, images=(TEST.images * 0.8).astype(np.uint8))
    assert separation(*blind_scores(Pair(TRAIN, darker), 7), ()).auc > 0.99
    result = run(inputs(test=darker), FAST)
    assert {"splits-differ", "no-better-than-blind"} <= codes(result)


def test_the_blind_baseline_is_fair_to_images_that_do_not_differ() -> None:
    areas = [
        separation(*blind_scores(Pair(TRAIN, images_of_signs("o", 200, 5, 20 + seed)), seed), ()).auc
        for seed in range(12)
    ]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.02)


def test_a_model_that_leaks_nothing_can_pass_the_gate_with_the_signs_of_gtsrb() -> None:
    """421 sign tracks of 15 frames without track ids, and 670 training sign tracks of 30 frames."""
    test = images_of_signs("test", 421, 15, 2, tracks=False, size=2)
    train = images_of_signs("train", 670, 30, 1, size=3)
    train = replace(train, images=train.images[:, :2, :2])
    plan = PERFECT.run(AuditInputs(None, test, train), PrivacySettings())
    [whole] = [
        metric for metric in plan.metrics if (metric.name, metric.slice) == ("membership_advantage", "all")
    ]
    assert whole.value == pytest.approx(0, abs=0.01)
    assert whole.high < GATES[0].threshold
    assert gate_status(plan) == "pass"
    few = images_of_signs("test", 80, 15, 2, tracks=False, size=2)
    assert gate_status(PERFECT.run(AuditInputs(None, few, train), PrivacySettings())) == "not_proven"
