"""An HDF5 file of Keras: hard links, plain numbers that are stored here and finite, attributes of bounded size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from safeml.errors import first_line
from safeml.limits import LIMITS, MIB
from safeml.scan.base import Facts, Inconclusive, Refused
from safeml.scan.keras_config import UNREAD, scan_model_config
from safeml.scan.strict_json import parse

MAGIC = b"\x89HDF\r\n\x1a\n"
READ_BYTES = 4 * MIB
MOST_CHUNKS = 100_000
FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
# What is kept beside the weights of a model: not part of it, and not counted.
NOT_THE_MODEL = ("optimizer", "optimizer_weights")
AGAIN = "copy the file again, or save the model again"


def scan_weights(path: Path) -> Facts:
    """Facts of a file of weights alone."""
    with _opened(path) as file:
        _check_structure(path, file)
        return _walk(file)


def scan_h5(path: Path) -> Facts:
    """Facts of the HDF5 file at `path`: a whole model of Keras 2 or 3, or weights alone."""
    with _opened(path) as file:
        _check_structure(path, file)
        facts: Facts = {}
        for name, key in (("keras_version", "Keras version"), ("backend", "backend")):
            text = _text(file, name, 64)
            facts[key] = _printable(text, name)
        config = _text(file, "model_config", LIMITS.config_bytes)
        facts["holds"] = "weights alone" if config is None else "a whole model"
        if config is not None:
            facts |= scan_model_config(parse(config, "model_config"), "model_config")
        if "training_config" in file.attrs:
            facts["compilation"] = UNREAD
        return facts | _walk(file)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, open for reading. What the HDF5 library cannot read is refused: it says that by many exceptions."""
    import h5py

    with path.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise Refused(f"is damaged or is no HDF5 file; {AGAIN}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise Refused(f"is a damaged HDF5 file ({first_line(error, 120)}); {AGAIN}") from error


def _printable(raw: bytes | None, name: str) -> str:
    if raw is None:
        return "not stated"
    text = raw.decode("utf-8", "replace")
    if not text.isprintable():
        raise Refused(f"the attribute {name} holds characters that are no text")
    return text


def _walk(file: Any) -> Facts:
    arrays = numbers = total = 0
    for name, dataset in _datasets(file):
        _check_storage(name, dataset)
        total += dataset.size * dataset.dtype.itemsize
        if total > LIMITS.model_bytes:
            raise Refused(f"declares more than {LIMITS.model_bytes:,} bytes of weights")
        _check_finite(name, dataset)
        if not _beside_the_model(name):
            arrays += 1
            numbers += int(dataset.size)
    return {"arrays": arrays, "stored numbers": numbers}


def _beside_the_model(name: str) -> bool:
    parts = name.strip("/").split("/")
    return parts[0] in NOT_THE_MODEL or any(part.startswith("seed_generator") for part in parts)


def _check_structure(path: Path, file: Any) -> None:
    """Before anything of variable length is read, whose size HDF5 does not tell: links, and what is left beside the arrays."""
    beside = path.stat().st_size
    for _, dataset in _datasets(file):
        beside -= min(dataset.id.get_storage_size(), beside)
    if beside > LIMITS.hdf5_overhead_bytes:
        raise Refused(
            f"holds {beside:,} bytes that are in none of its arrays; at most {LIMITS.hdf5_overhead_bytes:,} are expected"
        )


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Every dataset by its path. Only hard links are followed, and an object that is reached twice is refused."""
    import h5py

    seen = {_address(file["/"])}
    waiting = [("", file["/"])]
    _check_attributes("the root", file)
    while waiting:
        place, group = waiting.pop()
        for name in _names(place, group):
            path = f"{place}/{name}"
            link = group.id.links.get_info(name.encode("utf-8", "surrogateescape"))
            if link.type != h5py.h5l.TYPE_HARD:
                raise Refused(f"{_shown(path)} is a soft or external link; expected the data themselves")
            child = group[name]
            if _address(child) in seen:
                raise Refused(f"{_shown(path)} is a second link to another object; expected each once")
            seen.add(_address(child))
            if len(seen) > LIMITS.hdf5_objects:
                raise Inconclusive(
                    f"holds more than {LIMITS.hdf5_objects:,} objects, which are not all looked at"
                )
            _check_attributes(_shown(path), child)
            if isinstance(child, h5py.Group):
                waiting.append((path, child))
            elif isinstance(child, h5py.Dataset):
                yield path, child
            else:
                raise Refused(f"{_shown(path)} is neither a group nor an array")


def _names(place: str, group: Any) -> list[str]:
    if len(group) > LIMITS.hdf5_objects:
        raise Inconclusive(f"holds a group of {len(group):,} entries, which are not all looked at")
    names = []
    for raw in group.id:
        name = raw.decode("utf-8", "surrogateescape")
        if name in ("", ".", "..") or len(name) > LIMITS.config_string or not name.isprintable():
            raise Refused(f"{_shown(place)} holds an entry whose name is no plain text; {AGAIN}")
        names.append(name)
    return names


def _address(thing: Any) -> tuple[int, int]:
    import h5py

    info = h5py.h5o.get_info(thing.id)
    return int(info.fileno), int(info.addr)


def _check_attributes(where: str, thing: Any) -> None:
    import h5py

    number = h5py.h5a.get_num_attrs(thing.id)
    if number > 1_000:
        raise Refused(f"{where} has {number:,} attributes; Keras writes a few")
    for index in range(number):
        attribute = h5py.h5a.open(thing.id, index=index)
        stored = attribute.get_type()
        kind, size = stored.get_class(), stored.get_size() * attribute.get_space().get_simple_extent_npoints()
        if kind not in (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM):
            raise Refused(f"{where} has an attribute that is neither text nor number")
        if size > LIMITS.hdf5_attribute_bytes:
            raise Refused(
                f"{where} has an attribute of {size:,} bytes; at most {LIMITS.hdf5_attribute_bytes:,} are read"
            )


def _check_storage(name: str, dataset: Any) -> None:
    import h5py

    where, plist = _shown(name), dataset.id.get_create_plist()
    if plist.get_external_count():
        raise Refused(f"{where} stores its numbers in another file; a model file names no other file")
    if plist.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED, h5py.h5d.COMPACT):
        raise Refused(f"{where} is a virtual dataset, made of other files; expected the numbers themselves")
    # The high-level dtype may build Python objects for what is refused anyway; the file's own type is looked at.
    kind = dataset.id.get_type().get_class()
    if kind not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM):
        raise Refused(f"{where} does not hold plain numbers")
    for index in range(plist.get_nfilters()):
        code = plist.get_filter(index)[0]
        if code not in FILTERS:
            raise Refused(
                f"{where} is packed by the HDF5 filter {code}; expected one of {', '.join(FILTERS.values())}"
            )
    declared = math.prod(dataset.shape) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if declared > LIMITS.model_bytes:
        raise Refused(f"{where} declares {declared:,} bytes; at most {LIMITS.model_bytes:,} are expected")
    if declared > LIMITS.expansion * max(stored, 64) or (declared and not stored):
        raise Refused(f"{where} declares {declared:,} bytes and stores {stored:,}, as a bomb does")
    if dataset.chunks is not None:
        chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
        if (
            math.prod(-(-side // step) for side, step in zip(dataset.shape, dataset.chunks, strict=True))
            > MOST_CHUNKS
        ):
            raise Inconclusive(
                f"has {where} in more than {MOST_CHUNKS:,} chunks, which are not all looked at"
            )
        if chunk > LIMITS.hdf5_chunk_bytes:
            raise Refused(
                f"{where} is stored in chunks of {chunk:,} bytes; at most {LIMITS.hdf5_chunk_bytes:,} are read"
            )


def _check_finite(name: str, dataset: Any) -> None:
    if dataset.dtype.kind != "f" or not dataset.size:
        return
    # A chunk is unpacked whole for any part of it, so each is asked for once.
    chunked = dataset.chunks is not None
    for part in dataset.iter_chunks() if chunked else _parts(dataset.shape, dataset.dtype.itemsize):
        if not np.isfinite(dataset[part]).all():
            raise Refused(
                f"the weights {_shown(name)} are not all finite; the file is damaged or its training diverged"
            )


def _parts(shape: tuple[int, ...], itemsize: int) -> Iterator[tuple[slice | int, ...]]:
    """Selections that cover the array, each of at most `READ_BYTES` where one row of the last axis is not longer."""
    if math.prod(shape) * itemsize <= READ_BYTES or not shape:
        yield tuple(slice(None) for _ in shape)
        return
    row = math.prod(shape[1:]) * itemsize
    if row > READ_BYTES:
        for index in range(shape[0]):
            for inner in _parts(shape[1:], itemsize):
                yield (index, *inner)
        return
    step = max(1, READ_BYTES // max(row, 1))
    for start in range(0, shape[0], step):
        yield (slice(start, min(start + step, shape[0])), *(slice(None) for _ in shape[1:]))


def _text(file: Any, name: str, limit: int) -> bytes | None:
    """A text attribute of the root, or None where there is none."""
    if name not in file.attrs:
        return None
    value = file.attrs[name]
    if isinstance(value, np.ndarray | np.generic):
        value = value.item() if value.size == 1 else None
    raw = value.encode() if isinstance(value, str) else value
    if not isinstance(raw, bytes):
        raise Refused(f"the attribute {name} is no text; expected what Keras writes")
    if len(raw) > limit:
        raise Refused(f"the attribute {name} has {len(raw):,} bytes; at most {limit:,} are expected")
    return raw


def _shown(path: str) -> str:
    shown = path if len(path) <= 80 else f"{path[:50]}...{path[-20:]}"
    return "".join(character if character.isprintable() else "?" for character in shown.lstrip("/"))
