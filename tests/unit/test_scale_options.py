"""Options of scale-out, what a worker is told, and how it is compared with the client."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from safeml import framework, sandbox
from safeml.cli.paths import shown_command
from safeml.config.audit import Config, load_config
from safeml.errors import ConfigError
from safeml.pipeline import in_profile
from safeml.profiles import PROFILES
from safeml.scale import start
from safeml.scale.identity import difference
from safeml.scale.start import Scale, connected, gpus
from safeml.store.lock import folder_lock, lock_content

MODELS = sorted((Path(__file__).parents[2] / "models").glob("*/safeml.toml"))


@pytest.mark.parametrize(
    ("scale", "sentence"),
    [
        (Scale(workers=2, scheduler="local"), "--workers and --scheduler are given"),
        (Scale(workers=-1), "--workers -1: expected 0 to 1024"),
        (Scale(workers=2, slices=0), "--slices-per-shard 0: expected 1 to 1024"),
        (Scale(scheduler="node-1:8786"), "is no address of a scheduler"),
        (Scale(scheduler="local:0"), "is no address of a scheduler"),
        (Scale(scheduler="http://node-1:8786"), "is no address of a scheduler"),
    ],
)
def test_options_that_mean_nothing_are_one_sentence(scale: Scale, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        scale.check()


def test_workers_need_a_number_of_threads_in_the_settings() -> None:
    with (
        pytest.raises(ConfigError, match=r"--workers: \[run\] threads is not set; set threads = 1"),
        connected(Scale(workers=2), 0),
    ):
        pass
    with connected(Scale(), 0) as transport:
        assert transport is None


def test_where_slices_are_measured_is_not_in_the_recorded_command(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [
        "audit",
        "--workers",
        "2",
        "-o",
        "run",
        "--scheduler=local:2",
        "--slices-per-shard",
        "3",
        "--force",
    ]
    monkeypatch.setattr(sys, "argv", ["safeml", *given])
    assert shown_command() == ("safeml", "audit", "-o", "run", "--force")


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.parent.name)
def test_a_worker_reads_the_settings_that_the_client_sends(path: Path) -> None:
    config = load_config(path)
    for sent in (in_profile(config, profile) for profile in PROFILES):
        assert Config.model_validate_json(json.dumps(sent.model_dump(mode="json"))) == sent


def test_how_a_worker_differs_is_a_clause() -> None:
    client: dict[str, Any] = {
        "packages": {"numpy": "2.4.6", "keras": "3.15.1"},
        "code": "a" * 64,
        "data": [{"role": "test"}],
        "threads": 1,
    }
    assert difference(json.loads(json.dumps(client)), client) == ""
    other = {**client, "packages": {"numpy": "2.3.1"}}
    assert (
        difference(other, client)
        == "has keras not installed, and the client has 3.15.1; numpy 2.3.1, and the client has 2.4.6"
    )
    assert difference({**client, "threads": 2}, client) == "has threads 2, and the client has 1"
    assert difference({**client, "code": "b" * 64}, client) == "has another code than the client"
    assert difference({**client, "data": []}, client) == "has other data than the client"
    assert difference({}, client).endswith("and 1 more difference")


def test_each_worker_gets_a_gpu_that_the_client_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == []
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpus() == ["1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == []


def test_threads_are_fixed_before_tensorflow_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*framework.THREADS, *sandbox.THREADS):
        monkeypatch.setenv(name, "1")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    framework.fix_threads(1)
    with pytest.raises(ConfigError, match="not with 2 threads; set TF_NUM_INTRAOP_THREADS"):
        framework.fix_threads(2)
    monkeypatch.delitem(sys.modules, "tensorflow")
    framework.fix_threads(2)
    assert {os.environ[name] for name in (*framework.THREADS, *sandbox.THREADS)} == {"2"}
    from threadpoolctl import threadpool_info

    assert {pool["num_threads"] for pool in threadpool_info()} <= {2}
    framework.fix_threads(1)


def test_a_worker_knows_the_run_folder_by_its_lock(tmp_path: Path) -> None:
    assert lock_content(tmp_path) == ""
    with folder_lock(tmp_path, ("safeml",)):
        content = lock_content(tmp_path)
        assert str(os.getpid()) in content
    assert lock_content(tmp_path) == ""
