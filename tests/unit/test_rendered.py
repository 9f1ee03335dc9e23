"""The rendered signs: that they are what the arguments say, that they look like themselves, and that their boxes are right."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter1d
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from safeml.data import signs
from safeml.data.contact_sheet import contact_sheet
from safeml.data.rendered import render
from safeml.data.rendered.approach import Approach, draw_approach, homographies, project
from safeml.data.rendered.backgrounds import KINDS
from safeml.data.rendered.catalogue import CLASS_NAMES, MOUNTS, SIGNS, plate
from safeml.data.rendered.light import SHARES, WEATHERS, blur
from safeml.data.rendered.scene import film
from safeml.data.rendered.tracks import signs_of_each_class
from safeml.errors import ConfigError, InputRefused

pytestmark = pytest.mark.slow

SHARED = Path(os.environ.get("SAFEML_SHARED", Path(__file__).parents[2].parent / "shared"))
FRAMES = 5


@pytest.fixture(scope="module")
def small():
    return render(43 * FRAMES * 2, seed=3, frames_per_sign=FRAMES)


def test_the_arrays_are_what_a_dataset_promises(small):
    count = 43 * FRAMES * 2
    assert small.images.dtype == np.uint8
    assert small.images.shape == (count, 32, 32, 3)
    assert small.boxes.shape == (count, 4)
    assert small.boxes.dtype == np.float32
    assert small.original_size.shape == (count, 2)
    assert small.class_names == CLASS_NAMES
    assert set(small.groups["weather"]) <= set(WEATHERS)
    assert set(small.groups["background"]) == set(KINDS)
    assert len(np.unique(small.tracks)) == 86


def test_all_classes_are_present_from_one_sign_each():
    labels = render(43, seed=9, frames_per_sign=1).labels
    assert sorted(labels) == list(range(43))


def test_the_names_are_those_of_the_benchmark():
    assert CLASS_NAMES == signs.CLASS_NAMES


def test_the_names_are_those_of_the_official_list():
    path = SHARED / "data" / "gtsrb" / "labels.csv"
    if not path.exists():
        pytest.skip(f"the official list of names is not at {path}; set SAFEML_SHARED")
    with path.open(newline="") as file:
        names = [row["SignName"] for row in csv.DictReader(file)]
    assert list(CLASS_NAMES) == names


def test_the_same_seed_gives_the_same_bytes(small):
    again = render(len(small), seed=3, frames_per_sign=FRAMES)
    assert again.images.tobytes() == small.images.tobytes()
    assert again.fingerprint == small.fingerprint


def test_a_shorter_set_is_the_beginning_of_a_longer_one(small):
    cut = render(101, seed=3, frames_per_sign=FRAMES)
    np.testing.assert_array_equal(cut.images, small.images[:101])
    np.testing.assert_array_equal(cut.tracks, small.tracks[:101])
    np.testing.assert_array_equal(cut.boxes, small.boxes[:101])


def test_a_sign_does_not_depend_on_how_many_others_there_are(small):
    skewed = render(43 * FRAMES * 2, seed=3, frames_per_sign=FRAMES, imbalance=5.0)
    shared = np.intersect1d(skewed.tracks, small.tracks)
    assert len(shared) >= 43
    for track in shared:
        np.testing.assert_array_equal(
            skewed.images[skewed.tracks == track], small.images[small.tracks == track]
        )


def test_seeds_share_no_track_and_no_image(small):
    other = render(len(small), seed=4, frames_per_sign=FRAMES)
    assert not np.intersect1d(other.tracks, small.tracks).size
    ours = {image.tobytes() for image in small.images}
    assert len(ours) == len(small)
    assert not ours & {image.tobytes() for image in other.images}


def test_a_track_is_one_sign_that_comes_nearer(small):
    for track in np.unique(small.tracks):
        rows = np.flatnonzero(small.tracks == track)
        assert (np.diff(rows) == 1).all()
        assert (np.diff(small.original_size[rows, 0]) >= 0).all()
        assert len(set(small.labels[rows])) == 1
        assert len(set(small.groups["weather"][rows])) == len(set(small.groups["background"][rows])) == 1
    assert small.original_size.min() >= 15
    assert small.original_size.max() <= 200


def test_neighbouring_frames_differ_less_than_signs_do(small):
    pixels = small.images.astype(np.float32)
    step = np.sqrt(((pixels[1:] - pixels[:-1]) ** 2).mean(axis=(1, 2, 3)))
    same = small.tracks[1:] == small.tracks[:-1]
    assert np.median(step[same]) < 0.3 * np.median(step[~same])


def test_only_what_is_in_the_box_changes_with_the_class():
    """The same scene with another sign of the same outline: the difference fills the box and stays in it."""
    inside, total, reach = 0.0, 0.0, []
    for seed in range(12):
        one, two = (film(np.random.default_rng(seed), label, 3, 32) for label in (17, 35))
        np.testing.assert_array_equal(one.boxes, two.boxes)
        change = np.abs(one.images.astype(float) - two.images.astype(float)).sum(axis=3)
        for frame, (x1, y1, x2, y2) in zip(change, one.boxes, strict=True):
            y, x = np.mgrid[:32, :32] + 0.5
            within = (x > x1 - 1) & (x < x2 + 1) & (y > y1 - 1) & (y < y2 + 1)
            inside, total = inside + frame[within].sum(), total + frame.sum()
            strong = frame > 0.3 * frame.max()
            reach.append((np.ptp(x[strong]) + 1) / (x2 - x1))
    assert total > 0
    assert inside / total > 0.97
    assert 0.8 < np.median(reach) < 1.1


def test_a_box_is_the_extent_of_the_projected_plate():
    """A sign seen straight on, of a known size and place, has the box that a ruler gives."""
    nil, one = np.zeros(1), np.ones(1)
    straight = Approach(np.array([64]), nil, nil, nil, 0.1 * one, -0.2 * one, 0.5 * one, 8 * one)
    corners = project(homographies(straight), np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]]))[0]
    np.testing.assert_allclose(corners, [[-0.4, -0.2], [0.6, -0.2], [0.1, -0.7], [0.1, 0.3]], atol=1e-12)


def test_the_paint_fills_the_outline():
    for label, sign in enumerate(SIGNS):
        alpha = np.asarray(plate(label, "none", 128))[..., 3] > 127
        rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
        painted = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        outline = (np.array(sign.face.outline) / 1.45 + 1) * 64
        np.testing.assert_allclose(painted, [*outline.min(axis=0), *outline.max(axis=0)], atol=2.5)


def test_size_runs_with_constant_speed():
    """Speed is the change of distance, which is one over the size: equal steps, up to whole pixels."""
    size = draw_approach(np.random.default_rng(2), 12).size
    assert size[0] < size[-1] < 200
    line = np.linspace(1 / size[0], 1 / size[-1], 12)
    np.testing.assert_allclose(size, 1 / line, atol=2.0)


def test_every_class_looks_unlike_every_other():
    grey = Image.new("RGBA", (32, 32), (128, 128, 128, 255))
    plates = [
        np.asarray(Image.alpha_composite(grey, plate(label, "none", 32)), float)[..., :3]
        for label in range(43)
    ]
    distance = np.array([[np.sqrt(((a - b) ** 2).mean()) for a in plates] for b in plates])
    np.fill_diagonal(distance, np.inf)
    # Root mean square over all pixels, of which a pictogram covers few: twice the strongest sensor noise of a single pixel.
    assert distance.min() > 2 * max(weather.noise for weather in WEATHERS.values())


@pytest.mark.slow
def test_a_linear_classifier_knows_signs_of_another_seed(small):
    def features(data):
        pixels = (
            data.images[:, 4:28, 4:28].astype(np.float32).reshape(len(data), 12, 2, 12, 2, 3).mean((2, 4))
        )
        flat = pixels.reshape(len(data), -1)
        return (flat - flat.mean(axis=1, keepdims=True)) / (flat.std(axis=1, keepdims=True) + 1)

    learnt, unseen = render(1290, seed=1, frames_per_sign=3), small
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2).fit(features(learnt), learnt.labels)
    recall = [model.score(features(unseen)[rows], unseen.labels[rows]) for rows in _by_class(unseen.labels)]
    assert np.mean(recall) > 0.5
    assert np.mean(np.array(recall) > 1 / 43) > 0.9


def _by_class(labels):
    return [np.flatnonzero(labels == label) for label in range(43)]


def test_the_light_varies_as_on_a_road(small):
    brightness = small.images.mean(axis=(1, 2, 3))
    dark = np.isin(small.groups["weather"], ["dusk", "backlit"])
    assert np.percentile(brightness, 5) < 40
    assert np.percentile(brightness, 95) > 120
    assert np.median(brightness[small.groups["weather"] == "sunny"]) > 2 * np.median(
        brightness[small.groups["weather"] == "dusk"]
    )
    assert 0.1 < dark.mean() < 0.6


def test_weather_shares_are_shares():
    assert SHARES.keys() == WEATHERS.keys()
    assert sum(SHARES.values()) == pytest.approx(1)


def test_blur_is_a_gaussian_and_a_running_mean():
    frame = np.random.default_rng(0).uniform(0, 255, (1, 33, 33, 3)).astype(np.float32)
    nil = np.zeros(1)
    np.testing.assert_allclose(blur(frame, nil, nil, 0.0), frame, atol=1e-3)
    soft = gaussian_filter(frame[0].astype(float), (1.5, 1.5, 0), mode="wrap", truncate=8)
    np.testing.assert_allclose(blur(frame, np.array([1.5]), nil, 0.0)[0], soft, atol=0.05)
    # A line's sinc is the spectrum of a continuous path; sampled as a mean of pixels it agrees for a slow wave.
    wave = np.broadcast_to(128 + 50 * np.sin(2 * np.pi * np.arange(33) / 33)[:, None], (33, 33))[
        None, ..., None
    ]
    slow = uniform_filter1d(wave[0], 3, axis=0, mode="wrap")
    swept = blur(wave.astype(np.float32), nil, np.array([3.0]), np.pi / 2)[0]
    np.testing.assert_allclose(swept, slow, atol=0.2)
    np.testing.assert_allclose(blur(wave.astype(np.float32), nil, np.array([3.0]), 0.0), wave, atol=1e-3)


@pytest.mark.parametrize("signs_wanted", [1, 42, 43, 44, 100, 1234])
@pytest.mark.parametrize("imbalance", [1.0, 3.0, 50.0])
def test_signs_are_shared_out(signs_wanted, imbalance):
    counts = signs_of_each_class(signs_wanted, imbalance)
    assert counts.sum() == signs_wanted
    assert (counts >= 1).sum() == min(signs_wanted, 43)
    assert (np.diff(counts) <= 0).all()
    if imbalance == 1:
        assert np.ptp(counts) <= 1


def test_imbalance_is_the_ratio_of_first_to_last():
    counts = signs_of_each_class(43_000, 10.0)
    assert counts[0] / counts[-1] == pytest.approx(10, rel=0.02)


def test_other_image_sizes():
    data = render(6, seed=1, frames_per_sign=3, size=64)
    assert data.images.shape == (6, 64, 64, 3)
    assert data.boxes[:, 2:].max() > 32


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("images", 0),
        ("seed", -1),
        ("frames_per_sign", 0),
        ("size", 8),
        ("imbalance", 0.5),
        ("imbalance", float("nan")),
    ],
)
def test_a_setting_out_of_range_is_named(setting, value):
    with pytest.raises(ConfigError, match=f"rendered signs: {setting} is"):
        render(**{"images": 10, setting: value})


def test_a_plate_may_stand_on_a_post():
    bare, post, panel = (np.asarray(plate(14, mount, 64))[..., 3] for mount in MOUNTS)
    assert bare[-1].sum() == 0
    assert 0 < post[-1].sum() < panel[-1].sum()


def test_a_contact_sheet_shows_every_image_in_its_place():
    images = np.arange(3 * 2 * 2 * 3, dtype=np.uint8).reshape(3, 2, 2, 3)
    sheet = np.asarray(contact_sheet(images, columns=2, scale=3))
    assert sheet.shape == (7 * 3, 7 * 3, 3)
    unscaled = sheet[1::3, 1::3]
    np.testing.assert_array_equal(unscaled[1:3, 1:3], images[0])
    np.testing.assert_array_equal(unscaled[1:3, 4:6], images[1])
    np.testing.assert_array_equal(unscaled[4:6, 1:3], images[2])
    assert (unscaled[4:6, 4:6] == 255).all()


def test_a_contact_sheet_of_nothing_is_refused():
    with pytest.raises(InputRefused, match="contact sheet"):
        contact_sheet(np.zeros((0, 4, 4, 3), np.uint8), 3, 1)
    with pytest.raises(ConfigError, match="columns is 0"):
        contact_sheet(np.zeros((1, 4, 4, 3), np.uint8), 0, 1)
