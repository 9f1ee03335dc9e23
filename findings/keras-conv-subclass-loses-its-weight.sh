#!/usr/bin/env bash
# Claim: a subclass of Conv2D, Dense or EinsumDense that adds a weight in build() saves without an error and without that weight: the
#   .keras and the .weights.h5 file hold kernel and bias only, and loading raises. The same subclass of DepthwiseConv2D,
#   SeparableConv2D or Conv2DTranspose keeps it. ModelCheckpoint writes such files through a whole training.
# Matters where: a layer of quantisation-aware training derives from Conv2D and learns a scale; the trained scale cannot be recovered.
# Versions: keras 3.15.1, jax 0.10.2, numpy 2.4.6
# Source: Keras guides, Making new layers and models via subclassing, and Customizing saving and serialization (neither names the classes)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install keras==3.15.1 jax==0.10.2 numpy==2.4.6
run <<'PY'
import re

os.environ["KERAS_BACKEND"] = "jax"
os.environ["KERAS_HOME"] = os.getcwd()
import h5py
import keras
import numpy as np

versions("keras", "jax", "numpy")


def scaled(base):
    class Scaled(base):
        def build(self, input_shape):
            super().build(input_shape)
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, inputs):
            return super().call(inputs) * self.scale

    return keras.saving.register_keras_serializable("example", f"Scaled{base.__name__}")(Scaled)


def stored(path):
    sizes = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) and "layers/" in f"/{name}" else None)
    return len(sizes)


cases = {
    "Conv2D": ({"filters": 2, "kernel_size": 3}, (8, 8, 3)),
    "Dense": ({"units": 2}, (3,)),
    "EinsumDense": ({"equation": "ab,bc->ac", "output_shape": 2, "bias_axes": "c"}, (3,)),
    "DepthwiseConv2D": ({"kernel_size": 3}, (8, 8, 3)),
    "SeparableConv2D": ({"filters": 2, "kernel_size": 3}, (8, 8, 3)),
    "Conv2DTranspose": ({"filters": 2, "kernel_size": 3}, (8, 8, 3)),
}
outcome = {}
for name, (arguments, shape) in cases.items():
    model = keras.Sequential([keras.Input(shape), scaled(getattr(keras.layers, name))(**arguments)])
    (layer,) = model.layers
    layer.scale.assign(5.0)
    model.save("m.keras")
    model.save_weights("m.weights.h5")
    try:
        loaded = float(keras.ops.convert_to_numpy(keras.models.load_model("m.keras").layers[0].scale))
    except ValueError as error:
        loaded = f"ValueError: {re.search('expected . variables.*', str(error))[0]}"
    outcome[name] = (len(layer.weights), stored("m.weights.h5"), loaded)
    show(f"{name}: weights, weights in the file, scale after loading", outcome[name])
for name in ("Conv2D", "Dense", "EinsumDense"):
    weights, in_file, loaded = outcome[name]
    same(in_file == weights - 1 and str(loaded).startswith("ValueError"), f"{name} loses the weight")
for name in ("DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose"):
    weights, in_file, loaded = outcome[name]
    same(in_file == weights and loaded == 5.0, f"{name} keeps it")
x = np.ones((4, 3), np.float32)
model = keras.Sequential([keras.Input((3,)), scaled(keras.layers.Dense)(2)])
model.compile("sgd", "mse")
model.fit(x, x[:, :2], epochs=2, verbose=0, callbacks=[keras.callbacks.ModelCheckpoint("best.weights.h5", save_weights_only=True)])
show("weights in the file of ModelCheckpoint", stored("best.weights.h5"))
same(stored("best.weights.h5") == 2, "ModelCheckpoint writes the file without the scale and training goes on")
PY
