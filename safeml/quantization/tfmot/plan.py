"""A fake-quantized network as plain data, between the process of Keras 3 and that of Keras 2. No framework is imported."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

RANGE = "range"
REMEDY = 'use backend = "keras"'
# The files in the folder that both processes share.
REQUEST, WEIGHTS, TRAIN, VALID, RESULT, ERRORS = (
    "request.json",
    "weights.npz",
    "train.npz",
    "valid.npz",
    "result.npz",
    "errors.txt",
)
# The regularizers that both generations of Keras have, with the same arguments.
REGULARIZERS = ("L1", "L2", "L1L2")
# Begins the names of weights and ranges in the result.
ARRAYS = "arrays/"


@dataclass(frozen=True)
class LayerPlan:
    """A layer of the network.

    name: unique.
    kind: of `tf_keras.layers`, or `RANGE` for a quantizer of activations.
    config: of Keras 3.
    weights: the number of its arrays, in the order of `get_weights`.
    kernel_axis: the axis of the output channels of a quantized kernel, counted from 0; None for a float layer.
    sites: the number of tensors that share the range of a quantizer.
    """

    name: str
    kind: str
    config: dict[str, Any]
    weights: int = 0
    kernel_axis: int | None = None
    sites: int = 1

    def array_names(self) -> list[str]:
        """Return the names of its arrays."""
        return [f"{self.name}:{number}" for number in range(self.weights)]


@dataclass(frozen=True)
class CallPlan:
    """One call of a layer.

    inputs, output: numbers of tensors; tensor 0 is the image.
    as_list: whether the layer takes the inputs as one list.
    """

    layer: str
    inputs: list[int]
    output: int
    as_list: bool


@dataclass(frozen=True)
class NetworkPlan:
    """A network of one image and one output.

    name: of the model, for messages.
    shape: of the image, without the batch.
    layers, calls: each call after those that give its inputs.
    output: the number of its tensor.
    """

    name: str
    shape: list[int | None]
    layers: list[LayerPlan]
    calls: list[CallPlan]
    output: int

    def plain(self) -> dict[str, Any]:
        """Return the network for JSON."""
        return asdict(self)


def from_plain(plain: dict[str, Any]) -> NetworkPlan:
    """Return the network of `NetworkPlan.plain`."""
    layers = [LayerPlan(**layer) for layer in plain["layers"]]
    calls = [CallPlan(**call) for call in plain["calls"]]
    return NetworkPlan(**{**plain, "layers": layers, "calls": calls})
