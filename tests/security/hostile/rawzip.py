"""Zip archives written by hand, so that every field of every header can lie."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

DEFLATED = 8
BLOCK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One member: its bytes as they lie in the file, and what the headers say of them. None: what is true.

    local_name, local_size: what the header before the data says, where the central directory says otherwise.
    offset: where the central directory points to, where that is not the member's own header. stored: how many of the bytes
    belong to the member; what is left lies between it and the next.
    """

    name: str
    data: bytes
    method: int = 0
    crc: int | None = None
    size: int | None = None
    flags: int = 0
    mode: int = 0
    extra: bytes = b""
    local_name: str | None = None
    local_size: int | None = None
    offset: int | None = None
    stored: int | None = None


def write_zip(
    entries: list[Entry], before: bytes = b"", after: bytes = b"", comment: bytes = b"", **end: int
) -> bytes:
    """The archive. `before` and `after` are foreign bytes around it; end: count, start and size of the directory."""
    out, directory = bytearray(before), bytearray()
    for entry in entries:
        start = len(out) if entry.offset is None else entry.offset
        stored = len(entry.data) if entry.stored is None else entry.stored
        crc = zlib.crc32(entry.data[:stored]) if entry.crc is None else entry.crc
        size = stored if entry.size is None else entry.size
        local = size if entry.local_size is None else entry.local_size
        name, inner = entry.name.encode(), (entry.local_name or entry.name).encode()
        common = struct.pack("<HHHHHI", 20, entry.flags, entry.method, 0, 33, crc)
        out += (
            b"PK\x03\x04" + common + struct.pack("<IIHH", stored, local, len(inner), 0) + inner + entry.data
        )
        directory += b"PK\x01\x02" + struct.pack("<H", 20 | 3 << 8) + common
        directory += struct.pack("<IIHH", stored, size, len(name), len(entry.extra))
        directory += struct.pack("<HHHII", 0, 0, 0, entry.mode << 16, start) + name + entry.extra
    count = end.get("count", len(entries)) & 0xFFFF
    where = end.get("start", len(out))
    out += directory
    out += b"PK\x05\x06" + struct.pack(
        "<HHHHIIH", 0, 0, count, count, end.get("size", len(directory)), where, len(comment)
    )
    return bytes(out + comment + after)


def deflated(name: str, content: bytes) -> Entry:
    """A member that is compressed, and says so truthfully."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(content) + packer.flush()
    return Entry(name, packed, DEFLATED, zlib.crc32(content), len(content))


def swollen(name: str, block: bytes, times: int, tail: bytes = b"") -> Entry:
    """`block` `times` over, then `tail`, as one deflated member; a block of one value packs about 1,000 to 1."""
    return deflated(name, block * times + tail)
