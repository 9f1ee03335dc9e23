"""Threats as the field writes them."""

from __future__ import annotations

from safeml.config import Threat

NORM_NAMES = {"linf": "L∞", "l2": "L2"}


def epsilon_words(threat: Threat) -> str:
    """Epsilon as the field writes it: 4/255 for L-inf, 0.5 for L2."""
    return f"{threat.epsilon * 255:.6g}/255" if threat.norm == "linf" else f"{threat.epsilon:.6g}"


def threat_words(threat: Threat) -> str:
    return f"{NORM_NAMES[threat.norm]}, ε = {epsilon_words(threat)}"
