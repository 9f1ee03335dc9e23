"""The numbers of the stage that its parts fill, and what they share. Legend: N images, T sign tracks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safeml.audits.monitors.fitted import Fitted
from safeml.audits.monitors.measure import Measured
from safeml.audits.monitors.outputs import Outputs
from safeml.monitors.streams import Passed
from safeml.results import Metric
from safeml.stages.monitors import (
    ATTACKED,
    CLEAN,
    KNOWING,
    NOISE,
    OUTSIDE,
    RANDOM,
    SCRAMBLED,
    SHIFTED,
)
from safeml.statistics import (
    Clustering,
)

IN = {
    CLEAN: "clean images",
    SHIFTED: "corrupted images",
    ATTACKED: "attacked images",
    KNOWING: "images attacked with knowledge of the monitor",
}


FROM = {NOISE: "noise", SCRAMBLED: "scrambled images", OUTSIDE: "images from outside"}


INDEPENDENT = Clustering(None, 1)


NO_SIGNS = "no validation signs are left to measure on"


@dataclass(eq=False)
class Numbers:
    """Metrics and what tables need beside them.

    rates: by (set, score), measures of `detection_rates`. passes: by corruption, CLEAN first, what the buffers saw.
    estimates: by slice, (estimate, low, high, accuracy).
    trusted: bool [N], of the clean images; None without a threshold.
    """

    metrics: list[Metric] = field(default_factory=list)
    rates: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    passes: dict[str, Passed] = field(default_factory=dict)
    estimates: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)
    trusted: np.ndarray | None = None

    def one(self, name: str, slice: str = "all") -> Metric:
        """Return the metric of this name and slice."""
        [metric] = [entry for entry in self.metrics if (entry.name, entry.slice) == (name, slice)]
        return metric


def values_of(fitted: Fitted, name: str, outputs: Outputs, seed: int) -> np.ndarray | None:
    """Return the score `name` of each image, float64 [N], RANDOM included; None where it was not fitted."""
    if name == RANDOM:
        return np.random.default_rng([seed, 0x52]).random(len(outputs))
    return fitted.scores(name, outputs) if name in fitted.names else None


def why_not(measured: Measured) -> str:
    if measured.material.fitting is None:
        return "there are no admissible images for fitting"
    return measured.features or "too few images for fitting have finite outputs"
