"""Threat models: norm, epsilon and the words for them. A leaf: settings, attacks, audits and reports import it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from safeml.settings.base import Epsilon, Settings

NORM_NAMES = {"linf": "L∞", "l2": "L2"}
# Smallest and largest epsilon that measures something: a float32 pixel is exact to 6e-8, and an L2 distance of 50 is 7/255 at
# every pixel of the largest image (1024 x 1024, three channels).
EPSILONS = {"linf": (1e-5, 1.0), "l2": (1e-3, 50.0)}


class Threat(Settings):
    """A threat model: every perturbation of the pixels (0..1) whose norm is at most epsilon.

    norm: largest change of a pixel (linf), or Euclidean length of the change (l2).
    epsilon: in pixel units of 0..1, such as "4/255".
    """

    norm: Literal["linf", "l2"]
    epsilon: Epsilon

    @model_validator(mode="after")
    def _epsilon_in_pixel_units(self) -> Self:
        if self.epsilon <= 0:
            raise ValueError(
                f"epsilon is {self.epsilon:g}; expected a positive number in pixel units of 0..1"
            )
        if self.norm == "linf" and self.epsilon > 1:
            raise ValueError(
                f'epsilon is {self.epsilon:g}; pixels are 0..1 here, so write "{self.epsilon:g}/255"'
            )
        return self

    @property
    def label(self) -> str:
        """The threat's part of a metric name: `linf_4` (in 1/255) or `l2_0.5`."""
        return f"linf_{self.epsilon * 255:.6g}" if self.norm == "linf" else f"l2_{self.epsilon:.6g}"


def epsilon_words(threat: Threat) -> str:
    """Write epsilon as the field does: 4/255 for L-inf, 0.5 for L2."""
    return f"{threat.epsilon * 255:.6g}/255" if threat.norm == "linf" else f"{threat.epsilon:.6g}"


def threat_words(threat: Threat) -> str:
    """Write norm and epsilon: L∞, ε = 4/255."""
    return f"{NORM_NAMES[threat.norm]}, ε = {epsilon_words(threat)}"


def outside_range(threat: Threat) -> str:
    """Say why an epsilon measures nothing, or ""."""
    least, most = EPSILONS[threat.norm]
    if threat.epsilon < least:
        return (
            f"a threat of norm {threat.norm} has epsilon {threat.epsilon:g}, which is close to the rounding error; "
            f"expected at least {least:g} in pixel units of 0..1"
        )
    if threat.epsilon > most:
        return (
            f"a threat of norm {threat.norm} has epsilon {threat.epsilon:g}, which changes every pixel completely; "
            f'pixels are 0..1 here, so write "{threat.epsilon:g}/255"'
        )
    return ""
