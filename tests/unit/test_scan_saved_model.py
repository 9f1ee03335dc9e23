"""Hostile and clean SavedModel folders, written byte by byte, and what the scan says of them. No graph here computes anything."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from safeml.scan import saved_model
from safeml.scan.base import Refused
from safeml.scan.graph_ops import ONNX_OPS, TF_CHECKPOINT_OPS, TF_OPS
from safeml.scan.onnx import looks_like_onnx
from safeml.scan.saved_model import TABLE_MAGIC, operators, scan_saved_model
from tests.wire_bytes import put, puts


def call(function: str) -> bytes:
    return put(5, put(1, "f") + put(2, put(10, put(1, function))))


def tf_node(name: str, op: str, extra: bytes = b"") -> bytes:
    return put(1, name) + put(2, op) + extra


def function(name: str, *ops: str, nodes: list[bytes] | None = None) -> bytes:
    made = [tf_node(f"n{index}", op) for index, op in enumerate(ops)] if nodes is None else nodes
    return put(1, put(1, name)) + puts(3, made)


SAVER = put(2, "save:0") + put(3, "restore") + put(7, 2)
VARIABLE = put(7, put(1, 1) + put(2, puts(2, [put(1, 4), put(1, 3)])) + put(6, "w"))
SAVE = function("__save", "SaveV2", "MergeV2Checkpoints", "ShardedFilename", "Const")
RESTORE = function("__restore", "RestoreV2", "AssignVariableOp")
SERVE = function("__serve", "MatMul", "Softmax")
TF_NODES = [
    tf_node("x", "Placeholder"),
    tf_node("serve", "StatefulPartitionedCall", call("__serve")),
    tf_node("save", "StatefulPartitionedCall", call("__save")),
    tf_node("restore", "StatefulPartitionedCall", call("__restore")),
]


def tf_meta(
    functions: list[bytes] | None = None,
    nodes: list[bytes] | None = None,
    library: bytes = b"",
    objects: bytes = b"",
    saver: bytes = SAVER,
    extra: bytes = b"",
) -> bytes:
    made = puts(1, [SERVE, SAVE, RESTORE] if functions is None else functions)
    graph = puts(1, TF_NODES if nodes is None else nodes) + put(2, made + library)
    named = put(2, put(1, "__serve") + put(2, b""))
    return put(2, graph) + put(3, saver) + extra + put(7, put(1, VARIABLE) + named + objects)


def folder(tmp_path: Path, meta: bytes | None = None, model: bytes | None = None, stored: int = 48) -> Path:
    made = tmp_path / "model"
    (made / "variables").mkdir(parents=True)
    content = put(1, 1) + put(2, tf_meta() if meta is None else meta)
    (made / "saved_model.pb").write_bytes(content if model is None else model)
    (made / "variables" / "variables.index").write_bytes(b"\0" * 40 + TABLE_MAGIC)
    (made / "variables" / "variables.data-00000-of-00001").write_bytes(b"\0" * stored)
    return made


def test_a_clean_folder_gives_its_facts(tmp_path: Path) -> None:
    made = folder(tmp_path)
    for name in ("assets", "assets.extra"):
        (made / name).mkdir()
    (made / "fingerprint.pb").write_bytes(b"\0")
    (made / "keras_metadata.pb").write_bytes(b"\0")
    assert scan_saved_model(made) == {
        "functions": 3,
        "nodes": 12,
        "operators": 10,
        "variables": 1,
        "stored numbers": 12,
    }
    assert "SaveV2" in operators(made / "saved_model.pb")
    assert not looks_like_onnx(made / "saved_model.pb")


HARMFUL = [
    "ReadFile",
    "WriteFile",
    "PyFunc",
    "EagerPyFunc",
    "PyFuncStateless",
    "HashTableV2",
    "MatchingFiles",
    "While",
    "Unknown",
]


@pytest.mark.parametrize("op", [*HARMFUL, "MatMul2", "matmul", ""])
def test_an_operator_that_is_not_listed_is_refused_wherever_it_stands(tmp_path: Path, op: str) -> None:
    cases = [
        tf_meta(nodes=[*TF_NODES, tf_node("n", op)]),
        tf_meta(functions=[SERVE, SAVE, RESTORE, function("unused", op)]),
        tf_meta(functions=[SERVE, SAVE, function("__restore", "RestoreV2", op)]),
    ]
    for index, meta in enumerate(cases):
        with pytest.raises(Refused, match=f'the operator "{op}"'):
            scan_saved_model(folder(tmp_path / str(index), meta))


def test_the_lists_hold_no_operator_that_leaves_the_model() -> None:
    words = (
        "File",
        "Py",
        "Table",
        "Dataset",
        "Iterator",
        "Queue",
        "Load",
        "Library",
        "Print",
        "Remote",
        "Http",
        "Decode",
    )
    assert not [op for op in TF_OPS | ONNX_OPS for word in words if word in op]
    assert not TF_OPS & TF_CHECKPOINT_OPS


CALLS_SAVE = [tf_node("c", "PartitionedCall", call("__save"))]
NESTED = put(5, put(1, "f") + put(2, put(1, put(9, put(1, "__save")))))


@pytest.mark.parametrize(
    "meta",
    [
        tf_meta(functions=[function("__serve", "MatMul", "RestoreV2"), SAVE, RESTORE]),
        tf_meta(nodes=[*TF_NODES, tf_node("n", "SaveV2")]),
        tf_meta(functions=[function("__serve", nodes=CALLS_SAVE), SAVE, RESTORE]),
        tf_meta(functions=[function("__serve", nodes=[tf_node("c", "MatMul", NESTED)]), SAVE, RESTORE]),
        tf_meta(nodes=[*TF_NODES, tf_node("other", "StatefulPartitionedCall", call("__save"))]),
        tf_meta(library=put(2, put(1, "__serve") + put(2, "__save"))),
        tf_meta(library=put(3, put(1, "__restore") + put(2, "CustomGradient-1"))),
        tf_meta(objects=put(2, put(1, "__save") + put(2, b""))),
        tf_meta(objects=put(1, put(6, put(1, "__save")))),
        tf_meta(objects=put(1, put(8, put(1, "__save")))),
        tf_meta(objects=put(1, put(12, put(1, "x") + put(2, "__save")))),
        tf_meta(saver=put(2, "serve:0") + put(3, "restore")),
        tf_meta(saver=b""),
        tf_meta(functions=[SERVE, SAVE, RESTORE, function("inner", "MergeV2Checkpoints")], nodes=[
            *TF_NODES, tf_node("i", "PartitionedCall", call("inner"))]),
    ],
)  # fmt: skip
def test_files_are_touched_by_nothing_that_can_run(tmp_path: Path, meta: bytes) -> None:
    with pytest.raises(Refused, match="outside of its saver"):
        scan_saved_model(folder(tmp_path, meta))


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (tf_meta(extra=put(6, put(2, "vocabulary.txt"))), "asset file"),
        (tf_meta(objects=put(1, put(5, put(1, 0)))), "asset"),
        (tf_meta(objects=put(1, put(10, b""))), "resource"),
        (tf_meta(objects=put(1, put(11, b""))), "saveable objects"),
        (tf_meta(objects=put(1, put(16, b""))), "registered saver"),
        (tf_meta(objects=put(1, put(13, "Custom>Layer"))), "registered class"),
        (tf_meta(objects=put(1, put(7, put(1, 7)))), "variable of element type 7"),
        (tf_meta(objects=put(1, put(7, put(1, 1) + put(2, put(2, put(1, (1 << 64) - 1)))))), "open shape"),
        (tf_meta(objects=put(1, VARIABLE)), "declares 96 bytes of variables but stores 48"),
        (tf_meta(functions=[SERVE, SERVE, SAVE, RESTORE]), "defines a function twice"),
        (tf_meta(functions=[SERVE + put(5, put(1, "api_implements") + put(2, put(2, "lstm"))), SAVE, RESTORE]), "stand in"),
        (tf_meta(nodes=[tf_node("n", "Const", put(5, put(1, "value") + put(2, put(8, put(1, 20)))))]), "element type 20"),
        (tf_meta(nodes=[tf_node("n", "Const", 2 * put(5, put(1, "value")))]), "twice"),
        (put(2, b""), "TensorFlow 1"),
    ],
)  # fmt: skip
def test_what_is_no_plain_model_is_refused(tmp_path: Path, meta: bytes, message: str) -> None:
    with pytest.raises(Refused, match=message):
        scan_saved_model(folder(tmp_path, meta))


@pytest.mark.parametrize("operator", ["Rint", "Identity", "SaveV2"])
def test_a_function_has_no_name_of_an_operator(tmp_path: Path, operator: str) -> None:
    meta = tf_meta(functions=[SERVE, SAVE, RESTORE, function(operator, "Identity")])
    with pytest.raises(Refused, match=f'under the name of the operator "{operator}"'):
        scan_saved_model(folder(tmp_path, meta))


def test_declared_numbers_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of variables and of constants, together."""
    tensor = put(8, put(1, 1) + put(2, put(2, put(1, 5))))
    constant = tf_node("n", "Const", put(5, put(1, "value") + put(2, tensor)))
    made = folder(tmp_path, tf_meta(nodes=[*TF_NODES, constant]))
    monkeypatch.setattr(saved_model, "ELEMENTS", 17)
    scan_saved_model(made)
    monkeypatch.setattr(saved_model, "ELEMENTS", 16)
    with pytest.raises(Refused, match="declares more than 16 numbers"):
        scan_saved_model(made)


def test_two_graphs_or_another_schema_are_refused(tmp_path: Path) -> None:
    two = put(1, 1) + put(2, tf_meta()) + put(2, tf_meta())
    for index, content in enumerate([two, put(1, 2) + put(2, tf_meta()), b"", b"hello"]):
        with pytest.raises(Refused):
            scan_saved_model(folder(tmp_path / str(index), model=content))


@pytest.mark.parametrize(
    "name",
    ["evil.so", "assets/v.txt", "assets.extra/run.sh", "variables/x", "code/a.py", "saved_model.pbtxt"],
)
def test_foreign_files_are_refused(tmp_path: Path, name: str) -> None:
    made = folder(tmp_path)
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).write_text("x")
    with pytest.raises(Refused):
        scan_saved_model(made)


@pytest.mark.parametrize(
    "name",
    ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001", "variables"],
)
def test_links_are_refused(tmp_path: Path, name: str) -> None:
    made = folder(tmp_path)
    (made / name).rename(tmp_path / "elsewhere")
    (made / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="is a link"):
        scan_saved_model(made)


def test_a_socket_and_missing_or_damaged_parts_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    special = folder(tmp_path / "socket")
    monkeypatch.chdir(special)  # the address of a socket holds about a hundred characters
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind("fingerprint.pb")
    with pytest.raises(Refused, match="no regular file"):
        scan_saved_model(special)
    for index, name in enumerate(
        ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
    ):
        made = folder(tmp_path / str(index))
        (made / name).unlink()
        with pytest.raises(Refused, match="incomplete"):
            scan_saved_model(made)
    shard = folder(tmp_path / "shard")
    (shard / "variables" / "variables.data-00000-of-00001").rename(
        shard / "variables" / "variables.data-00000-of-00002"
    )
    with pytest.raises(Refused, match="incomplete"):
        scan_saved_model(shard)
    index_file = folder(tmp_path / "index") / "variables" / "variables.index"
    index_file.write_bytes(b"\0" * 48)
    with pytest.raises(Refused, match="not the index of a checkpoint"):
        scan_saved_model(index_file.parent.parent)


@pytest.mark.parametrize("cut", range(1, 24, 3))
def test_a_truncated_graph_is_refused(tmp_path: Path, cut: int) -> None:
    whole = put(1, 1) + put(2, tf_meta())
    with pytest.raises(Refused):
        scan_saved_model(folder(tmp_path, model=whole[: len(whole) * cut // 24]))


def test_augmentation_is_accepted_where_serving_does_not_reach_it(tmp_path: Path) -> None:
    training = function("training", "ImageProjectiveTransformV3", "RngReadAndSkip")
    scan_saved_model(folder(tmp_path / "kept", tf_meta(functions=[SERVE, SAVE, RESTORE, training])))
    calls = [tf_node("c", "PartitionedCall", call("training"))]
    served = tf_meta(functions=[function("__serve", nodes=calls), SAVE, RESTORE, training])
    with pytest.raises(Refused, match='the operator "ImageProjectiveTransformV3"'):
        scan_saved_model(folder(tmp_path / "served", served))
    with pytest.raises(Refused, match='the operator "RngReadAndSkip"'):
        scan_saved_model(
            folder(tmp_path / "main", tf_meta(nodes=[*TF_NODES, tf_node("n", "RngReadAndSkip")]))
        )
