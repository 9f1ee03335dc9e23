"""Frames to model values in NumPy alone, as the input contract of the manifest says. Legend: N images, H W C pixels.

Resizing is bilinear with antialiasing: the triangle kernel is widened by the scale when an image shrinks, with the centres of pixels at
half numbers. It equals TensorFlow's `tf.image.resize(method="bilinear", antialias=True)`, with which models are trained and audited,
within 1e-5 of the pixel range.
"""

from collections import OrderedDict
from typing import Any, List, Optional, Tuple

import numpy as np

from .errors import EdgeError
from .manifest import Input

# Weights of red, green and blue in a grey image, as TensorFlow's.
GREY = (0.2989, 0.587, 0.114)
# Resize matrices kept for later frames; frames of a camera have one size.
KEPT = 8


def resize_matrix(size: int, wanted: int) -> np.ndarray:
    """Return the weights of bilinear resizing with antialiasing along one axis, float32 [wanted, size].

    Positions are float32, as TensorFlow's: in a large image their rounding moves a weight by more than 1e-5.
    """
    one, half = np.float32(1), np.float32(0.5)
    scale = one / (np.float32(wanted) / np.float32(size))
    width = one / max(scale, one)
    centres = (np.arange(wanted, dtype=np.float32) + half) * scale
    distance = np.abs((np.arange(size, dtype=np.float32) + half)[None, :] - centres[:, None]) * width
    weights = np.maximum(np.float32(0), one - distance)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


class Preprocessor:
    """Applies a contract to frames. The memory that it keeps is bounded.

    contract: `input` of the manifest.
    """

    def __init__(self, contract: Input) -> None:
        self.contract = contract
        self.matrices: OrderedDict[Tuple[int, int], Any] = OrderedDict()
        self.mean = np.asarray(contract.mean, np.float32) if contract.mean else None
        self.std = np.asarray(contract.std, np.float32) if contract.std else None

    def resized(self, frame: np.ndarray, height: int, width: int) -> np.ndarray:
        """Return a frame in another size, float32 [height, width, C], in the range of `frame`.

        frame: uint8 or float32 [H, W, C].
        """
        rows, columns, depth = frame.shape
        values = np.ascontiguousarray(frame, np.float32)
        if (rows, columns) == (height, width):
            return values
        if rows != height:
            values = np.dot(self._matrix(rows, height), values.reshape(rows, columns * depth))
        values = values.reshape(height, columns, depth)
        if columns != width:
            values = np.matmul(self._matrix(columns, width), values)
        return values

    def values(self, frame: np.ndarray) -> np.ndarray:
        """Return what the model is fed for one frame, float32 [1, height, width, depth].

        frame: uint8 [H, W, C] with 0..255, or float32 [H, W, C] with 0..1; RGB or grey, C is 1 or 3.
        Raises EdgeError for another type or shape.
        """
        return self.scaled(self.pixels(frame))

    def pixels(self, frame: np.ndarray) -> np.ndarray:
        """Return the frame at the size of the model, float32 [height, width, C], 0..1."""
        if frame.ndim != 3 or frame.shape[2] not in (1, 3) or not frame.size:
            raise EdgeError(f"a frame is {list(frame.shape)}; expected [H, W, 1 or 3].")
        if frame.dtype == np.uint8:
            small = self.resized(frame, self.contract.height, self.contract.width)
            return small / np.float32(255)
        if frame.dtype == np.float32:
            return self.resized(frame, self.contract.height, self.contract.width)
        raise EdgeError(f"a frame is {frame.dtype}; expected uint8, or float32 with 0..1.")

    def batch(self, frames: List[np.ndarray]) -> Tuple[Any, Any]:
        """Return the pixels and the model values of at least one frame, float32 [N, height, width, C] and [N, height, width, depth].

        frames: see `values`. A frame gets the same values, to the bit, alone and among others.
        """
        if self._by_element(frames):
            pixels = np.concatenate(frames).reshape((len(frames), *frames[0].shape)) / np.float32(255)
            return pixels, self._scaled(pixels)
        small = [self.pixels(frame) for frame in frames]
        return small, [self.scaled(one)[0] for one in small]

    def _by_element(self, frames: List[np.ndarray]) -> bool:
        """Return whether each model value follows from one value of one frame, so that all frames can be computed at once."""
        contract, shape = self.contract, frames[0].shape
        if len(shape) != 3 or shape[:2] != (contract.height, contract.width) or shape[2] not in (1, 3):
            return False
        if contract.standardise or (contract.channels == "grey" and shape[2] == 3):
            return False
        return all(frame.dtype == np.uint8 and frame.shape == shape for frame in frames)

    def scaled(self, pixels: np.ndarray) -> np.ndarray:
        """Return model values, float32 [1, height, width, depth], of pixels float32 [height, width, C], 0..1."""
        return self._scaled(pixels)[None]

    def _scaled(self, pixels: np.ndarray) -> np.ndarray:
        """Return model values of pixels float32 [..., height, width, C]; of one frame where they are not computed by element."""
        contract = self.contract
        if contract.channels == "grey" and pixels.shape[-1] == 3:
            pixels = np.dot(pixels, np.asarray(GREY, np.float32))[..., None]
        elif contract.channels != "grey" and pixels.shape[-1] == 1:
            pixels = np.repeat(pixels, 3, axis=-1)
        elif contract.channels == "bgr":
            pixels = pixels[..., ::-1]
        values = pixels
        if (contract.low, contract.high) != (0.0, 1.0):
            values = np.float32(contract.low) + pixels * np.float32(contract.high - contract.low)
        if contract.standardise:
            # As tf.image.per_image_standardization: the deviation is at least that of one grey level spread over the image.
            deviation = max(float(values.std(dtype=np.float64)), 1.0 / float(values.size) ** 0.5)
            values = (values - np.float32(values.mean(dtype=np.float64))) / np.float32(deviation)
        else:
            if self.mean is not None:
                values = values - self.mean
            if self.std is not None:
                values = values / self.std
        return np.ascontiguousarray(values, np.float32)

    def _matrix(self, size: int, wanted: int) -> Any:
        key = (size, wanted)
        if key not in self.matrices:
            self.matrices[key] = resize_matrix(size, wanted)
            if len(self.matrices) > KEPT:
                self.matrices.popitem(last=False)
        return self.matrices[key]


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 of pixels float32 in 0..1, for checks that were fitted on bytes."""
    return np.asarray(np.clip(np.rint(pixels * np.float32(255)), 0, 255), np.uint8)


def rgb(frame: np.ndarray, order: Optional[str] = None) -> np.ndarray:
    """Return a frame as uint8 [H, W, C] in RGB. order: "bgr" where it comes from OpenCV. A grey [H, W] frame gets its axis."""
    whole = frame[..., None] if frame.ndim == 2 else frame
    if whole.shape[2] == 4:
        whole = whole[..., :3]
    return np.ascontiguousarray(whole[..., ::-1] if order == "bgr" and whole.shape[2] == 3 else whole)
