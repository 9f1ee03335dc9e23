#!/usr/bin/env bash
# Claim: tf2onnx turns tf.image.resize(method="area"), the mean of the pixels under each new one, into a Resize of mode "nearest",
#   which takes one of them: from 64 to 32 pixels, the one in the upper left corner of each block of four. No message is printed.
# Matters where: a classifier resizes its images inside (keras.layers.Resizing(interpolation="area") on TensorFlow): the exported model
#   sees aliased images. On a smooth image both agree to a few per cent; on noise and fine texture they do not.
# Versions: tensorflow 2.21.0, tf2onnx 1.17.0, onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6
# Source: TensorFlow API documentation, tf.image.resize (area interpolation); tf2onnx, change "Support tf ResizeArea op" (2023)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install tensorflow==2.21.0 tf2onnx==1.17.0 onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
run <<'PY'
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

versions("tensorflow", "tf2onnx", "onnxruntime", "onnx", "numpy")


@tf.function(input_signature=[tf.TensorSpec([1, 64, 64, 3], tf.float32, name="x")])
def halved(x):
    return tf.image.resize(x, (32, 32), method="area")


model, _ = tf2onnx.convert.from_function(halved, input_signature=halved.input_signature, opset=17)
[resize] = [node for node in model.graph.node if node.op_type == "Resize"]
modes = {attribute.name: attribute.s.decode() for attribute in resize.attribute if attribute.s}
show("Resize", modes)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def both(x):
    return halved(tf.constant(x)).numpy(), session.run(None, {session.get_inputs()[0].name: x})[0]


noise = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
by_tensorflow, by_runtime = both(noise)
blocks = noise.reshape(1, 32, 2, 32, 2, 3)
same(np.allclose(by_tensorflow, blocks.mean(axis=(2, 4)), atol=1e-6), "TensorFlow gives the mean of each block of four pixels")
same(modes["mode"] == "nearest", "the exported operator is of mode nearest")
same(np.array_equal(by_runtime, blocks[:, :, 0, :, 0]), "ONNX Runtime gives the upper left pixel of each block")
show("largest difference on noise in 0..1", float(np.abs(by_tensorflow - by_runtime).max().round(3)))
rows = np.linspace(0, 1, 64, dtype=np.float32)
smooth = np.broadcast_to(rows[None, :, None, None], (1, 64, 64, 3)).copy()
by_tensorflow, by_runtime = both(smooth)
show("largest difference on a ramp from 0 to 1", float(np.abs(by_tensorflow - by_runtime).max().round(3)))
same(np.abs(by_tensorflow - by_runtime).max() < 0.02, "on a smooth image a comparison sees almost nothing")
PY
