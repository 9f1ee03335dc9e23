"""A program of the user that is started after a change, such as one that restarts the service of the run.

It is called as `PROGRAM EVENT RELEASE ROOT`, without a shell, after the lock is released. Its failure changes nothing that was done.
"""

import os
import stat
import subprocess
from typing import Optional

SECONDS = 120
INSTALLED, COMMITTED, ROLLED_BACK, SHADOWED = "installed", "committed", "rolled-back", "shadowed"


def run_hook(hook: Optional[str], event: str, release: int, root: str, seconds: float = SECONDS) -> str:
    """Start the hook and wait for it; returns "" or one sentence on what went wrong. A program that other users may change is not started."""
    if hook is None:
        return ""
    try:
        facts = os.stat(hook)
    except OSError as error:
        return f"the hook {hook} cannot be started ({error.strerror})."
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or facts.st_uid not in (0, os.geteuid()):
        return f"the hook {hook} is not started, because other users may change it; run chmod go-w on it."
    try:
        code = subprocess.call(
            [hook, event, str(release), root], stdin=subprocess.DEVNULL, timeout=seconds, close_fds=True
        )
    except subprocess.TimeoutExpired:
        return f"the hook {hook} did not end within {seconds:g} seconds and was stopped."
    except OSError as error:
        return f"the hook {hook} cannot be started ({error.strerror})."
    return f"the hook {hook} ended with status {code}." if code else ""
