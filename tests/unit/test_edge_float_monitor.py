"""The monitor of the float model: it is used where the golden scores of this device are near enough, and nothing is trusted elsewhere."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.edge import run as run_module
from safeml.edge.backends.base import Backend
from safeml.edge.cli import main
from safeml.edge.errors import EdgeError
from safeml.edge.facts import DeviceFacts
from safeml.edge.monitor_check import checked_safety
from safeml.edge.safety import load_safety
from safeml.edge.selftest import FAILED, NOTE, PASSED, selftest
from safeml.monitors.state import save_state
from tests.edge_bundles import FLOAT_FINGERPRINT, Bundle, digest, refused, verified, write_settings
from tests.edge_slots import (
    CLASSES,
    FEATURES,
    Slot,
    images,
    make_slot,
    monitor_state,
    outputs,
    packed,
    recorded_answers,
    slot_bundle,
)

SCALE, LIMIT = 9.0, 0.05
# Near the weakest golden score, so that a small change of it crosses the threshold.
THRESHOLD = 0.5


class Fp16(Backend):
    """The float model, whose logits are `apart` from those of the host."""

    name = "fake"

    def __init__(self, apart: float = 0.0, features: bool = True, precision: str = "float") -> None:
        Backend.__init__(self, precision, {})
        self.apart, self.features = np.float32(apart), features

    def infer(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        logits, features = outputs(values, SCALE)
        # The score is the difference of two logits, so one of them is moved.
        return logits + self.apart * np.array([1, 0], np.float32), features if self.features else None


def float_bundle(folder: Path, features: int = FEATURES, **changes: Any) -> Bundle:
    """Return a bundle whose float model has other outputs than its INT8 model, and a monitor of them."""
    bundle = slot_bundle(folder / "int8")
    golden = dict(np.load(io.BytesIO(bundle.files["golden/golden.npz"])))
    logits, columns = outputs(golden["values"], SCALE)
    own = monitor_state(score_threshold=THRESHOLD)._replace(model=FLOAT_FINGERPRINT, features=features)
    (folder / "float").mkdir()
    save_state(str(folder / "float"), own)
    actions, scores = recorded_answers(own, logits, columns)
    golden |= {
        "logits.float": logits,
        "features.float": columns,
        "monitor.float.actions": actions,
        "monitor.float.scores": scores,
    }
    bundle.with_float(max_abs=LIMIT)
    bundle.files["golden/golden.npz"] = packed(**golden)
    for name in ("monitor.json", "monitor.npz"):
        bundle.files[f"monitor-float/{name}"] = (folder / "float" / name).read_bytes()
    bundle.manifest["golden"]["tolerances"]["float"]["max_abs"] = 1.0
    bundle.manifest["float_monitor"].update(changes)
    return bundle


@pytest.fixture(scope="module")
def slot(tmp_path_factory: pytest.TempPathFactory) -> Slot:
    folder = tmp_path_factory.mktemp("float")
    return make_slot(folder, float_bundle(folder))


def checks(slot: Slot, backend: Backend) -> dict[str, Any]:
    result = selftest(
        str(slot.folder), slot.verified, slot.settings, DeviceFacts(), opened=lambda *arguments: backend
    )
    assert result.passed, result.failures()
    return {check.name: check for check in result.checks}


def test_each_model_has_the_monitor_that_was_fitted_on_it(slot: Slot) -> None:
    manifest = slot.verified.manifest
    states = {key: load_safety(str(slot.folder), manifest, key).state for key in ("int8", "float", "tftrt")}
    assert all(state is not None for state in states.values())
    assert states["float"].model == FLOAT_FINGERPRINT == manifest.models["float"].fingerprint
    assert states["int8"].model == states["tftrt"].model == manifest.models["int8"].fingerprint
    assert states["float"].fingerprint != states["int8"].fingerprint


@pytest.mark.parametrize(("apart", "used"), [(0.0, True), (0.04, True), (0.2, False), (float("nan"), False)])
def test_the_golden_scores_decide_whether_the_monitor_is_used(apart: float, used: bool, slot: Slot) -> None:
    backend = Fp16(apart)
    safety = checked_safety(str(slot.folder), slot.verified.manifest, backend)
    assert (safety.state is not None) == used
    assert ("no frame is trusted" in safety.note) == (not used)
    if not np.isnan(apart):  # an engine that gives NaN fails the golden outputs before
        check = checks(slot, backend)["monitor on this device"]
        assert check.status == (PASSED if used else NOTE)
        assert "the limit is 0.05" in check.sentence or used


def test_a_model_without_features_falls_back_where_its_monitor_needs_them(slot: Slot) -> None:
    safety = checked_safety(str(slot.folder), slot.verified.manifest, Fp16(features=False))
    assert safety.state is None
    assert "needs features" in safety.note


def test_an_answer_may_differ_only_where_its_score_is_near_the_threshold(tmp_path: Path) -> None:
    bundle = float_bundle(tmp_path)
    golden = dict(np.load(io.BytesIO(bundle.files["golden/golden.npz"])))
    golden["monitor.float.actions"][3] = 2
    bundle.files["golden/golden.npz"] = packed(**golden)
    far = make_slot(tmp_path, bundle)
    safety = checked_safety(str(far.folder), far.verified.manifest, Fp16())
    assert "1 of 12 answers of the monitor differ" in safety.note


def test_a_score_at_the_threshold_may_fall_on_either_side(tmp_path: Path) -> None:
    bundle = float_bundle(tmp_path)
    golden = dict(np.load(io.BytesIO(bundle.files["golden/golden.npz"])))
    scores = np.sort(golden["monitor.float.scores"])
    own = monitor_state(score_threshold=float(scores[0]) - 0.01)._replace(model=FLOAT_FINGERPRINT)
    save_state(str(tmp_path / "float"), own)
    for name in ("monitor.json", "monitor.npz"):
        bundle.files[f"monitor-float/{name}"] = (tmp_path / "float" / name).read_bytes()
    near = make_slot(tmp_path, bundle)
    manifest = near.verified.manifest
    for apart in (0.03, -0.03):
        assert checked_safety(str(near.folder), manifest, Fp16(apart)).state is not None


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    bundle = float_bundle(tmp_path)
    for name in ("monitor.json", "monitor.npz"):
        bundle.files[f"monitor-float/{name}"] = bundle.files[f"monitor/{name}"]
    other = make_slot(tmp_path, bundle)
    with pytest.raises(EdgeError, match="fit the monitor on this model"):
        load_safety(str(other.folder), other.verified.manifest, "float")
    result = selftest(
        str(other.folder), other.verified, other.settings, DeviceFacts(), opened=lambda *a: Fp16()
    )
    assert [check.name for check in result.checks if check.status == FAILED] == ["monitor"]


def test_recorded_answers_that_are_missing_or_wrong_fail_the_self_test(tmp_path: Path) -> None:
    for place, change in enumerate((lambda one: one.pop("monitor.float.scores"), wrong_score)):
        folder = tmp_path / str(place)
        folder.mkdir()
        bundle = float_bundle(folder)
        golden = dict(np.load(io.BytesIO(bundle.files["golden/golden.npz"])))
        change(golden)
        bundle.files["golden/golden.npz"] = packed(**golden)
        damaged = make_slot(folder, bundle)
        result = selftest(
            str(damaged.folder), damaged.verified, damaged.settings, DeviceFacts(), opened=lambda *a: Fp16()
        )
        assert [check.name for check in result.checks if check.status == FAILED] == ["monitor"]
        assert checked_safety(str(damaged.folder), damaged.verified.manifest, Fp16()).state is None


def wrong_score(golden: dict[str, np.ndarray]) -> None:
    golden["monitor.float.scores"][0] += 1.0


def test_the_results_of_the_float_audit_are_those_of_the_manifest(tmp_path: Path) -> None:
    bundle = Bundle().with_float()
    bundle.manifest["float_monitor"]["results_sha256"] = digest(b"other")
    with refused("mix-and-match", "audit-float/results.json"):
        verified(bundle.write(tmp_path / "x.safeml"))


@pytest.mark.parametrize(("apart", "decisions"), [(0.01, {"TRUST": 6}), (0.3, {"FALL_BACK": 6})])
def test_a_run_of_the_float_model_uses_its_monitor_or_says_why_not(
    apart: float, decisions: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    made = make_slot(tmp_path, float_bundle(tmp_path))
    monkeypatch.setattr(run_module, "open_backend", lambda *arguments: Fp16(apart))
    write_settings(tmp_path / "etc", tmp_path / "device", backend="onnxruntime")
    np.savez(tmp_path / "frames.npz", images=images(6))
    words = ["--settings", str(tmp_path / "etc" / "device.json"), "run", str(tmp_path / "frames.npz")]
    lines = tmp_path / "lines.jsonl"
    assert main([*words, "--folder", str(made.folder), "--out", str(lines)]) == 0
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert records[-1]["decisions"] == decisions
    assert ("not used: no frame is trusted" in records[0]["note"]) == ("FALL_BACK" in decisions)
    assert ("no frame is trusted" in capsys.readouterr().out) == ("FALL_BACK" in decisions)
    own = load_safety(str(made.folder), made.verified.manifest, "float").state
    assert own is not None
    assert records[1]["monitor"] == (own.fingerprint if "TRUST" in decisions else "")


def test_the_tiny_models_differ() -> None:
    """Otherwise the monitor of the one would do for the other."""
    values = images(4).astype(np.float32) / 255
    assert not np.array_equal(outputs(values)[0], outputs(values, SCALE)[0])
    assert outputs(values)[0].shape == (4, CLASSES)
