"""The signature envelope: DSSE v1 (Dead Simple Signing Envelope, secure-systems-lab/dsse, 2021) with Ed25519 signatures.

An envelope is accepted only in the one form that `write_envelope` gives it, so that no byte of it can change without a refusal.
"""

import base64
import binascii
from typing import Any, NamedTuple, Tuple

from . import limits, strict_json
from .errors import Refused
from .strict_json import Malformed, quoted

PAYLOAD_TYPE = "application/vnd.in-toto+json"


class Signature(NamedTuple):
    """One signature.

    keyid: sha256 of the 32 bytes of the public key, 64 hexadecimal digits.
    sig: 64 bytes.
    """

    keyid: str
    sig: bytes


class Envelope(NamedTuple):
    """A payload with its signatures; nothing of it is believed before a signature verifies over `pae`.

    payload_type: `PAYLOAD_TYPE` in a bundle.
    payload: the bytes that are signed, with their type.
    signatures: none in an unsigned bundle.
    """

    payload_type: str
    payload: bytes
    signatures: Tuple[Signature, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: the bytes that a signature covers."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def check_type(envelope: Envelope) -> None:
    """Refuse a payload that is no in-toto statement: a signature over another kind of payload states nothing here."""
    if envelope.payload_type != PAYLOAD_TYPE:
        raise Refused(
            "payload-type", f"the payload is {quoted(envelope.payload_type)}; expected {PAYLOAD_TYPE}."
        )


def write_envelope(envelope: Envelope) -> bytes:
    """Return the JSON of an envelope."""
    return strict_json.write(
        {
            "payloadType": envelope.payload_type,
            "payload": base64.b64encode(envelope.payload).decode("ascii"),
            "signatures": [
                {"keyid": one.keyid, "sig": base64.b64encode(one.sig).decode("ascii")}
                for one in envelope.signatures
            ],
        }
    )


def parse_envelope(data: bytes) -> Envelope:
    """Return the envelope in `data`; raises Refused with "envelope-invalid"."""
    try:
        if len(data) > limits.ENVELOPE_BYTES:
            raise Malformed(f"it has {len(data)} bytes; expected at most {limits.ENVELOPE_BYTES}")
        value = strict_json.fields(strict_json.parse(data), "it", ("payloadType", "payload", "signatures"))
        signatures = tuple(
            _signature(one, f"signatures[{place}]")
            for place, one in enumerate(
                strict_json.items(value["signatures"], "signatures", limits.SIGNATURES)
            )
        )
        if len({one.keyid for one in signatures}) < len(signatures):
            raise Malformed("two signatures name the same key")
        kind = strict_json.text(value["payloadType"], "payloadType")
        envelope = Envelope(kind, _decoded(value["payload"], "payload"), signatures)
        if write_envelope(envelope) != data:
            raise Malformed("it is not in the form that safeml writes; expected sorted keys and no blanks")
    except Malformed as error:
        raise Refused("envelope-invalid", f"the envelope is refused: {error}.") from None
    return envelope


def _signature(value: Any, where: str) -> Signature:
    strict_json.fields(value, where, ("keyid", "sig"))
    keyid, sig = strict_json.sha256(value["keyid"], where + ".keyid"), _decoded(value["sig"], where + ".sig")
    if len(sig) != 64:
        raise Malformed(f"{where}.sig has {len(sig)} bytes; expected 64")
    return Signature(keyid, sig)


def _decoded(value: Any, where: str) -> bytes:
    text = strict_json.text(value, where, limits.ENVELOPE_BYTES)
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Malformed(f"{where} is not base64") from None
