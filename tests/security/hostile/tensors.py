"""Hostile HDF5: bombs, links out of the file, odd types and numbers that are none. Rows 13, 14 and 18."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.security.hostile import clean
from tests.security.hostile.case import ANY, NOT_CLEAN, Build, add

MIB = 1 << 20
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


def repeated_chunks(name: str, block: np.ndarray, chunks: int) -> Change:
    """A dataset of `chunks` times `block`, packed once: its bytes are written without ever being unpacked."""

    def change(file: Any) -> None:
        packed = zlib.compress(block.tobytes(), 9)
        data = file.create_dataset(
            name,
            (chunks * block.size,),
            block.dtype,
            chunks=(block.size,),
            compression="gzip",
            compression_opts=9,
        )
        for index in range(chunks):
            data.id.write_direct_chunk((index * block.size,), packed)

    return change


def columns(file: Any) -> None:
    """Chunks across the rows, each of which holds a little of every row: a reader of rows unpacks all for each part."""
    random = np.random.default_rng(0)
    column = np.zeros((250_000, 1), "float32")
    column[::40] = random.normal(size=(6_250, 1))
    packed = zlib.compress(column.tobytes(), 9)
    data = file.create_dataset("layers/wide", (250_000, 256), "f4", chunks=(250_000, 1), compression="gzip")
    for index in range(256):
        data.id.write_direct_chunk((0, index), packed)


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
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("layers/virtual", layout)


def cycle(file: Any) -> None:
    file["layers/dense/again"] = file["layers"]


def nested_groups(file: Any) -> None:
    group = file["layers"]
    for _ in range(3_000):
        group = group.create_group("g")


def many_groups(file: Any) -> None:
    for index in range(30_000):
        file.create_group(f"layers/g{index}")


def thousand_bombs(file: Any) -> None:
    for index in range(1_000):
        file.create_dataset(f"layers/b{index}", (MIB,), "f4")


def many_attributes(file: Any) -> None:
    for index in range(3_000):
        file["layers"].attrs[f"a{index}"] = 1


def attribute(value: Any) -> Change:
    def change(file: Any) -> None:
        file["layers" if "layers" in file else "model_weights"].attrs["note"] = value

    return change


def dense_attribute(folder: Path) -> Path:
    """An attribute beyond the 64 KiB that fit into an object's header: it needs the newer form of the format."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        file.create_group("layers").attrs["note"] = np.zeros(60 * MIB, "i1")
    return clean.keras_file(folder / "model.keras", arrays=buffer.getvalue())


def model_config(value: Any) -> Change:
    def change(file: Any) -> None:
        file.attrs["model_config"] = value

    return change


HUGE = (10**9, 10**9)
_BOMBS: dict[str, Change] = {
    "contiguous_1e18": put("layers/bomb", shape=HUGE, dtype="f4"),
    "in_place_of_the_kernel": put(KERNEL, shape=HUGE, dtype="f4"),
    "just_below_4_gib": put("layers/bomb", shape=(2**30 - 1,), dtype="f4"),
    "400_mib_never_written": put("layers/bomb", shape=(100 * MIB,), dtype="f4", chunks=(MIB,)),
    "chunked_1e18": put("layers/bomb", shape=HUGE, dtype="f4", chunks=(1000, 1000)),
    "chunk_of_3_gib": put("layers/bomb", shape=(750 * MIB,), dtype="f4", chunks=(750 * MIB,)),
    "unlimited": put("layers/bomb", shape=(10**15,), maxshape=(None,), dtype="f4", chunks=(1000,)),
    "gzip_1000_to_1": repeated_chunks("layers/bomb", np.zeros(MIB, "f4"), 1000),
    "float64_2e9": put("layers/bomb", shape=(2 * 10**9,), dtype="f8"),
    "int8_4e9": put("layers/bomb", shape=(4 * 10**9,), dtype="i1"),
    "32_dimensions": put("layers/bomb", shape=(4,) * 32, dtype="f4"),
}
for _name, _change in _BOMBS.items():
    add(f"hdf5_{_name}", 13, inside_keras(_change), "bomb|declares|bytes|damaged|elements", NOT_CLEAN, True)
add(
    "h5_contiguous_1e18",
    13,
    inside_h5(put("model_weights/bomb", shape=HUGE, dtype="f4")),
    "bomb|declares",
    heavy=True,
)
add(
    "hdf5_thousands_of_bombs",
    13,
    inside_keras(thousand_bombs),
    "bomb|declares|bytes",
    NOT_CLEAN,
    True,
)
add("hdf5_columns", 13, inside_keras(columns), "", ANY, True)
add("hdf5_nested_groups", 13, inside_keras(nested_groups), "", ANY, True)
add("hdf5_many_groups", 13, inside_keras(many_groups), "", ANY, True)
add("hdf5_many_attributes", 13, inside_keras(many_attributes), "attribute", NOT_CLEAN)
add("hdf5_attribute_60_mb_text", 13, inside_keras(attribute("a" * 60 * MIB)), "attribute|bytes", ANY, True)
add("hdf5_attribute_60_mb_dense", 13, dense_attribute, "attribute|bytes", NOT_CLEAN, True)
add(
    "h5_attribute_60_mb_config",
    13,
    inside_h5(model_config("{" + " " * 60 * MIB + "}")),
    "model_config|bytes",
    NOT_CLEAN,
    True,
)

_REFERENCE, _REGION = h5py.ref_dtype, h5py.regionref_dtype
_ODD: dict[str, tuple[Change, str]] = {
    "external_storage": (
        put("layers/x", shape=(100,), dtype="i1", external=[("/etc/passwd", 0, 100)]),
        "file",
    ),
    "external_kernel": (put(KERNEL, shape=(192, 16), dtype="f4", external=[("/dev/zero", 0, 12288)]), "file"),
    "external_relative": (put("layers/x", shape=(9,), dtype="i1", external=[("../x", 0, 9)]), "file"),
    "virtual": (virtual, "virtual"),
    "soft_link": (lambda f: f.__setitem__("soft", h5py.SoftLink("/layers")), "link"),
    "soft_link_in_group": (lambda f: f.__setitem__("layers/dense/soft", h5py.SoftLink("/vars")), "link"),
    "soft_link_to_nothing": (lambda f: f.__setitem__("layers/soft", h5py.SoftLink("/nowhere")), "link"),
    "soft_link_to_itself": (lambda f: f.__setitem__("layers/soft", h5py.SoftLink("/layers/soft")), "link"),
    "external_link": (lambda f: f.__setitem__("out", h5py.ExternalLink("/etc/passwd", "/")), "link"),
    "external_link_in_group": (lambda f: f.__setitem__("layers/out", h5py.ExternalLink("x.h5", "/")), "link"),
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
    inside_h5(lambda f: f.__setitem__("optimizer_weights", h5py.ExternalLink("x.h5", "/"))),
    "link",
)
_PASSWD = [("/etc/passwd", 0, 100)]
add(
    "h5_external_storage",
    14,
    inside_h5(put("model_weights/x", shape=(100,), dtype="i1", external=_PASSWD)),
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
    "60000_letters": b"a" * 60_000,
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
