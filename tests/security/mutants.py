"""Mutation testing in small: python -m tests.security.mutants safeml.edge.verify tests/unit/test_edge_verify.py

Each mutant changes one thing of a module: a comparison becomes its opposite or moves its boundary, `and` becomes `or`, a `not` goes, a
call that is a statement (a check) goes. The tests run on it in a forked child. A mutant that no test fails on has survived: a test is
missing, or the change means the same.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SECONDS = 120
LIBRARIES = ("cryptography.hazmat.primitives.asymmetric.ed25519", "hypothesis")
OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
BOUNDARY: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}


class Mutant(NamedTuple):
    """A changed module.

    name: function, what was changed and into what; without a line, so that it outlives edits.
    source: of the whole module.
    """

    name: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Return each mutant of a module."""
    tree = ast.parse(source)
    outer = [node.body if isinstance(node, ast.ClassDef) else [node] for node in tree.body]
    functions = [node for body in outer for node in body if isinstance(node, ast.FunctionDef)]
    for function in functions:
        for place, node in enumerate(ast.walk(function)):
            for change in changes(node):
                other = copy.deepcopy(tree)
                twin = next(
                    one
                    for one in ast.walk(other)
                    if isinstance(one, ast.FunctionDef)
                    and (one.lineno, one.name) == (function.lineno, function.name)
                )
                target = list(ast.walk(twin))[place]
                before = ast.unparse(target)
                apply(target, change)
                after = ast.unparse(target)
                yield Mutant(f"{function.name}: {before} -> {after}", ast.unparse(other))


def changes(node: ast.AST) -> list[tuple[str, int]]:
    """The kinds of change of a node, each with the place of the operator."""
    if isinstance(node, ast.Compare):
        kinds = [("opposite", place) for place in range(len(node.ops))]
        return kinds + [("boundary", place) for place, op in enumerate(node.ops) if type(op) in BOUNDARY]
    if isinstance(node, ast.BoolOp):
        return [("word", 0)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return [("not", 0)]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return [("call", 0)]
    return []


def apply(node: ast.AST, change: tuple[str, int]) -> None:
    """Change a node in its place."""
    kind, place = change
    if isinstance(node, ast.Compare):
        table = OPPOSITE if kind == "opposite" else BOUNDARY
        node.ops[place] = table[type(node.ops[place])]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()
        node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
        ast.fix_missing_locations(node)
    elif isinstance(node, ast.Expr):
        node.value = ast.Constant(...)
        ast.fix_missing_locations(node)


def install(module: str, source: str) -> None:
    """Put a module of this source in the place of `module`."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[module] = made
    exec(compile(source, spec.origin, "exec"), made.__dict__)
    package, _, name = module.rpartition(".")
    setattr(sys.modules[package], name, made)


def survives(module: str, source: str, tests: list[str]) -> bool:
    """Return whether all tests pass on the changed module, in a child."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            install(module, source)
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not nightly", *tests])
        finally:
            os._exit(int(code))
    return os.waitpid(child, 0)[1] == 0


def survivors(module: str, tests: list[str]) -> tuple[int, list[str]]:
    """Return the number of mutants of a module and the names of those that survive its tests."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    for name in LIBRARIES:  # once, and not again in each child
        importlib.import_module(name)
    assert survives(module, source, tests), "the tests fail on the module itself"
    made = list(mutants(source))
    return len(made), [mutant.name for mutant in made if survives(module, mutant.source, tests)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Which changes of a module no test sees.")
    parser.add_argument("module")
    parser.add_argument("tests", nargs="+")
    options = parser.parse_args()
    count, names = survivors(options.module, options.tests)
    sys.stdout.write("".join(f"{name}\n" for name in names) + f"{len(names)} of {count} survive\n")
    return int(bool(names))


if __name__ == "__main__":
    sys.exit(main())
