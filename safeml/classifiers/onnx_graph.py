"""Questions to an ONNX graph in memory, and other outputs for it. No operator is changed."""

from __future__ import annotations

import hashlib
from typing import Any

from safeml.scan.onnx import FEATURES, LOGITS

PASSING = ("Identity", "Cast", "Dropout")
# How weights reach their layer in a quantised or exported graph.
PREPARING = (
    "Identity",
    "Cast",
    "Transpose",
    "Reshape",
    "QuantizeLinear",
    "DequantizeLinear",
    "Unsqueeze",
    "Squeeze",
)
# Operator: which of its inputs are the images and the weights.
WEIGHTED = {
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "Conv": (0, 1),
    "ConvInteger": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearConv": (0, 3),
    "QLinearMatMul": (0, 3),
}


class OnnxGraph:
    """A ModelProto seen from its output backwards.

    output: the output that is asked for: `logits` where a file of `safeml export` has several.
    features: the output that such a file names so, or None.
    quantized: whether it holds explicit quantization (QuantizeLinear).
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        names = [str(output.name) for output in model.graph.output]
        self.output = LOGITS if LOGITS in names else names[0]
        self.features = FEATURES if FEATURES in names and len(names) > 1 else None
        self.quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        self._producers = {name: node for node in model.graph.node for name in node.output if name}
        self._stored = {tensor.name for tensor in model.graph.initializer}

    def softmax_input(self) -> str | None:
        """The tensor whose softmax the output is, or None where the output is not a softmax."""
        tensor = self.output
        while (node := self._producers.get(tensor)) is not None and node.op_type in PASSING:
            tensor = node.input[0]
        return str(node.input[0]) if node is not None and node.op_type == "Softmax" else None

    def last_weighted_input(self, tensor: str) -> str | None:
        """What is fed to the layer with weights that is nearest before `tensor`; None where there is none."""
        queue, seen = [tensor], set[str]()
        while queue:
            name = queue.pop(0)
            node = self._producers.get(name)
            if node is None or name in seen:
                continue
            seen.add(name)
            fed, weights = WEIGHTED.get(node.op_type, (0, -1))
            if 0 < weights < len(node.input) and self._is_stored(node.input[weights]):
                return str(node.input[fed])
            queue += node.input
        return None

    def bytes_giving(self, tensor: str) -> bytes:
        """The model with `tensor` as its only output. Its type is left to the runtime to infer."""
        import onnx

        changed = onnx.ModelProto()
        changed.CopyFrom(self.model)
        kept = [output for output in self.model.graph.output if output.name == tensor]
        del changed.graph.output[:]
        changed.graph.output.append(kept[0] if kept else onnx.ValueInfoProto(name=tensor))
        return bytes(changed.SerializeToString())

    def fingerprint(self) -> str:
        """sha256 of the graph and its operator sets: weights and operators, not who wrote the file and when."""
        digest = hashlib.sha256()
        for entry in sorted(f"{item.domain}:{item.version}" for item in self.model.opset_import):
            digest.update(entry.encode())
        digest.update(self.model.graph.SerializeToString(deterministic=True))
        return digest.hexdigest()

    def _is_stored(self, tensor: str) -> bool:
        """Whether a tensor is an initializer or a constant, however it was prepared."""
        while tensor not in self._stored:
            node = self._producers.get(tensor)
            if node is None or node.op_type not in (*PREPARING, "Constant"):
                return False
            if node.op_type == "Constant":
                return True
            tensor = node.input[0]
        return True
