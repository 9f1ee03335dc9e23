"""The corruptions against their published definitions, closed-form moments and properties that each must have.

Legend: N images, H W C pixels.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from safeml.corruptions.draws import Draws
from safeml.corruptions.engine import CHUNK, corrupt
from safeml.corruptions.rows import CORRUPTIONS, HENDRYCKS, ROWS, SMALL
from safeml.data.rendered import render
from safeml.errors import ConfigError

pytestmark = pytest.mark.slow

NAMES = list(CORRUPTIONS)
SEVERITIES = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def signs() -> np.ndarray:
    """uint8 [64, 32, 32, 3] rendered traffic signs."""
    return render(64, seed=3, size=32, frames_per_sign=1).images


def flat(level: int, count: int = 8, side: int = 32) -> np.ndarray:
    return np.full((count, side, side, 3), level, np.uint8)


def distances(images: np.ndarray, name: str) -> np.ndarray:
    corrupted = [corrupt(images, name, severity, seed=1).astype(float) for severity in SEVERITIES]
    return np.array([np.sqrt(((one - images) ** 2).mean()) for one in corrupted])


@pytest.mark.parametrize("name", NAMES)
def test_distance_to_the_clean_image_grows_with_severity(name: str, signs: np.ndarray) -> None:
    found = distances(signs, name)
    assert found[0] > 0.5  # severity 1 already changes more than rounding does
    assert (np.diff(found) > 0).all(), found


@pytest.mark.parametrize("name", NAMES)
def test_batch_order_and_other_images_change_nothing(name: str, signs: np.ndarray) -> None:
    few = signs[:7]
    together = corrupt(few, name, 3, seed=5)
    assert together.shape == few.shape
    assert together.dtype == np.uint8
    order = np.array([4, 0, 6])
    assert np.array_equal(corrupt(few[order], name, 3, seed=5, ids=order), together[order])
    assert np.array_equal(corrupt(few, name, 0, seed=5), few)


def test_chunks_change_nothing(signs: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {name: corrupt(signs, name, 4) for name in NAMES}
    assert signs.size <= CHUNK  # one chunk
    monkeypatch.setattr("safeml.corruptions.engine.CHUNK", signs[0].size * 5)
    assert [name for name in NAMES if not np.array_equal(corrupt(signs, name, 4), whole[name])] == []


def test_only_random_corruptions_depend_on_seed_and_id(signs: np.ndarray) -> None:
    fixed = {
        "gaussian_blur", "defocus_blur", "zoom_blur", "brightness", "contrast", "saturate", "jpeg_compression", "pixelate",
        "mist", "driving_blur", "isp", "distance",
    }  # fmt: skip
    few = signs[:4]
    for name in NAMES:
        base = corrupt(few, name, 5, seed=1)
        other_seed = np.array_equal(base, corrupt(few, name, 5, seed=2))
        other_ids = np.array_equal(base, corrupt(few, name, 5, seed=1, ids=np.arange(4) + 9))
        assert (other_seed, other_ids) == ((name in fixed,) * 2), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(16, 16, 3), (17, 40, 1), (144, 130, 3)])
def test_every_size_and_grey_images(name: str, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    if CORRUPTIONS[name].colour and shape[2] == 1:
        with pytest.raises(ConfigError, match="the images are grey"):
            corrupt(images, name, 5)
        return
    changed = corrupt(images, name, 5)
    assert changed.shape == images.shape
    assert not np.array_equal(changed, images)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0, 255])
def test_constant_images_stay_finite(name: str, level: int) -> None:
    with np.errstate(all="raise", under="ignore"):
        assert corrupt(flat(level, 2), name, 5).shape == (2, 32, 32, 3)


def test_a_blur_keeps_a_constant_image() -> None:
    for name in ("gaussian_blur", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "driving_blur", "pixelate",
                 "distance", "contrast", "rotation", "perspective", "elastic_transform", "rolling_shutter"):  # fmt: skip
        assert np.array_equal(corrupt(flat(120, 3), name, 5), flat(120, 3)), name


@pytest.mark.parametrize(
    ("images", "name", "severity", "words"),
    [
        (flat(9), "gausian_noise", 1, 'did you mean "gaussian_noise"'),
        (flat(9), "rain", 6, "severity is 6; expected a whole number from 0 to 5"),
        (flat(9), "rain", 2.5, "severity is 2.5"),
        (flat(9), "rain", True, "severity is True"),
        (flat(9).astype(np.float32), "rain", 1, "images are float32; expected uint8"),
        (flat(9, side=15), "rain", 1, "15 x 15 pixels; expected sides of at least 16"),
        (flat(9)[0], "rain", 1, r"shape \[32, 32, 3\]"),
        (flat(9)[..., :2], "rain", 1, r"expected \[N, H, W, 1 or 3\]"),
    ],
)
def test_bad_input_is_refused(images: np.ndarray, name: str, severity: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        corrupt(images, name, severity)  # type: ignore[arg-type]


def test_one_id_for_each_image() -> None:
    with pytest.raises(ConfigError, match="3 ids for 8 images"):
        corrupt(flat(9), "rain", 1, ids=np.arange(3))


# ---- published definitions, written again with SciPy and Pillow: equal to one grey level


def blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest", truncate=4)


def defocus(x: np.ndarray, lens: tuple[float, float]) -> np.ndarray:
    radius, sigma = lens
    ys, xs = np.mgrid[-8:9, -8:9]
    disk = (ys**2 + xs**2 <= radius**2).astype(float)
    edge = np.exp(-np.array([1, 0, 1]) / (2 * sigma**2))
    kernel = ndimage.correlate(disk / disk.sum(), np.outer(edge, edge) / edge.sum() ** 2, mode="constant")
    return np.stack([ndimage.correlate(x[..., c], kernel, mode="mirror") for c in range(3)], -1)


def zoomed(x: np.ndarray, zoom: tuple[float, float]) -> np.ndarray:
    total, factors = x.copy(), np.arange(1, *zoom)
    for factor in factors:
        part = int(np.ceil(len(x) / factor))
        top = (len(x) - part) // 2
        large = ndimage.zoom(x[top : top + part, top : top + part], (factor, factor, 1), order=1)
        trim = (len(large) - len(x)) // 2
        total += large[trim : trim + len(x), trim : trim + len(x)]
    return total / (len(factors) + 1)


def hsv(x: np.ndarray, change) -> np.ndarray:
    import colorsys

    return np.array([[colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*p))) for p in row] for row in x])


def jpeg(x: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(x * 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)) / 255


def pixelate(x: np.ndarray, factor: float) -> np.ndarray:
    image, side = Image.fromarray(np.rint(x * 255).astype(np.uint8)), len(x)
    small = image.resize((int(side * factor),) * 2, Image.Resampling.BOX)
    return np.asarray(small.resize((side, side), Image.Resampling.BOX)) / 255


DEFINITIONS = {
    "gaussian_blur": blurred,
    "defocus_blur": defocus,
    "zoom_blur": zoomed,
    "brightness": lambda x, c: hsv(x, lambda h, s, v: (h, s, min(v + c, 1))),
    "contrast": lambda x, c: (x - x.mean((0, 1))) * c + x.mean((0, 1)),
    "saturate": lambda x, c: hsv(x, lambda h, s, v: (h, min(s * c[0] + c[1], 1), v)),
    "jpeg_compression": jpeg,
    "pixelate": pixelate,
}


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_deterministic_corruptions_equal_the_published_definition(
    name: str, severity: int, signs: np.ndarray
) -> None:
    images = signs[:3]
    expected = np.stack([DEFINITIONS[name](x / 255, CORRUPTIONS[name].small[severity - 1]) for x in images])
    difference = corrupt(images, name, severity) - 255 * np.clip(expected, 0, 1)
    assert np.abs(difference).max() <= 1.0


def test_glass_blur_swaps_pixels_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from safeml.corruptions.blur import glass_blur

    pixels = np.random.default_rng(0).random((2, 20, 23, 3), np.float32)
    swapped = glass_blur(pixels, (0.0, 2, 3), Draws(1, "glass_blur", np.arange(2)))
    offsets = Draws(1, "glass_blur", np.arange(2)).integers(-2, 2, 3, 20, 23, 2)
    for number, image in enumerate(pixels.copy()):
        for turn in range(3):
            for y in range(20 - 3, 2, -1):
                for x in range(23 - 3, 2, -1):
                    dy, dx = offsets[number, turn, y, x]
                    image[[y, y + dy], [x, x + dx]] = image[[y + dy, y], [x + dx, x]]
        assert np.array_equal(swapped[number], image)


# ---- random corruptions: moments in closed form, at a level where nothing is clipped


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("gaussian_noise", lambda c, x: c),
        ("shot_noise", lambda c, x: np.sqrt(x / c)),
        ("speckle_noise", lambda c, x: c * x),
    ],
)
def test_noise_has_the_published_mean_and_deviation(name: str, deviation) -> None:
    x = 128 / 255
    for severity in SEVERITIES:
        noise = corrupt(flat(128, 40), name, severity) / 255 - x
        n = noise.size
        sigma = np.hypot(deviation(CORRUPTIONS[name].small[severity - 1], x), 1 / 255 / np.sqrt(12))
        assert abs(noise.mean()) < 5 * sigma / np.sqrt(n)
        assert noise.std() == pytest.approx(sigma, rel=0.02)


def test_impulse_noise_is_half_white_half_black() -> None:
    noise = corrupt(flat(128, 40), "impulse_noise", 5)
    white, black, n = (noise == 255).mean(), (noise == 0).mean(), noise.size
    assert set(np.unique(noise)) == {0, 128, 255}
    for share in (white, black):
        assert abs(share - 0.035) < 5 * np.sqrt(0.035 / n)


def test_philox_streams_differ_between_images_corruptions_and_calls() -> None:
    draws = Draws(1, "rain", np.array([3, 4]))
    first, second = draws.normal(100), draws.normal(100)
    other = Draws(1, "snow", np.array([3, 4])).normal(100)
    columns = np.stack([*first, *second, *other])
    assert np.abs(np.corrcoef(columns) - np.eye(6)).max() < 0.4
    assert abs(columns.mean()) < 0.2


# ---- effects of the road, each against a property of its own


def difference(name: str, severity: int = 5, level: int = 100) -> np.ndarray:
    return corrupt(flat(level, 24), name, severity).astype(float) - level


def roughness(field: np.ndarray, axis: int) -> float:
    return float(np.abs(np.diff(field, axis=axis)).mean())


def test_rain_runs_downwards() -> None:
    change = difference("rain", 3)
    assert roughness(change, 1) < 0.6 * roughness(change, 2)  # smoother along the height
    assert (change.max(axis=(1, 2, 3)) > 0).all()  # a streak brightens
    assert (np.median(change, axis=(1, 2, 3)) < 0).all()  # the rest darkens


def test_driving_blur_smears_columns_and_no_rows() -> None:
    stripes = np.zeros((1, 32, 32, 3), np.uint8)
    stripes[:, ::4] = 255
    assert np.array_equal(corrupt(stripes, "driving_blur", 5), stripes)  # constant along the rows
    turned = stripes.swapaxes(1, 2).copy()
    assert corrupt(turned, "driving_blur", 5)[:, :, 8:24].std() < 0.2 * turned.std()


def test_mist_is_koschmieders_law() -> None:
    for severity in SEVERITIES:
        through = np.exp(-CORRUPTIONS["mist"].small[severity - 1])
        expected = 100 * through + 0.75 * 255 * (1 - through)
        assert np.abs(corrupt(flat(100, 1), "mist", severity) - expected).max() <= 0.5 + 1e-3


def test_low_sun_brightens_most_at_one_place_in_the_upper_half() -> None:
    change = difference("low_sun", 3).sum(axis=3)
    assert change.min() > 0
    peaks = change.reshape(len(change), -1).argmax(axis=1) // 32
    assert (peaks < 16).all()


def test_night_darkens_and_its_noise_is_that_of_counts() -> None:
    light, photons = CORRUPTIONS["night"].small[2]
    dark = corrupt(flat(200, 60), "night", 3) / 255
    x = 200 / 255
    assert dark.mean() == pytest.approx(x * light, rel=0.01)
    sigma = np.sqrt(x * photons + 4) * light / photons
    assert dark.std() == pytest.approx(np.hypot(sigma, 1 / 255 / np.sqrt(12)), rel=0.02)


def test_cover_hides_the_stated_share_and_grows_in_place() -> None:
    for name in ("dirt", "sticker"):
        covered = np.stack([np.abs(difference(name, s, 253)).max(axis=3) > 4 for s in SEVERITIES])
        for severity, share in enumerate(CORRUPTIONS[name].small):
            assert covered[severity].mean() == pytest.approx(share, rel=0.2 if name == "sticker" else 0.02)
        assert (covered[1:] >= covered[:-1]).all()


def test_occlusion_comes_from_one_side() -> None:
    covered = np.abs(difference("occlusion", 4, 253)).max(axis=3) > 4
    assert (covered[1:].mean(axis=(1, 2)) > 0.15).all()
    for hidden in covered:  # a half plane: the hull of the covered pixels holds no uncovered one
        ys, xs = np.nonzero(hidden)
        others = np.argwhere(~hidden)
        normal = others.mean(axis=0) - np.array([ys.mean(), xs.mean()])
        angles = np.arctan2(*normal) + np.deg2rad(np.arange(-30, 31, 0.05))
        separated = [
            (ys * np.sin(a) + xs * np.cos(a)).max() <= (others @ [np.sin(a), np.cos(a)]).min() + 1e-6
            for a in angles
        ]
        assert any(separated)


def test_rolling_shutter_slants_a_vertical_edge() -> None:
    edge = flat(0, 6)
    edge[:, :, 16:] = 255
    slant = (corrupt(edge, "rolling_shutter", 5) < 128).sum(axis=2)[..., 0]
    shifts = slant[:, -1] - slant[:, 0]
    assert (np.abs(np.abs(shifts) - 0.42 * 32) <= 1.5).all()
    assert len(set(np.sign(shifts))) == 2


def test_white_balance_moves_red_against_blue() -> None:
    change = difference("white_balance", 3).mean(axis=(1, 2))
    assert np.abs(change[:, 1]).max() == 0
    assert np.allclose(np.abs(change[:, 0]), 26, atol=0.51)
    assert np.allclose(change[:, 0], -change[:, 2], atol=1.01)


def test_isp_overshoots_at_an_edge_of_luminance() -> None:
    edge = flat(80, 1)
    edge[:, :, 16:] = 160
    changed = corrupt(edge, "isp", 3)
    assert changed[..., 16, :].min() > 160
    assert changed[..., 15, :].max() < 80
    assert np.array_equal(changed[:, :, :8], edge[:, :, :8])


def test_rotation_equals_scipy_in_the_middle(signs: np.ndarray) -> None:
    image = signs[:1]
    ours = corrupt(image, "rotation", 5)[0].astype(float)
    both = [
        ndimage.rotate(image[0].astype(float), a, reshape=False, order=1, mode="nearest") for a in (27, -27)
    ]
    middle = (slice(8, 24), slice(8, 24))
    assert min(np.abs(ours[middle] - other[middle]).max() for other in both) <= 1.0


def test_perspective_shortens_the_width_and_keeps_the_middle_row() -> None:
    disc = np.hypot(*np.mgrid[-31.5:32, -31.5:32]) < 20
    images = np.repeat(disc[None, ..., None] * np.uint8(255), 3, axis=3)
    turned = corrupt(images, "perspective", 3)[0, ..., 0] > 127
    width, height = turned.any(axis=0).sum(), turned.any(axis=1).sum()
    assert width == pytest.approx(40 * np.cos(np.deg2rad(32)), abs=2.5)
    assert height >= 39
    assert np.array_equal(turned, turned[::-1])


def test_distance_leaves_no_detail_finer_than_its_pixels() -> None:
    checks = ((np.indices((32, 32)).sum(axis=0) % 2) * 255).astype(np.uint8)
    far = corrupt(np.repeat(checks[None, ..., None], 3, axis=3), "distance", 3)
    assert np.abs(far.astype(int) - 127).max() <= 1


# ---- the table


def test_the_table_has_the_19_published_and_names_its_own_constants() -> None:
    assert sum(row.source == HENDRYCKS for row in ROWS) == 19
    assert len({row.name for row in ROWS}) == len({row.title for row in ROWS}) == len(ROWS)
    assert all(len(row.small) == 5 and (row.large is None or len(row.large) == 5) for row in ROWS)
    assert all(row.large is not None for row in ROWS if row.published)


def test_larger_images_get_the_constants_of_imagenet_c() -> None:
    row = CORRUPTIONS["gaussian_blur"]
    assert (row.strength(5, SMALL - 1), row.strength(5, SMALL)) == (1.0, 6)
