"""Operations of a frozen graph that let no gradient pass, and the same graph with their gradients passed straight through.

References:
    Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through stochastic neurons", 2013
        (straight-through).
    A. Athalye, N. Carlini, D. Wagner, "Obfuscated gradients give a false sense of security", 2018 (BPDA).

A tensor is named 'node' or 'node:index', as in the graph itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

# Their gradient is nothing, or zero almost everywhere.
STOPPERS = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "Ceil",
        "Floor",
        "FloorDiv",
        "OneHot",
        "PreventGradient",
        "Rint",
        "Round",
        "Sign",
        "StopGradient",
        "TruncateDiv",
    }
)
# Their result depends on the shape of their input alone.
OF_SHAPE = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})
COMPARISONS = frozenset({"Greater", "GreaterEqual", "Less", "LessEqual"})
# The names under which TensorFlow knows the gradients of `register_gradients`.
THROUGH, SOFTSIGN, IDENTITY = "SafemlThrough", "SafemlSoftsign", "SafemlIdentity"


@dataclass(frozen=True, eq=False)
class StraightThrough:
    """A graph that computes the same values, and passes gradients straight through.

    definition: GraphDef.
    output: its output tensor.
    blocked: (operation, node) of each operation that no gradient could be passed through, because no tensor of floats
        before it has the shape of its result.
    """

    definition: Any
    output: str
    blocked: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Tensors:
    """What is known of the tensors between the images and the output.

    nodes: NodeDefs by name, in topological order.
    fed: names of the nodes whose values depend on the images.
    input: name of the node that is fed.
    tensor: name -> tf.Tensor, for its static shape and dtype.
    """

    nodes: dict[str, Any]
    fed: set[str]
    input: str
    tensor: Callable[[str], Any]

    def is_float(self, tensor: str) -> bool:
        """Whether `tensor` holds floats."""
        return bool(self.tensor(tensor).dtype.is_floating)

    def depending(self, node: Any) -> Iterator[str]:
        """The inputs of `node` that depend on the images."""
        return (tensor for tensor in data_inputs(node) if node_name(tensor) in self.fed)


def node_name(tensor: str) -> str:
    """Return the name of the node that gives `tensor`."""
    return tensor.partition(":")[0]


def data_inputs(node: Any) -> Iterator[str]:
    """The tensors that a node takes, without those that only say what runs first."""
    return (name for name in node.input if not name.startswith("^"))


def dependent(nodes: Iterable[Any], start: str, skipped: frozenset[str] = frozenset()) -> set[str]:
    """Names of the nodes that depend on node `start`, itself included; not through operations in `skipped`."""
    fed = {start}
    for node in nodes:
        if node.op not in skipped and any(node_name(name) in fed for name in data_inputs(node)):
            fed.add(node.name)
    return fed


def gradient_stoppers(tensors: Tensors) -> list[Any]:
    """Return the nodes between images and output that let no gradient pass, in topological order.

    These are the operations of `STOPPERS`, conversions to and from integers, and every operation that turns only integers
    or conditions of the images into floats. A mask x * (x > t) is none: its gradient is that of x.
    """
    masks = {name for name, node in tensors.nodes.items() if _is_mask(tensors, node)}
    return [
        node
        for node in tensors.nodes.values()
        if node.name in tensors.fed
        and node.name != tensors.input
        and node.name not in masks
        and (node.op in STOPPERS or _to_integers(tensors, node) or _is_entry(tensors, node))
    ]


def straight_through(definition: Any, output: str, tensors: Tensors) -> StraightThrough:
    """Pass the gradient of each stopper on to the nearest floats of the same shape before it.

    definition: GraphDef of the nodes in `tensors`. It is not changed.
    """
    import tensorflow as tf

    register_gradients()
    stoppers = gradient_stoppers(tensors)
    passed: dict[str, str] = {}
    added, blocked = [], []
    for node in stoppers:
        if not tensors.is_float(node.name):
            continue
        source = _source(tensors, node)
        if source is None:
            blocked.append((str(node.op), str(node.name)))
        elif node.op != "Sign":
            passed[node.name] = f"{node.name}/straight_through"
            added.append((node.name, source))
    changed = tf.compat.v1.GraphDef()
    changed.CopyFrom(definition)
    for node in changed.node:
        node.input[:] = [_renamed(name, passed) for name in node.input]
        if node.op == "Sign" and node.name in tensors.fed:
            node.attr["_gradient_op_type"].s = SOFTSIGN.encode()
    for name, source in added:
        kind = tensors.tensor(name).dtype.as_datatype_enum
        node = changed.node.add(name=passed[name], op="IdentityN")
        # The source is renamed too: the gradient then passes the stoppers before it.
        node.input[:] = [name, _renamed(source, passed)]
        node.attr["T"].list.type[:] = [kind, kind]
        node.attr["_gradient_op_type"].s = THROUGH.encode()
    return StraightThrough(changed, _renamed(output, passed), tuple(blocked))


@cache
def register_gradients() -> None:
    """Register the gradients of the straight-through views: TensorFlow takes each name once in a process."""
    import tensorflow as tf

    def identity(operation: Any, upstream: Any) -> Any:
        return upstream

    def through(operation: Any, upstream: Any, unused: Any) -> Any:
        """Of (value, source) -> (value, source): the gradient of the value goes to the source."""
        return [None, upstream]

    def softsign(operation: Any, upstream: Any) -> Any:
        """Of x / (s + |x|), s the mean size of x: it falls with the distance from the threshold and vanishes nowhere."""
        value = tf.abs(operation.inputs[0])
        scale = tf.reduce_mean(value) + np.float32(1e-12)
        return upstream * tf.square(scale / (scale + value)) / scale

    tf.RegisterGradient(IDENTITY)(identity)
    tf.RegisterGradient(THROUGH)(through)
    tf.RegisterGradient(SOFTSIGN)(softsign)


def _to_integers(tensors: Tensors, node: Any) -> bool:
    """Whether a Cast gives integers of the images."""
    return node.op == "Cast" and not tensors.is_float(node.name)


def _is_entry(tensors: Tensors, node: Any) -> bool:
    """Whether floats depend on the images only through integers or conditions, so that no gradient reaches them."""
    if node.op in OF_SHAPE or not tensors.is_float(node.name):
        return False
    return not any(tensors.is_float(tensor) for tensor in tensors.depending(node))


def _is_mask(tensors: Tensors, node: Any) -> bool:
    """Whether a Cast turns the comparison of x into numbers that are multiplied by x, and by nothing else."""
    condition = tensors.nodes.get(node_name(node.input[0])) if node.op == "Cast" else None
    if condition is None or condition.op not in COMPARISONS:
        return False
    compared = set(map(_canonical, data_inputs(condition)))
    users = [other for other in tensors.nodes.values() if node.name in map(node_name, data_inputs(other))]
    return bool(users) and all(
        user.op == "Mul"
        and any(_canonical(name) in compared for name in data_inputs(user) if node_name(name) != node.name)
        for user in users
    )


def _source(tensors: Tensors, node: Any) -> str | None:
    """Return the nearest tensor of floats before `node` that depends on the images and has the shape of its result."""
    result = tensors.tensor(node.name)
    shape = result.shape.as_list() if result.shape.rank is not None else None
    queue, seen = list(tensors.depending(node)), set[str]()
    while queue:
        tensor = queue.pop(0)
        if tensor in seen:
            continue
        seen.add(tensor)
        candidate = tensors.tensor(tensor)
        if not candidate.dtype.is_floating:
            queue += tensors.depending(tensors.nodes[node_name(tensor)])
        elif (
            candidate.dtype == result.dtype
            and candidate.shape.rank is not None
            and candidate.shape.as_list() == shape
        ):
            return tensor
    return None


def _canonical(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"


def _renamed(tensor: str, passed: dict[str, str]) -> str:
    """Return `tensor`, or the tensor that carries its gradient on. Control inputs and second outputs stay as they are."""
    name, _, index = tensor.partition(":")
    return f"{passed[name]}:0" if name in passed and index in ("", "0") else tensor
