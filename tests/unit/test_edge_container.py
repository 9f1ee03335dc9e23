"""The container: how a file of another form is refused, how a good one is unpacked, and how the host packs it."""

from __future__ import annotations

import io
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safeml.edge import container, limits, unpacked, verify
from safeml.edge.container import HEAD, MAGIC, pack
from safeml.edge.errors import EdgeError, Refused, Usage
from safeml.edge.verify import unpack_bundle
from tests.edge_bundles import (
    FILES,
    THIS,
    Bundle,
    refused,
    relisted,
    started,
    verified,
)

DAY = 86400


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Bundle().write(tmp_path_factory.mktemp("good") / "good.safeml")


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
    assert started(slot) == result


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
    relisted(lambda rows: rows[0].update(bytes=limits.FILE_BYTES))(bundle)
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
    with refused("not-a-file"):
        verified(tmp_path)
    for name, content in (("cut", Bundle().content()[:-1]), ("other", b"other")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Refused):
            verified(tmp_path / name)
    assert handles() == before


@pytest.mark.parametrize("content", [b"", MAGIC, Bundle().content()[:500]])
def test_a_refused_container_is_closed(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, not when the interpreter comes to it."""
    stream = io.BytesIO(content)
    monkeypatch.setattr(container, "open_regular", lambda path: (stream, len(content)))
    with pytest.raises(Refused):
        container.open_container("a")
    assert stream.closed


def test_files_may_be_empty(tmp_path: Path) -> None:
    path = Bundle(files=dict.fromkeys(FILES, b"")).write(tmp_path / "a")
    assert {one.bytes for one in verified(path).manifest.files} == {0}


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


def packed(bundle: Bundle, files: list[tuple[str, bytes | Path]], envelope: bytes | None = None) -> bytes:
    stream = io.BytesIO()
    pack(bundle.envelope_bytes() if envelope is None else envelope, bundle.manifest_bytes(), files, stream)
    return stream.getvalue()


def test_the_host_packs_what_a_device_unpacks(tmp_path: Path) -> None:
    """Byte for byte: from memory, and from files that are read in parts."""
    bundle = Bundle(files={**FILES, "large": b"ab" * limits.CHUNK + b"c"})
    paths: list[tuple[str, bytes | Path]] = []
    for number, (name, content) in enumerate(sorted(bundle.files.items())):
        (tmp_path / f"f{number}").write_bytes(content)
        paths.append((name, tmp_path / f"f{number}"))
    assert packed(bundle, sorted(bundle.files.items())) == packed(bundle, paths) == bundle.content()


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("extra-file", lambda files: [*files, ("zz", b"")]),
        ("extra-file", lambda files: [("zz", b""), *files]),
        ("extra-file", lambda files: files[::-1]),
        ("extra-file", lambda files: files[1:]),
        ("missing-file", lambda files: files[:-1]),
        ("missing-file", lambda files: []),
        ("truncated", lambda files: [(files[0][0], files[0][1] + b"!"), *files[1:]]),
        ("hash-mismatch", lambda files: [(files[0][0], files[0][1][::-1]), *files[1:]]),
    ],
)
def test_the_host_packs_nothing_that_differs_from_the_manifest(reason: str, change: Any) -> None:
    bundle = Bundle()
    with refused(reason):
        packed(bundle, change(sorted(bundle.files.items())))


@pytest.mark.parametrize(("reason", "end"), [("wrong-length", b"!"), ("hash-mismatch", None)])
def test_the_host_packs_no_file_that_changed_on_the_disk(
    reason: str, end: bytes | None, tmp_path: Path
) -> None:
    bundle = Bundle()
    (name, content), *rest = sorted(bundle.files.items())
    (tmp_path / "f").write_bytes(content[::-1] if end is None else content + end)
    with refused(reason):
        packed(bundle, [(name, tmp_path / "f"), *rest])


def test_the_host_packs_no_unsafe_name_and_no_envelope_that_is_too_long() -> None:
    bundle = Bundle(files={**FILES, "../up": b""})
    with refused("file-name"):
        packed(bundle, sorted(bundle.files.items()))
    for envelope in (b"", b" " * (limits.ENVELOPE_BYTES + 1)):
        with refused("envelope-length"):
            packed(Bundle(), sorted(FILES.items()), envelope)
