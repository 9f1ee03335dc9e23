"""The outputs on every set of images that a monitor is judged on. Legend: N images, C corruptions, M images of a sample."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.monitors.attacked import attacked_sets
from safeml.audits.monitors.fitted import Calibration, Fitted, fit
from safeml.audits.monitors.material import Material, material
from safeml.audits.monitors.outputs import Judged, Outputs, Reader, feature_size, together
from safeml.audits.slices import Slices, numbers
from safeml.corruptions.engine import corrupt
from safeml.corruptions.rows import CORRUPTIONS, LEAST_SIDE
from safeml.data.dataset import ImageDataset
from safeml.stages.monitors import CLEAN, NOISE, OUTSIDE, SCRAMBLED, SHIFTED, MonitorsSettings
from safeml.statistics import Clustering

SLICE = 512
PIECES = 4  # along each side of a scrambled image


@dataclass(frozen=True, eq=False)
class Outside:
    """Images that show no class of the model. reason: a clause that says why there are none."""

    outputs: Outputs | None
    clustering: Clustering
    reason: str = ""


@dataclass(eq=False)
class Measured:
    """All that the stage measures.

    sample: the clean test images. judged: by set, CLEAN first. corrupted: by corruption, the sets that SHIFTED joins.
    outside: by set. fitted: the monitor. material: its images.
    measuring: clean outputs of the signs for false alarms; None if there are none.
    moving: outputs of whole tracks of them under each corruption; moving_data: these images.
    width: F; 0 for no features.
    features: why there are no features; "" if there are.
    """

    sample: ImageDataset
    judged: dict[str, Judged]
    corrupted: dict[str, Judged]
    outside: dict[str, Outside]
    fitted: Fitted
    material: Material
    measuring: Outputs | None
    moving: dict[str, Outputs]
    moving_data: ImageDataset | None
    width: int
    features: str
    slices: list[Slices]
    not_measured: dict[str, str] = field(default_factory=dict)


def usable_corruptions(settings: MonitorsSettings, data: ImageDataset) -> tuple[str, ...]:
    """Return the corruptions of the settings that images of this size and these channels can have."""
    if min(data.images.shape[1:3]) < LEAST_SIDE:
        return ()
    return tuple(
        name for name in settings.corruptions if data.images.shape[3] == 3 or not CORRUPTIONS[name].colour
    )


def measure(inputs: AuditInputs, settings: MonitorsSettings) -> Measured:
    """Ask the model for every set, fit the monitor and calibrate it."""
    slices = Slices(inputs.work, SLICE, {"images": inputs.predicting})
    width, without = feature_size(inputs)
    reader = Reader(inputs, slices, width)
    names = usable_corruptions(settings, inputs.test)
    parts = material(inputs, settings.fitting_images)
    fitted = fitted_monitor(inputs, settings, reader, parts, names)
    sample = inputs.test.sample(settings.images, inputs.seed)
    clean = Judged(
        reader.read("clean", "monitors: clean test images", sample.images, numbers(sample)),
        sample.labels,
        sample.clustering,
    )
    part = sample.sample(settings.shifted_images, inputs.seed)
    corrupted = {
        name: Judged(_corrupted(inputs, reader, settings, part, name), part.labels, part.clustering)
        for name in names
    }
    sets = {CLEAN: clean}
    missing = {}
    if corrupted:
        sets[SHIFTED] = _joined(list(corrupted.values()))
    else:
        missing[SHIFTED] = (
            f"the corruptions need images with sides of at least {LEAST_SIDE} pixels, or in colour"
        )
    attacked, not_attacked, attack_slices = attacked_sets(inputs, settings, sample, fitted, width)
    sets |= attacked
    missing |= not_attacked
    measuring, moving, moving_data = _streams(inputs, settings, reader, parts, names)
    return Measured(
        sample=sample,
        judged=sets,
        corrupted=corrupted,
        outside=_outside(inputs, settings, reader, part),
        fitted=fitted,
        material=parts,
        measuring=measuring,
        moving=moving,
        moving_data=moving_data,
        width=width,
        features=without,
        slices=[slices, attack_slices],
        not_measured=missing,
    )


def fitted_monitor(
    inputs: AuditInputs, settings: MonitorsSettings, reader: Reader, parts: Material, names: tuple[str, ...]
) -> Fitted:
    """Ask the model for the fitting and calibration images, and fit the monitor."""
    fitting = None
    if parts.fitting is not None:
        data = parts.fitting
        outputs = reader.read("fitting", "monitors: fitting images", data.images, numbers(data))
        fitting = outputs, data.labels
    calibration = None
    if parts.calibration is not None:
        data = parts.calibration
        assert data.tracks is not None
        own = reader.read("calibration", "monitors: calibration signs", data.images, numbers(data))
        few = data.sample(settings.shifted_images, inputs.seed)
        shifted = [_corrupted(inputs, reader, settings, few, name, "calibration-") for name in names]
        calibration = Calibration(
            data.images,
            own,
            data.labels,
            data.tracks,
            together(shifted) if shifted else own.take(np.zeros(0, int)),
            np.tile(few.labels, len(shifted)),
        )
    inputs.progress("fit monitors", 0, 1)
    fitted = fit(settings, inputs.seed, inputs.test.classes, fitting, calibration, parts.reason)
    inputs.progress("fit monitors", 1, 1)
    return fitted


def _corrupted(
    inputs: AuditInputs,
    reader: Reader,
    settings: MonitorsSettings,
    data: ImageDataset,
    name: str,
    prefix: str = "",
) -> Outputs:
    severity, seed = settings.severity, inputs.seed
    return reader.read(
        f"{prefix}{name}",
        f"monitors: {CORRUPTIONS[name].title.lower()}",
        data.images,
        numbers(data),
        lambda images, ids: corrupt(images, name, severity, seed, ids),
        {"corruption": name, "severity": severity, "seed": seed},
    )


def _joined(parts: list[Judged]) -> Judged:
    """Join several versions of the same images; each sign then has as many times more frames."""
    first = parts[0].clustering
    tracks = None if first.tracks is None else np.tile(first.tracks, len(parts))
    frames = None if first.frames_per_sign is None else first.frames_per_sign * len(parts)
    return Judged(
        together([part.outputs for part in parts]),
        np.concatenate([part.labels for part in parts]),
        Clustering(tracks, frames),
    )


def _outside(
    inputs: AuditInputs, settings: MonitorsSettings, reader: Reader, part: ImageDataset
) -> dict[str, Outside]:
    """Show the model noise, scrambled test images and the user's images from outside."""
    ids, seed = numbers(part), inputs.seed
    noise = reader.read(
        NOISE,
        "monitors: noise",
        part.images,
        ids,
        lambda images, ids: _noise(images, seed, ids),
        {"seed": seed},
    )
    scrambled = reader.read(
        SCRAMBLED,
        "monitors: scrambled images",
        part.images,
        ids,
        lambda images, ids: _scrambled(images, seed, ids),
        {"seed": seed, "pieces": PIECES},
    )
    sets = {NOISE: Outside(noise, Clustering(None, 1)), SCRAMBLED: Outside(scrambled, part.clustering)}
    if settings.ood is not None:
        if inputs.ood is None:
            sets[OUTSIDE] = Outside(None, Clustering(), "the images of the setting ood were not read")
        else:
            own = inputs.ood.sample(settings.shifted_images, seed)
            if own.images.shape[3] != part.images.shape[3]:
                reason = "the images of the setting ood have other channels than the test images"
                sets[OUTSIDE] = Outside(None, Clustering(), reason)
            else:
                outputs = reader.read(OUTSIDE, "monitors: images from outside", own.images, numbers(own))
                sets[OUTSIDE] = Outside(outputs, own.clustering)
    return sets


def _noise(images: np.ndarray, seed: int, ids: np.ndarray) -> np.ndarray:
    """Return uniform noise of the shape of `images`, uint8, drawn from (seed, id)."""
    return np.stack(
        [
            np.random.default_rng([seed, 0x4F, int(i)]).integers(0, 256, images.shape[1:], dtype=np.uint8)
            for i in ids
        ]
    )


def _scrambled(images: np.ndarray, seed: int, ids: np.ndarray) -> np.ndarray:
    """Return the images with their PIECES x PIECES parts in random order: the colours and textures of a sign, and no sign."""
    changed = images.copy()
    height, width = (side // PIECES for side in images.shape[1:3])
    corners = [(i * height, j * width) for i in range(PIECES) for j in range(PIECES)]
    for row, number in enumerate(ids):
        order = np.random.default_rng([seed, 0x5C, int(number)]).permutation(len(corners))
        for (top, left), place in zip(corners, order, strict=True):
            y, x = corners[place]
            changed[row, top : top + height, left : left + width] = images[row, y : y + height, x : x + width]
    return changed


def _streams(
    inputs: AuditInputs, settings: MonitorsSettings, reader: Reader, parts: Material, names: tuple[str, ...]
) -> tuple[Outputs | None, dict[str, Outputs], ImageDataset | None]:
    """Return the outputs for the measuring signs, and for whole tracks of them under each corruption, with these images."""
    data = parts.measuring
    if data is None:
        return None, {}, None
    assert data.tracks is not None
    clean = reader.read("measuring", "monitors: measuring signs", data.images, numbers(data))
    order = np.random.default_rng([inputs.seed, 0x42]).permutation(np.unique(data.tracks))
    lengths = np.array([(data.tracks == track).sum() for track in order])
    some = order[: max(2, int(np.searchsorted(np.cumsum(lengths), 2 * settings.shifted_images)))]
    rows = np.flatnonzero(np.isin(data.tracks, some))
    moving = data.take(rows)
    shown = replace(moving, frames_per_sign=None)
    return (
        clean,
        {name: _corrupted(inputs, reader, settings, shown, name, "measuring-") for name in names},
        shown,
    )
