"""After a power cut, a kill or a bad disk: bring the slots, the link and the state together again.

The link follows the state, and the state follows what verifies. A slot whose content is not what was signed is left for the other one; a
slot that is intact but may not start at present (its last day is over, the clock is behind, its key is revoked) is not: else a wrong
clock would be a way back to an older release.
"""

from typing import Any, Callable, List, NamedTuple, Optional, Tuple

from .errors import EdgeError, EdgeFailure, Refused, Usage
from .slots import Slots, release_in
from .state import BAD, EMPTY, GOOD, PROBATION, SLOTS, State, Trial, read_state, was_written

# Refusals that say nothing against the content of a slot.
INTACT = frozenset(
    (
        "no-crypto",
        "unusable-key",
        "unsafe-settings",
        "unknown-key",
        "key-revoked",
        "key-expired",
        "wrong-product",
        "clock-behind",
        "expired",
        "no-expiry",
        "runtime-too-old",
        "device-unknown",
        "wrong-architecture",
        "wrong-compute-capability",
        "wrong-tensorrt",
        "wrong-jetpack",
        "too-little-memory",
        "override-not-allowed",
    )
)


class Recovered(NamedTuple):
    """The state after recovery.

    verified: the active release, of `verify_folder`; None where there is none or it is refused. refusal: why, or what failed.
    notes: one sentence for each repair.
    """

    state: State
    verified: Any
    refusal: Optional[EdgeFailure]
    notes: List[str]


class _Checked(NamedTuple):
    verified: Any
    refusal: Optional[EdgeFailure]

    @property
    def damaged(self) -> bool:
        return isinstance(self.refusal, Refused) and self.refusal.reason not in INTACT


def recover(slots: Slots, verify: Callable[[str], Any], now: float) -> Recovered:
    """Repair what an interrupted command left, and return the state with the verified active release.

    verify: returns the `Verified` of a slot folder or raises Refused. The caller holds the lock.
    """
    slots.clear_incoming()
    state = read_state(slots.root)
    linked = slots.linked()
    if state is None or (linked and not state.active):
        return _rebuilt(slots, verify, now, linked)
    if not state.active:
        return Recovered(state, None, None, [])
    checked = _check(slots, verify, state.active)
    if not checked.damaged:
        notes = []
        if linked != state.active:
            slots.switch(state)
            notes.append(f"the switch to slot {state.active} was completed.")
        return Recovered(state, checked.verified, checked.refusal, notes)
    return _left(slots, verify, now, state, checked)


def _left(
    slots: Slots, verify: Callable[[str], Any], now: float, state: State, checked: _Checked
) -> Recovered:
    """Leave a damaged active slot for the other one, if that was committed and verifies."""
    reason, sentence = _words(checked.refusal)
    other = _check(slots, verify, state.other) if state.marks[state.other] == GOOD else None
    if other is None or other.verified is None:
        return Recovered(state, None, checked.refusal, [])
    damaged = state.active
    state = state.marked(damaged, BAD)._replace(active=state.other, trial=Trial())
    state = state.counted("rolled_back").failed(reason, sentence, 0, now)
    slots.switch(state)
    note = f"slot {damaged} is damaged ({sentence}); release {other.verified.manifest.release} in slot {state.active} is active."
    return Recovered(state, other.verified, None, [note])


def _rebuilt(slots: Slots, verify: Callable[[str], Any], now: float, linked: str) -> Recovered:
    """Make a new state from the slots: each is verified, and nothing of a damaged state is believed."""
    checks = {slot: _check(slots, verify, slot) for slot in SLOTS}
    releases = {
        slot: one.verified.manifest.release for slot, one in checks.items() if one.verified is not None
    }
    # A slot that may not start at present still says which releases the device has had: older ones stay refused.
    highest = max([0] + [release_in(slots.folder(slot)) for slot in SLOTS if not checks[slot].damaged])
    if linked and linked not in releases and not checks[linked].damaged:
        return Recovered(
            State(active=linked, release=highest), None, checks[linked].refusal, []
        )  # not stored: decided when it can be verified
    if not releases:
        if not was_written(slots.root):
            return Recovered(State(), None, None, [])
        refusal = checks[linked].refusal if linked else None
        return Recovered(
            State(), None, refusal, ["the state was damaged and no slot verifies; it is empty now."]
        )
    active = linked if linked in releases else max(releases, key=lambda slot: releases[slot])
    state = State(active=active, release=highest)
    other = state.other
    older = other in releases and releases[other] < releases[active]
    # Whether the active release was committed is not known: where it can go back, it must prove itself again.
    state = state.marked(active, PROBATION if older else GOOD)
    if older:
        state = state.marked(other, GOOD)
    else:
        state = state.marked(other, BAD if other in releases else EMPTY)
    sentence = f"the state was damaged or missing and was made again from the slots; release {releases[active]} is active."
    state = state.failed("state-damaged", sentence, releases[active], now)
    slots.switch(state)
    return Recovered(state, checks[active].verified, None, [sentence])


def _check(slots: Slots, verify: Callable[[str], Any], slot: str) -> _Checked:
    folder = slots.folder(slot)
    try:
        return _Checked(verify(folder), None)
    except Refused as refusal:
        return _Checked(None, refusal)
    except Usage:
        return _Checked(None, Refused("missing-file", f"{folder} does not exist."))
    except EdgeError as error:
        return _Checked(None, error)
    except OSError as error:
        return _Checked(None, EdgeError(f"{folder} cannot be read ({error.strerror})."))


def _words(refusal: Optional[EdgeFailure]) -> Tuple[str, str]:
    return getattr(refusal, "reason", "failed"), refusal.message if refusal else ""
