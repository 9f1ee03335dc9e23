#!/usr/bin/env bash
# Claim: the reference evaluator of onnx cannot run a quantised model of opset 13 to 18: DequantizeLinear is implemented from 19 on
#   only, and the evaluator does not take a newer implementation for an older model. The checker accepts the file, ONNX Runtime runs
#   it, and the same nodes under opset 19 are run.
# Matters where: the Q/DQ files that TensorRT 8 and most exporters use (opset 13 to 17) are compared with "the reference of the standard".
# Versions: onnx 1.23.2, onnxruntime 1.31.1, numpy 2.4.6
# Source: ONNX documentation, Reference Implementation (onnx.reference), and Operators, DequantizeLinear (versions 10, 13, 19, 21, 23, 25)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
run <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

versions("onnx", "onnxruntime", "numpy")
x = np.linspace(-1, 1, 9, dtype=np.float32)
outcomes = {}
for opset in (13, 17, 18, 19):
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["codes"]), helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [9])],
        [numpy_helper.from_array(np.array(0.01, np.float32), "scale"), numpy_helper.from_array(np.array(0, np.int8), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    by_runtime = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    try:
        by_reference = ReferenceEvaluator(model).run(None, {"x": x})[0]
        outcomes[opset] = "equal" if np.array_equal(by_reference, by_runtime) else "other values"
    except RuntimeError as error:
        outcomes[opset] = str(error)
    show(f"opset {opset}, against ONNX Runtime", outcomes[opset])
same(all("No implementation for operator" in outcomes[opset] for opset in (13, 17, 18)), "the evaluator has no Q/DQ for opset 13, 17 and 18")
same(outcomes[19] == "equal", "for opset 19 it gives the values of ONNX Runtime")
PY
