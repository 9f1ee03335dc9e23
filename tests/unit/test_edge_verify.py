"""What a device believes: every way to refuse a bundle has its code, and a refusal leaves nothing on the disk."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from safeml.edge import limits, moments, unpacked, verify
from safeml.edge.container import HEAD, MAGIC
from safeml.edge.errors import EdgeError, Refused, Usage
from safeml.edge.settings import DeviceSettings
from safeml.edge.verify import unpack_bundle, verify_bundle, verify_folder
from tests.edge_bundles import (
    CREATED,
    EXPIRES,
    FACTS,
    FILES,
    FOREIGN,
    KEY,
    NOW,
    PRODUCT,
    SECOND,
    Bundle,
    Facts,
    as_json,
    digest,
    pack_freely,
    refused,
    settings,
    signed,
    subject,
    trust,
)

DAY = 86400


class Device(NamedTuple):
    """A device that is asked about a bundle."""

    settings: DeviceSettings = settings()
    facts: Facts = FACTS
    last_release: int = 4
    now: float = NOW


THIS = Device()


def verified(path: Path, device: Device = THIS) -> verify.Verified:
    return verify_bundle(str(path), *device)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Bundle().write(tmp_path_factory.mktemp("good") / "good.safeml")


def test_a_good_bundle_is_believed(good: Path) -> None:
    result = verified(good)
    assert (result.manifest.product, result.manifest.release) == (PRODUCT, 5)
    assert result.keyid == trust(KEY).keyid
    assert result.overridden is False
    assert result.statement.passed == ("accuracy",)


def test_it_is_unpacked_with_its_envelope_and_verifies_again(good: Path, tmp_path: Path) -> None:
    slot = tmp_path / "slot"
    old = os.umask(0o002)
    try:
        result = unpack_bundle(str(good), str(slot), *THIS)
    finally:
        os.umask(old)
    assert result == verified(good)
    content = {p.relative_to(slot).as_posix(): p.read_bytes() for p in slot.rglob("*") if p.is_file()}
    assert {name: content.pop(name) for name in FILES} == FILES
    assert content == {
        "manifest.json": Bundle().manifest_bytes(),
        "bundle.dsse.json": Bundle().envelope_bytes(),
    }
    assert verify_folder(str(slot), THIS.settings, FACTS, NOW) == result


@pytest.mark.parametrize("umask", [0, 0o002, 0o077])
def test_no_umask_opens_a_slot_to_other_users(umask: int, tmp_path: Path) -> None:
    """os.makedirs applies its mode to the last folder alone."""
    path = Bundle(files={**FILES, "a/b/c/d": b"deep"}).write(tmp_path / "a.safeml")
    old = os.umask(umask)
    try:
        unpack_bundle(str(path), str(tmp_path / "slot"), *THIS)
    finally:
        os.umask(old)
    assert started(tmp_path / "slot").manifest.release == 5
    for place in [tmp_path / "slot", *(tmp_path / "slot").rglob("*")]:
        assert place.stat().st_mode & 0o022 == 0


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


def listed(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Bundle], None]:
    """A change of the list of files, which the contents do not follow."""

    def apply(bundle: Bundle) -> None:
        rows = bundle.listed()
        change(rows)
        bundle.manifest["files"] = sorted(rows, key=lambda row: row["name"])

    return apply


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
    ("duplicate-file", "a file twice", listed(lambda rows: rows.append(rows[0]))),
    ("case-collision", "two cases", listed(lambda rows: rows.append({**rows[3], "name": "LABELS.json"}))),
    ("file-name", "a path upwards", listed(lambda rows: rows.append({**rows[0], "name": "../x"}))),
    ("file-name", "an absolute path", listed(lambda rows: rows.append({**rows[0], "name": "/etc/x"}))),
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
        verify_folder(str(slot), THIS.settings, FACTS, NOW)


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


# The container


def with_lengths(envelope: int, manifest: int) -> Callable[[bytes], bytes]:
    return lambda data: HEAD.pack(MAGIC, envelope, manifest) + data[HEAD.size :]


FORMS: list[tuple[str, str, Callable[[bytes], bytes]]] = [
    ("not-a-bundle", "empty", lambda data: b""),
    ("not-a-bundle", "a zip", lambda data: b"PK\x03\x04" + data),
    ("not-a-bundle", "a later format", lambda data: b"SAFEML\x00\x02" + data[8:]),
    ("not-a-bundle", "the magic alone", lambda data: data[:8]),
    ("not-a-bundle", "a cut head", lambda data: data[:15]),
    ("envelope-length", "no envelope", with_lengths(0, 10)),
    ("envelope-length", "a large envelope", with_lengths(limits.ENVELOPE_BYTES + 1, 10)),
    ("envelope-length", "an endless envelope", with_lengths(2**32 - 1, 10)),
    ("manifest-length", "no manifest", with_lengths(10, 0)),
    ("manifest-length", "a large manifest", with_lengths(10, limits.MANIFEST_BYTES + 1)),
    ("truncated", "head only", lambda data: data[: HEAD.size]),
    ("truncated", "cut in the envelope", lambda data: data[: HEAD.size + 100]),
    ("truncated", "cut in the manifest", lambda data: data[:2500]),
    ("truncated", "last byte missing", lambda data: data[:-1]),
    ("truncated", "last file missing", lambda data: data[:-2]),
    ("extra-bytes", "one byte more", lambda data: data + b"\0"),
    ("extra-bytes", "a bundle twice", lambda data: data + data),
    ("hash-mismatch", "another last byte", lambda data: data[:-1] + b"!"),
    ("envelope-invalid", "lengths that overlap", with_lengths(100, 100)),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "name", "change"), FORMS, ids=[name for _, name, _ in FORMS])
def test_a_file_of_another_form_is_refused_and_nothing_is_left(
    reason: str, name: str, change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "a.safeml"
    path.write_bytes(change(Bundle().content()))
    with refused(reason):
        verified(path)
    with refused(reason):
        unpack_bundle(str(path), str(tmp_path / "slot"), *THIS)
    assert os.listdir(tmp_path) == ["a.safeml"]


def test_what_has_no_length_is_no_bundle(tmp_path: Path) -> None:
    """A pipe would not end; it is not opened for reading, so nothing blocks."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with refused("not-a-file"):
            verified(path)
    with pytest.raises(Usage, match="no such file"):
        verified(tmp_path / "none")
    with pytest.raises(EdgeError, match="cannot be opened"):
        verified(tmp_path / ("x" * 300))


def test_a_file_that_declares_two_gigabytes_needs_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The declared lengths are compared with that of the container before a file is read or written."""

    def read(*arguments: Any) -> None:
        raise AssertionError("a file was read")

    bundle = Bundle()
    listed(lambda rows: rows[0].update(bytes=limits.FILE_BYTES))(bundle)
    path = bundle.write(tmp_path / "a")
    monkeypatch.setattr(verify.container, "read_files", read)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with refused("truncated"):
        verified(path)
    with refused("truncated"):
        unpack_bundle(str(path), str(tmp_path / "slot"), *THIS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
    assert os.listdir(tmp_path) == ["a"]


def test_a_manifest_may_have_the_whole_length_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle()
    content = bundle.manifest_bytes()
    for length, reason in ((limits.MANIFEST_BYTES, None), (limits.MANIFEST_BYTES + 1, "manifest-length")):
        monkeypatch.setattr(bundle, "manifest_bytes", lambda length=length: content.ljust(length))
        path, slot = bundle.write(tmp_path / "a"), tmp_path / f"slot{length}"
        if reason is None:
            unpack_bundle(str(path), str(slot), *THIS)
            assert started(slot).manifest.release == 5
        else:
            with refused(reason):
                verified(path)


def test_a_large_file_is_hashed_in_parts(tmp_path: Path) -> None:
    files = {**FILES, "zeros": bytes(3 * limits.CHUNK + 5)}
    path = Bundle(files=files).write(tmp_path / "a")
    del files
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        assert len(verified(path).manifest.files) == len(FILES) + 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def test_a_file_that_grows_or_shrinks_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Bundle().write(tmp_path / "a")
    content, check = path.read_bytes(), verify.container.check_lengths

    def changed(to: bytes) -> Any:
        def then(*arguments: Any) -> None:
            check(*arguments)
            path.write_bytes(to)

        return then

    real = os.fdopen  # without a buffer, so that the change is seen
    monkeypatch.setattr(verify.container.os, "fdopen", lambda handle, mode: real(handle, mode, buffering=0))
    for reason, other in (("truncated", content[:-1]), ("extra-bytes", content + b"\0")):
        path.write_bytes(content)
        monkeypatch.setattr(verify.container, "check_lengths", changed(other))
        with refused(reason):
            unpack_bundle(str(path), str(tmp_path / "slot"), *THIS)
        assert os.listdir(tmp_path) == ["a"]


def test_a_failure_of_the_disk_is_no_refusal_and_leaves_nothing(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EdgeError, match="No space left") as caught:
        unpack_bundle(str(good), str(tmp_path / "slot"), *THIS)
    assert not isinstance(caught.value, Refused)
    assert os.listdir(tmp_path) == []


def test_no_file_is_left_open(good: Path, tmp_path: Path) -> None:
    def handles() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = handles()
    verified(good)
    unpack_bundle(str(good), str(tmp_path / "slot"), *THIS)
    started(tmp_path / "slot")
    for name, content in (("cut", Bundle().content()[:-1]), ("other", b"other")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Refused):
            verified(tmp_path / name)
    assert handles() == before


def test_an_existing_folder_is_never_written_to(good: Path, tmp_path: Path) -> None:
    (tmp_path / "slot").mkdir()
    with pytest.raises(Usage, match="exists"):
        unpack_bundle(str(good), str(tmp_path / "slot"), *THIS)
    assert os.listdir(tmp_path / "slot") == []
    with pytest.raises(EdgeError, match="cannot be made"):
        unpack_bundle(str(good), str(tmp_path / "none" / "slot"), *THIS)


def test_the_envelope_is_written_after_the_files(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with an envelope is complete: each file before it is on the disk."""
    order: list[str] = []
    contents = {
        **FILES,
        "manifest.json": Bundle().manifest_bytes(),
        "bundle.dsse.json": Bundle().envelope_bytes(),
    }
    sizes = {name: len(content) for name, content in contents.items()}
    real, real_open = os.fsync, unpacked.new_file

    def opened(path: str) -> Any:
        order.append("open " + os.path.relpath(path, tmp_path))
        return real_open(path)

    def synced(handle: int) -> None:
        order.append("sync")
        name = os.readlink(f"/proc/self/fd/{handle}")
        if os.path.isfile(name):  # nothing of it is still in a buffer
            assert os.path.getsize(name) == sizes[os.path.relpath(name, tmp_path / "slot")]
        real(handle)

    monkeypatch.setattr(unpacked, "new_file", opened)
    monkeypatch.setattr(os, "fsync", synced)
    unpack_bundle(str(good), str(tmp_path / "slot"), *THIS)
    files = [f"open slot/{name}" for name in [*sorted(FILES), "manifest.json", "bundle.dsse.json"]]
    expected = [step for name in files for step in (name, "sync")]
    assert order[: len(expected)] == expected
    folders = ["slot", "audit", "golden", "models", "monitor", "parent"]
    assert order[len(expected) :] == ["sync"] * len(folders)


# A slot


@pytest.fixture
def slot(good: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "slot"
    unpack_bundle(str(good), str(folder), *THIS)
    return folder


def started(folder: Path, device: Device = THIS) -> verify.Verified:
    return verify_folder(str(folder), device.settings, device.facts, device.now)


def replaced(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda slot: (slot / name).write_bytes(content)


def linked(slot: Path) -> None:
    (slot / "labels.json").rename(slot.parent / "labels.json")
    (slot / "labels.json").symlink_to(slot.parent / "labels.json")


def many(slot: Path) -> None:
    for number in range(2 * limits.FILES + 1):
        (slot / f"f{number}").touch()


def deep(slot: Path) -> None:
    os.makedirs(slot / "/".join(["d" * 50] * 5))


SLOTS: list[tuple[str, str, Callable[[Path], Any]]] = [
    ("missing-file", "a file is missing", lambda slot: (slot / "labels.json").unlink()),
    ("missing-file", "no envelope", lambda slot: (slot / "bundle.dsse.json").unlink()),
    ("missing-file", "no manifest", lambda slot: (slot / "manifest.json").unlink()),
    ("extra-file", "a file more", replaced("extra", b"")),
    ("extra-file", "a file more in a folder", replaced("models/extra.onnx", b"")),
    ("extra-file", "an empty folder", lambda slot: (slot / "more").mkdir(mode=0o755)),
    ("extra-file", "thousands of files", many),
    ("extra-file", "names that are too long", deep),
    ("wrong-length", "a longer file", replaced("labels.json", FILES["labels.json"] + b" ")),
    ("hash-mismatch", "another file", replaced("labels.json", FILES["labels.json"].replace(b"stop", b"STOP"))),
    ("unsafe-folder", "a link", linked),
    ("unsafe-folder", "a pipe", lambda slot: os.mkfifo(slot / "pipe")),
    ("unsafe-folder", "a file that others may write", lambda slot: (slot / "labels.json").chmod(0o646)),
    ("unsafe-folder", "a folder that others may write", lambda slot: (slot / "models").chmod(0o775)),
    ("envelope-length", "an empty envelope", replaced("bundle.dsse.json", b"")),
    ("manifest-length", "a large manifest", replaced("manifest.json", b" " * (limits.MANIFEST_BYTES + 1))),
    ("manifest-mismatch", "another manifest", replaced("manifest.json", Bundle(release=6).manifest_bytes())),
    ("envelope-invalid", "a damaged envelope", replaced("bundle.dsse.json", b"{}")),
    ("manifest-mismatch", "the envelope of another release", replaced("bundle.dsse.json", Bundle(release=6).envelope_bytes())),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "name", "change"), SLOTS, ids=[name for _, name, _ in SLOTS])
def test_a_changed_slot_does_not_start(
    reason: str, name: str, change: Callable[[Path], Any], slot: Path
) -> None:
    assert started(slot).manifest.release == 5
    old = os.umask(0o022)
    try:
        change(slot)
    finally:
        os.umask(old)
    with refused(reason):
        started(slot)


def test_the_bounds_of_a_slot_end_the_search_of_its_files(slot: Path) -> None:
    longest = slot / ("n" * limits.NAME_CHARACTERS)
    longest.touch(0o644)
    with refused("extra-file", "does not list"):
        started(slot)
    longest.rename(slot / ("n" * (limits.NAME_CHARACTERS + 1)))
    with refused("extra-file", "longer names"):
        started(slot)
    (slot / ("n" * (limits.NAME_CHARACTERS + 1))).unlink()
    for number in range(2 * limits.FILES - len(list(slot.rglob("*")))):
        (slot / f"f{number}").touch(0o644)
    with refused("extra-file", "does not list"):
        started(slot)
    (slot / "one-more").touch(0o644)
    with refused("extra-file", "more files"):
        started(slot)


def test_a_slot_of_another_user_does_not_start(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = slot.stat().st_uid
    if owner == 0:
        os.chown(slot / "labels.json", 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with refused("unsafe-folder", "another user"):
        started(slot)


def test_a_start_asks_for_dates_unless_the_settings_allow_it(slot: Path) -> None:
    again = Bundle().write(slot.parent / "again")
    late, early = moments.moment(EXPIRES, ""), 0
    for reason, now in (("expired", late), ("clock-behind", early)):
        with refused(reason):
            started(slot, THIS._replace(now=now))
        lenient = THIS._replace(now=now, settings=settings(allow_expired_start=True))
        assert started(slot, lenient).manifest.release == 5
        with refused(reason):  # an installation is never lenient
            verified(again, lenient)


def test_the_last_day_of_a_key_ends_installations_and_not_starts(slot: Path) -> None:
    ended = THIS._replace(settings=settings(keys=(trust(KEY, until=NOW - DAY),)))
    assert started(slot, ended).keyid == trust(KEY).keyid
    with refused("key-revoked"):
        started(slot, THIS._replace(settings=settings(revoked=(trust(KEY).keyid,))))


def test_a_slot_that_is_not_there_is_a_wrong_argument(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="no such folder"):
        started(tmp_path / "none")


def test_a_statement_of_another_type_is_not_read_as_ours(tmp_path: Path) -> None:
    """A key that signs other DSSE payloads must not sign a bundle by accident."""
    bundle = Bundle()
    path = tmp_path / "a"
    envelope = signed(as_json({"any": "thing"}), (KEY,), "application/json")
    path.write_bytes(pack_freely(envelope, bundle.manifest_bytes(), []))
    with refused("payload-type"):
        verified(path)
