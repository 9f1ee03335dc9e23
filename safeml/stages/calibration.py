"""The stage *calibration*: whether the confidence of the model is the share of its correct predictions."""

from __future__ import annotations

import math

from pydantic import Field

from safeml.results import Alarm, Gate
from safeml.stages.base import NO_AUTHORITY, Declared, Stage, StageTable, at_most

GATED = "smooth_ece_excess has the same distance above chance"
SCALED = "a property of scaled logits, which the model file does not give; scale the logits inside the model and audit that"
AT_RUN_TIME = "made at run time by a monitor, not by the model file"
# (name, title) of the calibration errors, each a proportion.
ERRORS = (
    ("ece_equal_width", "ECE, 15 equal-width bins"),
    ("ece_equal_mass", "ECE, 15 equal-mass bins"),
    ("debiased_error", "Debiased calibration error (root mean square)"),
    ("classwise_ece", "Classwise ECE"),
    ("smooth_ece", "Smooth ECE"),
    ("ks_error", "Kolmogorov-Smirnov calibration error"),
)
# Method of scaling -> the metrics that it has. Isotonic scaling gives a confidence and no probabilities of other classes.
SCALINGS = {
    "temperature": ("nll", "brier", "ece_equal_mass", "smooth_ece"),
    "vector": ("nll", "brier", "ece_equal_mass", "smooth_ece"),
    "isotonic": ("ece_equal_mass", "smooth_ece"),
}
RISKS = {"half_percent": 0.005, "one_percent": 0.01}
SETS = tuple((kind, level) for kind in ("lac", "aps", "raps") for level in (95, 99))


class CalibrationSettings(StageTable):
    """Settings of the stage.

    resamples: for each interval, and for the calibration test.
    """

    resamples: int = Field(default=1000, ge=100, le=100_000)


RECORDS = (
    Declared("nll", "down", 0.0, math.inf, context=GATED),
    Declared("brier", "down", 0.0, 2.0, context=GATED),
    *(Declared(name, "down", context=GATED) for name, _ in ERRORS),
    Declared("smooth_ece_excess", "down"),
    Declared("aurc", "down", context="it ranks models of one task and has no scale across tasks"),
    Declared("augrc", "down", context="it ranks models of one task and has no scale across tasks"),
    *(
        Declared(f"{name}.{method}", "down", 0.0, {"nll": math.inf, "brier": 2.0}.get(name, 1.0), weak=SCALED, context=SCALED)
        for method, names in SCALINGS.items()
        for name in names
    ),
    *(Declared(f"selective_coverage.{risk}", weak=AT_RUN_TIME, context=AT_RUN_TIME) for risk in RISKS),
    *(Declared(f"selective_risk.{risk}", "down", weak=AT_RUN_TIME, context=AT_RUN_TIME) for risk in RISKS),
    *(
        declared
        for kind, level in SETS
        for declared in (
            Declared(f"set_coverage.{kind}_{level}", weak=AT_RUN_TIME, context=AT_RUN_TIME),
            Declared(f"set_size.{kind}_{level}", "down", 0.0, math.inf, weak=AT_RUN_TIME, context=AT_RUN_TIME),
        )
    ),
)  # fmt: skip

ALARMS = (
    Alarm(
        metric="smooth_ece_excess",
        direction="down",
        level=0.1,
        sentence="The confidence of the model differs from its accuracy by more than ten points on average.",
    ),
)

GATES = (
    Gate(
        id="calibration",
        title="Smooth ECE above that of a perfectly calibrated model",
        stage="calibration",
        metric="smooth_ece_excess",
        op="<=",
        threshold=0.04,
        rationale="A confidence that a system acts on must be near the accuracy. Chance alone gives an error above 0 on "
        f"any test set, so the limit is on the excess over a perfectly calibrated model. {NO_AUTHORITY}",
    ),
)

CALIBRATION = Stage(
    name="calibration",
    title="Calibration",
    summary="NLL, Brier, ECE and smooth ECE beside a perfect model's; scaling; selective risk; conformal sets",
    settings=CalibrationSettings,
    run="safeml.audits.calibration.run:run",
    records=lambda settings: RECORDS,
    gates=GATES,
    alarms=lambda settings: ALARMS,
    quick=lambda settings, gated: at_most(settings, resamples=100),
    perfect="safeml.audits.calibration.perfect:PERFECT",
)
