"""Boxes, rectangles and drawings on signs, and the search that asks: no framework is needed for any of them."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from safeml.attacks.base import SURVIVED
from safeml.attacks.signs.base import Claim, badness
from safeml.attacks.signs.box import extent, inside, patch_sizes, pixel_boxes, placed
from safeml.attacks.signs.graffiti import graffiti, graffiti_allowed
from safeml.attacks.signs.search import worst_of
from safeml.attacks.signs.shadow import shadow, shadow_allowed
from safeml.attacks.signs.transform import grid
from safeml.attacks.signs.universal import PLACES, Patch, index_maps, patch_shape, patched
from safeml.errors import StageError
from safeml.stages.physical import PhysicalSettings

SIDE, N = 20, 12


def some_boxes(count=N, seed=0):
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 8, (count, 2))
    return np.concatenate([low, low + rng.integers(6, 12, (count, 2))], axis=1)


def some_images(count=N, seed=1):
    return np.random.default_rng(seed).uniform(0.1, 0.9, (count, SIDE, SIDE, 3)).astype(np.float32)


class Linear:
    """Two classes, told apart by one random direction; every image is class 0 by the same margin."""

    def __init__(self, images, margin):
        self.weights = np.random.default_rng(9).normal(size=images[0].size)
        self.offset = images.reshape(len(images), -1) @ self.weights
        self.images, self.margin, self.asked = images, margin, 0

    def predict_logits(self, images):
        self.asked += len(images)
        scores = images.reshape(len(images), -1) @ self.weights - self.offset.mean() - self.margin
        return np.stack([-scores, scores], axis=1).astype(np.float32)


def attacked(attack, settings, margin=2.0, rows=slice(None), batch=64):
    images, boxes = some_images(), some_boxes()
    classifier = Linear(images, margin)
    labels = classifier.predict_logits(images).argmax(axis=1)
    ids = np.arange(100, 100 + N)
    return attack(classifier, images[rows], labels[rows], boxes[rows], settings, 3, ids[rows], batch)


def test_a_pixel_belongs_to_a_box_when_it_lies_in_it_whole():
    boxes = pixel_boxes(np.array([[1.2, 2.0, 8.9, 9.0]], np.float32), 1, 10, 12)
    assert boxes.tolist() == [[2, 2, 8, 9]]


def test_a_box_thinner_than_a_pixel_keeps_one():
    assert pixel_boxes(np.array([[3.2, 3.1, 3.8, 9.0]]), 1, 10, 10).tolist() == [[3, 4, 4, 9]]


def test_without_boxes_the_middle_is_taken():
    assert pixel_boxes(None, 2, 20, 40).tolist() == [[4, 2, 36, 18]] * 2


@pytest.mark.parametrize("box", [[4, 4, 4, 9], [-3, 0, 5, 5], [0, 0, 11, 5], [0, 0, np.nan, 5]])
def test_a_box_that_is_none_is_refused_by_its_row(box):
    with pytest.raises(StageError, match="image 1 is empty or leaves its image"):
        pixel_boxes(np.array([[1, 1, 5, 5], box], np.float32), 2, 10, 10)


@pytest.mark.parametrize("area", [0.01, 0.05, 0.2, 0.5])
def test_a_patch_never_covers_more_than_its_share_and_fits_its_box_anywhere(area):
    boxes = np.concatenate([some_boxes(), [[0, 0, 1, 20], [0, 0, 20, 1], [5, 5, 6, 6]]])
    sizes = patch_sizes(boxes, area)
    pixels = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert (sizes >= 1).all()
    assert (sizes.prod(axis=1) <= np.maximum(1, area * pixels)).all()
    for down in (0.0, 0.4, 1.0):
        where = placed(boxes, sizes, np.full(len(boxes), down), np.full(len(boxes), 1 - down))
        marked = inside(where, SIDE, SIDE)
        assert not (marked & ~inside(boxes, SIDE, SIDE)).any()
        assert (extent(marked) == sizes).all()


def test_bad_is_wrong_and_nothing_else():
    rng = np.random.default_rng(4)
    logits = rng.integers(-2, 3, (500, 4)).astype(np.float32)  # many ties
    labels = rng.integers(0, 4, 500)
    assert ((badness(logits, labels) > 0) == (logits.argmax(axis=1) != labels)).all()
    assert (badness(np.full((2, 4), np.nan, np.float32), labels[:2]) == np.inf).all()


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_the_search_takes_the_first_wrong_candidate_whatever_the_batch(batch):
    """Candidate k adds k / 10 to the image; class 1 starts at 0.55, and the last image never gets there."""
    images = np.array([0.0, 0.3, 0.6, -9.0], np.float32).reshape(4, 1, 1, 1)

    def predict(pixels):
        values = pixels.reshape(len(pixels))
        return np.stack([np.zeros(len(values)), values - 0.55], axis=1)

    def draw(rows, numbers):
        return images[rows] + (numbers[:, None, None, None] / 10).astype(np.float32)

    found = worst_of(predict, images, np.zeros(4, int), 8, draw, batch).outcome
    assert found.first_step.tolist() == [7, 4, 0, SURVIVED]
    assert found.choice.tolist() == [6, 3, -1, 7]
    np.testing.assert_allclose(found.adversarial.ravel(), [0.6, 0.6, 0.6, -8.3], atol=1e-6)


@pytest.mark.parametrize(("attack", "allowed"), [(shadow, shadow_allowed), (graffiti, graffiti_allowed)])
class TestDrawings:
    def test_they_stay_in_the_box_and_are_allowed(self, attack, allowed):
        images, boxes, settings = some_images(), some_boxes(), PhysicalSettings()
        found = attacked(attack, settings)
        moved = (found.adversarial != images).any(axis=3)
        assert moved.any(axis=(1, 2)).all()
        assert not (moved & ~inside(boxes, SIDE, SIDE)).any()
        claim = Claim(images, found.adversarial, boxes, found.choice, settings, 3, np.arange(N))
        assert allowed(claim).all()
        beside = found.adversarial.copy()
        beside[:, 19, 19] = 0.05  # no box reaches that corner
        assert not allowed(Claim(images, beside, boxes, found.choice, settings, 3, np.arange(N))).any()

    def test_batch_and_order_do_not_matter(self, attack, allowed):
        whole, order = attacked(attack, PhysicalSettings()), np.random.default_rng(0).permutation(N)
        other = attacked(attack, PhysicalSettings(), rows=order, batch=3)
        assert (other.first_step == whole.first_step[order]).all()
        np.testing.assert_array_equal(other.adversarial, whole.adversarial[order])

    def test_a_longer_search_never_helps_the_classifier(self, attack, allowed):
        broken = [
            attacked(
                attack, PhysicalSettings(shadow_shapes=count, graffiti_shapes=count), margin=3.0
            ).first_step
            != SURVIVED
            for count in (2, 10, 60)
        ]
        assert (broken[0] <= broken[1]).all()
        assert (broken[1] <= broken[2]).all()
        assert broken[0].sum() < broken[2].sum()


def test_a_deeper_shadow_or_more_paint_than_declared_is_not_allowed():
    images, boxes = some_images(), some_boxes()
    within = inside(boxes, SIDE, SIDE)[..., None]
    nobody = np.full(N, -1)

    def claim(pixels, **changes):
        return Claim(images, pixels, boxes, nobody, PhysicalSettings(**changes), 3, nobody)

    dark = np.where(within, images * np.float32(0.43), images)
    assert shadow_allowed(claim(dark)).all()
    assert not shadow_allowed(claim(dark, shadow_factors=(0.5,))).any()
    assert not shadow_allowed(claim(np.where(within, images + np.float32(0.01), images))).any()
    assert not graffiti_allowed(claim(np.where(within, np.float32(0.05), images))).any()


def test_the_patch_shows_all_its_pixels_at_its_own_size_and_nothing_else_changes():
    boxes, images = some_boxes(), some_images()
    shape = patch_shape(boxes, 0.2, 3)
    patch = Patch(np.linspace(2, 3, np.prod(shape), dtype=np.float32).reshape(shape), 0)
    for place in range(PLACES**2):
        maps = index_maps(boxes, 0.2, place, shape, images.shape)
        assert ((maps >= 0).sum(axis=(1, 2)) == patch_sizes(boxes, 0.2).prod(axis=1)).all()
        assert not ((maps >= 0) & ~inside(boxes, SIDE, SIDE)).any()
        shown = patched(Patch(patch.pixels, place), images, boxes, 0.2)
        np.testing.assert_array_equal(shown[maps < 0], images[maps < 0])
        assert (shown[maps >= 0] >= 2).all()
        largest = (patch_sizes(boxes, 0.2) == shape[:2]).all(axis=1)
        for row in np.flatnonzero(largest):
            assert sorted(maps[row][maps[row] >= 0].tolist()) == list(range(shape[0] * shape[1]))


def test_the_grid_starts_with_no_change_and_has_each_point_once():
    settings = PhysicalSettings()
    points = grid(settings)
    assert points[0].tolist() == [0, 0, 0, 1]
    assert len(points) == settings.grid_points == len({tuple(point) for point in points.round(9).tolist()})
    assert np.abs(points).max(axis=0).round(9).tolist() == [15, 0.0625, 0.0625, 1.1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sticker_area": 0.0}, "above 0 and at most 0.5"),
        ({"patch_area": 0.6}, "above 0 and at most 0.5"),
        ({"shadow_factors": (0.4, 1.0)}, "shadow_factors are outside 0-1"),
        ({"shift_points": 4}, "expected an odd number"),
        ({"rotation_degrees": 0.0}, "rotation and rotation_points contradict"),
        ({"rotation_points": 99}, "the grid has 7425 points"),
        ({"patch_pair": ("Stop", "Stop")}, "names one class twice"),
    ],
)
def test_settings_that_measure_nothing_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        PhysicalSettings(**changes)
