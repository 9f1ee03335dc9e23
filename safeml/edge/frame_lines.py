"""The line of a frame, as JSON with sorted keys: the bytes of `json.dumps`, written without a walk through a table for each frame."""

from json.encoder import encode_basestring_ascii as quoted
from typing import Optional, Tuple

from ..monitors.decisions import TRUST
from ..monitors.runtime import Answer
from .frames import Frame
from .safety import UNKNOWN

NULL = "null"
LINE = (
    '{"check": %s, "class": %s, "decision": "%s", "distance": %s, "frame": %d, "label": %s, "latency_ms": %s, "monitor": %s, '
    '"predicted": %s, %s"reason": "%s", "score": %s, "set": %s, "source": %s, "time": %s}\n'
)


class FrameLines:
    """Makes the lines of a run.

    labels: of the K outputs. monitor: fingerprint of the state of the monitor; "" without one.
    """

    def __init__(self, labels: Tuple[str, ...], monitor: str) -> None:
        self.labels = tuple(quoted(label) for label in labels)
        self.unknown, self.monitor = quoted(UNKNOWN), quoted(monitor)

    def line(self, number: int, frame: Frame, answer: Answer, seconds: Optional[float]) -> str:
        """Return one line with its newline. number: of the frame in the run. seconds: its latency, or None.

        A value that is not finite is null, because JSON has no such number.
        """
        decision, check, classes = answer
        predicted = decision.predicted
        trusted = decision.action == TRUST and predicted is not None
        return LINE % (
            NULL if check is None else quoted(check),
            predicted if trusted else NULL,
            decision.action,
            _number(decision.distance),
            number,
            self.labels[predicted] if trusted and predicted is not None else self.unknown,
            NULL if seconds is None else _number(round(1000 * seconds, 3)),
            self.monitor,
            NULL if predicted is None else predicted,
            f'"problem": {quoted(frame.problem)}, ' if frame.problem else "",
            decision.reason,
            _number(decision.score),
            NULL if classes is None else str(list(classes)),
            quoted(frame.name),
            _number(round(frame.time, 6)),
        )


def _number(value: Optional[float]) -> str:
    # A difference of a number from itself is 0, unless it is not finite.
    return NULL if value is None or value - value != 0 else float.__repr__(float(value))
