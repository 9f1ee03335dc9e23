"""The INT8 codes, smallest and largest. A leaf without a framework."""

from __future__ import annotations

ACTIVATION_CODES = (-128, 127)
# A narrow range: a weight and its negative have codes.
WEIGHT_CODES = (-127, 127)
