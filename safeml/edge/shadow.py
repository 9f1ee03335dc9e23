"""Shadow mode: a new release runs beside the active one on the same frames, and is promoted only when its differences are few.

The new release never decides for the output. Differences are counted by sign track, because frames of one sign are alike: a track has a
flip where the predicted class of any frame differs, and a new alarm where the new release has an alarm on a frame on which the active one has
none. Both proportions are compared by the upper end of their exact two-sided 95 % interval.
"""

import os
from typing import Any, Dict, NamedTuple, Optional

from .binomial import upper_bound
from .checked import read_checked, write_checked
from .policy import ShadowPolicy
from .probation import FAILED, OPEN, PASSED, Outcome
from .state import MOST_COUNT

FILE = "shadow.json"


class Seen(NamedTuple):
    """What a release made of one frame. class_id: None where it gave none. alarm: its decision was FALL_BACK, or it has no monitor."""

    class_id: Optional[int]
    alarm: bool


class Counts(NamedTuple):
    """Counts of all shadow runs of one release beside one active release.

    frames, signs: that both saw. flips, new_alarms: frames. flip_signs, alarm_signs: sign tracks with at least one.
    old_alarms: frames with an alarm of the active release. failures: frames on which the new release raised an error.
    """

    frames: int = 0
    signs: int = 0
    flips: int = 0
    flip_signs: int = 0
    new_alarms: int = 0
    alarm_signs: int = 0
    old_alarms: int = 0
    failures: int = 0


_NONE = object()


# Immutable, as a named tuple is, so that it may be the default of an argument.
NO_COUNTS = Counts()


class Comparison:
    """Counts frames of two releases. Its memory does not grow.

    counts: of earlier runs. The frames of one sign follow each other.
    """

    def __init__(self, counts: Counts = NO_COUNTS) -> None:
        self.counts = counts
        self.sign: Any = _NONE
        self.flipped = self.alarmed = False

    def add(self, sign: Any, old: Seen, new: Optional[Seen]) -> bool:
        """Count one frame and return whether it is a flip.

        sign: of the track; another value than that of the frame before begins another track. new: None where it failed.
        """
        counts = self.counts
        if sign != self.sign:
            self.sign, self.flipped, self.alarmed = sign, False, False
            counts = counts._replace(signs=counts.signs + 1)
        counts = counts._replace(frames=counts.frames + 1, old_alarms=counts.old_alarms + old.alarm)
        flip = new is None or new.class_id is None or new.class_id != old.class_id
        alarm = (new is None or new.alarm) and not old.alarm
        if new is None:
            counts = counts._replace(failures=counts.failures + 1)
        if flip:
            counts = counts._replace(
                flips=counts.flips + 1, flip_signs=counts.flip_signs + (not self.flipped)
            )
            self.flipped = True
        if alarm:
            counts = counts._replace(
                new_alarms=counts.new_alarms + 1, alarm_signs=counts.alarm_signs + (not self.alarmed)
            )
            self.alarmed = True
        self.counts = counts
        return flip


def judge(counts: Counts, policy: ShadowPolicy) -> Outcome:
    """Return whether the counts permit the promotion, forbid it, or leave it open."""
    if counts.failures:
        return Outcome(FAILED, f"the new release failed on {counts.failures:,} of {counts.frames:,} frames")
    rows = (
        ("flips", counts.flip_signs, policy.flip_rate),
        ("new alarms", counts.alarm_signs, policy.alarm_rate),
    )
    words, above = [], False
    for name, count, limit in rows:
        high = upper_bound(count, counts.signs)
        low = 1 - upper_bound(counts.signs - count, counts.signs) if counts.signs else 0.0
        interval = f"{count:,} of {counts.signs:,} signs with {name} ({100 * low:.1f} to {100 * high:.1f} %, limit {100 * limit:g} %)"
        if low > limit:
            return Outcome(FAILED, interval)
        above = above or high > limit
        words.append(interval)
    if counts.frames < policy.frames or counts.signs < policy.signs:
        few = f"{counts.frames:,} of {policy.frames:,} frames and {counts.signs:,} of {policy.signs:,} signs"
        return Outcome(OPEN, few)
    return Outcome(OPEN if above else PASSED, " and ".join(words))


def read_counts(root: str, pair: str) -> Counts:
    """Return the counts of earlier shadow runs of the same two releases; zeros where there are none or the file is damaged.

    pair: names both releases.
    """
    body = read_checked(os.path.join(root, FILE))
    if body is None or body.get("pair") != pair:
        return Counts()
    try:
        counts = Counts(**body["counts"])
    except (KeyError, TypeError):
        return Counts()
    possible = all(type(value) is int and 0 <= value < MOST_COUNT for value in counts)
    return counts if possible and _consistent(counts) else Counts()


def _consistent(counts: Counts) -> bool:
    return max(counts.flip_signs, counts.alarm_signs) <= counts.signs <= counts.frames


def write_counts(root: str, pair: str, counts: Counts, facts: Dict[str, Any]) -> None:
    """Store the counts. facts: for people, such as the two releases and the time."""
    write_checked(os.path.join(root, FILE), dict(facts, pair=pair, counts=counts._asdict()))
