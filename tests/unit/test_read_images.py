"""Image files: formats, orientation, transparency, bounds before decoding, damaged files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from safeml.data.images import read_image
from safeml.errors import InputRefused
from safeml.limits import Limits
from tests.data_files import noise, save


@pytest.mark.parametrize("suffix", ["png", "ppm", "bmp"])
def test_lossless_formats_give_back_their_pixels(tmp_path, suffix):
    pixels = noise(9, 7)
    np.testing.assert_array_equal(np.asarray(read_image(save(tmp_path / f"a.{suffix}", pixels))), pixels)


def test_format_is_found_by_content_not_by_name(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(noise(4, 4)).save(buffer, "GIF")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    with pytest.raises(InputRefused, match="is not an image by its content"):
        read_image(tmp_path / "a.png")


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.round(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png"))[..., 0], expected)


def test_transparent_pixels_show_mid_grey_not_what_hides_beneath(tmp_path):
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, 0] = (255, 0, 0, 0)
    pixels[0, 1] = (255, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.asarray(read_image(tmp_path / "a.png")).tolist() == [[[128, 128, 128], [255, 0, 0]]]


def test_palette_transparency_and_cmyk_become_rgb(tmp_path):
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "p.png", transparency=0)
    assert np.asarray(read_image(tmp_path / "p.png")).tolist() == [[[128, 128, 128], [0, 255, 0]]]
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "c.jpg")
    assert np.asarray(read_image(tmp_path / "c.jpg")).min() >= 250


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    pixels = noise(4, 6)
    save(tmp_path / "a.png", pixels, exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png")), np.rot90(pixels, -1))


def test_animations_are_refused(tmp_path):
    frames = [Image.fromarray(noise(4, 4, seed)) for seed in (0, 1)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(InputRefused, match="more than one frame"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "kind", ["GIF", "TIFF", "animated GIF", "TIFF of ten pages", "HTML", "SVG", "nothing"]
)
def test_what_is_no_still_image_of_a_listed_format_is_refused(tmp_path, kind):
    """Whatever its name says; Pillow could open the first four."""
    texts = {
        "HTML": b"<!doctype html><title>x</title>",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "nothing": b"",
    }
    frames = [Image.fromarray(noise(4, 4, seed)) for seed in range(10)]
    buffer = io.BytesIO(texts.get(kind, b""))
    if kind not in texts:
        several = {"save_all": True, "append_images": frames[1:]} if len(kind) > 4 else {}
        frames[0].save(buffer, "GIF" if "GIF" in kind else "TIFF", **several)
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    with pytest.raises(InputRefused, match=r"a\.png: is not an image by its content; expected PNG, JPEG"):
        read_image(tmp_path / "a.png")


def test_a_progressive_file_has_the_pixels_of_its_baseline_twin(tmp_path):
    """The two forms store the same coefficients in another order."""
    pixels = noise(16, 16)
    both = [
        np.asarray(read_image(save(tmp_path / f"{progressive}.jpg", pixels, progressive=progressive)))
        for progressive in (False, True)
    ]
    assert b"\xff\xc2" in (tmp_path / "True.jpg").read_bytes()
    np.testing.assert_array_equal(*both)


def test_size_bounds_hold_before_decoding(tmp_path):
    path = save(tmp_path / "a.png", noise(20, 20))
    with pytest.raises(InputRefused, match="20 x 20 pixels; the limit is 399"):
        read_image(path, Limits(image_pixels=399))
    with pytest.raises(InputRefused, match="larger than 10 bytes"):
        read_image(path, Limits(image_file_bytes=10))


@pytest.mark.parametrize(
    ("width", "height"), [(12_000, 12_000), (60_000, 60_000)]
)  # Pillow warns of one, raises at the other
def test_a_header_that_declares_a_bomb_is_refused(tmp_path, width, height):
    (tmp_path / "a.ppm").write_bytes(f"P6 {width} {height} 255\n".encode() + bytes(100))
    with pytest.raises(InputRefused, match="pixels"):
        read_image(tmp_path / "a.ppm")


def test_truncated_missing_and_special_files_are_refused(tmp_path):
    path = save(tmp_path / "a.png", noise(30, 30))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputRefused, match="damaged or truncated"):
        read_image(path)
    for absent in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputRefused, match="no such file"):
            read_image(absent)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from(["png", "jpeg", "ppm", "bmp", "webp"]))
def test_damaged_image_bytes_are_read_or_refused_never_a_crash(tmp_path, data, suffix):
    buffer = io.BytesIO()
    Image.fromarray(noise(6, 6)).save(buffer, suffix)
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a").write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    try:
        image = read_image(tmp_path / "a")
    except InputRefused:
        return
    assert image.mode == "RGB"
