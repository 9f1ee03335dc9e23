#!/usr/bin/env bash
# Claim: from ENABLE_BASIC on, ONNX Runtime turns the float bias of a Q/DQ convolution into int32 codes of the step (input scale times
#   weight scale). In a channel whose weights are almost zero the code does not fit, and the channel loses its bias without a warning:
#   a constant 1.0 becomes 0.0. With optimizations off the file gives 1.0, and so do its other channels at every level.
# Matters where: a pruned or near-dead channel of a quantised network carries its output in the bias, and the runtime is the reference.
# Versions: onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6
# Source: ONNX Runtime documentation, Graph Optimizations in ONNX Runtime (the graph is said to be rewritten with its semantics preserved)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
run <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

versions("onnxruntime", "onnx", "numpy")
random = np.random.default_rng(0)
values = {
    "x_scale": np.float32(1 / 127),
    "zero": np.int8(0),
    "w": random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
    "w_scale": np.array([2e-3, 2e-3, 2e-3, 1e-10], np.float32),
    "w_zero": np.zeros(4, np.int8),
    "bias": np.array([0.1, -0.2, 0.3, 1.0], np.float32),
    "y_scale": np.float32(0.02),
}
graph = helper.make_graph(
    [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "zero"], ["x_codes"]),
        helper.make_node("DequantizeLinear", ["x_codes", "x_scale", "zero"], ["x_grid"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w_grid"], axis=0),
        helper.make_node("Conv", ["x_grid", "w_grid", "bias"], ["y_float"]),
        helper.make_node("QuantizeLinear", ["y_float", "y_scale", "zero"], ["y_codes"]),
        helper.make_node("DequantizeLinear", ["y_codes", "y_scale", "zero"], ["y"]),
    ],
    "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 8, 8])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4, 6, 6])],
    [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
x = random.uniform(-1, 1, (2, 3, 8, 8)).astype(np.float32)
means = {}
for level in ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_ALL"):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    means[level] = session.run(None, {"x": x})[0].mean((0, 2, 3))
    show(f"mean of each channel, {level}", means[level].round(4).tolist())
show("int32 code that the last bias would need", f"{1.0 / (float(values['x_scale']) * 1e-10):.2e}")
same(abs(means["DISABLE_ALL"][3] - 1.0) < 0.02, "with optimizations off the last channel is its bias")
same(all(abs(means[level][3] - 1.0) > 0.9 for level in ("ENABLE_BASIC", "ENABLE_ALL")), "with basic optimizations and all the bias is lost")
same(all(np.abs(means[level][:3] - means["DISABLE_ALL"][:3]).max() < 0.02 for level in means), "the other channels agree")
PY
