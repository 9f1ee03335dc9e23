"""ART's projected gradient descent as a second opinion on the own one. Legend: N images, H W C pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.attacks.art.surroundings import home_elsewhere, quiet, seeded
from safeml.classifiers.base import DifferentiableClassifier
from safeml.threats import Threat


def art_pgd(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    steps: int,
    step_size: float,
    seed: int,
    batch: int,
) -> np.ndarray:
    """ART's projected gradient descent with one random start, untargeted.

    images: float32 [N, H, W, C], 0..1. labels: int [N]. step_size: in pixel units of 0..1.
    Returns ART's last iterates, float32 [N, H, W, C]; the caller projects and re-predicts them.

    References: M.-I. Nicolae et al., "Adversarial Robustness Toolbox v1.0.0", 2018.
    """
    attack = art_pgd_attack(art_classifier(classifier, images.shape[1:]), threat, steps, step_size, batch)
    with quiet(), seeded(seed):
        adversarial = attack.generate(x=images, y=np.eye(classifier.classes, dtype=np.float32)[labels])
    return np.asarray(adversarial, dtype=np.float32)


def art_pgd_attack(estimator: Any, threat: Threat, steps: int, step_size: float, batch: int) -> Any:
    """ART's own attack object for an `art_classifier`; its `generate(x, y)` takes one-hot labels."""
    with home_elsewhere():
        from art.attacks.evasion import ProjectedGradientDescent

    return ProjectedGradientDescent(
        estimator=estimator,
        norm=np.inf if threat.norm == "linf" else 2,
        eps=threat.epsilon,
        eps_step=step_size,
        max_iter=steps,
        num_random_init=1,
        batch_size=batch,
        verbose=False,
    )


def art_classifier(classifier: DifferentiableClassifier, shape: tuple[int, ...]) -> Any:
    """The classifier's logits as ART's `TensorFlowV2Classifier` for images [H, W, C] of `shape` in 0..1."""
    import keras

    with home_elsewhere():
        from art.estimators.classification import TensorFlowV2Classifier

    def model(pixels: Any, training: bool = False) -> Any:
        # Inference mode whatever ART asks for: what is deployed is what is attacked.
        return classifier.logits(pixels)

    return TensorFlowV2Classifier(
        model=model,
        nb_classes=classifier.classes,
        input_shape=shape,
        # Logits, or the loss would take a softmax of a softmax and the gradient would fade.
        loss_object=keras.losses.CategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
    )
