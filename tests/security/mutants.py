"""Mutation testing of the code that decides: each mutant has one comparison, boundary, constant, operator or check changed.

`python -m tests.security.mutants [FILE ...]` runs the tests of each file against every mutant and prints those that no test
notices; the exit code is 1 if there is one beside `EQUIVALENT`. A mutant is a copy in memory; no file is changed. The
libraries are imported once, and each mutant is tested in a fork. The files and their tests are in tests/security/mutant_rows.py.

Kinds of change: "comparison" becomes its opposite or moves its boundary; "word" is `and` or `or`; "not" is a `not` that goes;
"operator" and "constant" of numbers, also a minus that goes; "choice" of a conditional expression; "function" is min, max,
any, all, floor or ceil; "call" is a call that is a statement, such as a check, and goes.

Source: R. DeMillo, R. Lipton, F. Sayward, "Hints on test data selection: help for the practicing programmer" (1978).
"""

from __future__ import annotations

import ast
import importlib
import os
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType

from tests.security.mutant_rows import EQUIVALENT, TARGETS

ROOT = Path(__file__).parents[2]
SECONDS = 60  # of the processor, for one mutant: an endless loop is noticed
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor"}


@dataclass(frozen=True)
class Mutant:
    """One change of a file. says: the function, and the expression before and after; place: number of nodes before it."""

    says: str
    line: int
    place: int
    change: ast.AST


def mutants(source: str, kinds: frozenset[str]) -> list[Mutant]:
    """Return every mutant of a source text of the kinds named; those with the same words are numbered."""
    made: list[Mutant] = []
    said: Counter[str] = Counter()
    for place, (node, where) in enumerate(_nodes(ast.parse(source))):
        for kind, change in _changes(node):
            if kind not in kinds:
                continue
            text = f"{where}: {ast.unparse(node)} -> {ast.unparse(change)}"
            said[text] += 1
            number = f" (#{said[text]})" if said[text] > 1 else ""
            made.append(Mutant(f"{text}{number}", getattr(node, "lineno", 0), place, change))
    return made


def changed(source: str, mutant: Mutant) -> CodeType:
    """Return the code of the source with the change of `mutant`."""
    tree = ast.parse(source)
    node = next(node for place, (node, _) in enumerate(_nodes(tree)) if place == mutant.place)

    class Replacing(ast.NodeTransformer):
        def visit(self, inner: ast.AST) -> ast.AST:
            return ast.copy_location(mutant.change, inner) if inner is node else self.generic_visit(inner)

    return compile(ast.fix_missing_locations(Replacing().visit(tree)), "<mutant>", "exec")


def _nodes(tree: ast.AST, where: str = "module") -> Iterator[tuple[ast.AST, str]]:
    """Yield the nodes in the order of the text, with their function; no docstring, annotation or message of an error."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "type_params"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or isinstance(
                node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom
            ):
                continue
            inside = node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else where
            yield node, inside
            yield from _nodes(node, inside)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the changes of a node, each with its kind."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                operators = [*node.ops[:place], other(), *node.ops[place + 1 :]]
                yield "comparison", ast.Compare(node.left, operators, node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield "word", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield "not" if isinstance(node.op, ast.Not) else "operator", node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield "operator", ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield "constant", ast.Constant(node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield "constant", ast.Constant(node.value * 1.5 + 0.125)
    elif isinstance(node, ast.IfExp):
        yield "choice", ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "call", ast.Expr(ast.Constant(...))
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in FUNCTIONS:
            other = (
                ast.Attribute(node.func.value, FUNCTIONS[name], ast.Load())
                if isinstance(node.func, ast.Attribute)
                else ast.Name(FUNCTIONS[name], ast.Load())
            )
            yield "function", ast.Call(other, node.args, node.keywords)


class _Loader(SourceFileLoader):
    """Loads the mutated code of one module."""

    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.code


class _Finder:
    """Finds the mutated module before the file of the same name."""

    def __init__(self, file: str, code: CodeType) -> None:
        self.name = file.removesuffix(".py").replace("/", ".")
        self.loader = _Loader(self.name, str(ROOT / file))
        self.loader.code = code

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return (
            spec_from_file_location(name, self.loader.path, loader=self.loader) if name == self.name else None
        )


def survives(file: str, code: CodeType | None, tests: tuple[str, ...]) -> bool:
    """Whether every test of `tests` passes with the module of `file` replaced by `code` (None: as it is).

    Raises RuntimeError where no test ran.
    """
    child = os.fork()
    if child == 0:
        os._exit(_tested(file, code, tests))
    _, status = os.waitpid(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    if ended in (3, 4, 5):  # of pytest: an internal error, a wrong command line, no tests
        raise RuntimeError(f"{', '.join(tests)} did not run (pytest exit code {ended})")
    return ended == 0


def _tested(file: str, code: CodeType | None, tests: tuple[str, ...]) -> int:
    import pytest

    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    if code is not None:
        sys.meta_path.insert(0, _Finder(file, code))  # type: ignore[arg-type]
    return int(pytest.main([*tests, "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow"]))


def survivors(file: str) -> Iterator[tuple[str, int]]:
    """Yield the mutants of a file that no test notices, with their line; those of `EQUIVALENT` are left out."""
    source, target = (ROOT / file).read_text(encoding="utf-8"), TARGETS[file]
    for group in target.groups:
        if not survives(file, None, group):
            raise RuntimeError(f"{', '.join(group)} fails without a change")
    for mutant in mutants(source, target.kinds):
        if (file, mutant.says) in EQUIVALENT:
            continue
        code = changed(source, mutant)
        if all(survives(file, code, group) for group in target.groups):
            yield mutant.says, mutant.line


def main(files: list[str]) -> int:
    """Print the survivors of each file, and return 1 if there is one."""
    os.chdir(ROOT)
    for library in (
        "numpy",
        "scipy.stats",
        "scipy.optimize",
        "scipy.special",
        "hypothesis",
        "pydantic",
        "pytest",
        "jinja2",
        "cryptography.hazmat.primitives.asymmetric.ed25519",
    ):
        importlib.import_module(library)
    count = 0
    for file in files or list(TARGETS):
        made = len(mutants((ROOT / file).read_text(encoding="utf-8"), TARGETS[file].kinds))
        sys.stdout.write(f"{file}: {made} mutants\n")
        for says, line in survivors(file):
            count += 1
            sys.stdout.write(f"  {file}:{line} {says}\n")
            sys.stdout.flush()
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
