#!/usr/bin/env bash
# Claim: model.quantize("int8") of a Keras model of convolutions returns normally and quantises nothing: Conv2D keeps float32, with
#   one UserWarning for each layer, the same that a ReLU gets. Only Dense (and Embedding, EinsumDense) change.
# Matters where: a classifier of images is said to be "INT8" after that call.
# Versions: keras 3.15.1, jax 0.10.2, numpy 2.4.6
# Source: Keras documentation, Model.quantize and the guide to 8-bit integer quantisation
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install keras==3.15.1 jax==0.10.2 numpy==2.4.6
run <<'PY'
import warnings

os.environ["KERAS_BACKEND"] = "jax"
os.environ["KERAS_HOME"] = os.getcwd()
import keras

versions("keras", "jax", "numpy")
model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(8, 3), keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4)])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    returned = model.quantize("int8")
kinds = {layer.name.split("_")[0]: sorted({str(weight.dtype) for weight in layer.weights}) for layer in model.layers if layer.weights}
show("types of the weights", kinds)
show("warnings", sorted({str(one.message).split(".")[0] for one in caught}))
same(returned is None, "the call returns normally")
same(kinds["conv2d"] == ["float32"], "the convolution is float32 still")
same("int8" in kinds["dense"], "the dense layer is int8")
PY
