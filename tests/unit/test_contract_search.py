"""How contracts are searched: rounds, halves, candidates, class order, and that order changes nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeml.contracts.candidates import candidates
from safeml.contracts.decide import inspect_model
from safeml.contracts.measure import NO_ANSWER, halves, named, part
from safeml.contracts.permutation import best_assignment
from safeml.contracts.search import round_sizes
from safeml.settings.model import InputSettings
from tests.contract_fakes import FakeModel, K, model_with, photos, right_at

pytestmark = pytest.mark.slow


def test_a_contract_that_is_as_good_as_the_best_seldom_falls_out() -> None:
    """14 feeds of one accuracy, with independent mistakes: each is truly best, and falls out in at most 5 % of trials."""
    data = photos(1000, classes=8)
    fallen = total = 0
    for trial in range(20):

        def raw(contract: InputSettings, trial: int = trial) -> np.ndarray:
            return right_at(data, 0.8, seed=[trial, *repr(contract).encode()])  # type: ignore[arg-type]

        found = inspect_model(FakeModel(raw, outputs=8), data, seed=trial)
        assert found.reason == "same"
        fallen += sum(not entry.kept for entry in found.tried)
        total += len(found.tried)
    assert total == 280
    assert fallen <= 0.05 * total


@settings(max_examples=20, deadline=None)
@given(
    order=st.permutations(range(28)),
    shares=st.lists(st.sampled_from([0.05, 0.5, 0.9]), min_size=14, max_size=14),
)
def test_the_order_of_the_candidates_changes_nothing(order: list[int], shares: list[float]) -> None:
    data = photos(600)
    among = candidates((16, 16, 3), (16, 16, 3), K)
    by_feed = dict(zip(dict.fromkeys(entry.feed for entry in among), shares, strict=True))
    share_of = {
        repr(entry.settings): by_feed[entry.feed] for entry in among if entry.settings.class_order is None
    }
    model = FakeModel(lambda contract: right_at(data, share_of[repr(contract)]))
    first = inspect_model(model, data, among=among)
    assert inspect_model(model, data, among=[among[place] for place in order]) == first


@pytest.mark.parametrize(
    ("depth", "image_channels", "channels", "count"),
    [
        (3, 3, {"rgb", "bgr"}, 28),
        (1, 3, {"grey"}, 10),
        (None, 3, {"rgb", "bgr", "grey"}, 38),
        (3, 1, {"rgb"}, 14),
    ],
)
def test_candidates_fit_the_depth(
    depth: int | None, image_channels: int, channels: set[str], count: int
) -> None:
    found = candidates((16, 16, depth), (16, 16, image_channels), K)
    assert {entry.settings.channels for entry in found} == channels
    assert len(found) == len({entry.name for entry in found}) == count
    assert all(entry.settings.height is None for entry in found)


def test_an_open_size_takes_that_of_the_images_and_says_so() -> None:
    assert {
        (entry.settings.height, entry.settings.width) for entry in candidates((None, None, 3), (20, 24, 3), 3)
    } == {(20, 24)}
    data = photos(500)
    model = model_with(data, {("rgb", (0, 1)): 0.95}, input_shape=(None, None, 3))
    assert any("accepts any input size" in note for note in inspect_model(model, data).notes)


def test_means_stand_in_the_models_own_channel_order() -> None:
    means = {entry.feed: entry.settings.mean for entry in candidates((8, 8, 3), (8, 8, 3), 2)}
    assert means["BGR, 0..255 minus the ImageNet means"] == (
        103.939,
        116.779,
        123.68,
    )  # as keras.applications has it
    assert means["RGB, ImageNet mean and std"] == (0.485, 0.456, 0.406)  # as torchvision has it
    assert means["BGR, ImageNet mean and std"] == (0.406, 0.456, 0.485)


def test_rounds_grow_and_end_with_all_images() -> None:
    assert round_sizes(6315, 400) == [400, 1600, 6315]
    assert round_sizes(1600, 400) == [400, 1600]
    assert round_sizes(300, 400) == [300]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_best_assignment_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    raw, labels = rng.integers(-1, 5, 60), rng.integers(0, 5, 60)
    order, support = best_assignment(raw, labels, 5)
    best = max(int((named(raw, p) == labels).sum()) for p in itertools.permutations(range(5)))
    assert sorted(order) == list(range(5))
    assert int((named(raw, tuple(order)) == labels).sum()) == best == support.sum()


def test_halves_part_all_images_and_no_sign() -> None:
    data = photos(900, tracks=np.arange(900) // 9)
    fit, check = halves(data, 3)
    assert sorted([*fit, *check]) == list(range(900))
    assert not set(data.tracks[fit]) & set(data.tracks[check])
    assert len(fit) == 450


def test_a_part_keeps_fewer_frames_of_a_sign() -> None:
    data = photos(1001, frames_per_sign=11)
    assert part(data, np.arange(501)).frames_per_sign == pytest.approx(1 + 10 * 500 / 1000)
    assert part(data, np.arange(1)).frames_per_sign == 1


def test_an_answer_that_is_none_is_no_class() -> None:
    assert named(np.array([0, NO_ANSWER, 2]), (2, 0, 1)).tolist() == [2, NO_ANSWER, 1]
