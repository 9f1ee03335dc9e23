"""The DSSE envelope and the signed statement."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeml.edge import dsse, limits, statement
from safeml.edge.statement import Resource, Statement, parse_statement, write_statement
from tests.edge_bundles import KEY, SECOND, Bundle, as_json, digest, refused, signed, trust


def test_the_encoding_is_that_of_the_dsse_protocol() -> None:
    """The example of the specification, secure-systems-lab/dsse, protocol.md, "Test Vectors"."""
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert dsse.pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


@given(st.text(max_size=9), st.binary(max_size=9), st.text(max_size=9), st.binary(max_size=9))
def test_two_payloads_never_have_one_encoding(kind: str, payload: bytes, other: str, second: bytes) -> None:
    same = (kind, payload) == (other, second)
    try:
        assert (dsse.pae(kind, payload) == dsse.pae(other, second)) == same
    except UnicodeEncodeError:  # half of a surrogate pair, which strict JSON refuses
        assert not (kind + other).isprintable()


def test_an_envelope_is_read_as_it_was_written() -> None:
    data = signed(b"payload", (KEY, SECOND))
    envelope = dsse.parse_envelope(data)
    assert envelope.payload == b"payload"
    assert [one.keyid for one in envelope.signatures] == [trust(KEY).keyid, trust(SECOND).keyid]
    assert dsse.write_envelope(envelope) == data
    KEY.public_key().verify(envelope.signatures[0].sig, dsse.pae(dsse.PAYLOAD_TYPE, b"payload"))


def value() -> dict[str, Any]:
    return dict(json.loads(signed(b"payload!", (KEY,))))


def canonical(changed: dict[str, Any]) -> bytes:
    return json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()


def test_the_change_helper_changes_nothing_by_itself() -> None:
    assert canonical(value()) == signed(b"payload!", (KEY,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.pop("payload"), "has no payload"),
        (lambda v: v.update(extra=1), "unknown key"),
        (lambda v: v.update(payload=3), "expected a text"),
        (lambda v: v.update(payload="é"), "not base64"),
        (lambda v: v.update(payload="cGF5bG9hZCE"), "not base64"),
        (lambda v: v.update(payload="cGF5bG9hZCF="), "not base64|in the form"),
        (lambda v: v.update(payload="cGF5_G9hZCE="), "not base64"),
        (lambda v: v.update(payload="cGF5 bG9hZCE="), "not base64"),
        (lambda v: v.update(signatures={}), "expected a list"),
        (lambda v: v.update(signatures=v["signatures"] * 2), "two signatures name the same key"),
        (lambda v: v.update(signatures=v["signatures"] * (limits.SIGNATURES + 1)), "expected 0 to 8"),
        (lambda v: v["signatures"][0].update(cert=""), "unknown key"),
        (lambda v: v["signatures"][0].pop("keyid"), "has no keyid"),
        (lambda v: v["signatures"][0].update(keyid="A" * 64), "no sha256"),
        (
            lambda v: v["signatures"][0].update(sig=base64.b64encode(bytes(63)).decode()),
            "63 bytes; expected 64",
        ),
    ],
)
def test_another_form_of_envelope_is_refused(change: Any, words: str) -> None:
    changed = value()
    change(changed)
    with refused("envelope-invalid", words):
        dsse.parse_envelope(canonical(changed))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        json.dumps(value()).encode(),
        canonical(value()) + b"\n",
        b" " + canonical(value()),
        canonical(value())[:-1] + b',"payload":"eA=="}',
        as_json(dict(reversed(value().items()))),
        canonical(value()).replace(b"+json", b"\\u002bjson"),
        canonical({**value(), "payload": "A" * limits.ENVELOPE_BYTES}),
    ],
    ids=[
        "empty",
        "no keys",
        "blanks",
        "newline",
        "leading blank",
        "duplicate key",
        "order",
        "escape",
        "too long",
    ],
)
def test_only_the_one_form_that_is_written_is_read(data: bytes) -> None:
    """Blanks, another order, escapes and a second key `payload` say the same or something else elsewhere."""
    with refused("envelope-invalid"):
        dsse.parse_envelope(data)


def test_an_envelope_may_have_the_whole_length_that_is_allowed() -> None:
    """The type of the payload fills what base64, in steps of four, does not."""
    for length, fits in ((limits.ENVELOPE_BYTES, True), (limits.ENVELOPE_BYTES + 1, False)):
        rest = length - len(dsse.write_envelope(dsse.Envelope("", b"", ()))) - 8
        kind = "t" * (8 + rest % 4)
        data = dsse.write_envelope(dsse.Envelope(kind, b"p" * (rest // 4 * 3), ()))
        assert len(data) == length
        if fits:
            assert dsse.parse_envelope(data).payload_type == kind
        else:
            with refused("envelope-invalid", "expected at most 65536"):
                dsse.parse_envelope(data)


GOOD = Statement(
    subjects=(Resource("manifest.json", digest(b"")), Resource("models/model.int8.onnx", digest(b"m"))),
    result="PASSED",
    configuration=(Resource("safeml.toml", digest(b"s")),),
    passed=("accuracy", "robustness"),
    warned=(),
    failed=(),
    profile="full",
    verdict="passed",
    exit_code=0,
    override=None,
    release=5,
    product="signs",
)
QUICK = GOOD._replace(profile="quick", override="trial", result="WARNED")
STANDARD = QUICK._replace(profile="standard")
FAILED = GOOD._replace(verdict="failed", exit_code=1, failed=("x",), override="trial", result="FAILED")
OPEN = GOOD._replace(verdict="not_proven", exit_code=3, override="trial", result="FAILED")


@pytest.mark.parametrize(
    "good", [GOOD, STANDARD, QUICK, FAILED, OPEN], ids=["passed", "standard", "quick", "failed", "not proven"]
)
def test_a_statement_is_read_as_it_was_written(good: Statement) -> None:
    data = write_statement(good)
    assert parse_statement(data) == good
    parsed = json.loads(data)
    assert parsed["_type"] == "https://in-toto.io/Statement/v1"
    assert parsed["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert parsed["subject"][0] == {"name": "manifest.json", "digest": {"sha256": digest(b"")}}
    assert parsed["predicate"]["passedTests"] == list(good.passed)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (GOOD._replace(profile="quick"), "no override although no full audit passed"),
        (GOOD._replace(profile="standard"), "no override although no full audit passed"),
        (GOOD._replace(verdict="failed", exit_code=1), "no override although no full audit passed"),
        (GOOD._replace(verdict="failed"), "does not have the exit code"),
        (GOOD._replace(exit_code=1), "does not have the exit code"),
        (GOOD._replace(failed=("x",)), "although a gate failed"),
        (GOOD._replace(result="WARNED"), "expected PASSED"),
        (GOOD._replace(override="trial"), "expected WARNED"),
        (QUICK._replace(result="PASSED"), "expected WARNED"),
        (FAILED._replace(result="PASSED"), "expected FAILED"),
        (FAILED._replace(result="WARNED"), "expected FAILED"),
        (OPEN._replace(result="WARNED"), "expected FAILED"),
        (FAILED._replace(override=""), "override.reason"),
        (GOOD._replace(subjects=GOOD.subjects[::-1]), "first subject is not manifest.json"),
        (GOOD._replace(subjects=()), "subject has 0 items"),
        (GOOD._replace(subjects=GOOD.subjects + GOOD.subjects[1:]), "names a file twice"),
        (GOOD._replace(passed=("a", "a")), "lists a text twice"),
        (GOOD._replace(release=0), "release is 0"),
        (GOOD._replace(release=2**31), "release is 2147483648"),
        (GOOD._replace(profile="fast"), "profile"),
        (GOOD._replace(verdict="great"), "verdict"),
    ],
)
def test_a_statement_that_contradicts_itself_is_neither_written_nor_read(
    bad: Statement, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refused("statement-invalid", words):
        write_statement(bad)
    monkeypatch.setattr(statement, "parse_statement", lambda data: bad)
    data = write_statement(bad)
    monkeypatch.undo()
    with refused("statement-invalid", words):
        parse_statement(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda v: v.update(predicateType="https://slsa.dev/provenance/v1"),
        lambda v: v.update(extra=1),
        lambda v: v["predicate"].update(url="https://example.com"),
        lambda v: v["predicate"].pop("failedTests"),
        lambda v: v["predicate"]["safeml"].update(more=1),
        lambda v: v["predicate"]["safeml"].update(release=True),
        lambda v: v["predicate"]["safeml"].update(override="because"),
        lambda v: v["predicate"]["safeml"].update(override={"reason": "a", "by": "b"}),
        lambda v: v["subject"][0]["digest"].update(sha512="0" * 128),
        lambda v: v["subject"][0].update(uri="x"),
    ],
)
def test_another_statement_is_refused(change: Any) -> None:
    changed = json.loads(Bundle().statement_bytes())
    assert parse_statement(as_json(changed)).release == 5
    change(changed)
    with refused("statement-invalid"):
        parse_statement(as_json(changed))
