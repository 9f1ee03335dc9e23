"""One run a folder: the second is refused, a dead one is in nobody's way."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from safeml.errors import ConfigError, StageError
from safeml.store.lock import LOCK, folder_lock

pytestmark = pytest.mark.slow

HOLDER = """
import sys, time
from pathlib import Path
from safeml.store.lock import folder_lock
with folder_lock(Path(sys.argv[1]), ("safeml", "audit")):
    print("held", flush=True)
    time.sleep(60)
"""
REFUSERS = [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS]


@pytest.fixture(params=["flock", *REFUSERS], ids=lambda value: errno.errorcode.get(value, value))
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system with locks, and those that refuse them in their several ways."""
    if request.param == "flock":
        return

    def refuse(*arguments: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def holder(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_with_process_and_time_and_what_to_do(
    tmp_path: Path, holder: subprocess.Popen, locks: None
) -> None:
    start = json.loads((tmp_path / LOCK).read_text())["start"]
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught, folder_lock(tmp_path):
        pytest.fail("it was let in")
    assert time.monotonic() - began < 1
    assert str(caught.value) == (
        f"{tmp_path}: another run uses it (process {holder.pid}, since {start}); "
        "wait for its end, stop it, or set another folder with --out."
    )
    assert caught.value.exit_code == 2
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == holder.pid  # the refused one left it as it was


def test_a_killed_run_is_taken_over_and_known(tmp_path: Path, holder: subprocess.Popen, locks: None) -> None:
    start = json.loads((tmp_path / LOCK).read_text())["start"]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with folder_lock(tmp_path, ("safeml", "run")) as earlier:
        assert earlier is not None
        assert (earlier.pid, earlier.start, earlier.command) == (holder.pid, start, "safeml audit")
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK).exists()
    with folder_lock(tmp_path) as earlier:
        assert earlier is None


def test_another_process_of_the_same_number_is_not_the_holder(
    tmp_path: Path, holder: subprocess.Popen, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = json.loads((tmp_path / LOCK).read_text())
    (tmp_path / LOCK).write_text(json.dumps({**values, "born": "1"}))
    monkeypatch.setattr(fcntl, "flock", _unsupported)
    with folder_lock(tmp_path) as earlier:
        assert earlier is not None


def test_without_locks_a_holder_on_another_machine_counts_as_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "pid": 1,
        "host": "elsewhere",
        "start": "2026-01-01T00:00:00+00:00",
        "command": "safeml audit",
        "born": "",
    }
    (tmp_path / LOCK).write_text(json.dumps(values))
    with folder_lock(tmp_path) as earlier:  # flock knows better
        assert earlier is not None
    (tmp_path / LOCK).write_text(json.dumps(values))
    monkeypatch.setattr(fcntl, "flock", _unsupported)
    with pytest.raises(ConfigError, match="process 1 on elsewhere, since 2026"), folder_lock(tmp_path):
        pass


@pytest.mark.parametrize("content", ["{", "[]", '{"pid": "x"}', "\x00" * 100, "[" * 16_000, '{"pid": true}'])
def test_a_lock_file_of_nonsense_is_taken_over(tmp_path: Path, content: str, locks: None) -> None:
    (tmp_path / LOCK).write_text(content)
    with folder_lock(tmp_path) as earlier:
        assert earlier is not None
        assert earlier.start == ""


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/nonexistent")])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, make) -> None:
    make(tmp_path / LOCK)
    with pytest.raises(ConfigError, match=r"\.lock"), folder_lock(tmp_path):
        pass


@pytest.mark.parametrize(
    ("error", "stays"), [(StageError("a"), True), (KeyboardInterrupt(), True), (ConfigError("a"), False)]
)
def test_what_did_not_finish_stays_known_and_what_never_began_does_not(
    tmp_path: Path, error: BaseException, stays: bool
) -> None:
    with pytest.raises(type(error)), folder_lock(tmp_path):
        raise error
    assert (tmp_path / LOCK).exists() is stays
    with folder_lock(tmp_path) as earlier:
        assert (earlier is not None) is stays


@pytest.mark.slow
def test_many_at_once_let_in_one(tmp_path: Path) -> None:
    """Each process counts itself in and out; two at the same time would be seen by either."""
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom safeml.errors import ConfigError\n"
        "from safeml.store.lock import folder_lock\nfolder = Path(sys.argv[1])\nheld = 0\nend = time.monotonic() + 1.5\n"
        "while time.monotonic() < end:\n"
        "    try:\n"
        "        with folder_lock(folder):\n"
        "            os.mkdir(folder / 'inside')\n"
        "            held += 1\n"
        "            os.rmdir(folder / 'inside')\n"
        "    except ConfigError:\n        pass\n"
        "print(held)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert sum(int(out) for out, _ in outputs) > 10


def _unsupported(*arguments: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")
