#!/usr/bin/env bash
# Claim: a NaN in the feature map of a Keras classifier makes its logits NaN in Keras; exported to ONNX, ONNX Runtime gives finite logits,
#   as if the value were not there, unless the NaN is at the first position. With MaxPooling2D over the whole map, Keras drops a NaN in
#   the middle as well.
# Matters where: a monitor rejects images whose logits are not finite. The exported model answers with a class, and the monitor sees
#   nothing; a test with a NaN in the upper left corner finds no difference.
# Versions: keras 3.15.1, tensorflow 2.21.0, tf2onnx 1.17.0, onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6
# Source: Keras API documentation, GlobalMaxPooling2D; ONNX operators, ReduceMax (NaN is not specified)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install keras==3.15.1 tensorflow==2.21.0 tf2onnx==1.17.0 onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
run <<'PY'
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

versions("keras", "tensorflow", "tf2onnx", "onnxruntime", "onnx", "numpy")
keras.utils.set_random_seed(0)


def logits(pooling, place):
    """Whether the three logits are finite in Keras and in ONNX Runtime, for images with NaN in all channels of one pixel."""
    image = keras.Input((4, 4, 8))
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(pooling(image))))
    signature = [tf.TensorSpec([None, 4, 4, 8], tf.float32, name="x")]
    exported, _ = tf2onnx.convert.from_function(tf.function(model, input_signature=signature), input_signature=signature, opset=17)
    session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    features = np.random.default_rng(0).random((1, 4, 4, 8), dtype=np.float32)
    features[0, *place] = np.nan
    [by_runtime] = session.run(None, {"x": features})
    return bool(np.isfinite(np.asarray(model(features))).all()), bool(np.isfinite(by_runtime).all())


everywhere = [(row, column) for row in range(4) for column in range(4)]
found = {place: logits(keras.layers.GlobalMaxPooling2D(), place) for place in everywhere}
same(not any(by_keras for by_keras, _ in found.values()), "Keras: a NaN at any pixel is seen in the logits")
hidden = [place for place, (_, by_runtime) in found.items() if by_runtime]
show("pixels whose NaN ONNX Runtime drops", hidden)
same(hidden == everywhere[1:], "ONNX Runtime: a NaN at the first pixel alone is seen in the logits")
same(logits(keras.layers.GlobalAveragePooling2D(), (2, 2)) == (False, False), "with GlobalAveragePooling2D both see it")
same(logits(keras.layers.MaxPooling2D(4), (2, 2)) == (True, True), "with MaxPooling2D neither sees it")
PY
