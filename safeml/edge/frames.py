"""Where frames come from: a folder of images, an .npz file, a video, or a camera. One frame is in memory at a time. Legend: N frames, H W C pixels."""

import importlib
import io
import os
import time
import zipfile
from typing import Any, Callable, Iterator, NamedTuple, Optional, Tuple

import numpy as np

from .errors import EdgeError, Usage
from .png import decode
from .preprocess import rgb

ENDINGS = (".ppm", ".pgm", ".png", ".jpg", ".jpeg", ".bmp")
MOST_FILE_BYTES = 1 << 26
# Bytes of an archive that are read at a time.
READ_AHEAD = 1 << 20
# Seconds after which a stream is taken to show another sign; only such frames are evidence of the channel order.
OTHER_SIGN = 5.0
CSI = (
    "nvarguscamerasrc sensor-id={} ! video/x-raw(memory:NVMM),width={},height={},framerate={}/1 ! nvvidconv ! "
    "video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1"
)


class Frame(NamedTuple):
    """One frame.

    image: uint8 [H, W, 1 or 3], RGB or grey; None where it could not be read, with the reason in `problem`.
    name: of the file, or the number of the frame.
    time: seconds of a clock that never goes back.
    new_sign: it may show another sign than the frame before.
    captured: when the frame arrived, by `time.monotonic`.
    problem: "" for a frame that was read.
    """

    image: Optional[np.ndarray]
    name: str
    time: float
    new_sign: bool
    captured: float
    problem: str = ""


class Source(NamedTuple):
    """A source of frames.

    kind: "folder", "npz", "video" or "camera".
    frames: iterates over the frames, once.
    live: frames arrive by themselves, so that one can be too old; and all have one size.
    close: ends the source.
    """

    kind: str
    frames: Iterator[Frame]
    live: bool
    close: Callable[[], None]


def open_source(text: str, size: str = "1280x720", rate: float = 30.0) -> Source:
    """Return the source that a text names: a folder, an .npz or image or video file, "camera:0" (USB) or "csi:0".

    size: of a camera, as 1280x720. rate: frames a second of a camera; and of the clock of a folder or an .npz file.
    Raises Usage for a text that names no source, and EdgeError for one that does not open.
    """
    for prefix, make in (("camera:", _camera), ("csi:", _csi)):
        if text.startswith(prefix):
            return make(text[len(prefix) :], size, rate)
    if os.path.isdir(text):
        return Source("folder", _folder(text, rate), False, _nothing)
    if not os.path.isfile(text):
        raise Usage(f"{text}: there is no such folder or file; expected one, or camera:0, or csi:0.")
    if text.lower().endswith(".npz"):
        return Source("npz", _npz(text, rate), False, _nothing)
    if text.lower().endswith(ENDINGS):
        return Source("folder", iter([_read(text, os.path.basename(text), 0.0)]), False, _nothing)
    return _capture(text, "video")


def read_image(path: str) -> np.ndarray:
    """Return an image file, uint8 [H, W, 1 or 3]. PNG and PPM need no package, other formats OpenCV or Pillow.

    Raises EdgeError for a file that cannot be read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise EdgeError(f"{path}: cannot be read ({error.strerror}).") from None
    if len(data) > MOST_FILE_BYTES:
        raise EdgeError(f"{path}: is larger than {MOST_FILE_BYTES} bytes.")
    image = decode(data, path)
    return image if image is not None else _by_package(data, path)


def _folder(folder: str, rate: float) -> Iterator[Frame]:
    number = 0
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(ENDINGS):
                path = os.path.join(place, name)
                yield _read(path, os.path.relpath(path, folder), number / rate)
                number += 1
    if not number:
        raise Usage("{}: holds no image; expected files that end with {}.".format(folder, ", ".join(ENDINGS)))


def _read(path: str, name: str, at: float) -> Frame:
    try:
        return Frame(read_image(path), name, at, True, time.monotonic())
    except EdgeError as error:
        return Frame(None, name, at, True, time.monotonic(), error.message)


def _npz(path: str, rate: float) -> Iterator[Frame]:
    """Read the rows of `images` one by one from the archive; `tracks`, where it is there, tells where another sign begins."""
    try:
        with zipfile.ZipFile(path) as archive:
            tracks = _tracks(archive, path)
            with io.BufferedReader(archive.open("images.npy"), READ_AHEAD) as file:  # type: ignore[type-var]
                shape, dtype = _header(file, path)
                for number, image in enumerate(_rows(file, shape, dtype, path)):
                    other = tracks is None or number == 0 or tracks[number] != tracks[number - 1]
                    yield Frame(image, str(number), number / rate, other, time.monotonic())
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise EdgeError(f"{path}: is no .npz file with an array `images` ({error}).") from None


def _rows(file: Any, shape: Tuple[int, ...], dtype: Any, path: str) -> Iterator[np.ndarray]:
    """Read the images; as many at a time as READ_AHEAD bytes hold, at least one."""
    size = int(np.prod(shape[1:]))
    most = max(1, READ_AHEAD // max(1, size))
    for begin in range(0, shape[0], most):
        count = min(most, shape[0] - begin)
        data = file.read(size * count)
        whole = len(data) // size if size else count
        images = np.frombuffer(data, dtype, whole * size).reshape((whole, *shape[1:]))
        images = images[..., None] if images.ndim == 3 else images
        yield from images if images.shape[3] != 4 else np.ascontiguousarray(images[..., :3])
        if whole < count:
            raise EdgeError(f"{path}: ends before its images do.")


def _header(file: Any, path: str) -> Any:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_column, dtype = read(file)
    if (
        dtype != np.uint8
        or by_column
        or len(shape) not in (3, 4)
        or int(np.prod(shape[1:])) > MOST_FILE_BYTES
    ):
        raise EdgeError(
            f"{path}: its images are {dtype} {list(shape)}; expected uint8 [N, H, W] or [N, H, W, C]."
        )
    return shape, dtype


def _tracks(archive: zipfile.ZipFile, path: str) -> Optional[list]:
    if "tracks.npy" not in archive.namelist() or archive.getinfo("tracks.npy").file_size > MOST_FILE_BYTES:
        return None
    with archive.open("tracks.npy") as file:
        return list(np.lib.format.read_array(file, allow_pickle=False).tolist())


def _camera(text: str, size: str, rate: float) -> Source:
    index, (width, height) = _index(text), _size(size)
    cv2 = opencv()
    # The order counts: some drivers reset the rate when the size is set.
    wanted = (
        (cv2.CAP_PROP_FRAME_WIDTH, width),
        (cv2.CAP_PROP_FRAME_HEIGHT, height),
        (cv2.CAP_PROP_FPS, rate),
    )
    return _capture(index, "camera", wanted=wanted)


def _csi(text: str, size: str, rate: float) -> Source:
    width, height = _size(size)
    return _capture(CSI.format(_index(text), width, height, int(rate)), "camera", gstreamer=True)


def _capture(
    target: Any, kind: str, gstreamer: bool = False, wanted: Tuple[Tuple[int, float], ...] = ()
) -> Source:
    cv2 = opencv()
    capture = cv2.VideoCapture(target, cv2.CAP_GSTREAMER) if gstreamer else cv2.VideoCapture(target)
    if not capture.isOpened():
        raise EdgeError(
            "{}: OpenCV does not open it{}.".format(
                target, "; its build may lack GStreamer (cv2.getBuildInformation)" if gstreamer else ""
            )
        )
    for key, value in wanted:
        capture.set(key, value)
    return Source(kind, _stream(capture, kind), kind == "camera", capture.release)


def _stream(capture: Any, kind: str) -> Iterator[Frame]:
    number = 0
    other: Optional[float] = None
    began = time.monotonic()
    rate = float(capture.get(5)) or 30.0  # CAP_PROP_FPS
    while True:
        read, image = capture.read()
        if not read:
            return
        now = time.monotonic()
        at = now - began if kind == "camera" else number / rate
        new = other is None or at - other >= OTHER_SIGN
        other = at if new else other
        yield Frame(rgb(image, "bgr"), str(number), at, new, now)
        number += 1


def opencv() -> Any:
    """Return the module cv2. Raises EdgeError where it is not installed."""
    try:
        return importlib.import_module("cv2")
    except ImportError:
        raise EdgeError("videos, cameras and the window need OpenCV; install python3-opencv.") from None


def _by_package(data: bytes, path: str) -> np.ndarray:
    try:
        cv2 = opencv()
    except EdgeError:
        return _by_pillow(data, path)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise EdgeError(f"{path}: is no image that OpenCV reads.")
    return rgb(image, "bgr")


def _by_pillow(data: bytes, path: str) -> np.ndarray:
    try:
        pillow = importlib.import_module("PIL.Image")
    except ImportError:
        raise EdgeError(f"{path}: needs OpenCV or Pillow; PNG and PPM need neither.") from None
    try:
        image = pillow.open(io.BytesIO(data))
        if image.size[0] * image.size[1] > MOST_FILE_BYTES:
            raise EdgeError(f"{path}: has more than {MOST_FILE_BYTES} pixels.")
        return rgb(np.asarray(image.convert("RGB")))
    except (OSError, ValueError, SyntaxError) as error:
        raise EdgeError(f"{path}: is no image that Pillow reads ({type(error).__name__}).") from None


def _size(text: str) -> Any:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and 0 < int(width) < 10000 and 0 < int(height) < 10000):
        raise Usage(f'the size is "{text}"; expected one such as 1280x720.')
    return int(width), int(height)


def _index(text: str) -> int:
    if not text.isdigit():
        raise Usage(f'the camera is "{text}"; expected a number, such as camera:0.')
    return int(text)


def _nothing() -> None:
    """A folder needs no end."""
