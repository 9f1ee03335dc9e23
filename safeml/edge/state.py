"""What a device remembers of its releases: one JSON file with a checksum, stored twice.

The state is what the installer intends, and the link `current` is what is done: after a power cut the link follows the state.
"""

import os
from typing import Dict, NamedTuple, Optional

from .checked import read_checked, write_checked

SLOTS = ("a", "b")
FILES = ("state.json", "state.copy.json")
MOST_TEXT = 500
# What a slot holds: nothing that may be started; a release that runs beside the active one; one that must prove itself;
# one that was committed; one that failed.
EMPTY, SHADOW, PROBATION, GOOD, BAD = "empty", "shadow", "probation", "good", "bad"
MARKS = (EMPTY, SHADOW, PROBATION, GOOD, BAD)
COUNTERS = ("installed", "committed", "rolled_back", "refused", "failed")
MOST_COUNT = 2**53


class Trial(NamedTuple):
    """Counts of a probation.

    starts: runs that were healthy. unfinished: starts in succession that no healthy run followed.
    seconds: of all runs. frames, alarms: frames of all runs, and those whose decision was FALL_BACK.
    """

    starts: int = 0
    unfinished: int = 0
    seconds: int = 0
    frames: int = 0
    alarms: int = 0


class Failure(NamedTuple):
    """The last error.

    reason: code of a refusal, or of a failure on the device.
    release: that was refused or failed; 0 if unknown. time: seconds since 1970.
    """

    reason: str
    message: str
    release: int
    time: int


class State(NamedTuple):
    """The releases of a device.

    active: slot that `current` should name; "" before the first installation. release: highest release that was ever active.
    marks: by slot, one of `MARKS`. trial: of the active slot, while it is marked PROBATION.
    unfit: release that last failed its self-test or its probation; an update by itself does not try it again. 0 for none.
    """

    active: str = ""
    release: int = 0
    marks: Dict[str, str] = dict.fromkeys(SLOTS, EMPTY)
    trial: Trial = Trial()
    unfit: int = 0
    error: Optional[Failure] = None
    counters: Dict[str, int] = dict.fromkeys(COUNTERS, 0)

    def marked(self, slot: str, mark: str) -> "State":
        """Return the state with another mark of one slot."""
        return self._replace(marks=dict(self.marks, **{slot: mark}))

    def counted(self, counter: str) -> "State":
        """Return the state with one counter raised by 1."""
        return self._replace(counters=dict(self.counters, **{counter: self.counters[counter] + 1}))

    def failed(self, reason: str, message: str, release: int, time: float) -> "State":
        """Return the state with this last error."""
        return self._replace(error=Failure(reason, message[:MOST_TEXT], release, int(time)))

    @property
    def other(self) -> str:
        """The slot that is not active, into which the next release goes."""
        return SLOTS[1] if self.active == SLOTS[0] else SLOTS[0]

    @property
    def in_probation(self) -> bool:
        """Whether the active release must still prove itself."""
        return bool(self.active) and self.marks[self.active] == PROBATION


def write_state(root: str, state: State) -> None:
    """Write the state twice, one file after the other, so that one is whole after a power cut or a bad sector."""
    body = {
        "format": 1,
        "active": state.active,
        "release": state.release,
        "marks": state.marks,
        "trial": state.trial._asdict(),
        "unfit": state.unfit,
        "error": state.error._asdict() if state.error else None,
        "counters": state.counters,
    }
    for name in FILES:
        write_checked(os.path.join(root, name), body)


def read_state(root: str) -> Optional[State]:
    """Return the state, or None where neither file is whole. The first file is the newer one."""
    for name in FILES:
        state = _read(os.path.join(root, name))
        if state is not None:
            return state
    return None


def was_written(root: str) -> bool:
    """Return whether a state was ever written, whole or not."""
    return any(os.path.lexists(os.path.join(root, name)) for name in FILES)


def _read(path: str) -> Optional[State]:
    body = read_checked(path)
    if body is None or body.get("format") != 1:
        return None
    try:
        state = State(
            body["active"],
            body["release"],
            dict(body["marks"]),
            Trial(**body["trial"]),
            body["unfit"],
            None if body["error"] is None else Failure(**body["error"]),
            dict(body["counters"]),
        )
        return state if _possible(state) else None
    except (ValueError, KeyError, TypeError):
        return None


def _possible(state: State) -> bool:
    counts = [state.release, state.unfit, *state.trial, *state.counters.values()]
    error = state.error
    return (
        state.active in ("", *SLOTS)
        and all(type(count) is int and 0 <= count < MOST_COUNT for count in counts)
        and set(state.marks) == set(SLOTS)
        and all(mark in MARKS for mark in state.marks.values())
        and set(state.counters) == set(COUNTERS)
        and (error is None or isinstance(error.reason + error.message, str))
        and (error is None or (type(error.release) is int and type(error.time) is int))
    )
