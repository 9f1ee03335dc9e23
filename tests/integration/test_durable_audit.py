"""An audit with compiled attacks that is interrupted and killed: three real ends, and at night many at random moments."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safeml.store.files import read_times
from safeml.store.lock import LOCK
from tests.fault.faulty_os import temporary_files
from tests.integration.odd import ODD, PROGRAM, environment, write_hooks
from tests.integration.trained import trained_model

pytestmark = pytest.mark.slow

KILLS = 20
SEED = int(os.environ.get("SAFEML_NIGHTLY_SEED", "7"))


def start(project: Path, out: Path, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    paths = ["--config", project / "safeml.toml", "--model", trained_model(project), "--out", out]
    command = [sys.executable, "-c", PROGRAM, "audit", *map(str, paths)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)


def finish(project: Path, out: Path, env: dict[str, str] | None = None) -> None:
    process = start(project, out, env)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1, errors
    assert "NETWORK" not in errors


def end(process: subprocess.Popen[str], number: int, ripe: Callable[[], bool]) -> tuple[int, str]:
    """Send the signal as soon as the run is `ripe`; its return code and standard error."""
    while process.poll() is None and not ripe():
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def is_kept(folder: Path, stage: str, item: str) -> bool:
    name = re.compile(re.escape(item) + r"-[0-9a-f]{24}\.npz")
    return any(name.fullmatch(path) for _, _, names in os.walk(folder / "work" / stage) for path in names)


def evidence(folder: Path) -> dict[str, Any]:
    """results.json, but for the command, which names the folder, and the first load of the model, which is left out here."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    del results["command"]
    results["stages"] = [stage for stage in results["stages"] if stage["stage"] != "model"]
    return results


def check_whole(project: Path, folder: Path) -> None:
    assert evidence(folder) == evidence(project / "run")
    assert temporary_files(folder) == []
    assert not (folder / LOCK).exists()
    assert not (folder / "work").exists()


def test_sigint_inside_an_attack_and_kill_9_between_two_change_nothing(
    tiny_project: Path, tmp_path: Path
) -> None:
    """The run that `safeml run` made at once, and the same as an audit in three processes, in surroundings that are odd in all ways."""
    folder, odd = tmp_path / "out", environment(write_hooks(tmp_path / "hooks"), ODD)

    def in_an_attack() -> bool:
        if not is_kept(folder, "adversarial", "fgsm-linf_0.5"):
            return False
        time.sleep(0.05)
        return True

    code, errors = end(start(tiny_project, folder, odd), signal.SIGINT, in_an_attack)
    assert code == 130, errors
    assert errors.strip().endswith("finished work is stored, and the same command resumes from it.")
    assert "Traceback" not in errors
    assert not (folder / "results.json").exists()
    code, _ = end(
        start(tiny_project, folder, odd),
        signal.SIGKILL,
        lambda: is_kept(folder, "adversarial", "apgd_t-linf_0.5"),
    )
    assert code == -signal.SIGKILL
    assert is_kept(folder, "adversarial", "apgd_t-linf_0.5")
    finish(tiny_project, folder, odd)
    check_whole(tiny_project, folder)
    times = read_times(folder)
    assert times is not None
    assert times.resume.slices > 0
    assert times.resume.interrupted
    assert times.resume.recomputed == []


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_kill_9_at_random_moments_changes_nothing(tiny_project: Path, tmp_path: Path) -> None:
    """One folder in which run after run is killed at least one stage or slice later, anywhere within the next."""
    print(f"SAFEML_NIGHTLY_SEED={SEED}")  # noqa: T201
    rng, folder, killed = random.Random(SEED), tmp_path / "out", 0
    for _ in range(KILLS):
        goal, later = kept(folder) + rng.randint(0, 1), rng.random() * 0.03

        def ripe(goal: int = goal, later: float = later) -> bool:
            if kept(folder) <= goal:
                return False
            time.sleep(later)
            return True

        code, errors = end(start(tiny_project, folder), signal.SIGKILL, ripe)
        assert code in (-signal.SIGKILL, 1), errors  # 1: it was done before
        killed += code == -signal.SIGKILL
    finish(tiny_project, folder)
    check_whole(tiny_project, folder)
    assert killed >= KILLS // 2


def kept(folder: Path) -> int:
    """How many stages and slices an unfinished run has kept."""
    # os.walk, because a folder may be removed while it is read.
    walks = (os.walk(folder / where) for where in ("stages", "work"))
    return sum(name.endswith((".json", ".npz")) for walk in walks for _, _, names in walk for name in names)
