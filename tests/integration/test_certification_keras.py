"""Interval bounds of Keras models: every supported layer by brute force, the ends of a classifier, and what is refused."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from safeml.certification.base import NotCertifiable
from safeml.errors import StageError
from safeml.settings.model import InputSettings
from tests.opening import open_here

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
SIDE = 8


def pixels(count: int, depth: int = 3, seed: int = 0) -> np.ndarray:
    images = np.random.default_rng(seed).uniform(0, 1, (count, SIDE, SIDE, depth)).astype(np.float32)
    images[0] = 0
    return images


def randomised(model, seed: int = 1):
    """Random weights everywhere: new models have biases of 0 and statistics of 0 and 1, which hide mistakes."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        positive = "variance" in weight.path
        drawn = rng.uniform(0.2, 2.0, weight.shape) if positive else rng.normal(0, 0.5, weight.shape)
        weight.assign(drawn.astype(np.float32))
    return model


def classifier_of(model, **contract):
    from safeml.classifiers.keras import wrap

    names = tuple(str(k) for k in range(model.outputs[0].shape[1]))
    return wrap(model, InputSettings(**contract), names, "tested")


def model_of(*layers_, depth: int = 3):
    import keras

    return randomised(keras.Sequential([keras.Input((SIDE, SIDE, depth)), *layers_]))


def residual(merge: str):
    import keras
    from keras import layers

    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    y = layers.Conv2D(4, 3, padding="same")(x)
    merged = getattr(layers, merge)()([y, x])
    return randomised(keras.Model(image, layers.Flatten()(merged)))


def supported() -> dict:
    from keras import layers

    return {
        "dense": lambda: model_of(layers.Flatten(), layers.Dense(5, activation="relu"), layers.Dense(4)),
        "dense on pixels": lambda: model_of(layers.Dense(2), layers.Flatten()),
        "conv same": lambda: model_of(
            layers.Conv2D(2, 3, strides=2, padding="same", activation="relu"), layers.Flatten()
        ),
        "conv valid": lambda: model_of(layers.Conv2D(2, (3, 2), strides=(1, 2)), layers.Flatten()),
        "depthwise": lambda: model_of(
            layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), layers.Flatten()
        ),
        "separable": lambda: model_of(layers.SeparableConv2D(2, 3), layers.Flatten()),
        "relu": lambda: model_of(layers.Dense(3), layers.ReLU(), layers.Flatten()),
        "relu6": lambda: model_of(layers.Rescaling(20.0, -4.0), layers.Activation("relu6"), layers.Flatten()),
        "leaky relu": lambda: model_of(
            layers.Dense(3), layers.LeakyReLU(negative_slope=0.2), layers.Flatten()
        ),
        "max pooling": lambda: model_of(
            layers.Dense(3), layers.MaxPooling2D(3, 2, padding="same"), layers.Flatten()
        ),
        "average pooling": lambda: model_of(
            layers.Dense(3), layers.AveragePooling2D(3, 2, padding="same"), layers.Flatten()
        ),
        "global average": lambda: model_of(layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()),
        "global max": lambda: model_of(layers.Conv2D(4, 3), layers.GlobalMaxPooling2D()),
        "reshape": lambda: model_of(
            layers.Reshape((SIDE * SIDE, 3)), layers.Permute((2, 1)), layers.Flatten()
        ),
        "padding": lambda: model_of(
            layers.ZeroPadding2D(((1, 2), (0, 1))), layers.Conv2D(2, 3), layers.Flatten()
        ),
        "normalisation": lambda: model_of(
            layers.Conv2D(3, 3, use_bias=False), layers.BatchNormalization(), layers.Flatten()
        ),
        "rescaling": lambda: model_of(layers.Rescaling([2.0, -3.0, 0.5], [0.1, 0.2, -0.3]), layers.Flatten()),
        "dropout": lambda: model_of(layers.Dropout(0.5), layers.Flatten(), layers.Dense(3)),
        "residual add": lambda: residual("Add"),
        "residual subtract": lambda: residual("Subtract"),
        "concatenate": lambda: residual("Concatenate"),
    }


LAYERS = [
    "dense",
    "dense on pixels",
    "conv same",
    "conv valid",
    "depthwise",
    "separable",
    "relu",
    "relu6",
    "leaky relu",
    "max pooling",
    "average pooling",
    "global average",
    "global max",
    "reshape",
    "padding",
    "normalisation",
    "rescaling",
    "dropout",
    "residual add",
    "residual subtract",
    "concatenate",
]


@pytest.mark.parametrize("name", LAYERS)
def test_samples_of_the_box_lie_in_the_bounds_of_each_layer(name):
    from safeml.certification.ibp import logit_bounds

    classifier = classifier_of(supported()[name]())
    images, rng, epsilon = pixels(3), np.random.default_rng(2), 0.1
    lower, upper = logit_bounds(classifier, images, epsilon, batch=3)
    for row, image in enumerate(images):
        signs = rng.choice(np.float32([-1, 1]), (84, *image.shape))
        signs[60:] = rng.uniform(-1, 1, signs[60:].shape)
        # Changes of one sign reach the ends of what rises or falls in all pixels.
        signs[:2] = np.float32([1, -1])[:, None, None, None]
        found = classifier.predict_logits(np.clip(image + np.float32(epsilon) * signs, 0, 1))
        assert ((found >= lower[row]) & (found <= upper[row])).all()
    # At epsilon 0 nothing is left but rounding, so the bounds are the model.
    lower, upper = logit_bounds(classifier, images, 0.0, batch=3)
    logits = classifier.predict_logits(images)
    assert ((lower <= logits) & (logits <= upper)).all()
    assert (upper - lower).max() < 2e-3 * max(1.0, np.abs(logits).max())


@pytest.mark.parametrize("name", ["dense on pixels", "conv same", "depthwise", "normalisation", "rescaling"])
def test_bounds_of_one_layer_are_reached(name):
    """One layer between pixels and logits loses nothing: steepest corners come as far as its bounds say."""
    import tensorflow as tf

    from safeml.certification.ibp import logit_bounds

    classifier = classifier_of(supported()[name]())
    epsilon = np.float32(0.01)
    image = np.full((1, SIDE, SIDE, 3), 0.5, np.float32)
    lower, upper = logit_bounds(classifier, image, float(epsilon), batch=1)
    for k in range(0, upper.shape[1], 7):
        with tf.GradientTape() as tape:
            x = tf.constant(image)
            tape.watch(x)
            value = classifier.logits(x)[0, k]
        sign = np.sign(tape.gradient(value, x).numpy())
        high = classifier.predict_logits(image + epsilon * sign)[0, k]
        low = classifier.predict_logits(image - epsilon * sign)[0, k]
        assert high == pytest.approx(upper[0, k], abs=2e-4)
        assert low == pytest.approx(lower[0, k], abs=2e-4)


@pytest.mark.parametrize(
    ("contract", "depth"),
    [
        ({"channels": "bgr", "range": (0.0, 255.0), "mean": (104.0, 117.0, 123.0)}, 3),
        ({"range": (1.0, -1.0), "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.25, 0.125)}, 3),
        ({"channels": "grey"}, 3),
        ({"class_order": (2, 0, 3, 1)}, 3),
    ],
)
def test_the_input_contract_and_the_order_of_classes_are_part_of_what_is_certified(contract, depth):
    from keras import layers

    from safeml.certification.ibp import certified_radius, logit_bounds

    taken = 1 if contract.get("channels") == "grey" else 3
    model = model_of(
        layers.Conv2D(3, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(4, activation="softmax"),
        depth=taken,
    )
    classifier = classifier_of(model, **contract)
    images = pixels(20, depth)
    labels = classifier.predict_logits(images).argmax(1)
    radius = certified_radius(classifier, images, labels, most=0.5, batch=20)
    assert (radius > 0).sum() > 10
    rng = np.random.default_rng(3)
    for row in np.flatnonzero(radius > 0):
        signs = rng.choice(np.float32([-1, 1]), (100, *images.shape[1:]))
        moved = np.clip(images[row] + np.float32(radius[row]) * signs, 0, 1)
        assert (classifier.predict_logits(moved).argmax(1) == labels[row]).all()
    lower, upper = logit_bounds(classifier, images, 0.0, batch=20)
    logits = classifier.predict_logits(images)
    assert (upper - lower).max() < 1e-3 * np.abs(logits).max()
    assert np.array_equal(((lower + upper) / 2).argmax(1), labels)


def test_a_larger_ball_certifies_no_more_and_bounds_widen():
    from keras import layers

    from safeml.certification.ibp import certify_linf, logit_bounds

    classifier = classifier_of(
        model_of(layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(4))
    )
    images = pixels(40)
    labels = classifier.predict_logits(images).argmax(1)
    epsilons = (0.0, 0.001, 0.004, 0.02, 0.1, 1.0)
    held = [certify_linf(classifier, images, labels, epsilon, batch=16) for epsilon in epsilons]
    for smaller, larger in pairwise(held):
        assert (smaller | ~larger).all()
    assert held[0].sum() > held[3].sum() > held[-1].sum() == 0
    np.testing.assert_array_equal(held[2], certify_linf(classifier, images, labels, 0.004, batch=40))
    before = logit_bounds(classifier, images, 0.001)
    after = logit_bounds(classifier, images, 0.02)
    assert (after[0] < before[0]).all()
    assert (after[1] > before[1]).all()
    assert certify_linf(classifier, images[:0], labels[:0], 0.1).shape == (0,)


def test_what_a_layer_computes_is_certified_and_not_what_it_is_called():
    """A layer that is a Dense by its class and configuration, and computes the negative."""
    import keras
    from keras import layers

    from safeml.certification.ibp import logit_bounds

    class Contrary(layers.Dense):
        def call(self, inputs):
            return -super().call(inputs)

    shared = layers.Dense(6, activation="relu")  # and one layer used twice
    image = keras.Input((SIDE, SIDE, 3))
    x = Contrary(6)(layers.Flatten()(image))
    classifier = classifier_of(randomised(keras.Model(image, layers.Dense(3)(shared(shared(x))))))
    images = pixels(5)
    lower, upper = logit_bounds(classifier, images, 0.0, batch=5)
    logits = classifier.predict_logits(images)
    assert ((lower <= logits) & (logits <= upper)).all()


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (lambda layers: layers.Activation("tanh", name="odd_one"), "Tanh.*odd_one"),
        (lambda layers: layers.LayerNormalization(name="odd_one"), "odd_one"),
        (lambda layers: layers.Softmax(name="odd_one"), "Softmax.*odd_one"),
        (lambda layers: layers.UnitNormalization(name="odd_one"), "odd_one"),
        (lambda layers: layers.Conv2D(3, 2, dilation_rate=2, name="odd_one"), "odd_one"),
        (lambda layers: layers.Conv2D(3, 2, groups=3, name="odd_one"), "odd_one"),
        (lambda layers: layers.Conv2D(3, 2, dtype="mixed_float16", name="odd_one"), "odd_one"),
    ],
)
def test_an_unsupported_layer_is_refused_by_name(layer, says):
    from keras import layers

    from safeml.certification.ibp import certify_linf

    classifier = classifier_of(model_of(layers.ReLU(), layer(layers), layers.Flatten(), layers.Dense(3)))
    with pytest.raises(NotCertifiable, match=says):
        certify_linf(classifier, pixels(2), np.array([0, 1]), 0.01, batch=2)


@pytest.mark.parametrize("contract", [{"standardise": True}, {"height": 8, "width": 8}])
def test_a_map_to_the_input_that_has_no_bound_is_refused(contract):
    from keras import layers

    from safeml.certification.ibp import certify_linf

    classifier = classifier_of(model_of(layers.Flatten(), layers.Dense(3)), **contract)
    images = pixels(2) if "standardise" in contract else np.zeros((2, 10, 10, 3), np.float32)
    with pytest.raises(NotCertifiable):
        certify_linf(classifier, images, np.array([0, 1]), 0.01, batch=2)


@pytest.mark.parametrize("how", ["mean", "transpose", "reverse", "product", "stored"])
def test_a_model_in_which_images_meet_is_refused(how):
    import tensorflow as tf

    from safeml.certification.ibp import certify_linf
    from tests import subjects

    kernel = tf.constant(np.random.default_rng(0).normal(size=(3 * SIDE * SIDE, 4)).astype(np.float32))
    meet = {
        "mean": lambda x: x - tf.reduce_mean(x, axis=0, keepdims=True),
        "transpose": lambda x: tf.transpose(tf.reshape(tf.transpose(x), x.shape)),
        "reverse": lambda x: tf.reverse(x, [0]),
        "product": lambda x: tf.matmul(np.eye(4, k=1, dtype=np.float32), x),
        "stored": lambda x: x + np.arange(4, dtype=np.float32)[:, None],
    }[how]
    classifier = subjects.Subject("company", 4, lambda x: meet(tf.reshape(x, [4, -1]) @ kernel))
    with pytest.raises(NotCertifiable):
        certify_linf(classifier, pixels(4), np.zeros(4, dtype=np.int64), 0.01, batch=4)


def test_a_model_that_computes_in_another_precision_is_found_out():
    """Logits that leave their float32 bounds, as they do on hardware that rounds inputs to fewer bits."""
    import tensorflow as tf

    from safeml.certification.ibp import certify_linf
    from tests import subjects

    class Coarse(subjects.Subject):
        def predict_logits(self, images):
            return super().predict_logits(images.astype(np.float16).astype(np.float32))

    kernel = np.random.default_rng(0).normal(size=(3 * SIDE * SIDE, 4)).astype(np.float32)
    classifier = Coarse("coarse", 4, lambda x: tf.reshape(x, [-1, len(kernel)]) @ kernel)
    with pytest.raises(NotCertifiable, match="does not compute in float32"):
        certify_linf(classifier, pixels(4), np.zeros(4, dtype=np.int64), 0.0, batch=4)


def test_values_that_float32_is_not_followed_to_are_not_certified():
    """Products of 1e20 overflow float32 and not the float64 of the bounds; a ReLU then hides what happened."""
    import tensorflow as tf

    from safeml.certification.ibp import certify_linf, logit_bounds
    from tests import subjects

    def logits(x):
        huge = tf.nn.relu(tf.reduce_mean(x, [1, 2]) * 1e10)
        return tf.nn.relu(huge * 1e10) * np.float32([1, 0.5, 0.5])

    images = np.full((3, SIDE, SIDE, 3), 0.5, np.float32)
    labels = np.zeros(3, dtype=np.int64)
    assert not certify_linf(subjects.Subject("huge", 3, logits), images, labels, 0.0, batch=3).any()
    assert np.isinf(logit_bounds(subjects.Subject("huge", 3, logits), images, 0.0, batch=3)[1]).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": np.zeros((2, SIDE, SIDE, 3))}, "images are float64"),
        ({"images": np.full((2, SIDE, SIDE, 3), 255, np.float32)}, "outside 0..1"),
        ({"images": np.full((2, SIDE, SIDE, 3), np.nan, np.float32)}, "outside 0..1"),
        ({"labels": np.array([0, 3])}, "outside 0-2"),
        ({"labels": np.array([0])}, "labels are int64"),
        ({"epsilon": 4.0}, "epsilon is 4.0"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"batch": 0}, "batch 0"),
    ],
)
def test_certification_says_what_does_not_fit(change, says):
    from safeml.certification.ibp import certify_linf
    from tests import subjects

    given = {"images": pixels(2), "labels": np.array([0, 1]), "epsilon": 0.1, "batch": 2}
    with pytest.raises(StageError, match=says):
        certify_linf(subjects.constant(3), **{**given, **change})


@pytest.mark.parametrize("name", ["lenet-gtsrb", "resnet-gtsrb"])
def test_a_reference_model_goes_through(name):
    """LeNet keeps small certificates; of a deep residual network interval bounds prove nothing, and say so without a crash."""
    models = sorted((REPOSITORY / "models" / name).glob("*.keras"))
    data = (
        Path(os.environ.get("SAFEML_SHARED", REPOSITORY.parent / "shared")) / "data" / "gtsrb" / "valid.npz"
    )
    if not models or not data.exists():
        pytest.skip(f"needs models/{name}/*.keras and the GTSRB validation images (SAFEML_SHARED)")
    from safeml.certification.ibp import certified_radius

    with np.load(data) as arrays:
        few = slice(None, None, 600 if name == "lenet-gtsrb" else 1200)
        images = arrays["images"][few].astype(np.float32) / np.float32(255)
        labels = arrays["labels"][few].astype(np.int64)
    classifier = open_here(models[-1]).fed(InputSettings(), tuple(str(k) for k in range(43)), name)
    right = classifier.predict_logits(images).argmax(1) == labels
    radius = certified_radius(classifier, images, labels, most=0.1 / 255, halvings=4, batch=4)
    assert (radius[~right] == 0).all()
    assert (radius < 0.1 / 255).all()
    if name == "lenet-gtsrb":
        assert (radius > 0).any()
