"""A delta: the difference between two bundles in the format BSDIFF40, which a device applies with the standard library alone.

Reference: C. Percival, "Naive differences of executable code", 2003. A delta needs no signature: its result is verified as any bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from safeml.bundle.reading import OpenedBundle, read_bundle
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.limits import MIB
from safeml.store.files import atomic_write

# bsdiff holds seventeen times the old file in memory.
MOST_BYTES = 256 * MIB
INSTALL = "install it with `python -m pip install 'safeml-suite[delta]'`"


@dataclass(frozen=True)
class Delta:
    """A delta that was written.

    path: of the file. size: its bytes.
    old, new: the two bundles.
    """

    path: Path
    size: int
    old: OpenedBundle
    new: OpenedBundle

    @property
    def share(self) -> float:
        """Its size as a share of the new bundle's, 0 or more."""
        return self.size / self.new.size


def make_delta(old: Path, new: Path, out: Path) -> Delta:
    """Write the difference from `old` to `new`, apply it again, and compare.

    Raises ConfigError without the package bsdiff4, and InputRefused for files that are no bundles of one product with a growing
    release number.
    """
    try:
        bsdiff4 = import_module("bsdiff4")
    except ImportError:
        raise ConfigError(f"bsdiff4 is not installed, but a delta needs it; {INSTALL}.") from None
    first, second = read_bundle(old), read_bundle(new)
    _check_pair(first, second)
    before, after = old.read_bytes(), new.read_bytes()
    difference = bsdiff4.diff(before, after)
    if bsdiff4.patch(before, difference) != after:
        raise StageError(f"{out}: the delta does not give {new} again; ship the whole bundle.")
    try:
        atomic_write(out, difference)
    except OSError as error:
        raise StageError(f"{out}: cannot be written ({error.strerror}); set another file with --out.") from error  # fmt: skip
    return Delta(out, len(difference), first, second)


def _check_pair(old: OpenedBundle, new: OpenedBundle) -> None:
    if old.manifest.product != new.manifest.product:
        raise InputRefused(
            f"{new.path}: is of the product {new.manifest.product}, and {old.path} of {old.manifest.product}; expected two releases of one."
        )
    if new.manifest.release <= old.manifest.release:
        raise InputRefused(
            f"{new.path}: is release {new.manifest.release}, and {old.path} is release {old.manifest.release}; give the older one first."
        )
    for opened in (old, new):
        if opened.size > MOST_BYTES:
            raise InputRefused(
                f"{opened.path}: has {opened.size >> 20:,} MiB; a delta takes at most {MOST_BYTES >> 20}. Ship the whole bundle."
            )
