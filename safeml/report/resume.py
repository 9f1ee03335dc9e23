"""What a run took over from earlier runs of its folder, in one sentence."""

from __future__ import annotations

from safeml.report.text import duration, when
from safeml.results import Resume, RunTimes
from safeml.wording import counted

MOST_REASONS = 3


def resume_sentence(resume: Resume) -> str:
    """Empty where there is nothing to say."""
    parts = []
    if resume.interrupted:
        parts.append(f"an earlier run{_began(resume)} did not finish")
    if resume.stages or resume.slices:
        kept = (
            [f"the {counted(len(resume.stages), 'stage')} {', '.join(resume.stages)}"]
            if resume.stages
            else []
        )
        kept += [counted(resume.slices, "slice") + " of the others"] if resume.slices else []
        parts.append(f"{' and '.join(kept)} were read back, because nothing that they depend on has changed")
    if resume.recomputed:
        shown = [f"{entry.entry} {entry.reason}" for entry in resume.recomputed[:MOST_REASONS]]
        more = len(resume.recomputed) - len(shown)
        shown += [f"{more} more"] if more else []
        parts.append(
            f"{counted(len(resume.recomputed), 'entry', 'entries')} could not be used and were measured again ({', '.join(shown)})"
        )
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def stage_seconds(times: RunTimes, order: list[str]) -> str:
    """How long each stage took when it was measured, in the order of the run, and which were read back."""
    resumed = " without the slices that were read back" if times.resume.slices else ""
    shown = [
        f"{name} {duration(times.seconds[name])}{' (read back)' if name in times.resume.stages else ''}"
        for name in order
        if name in times.seconds
    ]
    return ", ".join(shown) + resumed


def _began(resume: Resume) -> str:
    return f" that began {when(resume.began)}" if resume.began else ""
