"""Static rules for a TensorFlow graph that TF-TRT converts to INT8 from dynamic ranges. One row per rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safeml.export.float_graphs import FAKE_QUANT, IMAGE, LOGITS, PROBABILITIES, WEIGHTED
from safeml.int8.codes import WEIGHT_CODES

SIGNATURE = "serving_default"
# A code may be off an integer by the rounding of float32.
OFF_GRID = 0.01


@dataclass(frozen=True)
class Finding:
    """One violation of a rule.

    rule: id of its row. node: name of the node, or of the file. message: one sentence.
    """

    rule: str
    node: str
    message: str


@dataclass(frozen=True)
class Graph:
    """What the rules read.

    nodes: name -> tf.NodeDef of the inlined graph.
    inputs, outputs: names of the signature.
    signatures: names of all signatures of the file.
    variables, slots: number of variables and of optimizer slots in the file.
    keep_float: names of layers that stay float on purpose.
    """

    nodes: dict[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    signatures: tuple[str, ...] = (SIGNATURE,)
    variables: int = 0
    slots: int = 0
    keep_float: tuple[str, ...] = ()

    def source(self, name: str) -> Any:
        """Return the node that makes a tensor."""
        return self.nodes[name.partition(":")[0]]

    def through(self, name: str) -> Any:
        """Return the node that makes a tensor, behind Identity."""
        node = self.source(name)
        while node.op == "Identity":
            node = self.source(node.input[0])
        return node

    def constant(self, name: str) -> np.ndarray | None:
        """Return the value of a constant tensor, or None."""
        import tensorflow as tf

        node = self.through(name)
        return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None

    def of(self, *ops: str) -> Iterator[Any]:
        """Yield the nodes of these operations."""
        return (node for node in self.nodes.values() if node.op in ops)

    def is_stored(self, name: str) -> bool:
        """Return whether a tensor depends on no input of the graph."""
        queue, seen = [name], set[str]()
        while queue:
            node = self.nodes[queue.pop().lstrip("^").partition(":")[0]]
            if node.op == "Placeholder":
                return False
            if node.name not in seen:
                seen.add(node.name)
                queue += node.input
        return True

    def weighted(self) -> Iterator[tuple[Any, np.ndarray | None, int]]:
        """Yield each operation with a stored kernel that is to be quantized, its kernel, and the axis of its channels.

        The kernel is None where the graph computes it.
        """
        for node in self.of(*WEIGHTED):
            place = node.input[WEIGHTED[node.op][1]]
            kernel = self.constant(place)
            if self.is_stored(place) and not set(node.name.split("/")) & set(self.keep_float):
                transposed = node.op == "MatMul" and node.attr["transpose_b"].b
                yield node, kernel, 0 if transposed else WEIGHTED[node.op][2]


@dataclass(frozen=True)
class Rule:
    """A rule. id: a slug. sentence: what it demands. check: yields the node and the fact of each violation."""

    id: str
    sentence: str
    check: Callable[[Graph], Iterator[tuple[str, str]]]


def _no_quantize_dequantize(graph: Graph) -> Iterator[tuple[str, str]]:
    for node in graph.nodes.values():
        if node.op.startswith("QuantizeAndDequantize"):
            yield (
                node.name,
                f"it is {node.op}; TF-TRT reads channel 0 of its range and leaves the dynamic ranges",
            )


def _symmetric(graph: Graph) -> Iterator[tuple[str, str]]:
    for node in graph.of(FAKE_QUANT):
        low, high = (graph.constant(node.input[place]) for place in (1, 2))
        if low is None or high is None:
            yield node.name, "its range is not constant"
        elif not (np.isfinite(low) and np.isfinite(high)) or low != -high:
            yield node.name, f"its range is {float(low):g}..{float(high):g}"
        elif node.attr["num_bits"].i != 8 or not node.attr["narrow_range"].b:
            yield (
                node.name,
                f"it has {node.attr['num_bits'].i} bits, narrow_range {node.attr['narrow_range'].b}",
            )


def _contains_zero(graph: Graph) -> Iterator[tuple[str, str]]:
    for node in graph.of(FAKE_QUANT):
        low, high = (graph.constant(node.input[place]) for place in (1, 2))
        if low is not None and high is not None and not low < 0 < high:
            yield node.name, f"its range is {float(low):g}..{float(high):g}"


def _one_range(graph: Graph) -> Iterator[tuple[str, str]]:
    ranges = defaultdict(set)
    for node in graph.of(FAKE_QUANT):
        high = graph.constant(node.input[2])
        ranges[graph.through(node.input[0]).name].add(None if high is None else float(high))
    for name, values in ranges.items():
        if len(values) > 1:
            yield name, f"it has {len(values)} ranges, and TF-TRT keeps the last one"


def _activations(graph: Graph) -> Iterator[tuple[str, str]]:
    for node, _, _ in graph.weighted():
        source = graph.through(node.input[WEIGHTED[node.op][0]])
        if source.op != FAKE_QUANT:
            yield node.name, f"its activations come from {source.name} ({source.op})"


def _on_grid(graph: Graph) -> Iterator[tuple[str, str]]:
    for node, kernel, axis in graph.weighted():
        if kernel is None:
            yield node.name, "its kernel is computed in the graph and is no constant"
            continue
        channels = np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)
        off = sum(not is_on_grid(channel) for channel in channels)
        if off:
            yield node.name, f"{off} of {len(channels)} channels of its kernel have no common step"


def _no_slots(graph: Graph) -> Iterator[tuple[str, str]]:
    if graph.slots or graph.variables:
        yield (
            "the file",
            f"it has {graph.variables} variables and {graph.slots} optimizer slots, which a loader without Keras refuses",
        )


def _signature(graph: Graph) -> Iterator[tuple[str, str]]:
    expected = (IMAGE,), {(LOGITS,), (PROBABILITIES,)}
    if SIGNATURE not in graph.signatures:
        yield "the file", f"it has the signatures {', '.join(graph.signatures) or 'none'}"
    elif graph.inputs != expected[0] or graph.outputs not in expected[1]:
        yield "the file", f"its signature takes {list(graph.inputs)} and gives {list(graph.outputs)}"


RULES = (
    Rule("no-quantize-dequantize", "No QuantizeAndDequantize node is in the graph.", _no_quantize_dequantize),
    Rule("symmetric-range", "Every FakeQuant has a constant, symmetric, narrow range of 8 bits.", _symmetric),
    Rule("contains-zero", "Every FakeQuant range contains zero; FakeQuant shifts another.", _contains_zero),
    Rule("one-range", "A tensor has one range.", _one_range),
    Rule("quantized-activations", "A FakeQuant is in front of every operation with a kernel.", _activations),
    Rule("kernel-on-grid", "Every channel of a kernel is on a grid of at most 127 steps.", _on_grid),
    Rule("no-variables", "The file holds constants, and no variable or optimizer slot.", _no_slots),
    Rule("signature", f"{SIGNATURE} takes {IMAGE} and gives {LOGITS} or {PROBABILITIES}.", _signature),
)


def is_on_grid(channel: np.ndarray) -> bool:
    """Return whether `channel`, float [weights], consists of multiples of one step, at most 127 of them to its largest."""
    largest = np.abs(channel).max()
    if not np.isfinite(largest):
        return False
    if largest == 0:
        return True
    parts = channel.astype(np.float64) / largest
    codes = parts[None] * np.arange(WEIGHT_CODES[1], 0, -1)[:, None]
    return bool((np.abs(codes - np.rint(codes)) < OFF_GRID).all(axis=1).any())


def lint(graph: Graph) -> list[Finding]:
    """Return the violations of all rules, in the order of the rules."""
    return [
        Finding(rule.id, node, f"{node}: {fact}. {rule.sentence}")
        for rule in RULES
        for node, fact in rule.check(graph)
    ]


def read(folder: Path, keep_float: tuple[str, ...] = ()) -> Graph:
    """Return the graph of a SavedModel that safeml wrote; it is loaded by TensorFlow, so no other may be given."""
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    stored = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    objects = stored.meta_graphs[0].object_graph_def.nodes
    loaded = tf.saved_model.load(str(folder))  # its variables live as long as it does
    signatures = loaded.signatures
    counts = {
        "signatures": tuple(sorted(signatures)),
        "variables": sum(one.WhichOneof("kind") == "variable" for one in objects),
        "slots": sum(len(one.slot_variables) for one in objects),
    }
    if SIGNATURE not in signatures:
        return Graph({}, (), (), keep_float=keep_float, **counts)
    served = signatures[SIGNATURE]
    graph_def = convert_variables_to_constants_v2(served).graph.as_graph_def()
    return Graph(
        {node.name: node for node in graph_def.node},
        tuple(sorted(served.structured_input_signature[1])),
        tuple(sorted(served.structured_outputs)),
        keep_float=keep_float,
        **counts,
    )
