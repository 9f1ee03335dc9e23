"""The edge runtime as a wheel and as a zipapp, made of the folders edge/ and monitors/ of this installation, without network.

Both hold one package, `safeml_edge`, and their bytes depend on these files alone: no date, and nothing is compressed, because
compression differs between versions of zlib.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path

from safeml.edge.version import VERSION

PACKAGE, PROJECT = "safeml_edge", "safeml-edge"
ROOMS = ("edge", "monitors")
WHEEL = f"{PACKAGE}-{VERSION}-py3-none-any.whl"
ZIPAPP = f"{PROJECT}-{VERSION}.pyz"
DIST_INFO = f"{PACKAGE}-{VERSION}.dist-info"
HERE = Path(__file__).parents[1]

INIT = f'''"""The edge runtime of safeml: verifies, tests, runs and updates a bundle on a device."""

__version__ = "{VERSION}"
'''
# The current folder is no place to import from: a bundle or a camera may have written there.
MAIN = f'''"""`python -m {PACKAGE}` and the zipapp."""

import os
import sys

sys.path[:] = [place for place in sys.path if place not in ("", os.getcwd())]

from {PACKAGE}.edge.cli import main

if __name__ == "__main__":
    sys.exit(main())
'''
METADATA = f"""Metadata-Version: 2.1
Name: {PROJECT}
Version: {VERSION}
Summary: Verifies, tests, runs and updates a signed bundle of safeml on a device
License: Apache-2.0
Requires-Python: >=3.6
Requires-Dist: numpy
"""
WHEEL_FACTS = """Wheel-Version: 1.0
Generator: safeml
Root-Is-Purelib: true
Tag: py3-none-any
"""
ENTRY_POINTS = f"""[console_scripts]
{PROJECT} = {PACKAGE}.edge.cli:main
"""


def wheel_bytes() -> bytes:
    """Return the wheel."""
    info = {"METADATA": METADATA, "WHEEL": WHEEL_FACTS, "entry_points.txt": ENTRY_POINTS}
    files = package_files() | {f"{DIST_INFO}/{name}": text.encode() for name, text in info.items()}
    record = f"{DIST_INFO}/RECORD"
    lines = [f"{name},sha256={_digest(files[name])},{len(files[name])}\n" for name in sorted(files)]
    files[record] = "".join([*lines, f"{record},,\n"]).encode()
    return _zipped(files, last=record)


def zipapp_bytes() -> bytes:
    """Return the zipapp: one file that `python3 FILE` runs."""
    return _zipped({**package_files(), "__main__.py": MAIN.encode()}, head=b"#!/usr/bin/env python3\n")


def package_files() -> dict[str, bytes]:
    """Return the files of the package, by their names in it."""
    files = {f"{PACKAGE}/__init__.py": INIT.encode(), f"{PACKAGE}/__main__.py": MAIN.encode()}
    for room in ROOMS:
        for path in sorted((HERE / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                files[f"{PACKAGE}/{path.relative_to(HERE).as_posix()}"] = path.read_bytes()
    return files


def _digest(content: bytes) -> str:
    """Return the sha256 as the RECORD of a wheel writes it: URL-safe base64 without padding (PEP 376, PEP 427)."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _zipped(files: dict[str, bytes], head: bytes = b"", last: str = "") -> bytes:
    """Return a zip file of `files`, sorted by name. head: bytes before it. last: the member that comes at the end."""
    stream = io.BytesIO()
    stream.write(head)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files, key=lambda name: (name == last, name)):
            member = zipfile.ZipInfo(name)
            member.create_system = 3  # Unix: the permissions are read from external_attr
            member.external_attr = 0o644 << 16
            archive.writestr(member, files[name])
    return stream.getvalue()
