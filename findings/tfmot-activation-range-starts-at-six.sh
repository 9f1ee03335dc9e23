#!/usr/bin/env bash
# Claim: quantize_model of TFMOT starts the range of every activation at [-6, 6] and moves it by a thousandth a training step, without
#   a correction for the start. After 100 steps it still spans 11, however small the activations are: a ReLU with outputs of 0 to 1.5
#   has 34 of the 256 codes, after 300 steps 41. The range of the model's input, which starts at [0, 0], is right after the same steps.
# Matters where: quantisation-aware fine-tuning is short ("an epoch or two", as the guides do) and its accuracy is then measured.
# Versions: tensorflow 2.21.0, tf-keras 2.21.0, tensorflow-model-optimization 0.8.1, numpy 2.4.6
# Source: TFMOT guides, Quantization aware training and its comprehensive guide; Jacob et al., Quantization and Training of Neural
#   Networks for Efficient Integer-Arithmetic-Only Inference, 2018 (ranges by moving averages over thousands of steps, delayed at the start)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install tensorflow==2.21.0 tf-keras==2.21.0 tensorflow-model-optimization==0.8.1 numpy==2.4.6
run <<'PY'
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

versions("tensorflow", "tf-keras", "tensorflow-model-optimization", "numpy")
tf_keras.utils.set_random_seed(0)
random = np.random.default_rng(0)
x = random.uniform(0, 1, (3200, 8, 8, 3)).astype(np.float32)
y = random.integers(0, 4, len(x))
layers = tf_keras.layers
model = tf_keras.Sequential([layers.InputLayer((8, 8, 3)), layers.Conv2D(8, 3, activation="relu", name="conv"), layers.GlobalAveragePooling2D(), layers.Dense(4)])
quantised = tfmot.quantization.keras.quantize_model(model)
quantised.compile(tf_keras.optimizers.SGD(1e-4), tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def ranges(text):
    return [float(next(w for w in quantised.weights if w.name.endswith(f"{text}_{end}:0")).numpy()) for end in ("min", "max")]


activation = tf_keras.Model(model.inputs, model.get_layer("conv").output).predict(x, verbose=0)
largest = float(activation.max())
show("outputs of the convolution", (0.0, round(largest, 3)))
widths = {}
for epoch in range(4):
    low, high = ranges("conv/post_activation")
    widths[100 * epoch] = high - low
    show(f"after {100 * epoch} steps: range, codes that the outputs can take", ([round(low, 3), round(high, 3)], int(largest / ((high - low) / 255)) + 1))
    if epoch < 3:
        quantised.fit(x, y, batch_size=32, epochs=1, verbose=0)
    if epoch == 0:
        first = ranges("quantize_layer")
show("range of the input after 100 steps", [round(end, 3) for end in first])
same(widths[0] == 12.0, "every activation starts at [-6, 6]")
same(largest < 2.0, "the outputs are far smaller")
same(10.5 < widths[100] < 11.5, "after 100 steps the range has lost a tenth")
same(8.5 < widths[300] < 9.6, "after 300 steps a quarter")
same(first[1] - first[0] < 1.01, "the range of the input is that of the data")
PY
