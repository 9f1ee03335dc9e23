"""What the tests of the sandbox run in it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from safeml.errors import InputRefused
from safeml.scan.base import Inconclusive, Refused


def answer(word: str) -> dict[str, str]:
    return {"word": word}


def refuse() -> None:
    raise Refused("holds a Lambda")


def refuse_input() -> None:
    raise InputRefused("m.keras: is empty.")


def give_up() -> None:
    raise Inconclusive("too much")


def fail() -> None:
    1 / 0  # noqa: B018


def take_memory() -> None:
    """256 MiB, which is more than its test allows."""
    [bytearray(16 * 2**20) for _ in range(16)]


def recurse(depth: int = 0) -> None:
    recurse(depth + 1)


def crash() -> None:
    """Ends as a process does that reads memory which is not its own."""
    os.kill(os.getpid(), signal.SIGSEGV)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(3)


def write_much() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    Path("large").write_bytes(bytes(4 * 2**20))


def connect() -> None:
    socket.create_connection(("127.0.0.1", 9), timeout=1)


def start_a_process() -> None:
    subprocess.run([sys.executable, "-V"], check=True)


def fork() -> None:
    os.fork()


def sleep() -> None:
    time.sleep(60)


def hang(note: str) -> None:
    Path(note).write_text(str(os.getpid()))
    while True:
        time.sleep(1)


def chatter() -> dict[str, str]:
    print("not an answer")  # noqa: T201
    os.write(1, b'{"kind": "ok"}')
    return {"said": "nothing"}


def look_around() -> dict[str, str | int]:
    return {
        "files": len(os.listdir(".")),
        "secret": os.environ.get("SECRET_TOKEN", "absent"),
        "home": os.environ["HOME"],
    }


def read_and_write(folder: str) -> dict[str, str]:
    text = Path(folder, "note").read_text()
    write(folder)
    return {"read": text}


def write(folder: str) -> None:
    Path(folder, "written").write_text("hello")


def read_in_a_thread(folder: str) -> dict[str, str]:
    def read() -> str:
        try:
            return Path(folder, "note").read_text()
        except OSError as error:
            return type(error).__name__

    with ThreadPoolExecutor() as pool:
        return {"read": pool.submit(read).result()}
