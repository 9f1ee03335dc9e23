#!/usr/bin/env bash
# Claim: tf2onnx turns FakeQuantWithMinMaxVars with the range [-1, 1] into uint8 QuantizeLinear with zero point 128, where TensorFlow
#   moves the range to the zero point 127. Values at and beyond the ends of the range come out one whole step off, without a message;
#   values inside agree, so that a test on small inputs sees nothing.
# Matters where: a network of quantisation-aware training with a symmetric range is exported, and saturated values decide.
# Versions: tensorflow 2.21.0, tf2onnx 1.17.0, onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6
# Source: TensorFlow API documentation, tf.quantization.fake_quant_with_min_max_vars (how the range is adjusted); tf2onnx support status
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install tensorflow==2.21.0 tf2onnx==1.17.0 onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
run <<'PY'
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx
from onnx import numpy_helper

versions("tensorflow", "tf2onnx", "onnxruntime", "onnx", "numpy")


@tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
def function(x):
    return tf.quantization.fake_quant_with_min_max_vars(x, -1.0, 1.0)


model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=13)
zero_points = {int(numpy_helper.to_array(tensor).ravel()[0]) for tensor in model.graph.initializer if "zero" in tensor.name.lower() or tensor.data_type == 2}
show("operators, zero point", ([node.op_type for node in model.graph.node], zero_points))
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
step = 2 / 255


def both(x):
    x = np.asarray(x, np.float32)
    return function(tf.constant(x)).numpy(), session.run(None, {session.get_inputs()[0].name: x})[0]


ends = [-1.1, -1.0, 1.0, 1.1]
by_tensorflow, by_runtime = both(ends)
show("x", ends)
show("TensorFlow", by_tensorflow.round(5).tolist())
show("ONNX Runtime", by_runtime.round(5).tolist())
inside_tensorflow, inside_runtime = both(np.arange(-120, 121) * step + 0.3 * step)
same(np.allclose(inside_tensorflow, inside_runtime, atol=1e-5), "inside the range both agree")
difference = np.abs(by_tensorflow - by_runtime)
show("difference in steps", (difference / step).round(3).tolist())
same(np.isclose(difference[[0, 2, 3]], step, rtol=1e-3).all(), "at the ends the exported model is one whole step off")
PY
