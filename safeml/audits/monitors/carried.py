"""What a device carries: the state of the monitor that was measured, and nothing else. Legend: N images, K classes, F features."""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.monitors.fitted import Fitted
from safeml.audits.monitors.measure import Measured
from safeml.monitors.buffer import WINDOW_ARRAYS
from safeml.monitors.errors import MonitorRefused
from safeml.monitors.fusion import MOST_TRACKS
from safeml.monitors.registry import arrays_of
from safeml.monitors.state import State, packed_state
from safeml.results import Artefact, Finding


def carried_arrays(fitted: Fitted) -> dict[str, np.ndarray]:
    """Return the arrays of the deployed score, and those of the distance where it has a threshold."""
    arrays: dict[str, np.ndarray] = arrays_of(fitted.deployed, fitted.arrays)
    if fitted.distance_limit.value is not None:
        arrays |= {name: fitted.arrays[name] for name in WINDOW_ARRAYS if name in fitted.arrays}
    return arrays


def state_of(measured: Measured, seed: int, model: str = "") -> State | None:
    """Return the state that `safeml.monitors.runtime.Monitor` takes; None without a threshold, because it could trust no prediction.

    model: fingerprint of the model.
    """
    fitted = measured.fitted
    if fitted.threshold.value is None:
        return None
    settings: dict[str, Any] = {
        "score": fitted.deployed,
        "score_threshold": fitted.threshold.value,
        "inputs": fitted.limits,
        "hold": 1,
        "seed": seed,
        "false_alarm_rate": fitted.settings.false_alarm_rate,
        "fusion": {"most_tracks": MOST_TRACKS},
    }
    if fitted.sets is not None:
        settings["set"] = [*fitted.sets]
    if fitted.distance_limit.value is not None:
        settings["distance"] = fitted.distance_monitor(fitted.distance_limit.value).settings()
    return State(model, measured.sample.classes, measured.width, settings, carried_arrays(fitted))


def handed_over(inputs: AuditInputs, measured: Measured) -> tuple[list[Artefact], list[Finding]]:
    """Hand over the two files of the state; return their records, or the finding that says why a device cannot carry it."""
    state = state_of(measured, inputs.seed, inputs.classifier.fingerprint)
    if state is None:
        return [], []
    try:
        files = packed_state(state)
    except MonitorRefused as error:
        finding = Finding(
            code="monitor-too-large",
            severity="serious",
            message=f"No device can carry the monitor: {error}",
            remedy='Set score = "max_probability" in [stages.monitors], or take a layer with fewer features.',
            evidence={"classes": state.classes, "features": state.features},
        )
        return [], [finding]
    return [inputs.hand_over(name, files[name]) for name in sorted(files)], []
