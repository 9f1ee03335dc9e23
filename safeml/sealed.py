"""Sealed arrays: an .npz archive with a key and a sha256.

The reader specifies the names, types and shapes that it expects. Every length is therefore known before reading, no
header is parsed, and nothing is unpickled: any difference raises `Damaged`.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from math import prod

import numpy as np

Arrays = dict[str, np.ndarray]
# name -> (type, such as "float32", and shape)
Form = Mapping[str, tuple[str, tuple[int, ...]]]

SEAL: Form = {"key": ("<U64", ()), "sha256": ("<U64", ())}
OVERHEAD = 1024  # of a zip archive per array: its header and its two entries
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,
    MemoryError,
)


class Damaged(Exception):
    """The error of bytes that differ from the sealed ones; the message is a clause with the reason."""


def fits(arrays: Arrays, form: Form) -> bool:
    """Return whether `arrays` have the names, types and shapes of `form`."""
    return {name: (array.dtype, array.shape) for name, array in arrays.items()} == {
        name: (np.dtype(kind), shape) for name, (kind, shape) in form.items()
    }


def largest(form: Form) -> int:
    """Return the largest size of sealed arrays of this form in bytes."""
    whole = {**form, **SEAL}
    return sum(_bytes(kind, shape) + OVERHEAD for kind, shape in whole.values())


def seal(key: str, arrays: Arrays) -> bytes:
    """Serialise `arrays` under `key` (64 characters): equal arrays, equal bytes."""
    stream = io.BytesIO()
    members: Arrays = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    members |= {"key": np.array(key, "<U64"), "sha256": np.array(_digest(key, members), "<U64")}
    np.savez(stream, **members)  # type: ignore[arg-type]  # numpy's types take every name for its one option
    return stream.getvalue()


def unseal(raw: bytes, key: str, form: Form) -> Arrays:
    """Read the arrays of this form sealed under `key`. Raises Damaged for anything else."""
    whole = {**dict(sorted(form.items())), **SEAL}
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = archive.infolist()
            if [member.filename for member in members] != [f"{name}.npy" for name in whole]:
                raise Damaged("holds other arrays")
            arrays = {
                name: _member(archive, member, name, *whole[name])
                for name, member in zip(whole, members, strict=True)
            }
    except _BROKEN as error:
        raise Damaged("is damaged or truncated") from error
    found, digest = str(arrays.pop("key")), str(arrays.pop("sha256"))
    if digest != _digest(found, arrays):
        raise Damaged("is damaged or was edited")
    if found != key:
        raise Damaged("was measured from other evidence")
    return arrays


def _member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, kind: str, shape: tuple[int, ...]
) -> np.ndarray:
    header = _header(kind, shape)
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != len(header) + _bytes(kind, shape):
        raise Damaged(f"holds {name} of another type or shape")
    content = archive.read(member)
    if content[: len(header)] != header:
        raise Damaged(f"holds {name} of another type or shape")
    return np.frombuffer(content, np.dtype(kind), offset=len(header)).reshape(shape).copy()


def _header(kind: str, shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    described = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


def _bytes(kind: str, shape: tuple[int, ...]) -> int:
    return prod(shape) * np.dtype(kind).itemsize


def _digest(key: str, arrays: Arrays) -> str:
    digest = hashlib.sha256(key.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode() + array.tobytes())
    return digest.hexdigest()
