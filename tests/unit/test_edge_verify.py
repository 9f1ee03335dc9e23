"""What a device believes: every way to refuse a bundle has its code, and a refusal leaves nothing on the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safeml.edge import limits, moments, verify
from safeml.edge.verify import unpack_bundle
from tests.edge_bundles import (
    CREATED,
    EXPIRES,
    FOREIGN,
    KEY,
    NOW,
    PRODUCT,
    SECOND,
    THIS,
    Bundle,
    Device,
    Facts,
    as_json,
    digest,
    pack_freely,
    refused,
    relisted,
    settings,
    signed,
    started,
    subject,
    trust,
    verified,
)

DAY = 86400


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Bundle().write(tmp_path_factory.mktemp("good") / "good.safeml")


def test_a_good_bundle_is_believed(good: Path) -> None:
    result = verified(good)
    assert (result.manifest.product, result.manifest.release) == (PRODUCT, 5)
    assert result.keyid == trust(KEY).keyid
    assert result.overridden is False
    assert result.statement.passed == ("accuracy",)


def set_in(*path: str, **changes: Any) -> Callable[[Bundle], None]:
    """A change of the manifest at a path of keys."""

    def change(bundle: Bundle) -> None:
        value = bundle.manifest
        for key in path:
            value = value[key]
        value.update(changes)

    return change


def state(**changes: Any) -> Callable[[Bundle], None]:
    """A change of the object `safeml` of the statement."""
    return lambda bundle: bundle.statement["predicate"]["safeml"].update(changes)


def keys(*signers: Any) -> Callable[[Bundle], None]:
    def change(bundle: Bundle) -> None:
        bundle.keys = signers

    return change


def of_another_manifest(bundle: Bundle) -> None:
    bundle.statement["subject"] = json.loads(Bundle(release=6).statement_bytes())["subject"]


def subjects(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Bundle], None]:
    def apply(bundle: Bundle) -> None:
        value = json.loads(bundle.statement_bytes())["subject"]
        change(value)
        bundle.statement["subject"] = value

    return apply


def type_of_payload(bundle: Bundle) -> None:
    bundle.payload_type = "text/plain"


# The bundle, as signed by its owner, and what this device answers. Rows of the threat list; the same for a file and for a slot.
SIGNED: list[tuple[str, str, Callable[[Bundle], Any]]] = [
    ("unsigned", "no signature", keys()),
    ("unknown-key", "another key", keys(FOREIGN)),
    ("payload-type", "another payload", type_of_payload),
    ("statement-invalid", "no test result", lambda b: b.statement.update(predicateType="x")),
    ("statement-invalid", "passed quick profile without override", state(profile="quick")),
    ("manifest-mismatch", "statement about another manifest", of_another_manifest),
    ("manifest-invalid", "unknown key", set_in(extra=1)),
    ("manifest-invalid", "huge integer", set_in(classes=10**30)),
    ("wrong-product", "another product", set_in(product="other")),
    ("clock-behind", "made in the future", set_in(created=moments.utc(NOW + 1), expires=moments.utc(NOW + DAY))),
    ("expired", "past its last day", set_in(expires=moments.utc(NOW))),
    ("runtime-too-old", "a newer runtime", set_in(runtime="99")),
    ("wrong-architecture", "another processor", set_in("constraints", architectures=["x86_64", "armv7l"])),
    ("wrong-compute-capability", "another GPU", set_in("constraints", compute_capabilities=["7.2"])),
    ("wrong-tensorrt", "newer TensorRT", set_in("constraints", tensorrt={"least": "10.4", "below": None})),
    ("wrong-tensorrt", "older TensorRT", set_in("constraints", tensorrt={"least": None, "below": "10.3"})),
    ("wrong-jetpack", "newer JetPack", set_in("constraints", jetpack={"least": "6.2.1", "below": None})),
    ("wrong-jetpack", "older JetPack", set_in("constraints", jetpack={"least": "4.6", "below": "6"})),
    ("too-little-memory", "more memory", set_in("constraints", memory_mb=7621)),
    ("mix-and-match", "another release in the statement", state(release=6)),
    ("mix-and-match", "another product in the statement", state(product="other")),
    ("mix-and-match", "another verdict in the manifest", set_in("evidence", verdict="failed")),
    ("mix-and-match", "another profile in the manifest", set_in("evidence", profile="quick")),
    ("mix-and-match", "a model of other content", subjects(lambda s: s[1]["digest"].update(sha256="0" * 64))),
    ("mix-and-match", "a file that is not there", subjects(lambda s: s.append(subject("x", "0" * 64)))),
    ("mix-and-match", "no model among the subjects", subjects(lambda s: s.pop(1))),
    ("mix-and-match", "no results among the subjects", subjects(lambda s: s.pop(2))),
    ("mix-and-match", "results of another audit", set_in("evidence", results_sha256="0" * 64)),
    ("override-not-allowed", "an override", lambda b: b.overridden()),
    ("duplicate-file", "a file twice", relisted(lambda rows: rows.append(rows[0]))),
    ("case-collision", "two cases", relisted(lambda rows: rows.append({**rows[3], "name": "LABELS.json"}))),
    ("file-name", "a path upwards", relisted(lambda rows: rows.append({**rows[0], "name": "../x"}))),
    ("file-name", "an absolute path", relisted(lambda rows: rows.append({**rows[0], "name": "/etc/x"}))),
    ("file-not-listed", "labels that are not there", set_in(labels="none.json")),
]  # fmt: skip
NAMES = [f"{reason}-{name}".replace(" ", "-") for reason, name, _ in SIGNED]


@pytest.mark.parametrize(("reason", "name", "change"), SIGNED, ids=NAMES)
def test_a_signed_bundle_that_is_not_for_this_device_is_refused(
    reason: str, name: str, change: Callable[[Bundle], Any], tmp_path: Path
) -> None:
    bundle = Bundle()
    change(bundle)
    path = bundle.write(tmp_path / "a.safeml")
    with refused(reason):
        verified(path)
    with refused(reason):
        unpack_bundle(str(path), str(tmp_path / "slot"), *THIS)
    assert os.listdir(tmp_path) == ["a.safeml"]
    slot = tmp_path / "slot"
    slot.mkdir(mode=0o755)
    (slot / "manifest.json").write_bytes(bundle.manifest_bytes())
    (slot / "bundle.dsse.json").write_bytes(bundle.envelope_bytes())
    for file in slot.iterdir():
        file.chmod(0o644)
    with refused(reason):
        started(slot)


# Another device, asked about the good bundle (or one with an override): None is believed.
DEVICES: list[tuple[str | None, str, Device]] = [
    (None, "last release one below", THIS._replace(last_release=4)),
    ("same-release", "the same release", THIS._replace(last_release=5)),
    ("rollback", "a later release", THIS._replace(last_release=6)),
    ("clock-behind", "clock before creation", THIS._replace(now=moments.moment(CREATED, "") - 1)),
    ("clock-behind", "no clock", THIS._replace(now=0)),
    ("clock-behind", "a clock that is no number", THIS._replace(now=float("nan"))),
    (None, "clock at creation", THIS._replace(now=moments.moment(CREATED, ""))),
    (None, "last second", THIS._replace(now=moments.moment(EXPIRES, "") - 1)),
    ("expired", "the end", THIS._replace(now=moments.moment(EXPIRES, ""))),
    ("wrong-product", "another product", THIS._replace(settings=settings(product="other"))),
    ("unknown-key", "other keys", THIS._replace(settings=settings(keys=(trust(SECOND), trust(FOREIGN))))),
    ("key-revoked", "its key is revoked", THIS._replace(settings=settings(revoked=(trust(KEY).keyid,)))),
    ("key-expired", "its key has ended", THIS._replace(settings=settings(keys=(trust(KEY, until=NOW),)))),
    (None, "its key ends next", THIS._replace(settings=settings(keys=(trust(KEY, until=NOW + 1),)))),
    ("unusable-key", "a key of small order", THIS._replace(settings=settings(keys=(trust(KEY, public=bytes(32)),)))),
    ("device-unknown", "no architecture", THIS._replace(facts=Facts(architecture=None))),
    ("device-unknown", "no capability", THIS._replace(facts=Facts(compute_capability=None))),
    ("device-unknown", "no TensorRT", THIS._replace(facts=Facts(tensorrt=None))),
    ("device-unknown", "no version of TensorRT", THIS._replace(facts=Facts(tensorrt="unknown"))),
    ("device-unknown", "no JetPack", THIS._replace(facts=Facts(jetpack=None))),
    ("device-unknown", "no memory", THIS._replace(facts=Facts(memory_mb=None))),
    ("wrong-architecture", "a host", THIS._replace(facts=Facts(architecture="x86_64"))),
    ("wrong-compute-capability", "an Xavier", THIS._replace(facts=Facts(compute_capability="7.2"))),
    ("wrong-tensorrt", "TensorRT 8.0", THIS._replace(facts=Facts(tensorrt="8.0.1.6"))),
    ("wrong-tensorrt", "TensorRT 11", THIS._replace(facts=Facts(tensorrt="11.0.0"))),
    (None, "TensorRT 8.2 exactly", THIS._replace(facts=Facts(tensorrt="8.2.0"))),
    (None, "TensorRT 10.16", THIS._replace(facts=Facts(tensorrt="10.16.1.2"))),
    ("wrong-jetpack", "JetPack 7", THIS._replace(facts=Facts(jetpack="7.0"))),
    ("too-little-memory", "2 GB less", THIS._replace(facts=Facts(memory_mb=1999))),
    (None, "as much memory as it needs", THIS._replace(facts=Facts(memory_mb=2000))),
    (None, "ONNX Runtime and no GPU", Device(settings(backend="onnxruntime"), Facts("aarch64", None, None, None, 4000))),
    ("device-unknown", "TensorRT wanted and absent", Device(settings(backend="tensorrt"), Facts(tensorrt=None))),
    ("wrong-architecture", "ONNX Runtime on a host", Device(settings(backend="onnxruntime"), Facts("x86_64"))),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "name", "device"), DEVICES, ids=[name for _, name, _ in DEVICES])
def test_the_good_bundle_on_another_device(reason: str | None, name: str, device: Device, good: Path) -> None:
    if reason is None:
        assert verified(good, device).manifest.release == 5
    else:
        with refused(reason):
            verified(good, device)


def test_a_bundle_without_a_last_day_is_a_matter_of_the_settings(tmp_path: Path) -> None:
    bundle = Bundle()
    bundle.manifest["expires"] = None
    path = bundle.write(tmp_path / "a")
    assert verified(path).manifest.expires is None
    with refused("no-expiry"):
        verified(path, THIS._replace(settings=settings(allow_no_expiry=False)))


def test_an_override_is_believed_where_the_settings_allow_it(tmp_path: Path, good: Path) -> None:
    path = Bundle().overridden("for the bench").write(tmp_path / "a")
    allowing = THIS._replace(settings=settings(allow_override=True))
    result = verified(path, allowing)
    assert result.overridden is True
    assert result.statement.override == "for the bench"
    assert verified(good, allowing).overridden is False
    with refused("override-not-allowed", "for the bench"):
        verified(path)


def test_no_constraint_needs_no_fact(tmp_path: Path) -> None:
    bundle = Bundle()
    span = {"least": None, "below": None}
    bundle.manifest["constraints"] = {
        "architectures": [],
        "compute_capabilities": [],
        "tensorrt": span,
        "jetpack": span,
        "memory_mb": 0,
    }
    nothing = Facts(None, None, None, None, None)
    assert verified(bundle.write(tmp_path / "a"), THIS._replace(facts=nothing)).manifest.release == 5


# Signatures


@pytest.mark.parametrize(
    ("signers", "trusted", "keyid"),
    [
        ((KEY, SECOND), (KEY,), KEY),
        ((KEY, SECOND), (SECOND,), SECOND),
        ((SECOND, KEY), (KEY, SECOND), SECOND),
        ((FOREIGN, KEY), (KEY, SECOND), KEY),
    ],
)
def test_two_signatures_carry_a_rotation_of_keys(
    signers: Any, trusted: Any, keyid: Any, tmp_path: Path
) -> None:
    bundle = Bundle()
    bundle.keys = signers
    device = THIS._replace(settings=settings(keys=tuple(trust(key) for key in trusted)))
    assert verified(bundle.write(tmp_path / "a"), device).keyid == trust(keyid).keyid


def test_a_revoked_key_does_not_spoil_a_good_one(tmp_path: Path) -> None:
    bundle = Bundle()
    bundle.keys = (KEY, SECOND)
    both = settings(keys=(trust(KEY), trust(SECOND)), revoked=(trust(KEY).keyid,))
    path = bundle.write(tmp_path / "a")
    assert verified(path, THIS._replace(settings=both)).keyid == trust(SECOND).keyid
    with refused("key-revoked"):
        verified(path, THIS._replace(settings=both._replace(keys=(trust(KEY),))))


@pytest.mark.parametrize(
    "changed",
    [
        lambda value: value["signatures"][0].update(sig=value["signatures"][1]["sig"]),
        lambda value: value["signatures"][1].update(keyid=trust(SECOND).keyid),
        lambda value: value.update(payloadType="application/vnd.in-toto+yaml"),
    ],
    ids=["signature of another key", "id of another trusted key", "type changed"],
)
def test_a_signature_that_does_not_verify_refuses_all(changed: Any, tmp_path: Path) -> None:
    bundle = Bundle()
    bundle.keys = (KEY, FOREIGN)
    value = json.loads(bundle.envelope_bytes())
    changed(value)
    envelope = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    path = tmp_path / "a"
    path.write_bytes(pack_freely(envelope, bundle.manifest_bytes(), []))
    with refused("bad-signature"):
        verified(path, THIS._replace(settings=settings(keys=(trust(KEY), trust(SECOND)))))


def test_nothing_signed_is_parsed_before_its_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parsed(data: bytes) -> Any:
        raise AssertionError("parsed before it was believed")

    bundle = Bundle()
    bundle.keys = (FOREIGN,)
    path = bundle.write(tmp_path / "a")
    monkeypatch.setattr(verify, "parse_statement", parsed)
    monkeypatch.setattr(verify, "parse_manifest", parsed)
    with refused("unknown-key"):
        verified(path)
    bundle.keys = (KEY,)
    of_another_manifest(bundle)
    monkeypatch.undo()
    monkeypatch.setattr(verify, "parse_manifest", parsed)
    with refused("manifest-mismatch"):
        verified(bundle.write(path))


def test_too_many_signatures_are_refused_before_one_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(public: bytes, message: bytes, signature: bytes) -> bool:
        raise AssertionError("a signature was checked")

    monkeypatch.setattr(verify, "verify_signature", asked)
    bundle = Bundle()
    value = json.loads(bundle.envelope_bytes())
    value["signatures"] += [
        {"keyid": digest(bytes([n])), "sig": value["signatures"][0]["sig"]} for n in range(limits.SIGNATURES)
    ]
    path = tmp_path / "a"
    envelope = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    path.write_bytes(pack_freely(envelope, bundle.manifest_bytes(), []))
    with refused("envelope-invalid", "9 items; expected 0 to 8"):
        verified(path)


def test_a_statement_of_another_type_is_not_read_as_ours(tmp_path: Path) -> None:
    """A key that signs other DSSE payloads must not sign a bundle by accident."""
    bundle = Bundle()
    path = tmp_path / "a"
    envelope = signed(as_json({"any": "thing"}), (KEY,), "application/json")
    path.write_bytes(pack_freely(envelope, bundle.manifest_bytes(), []))
    with refused("payload-type"):
        verified(path)
