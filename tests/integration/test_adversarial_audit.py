"""The adversarial audit on classifiers whose answers are known, and with attacks that lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from safeml.attacks import registry
from safeml.attacks.art import breadth as art_breadth
from safeml.attacks.art.registry import ART_ATTACKS
from safeml.attacks.base import SURVIVED, AttackOutcome
from safeml.attacks.rows import ATTACK_NAMES
from safeml.audits.adversarial.run import run
from safeml.audits.base import AuditInputs
from safeml.certification import ibp
from safeml.classifiers.base import InputSpec
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.gates import decide
from safeml.results import Curve, DotPlot, Gate, StageResult
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat
from tests import subjects
from tests.records import codes, table, table_rows, value

pytestmark = pytest.mark.slow

K, N = 4, 40
LOW, HIGH = 64, 192  # grey levels: half the distance between them is a change of 64/255
EPSILON = 64 / 255
THREATS = tuple(Threat(norm="linf", epsilon=factor * EPSILON) for factor in (0.5, 0.97, 1.03))
QUICK = {"steps": 10, "apgd_steps": 10, "fmn_steps": 20, "queries": 60, "targets": 3, "certify": False}
CHEAP, EXPENSIVE = ("fgsm", "pgd"), ("apgd_ce", "apgd_t", "square")


def corner_dataset(labels=None, **changes):
    """Images that name their class by one bright pixel in the first row."""
    labels = np.arange(N, dtype=np.int64) % K if labels is None else labels
    images = np.rint(subjects.corner_images(labels, low=LOW / 255, high=HIGH / 255) * 255).astype(np.uint8)
    names = tuple(f"sign {number}" for number in range(K))
    return ImageDataset("corners", images, labels, names, **{"frames_per_sign": 1, **changes})


def settings(**changes):
    return AdversarialSettings(**{"images": N, "batch": 20, "threats": THREATS, **QUICK, **changes})


def audit(classifier, dataset=None, **changes) -> StageResult:
    return run(AuditInputs(classifier, corner_dataset() if dataset is None else dataset), settings(**changes))


def ledger(result) -> list[dict[str, object]]:
    """One dictionary an image."""
    return table_rows(result, "ledger")


def gate(name, op, threshold):
    return Gate(id="g", stage="adversarial", metric=name, op=op, threshold=threshold)


@pytest.fixture(scope="module")
def corner():
    """One object for all tests that only attack it: the engine compiles once for each object."""
    return subjects.corner_oracle(K, scale=10.0)


@pytest.fixture(scope="module")
def strokes():
    images, labels = subjects.strokes(N, seed=2)
    return ImageDataset("strokes", images, labels, tuple("abcd"), frames_per_sign=1)


@pytest.fixture(scope="module")
def network():
    return subjects.stroke_network()


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
    assert list(rows) == ["FGSM", "PGD", "FMN", "APGD-CE", "APGD-T", "Square", "worst case"]
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


def lying(change):
    """An attack that claims that everything survived and hands back `change` of the images."""

    def attack(classifier, images, labels, threat, budget, ids):
        nothing = np.zeros(len(images), dtype=np.int64)
        survived = nothing + SURVIVED
        return AttackOutcome(
            change(images), survived, nothing.astype(bool), nothing, nothing, nothing.astype(np.float32)
        )

    return attack


LIES = {
    "nan": (lambda images: images * np.float32("nan"), "NaN"),
    "outside the ball": (lambda images: images + np.float32(1.5), "left the bounds"),
    "shape": (lambda images: images[:, :4], "a shape or type other than"),
    "dtype": (lambda images: images.astype(np.float64), "a shape or type other than"),
    "fewer images": (lambda images: images[:3], "a shape or type other than"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("name", ATTACK_NAMES)
def test_an_attack_that_breaks_its_contract_never_makes_a_model_robust(monkeypatch, corner, name, lie):
    change, words = LIES[lie]
    monkeypatch.setitem(registry.ATTACKS, name, lying(change))
    result = audit(corner, attacks=(name,), threats=(THREATS[0],))
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 0
    found = [finding for finding in result.findings if finding.code == "attack_invalid"]
    assert found
    assert all(finding.severity == "serious" and finding.message.startswith(name) for finding in found)
    assert any(words in finding.message and "count as broken" in finding.message for finding in found)


@pytest.mark.parametrize("name", ATTACK_NAMES)
def test_an_attack_without_a_verdict_for_each_image_counts_as_success(monkeypatch, corner, name):
    def short(*arguments):
        outcome = lying(lambda images: images)(*arguments)
        return replace(outcome, first_step=outcome.first_step[:3])

    monkeypatch.setitem(registry.ATTACKS, name, short)
    result = audit(corner, attacks=(name,), threats=(THREATS[0],))
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 0
    assert any("no verdict" in finding.message for finding in result.findings)


@pytest.mark.parametrize("name", ATTACK_NAMES)
def test_what_the_checks_break_counts_where_an_attack_does_nothing(monkeypatch, corner, name):
    """Named alone in the settings, it leaves everything; FGSM, PGD and Square of the self-checks do not."""
    monkeypatch.setitem(registry.ATTACKS, name, lying(lambda images: images))
    result = audit(corner, attacks=(name,), threats=(THREATS[2],))
    label = f"robust_accuracy.{THREATS[2].label}"
    assert value(result, f"{label}.{name}") == 1
    assert value(result, label) == 0


def test_pgd_that_does_nothing_is_found_out(monkeypatch, corner):
    monkeypatch.setitem(registry.ATTACKS, "pgd", lying(lambda images: images))
    result = audit(corner, threats=(THREATS[2],))
    assert {"masking_iterative", "masking_unbounded"} <= codes(result)


@pytest.mark.parametrize("name", ATTACK_NAMES)
def test_an_attack_that_writes_into_its_inputs_does_not_move_the_clean_images(monkeypatch, corner, name):
    """What the next attack is given, and what the ledger measures from, are the images of the data set."""
    real, seen = dict(registry.ATTACKS), []

    def vandal(classifier, images, labels, *rest):
        images[:] = 0
        labels[:] = 0
        return real[name](classifier, images, labels, *rest)

    def witness(classifier, images, labels, threat, budget, ids):
        seen.append((images.copy(), labels.copy(), ids))
        return real[other](classifier, images, labels, threat, budget, ids)

    other = "pgd" if name == "fgsm" else "fgsm"
    monkeypatch.setitem(registry.ATTACKS, name, vandal)
    monkeypatch.setitem(registry.ATTACKS, other, witness)
    result = audit(corner, attacks=(name, other), threats=(THREATS[0],))
    data = corner_dataset()
    pixels = data.images.astype(np.float32) / np.float32(255)
    assert seen
    for images, labels, ids in seen:
        assert (images == pixels[ids]).all()
        assert (labels == data.labels[ids]).all()
    assert value(result, "clean_accuracy_attacked_sample") == 1
    # A black picture lies far outside of the ball; an attack that left it counts as successful at once.
    sizes = {row["linf_size"] for row in ledger(result)} - {None, 0.0}
    assert min(sizes, default=LOW) >= LOW


@pytest.mark.parametrize("name", ATTACK_NAMES)
def test_an_attack_that_raises_stops_the_stage_and_no_gate_passes(monkeypatch, corner, name):
    def broken(*arguments):
        raise ZeroDivisionError("no")

    monkeypatch.setitem(registry.ATTACKS, name, broken)
    with pytest.raises(ZeroDivisionError):
        audit(corner, attacks=(name,), threats=(THREATS[0],))


def test_fewer_images_than_asked_is_said(corner):
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
def small():
    return tuple(Threat(norm="linf", epsilon=epsilon) for epsilon in (0.015, 0.025, 0.04))


@pytest.fixture(scope="module")
def campaign(network, strokes, small):
    """An audit of a network that is partly robust, and what each attack was given and broke, asked again by the test."""
    calls = []

    def watched(name, real):
        def attack(classifier, images, labels, threat, budget, ids):
            given = images.copy()
            found = real(classifier, images, labels, threat, budget, ids)
            size = np.abs(found.adversarial - given).max(axis=(1, 2, 3))
            wrong = network.predict_logits(found.adversarial).argmax(1) != labels
            calls.append((name, threat.epsilon, ids.copy(), np.where(wrong, size, np.inf)))
            return found

        return attack

    with pytest.MonkeyPatch.context() as patch:
        for name, real in list(registry.ATTACKS.items()):
            patch.setitem(registry.ATTACKS, name, watched(name, real))
        result = audit(network, strokes, threats=small, full_ensemble=tuple(t.label for t in small[:2]))
    return result, calls


def test_expensive_attacks_get_exactly_the_survivors(campaign, small):
    """Survivors: images without an adversarial example at this epsilon or a smaller one, counted by the test."""
    result, calls = campaign
    nearest = np.where([row["clean"] == "right" for row in ledger(result)], np.inf, 0.0)
    seen = 0
    for name, epsilon, ids, sizes in calls:
        if name in EXPENSIVE:
            assert set(ids) == set(np.flatnonzero(nearest > epsilon + 1e-6))
            seen += 1
        nearest[ids] = np.minimum(nearest[ids], sizes)
    assert seen >= 4
    assert {epsilon for name, epsilon, *_ in calls if name in EXPENSIVE} <= {t.epsilon for t in small[:2]}
    for threat in small:
        assert value(result, f"robust_accuracy.{threat.label}") == (nearest > threat.epsilon + 1e-6).mean()


def test_what_breaks_at_a_smaller_epsilon_is_broken_at_a_larger(campaign, small):
    result, _ = campaign
    left = [value(result, f"robust_accuracy.{threat.label}") for threat in small]
    assert left == sorted(left, reverse=True)
    assert any(0 < share < 1 for share in left)  # partly robust: the test above saw both
    curve = next(figure for figure in result.figures if isinstance(figure, Curve))
    main = next(series for series in curve.series if series.role == "main")
    assert main.x == sorted(main.x)
    assert main.y == sorted(main.y, reverse=True)
    at = dict(zip(main.x, main.y, strict=True))
    assert [at[threat.epsilon] for threat in small] == left


def test_the_ledger_accounts_for_every_image(campaign, small):
    result, _ = campaign
    rows = ledger(result)
    assert [row["image"] for row in rows] == list(range(N))
    broken = [row for row in rows if row["linf_by"] is not None]
    assert broken
    for row in broken:
        assert str(row["linf_by"]).split(" (")[0] in (*ATTACK_NAMES, "random noise")
        assert row["linf_size"] > 0
        assert row["linf_step"] >= 0
        assert row["linf_attempt"] >= 1
        assert row["clean"] == "right"
    for threat in small:
        within = sum(row["linf_size"] <= 255 * threat.epsilon + 1e-3 for row in broken)
        wrong = sum(row["clean"] == "wrong" for row in rows)
        assert value(result, f"robust_accuracy.{threat.label}") == pytest.approx(1 - (within + wrong) / N)


def test_a_threat_outside_the_full_ensemble_shows_what_was_not_run(campaign, small):
    result, _ = campaign
    rows = {row[0]: row[2:] for row in table(result, "attacks").rows}
    for title in ("APGD-CE", "APGD-T", "Square"):
        assert rows[title][2] is None
        assert None not in rows[title][:2]
    assert None not in rows["worst case"]
    for number, threat in enumerate(small):
        assert rows["worst case"][number] == value(result, f"robust_accuracy.{threat.label}")
        falling = [rows[title][number] for title in list(rows) if rows[title][number] is not None]
        assert falling == sorted(falling, reverse=True)
    names = {metric.name for metric in result.metrics}
    assert not {f"robust_accuracy.{small[2].label}.{name}" for name in EXPENSIVE} & names
    assert {f"robust_accuracy.{small[0].label}.{name}" for name in EXPENSIVE} <= names


def test_an_image_that_is_wrong_when_clean_is_nobodys_success(network, strokes, small):
    """Half of the labels are wrong: no attack is said to have broken those."""
    labels = np.where(np.arange(N) % 2 == 0, strokes.labels, (strokes.labels + 1) % K)
    result = audit(
        network,
        replace(strokes, labels=labels),
        threats=(Threat(norm="linf", epsilon=0.2),),
        attacks=("pgd",),
    )
    right = round(value(result, "clean_accuracy_attacked_sample") * N)
    assert right <= N // 2 + 2
    row = next(row for row in table(result, "budget").rows if row[0] == "PGD")
    assert (row[3], row[4]) == (N, right)


def test_a_proof_never_contradicts_an_attack(network, strokes):
    """Per image: what breaks it lies further out than its proven radius. At least some radii say something."""
    threats = tuple(Threat(norm="linf", epsilon=epsilon) for epsilon in (0.001, 0.01, 0.05))
    result = audit(network, strokes, threats=threats, certify=True)
    pixels = strokes.images.astype(np.float32) / np.float32(255)
    radius = ibp.certified_radius(network, pixels, strokes.labels, threats[-1].epsilon, halvings=7)
    assert (radius > 0).mean() > 0.5
    for row, proven in zip(ledger(result), radius, strict=True):
        if row["linf_size"] is not None:
            assert row["linf_size"] / 255 > proven - 1e-5
    for threat in threats:
        proven = value(result, f"certified_accuracy.{threat.label}")
        assert proven == ((radius >= threat.epsilon) & (radius > 0)).mean()
        assert proven <= value(result, f"robust_accuracy.{threat.label}")
    assert value(result, f"certified_accuracy.{threats[0].label}") > 0.5


def test_a_proof_that_an_attack_contradicts_ends_the_stage(monkeypatch, network, strokes):
    def everything(classifier, images, labels, most, halvings, batch):
        return np.full(len(images), float(most))

    monkeypatch.setattr(ibp, "certified_radius", everything)
    threat = Threat(norm="linf", epsilon=0.05)
    with pytest.raises(StageError, match=r"have an adversarial example inside their certified radius"):
        audit(network, strokes, threats=(threat,), attacks=CHEAP, certify=True)


def test_an_attack_with_faults_contradicts_no_proof(monkeypatch, network, strokes):
    """It counts as successful, and the finding names the attack; no contradiction is reported."""
    monkeypatch.setitem(registry.ATTACKS, "pgd", lying(LIES["nan"][0]))
    threat = Threat(norm="linf", epsilon=0.001)
    result = audit(network, strokes, threats=(threat,), attacks=CHEAP, certify=True)
    assert "attack_invalid" in codes(result)
    assert value(result, f"robust_accuracy.{threat.label}") == 0
    assert value(result, f"certified_accuracy.{threat.label}") > 0.5


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


def test_smoothing_asks_images_of_every_class_of_sorted_data():
    """The first class by a wide margin, the second by a hair: of both, and not of what stands first in the file."""
    import tensorflow as tf

    def logits(x):
        grey = 255.0 * tf.reduce_mean(x, axis=[1, 2, 3])
        return tf.stack([100.0 - grey, grey - 127.0], axis=1)

    labels = np.repeat(np.arange(2), 30)
    images = np.where(labels == 0, 20, 114)[:, None, None, None].repeat(8, 1).repeat(8, 2).astype(np.uint8)
    images += np.random.default_rng(0).integers(0, 2, images.shape, dtype=np.uint8)
    signs = ImageDataset("sorted", images, labels.astype(np.int64), ("dark", "grey"), frames_per_sign=1)
    model = subjects.Subject("by brightness", 2, logits, InputSpec(height=8, width=8, channels="grey"))
    result = audit(
        model,
        signs,
        threats=(THREATS[0], Threat(norm="l2", epsilon=0.1)),
        attacks=("fgsm",),
        certify=True,
        smoothed_images=6,
        smoothing_samples=100,
    )
    found = next(metric for metric in result.metrics if metric.name == "smoothed_accuracy.l2_0.1")
    assert found.n == 6
    assert 0.2 < found.value < 0.8
