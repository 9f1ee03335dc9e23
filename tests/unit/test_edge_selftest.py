"""The self-test: it passes for the model that was bundled, and each way in which a device can differ fails its own check."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.edge.backends.base import Backend
from safeml.edge.bench import bench, histogram, total
from safeml.edge.facts import DeviceFacts
from safeml.edge.selftest import FAILED, NOTE, PASSED, SelfTest, selftest
from safeml.monitors.distances import DISTANCES, INTEGRALS, distance, pooled
from tests.edge_slots import FEATURES, Slot, make_slot, monitor_state, outputs, packed, slot_bundle
from tests.jetson_files import NANO, ORIN, write

FACTS = DeviceFacts()


class Fake(Backend):
    """The model in NumPy. change: made to its outputs, given the call and the images."""

    name = "fake"

    def __init__(self, change: Callable[[int, np.ndarray, Any], Any], precision: str = "int8") -> None:
        Backend.__init__(self, precision, {})
        self.change, self.calls, self.closed = change, 0, False

    def infer(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        self.calls += 1
        return self.change(self.calls, values, outputs(values))  # type: ignore[no-any-return]

    def close(self) -> None:
        self.closed = True


def outcome(
    slot: Slot, change: Callable[[int, np.ndarray, Any], Any], facts: Any = FACTS, **options: Any
) -> SelfTest:
    backend = Fake(change)
    result = selftest(
        str(slot.folder), slot.verified, slot.settings, facts, opened=lambda *arguments: backend, **options
    )
    assert backend.closed
    return result


def failures(result: SelfTest) -> set[str]:
    return {check.name for check in result.checks if check.status == FAILED}


@pytest.fixture(scope="module")
def slot(tmp_path_factory: pytest.TempPathFactory) -> Slot:
    return make_slot(tmp_path_factory.mktemp("slot"))


def same(call: int, values: np.ndarray, answer: Any) -> Any:
    return answer


def test_the_bundled_model_passes_on_onnx_runtime(slot: Slot) -> None:
    result = selftest(str(slot.folder), slot.verified, slot.settings, FACTS)
    assert result.passed
    assert result.precision == "int8"
    assert not failures(result)
    assert {check.status for check in result.checks} == {PASSED, "not_run"}
    assert result.failures() == ""


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (lambda call, values, answer: (answer[0][:, ::-1], answer[1]), "golden outputs"),
        (lambda call, values, answer: (answer[0] + np.float32(0.01), answer[1]), "golden outputs"),
        (lambda call, values, answer: (answer[0] + np.float32(1e-4 * call), answer[1]), "determinism"),
        (
            lambda call, values, answer: (answer[0] + np.float32(0.01 * (len(values) == 1)), answer[1]),
            "another batch",
        ),
        (lambda call, values, answer: (answer[0] * np.nan, answer[1]), "golden outputs"),
        (lambda call, values, answer: (answer[0][:, :1], answer[1]), "golden outputs"),
        (lambda call, values, answer: (answer[0], None), "monitor on this device"),
        (lambda call, values, answer: (answer[0], answer[1] * np.nan), "monitor on this device"),
    ],
    ids=["swapped", "beyond", "changing", "alone", "nan", "shape", "no-features", "nan-features"],
)
def test_each_difference_fails_its_check(change: Any, failed: str, slot: Slot) -> None:
    result = outcome(slot, change)
    assert not result.passed
    assert failed in failures(result)
    assert result.failures()


def test_the_latency_budget_decides(slot: Slot) -> None:
    assert outcome(slot, same, latency_ms=1e4).passed
    result = outcome(slot, same, latency_ms=1e-6)
    assert failures(result) == {"latency"}


def test_a_device_that_cannot_open_the_model_fails_and_raises_nothing(slot: Slot) -> None:
    settings = slot.settings._replace(backend="tensorrt")
    result = selftest(str(slot.folder), slot.verified, settings, FACTS)
    assert not result.passed
    assert failures(result) == {"start"}
    assert "module tensorrt does not import" in result.failures()


def test_a_gpu_without_fast_int8_is_said_aloud(slot: Slot) -> None:
    result = outcome(slot, same, DeviceFacts(compute_capability="5.3"))
    assert result.checks[0].status == NOTE
    assert "no fast INT8" in result.checks[0].sentence


def test_the_float_model_has_no_monitor_of_int8(tmp_path: Path) -> None:
    bundle = slot_bundle(tmp_path / "state")
    golden = dict(np.load(io.BytesIO(bundle.files["golden/golden.npz"])))
    bundle.files["golden/golden.npz"] = packed(**golden, **{"logits.float": golden["logits.int8"]})
    bundle.files["models/model.float.onnx"] = bundle.files["models/model.int8.onnx"]
    bundle.manifest["models"]["float"] = {
        **bundle.manifest["models"]["int8"],
        "file": "models/model.float.onnx",
        "precision": "float",
    }
    bundle.manifest["golden"]["tolerances"]["float"] = {"max_abs": 0.01, "flips": 0}
    slot = make_slot(tmp_path, bundle)
    backend = Fake(same, "float")
    result = selftest(
        str(slot.folder), slot.verified, slot.settings, FACTS, opened=lambda *arguments: backend
    )
    (monitor,) = [check for check in result.checks if check.name == "monitor"]
    assert monitor.status == NOTE
    assert "no frame is trusted" in monitor.sentence
    assert result.passed


def test_a_monitor_with_other_answers_than_the_recorded_fails(tmp_path: Path) -> None:
    bundle = slot_bundle(tmp_path / "state")
    golden = dict(np.load(io.BytesIO(bundle.files["golden/golden.npz"])))
    golden["monitor.actions"][3] = 2
    bundle.files["golden/golden.npz"] = packed(**golden)
    assert failures(outcome(make_slot(tmp_path, bundle), same)) == {"monitor"}


@pytest.mark.parametrize("name", ["monitor.actions", "logits.int8", "values"])
def test_golden_data_that_are_missing_fail(name: str, tmp_path: Path) -> None:
    bundle = slot_bundle(tmp_path / "state")
    golden = dict(np.load(io.BytesIO(bundle.files["golden/golden.npz"])))
    golden.pop(name)
    bundle.files["golden/golden.npz"] = packed(**golden)
    slot = make_slot(tmp_path, bundle)
    result = selftest(
        str(slot.folder), slot.verified, slot.settings, FACTS, opened=lambda *arguments: Fake(same)
    )
    assert not result.passed


def test_preprocessing_that_differs_fails(tmp_path: Path) -> None:
    bundle = slot_bundle(tmp_path / "state")
    raw = dict(np.load(io.BytesIO(bundle.files["golden/raw.npz"])))
    bundle.files["golden/raw.npz"] = packed(frame=raw["frame"], values=raw["values"][..., ::-1])
    assert failures(outcome(make_slot(tmp_path, bundle), same)) == {"golden preprocessing"}
    # The bundle may state how far it may be.
    bundle.files["preprocessing.json"] = json.dumps({"golden": {"max_abs": 2.0}}).encode()
    (tmp_path / "other").mkdir()
    assert outcome(make_slot(tmp_path / "other", bundle), same).passed


@pytest.mark.parametrize("damage", ["labels.json", "monitor/monitor.json"])
def test_a_damaged_part_fails_with_a_sentence(damage: str, tmp_path: Path) -> None:
    bundle = slot_bundle(tmp_path / "state")
    bundle.files[damage] = b"{}"
    slot = make_slot(tmp_path, bundle)
    result = selftest(
        str(slot.folder), slot.verified, slot.settings, FACTS, opened=lambda *arguments: Fake(same)
    )
    assert not result.passed
    assert "Install the bundle again" in result.failures()


def test_a_monitor_of_logits_alone_needs_no_features(tmp_path: Path) -> None:
    state = monitor_state()._replace(features=0)
    bundle = slot_bundle(tmp_path / "state", state=state)
    slot = make_slot(tmp_path, bundle)
    assert outcome(slot, lambda call, values, answer: (answer[0], None)).passed


def test_bench_records_the_state_of_the_device(tmp_path: Path) -> None:
    ticks = iter(np.arange(1000) * 0.002)
    values = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    record = bench(Fake(same), values, 100, 5, 2, write(tmp_path, ORIN), lambda: next(ticks))
    assert record["latency_ms"] == {"p50": 2.0, "p95": 2.0, "p99": 2.0, "max": 2.0}
    assert record["images_per_second"] == 1000.0
    assert record["power_w"]["mean"] == pytest.approx(5.469, abs=1e-3)
    assert record["temperature_c"] == {"max": 96.5}
    assert record["throttled"] is True
    assert record["before"]["clocks_locked"] is True
    assert sum(record["histogram"]["counts"]) == 100


def test_bench_without_sensors_says_nothing_of_them(tmp_path: Path) -> None:
    record = bench(Fake(same), np.zeros((1, 8, 8, 3), np.float32), 3, 0, 1, str(tmp_path))
    assert record["power_w"] is record["temperature_c"] is record["throttled"] is None


def test_the_power_of_a_board_is_that_of_its_input() -> None:
    assert total({"VDD_IN": 5.0, "VDD_CPU": 2.0}) == 5.0
    assert total({"A": 1.0, "B": 2.0}) == 3.0
    assert NANO["sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0"].strip() == "POM_5V_IN"


def test_a_histogram_holds_every_call() -> None:
    seconds = np.concatenate([np.full(990, 0.001), np.full(10, 0.5)])
    drawn = histogram(seconds)
    assert sum(drawn["counts"]) == 1000
    assert len(drawn["edges_ms"]) == len(drawn["counts"]) + 1
    assert histogram(np.array([])) == {"edges_ms": [], "counts": []}


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_an_integral_needs_no_treatment_of_ties(name: str) -> None:
    """The runtime leaves it out, and the result is the same to the last bit; for the others it is not."""
    rng = np.random.default_rng(0)
    differ = False
    for _ in range(20):
        first, second = rng.integers(0, 5, (30, 4)).astype(float), rng.integers(0, 5, (15, 4)).astype(float)
        exact = np.asarray(DISTANCES[name](pooled(first, second)))
        without = np.asarray(DISTANCES[name](pooled(first, second, ties=False)))
        assert (distance(name, first, second) == exact).all()
        if name in INTEGRALS:
            assert (without == exact).all()
        differ = differ or not (without == exact).all()
    assert differ == (name not in INTEGRALS)


def test_the_features_of_the_tiny_model() -> None:
    assert outputs(np.zeros((1, 8, 8, 3), np.float32))[1].shape == (1, FEATURES)


@pytest.mark.parametrize(
    ("layers", "status"), [({"Int8": 3, "FP16": 1}, PASSED), ({"FP32": 4}, NOTE), ({}, None)]
)
def test_an_engine_of_the_int8_file_that_runs_in_float_is_said_aloud(
    layers: dict, status: str | None, slot: Slot
) -> None:
    backend = Fake(same)
    backend.details["layers"] = layers
    result = selftest(
        str(slot.folder), slot.verified, slot.settings, FACTS, opened=lambda *arguments: backend
    )
    assert [check.status for check in result.checks if check.name == "INT8 layers"] == (
        [status] if status else []
    )
    assert result.passed
