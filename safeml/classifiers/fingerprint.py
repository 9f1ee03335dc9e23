"""What identifies a Keras model: its canonical configuration and its weight bytes.

The hash of a `.keras` file does not: the file embeds its saving date.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np


def model_fingerprint(model: Any) -> str:
    """sha256 over the sorted JSON configuration (without run-time names) and every weight in order, little endian."""
    configuration = json.dumps(model.get_config(), sort_keys=True, default=str)
    digest = hashlib.sha256(configuration.encode())
    for weight in model.weights:
        values = np.ascontiguousarray(weight.numpy())
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
