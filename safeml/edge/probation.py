"""A new release proves itself: starts, running time and alarms are counted, until it is committed or rolled back.

A start is counted before the run begins, and is healthy when the run lasted `healthy_seconds` or ended by itself. A process that dies
again and again therefore leaves starts that nothing followed, and these roll the device back.
"""

from typing import NamedTuple

from .policy import ProbationPolicy
from .state import Trial

OPEN, PASSED, FAILED = "open", "passed", "failed"


class Outcome(NamedTuple):
    """Whether a probation is open, passed or failed, and why."""

    status: str
    sentence: str


def outcome(trial: Trial, policy: ProbationPolicy) -> Outcome:
    """Return the outcome of the counts so far. A failure is decided before a success."""
    if trial.unfinished >= policy.deaths:
        return Outcome(FAILED, f"{trial.unfinished} starts in succession ended without a healthy run")
    if trial.frames >= policy.frames and trial.alarms > policy.alarm_rate * trial.frames:
        rate = 100.0 * trial.alarms / trial.frames
        limit = 100 * policy.alarm_rate
        return Outcome(
            FAILED,
            f"{trial.alarms:,} of {trial.frames:,} frames ({rate:.1f} %) were alarms; the limit is {limit:g} %",
        )
    missing = []
    if trial.starts < policy.starts and trial.seconds < 60 * policy.minutes:
        minutes = trial.seconds / 60.0
        missing.append(
            f"{trial.starts} of {policy.starts} healthy runs, or {minutes:.1f} of {policy.minutes:g} minutes"
        )
    if trial.frames < policy.frames:
        missing.append(f"{trial.frames:,} of {policy.frames:,} frames")
    if missing:
        return Outcome(OPEN, ", and ".join(missing))
    return Outcome(PASSED, f"{trial.starts} healthy runs, {trial.frames:,} frames, {trial.alarms:,} alarms")
