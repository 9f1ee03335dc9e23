"""The child's side of `safeml.sandbox`: give up network and files, import, take on the limits, call, reply in JSON."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from safeml.landlock import confine

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG = 1
# Python's own audit events (PEP 578) that a parser of files has no use for.
FORBIDDEN = (
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.sendto",
    "subprocess.Popen",
    "os.system",
    "os.exec",
)
FORBIDDEN_STARTS = (
    "os.posix_spawn",
    "os.fork",
    "urllib.",
    "http.client.",
    "webbrowser.",
    "pty.",
    "shutil.chown",
)


def main() -> None:
    """Read one request from stdin and write one reply to what was stdout; prints of libraries go nowhere."""
    end_with_parent()
    request = json.loads(sys.stdin.buffer.read())
    reply = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    network = _drop_network()
    folders = [Path(folder) for folder in request["folders"]]
    confined = confine([*_of_the_system(), *folders], [Path.cwd(), Path(os.devnull), *folders])
    module, name = request["target"].split(":")
    function = getattr(importlib.import_module(module), name)
    _limit(request["memory"], request["seconds"], request["files"])
    sys.addaudithook(_forbid)
    kind, value, reason = call(function, request["arguments"])
    answer = {"kind": kind, "value": value, "reason": reason, "network": network, "confined": confined}
    reply.write(json.dumps(answer).encode())
    reply.close()
    _leave()


def call(function: Any, arguments: dict[str, str]) -> tuple[str, dict[str, Any], str]:
    """Call `function` and return kind, value and reason of its `Outcome`; no error is raised."""
    from safeml.errors import InputRefused, first_line
    from safeml.scan.base import Inconclusive, Refused

    try:
        return "ok", function(**arguments), ""
    except (Refused, InputRefused) as error:
        return "refused", {}, str(error)
    except Inconclusive as error:
        return "inconclusive", {}, str(error)
    except MemoryError:
        return "out of memory", {}, "it needed more memory than it was given"
    except RecursionError:
        return "inconclusive", {}, "it is nested too deeply to be judged"
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":
            return "out of memory", {}, "it needed more memory than it was given"
        return "crashed", {}, f"{type(error).__name__}: {first_line(error)}"


def _of_the_system() -> list[Path]:
    """What an interpreter and its libraries read: themselves, and what the machine is."""
    fixed = ("/usr", "/lib", "/lib64", "/bin", "/opt", "/nix", "/gnu", "/etc", "/proc", "/sys", "/dev")
    own = (sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path)
    return [Path(path) for path in (*fixed, *own) if path]


def end_with_parent() -> None:
    """A parent that is killed cannot clean up; Linux then sends this to its child."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _drop_network() -> str:
    """Enter a new network namespace, which has no way out. Many containers do not let a process make one."""
    if sys.platform != "linux":
        return "refused by a hook"
    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET):
        if libc.unshare(flags) == 0:
            return "dropped"
    return "refused by a hook"


def _limit(memory: int, seconds: int, files: int) -> None:
    if sys.platform == "linux":  # elsewhere the limit is not kept, and the report says that there is none
        _set(resource.RLIMIT_AS, _address_space() + memory)
    _set(resource.RLIMIT_CPU, seconds + 30)
    _set(resource.RLIMIT_FSIZE, files)
    _set(resource.RLIMIT_NOFILE, 256)
    _set(resource.RLIMIT_CORE, 0)


def _set(which: int, value: int) -> None:
    """At most what was there before: a limit of the machine stays."""
    hard = resource.getrlimit(which)[1]
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (bound, bound))


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    if event in FORBIDDEN or event.startswith(FORBIDDEN_STARTS):
        raise PermissionError(f"{event} is not for a process that reads a model file")


def _leave() -> NoReturn:
    os._exit(0)  # destructors of a framework under a memory limit may hang or crash after the answer


if __name__ == "__main__":
    main()
