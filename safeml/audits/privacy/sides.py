"""Members and non-members: the images that calibrate the attacks, and those that evaluate them.

Members are training images. No sign is on both sides of a split where sign tracks are known. The draw depends on the pixels and the
seed, not on the order of the files. Legend: N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.data.dataset import ImageDataset
from safeml.metrics.duplicates import pixel_digests
from safeml.results import Finding
from safeml.stages.privacy import LEAST_SIGNS, PrivacySettings
from safeml.statistics.clusters import clusters_of
from safeml.wording import counted, number

VALIDATION = "the validation images"
# Share of its quota of members that a class must reach, else non-members of the class are left out too.
LEAST_SHARE = 0.8
PURPOSE = 0x9A1  # beside the seed of the run


@dataclass(frozen=True, eq=False)
class Pair:
    """Members and non-members of one part."""

    members: ImageDataset
    others: ImageDataset


@dataclass(frozen=True, eq=False)
class Sides:
    """The images of the stage.

    calibration: images whose membership the attacks know.
    evaluation: images that the metrics are computed on.
    training: all members, without the images that non-members repeat.
    by_sign: whether no sign is in both parts.
    split: a clause that says what the non-members of the calibration are.
    """

    calibration: Pair
    evaluation: Pair
    training: ImageDataset
    by_sign: bool
    split: str
    findings: tuple[Finding, ...] = ()


def draw(inputs: AuditInputs, settings: PrivacySettings) -> Sides | str:
    """Draw the images of both sides, or return a clause that says why there are none."""
    others = inputs.test if settings.non_members == "test" else inputs.valid
    if inputs.train is None:
        return "no [data.train] is configured, so no member is known"
    if others is None:
        return 'non_members is "valid" and no [data.valid] is configured'
    if inputs.test.classes < 2:
        return "the data have one class, so every output is the same"
    for data in (inputs.train, others):
        if data.class_names != inputs.test.class_names:
            return f"{data.name} has other classes than {inputs.test.name}"
    second = _second(inputs, settings, others)
    given = [("training", inputs.train), ("non-member", others)]
    if second is not None:
        given.append(("calibration", second))
    kept, findings = _without_copies(given, members=1)
    if any(part is None for part in kept):
        return "every image of one side is also on the other side"
    train, others, *rest = [part for part in kept if part is not None]
    rng = np.random.default_rng([inputs.seed, PURPOSE])
    if rest:
        calibrating, evaluating, split = rest[0], others, VALIDATION
    else:
        calibrating, evaluating = _parts(others, rng)
        split = "a third of the sign tracks of the non-members"
        if not _knows_signs(others):
            split = "a third of the images of the non-members, whose sign tracks are not known"
    member_calibration, member_evaluation = _parts(train, rng)
    pairs = []
    for members, rest_of in ((member_calibration, calibrating), (member_evaluation, evaluating)):
        drawn = _at_most(rest_of, settings.images, rng)
        pairs.append(_matched(members, drawn, settings.images, rng))
    sides = Sides(
        pairs[0],
        pairs[1],
        train,
        _knows_signs(train) and (bool(rest) or _knows_signs(others)),
        split,
        findings,
    )
    return _too_few(sides) or sides


def signs_of(data: ImageDataset) -> float | None:
    """Return the number of sign tracks; None where it is not known."""
    return clusters_of("signs", len(data), data.clustering).signs


def sign_shares(data: ImageDataset) -> np.ndarray:
    """Return the share of a sign track that each image is, float [N]; 1 where nothing is known about sign tracks."""
    clusters = clusters_of("signs", len(data), data.clustering)
    if clusters.codes is None or clusters.sizes is None:
        return np.full(len(data), 1 / clusters.frames)
    return np.asarray(1 / clusters.sizes[clusters.codes])


def _second(inputs: AuditInputs, settings: PrivacySettings, others: ImageDataset) -> ImageDataset | None:
    """Return the validation images where they calibrate: non-members without track ids cannot be halved by sign."""
    valid = inputs.valid
    if settings.non_members != "test" or _knows_signs(others) or valid is None or not _knows_signs(valid):
        return None
    signs = signs_of(valid)
    enough = signs is not None and signs >= LEAST_SIGNS
    return valid if enough and valid.class_names == inputs.test.class_names else None


def _knows_signs(data: ImageDataset) -> bool:
    return data.tracks is not None or data.frames_per_sign == 1


def _without_copies(
    given: list[tuple[str, ImageDataset]], members: int
) -> tuple[list[ImageDataset | None], tuple[Finding, ...]]:
    """Return the data sets in the order of their pixels, without images that members and non-members share.

    members: how many of the data sets are members; the others are not. None for a data set without another image.
    """
    digests = [pixel_digests(data.images) for _, data in given]
    inside, outside = np.concatenate(digests[:members]), np.concatenate(digests[members:])
    kept: list[ImageDataset | None] = []
    removed = []
    for place, ((_, data), own) in enumerate(zip(given, digests, strict=True)):
        shared = np.isin(own, outside if place < members else inside)
        order = np.argsort(own, kind="stable")
        order = order[~shared[order]]
        kept.append(data.take(order) if len(order) else None)
        removed.append(int(shared.sum()))
    if not any(removed):
        return kept, ()
    parts = ", ".join(f"{number(count)} {role}" for (role, _), count in zip(given, removed, strict=True))
    return kept, (
        Finding(
            code="members-among-non-members",
            severity="warning",
            message=f"Members and non-members share images byte for byte; they are left out of both ({parts} images).",
            remedy="Remove the shared images from one of the splits; the stage balance lists them.",
            evidence={"images": sum(removed)},
        ),
    )


def units_of(data: ImageDataset) -> np.ndarray:
    """Return int64 [N]: numbers of the sign tracks in the order of their first image; of the images where tracks are not known."""
    if data.tracks is None:
        return np.arange(len(data))
    _, first, codes = np.unique(data.tracks, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[codes])


def _parts(data: ImageDataset, rng: np.random.Generator) -> tuple[ImageDataset, ImageDataset]:
    """Split into a random third that calibrates, and the rest; whole sign tracks, or images where they are not known.

    Of few sign tracks a larger part calibrates: at least LEAST_SIGNS, but not more than half.
    """
    units = units_of(data)
    count = int(units.max()) + 1
    first = np.zeros(count, bool)
    first[rng.permutation(count)[: max(count // 3, min(LEAST_SIGNS, count // 2))]] = True
    parts = []
    for chosen in (first[units], ~first[units]):
        rows = np.flatnonzero(chosen)
        parts.append(_fewer_frames(data, data.take(rows)) if len(rows) else data.take(np.arange(1)))
    return parts[0], parts[1]


def _at_most(data: ImageDataset, images: int, rng: np.random.Generator) -> ImageDataset:
    """Draw whole sign tracks of at most `images` images in all, at least one track; single images where tracks are not known."""
    if len(data) <= images:
        return data
    units = units_of(data)
    sizes = np.bincount(units)
    order = rng.permutation(len(sizes))
    fits = np.cumsum(sizes[order]) <= images
    fits[0] = True
    drawn = np.isin(units, order[fits])
    return _fewer_frames(data, data.take(np.flatnonzero(drawn)))


def _matched(members: ImageDataset, others: ImageDataset, images: int, rng: np.random.Generator) -> Pair:
    """Draw at most `images` members with about the shares of the classes among `others`, and leave out others of short classes.

    Classes that are more frequent in training would otherwise be a difference that no model reveals.
    """
    counts = np.bincount(others.labels, minlength=others.classes)
    ratio = min(images, len(members)) / len(others)
    drawn = _by_quota(members, counts * ratio, rng)
    reached = np.bincount(drawn.labels, minlength=others.classes) / ratio
    quota = np.where(reached < LEAST_SHARE * counts, reached, np.inf)
    return Pair(drawn, _by_quota(others, quota, rng) if np.isfinite(quota).any() else others)


def _by_quota(data: ImageDataset, quota: np.ndarray, rng: np.random.Generator) -> ImageDataset:
    """Draw whole sign tracks up to a number of images of each class, float [K]; at least one track where it is above 0."""
    units = units_of(data)
    sizes = np.bincount(units)
    _, first = np.unique(units, return_index=True)
    labels = data.labels[first]
    drawn = np.zeros(len(sizes), bool)
    taken = np.zeros(data.classes)
    for unit in rng.permutation(len(sizes)):
        label = labels[unit]
        if quota[label] > 0 and (taken[label] == 0 or taken[label] + sizes[unit] / 2 <= quota[label]):
            drawn[unit] = True
            taken[label] += sizes[unit]
    rows = np.flatnonzero(drawn[units])
    return _fewer_frames(data, data.take(rows)) if len(rows) else data.take(np.arange(1))


def _fewer_frames(whole: ImageDataset, part: ImageDataset) -> ImageDataset:
    """Return the random part of a data set with its declared frames per sign, as `ImageDataset.sample` has it."""
    if whole.frames_per_sign is None or whole.tracks is not None or len(whole) < 2:
        return part
    frames = 1 + (whole.frames_per_sign - 1) * (len(part) - 1) / (len(whole) - 1)
    return replace(part, frames_per_sign=frames)


def _too_few(sides: Sides) -> str:
    parts = {
        "training images that evaluate": sides.evaluation.members,
        "non-members that evaluate": sides.evaluation.others,
        "training images that calibrate": sides.calibration.members,
        "non-members that calibrate": sides.calibration.others,
    }
    for words, data in parts.items():
        signs = signs_of(data)
        count = len(data) if signs is None else signs
        if count < LEAST_SIGNS:
            unit = "image" if signs is None or data.frames_per_sign == 1 else "sign track"
            return f"the {words} have {counted(round(count), unit)}; expected at least {LEAST_SIGNS} of each"
    return ""
