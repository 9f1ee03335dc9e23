"""How far an attacked image is from its clean one, and what of it a threat model allows. Legend: N images, H W C pixels."""

from __future__ import annotations

import numpy as np

from safeml.errors import ConfigError
from safeml.threats import Threat


def perturbation_size(clean: np.ndarray, attacked: np.ndarray, norm: str) -> np.ndarray:
    """The norm of attacked - clean for each image, in pixel units of 0..1.

    clean, attacked: float [N, H, W, C]. norm: "linf" (largest absolute change) or "l2" (Euclidean length).
    Returns float64 [N], >= 0; NaN where an image holds NaN.
    Raises ConfigError for an unknown norm.

    >>> perturbation_size(np.zeros((1, 1, 2, 1)), np.array([[[[0.3], [0.4]]]]), "l2").round(6).tolist()
    [0.5]
    """
    flat = (attacked.astype(np.float64) - clean.astype(np.float64)).reshape(
        len(clean), int(np.prod(clean.shape[1:]))
    )
    if norm == "linf":
        return np.asarray(np.abs(flat).max(axis=1, initial=0.0))
    if norm == "l2":
        return np.asarray(np.sqrt(np.square(flat).sum(axis=1)))
    raise ConfigError(f'the norm is "{norm}"; expected "linf" or "l2".')


def project(clean: np.ndarray, attacked: np.ndarray, threat: Threat) -> np.ndarray:
    """The nearest images that the threat model allows: inside the ball around `clean`, then clipped to 0..1.

    clean: float [N, H, W, C], 0..1. attacked: the same shape, finite.
    Returns float32 [N, H, W, C]. Clipping after the projection stays in the ball, because `clean` is itself in 0..1.
    """
    change = attacked.astype(np.float64) - clean.astype(np.float64)
    if threat.norm == "linf":
        change = np.clip(change, -threat.epsilon, threat.epsilon)
    else:
        size = perturbation_size(clean, attacked, threat.norm)
        shrink = np.minimum(1.0, threat.epsilon / np.maximum(size, threat.epsilon))
        change = change * shrink[:, None, None, None]
    return np.clip(clean + change, 0.0, 1.0).astype(np.float32)
