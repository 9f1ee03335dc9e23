"""What a model file is, by its content. The ending must agree, because loaders go by the ending."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safeml.scan.archive import scan_archive
from safeml.scan.base import Facts, Refused
from safeml.scan.hdf5 import MAGIC, scan_h5
from safeml.scan.keras_config import scan_model_config
from safeml.scan.onnx import looks_like_onnx, scan_onnx
from safeml.scan.saved_model import scan_saved_model
from safeml.scan.strict_json import parse

HEAD_BYTES = 4096


@dataclass(frozen=True)
class Format:
    """One row a format: its name in the report, the endings that its loaders know, and its scanner."""

    name: str
    suffixes: tuple[str, ...]
    scan: Callable[[Path], Facts]


KERAS = Format("Keras archive", (".keras",), scan_archive)
HDF5 = Format("HDF5 file", (".h5", ".hdf5"), scan_h5)
ONNX = Format("ONNX file", (".onnx",), scan_onnx)
SAVED_MODEL = Format("SavedModel folder", ("",), scan_saved_model)
FORMATS = (KERAS, HDF5, ONNX, SAVED_MODEL)
EXPECTED = "expected a Keras model (.keras or .h5), an ONNX file, or a SavedModel folder"

# What people also call a model. Named only so that the sentence says what was found: all of it is refused anyway.
OTHERS = (
    (b"\x80\x02", "a pickle, which runs code when it is read"),
    (b"\x80\x03", "a pickle, which runs code when it is read"),
    (b"\x80\x04", "a pickle, which runs code when it is read"),
    (b"\x80\x05", "a pickle, which runs code when it is read"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"ptrt", "a TensorRT engine, which is native code; give the model that it was built from"),
    (b"ftrt", "a TensorRT engine, which is native code; give the model that it was built from"),
    (b"<", "a web page or XML"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)


def identify(path: Path) -> Format:
    """The format of the private copy at `path`. Raises `Refused` where it is none, or not what its ending says."""
    if path.is_dir():
        return SAVED_MODEL
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        stream.seek(max(0, path.stat().st_size - 1))
        last = stream.read(1)
    found = _by_content(path, head)
    if found is None:
        raise Refused(f"is {_other(head, last)}; {EXPECTED}")
    if path.suffix not in found.suffixes:
        named = f"is named {path.suffix}" if path.suffix else "has no known ending"
        raise Refused(f"{named} and is a {found.name} by its content; name it {found.suffixes[0]}")
    return found


def scan_architecture(path: Path) -> Facts:
    """Facts of the JSON architecture (`model.to_json()`) at `path`, which stands beside weights alone."""
    return scan_model_config(parse(path.read_bytes(), "the architecture"), "the architecture")


def _by_content(path: Path, head: bytes) -> Format | None:
    if head.startswith(b"PK\x03\x04") and b"data.pkl" not in head:
        return KERAS
    if head.startswith(MAGIC):
        return HDF5
    if head[4:8] == b"ORTM":
        raise Refused(
            "is marked as ONNX Runtime's own format, which is not scanned; give the ONNX file it was made from"
        )
    return ONNX if looks_like_onnx(path) else None


def _other(head: bytes, last: bytes) -> str:
    if head.startswith(b"PK") and b"data.pkl" in head:
        return "a PyTorch archive, which holds a pickle and runs code when it is read"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite file"
    for start, name in OTHERS:
        if head.startswith(start):
            return name
    if head[:1] in b"(]}c" and last == b".":
        return "a pickle, which runs code when it is read"
    if head.lstrip()[:1] == b"{":
        return "JSON; a JSON architecture needs its weights beside it"
    return "damaged, or no model file"
