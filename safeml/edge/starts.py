"""What a run tells the installer: that it starts, how it goes, and that it ended."""

import time
from typing import Any, List, NamedTuple, Optional

from .changes import committed, rolled_back
from .errors import EdgeError, EdgeFailure, Refused
from .install import Change, SelfTest, failed_test, recovered
from .lock import installer_lock
from .policy import read_policy
from .probation import FAILED, OPEN, PASSED, Outcome, outcome
from .recovery import Recovered
from .settings import DeviceSettings
from .slots import Slots
from .status import show_status
from .verify import Verified, verify_folder

# A state is written at most this often, to spare the disk.
RECORD_SECONDS = 60.0


class Start(NamedTuple):
    """The release that a run shall use.

    folder: its slot. watch: counts the run. change: what the start itself changed, or None. notes: repairs.
    """

    folder: str
    verified: Verified
    watch: "Watch"
    change: Optional[Change]
    notes: List[str]


class Watch:
    """Counts one run for the probation of its release; without a probation it does nothing.

    record: to be called as often as one likes.
    """

    def __init__(self, settings: DeviceSettings, facts: Any, slot: str, release: int, counted: bool) -> None:
        self.settings, self.facts, self.slot, self.release = settings, facts, slot, release
        self.policy = read_policy(settings.update).probation
        self.counted = counted
        self.healthy = False
        self.stored = (0.0, 0, 0)  # seconds, frames, alarms of this run that are in the state
        self.due = min(self.policy.healthy_seconds, RECORD_SECONDS)

    def record(
        self, seconds: float, frames: int, alarms: int, ended: bool = False, now: Optional[float] = None
    ) -> Optional[Change]:
        """Record the counts of this run so far; returns a change where they decide the probation.

        seconds, frames, alarms: since the start of the run. ended: the run ended by itself, without an error. now: seconds since 1970.
        After a roll-back the run should end, so that the next start uses the other release. While an installer holds the lock nothing is stored.
        """
        if not self.counted or (seconds < self.due and not ended):
            return None
        self.due = seconds + RECORD_SECONDS
        now = time.time() if now is None else now
        try:
            with installer_lock(self.settings.root):
                change = self._store(seconds, frames, alarms, ended, now)
        except Refused as refusal:
            if refusal.reason != "locked":
                raise
            return None
        if change is not None:
            show_status(self.settings, now)
        return change

    def fail(self, sentence: str, now: Optional[float] = None) -> Optional[Change]:
        """Roll a release in probation back at once, because it cannot do its work here; returns the change, or None.

        sentence: why, without a full stop.
        """
        if not self.counted:
            return None
        self.counted = False
        slots = Slots(self.settings.root)
        with installer_lock(self.settings.root):
            return self._left(slots, sentence, time.time() if now is None else now)

    def _left(self, slots: Slots, sentence: str, now: float) -> Optional[Change]:
        try:
            return rolled_back(slots, slots.state(), self.settings, self.facts, now, sentence)[0]
        except Refused:  # there is no other release; the next start says so
            return None

    def _store(self, seconds: float, frames: int, alarms: int, ended: bool, now: float) -> Optional[Change]:
        slots = Slots(self.settings.root)
        state = slots.state()
        if not state.in_probation or state.active != self.slot:
            self.counted = False  # it was decided by a command
            return None
        trial = state.trial
        if not self.healthy and (ended or seconds >= self.policy.healthy_seconds):
            self.healthy = True
            trial = trial._replace(starts=trial.starts + 1, unfinished=0)
        trial = trial._replace(
            seconds=trial.seconds + int(seconds) - int(self.stored[0]),
            frames=trial.frames + frames - self.stored[1],
            alarms=trial.alarms + alarms - self.stored[2],
        )
        state = state._replace(trial=trial)
        slots.write(state)
        self.stored = (seconds, frames, alarms)
        result = outcome(trial, self.policy)
        if result.status == OPEN:
            return None
        self.counted = False
        if result.status == PASSED:
            return committed(slots, state, self.release)
        return self._left(slots, result.sentence, now)


def begin(settings: DeviceSettings, facts: Any, now: float, selftest: Optional[SelfTest] = None) -> Start:
    """Return the release to run, verified, and count the start where it is in probation.

    selftest: of the device, run at each start in probation; None for none. A probation that failed goes back to the other slot here.
    While an installer works, which never writes the active slot, the start is not counted. Raises Refused for a release that may not
    start, EdgeError where there is none.
    """
    slots = Slots(settings.root)
    slots.prepare()
    try:
        with installer_lock(settings.root):
            before = recovered(slots, settings, facts, now)
            start = _begin(slots, before, settings, facts, now, selftest)
        if start.change is not None or start.notes:
            show_status(settings, now)
        return start
    except Refused as refusal:
        if refusal.reason != "locked":
            raise
    folder = slots.active()
    if folder is None:
        raise _nothing()
    verified = verify_folder(folder, settings, facts, now)
    watch = Watch(settings, facts, slots.linked(), verified.manifest.release, False)
    return Start(
        folder, verified, watch, None, ["an installation is in progress; this start is not counted."]
    )


def _begin(
    slots: Slots,
    before: Recovered,
    settings: DeviceSettings,
    facts: Any,
    now: float,
    selftest: Optional[SelfTest],
) -> Start:
    if before.refusal is not None:
        raise before.refusal
    if before.verified is None:
        raise _nothing()
    state, verified, change = before.state, before.verified, None
    if state.in_probation:
        policy = read_policy(settings.update).probation
        result = outcome(state.trial, policy)
        if result.status != FAILED and selftest is not None:
            sentence = failed_test(slots.folder(state.active), verified, settings, facts, selftest)
            result = Outcome(FAILED, sentence) if sentence else result
        if result.status == FAILED:
            change, verified = _go_back(slots, before, settings, facts, now, result)
        elif result.status == PASSED:
            change = committed(slots, state, verified.manifest.release)
        else:
            trial = state.trial
            slots.write(state._replace(trial=trial._replace(unfinished=trial.unfinished + 1)))
    state = slots.state()
    watch = Watch(settings, facts, state.active, verified.manifest.release, state.in_probation)
    return Start(slots.folder(state.active), verified, watch, change, before.notes)


def _go_back(
    slots: Slots, before: Recovered, settings: DeviceSettings, facts: Any, now: float, result: Outcome
) -> tuple:
    try:
        return rolled_back(slots, before.state, settings, facts, now, result.sentence)
    except EdgeFailure as error:
        release = before.verified.manifest.release
        raise EdgeError(
            f"release {release} failed its probation ({result.sentence}), and {error.message}"
        ) from None


def _nothing() -> EdgeError:
    return EdgeError("no release is installed; run `safeml-edge install BUNDLE`.")
