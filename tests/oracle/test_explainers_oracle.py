"""The attribution methods against closed forms and against shap. Legend: N images, H W C pixels, K classes, R backgrounds, S draws."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize
from safeml.explainers.base import Effort, NotApplicable, image_means
from safeml.explainers.deep_shap import deep_shap, reason_against
from safeml.explainers.grad_cam import grad_cam
from safeml.explainers.gradient_shap import expected, gradient_shap
from safeml.explainers.gradients import summed_gradients
from safeml.explainers.integrated_gradients import baselines, integrated, integrated_gradients
from safeml.explainers.occlusion import occlusion, squares_of
from safeml.explainers.partition_shap import partition_shap
from safeml.explainers.registry import explainer
from safeml.explainers.rise import rise
from safeml.explainers.rows import ROWS
from safeml.explainers.shuffled import cascade, copy_of, network_of, weighted_layers
from safeml.explainers.smooth_grad import smooth_grad
from safeml.settings.model import InputSettings
from tests import subjects

pytestmark = pytest.mark.slow

SIDE, K, N, R = 10, 4, 5, 3
NAMES = tuple("abcd")
CONTRACT = InputSettings(channels="rgb", range=(0.0, 1.0))


def images(count: int = N, seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).random((count, SIDE, SIDE, channels)).astype(np.float32)


def effort(**changes: object) -> Effort:
    return replace(Effort(images(R, seed=9), steps=16, draws=8, copies=4, batch=BatchSize(7)), **changes)


def arguments(count: int = N) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return images(count), np.arange(count) % K, 100 + np.arange(count)


WEIGHTS = np.random.default_rng(1).normal(size=(SIDE * SIDE * 3, K)).astype(np.float32)


def linear() -> subjects.Subject:
    return replace(subjects.linear(WEIGHTS, np.zeros(K)), spec=InputSpec(height=SIDE, width=SIDE))


def weights_of(classes: np.ndarray) -> np.ndarray:
    """Return the weights of one class for each image, float32 [N, H, W, C]."""
    return WEIGHTS.T[classes].reshape(-1, SIDE, SIDE, 3)


@cache
def network(kind: str = "relu"):
    """A small convolutional network, untrained but for its random biases."""
    import keras

    keras.utils.set_random_seed(4)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Conv2D(6, 3, activation=kind, bias_initializer="random_normal"),
            layers.MaxPooling2D(),
            layers.Conv2D(8, 3, activation=kind, bias_initializer="random_normal"),
            layers.Flatten(),
            layers.Dense(K, bias_initializer="random_normal"),
        ]
    )


def convolutional(kind: str = "relu"):
    from safeml.classifiers.keras import from_keras

    return from_keras(network(kind), "net").fed(CONTRACT, NAMES, "net")


def test_integrated_gradients_of_a_linear_model_are_weights_times_change() -> None:
    x, classes, ids = arguments()
    expected_map = (weights_of(classes) * (x - baselines(x))).sum(axis=3)
    np.testing.assert_allclose(
        integrated_gradients(linear(), x, classes, ids, effort()), expected_map, atol=1e-4
    )


def test_gradient_shap_of_a_linear_model_is_weights_times_change_from_the_drawn_backgrounds() -> None:
    x, classes, ids = arguments()
    one = effort(backgrounds=images(1, seed=9))
    expected_map = (weights_of(classes) * (x - one.backgrounds)).sum(axis=3)
    np.testing.assert_allclose(gradient_shap(linear(), x, classes, ids, one), expected_map, atol=1e-4)


def test_smooth_grad_of_a_linear_model_is_the_size_of_the_weights() -> None:
    x, classes, ids = arguments()
    made = smooth_grad(linear(), x, classes, ids, effort())
    np.testing.assert_allclose(made, np.abs(weights_of(classes)).sum(axis=3), rtol=1e-4)


def test_occlusion_of_a_linear_model_is_the_mean_fall_of_the_squares_over_each_pixel() -> None:
    x, classes, ids = arguments()
    spent = effort(window=0.3, places=4)
    squares = squares_of(SIDE, SIDE, 0.3, 4)
    change = (weights_of(classes) * (x - image_means(x))).sum(axis=3)
    falls = np.einsum("fhw,nhw->nf", squares.astype(float), change)
    by_hand = np.einsum("nf,fhw->nhw", falls, squares.astype(float)) / squares.sum(axis=0)
    np.testing.assert_allclose(occlusion(linear(), x, classes, ids, spent), by_hand, atol=1e-4)


@pytest.mark.parametrize(
    ("height", "width", "window"), [(10, 10, 0.25), (3, 17, 0.5), (1, 1, 0.25), (2, 9, 0.1)]
)
def test_squares_cover_every_pixel_of_any_image(height: int, width: int, window: float) -> None:
    squares = squares_of(height, width, window, 3)
    assert squares.any(axis=0).all()
    assert (squares.sum(axis=(1, 2)) == max(1, round(window * min(height, width))) ** 2).all()


def test_rise_finds_the_pixels_that_a_linear_model_reads() -> None:
    """With one bright block that matters, the block's map is the brightest, and a constant model has a map of zeros."""
    weights = np.zeros((SIDE, SIDE, 3, K), np.float32)
    weights[6:9, 1:4, :, 2] = 1
    x = images()
    x[:, 6:9, 1:4] += 2
    model = replace(
        subjects.linear(weights.reshape(-1, K), np.zeros(K)), spec=InputSpec(height=SIDE, width=SIDE)
    )
    made = rise(model, x, np.full(N, 2), np.arange(N), effort(masks=400))
    tops = made.reshape(N, -1).argmax(axis=1)
    assert all(6 <= top // SIDE < 9 and 1 <= top % SIDE < 4 for top in tops)
    constant = rise(subjects.constant(K), x, np.full(N, 2), np.arange(N), effort(masks=20))
    assert not constant.any()


def test_partition_shap_of_an_additive_model_has_its_exact_values() -> None:
    """The Shapley values of an additive game are its terms, whatever the order of the partition."""
    weights = WEIGHTS[: 4 * 4 * 3]
    model = replace(subjects.linear(weights, np.zeros(K)), spec=InputSpec(height=4, width=4))
    x, classes, ids = images(2)[:, :4, :4], np.array([1, 3]), np.arange(2)
    spent = effort(backgrounds=images(R, seed=9)[:, :4, :4], evaluations=5000)
    change = x - spent.backgrounds.mean(axis=0)
    by_hand = (weights.T[classes].reshape(-1, 4, 4, 3) * change).sum(axis=3)
    np.testing.assert_allclose(partition_shap(model, x, classes, ids, spent), by_hand, atol=1e-4)
    fewer = partition_shap(model, x, classes, ids, replace(spent, evaluations=30))
    np.testing.assert_allclose(fewer.sum(axis=(1, 2)), by_hand.sum(axis=(1, 2)), rtol=1e-3)


def test_partition_shap_feeds_pixels_in_the_range_of_the_image() -> None:
    """The maskers of shap cast to whole numbers, or feed 128, where pixels are 0..1."""
    asked: list[np.ndarray] = []

    class Watched(type(linear())):  # type: ignore[misc]
        def predict_logits(self, pixels: np.ndarray) -> np.ndarray:
            asked.append(pixels.copy())
            return super().predict_logits(pixels)

    inner = linear()
    model = Watched("watched", K, inner.function, inner.spec)
    x, classes, ids = arguments(1)
    partition_shap(model, x, classes, ids, effort(evaluations=40))
    values = np.concatenate(asked)
    assert values.dtype == np.float32
    assert 0 <= values.min() <= values.max() <= 1
    mask = effort().backgrounds.mean(axis=0)
    assert np.isclose(values[..., None], np.stack([x[0], mask], axis=-1), atol=1e-6).any(axis=-1).all()


@pytest.mark.parametrize("kind", ["relu", "swish"])
def test_integrated_gradients_are_complete(kind: str) -> None:
    model = convolutional(kind)
    x, classes, _ = arguments()
    total = integrated(model, x, classes, baselines(x), effort(steps=64)).sum(axis=(1, 2, 3))
    rows = np.arange(N)
    change = (
        model.predict_logits(x)[rows, classes] - model.predict_logits(np.array(baselines(x)))[rows, classes]
    )
    np.testing.assert_allclose(total, change, rtol=0.01, atol=1e-4)


def test_gradient_shap_equals_that_of_shap_on_the_same_draws() -> None:
    """shap draws a background and a share of the way for each sample, from the global generator."""
    import shap

    x = images(3)
    backgrounds = images(R, seed=9)
    given, ranks = shap.GradientExplainer(network(), backgrounds).shap_values(
        x, nsamples=25, ranked_outputs=1, rseed=11
    )
    drawn = np.random.RandomState(11)
    picks, alphas = np.zeros((len(x), 25), int), np.zeros((len(x), 25), np.float32)
    for row in range(len(x)):
        for draw in range(25):
            picks[row, draw] = drawn.choice(R)
            alphas[row, draw] = drawn.uniform()
    own = expected(convolutional(), x, ranks[:, 0], backgrounds, picks, alphas, BatchSize(16))
    np.testing.assert_allclose(own, given[..., 0], atol=1e-5)


def test_a_batch_changes_no_map() -> None:
    x, classes, ids = arguments()
    model = convolutional()
    for name, row in ROWS.items():
        if row.needs in ("gradient", "feature maps"):
            whole = explainer(name)(model, x, classes, ids, effort(batch=BatchSize(64)))
            parts = [
                explainer(name)(model, x[i : i + 1], classes[i : i + 1], ids[i : i + 1], effort())
                for i in range(N)
            ]
            np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5, err_msg=name)


def test_a_batch_that_does_not_fit_is_halved() -> None:
    batch, sizes = BatchSize(8), []

    def points(rows: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, None]:
        sizes.append(len(rows))
        if len(rows) > 3:
            raise MemoryError
        return images(len(rows)), None

    summed_gradients(linear(), points, (SIDE, SIDE, 3), np.zeros(6, np.int64), 1, batch)
    assert (batch.size, sizes) == (2, [6, 4, 2, 2, 2])


def test_grad_cam_of_one_convolution_is_the_weighted_sum_of_its_maps() -> None:
    """After a global mean, the gradient of the logit by each map is its weight over the number of pixels."""
    import keras
    import tensorflow as tf

    from safeml.classifiers.keras import from_keras

    keras.utils.set_random_seed(2)
    layers = keras.layers
    convolution = layers.Conv2D(5, 3, padding="same", activation="relu", bias_initializer="random_normal")
    head = layers.Dense(K)
    model = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), convolution, layers.GlobalAveragePooling2D(), head]
    )
    x, classes, ids = arguments()
    maps = np.asarray(convolution(x))
    weights = np.asarray(head.kernel).T[classes] / SIDE**2
    by_hand = np.maximum((weights[:, None, None, :] * maps).sum(axis=3), 0)
    made = grad_cam(from_keras(model, "one").fed(CONTRACT, NAMES, "one"), x, classes, ids, effort())
    np.testing.assert_allclose(made, by_hand, atol=1e-6)
    smaller = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Conv2D(5, 3, strides=2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(K),
        ]
    )
    values = np.asarray(smaller.layers[0](x))
    weights = np.asarray(smaller.layers[-1].kernel).T[classes] / values[0, :, :, 0].size
    small = np.maximum((weights[:, None, None, :] * values).sum(axis=3), 0)
    made = grad_cam(from_keras(smaller, "two").fed(CONTRACT, NAMES, "two"), x, classes, ids, effort())
    np.testing.assert_allclose(made, tf.image.resize(small[..., None], (SIDE, SIDE))[..., 0], atol=1e-6)


def test_what_a_model_cannot_have_is_named() -> None:
    import keras

    from safeml.classifiers.keras import from_keras

    x, classes, ids = arguments()
    dense = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(K)])
    with pytest.raises(NotApplicable, match="no feature maps of a convolution"):
        grad_cam(from_keras(dense, "dense").fed(CONTRACT, NAMES, "dense"), x, classes, ids, effort())
    with pytest.raises(NotApplicable, match="no gradient"):
        integrated_gradients(subjects.Answering(linear()), x, classes, ids, effort())
    with pytest.raises(NotApplicable, match="not a Keras network"):
        deep_shap(linear(), x, classes, ids, effort())


def test_deep_shap_adds_up_and_refuses_what_it_was_not_shown_on() -> None:
    model = convolutional()
    x, classes, ids = arguments(3)
    spent = effort(draws=R)
    made = deep_shap(model, x, classes, ids, spent)
    rows = np.arange(3)
    change = model.predict_logits(x)[rows, classes] - model.predict_logits(spent.backgrounds)[
        :, classes
    ].mean(axis=0)
    np.testing.assert_allclose(made.sum(axis=(1, 2)), change, rtol=0.01, atol=1e-3)
    assert "activation silu" in reason_against(convolutional("swish"))


def test_a_shuffled_copy_has_the_same_values_in_another_order() -> None:
    model = convolutional()
    before = [weight.copy() for weight in network().get_weights()]
    copy = copy_of(model, CONTRACT, NAMES)
    for count in cascade(len(weighted_layers(network())), 3):
        shuffled = copy.shuffle(count, seed=3)
        other = network_of(shuffled).model.network
        for number, (layer, own) in enumerate(
            zip(weighted_layers(other), weighted_layers(network()), strict=True)
        ):
            moved = [
                not np.array_equal(a, b) for a, b in zip(layer.get_weights(), own.get_weights(), strict=True)
            ]
            assert all(moved) == (number < count)
            for a, b in zip(layer.get_weights(), own.get_weights(), strict=True):
                np.testing.assert_array_equal(np.sort(a, axis=None), np.sort(b, axis=None))
        x = images()
        assert np.abs(shuffled.predict_logits(x) - model.predict_logits(x)).max() > 1e-3
    for weight, old in zip(network().get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)  # the model under test is untouched


def softmax_headed():
    """The network with a softmax in its last layer, which the classifier takes off in a copy of that layer."""
    import keras

    from safeml.classifiers.keras import from_keras

    body = keras.models.clone_model(network())
    body.set_weights(network().get_weights())
    body.layers[-1].activation = keras.activations.softmax
    return from_keras(type(body).from_config(body.get_config()), "m").fed(CONTRACT, NAMES, "m")


def integer_fed():
    """A network of integers, which the classifier sees as another network, of floats."""
    import keras

    from safeml.classifiers.keras import from_keras

    inputs = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    values = keras.layers.Rescaling(1 / 255)(inputs)
    values = keras.layers.Conv2D(6, 3, activation="relu")(values)
    outputs = keras.layers.Dense(K, activation="softmax")(keras.layers.Flatten()(values))
    contract = InputSettings(channels="rgb", range=(0.0, 255.0))
    return from_keras(keras.Model(inputs, outputs), "m").fed(contract, NAMES, "m")


@pytest.mark.parametrize("make", [convolutional, softmax_headed, integer_fed])
def test_a_copy_that_is_shuffled_again_has_no_weight_of_the_order_before(make) -> None:
    """Predictions and maps are those of a network that is loaded with the same weights for the first time."""
    from safeml.classifiers.keras import from_keras

    model = make()
    contract = InputSettings(channels="rgb", range=(0.0, 255.0) if make is integer_fed else (0.0, 1.0))
    x, classes, ids = arguments()
    copy = copy_of(model, contract, NAMES)
    layers = len(copy.arrays)
    traced = set()
    for count, repeat in ((1, 0), (layers, 0), (layers, 1)):
        again = copy.shuffle(count, seed=3, repeat=repeat)
        fresh = from_keras(copy.network, "fresh").fed(contract, NAMES, "fresh")
        traced.add(id(again))
        np.testing.assert_allclose(again.predict_logits(x), fresh.predict_logits(x), atol=1e-6)
        assert again.fingerprint == fresh.fingerprint
        for method in (grad_cam, integrated_gradients):
            maps = [method(one, x, classes, ids, effort()) for one in (again, fresh)]
            np.testing.assert_allclose(*maps, atol=1e-5)
    assert len(traced) == 1
