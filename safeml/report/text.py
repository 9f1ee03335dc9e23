"""Text that reaches a reader: control and bidi characters made visible, names cut, hashes and times shortened."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Any

LONGEST_NAME = 200
LONGEST_TEXT = 2000
# Controls, format characters (bidi, zero width), surrogates, private use and unassigned; line and paragraph separators.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters and symbols that are drawn as nothing: the Hangul fillers, the grapheme joiner and the empty Braille cell.
BLANK = frozenset("\u115f\u1160\u3164\uffa0\u034f\u2800")


def visible(text: str, limit: int = LONGEST_NAME) -> str:
    """The text with every character that a reader would not see as a mark `⟨U+202E⟩`, cut in the middle at `limit`."""
    if len(text) > limit:
        half = (limit - 1) // 2
        text = f"{text[:half]}…{text[len(text) - half :]}"
    return "".join(_shown(c) for c in text)


def _shown(c: str) -> str:
    if c in "\n\t":
        return " "
    return f"⟨U+{ord(c):04X}⟩" if unicodedata.category(c) in HIDDEN or c in BLANK else c


def short_hash(sha256: str) -> str:
    """The ends of a hash: `9f2c 41d7 … b8e1`."""
    return f"{sha256[:4]} {sha256[4:8]} … {sha256[-4:]}" if len(sha256) > 16 else sha256 or "not recorded"


def duration(seconds: float) -> str:
    """Seconds in words: `0.8 s`, `42 s`, `41 min 12 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def when(iso: str) -> str:
    """An ISO time as `2026-11-21 07:20 UTC`; anything else as it is."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or 'local time'}"


def head(label: str, right: bool = False) -> dict[str, Any]:
    """The head of a table's column; `right`: aligned right, for numbers."""
    return {"label": label, "right": right}


def cell(text: str, right: bool = False, sub: str = "", whole: bool = False) -> dict[str, Any]:
    """A cell of a table; `sub`: a second line in small type; `whole`: in one line."""
    return {"text": text, "right": right, "sub": sub, "whole": whole}
