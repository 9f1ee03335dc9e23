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
EXPLAINABILITY = {
    "images": 6,
    "probe_images": 2,
    "methods": ["integrated_gradients", "grad_cam", "gradient_shap"],
    "methods_without_gradient": ["occlusion", "rise"],
    "levels": 2,
    "corruptions": ["contrast"],
    "steps": 4,
    "draws": 4,
    "backgrounds": 4,
    "masks": 16,
    "places": 3,
    "curve_points": 3,
    "bootstrap": 100,
}
MONITORS = {
    "images": 64,
    "shifted_images": 16,
    "corruptions": ["contrast"],
    "attacked_images": 0,
    "fitting_images": 100,
    "streams": 1,
    "resamples": 100,
}
STAGES: dict[str, dict[str, Any]] = {
    "model": {},
    "training": {},
    "quantization": {},
    "conversion": {"images": 32},
    "comparison": {"attacked_images": 8, "explained_images": 8, "steps": 2, "resamples": 100},
    "performance": PERFORMANCE,
    "regression": {"bootstrap": 100},
    "fairness": {},
    "calibration": {"resamples": 100},
    "balance": {"bootstrap": 100},
    "data_quality": {"track_images": 200, "bootstrap": 100},
    "privacy": {"images": 200, "art_images": 50, "bootstrap": 100},
    "adversarial": ADVERSARIAL,
    "physical": PHYSICAL,
    "perturbation": PERTURBATION,
    "explainability": EXPLAINABILITY,
    "monitors": MONITORS,
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


def without(*names: str) -> str:
    """Return the tables that turn off stages, as text of a settings file."""
    return "\n".join(f"[stages.{name}]\nenabled = false" for name in names)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
