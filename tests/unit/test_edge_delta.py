"""Difference files: applied byte for byte, bounded, and refused when they are damaged or do not fit."""

from __future__ import annotations

import bz2
import io
import random
import struct
import tracemalloc
from pathlib import Path

import pytest

from safeml.edge.container import pack
from safeml.edge.delta import CHUNK, Parts, apply_delta
from safeml.edge.updates import bundle_of
from tests.device import Device
from tests.edge_bundles import Bundle, refused

pytestmark = pytest.mark.slow

MOST = 1 << 24


def number(value: int) -> bytes:
    """Return a number as bsdiff writes it."""
    return struct.pack("<Q", abs(value) | (1 << 63 if value < 0 else 0))


def patch(old: bytes, new: bytes, entries: list[tuple[int, int, int]], size: int | None = None) -> bytes:
    """Return the difference file with these entries (add, copy, seek)."""
    difference, extra, at, done = b"", b"", 0, 0
    for add, copy, seek in entries:
        pairs = zip(new[done : done + add], old[at : at + add], strict=False)
        difference += bytes((a - b) % 256 for a, b in pairs)
        extra += new[done + add : done + add + copy]
        done, at = done + add + copy, at + add + seek
    control = b"".join(number(value) for entry in entries for value in entry)
    blocks = [bz2.compress(block) for block in (control, difference, extra)]
    head = (
        b"BSDIFF40"
        + number(len(blocks[0]))
        + number(len(blocks[1]))
        + number(len(new) if size is None else size)
    )
    return head + b"".join(blocks)


def applied(folder: Path, old: bytes, data: bytes, most: int = MOST) -> bytes:
    (folder / "d").write_bytes(data)
    length = apply_delta(Parts([old]), str(folder / "d"), str(folder / "new"), most)
    result = (folder / "new").read_bytes()
    assert len(result) == length
    return result


def test_additions_copies_and_jumps_back_and_forth(tmp_path: Path) -> None:
    draw = random.Random(1)
    old = draw.randbytes(3 * CHUNK + 17)
    changed = bytearray(old)
    for place in range(0, len(changed), 97):
        changed[place] = draw.randrange(256)
    new = bytes(changed[200:]) + draw.randbytes(5000) + old[:70_000]
    entries = [(0, 0, 200), (len(old) - 200, 5000, -len(old)), (70_000, 0, 0)]
    assert applied(tmp_path, old, patch(old, new, entries)) == new


def test_every_sum_of_two_bytes(tmp_path: Path) -> None:
    old = bytes(a for a in range(256) for _ in range(256))
    new = bytes((a + b) % 256 for a in range(256) for b in range(256))
    assert applied(tmp_path, old, patch(old, new, [(len(old), 0, 0)])) == new


def test_it_applies_what_bsdiff4_writes(tmp_path: Path) -> None:
    bsdiff4 = pytest.importorskip("bsdiff4", reason="the extra delta is not installed")
    draw = random.Random(2)
    old = draw.randbytes(40_000)
    for new in (
        old,
        b"",
        old[1000:] + b"x" * 500,
        draw.randbytes(3000),
        old[::-1],
        old[20_000:] + old[:20_000],
    ):
        assert applied(tmp_path, old, bsdiff4.diff(old, new)) == new


OLD, NEW = bytes(range(256)) * 4, bytes(range(255, -1, -1)) * 4
GOOD = patch(OLD, NEW, [(512, 512, 0)])
DAMAGED = {
    "empty": b"",
    "another magic": b"BSDIFF41" + GOOD[8:],
    "header cut": GOOD[:31],
    "control longer than the file": GOOD[:8] + number(1 << 40) + GOOD[16:],
    "negative length": GOOD[:8] + number(-1) + GOOD[16:],
    "negative size": GOOD[:24] + number(-1) + GOOD[32:],
    "larger than permitted": GOOD[:24] + number(MOST + 1) + GOOD[32:],
    "larger than its entries": GOOD[:24] + number(2048) + GOOD[32:],
    "smaller than its entries": GOOD[:24] + number(100) + GOOD[32:],
    "no bzip2": GOOD[:32] + bytes(len(GOOD) - 32),
    "truncated": GOOD[:-20],
    "reads before the old file": patch(OLD, NEW, [(0, 0, -1), (512, 512, 0)]),
    "reads behind the old file": patch(OLD[:100], NEW, [(512, 512, 0)]),
    "negative addition": patch(OLD, NEW, [(-1, 512, 0)]),
    "negative copy": patch(OLD, NEW, [(512, -1, 0)]),
    "entries without end": patch(OLD, NEW, [(0, 0, 0)] * 10_000),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    old = OLD[:100] if name == "reads behind the old file" else OLD
    with refused("delta"):
        applied(tmp_path, old, DAMAGED[name])
    assert not (tmp_path / "new").exists()


def test_no_changed_byte_gives_more_than_the_declared_length(tmp_path: Path) -> None:
    """A change is refused, or gives a file of the declared length, whose signature decides."""
    from safeml.edge.errors import Refused

    reasons = set()
    for place in range(len(GOOD)):
        data = GOOD[:place] + bytes([GOOD[place] ^ 0x41]) + GOOD[place + 1 :]
        try:
            result = applied(tmp_path, OLD, data, len(NEW))
        except Refused as refusal:
            reasons.add(refusal.reason)
            assert not (tmp_path / "new").exists()
        else:
            assert len(result) <= len(NEW)
            (tmp_path / "new").unlink()
    assert reasons == {"delta"}


def test_a_small_file_that_unpacks_to_much_stays_in_bounded_memory(tmp_path: Path) -> None:
    size = 64 << 20
    blocks = [
        bz2.compress(number(0) + number(size) + number(0)),
        bz2.compress(b""),
        bz2.compress(bytes(size)),
    ]
    data = b"BSDIFF40" + number(len(blocks[0])) + number(len(blocks[1])) + number(size) + b"".join(blocks)
    assert len(data) < 1000
    tracemalloc.start()
    try:
        with refused("delta"):
            applied(tmp_path, b"", data, size - 1)
        (tmp_path / "d").write_bytes(data)
        assert apply_delta(Parts([b""]), str(tmp_path / "d"), str(tmp_path / "new"), size) == size
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_the_bundle_of_a_slot_is_read_byte_for_byte(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    whole = Path(device.bundle(5)).read_bytes()
    parts = bundle_of(device.slots.active() or "")
    assert parts.size == len(whole)
    assert parts.read(0, parts.size) == whole
    for place in range(0, len(whole) - 300, 97):
        assert parts.read(place, 300) == whole[place : place + 300]
    parts.close()


def test_the_bundle_of_a_slot_equals_what_the_host_packs(tmp_path: Path) -> None:
    bundle = Bundle(5)
    out = io.BytesIO()
    pack(bundle.envelope_bytes(), bundle.manifest_bytes(), sorted(bundle.files.items()), out)
    assert out.getvalue() == bundle.content()
