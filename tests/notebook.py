"""Run the cells of a notebook and store their outputs: `python -m tests.notebook` writes docs/python.ipynb again.

A few lines instead of a kernel: a cell is a piece of Python, and its last expression is its result.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[1] / "docs" / "python.ipynb"


def read(path: Path = NOTEBOOK) -> dict[str, Any]:
    """Return the notebook."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def execute(notebook: dict[str, Any]) -> dict[str, Any]:
    """Run the code cells in order, in one namespace, and put their outputs into the notebook."""
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
            cell["outputs"] = _outputs("".join(cell["source"]), names, count)
    return notebook


def _outputs(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {count}", "exec"), names)
        result = None
        if isinstance(last, ast.Expr):
            result = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append(
            {"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)}
        )
    if result is not None:
        data = {"text/plain": repr(result).splitlines(True)}
        html = getattr(result, "_repr_html_", None)
        if html is not None:
            data["text/html"] = html().splitlines(True)
        outputs.append(
            {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data}
        )
    return outputs


def write(notebook: dict[str, Any], path: Path = NOTEBOOK) -> None:
    """Write the notebook."""
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(execute(read()))
