"""JSON as a machine wrote it: bounded in size, depth and values, without duplicates or numbers that are none."""

from __future__ import annotations

import json
import re
from typing import Any

from safeml.limits import LIMITS
from safeml.scan.base import Refused

# A string, closed or not (it must match either way: a search that starts again at each quote takes hours), or structure.
TOKENS = re.compile(rb'"(?:[^"\\]|\\.|\\\Z)*+"?|[\[\]{},]', re.DOTALL)
LONGEST_INTEGER = 20


def parse(raw: bytes, what: str) -> Any:
    """The value in `raw`. `what` names the text in the message of `Refused`."""
    if raw[:3] == b"\xef\xbb\xbf" or raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Refused(f"{what} starts with a byte-order mark; expected plain UTF-8 JSON")
    _check_size(raw, what)
    try:
        value = json.loads(
            raw.decode("utf-8"),
            parse_constant=_no_constant,
            parse_int=_bounded_integer,
            object_pairs_hook=_no_duplicates,
        )
    except (ValueError, RecursionError) as error:
        raise Refused(f"{what} is not valid JSON ({str(error)[:120]})") from error
    return value


def _check_size(raw: bytes, what: str) -> None:
    """Before parsing: Python's parser recurses, and makes objects of many times the text's size."""
    depth = values = 0
    for match in TOKENS.finditer(raw):
        first = match.group()[:1]
        if first in b"[{":
            depth += 1
            if depth > LIMITS.config_depth:
                raise Refused(f"{what} is nested deeper than {LIMITS.config_depth} levels; no Keras model is")
        elif first in b"]}":
            depth -= 1
        if first in b"[{,":
            values += 1
            if values > LIMITS.config_values:
                raise Refused(f"{what} has more than {LIMITS.config_values:,} values; no Keras model has")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _bounded_integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return values
