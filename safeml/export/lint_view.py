"""What the rules of the linter ask of an ONNX graph: kernels, quantizers, shapes and multiply-accumulates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from safeml.export.graph import (
    BIAS_INPUT,
    DEQUANTIZE,
    QUANTIZE,
    WEIGHTED,
    Graph,
    attribute,
    kernel_axis,
)

# INT8 values keep their scale through these, and TensorRT moves quantizers across them.
COMMUTING = ("MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")
RESHAPING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast")


@dataclass(frozen=True)
class Kernel:
    """The weights of a node.

    values: the stored array: float32, or int8 codes.
    scale: of its DequantizeLinear, or None where it has none.
    axis: of the scale.
    between: operators between the DequantizeLinear, or the array, and the node.
    codes: int32, the INT8 codes, or None where it is not quantized.
    """

    values: np.ndarray
    scale: np.ndarray | None
    axis: int
    between: tuple[str, ...]
    codes: np.ndarray | None


class View:
    """A graph with the answers that several rules need."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @cached_property
    def graph(self) -> Graph:
        """The graph, read where no value is in another file."""
        return Graph(self.model)

    @cached_property
    def producers(self) -> dict[str, Any]:
        """The node that makes each tensor."""
        return self.graph.producers()

    @cached_property
    def consumers(self) -> dict[str, list[Any]]:
        """The nodes that read each tensor."""
        return self.graph.consumers()

    def nodes(self, *operators: str) -> list[Any]:
        """Return the nodes of these operators."""
        return [node for node in self.graph.nodes if node.op_type in operators]

    def array(self, name: str) -> np.ndarray | None:
        """Return an initializer, or None."""
        return self.graph.arrays.get(name)

    @cached_property
    def weighted(self) -> list[Any]:
        """The convolutions and products whose kernel is stored."""
        return [node for node in self.nodes(*WEIGHTED) if self.kernel(node) is not None]

    @cached_property
    def _kernels(self) -> dict[int, Kernel | None]:
        return {id(node): self._kernel(node) for node in self.nodes(*WEIGHTED)}

    def kernel(self, node: Any) -> Kernel | None:
        """Return the stored weights of a node; None where both inputs are activations."""
        return self._kernels[id(node)]

    def _kernel(self, node: Any) -> Kernel | None:
        name, between = node.input[1], list[str]()
        while (producer := self.producers.get(name)) is not None and producer.op_type in RESHAPING:
            between.append(producer.op_type)
            name = producer.input[0]
        if producer is None:
            values = self.array(name)
            return None if values is None else Kernel(values, None, 0, tuple(between), None)
        if producer.op_type != DEQUANTIZE:
            return None
        return self._quantized_kernel(producer, tuple(between))

    def _quantized_kernel(self, dequantize: Any, between: tuple[str, ...]) -> Kernel | None:
        scale = self.array(dequantize.input[1])
        source = self.producers.get(dequantize.input[0])
        values = self.array(
            source.input[0] if source is not None and source.op_type == QUANTIZE else dequantize.input[0]
        )
        if values is None or scale is None:
            return None
        axis = attribute(dequantize, "axis", 1) % max(values.ndim, 1)
        if source is None:
            return Kernel(values, scale, axis, between, values.astype(np.int32))
        shape = [1] * values.ndim
        if scale.size > 1:
            if scale.size != values.shape[axis]:
                return Kernel(values, scale, axis, between, None)
            shape[axis] = -1
        with np.errstate(all="ignore"):
            steps = np.rint(values.astype(np.float32) / scale.astype(np.float32).reshape(shape))
        steps[np.isnan(values)] = np.inf  # no code, while 0 in steps of a scale 0 is one
        codes = np.nan_to_num(steps, nan=0, posinf=2**30, neginf=-(2**30)).clip(-(2**30), 2**30)
        return Kernel(values, scale, axis, between, codes.astype(np.int32))

    def activation_quantizer(self, name: str, through: tuple[str, ...] = COMMUTING) -> Any:
        """Return the DequantizeLinear that a tensor comes from, across operators that keep its scale; or None.

        A concatenation keeps it where all its inputs have one scale.
        """
        node = self.producers.get(name)
        while node is not None and node.op_type in through:
            node = self.producers.get(node.input[0])
        if node is not None and node.op_type == "Concat" and through:
            sources = [self.activation_quantizer(given, through) for given in node.input]
            scales = {
                self.graph.arrays[s.input[1]].tobytes()
                for s in sources
                if s is not None and self.is_scaled(s)
            }
            return sources[0] if None not in sources and len(scales) == 1 else None
        return node if node is not None and node.op_type == DEQUANTIZE else None

    def is_scaled(self, quantizer: Any) -> bool:
        """Whether the scale of a quantizer is stored."""
        return quantizer.input[1] in self.graph.arrays

    def quantize_of(self, dequantize: Any) -> Any:
        """Return the QuantizeLinear in front of a DequantizeLinear, or None."""
        node = self.producers.get(dequantize.input[0])
        return node if node is not None and node.op_type == QUANTIZE else None

    def is_kernel(self, quantizer: Any) -> bool:
        """Whether a QuantizeLinear or DequantizeLinear holds stored values."""
        name = quantizer.input[0]
        if quantizer.op_type == DEQUANTIZE and (source := self.producers.get(name)) is not None:
            name = source.input[0]
        return name in self.graph.arrays

    def bias(self, node: Any) -> tuple[str, Any]:
        """Return the name of a node's bias and the node that reads it; ("", None) where it has none.

        A MatMul has its bias in the Add behind it.
        """
        place = BIAS_INPUT.get(node.op_type)
        if place is not None:
            return (node.input[place], node) if len(node.input) > place else ("", None)
        readers = self.consumers.get(node.output[0], [])
        if len(readers) == 1 and readers[0].op_type == "Add":
            other = next(name for name in readers[0].input if name != node.output[0])
            if self.is_stored(other):
                return other, readers[0]
        return "", None

    def is_stored(self, name: str) -> bool:
        """Whether a tensor is an initializer, perhaps behind a quantizer or a reshape."""
        while name not in self.graph.arrays:
            node = self.producers.get(name)
            if node is None or node.op_type not in (QUANTIZE, DEQUANTIZE, *RESHAPING):
                return False
            name = node.input[0]
        return True

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of tensors for a batch of one; a side that cannot be inferred is 0.

        Empty where ONNX cannot infer them.
        """
        import onnx
        from onnx import shape_inference

        single = onnx.ModelProto()
        single.CopyFrom(self.model)
        for value in (*single.graph.input, *single.graph.output):
            sides = value.type.tensor_type.shape.dim
            if len(sides) > 0:
                sides[0].Clear()
                sides[0].dim_value = 1
        try:
            graph = shape_inference.infer_shapes(single, data_prop=True).graph
        except shape_inference.InferenceError:  # of an operator that ONNX does not have
            return {}
        values = (*graph.input, *graph.value_info, *graph.output)
        return {v.name: tuple(side.dim_value for side in v.type.tensor_type.shape.dim) for v in values}

    def multiplications(self, node: Any) -> int:
        """Return the multiply-accumulates of a weighted node or a MatMul for one image; 0 where shapes are unknown."""
        if node.op_type == "Einsum":
            return self._einsum(node)
        result = int(np.prod(self.shapes.get(node.output[0], (0,)), dtype=np.int64))
        kernel = self.kernel(node)
        if kernel is None:
            left = self.shapes.get(node.input[0], (0,))
            return result * int(left[-1])
        shape = kernel.values.shape
        if node.op_type == "ConvTranspose":  # each input value meets the kernel of its channel
            given = int(np.prod(self.shapes.get(node.input[0], (0,)), dtype=np.int64))
            return given * int(np.prod(shape[1:], dtype=np.int64))
        return result * int(np.prod(shape, dtype=np.int64)) // max(1, shape[kernel_axis(node, len(shape))])

    def _einsum(self, node: Any) -> int:
        """The product of the sizes of all letters of an Einsum."""
        terms = attribute(node, "equation").decode().replace(" ", "").partition("->")[0].split(",")
        stored = {name: array.shape for name, array in self.graph.arrays.items() if name in node.input}
        shapes = [self.shapes.get(name) or stored.get(name, ()) for name in node.input]
        sizes = {
            letter: side
            for term, shape in zip(terms, shapes, strict=True)
            for letter, side in zip(term, shape, strict=False)
        }
        return int(np.prod(list(sizes.values()), dtype=np.int64))

    def is_int8(self, node: Any) -> bool:
        """Whether a node multiplies INT8 values: a DequantizeLinear is on both of its inputs."""
        if node.op_type == "Einsum":
            return all(self.activation_quantizer(name) is not None for name in node.input)
        kernel = self.kernel(node)
        first = self.activation_quantizer(node.input[0]) is not None
        if kernel is None:
            return first and self.activation_quantizer(node.input[1]) is not None
        return first and kernel.scale is not None
