"""Decisions of a monitor, their reason codes, and the hysteresis between them."""

import json
from typing import NamedTuple, Optional

TRUST, COLLECT_MORE, FALL_BACK = "TRUST", "COLLECT_MORE", "FALL_BACK"
ORDER = (TRUST, COLLECT_MORE, FALL_BACK)
REASONS = {
    "": "every check passed",
    "not-finite": "a logit or feature is not finite",
    "wrong-size": "the logits or features do not have the size of the fitted model",
    "input": "an input check failed",
    "score-low": "the score of the frame is below its threshold",
    "score-near": "the score of the frame is near its threshold",
    "no-threshold": "no threshold was calibrated",
    "no-reference": "the predicted class has no reference sample",
    "buffer-short": "the buffer of the predicted class holds too few frames",
    "timed-out": "too few frames arrived in time",
    "distance": "the buffer differs from the reference by more than the threshold",
    "distance-near": "the buffer differs from the reference by nearly the threshold",
    "clock": "the time of the frame is before that of an earlier frame, or not a number",
    "hysteresis": "an earlier alarm holds until enough frames in succession pass",
}


class Decision(NamedTuple):
    """What to do with one frame.

    action: TRUST, COLLECT_MORE or FALL_BACK.
    reason: a key of `REASONS`.
    predicted: class of the frame, or None where it is unknown.
    score, distance: measured values, or None where one was not measured.
    frames: number in the buffer of the predicted class.
    """

    action: str
    reason: str
    predicted: Optional[int] = None
    score: Optional[float] = None
    distance: Optional[float] = None
    frames: int = 0


class Hysteresis:
    """Holds an alarm until `hold` frames in succession pass; a state of a few numbers.

    hold: frames, at least 1.
    """

    def __init__(self, hold: int) -> None:
        self.hold = max(1, int(hold))
        self.passed = self.hold

    def update(self, decision: Decision) -> Decision:
        """Return the decision, or FALL_BACK while an earlier alarm holds."""
        if decision.action == FALL_BACK:
            self.passed = 0
            return decision
        if decision.action == TRUST:
            self.passed = min(self.hold, self.passed + 1)
        if self.passed < self.hold:
            return decision._replace(action=FALL_BACK, reason="hysteresis")
        return decision


def evidence_line(decision: Decision, frame: int, time: float, monitor: str) -> str:
    """Return one line of JSON that records a decision, ending with a newline; keys are sorted.

    frame: number of the frame. time: seconds. monitor: fingerprint of its state.
    A value that is not finite is written as null, because JSON has no such number.
    """
    record = dict(decision._asdict())
    for key in ("score", "distance"):
        value = record[key]
        record[key] = None if value is None or value != value or abs(value) == float("inf") else float(value)
    at = float(time)
    record.update(frame=int(frame), time=at if abs(at) < float("inf") else None, monitor=monitor)
    return json.dumps(record, sort_keys=True, allow_nan=False) + "\n"
