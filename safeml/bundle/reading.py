"""A bundle read on the host, by the code of the device: form, statement, manifest, hashes; and its signature where keys are given."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safeml.edge import container, dsse
from safeml.edge.errors import EdgeFailure, Refused
from safeml.edge.manifest import File, Manifest, check_files, parse_manifest
from safeml.edge.settings import Key
from safeml.edge.statement import Statement, parse_statement
from safeml.edge.strict_json import quoted
from safeml.edge.verify import check_agreement, check_subjects
from safeml.errors import InputRefused
from safeml.report.signature import SIGNATURE, Signed, parse_signature
from safeml.report.write import CHECKSUMS
from safeml.results import ARTEFACTS
from safeml.stages.monitors import MONITORS
from safeml.store.files import file_sha256

AUDIT = "audit"
MONITOR_FOLDER = "monitor"
BUNDLED_SUMS = f"{AUDIT}/{CHECKSUMS.lower()}.txt"
BUNDLED_SIGNATURE = f"{AUDIT}/{SIGNATURE}"
# Small files whose content is returned; the others are hashed alone.
MOST_KEPT_BYTES = 1024 * 1024


@dataclass(frozen=True)
class OpenedBundle:
    """A bundle whose parts belong together. Nothing says that it is authentic unless `verified_by` names a key.

    path: of the file. sha256: of its bytes. size: their number.
    manifest, statement: as a device reads them.
    signers: ids of the keys that signed, without a check.
    verified_by: ids of the given keys whose signatures verify.
    small: content of the files up to MOST_KEPT_BYTES, by name.
    """

    path: Path
    sha256: str
    size: int
    manifest: Manifest
    statement: Statement
    signers: tuple[str, ...]
    verified_by: tuple[str, ...]
    small: dict[str, bytes]


def read_bundle(path: Path, keys: Sequence[Key] = ()) -> OpenedBundle:
    """Read a whole bundle and hash each file.

    keys: public keys; each signature by one of them is verified. Raises InputRefused for a bundle that a device would refuse
    whatever its settings are, and for a signature by one of `keys` that does not verify.
    """
    small: dict[str, bytes] = {}
    with refusals(path):
        opened = container.open_container(str(path))
        with opened.stream:
            envelope = dsse.parse_envelope(opened.envelope)
            dsse.check_type(envelope)
            statement = parse_statement(envelope.payload)
            if hashlib.sha256(opened.manifest).hexdigest() != statement.subjects[0].sha256:
                raise Refused("manifest-mismatch", "the statement is about another manifest.")
            manifest = parse_manifest(opened.manifest)
            check_agreement(manifest, statement)
            check_files(manifest)
            check_subjects(manifest, statement)
            container.check_lengths(opened, manifest)

            def store(one: File, parts: Iterator[bytes]) -> None:
                kept = io.BytesIO()
                container.copy(one, parts, kept.write if one.bytes <= MOST_KEPT_BYTES else len)
                if one.bytes <= MOST_KEPT_BYTES:
                    small[one.name] = kept.getvalue()

            container.read_files(opened, manifest, store)
        verified = verified_by(envelope, keys)
    return OpenedBundle(
        path,
        file_sha256(path),
        path.stat().st_size,
        manifest,
        statement,
        tuple(one.keyid for one in envelope.signatures),
        verified,
        small,
    )


def verified_by(envelope: dsse.Envelope, keys: Sequence[Key]) -> tuple[str, ...]:
    """Return the ids of those of `keys` that signed; raises Refused for a signature by one of them that does not verify."""
    from safeml.edge.ed25519 import verify_signature

    message = dsse.pae(envelope.payload_type, envelope.payload)
    public = {key.keyid: key.public for key in keys}
    verified = []
    for one in envelope.signatures:
        if one.keyid in public:
            if not verify_signature(public[one.keyid], message, one.sig):
                raise Refused("bad-signature", f"the signature by the key {one.keyid[:16]} does not verify.")
            verified.append(one.keyid)
    return tuple(verified)


def report_signature(bundle: OpenedBundle, keys: Sequence[Key]) -> tuple[Signed, tuple[str, ...]] | None:
    """Return the signature of the report in a bundle and those of `keys` that made it; None where the report is not signed.

    Raises InputRefused where the bundle holds another report than the signed one, and as `read_bundle` for the signature.
    """
    content = bundle.small.get(BUNDLED_SIGNATURE)
    if content is None:
        return None
    hashes = {one.name: one.sha256 for one in bundle.manifest.files}
    with refusals(bundle.path):
        signed = parse_signature(content, f"{bundle.path}: {BUNDLED_SIGNATURE}")
        for one in signed.statement.files:
            if hashes.get(_bundled(one.name)) != one.sha256:
                raise Refused(
                    "mix-and-match", f"its report has another {quoted(one.name)} than the signed one."
                )
        return signed, verified_by(signed.envelope, keys)


def _bundled(name: str) -> str:
    """Return the name in a bundle of a file of the run folder; its monitor is in the folder of the device's monitor."""
    if name == CHECKSUMS:
        return BUNDLED_SUMS
    if name.startswith(f"{ARTEFACTS}/{MONITORS.name}/"):
        return f"{MONITOR_FOLDER}/{Path(name).name}"
    return f"{AUDIT}/{name}"


@contextmanager
def refusals(where: Path) -> Iterator[None]:
    """Turn a refusal or a failure of the device's code into an error of the host, with the same sentence."""
    try:
        yield
    except Refused as error:
        raise InputRefused(f"{where}: refused [{error.reason}]: {error.message}") from None
    except EdgeFailure as error:
        raise InputRefused(error.message) from None
