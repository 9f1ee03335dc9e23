#!/usr/bin/env bash
# Claim: 2:4 pruning of TFMOT (sparsity_m_by_n=(2, 4)) counts the padding of an incomplete group as its zeros: with 6 or 10 input
#   channels the last two are not pruned at all, and an RGB stem loses a third of its weights instead of half. Nothing is said;
#   a multiple of four channels gives one half. (That DepthwiseConv2D is not pruned at all is known: an issue of the project.)
# Matters where: the sparsity of a network is taken from the setting, or a runtime is to use the 2:4 pattern.
# Versions: tensorflow 2.21.0, tf-keras 2.21.0, tensorflow-model-optimization 0.8.1, numpy 2.4.6
# Source: TFMOT guide, Structural pruning of weights (2 by 4); NVIDIA, Accelerating Inference with Sparsity Using TensorRT
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install tensorflow==2.21.0 tf-keras==2.21.0 tensorflow-model-optimization==0.8.1 numpy==2.4.6
run <<'PY'
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import warnings

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

versions("tensorflow", "tf-keras", "tensorflow-model-optimization", "numpy")
sparsity = tfmot.sparsity.keras
random = np.random.default_rng(0)
shares = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for channels in (3, 5, 6, 8, 10):
        tf_keras.utils.set_random_seed(0)
        model = tf_keras.Sequential([tf_keras.layers.InputLayer((4, 4, channels)), tf_keras.layers.Conv2D(16, 1), tf_keras.layers.GlobalAveragePooling2D()])
        pruned = sparsity.prune_low_magnitude(model, pruning_schedule=sparsity.ConstantSparsity(0.5, 0, frequency=1), sparsity_m_by_n=(2, 4))
        pruned.compile("sgd", "mse")
        x = random.normal(size=(8, 4, 4, channels)).astype(np.float32)
        pruned.fit(x, np.zeros((8, 16), np.float32), verbose=0, callbacks=[sparsity.UpdatePruningStep()])
        kernel = sparsity.strip_pruning(pruned).layers[0].get_weights()[0][0, 0]
        shares[channels] = float((kernel == 0).mean())
        show(f"{channels} input channels: share of zeros, zeros in each group of 4 of one filter", (round(shares[channels], 3), [int((group == 0).sum()) for group in np.split(kernel[:, 0], range(4, channels, 4))]))
show("warnings about it", [str(one.message) for one in caught if "spars" in str(one.message).lower()])
same(shares[8] == 0.5, "8 channels: one half")
same(abs(shares[6] - 2 / 6) < 1e-6 and abs(shares[10] - 4 / 10) < 1e-6, "6 and 10 channels: the incomplete group keeps all its weights")
same(abs(shares[3] - 1 / 3) < 1e-6, "3 channels: one third")
PY
