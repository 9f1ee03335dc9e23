"""The architectures by their name in a recipe.

A new one is one file, one row here and its name in `safeml/config/recipe.py`. All map float32 [N, H, W, 3] in 0..1 to
logits [N, K]. `bn_momentum` is 0.9 for short fits: with Keras' default of 0.99 the moving statistics would still be those
of the first steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras

from safeml.config.recipe import Recipe
from safeml.data.dataset import ImageDataset
from safeml.training.architectures.inverted import efficientnet, mobilenet_v2
from safeml.training.architectures.lenet import lenet
from safeml.training.architectures.resnet import resnet18
from safeml.training.architectures.safeml_cnn import safeml_cnn
from safeml.training.architectures.vit import vit
from safeml.training.phases import Phase, whole
from safeml.training.regression import in_units

ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {
    "lenet": lenet,
    "safeml_cnn": safeml_cnn,
    "resnet18": resnet18,
    "mobilenet_v2": mobilenet_v2,
    "efficientnet": efficientnet,
    "vit": vit,
}


def build(recipe: Recipe, train: ImageDataset, base: Path) -> tuple[keras.Model, tuple[Phase, ...]]:
    """Build the untrained model of a recipe for the images of `train`, and its training phases.

    base: folder of relative paths of a backbone.
    """
    height, width = train.images.shape[1:3]
    if recipe.backbone is not None:
        from safeml.training.architectures.backbone import transfer

        return transfer(recipe, recipe.backbone, train, base)
    model = ARCHITECTURES[recipe.architecture](
        height,
        width,
        len(train.outputs),
        base=recipe.width,
        dropout=recipe.dropout,
        bn_momentum=recipe.bn_momentum,
    )
    if train.targets is not None:
        model = in_units(model, train.targets)
    return model, whole(recipe)
