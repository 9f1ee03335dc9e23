"""The adversarial audit on classifiers whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.attacks import registry
from safeml.attacks.art import breadth as art_breadth
from safeml.attacks.art.registry import ART_ATTACKS
from safeml.attacks.rows import ATTACK_NAMES
from safeml.data.dataset import ImageDataset
from safeml.gates import decide
from safeml.results import Curve, DotPlot, Gate, StageResult
from safeml.threats import Threat
from tests import subjects
from tests.integration.adversarial_cases import (
    CHEAP,
    EPSILON,
    LOW,
    THREATS,
    K,
    N,
    audit,
    corner_dataset,
    ledger,
    settings,
)
from tests.records import codes, table, value

pytestmark = pytest.mark.slow


def gate(name, op, threshold):
    return Gate(id="g", stage="adversarial", metric=name, op=op, threshold=threshold)


@pytest.fixture(scope="module")
def oracle(corner):
    """Bright pixel against dark ones: the exact minimal L-inf norm is half their difference, 64/255."""
    return audit(corner)


def test_the_oracle_falls_exactly_at_its_minimal_norm(oracle):
    assert value(oracle, "clean_accuracy_attacked_sample") == 1
    below, just_below, above = (f"robust_accuracy.{threat.label}" for threat in THREATS)
    assert value(oracle, below) == 1
    assert value(oracle, just_below) == 1
    assert value(oracle, above) == 0
    assert value(oracle, f"{above}.fgsm") == 0


def test_honest_gradients_raise_no_flag(oracle):
    flags = next(metric for metric in oracle.metrics if metric.name == "masking_flags")
    assert (flags.value, flags.low, flags.high, flags.clustering) == (0, 0, 0, "census")
    assert flags.n == 13
    assert not oracle.findings


def test_the_figures_say_what_the_metrics_say(oracle):
    curve = next(figure for figure in oracle.figures if isinstance(figure, Curve))
    main = next(series for series in curve.series if series.role == "main")
    at = dict(zip(main.x, main.y, strict=True))
    assert [at[0.0], *(at[threat.epsilon] for threat in THREATS)] == [1, 1, 1, 0]
    assert all(left == (1 if epsilon < EPSILON else 0) for epsilon, left in at.items())
    for series in curve.series:
        if series.role == "context":
            assert series.x == main.x
            assert all(attack >= worst for attack, worst in zip(series.y, main.y, strict=True))
    rows = {row[0]: row for row in table(oracle, "attacks").rows}
    assert list(rows) == ["FGSM", "PGD", "FMN", "APGD-PM", "APGD-CE", "APGD-T", "Square", "worst case"]
    assert rows["FGSM"][2:] == [1, 1, 0]
    assert rows["worst case"][2:] == [1, 1, 0]
    dots = next(figure for figure in oracle.figures if isinstance(figure, DotPlot)).dots
    assert [dot.n for dot in dots] == [N // K] * K
    assert {dot.compare for dot in dots} == {1.0}


def test_records_survive_json_and_name_what_they_belong_to(oracle):
    assert StageResult.model_validate_json(oracle.model_dump_json()) == oracle
    assert oracle.provenance is not None
    assert oracle.provenance.data == corner_dataset().fingerprint
    assert oracle.card is not None
    assert oracle.card.figure_id in {figure.id for figure in oracle.figures}
    assert len(oracle.facts) <= 5
    assert any("any incorrect class" in fact.detail for fact in oracle.facts)


def test_the_same_seed_gives_the_same_records(oracle):
    assert audit(subjects.corner_oracle(K, scale=10.0)) == oracle


def test_worst_cases_show_one_picture_a_class(corner):
    result = audit(corner, threats=(THREATS[2],))
    assert result.worst_cases is not None
    items = result.worst_cases.items
    assert len(items) == K
    assert len({item.true_name for item in items}) == K
    assert all(item.predicted_name != item.true_name for item in items)
    assert all([panel.kind for panel in item.panels] == ["image", "image", "change"] for item in items)


def test_a_constant_model_is_not_called_robust():
    """It is right on one class in four, no attack can move it, and that is exactly what the flags are for."""
    result = audit(subjects.constant(K), attacks=CHEAP)
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 1 / K
    assert {"masking_zero_gradient", "masking_unbounded"} <= codes(result)
    assert value(result, "masking_flags") >= 2


def test_clean_accuracy_zero_is_robust_accuracy_zero_and_nothing_else_is_claimed():
    dataset = corner_dataset()
    wrong = ImageDataset(
        "wrong", dataset.images, (dataset.labels + 1) % K, dataset.class_names, frames_per_sign=1
    )
    result = audit(subjects.corner_oracle(K), wrong)
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 0
    by_name = {metric.name: metric for metric in result.metrics}
    assert by_name[f"attack_success_rate.{settings().main.label}"].status == "undefined"
    assert by_name["masking_flags"].status == "undefined"
    assert result.worst_cases is not None
    assert not result.worst_cases.items


def test_logits_of_nan_are_accuracy_zero():
    result = audit(subjects.undefined(K))
    assert value(result, "clean_accuracy_attacked_sample") == 0
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 0


def test_fewer_images_than_requested_are_named(corner):
    result = audit(corner, images=N + 1)
    assert "fewer_images" in codes(result)
    assert next(m for m in result.metrics if m.name == "clean_accuracy_attacked_sample").n == N


def test_a_class_without_images_is_unmeasured_and_last(corner):
    result = audit(corner, corner_dataset(np.arange(N, dtype=np.int64) % (K - 1)))
    dots = next(figure for figure in result.figures if isinstance(figure, DotPlot)).dots
    assert dots[-1].label == f"sign {K - 1}"
    assert dots[-1].value is None


@pytest.fixture(scope="module")
def blind(corner):
    return audit(subjects.Answering(corner), threats=THREATS[:1])


def test_without_a_gradient_queries_alone_are_tried_and_nothing_is_called_robust(blind):
    assert "no_gradient" in codes(blind)
    by_name = {metric.name: metric for metric in blind.metrics}
    name = f"robust_accuracy.{THREATS[0].label}"
    for undefined in (name, f"attack_success_rate.{THREATS[0].label}", "masking_flags"):
        assert (by_name[undefined].status, by_name[undefined].value) == ("undefined", None)
    assert by_name[f"{name}.square"].low == 0  # it is all that Square left, and bounds nothing from below
    assert not {f"{name}.{attack}" for attack in ATTACK_NAMES if attack != "square"} & set(by_name)


def test_no_gate_passes_without_a_gradient(blind):
    for metric in blind.metrics:
        if metric.name.startswith(("robust", "attack", "masking", "certified")):
            op = ">=" if metric.direction == "up" else "<="
            for threshold in (1e-6, 0.999) if metric.unit == "proportion" else (0,):
                [found] = decide([blind], [gate(metric.name, op, threshold)], "2026-01-01").gates
                assert found.status in ("error", "not_proven", "fail"), found.message


def test_no_figure_shows_a_worst_case_without_a_gradient(blind):
    curve = next(figure for figure in blind.figures if isinstance(figure, Curve))
    assert next(series for series in curve.series if series.role == "main").x == [0.0]
    assert table(blind, "attacks").rows[-1] == ["worst case", "", None]
    assert not [figure for figure in blind.figures if isinstance(figure, DotPlot)]


def test_without_a_gradient_and_without_queries_nothing_is_measured(corner):
    result = audit(subjects.Answering(corner), threats=THREATS[:1], attacks=("pgd",))
    measured = {metric.name for metric in result.metrics if metric.status == "ok"}
    assert measured == {"clean_accuracy_attacked_sample"}


@pytest.fixture(scope="module")
def trapped():
    """Right as the corner oracle is, but for one pattern in the last row that no gradient and no square finds."""
    import tensorflow as tf

    inner = subjects.corner_oracle(K, scale=10.0)

    def function(pixels):
        hit = tf.reduce_all(tf.abs(pixels[:, -1, :, 0] - trap()) < 0.5 / 255, axis=1)
        return tf.where(hit[:, None], -inner.function(pixels), inner.function(pixels))

    return subjects.Subject("trapped", K, function)


def trap():
    return np.float32(LOW / 255) + np.where(np.arange(8) % 2, 1, -1).astype(np.float32) * np.float32(20 / 255)


def claimed(outcome):
    """A stand-in for `run_art` with this outcome: (images, status, attempted)."""

    def run_art(name, classifier, images, labels, threat, seed, seconds, batch):
        found, status, reached = outcome(images)
        return art_breadth.BreadthOutcome(
            found, reached, status, "why" if status != "finished" else "", 1.0, 1
        )

    return run_art


def sprung(images):
    found = images.copy()
    found[:, -1, :, 0] = trap()
    return found, "finished", np.ones(len(images), bool)


def test_what_breadth_breaks_inside_the_ball_counts_in_the_worst_case(monkeypatch, trapped):
    name = f"robust_accuracy.{THREATS[0].label}"
    assert value(audit(trapped, threats=THREATS[:1], attacks=CHEAP), name) == 1
    monkeypatch.setattr(art_breadth, "run_art", claimed(sprung))
    result = audit(trapped, threats=THREATS[:1], attacks=CHEAP, breadth=("deepfool",), breadth_images=10)
    assert value(result, name) == 1 - 10 / N
    assert "breadth_news" in codes(result)
    row = table(result, "breadth").rows[0]
    assert row[:1] + row[2:7] == ["deepfool", 10, 10, 10, 10, 10]
    assert [row["linf_by"] for row in ledger(result)].count("ART deepfool") == 10


def test_what_breadth_breaks_outside_the_ball_or_only_claims_does_not_count(monkeypatch, trapped):
    near = Threat(norm="linf", epsilon=10 / 255)
    monkeypatch.setattr(art_breadth, "run_art", claimed(sprung))
    result = audit(trapped, threats=(near,), attacks=CHEAP, breadth=("deepfool",), breadth_images=10)
    assert value(result, f"robust_accuracy.{near.label}") == 1
    assert table(result, "breadth").rows[0][4:7] == [10, 0, 0]
    monkeypatch.setattr(
        art_breadth, "run_art", claimed(lambda images: (images, "finished", np.ones(len(images), bool)))
    )
    result = audit(trapped, threats=(near,), attacks=CHEAP, breadth=("deepfool",), breadth_images=10)
    assert table(result, "breadth").rows[0][4:7] == [0, 0, 0]


@pytest.mark.parametrize("status", ["budget exhausted", "failed"])
def test_breadth_that_does_not_end_is_said_and_is_no_robustness(monkeypatch, corner, oracle, status):
    def nothing(images):
        return images, status, np.zeros(len(images), bool)

    monkeypatch.setattr(art_breadth, "run_art", claimed(nothing))
    result = audit(corner, breadth=("deepfool",), breadth_images=10)
    [finding] = [finding for finding in result.findings if finding.code == "breadth_unfinished"]
    assert status in finding.message
    assert "0 of 10 images were attempted" in finding.message
    row = table(result, "breadth").rows[0]
    assert (row[3], row[4], row[-1]) == (0, 0, status)
    assert result.metrics == oracle.metrics


def test_breadth_that_does_not_fit_is_refused_before_anything_is_attacked(monkeypatch, corner):
    called = []
    monkeypatch.setitem(registry.ATTACKS, "fgsm", lambda *arguments: called.append(1))
    ball = Threat(norm="l2", epsilon=0.5)
    misfit = next(name for name, row in ART_ATTACKS.items() if not row.refused and not row.fits(ball))
    with pytest.raises(ValueError, match=misfit):
        audit(corner, threats=(ball,), breadth=(misfit,))
    assert not called
