"""The protobuf wire format, read field by field from a file of any size, by a schema, under one budget.

A message is a run of fields: a varint `number << 3 | wire type`, then a varint (type 0), 8 bytes (1), a length and so many
bytes (2), or 4 bytes (5). The reader is stricter than protobuf's own parsers, because two readers that disagree about a
file are how a scan is passed: what is not in the schema is refused, and so are groups, a field twice that occurs once,
text that is not UTF-8, and numbers above 64 bits.

Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Literal, NamedTuple

import numpy as np

from safeml.scan.base import Inconclusive, Refused

CHUNK = 1024 * 1024
WINDOW = 64 * 1024
TEXT = 64 * 1024
VARINT = 10  # bytes of a 64-bit number

Kind = Literal[
    "number", "numbers", "float", "floats", "double", "doubles", "text", "bytes", "skip", "message"
]
_WIRE = {"number": 0, "numbers": 0, "float": 5, "floats": 5, "double": 1, "doubles": 1}


class Field(NamedTuple):
    """What the schema says of one field number.

    kind: numbers are varints; a plural is a repeated number, packed or not. bytes: given as a `Span`. skip: not looked into.
    message: the name of the sub-schema, for kind "message". many: whether it may occur more than once.
    """

    name: str
    kind: Kind
    message: str = ""
    many: bool = False


Schema = Mapping[str, Mapping[int, Field]]
"""Message name -> field number -> field."""


class Span(NamedTuple):
    """Bytes `start` to `stop` of the file: a message of that name, or the content of a bytes or packed field."""

    start: int
    stop: int
    message: str = ""
    depth: int = 0


Value = int | str | Span
"""A varint as its unsigned 64 bits, a text, or where to read: messages, bytes, floats (4 or 8 bytes each), packed numbers."""
Fields = dict[str, list[Value]]
"""All fields of one message by name."""


@dataclass
class Budget:
    """What one scan may spend, so that its time and memory are bounded whatever the file says.

    fields: to visit in all. text: bytes of text to read in all. depth: of messages inside messages.
    gathered: values of one message held at once.
    """

    fields: int = 3_000_000
    text: int = 64 * 1024 * 1024
    depth: int = 32
    gathered: int = 20_000


def submessage(name: str, message: str, many: bool = False) -> Field:
    """A field that holds a message."""
    return Field(name, "message", message, many)


class Reader:
    """A protobuf file under a schema. Keeps one window of it in memory, never more."""

    def __init__(self, stream: IO[bytes], schema: Schema, budget: Budget | None = None) -> None:
        self.size = os.fstat(stream.fileno()).st_size
        self.budget = budget or Budget()
        self._handle = stream.fileno()
        self._schema = schema
        self._window = b""
        self._at = 0

    def whole(self, message: str) -> Span:
        """The file as one message of that name."""
        return Span(0, self.size, message)

    def fields(self, span: Span) -> Iterator[tuple[str, Value]]:
        """Name and value of each field of a message, in the order of the file.

        Raises Refused where the message is malformed or not of its schema, Inconclusive where the budget is spent.
        """
        if span.depth > self.budget.depth:
            raise Inconclusive(
                f"nests messages more than {self.budget.depth} deep; the scan stops there and cannot judge the file"
            )
        known, seen, at = self._schema[span.message], set(), span.start
        while at < span.stop:
            self.budget.fields -= 1
            if self.budget.fields < 0:
                raise Inconclusive("holds more fields than a scan visits; it cannot judge the file")
            began = at
            tag, at = self._varint(at, span.stop)
            number, wire = tag >> 3, tag & 7
            field = known.get(number)
            if field is None:
                raise Refused(
                    f"{span.message} holds field {number} at byte {began:,}, which no known version has; "
                    "the file is damaged, or export it with a released version"
                )
            if field.name in seen and not field.many:
                raise Refused(f"{span.message} holds {field.name} twice at byte {began:,}; expected it once")
            seen.add(field.name)
            value, at = self._value(field, wire, at, span)
            yield field.name, value

    def gather(self, span: Span) -> Fields:
        """All fields of a small message by name; one that is absent has no entry."""
        found: Fields = {}
        for count, (name, value) in enumerate(self.fields(span)):
            if count >= self.budget.gathered:
                raise Inconclusive(
                    f"holds a {span.message} of more than {self.budget.gathered:,} values; it cannot be judged"
                )
            found.setdefault(name, []).append(value)
        return found

    def chunks(self, span: Span, multiple: int = 1) -> Iterator[bytes]:
        """The bytes of a span, a piece at a time; every piece but the last is a multiple of `multiple` bytes long."""
        step = CHUNK - CHUNK % multiple
        for start in range(span.start, span.stop, step):
            yield self._read(start, min(step, span.stop - start))

    def numbers(self, span: Span) -> Iterator[np.ndarray]:
        """The packed varints of a span as uint64 arrays, a piece at a time. Raises Refused where the last one is cut off."""
        rest = b""
        for piece in self.chunks(span):
            data = np.frombuffer(rest + piece, np.uint8)
            ends = np.flatnonzero(data < 0x80)
            if not len(ends):
                ends = np.array([-1])
            rest = data[ends[-1] + 1 :].tobytes()
            if len(rest) >= VARINT:
                raise Refused(f"{span.message} holds a number of more than 64 bits; the file is damaged")
            if ends[0] < 0:
                continue
            starts = np.concatenate([[0], ends[:-1] + 1])
            lengths = ends - starts + 1
            if lengths.max() > VARINT:
                raise Refused(f"{span.message} holds a number of more than 64 bits; the file is damaged")
            values = np.zeros(len(starts), np.uint64)
            for index in range(int(lengths.max())):
                long_enough = lengths > index
                digits = data[starts[long_enough] + index] & np.uint8(0x7F)
                values[long_enough] |= digits.astype(np.uint64) << np.uint64(7 * index)
            yield values
        if rest:
            raise Refused(f"{span.message} ends inside a number; the file is damaged")

    def _value(self, field: Field, wire: int, at: int, parent: Span) -> tuple[Value, int]:
        plain = _WIRE.get(field.kind)
        if wire == 0 and plain == 0:
            return self._varint(at, parent.stop)
        if wire == plain and wire in (1, 5):
            length, name = (8 if wire == 1 else 4), parent.message
        elif wire == 2 and (plain is None or field.kind in ("numbers", "floats", "doubles")):
            length, at = self._varint(at, parent.stop)
            name = field.message if field.kind == "message" else parent.message
        else:
            raise Refused(
                f"{parent.message}.{field.name} has wire type {wire} at byte {at:,}; the file is damaged or hostile"
            )
        if length > parent.stop - at:
            raise Refused(
                f"{parent.message}.{field.name} at byte {at:,} declares {length:,} bytes where "
                f"{parent.stop - at:,} are left; the file is damaged"
            )
        stop = at + length
        if field.kind == "text":
            return self._text(field, at, length, parent), stop
        if field.kind in ("floats", "doubles") and length % (4 if field.kind == "floats" else 8):
            raise Refused(
                f"{parent.message}.{field.name} at byte {at:,} ends inside a number; the file is damaged"
            )
        return Span(at, stop, name, parent.depth + 1), stop

    def _text(self, field: Field, at: int, length: int, parent: Span) -> str:
        if length > TEXT:
            raise Refused(
                f"{parent.message}.{field.name} has {length:,} bytes; the limit of a text is {TEXT:,}"
            )
        self.budget.text -= length
        if self.budget.text < 0:
            raise Inconclusive("holds more text than a scan reads; it cannot be judged")
        try:
            return self._read(at, length).decode()
        except UnicodeDecodeError:
            raise Refused(
                f"{parent.message}.{field.name} at byte {at:,} is not UTF-8 text; the file is damaged"
            ) from None

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        """The varint at `at`, and where it ends."""
        if not (self._at <= at and at + VARINT <= self._at + len(self._window)):
            self._window, self._at = os.pread(self._handle, WINDOW, at), at
        index = at - self._at
        value = shift = 0
        for byte in self._window[index : index + min(VARINT, stop - at)]:
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                if value >> 64:
                    break
                return value, at
        raise Refused(
            f"ends inside a number, or holds one of more than 64 bits, at byte {at:,}; the file is damaged"
        )

    def _read(self, at: int, length: int) -> bytes:
        """Exactly `length` bytes; the file is shorter than when it was opened only if someone cut it since."""
        if self._at <= at and at + length <= self._at + len(self._window):
            return self._window[at - self._at : at - self._at + length]
        data = os.pread(self._handle, length, at)
        if len(data) != length:
            raise Refused("became shorter while it was read; give a file that no program writes to")
        return data


def spans(fields: Fields, name: str) -> list[Span]:
    """The messages, or runs of bytes, of that name."""
    return [value for value in fields.get(name, ()) if isinstance(value, Span)]


def text(fields: Fields, name: str) -> str:
    """A text; "" where the file leaves it out."""
    value = fields.get(name, [""])[0]
    return value if isinstance(value, str) else ""


def number(fields: Fields, name: str) -> int:
    """A number; 0 where the file leaves it out."""
    value = fields.get(name, [0])[0]
    return value if isinstance(value, int) else 0


def shown(name: str) -> str:
    """A name out of a file as safe, short text for a message."""
    return "".join(character if character.isprintable() else "?" for character in name[:60])
