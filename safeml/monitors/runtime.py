"""A whole monitor at run time: input checks, the score of the frame, the distance of the buffer and the conformal set, in one decision.

Legend: K classes, F features, H W C pixels.
"""

from typing import NamedTuple, Optional

import numpy as np

from .buffer import DistanceMonitor
from .conformal import Threshold, class_scores, sets
from .decisions import COLLECT_MORE, FALL_BACK, ORDER, TRUST, Decision, Hysteresis
from .inputs import InputChecks
from .registry import score
from .state import State


class Answer(NamedTuple):
    """What a monitor says of one frame.

    decision: the most cautious one of its parts.
    check: code of the failed input check, or None.
    classes: class ids of the conformal set, ascending; None where none was calibrated.
    """

    decision: Decision
    check: Optional[str]
    classes: Optional[tuple]


class Monitor:
    """Applies a state to a stream of frames. Its memory does not grow.

    state: of `load_state`, whose settings name the score, the distance, their thresholds, and limits. hold: see `Hysteresis`.
    A part without a calibrated threshold never gives TRUST.
    """

    def __init__(self, state: State) -> None:
        settings = state.settings
        self.state = state
        self.name, self.threshold = settings["score"], settings["score_threshold"]
        self.near = settings.get("score_near")
        self.checks = InputChecks(settings["inputs"]) if settings.get("inputs") else None
        self.holding = Hysteresis(settings.get("hold", 1))
        window = settings.get("distance")
        self.buffers = DistanceMonitor(state.arrays, **window) if window else None
        entry = settings.get("set")
        self.set_threshold = Threshold(*entry) if entry else None
        self.rng = np.random.default_rng(settings.get("seed", 0))

    def update(
        self,
        logits: np.ndarray,
        features: Optional[np.ndarray],
        time: float,
        image: Optional[np.ndarray] = None,
        new_sign: bool = True,
    ) -> Answer:
        """Return the answer for one frame. It raises no exception for a bad frame: that is FALL_BACK with its reason.

        logits: float [K]. features: float [F], or None where the model gives none. time: seconds, never decreasing.
        image: uint8 [H, W, C]; None for no input check. new_sign: see `InputChecks.check`.
        """
        check = None if self.checks is None or image is None else self.checks.check(image, new_sign)
        row = np.asarray(logits, np.float64)
        columns = None if features is None else np.asarray(features, np.float64)
        bad = self._bad(row, columns)
        if bad is not None:
            return Answer(self.holding.update(bad), check, None)
        own = self.holding.update(self._scored(row, columns, check))
        parts = [own]
        if self.buffers is not None:
            parts.append(self.buffers.update(row, columns, time))
        worst = max(parts, key=lambda part: ORDER.index(part.action))
        last = parts[-1]
        return Answer(
            worst._replace(score=own.score, distance=last.distance, frames=last.frames), check, self._set(row)
        )

    def _bad(self, row: np.ndarray, columns: Optional[np.ndarray]) -> Optional[Decision]:
        shape = (self.state.features,) if self.state.features else None
        if row.shape != (self.state.classes,) or (
            shape is not None and (columns is None or columns.shape != shape)
        ):
            return Decision(FALL_BACK, "wrong-size")
        if not np.isfinite(row).all() or (columns is not None and not np.isfinite(np.asarray(columns)).all()):
            return Decision(FALL_BACK, "not-finite")
        return None

    def _scored(self, row: np.ndarray, columns: Optional[np.ndarray], check: Optional[str]) -> Decision:
        k = int(row.argmax())
        if check is not None:
            return Decision(FALL_BACK, "input", k)
        batch = None if columns is None else np.asarray(columns)[None]
        value = float(score(self.name, self.state.arrays, row[None], batch)[0])
        if self.threshold is None:
            return Decision(FALL_BACK, "no-threshold", k, value)
        if not value >= self.threshold:
            return Decision(FALL_BACK, "score-low", k, value)
        if self.near is not None and value < self.near:
            return Decision(COLLECT_MORE, "score-near", k, value)
        return Decision(TRUST, "", k, value)

    def _set(self, row: np.ndarray) -> Optional[tuple]:
        if self.set_threshold is None:
            return None
        values = class_scores("lac", row[None], np.zeros(1))
        inside = sets(values, self.rng.random((1, len(row))), self.set_threshold)[0]
        return tuple(int(k) for k in np.flatnonzero(inside))
