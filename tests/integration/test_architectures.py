"""The architectures of the recipes: shapes, sizes by closed form, and that what is saved passes the project's own scan."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from safeml.config.recipe import Recipe
from tests.opening import open_here

pytestmark = pytest.mark.slow

OWN = tuple(name for name in get_args(Recipe.model_fields["architecture"].annotation) if name != "backbone")


def test_the_registry_and_the_recipe_know_the_same_names() -> None:
    from safeml.training.architectures.registry import ARCHITECTURES

    assert set(ARCHITECTURES) == set(OWN)


@pytest.mark.parametrize("classes", [2, 43])
@pytest.mark.parametrize("name", OWN)
def test_logits_of_any_number_of_classes(name: str, classes: int) -> None:
    from safeml.training.architectures.registry import ARCHITECTURES

    model = ARCHITECTURES[name](32, 32, classes, base=16, dropout=0.1, bn_momentum=0.9)
    images = np.random.default_rng(0).random((3, 32, 32, 3), np.float32)
    logits = np.asarray(model(images, training=False))
    assert logits.shape == (3, classes)
    assert np.isfinite(logits).all()
    assert np.ptp(logits.sum(axis=1)) > 0  # the answer depends on the image
    assert model.layers[-1].get_config()["activation"] == "linear"


@pytest.mark.parametrize("name", OWN)
def test_a_saved_model_passes_the_scan_and_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    from safeml.settings.model import InputSettings
    from safeml.training.architectures.registry import ARCHITECTURES

    model = ARCHITECTURES[name](32, 32, 5, base=16, dropout=0.1, bn_momentum=0.9)
    model.save(tmp_path / "m.keras")
    images = np.random.default_rng(1).random((4, 32, 32, 3), np.float32)
    classifier = open_here(tmp_path / "m.keras").fed(InputSettings(), tuple("abcde"), name)
    np.testing.assert_allclose(
        classifier.predict_logits(images), np.asarray(model(images, training=False)), atol=1e-4
    )


def test_sizes_by_closed_form() -> None:
    from safeml.training.architectures.registry import ARCHITECTURES

    def size(name: str, base: int, classes: int = 43) -> int:
        return int(
            ARCHITECTURES[name](32, 32, classes, base=base, dropout=0.0, bn_momentum=0.9).count_params()
        )

    def conv(size: int, before: int, after: int) -> int:
        return size * size * before * after + after

    # 32 -> 28 -> 26 -> pooled 13 -> 11 -> pooled 5
    convolutions = conv(5, 3, 32) + conv(3, 32, 64) + conv(3, 64, 64)
    assert size("safeml_cnn", 32) == convolutions + (5 * 5 * 64 + 1) * 256 + (256 + 1) * 43
    # 64 tokens of 64 numbers, 4 blocks: attention 4 (d^2 + d), two layers of width 2d, two normalisations
    d, tokens = 64, 64
    block = 4 * (d * d + d) + (d * 2 * d + 2 * d) + (2 * d * d + d) + 2 * 2 * d
    stem = 9 * 3 * d // 2 + 4 * d // 2 + 9 * d // 2 * d + 4 * d
    assert size("vit", d) == stem + d * d + tokens * d + 4 * block + 2 * d + (d + 1) * 43


def test_every_token_of_the_transformer_knows_its_place() -> None:
    """Without the bias of each place, the mean over tokens would not see where a token stands."""
    from safeml.training.architectures.registry import ARCHITECTURES

    model = ARCHITECTURES["vit"](32, 32, 5, base=16, dropout=0.0, bn_momentum=0.9)
    images = np.zeros((2, 32, 32, 3), np.float32)
    images[0, 8:12, 8:12], images[1, 20:24, 20:24] = 1.0, 1.0  # the same patch at two inner places
    before = np.asarray(model(images, training=False))
    np.testing.assert_allclose(before[0], before[1], atol=1e-5)  # places start alike ...
    layer = model.get_layer("embedding")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, np.random.default_rng(0).normal(size=bias.shape)])
    after = np.asarray(model(images, training=False))
    assert np.abs(after[0] - after[1]).max() > 1e-3  # ... and are told apart once their biases differ
