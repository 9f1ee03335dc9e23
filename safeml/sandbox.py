"""One function in a child process: limited memory and time, no network, an empty working folder, and a typed outcome.

Defence in depth, not isolation: hostile files belong in a container or a virtual machine (SECURITY.md).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["ok", "refused", "inconclusive", "out of memory", "timeout", "crashed"]
MAX_REPLY_BYTES = 1024**2
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT", "LD_LIBRARY_PATH", "TF_ENABLE_ONEDNN_OPTS")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """How the child ended. value: what the function returned, where kind is "ok". reason: one clause for all other kinds.

    network: whether the system let the child give up its network. confined: and all files but its own.
    """

    kind: Kind
    value: dict[str, Any]
    reason: str = ""
    network: Literal["dropped", "refused by a hook"] = "refused by a hook"
    confined: bool = False


def run_limited(
    target: str,
    arguments: dict[str, str],
    *,
    memory: int,
    seconds: int,
    files: int,
    folders: tuple[Path, ...] = (),
    threads: int = 1,
    meanwhile: Callable[[], None] = lambda: None,
) -> Outcome:
    """`target` ("module:function") in a child, with JSON-able keyword `arguments`; it returns a JSON-able dict.

    memory: bytes of address space beyond what the child has after importing the module (a framework reserves gigabytes
    before it does anything). seconds: wall clock, from the child's start. files: largest file that it may write, in bytes.
    folders: what it may read and write beside its own empty folder, where the system can confine it (Landlock); the
    interpreter's and the system's own files stay readable. meanwhile: is called in this process while the child runs; it should be
    short, because the child is not ended before it returns, but for an error that it raises.
    The function may raise `Refused` or `Inconclusive` of `safeml.scan.base`, or `InputRefused`.
    """
    request = json.dumps(
        {
            "target": target,
            "arguments": arguments,
            "memory": memory,
            "seconds": seconds,
            "files": files,
            "folders": [str(folder.resolve()) for folder in folders],
        }
    )
    with tempfile.TemporaryDirectory(prefix="safeml-child-") as folder:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "safeml.sandbox_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=_environment(folder, threads),
            start_new_session=True,
        )
        deadline = time.monotonic() + seconds
        try:
            _send(child, request.encode())
            meanwhile()
            # A child that ended in time has ended, however late it is asked.
            out, err = child.communicate(timeout=max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            return Outcome("timeout", {}, f"it took longer than {seconds} seconds")
        finally:
            _end(child)
    return _outcome(child.returncode, out[:MAX_REPLY_BYTES], err.decode("utf-8", "replace"))


def _send(child: subprocess.Popen[bytes], request: bytes) -> None:
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError), child.stdin:  # the code of a child that reads nothing says why
        child.stdin.write(request)
    child.stdin = None


def _environment(folder: str, threads: int) -> dict[str, str]:
    package = str(Path(__file__).parent.parent)
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {
        **kept,
        **dict.fromkeys(THREADS, str(threads)),
        "PYTHONPATH": package,
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": folder,
        "TMPDIR": folder,
        "KERAS_HOME": folder,
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "HDF5_PLUGIN_PRELOAD": "::",  # no filter is loaded from a library
        "MALLOC_ARENA_MAX": "2",
    }


def _end(child: subprocess.Popen[bytes]) -> None:
    """The whole group, so that nothing that the child started lives on; whatever happened."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _outcome(code: int, out: bytes, err: str) -> Outcome:
    try:
        reply = json.loads(out)
        return Outcome(reply["kind"], reply["value"], reply["reason"], reply["network"], reply["confined"])
    except (ValueError, KeyError, TypeError):
        pass
    if code == -signal.SIGXCPU:
        return Outcome("timeout", {}, "it used more processor time than it was given")
    if code == -signal.SIGKILL or "MemoryError" in err or "bad_alloc" in err or "allocat" in err:
        return Outcome("out of memory", {}, "it needed more memory than it was given")
    if code < 0:
        return Outcome("crashed", {}, f"it was ended by {signal.Signals(-code).name}")
    last = (err.strip().splitlines() or ["no message"])[-1][:200]
    return Outcome("crashed", {}, f"it ended with {code} ({last})")
