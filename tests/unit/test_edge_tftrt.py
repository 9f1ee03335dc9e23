"""TF-TRT on a device: the script of the bundle converts, its gates decide, and what it made is authenticated before it is loaded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from safeml.edge.backends import opening
from safeml.edge.backends.tftrt import TfTrtBackend
from safeml.edge.errors import EdgeError
from safeml.edge.facts import DeviceFacts
from tests.edge_slots import Slot, images, make_slot, outputs, slot_bundle

pytestmark = pytest.mark.slow

SCRIPT = """
import json, os, sys
target = sys.argv[sys.argv.index("-o") + 1]
code = int(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "code.txt")).read())
if code in (0, 3):
    os.makedirs(os.path.join(target, "variables"))
    open(os.path.join(target, "saved_model.pb"), "w").write("graph")
    open(os.path.join(target, "variables", "variables.index"), "w").write("index")
    gates = [{"name": "golden_after", "status": "passed", "reason": "fine"}]
    json.dump({"gates": gates}, open(os.path.join(target, "conversion.json"), "w"))
else:
    print("TF-TRT of TensorFlow 2.16 does not start here")
sys.exit(code)
"""


def tftrt_slot(folder: Path, code: int = 0) -> Slot:
    bundle = slot_bundle(folder / "state")
    bundle.files |= {
        "models/tftrt/convert_tftrt.py": SCRIPT.encode(),
        "models/tftrt/code.txt": str(code).encode(),
        "models/tftrt/saved_model/saved_model.pb": b"graph",
    }
    int8 = bundle.manifest["models"]["int8"]
    entry = {
        **int8,
        "folder": "models/tftrt/saved_model",
        "kind": "saved_model",
        "precision": "tftrt",
        "opset": 0,
        "outputs": ["logits"],
    }
    entry.pop("file")
    bundle.manifest["models"]["tftrt"] = entry
    bundle.manifest["golden"]["tolerances"]["tftrt"] = {"max_abs": 0.1, "flips": 0}
    return make_slot(folder, bundle, backend="tftrt")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for TensorFlow, and return the folders that it loads."""
    folders: list[str] = []

    def served(**fed: Any) -> dict[str, np.ndarray]:
        (values,) = fed.values()
        assert len(values) == 1, "the engines were built for one image"
        return {"logits": outputs(values)[0]}

    class Served:
        structured_input_signature = ((), {"image": None})

        def __call__(self, **fed: Any) -> dict[str, np.ndarray]:
            return served(**fed)

    def load(folder: str) -> Any:
        folders.append(folder)
        return SimpleNamespace(signatures={"serving_default": Served()})

    tensorflow = ModuleType("tensorflow")
    tensorflow.__dict__.update(
        __version__="2.16.1", saved_model=SimpleNamespace(load=load), constant=lambda array: array
    )
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    return folders


def opened(slot: Slot) -> Any:
    facts = DeviceFacts(compute_capability="8.7", tensorrt="8.6.2")
    return opening.open_backend(str(slot.folder), slot.verified.manifest, slot.settings, facts)


@pytest.mark.parametrize("code", [0, 3])
def test_the_script_converts_once_and_the_result_is_authenticated(
    code: int, loaded: list[str], tmp_path: Path
) -> None:
    slot = tftrt_slot(tmp_path, code)
    first = opened(slot)
    assert (first.details["engine"], first.details["rebuilt_because"]) == ("built", "absent")
    assert first.details["gates"][0]["name"] == "golden_after"
    values = images(3).astype(np.float32) / np.float32(255)
    logits, features = first.infer(values)
    np.testing.assert_allclose(logits, outputs(values)[0], atol=1e-6)
    assert features is None
    first.close()
    assert opened(slot).details["engine"] == "cached"
    assert len(set(loaded)) == 1
    assert not loaded[0].startswith(str(slot.folder))


@pytest.mark.parametrize("damage", ["change", "add", "remove"])
def test_a_changed_conversion_is_made_again(damage: str, loaded: list[str], tmp_path: Path) -> None:
    slot = tftrt_slot(tmp_path)
    opened(slot)
    graph = Path(loaded[0]) / "saved_model.pb"
    if damage == "change":
        graph.write_text("another graph")
    elif damage == "add":
        (Path(loaded[0]) / "variables" / "more").write_text("x")
    else:
        graph.unlink()
    again = opened(slot)
    assert (again.details["engine"], again.details["rebuilt_because"]) == ("built", "changed")
    assert graph.read_text() == "graph"


@pytest.mark.parametrize("code", [1, 2, 4])
def test_a_script_that_refuses_is_one_sentence_and_nothing_is_loaded(
    code: int, loaded: list[str], tmp_path: Path
) -> None:
    with pytest.raises(EdgeError, match=f"code {code}.*does not start here"):
        opened(tftrt_slot(tmp_path, code))
    assert not loaded


def test_a_device_without_tensorflow_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(EdgeError, match="TensorFlow does not import"):
        TfTrtBackend("nowhere", 1, {})


def test_a_bundle_without_a_saved_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="no SavedModel for TF-TRT"):
        opened(make_slot(tmp_path, backend="tftrt"))


@pytest.mark.parametrize(
    ("there", "models", "name"),
    [
        ({"tensorrt", "onnxruntime"}, ("int8",), "tensorrt"),
        ({"onnxruntime", "tensorflow"}, ("int8", "tftrt"), "onnxruntime"),
        ({"tensorflow"}, ("int8", "tftrt"), "tftrt"),
        ({"tensorflow"}, ("int8",), None),
        (set(), ("int8",), None),
    ],
)
def test_the_backend_of_a_device(
    there: set, models: tuple, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "installed", lambda module: module in there)
    settings, manifest = SimpleNamespace(backend="auto"), SimpleNamespace(models=dict.fromkeys(models))
    if name is None:
        with pytest.raises(EdgeError, match="neither tensorrt, onnxruntime nor tensorflow"):
            opening.choose(settings, manifest)
    else:
        assert opening.choose(settings, manifest) == name


def test_the_gates_of_a_conversion_are_in_the_record(loaded: list[str], tmp_path: Path) -> None:
    slot = tftrt_slot(tmp_path)
    opened(slot)
    gates = json.loads((Path(loaded[0]) / "conversion.json").read_text())["gates"]
    assert opened(slot).details["gates"] == gates
