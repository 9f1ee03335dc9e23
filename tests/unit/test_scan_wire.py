"""The reader of the wire format: what it reads, what it refuses, and where it stops."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeml.scan.base import Inconclusive, Refused
from safeml.scan.wire import Budget, Field, Reader, Span, submessage
from tests.wire_bytes import put, puts, varint

SCHEMA = {
    "M": {
        1: Field("n", "number"),
        2: Field("t", "text"),
        3: submessage("m", "M", many=True),
        4: Field("ns", "numbers", many=True),
        5: Field("b", "bytes"),
        6: Field("fs", "floats", many=True),
    }
}


def read(tmp_path: Path, content: bytes, budget: Budget | None = None) -> dict:
    path = tmp_path / "m.pb"
    path.write_bytes(content)
    with path.open("rb") as stream:
        reader = Reader(stream, SCHEMA, budget)
        found = reader.gather(reader.whole("M"))
        for inner in found.get("m", []):
            list(reader.fields(inner))  # type: ignore[arg-type]
        for spans in (found.get("b", []), found.get("ns", [])):
            for index, span in enumerate(spans):
                if isinstance(span, Span):
                    spans[index] = b"".join(reader.chunks(span))
        return found


@given(values=st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_packed_numbers_come_back(tmp_path_factory: pytest.TempPathFactory, values: list[int]) -> None:
    path = tmp_path_factory.mktemp("packed") / "m.pb"
    path.write_bytes(put(4, b"".join(varint(value) for value in values)))
    with path.open("rb") as stream:
        reader = Reader(stream, SCHEMA)
        spans = reader.gather(reader.whole("M"))["ns"]
        assert [int(x) for part in reader.numbers(spans[0]) for x in part] == values  # type: ignore[arg-type]


def test_packed_numbers_may_cross_the_pieces_they_are_read_in(tmp_path: Path) -> None:
    count = 600_000  # of three bytes each: a piece of 1 MiB ends inside a number
    path = tmp_path / "m.pb"
    path.write_bytes(put(4, varint(70_000) * count))
    with path.open("rb") as stream:
        reader = Reader(stream, SCHEMA)
        parts = list(reader.numbers(reader.gather(reader.whole("M"))["ns"][0]))  # type: ignore[arg-type]
    assert sum(map(len, parts)) == count
    assert all((part == 70_000).all() for part in parts)


def test_plain_and_packed_values_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, put(1, 300) + put(2, "Ω") + puts(4, [1, 2]) + put(5, b"\0\1"))
    assert found == {"n": [300], "t": ["Ω"], "ns": [1, 2], "b": [b"\0\1"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80", "ends inside a number"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "more than 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "more than 64 bits"),
        (put(2, "abc")[:-1], "declares 3 bytes where 2 are left"),
        (put(3, put(5, b"abcd")[:-1]), "declares 4 bytes where 3 are left"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x0d\0\0\0\0", "wire type 5"),
        (put(1, b"ab"), "wire type 2"),
        (put(9, 1), "holds field 9 at byte 0"),
        (b"\x00\x01", "holds field 0"),
        (put(1, 1) + put(1, 2), "holds n twice"),
        (put(2, b"\xff"), "not UTF-8"),
        (put(2, "a" * 70_000), "limit of a text"),
        (put(6, b"abc"), "ends inside a number"),
        (b"\x35\0\0", "declares 4 bytes where 2 are left"),
    ],
)
def test_malformed_messages_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(Refused, match=message):
        read(tmp_path, content)


def test_every_bound_of_the_budget_ends_inconclusive(tmp_path: Path) -> None:
    many = puts(4, [1] * 20)
    for budget in (Budget(fields=19), Budget(gathered=19)):
        with pytest.raises(Inconclusive, match="judge"):
            read(tmp_path, many, budget)
    with pytest.raises(Inconclusive, match="text"):
        read(tmp_path, put(2, "abc"), Budget(text=2))
    assert len(read(tmp_path, many, Budget(fields=20, gathered=20))["ns"]) == 20
