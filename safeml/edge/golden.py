"""The golden data of a bundle: inputs with the outputs that the host recorded. Legend: N images, H W C pixels, K classes, F features."""

import os
from typing import Any, Dict, NamedTuple, Optional

import numpy as np

from .errors import EdgeError

MOST_BYTES = 1 << 28


class Golden(NamedTuple):
    """Golden inputs and outputs.

    frame: uint8 [h, w, 3], a raw frame. raw_values: float32 [H, W, C], what the model is fed for it.
    values: float32 [N, H, W, C], inputs of the model.
    logits: float32 [N, K] by precision.
    recorded: further arrays by name, such as "features.int8" and "monitor.actions".
    """

    frame: np.ndarray
    raw_values: np.ndarray
    values: np.ndarray
    logits: Dict[str, np.ndarray]
    recorded: Dict[str, np.ndarray]


def load_golden(folder: str, manifest: Any) -> Golden:
    """Return the golden data of an unpacked and verified bundle. Raises EdgeError for arrays of other types or shapes."""
    raw = _arrays(folder, manifest.preprocessing.raw)
    arrays = _arrays(folder, manifest.golden.file)
    shape = (manifest.input.height, manifest.input.width, manifest.input.depth)
    frame, raw_values, values = raw.get("frame"), raw.get("values"), arrays.get("values")
    logits = {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith("logits.")}
    where = manifest.golden.file
    if (
        frame is None
        or frame.dtype != np.uint8
        or frame.ndim != 3
        or raw_values is None
        or raw_values.shape != shape
    ):
        raise EdgeError(f"{manifest.preprocessing.raw}: holds no golden frame of this contract.")
    if (
        values is None
        or values.dtype != np.float32
        or values.shape[1:] != shape
        or not len(values)
        or "int8" not in logits
    ):
        raise EdgeError(f"{where}: holds no golden inputs and outputs of this contract.")
    for precision, array in logits.items():
        if array.shape != (len(values), manifest.classes) or not np.isfinite(array).all():
            raise EdgeError(
                f"{where}: the outputs of {precision} are {list(array.shape)}; expected {[len(values), manifest.classes]}."
            )
    return Golden(frame, raw_values, values, logits, arrays)


def outputs_check(
    golden: Golden, precision: str, logits: np.ndarray, tolerance: Optional[Any]
) -> Dict[str, Any]:
    """Compare outputs with the golden ones and return numbers, with `passed`.

    logits: float32 [N, K] of the device. tolerance: with max_abs and flips, or None where the bundle states none, which fails.
    """
    recorded = golden.logits.get(precision)
    if recorded is None or tolerance is None:
        return {
            "passed": False,
            "sentence": f"The bundle records no golden outputs of the precision {precision}.",
        }
    if logits.shape != recorded.shape or not np.isfinite(logits).all():
        return {
            "passed": False,
            "sentence": f"The outputs are not finite numbers of the shape {list(recorded.shape)}.",
        }
    difference = float(np.abs(logits.astype(np.float64) - recorded).max())
    flips = int((logits.argmax(axis=1) != recorded.argmax(axis=1)).sum())
    return {
        "passed": difference <= tolerance.max_abs and flips <= tolerance.flips,
        "max_abs": difference,
        "limit": tolerance.max_abs,
        "flips": flips,
        "images": len(recorded),
        "sentence": f"{flips} of {len(recorded)} golden images change their class; the largest difference of a logit is {difference:.3g}, the limit {tolerance.max_abs:.3g}.",
    }


def _arrays(folder: str, name: str) -> Dict[str, np.ndarray]:
    path = os.path.join(folder, name)
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise EdgeError(f"{name}: is larger than {MOST_BYTES} bytes.")
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise EdgeError(f"{name}: cannot be read ({error}); install the bundle again.") from None
