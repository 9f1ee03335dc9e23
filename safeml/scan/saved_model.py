"""The static scan of a TensorFlow SavedModel folder: known files only, operators by allow-list, nothing from other files.

A SavedModel is a program. What is accepted here may only compute on tensors and on the model's own variables.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from safeml.limits import MIB
from safeml.scan.base import Facts, Inconclusive, Refused
from safeml.scan.graph_ops import TF_CHECKPOINT_OPS, TF_OPS, TF_UNREACHED_OPS
from safeml.scan.saved_model_schema import SCHEMA
from safeml.scan.wire import Fields, Reader, Span, number, shown, spans, text

GRAPH_BYTES = 512 * MIB
SIDE_BYTES = 64 * MIB  # each small file beside the graph
ELEMENTS = 500_000_000
ENTRIES = 1000
FUNCTIONS = 100_000
SHARD = re.compile(r"variables/variables\.data-(\d{5})-of-(\d{5})")
INDEX = "variables/variables.index"
FILES = {
    "saved_model.pb": GRAPH_BYTES,
    "fingerprint.pb": SIDE_BYTES,
    "keras_metadata.pb": SIDE_BYTES,
    INDEX: SIDE_BYTES,
}
FOLDERS = {"variables", "assets", "assets.extra"}
TABLE_MAGIC = bytes.fromhex("57fb808b247547db")  # how a checkpoint's index ends
REGISTERED = {"", "tf.TrackableConstant"}
# dtype: bytes of one element. Text, resources and variants are no weights.
WIDTHS = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 9: 8, 10: 1, 14: 2, 17: 2, 19: 2, 22: 4, 23: 8}
FLOATS = {1, 2, 14, 19}
TEXT = 7


@dataclass
class _Function:
    """One function, or the main graph under an empty name.

    touches_files: an operator in it that reads or writes a checkpoint.
    unserved: an operator in it that only functions may use that serving does not reach.
    calls: (calling node, called function).
    """

    name: str
    touches_files: str = ""
    unserved: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _Tally:
    operators: set[str] = field(default_factory=set)
    nodes: int = 0
    functions: int = 0
    elements: int = 0
    variables: int = 0
    variable_bytes: int = 0
    parameters: int = 0


def scan_saved_model(folder: Path) -> Facts:
    """The facts of a SavedModel folder that holds one classifier.

    Raises Refused or Inconclusive, with a message that goes on after the folder's name.
    """
    stored = _check_files(folder)
    with (folder / "saved_model.pb").open("rb", buffering=0) as stream:
        reader = Reader(stream, SCHEMA)
        tally = _scan_model(reader)
    if tally.variable_bytes > stored:
        raise Refused(
            f"declares {tally.variable_bytes:,} bytes of variables but stores {stored:,}; it is damaged or hostile"
        )
    return {
        "functions": tally.functions,
        "nodes": tally.nodes,
        "operators": len(tally.operators),
        "variables": tally.variables,
        "stored numbers": tally.parameters,
    }


def operators(path: Path) -> frozenset[str]:
    """Every operator that a saved_model.pb names, in the main graph and in all functions. Raises as the scan does."""
    with path.open("rb", buffering=0) as stream:
        return frozenset(_scan_model(Reader(stream, SCHEMA)).operators)


def _check_files(folder: Path) -> int:
    """Refuse what does not belong into a SavedModel; give the bytes of its variables."""
    found = {}
    for count, (name, entry) in enumerate(_entries(folder)):
        if count >= ENTRIES:
            raise Refused(f"has more than {ENTRIES:,} entries; expected the few files of a SavedModel")
        mode = entry.stat(follow_symlinks=False)
        seen = shown(name)
        if stat.S_ISDIR(mode.st_mode):
            if name not in FOLDERS:
                raise Refused(f"holds the folder {seen}; expected saved_model.pb and variables only")
            continue
        if not stat.S_ISREG(mode.st_mode):
            raise Refused(f"{seen} is a link or no regular file; expected regular files only")
        if name.startswith("assets"):
            raise Refused(f"holds the asset {seen}; expected a graph that reads no files")
        if name not in FILES and not SHARD.fullmatch(name):
            raise Refused(f"holds the file {seen}, which does not belong into a SavedModel; remove it")
        if mode.st_size > FILES.get(name, mode.st_size):
            raise Refused(f"{seen} has {mode.st_size:,} bytes; the limit is {FILES[name]:,}")
        found[name] = mode.st_size
    shards = sorted(name for name in found if SHARD.fullmatch(name))
    wanted = [f"variables/variables.data-{index:05d}-of-{len(shards):05d}" for index in range(len(shards))]
    if "saved_model.pb" not in found or INDEX not in found or not shards or shards != wanted:
        raise Refused(
            "is incomplete; expected saved_model.pb, variables/variables.index and every variables.data file"
        )
    with (folder / INDEX).open("rb") as stream:
        stream.seek(max(0, found[INDEX] - len(TABLE_MAGIC)))
        if stream.read() != TABLE_MAGIC:
            raise Refused(
                f"{INDEX} is not the index of a checkpoint; it is damaged, so copy the folder again"
            )
    return sum(found[name] for name in shards)


def _entries(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files and folders, two levels deep, by their path in the folder; links are not followed."""
    with os.scandir(folder) as top:
        for entry in top:
            yield entry.name, entry
            if entry.is_dir(follow_symlinks=False):
                with os.scandir(entry) as inner:
                    for below in inner:
                        yield f"{entry.name}/{below.name}", below


def _scan_model(reader: Reader) -> _Tally:
    model = reader.gather(reader.whole("SavedModel"))
    graphs = spans(model, "meta_graphs")
    if model.get("saved_model_schema_version") != [1] or len(graphs) != 1:
        raise Refused(f"saved_model.pb holds {len(graphs)} graphs; expected one of schema version 1")
    meta = reader.gather(graphs[0])
    if "asset_file_def" in meta:
        raise Refused("its graph names an asset file; expected a graph that reads no files")
    if "graph_def" not in meta or "object_graph_def" not in meta:
        raise Refused(
            "holds no object graph, as TensorFlow 1 wrote it; save it again with tf.saved_model.save"
        )
    tally, functions, named = _Tally(), [_Function("")], set[str]()
    for name, span in _children(reader, spans(meta, "graph_def")[0]):
        if name == "node":
            _scan_node(reader, span, functions[0], tally)
        elif name == "library":
            _scan_library(reader, span, functions, named, tally)
    _scan_objects(reader, spans(meta, "object_graph_def")[0], named, tally)
    saver = reader.gather(spans(meta, "saver_def")[0]) if "saver_def" in meta else {}
    saver_nodes = {text(saver, "save_tensor_name").split(":")[0], text(saver, "restore_op_name")} - {""}
    _check_checkpoint_functions(functions, named, saver_nodes)
    _check_served(functions, saver_nodes)
    tally.functions = len(functions) - 1
    return tally


def _check_checkpoint_functions(functions: list[_Function], named: set[str], saver_nodes: set[str]) -> None:
    """Reading and writing files is left to functions that nothing can run.

    Every SavedModel carries two functions that save and restore its variables, for loaders in graph mode. TensorFlow 2
    restores with other operators and never runs them. So: file operators may stand only in a function that is
    named nowhere but in the two nodes of the main graph that the saver names. Then no signature, no object, no gradient
    and no other function reaches it, whatever paths it holds.
    """
    called = {(function.name, node, target) for function in functions for node, target in function.calls}
    for function in functions:
        if not function.touches_files:
            continue
        callers = {(caller, node) for caller, node, target in called if target == function.name}
        if not function.name or function.name in named or not callers <= {("", node) for node in saver_nodes}:
            raise Refused(
                f"uses {function.touches_files} outside of its saver; expected operators that compute on tensors, not on files"
            )


def _check_served(functions: list[_Function], saver_nodes: set[str]) -> None:
    """Refuse operators of training in the main graph and in what it calls, where the signatures are.

    A signature of the object graph may name another function: the loader looks at what it serves once more
    (`classifiers.saved_model`).
    """
    by_name = {function.name: function for function in functions}
    waiting, reached = [""], set[str]()
    while waiting:
        name = waiting.pop()
        if name in reached or name not in by_name:
            continue
        reached.add(name)
        function = by_name[name]
        if function.unserved:
            raise Refused(_unlisted(function.unserved))
        waiting += [target for node, target in function.calls if name or node not in saver_nodes]


def _unlisted(operator: str) -> str:
    return (
        f'uses the operator "{shown(operator)}", which is not on the list of operators that a classifier needs; '
        "export it for inference"
    )


def _scan_library(
    reader: Reader, library: Span, functions: list[_Function], named: set[str], tally: _Tally
) -> None:
    for name, span in _children(reader, library):
        if name != "function":  # a gradient: functions that are run when someone differentiates
            named.update(value for _, value in reader.fields(span) if isinstance(value, str))
            continue
        function = _Function("?")
        for key, value in _children(reader, span):
            if key == "signature":
                function.name = text(reader.gather(value), "name")
            elif key == "node_def":
                _scan_node(reader, value, function, tally)
            elif key == "attr":
                attribute = reader.gather(value)
                # The optimiser may replace a function by another one of the same interface, behind every check.
                if text(attribute, "key").startswith("api_"):
                    raise Refused(
                        "has functions that stand in for each other (api_implements); export it for inference"
                    )
                _scan_attribute(reader, value, function, "", tally)
        functions.append(function)
        if len(functions) > FUNCTIONS:
            raise Inconclusive(f"defines more than {FUNCTIONS:,} functions; the scan cannot judge it")
    names = [function.name for function in functions]
    # Such a name would mean one thing to this scan and another to a loader.
    posing = sorted({name for name in names if name in TF_OPS | TF_CHECKPOINT_OPS | TF_UNREACHED_OPS})
    if posing:
        raise Refused(
            f'defines a function under the name of the operator "{shown(posing[0])}"; the graph is hostile'
        )
    if len(set(names)) != len(names):
        raise Refused("defines a function twice or without a name; the graph is damaged or hostile")


def _scan_node(reader: Reader, span: Span, function: _Function, tally: _Tally) -> None:
    tally.nodes += 1
    node = reader.gather(span)
    name, operator = text(node, "name"), text(node, "op")
    if operator in TF_CHECKPOINT_OPS:
        function.touches_files = operator
    elif operator in TF_UNREACHED_OPS:
        function.unserved = function.unserved or operator
    elif operator not in TF_OPS:
        raise Refused(_unlisted(operator))
    tally.operators.add(operator)
    keys = set()
    for attribute in spans(node, "attr"):
        key = _scan_attribute(reader, attribute, function, name, tally)
        if key in keys:
            raise Refused("gives an attribute of a node twice; the graph is damaged or hostile")
        keys.add(key)


def _scan_attribute(reader: Reader, attribute: Span, function: _Function, node: str, tally: _Tally) -> str:
    """Note which functions an attribute names and weigh its tensors; give its key."""
    fields = reader.gather(attribute)
    for value in spans(fields, "value"):
        content = reader.gather(value)
        if len(content) > 1:
            raise Refused("has an attribute of two kinds; the graph is damaged or hostile")
        for part in [content, *(reader.gather(span) for span in spans(content, "list"))]:
            for called in spans(part, "func"):
                target = reader.gather(called)
                function.calls.append((node, text(target, "name")))
                for inner in spans(target, "attr"):
                    _scan_attribute(reader, inner, function, "", tally)
            for tensor in spans(part, "tensor"):
                _weigh_constant(reader.gather(tensor), reader, tally)
    return text(fields, "key")


def _weigh_constant(tensor: Fields, reader: Reader, tally: _Tally) -> None:
    """A constant's declared shape may be far larger than its stored bytes: one value stands for all of the same."""
    kind = number(tensor, "dtype")
    if kind != TEXT and kind not in WIDTHS:
        raise Refused(f"holds a constant of element type {kind}; expected numbers")
    tally.elements += _elements(reader, spans(tensor, "tensor_shape"))
    _check_elements(tally)


def _scan_objects(reader: Reader, objects: Span, named: set[str], tally: _Tally) -> None:
    for name, span in _children(reader, objects):
        fields = reader.gather(span)
        if name == "concrete_functions":
            named.add(text(fields, "key"))
            continue
        for kind in ("function", "bare_concrete_function", "captured_tensor"):
            for part in spans(fields, kind):
                named.update(value for _, value in reader.fields(part) if isinstance(value, str))
        # Savers of their own run functions while the model is restored.
        for kind in ("asset", "resource", "registered_saver", "saveable_objects"):
            if kind in fields:
                raise Refused(f"holds a {kind.replace('_', ' ')}; expected variables and functions only")
        if text(fields, "registered_name") not in REGISTERED:
            raise Refused("holds an object of a registered class; expected variables and functions only")
        for variable in spans(fields, "variable"):
            _weigh_variable(reader, reader.gather(variable), tally)


def _weigh_variable(reader: Reader, variable: Fields, tally: _Tally) -> None:
    kind = number(variable, "dtype")
    if kind not in WIDTHS:
        raise Refused(f"holds a variable of element type {kind}; expected numbers")
    count = _elements(reader, spans(variable, "shape"))
    tally.variables += 1
    tally.elements += count
    tally.variable_bytes += count * WIDTHS[kind]
    tally.parameters += count if kind in FLOATS else 0
    _check_elements(tally)


def _check_elements(tally: _Tally) -> None:
    if tally.elements > ELEMENTS:
        raise Refused(f"declares more than {ELEMENTS:,} numbers; that is no classifier that can be audited")


def _elements(reader: Reader, shapes: list[Span]) -> int:
    """Elements of a declared shape; a scalar where there is none."""
    sides = []
    for shape in shapes:
        fields = reader.gather(shape)
        sides = [reader.gather(dim).get("size", [0])[0] for dim in spans(fields, "dim")]
        if "unknown_rank" in fields or any(not isinstance(side, int) or side >> 63 for side in sides):
            raise Refused("holds a variable or constant of open shape; expected fixed shapes")
    return prod(side for side in sides if isinstance(side, int))


def _children(reader: Reader, span: Span) -> Iterator[tuple[str, Span]]:
    """The messages in a message, one at a time, however many there are."""
    for name, value in reader.fields(span):
        if isinstance(value, Span):
            yield name, value
