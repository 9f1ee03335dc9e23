"""The validation images that scaling, thresholds and sets may be fitted on. Legend: N images, C sign tracks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.data.dataset import ImageDataset
from safeml.metrics.duplicates import NO_COPY, first_copies, pixel_digests
from safeml.results import Finding
from safeml.wording import counted, limit_percent

# The largest share of validation images that may also be test or training images; more is no chance.
MOST_SHARED = 0.01
REMEDY = "Give validation images in [data.valid] that neither training nor test data hold."


@dataclass(frozen=True, eq=False)
class Fitting:
    """What may be fitted, and on which images.

    data: the images, without those that the test or training data hold; None where nothing may be fitted.
    reason: a clause that says why there are none.
    scaling: bool [N], the part that scaling is fitted on.
    signs: int64 [N], the sign track of each image; None where it is not known.
    """

    data: ImageDataset | None
    reason: str = ""
    scaling: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    signs: np.ndarray | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def rest(self) -> np.ndarray:
        """bool [N], the part for thresholds and conformal sets; empty where the sign tracks are not known."""
        return np.zeros_like(self.scaling) if self.signs is None else ~self.scaling


def fitting_images(inputs: AuditInputs) -> Fitting:
    """Return the images for fitting: the validation images without those of the test and training data.

    With known sign tracks, random tracks are one half and the others the second half. Images of a sign track that another
    split also has are left out as copies are.
    """
    valid = inputs.valid
    if valid is None:
        return _none("no-fitting-data", "no [data.valid] is configured", severity="info")
    if valid.class_names != inputs.test.class_names:
        return _none("fitting-classes", "the validation data have other classes than the test data")
    digests = pixel_digests(valid.images)
    own = np.zeros(len(valid), bool)
    findings = []
    for role, other in (("test", inputs.test), ("training", inputs.train)):
        if other is None:
            findings.append(
                Finding(
                    code="training-unknown",
                    severity="warning",
                    message="No [data.train] is configured, so validation images that the model was trained on are not recognised.",
                    remedy="Add [data.train]; scaling that is fitted on training images makes a model overconfident.",
                )
            )
            continue
        shared = first_copies(digests, pixel_digests(other.images)) != NO_COPY
        shared |= _shared_tracks(valid, other)
        if shared.mean() > MOST_SHARED:
            reason = (
                f"{int(shared.sum()):,} of {len(valid):,} validation images are also {role} images or show their signs; "
                f"at most {limit_percent(MOST_SHARED)} may"
            )
            return _none("fitting-shared", reason)
        if shared.any():
            findings.append(
                Finding(
                    code="fitting-reduced",
                    severity="warning",
                    message=f"{counted(int(shared.sum()), 'validation image')} are also {role} images or show their signs; "
                    "they are left out of fitting.",
                    remedy=REMEDY,
                    evidence={"images": int(shared.sum()), "of": len(valid)},
                )
            )
        own |= shared
    data = valid.take(np.flatnonzero(~own))
    signs = data.tracks
    if signs is None and data.frames_per_sign == 1:
        signs = np.arange(len(data))
    scaling = np.ones(len(data), bool) if signs is None else _half(signs, inputs.seed)
    return Fitting(data, "", scaling, signs, tuple(findings))


def _half(signs: np.ndarray, seed: int) -> np.ndarray:
    """Return the images of a random half of the sign tracks, bool [N]; the larger half if their number is odd."""
    tracks = np.unique(signs)
    chosen = np.random.default_rng([seed, 0xF1]).permutation(tracks)[: (len(tracks) + 1) // 2]
    return np.isin(signs, chosen)


def _shared_tracks(valid: ImageDataset, other: ImageDataset) -> np.ndarray:
    """Return the images whose sign track the other split also has, bool [N]; none where the splits number tracks independently."""
    nothing = np.zeros(len(valid), bool)
    if valid.tracks is None or other.tracks is None:
        return nothing
    classes = dict(zip(other.tracks.tolist(), other.labels.tolist(), strict=True))
    shared = np.isin(valid.tracks, other.tracks)
    rows = np.flatnonzero(shared)
    apart = any(classes[int(valid.tracks[row])] != int(valid.labels[row]) for row in rows)
    return nothing if apart else shared


def _none(code: str, reason: str, severity: str = "serious") -> Fitting:
    finding = Finding(
        code=code,
        severity="info" if severity == "info" else "serious",
        message=f"Only the delivered model is measured: {reason}.",
        remedy=REMEDY,
    )
    return Fitting(None, reason, findings=(finding,))
