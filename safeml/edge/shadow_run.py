"""`safeml-edge shadow`: run a new release beside the active one, count the differences, and promote it."""

import argparse
import hashlib
import os
import time
from typing import Any, Dict, List, NamedTuple, Optional

from .errors import BELOW, FINE, Refused
from .install import Change, promote, recorded, recovered
from .lock import installer_lock
from .moments import utc
from .policy import ShadowPolicy, read_policy
from .probation import FAILED, PASSED, Outcome
from .settings import DeviceSettings
from .shadow import Comparison, Counts, Seen, judge, read_counts, write_counts
from .slots import MANIFEST_FILE, Slots
from .state import BAD, EMPTY, SHADOW
from .verify import Verified, verify_folder


class Pair(NamedTuple):
    """The active release and the one beside it, both verified.

    name: sha256 of both manifests.
    """

    old_folder: str
    old: Verified
    new_folder: str
    new: Verified
    name: str


def open_pair(settings: DeviceSettings, facts: Any, now: float) -> Pair:
    """Return both releases. Raises Refused("shadow-open") where no release is installed beside the active one."""
    slots = Slots(settings.root)
    state = slots.state()
    active = slots.active()
    if active is None or slots.linked() != state.active or state.marks[state.other] != SHADOW:
        raise Refused(
            "shadow-open",
            "no release is installed beside the active one; run `safeml-edge install --shadow BUNDLE`.",
        )
    other = slots.folder(state.other)
    old = verify_folder(active, settings, facts, now)
    new = verify_folder(other, settings, facts, now)
    return Pair(active, old, other, new, _pair_name(active, other))


def _pair_name(active: str, other: str) -> str:
    digest = hashlib.sha256()
    for folder in (active, other):
        with open(os.path.join(folder, MANIFEST_FILE), "rb") as stream:
            digest.update(hashlib.sha256(stream.read()).digest())
    return digest.hexdigest()


def promote_shadow(settings: DeviceSettings, facts: Any, now: float) -> Change:
    """Make the release of a passed shadow run active, in probation.

    Raises Refused("shadow-open") while its counts are not under the limits, and Refused("in-probation").
    """
    policy = read_policy(settings.update)
    slots = Slots(settings.root)
    with installer_lock(settings.root):
        before = recovered(slots, settings, facts, now)
        if before.refusal is not None:
            raise before.refusal
        if before.state.in_probation:
            raise Refused(
                "in-probation", "the active release is in probation; run `safeml-edge commit` first."
            )
        pair = open_pair(settings, facts, now)
        release = pair.new.manifest.release
        result = judge(read_counts(settings.root, pair.name), policy.shadow)
        if result.status != PASSED:
            raise Refused(
                "shadow-open", f"the shadow run of release {release} is {result.status}: {result.sentence}."
            )
        with recorded(slots, now, release):
            return promote(slots, before.state, before.state.other, release)._replace(notes=before.notes)


def drop_shadow(settings: DeviceSettings, facts: Any, now: float, failed: str = "") -> Change:
    """End the shadow mode of the release beside the active one. failed: why it did not pass, or "" for a command of the user."""
    slots = Slots(settings.root)
    with installer_lock(settings.root):
        before = recovered(slots, settings, facts, now)
        pair = open_pair(settings, facts, now)
        release, slot = pair.new.manifest.release, before.state.other
        with recorded(slots, now, release):
            state = before.state.marked(slot, BAD if failed else EMPTY)
            if failed:
                state = state.counted("failed").failed("shadow", failed, release, now)._replace(unfit=release)
            slots.write(state)
    return Change("", release, f"release {release} runs beside the active one no longer.", before.notes)


class Beside:
    """The new release on the frames of the active one; an error of it is counted and never passed on.

    runner: of `running.Runner`, for the new release; its lines are not written.
    """

    def __init__(self, runner: Any, signs: Any, comparison: Comparison, live: bool) -> None:
        self.runner, self.signs, self.comparison, self.live = runner, signs, comparison, live
        self.first_error = ""

    def see(self, work: Any, answer: Any) -> None:
        """Compare one frame, after its line was written. work, answer: of the active release."""
        if work.logits is None:
            return  # neither release can tell anything of a frame that was not read
        new: Optional[Seen] = None
        try:
            theirs = self.runner.judge(self.runner.infer(work.frame, self.live))
            new = Seen(theirs.decision.predicted, theirs.decision.action == "FALL_BACK")
        except Exception as error:  # whatever the new release does, the active one goes on
            self.first_error = self.first_error or f"{type(error).__name__}: {str(error)[:200]}"
        old = Seen(answer.decision.predicted, answer.decision.action == "FALL_BACK")
        self.comparison.add(self.signs.of(work.frame), old, new)


def record_of(pair: Pair, counts: Counts, policy: ShadowPolicy, kind: str, error: str) -> Dict[str, Any]:
    """Return what is stored and printed of the shadow runs so far."""
    result = judge(counts, policy)
    return {
        "active": pair.old.manifest.release,
        "shadow": pair.new.manifest.release,
        "counts": dict(counts._asdict()),
        "status": result.status,
        "sentence": result.sentence,
        "limits": dict(policy._asdict()),
        "signs": kind,
        "first_error": error or None,
        "written": utc(time.time()),
    }


def run_beside(
    args: argparse.Namespace, settings: DeviceSettings, facts: Any, pair: Pair, policy: ShadowPolicy
) -> Dict[str, Any]:
    """Run both releases on the frames of `args.source` and return the record, which is stored too."""
    from .backends.opening import open_backend
    from .frames import open_source
    from .lines import Lines
    from .run import Control, Stop, loop
    from .run_settings import run_settings
    from .signs import Signs, kind_of

    source = open_source(args.source, args.size, args.rate)
    opened: List[Any] = []
    lines: Any = None
    try:
        kind = kind_of(args.signs, source.kind, args.source)
        for folder, verified in ((pair.old_folder, pair.old), (pair.new_folder, pair.new)):
            opened.append(open_backend(folder, verified.manifest, settings, facts))
        lines = Lines(args.out)
        limits = run_settings(settings)
        active = _runner(pair.old_folder, pair.old, opened[0], limits, lines.write_all)
        comparison = Comparison(read_counts(settings.root, pair.name))
        new = _runner(pair.new_folder, pair.new, opened[1], limits, _not_written)
        beside = Beside(new, Signs(kind, policy.gap_seconds), comparison, source.live)

        def save(_: Dict[str, Any]) -> None:
            counts = comparison.counts
            row = record_of(pair, counts, policy, kind, beside.first_error)
            write_counts(settings.root, pair.name, counts, row)

        with Stop() as stop:
            loop(active, source, Control(stop, args.frames, save, _uncounted, beside.see))
        save({})
        return record_of(pair, comparison.counts, policy, kind, beside.first_error)
    finally:
        source.close()
        if lines is not None:
            lines.close()
        for backend in opened:
            backend.close()


def _runner(folder: str, verified: Verified, backend: Any, limits: Any, write: Any) -> Any:
    from .monitor_check import checked_safety
    from .preprocess import Preprocessor
    from .running import Runner
    from .safety import load_labels

    manifest = verified.manifest
    safety = checked_safety(folder, manifest, backend)
    fingerprint = safety.state.fingerprint if safety.state is not None else ""
    labels = load_labels(folder, manifest)
    return Runner(backend, Preprocessor(manifest.input), safety.monitor(), labels, write, limits, fingerprint)


def _uncounted(seconds: float, frames: int, alarms: int, ended: bool) -> str:
    """A shadow run is no run of the active release's probation, which is over."""
    return ""


def _not_written(lines: List[str]) -> None:
    """The new release decides nothing, so its lines are not written."""


def outcome_of(record: Dict[str, Any]) -> Outcome:
    """Return the outcome in a record."""
    return Outcome(record["status"], record["sentence"])


def exit_code(record: Dict[str, Any]) -> int:
    """Return 1 for a shadow run that failed, else 0."""
    return BELOW if record["status"] == FAILED else FINE
