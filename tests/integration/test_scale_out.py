"""One run in one process, in several, and on Dask: the same bytes, whatever dies on the way; what is missing is never passed.

That every stage comes to the same bytes, attacks included, is in `test_scale_stages`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from safeml.errors import ConfigError
from safeml.results import Run
from safeml.scale import cluster
from safeml.scale.start import Scale
from tests.scale_cases import ALWAYS, CLUSTER, KILL, NUMPY, run, write_project

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy project, and the run of it in one process, in `serial`."""
    folder = write_project(tmp_path_factory.mktemp("scale"))
    done, times = run(folder, folder / "serial")
    assert done.verdict.exit_code == 3
    assert "workers" not in times.hardware
    return folder


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers import these tests."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def reason(done: Run) -> str:
    [stage] = [stage for stage in done.stages if stage.stage == "performance"]
    assert stage.status == "error"
    return stage.reason


def results(folder: Path) -> bytes:
    return (folder / "results.json").read_bytes()


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (Scale(workers=2), "2 processes of this machine"),
        (Scale(workers=1, slices=7), "1 process of this machine"),
        (Scale(scheduler="local:2", slices=3), "2 workers of a local Dask cluster"),
    ],
    ids=["processes", "large shards", "dask"],
)
def test_the_bytes_are_those_of_one_process_with_a_worker_killed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: Scale, words: str
) -> None:
    monkeypatch.setenv(KILL, str(tmp_path / "killed"))
    _, times = run(project, tmp_path / "out", scale)
    assert (tmp_path / "killed").exists()
    assert results(tmp_path / "out") == results(project / "serial")
    assert times.hardware["workers"] == words
    assert (times.resume.slices, times.resume.recomputed) == (0, [])
    assert not (tmp_path / "out" / "work").exists()


@pytest.mark.parametrize(
    ("scale", "count"), [(Scale(workers=1), 4), (Scale(scheduler="local:1"), 2)], ids=["processes", "dask"]
)
def test_a_shard_that_ends_every_worker_leaves_the_run_incomplete_and_the_same_command_resumes(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: Scale, count: int
) -> None:
    import dask

    monkeypatch.setenv(KILL, str(tmp_path / "killed"))
    monkeypatch.setenv(ALWAYS, "1")
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):  # each new worker takes a while
        done, _ = run(project, tmp_path / "out", scale)
    assert done.verdict.exit_code == 4
    assert f"it ended {count} workers one after the other" in reason(done)
    assert "run the same command again" in reason(done)
    run(project, tmp_path / "out")
    assert results(tmp_path / "out") == results(project / "serial")


def test_a_worker_with_another_version_is_refused_by_name(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NUMPY, "1.0")
    done, _ = run(project, tmp_path / "processes", Scale(workers=1))
    assert done.verdict.exit_code == 4
    assert reason(done).startswith("worker process ")
    assert "has numpy 1.0, and the client has 2" in reason(done)


@pytest.mark.parametrize(
    ("threads", "sentence"), [(1, "has numpy 1.0, and the client has 2"), (2, "has 2 threads; start it with")]
)
def test_a_worker_of_dask_that_differs_is_refused_before_the_run(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, sentence: str
) -> None:
    """The worker is a thread of this process, which costs nothing."""
    import distributed

    with (
        distributed.LocalCluster(
            1, processes=False, threads_per_worker=threads, dashboard_address=None
        ) as there,
        distributed.Client(there, set_as_default=False) as client,
    ):
        monkeypatch.setattr(cluster, "connect", lambda address: cluster.Cluster(client, None, "Dask"))
        with pytest.raises(ConfigError, match=rf"worker inproc://\S+: {sentence}"):
            run(project, tmp_path / "out", Scale(scheduler="tcp://there:1"), opener="open_other")
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_lost_scheduler_leaves_the_run_incomplete_and_a_worker_without_the_folder_returns_its_slices(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask

    monkeypatch.setenv(KILL, str(tmp_path / "killed"))
    monkeypatch.setattr(
        "safeml.pipeline.lock_content", lambda folder: ""
    )  # as where the folder is not shared
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
            done, _ = run(project, tmp_path / "out", Scale(scheduler=address))
        assert process.wait(10) == -9
    assert done.verdict.exit_code == 4
    assert "there are no workers any more" in reason(done)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        _, times = run(project, tmp_path / "out", Scale(scheduler=address, slices=4))
        process.communicate("\n")
    assert times.hardware["workers"] == f"workers of the Dask scheduler {address}"
    assert results(tmp_path / "out") == results(project / "serial")


def test_a_wrong_address_is_one_sentence(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT", 0.3)
    with pytest.raises(ConfigError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers \("):
        run(project, tmp_path / "out", Scale(scheduler="tcp://127.0.0.1:9"))


def test_without_the_extra_the_sentence_names_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'safeml-suite\[dask\]'"):
        run(project, tmp_path / "out", Scale(scheduler="local:2"))


def test_workers_end_with_their_client(project: Path, tmp_path: Path) -> None:
    """A client that is killed leaves no process behind, and the same command resumes."""
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom safeml.scale.shards import Shards\nfrom tests import scale_cases as cases\n"
        "real = Shards._receive\n"
        "def receive(self, *given):\n"
        "    real(self, *given)\n"
        "    print(*[child.process.pid for child in self.transport._children.values()], flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Shards._receive = receive\n"
        "cases.run(Path(sys.argv[1]), Path(sys.argv[2]), cases.Scale(workers=1))\n"
    )
    command = [sys.executable, "-c", program, str(project), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == -9, done.stderr
    [pid] = map(int, done.stdout.split())
    for _ in range(200):
        if not _runs(pid):
            break
        time.sleep(0.05)
    assert not _runs(pid)
    _, times = run(project, tmp_path / "out")
    assert times.resume.slices >= 1
    assert results(tmp_path / "out") == results(project / "serial")


def _runs(pid: int) -> bool:
    """Whether the process runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")
