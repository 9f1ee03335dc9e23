"""Whether a device believes a bundle. Each check is a function; `believed` has their order, and nothing is read ahead of it.

lengths; form of the envelope; signature by a trust key; payload type; statement; sha256 of the manifest; only then the manifest:
product, release, dates, runtime, device, agreement with the statement, override, file names; then lengths and hashes of the files.
"""

import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Dict, NamedTuple, Optional

from . import container, dsse, limits, moments, unpacked
from .conditions import check_dates, check_device, check_product, check_release, check_runtime
from .ed25519 import verify_signature
from .errors import EdgeError, Refused, Usage
from .manifest import FLOAT_RESULTS_FILE, RESULTS_FILE, Manifest, check_files, parse_manifest
from .settings import DeviceSettings
from .statement import Statement, parse_statement
from .strict_json import quoted

if TYPE_CHECKING:
    from .facts import DeviceFacts

ENVELOPE_FILE, MANIFEST_FILE = "bundle.dsse.json", "manifest.json"


class Verified(NamedTuple):
    """A bundle that the device believes.

    keyid: the trust key that signed it.
    overridden: it was released by an override, and the settings accept that.
    """

    manifest: Manifest
    statement: Statement
    keyid: str
    overridden: bool


def verify_bundle(
    path: str, settings: DeviceSettings, facts: "DeviceFacts", last_release: int, now: float
) -> Verified:
    """Read a whole bundle, hash each file, and write nothing.

    last_release: the highest release that the device has had; 0 for none. now: seconds since 1970.
    Raises Refused.
    """
    opened = container.open_container(str(path))
    with opened.stream:
        verified = believed(opened.envelope, opened.manifest, settings, facts, last_release, now)
        container.check_lengths(opened, verified.manifest)
        container.read_files(
            opened, verified.manifest, lambda one, parts: container.copy(one, parts, _nothing)
        )
    return verified


def unpack_bundle(
    path: str, folder: str, settings: DeviceSettings, facts: "DeviceFacts", last_release: int, now: float
) -> Verified:
    """Write the files of a bundle to the new folder `folder`, hashing them on the way, and return when they are on the disk.

    The arguments are those of `verify_bundle`. The folder must not exist. On a refusal or a failure nothing of it is left.
    `bundle.dsse.json` and `manifest.json` are written last, so that a folder without them is not complete.
    """
    opened = container.open_container(str(path))
    with opened.stream:
        verified = believed(opened.envelope, opened.manifest, settings, facts, last_release, now)
        container.check_lengths(opened, verified.manifest)
        folder = str(folder)
        try:
            os.mkdir(folder, 0o755)
        except FileExistsError:
            raise Usage(f"{folder}: it exists; name a new folder.") from None
        except OSError as error:
            raise EdgeError(f"{folder}: it cannot be made ({error.strerror}).") from None
        try:
            container.read_files(
                opened, verified.manifest, lambda one, parts: unpacked.store(folder, one, parts)
            )
            for name, data in ((MANIFEST_FILE, opened.manifest), (ENVELOPE_FILE, opened.envelope)):
                unpacked.write(os.path.join(folder, name), data)
            unpacked.sync_folders(folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise EdgeError(f"{folder}: the bundle cannot be written ({error.strerror}).") from None
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return verified


def verify_folder(folder: str, settings: DeviceSettings, facts: "DeviceFacts", now: float) -> Verified:
    """Check an unpacked bundle as `verify_bundle` does, but for the release, and that the folder holds nothing else.

    A key past its last day still counts here: it had not passed when the bundle was installed. A revoked one does not.
    """
    folder = str(folder)
    sizes = unpacked.sizes_of(folder)
    parts = []
    for name, most in ((ENVELOPE_FILE, limits.ENVELOPE_BYTES), (MANIFEST_FILE, limits.MANIFEST_BYTES)):
        if name not in sizes:
            raise Refused("missing-file", f"{folder} has no {name}, so no bundle was installed completely.")
        stream, length = container.open_regular(os.path.join(folder, name))
        with stream:
            if not 0 < length <= most:
                raise Refused(
                    "envelope-length" if name == ENVELOPE_FILE else "manifest-length",
                    f"{folder}: {name} has {length} bytes; expected 1 to {most}.",
                )
            parts.append(stream.read(most + 1))
    verified = believed(parts[0], parts[1], settings, facts, None, now)
    listed = {one.name: one for one in verified.manifest.files}
    for name in sorted(set(listed) - set(sizes)):
        raise Refused("missing-file", f"{folder} has no {quoted(name)}, which the manifest lists.")
    for name in sorted(set(sizes) - set(listed) - {ENVELOPE_FILE, MANIFEST_FILE}):
        raise Refused("extra-file", f"{folder} has {quoted(name)}, which the manifest does not list.")
    for one in verified.manifest.files:
        stream, length = container.open_regular(os.path.join(folder, one.name))
        with stream:
            if length != one.bytes:
                raise Refused(
                    "wrong-length", f"{folder}: {quoted(one.name)} has {length} bytes; expected {one.bytes}."
                )
            container.copy(one, container.chunks(stream, one.bytes), _nothing)
    return verified


def believed(
    envelope: bytes,
    manifest: bytes,
    settings: DeviceSettings,
    facts: "DeviceFacts",
    last_release: Optional[int],
    now: float,
) -> Verified:
    """Return what an envelope and a manifest state, after every check that needs no file; last_release None is a start."""
    signed = dsse.parse_envelope(envelope)
    keyid = signer(signed, settings, now if last_release is not None else None)
    dsse.check_type(signed)
    statement = parse_statement(signed.payload)
    if hashlib.sha256(manifest).hexdigest() != statement.subjects[0].sha256:
        raise Refused(
            "manifest-mismatch", "the signed statement is about another manifest than the one in the bundle."
        )
    content = parse_manifest(manifest)
    check_product(content, settings)
    if last_release is not None:
        check_release(content, last_release)
    if last_release is not None or not settings.allow_expired_start:
        check_dates(content, settings, now)
    check_runtime(content)
    check_device(content, settings, facts)
    check_agreement(content, statement)
    overridden = check_override(statement, settings)
    check_files(content)
    check_subjects(content, statement)
    return Verified(content, statement, keyid, overridden)


def signer(envelope: dsse.Envelope, settings: DeviceSettings, now: Optional[float]) -> str:
    """Return the id of the trust key that signed; now: None where the last day of a key does not count.

    Signatures by unknown keys are passed over, because a bundle may be signed by the old and the new key of a rotation. One
    signature that does not verify under its trust key refuses the bundle, whatever the others are.
    """
    if not envelope.signatures:
        raise Refused("unsigned", "the bundle has no signature; sign it with a key that this device trusts.")
    keys = {key.keyid: key for key in settings.keys}
    message = dsse.pae(envelope.payload_type, envelope.payload)
    signers = []
    refusals: Dict[str, str] = {}
    for one in envelope.signatures:
        short = one.keyid[:16]
        if one.keyid in settings.revoked:
            refusals["key-revoked"] = (
                f"the key {short} is on the device's list of revoked keys; use a bundle signed with another key."
            )
            continue
        key = keys.get(one.keyid)
        if key is None:
            continue
        if not verify_signature(key.public, message, one.sig):
            raise Refused(
                "bad-signature", f"the signature by the key {short} does not verify; fetch the bundle again."
            )
        if now is not None and key.until is not None and now >= key.until:
            refusals["key-expired"] = (
                f"the key {short} signs no bundle from {moments.utc(key.until)} on; use a bundle signed with another key."
            )
            continue
        signers.append(one.keyid)
    if signers:
        return signers[0]
    for reason in ("key-revoked", "key-expired"):
        if reason in refusals:
            raise Refused(reason, refusals[reason])
    raise Refused(
        "unknown-key",
        f"the bundle is signed by the key {envelope.signatures[0].keyid[:16]}, which is none of this device's; compare it with `safeml-edge keys`.",
    )


def check_agreement(manifest: Manifest, statement: Statement) -> None:
    """Refuse a manifest that is not of the release, product and audit that the statement names."""
    pairs = (
        ("release", manifest.release, statement.release),
        ("product", manifest.product, statement.product),
        ("verdict", manifest.evidence.verdict, statement.verdict),
        ("profile", manifest.evidence.profile, statement.profile),
    )
    for name, ours, theirs in pairs:
        if ours != theirs:
            raise Refused(
                "mix-and-match",
                f"the manifest has the {name} {quoted(str(ours))}, the signed statement {quoted(str(theirs))}.",
            )


def check_override(statement: Statement, settings: DeviceSettings) -> bool:
    """Return whether the bundle is overridden; refuse it then unless the settings allow it."""
    if statement.override is None:
        return False
    if not settings.allow_override:
        raise Refused(
            "override-not-allowed",
            f"the audit has the verdict {statement.verdict} of the {statement.profile} profile and was overridden ({quoted(statement.override)}); this device accepts passed full audits only.",
        )
    return True


def check_subjects(manifest: Manifest, statement: Statement) -> None:
    """Refuse unless the statement names each ONNX model and the results, and each with the hash of the manifest."""
    files = {one.name: one.sha256 for one in manifest.files}
    subjects = {one.name: one.sha256 for one in statement.subjects[1:]}
    for name in sorted(subjects):
        if files.get(name) != subjects[name]:
            raise Refused(
                "mix-and-match",
                f"the signed statement names {quoted(name)} with another content than the manifest.",
            )
    for name in [one.path for one in manifest.models.values() if one.kind == "onnx"] + [RESULTS_FILE]:
        if name not in subjects:
            raise Refused("mix-and-match", f"the signed statement does not name {quoted(name)}.")
    if files[RESULTS_FILE] != manifest.evidence.results_sha256:
        raise Refused("mix-and-match", f"{RESULTS_FILE} is not the results file of the evidence.")
    own = manifest.float_monitor
    if own is not None and files[FLOAT_RESULTS_FILE] != own.results_sha256:
        raise Refused("mix-and-match", f"{FLOAT_RESULTS_FILE} is not the results file of the float monitor.")


def _nothing(part: bytes) -> None:
    """Write nowhere."""
