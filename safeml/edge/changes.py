"""Commit a release, or go back to the one before."""

from typing import Any, Tuple

from .errors import EdgeError, EdgeFailure, Refused
from .hooks import COMMITTED, ROLLED_BACK
from .install import Change, recorded, recovered
from .lock import installer_lock
from .policy import read_policy
from .probation import PASSED, outcome
from .settings import DeviceSettings
from .slots import Slots
from .state import BAD, GOOD, State, Trial
from .verify import Verified, verify_folder


def commit(settings: DeviceSettings, facts: Any, now: float, at_once: bool = False) -> Change:
    """Commit the active release. at_once: without waiting for the end of its probation.

    Raises Refused("probation-open") while the probation is not passed, and what refuses the active release itself.
    """
    policy = read_policy(settings.update)
    slots = Slots(settings.root)
    slots.prepare()
    with installer_lock(settings.root):
        before = recovered(slots, settings, facts, now)
        if before.refusal is not None:
            raise before.refusal
        if before.verified is None:
            raise EdgeError("no release is installed; run `safeml-edge install`.")
        release = before.verified.manifest.release
        if not before.state.in_probation:
            return Change("", release, f"release {release} is already committed.", before.notes)
        result = outcome(before.state.trial, policy.probation)
        if result.status != PASSED and not at_once:
            raise Refused(
                "probation-open",
                f"the probation of release {release} is {result.status}: {result.sentence}; wait, or write --now.",
            )
        with recorded(slots, now, release):
            return committed(slots, before.state, release)._replace(notes=before.notes)


def committed(slots: Slots, state: State, release: int) -> Change:
    """Store that the active release is committed; the caller holds the lock."""
    slots.write(state.marked(state.active, GOOD).counted("committed")._replace(trial=Trial()))
    return Change(COMMITTED, release, f"release {release} is committed.", [])


def rollback(settings: DeviceSettings, facts: Any, now: float, why: str = "by command") -> Change:
    """Go back to the release in the other slot. Raises Refused("no-other-release") where none was committed there or it does not verify."""
    slots = Slots(settings.root)
    slots.prepare()
    with installer_lock(settings.root):
        before = recovered(slots, settings, facts, now)
        change, _ = rolled_back(slots, before.state, settings, facts, now, why)
        return change._replace(notes=before.notes)


def rolled_back(
    slots: Slots, state: State, settings: DeviceSettings, facts: Any, now: float, why: str
) -> Tuple[Change, Verified]:
    """Make the other slot active and return its verified release; the caller holds the lock.

    The highest release stays what it was, so that the one that is left is not installed again.
    """
    if not state.active or state.marks[state.other] != GOOD:
        raise Refused(
            "no-other-release",
            "the other slot holds no committed release to go back to; install a newer one.",
        )
    folder = slots.folder(state.other)
    try:
        verified = verify_folder(folder, settings, facts, now)
    except EdgeFailure as error:
        raise Refused(
            "no-other-release", f"the release in {folder} cannot be used: {error.message}"
        ) from None
    release, left = verified.manifest.release, state.active
    with recorded(slots, now, release):
        state = state.marked(left, BAD).counted("rolled_back")
        state = state._replace(active=state.other, trial=Trial(), unfit=state.release)
        slots.switch(state.failed("rolled-back", why, state.release, now))
    sentence = f"release {release} in slot {state.active} is active again: {why}."
    return Change(ROLLED_BACK, release, sentence, []), verified
