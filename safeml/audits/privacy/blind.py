"""The blind baseline: members and non-members told apart by their pixels, without asking the model.

Where it succeeds, the two data sets differ, and an attack on the model may only see that difference. Legend: N images,
H W C pixels, D statistics, M members, O non-members.

Source: D. Das, J. Zhang, F. Tramèr, "Blind baselines beat membership inference attacks for foundation models", 2024.
"""

from __future__ import annotations

import numpy as np

from safeml.audits.privacy.sides import Pair, units_of
from safeml.data.dataset import ImageDataset

PURPOSE = 0xB11
RIDGE = 1.0


def image_statistics(images: np.ndarray) -> np.ndarray:
    """Return simple statistics of each image, float64 [N, D]: light, contrast, colour, sharpness and clipping.

    images: uint8 [N, H, W, C].
    """
    pixels = images.astype(np.float32) / 255
    grey = pixels.mean(axis=3)
    down, across = np.diff(grey, axis=1), np.diff(grey, axis=2)
    height, width = grey.shape[1:]
    middle = grey[:, height // 4 : height - height // 4, width // 4 : width - width // 4]
    columns = [
        *np.moveaxis(pixels.mean(axis=(1, 2)), 1, 0),
        *np.moveaxis(pixels.std(axis=(1, 2)), 1, 0),
        *np.percentile(grey, [5, 50, 95], axis=(1, 2)),
        middle.mean(axis=(1, 2)) - grey.mean(axis=(1, 2)),
        np.log(np.abs(down).mean(axis=(1, 2)) + 1e-4),
        np.log(np.abs(across).mean(axis=(1, 2)) + 1e-4),
        np.log(np.diff(down, axis=1).std(axis=(1, 2)) + 1e-4) if height > 2 else np.zeros(len(grey)),
        np.log(np.diff(across, axis=2).std(axis=(1, 2)) + 1e-4) if width > 2 else np.zeros(len(grey)),
        (pixels.max(axis=3) - pixels.min(axis=3)).mean(axis=(1, 2)),
        (grey >= 0.98).mean(axis=(1, 2)),
        (grey <= 0.02).mean(axis=(1, 2)),
    ]
    simple = np.stack(columns, axis=1).astype(np.float64)
    return np.concatenate([simple, (simple - simple.mean(axis=0)) ** 2], axis=1)


def blind_scores(pair: Pair, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of a linear classifier on the statistics, float64 [M] and [O].

    Each image is scored by the classifier that was fitted on the other half, whole sign tracks where they are known.
    """
    data = (pair.members, pair.others)
    features = np.concatenate([image_statistics(side.images) for side in data])
    member = np.repeat([True, False], [len(side) for side in data])
    rng = np.random.default_rng([seed, PURPOSE])
    first = np.concatenate([_first_half(side, rng) for side in data])
    scores = np.zeros(len(features))
    for fold in (first, ~first):
        if fold.any() and not fold.all():
            scores[fold] = _fitted(features[~fold], member[~fold], features[fold])
    return scores[member], scores[~member]


def _first_half(data: ImageDataset, rng: np.random.Generator) -> np.ndarray:
    units = units_of(data)
    count = int(units.max()) + 1
    chosen = np.zeros(count, bool)
    chosen[rng.permutation(count)[: count // 2]] = True
    return np.asarray(chosen[units])


def _fitted(features: np.ndarray, member: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the scores of ridge regression on standardised statistics, both sides of equal weight."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    standard = (features - mean) / spread
    weights = np.where(member, 0.5 / max(member.sum(), 1), 0.5 / max((~member).sum(), 1)) * len(member)
    target = np.where(member, 1.0, -1.0)
    scaled = standard * weights[:, None]
    matrix = scaled.T @ standard + RIDGE * np.eye(standard.shape[1])
    return np.asarray((asked - mean) / spread @ np.linalg.solve(matrix, scaled.T @ target))
