"""One patch for every sign of a class, trained on some images to be classified as another class, tested on others.

References:
    T. Brown, D. Mané, A. Roy, M. Abadi, J. Gilmer, "Adversarial patch", 2017.
    S. Moosavi-Dezfooli, A. Fawzi, O. Fawzi, P. Frossard, "Universal adversarial perturbations", 2017.

Legend: M training images, N images, B images in a batch, H W C pixels, h w the patch's own pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from safeml import framework
from safeml.attacks.losses import margin
from safeml.attacks.signs.base import DARKEST, LIGHTEST, PURPOSES, STRIDE
from safeml.attacks.signs.box import box_sides, patch_sizes, placed
from safeml.attacks.signs.settings import SignSettings

# Places along each side of the box, of which the best is taken for all signs.
PLACES = 3
MOMENTUM = 0.9


@dataclass(frozen=True, eq=False)
class Patch:
    """pixels: float32 [h, w, C], printable colours. place: 0..PLACES^2-1, the same on each sign, row by row."""

    pixels: np.ndarray
    place: int


def train_patch(
    classifier: Any,
    images: np.ndarray,
    boxes: np.ndarray,
    target: int,
    settings: SignSettings,
    seed: int,
    batch: int,
) -> Patch:
    """The patch that makes the classifier say `target` on these images.

    images: float32 [M, H, W, C], 0..1, M >= 1. boxes: int64 [M, 4], see `box.pixel_boxes`. classifier: differentiable.
    Place and first colours are those that make most of the images the target, out of grey and two steps along the
    gradient's sign at each place. Then sign steps with momentum, of a size that falls to zero, lower the mean cross entropy
    of the target; the better of both patches is taken.
    """
    compiled = _compile(classifier)
    shape = patch_shape(boxes, settings.patch_area, images.shape[3])
    grey = np.full(shape, (DARKEST + LIGHTEST) / 2, np.float32)
    half = np.float32((LIGHTEST - DARKEST) / 2)

    def score(patch: Patch) -> tuple[float, float]:
        """The share of the images that the patch makes the target, and the mean margin that decides between equals."""
        maps = index_maps(boxes, settings.patch_area, patch.place, shape, images.shape)
        margins = [
            compiled.towards_target(patch.pixels, images[part], maps[part], np.int32(target)).numpy()
            for part in _turns(len(images), batch)
        ]
        found = np.nan_to_num(np.concatenate(margins).astype(np.float64), nan=1e30, posinf=1e30, neginf=-1e30)
        return float((found > 0).mean()), float(found.mean())

    starts = []
    for place in range(PLACES**2):
        maps = index_maps(boxes, settings.patch_area, place, shape, images.shape)
        slope = sum(
            compiled.slope(grey, images[part], maps[part], np.int32(target)).numpy().astype(np.float64)
            for part in _turns(len(images), batch)
        )
        # Half-way too: the full way can lead through the target and out of it on the other side.
        starts += [
            Patch(np.asarray(grey - share * half * np.sign(slope), np.float32), place)
            for share in (0.0, 0.5, 1.0)
        ]
    best = max(starts, key=score)
    return max(best, _descend(compiled, best, images, boxes, target, settings, seed, batch), key=score)


def random_patch(shape: tuple[int, ...], place: int, seed: int) -> Patch:
    """A patch of the same size at the same place, each channel drawn evenly from the printable range: what any patch does."""
    rng = np.random.default_rng([seed, PURPOSES["patch"], 1])
    return Patch(rng.uniform(DARKEST, LIGHTEST, shape).astype(np.float32), place)


def patched(patch: Patch, images: np.ndarray, boxes: np.ndarray, area: float) -> np.ndarray:
    """The images with the patch on their signs, float32 [N, H, W, C]; all other pixels are the very same."""
    maps = index_maps(boxes, area, patch.place, patch.pixels.shape, images.shape)
    colours = patch.pixels.reshape(-1, images.shape[3])[np.maximum(maps, 0)]
    return np.where((maps >= 0)[..., None], colours, images)


def patch_shape(boxes: np.ndarray, area: float, channels: int) -> tuple[int, int, int]:
    """h, w, C: as many pixels as the patch has on the largest of these signs."""
    sizes = patch_sizes(boxes, area)
    return int(sizes[:, 0].max()), int(sizes[:, 1].max()), channels


def index_maps(
    boxes: np.ndarray, area: float, place: int, shape: tuple[int, ...], images: tuple[int, ...]
) -> np.ndarray:
    """Which of the patch's h x w pixels each pixel of an image shows, int32 [N, H, W]; -1 where it shows none.

    The patch is stretched to the nearest square that `area` of the box allows, to the nearest pixel.
    """
    sizes = patch_sizes(boxes, area)
    down, right = (np.full(len(boxes), part / (PLACES - 1)) for part in divmod(place, PLACES))
    where = placed(boxes, sizes, down, right)
    high, wide = box_sides(where)
    y, x = np.arange(images[1]) - where[:, 1, None], np.arange(images[2]) - where[:, 0, None]
    row = np.where((y >= 0) & (y < high[:, None]), (2 * y + 1) * shape[0] // (2 * high[:, None]), -1)
    column = np.where((x >= 0) & (x < wide[:, None]), (2 * x + 1) * shape[1] // (2 * wide[:, None]), -1)
    both = (row[:, :, None] >= 0) & (column[:, None, :] >= 0)
    return np.where(both, row[:, :, None] * shape[1] + column[:, None, :], -1).astype(np.int32)


class _Compiled(NamedTuple):
    """slope(patch, images, maps, target): gradient of the summed cross entropy by the patch, [h, w, C].

    towards_target(...): the logit of the target minus the largest other one, [B]. descend: `STRIDE` steps, see `_descend`.
    """

    slope: Callable[..., Any]
    towards_target: Callable[..., Any]
    descend: Callable[..., Any]


def _descend(
    compiled: _Compiled,
    patch: Patch,
    images: np.ndarray,
    boxes: np.ndarray,
    target: int,
    settings: SignSettings,
    seed: int,
    batch: int,
) -> Patch:
    maps = index_maps(boxes, settings.patch_area, patch.place, patch.pixels.shape, images.shape)
    rng = np.random.default_rng([seed, PURPOSES["patch"], 0])
    size = min(batch, len(images), 32)
    order = rng.integers(0, len(images), (settings.patch_steps, size), dtype=np.int32)
    rates = np.linspace(0.1, 0.0, settings.patch_steps, endpoint=False, dtype=np.float32)
    state: Any = (patch.pixels, np.zeros_like(patch.pixels))
    for step in range(0, settings.patch_steps, STRIDE):
        chosen = order[step : step + STRIDE]
        state = compiled.descend(
            *state, images[chosen], maps[chosen], np.int32(target), rates[step : step + STRIDE]
        )
    return Patch(state[0].numpy(), patch.place)


@lru_cache(maxsize=4)
def _compile(classifier: Any) -> _Compiled:
    import tensorflow as tf

    def shown(patch: Any, images: Any, maps: Any) -> Any:
        colours = tf.gather(tf.reshape(patch, [-1, tf.shape(patch)[2]]), tf.maximum(maps, 0))
        return tf.where((maps >= 0)[..., None], colours, images)

    @framework.apart
    def slope(patch: Any, images: Any, maps: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(patch)
            logits = classifier.logits(tf.ensure_shape(shown(patch, images, maps), images.shape))
            answers = tf.fill([tf.shape(logits)[0]], target)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(answers, logits))
        return tape.gradient(loss, patch, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def towards_target(patch: Any, images: Any, maps: Any, target: Any) -> Any:
        logits = classifier.logits(tf.ensure_shape(shown(patch, images, maps), images.shape))
        targets = tf.fill([tf.shape(logits)[0]], target)
        return -margin(logits, targets, targets)

    def descend(patch: Any, speed: Any, images: Any, maps: Any, target: Any, rates: Any) -> tuple[Any, Any]:
        def going_on(step: Any, patch: Any, speed: Any) -> Any:
            return step < tf.shape(rates)[0]

        def one(step: Any, patch: Any, speed: Any) -> tuple[Any, Any, Any]:
            found = slope(patch, images[step], maps[step], target)
            speed = MOMENTUM * speed + tf.math.divide_no_nan(found, tf.reduce_mean(tf.abs(found)))
            lower = tf.clip_by_value(patch - rates[step] * tf.sign(speed), DARKEST, LIGHTEST)
            return step + 1, lower, speed

        _, *state = tf.while_loop(going_on, one, (tf.constant(0), patch, speed))
        return tuple(state)

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        traced = tf.function(function, autograph=False, reduce_retracing=True)

        def run(*arrays: Any) -> Any:
            with framework.memory_errors():
                return traced(*(tf.convert_to_tensor(array) for array in arrays))

        return run

    return _Compiled(compiled(slope), compiled(towards_target), compiled(descend))


def _turns(count: int, batch: int) -> list[slice]:
    return [slice(start, min(start + batch, count)) for start in range(0, count, batch)]
