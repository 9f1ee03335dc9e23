"""A run in MLflow, by a stand-in for the module: what is logged, and one sentence for each thing that can go wrong."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from safeml.cli.main import app
from safeml.errors import ConfigError, StageError
from safeml.report import tracking
from safeml.report.write import write_report
from safeml.results import Run
from safeml.store.files import atomic_write, to_json
from tests.sample_run import TIMES, gate, metric, run_of, stage

pytestmark = pytest.mark.slow

# MLflow's rule for the names of metrics.
ACCEPTED = re.compile(r"^[/\w.\- :]+$")


class Store:
    """What MLflow was asked to store."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.tags: dict[str, str] = {}
        self.files: list[tuple[str, str]] = []
        self.calls: list[int] = []
        self.uri = self.experiment = self.name = ""
        self.fails = False

    def __enter__(self) -> Any:
        return SimpleNamespace(info=SimpleNamespace(run_id="abc123"))

    def __exit__(self, *_: object) -> None: ...

    def set_tracking_uri(self, uri: str) -> None:
        self.uri = uri

    def set_experiment(self, name: str) -> None:
        if self.fails:
            raise RuntimeError("the server is away\nwith more lines")
        self.experiment = name

    def start_run(self, run_name: str) -> Store:
        self.name = run_name
        return self

    def set_tags(self, tags: dict[str, str]) -> None:
        self.tags |= tags

    def log_metrics(self, metrics: dict[str, float]) -> None:
        assert not set(metrics) & set(self.metrics)
        self.calls.append(len(metrics))
        self.metrics |= metrics

    def log_artifact(self, path: str, artifact_path: str) -> None:
        self.files.append((Path(path).name, artifact_path))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    monkeypatch.setitem(sys.modules, "mlflow", made)  # type: ignore[arg-type]
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    metrics = [
        metric("clean_accuracy"),
        metric("recall", slice="class:Stop (all, way)"),
        metric("recall", slice="class:Stop [all, way]"),
        metric("macro_f1", None),
        *(metric("recall", slice=f"class:{k}") for k in range(400)),
    ]
    run = run_of([stage("performance", metrics=metrics)], [gate("clean", "clean_accuracy", threshold=0.95)])
    return write(tmp_path / "run", run)


def write(path: Path, run: Run) -> Path:
    (path / "work").mkdir(parents=True)
    (path / "work" / "slice.npz").write_bytes(b"large")
    atomic_write(path / "results.json", to_json(run))
    atomic_write(path / "run.json", to_json(TIMES))
    write_report(run, path, TIMES)
    return path


def safeml(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_metrics_with_intervals_the_verdict_and_the_report_are_logged(store: Store, folder: Path) -> None:
    done = safeml("mlflow", folder)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == "Logged to sqlite:///mlflow.db, experiment safeml, run abc123"
    assert (store.uri, store.experiment, store.name) == ("sqlite:///mlflow.db", "safeml", "m.keras")
    name = "performance/clean_accuracy"
    assert [store.metrics[key] for key in (name, f"{name}/low", f"{name}/high")] == pytest.approx(
        [0.97, 0.96, 0.98]
    )
    assert "performance/macro_f1" not in store.metrics  # undefined is not 0
    assert (store.tags["safeml.verdict"], store.tags["safeml.exit_code"]) == ("passed", "0")
    assert {"index.html", "results.json", "junit.xml", "SHA256SUMS"} <= {file for file, _ in store.files}
    assert "slice.npz" not in {file for file, _ in store.files}
    assert {place for _, place in store.files} == {"report"}


def test_every_name_is_accepted_and_no_value_is_lost(store: Store, folder: Path) -> None:
    safeml("mlflow", folder, "--uri", "http://localhost:5000", "--experiment", "signs")
    assert len(store.metrics) == 3 * 403
    assert all(ACCEPTED.match(name) for name in store.metrics)
    assert max(store.calls) <= 1000
    assert {"performance/recall/class:Stop _all_ way_", "performance/recall/class:Stop _all_ way__2"} <= set(
        store.metrics
    )


def test_telemetry_is_off_unless_the_user_set_it(store: Store, folder: Path) -> None:
    import os

    safeml("mlflow", folder)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.parametrize("uri", ["file:///mlruns", "mlruns", "./mlruns", "ftp://host"])
def test_a_store_that_mlflow_refuses_is_one_sentence(store: Store, folder: Path, uri: str) -> None:
    done = safeml("mlflow", folder, "--uri", uri)
    assert isinstance(done.exception, ConfigError)
    assert "expected sqlite:///FILE" in str(done.exception)
    assert not store.uri


def test_without_mlflow_the_sentence_says_how_to_install_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    done = safeml("mlflow", folder)
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception) == tracking.MISSING


def test_a_server_that_fails_is_one_sentence(store: Store, folder: Path) -> None:
    store.fails = True
    done = safeml("mlflow", folder)
    assert isinstance(done.exception, StageError)
    assert str(done.exception) == "sqlite:///mlflow.db: MLflow could not log the run: the server is away"
