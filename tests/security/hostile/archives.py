"""Hostile archives: damage, members above the bounds, and headers that lie. Rows 10, 11, 12 and 15."""

from __future__ import annotations

import json
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.security.hostile import clean
from tests.security.hostile.case import ANY, NOT_CLEAN, Build, add
from tests.security.hostile.rawzip import BLOCK, Entry, deflated, swollen, write_zip

DAMAGED = r"damaged|truncated|cut|zip|archive|HDF5|CRC|checksum"
FORMATS: dict[str, Callable[[Path], Path]] = {
    "keras": lambda folder: clean.keras_file(folder / "clean.keras"),
    "h5": lambda folder: clean.keras3_h5(folder / "clean.h5"),
    "keras2_h5": lambda folder: clean.keras2_h5(folder / "clean.h5"),
}


def changed(kind: str, change: Callable[[bytearray], bytes | bytearray]) -> Build:
    """A builder of a clean file whose bytes went through `change`."""

    def build(folder: Path) -> Path:
        path = FORMATS[kind](folder)
        path.write_bytes(change(bytearray(path.read_bytes())))
        return path

    return build


def cut(sixteenths: int) -> Callable[[bytearray], bytearray]:
    return lambda content: content[: len(content) * sixteenths // 16]


def flip(place: Callable[[bytearray], int]) -> Callable[[bytearray], bytearray]:
    def change(content: bytearray) -> bytearray:
        content[place(content)] ^= 0x10
        return content

    return change


def at(sixteenths: int) -> Callable[[bytearray], int]:
    return lambda content: len(content) * sixteenths // 16


for _kind in FORMATS:
    for _part in (1, 4, 8, 12, 15):
        add(
            f"{_kind}_cut_{_part:02d}",
            10,
            changed(_kind, cut(_part)),
            r"^(?!.*(not found|no such)).+",
            NOT_CLEAN,
        )
    add(f"{_kind}_less_one_byte", 10, changed(_kind, lambda content: content[:-1]), DAMAGED, NOT_CLEAN)

# Where a change of one byte is certain to be seen: content under a CRC, and the fields that find it.
for _name, _place in {
    "config": lambda content: content.index(b"Sequential"),
    "metadata": lambda content: content.index(b"3.15.1"),
    "weights_start": lambda content: content.index(b"\x89HDF"),
    "weights_middle": lambda content: len(content) // 2,
    "stored_crc": lambda content: content.index(b"PK\x01\x02") + 16,
    "stored_size": lambda content: content.index(b"PK\x01\x02") + 24,
    "member_name": lambda content: content.index(b"PK\x01\x02") + 46,
    "local_name": lambda content: content.index(b"config.json"),
    "directory_offset": lambda content: content.rindex(b"PK\x05\x06") + 16,
    "member_count": lambda content: content.rindex(b"PK\x05\x06") + 10,
}.items():
    add(f"flipped_in_{_name}", 11, changed("keras", flip(_place)), "", NOT_CLEAN)
for _kind in ("h5", "keras2_h5"):
    for _part in (1, 3, 5, 9, 12, 15):
        add(f"{_kind}_flipped_{_part:02d}", 11, changed(_kind, flip(at(_part))), "", ANY)


def zipped(change: Callable[[list[Entry]], list[Entry]], **around: bytes) -> Build:
    """A builder of a .keras archive from hand-written entries; `change` makes one of the clean ones hostile."""

    def build(folder: Path) -> Path:
        entries = [Entry(name, content) for name, content in clean.members().items()]
        path = folder / "model.keras"
        path.write_bytes(write_zip(change(entries), **around))  # type: ignore[arg-type]
        return path

    return build


def more(*extra: Entry) -> Callable[[list[Entry]], list[Entry]]:
    return lambda entries: [*entries, *extra]


def config_as(make: Callable[[Entry], Entry]) -> Callable[[list[Entry]], list[Entry]]:
    """The entries with config.json made into another."""
    return lambda entries: [make(one) if one.name == "config.json" else one for one in entries]


def instead(entry: Entry) -> Callable[[list[Entry]], list[Entry]]:
    return lambda entries: [entry if one.name == entry.name else one for one in entries]


def swelling(name: str, block: bytes, times: int, tail: bytes = b"", **lies: int) -> Build:
    """A builder of a .keras archive whose member `name` unpacks to `times` blocks; `lies` are fields of its headers."""

    def change(entries: list[Entry]) -> list[Entry]:
        return instead(replace(swollen(name, block, times, tail=tail), **lies))(entries)  # type: ignore[arg-type]

    return zipped(change)


def blanks(folder: Path) -> Path:
    """config.json: 1 MiB of blanks round the true configuration."""
    config = swollen("config.json", b" " * BLOCK, 1, tail=json.dumps(clean.clean_config()).encode())
    return zipped(instead(config))(folder)


def many_members(entries: list[Entry]) -> list[Entry]:
    return [*entries, *(Entry(f"assets/{index}", b"") for index in range(100))]


def overlapping(entries: list[Entry]) -> list[Entry]:
    """Two names for the bytes of one member."""
    return [*entries, replace(entries[-1], name="assets/again", offset=0)]


def with_gap(entries: list[Entry]) -> list[Entry]:
    """Bytes that belong to no member, before the second one's header."""
    first = replace(entries[0], data=entries[0].data + b"PK\x03\x04 hidden", stored=len(entries[0].data))
    return [first, *entries[1:]]


def zip64(folder: Path) -> Path:
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in clean.members().items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(content)
    return path


def zip64_sizes(entry: Entry) -> Entry:
    """A size of 9 MiB, which the member does not have, in the extra field of zip64."""
    return replace(entry, size=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 9 * BLOCK))


_LINK = (stat.S_IFLNK | 0o777, b"no-such-file")
ZIP = r"member|header|archive|zip|encrypt|link|name|damaged|bytes|size|compress"
BLANKS = b" " * BLOCK
CONFIG_LIMIT = BLOCK // 4
add("blanks_round_config", 12, blanks, r"config\.json unpacks to", archive__config_bytes=CONFIG_LIMIT)
add("blanks_in_metadata", 12, swelling("metadata.json", BLANKS, 1, b"{}"), r"metadata\.json unpacks to more")
add("zeros_as_weights", 12, swelling("model.weights.h5", bytes(BLOCK), 2), "100 times its size")
add(
    "weights_above_the_bound",
    12,
    zipped(list),
    r"model\.weights\.h5 unpacks to",
    archive__model_bytes=4096,
)
add("config_of_small_size", 12, swelling("config.json", BLANKS, 1, b"{}", size=2000), ZIP, NOT_CLEAN)
add("config_of_small_local_size", 12, swelling("config.json", BLANKS, 1, local_size=2000), "its own header")
add(
    "weights_of_small_size",
    12,
    swelling("model.weights.h5", bytes(BLOCK), 2, size=30_000),
    ZIP,
    NOT_CLEAN,
)

add(
    "duplicate_config",
    15,
    zipped(more(Entry("config.json", b"{}"))),
    r"config\.json|twice|duplicate",
)
add(
    "duplicate_weights",
    15,
    zipped(more(Entry("model.weights.h5", b""))),
    r"twice|duplicate|model\.weights\.h5",
)
for _name, _member in {
    "upper_case": "CONFIG.JSON",
    "trailing_slash": "config.json/",
    "dot": "./config.json",
    "empty": "",
    "nul": "config.json\0.txt",
    "newline": "a\nb",
    "bidi": "a\u202eb",
    "asset": "assets/vocabulary.txt",
    "python": "model.py",
    "long": "a" * 1_000,
}.items():
    add(f"member_named_{_name}", 15, zipped(more(Entry(_member, b"x"))), ZIP, NOT_CLEAN)
add("many_members", 15, zipped(many_members), "103 members")
add("encrypted_flag", 15, zipped(config_as(lambda one: replace(one, flags=1))), ZIP)
add("strong_encryption_flag", 15, zipped(config_as(lambda one: replace(one, flags=0x41))), ZIP)
add("unknown_method", 15, zipped(config_as(lambda one: replace(one, method=99))), ZIP)
add("lzma_method", 15, zipped(config_as(lambda one: replace(one, method=14))), ZIP)
add("deflate_of_rubbish", 15, zipped(config_as(lambda one: replace(one, method=8))), ZIP)
add("zip64", 15, zip64, ZIP, ANY)
add("zip64_sizes", 15, zipped(config_as(zip64_sizes)), ZIP)
add("symlink_member", 15, zipped(instead(Entry("config.json", _LINK[1], mode=_LINK[0]))), ZIP)
add("symlink_extra_member", 15, zipped(more(Entry("assets", _LINK[1], mode=_LINK[0]))), ZIP)
add("local_name_differs", 15, zipped(config_as(lambda one: replace(one, local_name="konfig.json"))), ZIP)
add("local_name_swapped", 15, zipped(config_as(lambda one: replace(one, local_name="metadata.json"))), ZIP)
add("overlapping_members", 15, zipped(overlapping), ZIP)
add("shared_offset", 15, zipped(config_as(lambda one: replace(one, offset=0))), ZIP)
add("offset_behind_the_end", 15, zipped(config_as(lambda one: replace(one, offset=0x7FFFFFFF))), ZIP)
add("size_9_mib_in_header", 15, zipped(config_as(lambda one: replace(one, size=9 * BLOCK))), ZIP)
add("size_too_small", 15, zipped(config_as(lambda one: replace(one, size=10))), "", NOT_CLEAN)
add("wrong_crc", 15, zipped(config_as(lambda one: replace(one, crc=1))), ZIP)
add("prepended_bytes", 15, zipped(list, before=b"hello\n"), "")
add("prepended_zip", 15, zipped(list, before=write_zip([Entry("config.json", b"{}")])), "")
add("trailing_bytes", 15, zipped(list, after=b"x" * 100), "")
add("trailing_zip", 15, zipped(list, after=write_zip([Entry("config.json", b"{}")])), "")
add("bytes_between_members", 15, zipped(with_gap), "")
add("bytes_before_the_directory", 15, zipped(lambda entries: with_gap(entries[::-1])[::-1]), "")
add("comment", 15, zipped(list, comment=b"c" * 600), "", ANY)
add("comment_holds_end_record", 15, zipped(list, comment=b"PK\x05\x06" + bytes(18)), "")
for _name in ("config.json", "metadata.json", "model.weights.h5"):
    _drop = lambda entries, gone=_name: [one for one in entries if one.name != gone]  # noqa: E731
    add(f"without_{_name.replace('.', '_')}", 15, zipped(_drop), _name.replace(".", r"\."))
    add(
        f"empty_{_name.replace('.', '_')}",
        15,
        zipped(instead(Entry(_name, b""))),
        _name.replace(".", r"\.") + "|HDF5",
    )
add("no_members", 15, zipped(lambda entries: []), "")
add("all_deflated", 15, zipped(lambda entries: [deflated(one.name, one.data) for one in entries]), "", ANY)
add(
    "weights_are_a_zip",
    15,
    zipped(instead(Entry("model.weights.h5", write_zip([])))),
    r"model\.weights\.h5|HDF5",
)
