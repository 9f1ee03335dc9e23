"""Feature maps of a frozen graph and the gradient of the logits by them. Legend: N images, H' W' D maps, K classes.

References:
    R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from safeml.classifiers.frozen import FrozenGraph


@dataclass(eq=False)
class GraphMaps:
    """A `FeatureMaps` of a frozen graph.

    tensor: the maps' tensor in `graph`.
    values: pixels in 0..1 -> what the graph is fed.
    as_logits: the graph's output -> logits in the order of the classes.
    """

    tensor: str
    graph: FrozenGraph = field(repr=False)
    values: Callable[[Any], Any] = field(repr=False)
    as_logits: Callable[[Any], Any] = field(repr=False)
    _functions: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def layer(self) -> str:
        """The name of the operation that gives the maps."""
        return self.tensor.partition(":")[0]

    def of(self, pixels: Any) -> Any:
        """See `FeatureMaps.of`."""
        return self._compiled("of", self._of)(pixels)

    def gradient(self, pixels: Any, classes: Any) -> tuple[Any, Any]:
        """See `FeatureMaps.gradient`."""
        import tensorflow as tf

        maps, gradient = self._compiled("gradient", self._gradient)(pixels, tf.cast(classes, tf.int32))
        return maps, gradient

    def _compiled(self, name: str, function: Callable[..., Any]) -> Any:
        import tensorflow as tf

        if name not in self._functions:
            self._functions[name] = tf.function(function, autograph=False, reduce_retracing=True)
        return self._functions[name]

    def _of(self, pixels: Any) -> Any:
        import tensorflow as tf

        return tf.cast(self.graph.run(self.values(pixels), self.tensor)[0], tf.float32)

    def _gradient(self, pixels: Any, classes: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        maps, outputs = self.graph.run(self.values(pixels), self.tensor, self.graph.output)
        logits = tf.gather(self.as_logits(outputs), classes, axis=1, batch_dims=1)
        # A tape does not see operations that are imported; the gradient of the graph does.
        (gradient,) = tf.gradients(logits, maps, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.cast(maps, tf.float32), tf.cast(gradient, tf.float32)
