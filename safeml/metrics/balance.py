"""How evenly images are spread over classes, and whether recall follows class size. Legend: N images, K classes."""

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


def normalised_entropy(counts: np.ndarray) -> float:
    """The Shannon entropy of the class shares by that of K equal classes, 0..1; NaN without any image or with one class.

    counts: int [K], >= 0. Source: E. C. Pielou, "The measurement of diversity in different types of biological collections",
    Journal of Theoretical Biology 13 (1966), as evenness.
    """
    if counts.sum() == 0 or len(counts) < 2:
        return float("nan")
    shares = counts[counts > 0] / counts.sum()
    return min(1.0, max(0.0, float(-(shares * np.log(shares)).sum() / np.log(len(counts)))))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two float [K], -1..1, equal values sharing their mean rank; NaN where either is constant.

    Source: C. Spearman, "The proof and measurement of association between two things", American Journal of Psychology 15 (1904).
    """
    one, two = (_ranks(values) for values in (first, second))
    if len(one) < 2 or not np.ptp(one) or not np.ptp(two):
        return float("nan")
    one, two = one - one.mean(), two - two.mean()
    return float((one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum()))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the mean rank of each value, float64 [K]."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray = (last - (counts - 1) / 2)[inverse]
    return ranks
