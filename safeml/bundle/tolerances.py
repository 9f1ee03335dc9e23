"""The tolerances of the golden outputs, and their record inside a bundle: what each was derived from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

FILE = "golden/tolerances.json"
# A tolerance is so many times the largest difference that was measured.
FACTOR = 2.0
# Key of the scores of the monitor of the float model.
FLOAT_SCORES = "float monitor"


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from the golden one.

    max_abs: largest difference of a logit.
    measured: what the tolerance was derived from: the largest difference on the pool, by the computation compared.
    fixed: the settings fix it, so that nothing was derived.
    """

    max_abs: float
    measured: dict[str, float]
    fixed: bool = False


def record(tolerances: dict[str, Tolerance], float_scores: Tolerance | None = None) -> dict[str, Any]:
    """Return the content of golden/tolerances.json. float_scores: of the monitor of the float model."""
    every = tolerances if float_scores is None else {**tolerances, FLOAT_SCORES: float_scores}
    return {
        "format": 1,
        "factor": FACTOR,
        "tolerances": {
            key: {"max_abs": one.max_abs, "fixed": one.fixed, "measured": one.measured}
            for key, one in every.items()
        },
    }


def read(content: bytes) -> dict[str, Tolerance]:
    """Return the tolerances of a record. Raises ValueError for other content."""
    try:
        rows = json.loads(content)["tolerances"]
        return {
            key: Tolerance(float(one["max_abs"]), {str(k): float(v) for k, v in one["measured"].items()}, bool(one["fixed"]))
            for key, one in rows.items()
        }  # fmt: skip
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{FILE} has another shape") from error
