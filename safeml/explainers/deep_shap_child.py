"""The child process of Deep SHAP: python -m safeml.explainers.deep_shap_child FOLDER. Legend: N images, H W C pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from safeml import framework
from safeml.explainers.deep_shap import ARRAYS, MODEL, VALUES


def main(folder: Path) -> int:
    """Write the attributions of the images in the folder, float64 [N, H * W + 1]: summed over channels, then the change of the logit."""
    framework.start()
    import keras
    import shap

    from safeml.classifiers.keras_head import without_activation

    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        images, backgrounds, classes = arrays["images"], arrays["backgrounds"], arrays["classes"]
    network = keras.saving.load_model(folder / MODEL, compile=False)
    bare = without_activation(network)
    logits = network if bare is None else bare.model
    result = np.zeros((len(images), images.shape[1] * images.shape[2] + 1))
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        column = np.eye(logits.outputs[0].shape[1], dtype=np.float32)[:, [label]]
        pick = keras.layers.Dense(1, use_bias=False, name="safeml_one_logit")
        one = keras.Model(logits.inputs[0], pick(logits.outputs[0]))
        pick.set_weights([column])
        explain = shap.DeepExplainer(one, backgrounds)
        given = np.asarray(explain.shap_values(images[rows], check_additivity=False), np.float64)
        result[rows, :-1] = given.reshape(len(rows), *images.shape[1:]).sum(axis=3).reshape(len(rows), -1)
        here = np.asarray(one(images[rows], training=False), np.float64)[:, 0]
        result[rows, -1] = here - float(np.mean(np.asarray(one(backgrounds, training=False), np.float64)))
    np.save(folder / VALUES, result, allow_pickle=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
