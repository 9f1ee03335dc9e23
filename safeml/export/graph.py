"""An ONNX graph in memory that passes change: nodes in order, initializers as arrays, and what makes and reads a tensor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

# Operator: index of the input that holds the weights.
WEIGHTED = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}
BIAS_INPUT = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2}
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


class Graph:
    """The nodes, initializers and ends of a ModelProto, which is left as it is.

    nodes: onnx.NodeProto, in an order in which they can run.
    arrays: initializers by name.
    inputs, outputs: onnx.ValueInfoProto of the graph; an initializer is no input.
    opset: version of the default operator set; domains: versions of the other operator sets.
    """

    def __init__(self, model: Any) -> None:
        import onnx
        from onnx import numpy_helper

        graph = onnx.GraphProto()
        graph.CopyFrom(model.graph)  # passes change nodes in place
        self.nodes = list(graph.node)
        self.arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.inputs = [value for value in graph.input if value.name not in self.arrays]
        self.outputs = list(graph.output)
        versions = {entry.domain: entry.version for entry in model.opset_import}
        self.opset = versions.pop("", 0) or versions.pop("ai.onnx", 0)
        self.domains = versions
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}

    def producers(self) -> dict[str, Any]:
        """Return the node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    def consumers(self) -> dict[str, list[Any]]:
        """Return the nodes that read each tensor, once for each reading; a graph output is no node."""
        found: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                if name:
                    found[name].append(node)
        return found

    def output_names(self) -> list[str]:
        """Return the names of the graph's outputs."""
        return [value.name for value in self.outputs]

    def redirect(self, old: str, new: str) -> None:
        """Let every reader of the tensor `old` read `new`."""
        for node in self.nodes:
            for place, name in enumerate(node.input):
                if name == old:
                    node.input[place] = new

    def remove(self, gone: Iterable[Any]) -> None:
        """Remove nodes."""
        marked = {id(node) for node in gone}
        self.nodes = [node for node in self.nodes if id(node) not in marked]

    def fresh(self, name: str) -> str:
        """Return `name`, with a number if a tensor already has it."""
        taken = {*self.arrays, *(output for node in self.nodes for output in node.output)}
        taken |= {value.name for value in self.inputs}
        candidate, number = name, 0
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        return candidate

    def add_array(self, name: str, values: np.ndarray) -> str:
        """Store an initializer and return its name."""
        name = self.fresh(name)
        self.arrays[name] = values
        return name

    def model(self, producer: str = "") -> Any:
        """Return a new ModelProto with the initializers inside."""
        from onnx import helper, numpy_helper

        tensors = [
            numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in self.arrays.items()
        ]
        graph = helper.make_graph(self.nodes, "safeml", self.inputs, self.outputs, tensors)
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, version) for domain, version in sorted(self.domains.items())]
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = helper.find_min_ir_version_for([opsets[0]])
        model.producer_name, model.producer_version = "safeml", producer
        for key, value in sorted(self.metadata.items()):
            model.metadata_props.add(key=key, value=value)
        return model


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Return the value of a node's attribute, or `default`."""
    from onnx import helper

    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def set_attribute(node: Any, name: str, value: Any) -> None:
    """Set or replace a node's attribute."""
    from onnx import helper

    kept = [entry for entry in node.attribute if entry.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def kernel_axis(node: Any, rank: int) -> int:
    """Return the axis of the outputs in the kernel of a weighted node; `rank`: of the kernel."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return rank - 1


def along(scale: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Return a scale of a quantizer in a shape that broadcasts with a tensor of `rank` axes."""
    if scale.ndim == 0 or (scale.size == 1 and rank > 0):
        return scale.reshape((1,) * rank)
    shape = [1] * rank
    shape[axis] = -1
    return scale.reshape(shape)
