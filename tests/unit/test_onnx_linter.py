"""Each rule of the linter is broken once on a clean export, and the linter reports that rule and no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from safeml.export.graph import set_attribute
from safeml.export.linter import INT8, RULES, UNUSED, Exemption, errors, int8_share, lint
from safeml.export.onnx import export_onnx
from tests.int8_nets import SIDE, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clean() -> Any:
    return export_onnx(tiny(), None).model


def node(model: Any, name: str) -> Any:
    return next(node for node in model.graph.node if node.name == name)


def kernel_pair(model: Any, layer: str) -> tuple[Any, Any]:
    """The QuantizeLinear and the DequantizeLinear of a layer's kernel."""
    operator = next(n for n in model.graph.node if n.name in (f"{layer}/Conv", f"{layer}/Gemm"))
    dequantize = next(n for n in model.graph.node if n.output[0] == operator.input[1])
    return next(n for n in model.graph.node if n.output[0] == dequantize.input[0]), dequantize


def store(model: Any, name: str, values: np.ndarray) -> None:
    """Replace or add an initializer."""
    kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, numpy_helper.from_array(values, name)])


def values(model: Any, name: str) -> np.ndarray:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    return numpy_helper.to_array(tensor).copy()


def insert(model: Any, before: str, *nodes: Any) -> None:
    place = [node.name for node in model.graph.node].index(before)
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*kept[:place], *nodes, *kept[place:]])


def own_quantizer(model: Any, before: str, source: str, name: str) -> str:
    """Insert a quantizer of the scale of the stem's input; return its output."""
    scale, zero = node(model, "stem_input/QuantizeLinear").input[1:]
    codes = helper.make_node("QuantizeLinear", [source, scale, zero], [f"{name}/codes"], name=f"{name}/q")
    back = helper.make_node("DequantizeLinear", [f"{name}/codes", scale, zero], [name], name=f"{name}/dq")
    insert(model, before, codes, back)
    return name


def external(model: Any) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def foreign_domain(model: Any) -> None:
    node(model, "stem_relu/Relu").domain = "com.example"


def integer_operator(model: Any) -> None:
    relu = node(model, "stem_relu/Relu")
    relu.op_type = "DynamicQuantizeLinear"
    relu.output.extend(["unread_scale", "unread_zero"])


def uint8(model: Any) -> None:
    quantize, dequantize = kernel_pair(model, "stem")
    store(model, "zero", np.zeros(8, np.uint8))
    quantize.input[2] = dequantize.input[2] = "zero"


def zero_point(model: Any) -> None:
    quantize, dequantize = kernel_pair(model, "stem")
    store(model, "zero", np.array([0, 0, 3, 0, 0, 0, 0, 0], np.int8))
    quantize.input[2] = dequantize.input[2] = "zero"


def no_zero_point(model: Any) -> None:
    for half in ("QuantizeLinear", "DequantizeLinear"):
        del node(model, f"stem_input/{half}").input[2:]


def scale(factor: float) -> Callable[[Any], None]:
    def mutate(model: Any) -> None:
        name = node(model, "stem_input/QuantizeLinear").input[1]
        store(model, name, values(model, name) * np.float32(factor))

    return mutate


def computed_scale(model: Any) -> None:
    quantize = node(model, "stem_input/QuantizeLinear")
    store(model, "stored", values(model, quantize.input[1]))
    for half in ("QuantizeLinear", "DequantizeLinear"):
        node(model, f"stem_input/{half}").input[1] = "computed"
    insert(model, "stem_input/QuantizeLinear", helper.make_node("Abs", ["stored"], ["computed"], name="abs"))


def orphan(model: Any) -> None:
    dequantize = node(model, "project_input/DequantizeLinear")
    store(model, "other", values(model, dequantize.input[1]) * np.float32(2))
    dequantize.input[1] = "other"


def unread_codes(model: Any) -> None:
    quantize = node(model, "project_input/QuantizeLinear")
    cast = helper.make_node("Cast", [quantize.output[0]], ["wide"], to=TensorProto.INT32, name="cast")
    insert(model, "project_input/DequantizeLinear", cast)


def float_kernel(model: Any) -> None:
    operator = node(model, "logits/Gemm")
    shape = values(model, kernel_pair(model, "logits")[0].input[0]).shape
    store(model, "float", np.random.default_rng(0).normal(size=shape).astype(np.float32))
    operator.input[1] = "float"


def folded_kernel(model: Any) -> None:
    node(model, "logits/Gemm").input[1] = kernel_pair(model, "logits")[0].input[0]


def kernel_per_tensor(model: Any) -> None:
    quantize, dequantize = kernel_pair(model, "logits")
    store(model, "one", np.asarray(values(model, quantize.input[1]).max()))
    store(model, "zero", np.zeros((), np.int8))
    for half in (quantize, dequantize):
        half.input[1], half.input[2] = "one", "zero"


def kernel_axis(model: Any) -> None:
    quantize, dequantize = kernel_pair(model, "project")  # eight inputs and eight outputs
    kernel, steps = values(model, quantize.input[0]), values(model, quantize.input[1])
    store(model, quantize.input[0], np.clip(kernel, -100 * steps.min(), 100 * steps.min()))
    for half in (quantize, dequantize):
        set_attribute(half, "axis", 1)


def kernel_transposed(model: Any) -> None:
    quantize, dequantize = kernel_pair(model, "logits")
    store(model, quantize.input[0], np.ascontiguousarray(values(model, quantize.input[0]).T))
    for half in (quantize, dequantize):
        set_attribute(half, "axis", 1)
    turn = helper.make_node("Transpose", [dequantize.output[0]], ["turned"], perm=[1, 0], name="turn")
    insert(model, "logits/Gemm", turn)
    node(model, "logits/Gemm").input[1] = "turned"


def kernel_codes(model: Any) -> None:
    quantize, _ = kernel_pair(model, "stem")
    kernel, steps = values(model, quantize.input[0]), values(model, quantize.input[1])
    kernel[0, 0, 0, 0] = -128 * steps[0]
    store(model, quantize.input[0], kernel)


def kernel_without_a_number(model: Any) -> None:
    quantize, _ = kernel_pair(model, "stem")
    kernel = values(model, quantize.input[0])
    kernel[0, 0, 0, 0] = np.nan
    store(model, quantize.input[0], kernel)


def bias_without_a_number(model: Any) -> None:
    name = node(model, "stem/Conv").input[2]
    bias = values(model, name)
    bias[3] = np.nan
    store(model, name, bias)


def float_input(model: Any) -> None:
    node(model, "logits/Gemm").input[0] = "features"


def quantized_bias(model: Any) -> None:
    store(model, "codes", np.arange(8, dtype=np.int32))
    store(model, "step", np.full(8, 0.01, np.float32))
    bias = helper.make_node("DequantizeLinear", ["codes", "step"], ["bias"], axis=0, name="bias")
    insert(model, "stem/Conv", bias)
    node(model, "stem/Conv").input[2] = "bias"


def large_bias(model: Any) -> None:
    name = node(model, "stem/Conv").input[2]
    bias = values(model, name)
    bias[3] = 1e9
    store(model, name, bias)


def two_branches(model: Any) -> None:
    place = list(node(model, "add/Add").input).index("project/Conv")
    quantized = own_quantizer(model, "add/Add", "project/Conv", "extra")
    node(model, "add/Add").input[place] = quantized


def no_branch(model: Any) -> None:
    add = node(model, "add/Add")
    place = next(i for i, name in enumerate(add.input) if name != "project/Conv")
    add.input[place] = "stem_relu/Relu"


def before_relu(model: Any) -> None:
    node(model, "stem_relu/Relu").input[0] = own_quantizer(model, "stem_relu/Relu", "stem/Conv", "extra")


def two_scales(model: Any) -> None:
    concat = node(model, "concat/Concat")
    source = node(model, next(n.name for n in model.graph.node if n.output[0] == concat.input[1]))
    codes = next(n for n in model.graph.node if n.output[0] == source.input[0])
    store(model, "double", values(model, codes.input[1]) * np.float32(2))
    codes.input[1] = source.input[1] = "double"
    # The convolution behind it gets a quantizer, so that its input stays quantized.
    node(model, "last/Conv").input[0] = own_quantizer(model, "last/Conv", "maxpool/MaxPool", "extra")


def int8_softmax(model: Any) -> None:
    name = own_quantizer(model, "logits/Gemm", "features", "extra")
    softmax = helper.make_node("Softmax", [name], ["attention"], name="attention")
    model.graph.node.append(softmax)


def int8_logits(model: Any) -> None:
    operator = node(model, "logits/Gemm")
    operator.output[0] = "float_logits"
    scale, zero = node(model, "stem_input/QuantizeLinear").input[1:]
    model.graph.node.append(
        helper.make_node("QuantizeLinear", ["float_logits", scale, zero], ["codes"], name="q")
    )
    model.graph.node.append(
        helper.make_node("DequantizeLinear", ["codes", scale, zero], ["logits"], name="dq")
    )


def unnamed_batch(model: Any) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "unk__3"


def dynamic_side(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"


def computed_shape(model: Any) -> None:
    insert(model, "stem/Conv", helper.make_node("Shape", ["image"], ["sides"], name="sides"))


def newer_opset(model: Any) -> None:
    model.opset_import[0].version = 18


def float_convolutions(model: Any) -> None:
    """Without quantizers on the inputs of the largest products: MatMul of activations in float."""
    model.graph.node.append(
        helper.make_node("MatMul", ["stem/Conv", "stem/Conv"], ["attention"], name="attention")
    )
    model.graph.node.append(helper.make_node("MatMul", ["attention", "attention"], ["again"], name="again"))


def no_features(model: Any) -> None:
    kept = [value for value in model.graph.output if value.name != "features"]
    del model.graph.output[:]
    model.graph.output.extend(kept)


BROKEN: list[tuple[str, Callable[[Any], None]]] = [
    ("inside", external),
    ("operators", foreign_domain),
    ("explicit", integer_operator),
    ("no-uint8", uint8),
    ("zero-point", zero_point),
    ("zero-point", no_zero_point),
    ("scale", scale(0)),
    ("scale", scale(-1)),
    ("scale", scale(float("nan"))),
    ("scale", scale(1e-38)),
    ("scale", computed_scale),
    ("pairs", orphan),
    ("pairs", unread_codes),
    ("kernel-quantized", float_kernel),
    ("kernel-folded", folded_kernel),
    ("kernel-scale", kernel_per_tensor),
    ("kernel-scale", kernel_axis),
    ("kernel-direct", kernel_transposed),
    ("kernel-codes", kernel_codes),
    ("kernel-codes", kernel_without_a_number),
    ("input-quantized", float_input),
    ("bias-float", quantized_bias),
    ("bias-range", large_bias),
    ("bias-range", bias_without_a_number),
    ("residual", two_branches),
    ("residual", no_branch),
    ("fusion", before_relu),
    ("concat-scale", two_scales),
    ("float-ends", int8_softmax),
    ("float-ends", int8_logits),
    ("shapes", unnamed_batch),
    ("shapes", dynamic_side),
    ("shapes", computed_shape),
    ("opset", newer_opset),
    ("int8-share", float_convolutions),
    ("ends", no_features),
]


@pytest.mark.parametrize(
    ("rule", "mutate"), BROKEN, ids=[f"{rule}-{index}" for index, (rule, _) in enumerate(BROKEN)]
)
def test_a_broken_rule_is_reported_and_no_other(clean: Any, rule: str, mutate: Callable[[Any], None]) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(clean)
    mutate(broken)
    findings = lint(broken)
    assert {finding.rule for finding in findings} == {rule}, [str(finding) for finding in findings]


def test_the_clean_export_has_no_finding_and_every_rule_is_broken_once(clean: Any) -> None:
    assert lint(clean) == []
    assert sorted({rule for rule, _ in BROKEN}) == sorted(rule.id for rule in RULES)
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_an_exemption_names_rule_layer_and_reason(clean: Any) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(clean)
    float_kernel(broken)
    exemption = Exemption("kernel-quantized", "logits", "kept in float: it loses most")
    (finding,) = lint(broken, exemptions=[exemption])
    assert (finding.node, finding.exemption) == ("logits/Gemm", "kept in float: it loses most")
    assert errors([finding]) == []
    assert errors(lint(broken, exemptions=[Exemption("kernel-quantized", "logit", "another layer")])) != []


def test_an_exemption_that_exempts_nothing_is_a_finding(clean: Any) -> None:
    (finding,) = lint(clean, exemptions=[Exemption("residual", "add", "no reason")])
    assert finding.rule == UNUSED
    assert errors([finding]) == [finding]


def test_multiplications_are_counted_by_hand(clean: Any) -> None:
    side = SIDE * SIDE
    expected = side * 8 * 27 + side * 8 * 9 + side * 8 * 8  # stem, depthwise, project
    expected += 2 * 16 * 4 * 72 + 4 * 6 * 8 * 4 + 24 * 5  # two of stride 2, the last, the logits
    assert int8_share(clean) == (1.0, expected)
    assert INT8.int8_share == 0.9
