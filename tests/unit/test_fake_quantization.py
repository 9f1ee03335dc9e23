"""Fake quantization is what QuantizeLinear and DequantizeLinear compute, and its gradient is the straight-through one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from safeml.int8.einsum import as_product

pytestmark = pytest.mark.slow


def on_grid(values: np.ndarray, scale: Any, low: int) -> np.ndarray:
    """What the operators of ONNX compute: float32 division, half to even, saturation, float32 product."""
    scale = np.asarray(scale, np.float32)
    codes = np.clip(np.rint(values.astype(np.float32) / scale), low, 127)
    return (codes * scale).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_activations_lie_on_the_grid_of_onnx(seed: int) -> None:
    from safeml.int8.fake import quantize_activations, representable

    rng = np.random.default_rng(seed)
    for raw in np.exp(rng.uniform(-12, 6, 25)):
        scale = representable(np.float32(raw))
        values = (rng.uniform(-140, 140, 4000) * scale).astype(np.float32)
        away = np.abs(values.astype(np.float64) / scale % 1 - 0.5) > 1e-4
        values = values[away]
        np.testing.assert_array_equal(
            np.asarray(quantize_activations(values, scale)), on_grid(values, scale, -128)
        )


@pytest.mark.parametrize("exponent", [-20, -7, 0, 5])
def test_ties_go_to_the_even_code_and_the_ends_saturate(exponent: int) -> None:
    """Powers of two: every tie is exact in float32, so the two sides of the comparison see the same number."""
    from safeml.int8.fake import quantize_activations

    scale = np.float32(2.0**exponent)
    ties = (np.arange(-135, 135, dtype=np.float32) + np.float32(0.5)) * scale
    ends = np.array([-np.finfo(np.float32).max, -128.5, -128, 127, 127.5, 1e9, 0.0, -0.0], np.float32) * 1
    values = np.concatenate([ties, ends * (scale if exponent < 1 else 1)])
    np.testing.assert_array_equal(
        np.asarray(quantize_activations(values, scale)), on_grid(values, scale, -128)
    )


def test_a_representable_scale_is_the_step_of_the_grid_bit_for_bit() -> None:
    from safeml.int8.fake import SMALLEST_SCALE, quantize_activations, representable

    rng = np.random.default_rng(2)
    codes = np.arange(-128, 128, dtype=np.float32)
    for raw in np.exp(rng.uniform(-20, 10, 200)).astype(np.float32):
        scale = representable(raw)
        assert abs(float(scale) / float(raw) - 1) <= 2**-16
        assert representable(scale) == scale
        assert float(np.float32(127) * scale) == 127 * float(scale)
        np.testing.assert_array_equal(np.asarray(quantize_activations(codes * scale, scale)), codes * scale)
    assert representable(np.float32(0)) == SMALLEST_SCALE


@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 3, 4, 6), 3), ((3, 3, 6, 1), 2), ((3, 3, 6, 4), 2), ((5, 6), 1)]
)
def test_weights_lie_on_the_grid_of_onnx_per_channel(shape: tuple[int, ...], axis: int) -> None:
    from safeml.int8.fake import quantize_weights

    rng = np.random.default_rng(0)
    along = [-1 if other == axis else 1 for other in range(len(shape))]
    kernel = rng.normal(size=shape).astype(np.float32) * (10.0 ** np.linspace(-3, 2, 6)).reshape(along)
    kernel = kernel.astype(np.float32)
    largest = np.abs(kernel).max(axis=tuple(other for other in range(len(shape)) if other != axis))
    scale = (largest / np.float32(127)).reshape(along)
    quantized = np.asarray(quantize_weights(kernel, largest, axis))
    np.testing.assert_array_equal(quantized, on_grid(kernel, scale, -127))
    assert np.unique(np.rint(quantized / scale)).min() >= -127


def test_the_gradient_of_activations_is_one_inside_the_range_and_zero_outside() -> None:
    import tensorflow as tf

    from safeml.int8.fake import quantize_activations

    scale = np.float32(0.5)
    values = tf.constant([-1000.0, -64.01, -64.0, -3.3, 0.0, 0.24, 63.5, 63.51, 1000.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(quantize_activations(values, scale) * tf.range(1.0, 10.0))
    expected = [0, 0, 3, 4, 5, 6, 7, 0, 0]
    np.testing.assert_array_equal(np.asarray(tape.gradient(total, values)), expected)


def test_the_gradient_of_weights_is_one_also_beyond_the_range() -> None:
    import tensorflow as tf

    from safeml.int8.fake import quantize_weights

    kernel = tf.constant([[0.1, -3.0], [0.9, 0.2]])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        total = tf.reduce_sum(quantize_weights(kernel, tf.constant([0.5, 3.0]), 1) * [[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(np.asarray(tape.gradient(total, kernel)), [[1, 2], [3, 4]])


def test_the_gradient_of_a_quantized_layer_in_closed_form() -> None:
    """d(x W + b): the input's gradient goes through the quantized kernel, the kernel's is that of a float layer."""
    import tensorflow as tf

    from safeml.int8.layers import QuantizedDense

    layer = QuantizedDense(2)
    layer.build((None, 3))
    kernel = np.array([[0.10, -0.20], [1.27, 0.34], [0.004, -2.54]], np.float32)
    layer.set_weights([kernel, np.zeros(2, np.float32), np.zeros(2, np.float32)])
    images = tf.constant([[1.0, 2.0, 3.0]])
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(layer(images) * [[1.0, 10.0]])
    to_images, to_kernel = tape.gradient(total, [images, layer.trainable_variables[0].value])
    scale = np.array([0.01, 0.02], np.float32)
    np.testing.assert_allclose(np.asarray(to_images)[0], on_grid(kernel, scale, -127) @ [1, 10], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(to_kernel), np.outer([1, 2, 3], [1, 10]), rtol=1e-6)


@pytest.mark.parametrize(
    ("equation", "shape", "output", "bias"),
    [
        ("abc,cde->abde", (5, 6), (5, 2, 3), "de"),
        ("abcd,cde->abe", (5, 2, 3), (5, 4), "e"),
        ("...x,xy->...y", (5, 6), (5, 4), "y"),
        ("ntd,de->nte", (5, 6), (5, 4), "te"),
    ],
)
def test_a_quantized_einsum_is_the_einsum_of_its_quantized_kernel(
    equation: str, shape: tuple[int, ...], output: tuple[int, ...], bias: str
) -> None:
    import keras

    from safeml.int8.layers import QuantizedEinsumDense

    partial = output if "..." not in equation else output[-1:]
    layers = [
        kind(equation, partial, bias_axes=bias) for kind in (keras.layers.EinsumDense, QuantizedEinsumDense)
    ]
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    plain, quantized = layers
    quantized(images)
    plain(images)
    kernel = np.asarray(quantized.quantized_kernel()).reshape(quantized.kernel.shape)
    offset = np.random.default_rng(1).normal(size=quantized.bias.shape)
    quantized.bias.assign(offset)
    plain.set_weights([kernel, offset])
    np.testing.assert_allclose(np.asarray(quantized(images)), np.asarray(plain(images)), rtol=1e-4, atol=1e-5)
    channels = quantized.kernel_scale().shape[0]
    assert channels == np.prod(quantized.kernel.shape[quantized.product.contracted :])
    sizes = quantized.bias_sizes()
    assert sizes.shape == (channels,)
    assert sizes.max() == pytest.approx(np.abs(offset).max(), rel=1e-6)


@pytest.mark.parametrize(
    "equation", ["abc,dc->abd", "abc,acd->abd", "abc,cd->abcd", "abc,bcd->abd", "abc,cd->adb", "ab,cd->abcd"]
)
def test_an_equation_that_is_not_one_product_has_no_product(equation: str) -> None:
    assert as_product(equation, 3) is None
