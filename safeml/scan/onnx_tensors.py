"""One tensor of an ONNX file: inside the file, as large as it says, and finite."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np

from safeml.scan.base import Refused
from safeml.scan.wire import Field, Reader, Schema, Span, Value, number, shown, text

RANK = 16
INT4, UINT4, BFLOAT16, STRING = 22, 21, 16, 8
HALVES = (10, BFLOAT16)
# data_type: numpy type of raw_data, and the field that holds the numbers where raw_data does not.
TYPES = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    16: ("<u2", "int32_data"),
    21: ("u1", ""),
    22: ("u1", ""),
}
WEIGHTS = {1, 2, 3, 10, 11, 16, 21, 22}
"""Types that weights have: floats, and the 8 and 4 bits of quantisation."""
_WIDTHS = {"float_data": 4, "double_data": 8}

TENSOR_SCHEMA: Schema = {
    "TensorProto": {
        1: Field("dims", "numbers", many=True),
        2: Field("data_type", "number"),
        3: Field("segment", "skip"),
        4: Field("float_data", "floats", many=True),
        5: Field("int32_data", "numbers", many=True),
        6: Field("string_data", "skip", many=True),
        7: Field("int64_data", "numbers", many=True),
        8: Field("name", "text"),
        9: Field("raw_data", "bytes"),
        10: Field("double_data", "doubles", many=True),
        11: Field("uint64_data", "numbers", many=True),
        12: Field("doc_string", "skip"),
        13: Field("external_data", "skip", many=True),
        14: Field("data_location", "number"),
        16: Field("metadata_props", "skip", many=True),
    }
}
_STORES = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")


class Tensor(NamedTuple):
    """What was found of a sound tensor."""

    name: str
    elements: int
    is_weight: bool


def check_tensor(reader: Reader, span: Span) -> Tensor:
    """Raise Refused unless the tensor's numbers are all in the file, as many as declared, and finite."""
    fields = reader.gather(span)
    name = text(fields, "name")
    where = f'the tensor "{shown(name)}"'
    # Any location but the default, 0, and any mention of another file: readers differ on which of the two counts.
    if "external_data" in fields or fields.get("data_location", [0]) != [0]:
        raise Refused(f"{where} keeps its data in another file; expected all weights inside this one")
    if "segment" in fields:
        raise Refused(f"{where} is stored in segments; expected it in one piece")
    kind = number(fields, "data_type")
    if "string_data" in fields or kind == STRING:
        raise Refused(f"{where} holds text; expected numbers")
    if kind not in TYPES:
        raise Refused(f"{where} has element type {kind}; expected real numbers")
    sides = list(_integers(reader, fields.get("dims", [])))
    if len(sides) > RANK or any(side >> 63 for side in sides):
        raise Refused(
            f"{where} has {len(sides)} dimensions or a negative one; the file is damaged or hostile"
        )
    elements = prod(sides)
    stores = [store for store in _STORES if store in fields]
    if len(stores) > 1:
        raise Refused(f"{where} keeps its data in {' and '.join(stores)}; expected one place")
    store = stores[0] if stores else ""
    if store not in ("", "raw_data", TYPES[kind][1]):
        raise Refused(f"{where} keeps element type {kind} in {store}; the file is damaged or hostile")
    _check_content(reader, where, kind, elements, store, fields.get(store, []))
    return Tensor(name, elements, kind in WEIGHTS)


def _check_content(
    reader: Reader, where: str, kind: int, elements: int, store: str, values: list[Value]
) -> None:
    """The stored numbers against the declared count; floats must be finite."""
    if store in ("int32_data", "int64_data", "uint64_data"):
        stored, declared, unit = 0, elements, "numbers"
        for numbers in _arrays(reader, values):
            stored += len(numbers)
            if kind in HALVES:
                _check_finite(numbers.astype(np.uint16), kind, where)
    else:
        width = _WIDTHS.get(store) or np.dtype(TYPES[kind][0]).itemsize
        declared = (elements + 1) // 2 if kind in (INT4, UINT4) else elements * width
        pieces = [value for value in values if isinstance(value, Span)]
        stored, unit = sum(span.stop - span.start for span in pieces), "bytes"
    if declared != stored:
        raise Refused(
            f"{where} declares {declared:,} {unit} but stores {stored:,}; the file is damaged or hostile"
        )
    if unit == "bytes" and (kind in HALVES or TYPES[kind][0].startswith("<f")):
        for span in pieces:
            for piece in reader.chunks(span, width):
                _check_finite(np.frombuffer(piece, TYPES[kind][0]), kind, where)


def _check_finite(values: np.ndarray, kind: int, where: str) -> None:
    """values: floats, or the 16 bits of a half; all ones in its exponent is infinity or NaN."""
    if kind in HALVES and values.dtype == np.uint16:
        exponent = 0x7F80 if kind == BFLOAT16 else 0x7C00
        finite = bool(((values & exponent) != exponent).all())
    else:
        finite = bool(np.isfinite(values).all())
    if not finite:
        raise Refused(
            f"{where} holds numbers that are not finite; the file is damaged or its training diverged"
        )


def _arrays(reader: Reader, values: list[Value]) -> Iterator[np.ndarray]:
    """Repeated numbers, packed or one by one, as uint64 arrays."""
    for value in values:
        if isinstance(value, Span):
            yield from reader.numbers(value)
        elif isinstance(value, int):
            yield np.array([value], np.uint64)


def _integers(reader: Reader, values: list[Value]) -> Iterator[int]:
    """Sides of a tensor: refused where there are too many to be any."""
    count = 0
    for numbers in _arrays(reader, values):
        count += len(numbers)
        if count > RANK:
            raise Refused(f"holds a tensor of more than {RANK} dimensions; the file is damaged or hostile")
        yield from (int(side) for side in numbers)
