"""Private copies of model files, as the scan makes them."""

from __future__ import annotations

import shutil
from pathlib import Path


def private(tmp_path: Path, source: Path, name: str = "model.h5") -> Path:
    """A copy under the name that the scan gives it."""
    folder = tmp_path / f"private{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    return Path(shutil.copy(source, folder / name))
