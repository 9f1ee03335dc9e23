"""Whether a monitor answers on this device as it did on the host, from the golden outputs. Legend: N images, K classes, F features.

The INT8 model computes whole numbers nearly everywhere, so its answers have to be equal. A float model runs in FP16, which moves every
output a little: a stated tolerance of the scores decides whether its monitor may be used.
"""

from typing import Any, Optional, Tuple

import numpy as np

from ..monitors.decisions import ORDER
from .backends.base import Backend
from .backends.plan import FLOAT, INT8
from .errors import EdgeError
from .golden import Golden, load_golden
from .safety import Safety, load_safety


def recorded_name(precision: str, name: str) -> str:
    """Return the name in the golden file of what the host recorded of a monitor, such as "actions"."""
    return f"monitor.{FLOAT}.{name}" if precision == FLOAT else f"monitor.{name}"


def fitted_precision(precision: str) -> str:
    """Return the precision whose recorded outputs the monitor of a model was fed on the host."""
    return FLOAT if precision == FLOAT else INT8


def checked_safety(folder: str, manifest: Any, backend: Backend) -> Safety:
    """Return the monitor for the model that runs; none where the golden scores of the float model are too far on this device.

    Raises EdgeError for a state that is refused, and where the device fails.
    """
    safety = load_safety(folder, manifest, backend.precision)
    if safety.state is None or backend.precision != FLOAT:
        return safety
    golden = load_golden(folder, manifest)
    return usable(golden, safety, *backend.infer(golden.values))


def usable(golden: Golden, safety: Safety, logits: np.ndarray, features: Optional[np.ndarray]) -> Safety:
    """Return the monitor of the float model, or none with the reason where it may not be used on this device.

    logits: float32 [N, K]. features: float32 [N, F] or None; of this device for the golden images.
    """
    why = _too_far(golden, safety, logits, features)
    if not why:
        return safety
    return Safety(None, f"{why} The monitor of the float model is not used: no frame is trusted.")


def _too_far(golden: Golden, safety: Safety, logits: np.ndarray, features: Optional[np.ndarray]) -> str:
    state, limit = safety.state, safety.limit
    known = [golden.recorded.get(recorded_name(FLOAT, name)) for name in ("actions", "scores")]
    if state is None or limit is None or known[0] is None or known[1] is None:
        return "The bundle records no answers of its monitor."
    if state.features and features is None:
        return "The monitor needs features, and the model gives none on this backend."
    actions, scores = answers(golden, safety, logits, features)
    if actions.shape != known[0].shape or scores.shape != known[1].shape:
        return "The bundle records answers of another number of images."
    apart = np.abs(scores - known[1])
    # Both without a score, which is an answer of its kind, or neither.
    apart[np.isnan(scores) & np.isnan(known[1])] = 0.0
    if not (apart <= limit).all():
        largest = np.inf if np.isnan(apart).any() else apart.max()
        return f"A score of the monitor is {largest:.3g} from the recorded one; the limit is {limit:.3g}."
    # A score within the limit of the threshold may fall on the other side of it.
    bounds = [
        one
        for one in (state.settings["score_threshold"], state.settings.get("score_near"))
        if one is not None
    ]
    near = np.zeros(len(scores), bool)
    for bound in bounds:
        near |= np.abs(known[1] - bound) <= limit
    differ = int((actions != known[0])[~near].sum())
    return (
        f"{differ} of {len(actions)} answers of the monitor differ from the recorded ones." if differ else ""
    )


def answers(
    golden: Golden, safety: Safety, logits: np.ndarray, features: Optional[np.ndarray]
) -> Tuple[np.ndarray, np.ndarray]:
    """Return actions, int64 [N] as indices of ORDER, and scores, float64 [N] with NaN for none, as the host recorded them.

    Each image is given `monitor.repeats` times in succession, `monitor.step` seconds apart; the answer to the last one counts.
    """
    monitor, state = safety.monitor(), safety.state
    if monitor is None or state is None:
        raise EdgeError("there is no monitor.")
    repeats, step = (
        int(golden.recorded.get("monitor.repeats", 1)),
        float(golden.recorded.get("monitor.step", 0.05)),
    )
    actions, scores, number = [], [], 0
    for row in range(len(logits)):
        part = None if features is None or not state.features else features[row]
        for _ in range(max(1, repeats)):
            answer = monitor.update(logits[row], part, number * step)
            number += 1
        actions.append(ORDER.index(answer.decision.action))
        scores.append(np.nan if answer.decision.score is None else answer.decision.score)
    return np.array(actions, np.int64), np.array(scores, np.float64)
