"""JSON as a device reads it: one meaning for each text, bounded, with exact types.

Refused are duplicate keys, NaN and infinities, deep nesting, many values, large integers, lone surrogates and anything but an
object at the top. Every fault is `Malformed`; the caller turns it into its own refusal.
"""

import json
import re
from typing import Any, List, NoReturn, Optional, Tuple

from . import limits

HEX_64 = re.compile(r"[0-9a-f]{64}")
SURROGATE = re.compile("[\ud800-\udfff]")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
QUOTE, BACKSLASH = ord('"'), ord("\\")


class Malformed(ValueError):
    """A text that is no valid JSON of the expected shape: one sentence without its place."""


def parse(data: bytes) -> dict:
    """Return the object in `data`; raises Malformed."""
    _check_depth(data)
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except UnicodeDecodeError:
        raise Malformed("it is not UTF-8") from None
    except Malformed:
        raise
    except ValueError as error:
        raise Malformed(f"it is not JSON: {str(error)[:120]}") from None
    if not isinstance(value, dict):
        raise Malformed(f"it holds {_kind(value)}; expected an object")
    _check_values(value)
    return value


def write(value: dict) -> bytes:
    """Return the one text that safeml writes for this object: sorted keys, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _check_depth(data: bytes) -> None:
    """Count the nesting before the parser, which recurses."""
    depth, inside, skip = 0, False, False
    for byte in data:
        if skip:
            skip = False
        elif inside:
            if byte == BACKSLASH:
                skip = True
            elif byte == QUOTE:
                inside = False
        elif byte == QUOTE:
            inside = True
        elif byte in b"[{":
            depth += 1
            if depth > limits.JSON_DEPTH:
                raise Malformed(f"it is nested deeper than {limits.JSON_DEPTH} levels")
        elif byte in b"]}":
            depth -= 1


def _object(pairs: List[Tuple[str, Any]]) -> dict:
    result = {}
    for key, value in pairs:
        if key in result:
            raise Malformed(f"the key {quoted(key)} occurs twice")
        result[key] = value
    return result


def _constant(text: str) -> NoReturn:
    raise Malformed(f"{text} is no JSON number")


def _integer(text: str) -> int:
    if len(text) > limits.JSON_NUMBER_CHARACTERS or abs(int(text)) > limits.JSON_INTEGER:
        raise Malformed("an integer is beyond 2^53")
    return int(text)


def _number(text: str) -> float:
    value = float(text) if len(text) <= limits.JSON_NUMBER_CHARACTERS else float("inf")
    if abs(value) == float("inf"):
        raise Malformed("a number is too long or too large")
    return value


def _check_values(root: dict) -> None:
    waiting, count = [root], 0  # type: List[Any], int
    while waiting:
        value = waiting.pop()
        count += 1
        if count > limits.JSON_VALUES:
            raise Malformed(f"it has more than {limits.JSON_VALUES} values")
        if isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            if len(value) > limits.JSON_TEXT:
                raise Malformed("a text is too long")
            if SURROGATE.search(value):
                raise Malformed("a text holds half of a surrogate pair")


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "a truth value",
        int: "an integer",
        float: "a number",
    }
    return names.get(type(value), "null")


def quoted(text: str) -> str:
    """Return an untrusted text for a message: short, printable, in quotes."""
    return json.dumps(text[:60])


# Readers of one value each. `where` is the path of the value, such as "input.height".


def fields(value: Any, where: str, required: Tuple[str, ...], optional: Tuple[str, ...] = ()) -> dict:
    """Return an object with all the required keys and no other but the optional ones."""
    if not isinstance(value, dict):
        raise Malformed(f"{where} is {_kind(value)}; expected an object")
    for key in required:
        if key not in value:
            raise Malformed(f"{where} has no {key}")
    for key in value:
        if key not in required and key not in optional:
            raise Malformed(
                "{} has the unknown key {}; expected {}".format(
                    where, quoted(key), ", ".join(required + optional)
                )
            )
    return value


def text(value: Any, where: str, most: int = limits.TEXT, least: int = 1) -> str:
    """Return a text of `least` to `most` characters without control characters."""
    if not isinstance(value, str):
        raise Malformed(f"{where} is {_kind(value)}; expected a text")
    if not least <= len(value) <= most:
        raise Malformed(f"{where} has {len(value)} characters; expected {least} to {most}")
    if CONTROL.search(value):
        raise Malformed(f"{where} holds a control character")
    return value


def one_of(value: Any, where: str, allowed: Tuple[str, ...]) -> str:
    """Return a text that is one of `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        shown = quoted(value) if isinstance(value, str) else _kind(value)
        raise Malformed("{} is {}; expected one of {}".format(where, shown, ", ".join(allowed)))
    return value


def sha256(value: Any, where: str) -> str:
    """Return 64 lower-case hexadecimal digits."""
    if not isinstance(value, str) or not HEX_64.fullmatch(value):
        raise Malformed(f"{where} is no sha256; expected 64 lower-case hexadecimal digits")
    return value


def integer(value: Any, where: str, low: int, high: int) -> int:
    """Return an integer in low..high; true and 1.0 are none."""
    if type(value) is not int:
        raise Malformed(f"{where} is {_kind(value)}; expected an integer")
    if not low <= value <= high:
        raise Malformed(f"{where} is {value}; expected {low} to {high}")
    return value


def number(value: Any, where: str, low: float = -1e9, high: float = 1e9) -> float:
    """Return a number in low..high."""
    if type(value) not in (int, float):
        raise Malformed(f"{where} is {_kind(value)}; expected a number")
    if not low <= value <= high:
        raise Malformed(f"{where} is {value}; expected {low} to {high}")
    return float(value)


def boolean(value: Any, where: str) -> bool:
    """Return a truth value."""
    if type(value) is not bool:
        raise Malformed(f"{where} is {_kind(value)}; expected true or false")
    return value


def items(value: Any, where: str, most: int, least: int = 0) -> list:
    """Return a list of `least` to `most` items."""
    if not isinstance(value, list):
        raise Malformed(f"{where} is {_kind(value)}; expected a list")
    if not least <= len(value) <= most:
        raise Malformed(f"{where} has {len(value)} items; expected {least} to {most}")
    return value


def texts(value: Any, where: str, most: int, least: int = 0) -> Tuple[str, ...]:
    """Return a list of different texts."""
    result = tuple(
        text(item, f"{where}[{place}]") for place, item in enumerate(items(value, where, most, least))
    )
    if len(set(result)) < len(result):
        raise Malformed(f"{where} lists a text twice")
    return result


def optional_text(value: Any, where: str) -> Optional[str]:
    """Return a text or None."""
    return None if value is None else text(value, where)
