"""Sign the report of a run folder, and verify such a signature: the code of bundles over the files that a reader sees.

A signature of a report is no approval: a failed verdict can be signed too, and the statement says which one it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeml.bundle.evidence import read_evidence
from safeml.bundle.reading import refusals, verified_by
from safeml.bundle.signing import envelope_of, key_id, public_bytes
from safeml.edge.settings import Key
from safeml.edge.statement import InTotoResult
from safeml.errors import ConfigError, InputRefused, MissingInput
from safeml.report import signature
from safeml.report.signature import SIGNATURE
from safeml.report.statement import ReportStatement, claims_of, write_statement
from safeml.report.write import CHECKSUMS, write_report
from safeml.store.files import keep, read_run


@dataclass(frozen=True)
class VerifiedReport:
    """A report whose signature and files were checked.

    statement: what was signed.
    keyids: the trusted keys that signed.
    others: ids of further signatures, by keys that were not given.
    not_covered: folders in the run folder that no signature covers.
    """

    statement: ReportStatement
    keyids: tuple[str, ...]
    others: tuple[str, ...]
    not_covered: tuple[str, ...]


def sign_report(
    folder: Path, keys: Sequence[Ed25519PrivateKey], today: str, *, replace: bool = False
) -> ReportStatement:
    """Sign the report in a run folder, write `signature.dsse.json` into it, and return what is signed.

    A stale signature is removed and the report drawn again without the note about it.
    today: ISO date (UTC). replace: a signature of the present content.
    Raises InputRefused for a folder whose files do not belong together, and ConfigError where a valid signature is in the way.
    """
    path = folder / SIGNATURE
    evidence = read_evidence(folder, today)
    if path.is_symlink() or path.exists():
        if signature.stale_sentence(folder):
            path.unlink()
            write_report(evidence.run, folder, evidence.times)
            evidence = read_evidence(folder, today)
        elif not replace:
            raise ConfigError(f"{path}: signs this content already; replace it with --force.")
    files = signature.covered_files(folder)
    known = {*evidence.files, CHECKSUMS, *(f"{stage.stage}.log" for stage in evidence.run.stages)}
    for one in files:
        if one.name not in known:
            raise InputRefused(
                f"{folder / one.name}: is not of this report, and a signature would cover it; move it out of the run folder."
            )
        if evidence.files.get(one.name, one.sha256) != one.sha256:
            raise InputRefused(f"{folder / one.name}: changed while it was signed; sign again when nothing writes to the run.")  # fmt: skip
    payload = write_statement(files, claims_of(evidence.run))
    keep(path, envelope_of(payload, keys))
    _check(folder, [_key(key) for key in keys])
    signed = signature.read_signature(folder)
    assert signed is not None  # just written and checked
    return signed.statement


def verify_report(folder: Path, keys: Sequence[Key]) -> VerifiedReport:
    """Check that one of `keys` signed the report in `folder`, and that no file was changed, removed or added since.

    Raises MissingInput where there is no signature, and InputRefused where it does not hold.
    """
    if not folder.is_dir():
        raise MissingInput(f"{folder}: is not a folder; give the run folder of `safeml audit`.")
    return _check(folder, keys)


def _check(folder: Path, keys: Sequence[Key]) -> VerifiedReport:
    path = folder / SIGNATURE
    signed = signature.read_signature(folder)
    if signed is None:
        raise MissingInput(
            f"{path}: there is no such file, so the report is not signed; sign it with `safeml sign {folder}`."
        )
    with refusals(path):
        keyids = verified_by(signed.envelope, keys)
    signers = tuple(one.keyid for one in signed.envelope.signatures)
    if not keyids:
        by = (
            f"signed by the key {signers[0][:16]}, which is none of the given ones"
            if signers
            else "not signed"
        )
        raise InputRefused(f"{path}: the report is {by}; give the public key of its signer with --trust, or ask for a report signed by a key that you trust.")  # fmt: skip
    differences = signature.changes(folder, signed.statement)
    if differences:
        raise InputRefused(
            f"{folder}: is not what was signed: {'; '.join(differences[:5])}. Restore the files, or {signature.REMEDY}."
        )
    if _lasting(claims_of(read_run(folder))) != _lasting(signed.statement.claims):
        raise InputRefused(
            f"{path}: states another verdict, profile, model or data than results.json; {signature.REMEDY}."
        )
    others = tuple(one for one in signers if one not in keyids)
    return VerifiedReport(signed.statement, keyids, others, tuple(signature.not_covered(folder)))


def _lasting(claims: InTotoResult) -> InTotoResult:
    """Return claims without the hashes of the limits, to which a later version may add a field; results.json is hashed itself."""
    return claims._replace(configuration=())


def _key(key: Ed25519PrivateKey) -> Key:
    public = public_bytes(key)
    return Key(key_id(public), public)
