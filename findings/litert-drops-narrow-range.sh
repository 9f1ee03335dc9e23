#!/usr/bin/env bash
# Claim: the LiteRT converter drops narrow_range=True of TensorFlow's fake quantisation. TensorFlow uses 255 levels, -127 to 127 steps around 0,
#   and clips at -1.0; the converted file uses 256, so that every value below the range comes out one whole step lower, at -1.0079. The upper
#   end and the inside agree, so that a test on images within the range sees nothing. No message is written.
# Matters where: quantisation-aware training with symmetric activations, as TensorRT and ONNX runtimes have them, is deployed with LiteRT
#   too: the two devices clip at different values.
# Versions: tensorflow 2.21.0, ai-edge-litert 2.3.0, numpy 2.4.6
# Source: TensorFlow API documentation, tf.quantization.fake_quant_with_min_max_vars (narrow_range: integers from 1 to 255)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install tensorflow==2.21.0 ai-edge-litert==2.3.0 numpy==2.4.6
run <<'PY'
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

versions("tensorflow", "ai-edge-litert", "numpy")
STEP = 2 / 254
EACH = np.arange(-126, 127)


class Clipped(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([4], tf.float32)])
    def ends(self, x):
        return tf.quantization.fake_quant_with_min_max_vars(x, -1.0, 1.0, narrow_range=True)

    @tf.function(input_signature=[tf.TensorSpec([len(EACH)], tf.float32)])
    def inside(self, x):
        return tf.quantization.fake_quant_with_min_max_vars(x, -1.0, 1.0, narrow_range=True)


def both(function, x):
    x = np.asarray(x, np.float32)
    content = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module).convert()
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return function(tf.constant(x)).numpy(), interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


module = Clipped()
x = [-2.0, -1.1, 1.1, 2.0]
by_tensorflow, by_litert = both(module.ends, x)
show("x", x)
show("TensorFlow", by_tensorflow.round(5).tolist())
show("LiteRT", by_litert.round(5).tolist())
inside = both(module.inside, (EACH + 0.3) * STEP)
same(np.allclose(*inside, atol=1e-5), "inside the range both agree")
same(np.allclose(by_tensorflow, [-1, -1, 1, 1], atol=1e-5), "TensorFlow clips at both ends of the range")
same(np.allclose(by_litert, [-1 - STEP, -1 - STEP, 1, 1], atol=1e-5), "LiteRT clips one step below the lower end")
PY
