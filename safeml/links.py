"""Files behind links."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def resolved(path: Path) -> Path:
    """Return the absolute path at the end of the links of `path`, which need not exist.

    Raises OSError for a loop of links: Python raises RuntimeError up to 3.12, and from 3.13 on returns a link of the loop.
    """
    loop = OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    try:
        target = path.resolve()
    except RuntimeError:
        raise loop from None
    try:
        is_link = stat.S_ISLNK(target.lstat().st_mode)
    except OSError as error:
        is_link = error.errno == errno.ELOOP  # of a folder on the way
    if is_link:
        raise loop
    return target
