"""Scores from the features of the penultimate layer: fitted once, stored as plain arrays. Legend: N images, M fitting images, K classes, F features.

A fit returns a dict of arrays, float32 on the device; the matching score reads it. Higher means more trust.
"""

import numpy as np

from .errors import MonitorRefused
from .scores import checked, energy

# Of the mean variance; a constant feature that changes at run time must have a large distance, not an infinite one.
RIDGE = 1e-3
# More features are reduced to this many principal components and the length of the rest.
MOST_FEATURES = 256
NEIGHBOURS = 5
# More are taken by their rounded closeness, so that the rounding decides no neighbour.
CANDIDATES = 2 * NEIGHBOURS
ROWS = 256  # at a time, so that the candidates of many images need little memory
CORESET = 1000
CORESET_BYTES = 1 << 19
# Largest relative error of a linear head that is recovered from logits and features.
HEAD_ERROR = 1e-2


def fit_reduction(features: np.ndarray) -> dict:
    """Return the projection of more than MOST_FEATURES features; empty where there are fewer.

    features: float [M, F], finite.
    """
    rows = checked(features, 0, "features")
    if rows.shape[1] <= MOST_FEATURES:
        return {}
    origin = rows.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(rows, rowvar=False))
    return {"origin": _small(origin), "basis": _small(vectors[:, ::-1][:, : MOST_FEATURES - 1])}


def reduced(reduction: dict, features: np.ndarray) -> np.ndarray:
    """Return float64 [N, at most MOST_FEATURES]: the features, or their projection and the length of the rest."""
    rows = checked(features, 0, "features")
    if not reduction:
        return rows
    centred = rows - reduction["origin"]
    inside = centred @ reduction["basis"]
    rest = np.sqrt(np.maximum((centred**2).sum(axis=1) - (inside**2).sum(axis=1), 0.0))
    return np.concatenate([inside, rest[:, None]], axis=1)


def fit_mahalanobis(features: np.ndarray, labels: np.ndarray, classes: int) -> dict:
    """Fit one mean a class and one covariance for all, and those of all images together.

    features: float [M, F], finite. labels: int [M], 0..K-1.
    A class without an image has no mean, and no image is near it. Raises MonitorRefused for fewer than two images.
    """
    rows = checked(features, 0, "features")
    labels = np.asarray(labels)
    if len(rows) < 2 or labels.shape != (len(rows),):
        raise MonitorRefused(
            f"there are {len(rows)} rows of features and {labels.size} labels; expected at least two rows and one label each."
        )
    counts = np.bincount(labels, minlength=classes)[:classes]
    means = np.zeros((classes, rows.shape[1]))
    np.add.at(means, labels, rows)
    means /= np.maximum(counts, 1)[:, None]
    overall = rows.mean(axis=0)
    within = _whitening(rows - means[labels])
    total = _whitening(rows - overall)
    return {
        "class_means": _small((means - overall) @ within),
        "class_whitening": _small(within),
        "mean": _small(overall),
        "whitening": _small(total),
        "known": counts > 0,
    }


def _whitening(centred: np.ndarray) -> np.ndarray:
    """Return the matrix that makes the covariance of `centred` the identity, float64 [F, F]."""
    values, vectors = np.linalg.eigh(centred.T @ centred / max(1, len(centred) - 1))
    floor = max(RIDGE * float(values.mean()), np.finfo(np.float32).tiny)
    return np.asarray(vectors / np.sqrt(np.maximum(values, 0.0) + floor))


def _class_distances(state: dict, rows: np.ndarray) -> np.ndarray:
    """Return the squared distance to each class, float64 [N, K]; infinite for a class without a mean."""
    inside = (rows - state["mean"]) @ state["class_whitening"].astype(np.float64)
    centres = state["class_means"].astype(np.float64)
    squares = (inside**2).sum(axis=1)[:, None] - 2 * inside @ centres.T + (centres**2).sum(axis=1)
    return np.where(state["known"], np.maximum(squares, 0.0), np.inf)


def mahalanobis(state: dict, features: np.ndarray) -> np.ndarray:
    """Return minus the squared Mahalanobis distance to the nearest class, float64 [N].

    Reference: K. Lee et al., "A simple unified framework for detecting out-of-distribution samples and adversarial attacks", 2018.
    """
    rows = checked(features, len(state["mean"]), "features")
    return np.asarray(-_class_distances(state, rows).min(axis=1))


def relative_mahalanobis(state: dict, features: np.ndarray) -> np.ndarray:
    """Return minus the squared distance to the nearest class, plus that to all images together, float64 [N].

    Reference: J. Ren et al., "A simple fix to Mahalanobis distance for improving near-OOD detection", 2021.
    """
    rows = checked(features, len(state["mean"]), "features")
    overall = (((rows - state["mean"]) @ state["whitening"].astype(np.float64)) ** 2).sum(axis=1)
    return np.asarray(overall - _class_distances(state, rows).min(axis=1))


def fit_neighbours(features: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> dict:
    """Draw a coreset of normalised features, as evenly over the classes as they allow.

    features: float [M, F], finite. labels: int [M], 0..K-1.
    """
    rows = _normalised(checked(features, 0, "features"))
    size = int(max(classes, min(CORESET, CORESET_BYTES // (4 * rows.shape[1]))))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    turn = np.zeros(len(rows), int)
    for k in range(classes):
        own = order[labels[order] == k]
        turn[own] = np.arange(len(own))
    drawn = order[np.argsort(turn[order], kind="mergesort")][:size]
    return {"coreset": _small(rows[np.sort(drawn)])}


def neighbours(state: dict, features: np.ndarray) -> np.ndarray:
    """Return minus the distance to the k-th nearest normalised feature of the coreset, float64 [N], -2..0.

    Reference: Y. Sun et al., "Out-of-distribution detection with deep nearest neighbors", 2022.
    """
    bank = state["coreset"]
    rows = _normalised(checked(features, bank.shape[1], "features"))
    parts = [_kth_distance(bank, rows[start : start + ROWS]) for start in range(0, len(rows), ROWS)]
    return -np.concatenate(parts) if parts else np.zeros(0)


def _kth_distance(bank: np.ndarray, rows: np.ndarray) -> np.ndarray:
    nearest, few = min(NEIGHBOURS, len(bank)), min(CANDIDATES, len(bank))
    closeness = rows.astype(np.float32) @ bank.T
    near = bank[np.argpartition(-closeness, few - 1, axis=1)[:, :few]]
    # 1 - closeness cancels for near rows, so the distances of the few candidates are computed in float64.
    squares = ((rows[:, None] - near) ** 2).sum(axis=2)
    return np.asarray(np.sqrt(np.partition(squares, nearest - 1, axis=1)[:, nearest - 1]))


def _normalised(rows: np.ndarray) -> np.ndarray:
    lengths = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float64).tiny))


def fit_vim(logits: np.ndarray, features: np.ndarray) -> dict:
    """Fit virtual-logit matching: the principal space of the features, and the scale of the rest to the logits.

    logits: float [M, K]. features: float [M, F], the input of the last weighted layer.
    The head is recovered by least squares; where it is not linear, the mean of the features takes the place of its origin.

    Reference: H. Wang et al., "ViM: out-of-distribution with virtual-logit matching", 2022.
    """
    outputs, rows = checked(logits, 0, "logits"), checked(features, 0, "features")
    origin, _ = head_origin(outputs, rows)
    centred = rows - origin
    _, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    width = rows.shape[1]
    principal = vectors[:, ::-1][:, : min(max(1, width // 2), 512 if width >= 768 else width)]
    state = {"vim_origin": _small(origin), "vim_basis": _small(principal)}
    rest = float(_rest(state, rows).mean())
    scale = float(outputs.max(axis=1).mean()) / rest if rest > 0 else 0.0
    state["vim_scale"] = np.array([scale], np.float64)
    return state


def head_origin(logits: np.ndarray, features: np.ndarray) -> tuple:
    """Return the feature vector at which a linear head gives equal logits nearest to zero, and whether the head is linear.

    A file whose softmax was taken off gives logits up to a constant of each image, so both sides are centred by image.
    """
    width = features.shape[1]
    ones = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    own = logits - logits.mean(axis=1, keepdims=True)
    solution = np.linalg.lstsq(ones, own, rcond=None)[0]
    spread = float(np.abs(own).mean())
    error = float(np.abs(ones @ solution - own).mean())
    if len(features) <= width + 1 or spread == 0 or error > HEAD_ERROR * spread:
        return features.mean(axis=0), False
    return -np.linalg.pinv(solution[:width].T) @ solution[width], True


def _rest(state: dict, rows: np.ndarray) -> np.ndarray:
    centred = rows - state["vim_origin"]
    inside = centred @ state["vim_basis"].astype(np.float64)
    return np.asarray(np.sqrt(np.maximum((centred**2).sum(axis=1) - (inside**2).sum(axis=1), 0.0)))


def vim(state: dict, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return the negative energy of the logits minus the virtual logit of the features, float64 [N]."""
    rows = checked(features, len(state["vim_origin"]), "features")
    return np.asarray(energy(logits) - state["vim_scale"][0] * _rest(state, rows))


def _small(values: np.ndarray) -> np.ndarray:
    # By row, as it is read back: a product with a transposed array is rounded in another order.
    return np.ascontiguousarray(values, dtype=np.float32)
