"""Surroundings that are not as on the developer's machine: the same bytes, or one sentence.

A `sitecustomize` that each child imports first takes its network away, and its user's name; a stand-in `tensorflow` is broken.
A training and an audit in such surroundings are those of test_killed_training.py and test_durable_audit.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from safeml.report.write import write_report
from safeml.store.files import atomic_write, to_json
from tests.fakes import numbered_images
from tests.integration.odd import environment, write_hooks
from tests.opening import command_here
from tests.sample_run import sample_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SURROUNDINGS: dict[str, dict[str, str | None]] = {
    "no home, no checks by assert": {
        "LC_ALL": "C",
        "LANG": None,
        "HOME": None,
        "USER": None,
        "LOGNAME": None,
        "PYTHONOPTIMIZE": "2",
        "TZ": "Pacific/Kiritimati",
    },
    "ASCII, folders that are not there": {
        "LC_ALL": "POSIX",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "HOME": "/dev/null/nowhere",
        "XDG_CACHE_HOME": "/dev/null/nowhere/cache",
        "TMPDIR": "/dev/null/nowhere",
    },
    "Turkish, narrow, other hashes": {
        "LC_ALL": "tr_TR.UTF-8",
        "LANG": "tr_TR.UTF-8",
        "PYTHONHASHSEED": "1234",
        "COLUMNS": "20",
        "NO_COLOR": "1",
        "TERM": "dumb",
    },
}
BROKEN = {
    "broken": 'raise ImportError("libcudart.so.12: cannot open shared object file")\n',
    "without its parts": "import tensorflow.python\n",
}


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH whose `sitecustomize` takes network and user name away."""
    return write_hooks(tmp_path / "hooks")


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    run, times = sample_run()
    folder = tmp_path / "run"
    folder.mkdir()
    atomic_write(folder / "results.json", to_json(run))
    atomic_write(folder / "run.json", to_json(times))
    write_report(run, folder, times)
    return folder


def safeml(
    *arguments: object, hooks: Path, umask: int = -1, **changes: str | None
) -> subprocess.CompletedProcess[bytes]:
    """`safeml` in a child; a change of None takes a variable away."""
    command = [sys.executable, "-m", "safeml.cli.main", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, check=False, timeout=300, umask=umask, env=environment(hooks, changes)
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_reports_gates_and_settings_are_the_same_bytes(
    name: str, hooks: Path, sample: Path, tmp_path: Path
) -> None:
    changes = SURROUNDINGS[name]
    expected = files(sample)
    drawn = safeml("report", sample, "--out", tmp_path / "again", hooks=hooks, umask=0o077, **changes)
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stderr == b""
    assert files(tmp_path / "again") == expected
    assert (tmp_path / "again" / "index.html").stat().st_mode & 0o777 == 0o600
    decided = safeml("gate", sample, hooks=hooks, **changes)
    assert decided.returncode == command_here("gate", sample).returncode
    assert decided.stderr == b""
    (tmp_path / "m.keras").touch()
    np.savez(tmp_path / "d.npz", images=numbered_images(40), labels=np.arange(40) % 4)
    arguments = ("init", "--model", tmp_path / "m.keras", "--data", tmp_path / "d.npz", "--out")
    assert command_here(*arguments, tmp_path / "usual.toml").returncode == 0
    made = safeml(*arguments, tmp_path / "odd.toml", hooks=hooks, **changes)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "odd.toml").read_bytes() == (tmp_path / "usual.toml").read_bytes()


def break_tensorflow(hooks: Path, code: str) -> None:
    """Put a stand-in that runs `code` before the installed TensorFlow."""
    (hooks / "tensorflow").mkdir()
    (hooks / "tensorflow" / "__init__.py").write_text(code)


def test_without_tensorflow_results_are_read(hooks: Path, sample: Path) -> None:
    break_tensorflow(hooks, BROKEN["broken"])
    for arguments in (["--help"], ["audit", "--help"], ["schema"], ["report", sample]):
        done = safeml(*arguments, hooks=hooks)
        assert done.returncode == 0, done.stderr
        assert done.stderr == b""


@pytest.mark.parametrize("name", BROKEN)
def test_without_tensorflow_what_needs_it_says_what_to_install(
    name: str, hooks: Path, tmp_path: Path
) -> None:
    break_tensorflow(hooks, BROKEN[name])
    (tmp_path / "recipe.toml").write_text(
        'name = "r"\narchitecture = "lenet"\nwidth = 4\nepochs = 1\n'
        '[data.train]\nkind = "npz"\npath = "d.npz"\n[data.valid]\nkind = "npz"\npath = "v.npz"\n'
    )
    labels = np.arange(86) % 43
    for file, grey in (("d.npz", 0), ("v.npz", 1)):
        np.savez(tmp_path / file, images=np.full((86, 32, 32, 3), grey, np.uint8), labels=labels)
    model = next((ROOT / "models" / "lenet-gtsrb").glob("*.keras"))
    train = ["train", tmp_path / "recipe.toml", "--out", tmp_path / "model"]
    # The child of the scan and of the first load has the installed framework, which takes seconds to import.
    inspect = ["inspect", model, "--data", tmp_path / "d.npz", "--out", tmp_path / "safeml.toml"]
    for arguments in (train, inspect) if name == "broken" else (train,):
        done = safeml(*arguments, hooks=hooks)
        said = done.stderr.decode().splitlines()
        assert done.returncode == 2, said
        assert said[-1].startswith("safeml: TensorFlow or Keras cannot be imported")
        assert said[-1].endswith("install it with `python -m pip install --upgrade tensorflow keras`.")
        assert "Traceback" not in done.stderr.decode()
    assert not (tmp_path / "safeml.toml").exists()
    assert not list((tmp_path / "model").glob("*.keras"))


def test_the_hook_that_takes_the_network_away_works(hooks: Path) -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(hooks)},
        capture_output=True,
        check=False,
    )
    assert b"NETWORK socket." in done.stderr
    assert done.returncode == 1


def test_a_reader_who_leaves_does_not_change_the_verdict(hooks: Path, sample: Path) -> None:
    whole = command_here("gate", sample)
    read, write = os.pipe()
    os.close(read)
    for command in (["gate", str(sample)], ["schema"], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "safeml.cli.main", *command],
            stdout=write,
            stderr=subprocess.PIPE,
            env=environment(hooks, {}),
            check=False,
        )
        assert done.returncode == (whole.returncode if command[0] == "gate" else 0), command
        assert done.stderr == b"", command
    os.close(write)
