"""The static scan of an ONNX file: one self-contained inference graph of standard operators, with finite weights.

Field numbers are those of onnx.proto (IR version 13). The file is never held in memory, and no ONNX library reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from safeml.scan.base import Facts, Inconclusive, Refused
from safeml.scan.graph_ops import ONNX_OPS, ONNX_OPSETS
from safeml.scan.onnx_tensors import TENSOR_SCHEMA, check_tensor
from safeml.scan.wire import Budget, Field, Reader, Span, Value, number, shown, spans, submessage, text

FILE_BYTES = 2 * 1024**3 - 1  # what one protobuf message can hold
ELEMENTS = 500_000_000
IR_VERSIONS = (3, 13)
DEFAULT_DOMAINS = ("", "ai.onnx")
# The outputs of a file of `safeml export`; the classifier reads the first and, where it is given, the second.
LOGITS, FEATURES, PROBABILITIES = "logits", "features", "probabilities"
FLOAT, FLOAT16 = 1, 10

_VALUE_INFO = {1: Field("name", "text"), 2: submessage("type", "TypeProto"), 3: Field("doc_string", "skip")}
_PROPERTIES = Field("metadata_props", "skip", many=True)
SCHEMA = {
    **TENSOR_SCHEMA,
    "ModelProto": {
        1: Field("ir_version", "number"),
        2: Field("producer_name", "text"),
        3: Field("producer_version", "text"),
        4: Field("domain", "text"),
        5: Field("model_version", "number"),
        6: Field("doc_string", "skip"),
        7: submessage("graph", "GraphProto"),
        8: submessage("opset_import", "OperatorSetIdProto", many=True),
        14: _PROPERTIES,
        20: Field("training_info", "skip", many=True),
        25: Field("functions", "skip", many=True),
        26: Field("configuration", "skip", many=True),
    },
    "OperatorSetIdProto": {1: Field("domain", "text"), 2: Field("version", "number")},
    "GraphProto": {
        1: submessage("node", "NodeProto", many=True),
        2: Field("name", "text"),
        5: submessage("initializer", "TensorProto", many=True),
        10: Field("doc_string", "skip"),
        11: submessage("input", "ValueInfoProto", many=True),
        12: submessage("output", "ValueInfoProto", many=True),
        13: submessage("value_info", "ValueInfoProto", many=True),
        14: Field("quantization_annotation", "skip", many=True),
        15: Field("sparse_initializer", "skip", many=True),
        16: _PROPERTIES,
    },
    "NodeProto": {
        1: Field("input", "text", many=True),
        2: Field("output", "text", many=True),
        3: Field("name", "text"),
        4: Field("op_type", "text"),
        5: submessage("attribute", "AttributeProto", many=True),
        6: Field("doc_string", "skip"),
        7: Field("domain", "text"),
        8: Field("overload", "text"),
        9: _PROPERTIES,
        10: Field("device_configurations", "skip", many=True),
    },
    "AttributeProto": {
        1: Field("name", "text"),
        2: Field("f", "float"),
        3: Field("i", "number"),
        4: Field("s", "bytes"),
        5: submessage("t", "TensorProto"),
        6: submessage("g", "GraphProto"),
        7: Field("floats", "floats", many=True),
        8: Field("ints", "numbers", many=True),
        9: Field("strings", "bytes", many=True),
        10: submessage("tensors", "TensorProto", many=True),
        11: submessage("graphs", "GraphProto", many=True),
        13: Field("doc_string", "skip"),
        14: Field("tp", "skip"),
        15: Field("type_protos", "skip", many=True),
        20: Field("type", "number"),
        21: Field("ref_attr_name", "text"),
        22: Field("sparse_tensor", "skip"),
        23: Field("sparse_tensors", "skip", many=True),
    },
    "ValueInfoProto": {**_VALUE_INFO, 4: _PROPERTIES},
    "TypeProto": {
        1: submessage("tensor_type", "TypeProto.Tensor"),
        4: Field("sequence_type", "skip"),
        5: Field("map_type", "skip"),
        6: Field("denotation", "text"),
        7: Field("opaque_type", "skip"),
        8: Field("sparse_tensor_type", "skip"),
        9: Field("optional_type", "skip"),
    },
    "TypeProto.Tensor": {1: Field("elem_type", "number"), 2: submessage("shape", "TensorShapeProto")},
    "TensorShapeProto": {1: submessage("dim", "Dimension", many=True)},
    "Dimension": {
        1: Field("dim_value", "number"),
        2: Field("dim_param", "text"),
        3: Field("denotation", "text"),
    },
}


@dataclass
class _Tally:
    """What was counted on the way."""

    nodes: int = 0
    elements: int = 0
    parameters: int = 0
    initializers: set[str] = field(default_factory=set)
    inputs: list[Span] = field(default_factory=list)
    outputs: list[Span] = field(default_factory=list)


def looks_like_onnx(path: Path) -> bool:
    """Whether the file begins as an ONNX model does, whatever its name; a damaged one may too."""
    seen = set()
    with path.open("rb", buffering=0) as stream:
        reader = Reader(stream, SCHEMA, Budget(fields=64))
        try:
            for name, value in reader.fields(reader.whole("ModelProto")):
                if name == "ir_version" and not 1 <= int(str(value)) <= 100:
                    return False
                seen.add(name)
        except (Refused, Inconclusive):
            pass
    # A saved_model.pb begins with the same field; its second one is no text.
    return "ir_version" in seen and len(seen) > 1


def scan_onnx(path: Path) -> Facts:
    """The facts of an ONNX file that holds one image classifier.

    Raises Refused or Inconclusive, with a message that goes on after the file's name.
    """
    with path.open("rb", buffering=0) as stream:
        return _scan(stream)


def _scan(stream: IO[bytes]) -> Facts:
    reader = Reader(stream, SCHEMA)
    if not 0 < reader.size <= FILE_BYTES:
        raise Refused(f"has {reader.size:,} bytes; expected an ONNX model of 1 to {FILE_BYTES:,} bytes")
    model = reader.gather(reader.whole("ModelProto"))
    for name, what in (
        ("training_info", "a training graph"),
        ("functions", "local functions"),
        ("configuration", "a device configuration"),
    ):
        if name in model:
            raise Refused(
                f"holds {what} ({name}); expected standard operators only, so export it for inference"
            )
    version = number(model, "ir_version")
    if not IR_VERSIONS[0] <= version <= IR_VERSIONS[1]:
        raise Refused(
            f"has format version {version}; expected {IR_VERSIONS[0]} to {IR_VERSIONS[1]}, or it is no ONNX model"
        )
    opset = _opset(reader, spans(model, "opset_import"))
    if "graph" not in model:
        raise Refused("holds no graph; the file is damaged or no ONNX model")
    tally = _Tally()
    _scan_graph(reader, spans(model, "graph")[0], tally, top=True)
    inputs = [span for span in tally.inputs if text(reader.gather(span), "name") not in tally.initializers]
    output = _output(reader, tally.outputs)
    if len(inputs) != 1 or output is None:
        raise Refused(f"has {len(inputs)} inputs and {len(tally.outputs)} outputs; expected one of each")
    return {
        "format version": version,
        "opset": opset,
        "nodes": tally.nodes,
        "parameters": tally.parameters,
        "input": _declared(reader, inputs[0], "input", 4),
        "output": _declared(reader, output, "output", 2),
    }


def _output(reader: Reader, outputs: list[Span]) -> Span | None:
    """The one output, or `logits` beside the other outputs of `safeml export`; None where it is not known which one."""
    if len(outputs) == 1:
        return outputs[0]
    named = {text(reader.gather(span), "name"): span for span in outputs}
    known = len(named) == len(outputs) and set(named) <= {LOGITS, FEATURES, PROBABILITIES}
    return named.get(LOGITS) if known else None


def _opset(reader: Reader, imports: list[Span]) -> int:
    """The version of the default domain. An import of another domain does nothing without a node of it, and tf2onnx writes one."""
    found = []
    for span in imports:
        fields = reader.gather(span)
        if text(fields, "domain") in DEFAULT_DOMAINS:
            found.append(number(fields, "version"))
    if len(found) != 1 or not ONNX_OPSETS[0] <= found[0] <= ONNX_OPSETS[1]:
        named = f"operator set {found[0]:,}" if len(found) == 1 else f"{len(found)} default operator sets"
        raise Refused(
            f"names {named}; expected one of version {ONNX_OPSETS[0]} to {ONNX_OPSETS[1]}, so export it with such an opset"
        )
    return found[0]


def _scan_graph(reader: Reader, graph: Span, tally: _Tally, top: bool = False) -> None:
    for name, value in reader.fields(graph):
        if name == "sparse_initializer":
            raise Refused("holds a sparse initializer; expected dense weights inside the file")
        if not isinstance(value, Span):
            _check_names([value])
        elif name == "node":
            _scan_node(reader, value, tally)
        elif name == "initializer":
            label = _count(reader, value, tally)
            if top and label in tally.initializers:
                raise Refused("names an initializer twice; expected each once")
            if top:
                tally.initializers.add(label)
        elif top and name in ("input", "output"):
            ends = tally.inputs if name == "input" else tally.outputs
            ends.append(value)
            if len(ends) > reader.budget.gathered:
                raise Inconclusive(f"has more than {reader.budget.gathered:,} {name}s; it cannot be judged")


def _scan_node(reader: Reader, span: Span, tally: _Tally) -> None:
    tally.nodes += 1
    node = reader.gather(span)
    operator, domain = text(node, "op_type"), text(node, "domain")
    if domain not in DEFAULT_DOMAINS or "overload" in node:
        raise Refused(
            f'node {tally.nodes} uses "{shown(operator)}" of the domain "{shown(domain)}"; expected standard ONNX operators only'
        )
    if operator not in ONNX_OPS:
        raise Refused(
            f'node {tally.nodes} is "{shown(operator)}", which is not on the list of operators that a classifier needs; export it for inference'
        )
    for name in ("name", "input", "output"):
        _check_names(node.get(name, ()))
    for attribute in spans(node, "attribute"):
        fields = reader.gather(attribute)
        if "sparse_tensor" in fields or "sparse_tensors" in fields:
            raise Refused(f"node {tally.nodes} holds a sparse tensor; expected dense values inside the file")
        if operator == "Constant" and ("s" in fields or "strings" in fields):
            raise Refused(f"node {tally.nodes} is a constant of text; expected numbers")
        for key in ("t", "tensors"):
            for tensor in spans(fields, key):
                _count(reader, tensor, tally)
        for key in ("g", "graphs"):
            for graph in spans(fields, key):
                _scan_graph(reader, graph, tally)
        for key in ("f", "floats"):
            for values in spans(fields, key):
                if not all(
                    np.isfinite(np.frombuffer(piece, "<f4")).all() for piece in reader.chunks(values, 4)
                ):
                    raise Refused(f"node {tally.nodes} ({operator}) holds a number that is not finite")


def _count(reader: Reader, span: Span, tally: _Tally) -> str:
    """Check one tensor, add it to the tally, and give its name."""
    tensor = check_tensor(reader, span)
    _check_names([tensor.name])
    tally.elements += tensor.elements
    tally.parameters += tensor.elements if tensor.is_weight else 0
    if tally.elements > ELEMENTS:
        raise Refused(f"holds more than {ELEMENTS:,} numbers; that is no classifier that can be audited")
    return tensor.name


def _declared(reader: Reader, info: Span, which: str, rank: int) -> str:
    """What the graph states of its input or output, as text such as 'float32 [?, 32, 32, 3]'."""
    kinds = spans(reader.gather(info), "type")
    tensors = spans(reader.gather(kinds[0]), "tensor_type") if kinds else []
    fields = reader.gather(tensors[0]) if tensors else {}
    element = number(fields, "elem_type")
    if element not in (FLOAT, FLOAT16):
        raise Refused(
            f"its {which} has element type {element}; expected float32 ({FLOAT}) or float16 ({FLOAT16})"
        )
    shapes = spans(fields, "shape")
    sides = []
    for dimension in spans(reader.gather(shapes[0]), "dim") if shapes else []:
        size = reader.gather(dimension)
        sides.append(str(number(size, "dim_value")) if "dim_value" in size else "?")
    if len(sides) != rank:
        expected = "images of 4" if rank == 4 else "rows of class scores, 2"
        raise Refused(
            f"its {which} has {len(sides) if shapes else 'no stated'} dimensions; expected {expected}"
        )
    return f"{'float32' if element == FLOAT else 'float16'} [{', '.join(sides)}]"


def _check_names(names: Iterable[Value]) -> None:
    """Node names hold slashes as a rule; a step upwards or an address is a file's name, which may be private."""
    for name in names:
        if isinstance(name, str) and ("../" in name or "..\\" in name or "://" in name or "\0" in name):
            raise Refused(
                f'has the name "{shown(name)}", which looks like a path or an address; expected plain names'
            )
