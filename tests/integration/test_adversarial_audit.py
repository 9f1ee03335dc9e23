"""The adversarial audit on classifiers whose answers are known, and with attacks that lie."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.attacks import registry
from safeml.attacks.base import SURVIVED, AttackOutcome
from safeml.audits.adversarial import run
from safeml.audits.base import AuditInputs
from safeml.config import AdversarialSettings, Threat
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.results import Curve, DotPlot, StageResult, Table
from tests import subjects

pytestmark = pytest.mark.slow

K, N = 4, 40
LOW, HIGH = 64, 192  # grey levels: half the distance between them is a change of 64/255
EPSILON = 64 / 255
THREATS = tuple(Threat(norm="linf", epsilon=factor * EPSILON) for factor in (0.5, 0.97, 1.03))


def corner_dataset(labels=None, **changes):
    """Images that name their class by one bright pixel in the first row."""
    labels = np.arange(N, dtype=np.int64) % K if labels is None else labels
    images = np.rint(subjects.corner_images(labels, low=LOW / 255, high=HIGH / 255) * 255).astype(np.uint8)
    names = tuple(f"sign {number}" for number in range(K))
    return ImageDataset("corners", images, labels, names, **{"frames_per_sign": 1, **changes})


def settings(**changes):
    return AdversarialSettings(**{"images": N, "steps": 10, "batch": 16, "threats": THREATS, **changes})


def audit(classifier, dataset=None, **changes) -> StageResult:
    return run(AuditInputs(classifier, corner_dataset() if dataset is None else dataset), settings(**changes))


def value(result, name):
    return next(metric for metric in result.metrics if metric.name == name).value


def codes(result):
    return {finding.code for finding in result.findings}


@pytest.fixture(scope="module")
def oracle():
    """Bright pixel against dark ones: the exact minimal L-inf norm is half their difference, 64/255."""
    return audit(subjects.corner_oracle(K, scale=10.0))


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
    assert flags.n == 6
    assert not oracle.findings


def test_the_figures_say_what_the_metrics_say(oracle):
    curve = next(figure for figure in oracle.figures if isinstance(figure, Curve))
    main = next(series for series in curve.series if series.role == "main")
    assert main.x == [0.0, *(threat.epsilon for threat in THREATS)]
    assert main.y == [1, 1, 1, 0]
    table = next(figure for figure in oracle.figures if isinstance(figure, Table) and figure.id == "attacks")
    assert [row[0] for row in table.rows] == ["FGSM", "PGD", "worst case"]
    assert table.rows[-1][3:] == [1, 1, 0]
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


def test_the_same_seed_gives_the_same_records(oracle):
    assert audit(subjects.corner_oracle(K, scale=10.0)) == oracle


def test_worst_cases_show_one_picture_a_class():
    result = audit(subjects.corner_oracle(K, scale=10.0), threats=(THREATS[2],))
    assert result.worst_cases is not None
    items = result.worst_cases.items
    assert len(items) == K
    assert len({item.true_name for item in items}) == K
    assert all(item.predicted_name != item.true_name for item in items)
    assert all([panel.kind for panel in item.panels] == ["image", "image", "change"] for item in items)


def test_a_constant_model_is_not_called_robust():
    """It is right on one class in four, no attack can move it, and that is exactly what the flags are for."""
    result = audit(subjects.constant(K))
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 1 / K
    assert {"masking_zero_gradient", "masking_unbounded"} <= codes(result)
    assert value(result, "masking_flags") >= 2


def test_masked_gradients_are_found_out():
    result = audit(subjects.stepped(subjects.corner_oracle(K, scale=10.0)))
    assert {"masking_zero_gradient", "masking_unbounded"} <= codes(result)
    assert all(finding.remedy and finding.severity == "serious" for finding in result.findings)


def test_a_random_model_is_found_out():
    import tensorflow as tf

    inner = subjects.corner_oracle(K, scale=10.0)
    noisy = subjects.Subject("noisy", K, lambda x: inner.function(x) + tf.random.normal([tf.shape(x)[0], K]))
    assert "masking_random" in codes(audit(noisy))


def test_clean_accuracy_zero_is_robust_accuracy_zero_and_nothing_else_is_claimed():
    dataset = corner_dataset()
    wrong = ImageDataset(
        "wrong", dataset.images, (dataset.labels + 1) % K, dataset.class_names, frames_per_sign=1
    )
    result = audit(subjects.corner_oracle(K), wrong)
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 0
    by_name = {metric.name: metric for metric in result.metrics}
    assert by_name[f"attack_success_rate.{THREATS[0].label}"].status == "undefined"
    assert by_name["masking_flags"].status == "undefined"
    assert result.worst_cases is not None
    assert not result.worst_cases.items


def test_logits_of_nan_are_accuracy_zero():
    result = audit(subjects.undefined(K))
    assert value(result, "clean_accuracy_attacked_sample") == 0
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 0


def lying(change):
    """An attack that claims that everything survived and hands back `change` of the images."""

    def attack(classifier, images, labels, threat, budget, ids):
        nothing = np.zeros(len(images), dtype=bool)
        return AttackOutcome(change(images), np.full(len(images), SURVIVED, dtype=np.int64), nothing)

    return attack


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images * np.float32("nan"),
        lambda images: images + np.float32(0.5),
        lambda images: images[:, :4],
        lambda images: images.astype(np.float64),
        lambda images: images[:3],
    ],
    ids=["nan", "outside the ball", "shape", "dtype", "fewer images"],
)
def test_an_attack_that_breaks_its_contract_never_makes_a_model_robust(monkeypatch, change):
    monkeypatch.setitem(registry.ATTACKS, "pgd", lying(change))
    result = audit(subjects.corner_oracle(K, scale=10.0), attacks=("pgd",), threats=(THREATS[0],))
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 0
    assert "attack_invalid" in codes(result)


def test_an_attack_that_does_nothing_is_found_out(monkeypatch):
    monkeypatch.setitem(registry.ATTACKS, "pgd", lying(lambda images: images))
    result = audit(subjects.corner_oracle(K, scale=10.0), threats=(THREATS[2],))
    assert {"masking_iterative", "masking_unbounded"} <= codes(result)


def test_an_attack_that_writes_into_its_inputs_does_not_move_the_clean_images(monkeypatch, oracle):
    def vandal(classifier, images, labels, threat, budget, ids):
        images[:] = 0
        labels[:] = 0
        return registry_pgd(classifier, images, labels, threat, budget, ids)

    registry_pgd = registry.ATTACKS["pgd"]
    monkeypatch.setitem(registry.ATTACKS, "pgd", vandal)
    result = audit(subjects.corner_oracle(K, scale=10.0))
    name = f"robust_accuracy.{THREATS[0].label}.fgsm"
    assert value(result, name) == value(oracle, name)
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 0


def test_fewer_images_than_asked_is_said():
    result = audit(subjects.corner_oracle(K), images=N + 1)
    assert "fewer_images" in codes(result)
    assert next(m for m in result.metrics if m.name == "clean_accuracy_attacked_sample").n == N


def test_a_class_without_images_is_unmeasured_and_last():
    result = audit(subjects.corner_oracle(K), corner_dataset(np.arange(N, dtype=np.int64) % (K - 1)))
    dots = next(figure for figure in result.figures if isinstance(figure, DotPlot)).dots
    assert dots[-1].label == f"sign {K - 1}"
    assert dots[-1].value is None


def test_a_classifier_without_a_gradient_is_refused():
    class Deaf:
        name = "int8"

    with pytest.raises(StageError, match="int8 gives no gradient"):
        audit(Deaf())
