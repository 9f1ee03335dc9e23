"""One gradient-masking check and its three states."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MaskingCheck:
    """One gradient-masking check.

    code: of its finding.
    expectation: what holds for a model without gradient masking.
    measured: the measurement in words.
    expected: the largest allowed measurement in words.
    failed: whether the measurement exceeds it.
    value: the measurement.
    limit: the largest allowed measurement.
    remedy: what the user can do.
    view: the view of the model that the next attacks get if the check fails (see `safeml.attacks.views`).
    unproven: why the check proves nothing although it did not fail, as a clause; "" if it has power.
    """

    code: str
    expectation: str
    measured: str
    expected: str
    failed: bool
    value: float
    limit: float
    remedy: str
    view: str
    unproven: str = ""

    @property
    def state(self) -> str:
        """Return "failed", "not proven" or "passed"."""
        return "failed" if self.failed else "not proven" if self.unproven else "passed"
