"""What must be equal on every worker of a run, because the bytes of its slices depend on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.wording import counted

LISTED = 4  # differences in a sentence


def identity(inputs: AuditInputs, evidence: Mapping[str, Any], file_sha256: str) -> dict[str, Any]:
    """Return the inputs of every number of a run, and a digest of what the model predicts on this machine; JSON-able.

    evidence: of the subject. file_sha256: of the model file. The digest differs between types of processors and devices, whose
    bytes differ too.
    """
    first = inputs.test.images[: inputs.predicting.first]
    logits = np.asarray(inputs.classifier.predict_logits(first), np.float32)
    reference = inputs.reference.classifier if inputs.reference is not None else None
    others = {"surrogate": inputs.surrogate, "reference": reference}
    return {
        **evidence,
        "model file": file_sha256,
        "predictions of the first images": hashlib.sha256(logits.tobytes()).hexdigest(),
        **{name: getattr(other, "fingerprint", "") for name, other in others.items()},
    }


def difference(mine: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return how a worker differs from the client, as a clause; "" if it does not."""
    clauses = []
    for name in [*expected, *(name for name in mine if name not in expected)]:
        has, wants = mine.get(name), expected.get(name)
        if has == wants:
            continue
        if name == "packages":
            clauses += _packages(has or {}, wants or {})
        elif isinstance(has, int | float | str) and len(str(has)) < 40:
            clauses.append(f"{name} {has}, and the client has {wants}")
        else:
            clauses.append(
                f"another {name} than the client" if name != "data" else "other data than the client"
            )
    shown = clauses[:LISTED]
    rest = len(clauses) - LISTED
    more = f" and {counted(rest, 'more difference')}" if rest > 0 else ""
    return f"has {'; '.join(shown)}{more}" if clauses else ""


def _packages(mine: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    names = sorted({*mine, *expected})
    return [
        f"{name} {mine.get(name, 'not installed')}, and the client has {expected.get(name, 'none')}"
        for name in names
        if mine.get(name) != expected.get(name)
    ]
