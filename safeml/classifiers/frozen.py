"""Questions to a frozen TensorFlow graph: a GraphDef of one function, its variables turned into constants."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from safeml.classifiers.base import GradientStoppers
from safeml.classifiers.head import causes
from safeml.classifiers.stoppers import (
    OF_SHAPE,
    StraightThrough,
    Tensors,
    data_inputs,
    dependent,
    gradient_stoppers,
    node_name,
    straight_through,
)
from safeml.errors import InputRefused

ACTIVATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
# Their result is rank 4 and no map of the network's own resolution, or no map.
NOT_MAPS = frozenset({"MaxPool", "MaxPoolV2", "AvgPool", "Mean", "Pad", "PadV2", "MirrorPad", "Placeholder"})
PASSING = ("Identity", "StopGradient", "PreventGradient", "EnsureShape")
WEIGHTED = (
    "MatMul",
    "Conv2D",
    "DepthwiseConv2dNative",
    "BatchMatMul",
    "BatchMatMulV2",
    "BatchMatMulV3",
    "Einsum",
)


class FrozenGraph:
    """A GraphDef seen from its output backwards. A tensor is named 'node' or 'node:index', as in the graph itself.

    fed: name of the input tensor. output: the tensor that is asked for. dtype: of the input.
    """

    def __init__(self, graph: Any, fed: str, output: str) -> None:
        """graph: a FuncGraph without variables and calls, which also knows the shapes of its tensors."""
        definition = graph.as_graph_def()
        for node in definition.node:
            # Gradients are those of the arithmetic itself. One that the file brings along need not belong to it, and a
            # wrong one makes a weak model look robust.
            node.attr.pop("_gradient_op_type", None)
        self.nodes = {node.name: node for node in definition.node}
        self.fed = fed
        self.dtype = graph.get_tensor_by_name(fed).dtype
        self.output = output
        self._graph = graph
        self._versions = definition.versions
        self._order = list(self._from_inputs_to(output))

    def activation_input(self) -> tuple[str, str] | None:
        """The last activation ("softmax" or "sigmoid") and the tensor that it is fed, or None where the output has neither."""
        node = self._node(self.output)
        while node.op in PASSING or (
            node.op == "Cast" and _is_float(node, "SrcT") and _is_float(node, "DstT")
        ):
            node = self._node(node.input[0])
        return (ACTIVATIONS[node.op], str(node.input[0])) if node.op in ACTIVATIONS else None

    def ending_in(self, tensor: str) -> FrozenGraph:
        """The same graph with another output."""
        return FrozenGraph(self._graph, self.fed, tensor)

    def with_float_input(self) -> FrozenGraph | None:
        """The graph of integers as a graph of float32 values: fed where every integer has just become a float.

        None where the integers are used in another way.
        """
        casts, waiting = [], [node_name(self.fed)]
        while waiting:
            taken = waiting.pop()
            for node in self._order:
                if taken not in map(node_name, data_inputs(node)):
                    continue
                if node.op in PASSING:
                    waiting.append(node.name)
                elif node.op == "Cast" and _is_float(node, "DstT"):
                    casts.append(node.name)
                elif node.op != "Shape":
                    return None
        if len(casts) != 1:
            return None
        return FrozenGraph(self._graph, f"{casts[0]}:0", self.output)

    def run(self, values: Any, *tensors: str) -> list[Any]:
        """Import the graph and return `tensors` as functions of `values`, tf.Tensor [N, height, width, channels].

        Within a tf.function: a gradient tape does not see what is imported.
        """
        import tensorflow as tf

        outputs: list[Any] = tf.graph_util.import_graph_def(
            self.up_to(*tensors),
            input_map={self.fed: tf.cast(values, self.dtype)},
            return_elements=[name if ":" in name else f"{name}:0" for name in tensors],
            name="",
        )
        return outputs

    def feature_maps(self) -> str | None:
        """The last tensor [N, H', W', D] that a convolution and no pooling gave; None where there is none."""
        fed = self._depends_on_images()
        queue, seen = [self.output], set[str]()
        while queue:
            tensor = queue.pop(0)
            node = self._node(tensor)
            if node.name in seen:
                continue
            seen.add(node.name)
            if node.op not in NOT_MAPS and self._is_spatial(tensor) and self._is_convolved(tensor):
                return tensor if ":" in tensor else f"{tensor}:0"
            queue += [name for name in data_inputs(node) if node_name(name) in fed]
        return None

    def gradient_stoppers(self) -> GradientStoppers:
        """Each operation on the way from the images to the output that lets no gradient pass, with its node's name.

        Conversions between floats pass. What the graph computes from shapes alone does not count.
        """
        return tuple((str(node.op), str(node.name)) for node in gradient_stoppers(self._tensors()))

    @cached_property
    def straight_through(self) -> StraightThrough:
        """The same graph, with the gradient of each stopper passed straight through."""
        return straight_through(self.up_to(self.output), self.output, self._tensors())

    def run_straight_through(self, values: Any) -> Any:
        """Import `straight_through` and return its output, as in `run`."""
        import tensorflow as tf

        view = self.straight_through
        (output,) = tf.graph_util.import_graph_def(
            view.definition,
            input_map={self.fed: tf.cast(values, self.dtype)},
            return_elements=[view.output if ":" in view.output else f"{view.output}:0"],
            name="",
        )
        return output

    def _tensors(self) -> Tensors:
        fed = dependent(self._order, node_name(self.fed), OF_SHAPE)
        nodes = {node.name: node for node in self._order}
        return Tensors(nodes, fed, node_name(self.fed), self._tensor)

    def _tensor(self, name: str) -> Any:
        return self._graph.get_tensor_by_name(name if ":" in name else f"{name}:0")

    def _is_spatial(self, tensor: str) -> bool:
        shape = self._tensor(tensor).shape
        return shape.rank == 4 and tuple(shape[1:3]) != (1, 1)

    def _is_convolved(self, tensor: str) -> bool:
        """Whether the weighted operation that is nearest before `tensor` is a convolution."""
        node = self._last_weighted(tensor)
        return node is not None and node.op in CONVOLUTIONS

    def last_weighted_input(self, tensor: str) -> str | None:
        """What is fed to the layer with weights that is nearest before `tensor`; None where there is none."""
        node = self._last_weighted(tensor)
        return None if node is None else next(data_inputs(node))

    def _last_weighted(self, tensor: str) -> Any:
        fed = self._depends_on_images()
        queue, seen = [tensor], set[str]()
        while queue:
            node = self._node(queue.pop(0))
            if node.name in seen:
                continue
            seen.add(node.name)
            inputs = list(data_inputs(node))
            has_weights = node.op in WEIGHTED and len(inputs) > 1
            if has_weights and node_name(inputs[0]) in fed and node_name(inputs[1]) not in fed:
                return node
            queue += [name for name in inputs if node_name(name) in fed]
        return None

    def constants(self) -> Iterator[tuple[str, np.ndarray]]:
        """Name and value of each constant that the output depends on."""
        import tensorflow as tf

        for node in self._order:
            if node.op == "Const" and node.attr["dtype"].type != tf.string.as_datatype_enum:
                yield node.name, tf.make_ndarray(node.attr["value"].tensor)

    def up_to(self, *tensors: str) -> Any:
        """The GraphDef of what `tensors` depend on."""
        import tensorflow as tf

        part = tf.compat.v1.GraphDef(versions=self._versions)
        for node in self._from_inputs_to(*tensors):
            copy = part.node.add()
            copy.CopyFrom(node)
            # What runs first matters to variables, and there are none left.
            copy.input[:] = list(data_inputs(node))
        return part

    def fingerprint(self) -> str:
        """sha256 of the computation: of each operator, its attributes and the hashes of its inputs, but of no name.

        Names of nodes and functions change from one loading to the next; the computation does not.
        """
        constants = dict(self.constants())
        hashes: dict[str, bytes] = {}
        for node in self._order:
            digest = hashlib.sha256(node.op.encode())
            for key in sorted(key for key in node.attr if not key.startswith("_")):
                if node.name in constants and key == "value":
                    values = constants[node.name]
                    digest.update(f"{values.dtype}{values.shape}".encode())
                    digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
                else:
                    digest.update(key.encode() + node.attr[key].SerializeToString(deterministic=True))
            for name in data_inputs(node):
                digest.update(hashes[node_name(name)] + f":{name.partition(':')[2] or 0}".encode())
            hashes[node.name] = digest.digest()
        return hashes[node_name(self.output)].hex()

    def _node(self, tensor: str) -> Any:
        return self.nodes[node_name(tensor)]

    def _depends_on_images(self) -> set[str]:
        """Names of the nodes that depend on the input."""
        return dependent(self._order, node_name(self.fed))

    def _from_inputs_to(self, *tensors: str) -> Iterator[Any]:
        """Every node that `tensors` depend on, each after its inputs. No recursion: graphs are deeper than Python's stack."""
        done, stack = set[str](), [(node_name(tensor), False) for tensor in tensors]
        while stack:
            name, inputs_done = stack.pop()
            if name in done:
                continue
            if inputs_done:
                done.add(name)
                yield self.nodes[name]
            else:
                stack.append((name, True))
                stack += [(node_name(below), False) for below in data_inputs(self.nodes[name])]


def _is_float(node: Any, attribute: str) -> bool:
    import tensorflow as tf

    return bool(tf.as_dtype(node.attr[attribute].type).is_floating)


def freeze(function: Any, where: str) -> FrozenGraph:
    """Turn a concrete function of one input and one output into a graph without variables and calls."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        frozen = convert_variables_to_constants_v2(
            function, lower_control_flow=False, aggressive_inlining=True
        )
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, tf.errors.OpError) as error:
        raise InputRefused(f"{where}: TensorFlow does not freeze it: {causes(error)}") from error
    return FrozenGraph(frozen.graph, frozen.inputs[0].name, frozen.outputs[0].name)
