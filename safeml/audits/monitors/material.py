"""The images that a monitor is fitted on, calibrated on and measured on: three sets without a common traffic sign. Legend: N images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.calibration.fitting import MOST_SHARED, Fitting, fitting_images
from safeml.data.dataset import ImageDataset
from safeml.metrics.duplicates import NO_COPY, first_copies, pixel_digests
from safeml.results import Finding
from safeml.wording import counted, limit_percent

FEW = "the sign tracks of the validation images are not known, or there are fewer than four"


@dataclass(frozen=True, eq=False)
class Material:
    """The three sets; None for one that there is not.

    fitting: for scores and references; training images, or where there are none a part of the validation images.
    calibration: validation signs for thresholds.
    measuring: validation signs on which false alarms, delay and fusion are measured.
    reason: a clause that says why there is no calibration.
    """

    fitting: ImageDataset | None
    calibration: ImageDataset | None
    measuring: ImageDataset | None
    reason: str = ""
    findings: tuple[Finding, ...] = ()


def material(inputs: AuditInputs, images: int) -> Material:
    """Divide the admissible images. images: the most for fitting."""
    valid = fitting_images(inputs)
    train, findings = _training(inputs, images)
    findings = [*(finding for finding in valid.findings if finding.code == "fitting-reduced"), *findings]
    data, signs = valid.data, valid.signs
    if data is None or signs is None:
        reason = valid.reason or FEW
        source = train if train is not None else (None if data is None else _even(data, images, inputs.seed))
        return Material(source, None, None, reason, (*findings, _uncalibrated(reason)))
    parts = _thirds(valid, signs, inputs.seed) if train is None else (None, valid.scaling, valid.rest)
    if not parts[1].any() or not parts[2].any():
        source = train if train is not None else _even(data, images, inputs.seed)
        return Material(source, None, None, FEW, (*findings, _uncalibrated(FEW)))

    def of(part: np.ndarray) -> ImageDataset:
        rows = np.flatnonzero(part)
        return _in_order(data.take(rows), signs[rows])

    own = train if parts[0] is None else _even(of(parts[0]), images, inputs.seed)
    return Material(own, of(parts[1]), of(parts[2]), "", tuple(findings))


def _training(inputs: AuditInputs, images: int) -> tuple[ImageDataset | None, list[Finding]]:
    """Return training images for fitting, as evenly over the classes as they allow, without those of the test data."""
    train = inputs.train
    if train is None or train.class_names != inputs.test.class_names:
        return None, []
    drawn = _even(train, images, inputs.seed)
    shared = first_copies(pixel_digests(drawn.images), pixel_digests(inputs.test.images)) != NO_COPY
    if not shared.any():
        return drawn, []
    share = float(shared.mean())
    refused = share > MOST_SHARED
    finding = Finding(
        code="training-shared",
        severity="serious" if refused else "warning",
        message=f"{counted(int(shared.sum()), 'training image')} of {len(drawn):,} are also test images; "
        + (
            f"at most {limit_percent(MOST_SHARED)} may, so no monitor is fitted on training images."
            if refused
            else "no monitor is fitted on them."
        ),
        remedy="Remove the images that training and test data share.",
        evidence={"images": int(shared.sum()), "of": len(drawn)},
    )
    return (None if refused else drawn.take(np.flatnonzero(~shared))), [finding]


def _even(data: ImageDataset, images: int, seed: int) -> ImageDataset:
    """Return at most `images` images, drawn at random, as evenly over the classes as they allow, in source order."""
    if images >= len(data):
        return data
    order = np.random.default_rng([seed, 0x40]).permutation(len(data))
    turn = np.zeros(len(data), int)
    for k in range(data.classes):
        own = order[data.labels[order] == k]
        turn[own] = np.arange(len(own))
    drawn = order[np.argsort(turn[order], kind="stable")][:images]
    return data.take(np.sort(drawn))


def _thirds(valid: Fitting, signs: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the signs for fitting, and the two halves of the others, bool [N] each."""
    tracks = np.unique(signs[valid.rest])
    half = np.random.default_rng([seed, 0x41]).permutation(tracks)[: (len(tracks) + 1) // 2]
    first = valid.rest & np.isin(signs, half)
    return valid.scaling, first, valid.rest & ~first


def _in_order(data: ImageDataset, signs: np.ndarray) -> ImageDataset:
    """Return the images by sign track and in the order of recording, as far as it is known; with their tracks."""
    known = replace(data, tracks=signs)
    frames = np.arange(len(data)) if data.frames is None else data.frames
    return known.take(np.lexsort((frames, signs)))


def _uncalibrated(reason: str) -> Finding:
    return Finding(
        code="no-threshold",
        severity="serious",
        message=f"No monitor has a threshold, so none can be deployed: {reason}.",
        remedy="Give validation images in [data.valid] with sign tracks (track_id), or with frames_per_sign = 1, that neither training nor "
        "test data hold.",
        evidence={"metric": "residual_hazard"},
    )
