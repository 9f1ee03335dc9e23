"""Hostile and clean ONNX files, written byte by byte, and what the scan says of them."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeml.scan import onnx
from safeml.scan.base import Inconclusive, Refused
from safeml.scan.formats import identify
from safeml.scan.onnx import looks_like_onnx, scan_onnx
from tests.wire_bytes import put, puts, varint

pytestmark = pytest.mark.slow

KERNEL = np.ones((12, 3), "<f4")


def tensor(name: str, values: np.ndarray = KERNEL, kind: int = 1, extra: bytes = b"") -> bytes:
    dims = puts(1, list(values.shape))
    return dims + put(2, kind) + put(8, name) + put(9, values.tobytes()) + extra


def onnx_node(op: str, inputs: list[str], outputs: list[str], extra: bytes = b"") -> bytes:
    return puts(1, inputs) + puts(2, outputs) + put(4, op) + extra


def ends(name: str, sides: list[int | str], kind: int = 1) -> bytes:
    dims = [put(1, side) if isinstance(side, int) else put(2, side) for side in sides]
    return put(1, name) + put(2, put(1, put(1, kind) + put(2, puts(1, dims))))


IMAGE = ends("x", ["N", 2, 2, 3])
ROW = ends("y", ["N", 3])
NODES = [onnx_node("Flatten", ["x"], ["f"]), onnx_node("MatMul", ["f", "w"], ["y"])]


def onnx_graph(
    nodes: list[bytes] = NODES,
    tensors: list[bytes] | None = None,
    inputs: list[bytes] | None = None,
    outputs: list[bytes] | None = None,
    extra: bytes = b"",
) -> bytes:
    return (
        puts(1, nodes)
        + put(2, "g")
        + puts(5, [tensor("w")] if tensors is None else tensors)
        + puts(11, [IMAGE] if inputs is None else inputs)
        + puts(12, [ROW] if outputs is None else outputs)
        + extra
    )


OPSET = put(8, put(1, "") + put(2, 17))


def onnx_model(
    graph: bytes | None = None, opset: bytes = OPSET, version: int = 8, extra: bytes = b""
) -> bytes:
    return put(1, version) + put(2, "test") + put(7, onnx_graph() if graph is None else graph) + opset + extra


def scan(tmp_path: Path, content: bytes) -> dict:
    (tmp_path / "m.onnx").write_bytes(content)
    return scan_onnx(tmp_path / "m.onnx")


def test_a_clean_file_gives_its_facts(tmp_path: Path) -> None:
    assert scan(tmp_path, onnx_model()) == {
        "format version": 8,
        "opset": 17,
        "nodes": 2,
        "parameters": 36,
        "input": "float32 [?, 2, 2, 3]",
        "output": "float32 [?, 3]",
    }
    assert looks_like_onnx(tmp_path / "m.onnx")


def location(path: str) -> bytes:
    return put(13, put(1, "location") + put(2, path))


EXTERNAL = [
    location("../no-such-file"),
    location("/no-such-file"),
    location("no-such-file"),
    put(14, 1),
    put(14, 1) + location("x"),
]


@pytest.mark.parametrize("extra", EXTERNAL)
def test_external_data_is_refused_wherever_a_tensor_can_stand(tmp_path: Path, extra: bytes) -> None:
    outside = put(1, 12) + put(1, 3) + put(2, 1) + put(8, "w") + extra
    attribute = put(5, put(1, "value") + put(5, outside))
    several = put(5, put(1, "values") + put(10, outside))
    branch = onnx_graph(nodes=[onnx_node("Constant", [], ["c"], attribute)], tensors=[], inputs=[])
    for graph in (
        onnx_graph(tensors=[outside]),
        onnx_graph(nodes=[*NODES, onnx_node("Constant", [], ["c"], attribute)]),
        onnx_graph(nodes=[*NODES, onnx_node("Constant", [], ["c"], several)]),
        onnx_graph(
            nodes=[*NODES, onnx_node("If", ["c"], ["d"], put(5, put(1, "then_branch") + put(6, branch)))]
        ),
        onnx_graph(nodes=[*NODES, onnx_node("If", ["c"], ["d"], put(5, put(1, "b") + put(11, branch)))]),
    ):
        with pytest.raises(Refused, match="in another file"):
            scan(tmp_path, onnx_model(graph))


def test_sparse_tensors_are_refused_everywhere(tmp_path: Path) -> None:
    sparse = put(1, tensor("values", extra=location("/no-such-file")))
    with pytest.raises(Refused, match="sparse"):
        scan(tmp_path, onnx_model(onnx_graph(extra=put(15, sparse))))
    for number in (22, 23):
        attribute = put(5, put(1, "sparse_value") + put(number, sparse))
        with pytest.raises(Refused, match="sparse"):
            scan(
                tmp_path, onnx_model(onnx_graph(nodes=[*NODES, onnx_node("Constant", [], ["c"], attribute)]))
            )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            onnx_model(onnx_graph(nodes=[onnx_node("Relu", ["x"], ["y"], put(7, "com.unknown"))])),
            "of the domain",
        ),
        (
            onnx_model(onnx_graph(nodes=[onnx_node("Relu", ["x"], ["y"], put(8, "v2"))])),
            "standard ONNX operators",
        ),
        (onnx_model(onnx_graph(nodes=[onnx_node("Loop", ["x"], ["y"])])), 'node 1 is "Loop"'),
        (onnx_model(onnx_graph(nodes=[onnx_node("RandomNormal", [], ["y"])])), "not on the list"),
        (onnx_model(onnx_graph(nodes=[onnx_node("", [], ["y"])])), "not on the list"),
        (onnx_model(extra=put(25, put(1, "Relu"))), "local functions"),
        (onnx_model(extra=put(20, b"")), "training graph"),
        (onnx_model(opset=b""), "0 default operator sets"),
        (onnx_model(opset=OPSET + OPSET), "2 default operator sets"),
        (onnx_model(opset=put(8, put(2, 26))), "operator set 26; expected one of version 7 to 25"),
        (onnx_model(opset=put(8, put(2, 6))), "operator set 6"),
        (onnx_model(opset=put(8, put(1, "com.unknown") + put(2, 17))), "0 default operator sets"),
        (onnx_model(version=0), "format version 0"),
        (onnx_model(version=99), "format version 99"),
        (onnx_model(onnx_graph(inputs=[IMAGE, ends("z", [1])])), "2 inputs and 1 outputs"),
        (onnx_model(onnx_graph(outputs=[])), "1 inputs and 0 outputs"),
        (onnx_model(onnx_graph(inputs=[ends("x", ["N", 12])])), "its input has 2 dimensions"),
        (onnx_model(onnx_graph(outputs=[ends("y", ["N", 3, 1])])), "its output has 3 dimensions"),
        (onnx_model(onnx_graph(outputs=[ends("y", ["N", 3], 8)])), "element type 8"),
        (onnx_model(onnx_graph(tensors=[tensor("w"), tensor("w")])), "initializer twice"),
        (onnx_model(onnx_graph(tensors=[tensor("../../w")])), "looks like a path"),
        (onnx_model(onnx_graph(nodes=[onnx_node("Relu", ["x"], ["http://y"])])), "looks like a path"),
        (put(1, 8) + OPSET, "holds no graph"),
        (b"", "has 0 bytes"),
    ],
)
def test_what_is_no_plain_classifier_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(Refused, match=message):
        scan(tmp_path, content)


def test_slashes_in_names_initializers_as_inputs_and_free_imports_are_usual(tmp_path: Path) -> None:
    graph = onnx_graph(
        nodes=[onnx_node("Flatten", ["x"], ["f"]), onnx_node("MatMul", ["f", "model/dense/MatMul:0"], ["y"])],
        tensors=[tensor("model/dense/MatMul:0")],
        inputs=[IMAGE, ends("model/dense/MatMul:0", [12, 3])],
    )
    unused = put(8, put(1, "ai.onnx.ml") + put(2, 2))
    assert scan(tmp_path, onnx_model(graph, opset=OPSET + unused))["parameters"] == 36


def half(values: list[float]) -> np.ndarray:
    return np.array(values, "<f2")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_in_every_store(tmp_path: Path, bad: float) -> None:
    single, double = np.array([1, bad], "<f4"), np.array([1, bad], "<f8")
    brain = np.array([0x3F80, struct.unpack("<I", struct.pack("<f", bad))[0] >> 16], "<u2")
    bits = b"".join(varint(int(value)) for value in half([1, bad]).view("<u2"))
    head = put(1, 2) + put(8, "w")
    stores = [
        tensor("w", single),
        tensor("w", double, 11),
        tensor("w", half([1, bad]), 10),
        tensor("w", brain, 16),
        head + put(2, 1) + put(4, single.tobytes()),
        head + put(2, 1) + put(4, 1.0) + put(4, float(bad)),
        head + put(2, 11) + put(10, double.tobytes()),
        head + put(2, 10) + put(5, bits),
    ]
    for content in stores:
        with pytest.raises(Refused, match="not finite"):
            scan(tmp_path, onnx_model(onnx_graph(tensors=[content])))
    attribute = put(5, put(1, "value_float") + put(2, float(bad)))
    with pytest.raises(Refused, match="not finite"):
        scan(tmp_path, onnx_model(onnx_graph(nodes=[*NODES, onnx_node("Constant", [], ["c"], attribute)])))


def test_finite_weights_are_accepted_in_every_store(tmp_path: Path) -> None:
    head = put(1, 2) + put(8, "w")
    negative = varint((1 << 64) - 5)
    stores = [
        tensor("w", half([1, 65504]), 10),
        tensor("w", np.array([0x3F80, 0x7F7F], "<u2"), 16),
        head + put(2, 1) + put(4, np.ones(2, "<f4").tobytes()),
        head + put(2, 1) + put(4, 1.0) + put(4, 2.0),
        head + put(2, 3) + put(5, negative + varint(5)),
        head + put(2, 7) + put(7, negative + negative),
        put(1, 3) + put(8, "w") + put(2, 22) + put(9, b"\x21\x03"),
    ]
    for content in stores:
        scan(tmp_path, onnx_model(onnx_graph(tensors=[content])))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            put(1, 1000) + put(1, 1000) + put(2, 1) + put(9, b"\0" * 4),
            "declares 4,000,000 bytes",
        ),
        (put(1, 3) + put(2, 1) + put(9, b"\0" * 8), "declares 12 bytes but stores 8"),
        (put(1, 3) + put(2, 7) + put(7, varint(1)), "declares 3 numbers but stores 1"),
        (put(1, 3) + put(2, 1), "declares 12 bytes but stores 0"),
        (put(1, (1 << 64) - 1) + put(2, 1), "negative"),
        (put(2, 8) + put(6, b"text"), "holds text"),
        (put(2, 14) + put(9, b"\0" * 8), "element type 14"),
        (put(2, 1) + put(9, b"\0" * 4) + put(4, b"\0" * 4), "one place"),
        (put(2, 7) + put(4, b"\0" * 4), "element type 7 in float_data"),
        (put(2, 1) + put(3, b""), "segments"),
        (puts(1, [1] * 17) + put(2, 1) + put(9, b"\0" * 4), "more than 16 dimensions"),
        (put(1, b"\x01" * 17) + put(2, 1) + put(9, b"\0" * 4), "more than 16 dimensions"),
    ],
)
def test_a_tensor_is_what_it_declares(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(Refused, match=message):
        scan(tmp_path, onnx_model(onnx_graph(tensors=[content])))


def test_a_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    weights = np.zeros((4_000_000, 3), "<f4")
    (tmp_path / "m.onnx").write_bytes(onnx_model(onnx_graph(tensors=[tensor("w", weights)])))
    tracemalloc.start()
    try:
        assert scan_onnx(tmp_path / "m.onnx")["parameters"] == weights.size
        assert tracemalloc.get_traced_memory()[1] < weights.nbytes // 4
    finally:
        tracemalloc.stop()


def test_a_file_in_the_format_of_onnx_runtime_is_refused(tmp_path: Path) -> None:
    """ONNX Runtime tells its own format by bytes 4 to 7, which may be a name in an ONNX file; one file is one model."""
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_model().replace(put(2, "test"), put(2, "ORTM"), 1))
    assert path.read_bytes()[4:8] == b"ORTM"
    assert scan_onnx(path)["nodes"] == 2
    with pytest.raises(Refused, match="marked as ONNX Runtime's own format"):
        identify(path)


def test_declared_numbers_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "ELEMENTS", 35)
    with pytest.raises(Refused, match="more than 35 numbers"):
        scan(tmp_path, onnx_model())


def test_a_graph_that_nests_too_deep_cannot_be_judged(tmp_path: Path) -> None:
    graph = onnx_graph(tensors=[])
    for _ in range(30):
        graph = onnx_graph(nodes=[onnx_node("If", [], [], put(5, put(1, "b") + put(6, graph)))], tensors=[])
    with pytest.raises(Inconclusive, match="deep"):
        scan(tmp_path, onnx_model(graph))


@pytest.mark.parametrize("cut", range(1, 24, 3))
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    whole = onnx_model()
    with pytest.raises(Refused):
        scan(tmp_path, whole[: len(whole) * cut // 24])


@given(place=st.integers(0, len(onnx_model()) - 1), value=st.integers(0, 255))
def test_a_changed_byte_gives_facts_or_a_sentence_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    content = bytearray(onnx_model())
    content[place] = value
    said = ""
    try:
        scan(tmp_path_factory.mktemp("changed"), bytes(content))
    except (Refused, Inconclusive) as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 400
