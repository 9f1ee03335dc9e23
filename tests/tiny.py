"""The smallest settings of each stage that still go through everything that it measures: one row a stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PERFORMANCE = {"bootstrap": 100}
ADVERSARIAL = {
    "images": 32,
    "steps": 5,
    "apgd_steps": 10,
    "targets": 2,
    "fmn_steps": 5,
    "queries": 50,
    "threats": [{"norm": "linf", "epsilon": "1/510"}, {"norm": "linf", "epsilon": "4/255"}],
}
PHYSICAL = {
    "images": 4,
    "sticker_steps": 2,
    "sticker_places": 2,
    "shadow_shapes": 2,
    "shadow_factors": [0.43],
    "graffiti_shapes": 2,
    "rotation_points": 3,
    "shift_points": 1,
    "shift": 0,
    "zoom_points": 1,
    "zoom": 0,
    "patch_steps": 2,
}
PERTURBATION = {
    "images": 4,
    "corruptions": ["contrast", "sticker"],
    "shift": 0,
    "brightness": 0,
    "bootstrap": 100,
    "probe_images": 64,
}
STAGES: dict[str, dict[str, Any]] = {
    "model": {},
    "training": {},
    "quantization": {},
    "conversion": {"images": 32},
    "comparison": {"attacked_images": 8, "steps": 2, "resamples": 100},
    "performance": PERFORMANCE,
    "fairness": {},
    "calibration": {"resamples": 100},
    "balance": {"bootstrap": 100},
    "data_quality": {"track_images": 200, "bootstrap": 100},
    "adversarial": ADVERSARIAL,
    "physical": PHYSICAL,
    "perturbation": PERTURBATION,
}


def tables(**changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tables of `[stages]`, each with the changes to its row."""
    return {name: {**row, **changes.get(name, {})} for name, row in STAGES.items()}


def toml(**changes: Mapping[str, Any]) -> str:
    """Return the same as text of a settings file."""
    return "\n".join(
        "\n".join([f"[stages.{name}]", *(f"{key} = {_value(value)}" for key, value in row.items())])
        for name, row in tables(**changes).items()
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
