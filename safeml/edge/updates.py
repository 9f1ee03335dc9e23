"""An update by itself: is there a newer release, does this device take it, and may it be installed now?

The installer lock is not held during a download, so that a run can start.
"""

import hashlib
import os
import time
from typing import Any, Callable, Iterator, Optional

from .container import HEAD, MAGIC
from .delta import Parts, apply_delta
from .durable import make_folder, remove
from .errors import EdgeError, Refused
from .https import ABOUT, PART
from .index import Delta, Entry
from .install import SPARE_BYTES, Change, SelfTest, device_self_test, install
from .lock import DOWNLOAD_LOCK, installer_lock
from .manifest import parse_manifest
from .policy import UpdatePolicy, read_policy
from .rollout import place
from .schedule import allowed
from .settings import DeviceSettings
from .slots import Slots, created, release_in
from .sources import Source, open_source
from .state import GOOD, SHADOW
from .verify import ENVELOPE_FILE, MANIFEST_FILE

DOWNLOADS = "download"


def update(
    settings: DeviceSettings,
    facts: Any,
    clock: Callable[[], float] = time.time,
    again: bool = False,
    source: Optional[Source] = None,
    selftest: SelfTest = device_self_test,
) -> Change:
    """Install the newest release of the source where the policy permits it, and return what was changed or why nothing was.

    clock: gives seconds since 1970. again: also a release that failed here before. source: instead of the one of the settings.
    Raises Refused and EdgeError as `install` and the source do.
    """
    policy = read_policy(settings.update)
    source = open_source(policy.source) if source is None else source
    slots = Slots(settings.root)
    slots.prepare()
    with installer_lock(settings.root, DOWNLOAD_LOCK):
        entry = source.entry(settings.product)
        reason = _why_not(slots, settings, policy, entry, source, clock(), again)
        if reason or entry is None:
            return Change("", entry.release if entry else 0, reason, [])
        folder = os.path.join(settings.root, DOWNLOADS)
        make_folder(folder)
        _tidy(folder, entry)
        for path in _bundles(slots, source, entry, folder, policy):
            reason = _hours(slots, policy, clock())  # a download takes time
            if reason:
                return Change("", entry.release, reason, [])
            try:
                change = install(path, settings, facts, clock(), selftest)
            except Refused as refusal:
                remove_download(path, folder)
                if path.endswith(PATCHED) and refusal.reason != "locked":
                    continue  # the difference file was not for this release: the whole bundle follows
                raise
            remove_download(path, folder)
            return change
    raise EdgeError("the source has no bundle that could be read; look at its index.")


PATCHED = ".patched"


def _why_not(
    slots: Slots,
    settings: DeviceSettings,
    policy: UpdatePolicy,
    entry: Optional[Entry],
    source: Source,
    now: float,
    again: bool,
) -> str:
    """Return the sentence that says why nothing is installed, or ""."""
    state = slots.state()
    if entry is None:
        return f"{source.where} has no release of {settings.product}."
    if entry.product != settings.product:
        raise Refused("index", f"the index of {source.where} is for the product {entry.product[:60]!r}.")
    if entry.release <= state.release:
        return f"{source.where} has release {entry.release}; this device has had release {state.release}."
    if state.in_probation and state.marks[state.other] == GOOD:
        return f"the active release is in probation; release {entry.release} waits for its end."
    if state.marks[state.other] == SHADOW and release_in(slots.folder(state.other)) == entry.release:
        return f"release {entry.release} runs beside the active one; `safeml-edge shadow --promote` decides."
    if entry.release == state.unfit and not again:
        return f"release {entry.release} failed on this device before; `safeml-edge update --again` tries it again."
    if entry.bytes > policy.most_bytes:
        raise Refused(
            "source",
            f"the bundle has {entry.bytes:,} bytes; expected at most {policy.most_bytes:,} (update.most_bytes).",
        )
    here = place(settings.device_id, settings.product, entry.release, min(policy.percent, entry.percent))
    if not here.joins:
        return f"release {entry.release} is rolled out to {here.limit:g} % of the devices; this one joins at {here.percent:g} %."
    return _hours(slots, policy, now)


def _hours(slots: Slots, policy: UpdatePolicy, now: float) -> str:
    return allowed(policy, now, created(slots)).sentence


def _bundles(slots: Slots, source: Source, entry: Entry, folder: str, policy: UpdatePolicy) -> Iterator[str]:
    """Yield paths of the bundle: from a difference file where one fits, then whole."""
    delta = _delta(slots, entry)
    patched = _patched(slots, source, delta, entry, folder) if delta is not None else ""
    if patched:
        yield patched
    _check_space(folder, entry.bytes)
    yield source.fetch(entry.file, entry.bytes, folder)


def _tidy(folder: str, entry: Entry) -> None:
    """Remove what earlier downloads left, but for a part of the bundle that can be continued."""
    for name in os.listdir(folder):
        if name not in (entry.file + PART, entry.file + ABOUT):
            remove(os.path.join(folder, name))


def _delta(slots: Slots, entry: Entry) -> Optional[Delta]:
    active = slots.active()
    if active is None or not entry.deltas:
        return None
    base = hashlib.sha256(_read(active, MANIFEST_FILE)).hexdigest()
    fitting = [delta for delta in entry.deltas if delta.base == base and delta.bytes < entry.bytes]
    return min(fitting, key=lambda delta: delta.bytes) if fitting else None


def _patched(slots: Slots, source: Source, delta: Delta, entry: Entry, folder: str) -> str:
    """Return the bundle that a difference file gives, or "" where it cannot be fetched or applied: the whole bundle serves then."""
    out = os.path.join(folder, entry.file + PATCHED)
    path = os.path.join(folder, delta.file)
    try:
        _check_space(folder, entry.bytes + delta.bytes)
        path = source.fetch(delta.file, delta.bytes, folder)
        apply_delta(bundle_of(slots.active() or ""), path, out, entry.bytes)
    except (Refused, EdgeError):
        return ""
    finally:
        remove_download(path, folder)
    return out


def bundle_of(folder: str) -> Parts:
    """Return the bundle that a slot was unpacked from, byte for byte, as parts that are read where they are."""
    envelope, manifest = _read(folder, ENVELOPE_FILE), _read(folder, MANIFEST_FILE)
    head = HEAD.pack(MAGIC, len(envelope), len(manifest)) + envelope + manifest
    files = [(os.path.join(folder, one.name), one.bytes) for one in parse_manifest(manifest).files]
    return Parts([head, *files])


def remove_download(path: str, folder: str) -> None:
    """Remove a file that was downloaded; one that is read in a folder of somebody else stays."""
    if os.path.dirname(path) == folder:
        remove(path)


def _check_space(folder: str, size: int) -> None:
    facts = os.statvfs(folder)
    free = facts.f_bavail * facts.f_frsize
    if free < size + SPARE_BYTES:
        raise EdgeError(
            f"{folder} has {free >> 20} MB free; the download needs {(size + SPARE_BYTES) >> 20} MB; remove other files."
        )


def _read(folder: str, name: str) -> bytes:
    with open(os.path.join(folder, name), "rb") as stream:
        return stream.read()
