"""A release with a real, tiny ONNX model for tests of the runtime: 8 x 8 RGB images, 4 features, 2 classes.

The class is whether an image is redder than it is blue. `slot_bundle` returns the bundle, `make_slot` an unpacked folder with settings.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from safeml.edge.manifest import Input
from safeml.edge.preprocess import Preprocessor
from safeml.edge.settings import DeviceSettings
from safeml.edge.verify import Verified, unpack_bundle
from safeml.monitors.decisions import ORDER
from safeml.monitors.inputs import fit_inputs
from safeml.monitors.runtime import Monitor
from safeml.monitors.state import State, load_state, save_state
from tests.edge_bundles import FILES, FINGERPRINT, NOW, Bundle, Facts, settings

SIDE, CLASSES, FEATURES = 8, 2, 4
CONTRACT = Input(SIDE, SIDE, 3, "rgb", 0.0, 1.0, (), (), False)
HOST = Facts("x86_64", None, None, None, 4000)
LABELS = ["red", "blue"]
REPEATS, STEP = 2, 0.05


class Slot(NamedTuple):
    """An unpacked release."""

    folder: Path
    verified: Verified
    settings: DeviceSettings


def images(count: int = 12, seed: int = 0, side: int = SIDE) -> np.ndarray:
    """Return images, uint8 [N, side, side, 3], red and blue in turn, each with noise."""
    rng = np.random.default_rng(seed)
    base = np.where(np.arange(count)[:, None] % 2 == 0, [200, 90, 50], [50, 90, 200])
    noise = rng.integers(-40, 41, (count, side, side, 3))
    return np.clip(base[:, None, None, :] + noise, 0, 255).astype(np.uint8)


def model_bytes(scale: float = 10.0) -> bytes:
    """Return the ONNX file: the mean of each channel, four features of it, and two logits. scale: of the logits."""
    # Columns: red, blue, red minus blue, blue minus red.
    features = np.array([[1, 0, 1, -1], [0, 0, 0, 0], [0, 1, -1, 1]], np.float32)
    logits = scale * np.array([[0, 0], [0, 0], [1, 0], [0, 1]], np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["means", "a"], ["columns"]),
        helper.make_node("Relu", ["columns"], ["features"]),
        helper.make_node("MatMul", ["features", "b"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", FEATURES]),
        ],
        [numpy_helper.from_array(features, "a"), numpy_helper.from_array(logits, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def outputs(values: np.ndarray, scale: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, float32 [N, 2], and features, float32 [N, 4], of the model, computed here. values: float32 [N, 8, 8, 3]."""
    means = values.mean(axis=(1, 2))
    red, blue = means[:, 0], means[:, 2]
    features = np.maximum(np.stack([red, blue, red - blue, blue - red], axis=1), 0).astype(np.float32)
    return (scale * features[:, 2:]).astype(np.float32), features


def monitor_state(**changes: Any) -> State:
    """Return a state whose score is the maximum probability, with checks of the input."""
    chosen = {
        "score": "max_probability",
        "score_threshold": 0.5,
        "inputs": fit_inputs(images(40, 5), np.arange(40)),
        **changes,
    }
    return State(FINGERPRINT, CLASSES, FEATURES, chosen, {})


def slot_bundle(
    folder: Path, release: int = 5, state: State | None = None, scale: float = 10.0, tolerance: float = 1e-3
) -> Bundle:
    """Return a bundle with the model, its golden data and its monitor. folder: for the state, which is written there."""
    folder.mkdir(parents=True, exist_ok=True)
    fitted = state or monitor_state()
    save_state(str(folder), fitted)
    stored = load_state(str(folder), FINGERPRINT, CLASSES, fitted.features)
    frame = images(1, 3, 13)[0]
    preprocessor = Preprocessor(CONTRACT)
    values = np.concatenate([preprocessor.values(image) for image in images()])
    logits, features = outputs(values, scale)
    actions, scores = recorded_answers(stored, logits, features)
    files = {
        **FILES,
        "models/model.int8.onnx": model_bytes(scale),
        "labels.json": json.dumps({"format": 1, "labels": LABELS}).encode(),
        "golden/raw.npz": packed(frame=frame, values=preprocessor.values(frame)[0]),
        "golden/golden.npz": packed(
            **{
                "values": values,
                "logits.int8": logits,
                "features.int8": features,
                "monitor.actions": actions,
                "monitor.scores": scores,
                "monitor.repeats": np.array(REPEATS),
                "monitor.step": np.array(STEP),
            }
        ),
        "monitor/monitor.json": (folder / "monitor.json").read_bytes(),
        "monitor/monitor.npz": (folder / "monitor.npz").read_bytes(),
    }
    bundle = Bundle(release, files)
    bundle.manifest["models"]["int8"]["inputs"] = ["image"]
    bundle.manifest["golden"]["tolerances"]["int8"]["max_abs"] = tolerance
    bundle.manifest["constraints"] = {
        "architectures": [],
        "compute_capabilities": [],
        "tensorrt": {"least": None, "below": None},
        "jetpack": {"least": None, "below": None},
        "memory_mb": 0,
    }
    return bundle


def recorded_answers(state: State, logits: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the host records of the monitor: actions and scores after each image was given REPEATS times."""
    monitor, actions, scores, number = Monitor(state), [], [], 0
    for row in range(len(logits)):
        for _ in range(REPEATS):
            answer = monitor.update(logits[row], features[row] if state.features else None, number * STEP)
            number += 1
        actions.append(ORDER.index(answer.decision.action))
        scores.append(np.nan if answer.decision.score is None else answer.decision.score)
    return np.array(actions), np.array(scores)


def packed(**arrays: np.ndarray) -> bytes:
    """Return the bytes of an .npz file."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def make_slot(folder: Path, bundle: Bundle | None = None, **changes: Any) -> Slot:
    """Unpack a bundle below `folder` and return the slot; changes: of the settings."""
    whole = bundle or slot_bundle(folder / "state")
    path = whole.write(folder / "release.safeml")
    device = settings(folder / "device", backend="onnxruntime")._replace(**changes)
    (folder / "device").mkdir(exist_ok=True)
    verified = unpack_bundle(str(path), str(folder / "slot"), device, HOST, 0, NOW)
    return Slot(folder / "slot", verified, device)
