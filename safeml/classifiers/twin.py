"""An exported file that is audited with the gradients of another model. Legend: N images, H W C pixels, K classes.

The file that is deployed has no gradient (ONNX). The fake-quantized Keras model that it was exported from computes the same, and
has one. Every prediction is that of the file; the Keras model gives gradients, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from safeml.classifiers.base import Classifier, DifferentiableClassifier, InputSpec, head_of
from safeml.classifiers.batches import BatchSize
from safeml.errors import InputRefused
from safeml.results import GradientsIdentity
from safeml.wording import limit_percent, percent

# What the gradients model knows of its graph: feature maps, operations without a gradient, the view past them, rounding.
OF_GRADIENTS = (
    "feature_maps",
    "penultimate",
    "gradient_stoppers",
    "blocked_gradients",
    "logits_straight_through",
    "quantized_activations",
)
# Of the images that are compared on opening.
IMAGES = 256
# Share of the images of one predicted class in both. The same arithmetic differs at rounding ties alone.
LEAST_AGREEMENT = 0.99
# Root mean square of the difference of the logits, each centred on its image, as a share of that of the file's logits.
MOST_DIFFERENCE = 0.05


@dataclass(eq=False)
class ExportedClassifier:
    """A `DifferentiableClassifier` whose predictions are those of an exported file. Build it with `with_gradients`.

    artefact: the classifier under test.
    gradients: the model that gives the gradients.
    checked: how the two were compared.
    The other fields are those of the file; see `Classifier`.
    """

    name: str
    spec: InputSpec
    classes: int
    parameters: int
    fingerprint: str
    notes: tuple[str, ...]
    batch: BatchSize
    artefact: Classifier
    gradients: DifferentiableClassifier
    checked: GradientsIdentity

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] uint8, or float32 in 0..1 -> float32 [N, K], of the file."""
        return self.artefact.predict_logits(images)

    def features(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] -> float32 [N, F], of the file."""
        return self.artefact.features(images)

    def logits(self, pixels: Any) -> Any:
        """tf.Tensor float32 [N, H, W, C] in 0..1 -> tf.Tensor float32 [N, K], of the model with the gradients."""
        return self.gradients.logits(pixels)

    def deployed_logits(self, pixels: Any) -> Any:
        """tf.Tensor float32 [N, H, W, C] in 0..1 -> the file's logits, tf.Tensor float32 [N, K]; without a gradient."""
        import tensorflow as tf

        logits = tf.numpy_function(
            lambda images: np.asarray(self.predict_logits(images), np.float32), [pixels], tf.float32
        )
        # A loop of an attack needs the number of images where it is known.
        return tf.ensure_shape(logits, [pixels.shape[0], self.classes])

    def __getattr__(self, name: str) -> Any:
        """Return what the gradients model knows of its graph."""
        if name in OF_GRADIENTS:
            return getattr(self.gradients, name)
        raise AttributeError(name)


def with_gradients(
    artefact: Classifier, gradients: DifferentiableClassifier, images: np.ndarray, where: str
) -> ExportedClassifier:
    """Join a file and the model that it was exported from, after a comparison of their predictions.

    images: uint8 [N, H, W, C]; `IMAGES` of them at equal distances are compared, because data are often sorted by class.
    where: names the setting and the file of `gradients`.
    Raises InputRefused where the two do not predict the same: attacks along another model's gradients fail more often, and the
    file would look robust.
    """
    shown = images[np.linspace(0, len(images) - 1, min(IMAGES, len(images))).astype(int)]
    own, other = (np.asarray(model.predict_logits(shown), np.float64) for model in (artefact, gradients))
    if not (np.isfinite(own).all() and np.isfinite(other).all()):
        raise InputRefused(f"{where}: logits on the test images are not finite, in it or in {artefact.name}.")
    values = head_of(artefact) == "regression"
    agreement = float((own.argmax(axis=1) == other.argmax(axis=1)).mean())
    # A constant added to all logits of an image changes no probability; added to a value, it is an error. Values are centred over
    # the images, so that their size is how much they differ from image to image.
    centred = own - own.mean(axis=0 if values else 1, keepdims=True)
    change = other - own if values else other - other.mean(axis=1, keepdims=True) - centred
    size = float(np.sqrt(np.mean(centred**2)))
    difference = float(np.sqrt(np.mean(change**2))) / size if size > 0 else float(np.abs(change).max() > 0)
    if values and difference > MOST_DIFFERENCE:
        raise InputRefused(
            f"{where}: its values differ from those of {artefact.name} by {percent(difference)} of their spread over {len(shown)} test "
            f"images; expected at most {limit_percent(MOST_DIFFERENCE)}. Set the fake-quantized model that the file was exported from."
        )
    if not values and (agreement < LEAST_AGREEMENT or difference > MOST_DIFFERENCE):
        raise InputRefused(
            f"{where}: predicts the class of {artefact.name} for {percent(agreement)} of {len(shown)} test images, and its logits "
            f"differ by {percent(difference)} of their size; expected at least {limit_percent(LEAST_AGREEMENT)} and at most "
            f"{limit_percent(MOST_DIFFERENCE)}. Set the fake-quantized model that the file was exported from."
        )
    checked = GradientsIdentity(
        name=gradients.name,
        fingerprint=gradients.fingerprint,
        images=len(shown),
        agreement=None if values else agreement,
        difference=difference,
        largest=float(np.abs(other - own).max()),
    )
    return ExportedClassifier(
        artefact.name,
        artefact.spec,
        artefact.classes,
        artefact.parameters,
        artefact.fingerprint,
        artefact.notes,
        artefact.batch,
        artefact,
        gradients,
        checked,
    )
