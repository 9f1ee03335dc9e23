#!/usr/bin/env bash
# Claim: tf2onnx exports tf.image.adjust_saturation with two of the six ranges of hue exchanged: between green and cyan (120 to 180
#   degrees) a pixel turns by 120 degrees to violet, and between blue and magenta (240 to 300) to a green; the other four are as in
#   TensorFlow. A factor of 1.0, which changes nothing in TensorFlow, does it too. No message is printed.
# Matters where: a model adjusts the saturation of its images inside, or a graph of preprocessing is exported. A test on red, yellow or
#   plain blue images sees nothing; with random pixels one in three is another colour.
# Versions: tensorflow 2.21.0, tf2onnx 1.17.0, onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6
# Source: TensorFlow API documentation, tf.image.adjust_saturation (conversion to HSV, product with the saturation channel, and back)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install tensorflow==2.21.0 tf2onnx==1.17.0 onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
run <<'PY'
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

versions("tensorflow", "tf2onnx", "onnxruntime", "onnx", "numpy")


def both(factor, pixels):
    """The pixels, float32 [N, 3], by TensorFlow and by the exported model."""

    @tf.function(input_signature=[tf.TensorSpec([1, 1, None, 3], tf.float32, name="x")])
    def adjusted(x):
        return tf.image.adjust_saturation(x, factor)

    model, _ = tf2onnx.convert.from_function(adjusted, input_signature=adjusted.input_signature, opset=17)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = pixels[None, None]
    return adjusted(image).numpy()[0, 0], session.run(None, {"x": image})[0][0, 0]


random = np.random.default_rng(0)
pixels = random.random((300, 3), dtype=np.float32)
hue = 360 * tf.image.rgb_to_hsv(pixels).numpy()[:, 0]
green_to_cyan, blue_to_magenta = (120 < hue) & (hue < 180), (240 < hue) & (hue < 300)
exchanged = green_to_cyan | blue_to_magenta
same(0.25 < exchanged.mean() < 0.42, "about a third of random pixels are in the two ranges of hue")
for factor in (1.0, 0.5):
    by_tensorflow, by_runtime = both(factor, pixels)
    near = np.abs(by_tensorflow - by_runtime).max(1) < 1e-5
    show(f"factor {factor}, share of pixels that are equal", float(near.mean().round(3)))
    same(near[~exchanged].all(), "pixels of the other four ranges of hue are those of TensorFlow")
    same(not near[exchanged].any(), "no pixel of the two ranges is")
    turned = by_tensorflow[green_to_cyan][:, [2, 0, 1]]
    same(np.abs(turned - by_runtime[green_to_cyan]).max() < 1e-5, "from green to cyan: channels rotated, to violet")
    turned = by_tensorflow[blue_to_magenta][:, [1, 2, 0]]
    same(np.abs(turned - by_runtime[blue_to_magenta]).max() < 1e-5, "from blue to magenta: rotated the other way, to green")
for name, pixel in (("green", [0.2, 0.9, 0.4]), ("violet", [0.4, 0.2, 0.9]), ("blue", [0.1, 0.3, 0.8])):
    by_tensorflow, by_runtime = both(1.0, np.array([pixel], np.float32))
    show(f"{name}, factor 1.0, TensorFlow and ONNX Runtime", (by_tensorflow[0].round(3).tolist(), by_runtime[0].round(3).tolist()))
PY
