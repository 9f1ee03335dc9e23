"""A model whose outputs are a TensorFlow graph of its inputs: of Keras or of a SavedModel. Legend: N images, K classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from safeml import framework
from safeml.classifiers.base import Gives, GradientStoppers, InputSpec
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.classifiers.contract import (
    as_pixels,
    check_integer_contract,
    check_outputs,
    input_spec,
    model_values,
    raw_values,
)
from safeml.classifiers.fingerprint import model_fingerprint
from safeml.classifiers.frozen import FrozenGraph
from safeml.classifiers.maps import GraphMaps
from safeml.errors import InputRefused
from safeml.settings.model import VALUES, InputSettings

BATCH = 256
SMALLEST_BATCH = (
    16  # a smaller one saves less time than its trace costs, and one image alone may take other kernels
)
Tensors = Callable[[Any], Any]


@dataclass(eq=False)
class TensorModel:
    """A loaded model; see `Model` for the fields.

    forward: tf.Tensor float32 [N, height, width, channels] of the model's own values -> [N, K], in inference mode,
        without a softmax or sigmoid that could be taken off.
    penultimate: the same inputs -> [N, ...], the input of the last layer with weights.
    takes_log: `forward` gives probabilities, because no softmax could be taken off.
    one_logit: `forward` gives [N, 1], the logit of class 1 against class 0.
    integers: the file takes integers 0..255; `forward` takes the same values as float32.
    graph: builds the frozen graph of `forward`; None where there is none.
    network: the Keras model as it was loaded; None for a SavedModel.
    logits_network: the Keras model that `forward` calls: `network`, or the same without its last activation.
    """

    where: str
    input_shape: tuple[int | None, int | None, int | None]
    outputs: int
    gives: Gives
    parameters: int
    fingerprint: str
    notes: tuple[str, ...]
    forward: Tensors
    penultimate: Tensors
    takes_log: bool = False
    one_logit: bool = False
    integers: bool = False
    graph: Callable[[], FrozenGraph] | None = field(default=None, repr=False)
    network: Any = field(default=None, repr=False)
    logits_network: Any = field(default=None, repr=False)

    @cached_property
    def frozen(self) -> FrozenGraph | None:
        """The graph of `forward`, built at its first use."""
        import tensorflow as tf

        # The first use may be inside a tf.function, and variables are read eagerly.
        with tf.init_scope():
            return None if self.graph is None else self.graph()

    def fed(self, settings: InputSettings, class_names: tuple[str, ...], name: str) -> TensorClassifier:
        """See `Model.fed`."""
        spec = input_spec(self, settings, len(class_names))
        if self.integers:
            check_integer_contract(spec, self.where)
        model = self if spec.outputs != VALUES else replace(self, **raw_values(self))
        classifier = TensorClassifier(
            name, spec, len(class_names), self.parameters, self.fingerprint, model.notes, model
        )
        try:
            check_outputs(classifier, self.where)
        except (
            ValueError,
            TypeError,
        ) as error:  # of a graph that cannot be built, for example for a layer's name
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
            raise InputRefused(f"{self.where}: does not run as a graph: {reason}") from error
        return classifier


@dataclass(eq=False)
class TensorClassifier:
    """A `DifferentiableClassifier`. Build it with `TensorModel.fed`."""

    name: str
    spec: InputSpec
    classes: int
    parameters: int
    fingerprint: str
    notes: tuple[str, ...]
    model: TensorModel
    batch: BatchSize = field(default_factory=lambda: BatchSize(BATCH))
    _functions: dict[str, Any] = field(default_factory=dict, repr=False)

    def logits(self, pixels: Any) -> Any:
        """tf.Tensor float32 [N, H, W, C] in 0..1 -> tf.Tensor float32 [N, K]; differentiable, inference mode."""
        return self._as_logits(self.model.forward(model_values(pixels, self.spec)))

    @cached_property
    def feature_maps(self) -> GraphMaps | None:
        """See `FeatureMaps`; None where no convolution comes before the head."""
        graph = self.model.frozen
        layer = None if graph is None else graph.feature_maps()
        if graph is None or layer is None:
            return None
        return GraphMaps(layer, graph, lambda pixels: model_values(pixels, self.spec), self._as_logits)

    @cached_property
    def gradient_stoppers(self) -> GradientStoppers:
        """Operations between pixels and logits that let no gradient pass: (operation, node) each."""
        graph = self.model.frozen
        return () if graph is None else graph.gradient_stoppers()

    @property
    def blocked_gradients(self) -> GradientStoppers:
        """Those of `gradient_stoppers` that `logits_straight_through` cannot pass either."""
        graph = self.model.frozen
        return () if graph is None else graph.straight_through.blocked

    @cached_property
    def quantized_activations(self) -> bool:
        """See `has_quantized_activations`."""
        if self.model.network is None:
            return False
        from safeml.int8.layers import is_quantized

        return is_quantized(self.model.network)

    def weights_changed(self) -> None:
        """Drop what was made from the weights, after the weights of a Keras network were set.

        Compiled functions read the weights at each call; a frozen graph holds them as constants.
        Raises InputRefused where the outputs are not fit for an audit; see `check_outputs`.
        """
        for name in ("feature_maps", "gradient_stoppers"):
            self.__dict__.pop(name, None)
        self.model.__dict__.pop("frozen", None)
        self.fingerprint = self.model.fingerprint = model_fingerprint(self.model.network)
        check_outputs(self, self.model.where)

    def logits_straight_through(self, pixels: Any) -> Any:
        """As `logits`, with the gradient of each of `gradient_stoppers` passed straight through. In a tf.function only."""
        graph = self.model.frozen
        if graph is None:
            return self.logits(pixels)
        return self._as_logits(graph.run_straight_through(model_values(pixels, self.spec)))

    def _as_logits(self, outputs: Any) -> Any:
        """What `forward` gives as logits in the order of the classes, tf.Tensor float32 [N, K]."""
        import tensorflow as tf

        outputs = tf.cast(outputs, tf.float32)
        if self.model.one_logit:
            outputs = tf.concat([tf.zeros_like(outputs), outputs], axis=1)
        if self.model.takes_log:
            outputs = tf.math.log(tf.maximum(outputs, np.finfo(np.float32).tiny))
        if self.spec.class_order is not None:
            outputs = tf.gather(outputs, np.argsort(self.spec.class_order), axis=1)
        return outputs

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] uint8, or float32 in 0..1 -> float32 [N, K]. Not checked for finiteness: audits count that."""
        return self._in_batches("logits", self.logits, images)

    def features(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] -> float32 [N, F], the input of the last layer that has weights."""
        return self._in_batches("features", self.penultimate, images).reshape(len(images), -1)

    def penultimate(self, pixels: Any) -> Any:
        """As `features`, tf.Tensor float32 [N, H, W, C] in 0..1 -> tf.Tensor float32 [N, F]; differentiable, inference mode."""
        import tensorflow as tf

        rows = tf.cast(self.model.penultimate(model_values(pixels, self.spec)), tf.float32)
        return tf.reshape(rows, [tf.shape(rows)[0], -1])

    def _in_batches(self, name: str, function: Tensors, images: np.ndarray) -> np.ndarray:
        results: list[np.ndarray] = []
        start = 0
        while start < len(images):
            rest = partial(self._run, name, function, images[start:])
            results.append(until_it_fits(self.batch, rest))
            start += len(results[-1])
        return np.concatenate(results).astype(np.float32)

    def _run(self, name: str, function: Tensors, images: np.ndarray, size: int) -> np.ndarray:
        """The first `size` images, padded to the next power of two: a few shapes are compiled, and little is computed in vain.

        In a full batch of `size` images the rows do not depend on this padding; in a smaller one the last digit may differ,
        because the framework chooses its kernels by the shape.
        """
        import tensorflow as tf

        size = min(size, padded_size(min(len(images), size)))
        key = f"{name}{images.shape[1:]}{size}"
        # Each shape is traced once, which TensorFlow takes for one function that is traced again and again.
        with framework.memory_errors(), framework.expected_tracing():
            if key not in self._functions:
                signature = [tf.TensorSpec([size, *images.shape[1:]], tf.float32)]
                self._functions[key] = tf.function(function, autograph=False, input_signature=signature)
            batch = as_pixels(images[:size])
            padded = np.concatenate([batch, np.zeros((size - len(batch), *batch.shape[1:]), np.float32)])
            return self._functions[key](padded).numpy()[: len(batch)]


def padded_size(count: int) -> int:
    """Return the number of rows that `count` images are padded to: a power of two, at least `SMALLEST_BATCH`."""
    return max(SMALLEST_BATCH, 1 << max(count - 1, 0).bit_length())
