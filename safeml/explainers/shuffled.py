"""A copy of a model with shuffled weights, from its last layer backwards: the model-parameter randomisation test.

Reference: J. Adebayo et al., "Sanity checks for saliency maps", 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

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


@dataclass(eq=False)
class ShuffledCopy:
    """A copy of a model that is given one order of its weights after the other, so that its graphs are traced once.

    network: the copy.
    arrays: those of each layer with weights in the model under test, the last layer first.
    name, contract, class_names: of the classifier under test.
    """

    network: Any
    arrays: list[list[np.ndarray]]
    name: str
    contract: Any
    class_names: tuple[str, ...]
    _classifier: TensorClassifier | None = field(default=None, repr=False)

    def shuffle(self, count: int, seed: int, repeat: int = 0) -> TensorClassifier:
        """Return the copy with the weights of its last `count` layers shuffled, each array within itself.

        seed, repeat: of the order.

        A shuffled array has the same values, so that their size and signs are those of a trained network. What the call
        before returned is the same object and has these weights too.
        """
        rng = np.random.default_rng([seed, SHUFFLE, repeat])
        made = [
            [_permuted(array, rng) for array in arrays] if number < count else arrays
            for number, arrays in enumerate(self.arrays)
        ]
        _set(self.network, made)
        classifier = self._classifier
        if classifier is None:
            classifier = from_keras(self.network, self.name).fed(self.contract, self.class_names, self.name)
            if all(_holds(network, made) for network in _networks(classifier)):
                self._classifier = classifier
            return classifier
        for network in _networks(classifier):
            _set(network, made)
        classifier.weights_changed()
        return classifier


def copy_of(classifier: Any, contract: Any, class_names: tuple[str, ...]) -> ShuffledCopy | None:
    """Return a copy of a Keras network for shuffling; None where its weights cannot be reached.

    contract: the input contract of the classifier.

    Nor can they for a network that its configuration does not make again: a subclass, or a layer without a configuration.
    """
    own = network_of(classifier)
    if own is None:
        return None
    try:
        network = _copy(own.model.network)
    except (ValueError, TypeError, KeyError, NotImplementedError):
        return None
    arrays = [layer.get_weights() for layer in weighted_layers(network)]
    return ShuffledCopy(network, arrays, classifier.name, contract, class_names)


def _permuted(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    flat = array.reshape(-1)
    return flat[rng.permutation(flat.size)].reshape(array.shape)


def _networks(classifier: TensorClassifier) -> tuple[Any, Any]:
    """Return the networks behind a classifier: what it was made of, and what computes its logits, with copies of some layers."""
    return classifier.model.network, classifier.model.logits_network


def _set(network: Any, arrays: list[list[np.ndarray]]) -> None:
    for layer, values in zip(weighted_layers(network), arrays, strict=True):
        layer.set_weights(values)


def _holds(network: Any, arrays: list[list[np.ndarray]]) -> bool:
    """Return whether the layers of `network` are known to be those of `arrays`: the same values in the same order."""
    own = [layer.get_weights() for layer in weighted_layers(network)]
    return [len(layer) for layer in own] == [len(layer) for layer in arrays] and all(
        np.array_equal(one, other)
        for layer, others in zip(own, arrays, strict=True)
        for one, other in zip(layer, others, strict=True)
    )
