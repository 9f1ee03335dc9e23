"""A `.keras` file: a zip archive of exactly three members, read by the central directory and checked against the local headers."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

from safeml.limits import LIMITS, MIB
from safeml.scan.base import Facts, Refused
from safeml.scan.hdf5 import scan_weights
from safeml.scan.keras_config import scan_config, scan_model_config
from safeml.scan.strict_json import parse

MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
END = struct.Struct("<4s4H2LH")  # the end-of-central-directory record, which names the number of members
LOCAL = struct.Struct("<4s5H3L2H")
LARGE = 0xFFFFFFFF
ENCRYPTED = 0x1 | 0x40 | 0x2000
COPY_BYTES = 1 * MIB
AGAIN = "copy the file again, or save it with model.save('x.keras')"


def scan_archive(path: Path) -> Facts:
    """Facts of the `.keras` file at `path`. Its weights are unpacked beside it, in the private folder that it stands in."""
    _check_end(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in _checked_members(path, archive)}
            config = parse(_read(archive, members["config.json"], LIMITS.config_bytes), "config.json")
            metadata = parse(
                _read(archive, members["metadata.json"], LIMITS.config_bytes // 128), "metadata.json"
            )
            facts = scan_model_config(config, "config.json")
            scan_config(metadata, "metadata.json")
            weights = path.with_name("model.weights.h5")
            _unpack(archive, members["model.weights.h5"], weights)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, struct.error) as error:
        raise Refused(f"is a damaged archive ({str(error)[:120]}); {AGAIN}") from error
    version = metadata.get("keras_version")
    return {
        "Keras version": version if isinstance(version, str) else "not stated",
        **facts,
        **scan_weights(weights),
    }


def _check_end(path: Path) -> None:
    """Python's reader would build a record for each member first, search for the end of the archive, and skip what stands
    before it: each is how one file is two things to two readers."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(4)
        stream.seek(max(0, size - END.size))
        tail = stream.read(END.size)
    if start != b"PK\x03\x04":
        raise Refused(f"does not start with a member, so it is damaged or two files in one; {AGAIN}")
    if len(tail) < END.size or tail[:4] != b"PK\x05\x06":
        raise Refused(f"is a damaged archive: it does not end with its own table of contents; {AGAIN}")
    _, disk, first_disk, here, total, length, offset, comment = END.unpack(tail)
    if disk or first_disk or here != total or comment:
        raise Refused(
            f"is an archive with a comment or of several parts; expected one that Keras wrote, so {AGAIN}"
        )
    if total != len(MEMBERS) or offset == LARGE:
        raise Refused(f"holds {total:,} members; a .keras archive holds exactly {', '.join(MEMBERS)}")

    if offset + length + END.size != size:
        raise Refused(f"has bytes before its first member or after its last one; {AGAIN}")


def _checked_members(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    names = [member.filename for member in members]
    if sorted(names) != sorted(MEMBERS):
        shown = ", ".join(ascii(name[:40])[1:-1] for name in names[:5])
        raise Refused(f"holds the members {shown}; a .keras archive holds exactly {', '.join(MEMBERS)}")
    end = 0
    for member in sorted(members, key=lambda entry: entry.header_offset):
        name = member.filename
        if member.flag_bits & ENCRYPTED:
            raise Refused(f"{name} is encrypted; expected a plain member")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refused(
                f"{name} is compressed by the method {member.compress_type}; expected stored or deflated"
            )
        if (member.external_attr >> 16) & 0o170000 not in (0, 0o100000):
            raise Refused(f"{name} is a link or a folder; expected a file")
        if member.header_offset != end:
            raise Refused(
                f"{name} overlaps another member or leaves a gap, where something may hide; {AGAIN}"
            )
        limit = LIMITS.model_bytes if name.endswith(".h5") else LIMITS.config_bytes
        if member.file_size > limit:
            raise Refused(f"{name} unpacks to {member.file_size:,} bytes; at most {limit:,} are expected")
        # A configuration of repeated blocks packs well, and is small anyway.
        if name.endswith(".h5") and member.file_size > LIMITS.expansion * max(member.compress_size, 1024):
            raise Refused(f"{name} unpacks to more than {LIMITS.expansion} times its size, as a bomb does")
        end = _end_of_data(path, member)
    if end != archive.start_dir:
        raise Refused(f"has bytes between its members and its table of contents; {AGAIN}")
    return members


def _end_of_data(path: Path, member: zipfile.ZipInfo) -> int:
    """Where the member's bytes end, by its local header, which must say what the table of contents says."""
    with path.open("rb") as stream:
        stream.seek(member.header_offset)
        raw = stream.read(LOCAL.size)
        header = LOCAL.unpack(raw)
        name, extra = stream.read(header[9]), stream.read(header[10])
    flags, crc, packed, unpacked = header[2], header[6], header[7], header[8]
    if (
        unpacked == packed == LARGE and extra[:4] == b"\x01\x00\x10\x00"
    ):  # sizes of 64 bits, as Keras writes for weights
        unpacked, packed = struct.unpack("<2Q", extra[4:20])
    told = (name, header[3], flags, crc, packed, unpacked)
    listed = (
        member.filename.encode(),
        member.compress_type,
        member.flag_bits,
        member.CRC,
        member.compress_size,
        member.file_size,
    )
    if header[0] != b"PK\x03\x04" or told != listed:
        raise Refused(
            f"{member.filename} is another thing in its own header than in the table of contents; {AGAIN}"
        )
    return int(member.header_offset + LOCAL.size + header[9] + header[10] + packed)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    with archive.open(member) as stream:
        content = stream.read(limit + 1)
        if len(content) > limit:
            raise Refused(f"{member.filename} unpacks to more than {limit:,} bytes")
        while stream.read(COPY_BYTES):  # to the end, where the checksum is compared
            pass
    return content


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    written = 0
    with archive.open(member) as source, target.open("wb") as out:
        while block := source.read(COPY_BYTES):
            written += len(block)
            if written > member.file_size:
                raise Refused(f"{member.filename} unpacks to more than it declares")
            out.write(block)
