"""Checks of the input image: blank, frozen, saturated, of another size, range or channel order. Legend: N images, H W C pixels."""

import math
from typing import List, NamedTuple, Optional

import numpy as np

from .errors import MonitorRefused

FROZEN = "frozen"
BLANK = "blank"
SATURATED = "saturated"
SIZE = "size"
TYPE = "type"
RANGE = "range"
CHANNELS = "channel-order"
# Share of the smallest contrast of the fitting images below which an image is blank.
BLANK_SHARE = 0.5
# Added to the largest share of saturated pixels of the fitting images.
SATURATED_MARGIN = 0.1
# Two hypotheses are decided at this likelihood ratio.
ODDS = 1000.0
# Where the channels differ by less than this many spreads, their order is not decidable.
LEAST_CONTRAST = 0.1

# Images whose sums are computed together, so that their float64 values stay in the cache of a processor.
TOGETHER = 8


class Sums(NamedTuple):
    """Exact sums over the pixels of each of N images, from which every check follows.

    saturated: number of values of 0 or 255. channels: the sum of each channel. squares: sum of the squared values.
    size: number of values of an image.
    """

    saturated: list
    channels: list
    squares: list
    size: int


def fit_inputs(images: np.ndarray, tracks: np.ndarray) -> dict:
    """Return the limits of the input checks, JSON-able.

    images: uint8 [N, H, W, C], 0..255, RGB or grey, that show what the camera delivers. tracks: int [N], sign tracks.
    """
    pixels = np.asarray(images)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or not len(pixels):
        raise MonitorRefused(
            f"the images are {pixels.dtype} {list(pixels.shape)}; expected uint8 [N, H, W, 1 or 3]."
        )
    contrast = pixels.reshape(len(pixels), -1).std(axis=1)
    saturated = ((pixels == 0) | (pixels == 255)).reshape(len(pixels), -1).mean(axis=1)
    mean, spread = 0.0, 0.0
    if pixels.shape[3] == 3:
        _, code = np.unique(np.asarray(tracks), return_inverse=True)
        difference = pixels[..., 0].mean(axis=(1, 2)) - pixels[..., 2].mean(axis=(1, 2))
        by_track = np.bincount(code.ravel(), difference) / np.bincount(code.ravel())
        mean, spread = float(by_track.mean()), float(by_track.std())
    return {
        "height": int(pixels.shape[1]),
        "width": int(pixels.shape[2]),
        "channels": int(pixels.shape[3]),
        "contrast": BLANK_SHARE * float(contrast.min()),
        "saturated": min(1.0, SATURATED_MARGIN + float(saturated.max())),
        "red_minus_blue": mean,
        "spread": spread,
    }


class InputChecks:
    """Checks each image of a stream.

    limits: of `fit_inputs`.
    repeats: equal images in succession from which on the camera counts as frozen; at least 2.
    """

    def __init__(self, limits: dict, repeats: int = 3) -> None:
        self.limits, self.repeats = limits, max(2, int(repeats))
        self.latest = b""
        self.equal = 0
        self.evidence = 0.0
        self.swapped = False

    def check(self, image: np.ndarray, new_sign: bool = True) -> Optional[str]:
        """Return the code of the first failed check, or None.

        image: uint8 [H, W, C], 0..255, as `fit_inputs` saw them. new_sign: it is the first frame of another sign; only such
            frames are evidence of the channel order, because frames of one sign repeat it.
        """
        return self.check_all([image], [new_sign])[0]

    def check_all(self, images: List[np.ndarray], new_signs: List[bool]) -> List[Optional[str]]:
        """Return what `check` gives for each of several images in succession."""
        if len(images) > TOGETHER:
            parts = [slice(begin, begin + TOGETHER) for begin in range(0, len(images), TOGETHER)]
            return [code for part in parts for code in self.check_all(images[part], new_signs[part])]
        limits = self.limits
        shape = (limits["height"], limits["width"], limits["channels"])
        every = [np.asarray(image) for image in images]
        codes = [_unfit(pixels, shape) for pixels in every]
        fit = [pixels for pixels, code in zip(every, codes) if code is None]
        if not fit:
            return codes
        sums, number = _sums(np.concatenate(fit).reshape((len(fit), *shape))), 0
        for place, code in enumerate(codes):
            if code is None:
                codes[place] = self._checked(every[place], sums, number, new_signs[place])
                number += 1
        return codes

    def _checked(self, pixels: np.ndarray, sums: Sums, number: int, new_sign: bool) -> Optional[str]:
        data, size = pixels.tobytes(), sums.size
        self.equal = self.equal + 1 if data == self.latest else 1
        self.latest = data
        if self.equal >= self.repeats:
            return FROZEN
        channels, squares = sums.channels[number], int(sums.squares[number])
        if squares == sum(channels):  # only 0 and 1 are their own squares
            return RANGE
        if sums.saturated[number] / size > self.limits["saturated"]:
            return SATURATED
        variance = size * squares - int(sum(channels)) ** 2
        if math.sqrt(variance) / size <= self.limits["contrast"]:
            return BLANK
        return self._order(channels, size // len(channels), new_sign)

    def tells_order(self) -> bool:
        """Return whether red and blue differ enough in the fitting images for their order to be decided."""
        return bool(abs(self.limits["red_minus_blue"]) >= LEAST_CONTRAST * self.limits["spread"] > 0)

    def _order(self, channels: list, size: int, new_sign: bool) -> Optional[str]:
        """Add the log-likelihood ratio of swapped channels: a sequential test of two normal distributions.

        Reference: A. Wald, "Sequential analysis", 1947.
        """
        if self.limits["channels"] != 3 or not self.tells_order():
            return None
        if new_sign:
            difference = channels[0] / size - channels[2] / size
            step = -2 * self.limits["red_minus_blue"] * difference / self.limits["spread"] ** 2
            # Evidence for the declared order does not accumulate, so a later swap is detected as fast.
            self.evidence = max(0.0, self.evidence + step)
            self.swapped = self.evidence >= math.log(ODDS)
        return CHANNELS if self.swapped else None


def _unfit(pixels: np.ndarray, shape: tuple) -> Optional[str]:
    if pixels.dtype != np.uint8:
        unit = np.issubdtype(pixels.dtype, np.floating) and pixels.size and np.nanmax(pixels) <= 1
        return RANGE if unit else TYPE
    return SIZE if pixels.shape != shape else None


def _sums(images: np.ndarray) -> Sums:
    """Return the sums of images, uint8 [N, H, W, C]. They are whole numbers below 2^53, so float64 holds them exactly in any order."""
    count, channels = len(images), images.shape[3]
    rows = images.reshape(count, -1)
    values = rows.astype(np.float64)
    ends = rows + np.uint8(1) <= 1  # 255 + 1 is 0 in uint8
    by_channel = values.reshape(count, -1, channels)
    return Sums(
        [int(np.count_nonzero(row)) for row in ends],
        np.matmul(np.ones((1, by_channel.shape[1])), by_channel)[:, 0].tolist(),
        np.matmul(values[:, None], values[:, :, None])[:, 0, 0].tolist(),
        rows.shape[1],
    )
