"""One row per check of an exported file: it passed, it failed, or it did not run, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["passed", "failed", "not_run"]


@dataclass(frozen=True)
class Check:
    """The outcome of one check of an exported file.

    name: a slug, such as "tensorrt_rtx".
    status: a check that could not run is "not_run", never "passed".
    reason: one or more sentences: what the check shows, why it failed, or why it did not run and what to do.
    facts: JSON-able numbers and words for export.json and the report.
    """

    name: str
    status: Status
    reason: str
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError where there is no reason: a check without one explains nothing."""
        if not self.reason:
            raise ValueError(f"the check {self.name} has no reason")

    def as_json(self) -> dict[str, Any]:
        """Return the row of export.json."""
        return {"name": self.name, "status": self.status, "reason": self.reason, "facts": self.facts}
