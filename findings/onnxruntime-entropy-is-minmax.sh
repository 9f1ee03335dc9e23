#!/usr/bin/env bash
# Claim: quantize_static with CalibrationMethod.Entropy gives exactly the scales of MinMax, even where one activation is an extreme
#   outlier: its 128 bins for 128 quantised levels leave one candidate threshold. No option of quantize_static sets the bins.
# Matters where: entropy calibration is chosen to clip outliers, as it does in TensorRT.
# Versions: onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6
# Source: ONNX Runtime documentation, Quantize ONNX models; Migacz, 8-bit Inference with TensorRT, 2017
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
run <<'PY'
import logging
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static

versions("onnxruntime", "onnx", "numpy")
logging.disable(logging.WARNING)
random = np.random.default_rng(0)
graph = helper.make_graph(
    [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])], "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 16, 16])],
    [numpy_helper.from_array(random.normal(0, 0.1, (4, 3, 3, 3)).astype(np.float32), "w")],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "m.onnx")
images = [random.normal(0, 1, (1, 3, 16, 16)).astype(np.float32) for _ in range(32)]
images[0][0, 0, 0, 0] = 100.0


class Reader(CalibrationDataReader):
    def __init__(self):
        self.rest = iter(images)

    def get_next(self):
        image = next(self.rest, None)
        return None if image is None else {"x": image}


scales = {}
for method in (CalibrationMethod.MinMax, CalibrationMethod.Entropy, CalibrationMethod.Percentile):
    quantize_static("m.onnx", "q.onnx", Reader(), calibrate_method=method)
    scales[method.name] = {t.name: float(numpy_helper.to_array(t)) for t in onnx.load("q.onnx").graph.initializer if t.name in ("x_scale", "y_scale")}
show("scales, with one value of 100 among N(0, 1)", scales)
same(len(scales["MinMax"]) == 2, "both activations have a scale")
same(scales["Entropy"] == scales["MinMax"], "entropy gives the scales of MinMax")
same(scales["MinMax"]["x_scale"] > 0.3, "one step is a third of a standard deviation")
PY
