"""The index of an update source: which bundle is the newest, and which difference files lead to it.

It is not signed; a device judges the bundle that it names. A difference file is listed only if the code of the device makes the newest bundle of it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safeml.bundle.reading import OpenedBundle, read_bundle, refusals
from safeml.edge import container
from safeml.edge.delta import Parts, apply_delta
from safeml.edge.errors import Refused
from safeml.edge.index import INDEX, MOST_DELTAS, parse_index
from safeml.errors import InputRefused, MissingInput
from safeml.store.files import atomic_write, file_sha256


@dataclass(frozen=True)
class Index:
    """An index that was written.

    path: of the file. newest: the bundle that it names.
    deltas: name of each listed difference file, with the release that it applies to.
    unused: names of difference files that make the newest bundle of none of the others.
    """

    path: Path
    newest: OpenedBundle
    deltas: tuple[tuple[str, int], ...]
    unused: tuple[str, ...]


def write_index(folder: Path, percent: float = 100.0) -> Index:
    """Write `index.json` for the bundles (*.safeml) and difference files (*.delta) of a folder.

    percent: of the devices that shall take the newest release, 0..100. Raises MissingInput without a bundle, InputRefused for bundles that
    a device would refuse whatever its settings are, and for bundles of two products or twice of one release.
    """
    bundles = [read_bundle(path) for path in sorted(folder.glob("*.safeml"))]
    if not bundles:
        raise MissingInput(f"{folder}: holds no .safeml file; copy the bundles of the releases there.")
    _check_one_product(bundles)
    newest = max(bundles, key=lambda opened: opened.manifest.release)
    rows, listed, unused = [], [], []
    for delta in sorted(folder.glob("*.delta"))[:MOST_DELTAS]:
        base = next((one for one in bundles if one is not newest and _leads(one, delta, newest)), None)
        if base is None:
            unused.append(delta.name)
            continue
        rows.append({"file": delta.name, "bytes": delta.stat().st_size, "base": _manifest_sha256(base.path)})
        listed.append((delta.name, base.manifest.release))
    body = {
        "format": 1,
        "product": newest.manifest.product,
        "release": newest.manifest.release,
        "file": newest.path.name,
        "bytes": newest.size,
        "percent": percent,
        "deltas": rows,
    }
    data = json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"
    with refusals(folder):
        parse_index(data, INDEX)  # as a device does
    atomic_write(folder / INDEX, data)
    return Index(folder / INDEX, newest, tuple(listed), tuple(unused))


def _check_one_product(bundles: list[OpenedBundle]) -> None:
    products = sorted({opened.manifest.product for opened in bundles})
    if len(products) > 1:
        raise InputRefused(
            f"{bundles[0].path.parent}: holds bundles of {' and '.join(products)}; make one folder for each product."
        )
    releases = [opened.manifest.release for opened in bundles]
    twice = sorted({release for release in releases if releases.count(release) > 1})
    if twice:
        raise InputRefused(
            f"{bundles[0].path.parent}: holds release {twice[0]} twice; a release number is used once, remove one."
        )


def _leads(old: OpenedBundle, delta: Path, new: OpenedBundle) -> bool:
    """Return whether a difference file makes the new bundle of the old one."""
    with tempfile.TemporaryDirectory(dir=delta.parent) as place:
        out = Path(place) / "made"
        try:
            apply_delta(Parts([(str(old.path), old.size)]), str(delta), str(out), new.size)
        except Refused:
            return False
        return file_sha256(out) == new.sha256


def _manifest_sha256(path: Path) -> str:
    opened = container.open_container(str(path))
    opened.stream.close()
    return hashlib.sha256(opened.manifest).hexdigest()
