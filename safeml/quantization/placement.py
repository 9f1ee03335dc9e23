"""Which tensors are quantized, by the rules of TensorRT for explicit quantization. One row of RULES adds a kind of layer.

A bias is never quantized, nor are the logits and what computes them from the last layer with a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from enum import Enum

import keras

from safeml.int8.layers import MatrixProduct
from safeml.quantization.graph import Graph, Step, Value

LAYERS = keras.layers


class Rule(Enum):
    """What a kind of step reads through a quantizer.

    KERNEL: its input, and its kernel is quantized too.
    ALL: every input.
    RESIDUAL: every input but one, that of the convolution with which TensorRT fuses the sum.
    SHARED: every input, with one scale for all and for the output.
    GATE: both inputs where one holds one number per channel (squeeze-and-excitation); else nothing.
    """

    KERNEL = "kernel"
    ALL = "all inputs"
    RESIDUAL = "residual"
    SHARED = "shared scale"
    GATE = "gate"


# A name is that of an operation of `keras.ops`, such as `x + y` makes.
RULES: dict[type | str, Rule] = {
    LAYERS.Conv2D: Rule.KERNEL,
    LAYERS.DepthwiseConv2D: Rule.KERNEL,
    LAYERS.Conv2DTranspose: Rule.KERNEL,
    LAYERS.Dense: Rule.KERNEL,
    LAYERS.EinsumDense: Rule.KERNEL,
    MatrixProduct: Rule.ALL,
    "Matmul": Rule.ALL,
    LAYERS.AveragePooling2D: Rule.ALL,
    LAYERS.GlobalAveragePooling2D: Rule.ALL,
    "AveragePool": Rule.ALL,
    LAYERS.Add: Rule.RESIDUAL,
    "Add": Rule.RESIDUAL,
    LAYERS.Concatenate: Rule.SHARED,
    "Concatenate": Rule.SHARED,
    LAYERS.Multiply: Rule.GATE,
    "Multiply": Rule.GATE,
}
# Steps that pass a tensor on at inference, so that what is before them still counts as the source of a branch.
PASSING = (
    LAYERS.Dropout,
    LAYERS.SpatialDropout2D,
    LAYERS.GaussianNoise,
    LAYERS.GaussianDropout,
    LAYERS.BatchNormalization,
)


def rule_of(step: Step) -> Rule | None:
    """Return the row of a step; None where it reads nothing through a quantizer."""
    kind = step.part.kind
    return RULES.get(kind if issubclass(kind, LAYERS.Layer) else kind.__name__)


def placements(graph: Graph, keep_float: Collection[str] = ()) -> dict[Step, tuple[Value, ...]]:
    """Return the inputs that each step reads through a quantizer; steps without any are left out.

    keep_float: names of parts that stay in float.
    """
    kernels = [
        step for step in graph.steps if rule_of(step) is Rule.KERNEL and step.part.name not in keep_float
    ]
    before, after = _leading_to(graph, kernels), _derived_from(graph)
    quantized: dict[Step, tuple[Value, ...]] = {}
    for step in graph.steps:
        rule = rule_of(step)
        if rule is None or step.part.name in keep_float:
            continue
        if rule is Rule.KERNEL:
            quantized[step] = step.inputs[:1]
        elif before[step] and any(value in after for value in step.inputs):
            chosen = _chosen(graph, rule, step)
            if chosen:
                quantized[step] = chosen
    return quantized


def groups(graph: Graph, quantized: dict[Step, tuple[Value, ...]]) -> dict[Value, list[Value]]:
    """Return, for each tensor, the tensors that share its scale, itself included, in the order of the graph.

    A concatenation joins its inputs and its output, so that nothing behind it needs a second scale.
    """
    members: dict[Value, list[Value]] = {
        value: [value] for value in (graph.image, *(value for step in graph.steps for value in step.outputs))
    }
    for step in graph.steps:
        if rule_of(step) is not Rule.SHARED or step not in quantized:
            continue
        for value in (*quantized[step], *step.outputs):
            first, second = members[quantized[step][0]], members[value]
            if first is not second:
                first += second
                members.update(dict.fromkeys(second, first))
    return members


def _leading_to(graph: Graph, kernels: list[Step]) -> dict[Step, bool]:
    """Whether a quantized kernel depends on each step: what follows the last one computes the logits, in float."""
    needed = {value for step in kernels for value in step.inputs}
    leads: dict[Step, bool] = {}
    for step in reversed(graph.steps):
        leads[step] = any(value in needed for value in step.outputs)
        if leads[step]:
            needed.update(step.inputs)
    return leads


def _derived_from(graph: Graph) -> set[Value]:
    """The tensors that depend on a kernel: what is before the first one is preprocessing, in float."""
    derived: set[Value] = set()
    for step in graph.steps:
        if rule_of(step) is Rule.KERNEL or any(value in derived for value in step.inputs):
            derived.update(step.outputs)
    return derived


def _chosen(graph: Graph, rule: Rule, step: Step) -> tuple[Value, ...]:
    inputs = step.inputs
    if rule is Rule.ALL:
        return inputs
    if len(inputs) < 2:
        return ()  # a sum or a product with a constant
    if rule is Rule.RESIDUAL:
        fused = max(range(len(inputs)), key=lambda index: _branch(graph, step, inputs[index]))
        return tuple(
            value for index, value in enumerate(inputs) if index != fused and value is not inputs[fused]
        )
    if rule is Rule.GATE:
        sizes = {math.prod(size or 0 for size in value.shape[1:]) for value in inputs}
        return inputs if len({value.shape for value in inputs}) > 1 and len(sizes) > 1 else ()
    return inputs


def _branch(graph: Graph, step: Step, value: Value) -> tuple[bool, bool, int]:
    """The fitness of a branch to be fused with a sum: it is a convolution that nothing else reads, and it is long.

    A projection shortcut is a convolution too, and the shorter one.
    """
    producers, readers = graph.producers(), graph.readers()
    alone = True
    source = value
    while (before := producers.get(source)) is not None and before.part.kind in PASSING:
        alone = alone and len(readers[source]) == 1
        source = before.inputs[0]
    is_kernel = before is not None and rule_of(before) is Rule.KERNEL
    return is_kernel, is_kernel and alone and len(readers[source]) == 1, _depth(producers, value)


def _depth(producers: dict[Value, Step], value: Value) -> int:
    """The number of steps from the image to a tensor, on the longest way. No recursion: graphs are deeper than Python's stack."""
    depths: dict[Value, int] = {}
    stack = [value]
    while stack:
        step = producers.get(stack[-1])
        waiting = [] if step is None else [before for before in step.inputs if before not in depths]
        if waiting:
            stack += waiting
            continue
        top = stack.pop()
        depths[top] = 0 if step is None else 1 + max((depths[before] for before in step.inputs), default=0)
    return depths[value]
