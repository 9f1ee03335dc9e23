"""Hostile HDF5: arrays above the bounds, links out of the file, odd types, numbers that are not finite. Rows 13, 14 and 18."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.security.hostile import clean
from tests.security.hostile.case import ANY, NOT_CLEAN, Build, add

KIB, MIB = 1 << 10, 1 << 20
Change = Callable[[Any], None]
KERNEL = "layers/dense/vars/0"


def inside_keras(change: Change, **options: Any) -> Build:
    """A .keras file whose model.weights.h5 went through `change`."""

    def build(folder: Path) -> Path:
        buffer = io.BytesIO(clean.weights_h5())
        with h5py.File(buffer, "a", **options) as file:
            change(file)
        return clean.keras_file(folder / "model.keras", arrays=buffer.getvalue())

    return build


def inside_h5(change: Change, **options: Any) -> Build:
    """A Keras 3 .h5 file that went through `change`."""

    def build(folder: Path) -> Path:
        path = clean.keras3_h5(folder / "model.h5")
        with h5py.File(path, "a", **options) as file:
            change(file)
        return path

    return build


def put(name: str, **how: Any) -> Change:
    """Add a dataset `name`, or replace the one of that name."""

    def change(file: Any) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, **how)

    return change


def unknown_filter(file: Any) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4,))
    plist.set_filter(32_015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file["layers"].id, b"packed", h5py.h5t.IEEE_F32LE, space, plist).write_direct_chunk(
        (0,), bytes(16), 1
    )


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("no-such-file.h5", "x", (4,))
    file.create_virtual_dataset("layers/virtual", layout)


def cycle(file: Any) -> None:
    file["layers/dense/again"] = file["layers"]


def nested_groups(file: Any) -> None:
    group = file["layers"]
    for _ in range(20):
        group = group.create_group("g")


def many_groups(file: Any) -> None:
    for index in range(20):
        file.create_group(f"layers/g{index}")


def many_attributes(file: Any) -> None:
    for index in range(1_001):
        file["layers"].attrs[f"a{index}"] = 1


def attribute(value: Any) -> Change:
    def change(file: Any) -> None:
        file["layers" if "layers" in file else "model_weights"].attrs["note"] = value

    return change


def dense_attribute(folder: Path) -> Path:
    """An attribute beyond the 64 KiB that fit into an object's header: it needs the newer form of the format."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        file.create_group("layers").attrs["note"] = np.zeros(100 * KIB, "i1")
    return clean.keras_file(folder / "model.keras", arrays=buffer.getvalue())


def model_config(value: Any) -> Change:
    def change(file: Any) -> None:
        file.attrs["model_config"] = value

    return change


# name: the change, what the scan says, and the bounds to lower. Nothing here declares more than 8 MiB.
_ABOVE: dict[str, tuple[Change, str, dict[str, int]]] = {
    "never_written": (put("layers/extra", shape=(2 * MIB,), dtype="f4"), "and stores 0", {}),
    "never_written_in_chunks": (
        put("layers/extra", shape=(MIB,), dtype="f4", chunks=(1000,)),
        "and stores 0",
        {},
    ),
    "never_written_kernel": (put(KERNEL, shape=(1000, 1000), dtype="f4"), "and stores 0", {}),
    "20_dimensions": (put("layers/extra", shape=(2,) * 20, dtype="f4"), "and stores 0", {}),
    "packed_1000_to_1": (
        put("layers/extra", data=np.zeros(MIB, "f4"), chunks=(MIB // 4,), compression="gzip"),
        r"declares 4,194,304 bytes and stores [\d,]+, as a bomb does",
        {},
    ),
    "array_above_the_bound": (
        put("layers/extra", data=np.ones(4_000, "f4")),
        "declares 16,000 bytes; at most 12,300",
        {"hdf5__model_bytes": 12_300},
    ),
    "arrays_above_the_bound_together": (
        put("layers/extra", data=np.ones(100, "f4")),
        "declares more than 12,300 bytes of weights",
        {"hdf5__model_bytes": 12_300},
    ),
    "many_chunks": (
        put("layers/extra", data=np.ones(20, "f4"), chunks=(1,)),
        "in more than 10 chunks",
        {"hdf5__MOST_CHUNKS": 10},
    ),
    "large_chunk": (
        put("layers/extra", data=np.ones(4_000, "f4"), chunks=(4_000,)),
        "in chunks of 16,000 bytes; at most 4,096",
        {"hdf5__hdf5_chunk_bytes": 4_096},
    ),
    "nested_groups": (nested_groups, "holds more than 15 objects", {"hdf5__hdf5_objects": 15}),
    "many_groups": (many_groups, "holds a group of 23 entries", {"hdf5__hdf5_objects": 15}),
    "many_attributes": (many_attributes, "1,001 attributes", {}),
    "long_text_attribute": (
        attribute("a" * 100 * KIB),
        "bytes that are in none of its arrays",
        {"hdf5__hdf5_overhead_bytes": 50 * KIB},
    ),
}
for _name, (_change, _says, _lowered) in _ABOVE.items():
    add(f"hdf5_{_name}", 13, inside_keras(_change), _says, NOT_CLEAN, **_lowered)
add("h5_never_written", 13, inside_h5(put("model_weights/extra", shape=(MIB,), dtype="f4")), "and stores 0")
add(
    "hdf5_large_attribute",
    13,
    dense_attribute,
    "has an attribute of 102,400 bytes",
    hdf5__hdf5_attribute_bytes=50 * KIB,
)
add(
    "h5_long_config",
    13,
    inside_h5(model_config("{" + " " * 100 * KIB + "}")),
    r"the attribute model_config has 102,402 bytes",
    hdf5__config_bytes=50 * KIB,
)

ELSEWHERE = ("/no-such-file", 0, 100_000)
_REFERENCE, _REGION = h5py.ref_dtype, h5py.regionref_dtype
_ODD: dict[str, tuple[Change, str]] = {
    "external_storage": (
        put("layers/x", shape=(100,), dtype="i1", external=[ELSEWHERE]),
        "file",
    ),
    "external_kernel": (put(KERNEL, shape=(192, 16), dtype="f4", external=[ELSEWHERE]), "file"),
    "external_relative": (
        put("layers/x", shape=(9,), dtype="i1", external=[("../no-such-file", 0, 9)]),
        "file",
    ),
    "virtual": (virtual, "virtual"),
    "soft_link": (lambda f: f.__setitem__("soft", h5py.SoftLink("/layers")), "link"),
    "soft_link_in_group": (lambda f: f.__setitem__("layers/dense/soft", h5py.SoftLink("/vars")), "link"),
    "soft_link_to_nothing": (lambda f: f.__setitem__("layers/soft", h5py.SoftLink("/nowhere")), "link"),
    "soft_link_to_itself": (lambda f: f.__setitem__("layers/soft", h5py.SoftLink("/layers/soft")), "link"),
    "external_link": (lambda f: f.__setitem__("out", h5py.ExternalLink("/no-such-file.h5", "/")), "link"),
    "external_link_in_group": (
        lambda f: f.__setitem__("layers/out", h5py.ExternalLink("no-such-file.h5", "/")),
        "link",
    ),
    "hard_link_cycle": (cycle, "link"),
    "hard_link_to_root": (lambda f: f.__setitem__("layers/root", f["/"]), "link"),
    "object_references": (put("layers/x", shape=(3,), dtype=_REFERENCE), "number|type"),
    "region_references": (put("layers/x", shape=(3,), dtype=_REGION), "number|type"),
    "ragged_floats": (put("layers/x", shape=(3,), dtype=h5py.vlen_dtype("f4")), "number|type"),
    "ragged_text": (put("layers/x", data=["a", "b"], dtype=h5py.string_dtype()), "number|type"),
    "fixed_text": (put("layers/x", data=np.array([b"ab", b"cd"])), "number|type"),
    "compound": (put("layers/x", data=np.zeros(3, [("a", "f4"), ("b", "i8")])), "number|type"),
    "complex": (put("layers/x", data=np.zeros(3, "c8")), "number|type"),
    "opaque": (put("layers/x", data=np.zeros(3, "V8")), "number|type"),
    "array_type": (put("layers/x", shape=(3,), dtype=np.dtype("(2,2)f4")), "number|type"),
    "committed_type": (lambda f: f.__setitem__("layers/kind", np.dtype("f4")), "group|array|type"),
    "null_space": (put("layers/x", data=h5py.Empty("f4")), "damaged|shape|number"),
    "unknown_filter": (unknown_filter, "filter"),
    "lzf_filter": (put("layers/x", data=np.zeros(100, "f4"), compression="lzf"), "filter"),
    "reference_attribute": (
        lambda f: f["layers"].attrs.create("r", f["vars"].ref, dtype=_REFERENCE),
        "attribute",
    ),
    "compound_attribute": (attribute(np.zeros(2, [("a", "f4")])), "attribute"),
}
for _name, (_change, _says) in _ODD.items():
    add(f"hdf5_{_name}", 14, inside_keras(_change), _says)
add("h5_soft_link", 14, inside_h5(lambda f: f.__setitem__("model_weights/x", h5py.SoftLink("/"))), "link")
add(
    "h5_external_link",
    14,
    inside_h5(lambda f: f.__setitem__("optimizer_weights", h5py.ExternalLink("no-such-file.h5", "/"))),
    "link",
)
add(
    "h5_external_storage",
    14,
    inside_h5(put("model_weights/x", shape=(100,), dtype="i1", external=[ELSEWHERE])),
    "file",
)


def group_named(name: bytes) -> Change:
    def change(file: Any) -> None:
        h5py.h5g.create(file["layers"].id, name)

    return change


for _kind, _raw in {
    "dots": b"..",
    "backslashes": b"..\\x",
    "newline": b"a\nb",
    "no_utf8": b"\xff\xfe",
    "2000_letters": b"a" * 2_000,
}.items():
    add(f"hdf5_group_named_{_kind}", 14, inside_keras(group_named(_raw)), "", ANY)


def kernel(value: float, dtype: str = "float32", share: float = 0.01) -> Change:
    """The kernel of `dense`, with `value` in a share of its places; 1.0: everywhere."""

    def change(file: Any) -> None:
        array = clean.weights()["dense"][0].astype(dtype)
        array.flat[:: round(1 / share)] = value
        put(KERNEL, data=array)(file)

    return change


for _name, _change in {
    "nan": kernel(np.nan),
    "one_nan_at_the_end": lambda f: f["layers/dense_1/vars/1"].__setitem__(3, np.nan),
    "infinity": kernel(np.inf),
    "minus_infinity": kernel(-np.inf),
    "nan_float16": kernel(np.nan, "float16"),
    "nan_float64": kernel(np.nan, "float64"),
    "nan_big_endian": kernel(np.nan, ">f4"),
}.items():
    add(f"weights_{_name}", 18, inside_keras(_change), "finite")
add(
    "h5_weights_nan",
    18,
    inside_h5(lambda f: f["model_weights/dense/clean/dense/kernel"].__setitem__(0, np.nan)),
    "finite",
)
for _name, _value in (("zero", 0.0), ("denormal", 1e-40), ("largest", 3.4e38)):
    add(f"weights_all_{_name}", 18, inside_keras(kernel(_value, share=1.0)), "", frozenset({"accepted"}))
for _name, _change in {
    "missing": lambda f: f.__delitem__("layers/dense_1"),
    "of_another_shape": put(KERNEL, shape=(16, 192), dtype="f4", data=np.zeros((16, 192), "f4")),
    "more_than_needed": put("layers/dense_7/vars/0", data=np.zeros((4, 4), "f4")),
    "as_integers": put(KERNEL, data=np.ones((192, 16), "i8")),
    "none_at_all": lambda f: f.clear(),
}.items():
    add(f"weights_{_name}", 18, inside_keras(_change), "", ANY)
