"""The record of the tolerances inside a bundle: what each was derived from."""

from __future__ import annotations

import json
from typing import Any

from safeml.bundle.golden import FACTOR, Tolerance

FILE = "golden/tolerances.json"


def record(tolerances: dict[str, Tolerance]) -> dict[str, Any]:
    """Return the content of golden/tolerances.json."""
    return {
        "format": 1,
        "factor": FACTOR,
        "tolerances": {
            key: {"max_abs": one.max_abs, "fixed": one.fixed, "measured": one.measured}
            for key, one in tolerances.items()
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
