"""Stable names and order for an exported graph, so that two exports of one model are the same bytes.

tf2onnx numbers its names by a counter of the process. A node is named after the Keras layer it comes from and its operator, such as
`stem/Conv`; its output has the same name, and an initializer that of its reader and its role, such as `stem/kernel`.
"""

from __future__ import annotations

import re
from typing import Any

from safeml.export.graph import WEIGHTED, Graph

NUMBER = re.compile(r"__\d+")
SCOPE_NUMBER = re.compile(r"(.*)_\d+")
WEIGHTED_ROLES = ("input", "kernel", "bias")
QUANTIZER_ROLES = ("kernel", "scale", "zero_point")
# Operator: names of its constant inputs by place.
ROLES = {
    "Conv": WEIGHTED_ROLES,
    "ConvTranspose": WEIGHTED_ROLES,
    "Gemm": WEIGHTED_ROLES,
    "MatMul": ("kernel", "kernel"),
    "QuantizeLinear": QUANTIZER_ROLES,
    "DequantizeLinear": QUANTIZER_ROLES,
    "Clip": ("input", "min", "max"),
    "Reshape": ("input", "shape"),
}
SHARED = "shared"


def rename(graph: Graph, layers: tuple[str, ...], inputs: dict[str, str], outputs: dict[str, str]) -> None:
    """Order the nodes from the outputs backwards and name everything.

    layers: names of the Keras layers. inputs, outputs: new names of the ends of the graph, by the old ones.
    """
    graph.nodes = _ordered(graph)
    labels = _labels(graph, frozenset(layers))
    names = dict(inputs | outputs)
    taken = set(names.values())
    readers: dict[str, list[tuple[str, str]]] = {}
    for node, label in zip(graph.nodes, labels, strict=True):
        base = _unique(f"{label}/{node.op_type}" if label else node.op_type, taken)
        for place, output in enumerate(node.output):
            if output:
                names.setdefault(output, base if place == 0 else f"{base}:{place}")
        node.name = base
        for place, name in enumerate(node.input):
            if name in graph.arrays:
                roles = ROLES.get(node.op_type, ())
                role = roles[place] if place < len(roles) else "constant"
                readers.setdefault(name, []).append((label, role))
    for name, uses in readers.items():
        owner = uses[0][0] if len({label for label, _ in uses}) == 1 else SHARED
        names[name] = _unique(f"{owner}/{uses[0][1]}" if owner else uses[0][1], taken)
    _apply(graph, names)


def _ordered(graph: Graph) -> list[Any]:
    """Return the nodes in the order of a depth-first walk from the outputs, inputs first."""
    producers, done, order = graph.producers(), set[int](), []
    stack = [(name, False) for name in reversed(graph.output_names())]
    while stack:
        name, ready = stack.pop()
        node = producers.get(name)
        if node is None or id(node) in done:
            continue
        if ready:
            done.add(id(node))
            order.append(node)
            continue
        stack.append((name, True))
        stack += [(source, False) for source in reversed(node.input) if source]
    return order


def _labels(graph: Graph, layers: frozenset[str]) -> list[str]:
    """Return the Keras layer that each node comes from, or "" where its names do not say."""
    consumers = graph.consumers()
    labels: dict[int, str] = {}

    def label(node: Any) -> str:
        if id(node) not in labels:
            labels[id(node)] = ""  # a node that is asked about while it is being answered
            stored = [name for name in node.input if name in graph.arrays]
            ends = (*node.output, node.name, *stored)
            if node.op_type in WEIGHTED:
                ends = (node.input[1], *ends)  # its output may have the name of the normalisation behind it
            own = (_layer(name, layers) for name in ends)
            after = (label(reader) for name in node.output for reader in consumers.get(name, ()))
            labels[id(node)] = next(filter(None, own), "") or next(filter(None, after), "")
        return labels[id(node)]

    for node in reversed(graph.nodes):  # readers first: the recursion stays flat
        label(node)
    return [labels[id(node)] for node in graph.nodes]


def _layer(name: str, layers: frozenset[str]) -> str:
    """Return the layer in a name of a TensorFlow scope, where a number may follow the name of each layer."""
    *scopes, _ = NUMBER.sub("", name.partition(":")[0]).split("/")
    for part in reversed(scopes):
        numbered = SCOPE_NUMBER.fullmatch(part)
        if numbered and numbered[1] in layers:
            return numbered[1]
        if part in layers:
            return part
    return ""


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate


def _apply(graph: Graph, names: dict[str, str]) -> None:
    for node in graph.nodes:
        for ends in (node.input, node.output):
            for place, name in enumerate(ends):
                ends[place] = names.get(name, name)
    for value in (*graph.inputs, *graph.outputs):
        value.name = names.get(value.name, value.name)
    order = dict.fromkeys(name for node in graph.nodes for name in node.input)
    arrays = {names.get(name, name): array for name, array in graph.arrays.items()}
    graph.arrays = {name: arrays[name] for name in order if name in arrays}
