"""The subspace of GeoDA, for ART builds it with a function that NumPy 2 has removed."""

from __future__ import annotations

import numpy as np


def save_basis(waves: int, side: int) -> None:
    """Save the lowest `waves` x `waves` cosines of a square of `side` pixels where ART looks for them first.

    The file, float64 [side * side, waves * waves] with orthonormal columns, goes into the working folder.

    References: A. Rahmati et al., "GeoDA: a geometric framework for black-box adversarial attacks", 2020.
    """
    from scipy.fft import idct

    waves_1d = idct(np.eye(side), axis=0, norm="ortho")[:, :waves]
    np.save(f"2d_dct_basis_{waves}_{side}.npy", np.kron(waves_1d, waves_1d))
