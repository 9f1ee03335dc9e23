"""Heads that are taken off exactly, feature maps with a gradient known by hand, and what lets no gradient pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.attacks.stopped import hidden_gradient
from safeml.attacks.views import straight_through
from safeml.classifiers.base import blocked_gradients, feature_maps, gradient_stoppers, is_differentiable
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


def between(name: str) -> Any:
    """What stands between a convolution and a dense layer in the test below."""
    import keras

    layers, ops = keras.layers, keras.ops
    functions: dict[str, Any] = {
        "nothing": layers.ReLU(),
        "moments": layers.LayerNormalization(),
        "logsumexp": lambda x: x - ops.logsumexp(x, axis=-1, keepdims=True),
        "threshold": layers.ReLU(threshold=0.1),
        "winners": lambda x: x * ops.cast(x >= ops.mean(x, axis=-1, keepdims=True), "float32"),
        "leaky": lambda x: ops.where(x > 0.0, x, 0.1 * x),
        "straight-through": lambda x: x + ops.stop_gradient(ops.round(x) - x),
        "stop": ops.stop_gradient,
        "decoy": lambda x: ops.stop_gradient(x) + 0.01 * ops.tanh(x),
        "round": lambda x: ops.round(8 * x) / 8,
        "floor": lambda x: ops.floor(8 * x) / 8,
        "sign": ops.sign,
        "integers": lambda x: ops.cast(ops.cast(20 * x, "int32"), "float32") / 20,
        "binary": lambda x: ops.cast(x > 0.0, "float32"),
        "where": lambda x: ops.where(x > 0.0, 1.0, -1.0),
        "one-hot": lambda x: ops.one_hot(ops.argmax(x, axis=-1), 4),
        "index": lambda x: ops.cast(ops.argmax(x, axis=-1), "float32"),
    }
    return functions[name]


@pytest.mark.parametrize(
    ("name", "operations", "hides"),
    [
        ("nothing", "", False),
        ("moments", "StopGradient", False),  # of the mean, by which a variance has no gradient
        ("logsumexp", "StopGradient", False),
        ("threshold", "", False),  # x * (x > t): the gradient is that of x
        ("winners", "", False),
        ("leaky", "", False),
        ("straight-through", "Round StopGradient", False),
        ("stop", "StopGradient", True),
        ("decoy", "StopGradient", True),
        ("round", "Round", True),
        ("floor", "Floor", True),
        ("sign", "Sign", True),
        ("integers", "Cast", True),
        ("binary", "Cast", True),
        ("where", "SelectV2", True),
        ("one-hot", "ArgMax Cast OneHot", True),
        ("index", "ArgMax Cast", False),
    ],
)
def test_operations_without_a_gradient_are_named_and_passed(
    tmp_path: Path, name: str, operations: str, hides: bool
) -> None:
    """The straight-through view computes the same logits bit by bit, and has a gradient where the model's is hidden."""
    import keras
    import tensorflow as tf

    source = keras.Input((8, 8, 3))
    hidden = between(name)(keras.layers.Conv2D(4, 3)(source))
    model = keras.Model(source, keras.layers.Dense(3)(keras.layers.Flatten()(hidden)))
    pixels = images() / np.float32(255)
    loaded = [wrap(model, InputSettings(), NAMES, "m")]
    if name in ("moments", "decoy", "sign", "integers"):
        loaded.append(exported(model, tmp_path).fed(InputSettings(), NAMES, "m"))
    for classifier in loaded:
        assert {operation for operation, _ in gradient_stoppers(classifier)} == set(operations.split())
        # No tensor of floats has the shape of an index.
        assert {operation for operation, _ in blocked_gradients(classifier)} == (
            {"Cast"} if name == "index" else set()
        )
        view = straight_through(classifier)
        same = tf.function(view.logits)(tf.constant(pixels))
        np.testing.assert_array_equal(same, classifier.predict_logits(pixels))
        if operations:
            distance = hidden_gradient(classifier, view, pixels, batch=4)
            assert distance.shape == (len(pixels),)
            assert (distance > 0.5).all() if hides else (distance < 1e-4).all()


def test_the_gradient_past_a_stopped_copy_is_that_of_the_copied_model() -> None:
    """f = stop(g) + 0.01 h has the gradient of g + 0.01 h under the view, and that of 0.01 h without it."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(5)
    source = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(source)
    first, second = keras.layers.Dense(3), keras.layers.Dense(3)
    model = keras.Model(source, keras.ops.stop_gradient(first(flat)) + 0.01 * second(flat))
    classifier = wrap(model, InputSettings(), NAMES, "m")
    pixels = tf.constant(images() / np.float32(255))

    def gradient(logits: Any) -> np.ndarray:
        def slope(at: Any) -> Any:
            return tf.gradients(logits(at)[:, 1], at)[0]

        return np.asarray(tf.function(slope)(pixels)).reshape(len(pixels), -1)

    kernels = [layer.get_weights()[0][:, 1] for layer in (first, second)]
    np.testing.assert_allclose(gradient(classifier.logits), [0.01 * kernels[1]] * 6, atol=1e-7)
    passed = gradient(straight_through(classifier).logits)
    np.testing.assert_allclose(passed, [kernels[0] + 0.01 * kernels[1]] * 6, atol=1e-6)


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
