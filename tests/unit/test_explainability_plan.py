"""The plan of the explainability stage: the signs that prove its gate, and what cannot be proven."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from safeml.data.dataset import ImageDataset
from safeml.stages.explainability import EXPLAINABILITY
from tests.explainability_cases import SIDE, scenes

pytestmark = pytest.mark.slow

GATE = EXPLAINABILITY.gates[0].model_dump()


def plan(data: ImageDataset, **changes: object):
    from safeml.config.audit import parse_config
    from safeml.planning.best_case import BestCase, PlanData
    from safeml.planning.provable import plan_gates

    values = {
        "model": {"path": "model.keras"},
        "data": {"test": {"kind": "npz", "path": "test.npz"}},
        "stages": {"explainability": {"bootstrap": 200, **changes}},
        "gates": [GATE],
    }
    config = parse_config(values, "safeml.toml")
    best = BestCase(PlanData(config, data, None, None, name="m.keras"))
    [gate], code = plan_gates(best, config.gates, "2026-06-15")
    return gate, code, best


def boxed(count: int, **columns: object) -> ImageDataset:
    """Images with boxes of many sizes, as in GTSRB."""
    sides = np.random.default_rng(2).integers(8, 13, count)
    first = (SIDE - sides) // 2
    boxes = np.stack([first, first, first + sides, first + sides], axis=1).astype(np.float32)
    return scenes(count, boxes=boxes, **columns)


def test_a_perfect_model_proves_the_gate_with_so_many_signs_as_the_test_half_of_gtsrb() -> None:
    """421 signs with 15 frames each, of which 200 images are drawn."""
    gate, code, best = plan(boxed(6315, frames_per_sign=15.0))
    assert (gate.state, code) == ("provable", 0)
    assert gate.best.value == pytest.approx(1 / np.mean(_areas(best)), rel=1e-6)
    assert gate.allowed.wrong > 0
    assert {call.item for call in best.calls["explainability"]} >= {
        "maps-grad-cam",
        "shuffled-grad-cam",
        "surroundings",
    }


def _areas(best) -> np.ndarray:
    boxes = best.data.test.sample(200, best.data.config.run.seed).boxes
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / SIDE**2


@pytest.mark.parametrize("columns", [{"boxes": None}, {"frames_per_sign": None}])
def test_a_plan_says_what_cannot_be_proven(columns: dict[str, object]) -> None:
    data = replace(boxed(60), **columns)
    gate, code, _ = plan(data)
    assert gate.state in ("missing", "not_provable")
    assert code != 0
