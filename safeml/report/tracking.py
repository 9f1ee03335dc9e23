"""A recorded run in MLflow: metrics with their intervals, the verdict as tags, the report as artifacts.

Nothing is logged unless the command is called. MLflow is an extra and is imported here alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from safeml.errors import ConfigError, StageError, first_line
from safeml.report.junit import suite_name
from safeml.results import Run
from safeml.verdict_text import verdict_line

SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
MISSING = "MLflow is not installed; install it with `python -m pip install 'safeml-suite[mlflow]'`."
# What MLflow accepts in a part of the name of a metric.
OUTSIDE = re.compile(r"[^\w\-. :]", re.ASCII)
LONGEST_NAME, LONGEST_TAG = 230, 500
# No telemetry, and no tries for many minutes to reach a server that is away; the user's own values win.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
BATCH = 500  # MLflow takes at most 1,000 metrics in one call
LISTED = re.compile(r"[0-9a-f]{64}  ((?:artefacts/[a-z0-9_-]+/)?[A-Za-z0-9_.-]+)")


def check_store(uri: str) -> None:
    """Raise ConfigError for a store that MLflow refuses. A plain path and `file:` are refused since MLflow 3."""
    scheme = uri.partition(":")[0].partition("+")[0]
    if ":" not in uri or scheme not in SCHEMES:
        raise ConfigError(
            f"{uri}: is no store that MLflow takes; expected sqlite:///FILE, or the http address of a server."
        )


def log_run(run: Run, folder: Path, uri: str, experiment: str) -> str:
    """Log a run and the report in its folder; return the id of the MLflow run.

    Raises ConfigError if MLflow is not installed or refuses the store, StageError if logging fails.
    """
    check_store(uri)
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    try:
        mlflow: Any = import_module("mlflow")
    except ModuleNotFoundError as error:
        if error.name != "mlflow":
            raise StageError(f"MLflow cannot be imported: {first_line(error, 300)}") from error
        raise ConfigError(MISSING) from None
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment(experiment)
        with mlflow.start_run(run_name=run.model.name) as started:
            mlflow.set_tags(tags(run))
            values = list(numbers(run))
            for start in range(0, len(values), BATCH):
                mlflow.log_metrics(dict(values[start : start + BATCH]))
            for file in report_files(folder):
                mlflow.log_artifact(str(file), artifact_path="report")
        return str(started.info.run_id)
    except Exception as error:  # of MLflow, its database or its server
        raise StageError(f"{uri}: MLflow could not log the run: {first_line(error, 300)}") from error


def tags(run: Run) -> dict[str, str]:
    """Return the verdict and what identifies the run."""
    test = run.test_data
    values = {
        "verdict": run.verdict.status,
        "exit_code": str(run.verdict.exit_code),
        "verdict_line": verdict_line(run),
        "sentence": run.verdict.sentence,
        "profile": run.profile,
        "model": run.model.fingerprint,
        "data": test.fingerprint if test else "",
        "version": run.safeml_version,
    }
    return {f"safeml.{key}": value[:LONGEST_TAG] for key, value in values.items()}


def numbers(run: Run) -> Iterator[tuple[str, float]]:
    """Yield each measured metric as STAGE/METRIC, and the ends of its interval below it. Names that would meet get a number."""
    seen: dict[str, int] = {}
    for stage in run.stages:
        for metric in stage.metrics:
            if metric.value is None:
                continue
            parts = [suite_name(stage), metric.name, *([metric.slice] if metric.slice != "all" else [])]
            name = "/".join(OUTSIDE.sub("_", part) for part in parts)[:LONGEST_NAME].rstrip()
            seen[name] = seen.get(name, 0) + 1
            name += f"_{seen[name]}" if seen[name] > 1 else ""
            yield name, metric.value
            if metric.low is not None and metric.high is not None:
                yield f"{name}/low", metric.low
                yield f"{name}/high", metric.high


def report_files(folder: Path) -> list[Path]:
    """Return the files that the report lists in SHA256SUMS, and that file; the stored work of a run is left out."""
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        return [file for file in (folder / "results.json",) if file.is_file()]
    names = [
        match[1]
        for line in sums.read_text(encoding="utf-8").splitlines()
        if (match := LISTED.fullmatch(line))
    ]
    return [*(folder / name for name in names if (folder / name).is_file()), sums]
