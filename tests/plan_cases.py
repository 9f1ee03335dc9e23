"""Settings, gates and images for plans that need no model."""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.config.audit import Config, parse_config
from safeml.data.dataset import ImageDataset
from safeml.planning.base import GatePlan
from safeml.planning.best_case import BestCase, PlanData
from safeml.planning.provable import plan_gates
from tests.fakes import dataset

TODAY = "2026-06-15"
ACCURACY = {
    "id": "accuracy",
    "stage": "performance",
    "metric": "clean_accuracy",
    "op": ">=",
    "threshold": 0.9,
}
ROBUST = {
    "id": "robust",
    "stage": "adversarial",
    "metric": "robust_accuracy.linf_4",
    "op": ">=",
    "threshold": 0.5,
}
SHARED = {"id": "shared", "stage": "balance", "metric": "shared_duplicates", "op": "==", "threshold": 0}
FLAGS = {"id": "flags", "stage": "adversarial", "metric": "masking_flags", "op": "==", "threshold": 0}


# A plan runs each stage on a perfect model, also where no gate reads it; these take four fifths of the time.
RESAMPLED = ("calibration", "explainability", "perturbation")


def settings(*gates: dict[str, Any], **stages: dict[str, Any]) -> Config:
    """Return the settings of an audit, without the stages of RESAMPLED that no gate reads and the caller does not name."""
    aside = {name: {"enabled": False} for name in RESAMPLED if name not in {gate["stage"] for gate in gates}}
    values = {
        "model": {"path": "model.keras"},
        "data": {"test": {"kind": "npz", "path": "test.npz"}},
        "stages": {**aside, **stages},
        "gates": list(gates),
    }
    return parse_config(values, "safeml.toml")


def known(test: ImageDataset, *gates: dict[str, Any], stages: Any = None, **fields: Any) -> PlanData:
    made = {"train": None, "valid": None, "name": "m.keras", **fields}
    return PlanData(settings(*gates, **(stages or {})), test, **made)


def planned(test: ImageDataset, *gates: dict[str, Any], **fields: Any) -> tuple[list[GatePlan], int]:
    subject = known(test, *gates, **fields)
    return plan_gates(BestCase(subject), subject.config.gates, TODAY)


def images(count: int, K: int = 4, **columns: Any) -> ImageDataset:
    """Images of K classes in turn, each an independent one where nothing else is said."""
    clustering = {} if "tracks" in columns else {"frames_per_sign": 1.0}
    return dataset(np.arange(count) % K, **{**clustering, **columns})
