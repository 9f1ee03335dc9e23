"""Every bound on untrusted input, as a number in one place. What exceeds a bound is refused before it is read."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True)
class Limits:
    """Bounds on data that safeml reads. Sizes are in bytes, or in pixels where the name says so.

    image_file_bytes, image_pixels: one image file, as stored and as declared in its header.
    images, classes: rows and distinct classes of one data set.
    array_bytes: all arrays that are read from one .npz file, uncompressed; also the pixels of any loaded set.
    array_members: entries of one .npz file.
    table_bytes: one CSV file.
    track_number: a track's number inside its class.
    download_bytes, archive_members, unpacked_bytes: one downloaded archive, its entries, and its content.
    """

    image_file_bytes: int = 32 * MIB
    image_pixels: int = 40_000_000
    images: int = 1_000_000
    classes: int = 10_000
    array_bytes: int = 4 * GIB
    array_members: int = 64
    table_bytes: int = 64 * MIB
    track_number: int = 999_999_999
    download_bytes: int = 1 * GIB
    archive_members: int = 200_000
    unpacked_bytes: int = 4 * GIB


LIMITS = Limits()
