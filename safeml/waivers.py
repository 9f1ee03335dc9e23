"""Waivers that a recorded verdict counts on and that have expired since. A recorded verdict is of its day; `safeml gate` decides by today's."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeml.results import Run


def today_utc() -> str:
    """Return the present date as ISO text, in UTC, by which waivers expire."""
    return datetime.now(UTC).date().isoformat()


def expired(run: Run, today: str) -> list[str]:
    """Return one sentence for each waived gate of a run whose waiver has expired by `today` (ISO date, UTC)."""
    day = date.fromisoformat(today)
    return [
        f'The waiver of gate "{result.gate.id}" by {waiver.owner} expired on {waiver.until}; the recorded verdict counts on it, so decide again '
        "with `safeml gate`."
        for result in run.verdict.gates
        if result.status == "waived"
        and (waiver := result.gate.waiver) is not None
        and day > date.fromisoformat(waiver.until)
    ]
