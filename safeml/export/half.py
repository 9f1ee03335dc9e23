"""A variant of an INT8 ONNX file whose layers outside the quantizers compute in FP16.

TensorRT 11 has no precision flags: what the file leaves in float32 runs in float32. Until opset 18 QuantizeLinear takes float32
alone; from 19 on it takes float16, with a scale of the same type, and only from 23 on may the two types differ. TensorRT 10 and 11 read 19,
and a Cast between a quantizer and its operator would keep TensorRT from fusing them. So this variant is opset 19 with float16
scales: 11 bits of each scale remain, a relative change of at most 0.05 %, and no code of a kernel changes.

A layer that divides by a root, such as a layer normalization, stays in float32: squares overflow FP16, and its epsilon may round to 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from safeml.errors import InputRefused
from safeml.export.graph import DEQUANTIZE, QUANTIZE, Graph, along, attribute, set_attribute
from safeml.version import __version__

OPSET = 19
SMALLEST = float(np.finfo(np.float16).tiny)
LARGEST = float(np.finfo(np.float16).max)
# A layer with such a node computes in float32.
ROOTS = ("Sqrt", "Pow")
# These inputs of Resize are float32 in every opset.
FLOAT32_INPUTS = {"Resize": (1, 2)}


def half(model: Any, where: str) -> Any:
    """Return the FP16 variant of an onnx.ModelProto that `export_onnx` made; its input and its outputs stay float32.

    A kernel scale under 6.1e-5, the smallest normal FP16 number, is raised to it, which rounds that channel more coarsely. Raises
    InputRefused where another value is out of the range of FP16.
    """
    import onnx
    from onnx import TensorProto, helper, version_converter

    converted = version_converter.convert_version(model, OPSET)
    graph = Graph(converted)
    _halve_quantizers(graph, where)
    precise = _split_constants(graph)
    float32 = {
        node.input[place]
        for node in graph.nodes
        for place in FLOAT32_INPUTS.get(node.op_type, ())
        if place < len(node.input)
    }
    float32 |= {name for node in precise for name in node.input}
    for name, array in graph.arrays.items():
        if array.dtype == np.float32 and name not in float32:
            graph.arrays[name] = _as_half(array, name, where)
    for node in graph.nodes:
        if node.op_type == "Cast" and attribute(node, "to") == TensorProto.FLOAT:
            set_attribute(node, "to", TensorProto.FLOAT16)
    _cast_around(graph, precise, converted)
    image = graph.inputs[0].name
    graph.redirect(image, f"{image}/half")
    first = helper.make_node("Cast", [image], [f"{image}/half"], name=f"{image}/Cast", to=TensorProto.FLOAT16)
    last = []
    for name in graph.output_names():
        for node in graph.nodes:
            for ends in (node.input, node.output):
                ends[:] = [f"{name}/half" if end == name else end for end in ends]
        last.append(
            helper.make_node("Cast", [f"{name}/half"], [name], name=f"{name}/Cast", to=TensorProto.FLOAT)
        )
    graph.nodes = [first, *graph.nodes, *last]
    built = graph.model(__version__)
    onnx.checker.check_model(built, full_check=True)
    return built


def half_of_file(path: Path) -> Any:
    """Return the FP16 variant of an ONNX file of `safeml export`; see `half`."""
    import onnx

    return half(onnx.load_model_from_string(path.read_bytes()), path.name)


def _split_constants(graph: Graph) -> list[Any]:
    """Return the nodes that stay in float32, and give them constants that no other node reads."""
    layers = {_layer(node) for node in graph.nodes if node.op_type in ROOTS}
    precise = [node for node in graph.nodes if _layer(node) in layers]
    copies: dict[str, str] = {}
    for node in precise:
        for place, name in enumerate(node.input):
            array = graph.arrays.get(name)
            if array is not None and array.dtype == np.float32:
                if name not in copies:
                    copies[name] = graph.add_array(f"{name}/float32", array)
                node.input[place] = copies[name]
    readers = graph.consumers()
    for name in copies:
        if name not in readers:
            del graph.arrays[name]
    return precise


def _layer(node: Any) -> str:
    return str(node.name).partition("/")[0]


def _cast_around(graph: Graph, precise: list[Any], model: Any) -> None:
    """Put a Cast on every float tensor that enters or leaves the nodes in float32. model: has the types of the tensors."""
    from onnx import TensorProto, helper, shape_inference

    described = shape_inference.infer_shapes(model).graph
    floats = {
        value.name
        for values in (described.input, described.value_info, described.output)
        for value in values
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    inside = {id(node) for node in precise}
    made = {name for node in precise for name in node.output}
    leaving = {name for node in graph.nodes if id(node) not in inside for name in node.input}
    leaving = made & floats & (leaving | set(graph.output_names()))
    entering: set[str] = set()
    nodes = []
    for node in graph.nodes:
        if id(node) not in inside:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            if name in leaving or (name in floats and name not in made):
                node.input[place] = f"{name}/float32"
                if name not in made | entering:
                    entering.add(name)
                    nodes.append(
                        helper.make_node(
                            "Cast",
                            [name],
                            [f"{name}/float32"],
                            name=f"{name}/to_float32",
                            to=TensorProto.FLOAT,
                        )
                    )
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in leaving:
                node.output[place] = f"{name}/float32"
                nodes.append(
                    helper.make_node(
                        "Cast", [f"{name}/float32"], [name], name=f"{name}/to_float16", to=TensorProto.FLOAT16
                    )
                )
    graph.nodes = nodes


def _halve_quantizers(graph: Graph, where: str) -> None:
    """Write scales in FP16, and kernels as the same codes of the new scales."""
    producers = graph.producers()
    scales: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        if node.op_type not in (QUANTIZE, DEQUANTIZE):
            continue
        source = producers.get(node.input[0])
        kernel = node.op_type == QUANTIZE and node.input[0] in graph.arrays
        stored = kernel or (source is not None and source.input[0] in graph.arrays)
        scale = graph.arrays[node.input[1]]
        if float(scale.max()) > LARGEST or (not stored and float(scale.min()) < SMALLEST):
            raise InputRefused(
                f"{where}: {node.name} has a scale of {float(scale.min()):.3g}; expected {SMALLEST:.2g} to {LARGEST:,.0f}, the "
                "normal numbers of FP16, so use the INT8 file without FP16."
            )
        scales[node.input[1]] = np.maximum(scale, np.float32(SMALLEST)).astype(np.float16)
        if kernel:
            values = graph.arrays[node.input[0]]
            axis = attribute(node, "axis", 1) % values.ndim
            new = along(scales[node.input[1]].astype(np.float32), axis, values.ndim)
            kept = along(scale >= np.float32(SMALLEST), axis, values.ndim)
            codes = np.where(kept, values / along(scale, axis, values.ndim), values / new)
            graph.arrays[node.input[0]] = (np.rint(codes) * new).astype(np.float32)
    graph.arrays |= scales


def _as_half(array: np.ndarray, name: str, where: str) -> np.ndarray:
    if np.abs(array).max(initial=0) > LARGEST:
        raise InputRefused(
            f"{where}: {name} holds {float(np.abs(array).max()):.3g}, over {LARGEST:,.0f}, the largest FP16 number; use the INT8 file "
            "without FP16."
        )
    return array.astype(np.float16)
