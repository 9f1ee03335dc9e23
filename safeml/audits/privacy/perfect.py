"""The privacy stage in a plan: a model whose outputs are distributed alike on both sides. Legend: N images, K classes, S sign tracks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from scipy.special import ndtri

from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Call, Maker, Perfect, Request, Simulated
from safeml.audits.privacy.attacks import Attacked
from safeml.audits.privacy.metrics import advantage_metric, strongest, undefined_stage
from safeml.audits.privacy.shadows import shadow_cost, shadow_recipe
from safeml.audits.privacy.sides import Sides, draw, units_of
from safeml.data.dataset import ImageDataset
from safeml.results import StageResult
from safeml.stages.privacy import LIRA, PRIVACY, PrivacySettings
from safeml.wording import counted


def _run(inputs: AuditInputs, settings: PrivacySettings) -> StageResult:
    """Return the advantage of attacks on a model that reveals nothing: half of each side is above their threshold."""
    sides = draw(inputs, settings)
    if isinstance(sides, str):
        metrics = undefined_stage(settings, sides, len(inputs.test))
    else:
        pair = sides.evaluation
        scores = (_spread(pair.members), _spread(pair.others))
        attacks = [Attacked(name, name, *scores, 0.0, scores, 0.0) for name in settings.attacks]
        metrics = [strongest(attacks, pair), *(advantage_metric(one, pair) for one in attacks)]
    return StageResult(stage=PRIVACY.name, title=PRIVACY.title, metrics=metrics)


def _spread(data: ImageDataset) -> np.ndarray:
    """Return normal quantiles, one for each sign track, float64 [N]: every data set has the same distribution."""
    units = units_of(data)
    count = int(units.max()) + 1
    return np.asarray(ndtri((units + 0.5) / count))


def privacy_calls(inputs: AuditInputs, settings: PrivacySettings, gradient: bool) -> list[Call]:
    """Count the predictions of both parts, and of the shadow models the training and the predictions."""
    sides = draw(inputs, settings)
    if isinstance(sides, str):
        return []
    calls = [Call(part, images) for part, images in _images(sides).items()]
    recipe = shadow_recipe(inputs, settings) if LIRA in settings.attacks else ""
    if not isinstance(recipe, str):
        asked = sum(_images(sides).values())
        for shadow in range(settings.shadows):
            calls.append(Call(f"shadow-{shadow:03d}", len(sides.training) // 2, shadow_cost(recipe)))
            calls.append(Call(f"shadow-{shadow:03d}-scores", asked))
    return calls


def _images(sides: Sides) -> dict[str, int]:
    return {
        "calibration-members": len(sides.calibration.members),
        "calibration-non-members": len(sides.calibration.others),
        "evaluation-members": len(sides.evaluation.members),
        "evaluation-non-members": len(sides.evaluation.others),
    }


def _state(
    inputs: AuditInputs, settings: PrivacySettings, untrained: bool
) -> tuple[Literal["runs", "idle"], str]:
    if inputs.train is None:
        return "idle", "no [data.train]"
    if not settings.shadows:
        return "runs", ""
    recipe = shadow_recipe(inputs, settings)
    if isinstance(recipe, str):
        return "runs", f"no shadow models: {recipe}"
    return (
        "runs",
        f"{counted(settings.shadows, 'shadow model')} of {counted(recipe.epochs, 'epoch')} each; a training step is counted as three passes",
    )


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    return {"logits": lambda shape: model.logits(request.rows)}


PERFECT = Perfect(arrays=_arrays, run=_run, calls=privacy_calls, pixels=True, state=_state)
