"""Facts of a device from recorded files of each JetPack generation, and the preflight that reads them."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import pytest

from safeml.edge import sensors
from safeml.edge.cuda_driver import Gpu, first_gpu
from safeml.edge.devices import CHIPS, WITHOUT_FAST_INT8, has_fast_int8, jetpack_of
from safeml.edge.facts import DeviceFacts, read_facts
from safeml.edge.preflight import preflight
from tests.edge_bundles import settings
from tests.jetson_files import DEVICES, NANO, ORIN, write

GUIDE = Path(__file__).parents[2] / "docs" / "jetson.md"
NOW = 1_796_000_000


@pytest.mark.parametrize(
    ("name", "jetpack", "l4t", "tensorrt", "capability", "cuda", "mode"),
    [
        ("nano", "4.6", "32.7.1", "8.2.1", "5.3", "10.2.300", "5W"),
        ("xavier", "5.1.2", "35.4.1", "8.5.2.2", "7.2", "11.4.19", "8"),
        ("orin", "6.2", "36.4.3", "10.3.0.30", "8.7", "12.6.20240801", "25W"),
        ("thor", "7.0", "38.2.0", "10.13.3.9", "11.0", None, None),
    ],
)
def test_the_facts_of_each_generation(
    name: str, jetpack: str, l4t: str, tensorrt: str, capability: str, cuda: Any, mode: Any, tmp_path: Path
) -> None:
    facts = read_facts(write(tmp_path, DEVICES[name]))
    assert (facts.jetpack, facts.l4t, facts.tensorrt) == (jetpack, l4t, tensorrt)
    assert (facts.compute_capability, facts.cuda, facts.power_mode) == (capability, cuda, mode)
    assert facts.device_name is not None
    assert facts.device_name.startswith("NVIDIA Jetson")


def test_memory_clocks_heat_and_power_of_an_orin(tmp_path: Path) -> None:
    root = write(tmp_path, ORIN)
    facts = read_facts(root)
    assert (facts.memory_mb, facts.memory_free_mb) == (7619, 5859)
    assert facts.clocks == {
        "cpu": {"current": 1510.4, "least": 1510.4, "greatest": 1510.4},
        "gpu": {"current": 624.75, "least": 624.75, "greatest": 624.75},
    }
    assert facts.clocks_locked is True
    # A zone that is switched off reports minus 256 degrees.
    assert facts.temperatures == {"cpu-thermal": 55.312, "gpu-thermal": 96.5}
    assert facts.throttled is True
    watts = sensors.power(root)
    assert watts["VDD_IN"] == pytest.approx(5.064 * 1.08)
    assert watts["VDD_CPU_GPU_CV"] == pytest.approx(5.064 * 0.2)


def test_power_of_jetpack_4_and_unlocked_clocks(tmp_path: Path) -> None:
    root = write(tmp_path, NANO)
    assert sensors.power(root) == {"POM_5V_IN": 2.187, "POM_5V_GPU": 0.121}
    assert sensors.throttled(root) is None
    assert sensors.locked(sensors.clocks(root)) is False


def test_a_machine_that_is_no_jetson_has_unknown_facts_and_no_error(tmp_path: Path) -> None:
    facts = read_facts(str(tmp_path))
    assert facts.l4t is facts.jetpack is facts.tensorrt is facts.compute_capability is None
    assert (
        facts.memory_mb is facts.clocks is facts.temperatures is facts.throttled is facts.power_mode is None
    )
    assert facts.architecture
    assert facts.python


@pytest.mark.parametrize("text", ["", "garbage", "# R (release)", "\0\xff", "# R36 (release), REVISION"])
def test_a_damaged_release_file_is_unknown(text: str, tmp_path: Path) -> None:
    root = write(
        tmp_path, {"etc/nv_tegra_release": text, "var/lib/nvpmodel/status": text, "proc/meminfo": text}
    )
    facts = read_facts(root)
    assert (facts.l4t, facts.power_mode, facts.memory_mb) == (None, None, None)


def test_the_driver_overrules_the_device_tree(tmp_path: Path) -> None:
    facts = read_facts(write(tmp_path, NANO), lambda: Gpu("Orin", "8.7", "12.6"))
    assert facts.compute_capability == "8.7"


class FakeDriver:
    """libcuda with one Orin. missing: name of a function that fails."""

    def __init__(self, missing: str = "") -> None:
        self.missing = missing

    def __getattr__(self, name: str) -> Any:
        if name == self.missing:
            return lambda *arguments: 100
        values = {"cuDeviceGet": 0, "cuDriverGetVersion": 12060}

        def call(*arguments: Any) -> int:
            if name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = {75: 8, 76: 7}[arguments[1]]
            elif name == "cuDeviceGetName":
                ctypes.memmove(arguments[0], b"Orin\0", 5)
            elif name in values:
                arguments[0]._obj.value = values[name]
            return 0

        return call


def test_the_cuda_driver_by_ctypes() -> None:
    assert first_gpu(FakeDriver()) == Gpu("Orin", "8.7", "12.6")


@pytest.mark.parametrize(
    "missing", ["cuInit", "cuDeviceGet", "cuDeviceGetAttribute", "cuDeviceGetName", "cuDriverGetVersion"]
)
def test_a_driver_that_fails_is_no_gpu(missing: str) -> None:
    assert first_gpu(FakeDriver(missing)) is None


def test_the_tables_of_host_and_device_agree() -> None:
    """docs/jetson.md holds the table of the host; a test of the bundle compares those two."""
    rows = re.findall(r"^\| .+ \| SM ([\d., ]+) \| (yes|no fast INT8) \|", GUIDE.read_text(), re.M)
    assert {cell for cells, _ in rows for cell in cells.split(", ")} == {
        chip.capability for chip in CHIPS.values()
    }
    assert {cell for cells, fast in rows if fast != "yes" for cell in cells.split(", ")} == set(
        WITHOUT_FAST_INT8
    )
    assert has_fast_int8("8.7")
    assert not has_fast_int8("5.3")


@pytest.mark.parametrize(
    ("l4t", "jetpack"),
    [("36.4.3", "6.2"), ("36.4.0", "6.1"), ("35.99.1", "5.1"), ("40.1", None), (None, None)],
)
def test_the_jetpack_of_a_release(l4t: str | None, jetpack: str | None) -> None:
    assert jetpack_of(l4t) == jetpack


def findings(
    facts: DeviceFacts, importing: Any = None, now: float = NOW, **changes: Any
) -> dict[str, tuple[str, str]]:
    found = preflight(facts, settings("/tmp", **changes), None, now, importing)
    return {one.name: (one.status, one.sentence) for one in found}


def test_preflight_says_that_a_nano_has_no_fast_int8(tmp_path: Path) -> None:
    status, sentence = findings(read_facts(write(tmp_path, NANO)))["GPU"]
    assert status == "note"
    assert "no fast INT8" in sentence
    assert "FP16" in sentence


def test_preflight_names_the_missing_dla_library() -> None:
    error = "ImportError: libnvdla_compiler.so: cannot open shared object file"
    status, sentence = findings(DeviceFacts(), lambda: ("", error))["TensorRT"]
    assert status == "failed"
    assert "libnvdla_compiler.so is missing" in sentence
    # Where the settings ask for another backend, it is no failure.
    assert findings(DeviceFacts(), lambda: ("", error), backend="onnxruntime")["TensorRT"][0] == "note"


def test_preflight_compares_the_versions_of_tensorrt() -> None:
    facts = DeviceFacts(tensorrt="10.3.0.30")
    assert "TensorRT versions" not in findings(facts, lambda: ("10.3.0", ""))
    assert findings(facts, lambda: ("8.6.1", ""))["TensorRT versions"][0] == "note"
    assert findings(facts, lambda: ("9.1.0", ""))["TensorRT"][0] == "failed"


def test_preflight_refuses_heat_little_memory_and_a_clock_of_1970(tmp_path: Path) -> None:
    facts = read_facts(write(tmp_path, ORIN))._replace(memory_free_mb=100)
    found = findings(facts, now=10.0)
    assert {name for name, (status, _) in found.items() if status == "failed"} >= {
        "temperature",
        "memory",
        "clock",
    }
    assert "gpu-thermal with 96 degrees" in found["temperature"][1]
