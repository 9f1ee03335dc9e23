"""Which input contract a model wants, on models whose answers under each contract are known. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from safeml.contracts import words
from safeml.contracts.candidates import text_sorted
from safeml.contracts.decide import inspect_model
from safeml.contracts.measure import NO_ANSWER
from safeml.errors import InputRefused
from safeml.settings.model import InputSettings
from tests.contract_fakes import FakeModel, K, model_with, photos, right_at

pytestmark = pytest.mark.slow


def test_a_clear_winner_is_proposed_with_its_runner_up() -> None:
    data = photos()
    found = inspect_model(model_with(data, {("bgr", (-1, 1)): 0.95, ("rgb", (-1, 1)): 0.6}), data)
    assert (found.status, found.reason, found.rounds) == ("proposed", "", (400,))
    assert found.winner is not None
    assert found.runner_up is not None
    assert (found.winner.settings.channels, found.winner.settings.range) == ("bgr", (-1, 1))
    assert found.winner.settings.class_order is None
    assert found.runner_up.settings.channels == "rgb"
    assert found.winner.name in found.sentence
    assert found.runner_up.name in found.sentence
    assert found.warnings == ()
    accuracy = found.winner.accuracy
    assert accuracy is not None
    exact = binomtest(round(accuracy.value * 400), 400).proportion_ci(0.95, "exact")
    assert (accuracy.low, accuracy.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert any("author may have trained on these images" in note for note in found.notes)
    assert any("count as independent" in note for note in found.notes)


def test_declared_frames_of_a_sign_widen_the_intervals_and_end_the_note() -> None:
    data = photos()
    model = model_with(data, {("rgb", (0, 1)): 0.95})
    alone = inspect_model(model, data)
    framed = inspect_model(model, replace(data, frames_per_sign=30))
    assert framed.winner.accuracy.low < alone.winner.accuracy.low
    assert framed.winner.accuracy.clustering == "declared"
    assert not any("count as independent" in note for note in framed.notes)


def test_better_on_these_images_but_not_proven_for_other_signs_is_proposed_with_the_doubt() -> None:
    data = photos(4000, frames_per_sign=15)
    model = model_with(data, {("rgb", (0, 1)): 0.955, ("rgb", (0, 255)): 0.947})
    found = inspect_model(model, data)
    assert (found.status, found.rounds) == ("proposed", (400, 1600, 4000))
    assert found.winner.settings.range == (0, 1)
    assert found.runner_up.name == "RGB, 0..255"
    assert found.runner_up.kept
    assert found.runner_up.drop.low < 0 < found.runner_up.drop.value
    assert "not once frames of the same sign" in found.warnings[0]
    assert '"RGB, 0..255"' in found.warnings[0]


def test_two_contracts_with_the_same_answers_cannot_be_told_apart() -> None:
    data = photos(2000)
    model = model_with(data, {("rgb", (0, 1)): 0.95, ("rgb", (0, 255)): 0.95})
    found = inspect_model(model, data)
    assert (found.status, found.reason, found.winner) == ("cannot_tell", "same", None)
    assert found.same == ("RGB, 0..1", "RGB, 0..255")
    assert found.rounds == (400, 1600, 2000)
    assert "same predictions on all 2,000 images" in found.sentence


def test_two_contracts_of_one_accuracy_but_other_answers_cannot_be_told_apart() -> None:
    data = photos(1000)

    def raw(contract: InputSettings) -> np.ndarray:
        near = contract.channels == "rgb" and not contract.standardise and not contract.mean
        if near and contract.range[1] in (1, 255) and contract.range[0] == 0:
            return right_at(data, 0.9, seed=int(contract.range[1]))
        return right_at(data, 0.05)

    found = inspect_model(FakeModel(raw), data)
    assert (found.reason, set(found.same)) == ("same", {"RGB, 0..1", "RGB, 0..255"})
    answers = [right_at(data, 0.9, seed=s) for s in (1, 255)]
    assert f"their predictions differ on {(answers[0] != answers[1]).sum()}" in found.sentence


@pytest.mark.parametrize("kind", ["random", "constant", "never finite"])
def test_a_model_at_chance_is_called_that(kind: str) -> None:
    data = photos(1500)

    def raw(contract: InputSettings) -> np.ndarray:
        if kind == "random":
            return np.random.default_rng(len(repr(contract))).integers(0, K, len(data))
        return np.full(len(data), 7 if kind == "constant" else NO_ANSWER)

    found = inspect_model(FakeModel(raw), data)
    assert (found.status, found.reason, found.permutation) == ("cannot_tell", "chance", None)
    assert found.chance == np.bincount(data.labels).max() / 1500
    assert "no better than chance under all 28 contracts" in found.sentence


def test_naming_the_most_frequent_class_is_chance_however_often_it_is_right() -> None:
    data = photos(1000)
    data = replace(data, labels=np.where(np.arange(1000) % 10 < 6, 3, data.labels))
    found = inspect_model(FakeModel(lambda contract: np.full(1000, 3)), data)
    assert found.reason == "chance"
    assert found.tried[0].accuracy.value == np.mean(data.labels == 3) > 0.6


def test_knowing_groups_of_classes_is_no_permutation() -> None:
    """One output for each 6 classes: an assignment lifts it above chance, as it does a random network, and proves nothing."""
    data = photos(3000)
    found = inspect_model(FakeModel(lambda contract: (data.labels // 6 * 6 + 20) % K), data)
    assert (found.reason, found.permutation) == ("chance", None)


def test_permuted_classes_are_shown_and_never_proposed() -> None:
    data = photos()
    output_of = np.random.default_rng(5).permutation(K)  # the output that stands for each class
    good, bad = output_of[right_at(data, 0.95)], right_at(data, 0.06)

    def raw(contract: InputSettings) -> np.ndarray:
        return (
            good if contract.channels == "bgr" and contract.range == (0, 255) and not contract.mean else bad
        )

    found = inspect_model(FakeModel(raw), data)
    assert (found.status, found.reason, found.winner) == ("cannot_tell", "permutation", None)
    seen = found.permutation
    assert seen is not None
    assert seen.contract == "BGR, 0..255"
    assert np.array_equal(np.array(seen.class_of_output)[output_of], np.arange(K))
    assert seen.permuted.value == pytest.approx(0.95, abs=0.02)
    assert seen.permuted.n == 2000  # measured on the half that it was not fitted on
    assert seen.as_given.value < 0.2
    assert seen.thin == sum(count < 3 for count in seen.support) == 0


def test_outputs_with_few_images_are_counted_as_thin() -> None:
    data = photos(6000)
    data = data.take(np.flatnonzero((data.labels != 4) | (np.arange(6000) < 50)))
    output_of = np.roll(np.arange(K), 1)
    model = FakeModel(lambda contract: output_of[right_at(photos(6000), 0.97)])
    seen = inspect_model(model, data).permutation
    assert seen is not None
    assert seen.thin == 1
    assert seen.support[output_of[4]] < 3
    assert seen.thin_classes == (4,)
    found = inspect_model(model, data)
    assert "The assignment of class 4 rests on fewer than 3 supporting images" in found.sentence


@pytest.mark.parametrize(("second", "known"), [(0.8, True), (0.95, False)])
def test_the_best_permuted_contract_is_stated_with_its_runner_up(second: float, known: bool) -> None:
    """The best is the same feed under another class order; its runner-up may be as good, which leaves the feed open."""
    data = photos()
    output_of = np.random.default_rng(5).permutation(K)
    shares = {("bgr", (0, 255)): 0.95, ("rgb", (0, 255)): second}

    def raw(contract: InputSettings) -> np.ndarray:
        key = (contract.channels, contract.range)
        if contract.mean or contract.standardise or key not in shares:
            return right_at(data, 0.06)
        return output_of[right_at(data, shares[key], seed=1 if key[0] == "bgr" else 2)]

    found = inspect_model(FakeModel(raw), data)
    assert found.reason == "permutation"
    assert found.permutation is not None
    lost = found.permutation.runner_up_loss
    assert lost is not None
    assert lost.low is not None
    assert {found.permutation.contract, found.permutation.runner_up} == {"BGR, 0..255", "RGB, 0..255"}
    assert (lost.low > 0) == known
    assert lost.value == pytest.approx(0.95 - second, abs=0.02)
    assert ("so the two are not distinguished" in found.sentence) == (not known)
    assert f"{found.permutation.runner_up} with permuted classes" in found.sentence


def test_a_proposal_names_the_classes_that_have_few_images() -> None:
    data = photos(6000)
    data = data.take(np.flatnonzero((data.labels != 4) | (np.arange(6000) < 50)))
    few = int((data.labels == 4).sum())
    found = inspect_model(model_with(photos(6000), {("rgb", (0, 1)): 0.95}), data)
    assert found.status == "proposed"
    assert any(f"class 4 ({few} image" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.41234, "41.2"),
        (0.99981, "over 99.9"),
        (0.0002, "under 0.1"),
        (1.0, "100.0"),
        (0.0, "0.0"),
        (-0.0123, "\u22121.2"),
    ],
)
def test_a_percentage_in_a_finding_has_one_decimal(value: float, text: str) -> None:
    assert words.percent(value) == f"{text}\u202f%"


def test_another_number_of_classes_is_told_before_the_model_is_asked() -> None:
    def never(contract: InputSettings) -> np.ndarray:
        raise AssertionError("asked")

    found = inspect_model(FakeModel(never, outputs=58), photos(100))
    assert (found.status, found.reason, found.tried) == ("cannot_tell", "classes", ())
    assert "58 outputs" in found.sentence
    assert "43 classes" in found.sentence


def test_classes_sorted_as_text_are_recognised() -> None:
    data = photos()
    order = text_sorted(K)
    output_of = np.argsort(order)
    shares = {("rgb", (0, 1)): 0.95}
    plain = model_with(data, shares)
    found = inspect_model(FakeModel(lambda contract: output_of[plain.raw(contract)]), data)
    assert found.status == "proposed"
    assert found.winner.settings.class_order == order
    assert found.winner.settings.range == (0, 1)


def test_the_order_of_folders_listed_as_text() -> None:
    assert text_sorted(12) == (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)
    assert text_sorted(10) == tuple(range(10))
    assert sorted(text_sorted(43)) == list(range(43))


def test_a_winner_that_needs_more_images_gets_them() -> None:
    data = photos(6000)
    found = inspect_model(model_with(data, {("bgr", (0, 1)): 0.966, ("bgr", (0, 255)): 0.96}), data)
    assert found.status == "proposed"
    assert found.winner.name == "BGR, 0..1"
    assert found.runner_up.name == "BGR, 0..255"
    assert len(found.rounds) > 1
    assert found.winner.accuracy.n == found.rounds[-1] > 400
    assert found.runner_up.drop.low > 0
    fallen_early = [entry.accuracy.n for entry in found.tried[2:]]
    assert set(fallen_early) == {400}


def test_a_weak_winner_carries_a_warning_and_is_measured_on_all_images() -> None:
    data = photos(3000)
    found = inspect_model(model_with(data, {("rgb", (0, 255)): 0.3}), data)
    assert found.status == "proposed"
    assert found.rounds[-1] == 3000
    assert len(found.warnings) == 1
    assert "may need a contract" in found.warnings[0]


def test_two_exchanged_classes_are_a_warning() -> None:
    data = photos(3000)
    swap = np.arange(K)
    swap[[3, 5]] = 5, 3
    plain = model_with(data, {("rgb", (0, 1)): 0.98})
    found = inspect_model(FakeModel(lambda contract: swap[plain.raw(contract)]), data, images=3000)
    assert found.status == "proposed"
    assert any("another class for 2 outputs (3 as 5, 5 as 3)" in warning for warning in found.warnings)


def test_contracts_that_the_model_refuses_are_left_out_and_said() -> None:
    data = photos(1000)
    plain = model_with(data, {("rgb", (0, 1)): 0.95})

    def raw(contract: InputSettings) -> np.ndarray:
        if contract.range == (0, 255):
            raise InputRefused("model.keras: its arithmetic overflows.")
        return plain.raw(contract)

    found = inspect_model(FakeModel(raw), data)
    assert found.winner.name == "RGB, 0..1"
    refused = [entry for entry in found.tried if entry.accuracy is None]
    assert {entry.settings.range for entry in refused} == {(0, 255)}
    assert all("overflows" in entry.reason for entry in refused)


def test_a_model_that_refuses_every_contract_is_refused() -> None:
    def raw(contract: InputSettings) -> np.ndarray:
        raise InputRefused("model.keras: gives other outputs each time.")

    with pytest.raises(InputRefused, match="each time"):
        inspect_model(FakeModel(raw), photos(100))
