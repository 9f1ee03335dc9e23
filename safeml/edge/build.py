"""Building an engine on the device, in a process that has a time limit, a memory limit and a log.

A build that runs out of memory is killed by the kernel, and on a small device the kernel may kill something else first. So the builder
offers itself to the kernel, and the parent watches it and the memory of the device.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from .errors import EdgeError

LOG = "build.log"
MOST_LOG_BYTES = 1 << 20
MIB = 1 << 20


class Limits(NamedTuple):
    """Limits of a build.

    workspace_mb: memory that TensorRT may use for the scratch of a layer.
    memory_mb: resident memory of the builder; it is ended above it.
    free_mb: available memory of the device; the builder is ended below it.
    seconds: of a build.
    address_space_mb: RLIMIT_AS, or 0 for none. CUDA reserves more addresses than the device has memory, so it is for a host.
    """

    workspace_mb: int = 512
    memory_mb: int = 3072
    free_mb: int = 96
    seconds: int = 1800
    address_space_mb: int = 0


class Job(NamedTuple):
    """What the builder is to do.

    onnx: path. engine: path to write. plan: fields of `Plan`. batches: smallest, usual and largest.
    """

    onnx: str
    engine: str
    plan: Dict[str, Any]
    batches: Sequence[int]


def run_builder(job: Job, limits: Limits, folder: str) -> Dict[str, Any]:
    """Build an engine in a child process and return what it reports. The engine is at `job.engine`.

    folder: gets the log.
    Raises EdgeError with the reason and the last line of the log where no engine was built.
    """
    log, reply = os.path.join(folder, LOG), job.engine + ".reply"
    order = {
        "onnx": job.onnx,
        "engine": job.engine,
        "reply": reply,
        "plan": job.plan,
        "batches": list(job.batches),
        "workspace": limits.workspace_mb * MIB,
        "address_space": limits.address_space_mb * MIB,
    }
    began = time.time()
    try:
        with open(log, "wb") as file:
            child = subprocess.Popen(
                child_command(__package__ + ".backends.trt_child"),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _order(child, order)
            reason = _watch(child, limits, log)
        record = _reply(reply)
    except OSError as error:
        raise EdgeError(f"the builder did not start ({error.strerror}).") from None
    finally:
        _remove(reply)
    if reason or child.returncode or "error" in record or not os.path.exists(job.engine):
        _remove(job.engine)
        raise EdgeError(
            f"no engine was built after {time.time() - began:.0f} s: {_why(reason, child.returncode, record, log)} The log is {log}."
        )
    record["seconds"] = round(time.time() - began, 2)
    return record


def child_command(module: str) -> List[str]:
    """Return the command that runs `main` of a module of this package in another interpreter, with the same import path.

    The isolated mode keeps the current folder and the environment out of it.
    """
    text = f"import sys; sys.path[:] = {[os.path.abspath(path) for path in sys.path]!r}; from {module} import main; sys.exit(main())"
    return [sys.executable, "-I", "-c", text]


def _order(child: Any, order: Dict[str, Any]) -> None:
    try:
        child.stdin.write(json.dumps(order).encode("utf-8"))
        child.stdin.close()
    except OSError:
        # It ended before it read; its exit code tells why.
        pass


def _watch(child: Any, limits: Limits, log: str) -> str:
    """Wait for the builder; return why it was ended, or "" where it ended itself."""
    until = time.time() + limits.seconds
    try:
        while child.poll() is None:
            reason = _over(child.pid, limits, log, until)
            if reason:
                return reason
            time.sleep(0.05)
        return ""
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _over(pid: int, limits: Limits, log: str, until: float) -> str:
    resident = _kilobytes(f"/proc/{pid}/status", "VmRSS") or 0
    free = _kilobytes("/proc/meminfo", "MemAvailable")
    if time.time() > until:
        return f"it took longer than {limits.seconds} s."
    if resident > limits.memory_mb * 1024:
        return f"it used more than {limits.memory_mb} MB; lower --workspace-mb or raise --memory-mb."
    if free is not None and free < limits.free_mb * 1024:
        return f"the device had less than {limits.free_mb} MB left; close other programs or add swap."
    if os.path.getsize(log) > MOST_LOG_BYTES:
        return f"its log grew above {MOST_LOG_BYTES} bytes."
    return ""


def _kilobytes(path: str, key: str) -> Optional[int]:
    try:
        with open(path) as file:
            for line in file:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def _reply(path: str) -> Dict[str, Any]:
    try:
        with open(path, "rb") as file:
            record = json.loads(file.read(MOST_LOG_BYTES).decode("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _why(reason: str, code: Optional[int], record: Dict[str, Any], log: str) -> str:
    if reason:
        return reason
    if "error" in record:
        return str(record["error"])
    if code is not None and code < 0:
        name = "SIGKILL, as when memory runs out" if code == -signal.SIGKILL else f"signal {-code}"
        return f"the builder was ended by {name}."
    try:
        with open(log, "rb") as file:
            lines = file.read(MOST_LOG_BYTES).decode("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return "the builder ended with code {}{}".format(code, ": " + lines[-1][:300] if lines else ".")


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
