"""One-sentence errors of settings: the file, the key, the value and what was expected."""

from __future__ import annotations

import difflib
import json
from datetime import date, time
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

MOST_SHOWN = 60
MOST_KNOWN = 12
# pydantic's error types in the terms of TOML
EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "float_type": "a number",
    "int_type": "a whole number",
    "model_type": "a table",
    "string_type": "text in quotes",
    "tuple_type": "a list",
}


def sentence(model: type[BaseModel], error: ValidationError, where: str) -> str:
    """Return the most important error of `model` in the settings of the file `where`.

    An unknown key comes first: a misspelt table is missing as well, and its name is the cause.
    """
    errors = error.errors(include_url=False)
    first = next((entry for entry in errors if entry["type"] == "extra_forbidden"), errors[0])
    parts = [str(part) for part in first["loc"]]
    if first["type"] != "extra_forbidden":  # pydantic adds the branch of a union, which is not in the file
        parts = [part for part in parts if part.isidentifier() or part.isdigit()]
    place = shown_key(".".join(parts))
    here = f"{where}: {place}" if place else where
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        message = f"{where}: unknown key {place}{suggest(str(first['loc'][-1]), known)}"
    elif first["type"] == "missing":
        message = f"{here} is missing"
    elif first["type"] == "value_error":
        message = f"{here}: {first['msg'].removeprefix('Value error, ')}"
    else:
        wanted = EXPECTED.get(first["type"], first["msg"].removeprefix("Input should be "))
        message = f"{here} is {found(first['input'])}; expected {wanted}"
    return message.rstrip(".") + ("" if message.endswith("?") else ".")


def suggest(word: str, known: list[str]) -> str:
    """Return '; did you mean "x"?' for a misspelt word, else the list of known words."""
    near = difflib.get_close_matches(word[:MOST_SHOWN], known, n=1)
    if near:
        return f'; did you mean "{near[0]}"?'
    more = f" and {len(known) - MOST_KNOWN} more" if len(known) > MOST_KNOWN else ""
    return f"; known are: {', '.join(sorted(known)[:MOST_KNOWN])}{more}"


def found(value: Any) -> str:
    """Format a value of a TOML file: a long text is shortened, a table or list only named."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return f"a list of {len(value):,}"
    if isinstance(value, date | time):  # a datetime is a date
        return f"the {type(value).__name__} {value.isoformat()}"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 100:
        return f"a whole number of {value.bit_length():,} bits"
    if isinstance(value, float):
        return f"{value!r}"  # nan and inf as TOML writes them
    text = json.dumps(value, ensure_ascii=False, default=lambda other: type(other).__name__)
    return text if len(text) <= MOST_SHOWN else f'{text[:MOST_SHOWN]}…" ({len(value):,} characters)'


def shown_key(key: str) -> str:
    """Format a key for a sentence; of a very long one only the end."""
    return key if len(key) <= 2 * MOST_SHOWN else f"…{key[-2 * MOST_SHOWN :]}"


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the settings at `path`."""
    current: Any = model
    for part in path:
        if isinstance(part, int) or not (isinstance(current, type) and issubclass(current, BaseModel)):
            continue
        current = _settings_in(current.model_fields[part].annotation)
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


def _settings_in(annotation: Any) -> Any:
    """Return the settings class inside `X`, `X | None` or `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        inside = _settings_in(part)
        if inside is not None:
            return inside
    return None
