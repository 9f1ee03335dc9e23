"""One patch for all signs of a class: trained on some images, tested on others. Legend: M, N images, K classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.attacks.signs.base import DARKEST, LIGHTEST, ROUNDING
from safeml.attacks.signs.universal import PLACES, Patch, patch_shape, patched, random_patch, train_patch
from safeml.audits.base import AuditInputs
from safeml.audits.physical.items import SignItems, answered, boxes_of, pixels_of
from safeml.classifiers.batches import until_it_fits
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import right_answers
from safeml.metrics.duplicates import pixel_digests
from safeml.sealed import Arrays, Form
from safeml.stages.physical import PhysicalSettings

MOST_TRAINING = 512


@dataclass(frozen=True, eq=False)
class Halves:
    """The images of the patch.

    training: the images that the adversary has.
    held_out: the test images on which the patch is tested.
    where: the source of the training images, in words.
    """

    training: ImageDataset
    held_out: ImageDataset
    where: str


@dataclass(frozen=True, eq=False)
class PatchMeasured:
    """The patch on the held-out images that are classified correctly when clean.

    data: these N images.
    fooled: bool [N], classified as the target under the patch.
    at_random: bool [N], the same under a patch of random colours.
    logits: float32 [N, K], under the patch.
    attacked: float32 [N, H, W, C], 0..1.
    problem: the defect of the patch, or ""; with a defect all images count as fooled.
    training: M, number of training images.
    where: their source, in words.
    """

    data: ImageDataset
    fooled: np.ndarray
    at_random: np.ndarray
    logits: np.ndarray
    attacked: np.ndarray
    problem: str
    training: int
    where: str


def halves(inputs: AuditInputs, settings: PhysicalSettings) -> Halves | str:
    """Return the two sets for the class pair of the settings, or the reason why there are none.

    Validation images where there are some of the source class, at the size of the test images; else the class's test images
    are divided: by signs where tracks are known, by the parity of the image numbers where not. A training image that
    is also a held-out image is left out.
    """
    test, wanted = inputs.test, settings.patch_pair
    known = {name.casefold(): name for name in test.class_names}
    for name in wanted:
        if name.casefold() not in known:
            return f'the data have no class called "{name}"'
    source = known[wanted[0].casefold()]
    if source not in _present(test):
        return f'no test image shows "{source}"'
    own = test.take(np.flatnonzero(test.labels == test.class_names.index(source)))
    valid = inputs.valid
    if valid is not None and source in _present(valid) and valid.images.shape[1:] == test.images.shape[1:]:
        training = valid.take(np.flatnonzero(valid.labels == valid.class_names.index(source)))
        held_out, where = own, "validation images"
    else:
        even = _even(own)
        if even.all() or not even.any():
            return f'there are too few signs of "{source}" to train on some and test on others'
        training, held_out = own.take(np.flatnonzero(even)), own.take(np.flatnonzero(~even))
        where = "other signs of the test set" if own.tracks is not None else "other images of the test set"
    held_out = held_out.sample(settings.images, inputs.seed)
    new = ~np.isin(pixel_digests(training.images), pixel_digests(held_out.images))
    if not new.any():
        return f'every training image of "{source}" is also a held-out image'
    return Halves(training.take(np.flatnonzero(new)).sample(MOST_TRAINING, inputs.seed), held_out, where)


def measure_patch(items: SignItems) -> PatchMeasured | str:
    """Train, apply and test the patch, or return the reason why that is not possible."""
    inputs, settings, slices = items.inputs, items.settings, items.slices
    found = halves(inputs, settings)
    if isinstance(found, str):
        return found
    names = [name.casefold() for name in inputs.test.class_names]
    target = names.index(settings.patch_pair[1].casefold())
    images = pixels_of(found.held_out)
    clean = answered(inputs, slices, "patch-clean", found.held_out, images)
    right = right_answers(clean, found.held_out.labels)
    if not right.any():
        return "no held-out image is classified correctly, so there is nothing to attack"
    data, images = found.held_out.take(np.flatnonzero(right)), images[right]
    boxes = boxes_of(data)
    patch, problem = _trained(items, found.training, target)
    attacked = patched(patch, images, boxes, settings.patch_area)
    other = random_patch(patch.pixels.shape, patch.place, inputs.seed)
    by_chance = patched(other, images, boxes, settings.patch_area)
    logits = answered(inputs, slices, "patch-attacked", data, attacked)
    random_logits = answered(inputs, slices, "patch-random", data, by_chance)
    return PatchMeasured(
        data,
        _is(target, logits) | bool(problem),
        _is(target, random_logits),
        logits,
        attacked,
        problem,
        len(found.training),
        found.where,
    )


def _trained(items: SignItems, training: ImageDataset, target: int) -> tuple[Patch, str]:
    """Return the patch, trained or stored, and its defect; a defective patch is replaced by grey."""
    inputs, settings = items.inputs, items.settings
    images, boxes = pixels_of(training), boxes_of(training)
    shape = patch_shape(boxes, settings.patch_area, images.shape[3])
    form: Form = {"attacked": ("float32", shape), "choice": ("int64", ())}

    def train(rows: slice) -> Arrays:
        patch = until_it_fits(
            items.climbing,
            lambda batch: train_patch(
                inputs.classifier, images.copy(), boxes, target, settings, inputs.seed, batch
            ),
        )
        return {"attacked": patch.pixels[None], "choice": np.array([patch.place], np.int64)}

    columns = {"images": images[None], "boxes": boxes[None]}
    parts = {"target": target, "settings": settings.model_dump(mode="json")}
    kept = items.slices.measure("patch", columns, parts, form, train)
    patch = Patch(kept["attacked"][0], int(kept["choice"][0]))
    pixels = patch.pixels
    if not np.isfinite(pixels).all():
        problem = "it has NaN or infinity"
    elif pixels.min() < DARKEST - ROUNDING or pixels.max() > LIGHTEST + ROUNDING:
        problem = "it has colours that cannot be printed"
    elif not 0 <= patch.place < PLACES**2:
        problem = "it has no place on the sign"
    else:
        return patch, ""
    return Patch(np.full(shape, 0.5, np.float32), 0), problem


def _is(target: int, logits: np.ndarray) -> np.ndarray:
    """Return bool [N]: the predicted class is the target. Logits that are not finite count as a success."""
    return np.asarray((logits.argmax(axis=1) == target) | ~np.isfinite(logits).all(axis=1))


def _present(data: ImageDataset) -> set[str]:
    return {data.class_names[label] for label in np.unique(data.labels)}


def _even(own: ImageDataset) -> np.ndarray:
    """Return bool [N]: every second image is for training; all frames of a sign track are in one half where tracks are known."""
    if own.tracks is not None:
        return np.asarray(np.unique(own.tracks, return_inverse=True)[1] % 2 == 0)
    ids = np.arange(len(own)) if own.ids is None else own.ids
    return np.asarray(np.argsort(np.argsort(ids, kind="stable"), kind="stable") % 2 == 0)
