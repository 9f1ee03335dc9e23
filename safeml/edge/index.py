"""The file `index.json` of an update source: where its newest bundle is.

It is not signed and decides nothing: it says which file to read, and can therefore hide a release, as a source that is switched off can.
Release, product and expiry are judged from the signed manifest.
"""

import os
import re
from typing import Any, NamedTuple, Tuple

from . import limits, strict_json
from .errors import Refused

INDEX = "index.json"
MOST_BYTES = 64 << 10
MOST_DELTAS = 64
MOST_BUNDLE_BYTES = 1 << 40
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}\Z")
BUNDLE_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,99})-([1-9][0-9]{0,9})\.safeml\Z")


class Delta(NamedTuple):
    """A difference file. base: sha256 of the manifest.json of the release that it applies to."""

    file: str
    bytes: int
    base: str


class Entry(NamedTuple):
    """The newest release of a source, as its index says.

    percent: of devices that shall take it at present.
    """

    product: str
    release: int
    file: str
    bytes: int
    percent: float
    deltas: Tuple[Delta, ...]


def parse_index(data: bytes, where: str) -> Entry:
    """Return the entry of an index; raises Refused("index")."""
    try:
        if len(data) > MOST_BYTES:
            raise strict_json.Malformed(f"it has more than {MOST_BYTES:,} bytes")
        body = strict_json.fields(
            strict_json.parse(data),
            "the index",
            ("format", "product", "release", "file", "bytes"),
            ("percent", "deltas"),
        )
        strict_json.integer(body["format"], "format", 1, 1)
        return Entry(
            strict_json.text(body["product"], "product"),
            strict_json.integer(body["release"], "release", 1, limits.RELEASE),
            _name(body["file"], "file"),
            strict_json.integer(body["bytes"], "bytes", 1, MOST_BUNDLE_BYTES),
            strict_json.number(body.get("percent", 100), "percent", 0, 100),
            tuple(
                _delta(value, f"deltas[{place}]")
                for place, value in enumerate(
                    strict_json.items(body.get("deltas", []), "deltas", MOST_DELTAS)
                )
            ),
        )
    except strict_json.Malformed as error:
        raise Refused("index", f"{where}: {error}; write the index again.") from None


def _delta(value: Any, where: str) -> Delta:
    body = strict_json.fields(value, where, ("file", "bytes", "base"))
    return Delta(
        _name(body["file"], where + ".file"),
        strict_json.integer(body["bytes"], where + ".bytes", 1, MOST_BUNDLE_BYTES),
        strict_json.sha256(body["base"], where + ".base"),
    )


def _name(value: Any, where: str) -> str:
    name = strict_json.text(value, where)
    if NAME.match(name) is None:
        raise strict_json.Malformed(
            f"{where} is {strict_json.quoted(name)}; expected a file name without a folder"
        )
    return name


def newest_file(folder: str, product: str) -> Tuple[str, int]:
    """Return the path and the release of the newest bundle of a folder without an index, by file name; ("", 0) for none."""
    newest = ("", 0)
    for name in sorted(os.listdir(folder)):
        match = BUNDLE_NAME.match(name)
        if match and match.group(1) == product and int(match.group(2)) > newest[1]:
            newest = (os.path.join(folder, name), int(match.group(2)))
    return newest
