"""Graphs that hide what they do from a scan: made with the real libraries, because the tricks are theirs.

Each was accepted once, and then wrote a file, read one, or answered as another model.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.classifiers.load import load_model
from safeml.errors import InputRefused
from safeml.limits import LIMITS
from safeml.sandbox import run_limited
from safeml.scan.scan import scan_path

pytestmark = pytest.mark.slow

WEIGHTS = np.random.default_rng(0).normal(0, 0.1, (192, 4)).astype(np.float32)


def linear(tensorflow: Any, inner: Any = None, through: Callable[[Any], Any] = lambda x: x) -> Any:
    """A tf.Module that serves a linear classifier; `through` is applied to its logits."""
    tf = tensorflow

    class Linear(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(WEIGHTS)
            self.inner = inner

        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)])
        def __call__(self, images: Any) -> Any:
            return {"out": through(tf.reshape(images, [-1, 192]) @ self.kernel)}

    return Linear()


def saved(folder: Path, module: Any, edit: Callable[[Any], None] = lambda graph: None) -> Path:
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved"
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.__call__})
    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((path / "saved_model.pb").read_bytes())
    edit(proto.meta_graphs[0])
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    return path


def test_the_honest_graph_is_accepted_and_loads(tmp_path: Path) -> None:
    import tensorflow as tf

    path = saved(tmp_path, linear(tf))
    assert scan_path(path).status == "accepted"
    assert load_model(path).model.parameters == WEIGHTS.size


@pytest.mark.parametrize("operator", ["Rint", "Identity", "SaveV2"])
def test_a_function_under_the_name_of_an_operator_is_refused(tmp_path: Path, operator: str) -> None:
    """TensorFlow's loader takes such a node for a call, whatever the function does: here it reads another file."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([4], tf.float32)])
    def reading(x: Any) -> Any:
        read = tf.raw_ops.RestoreV2(
            prefix=str(tmp_path / "secret"), tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
        )
        return tf.reshape(read[0], [4])

    def pose(graph: Any) -> None:
        function = graph.graph_def.library.function.add()
        function.CopyFrom(reading.get_concrete_function().function_def)
        function.signature.name = operator

    path = saved(tmp_path, linear(tf, through=lambda x: x + tf.raw_ops.Rint(x=tf.zeros(4))), pose)
    found = scan_path(path)
    assert found.status == "refused"
    assert f'under the name of the operator "{operator}"' in found.reason


def test_an_object_that_restores_itself_is_refused(tmp_path: Path) -> None:
    """Its function runs while the model is loaded: here it writes a file of the author's choice."""
    import tensorflow as tf

    target = tmp_path / "elsewhere" / "written"
    for name in ("given", "elsewhere"):
        (tmp_path / name).mkdir()

    class Restoring(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.state = tf.Variable(tf.ones(3))

        def _serialize_to_tensors(self) -> Any:
            return {"a": tf.ones(3)}

        def _restore_from_tensors(self, tensors: Any) -> Any:
            written = tf.raw_ops.SaveV2(
                prefix=tf.constant(str(target)),
                tensor_names=tf.constant(["x"]),
                shape_and_slices=tf.constant([""]),
                tensors=[tensors["a"]],
            )
            with tf.control_dependencies([written]):
                return tf.identity(tensors["a"])

    path = saved(tmp_path / "given", linear(tf, Restoring()))
    found = scan_path(path)
    assert found.status == "refused", found.facts
    with pytest.raises(InputRefused):
        load_model(path)
    # The second wall, had the scan let it through: the process of the first load has no right to write.
    outcome = run_limited(
        "safeml.classifiers.trial:try_model",
        {"format_name": "SavedModel folder", "path": str(path), "architecture": "", "where": "saved"},
        memory=LIMITS.load_memory,
        seconds=LIMITS.load_seconds,
        files=0,
        folders=(path,),
    )
    assert outcome.kind != "ok"
    assert not any(file.stat().st_size for file in target.parent.iterdir())


def test_a_function_that_only_the_objects_name_is_seen(tmp_path: Path) -> None:
    """The map of concrete functions is one of four places from which TensorFlow calls a function."""
    import tensorflow as tf

    @tf.function(input_signature=[])
    def reading() -> Any:
        return tf.raw_ops.RestoreV2(
            prefix="/tmp/x", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0]

    def hide(graph: Any) -> None:
        function = graph.graph_def.library.function.add()
        function.CopyFrom(reading.get_concrete_function().function_def)
        thing = graph.object_graph_def.nodes.add()
        thing.bare_concrete_function.concrete_function_name = function.signature.name

    found = scan_path(saved(tmp_path, linear(tf), hide))
    assert found.status == "refused"
    assert "RestoreV2" in found.reason


def onnx_bytes(hidden: bool, producer: str, filling: bytes = b"") -> bytes:
    """A linear classifier, or one that answers otherwise by operators that the scan does not know."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "W"], ["h"])]
    if hidden:
        nodes += [
            helper.make_node("Gelu", ["h"], ["g"], domain="com.microsoft"),
            helper.make_node("Neg", ["g"], ["y"]),
        ]
    else:
        nodes += [helper.make_node("Identity", ["h"], ["y"])]
    extra = TensorProto(name="filling", data_type=TensorProto.UINT8, dims=[len(filling)], raw_data=filling)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 8, 8, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])],
        [numpy_helper.from_array(WEIGHTS, "W"), *([extra] if filling else [])],
    )
    domains = [helper.make_opsetid("", 17), *([helper.make_opsetid("com.microsoft", 1)] if hidden else [])]
    model = helper.make_model(graph, producer_name=producer, ir_version=8, opset_imports=domains)
    return bytes(model.SerializeToString())


def test_a_file_that_is_two_models_is_refused_and_read_as_the_scanned_one(tmp_path: Path) -> None:
    """ONNX Runtime guesses its own format by bytes 4 to 7, which may be a name in a protobuf file."""
    import onnxruntime

    from safeml.classifiers.onnx import load_onnx
    from safeml.settings.model import InputSettings

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "hidden.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    onnxruntime.InferenceSession(onnx_bytes(True, "x"), options)
    hidden = (tmp_path / "hidden.ort").read_bytes()
    # The first four bytes are then the offset of the flatbuffer's root: the hidden model is laid where they point.
    place = struct.unpack("<I", b"\x08\x08\x12\x04")[0] - struct.unpack("<I", hidden[:4])[0]
    empty = bytes(place + len(hidden))
    start = onnx_bytes(False, "ORTM", b"\x01" + empty[1:]).find(b"\x01" + empty[1:64])
    filling = bytes(place - start) + hidden + bytes(start)
    path = tmp_path / "two.onnx"
    path.write_bytes(onnx_bytes(False, "ORTM", filling))
    assert path.read_bytes()[place : place + len(hidden)] == hidden

    found = scan_path(path)
    assert found.status == "refused"
    assert "ONNX Runtime's own format" in found.reason
    images = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    classifier = load_onnx(path, "two.onnx").fed(InputSettings(), tuple("abcd"), "two")
    expected = (images / np.float32(255)).reshape(3, -1) @ WEIGHTS
    assert np.abs(classifier.predict_logits(images) - expected).max() < 1e-5
