"""PNG and PPM images with the standard library and NumPy: 8 bits a channel, without interlacing. Legend: H W C pixels."""

import re
import struct
import zlib
from typing import Optional

import numpy as np

from .errors import EdgeError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Channels of each colour type; 3 is an index into a palette.
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
MOST_PIXELS = 1 << 26
PPM = re.compile(
    rb"(P[56])(?:\s+|\s*#[^\n]*\n)+(\d{1,6})(?:\s+|\s*#[^\n]*\n)+(\d{1,6})(?:\s+|\s*#[^\n]*\n)+(\d{1,5})\s"
)


def decode(data: bytes, where: str) -> Optional[np.ndarray]:
    """Return the image, uint8 [H, W, 1 or 3], or None for another format. where: for messages.

    Transparency is dropped. Raises EdgeError for a damaged or oversized file, or a form that is not read.
    """
    if data.startswith(SIGNATURE):
        return _png(data, where)
    match = PPM.match(data)
    return None if match is None else _ppm(data, match, where)


def _ppm(data: bytes, match: "re.Match[bytes]", where: str) -> np.ndarray:
    width, height, top = (int(match.group(place)) for place in (2, 3, 4))
    depth = 3 if match.group(1) == b"P6" else 1
    _check(width, height, where)
    if top != 255:
        raise EdgeError(f"{where}: has {top + 1} levels; expected 8 bits.")
    size = width * height * depth
    if len(data) - match.end() < size:
        raise EdgeError(f"{where}: ends before its pixels do.")
    return np.frombuffer(data, np.uint8, size, match.end()).reshape(height, width, depth)


def _png(data: bytes, where: str) -> np.ndarray:
    place, header, palette, packed = len(SIGNATURE), None, None, []
    while place + 12 <= len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        content = data[place + 8 : place + 8 + size]
        if len(content) != size or place + 12 + size > len(data):
            break
        if (
            zlib.crc32(kind + content) & 0xFFFFFFFF
            != struct.unpack(">I", data[place + 8 + size : place + 12 + size])[0]
        ):
            raise EdgeError(f"{where}: a part of it is damaged.")
        if kind == b"IHDR" and size == 13:
            header = struct.unpack(">IIBBBBB", content)
        elif kind == b"PLTE":
            palette = np.frombuffer(content[: len(content) // 3 * 3], np.uint8).reshape(-1, 3)
        elif kind == b"IDAT":
            packed.append(content)
        elif kind == b"IEND":
            break
        place += 12 + size
    if header is None:
        raise EdgeError(f"{where}: has no header.")
    width, height, bits, colour, _, _, interlace = header
    _check(width, height, where)
    if bits != 8 or colour not in CHANNELS or interlace:
        raise EdgeError(
            f"{where}: has {bits} bits, colour type {colour} or is interlaced; expected 8 bits without interlacing."
        )
    depth = CHANNELS[colour]
    wanted = height * (1 + width * depth)
    try:
        raw = zlib.decompressobj().decompress(b"".join(packed), wanted)
    except zlib.error:
        raw = b""
    if len(raw) != wanted:
        raise EdgeError(f"{where}: ends before its pixels do.")
    rows = _unfiltered(np.frombuffer(raw, np.uint8).reshape(height, 1 + width * depth), depth, where)
    pixels = rows.reshape(height, width, depth)
    if colour == 3:
        if palette is None or int(pixels.max()) >= len(palette):
            raise EdgeError(f"{where}: uses a colour that its palette does not have.")
        return np.ascontiguousarray(palette[pixels[..., 0]])
    return np.ascontiguousarray(pixels[..., : 1 if depth <= 2 else 3])


def _unfiltered(rows: np.ndarray, depth: int, where: str) -> np.ndarray:
    """Undo the filter of each row. Sub and Up in NumPy; Average and Paeth depend on the pixel before and go pixel by pixel."""
    result = np.zeros((len(rows), rows.shape[1] - 1), np.uint8)
    above = np.zeros(rows.shape[1] - 1, np.uint8)
    for index, row in enumerate(rows):
        kind, values = int(row[0]), row[1:]
        if kind == 0:
            line = values
        elif kind == 1:
            line = np.cumsum(values.reshape(-1, depth), axis=0, dtype=np.uint8).ravel()
        elif kind == 2:
            line = values + above
        elif kind in (3, 4):
            line = _by_pixel(kind, values, above, depth)
        else:
            raise EdgeError(f"{where}: a row has the filter {kind}; expected 0 to 4.")
        result[index] = above = line
    return result


def _by_pixel(kind: int, values: np.ndarray, above: np.ndarray, depth: int) -> np.ndarray:
    coded, up = values.tolist(), above.tolist()
    line = [0] * len(coded)
    for place, value in enumerate(coded):
        left = line[place - depth] if place >= depth else 0
        if kind == 3:
            line[place] = (value + (left + up[place]) // 2) & 255
            continue
        corner = up[place - depth] if place >= depth else 0
        guess = left + up[place] - corner
        near = (abs(guess - left), abs(guess - up[place]), abs(guess - corner))
        best = (
            left
            if near[0] <= near[1] and near[0] <= near[2]
            else (up[place] if near[1] <= near[2] else corner)
        )
        line[place] = (value + best) & 255
    return np.array(line, np.uint8)


def _check(width: int, height: int, where: str) -> None:
    if not 0 < width * height <= MOST_PIXELS:
        raise EdgeError(f"{where}: has {width} x {height} pixels; expected 1 to {MOST_PIXELS}.")
