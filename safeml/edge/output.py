"""What a command prints: sentences for people, or one line of JSON with --json."""

import json
import sys
from typing import Any, Iterable


def emit(args: Any, record: dict, lines: Iterable[str]) -> None:
    """Print the lines, or with --json the record in one line; values that JSON has not become texts."""
    if getattr(args, "json", False):
        text = json.dumps(record, sort_keys=True, default=str)
    else:
        text = "\n".join(printable(line) for line in lines)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def printable(text: str) -> str:
    """Return a text whose control characters and bidirectional overrides are shown as escapes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
