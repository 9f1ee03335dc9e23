"""The references in docs, made from the classes and the rows: `python -m tests.reference` writes them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from safeml.config.audit import Config
from safeml.config.quantization import QuantizeSettings
from safeml.config.recipe import Recipe
from safeml.stages import OWN, tables
from safeml.stages.base import losses

DOCS = Path(__file__).parents[1] / "docs"
# More slices than this are counted; `safeml list metrics` lists them.
MOST_SLICES = 12
FIELD = re.compile(r"^((?:\*?[a-z_]+\*?)(?:, [a-z_]+)*): (.*)$")
KINDS = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false"}


def settings_page() -> str:
    """Return docs/settings.md: every table and key of `safeml.toml`, of a recipe and of `quantize.toml`."""
    lines = [
        "# Settings",
        "",
        "Made from the settings classes by `python -m tests.reference`; a test compares it. An unknown key, a value of another type",
        "and a value out of range are refused with exit code 2. Paths are relative to the folder of the file; relative data paths start",
        "at `--data-root` where it is given.",
        "",
        "## safeml.toml",
    ]
    lines += _file(_with_own_stages())
    lines += ["", "## recipe.toml"]
    lines += _file(Recipe)
    lines += ["", "## quantize.toml"]
    lines += _file(QuantizeSettings)
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """Return docs/metrics.md: every metric that a stage records under its default settings."""
    lines = [
        "# Metrics",
        "",
        "Made from the rows of the stages by `python -m tests.reference`; a test compares it. These are the metrics under default",
        "settings; `safeml list metrics -c safeml.toml` lists those of your settings. A gate names the stage, the metric and, where it is not",
        "`all`, the slice.",
    ]
    for stage in OWN:
        records = stage.records(stage.settings())
        if not records:
            continue
        lines += ["", f"## {stage.title}", "", f'`stage = "{stage.name}"`: {stage.summary}.', ""]
        lines += ["| metric | better | range | slices | may a gate read it |", "|---|---|---|---|---|"]
        for row in records:
            shown = row.slices if len(row.slices) <= MOST_SLICES else row.slices[:3]
            slices = ", ".join(f"`{name}NAME`" if name.endswith(":") else f"`{name}`" for name in shown)
            slices += f" and {len(row.slices) - len(shown)} more" if len(shown) < len(row.slices) else ""
            requires = f", with `{row.requires}`" if row.requires else ""
            gate = f"no: {row.weak}" if row.weak else f"yes{requires}"
            better = {"up": "higher", "down": "lower"}[row.direction]
            high = "unbounded" if row.high == float("inf") else f"{row.high:g}"
            lines.append(f"| `{row.name}` | {better} | {row.low:g} to {high} | {slices} | {gate} |")
    lines += [
        "",
        "## Losses against a baseline",
        "",
        'With `subject = "baseline"` a gate reads how much of a metric was lost against the run that `--baseline` names, on the same images:',
        "-1 to 1, lower is better, positive is a loss.",
        "",
        "| stage | metric |",
        "|---|---|",
    ]
    for stage in OWN:
        lines += [
            f"| `{stage.name}` | `{row.name}` |"
            for row in losses(stage.records(stage.settings()))
            if not row.weak
        ]
    return "\n".join(lines) + "\n"


def export_page() -> str:
    """Return docs/export.md with the tables of checks and of linter rules in their places."""
    from safeml.export.acceptance import ROWS
    from safeml.export.linter import RULES

    checks = ["| check | file that it judges |", "|---|---|"]
    checks += [f"| `{row.name}` | {', '.join(f'`{name}`' for name in row.files)} |" for row in ROWS]
    rules = ["| rule | what must hold |", "|---|---|"]
    rules += [f"| `{rule.id}` | {rule.sentence} |" for rule in RULES]
    return _with_tables("export.md", {"checks": checks, "rules": rules})


def jetson_page() -> str:
    """Return docs/jetson.md with the table of devices in its place."""
    from safeml.bundle.devices import table

    return _with_tables("jetson.md", {"devices": table()})


def _with_tables(file: str, tables: dict[str, list[str]]) -> str:
    """Return a page with tables in their places, by the name of each place."""
    page = (DOCS / file).read_text(encoding="utf-8")
    for name, table in tables.items():
        start, end = f"<!-- {name}: made by `python -m tests.reference` -->\n", "<!-- end -->"
        before, found, rest = page.partition(start)
        assert found, f"docs/{file} has no place for {name}"
        page = before + start + "\n".join(table) + "\n" + end + rest.partition(end)[2]
    return page


def _with_own_stages() -> type[BaseModel]:
    """Return Config without the stages of other installed packages."""
    own = tables(OWN)

    class Own(Config):
        __doc__ = Config.__doc__
        stages: own = own()  # type: ignore[valid-type]

    return Own


def _file(root: type[BaseModel]) -> list[str]:
    """Return the tables of a file; a class that serves several tables is written once, under all their names."""
    names: dict[type[BaseModel], list[str]] = {}
    for name, model in _tables(root, ""):
        names.setdefault(model, []).append(name)
    return [line for model, shared in names.items() for line in _table(shared, model)]


def undescribed() -> list[str]:
    """Return the keys without a meaning, as class.key."""
    models = {model for root in (_with_own_stages(), Recipe) for _, model in _tables(root, "")}
    return sorted(
        f"{model.__name__}.{key}"
        for model in models
        for key, info in model.model_fields.items()
        if not any(True for _ in _models(info.annotation)) and key not in _meanings(model)
    )


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return the descriptions of the fields of a class and of the classes that it inherits from."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        texts |= _field_texts(inspect.cleandoc(base.__doc__ or "")) if issubclass(base, BaseModel) else {}
    return texts


def _tables(model: type[BaseModel], name: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield each table with its dotted name, its own keys before its tables."""
    yield name, model
    for key, info in model.model_fields.items():
        for inner, many in _models(info.annotation):
            path = f"{name}.{key}" if name else key
            yield from _tables(inner, f"[{path}]" if many else path)


def _models(annotation: Any, many: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """Yield the settings classes in an annotation, and whether they are elements of a list."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation, many
        return
    many = many or getattr(annotation, "__origin__", None) is tuple
    for part in get_args(annotation):
        yield from _models(part, many)


def _table(names: list[str], model: type[BaseModel]) -> list[str]:
    schema = model.model_json_schema()
    doc = inspect.cleandoc(next((base.__doc__ for base in model.__mro__ if base.__doc__), ""))
    texts = _meanings(model)
    rows = []
    for key, info in model.model_fields.items():
        if any(True for _ in _models(info.annotation)):
            continue
        kind = _kind(schema["properties"][key], schema.get("$defs", {}))
        rows.append(f"| `{key}` | {kind} | {_default(info)} | {texts.get(key, '')} |")
    if not rows:
        return []
    heading = ", ".join(f"`[{name}]`" for name in names) if names != [""] else "the top of the file"
    first = re.split(r"\n\s*\n", doc)[0].replace("\n", " ")
    return [
        "",
        f"### {heading}",
        "",
        first,
        "",
        "| key | value | default | meaning |",
        "|---|---|---|---|",
        *rows,
    ]


def _field_texts(doc: str) -> dict[str, str]:
    """Return the description of each field, from the lines `name: text` of a docstring."""
    texts: dict[str, str] = {}
    keys: list[str] = []
    for line in (line.strip() for line in doc.splitlines()):
        start = FIELD.match(line)
        if start:
            keys = start.group(1).split(", ")
            texts.update(dict.fromkeys(keys, start.group(2)))
        elif not line:
            keys = []
        else:
            texts.update({key: f"{texts[key]} {line}" for key in keys})
    return {key: text.replace("|", "\\|") for key, text in texts.items()}


def _kind(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    """Return a type of JSON Schema in words."""
    if "$ref" in schema:
        return _kind(defs[schema["$ref"].rsplit("/", 1)[1]], defs)
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        parts = [_kind(part, defs) for part in schema["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if schema.get("type") == "array":
        items = schema.get("items") or next(iter(schema.get("prefixItems", [])), {})
        size = len(schema.get("prefixItems", [])) or ""
        return f"list of {size} {_kind(items, defs)}".replace("  ", " ")
    if schema.get("type") == "object":
        return f"table of {_kind(schema.get('additionalProperties') or {}, defs)}"
    kind = KINDS.get(schema.get("type", ""), "value")
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    above = (
        f"above {_bound(low)}"
        if "exclusiveMinimum" in schema
        else f"at least {_bound(low)}"
        if low is not None
        else ""
    )
    below = (
        f"below {_bound(high)}"
        if "exclusiveMaximum" in schema
        else f"at most {_bound(high)}"
        if high is not None
        else ""
    )
    return ", ".join(part for part in (kind, above, below) if part)


def _bound(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _default(info: Any) -> str:
    if info.is_required():
        return "required"
    value = info.default
    if value is PydanticUndefined:
        value = info.get_default(call_default_factory=True)
    if value in (None, "", (), [], {}):
        return ""
    return f"`{json.dumps(value, default=str)}`"


if __name__ == "__main__":
    (DOCS / "settings.md").write_text(settings_page(), encoding="utf-8")
    (DOCS / "metrics.md").write_text(metrics_page(), encoding="utf-8")
    (DOCS / "export.md").write_text(export_page(), encoding="utf-8")
    (DOCS / "jetson.md").write_text(jetson_page(), encoding="utf-8")
