"""Measures of attribution maps against closed forms and scipy. Legend: N images, H W pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from safeml.audits.explainability.curves import curve_areas
from safeml.audits.gallery import map_panel
from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize
from safeml.errors import StageError
from safeml.metrics.attribution import (
    area_under,
    box_area,
    box_energy,
    box_iou,
    centre_map,
    has_map,
    pixel_ranks,
    pointing_hits,
    rank_correlations,
)

SIDE = 8
BOX = np.zeros((1, SIDE, SIDE), bool)
BOX[0, 2:6, 2:6] = True


def test_energy_counts_evidence_for_and_against() -> None:
    maps = np.zeros((3, SIDE, SIDE))
    maps[0, 3, 3], maps[0, 0, 0] = 3, -1
    maps[1] = 1.0
    box = np.repeat(BOX, 3, axis=0)
    assert box_energy(maps, box)[0] == 0.75
    assert np.isnan(box_energy(maps, box)[1:]).all()  # a constant map and an empty one point nowhere
    assert has_map(maps).tolist() == [True, False, False]
    assert box_area(box).tolist() == [0.25] * 3


def test_a_map_that_is_not_finite_is_no_map() -> None:
    maps = np.ones((2, SIDE, SIDE))
    maps[0, 0, 0], maps[1, 0, 0] = np.nan, np.inf
    assert not has_map(maps).any()
    assert np.isnan(box_energy(maps, np.repeat(BOX, 2, axis=0))).all()


def test_the_pointing_game_needs_every_largest_pixel_on_the_sign() -> None:
    maps = np.zeros((3, SIDE, SIDE))
    maps[0, 3, 3] = maps[1, 3, 3] = maps[1, 0, 0] = 2
    maps[2, 4, 4] = -2
    assert pointing_hits(maps, np.repeat(BOX, 3, axis=0)).tolist() == [True, False, True]


def test_iou_is_one_for_the_box_and_zero_for_the_rest() -> None:
    maps = np.concatenate([BOX, ~BOX]).astype(float)
    assert box_iou(maps, np.repeat(BOX, 2, axis=0)).tolist() == [1.0, 0.0]


def test_rank_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(4, SIDE, SIDE)), rng.integers(0, 3, (4, SIDE, SIDE)).astype(float)
    own = rank_correlations(first, second)
    for row in range(4):
        assert own[row] == pytest.approx(spearmanr(first[row].ravel(), second[row].ravel()).statistic)
    assert rank_correlations(first, 2 * first**3).tolist() == pytest.approx([1] * 4)
    assert np.isnan(rank_correlations(first, np.ones_like(first))).all()


def test_ranks_are_descending_and_ties_are_random() -> None:
    ties = np.random.default_rng(1).random((1, SIDE, SIDE))
    ranks = pixel_ranks(BOX.astype(float), ties)
    assert sorted(ranks.ravel()) == list(range(SIDE * SIDE))
    assert ranks[BOX].max() == 15
    assert ranks[BOX].tolist() != list(range(16))


def test_areas_of_straight_lines() -> None:
    assert area_under(np.array([[0.0, 0.5, 1.0], [1.0, 1.0, 1.0]])).tolist() == [0.5, 1.0]


def test_the_centre_map_is_largest_in_the_middle() -> None:
    made = centre_map(7, 9)
    assert np.unravel_index(int(made.argmax()), made.shape) == (3, 4)
    np.testing.assert_allclose(made, made[::-1, ::-1])


class Reads:
    """The logit of class 1 is 20 times the mean brightness inside BOX, less 10."""

    name, classes, parameters, fingerprint, notes = "reads", 2, 0, "b" * 64, ()
    spec, batch = InputSpec(height=SIDE, width=SIDE, channels="grey"), BatchSize(16)

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        score = 20 * images[:, 2:6, 2:6, 0].mean(axis=(1, 2)) - 10
        return np.stack([-score, score], axis=1).astype(np.float32)


def test_an_oracle_map_beats_a_random_one_in_both_curves() -> None:
    images = np.zeros((6, SIDE, SIDE, 1), np.float32)
    images[:, 2:6, 2:6] = 1
    rng = np.random.default_rng(0)
    classes, ids = np.ones(6, np.int64), np.arange(6)
    oracle = curve_areas(Reads(), images, classes, np.repeat(BOX, 6, axis=0).astype(float), 8, 7, ids)
    chance = curve_areas(Reads(), images, classes, rng.random((6, SIDE, SIDE)), 8, 7, ids)
    worst = curve_areas(Reads(), images, classes, -np.repeat(BOX, 6, axis=0).astype(float), 8, 7, ids)
    assert (oracle[0] > chance[0]).all()
    assert (chance[0] > worst[0]).all()
    assert (oracle[1] < chance[1]).all()
    assert (chance[1] < worst[1]).all()


def test_the_ends_of_the_curves_are_the_image_and_its_mean_colour() -> None:
    """With one inner point, the curves are known: half of the pixels of the top."""
    images = np.zeros((1, SIDE, SIDE, 1), np.float32)
    images[:, 2:6, 2:6] = 1
    insertion, deletion = curve_areas(
        Reads(), images, np.ones(1, np.int64), BOX.astype(float), 2, 7, np.arange(1)
    )

    def probability(brightness: float) -> float:
        return 1 / (1 + np.exp(-2 * (20 * brightness - 10)))

    full, none = probability(1.0), probability(0.25)
    assert insertion[0] == pytest.approx((none + full) / 4 + full / 2)  # the top half holds the whole box
    assert deletion[0] == pytest.approx((full + none) / 4 + none / 2)


def test_a_map_is_drawn_over_the_image() -> None:
    image = np.full((SIDE, SIDE, 3), 200, np.uint8)
    drawn = map_panel("map", image, BOX[0].astype(float))
    plain = map_panel("map", image, np.zeros((SIDE, SIDE)))
    assert (drawn.width, drawn.height) == (SIDE, SIDE)
    assert drawn.png != plain.png
    assert map_panel("map", image, np.full((SIDE, SIDE), np.nan)).png == plain.png
    with pytest.raises(StageError, match="expected \\[8, 8\\], as the image"):
        map_panel("map", image, np.zeros((2, 2)))
