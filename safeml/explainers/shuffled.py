"""A copy of a model with shuffled weights, from its last layer backwards: the model-parameter randomisation test.

Reference: J. Adebayo et al., "Sanity checks for saliency maps", 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.classifiers.base import Classifier, DifferentiableClassifier
from safeml.classifiers.keras import from_keras
from safeml.classifiers.tensors import TensorClassifier

# The purpose of these random numbers, beside the seed.
SHUFFLE = 34


def network_of(classifier: Any) -> TensorClassifier | None:
    """Return the part of `classifier` whose maps come from a Keras network; None where the weights cannot be reached.

    For an exported file with the gradients of a Keras model, that is the Keras model.
    """
    own = getattr(classifier, "gradients", classifier)
    if isinstance(own, TensorClassifier) and own.model.network is not None:
        return own
    return None


def can_be_copied(network: Any) -> bool:
    """Return whether a Keras network can be made again from its configuration, with the same weights."""
    try:
        _copy(network)
    except (
        ValueError,
        TypeError,
        KeyError,
        NotImplementedError,
    ):  # a subclass, or a layer without a configuration
        return False
    return True


def _copy(network: Any) -> Any:
    made = type(network).from_config(network.get_config())
    made.set_weights(network.get_weights())
    return made


def weighted_layers(network: Any) -> list[Any]:
    """Return the layers with weights, the last one first; those of nested networks too."""
    found: list[Any] = []
    for layer in network.layers:
        if getattr(layer, "layers", None):
            found = [*weighted_layers(layer), *found]
        elif layer.weights:
            found.insert(0, layer)
    return found


def cascade(layers: int, levels: int) -> list[int]:
    """Return how many layers are shuffled at each level, from the last one alone to all. layers, levels: at least 1.

    >>> cascade(21, 4)
    [1, 8, 14, 21]
    """
    return sorted(
        {round(1 + (layers - 1) * number / max(1, levels - 1)) for number in range(levels)} | {layers}
    )


def shuffled(
    classifier: Classifier,
    contract: Any,
    class_names: tuple[str, ...],
    count: int,
    seed: int,
    repeat: int = 0,
) -> DifferentiableClassifier:
    """Return a copy of `classifier` with the weights of its last `count` layers shuffled, each array within itself.

    contract: the input contract of the classifier.
    seed, repeat: of the order.

    A shuffled array has the same values, so that their size and signs are those of a trained network.
    """
    own = network_of(classifier)
    assert own is not None  # the caller has asked
    network = _copy(own.model.network)
    rng = np.random.default_rng([seed, SHUFFLE, repeat])
    for layer in weighted_layers(network)[:count]:
        values = []
        for array in layer.get_weights():
            flat = array.reshape(-1)
            values.append(flat[rng.permutation(flat.size)].reshape(array.shape))
        layer.set_weights(values)
    return from_keras(network, classifier.name).fed(contract, class_names, classifier.name)
