"""Networks of keras.applications as backbones: preprocessing, weights, and what is said where they do not fit."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from safeml.data.dataset import ImageDataset
from safeml.errors import ConfigError, InputRefused, SafemlError, StageError
from safeml.scan.scan import scan_path
from tests.integration.test_transfer import TINY, pixels, recipe_of, signs, transferred

pytestmark = pytest.mark.slow

# Keras is not imported while tests are collected: a process that holds it pays for that in each fork.
MODULES = (
    "convnext", "densenet", "efficientnet", "efficientnet_v2", "inception_resnet_v2", "inception_v3", "mobilenet", "mobilenet_v2",
    "mobilenet_v3", "nasnet", "resnet", "resnet50", "resnet_v2", "vgg16", "vgg19", "xception",
)  # fmt: skip


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _module(name: str) -> str:
    import keras

    return _last(getattr(keras.applications, name).__module__)


# Preprocessing.


def test_every_application_has_a_convention_and_a_function_to_compare_with() -> None:
    import keras

    from safeml.training.architectures.preprocessing import APPLICATIONS

    assert {name for name in dir(keras.applications) if name[0].isupper()} == set(APPLICATIONS)
    known = {
        name
        for name in dir(keras.applications)
        if isinstance(module := getattr(keras.applications, name), ModuleType)
        and hasattr(module, "preprocess_input")
    }
    assert known - {"imagenet_utils"} == set(MODULES)
    assert {_module(name) for name in APPLICATIONS} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_preprocessing_is_that_of_keras(name: str) -> None:
    import keras

    from safeml.training.architectures.preprocessing import APPLICATIONS, SCALINGS, preprocessing

    module = getattr(keras.applications, name)
    conventions = {
        APPLICATIONS[network]
        for network in APPLICATIONS
        if _module(network) == name or hasattr(module, network)
    }
    assert len(conventions) == 1
    convention = conventions.pop()
    images = pixels()
    images[0], images[1] = 0, 1
    expected = module.preprocess_input(images.astype(np.float64) * 255)
    found = np.asarray(preprocessing(convention)(images))
    if SCALINGS[convention].bgr:
        found = found[..., ::-1]
    assert np.abs(found - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max() / 2.7)


def test_a_network_that_wants_bgr_computes_the_same_of_rgb() -> None:
    import keras

    from safeml.training.architectures.preprocessing import preprocessing, take_rgb

    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    expected = np.asarray(model(keras.applications.vgg16.preprocess_input(pixels() * 255)))
    take_rgb(model, "caffe")
    found = np.asarray(model(preprocessing("caffe")(pixels())))
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert not np.allclose(
        np.asarray(model(preprocessing("caffe")(pixels()[..., ::-1]))), expected, rtol=1e-4
    )


def test_the_variance_in_files_of_efficientnet_is_put_right() -> None:
    import keras

    from safeml.training.architectures.weights import correct_normalization

    mean, std = np.array([0.485, 0.456, 0.406], "f"), np.array([0.229, 0.224, 0.225], "f")
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Normalization()])
    model.layers[0].set_weights([mean, std, np.zeros((), "int64")])
    correct_normalization(model, "EfficientNetB0")
    assert np.allclose(np.asarray(model(pixels())), (pixels() - mean) / std, atol=1e-4)
    correct_normalization(model, "EfficientNetB0")  # a true variance is left alone
    assert np.allclose(np.asarray(model(pixels())), (pixels() - mean) / std, atol=1e-4)


# Applications.


@pytest.mark.parametrize("name", ["EfficientNetB0", "RESNET50"])
def test_applications_are_built_flat(name: str, tmp_path: Path) -> None:
    import keras

    model, phases = transferred({"source": name, "weights": "none"}, tmp_path)
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 3)
    assert model.layers[-1].name == "logits"
    assert not [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert [phase.learning_rate for phase in phases] == [2e-3]
    assert "random weights" in phases[0].note
    if name == "EfficientNetB0":  # the other one is large
        model.save(tmp_path / "m.keras")
        assert scan_path(tmp_path / "m.keras").status == "accepted"


def test_weights_from_a_file_of_either_layout(tmp_path: Path) -> None:
    import keras
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    keras.utils.set_random_seed(1)
    source = keras.applications.MobileNetV2(
        include_top=False, weights=None, alpha=0.35, input_shape=(32, 32, 3)
    )
    expected = np.asarray(source(keras.applications.mobilenet_v2.preprocess_input(pixels() * 255))).mean(
        (1, 2)
    )
    source.save_weights(tmp_path / "new.weights.h5")
    with h5py.File(tmp_path / "old.h5", "w") as file:  # the layout of the published files
        save_weights_to_hdf5_group(file, source)
    for name in ("new.weights.h5", "old.h5"):
        model, phases = transferred({**TINY, "weights": name}, tmp_path, epochs=5)
        features = keras.Model(model.inputs[0], model.get_layer("pool").output)
        assert expected.max() > 0  # of random weights, and tiny
        assert np.allclose(np.asarray(features(pixels())), expected, rtol=1e-3, atol=1e-3 * expected.max())
        assert f"weights: {name}" in phases[0].note
        assert [(phase.first, phase.end) for phase in phases] == [(0, 2), (2, 5)]
        assert {layer.momentum for layer in model.layers if hasattr(layer, "momentum")} == {0.9}


def test_weights_that_are_not_those_of_the_network_are_one_sentence(tmp_path: Path) -> None:
    import keras

    from safeml.training.architectures.weights import with_weights

    model, other = (
        keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(channels, 3)]) for channels in (2, 4)
    )
    turned = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(2, 3), keras.layers.Dense(6, use_bias=False)])  # fmt: skip
    other.save_weights(tmp_path / "other.weights.h5")
    turned.save_weights(tmp_path / "turned.weights.h5")
    model.save(tmp_path / "whole.keras")
    (tmp_path / "evil.h5").write_bytes(b"\x80\x04\x95evil.")
    cases: dict[str, tuple[type[SafemlError], str]] = {
        "other.weights.h5": (InputRefused, "holds 2 arrays of 112 numbers; Net .* has 2 of 56"),
        "turned.weights.h5": (InputRefused, "so set weights of that network"),
        "imagnet": (ConfigError, 'did you mean "imagenet"'),
        "whole.keras": (ConfigError, "set it as backbone.source"),
        "evil.h5": (InputRefused, "pickle"),
    }
    for name, (kind, match) in cases.items():
        with pytest.raises(kind, match=match) as caught:
            with_weights(model, tmp_path / name, "Net", name, "recipe")
        assert "\n" not in str(caught.value)


def test_weights_that_cannot_be_fetched_are_an_error_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens: no network, wherever the test runs
    with pytest.raises(StageError, match=r"VGG16 cannot be fetched \(.*https://.*notop\.h5") as caught:
        transferred({"source": "VGG16", "weights": "imagenet"}, tmp_path, size=32)  # few layers to build
    assert 'backbone.weights = "its path"' in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"source": "MobilNetV2"}, 'did you mean "MobileNetV2"'),
        ({"source": "quite something else"}, "known are: ConvNeXtBase"),
        ({"source": "../nowhere/m.keras"}, "does not exist"),
        ({"source": "Xception", "weights": "none"}, "32x32 pixels.*at least 71x71"),
        (
            {"source": "ResNet50", "weights": "none", "alpha": 0.5},
            "backbone.alpha applies only to MobileNets",
        ),
        ({**TINY, "layer": "block_6_expnd"}, "similar: block_6_expand"),
    ],
)
def test_what_does_not_fit_is_one_sentence(settings: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        transferred(settings, tmp_path)
    assert "\n" not in str(caught.value)


def test_grey_images_are_one_sentence(tmp_path: Path) -> None:
    from safeml.training.architectures.backbone import transfer

    data = signs()
    grey = ImageDataset("grey", data.images[..., :1], data.labels, data.class_names)
    recipe = recipe_of(TINY)
    assert recipe.backbone is not None
    with pytest.raises(ConfigError, match="three channels"):
        transfer(recipe, recipe.backbone, grey, tmp_path)


def test_a_cut_inside_of_an_application_keeps_what_comes_before(tmp_path: Path) -> None:
    model, _ = transferred({**TINY, "layer": "block_3_project_BN"}, tmp_path)
    assert model.get_layer("pool").input.shape[1:] == (4, 4, 16)
    assert "block_4_expand" not in {layer.name for layer in model.layers}
