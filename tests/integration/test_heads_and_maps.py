"""Heads that are taken off exactly, feature maps with a gradient known by hand, and what lets no gradient pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.classifiers.base import feature_maps, gradient_stoppers, is_differentiable
from safeml.classifiers.keras import wrap
from safeml.classifiers.onnx import load_onnx
from safeml.classifiers.saved_model import load_saved_model
from safeml.errors import InputRefused, StageError
from safeml.settings.model import InputSettings
from tests.fakes import Answers

pytestmark = pytest.mark.slow

NAMES = ("a", "b", "c")
BYTES = InputSettings(range=(0, 255))


def images(count: int = 6) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def convolution(*head: Any, before: tuple[Any, ...] = (), dtype: str = "float32") -> Any:
    """Six maps, their mean, and a dense layer to three logits, then `head`."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    body = [layers.Conv2D(6, 3), layers.ReLU(), layers.MaxPooling2D(), layers.GlobalAveragePooling2D()]
    return keras.Sequential([layers.Input((8, 8, 3), dtype=dtype), *before, *body, layers.Dense(3), *head])


def logits_of(model: Any, scale: float = 1 / 255) -> np.ndarray:
    import keras

    dense = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    return np.asarray(keras.Model(model.inputs[0], dense.output)(images() * np.float32(scale)), np.float32)


def exported(model: Any, folder: Path) -> Any:
    model.export(folder / "m", verbose=False)
    return load_saved_model(folder / "m", "m")


@pytest.mark.parametrize("form", ["keras", "saved model"])
def test_the_gradient_by_the_feature_maps_is_the_closed_form(tmp_path: Path, form: str) -> None:
    """logit_k = sum_d w_dk mean(maxpool(maps_d)) + b_k: a map's largest value in each pool has the gradient w_dk / 9."""
    import tensorflow as tf

    model = convolution(__import__("keras").layers.Softmax())
    classifier = (
        wrap(model, InputSettings(), NAMES, "m")
        if form == "keras"
        else exported(model, tmp_path).fed(InputSettings(), NAMES, "m")
    )
    before = classifier.predict_logits(images())
    pixels, classes = tf.constant(images() / np.float32(255)), np.array([0, 1, 2, 2, 1, 0])
    maps, gradient = (np.asarray(part) for part in feature_maps(classifier).gradient(pixels, classes))
    expected = np.asarray(model.layers[1](model.layers[0](pixels)))  # after the ReLU, before the pooling
    assert maps.shape == gradient.shape == (6, 6, 6, 6)
    assert np.abs(maps - expected).max() < 1e-5
    assert np.array_equal(np.asarray(feature_maps(classifier).of(pixels)), maps)
    kernel = model.layers[-2].get_weights()[0]
    blocks = gradient.reshape(6, 3, 2, 3, 2, 6).sum(axis=(2, 4))  # one value of each pool has it all
    assert np.abs(blocks - (kernel.T[classes] / 9)[:, None, None, :]).max() < 1e-6
    assert np.array_equal(classifier.predict_logits(images()), before)


def test_what_has_no_maps_says_so_in_one_sentence() -> None:
    import keras

    flat = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(StageError, match=r"^m: gives no feature maps"):
        feature_maps(wrap(flat, InputSettings(), NAMES, "m"))
    answers = Answers(np.zeros((1, 3)))
    with pytest.raises(StageError, match="gives no feature maps"):
        feature_maps(answers)
    assert not is_differentiable(answers)
    assert gradient_stoppers(answers) == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("stop_gradient", "StopGradient"), ("round", "Round"), ("sign", "Sign"), ("floor", "Floor"), (None, "")],
)
def test_operations_without_a_gradient_are_named(tmp_path: Path, name: str | None, expected: str) -> None:
    import keras

    source = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(source)
    x = getattr(keras.ops, name)(x) if name else x
    model = keras.Model(source, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    for classifier in (
        wrap(model, InputSettings(), NAMES, "m"),
        exported(model, tmp_path).fed(InputSettings(), NAMES, "m"),
    ):
        assert is_differentiable(classifier)
        assert {operation for operation, _ in gradient_stoppers(classifier)} == (
            {expected} if name else set()
        )


def heads() -> dict[str, Any]:
    import keras

    layers, source = keras.layers, keras.Input((3,))
    return {
        "softmax layer": [layers.Softmax()],
        "softmax activation": [layers.Activation("softmax")],
        "float32 after it": [layers.Activation("softmax"), layers.Activation("linear")],
        "nested": [keras.Sequential([keras.Input((3,)), layers.Softmax()])],
        "operation in a nested model": [keras.Model(source, keras.ops.softmax(source))],
        "sigmoids": [layers.Activation("sigmoid")],
    }


@pytest.mark.parametrize("name", list(range(6)))
@pytest.mark.parametrize("form", ["keras", "saved model"])
def test_a_common_head_is_taken_off_exactly(tmp_path: Path, name: int, form: str) -> None:
    title, head = list(heads().items())[name]
    model = convolution(*head)
    expected = logits_of(model)
    if form == "keras":
        classifier = wrap(model, InputSettings(), NAMES, "m")
    else:
        classifier = exported(model, tmp_path).fed(InputSettings(), NAMES, "m")
    assert np.abs(classifier.predict_logits(images()) - expected).max() < 1e-5
    assert classifier.spec.outputs == ("sigmoids" if title == "sigmoids" else "probabilities")


@pytest.mark.parametrize("form", ["keras", "saved model"])
def test_one_sigmoid_is_two_classes_and_one_bare_output_is_refused(tmp_path: Path, form: str) -> None:
    import keras

    layers = keras.layers
    source = keras.Input((8, 8, 3))
    logit = layers.Dense(1)(layers.Flatten()(source))
    model = keras.Model(source, layers.Activation("sigmoid")(logit))
    expected = np.asarray(keras.Model(source, logit)(images() / np.float32(255)))

    def read(model: Any, place: Path) -> Any:
        if form == "keras":
            return wrap(model, InputSettings(), ("no", "yes"), "m")
        return exported(model, place).fed(InputSettings(), ("no", "yes"), "m")

    rows = read(model, tmp_path).predict_logits(images())
    assert np.array_equal(rows[:, 0], np.zeros(6))
    assert np.abs(rows[:, 1:] - expected).max() < 1e-5
    with pytest.raises(InputRefused, match="one sigmoid for two classes"):
        read(keras.Model(source, logit), tmp_path / "bare")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_a_head_in_half_precision_gives_logits_in_float32(policy: str, activation: str | None) -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Flatten(dtype=policy),
            layers.Dense(5, dtype=policy),
            layers.Dense(3, activation=activation, dtype=policy),
        ]
    )
    kernel, bias = model.layers[-1].get_weights()
    features = keras.Model(model.inputs[0], model.layers[-2].output)(images() / np.float32(255))
    expected = np.asarray(keras.ops.cast(features, "float32")) @ kernel + bias
    classifier = wrap(model, InputSettings(), NAMES, "m")
    assert np.abs(classifier.predict_logits(images()) - expected).max() < 1e-5
    assert any("read as float32" in note for note in classifier.notes)


@pytest.mark.parametrize("form", ["keras", "saved model"])
def test_a_model_of_integers_answers_and_is_differentiated_as_its_float_twin(
    tmp_path: Path, form: str
) -> None:
    import keras
    import tensorflow as tf

    twin = convolution(before=(keras.layers.Rescaling(1 / 255),))
    model = convolution(before=(keras.layers.Rescaling(1 / 255),), dtype="uint8")
    model.set_weights(twin.get_weights())

    def gradient(classifier: Any) -> np.ndarray:
        @tf.function
        def run(pixels: Any) -> Any:
            return tf.gradients(classifier.logits(pixels)[:, 1], pixels)[0]

        return np.asarray(run(tf.constant(images() / np.float32(255))))

    reference = wrap(twin, BYTES, NAMES, "m")
    if form == "keras":
        classifier = wrap(model, BYTES, NAMES, "m")
    else:
        classifier = exported(model, tmp_path).fed(BYTES, NAMES, "m")
    assert np.abs(classifier.predict_logits(images()) - np.asarray(model(images()))).max() < 1e-5
    assert np.abs(gradient(reference)).max() > 1e-4
    assert np.abs(gradient(classifier) - gradient(reference)).max() < 1e-5
    assert gradient_stoppers(classifier) == ()
    if form == "keras":
        with pytest.raises(InputRefused, match=r"model.input.range = \[0, 255\]"):
            wrap(model, InputSettings(), NAMES, "m")


def test_an_onnx_file_of_bytes_is_fed_whole_numbers(tmp_path: Path) -> None:
    import onnx
    from onnx import helper, numpy_helper

    weights = np.arange(9, dtype=np.float32).reshape(3, 3) / 1000
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=1),
        helper.make_node("ReduceMean", ["f"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, ["N", 8, 8, 3])],
        [helper.make_tensor_value_info("y", 1, ["N", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    classifier = load_onnx(tmp_path / "m.onnx", "m").fed(BYTES, NAMES, "m")
    expected = images().mean(axis=(1, 2)) @ weights
    assert np.abs(classifier.predict_logits(images()) - expected).max() < 1e-4


def test_a_refusal_names_the_whole_chain_of_causes() -> None:
    from safeml.classifiers.head import causes

    try:
        try:
            raise KeyError("the inner cause")
        except KeyError as inner:
            raise ValueError("the outer sentence.\nits second line") from inner
    except ValueError as error:
        said = causes(error)
    assert said == "the outer sentence. its second line; because: 'the inner cause'"
