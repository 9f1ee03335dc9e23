"""Whether a device believes a bundle. Each check is a function; `believed` has their order, and nothing is read ahead of it.

lengths; form of the envelope; signature by a trust key; payload type; statement; sha256 of the manifest; only then the manifest:
product, release, dates, runtime, device, agreement with the statement, override, file names; then lengths and hashes of the files.
"""

import hashlib
import os
import shutil
import stat
from typing import Any, BinaryIO, Dict, Iterator, NamedTuple, Optional, Tuple

from . import container, dsse, limits, moments
from .ed25519 import verify_signature
from .errors import EdgeError, Refused, Usage
from .manifest import RESULTS_FILE, File, Manifest, Range, check_files, parse_manifest
from .settings import DeviceSettings
from .statement import Statement, parse_statement
from .strict_json import quoted
from .version import VERSION

ENVELOPE_FILE, MANIFEST_FILE = "bundle.dsse.json", "manifest.json"


class Verified(NamedTuple):
    """A bundle that the device believes.

    keyid: the trust key that signed it.
    overridden: its audit did not pass, and the settings accept that.
    """

    manifest: Manifest
    statement: Statement
    keyid: str
    overridden: bool


def verify_bundle(path: str, settings: DeviceSettings, facts: Any, last_release: int, now: float) -> Verified:
    """Read a whole bundle, hash each file, and write nothing.

    facts: DeviceFacts. last_release: the highest release that the device has had; 0 for none. now: seconds since 1970.
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
    path: str, folder: str, settings: DeviceSettings, facts: Any, last_release: int, now: float
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
            container.read_files(opened, verified.manifest, lambda one, parts: _store(folder, one, parts))
            for name, data in ((MANIFEST_FILE, opened.manifest), (ENVELOPE_FILE, opened.envelope)):
                _write(os.path.join(folder, name), iter([data]))
            _sync_folders(folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise EdgeError(f"{folder}: the bundle cannot be written ({error.strerror}).") from None
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return verified


def verify_folder(folder: str, settings: DeviceSettings, facts: Any, now: float) -> Verified:
    """Check an unpacked bundle as `verify_bundle` does, but for the release, and that the folder holds nothing else.

    A key past its last day still counts here: it had not passed when the bundle was installed. A revoked one does not.
    """
    folder = str(folder)
    sizes = _sizes(folder)
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
    facts: Any,
    last_release: Optional[int],
    now: float,
) -> Verified:
    """Return what an envelope and a manifest state, after every check that needs no file; last_release None is a start."""
    signed = dsse.parse_envelope(envelope)
    keyid = signer(signed, settings, now if last_release is not None else None)
    if signed.payload_type != dsse.PAYLOAD_TYPE:
        raise Refused(
            "payload-type", f"the payload is {quoted(signed.payload_type)}; expected {dsse.PAYLOAD_TYPE}."
        )
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
    refusals = {}  # type: Dict[str, str]
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


def check_product(manifest: Manifest, settings: DeviceSettings) -> None:
    """Refuse a bundle for another product."""
    if manifest.product != settings.product:
        raise Refused(
            "wrong-product",
            f"the bundle is for {quoted(manifest.product)}; this device is {quoted(settings.product)}.",
        )


def check_release(manifest: Manifest, last_release: int) -> None:
    """Refuse a release that is not above the last one."""
    if manifest.release == last_release:
        raise Refused(
            "same-release",
            f"release {manifest.release} has been on this device already; expected a later one.",
        )
    if manifest.release < last_release:
        raise Refused(
            "rollback",
            f"release {manifest.release} is older than release {last_release}, which this device has had.",
        )


def check_dates(manifest: Manifest, settings: DeviceSettings, now: float) -> None:
    """Refuse a bundle from the future, one past its last day, and one without a last day where the settings require one."""
    if not now >= manifest.created:
        raise Refused(
            "clock-behind",
            f"the clock is at {moments.utc(now)} and the bundle was made at {moments.utc(manifest.created)}; set the clock.",
        )
    if manifest.expires is None:
        if not settings.allow_no_expiry:
            raise Refused(
                "no-expiry",
                "the bundle has no last day; this device requires one (allow_no_expiry of its settings).",
            )
    elif now >= manifest.expires:
        raise Refused(
            "expired", f"the bundle was valid until {moments.utc(manifest.expires)}; install a newer release."
        )


def check_runtime(manifest: Manifest) -> None:
    """Refuse a bundle that needs a newer runtime than this one."""
    if (moments.numbers(VERSION) or ()) < manifest.runtime:
        raise Refused(
            "runtime-too-old",
            f"the bundle needs safeml-edge {_dotted(manifest.runtime)}; this is {VERSION}; update it.",
        )


def check_device(manifest: Manifest, settings: DeviceSettings, facts: Any) -> None:
    """Refuse a bundle whose constraints the device does not meet; a fact that could not be read meets none.

    GPU, TensorRT and JetPack do not count where the settings choose ONNX Runtime, which uses none of them.
    """
    needs = manifest.constraints
    if (
        needs.architectures
        and _known(facts.architecture, "processor architecture") not in needs.architectures
    ):
        raise _constrained(
            "wrong-architecture", "architecture", facts.architecture, " or ".join(needs.architectures)
        )
    if settings.backend != "onnxruntime":
        capability = needs.compute_capabilities
        if capability and _known(facts.compute_capability, "GPU's compute capability") not in capability:
            raise _constrained(
                "wrong-compute-capability",
                "compute capability",
                facts.compute_capability,
                " or ".join(capability),
            )
        for reason, name, value, span in (
            ("wrong-tensorrt", "TensorRT", facts.tensorrt, needs.tensorrt),
            ("wrong-jetpack", "JetPack", facts.jetpack, needs.jetpack),
        ):
            if not within(value, name, span):
                raise _constrained(reason, name, value, _span(span))
    if needs.memory_mb and not _known(facts.memory_mb, "memory") >= needs.memory_mb:
        raise _constrained(
            "too-little-memory", "memory", f"{facts.memory_mb} MB", f"at least {needs.memory_mb} MB"
        )


def within(value: Any, name: str, span: Range) -> bool:
    """Return whether a version of the device, as text, is in the span; raises Refused where it is unknown and constrained."""
    if span.least is None and span.below is None:
        return True
    version = _known(moments.numbers(value), name + " version")
    return (span.least is None or version >= span.least) and (span.below is None or version < span.below)


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


def _known(value: Any, name: str) -> Any:
    if value is None:
        raise Refused(
            "device-unknown",
            f"the {name} of this device could not be read, and the bundle constrains it; run `safeml-edge preflight`.",
        )
    return value


def _constrained(reason: str, name: str, ours: Any, theirs: str) -> Refused:
    return Refused(reason, f"the bundle is for {name} {theirs}; this device has {ours}.")


def _span(span: Range) -> str:
    least = [] if span.least is None else [f"from {_dotted(span.least)}"]
    below = [] if span.below is None else [f"below {_dotted(span.below)}"]
    return " and ".join(least + below)


def _dotted(version: Tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _nothing(part: bytes) -> None:
    """Write nowhere."""


def _store(folder: str, one: File, parts: Iterator[bytes]) -> None:
    path = os.path.join(folder, one.name)
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    with _new_file(path) as stream:
        container.copy(one, parts, stream.write)
        _flush(stream)


def _write(path: str, parts: Iterator[bytes]) -> None:
    with _new_file(path) as stream:
        for part in parts:
            stream.write(part)
        _flush(stream)


def _new_file(path: str) -> BinaryIO:
    return os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), "wb"
    )


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folders(folder: str) -> None:
    """Make the names durable: each folder, innermost first, and the parent of `folder`."""
    for place, _, _ in os.walk(folder, topdown=False):
        _sync_folder(place)
    _sync_folder(os.path.dirname(os.path.abspath(folder)))


def _sync_folder(place: str) -> None:
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sizes(folder: str) -> Dict[str, int]:
    """Return the length of each file below a folder; refuse links, other kinds, empty folders and what other users may change."""
    if not os.path.isdir(folder):
        raise Usage(f"{folder}: there is no such folder.")
    sizes = {}  # type: Dict[str, int]
    waiting = [""]
    while waiting:
        place = waiting.pop()
        where = os.path.join(folder, place)
        _check_safe(os.stat(where), where)
        names = os.listdir(where)
        if place and not names:
            raise Refused(
                "extra-file",
                f"{folder} has the empty folder {quoted(place)}, which the manifest does not list.",
            )
        for name in names:
            path = os.path.join(place, name)
            facts = os.lstat(os.path.join(folder, path))
            if stat.S_ISDIR(facts.st_mode):
                waiting.append(path)
            elif stat.S_ISREG(facts.st_mode):
                _check_safe(facts, os.path.join(folder, path))
                sizes[path] = facts.st_size
            else:
                raise Refused("unsafe-folder", f"{folder}: {quoted(path)} is a link or no regular file.")
            if len(sizes) + len(waiting) > 2 * limits.FILES:
                raise Refused("extra-file", f"{folder} has more files than a bundle may have.")
    return sizes


def _check_safe(facts: os.stat_result, where: str) -> None:
    if facts.st_mode & 0o022:
        raise Refused(
            "unsafe-folder",
            f"{where}: other users may change it; run chmod go-w on it, and install the bundle again if in doubt.",
        )
