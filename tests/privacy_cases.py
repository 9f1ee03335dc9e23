"""Members and non-members of signs, and a model that remembers them."""

from __future__ import annotations

from typing import Any

from safeml.audits.base import AuditInputs
from safeml.data.dataset import ImageDataset
from safeml.results import Metric, StageResult
from safeml.stages.privacy import PrivacySettings
from tests.leaks import Remembering, images_of_signs

FAST = PrivacySettings(art=False, bootstrap=100)
TRAIN = images_of_signs("train", 200, 5, 1)
TEST = images_of_signs("test", 200, 5, 2)


def inputs(
    leak: float = 0.0, train: ImageDataset = TRAIN, test: ImageDataset = TEST, **more: Any
) -> AuditInputs:
    """Inputs with a model that knows the given images; `seed` of the model by the keyword `model_seed`."""
    seed = more.pop("model_seed", 0)
    valid = more.get("valid")
    others = (test,) if valid is None else (test, valid)
    return AuditInputs(Remembering(train, others, leak, seed=seed), test, train, **more)


def metrics(result: StageResult) -> dict[tuple[str, str], Metric]:
    return {(metric.name, metric.slice): metric for metric in result.metrics}
