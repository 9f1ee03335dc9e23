"""A new bundle from the active release and a small difference file.

The format is BSDIFF40 (C. Percival, Naive differences of executable code, 2003), which `bsdiff4` and `bsdiff` write: 32 bytes of header, then a
control, a difference and an extra block, each packed by bzip2. The bundle of the active release is not stored: it is read from its
slot, which holds each of its parts, so that a delta costs no disk space on the device before it is applied. Nothing of a difference file
is trusted: its result is verified as any bundle.
"""

import bisect
import bz2
import os
import struct
from typing import Any, Iterator, List, Tuple

from .errors import EdgeError, Refused

MAGIC = b"BSDIFF40"
HEADER = 32
CHUNK = 1 << 16
# A file of bsdiff has one entry for a change of at least 8 bytes; more entries than these are an attempt to keep the device busy.
FEWEST_BYTES_AN_ENTRY = 4
SPARE_ENTRIES = 64


class Parts:
    """Bytes of a bundle in the order of the file, read from where they are. parts: bytes, or (path, length)."""

    def __init__(self, parts: List[Any]) -> None:
        self.parts = parts
        self.starts = [0]
        for part in parts:
            self.starts.append(self.starts[-1] + (len(part) if isinstance(part, bytes) else part[1]))
        self.size = self.starts[-1]
        self.place = -1
        self.stream: Any = None

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, which must be inside."""
        pieces = []
        while length:
            place = bisect.bisect_right(self.starts, offset) - 1
            piece = self._piece(place, offset - self.starts[place], length)
            if not piece:
                raise EdgeError(
                    "a file of the active slot is shorter than its manifest says; install a whole bundle."
                )
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return b"".join(pieces)

    def _piece(self, place: int, begin: int, length: int) -> bytes:
        part = self.parts[place]
        length = min(length, self.starts[place + 1] - self.starts[place] - begin)
        if isinstance(part, bytes):
            return part[begin : begin + length]
        if self.place != place:
            self.close()
            self.place, self.stream = place, open(part[0], "rb")  # noqa: SIM115
        self.stream.seek(begin)
        return bytes(self.stream.read(length))

    def close(self) -> None:
        """Close the file that was read last."""
        if self.stream is not None:
            self.stream.close()
        self.place, self.stream = -1, None


class _Block:
    """One packed block of a difference file, unpacked piece by piece."""

    def __init__(self, handle: int, begin: int, length: int, name: str) -> None:
        self.handle, self.at, self.end, self.name = handle, begin, begin + length, name
        self.unpacker = bz2.BZ2Decompressor()

    def read(self, length: int) -> bytes:
        pieces = []
        while length:
            packed = b""
            if self.unpacker.needs_input:
                packed = os.pread(self.handle, min(CHUNK, self.end - self.at), self.at)
                self.at += len(packed)
                if not packed:
                    raise _bad(f"its {self.name} block is truncated")
            try:
                piece = self.unpacker.decompress(packed, length)
            except (OSError, EOFError):
                raise _bad(f"its {self.name} block is damaged") from None
            if not piece and self.unpacker.eof:
                raise _bad(f"its {self.name} block is too short")
            pieces.append(piece)
            length -= len(piece)
        return b"".join(pieces)


def apply_delta(old: Parts, delta: str, out: str, most_bytes: int) -> int:
    """Write the new bundle to `out` and return its length.

    old: the bundle of the active release. delta: path of the difference file. most_bytes: largest length of the new bundle.
    Memory stays below 16 MB for any input. Raises Refused("delta") for a damaged file and for one that does not fit; `out` is removed then.
    """
    handle = os.open(delta, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        size, blocks = _blocks(handle, most_bytes)
        with open(out, "wb") as stream:
            for piece in _pieces(old, size, blocks):
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        return size
    except BaseException:
        if os.path.lexists(out):
            os.unlink(out)
        raise
    finally:
        os.close(handle)
        old.close()


def _blocks(handle: int, most_bytes: int) -> Tuple[int, List[_Block]]:
    header = os.pread(handle, HEADER, 0)
    if len(header) < HEADER or header[:8] != MAGIC:
        raise _bad("it does not begin with BSDIFF40")
    control, difference, size = (_number(header[k : k + 8]) for k in (8, 16, 24))
    extra = os.fstat(handle).st_size - HEADER - control - difference
    if min(control, difference, size, extra) < 0:
        raise _bad("a length in its header is impossible")
    if size > most_bytes:
        raise _bad(f"its result has {size:,} bytes; expected at most {most_bytes:,}")
    begins = (HEADER, HEADER + control, HEADER + control + difference)
    names = ("control", "difference", "extra")
    lengths = (control, difference, extra)
    return size, [_Block(handle, *block) for block in zip(begins, lengths, names)]


def _pieces(old: Parts, size: int, blocks: List[_Block]) -> Iterator[bytes]:
    control, difference, extra = blocks
    entries, done, at = size // FEWEST_BYTES_AN_ENTRY + SPARE_ENTRIES, 0, 0
    while done < size:
        entries -= 1
        if entries < 0:
            raise _bad("it has more entries than its result needs")
        entry = control.read(24)
        add, copy, seek = (_number(entry[k : k + 8]) for k in (0, 8, 16))
        if add < 0 or copy < 0 or add + copy > size - done:
            raise _bad("an entry writes past the end of its result")
        if add and not 0 <= at <= old.size - add:
            raise _bad("an entry reads outside of the active release; it belongs to another release")
        for begin in range(0, add, CHUNK):
            length = min(CHUNK, add - begin)
            yield _sum(old.read(at + begin, length), difference.read(length))
        for begin in range(0, copy, CHUNK):
            yield extra.read(min(CHUNK, copy - begin))
        done += add + copy
        at += add + seek


def _number(data: bytes) -> int:
    """Read 8 bytes as bsdiff writes a number: little endian, with a sign bit."""
    value = int(struct.unpack("<Q", data)[0])
    return -(value & ~(1 << 63)) if value >> 63 else value


def _sum(left: bytes, right: bytes) -> bytes:
    """Add bytes modulo 256: as two long numbers whose carries stay inside of each byte."""
    length = len(left)
    low = int.from_bytes(b"\x7f" * length, "little")
    a, b = int.from_bytes(left, "little"), int.from_bytes(right, "little")
    return (((a & low) + (b & low)) ^ ((a ^ b) & ~low)).to_bytes(length, "little")


def _bad(sentence: str) -> Refused:
    return Refused("delta", f"the difference file cannot be applied: {sentence}.")
