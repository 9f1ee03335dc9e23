"""Random changes of model files: of bytes, of the JSON inside, and of the HDF5 inside with right checksums round it."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from tests.security.hostile.configs import lambda_layer

EXTREMES = (
    b"\0",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    b"\xff" * 4,
    b"\xff" * 8,
    b"\xff" * 7 + b"\x7f",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**6,
    10**9,
    -(10**18),
    1e308,
    0.5,
    "",
    "x" * 2_000,
    "../x",
    "a/b",
    "http://x",
    "\ud800",
    "\0",
    "Dense",
    "Lambda",
    "function",
    "__lambda__",
    "__numpy__",
    "os",
    "keras.layers",
    [],
    {},
    [None],
    {"class_name": None},
    {"class_name": "Dense"},
)
KEYS = (
    "class_name",
    "module",
    "config",
    "registered_name",
    "name",
    "layers",
    "function",
    "seed",
    "vocabulary",
)


def mutate(content: bytes, other: bytes, choice: random.Random) -> bytes:
    """`content` after one to four changes; `other` is what a splice takes its part from."""
    if content.startswith(b"PK\x03\x04") and choice.random() < 0.6:
        inside = _inside_archive(content, choice)
        if inside is not None:
            return inside
    for _ in range(choice.randint(1, 4)):
        content = choice.choice(BYTES)(content, other, choice)
    return content


def _flip(content: bytes, other: bytes, choice: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(choice.choice((1, 1, 2, 16))):
        if data:
            data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)
    return bytes(data)


def _run(content: bytes, other: bytes, choice: random.Random) -> bytes:
    start = choice.randrange(len(content) + 1)
    length = choice.choice((1, 4, 64, 4096))
    return content[:start] + bytes([choice.randrange(256)]) * length + content[start + length :]


def _cut(content: bytes, other: bytes, choice: random.Random) -> bytes:
    return content[: choice.randrange(len(content) + 1)]


def _drop(content: bytes, other: bytes, choice: random.Random) -> bytes:
    start = choice.randrange(len(content) + 1)
    return content[:start] + content[start + choice.choice((1, 8, 512)) :]


def _insert(content: bytes, other: bytes, choice: random.Random) -> bytes:
    start = choice.randrange(len(content) + 1)
    return content[:start] + choice.randbytes(choice.choice((1, 8, 512))) + content[start:]


def _splice(content: bytes, other: bytes, choice: random.Random) -> bytes:
    start, length = choice.randrange(len(other) + 1), choice.choice((8, 64, 1024, len(other)))
    place = choice.randrange(len(content) + 1)
    return content[:place] + other[start : start + length] + content[place + choice.choice((0, length)) :]


def _extreme(content: bytes, other: bytes, choice: random.Random) -> bytes:
    value = choice.choice(EXTREMES)
    # Headers stand at the start of HDF5 files and at the end of archives.
    place = choice.choice((choice.randrange(len(content) + 1), choice.randrange(min(len(content), 2048) + 1)))
    return content[:place] + value + content[place + len(value) :]


BYTES: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (
    _flip,
    _flip,
    _run,
    _cut,
    _drop,
    _insert,
    _splice,
    _extreme,
    _extreme,
)


def _inside_archive(content: bytes, choice: random.Random) -> bytes | None:
    """The archive with its configuration or its weights changed, and right checksums; None where it is no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()[:5]}
        if choice.random() < 0.5:
            config = change_json(json.loads(members["config.json"]), choice)
            members["config.json"] = json.dumps(config).encode("utf-8", "surrogatepass")
        else:
            weights = members["model.weights.h5"]
            for _ in range(choice.randint(1, 3)):
                weights = choice.choice(BYTES)(weights, weights, choice)
            members["model.weights.h5"] = weights
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        RecursionError,
        OSError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        zlib.error,
    ):
        return None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", choice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name.replace("\0", "")), member)
    return buffer.getvalue()


def change_json(root: Any, choice: random.Random) -> Any:
    """A decoded configuration after one to five changes at random nodes."""
    root = copy.deepcopy(root)
    for _ in range(choice.randint(1, 5)):
        nodes = _containers(root)
        if not nodes:
            return choice.choice(VALUES)
        node, kind = choice.choice(nodes), choice.randrange(6)
        new = copy.deepcopy(choice.choice((choice.choice(VALUES), choice.choice(nodes), lambda_layer())))
        if isinstance(node, list):
            if kind == 0 and node:
                node.pop(choice.randrange(len(node)))
            elif kind < 3 and node:
                node[choice.randrange(len(node))] = new
            else:
                node.insert(choice.randrange(len(node) + 1), new)
        elif kind == 0 and node:
            del node[choice.choice(list(node))]
        elif kind < 4 and node:
            node[choice.choice(list(node))] = new
        else:
            node[choice.choice(KEYS)] = new
    return root


def _containers(root: Any) -> list[Any]:
    """Lists and objects of the configuration, at most some thousands."""
    found: list[Any] = []
    waiting = [root]
    while waiting and len(found) < 5_000:
        value = waiting.pop()
        if isinstance(value, dict | list):
            found.append(value)
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return found
