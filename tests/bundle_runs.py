"""A small finished run and its export, for tests of bundles: real ONNX files, records written by hand, nothing trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from safeml.export.facts import onnx_facts
from safeml.gates import decide
from safeml.monitors.state import State, save_state
from safeml.report.write import write_report
from safeml.results import Artefact, Gate, Provenance, Run, RunTimes, StageResult
from safeml.settings.bundle import BundleSettings
from safeml.store.files import atomic_write, file_sha256, to_json
from tests.sample_run import TIMES, gate, metric, run_of

SIDE, CLASSES, FEATURES = 16, 5, 4
NAMES = tuple(f"Sign {k}" for k in range(CLASSES))
DAY = TIMES.started[:10]
SETTINGS = BundleSettings(product="signs", release=7)
INPUT: dict[str, Any] = {
    "height": SIDE, "width": SIDE, "channels": "rgb", "low": 0.0, "high": 1.0, "mean": [], "std": [], "standardise": False,
    "outputs": "logits", "class_order": None,
}  # fmt: skip


def write_model(path: Path, seed: int = 0) -> str:
    """Write an ONNX classifier with `logits` and `features`, and return its fingerprint."""
    rng = np.random.default_rng(seed)
    arrays = {
        "w": rng.normal(0, 1, (SIDE * SIDE * 3, FEATURES)).astype(np.float32),
        "v": rng.normal(0, 1, (FEATURES, CLASSES)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "w"], ["features"]),
        helper.make_node("MatMul", ["features", "v"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
        for name, shape in (("image", [SIDE, SIDE, 3]), ("logits", [CLASSES]), ("features", [FEATURES]))
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return onnx_facts(path).fingerprint


def write_export(folder: Path, **changes: Any) -> str:
    """Write an export with an INT8 and a float file and return the fingerprint of the INT8 file. changes: of export.json."""
    folder.mkdir(parents=True)
    fingerprint = write_model(folder / "model.int8.onnx")
    write_model(folder / "model.float.onnx", seed=1)
    files = [
        {"name": path.name, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(folder.glob("*.onnx"))
    ]
    record = {
        "format": 1,
        "status": "passed",
        "files": files,
        "checks": [{"name": "lint", "status": "passed"}],
    }
    (folder / "export.json").write_text(json.dumps({**record, **changes}))
    return fingerprint


def monitor_state(fingerprint: str) -> State:
    """Return a monitor of logits and features that trusts a clear answer."""
    settings = {"score": "max_logit", "score_threshold": 0.5, "score_near": None, "hold": 1}
    return State(fingerprint, CLASSES, FEATURES, settings, {})


def stages(fingerprint: str, artefacts: list[Artefact]) -> list[StageResult]:
    """Return what the stages of a run measured on the model with this fingerprint."""
    made = Provenance(model=fingerprint, data="d" * 64, settings={}, seed=7)
    recalls = [metric("recall", slice=f"class:{name}") for name in NAMES]
    return [
        StageResult(stage="performance", title="Performance", metrics=[metric("clean_accuracy"), *recalls], provenance=made),
        StageResult(stage="comparison", title="Comparison", metrics=[metric("agreement")], provenance=made),
        StageResult(stage="monitors", title="Monitors", provenance=made, artefacts=artefacts),
    ]  # fmt: skip


def write_run(
    folder: Path,
    fingerprint: str,
    model_sha256: str,
    *,
    threshold: float = 0.9,
    monitor: bool = True,
    without: str = "",
    gates: list[Gate] | None = None,
    **fields: Any,
) -> Run:
    """Write a finished run folder with one gate and its monitor, and return the run.

    threshold: of the gate on an accuracy of 0.97 +- 0.01. without: a stage to leave out. gates: in place of the one. fields: of the run.
    """
    place = folder / "artefacts" / "monitors"
    artefacts = []
    if monitor:
        place.mkdir(parents=True)
        save_state(str(place), monitor_state(fingerprint))
        artefacts = [Artefact.of(path.name, path.read_bytes()) for path in sorted(place.iterdir())]
    folder.mkdir(parents=True, exist_ok=True)
    measured = [stage for stage in stages(fingerprint, artefacts) if stage.stage != without]
    gates = [gate("clean-accuracy", "clean_accuracy", threshold=threshold)] if gates is None else gates
    run = run_of(measured, gates)
    identity = run.model.model_copy(update={"fingerprint": fingerprint, "input": INPUT})
    reference = {"stages": {"comparison": {"reference": {"path": "float.keras"}}}}
    run = run.model_copy(update={"model": identity, "configuration": reference, **fields})
    verdict = decide(run.stages, run.gates, DAY, accepted=run.accepted, profile=run.profile, accept_quick=run.accept_quick)  # fmt: skip
    run = run.model_copy(update={"verdict": verdict})
    store(run, TIMES.model_copy(update={"model_file_sha256": model_sha256}), folder)
    return run


def store(run: Run, times: RunTimes, folder: Path) -> None:
    """Write the records of a run and its report, as `safeml audit` does."""
    atomic_write(folder / "results.json", to_json(run))
    atomic_write(folder / "run.json", to_json(times))
    write_report(run, folder, times)


def release(folder: Path, **fields: Any) -> tuple[Path, Path]:
    """Write a run and its export below `folder` and return both places. fields: see `write_run`."""
    run, export = folder / "run", folder / "export"
    fingerprint = write_export(export)
    write_run(run, fingerprint, file_sha256(export / "model.int8.onnx"), **fields)
    return run, export
