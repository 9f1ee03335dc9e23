"""The attacks on signs against closed forms on linear classifiers, and the moved images against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from safeml.attacks.base import SURVIVED
from safeml.attacks.signs import sticker as module
from safeml.attacks.signs.base import DARKEST, LIGHTEST, Claim
from safeml.attacks.signs.box import inside, patch_sizes, placed
from safeml.attacks.signs.sticker import sticker, sticker_allowed
from safeml.attacks.signs.transform import grid, moved, transform, transform_allowed
from safeml.attacks.signs.universal import index_maps, train_patch
from safeml.stages.physical import PhysicalSettings
from tests import subjects

pytestmark = pytest.mark.slow

SIDE, N = 12, 10
IDS = np.arange(N)
BOXES = np.tile(np.array([[2, 1, 11, 10]]), (N, 1))


def setting():
    """Images and the weights of a linear score; the score says class 1."""
    rng = np.random.default_rng(2)
    return rng.uniform(0.2, 0.8, (N, SIDE, SIDE, 1)).astype(np.float32), rng.normal(size=(SIDE, SIDE, 1))


def two_classes(weights, offset):
    """logits (0, w x - offset): class 0 below the offset."""
    columns = np.stack([np.zeros(weights.size), weights.ravel()], axis=1)
    return subjects.linear(columns, np.array([0.0, -offset]))


def best_scores(images, weights, area, places):
    """The highest score that a sticker reaches on each image: at its best place every pixel is at one end of the range."""
    gain = np.maximum(weights * (DARKEST - images), weights * (LIGHTEST - images))[..., 0].astype(np.float64)
    spots = np.linspace(0, 1, places) if places > 1 else [0.5]
    sizes = patch_sizes(BOXES, area)
    sums = []
    for down in spots:
        for right in spots:
            mask = inside(placed(BOXES, sizes, np.full(N, down), np.full(N, right)), SIDE, SIDE)
            sums.append((gain * mask).sum(axis=(1, 2)))
    return (images[..., 0] * weights[..., 0]).sum(axis=(1, 2)) + np.max(sums, axis=0)


def stuck(images, weights, offset, rows=slice(None), batch=4, **changes):
    settings = PhysicalSettings(**{"sticker_places": 3, "sticker_steps": 12, **changes})
    found = sticker(
        two_classes(weights, offset),
        images[rows],
        np.zeros(N, int)[rows],
        BOXES[rows],
        settings,
        5,
        IDS[rows],
        batch,
    )
    return found, settings


@pytest.mark.parametrize("places", [1, 3])
def test_the_sticker_breaks_a_linear_classifier_exactly_where_the_best_one_does(places):
    images, weights = setting()
    best = best_scores(images, weights, 0.1, places)
    for row in range(3):
        for slack, breaks in ((-0.01, True), (0.01, False)):
            found, _ = stuck(
                images,
                weights,
                best[row] + slack,
                slice(row, row + 1),
                sticker_places=places,
                sticker_area=0.1,
            )
            assert (found.first_step[0] not in (0, SURVIVED)) == breaks, (row, slack)


@pytest.mark.parametrize("start", [1, 3])
def test_the_climb_alone_reaches_the_corner_from_grey_or_noise(monkeypatch, start):
    """With a start that knows nothing of the gradient, the last iterate of a survivor is the closed form's sticker."""
    images, weights = setting()
    original = module._against_the_gradient

    def blind(*arguments):
        colours, zero, odd = original(*arguments)
        return (lambda rows, starts: colours(rows, np.full(len(rows), start))), zero, odd

    monkeypatch.setattr(module, "_against_the_gradient", blind)
    best = best_scores(images, weights, 0.1, 1)
    found, _ = stuck(images, weights, best.max() + 5, sticker_places=1, sticker_area=0.1)
    assert (found.first_step == SURVIVED).all()
    np.testing.assert_allclose((found.adversarial * weights).sum(axis=(1, 2, 3)), best, atol=1e-4)


def test_a_sticker_changes_nothing_outside_its_rectangle_and_is_allowed():
    images, weights = setting()
    found, settings = stuck(images, weights, best_scores(images, weights, 0.05, 3).mean())
    broken = found.first_step != SURVIVED
    assert 0 < broken.sum() < N
    pixels = (found.adversarial != images).any(axis=3)
    assert not (pixels & ~inside(BOXES, SIDE, SIDE)).any()
    assert (pixels.sum(axis=(1, 2)) <= 0.05 * 81).all()
    claim = Claim(images, found.adversarial, BOXES, found.choice, settings, 5, IDS)
    assert sticker_allowed(claim).all()
    two_stickers = found.adversarial.copy()
    two_stickers[:, [1, 9], [2, 10]] = 0.5  # both corners of the box: no rectangle of that area holds them
    assert not sticker_allowed(Claim(images, two_stickers, BOXES, found.choice, settings, 5, IDS)).any()


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_batch_and_order_do_not_change_a_sticker(batch):
    images, weights = setting()
    offset = best_scores(images, weights, 0.05, 3).mean()
    order = np.random.default_rng(batch).permutation(N)
    whole, _ = stuck(images, weights, offset)
    other, _ = stuck(images, weights, offset, order, batch)
    assert (other.first_step == whole.first_step[order]).all()
    np.testing.assert_allclose(other.adversarial, whole.adversarial[order], atol=1e-6)


def test_a_larger_sticker_never_helps_the_classifier():
    images, weights = setting()
    offset = best_scores(images, weights, 0.1, 3).mean()
    broken = [
        stuck(images, weights, offset, sticker_area=area)[0].first_step != SURVIVED
        for area in (0.02, 0.1, 0.4)
    ]
    assert broken[0].sum() < broken[1].sum() < broken[2].sum() == N
    assert (broken[0] <= broken[1]).all()


def test_a_hidden_gradient_is_said_and_the_sticker_still_asks():
    images, weights = setting()
    offset = (images * weights).sum(axis=(1, 2, 3)).max() + 0.2
    hidden = subjects.stepped(two_classes(weights, offset), levels=64)
    labels = hidden.predict_logits(images).argmax(axis=1)
    found = sticker(hidden, images, labels, BOXES, PhysicalSettings(sticker_steps=4), 5, IDS, 16)
    assert found.zero_gradients.all()
    assert (found.first_step > 0).any()


@pytest.mark.parametrize("point", [(0, 0, 0, 1), (15, 0, 0, 1), (-7, 0.1, -0.05, 0.9), (0, 0.0625, 0, 1.1)])
def test_moved_images_are_what_scipy_makes_of_them(point):
    """Turned clockwise about the middle, then shifted; where nothing was seen, the border is repeated."""
    rng = np.random.default_rng(3)
    images = rng.uniform(0, 1, (2, 9, 13, 3)).astype(np.float32)
    degrees, right, down, zoom = point
    angle = np.deg2rad(degrees)
    y, x = np.mgrid[:9, :13].astype(float)
    x, y = x - 6 - right * 13, y - 4 - down * 9
    back_x = (np.cos(angle) * x + np.sin(angle) * y) / zoom + 6
    back_y = (-np.sin(angle) * x + np.cos(angle) * y) / zoom + 4
    found = moved(images, np.tile(np.array(point, float), (2, 1)))
    for image, other in zip(images, found, strict=True):
        for channel in range(3):
            expected = map_coordinates(
                image[..., channel].astype(float), [back_y, back_x], order=1, mode="nearest"
            )
            np.testing.assert_allclose(other[..., channel], expected, atol=2e-5)
    if point == (0, 0, 0, 1):
        np.testing.assert_array_equal(found, images)


def viewed(**changes):
    """A classifier that each grid point moves across its boundary for some images, and what the attack finds."""
    images, weights = setting()
    weights = (
        0.1 * weights + 0.1
    )  # brightness decides, and the images differ in it: some lie far from the boundary
    images = images * np.float32(0.7) + np.linspace(0, 0.3, N, dtype=np.float32)[:, None, None, None]
    classifier = two_classes(weights, float((images * weights).sum(axis=(1, 2, 3)).mean()))
    labels = classifier.predict_logits(images).argmax(axis=1)
    labels[0] = 1 - labels[0]  # one image is misclassified as it is
    small = {"rotation_points": 3, "shift_points": 3, "zoom_points": 1, "zoom": 0.0}
    settings = PhysicalSettings(**{**small, **changes})
    return (
        images,
        classifier,
        labels,
        settings,
        transform(classifier, images, labels, BOXES, settings, 5, IDS, 8),
    )


def test_the_worst_of_the_grid_is_the_worst_of_all_its_points():
    images, classifier, labels, settings, found = viewed()
    right = np.array(
        [
            classifier.predict_logits(moved(images, np.tile(point, (N, 1)))).argmax(axis=1) == labels
            for point in grid(settings)
        ]
    )
    assert ((found.first_step == SURVIVED) == right.all(axis=0)).all()
    assert (found.first_step == SURVIVED).mean() <= right.mean(axis=1).min()
    assert 0 < (found.first_step == SURVIVED).sum() < N - 1
    assert found.first_step[0] == 0
    assert transform_allowed(Claim(images, found.adversarial, BOXES, found.choice, settings, 5, IDS)).all()
    lied = np.where(found.choice >= 0, (found.choice + 1) % len(grid(settings)), 1)
    assert not transform_allowed(Claim(images, found.adversarial, BOXES, lied, settings, 5, IDS)).any()


def test_a_larger_grid_never_helps_and_the_unchanged_view_alone_is_clean_accuracy():
    none = dict.fromkeys(("rotation_points", "shift_points", "zoom_points"), 1)
    still = viewed(**none, rotation_degrees=0.0, shift=0.0, zoom=0.0)[-1]
    assert (still.first_step == SURVIVED).tolist() == [False] + [True] * (N - 1)
    survivors = [
        viewed(rotation_points=points, shift_points=points)[-1].first_step == SURVIVED for points in (3, 5)
    ]
    assert (survivors[1] <= survivors[0]).all()


def test_the_universal_patch_of_a_linear_classifier_is_at_the_corners_of_the_best_place():
    images, weights = setting()
    classifier = two_classes(weights, 0.0)
    settings = PhysicalSettings(patch_area=0.1, patch_steps=30)
    patch = train_patch(classifier, images, BOXES, 1, settings, 5, 4)
    gains = []
    for place in range(9):
        maps = index_maps(BOXES[:1], 0.1, place, patch.pixels.shape, images.shape)[0]
        own = weights[..., 0][maps >= 0]
        before = (images[..., 0][:, maps >= 0] * own).sum(axis=1).mean()
        gains.append((np.maximum(own * DARKEST, own * LIGHTEST)).sum() - before)
    assert patch.place == int(np.argmax(gains))
    maps = index_maps(BOXES[:1], 0.1, patch.place, patch.pixels.shape, images.shape)[0]
    slope = weights[..., 0][maps >= 0]
    expected = np.where(slope > 0, LIGHTEST, DARKEST).astype(np.float32)
    np.testing.assert_array_equal(patch.pixels.ravel(), expected)
