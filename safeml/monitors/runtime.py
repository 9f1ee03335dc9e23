"""A whole monitor at run time: input checks, the score of the frame, the distance of the buffer and the conformal set, in one decision.

Legend: K classes, F features, H W C pixels.
"""

from typing import List, NamedTuple, Optional

import numpy as np

from .buffer import DistanceMonitor
from .conformal import Threshold, class_scores, sets
from .decisions import COLLECT_MORE, FALL_BACK, ORDER, TRUST, Decision, Hysteresis
from .inputs import InputChecks
from .registry import row_scores
from .scores import logit_parts
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
        batch = None if features is None else np.asarray(features)[None]
        return self.update_all(np.asarray(logits)[None], batch, [time], [image], [new_sign])[0]

    def update_all(
        self,
        logits: np.ndarray,
        features: Optional[np.ndarray],
        times: List[float],
        images: List[Optional[np.ndarray]],
        new_signs: List[bool],
    ) -> List[Answer]:
        """Return the answers for frames in succession, each as `update` gives it, to the bit; NumPy is called once for all.

        logits: float [N, K]. features: float [N, F], or None where the model gives none. The others: one for each frame.
        """
        if not len(times):
            return []
        checks = self._checks(images, new_signs)
        rows = np.asarray(logits, np.float64)
        columns = None if features is None else np.asarray(features, np.float64)
        bad = self._bad(rows, columns)
        good = [place for place, decision in enumerate(bad) if decision is None]
        if len(good) < len(bad):
            rows, columns = rows[good], None if columns is None else columns[good]
        parts = logit_parts(rows) if good else np.empty((3, 0))
        scored = self._scored(rows, columns, parts, [checks[place] for place in good])
        distances: List[Optional[Decision]] = [None] * len(good)
        if self.buffers is not None and good:
            distances = list(self.buffers.update_all(rows, columns, [times[place] for place in good], parts))
        answers, sets_of, number = [], self._sets(rows), 0
        for place, decision in enumerate(bad):
            if decision is not None:
                answers.append(Answer(self.holding.update(decision), checks[place], None))
                continue
            own, other = self.holding.update(scored[number]), distances[number]
            answers.append(Answer(_together(own, other), checks[place], sets_of[number]))
            number += 1
        return answers

    def _checks(self, images: List[Optional[np.ndarray]], new_signs: List[bool]) -> List[Optional[str]]:
        codes: List[Optional[str]] = [None] * len(images)
        if self.checks is None:
            return codes
        seen = [(place, image) for place, image in enumerate(images) if image is not None]
        outcomes = self.checks.check_all(
            [image for _, image in seen], [new_signs[place] for place, _ in seen]
        )
        for (place, _), code in zip(seen, outcomes):
            codes[place] = code
        return codes

    def _bad(self, rows: np.ndarray, columns: Optional[np.ndarray]) -> List[Optional[Decision]]:
        wanted = self.state.features
        if rows.shape[1:] != (self.state.classes,) or (
            wanted and (columns is None or columns.shape[1:] != (wanted,))
        ):
            return [Decision(FALL_BACK, "wrong-size")] * len(rows)
        finite = np.isfinite(rows).all(axis=1)
        if columns is not None:
            finite &= np.isfinite(columns.reshape(len(rows), -1)).all(axis=1)
        return [None if one else Decision(FALL_BACK, "not-finite") for one in finite.tolist()]

    def _scored(
        self, rows: np.ndarray, columns: Optional[np.ndarray], parts: np.ndarray, checks: List[Optional[str]]
    ) -> List[Decision]:
        if not len(rows):
            return []
        values = row_scores(self.name, self.state.arrays, rows, columns, parts).tolist()
        return [
            self._decision(k, value, check)
            for k, value, check in zip(rows.argmax(axis=1).tolist(), values, checks)
        ]

    def _decision(self, k: int, value: float, check: Optional[str]) -> Decision:
        if check is not None:
            return Decision(FALL_BACK, "input", k)
        if self.threshold is None:
            return Decision(FALL_BACK, "no-threshold", k, value)
        if not value >= self.threshold:
            return Decision(FALL_BACK, "score-low", k, value)
        if self.near is not None and value < self.near:
            return Decision(COLLECT_MORE, "score-near", k, value)
        return Decision(TRUST, "", k, value)

    def _sets(self, rows: np.ndarray) -> List[Optional[tuple]]:
        if self.set_threshold is None or not len(rows):
            return [None] * len(rows)
        values = class_scores("lac", rows, np.zeros(len(rows)))
        inside = sets(values, self.rng.random(rows.shape), self.set_threshold)
        return [tuple(np.flatnonzero(row).tolist()) for row in inside]


def _together(own: Decision, other: Optional[Decision]) -> Decision:
    """Return the most cautious of two decisions, with the score of the first and the distance of the second."""
    if other is None:
        return own
    worst = own if ORDER.index(own.action) >= ORDER.index(other.action) else other
    return Decision(worst.action, worst.reason, worst.predicted, own.score, other.distance, other.frames)
