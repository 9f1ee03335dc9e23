#!/usr/bin/env bash
# Claim: tf2onnx returns normally and writes a file for a TensorFlow operator that it failed to convert (fake quantisation with
#   narrow_range=True): the operator stays in the graph under its TensorFlow name, in the domain of ONNX itself. The log has an error;
#   the caller sees none. Only loading in ONNX Runtime refuses the file. The same model with narrow_range=False converts.
# Matters where: an export of quantisation-aware training counts as done when the converter returned and the file exists.
# Versions: tensorflow 2.21.0, tf2onnx 1.17.0, onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6
# Source: tf2onnx README, Using the Python API (conversion functions; a partial result is not mentioned)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install tensorflow==2.21.0 tf2onnx==1.17.0 onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
run <<'PY'
import logging

import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

versions("tensorflow", "tf2onnx", "onnxruntime", "onnx", "numpy")
logging.disable(logging.CRITICAL)


def attempt(narrow):
    @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32, name="x")])
    def function(x):
        return tf.nn.relu(tf.quantization.fake_quant_with_min_max_vars(x, 0.0, 1.0, narrow_range=narrow))

    tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=13, output_path="m.onnx")
    nodes = {(node.domain, node.op_type) for node in onnx.load("m.onnx").graph.node}
    try:
        onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
        outcome = "loads"
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    show(f"narrow_range={narrow}: operators", sorted(nodes))
    show(f"narrow_range={narrow}: ONNX Runtime", outcome[:200])
    return nodes, outcome


nodes, outcome = attempt(False)
same(outcome == "loads" and ("", "QuantizeLinear") in nodes, "without narrow_range the model converts")
nodes, outcome = attempt(True)
same(("", "FakeQuantWithMinMaxVars") in nodes, "with narrow_range the file holds an operator of TensorFlow in the domain of ONNX")
same("FakeQuantWithMinMaxVars" in outcome, "ONNX Runtime refuses the file")
PY
