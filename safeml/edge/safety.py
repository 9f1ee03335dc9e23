"""The monitor of a slot, and the reasons that a run adds to those of the monitor."""

import json
import os
from typing import Any, NamedTuple, Optional, Tuple

from ..monitors.decisions import REASONS as MONITOR_REASONS
from ..monitors.errors import MonitorRefused
from ..monitors.runtime import Monitor
from ..monitors.state import State, load_state
from .backends.plan import FLOAT
from .errors import EdgeError

UNKNOWN = "unknown"
RUN_REASONS = {
    "no-monitor": "the release has no monitor for this model, so no frame is trusted",
    "unreadable": "the frame could not be read",
    "size-changed": "the frame has another size than the first one of the stream",
    "stale": "the frame was older than its limit when it was answered",
    "slow": "the answer took longer than its limit",
}
WITHOUT_FLOAT = "The float model runs, and the bundle has no monitor of it, because that model was not audited: no frame is trusted."
REASONS = dict(MONITOR_REASONS, **RUN_REASONS)


class Safety(NamedTuple):
    """The monitor of a model.

    state: None where there is none for this model. note: why, or "".
    limit: how far a score may be from the recorded one; None where the answers have to be equal.
    """

    state: Optional[State]
    note: str
    limit: Optional[float] = None

    def monitor(self) -> Optional[Monitor]:
        """Return a monitor at its start, or None."""
        return None if self.state is None else Monitor(self.state)


def load_safety(folder: str, manifest: Any, precision: str) -> Safety:
    """Return the monitor for the model that runs.

    A monitor belongs to the outputs that it was fitted on. That of the INT8 file counts for every form of the same codes (ONNX, FP16
    outside the quantizers, TF-TRT), whose outputs the self-test compares; the float model has a monitor where it was audited too.
    Raises EdgeError for a state that is refused.
    """
    own = manifest.float_monitor
    if precision == FLOAT:
        if own is None:
            return Safety(None, WITHOUT_FLOAT)
        place, model, limit = own.folder, own.model, own.max_abs
    elif manifest.monitor is None:
        return Safety(None, "The release has no monitor: no frame is trusted.")
    else:
        place, model, limit = manifest.monitor, manifest.monitor_model, None
    try:
        state = load_state(
            os.path.join(folder, place), model, manifest.classes, _features(folder, place, manifest.features)
        )
        Monitor(state)
    except (MonitorRefused, KeyError, TypeError, ValueError) as error:
        raise EdgeError(f"the monitor is not usable: {error} Install the bundle again.") from None
    return Safety(state, "", limit)


def load_labels(folder: str, manifest: Any) -> Tuple[str, ...]:
    """Return the label of each output. Raises EdgeError for another number of them."""
    try:
        with open(os.path.join(folder, manifest.labels), "rb") as file:
            table = json.loads(file.read(1 << 22).decode("utf-8"))
        labels = tuple(str(label) for label in (table["labels"] if isinstance(table, dict) else table))
    except (OSError, ValueError, KeyError, TypeError):
        labels = ()
    if len(labels) != manifest.classes:
        raise EdgeError(
            f"{manifest.labels}: has {len(labels)} labels; the model has {manifest.classes} classes. Install the bundle again."
        )
    return labels


def _features(folder: str, place: str, features: int) -> int:
    """Return F of the state: that of the model, or 0 where the monitor was fitted on logits alone."""
    try:
        with open(os.path.join(folder, place, "monitor.json"), "rb") as file:
            declared = json.loads(file.read(1 << 20).decode("utf-8"))["features"]
    except (OSError, ValueError, KeyError, TypeError):
        return int(features)
    return 0 if declared == 0 else int(features)
