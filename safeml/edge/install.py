"""Install a bundle: verify and unpack it, test it, make it the other slot, and let it prove itself.

The active slot is not written. Every step that another one relies on is on the disk before it, so that after a power cut `recover` finds
the old release or the new one.
"""

import os
import shutil
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, NamedTuple, Optional

from .durable import remove
from .errors import EdgeError, EdgeFailure, Refused
from .hooks import INSTALLED, SHADOWED
from .lock import installer_lock
from .policy import UpdatePolicy, read_policy
from .probation import FAILED, outcome
from .recovery import Recovered, recover
from .settings import DeviceSettings
from .slots import Slots
from .state import BAD, GOOD, PROBATION, SHADOW, State, Trial
from .verify import Verified, unpack_bundle, verify_folder

SPARE_BYTES = 16 << 20
SELF_TEST = "self-test"

SelfTest = Callable[[str, Verified, DeviceSettings, Any], Any]


class Change(NamedTuple):
    """What a command changed.

    event: one of the events of `hooks`, or "" for nothing. release: the one that it is about.
    sentence: for the user. notes: repairs that came before.
    """

    event: str
    release: int
    sentence: str
    notes: List[str]


def device_self_test(folder: str, verified: Verified, settings: DeviceSettings, facts: Any) -> Any:
    """Run the self-test of the device, which opens the backend."""
    from .selftest import selftest

    return selftest(folder, verified, settings, facts)


def recovered(slots: Slots, settings: DeviceSettings, facts: Any, now: float) -> Recovered:
    """Recover the slots of a device; the caller holds the lock."""
    return recover(slots, lambda folder: verify_folder(folder, settings, facts, now), now)


def install(
    path: str,
    settings: DeviceSettings,
    facts: Any,
    now: float,
    selftest: SelfTest = device_self_test,
    shadow: Optional[bool] = None,
) -> Change:
    """Install the bundle in `path` into the slot that is not active.

    now: seconds since 1970. shadow: install it beside the active release; None for what the policy says.
    Raises Refused for what `unpack_bundle` refuses and "in-probation"; EdgeError where the self-test differs. The active release then
    runs on, and the state has the reason.
    """
    policy = read_policy(settings.update)
    slots = Slots(settings.root)
    slots.prepare()
    with installer_lock(settings.root) as dead:
        before = recovered(slots, settings, facts, now)
        notes = list(before.notes)
        if dead is not None:
            notes.insert(0, f"process {dead} did not finish its installation.")
        check_free(before.state)
        with recorded(slots, now):
            verified = _unpack(path, slots, settings, facts, before.state, now)
        with recorded(slots, now, verified.manifest.release):
            _test(slots, verified, settings, facts, selftest)
            state = slots.place(before.state)
            beside = policy.shadow.required if shadow is None else shadow
            change = _activate(slots, state, verified, policy, bool(beside and before.state.active))
        return change._replace(notes=notes)


def check_free(state: State) -> None:
    """Refuse to overwrite the release that the active one would go back to."""
    if state.in_probation and state.marks[state.other] == GOOD:
        raise Refused(
            "in-probation",
            "the active release is in probation and the other slot holds the one to go back to; run `safeml-edge commit` or `safeml-edge rollback` first.",
        )


@contextmanager
def recorded(slots: Slots, now: float, release: int = 0) -> Iterator[None]:
    """Store a failure in the state, count it, and let it pass on; an operating-system error becomes an EdgeError."""
    try:
        yield
    except EdgeFailure as failure:
        _record(slots, failure, now, release)
        raise
    except OSError as error:
        sentence = f"the change failed ({error.strerror or error}); the next command repairs what it left."
        told = EdgeError(sentence)
        _record(slots, told, now, release)
        raise told from None


def _record(slots: Slots, failure: EdgeFailure, now: float, release: int) -> None:
    try:
        slots.clear_incoming()
        state = slots.state()  # as far as it was stored
        state = state.counted("refused" if isinstance(failure, Refused) else "failed")
        reason = getattr(failure, "reason", FAILED)
        if isinstance(failure, SelfTestFailed):
            reason, state = SELF_TEST, state._replace(unfit=release)
        slots.write(state.failed(reason, failure.message, release, now))
    except OSError:  # the same full or failing disk; the failure itself is reported by its exception
        pass


class SelfTestFailed(EdgeError):
    """The self-test of a release differs on this device."""


def _unpack(
    path: str, slots: Slots, settings: DeviceSettings, facts: Any, state: State, now: float
) -> Verified:
    try:
        size = os.path.getsize(path)
    except OSError as error:
        raise EdgeError(f"{path} cannot be read ({error.strerror}); check the path.") from None
    free = shutil.disk_usage(settings.root).free
    if free < size + SPARE_BYTES:
        raise EdgeError(
            f"{settings.root} has {free >> 20} MB free; the bundle needs {(size + SPARE_BYTES) >> 20} MB; remove other files."
        )
    return unpack_bundle(path, slots.incoming, settings, facts, state.release, now)


def _test(slots: Slots, verified: Verified, settings: DeviceSettings, facts: Any, selftest: SelfTest) -> None:
    sentence = failed_test(slots.incoming, verified, settings, facts, selftest)
    if sentence:
        remove(slots.incoming)
        raise SelfTestFailed(
            f"release {verified.manifest.release} is not installed: {sentence}; nothing was changed."
        )


def failed_test(
    folder: str, verified: Verified, settings: DeviceSettings, facts: Any, selftest: SelfTest
) -> str:
    """Run a self-test and return "" or the sentence of its first failure. What it raises is a failure too."""
    try:
        result = selftest(folder, verified, settings, facts)
    except EdgeFailure as error:
        return f"its self-test failed ({_inside(error.message)})"
    except Exception as error:  # a library of the device: whatever it is, the release does not run here
        return f"its self-test ended by {type(error).__name__} ({_inside(str(error)[:200])})"
    if result.passed is True:
        return ""
    failed = [check for check in result.checks if check[1] == FAILED]
    return f"its self-test failed ({_inside(failed[0][2]) if failed else 'no check passed'})"


def _inside(sentence: str) -> str:
    """Return a sentence as it is written in brackets."""
    return sentence.rstrip(".")


def _activate(slots: Slots, state: State, verified: Verified, policy: UpdatePolicy, shadow: bool) -> Change:
    release, slot, before = verified.manifest.release, state.other, state.active
    state = state.counted("installed")._replace(error=None)
    if shadow:
        slots.write(state.marked(slot, SHADOW))
        sentence = f"release {release} is installed in slot {slot} beside the active one; it decides nothing until `safeml-edge shadow --promote`."
        return Change(SHADOWED, release, sentence, [])
    if state.in_probation:  # there was no release to go back to
        failed = outcome(state.trial, policy.probation).status == FAILED
        state = state.marked(before, BAD if failed else GOOD)
    return promote(slots, state, slot, release)


def promote(slots: Slots, state: State, slot: str, release: int) -> Change:
    """Make a slot active, in probation; the caller holds the lock and has verified it."""
    state = state.marked(slot, PROBATION)._replace(
        active=slot, release=max(state.release, release), trial=Trial()
    )
    slots.switch(state)
    return Change(INSTALLED, release, f"release {release} is active in slot {slot}, in probation.", [])
