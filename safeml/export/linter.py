"""Linter of ONNX files with explicit INT8 quantization: does the graph say what TensorRT will fuse and compute in INT8?

A rule is a row of `RULES`. A finding that a layer in float explains is exempted by name and with a reason, and stays in the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from safeml.export import lint_graph, lint_kernels
from safeml.export.ends import OPSETS
from safeml.export.lint_view import View


@dataclass(frozen=True)
class Target:
    """What a file is for.

    name: in words.
    opsets: the smallest and the largest operator set.
    scale_types: types that the scales of quantizers may have.
    int8_share: the smallest share of multiply-accumulates in INT8.
    """

    name: str
    opsets: tuple[int, int]
    scale_types: tuple[type, ...]
    int8_share: float = 0.9


INT8 = Target("TensorRT 8.5 and newer", OPSETS, (np.float32,))
# FP16 scales need opset 19, which TensorRT reads from 9 on; see `safeml.export.half`.
HALF = Target("TensorRT 10 and newer, FP16 outside the quantizers", (19, 19), (np.float16, np.float32))


@dataclass(frozen=True)
class Rule:
    """A row of the linter.

    id: as in findings and exemptions.
    sentence: what must hold.
    check: yields the nodes that break it, each with what was found and expected.
    """

    id: str
    sentence: str
    check: Callable[[View, Target], Iterator[tuple[str, str]]]


RULES = (
    Rule("inside", "All values are in the ONNX file; none is external data.", lint_graph.inside),
    Rule(
        "operators",
        "Every node is an operator of the default domain in the opset of the file.",
        lint_graph.known_operators,
    ),
    Rule(
        "explicit",
        "No QLinear, DynamicQuantizeLinear, ConvInteger or MatMulInteger operator.",
        lint_graph.explicit,
    ),
    Rule("no-uint8", "No value, input, output or cast is uint8.", lint_graph.no_uint8),
    Rule("zero-point", "Every zero point is a stored int8 zero.", lint_graph.zero_points),
    Rule("scale", "Every scale is a stored, finite, positive and normal number.", lint_graph.scales),
    Rule(
        "pairs",
        "Every QuantizeLinear is read by DequantizeLinear alone, with the same scale and axis.",
        lint_graph.pairs,
    ),
    Rule("kernel-quantized", "Every kernel is stored and passes a quantizer.", lint_kernels.kernel_quantized),
    Rule(
        "kernel-folded",
        "No float kernel lies on a grid of INT8 codes: its quantizer was folded.",
        lint_kernels.kernel_folded,
    ),
    Rule(
        "kernel-scale",
        "A kernel has one scale per output, along the axis of the outputs.",
        lint_kernels.kernel_scale,
    ),
    Rule(
        "kernel-direct",
        "Nothing is between the quantizer of a kernel and its operator.",
        lint_kernels.kernel_direct,
    ),
    Rule("kernel-codes", "The codes of kernels are in -127..127.", lint_kernels.kernel_codes),
    Rule(
        "input-quantized",
        "The input of every operator with a quantized kernel is quantized.",
        lint_kernels.input_quantized,
    ),
    Rule("bias-float", "No quantizer is on a bias.", lint_kernels.bias_float),
    Rule("bias-range", "Every bias, in steps of input and kernel, fits into int32.", lint_kernels.bias_range),
    Rule(
        "residual",
        "Exactly one branch of an addition behind an INT8 convolution is quantized.",
        lint_graph.residual,
    ),
    Rule(
        "fusion",
        "No quantizer is between an operator with weights and its normalisation or ReLU.",
        lint_graph.fusions,
    ),
    Rule("concat-scale", "Quantized inputs of a concatenation share one scale.", lint_graph.concat_scales),
    Rule("float-ends", "Softmax and logits are computed in float.", lint_graph.float_ends),
    Rule(
        "shapes", "All shapes are static, or the batch alone is dynamic and named `batch`.", lint_graph.shapes
    ),
    Rule("opset", "The opset is in the range that the target TensorRT reads.", lint_graph.opset),
    Rule(
        "int8-share", "At least 90 % of the multiply-accumulates are in INT8.", lint_kernels.multiplications
    ),
    Rule(
        "ends",
        "The input is `image`; the outputs hold `logits`, and `features` where a layer is before the last.",
        lint_graph.ends,
    ),
)
# Reported by the linter itself: an exemption that exempts nothing hides what it was written for.
UNUSED = "unused-exemption"


@dataclass(frozen=True)
class Exemption:
    """A rule that a layer may break.

    rule: its id.
    node: a node, or a Keras layer, which stands for its nodes.
    reason: why, for the report.
    """

    rule: str
    node: str
    reason: str

    def covers(self, finding: LintFinding) -> bool:
        """Return whether it exempts `finding`."""
        return self.rule == finding.rule and (
            finding.node == self.node or finding.node.startswith(f"{self.node}/")
        )


@dataclass(frozen=True)
class LintFinding:
    """A broken rule.

    rule: its id.
    node: the node or tensor, or "" for the graph.
    message: what was found and what was expected.
    exemption: the reason of an exemption, or "".
    """

    rule: str
    node: str
    message: str
    exemption: str = ""

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.rule}: {self.node + ': ' if self.node else ''}{self.message}"


def lint(model: Any, target: Target = INT8, exemptions: Sequence[Exemption] = ()) -> list[LintFinding]:
    """Return the broken rules of an onnx.ModelProto, exempted ones included.

    A file with external data is judged by that rule alone, because its values are not read.
    """
    view = View(model)
    outside = _findings(RULES[:1], view, target)
    if outside:
        return outside
    findings = _findings(RULES[1:], view, target)
    exempted = [
        replace(finding, exemption=next((row.reason for row in exemptions if row.covers(finding)), ""))
        for finding in findings
    ]
    unused = [row for row in exemptions if not any(row.covers(finding) for finding in findings)]
    return [
        *exempted,
        *(
            LintFinding(UNUSED, row.node, f"the exemption of {row.rule} exempts nothing; remove it")
            for row in unused
        ),
    ]


def _findings(rules: Iterable[Rule], view: View, target: Target) -> list[LintFinding]:
    return [
        LintFinding(rule.id, node, message) for rule in rules for node, message in rule.check(view, target)
    ]


def errors(findings: Iterable[LintFinding]) -> list[LintFinding]:
    """Return the findings without an exemption."""
    return [finding for finding in findings if not finding.exemption]


def int8_share(model: Any) -> tuple[float, int]:
    """Return the share of multiply-accumulates in INT8, and their number for one image."""
    return lint_kernels.int8_share(View(model))
