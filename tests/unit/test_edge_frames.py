"""Sources of frames: images decoded by the standard library, archives read row by row, cameras, and bad files."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from safeml.edge import frames as frames_module
from safeml.edge.errors import EdgeError, Usage
from safeml.edge.frames import OTHER_SIGN, Frame, open_source, read_image
from safeml.edge.png import decode


def picture(height: int = 9, width: int = 7, depth: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, depth), dtype=np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    rows: bytes, width: int, height: int, colour: int, bits: int = 8, interlace: int = 0, palette: bytes = b""
) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + (chunk(b"PLTE", palette) if palette else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def filtered(image: np.ndarray, kind: int) -> bytes:
    """Return the rows of a PNG, all with one filter, by the formulas of its specification."""
    height, width, depth = image.shape
    wide = image.reshape(height, width * depth).astype(int)
    rows = b""
    for y in range(height):
        line = []
        for x in range(width * depth):
            left = wide[y, x - depth] if x >= depth else 0
            up = wide[y - 1, x] if y else 0
            corner = wide[y - 1, x - depth] if y and x >= depth else 0
            near = min((left, up, corner), key=lambda value: abs(left + up - corner - value))
            line.append((wide[y, x] - (0, left, up, (left + up) // 2, near)[kind]) % 256)
        rows += bytes([kind, *line])
    return rows


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize(("colour", "depth"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_a_png_with_each_filter_and_colour_type(kind: int, colour: int, depth: int) -> None:
    image = picture(depth=depth)
    data = png(filtered(image, kind), 7, 9, colour)
    assert (np.asarray(Image.open(io.BytesIO(data))).reshape(image.shape) == image).all()
    result = decode(data, "x.png")
    assert result is not None
    assert (result == image[..., : 1 if depth <= 2 else 3]).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA"])
def test_a_png_of_pillow(mode: str) -> None:
    image = Image.fromarray(
        np.add.outer(np.arange(40), np.arange(50))[..., None].repeat(3, 2).astype(np.uint8)
    ).convert(mode)
    stream = io.BytesIO()
    image.save(stream, "png")
    result = decode(stream.getvalue(), "x.png")
    assert result is not None
    expected = np.asarray(image.convert("L" if mode in ("L", "LA") else "RGB"))
    assert (result.squeeze() == expected).all()


@pytest.mark.parametrize(("mode", "depth"), [(b"P6", 3), (b"P5", 1)])
def test_a_ppm_with_a_comment(mode: bytes, depth: int) -> None:
    image = picture(depth=depth)
    result = decode(mode + b"\n# made here\n7 9\n255\n" + image.tobytes(), "x.ppm")
    assert result is not None
    assert (result == image).all()


GOOD = png(filtered(picture(), 0), 7, 9, 2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (GOOD[:-30], "ends before"),
        (GOOD[:60] + bytes([GOOD[60] ^ 1]) + GOOD[61:], "damaged"),
        (GOOD[:8], "no header"),
        (png(b"", 7, 9, 2), "ends before"),
        (png(b"", 1 << 20, 1 << 20, 2), "pixels"),
        (png(b"", 0, 9, 2), "pixels"),
        (png(b"", 7, 9, 2, bits=16), "16 bits"),
        (png(b"", 7, 9, 2, interlace=1), "interlaced"),
        (png(bytes([9]) + bytes(21), 7, 1, 2), "filter 9"),
        (png(bytes([0, 5]), 1, 1, 3, palette=bytes(6)), "palette"),
        (png(bytes([0, 5]), 1, 1, 3), "palette"),
        (b"P6 7 9 65535 " + bytes(999), "8 bits"),
        (b"P6 7 9 255 " + bytes(9), "ends before"),
        (b"P6 999999 999999 255 ", "pixels"),
    ],
)
def test_a_damaged_image_is_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(EdgeError, match=words) as caught:
        decode(data, "x.png")
    assert caught.value.message.startswith("x.png: ")


def test_a_small_file_that_unpacks_to_much_is_not_unpacked() -> None:
    """The header says one row; the packed bytes hold 64 MiB."""
    data = png(bytes(1 << 26), 7, 1, 2)
    assert len(data) < 100_000
    result = decode(data, "x.png")
    assert result is not None
    assert result.shape == (1, 7, 3)


def test_other_formats_go_to_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.full((8, 8, 3), (200, 30, 40), np.uint8)
    Image.fromarray(image).save(tmp_path / "x.jpg", quality=95)
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert np.abs(read_image(str(tmp_path / "x.jpg")).astype(int) - image).max() < 8
    (tmp_path / "y.jpg").write_bytes(b"no image")
    with pytest.raises(EdgeError, match="no image that Pillow reads"):
        read_image(str(tmp_path / "y.jpg"))
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(EdgeError, match="needs OpenCV or Pillow"):
        read_image(str(tmp_path / "x.jpg"))


def test_a_folder_is_read_in_order_and_a_bad_file_is_a_frame_with_its_problem(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.png", "1.png", "b/10.png"):
        Image.fromarray(picture()).save(tmp_path / name)
    (tmp_path / "b" / "3.png").write_bytes(GOOD[:-30])
    (tmp_path / "notes.txt").write_text("no frame")
    found = list(open_source(str(tmp_path), rate=10).frames)
    assert [frame.name for frame in found] == ["1.png", "b/10.png", "b/2.png", "b/3.png"]
    assert [frame.time for frame in found] == [0.0, 0.1, 0.2, pytest.approx(0.3)]
    assert found[3].image is None
    assert "ends before" in found[3].problem


def test_an_archive_is_read_row_by_row_with_its_tracks(tmp_path: Path) -> None:
    images = np.stack([picture(seed=seed) for seed in range(5)])
    np.savez_compressed(tmp_path / "x.npz", images=images, tracks=np.array([3, 3, 4, 4, 4]))
    found = list(open_source(str(tmp_path / "x.npz")).frames)
    assert all((frame.image == image).all() for frame, image in zip(found, images, strict=True))
    assert [frame.new_sign for frame in found] == [True, False, True, False, False]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((2, 4, 4, 3))}, "expected uint8"),
        ({"images": np.zeros(4, np.uint8)}, "expected uint8"),
        ({"labels": np.zeros(4)}, "no .npz file with an array"),
    ],
)
def test_another_archive_is_an_error(arrays: dict, words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(EdgeError, match=words):
        list(open_source(str(tmp_path / "x.npz")).frames)


def test_an_archive_without_its_end_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(EdgeError, match=r"no \.npz file"):
        list(open_source(str(tmp_path / "x.npz")).frames)


@pytest.mark.parametrize("text", ["nowhere", "camera:", "camera:x", "csi:-1"])
def test_a_text_that_names_no_source_is_a_usage_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", ModuleType("cv2"))
    with pytest.raises(Usage):
        open_source(text)


def test_a_folder_without_images_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="holds no image"):
        list(open_source(str(tmp_path)).frames)


class Capture:
    """cv2.VideoCapture with a few frames. opens: whether it does."""

    opens = True

    def __init__(self, *target: Any) -> None:
        self.target, self.settings, self.number, self.released = target, [], 0, False  # type: ignore[var-annotated]

    def isOpened(self) -> bool:  # noqa: N802
        return self.opens

    def set(self, key: int, value: float) -> None:
        self.settings.append((key, value))

    def get(self, key: int) -> float:
        return 10.0

    def read(self) -> tuple[bool, Any]:
        self.number += 1
        image = np.zeros((4, 6, 3), np.uint8)
        image[..., 0] = 9  # blue, because OpenCV gives BGR
        return self.number <= 70, image

    def release(self) -> None:
        self.released = True


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[Capture]:
    made: list[Capture] = []

    def capture(*target: Any) -> Capture:
        made.append(Capture(*target))
        return made[-1]

    cv2 = SimpleNamespace(
        VideoCapture=capture,
        CAP_GSTREAMER=1800,
        CAP_PROP_FRAME_WIDTH=3,
        CAP_PROP_FRAME_HEIGHT=4,
        CAP_PROP_FPS=5,
    )
    monkeypatch.setattr(frames_module, "opencv", lambda: cv2)
    return made


def test_a_usb_camera_is_live_and_gets_its_size(captures: list[Capture]) -> None:
    source = open_source("camera:2", "640x480", 15)
    assert source.live
    assert captures[0].target == (2,)
    assert captures[0].settings == [(3, 640), (4, 480), (5, 15)]
    frame: Frame = next(source.frames)
    assert frame.image is not None
    assert frame.image[0, 0].tolist() == [0, 0, 9]
    source.close()
    assert captures[0].released


def test_a_csi_camera_goes_through_gstreamer(captures: list[Capture]) -> None:
    open_source("csi:1", "1280x720", 30)
    pipeline, api = captures[0].target
    assert api == 1800
    assert "sensor-id=1" in pipeline
    assert "width=1280,height=720,framerate=30/1" in pipeline
    # A queue of frames would be answered late.
    assert "drop=true max-buffers=1" in pipeline


def test_a_video_has_the_time_of_its_frames_and_signs_apart_in_time(
    captures: list[Capture], tmp_path: Path
) -> None:
    (tmp_path / "x.mp4").write_bytes(b"")
    source = open_source(str(tmp_path / "x.mp4"))
    found = list(source.frames)
    assert not source.live
    assert [found[1].time, found[69].time] == [0.1, 6.9]
    assert [frame.time for frame in found if frame.new_sign] == [0.0, OTHER_SIGN]


def test_a_camera_that_does_not_open_is_one_sentence(
    captures: list[Capture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Capture, "opens", False)
    with pytest.raises(EdgeError, match="may lack GStreamer"):
        open_source("csi:0")
    with pytest.raises(Usage, match="size"):
        open_source("camera:0", "big")


def test_a_camera_without_opencv_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(EdgeError, match="python3-opencv"):
        open_source("camera:0")
