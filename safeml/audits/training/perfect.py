"""The training stage in a plan: it reads the manifest and runs no model."""

from __future__ import annotations

from typing import Literal

from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Perfect
from safeml.stages.training import TrainingSettings


def _state(
    inputs: AuditInputs, settings: TrainingSettings, untrained: bool
) -> tuple[Literal["runs", "idle"], str]:
    if inputs.manifest is None and not untrained:
        return "idle", "no training.json beside the model"
    return "runs", ""


PERFECT = Perfect(state=_state)
