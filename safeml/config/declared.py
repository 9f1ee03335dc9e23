"""What each stage records, known without running it: names, slices, direction and range of its metrics.

A gate on anything else is refused before hours are spent (`safeml.config.gate_checks`). Stages do not read this table: tests hold
it against what they record. A stage without a row here is not checked; a new stage brings its row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from safeml.config import AdversarialSettings, StageSettings

ENSEMBLE = ("pgd", "apgd_ce", "apgd_t", "square")
FEWEST = {"steps": 5, "apgd_steps": 10, "queries": 50}  # with less, an attack runs in name only
ALONE = "left by some of the attacks; a gate reads the worst case, {}"
PARTLY = 'attacked by a part of the ensemble alone; add "{}" to full_ensemble in [stages.adversarial]'
COPY = "what one surrogate reaches, and a weak one reaches nothing; a gate reads the worst case, {}"
CHEAP = ("fgsm", "pgd", "fmn")  # speak of every threat
# `split:` and the like: one slice for each of what the data hold, so that only its kind is known here.
CLASSES, FAMILIES = "class:", "family:"
SPLITS = ("split:test", "split:train", "split:valid")
SHARED = ("all", "split:train", "split:valid")


@dataclass(frozen=True)
class Declared:
    """One metric of a stage.

    low, high: what its value can be. slices: exact, or with a colon at the end the start of a name from the data.
    counted: a complete count, whose value an equality can be settled by. whole: of whole things.
    weak: why no gate may read it under these settings; "" where one may.
    """

    name: str
    direction: Literal["up", "down"] = "up"
    low: float = 0.0
    high: float = 1.0
    slices: tuple[str, ...] = ("all",)
    counted: bool = False
    whole: bool = False
    weak: str = ""

    @property
    def is_share(self) -> bool:
        return self.high == 1.0


def _count(name: str, slices: tuple[str, ...] = ("all",)) -> Declared:
    return Declared(name, "down", 0.0, math.inf, slices, counted=True, whole=True)


PERFORMANCE = (
    Declared("clean_accuracy"),
    Declared("clean_error", "down"),
    Declared("hazard_weighted_error", "down"),
    Declared("macro_recall"),
    Declared("macro_f1"),
    Declared("recall_worst_class"),
    Declared("recall_worst_family"),
    Declared("recall", slices=(CLASSES, FAMILIES)),
)
BALANCE = (
    Declared("imbalance_ratio", "down", 1.0, math.inf, SPLITS, counted=True),
    Declared("effective_classes", "up", 0.0, math.inf, SPLITS, counted=True),
    _count("small_classes", SPLITS),
    _count("test_duplicates"),
    _count("shared_duplicates", SHARED),
    _count("shared_tracks", SHARED),
)
TRAINING = (
    Declared("validation_accuracy_chosen"),
    Declared("train_validation_gap", "down", -1.0),
)
PHYSICAL = (
    Declared("clean_accuracy_physical_sample"),
    *(
        Declared(f"physical_accuracy.{threat}")
        for threat in ("sticker", "shadow", "graffiti", "transform", "worst", "random_view")
    ),
    Declared("universal_patch_success", "down"),
    Declared("universal_patch_success.random", "down"),
)

MOVED = ("physical_accuracy.transform", "physical_accuracy.random_view", "physical_accuracy.worst")
UNMOVED = "measured without any other view; give the grid more points and room in [stages.physical]"


def declared(stage: str, stages: StageSettings) -> tuple[Declared, ...] | None:
    """The metrics of a stage under these settings; None where they are not known before it runs."""
    if stage == "adversarial":
        return _adversarial(stages)
    known = {
        "model": (),
        "performance": PERFORMANCE,
        "balance": BALANCE,
        "training": TRAINING,
        "physical": _physical(stages.physical.grid_points > 1),
    }
    return known.get(stage)


def _physical(moves: bool) -> tuple[Declared, ...]:
    """moves: whether the grid has another view than the image as it is."""
    if moves:
        return PHYSICAL
    return tuple(replace(row, weak=UNMOVED) if row.name in MOVED else row for row in PHYSICAL)


def _adversarial(stages: StageSettings) -> tuple[Declared, ...]:
    """A metric for each threat, and for each attack that is run at it; the success rate at the main threat alone."""
    settings = stages.adversarial
    weak = _weak_attacks(settings)
    success = Declared(f"attack_success_rate.{settings.main.label}", "down", weak=weak)
    rows = [Declared("clean_accuracy_attacked_sample"), success]
    if settings.surrogate is not None:
        transferred = f"transfer_success.{settings.main.label}"
        rows.append(Declared(transferred, "down", weak=COPY.format(f"robust_accuracy.{settings.main.label}")))
    for threat in settings.threats:
        name = f"robust_accuracy.{threat.label}"
        rows.append(Declared(name, weak=weak if settings.is_full(threat) else PARTLY.format(threat.label)))
        for attack in settings.attacks:
            run = attack in CHEAP or settings.is_full(threat)
            rows += [Declared(f"{name}.{attack}", weak=ALONE.format(name))] if run else []
        if settings.certify and threat.norm == "linf":
            rows.append(Declared(f"certified_accuracy.{threat.label}"))
        if settings.smoothed_images and threat.norm == "l2":
            rows.append(Declared(f"smoothed_accuracy.{threat.label}"))
    return (*rows, replace(_count("masking_flags"), weak=weak))


def _weak_attacks(settings: AdversarialSettings) -> str:
    """Why no gate may read what these attacks leave: half an ensemble makes any model look robust."""
    missing = [name for name in ENSEMBLE if name not in settings.attacks]
    if missing:
        return f"attacked without {', '.join(missing)}; add to attacks in [stages.adversarial]"
    for key, least in FEWEST.items():
        if getattr(settings, key) < least:
            return f"attacked with {key} = {getattr(settings, key)}; set it in [stages.adversarial] to {least} or more"
    return ""
