"""The stage *monitors*: whether run-time monitors reject incorrect predictions, and what they cost."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from safeml.corruptions.rows import CORRUPTIONS
from safeml.results import Alarm, Finite, Gate
from safeml.settings.base import Epsilon
from safeml.settings.data import DataSettings
from safeml.settings.errors import suggest
from safeml.stages.base import HALF, NO_AUTHORITY, Declared, Stage, StageTable, at_most, count

# (name, title); tests compare them with `safeml.monitors.registry` and `safeml.monitors.distances`.
SCORES = {
    "max_probability": "maximum probability",
    "max_logit": "maximum logit",
    "energy": "energy",
    "entropy": "entropy",
    "mahalanobis": "Mahalanobis distance",
    "relative_mahalanobis": "relative Mahalanobis distance",
    "neighbours": "nearest neighbours",
    "vim": "virtual-logit matching",
}
BASELINE, RANDOM = "max_probability", "random"
COMPARED = {**SCORES, RANDOM: "random numbers"}
DistanceName = Literal[
    "kolmogorov_smirnov", "kuiper", "cramer_von_mises", "anderson_darling", "wasserstein", "energy", "dts"
]
ScoreName = Literal[
    "auto",
    "max_probability",
    "max_logit",
    "energy",
    "entropy",
    "mahalanobis",
    "relative_mahalanobis",
    "neighbours",
    "vim",
]
CLEAN, SHIFTED = "clean", "shifted"
# By an adversary who attacks the model alone, and by one who knows its monitor too.
ATTACKED, KNOWING = "attacked", "knowing"
NOISE, SCRAMBLED, OUTSIDE = "noise", "scrambled", "outside"
# What raises an alarm of its kind: the score of a frame, the distance of a buffer, the checks of the image.
ALARMS = ("score", "distance", "inputs")
SET_LEVEL = 95  # percent of images whose class a conformal set holds


def _known(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name not in CORRUPTIONS:
            raise ValueError(f'names "{name}", which is no corruption{suggest(name, list(CORRUPTIONS))}')
    if len(set(value)) != len(value):
        raise ValueError("repeats a corruption; name each once")
    return value


class MonitorsSettings(StageTable):
    """Settings of the stage.

    images: number of clean test images.
    shifted_images: number of test images shown under each corruption, and of images from outside.
    corruptions: names.
    severity: of each corruption, 1 to 5.
    attacked_images: number of test images attacked by PGD in the L-inf norm; 0 for none. Also none without a gradient.
    steps, epsilon: of PGD; epsilon in pixel units of 0..1.
    knowing_steps: of the attack on model and deployed score, by an adversary who knows both.
    knowing_restarts: of that attack, each with another weight between its two aims; 0 for no such attack.
    fitting_images: number of training images on which scores and references are fitted.
    score: of the deployed monitor; "auto" takes the best on validation images, clean and corrupted.
    false_alarm_rate: share of sign encounters that may raise an alarm although the model is correct, 0..1.
    distance: of the buffer to its reference.
    window, least: frames in a buffer, and frames from which on it is compared.
    streams: of whole sign tracks in random order, for the threshold of the distance.
    resamples: for each interval.
    ood: images that are not of the classes of the model; their labels are not read. Without it only noise and scrambled
        test images are tried.
    """

    images: int = Field(default=10_000, ge=1, le=1_000_000)
    shifted_images: int = Field(default=500, ge=1, le=100_000)
    corruptions: Annotated[tuple[str, ...], AfterValidator(_known)] = Field(
        default=("gaussian_noise", "motion_blur", "fog", "night", "dirt"), min_length=1
    )
    severity: int = Field(default=3, ge=1, le=5)
    attacked_images: int = Field(default=200, ge=0, le=100_000)
    steps: int = Field(default=10, ge=1, le=10_000)
    epsilon: Epsilon = Field(default=4 / 255, gt=0, le=1)
    knowing_steps: int = Field(default=20, ge=1, le=10_000)
    knowing_restarts: int = Field(default=3, ge=0, le=100)
    fitting_images: int = Field(default=5000, ge=50, le=1_000_000)
    score: ScoreName = "auto"
    false_alarm_rate: Finite = Field(default=0.05, gt=0, lt=1)
    distance: DistanceName = "wasserstein"
    window: int = Field(default=15, ge=2, le=200)
    least: int = Field(default=10, ge=1, le=200)
    streams: int = Field(default=4, ge=1, le=1000)
    resamples: int = Field(default=1000, ge=100, le=100_000)
    ood: DataSettings | None = None


GATED = "residual_hazard and availability speak for the deployed monitor"
RANKS = "it compares monitors; residual_hazard and availability speak for the deployed one"
ADVERSARY = (
    "the stage adversarial gates the accuracy under attack; a monitor is no defence, and a finding says so"
)
FROM_VALIDATION = "measured on the validation signs that no threshold was fitted on, which are few"


def _outside(settings: MonitorsSettings) -> tuple[str, ...]:
    """Return the sets of images that show no class of the model."""
    return (NOISE, SCRAMBLED, *((OUTSIDE,) if settings.ood is not None else ()))


def attacked_names(settings: MonitorsSettings) -> tuple[str, ...]:
    """Return the names of the attacked sets that the settings ask for."""
    if not settings.attacked_images:
        return ()
    return (ATTACKED, KNOWING) if settings.knowing_restarts else (ATTACKED,)


def _records(settings: MonitorsSettings) -> tuple[Declared, ...]:
    hard = (CLEAN, SHIFTED, *((ATTACKED,) if settings.attacked_images else ()))
    outside = _outside(settings)
    attacked = attacked_names(settings)
    return (
        *(Declared(f"error_auroc.{name}", slices=hard, context=RANKS) for name in COMPARED),
        *(
            Declared(f"error_auroc_gain.{name}", low=-1.0, slices=(CLEAN, SHIFTED), context=RANKS)
            for name in SCORES
            if name != BASELINE
        ),
        *(Declared(f"ood_auroc.{name}", slices=outside, context=RANKS) for name in COMPARED),
        *(Declared(f"ood_fpr_at_95.{name}", "down", slices=outside, context=RANKS) for name in COMPARED),
        Declared("residual_hazard", "down", slices=("all", SHIFTED)),
        Declared("safety_gain", slices=("all", SHIFTED), context="residual_hazard is the hazard that it leaves"),
        Declared("availability", slices=("all", SHIFTED)),
        Declared("errors_stopped", slices=(CLEAN, SHIFTED, *attacked), context=GATED),
        *((Declared("trusted_errors", "down", slices=attacked, context=ADVERSARY),) if attacked else ()),
        Declared("ood_stopped", slices=outside),
        Declared("false_alarms_per_1000", "down", 0.0, 1000.0, slices=ALARMS, weak="", context=FROM_VALIDATION),
        Declared("frames_trusted", context=FROM_VALIDATION),
        Declared("encounters_trusted", context=FROM_VALIDATION),
        Declared("shift_detected", slices=settings.corruptions, context=FROM_VALIDATION),
        Declared("detection_delay", "down", 0.0, math.inf, slices=settings.corruptions, context=FROM_VALIDATION),
        Declared("fusion_gain", low=-1.0, context="fusion is the choice of the system, not of the model file"),
        Declared("accuracy_estimate_error", "down", slices=("all", *settings.corruptions), context="an estimate without labels; the accuracy is gated"),
        Declared("set_coverage", context="the stage calibration measures conformal sets at several levels"),
        Declared("set_size", "down", 0.0, math.inf, context="the stage calibration measures conformal sets at several levels"),
        count("state_bytes", context="a monitor of at most 2 MB fits the device"),
    )  # fmt: skip


GATES = (
    Gate(
        id="monitor-residual-hazard",
        title="Hazard of incorrect predictions that the monitor trusts",
        stage="monitors",
        metric="residual_hazard",
        op="<=",
        threshold=0.02,
        rationale="The monitor must leave no more hazard than the model may have without one. "
        + NO_AUTHORITY,
    ),
    Gate(
        id="monitor-availability",
        title="Share of correct predictions that the monitor trusts",
        stage="monitors",
        metric="availability",
        op=">=",
        threshold=0.80,
        rationale="A monitor that rejects every prediction leaves no hazard and no use. " + NO_AUTHORITY,
    ),
)


def _alarms(settings: MonitorsSettings) -> tuple[Alarm, ...]:
    return (
        Alarm(
            metric="ood_stopped",
            slices=list(_outside(settings)),
            level=HALF,
            sentence="The monitor trusts most predictions for images that show no traffic sign of the model.",
        ),
    )


MONITORS = Stage(
    name="monitors",
    title="Run-time monitors",
    summary="eight scores beside random numbers: incorrect predictions and images from outside rejected, residual hazard and availability, false "
    "alarms by sign encounter, distance of buffers, detection delay, temporal fusion, accuracy without labels",
    settings=MonitorsSettings,
    run="safeml.audits.monitors.run:run",
    records=_records,
    gates=GATES,
    alarms=_alarms,
    standard=lambda settings, gated: at_most(settings, shifted_images=250, attacked_images=100),
    quick=lambda settings, gated: at_most(
        settings,
        images=1000,
        shifted_images=64,
        attacked_images=0,
        fitting_images=1000,
        streams=1,
        resamples=100,
    ),
    images=lambda settings: settings.images,
    needs=("ood",),
    perfect="safeml.audits.monitors.perfect:PERFECT",
)
