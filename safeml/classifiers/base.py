"""The protocol of a model under test. Legend: N images, H W C pixels, K classes.

Pixels are given in one convention everywhere: RGB (or grey), float32 in 0..1 or uint8 in 0..255, at the size of the data.
What the model itself wants (size, channel order, value range) is its `InputSpec`, and the classifier applies it, so that
attacks and corruptions work on the pixels that a camera would deliver.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeGuard

import numpy as np

from safeml.classifiers.batches import BatchSize
from safeml.errors import StageError
from safeml.settings.model import VALUES, Head, InputSettings

Gives = Literal["logits", "probabilities", "sigmoids", "values"]


@dataclass(frozen=True)
class InputSpec:
    """The input contract of a model.

    low, high: the model's values for pixel 0 and pixel 255, before mean and std; the map between is linear.
    mean, std: of each channel in the model's order, or empty; what is fed is (value - mean) / std.
    standardise: each image is fed minus its own mean, divided by its own standard deviation.
    outputs: what the file's last layer gives ("sigmoids": one probability for each class, which need not sum to 1; "values": the
        quantities of a regression); safeml itself always works on logits, or on the values.
    class_order: class id of each of the model's K outputs, or None where output k is class k.
    """

    height: int
    width: int
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    low: float = 0.0
    high: float = 1.0
    outputs: Gives = "logits"
    class_order: tuple[int, ...] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    standardise: bool = False

    @property
    def depth(self) -> int:
        """Channels of one image as the model takes it."""
        return 1 if self.channels == "grey" else 3


class Model(Protocol):
    """A model file in memory, without an input contract.

    where: the file, for messages. input_shape: what the file fixes of (height, width, channels); None where it is open.
    outputs: K. gives: what the file's last layer gives. takes_log: its outputs look like probabilities, although it ends in no
        softmax. notes: what was done to it on loading, for the report.
    """

    where: str
    input_shape: tuple[int | None, int | None, int | None]
    outputs: int
    gives: Gives
    takes_log: bool
    parameters: int
    fingerprint: str
    notes: tuple[str, ...]

    def fed(self, settings: InputSettings, class_names: tuple[str, ...], name: str) -> Classifier:
        """The classifier of these classes under an input contract, checked as a whole; of a regression, the names are its targets'.

        Raises InputRefused where contract, classes and model do not fit, or where the outputs are not finite or not
        deterministic; ConfigError where the contract contradicts itself.
        """
        ...


class Classifier(Protocol):
    """A trained image model under test. batch: how many images it answers at a time; fewer where memory runs out.

    The logits of a regression model (`head_of`) are its K values, in the units of the targets.
    """

    name: str
    spec: InputSpec
    classes: int
    parameters: int
    fingerprint: str
    notes: tuple[str, ...]
    batch: BatchSize

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] uint8, or float32 in 0..1 -> finite float32 [N, K]."""
        ...

    def features(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] -> float32 [N, F], the input of the last weighted layer."""
        ...


class DifferentiableClassifier(Classifier, Protocol):
    """A classifier whose logits are a TensorFlow graph, for attacks by gradient."""

    def logits(self, pixels: Any) -> Any:
        """tf.Tensor float32 [N, H, W, C] in 0..1 -> tf.Tensor float32 [N, K]; differentiable, inference mode."""
        ...


class FeatureMaps(Protocol):
    """The last feature maps of a convolutional network, for Grad-CAM and layer-wise methods.

    layer: name of the operation that gives them.
    """

    layer: str

    def of(self, pixels: Any) -> Any:
        """tf.Tensor float32 [N, H, W, C] in 0..1 -> the maps, tf.Tensor float32 [N, H', W', D]; differentiable."""
        ...

    def gradient(self, pixels: Any, classes: Any) -> tuple[Any, Any]:
        """The maps, and the derivative of one logit of each image by them; both tf.Tensor float32 [N, H', W', D].

        pixels: tf.Tensor float32 [N, H, W, C], 0..1. classes: int [N], which logit.
        """
        ...


# One (operation, node) for each operation on the way from the pixels to the logits that lets no gradient pass.
GradientStoppers = tuple[tuple[str, str], ...]


def head_of(classifier: Any) -> Head:
    """Return what the outputs of `classifier` are: declared by its contract, or by a runtime of another head as `head`."""
    spec: InputSpec | None = getattr(classifier, "spec", None)
    contract: Head = "regression" if spec is not None and spec.outputs == VALUES else "classification"
    head: Head = getattr(classifier, "head", contract)
    return head


def is_differentiable(classifier: Any) -> TypeGuard[DifferentiableClassifier]:
    """Tell whether the logits of `classifier` are a TensorFlow graph that has a gradient."""
    return callable(getattr(classifier, "logits", None))


def deployed_logits_of(classifier: Any) -> Callable[[Any], Any]:
    """Return the logits that decide, tf.Tensor float32 [N, H, W, C] -> [N, K].

    They are the file's own where another model gives its gradients (`safeml.classifiers.twin`), and have no gradient then.
    """
    deployed: Callable[[Any], Any] | None = getattr(classifier, "deployed_logits", None)
    return classifier.logits if deployed is None else deployed


def differentiable(classifier: Classifier) -> DifferentiableClassifier:
    """Return `classifier`, typed as one that has a gradient. Raises StageError where it has none."""
    if is_differentiable(classifier):
        return classifier
    raise StageError(
        f"{classifier.name}: gives no gradient, which this measurement needs. Audit the Keras model or the SavedModel "
        "that it was exported from."
    )


def penultimate_of(classifier: Any) -> Callable[[Any], Any]:
    """Return what gives the features with a gradient, tf.Tensor float32 [N, H, W, C] in 0..1 -> [N, F].

    Raises StageError where the classifier gives none.
    """
    penultimate: Callable[[Any], Any] | None = getattr(classifier, "penultimate", None)
    if penultimate is None:
        raise StageError(
            f"{classifier.name}: gives no gradient of its features; audit the Keras model or the SavedModel that it was exported from."
        )
    return penultimate


def feature_maps(classifier: Classifier) -> FeatureMaps:
    """Return the feature maps of `classifier`. Raises StageError where it has none."""
    maps: FeatureMaps | None = getattr(classifier, "feature_maps", None)
    if maps is None:
        raise StageError(
            f"{classifier.name}: gives no feature maps; Grad-CAM and layer-wise methods need a Keras model or a "
            "SavedModel with a convolution before its head."
        )
    return maps


def gradient_stoppers(classifier: Classifier) -> GradientStoppers:
    """Return the operations between pixels and logits that let no gradient pass; () where the runtime has no gradient."""
    stoppers: GradientStoppers = getattr(classifier, "gradient_stoppers", ())
    return stoppers


def blocked_gradients(classifier: Classifier) -> GradientStoppers:
    """Return those of `gradient_stoppers` through which no gradient can be passed, because no input has the output's shape."""
    blocked: GradientStoppers = getattr(classifier, "blocked_gradients", ())
    return blocked


def has_quantized_activations(classifier: Classifier) -> bool:
    """Tell whether the logits are computed from rounded activations, so that a change below one code moves them by rounding alone."""
    return bool(getattr(classifier, "quantized_activations", False))


def has_known_operations(classifier: Classifier) -> bool:
    """Tell whether the operations between pixels and logits are known, so that `gradient_stoppers` is complete."""
    return hasattr(classifier, "gradient_stoppers")
