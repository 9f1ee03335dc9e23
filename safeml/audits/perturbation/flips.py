"""Flip probability: how often the predicted class changes between consecutive frames of one sign. Legend: N images, P pairs.

Source: D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", 2019
(ImageNet-P), applied to the frames that a camera recorded.
"""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.slices import Slices, numbers
from safeml.data.dataset import ImageDataset
from safeml.results import Metric
from safeml.sealed import Arrays
from safeml.statistics import Clustering, proportion_metric

NAME, TITLE = "flip_probability", "Change of the predicted class between consecutive frames of one sign"
NO_TRACKS = "the test images have no track ids"
NO_FRAMES = "the test images have no frame ids; give the array frame_id"
NO_PAIRS = "no two test images are consecutive frames of one sign"


def consecutive(tracks: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the rows of consecutive frames of one track, int64 [P, 2]: frame ids that differ by 1.

    tracks, frames: int64 [N].
    """
    order = np.lexsort((frames, tracks))
    first, second = order[:-1], order[1:]
    joined = (tracks[first] == tracks[second]) & (frames[second] - frames[first] == 1)
    return np.stack([first[joined], second[joined]], axis=1)


def whole_tracks(data: ImageDataset, most: int, seed: int) -> ImageDataset:
    """Return random whole sign tracks with at most `most` images in total, but at least one track; in source order."""
    assert data.tracks is not None
    names, codes, sizes = np.unique(data.tracks, return_inverse=True, return_counts=True)
    order = np.random.default_rng([seed, 0xF2]).permutation(len(names))
    count = max(1, int((np.cumsum(sizes[order]) <= most).sum()))
    return data.take(np.flatnonzero(np.isin(codes, order[:count])))


def flip_metric(inputs: AuditInputs, slices: Slices, images: int, no_answer: int) -> Metric:
    """Return the share of consecutive frames whose predicted class differs, with an interval over sign tracks.

    images: at most so many are predicted. no_answer: the class of logits that are not finite; such a pair counts as changed.
    """
    test = inputs.test
    if test.tracks is None or test.frames is None:
        reason = NO_TRACKS if test.tracks is None else NO_FRAMES
        return Metric.undefined(NAME, TITLE, reason, direction="down", n=len(test))
    data = whole_tracks(test, images, inputs.seed)
    assert data.tracks is not None
    assert data.frames is not None
    pairs = consecutive(data.tracks, data.frames)
    if not len(pairs):
        return Metric.undefined(NAME, TITLE, NO_PAIRS, direction="down", n=len(data))

    def answered(rows: slice) -> Arrays:
        logits = np.asarray(inputs.classifier.predict_logits(data.images[rows]), np.float32)
        finite = np.isfinite(logits).all(axis=1)
        return {"answers": np.where(finite, logits.argmax(axis=1), no_answer).astype(np.int64)[:, None]}

    columns = {"images": data.images, "ids": numbers(data)}
    answers = slices.measure("frames", columns, {}, {"answers": ("int64", (1,))}, answered)["answers"][:, 0]
    before, after = answers[pairs[:, 0]], answers[pairs[:, 1]]
    changed = (before != after) | (before == no_answer)
    tracks = Clustering(data.tracks[pairs[:, 0]])
    return proportion_metric(NAME, TITLE, changed, direction="down", clustering=tracks)
