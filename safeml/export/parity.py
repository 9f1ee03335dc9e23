"""Does the ONNX file compute what the fake-quantized Keras model computes? Legend: N images, K classes.

Both round half to even, and neither adds up in the same order: a value that lies half-way between two codes, up to the rounding of
float32, may get the one code here and the other there, and moves what follows by a step. Every image whose top-1 class differs
is therefore traced to the first quantizer where a code differs, and how far the value is from half-way there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safeml.export.ends import LOGITS, PROBABILITIES
from safeml.export.graph import QUANTIZE
from safeml.export.sessions import outputs, session, with_taps

BATCH = 64
# In steps of the quantizer. Sums of a thousand products in float32 differ by some 1e-4 steps between two orders of summation.
TIE = 1e-3


@dataclass(frozen=True)
class Flip:
    """An image whose top-1 class differs.

    image: index among the images.
    keras, onnx: the two classes.
    quantizer: the first ONNX node where a code differs, or "" where none does.
    codes: how many of its codes differ.
    largest_code_difference: of these codes.
    tie_distance: in steps, the largest distance of such a value from half-way between two codes; or where no code differs, the
        difference of the two largest logits.
    at_tie: `tie_distance` is at most TIE, and no code differs by more than one.
    """

    image: int
    keras: int
    onnx: int
    quantizer: str
    codes: int
    largest_code_difference: int
    tie_distance: float
    at_tie: bool


@dataclass(frozen=True)
class Parity:
    """How the ONNX file and the Keras model differ on the same images.

    images: how many.
    flips: images whose top-1 class differs, with ONNX Runtime's optimizations disabled.
    max_difference: of the model's outputs (logits, or probabilities where the Keras model gives them).
    optimized_flips: images whose top-1 class differs from the ONNX file without optimizations, when all are enabled.
    optimized_max_difference: of the logits.
    difference: root mean square of the difference of the outputs, as a share of that of the model's outputs, each centred on its
        image.
    """

    images: int
    flips: tuple[Flip, ...]
    max_difference: float
    optimized_flips: tuple[int, ...]
    optimized_max_difference: float
    difference: float = 0.0

    @property
    def unexplained(self) -> tuple[Flip, ...]:
        """The flips that no rounding tie explains."""
        return tuple(flip for flip in self.flips if not flip.at_tie)

    def as_json(self) -> dict[str, Any]:
        """Return the numbers for export.json."""
        return asdict(self)


def compare(model: Any, path: Path, images: np.ndarray, values: bool = False) -> Parity:
    """Compare a fake-quantized keras.Model with the ONNX file that was exported from it.

    images: float32 [N, H, W, C], in the values that the model takes. values: the outputs are those of a regression, which has no
        classes that could flip: their difference alone is judged.
    """
    import onnx

    loaded = onnx.load(str(path))
    names = [value.name for value in loaded.graph.output]
    same = PROBABILITIES if PROBABILITIES in names else LOGITS
    exact = outputs(session(loaded), images, [same, LOGITS], BATCH)
    fast = outputs(session(loaded, optimized=True), images, [LOGITS], BATCH)[0]
    expected = predict(model, images)
    if values:
        return Parity(
            images=len(images),
            flips=(),
            max_difference=_largest(expected - exact[0]),
            optimized_flips=(),
            optimized_max_difference=_largest(fast - exact[1]),
            difference=relative_difference(expected, exact[0], values=True),
        )
    classes = expected.argmax(1), exact[0].argmax(1)
    flipped = np.flatnonzero(classes[0] != classes[1])
    return Parity(
        images=len(images),
        flips=tuple(explain(model, loaded, images, [int(image) for image in flipped], *classes)),
        max_difference=_largest(expected - exact[0]),
        optimized_flips=tuple(np.flatnonzero(fast.argmax(1) != exact[1].argmax(1)).tolist()),
        optimized_max_difference=_largest(fast - exact[1]),
        difference=relative_difference(expected, exact[0]),
    )


def relative_difference(expected: np.ndarray, given: np.ndarray, values: bool = False) -> float:
    """Return the difference of outputs [N, K] as a share of the size of the expected ones; see `Parity`.

    values: of a regression, whose size is its spread over the images: a constant added to a value is an error.
    """
    if values:
        centred = expected - expected.mean(axis=0, keepdims=True, dtype=np.float64)
        change = given.astype(np.float64) - expected
    else:
        centred = expected - expected.mean(axis=1, keepdims=True, dtype=np.float64)
        change = given - given.mean(axis=1, keepdims=True, dtype=np.float64) - centred
    size, moved = (float(np.sqrt(np.mean(values**2))) for values in (centred, change))
    if size > 0:
        return moved / size
    return 0.0 if moved == 0 else float("inf")


def predict(model: Any, images: np.ndarray) -> np.ndarray:
    """The outputs of a keras.Model, in batches of one shape: float32 [N, K]."""
    import tensorflow as tf

    run = tf.function(lambda values: model(values, training=False), autograph=False)
    parts = []
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        padded = np.concatenate([part, np.zeros((BATCH - len(part), *part.shape[1:]), part.dtype)])
        parts.append(np.asarray(run(tf.constant(padded, tf.float32)))[: len(part)])
    return np.concatenate(parts)


def explain(
    model: Any,
    loaded: Any,
    images: np.ndarray,
    flipped: list[int],
    keras_top: np.ndarray,
    onnx_top: np.ndarray,
) -> list[Flip]:
    """Return a Flip for each image of `flipped`. loaded: the onnx.ModelProto. keras_top, onnx_top: int [N]."""
    if not flipped:
        return []
    pairs = quantizer_values(model, loaded, images[flipped])
    flips = []
    for row, image in enumerate(flipped):
        difference = first_difference(pairs, row)
        if difference is None:
            difference = ("", 0, 0, _margin(model, images[image : image + 1]))
        at_tie = difference[3] <= TIE and difference[2] <= 1
        flips.append(Flip(image, int(keras_top[image]), int(onnx_top[image]), *difference, at_tie))
    return flips


def first_difference(
    pairs: list[tuple[str, QuantizerValues]], row: int
) -> tuple[str, int, int, float] | None:
    """Return the first quantizer whose codes differ for an image, how many, by how much, and their largest distance from a tie."""
    for name, values in pairs:
        difference = np.abs(values.keras_codes[row] - values.onnx_codes[row])
        if difference.any():
            distance = tie_distance(values.inputs[row][difference > 0]).max()
            return name, int(np.count_nonzero(difference)), int(difference.max()), float(distance)
    return None


@dataclass(frozen=True)
class QuantizerValues:
    """What a quantizer is fed and gives for some images, in the layout of the ONNX file.

    inputs: float32 [n, ...], in steps, of the ONNX file. keras_codes, onnx_codes: int32 [n, ...].
    """

    inputs: np.ndarray
    keras_codes: np.ndarray
    onnx_codes: np.ndarray


def quantizer_values(model: Any, loaded: Any, images: np.ndarray) -> list[tuple[str, QuantizerValues]]:
    """Return name and values of each activation quantizer, in the order of the ONNX graph, in which the first difference is sought."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in loaded.graph.initializer}
    nodes = [node for node in loaded.graph.node if node.op_type == QUANTIZE and node.input[0] not in stored]
    taps = [name for node in nodes for name in (node.input[0], node.output[0])]
    given = dict(
        zip(
            taps,
            outputs(session(with_taps(loaded, list(dict.fromkeys(taps)))), images, taps, BATCH),
            strict=True,
        )
    )
    tensors = _keras_outputs(model, images)
    pairs = []
    for node in nodes:
        codes = given[node.output[0]].astype(np.int32)
        scale = numpy_helper.to_array(stored[node.input[1]])
        candidates = [
            np.rint(values / scale).astype(np.int32)
            for keras_values in tensors.get(node.name.rpartition("/")[0], ())
            for values in layouts(keras_values, codes.shape)
        ]
        if candidates:
            nearest = min(candidates, key=lambda values: int(np.count_nonzero(values != codes)))
            pairs.append((node.name, QuantizerValues(given[node.input[0]] / scale, nearest, codes)))
    return pairs


def _keras_outputs(model: Any, images: np.ndarray) -> dict[str, list[np.ndarray]]:
    """What each activation quantizer gives, once for each place where it is used, by its name."""
    import keras

    from safeml.int8.layers import ActivationQuantizer

    layers = [layer for layer in model.layers if isinstance(layer, ActivationQuantizer)]
    places = [(layer.name, node.output_tensors[0]) for layer in layers for node in layer._inbound_nodes]
    inside = {id(tensor) for node in _nodes(model) for tensor in node.output_tensors}
    places = [(name, tensor) for name, tensor in places if id(tensor) in inside]
    values = predict_all(keras.Model(model.inputs[0], [tensor for _, tensor in places]), images)
    found: dict[str, list[np.ndarray]] = {}
    for (name, _), array in zip(places, values, strict=True):
        found.setdefault(name, []).append(array)
    return found


def _nodes(model: Any) -> list[Any]:
    return [node for nodes in model._nodes_by_depth.values() for node in nodes]


def predict_all(model: Any, images: np.ndarray) -> list[np.ndarray]:
    """Every output of a keras.Model with several, in batches of one shape."""
    import tensorflow as tf

    parts = []
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        padded = np.concatenate([part, np.zeros((BATCH - len(part), *part.shape[1:]), part.dtype)])
        parts.append(
            [np.asarray(v)[: len(part)] for v in model(tf.constant(padded, tf.float32), training=False)]
        )
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)]


def layouts(values: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """The ways to write a Keras tensor in the shape of its ONNX twin: channels first, as it is, or with axes joined."""
    turned = [values.transpose(0, 3, 1, 2)] if values.ndim == 4 else []
    same = [array for array in (*turned, values) if array.shape == shape]
    return same or ([values.reshape(shape)] if values.size == int(np.prod(shape)) else [])


def tie_distance(steps: np.ndarray) -> np.ndarray:
    """How far values, in steps of their quantizer, are from half-way between two codes: 0 to 0.5."""
    return np.abs(steps - np.floor(steps) - 0.5)


def _margin(model: Any, image: np.ndarray) -> float:
    first, second = np.sort(predict(model, image)[0])[[-1, -2]]
    return float(first - second)


def _largest(differences: np.ndarray) -> float:
    return float(np.abs(differences).max(initial=0.0))
