"""Files that are not what they are called, and formats that are never loaded. Rows 9, 25, 26 and 27."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.security.hostile import clean
from tests.security.hostile.case import ANY, NOT_CLEAN, Build, add


def content(name: str, raw: Callable[[], bytes]) -> Build:
    def build(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(raw())
        return path

    return build


def pickled(protocol: int) -> Callable[[], bytes]:
    """Plain values only: nothing runs when it is read."""
    return lambda: pickle.dumps({"weights": [1.0]}, protocol)


def renamed(make: Callable[[Path], Path], name: str) -> Build:
    return lambda folder: make(folder / "clean").rename(folder / name)


def torch_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"w": 1}, 2))
        archive.writestr("archive/version", "3")
    return buffer.getvalue()


def object_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([None], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def legacy_torch() -> bytes:
    return b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


PICKLE = r"pickle|model"
for _protocol in range(6):
    add(f"pickle_{_protocol}_named_keras", 9, content("model.keras", pickled(_protocol)), PICKLE)
KINDS: dict[str, Callable[[], bytes]] = {
    "pickle": pickled(4),
    "joblib": lambda: gzip.compress(pickle.dumps({"model": [1.0]}, 4)),
    "torch_zip": torch_zip,
    "torch_legacy": legacy_torch,
    "numpy_objects": object_array,
    "tflite": lambda: b"\x1c\x00\x00\x00TFL3" + bytes(200),
    "html": lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "empty": lambda: b"",
    "one_byte": lambda: b"P",
    "zeros": lambda: bytes(10_000),
    "shell": lambda: b"#!/bin/sh\nexit 1\n",
    "elf": lambda: b"\x7fELF\x02\x01\x01" + bytes(200),
    "lfs_pointer": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "text": lambda: b"hello world\n" * 100,
    "magic_of_hdf5_only": lambda: b"\x89HDF\r\n\x1a\n",
    "magic_of_zip_only": lambda: b"PK\x03\x04",
    "end_of_zip_only": lambda: b"PK\x05\x06" + bytes(18),
    "onnx_runtime": lambda: onnx_model().replace(b"\x08\x08", b"\x08\x08\x12\x04ORTM", 1),
    "plan_1": lambda: b"ptrt no engine",
    "plan_2": lambda: b"ftrt no engine",
}
for _name, _raw in KINDS.items():
    _row = 27 if _name.startswith("plan") else 9
    # What a file is goes by its content; the ending makes a difference for one of each kind at most.
    for _end in (
        ("keras", "h5", "onnx") if _name in ("pickle", "text", "plan_1", "onnx_runtime") else ("keras",)
    ):
        add(f"{_name}_named_{_end}", _row, content(f"model.{_end}", _raw), r"^(?!.*not found).+")
add("keras_named_h5", 9, renamed(clean.keras_file, "model.h5"), r"named|ending|content")
add("keras_named_onnx", 9, renamed(clean.keras_file, "model.onnx"), r"named|ending|content")
add("keras_without_ending", 9, renamed(clean.keras_file, "model"), r"named|ending|content")
add("keras_named_in_capitals", 9, renamed(clean.keras_file, "model.KERAS"), r"named|ending|content", ANY)
add("h5_named_keras", 9, renamed(clean.keras3_h5, "model.keras"), r"named|ending|content")
add("plan_named_engine", 27, content("model.engine", lambda: b"ptrt no engine"), "TensorRT|engine")
add("plan_named_plan", 27, content("model.plan", lambda: b"ftrt no engine"), "TensorRT|engine")
add("plan_of_zero_bytes", 27, content("model.plan", lambda: b""), "empty")
add("pickle_named_pkl", 9, content("model.pkl", pickled(4)), "pickle")


def folder_named_keras(folder: Path) -> Path:
    path = folder / "model.keras"
    path.mkdir()
    return path


def socket_file(folder: Path) -> Path:
    import socket

    place = os.getcwd()
    with socket.socket(socket.AF_UNIX) as endpoint:
        os.chdir(folder)  # the address of a socket holds about a hundred characters
        try:
            endpoint.bind("model.keras")
        finally:
            os.chdir(place)
    return folder / "model.keras"


def link(to: Callable[[Path], Path]) -> Build:
    def build(folder: Path) -> Path:
        path = folder / "model.keras"
        path.symlink_to(to(folder))
        return path

    return build


def link_in_a_folder(folder: Path) -> Path:
    model = folder / "saved"
    model.mkdir()
    (model / "saved_model.pb").symlink_to("/etc/hostname")
    return model


def large_manifest(folder: Path) -> Path:
    (folder / "training.json").write_text('{"notes": "' + "a" * 5_000 + '"}', encoding="utf-8")
    return clean.keras_file(folder / "model.keras")


def deep_manifest(folder: Path) -> Path:
    (folder / "training.json").write_bytes(b"[" * 70)
    return clean.keras_file(folder / "model.keras")


def manifest_names_the_parent(folder: Path) -> Path:
    """The folder above the model's own must not be taken for the model, nor be copied."""
    model = folder / "trained"
    model.mkdir()
    (model / "training.json").write_text('{"chosen": {"file": ".."}}', encoding="utf-8")
    return model


def latin_1_name(folder: Path) -> Path:
    return clean.keras_file(folder / os.fsdecode(b"mod\xe8le.keras"), b"{}")


SPECIAL = r"regular|link|folder|file|model|cannot be read"
add("folder", 9, folder_named_keras, SPECIAL)
add("socket", 9, socket_file, "regular")
add("device_null", 9, lambda folder: Path("/dev/null"), "regular")
add("proc_file", 9, lambda folder: Path("/proc/self/mem"), SPECIAL)
add("symlink", 9, link(lambda folder: clean.keras_file(folder / "real.keras")), "link")
add("symlink_to_system_file", 9, link(lambda folder: Path("/etc/hostname")), "link")
add("symlink_to_device", 9, link(lambda folder: Path("/dev/null")), "link")
add("symlink_to_folder", 9, link(lambda folder: folder), "link")
add("symlink_dangling", 9, link(lambda folder: folder / "nowhere"), "link")
add("symlink_loop", 9, link(lambda folder: folder / "model.keras"), "link")
add("absent", 9, lambda folder: folder / "model.keras", "no such file")
add("name_of_300_characters", 9, lambda folder: folder / ("a" * 300 + ".keras"), "name|file|open")
add("below_a_file", 9, lambda folder: clean.keras_file(folder / "a.keras") / "b.keras", SPECIAL)
add("name_in_latin_1", 9, latin_1_name, "")
add("large_training_json", 9, large_manifest, "is larger than", sources__config_bytes=4_096)
add("training_json_names_the_parent", 9, manifest_names_the_parent, r"training\.json|checkpoint")
add("deep_training_json", 9, deep_manifest, "", ANY)


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def onnx_model(node: bytes = b"", initializer: bytes = b"", opset: int = 17, domain: bytes = b"") -> bytes:
    """A ModelProto with one Relu on [N, 4], and what is given more."""
    dims = field(1, field(2, b"N")) + field(1, field(1, 4))
    kind = field(2, field(1, field(1, 1) + field(2, dims)))
    relu = field(1, b"x") + field(2, b"y") + field(4, b"Relu")
    graph = field(1, relu) + (field(1, node) if node else b"") + field(2, b"g")
    graph += field(5, initializer) if initializer else b""
    graph += field(11, field(1, b"x") + kind) + field(12, field(1, b"y") + kind)
    imports = field(8, field(2, opset))
    if domain:
        imports += field(8, field(1, domain) + field(2, 1))
    return field(1, 8) + field(7, graph) + imports


def external(location: bytes) -> bytes:
    """A TensorProto of 4 floats that lie in another file."""
    where = field(1, b"location") + field(2, location)
    return field(1, 4) + field(2, 1) + field(8, b"w") + field(13, where) + field(14, 1)


ONNX_SAYS = {
    "external": r"another file|external",
    "custom": r"my\.domain|Unknown",
    "opset": "9,?999",
    "length": r"damaged|declares|end",
}
_CUSTOM = field(1, b"x") + field(2, b"z") + field(4, b"Unknown") + field(7, b"my.domain")
for _name, _raw in {
    "external_parent": lambda: onnx_model(initializer=external(b"../no-such-file")),
    "external_absolute": lambda: onnx_model(initializer=external(b"/no-such-file")),
    "external_beside": lambda: onnx_model(initializer=external(b"no-such-file")),
    "custom_domain": lambda: onnx_model(node=_CUSTOM, domain=b"my.domain"),
    "opset_unknown": lambda: onnx_model(opset=9_999),
    "length_beyond_the_end": lambda: onnx_model()[:-3],
}.items():
    add(f"onnx_{_name}", 25, content("model.onnx", _raw), ONNX_SAYS[_name.split("_")[0]], NOT_CLEAN)


def nested_graphs() -> bytes:
    """30 branches in each other."""
    graph = field(1, field(1, b"x") + field(2, b"y") + field(4, b"Relu"))
    for _ in range(30):
        graph = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, graph)))
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))


add(
    "onnx_nested_graphs",
    25,
    content("model.onnx", nested_graphs),
    "deep",
    frozenset({"inconclusive"}),
)


INDEX_ENDS = bytes.fromhex("57fb808b247547db")  # the last bytes of every sorted table of TensorFlow


def saved_model(op: str) -> Build:
    """A SavedModel folder whose graph holds one operation."""

    def build(folder: Path) -> Path:
        model = folder / "saved"
        (model / "variables").mkdir(parents=True)
        graph = field(1, field(1, b"node") + field(2, op.encode()))
        (model / "saved_model.pb").write_bytes(field(1, 1) + field(2, field(2, graph) + field(7, b"")))
        (model / "variables" / "variables.index").write_bytes(bytes(40) + INDEX_ENDS)
        (model / "variables" / "variables.data-00000-of-00001").write_bytes(b"data")
        return model

    return build


for _op in ("ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "LookupTableImportV2"):
    add(f"saved_model_{_op.lower()}", 26, saved_model(_op), _op, NOT_CLEAN)
add("saved_model_link", 26, link_in_a_folder, "link", NOT_CLEAN)
add(
    "saved_model_empty",
    26,
    lambda folder: (saved_model("Relu")(folder), (folder / "saved/saved_model.pb").write_bytes(b""))[0],
    "",
    NOT_CLEAN,
)
