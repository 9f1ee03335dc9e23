"""Questions to a frozen TensorFlow graph: a GraphDef of one function, its variables turned into constants."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

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
    """A GraphDef seen from its output backwards. A tensor is named 'node' or 'node:index', as in the graph itself."""

    def __init__(self, graph: Any, output: str) -> None:
        self.nodes = {node.name: node for node in graph.node}
        self.output = output
        self._versions = graph.versions
        self._order = list(self._from_inputs_to(output))

    def softmax_input(self) -> str | None:
        """The tensor whose softmax the output is, or None where the output is not a softmax."""
        tensor = self.output
        while self._node(tensor).op in PASSING:
            tensor = self._node(tensor).input[0]
        node = self._node(tensor)
        return str(node.input[0]) if node.op == "Softmax" else None

    def last_weighted_input(self, tensor: str) -> str | None:
        """What is fed to the layer with weights that is nearest before `tensor`; None where there is none."""
        fed = self._depends_on_images()
        queue, seen = [tensor], set[str]()
        while queue:
            node = self._node(queue.pop(0))
            if node.name in seen:
                continue
            seen.add(node.name)
            inputs = list(_inputs(node))
            has_weights = node.op in WEIGHTED and len(inputs) > 1
            if has_weights and _name(inputs[0]) in fed and _name(inputs[1]) not in fed:
                return inputs[0]
            queue += [name for name in inputs if _name(name) in fed]
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
            copy.input[:] = list(_inputs(node))
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
            for name in _inputs(node):
                digest.update(hashes[_name(name)] + f":{name.partition(':')[2] or 0}".encode())
            hashes[node.name] = digest.digest()
        return hashes[_name(self.output)].hex()

    def _node(self, tensor: str) -> Any:
        return self.nodes[_name(tensor)]

    def _depends_on_images(self) -> set[str]:
        fed: set[str] = set()
        for node in self._order:
            if node.op == "Placeholder" or any(_name(name) in fed for name in _inputs(node)):
                fed.add(node.name)
        return fed

    def _from_inputs_to(self, *tensors: str) -> Iterator[Any]:
        """Every node that `tensors` depend on, each after its inputs. No recursion: graphs are deeper than Python's stack."""
        done, stack = set[str](), [(_name(tensor), False) for tensor in tensors]
        while stack:
            name, inputs_done = stack.pop()
            if name in done:
                continue
            if inputs_done:
                done.add(name)
                yield self.nodes[name]
            else:
                stack.append((name, True))
                stack += [(_name(below), False) for below in _inputs(self.nodes[name])]


def _inputs(node: Any) -> Iterator[str]:
    """The tensors that a node takes, without those that only say what runs first."""
    return (name for name in node.input if not name.startswith("^"))


def _name(tensor: str) -> str:
    return tensor.partition(":")[0]
