"""What an exported ONNX file states: the fingerprint that an audit records, operator set, and names of its ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safeml.errors import InputRefused


@dataclass(frozen=True)
class OnnxFacts:
    """Facts of one ONNX file.

    fingerprint: as an audit of the file records it.
    opset: version of the default operator set.
    inputs, outputs: names, in the order of the file.
    shape: of the image input, (height, width, channels).
    sizes: width of each output, by name.
    """

    fingerprint: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shape: tuple[int, ...]
    sizes: dict[str, int]


def onnx_facts(path: Path) -> OnnxFacts:
    """Read the facts of a file of `safeml export`. Raises InputRefused for content that is no ONNX model with one image input."""
    import onnx
    from google.protobuf.message import DecodeError

    from safeml.classifiers.onnx_graph import OnnxGraph

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, ValueError):
        raise InputRefused(f"{path}: is no ONNX model; export it again with `safeml export`.") from None
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(inputs) != 1 or len(opsets) != 1:
        raise InputRefused(
            f"{path}: has {len(inputs)} inputs and {len(opsets)} operator sets; expected one of each, as `safeml export` writes them."
        )
    shape = tuple(side.dim_value for side in inputs[0].type.tensor_type.shape.dim)
    sizes = {
        output.name: output.type.tensor_type.shape.dim[-1].dim_value
        for output in model.graph.output
        if output.type.tensor_type.shape.dim
    }
    return OnnxFacts(
        fingerprint=OnnxGraph(model).fingerprint(),
        opset=opsets[0],
        inputs=tuple(value.name for value in inputs),
        outputs=tuple(output.name for output in model.graph.output),
        shape=shape[1:],
        sizes=sizes,
    )
