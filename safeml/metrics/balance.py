"""How evenly images are spread over classes. Legend: N images, K classes."""

from __future__ import annotations

import numpy as np


def class_counts(labels: np.ndarray, K: int) -> np.ndarray:
    """Images of each class, int64 [K], from labels int [N] in 0..K-1."""
    return np.bincount(labels, minlength=K)


def imbalance_ratio(counts: np.ndarray) -> float:
    """Largest over smallest class count (>= 1); NaN where a class has no image, because no ratio describes that.

    counts: int [K], >= 0. Source: N. Japkowicz, S. Stephen, "The class imbalance problem: A systematic study",
    Intelligent Data Analysis 6 (2002).
    """
    return float(counts.max() / counts.min()) if counts.min() > 0 else float("nan")


def effective_classes(counts: np.ndarray) -> float:
    """The number of equally frequent classes with the same Shannon entropy: exp(H), 1..K; NaN without any image.

    counts: int [K], >= 0. Source: M. O. Hill, "Diversity and evenness: A unifying notation and its consequences",
    Ecology 54 (1973), the number of order 1.
    """
    if counts.sum() == 0:
        return float("nan")
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
