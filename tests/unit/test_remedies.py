"""What a text tells the user to run or to set exists: commands, options, tables, keys and pages.

Read are all string literals of safeml (errors, findings, remedies, docstrings), the README and docs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from safeml.cli.main import app
from safeml.config.audit import Config
from safeml.config.quantization import QuantizeSettings
from safeml.config.recipe import Recipe
from safeml.edge.cli import parser
from safeml.stages import OWN
from safeml.stages.base import losses
from tests.reference import _tables
from tests.source_texts import nodes, sources

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MARKDOWN = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/adr").glob("*.md")),
]
HOLE = "{}"  # a value of an f-string
# Options of pip, TensorBoard and trtexec.
FOREIGN = {
    "--force-reinstall",
    "--onnx",
    "--upgrade",
    "--logdir",
    "--require-hashes",
    "--sparsity",  # of trtexec
    "--no-deps",
    "--extra-index-url",
    "--user",
    "--runtime",  # of docker
    "--nthreads",  # of dask
    "--signature",  # of model_signing
    "--no-block",  # of systemctl
}
# Words in brackets that are no tables: dimensions and indices in docstrings.
DIMENSIONS = {"k", "n", "m", "channels", "weights", "sites"}
# Also the section of an entry point, and refusal codes as the device prints them.
DIMENSIONS |= {"console_scripts", "code", "rollback", "locked"}
# Their texts are style sheets.
STYLES = {"page_style.py", "page_parts.py"}
COMMAND = re.compile(r"`safeml ([^`]*)`")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w{-])")
TABLE = re.compile(r"(?<![\w\]`\"])\[{1,2}([a-z_]+(?:\.[a-z_{}]+)*)\]{1,2}(?!\()")
KEY_AFTER = re.compile(
    r"(?<![\w\]`\"])\[{1,2}([a-z_]+(?:\.[a-z_]+)*)\]{1,2} ([a-z]+(?:_[a-z]+)+|families|groups|costs|seed)\b"
)
KEY_BEFORE = re.compile(r"\b([a-z]+(?:_[a-z]+)+) (?:= \S+ )?in \[{1,2}([a-z_]+(?:\.[a-z_]+)*)\]{1,2}")
DOTTED = re.compile(r"(?<![\w.])((?:run|data|hazard|model\.input|stages)(?:\.[a-z_]+)+)\b(?!\()")
FILES = re.compile(r"\.(json|html|keras|onnx|npz|csv|png|toml)$")
PAGE = re.compile(r"(?<![\w/.])docs/[\w/.-]+\.(?:md|ipynb|json)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string literal with a space; the values of an f-string are HOLE."""
    parts: set[int] = set()
    for node in nodes(path):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(inner) for value in node.values for inner in ast.walk(value)}
            yield (
                node.lineno,
                "".join(str(v.value) if isinstance(v, ast.Constant) else HOLE for v in node.values),
            )
    for node in nodes(path):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in parts
            and " " in node.value
        ):
            yield node.lineno, " ".join(node.value.split())


def written(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of a document; a command in a block is set in backticks, and other programs are left out."""
    fence = ""
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if text.lstrip().startswith("```"):
            fence = "" if fence else text.strip()
            continue
        command = re.search(r"(?:^|[\s$])safeml ([^#|>]*)", text)
        if not fence or fence in ("```toml", "```"):
            yield line, text
        elif command:
            yield line, f"`safeml {command[1].strip()}`"


@cache
def texts() -> dict[str, str]:
    """Return each text by its place."""
    by_place = {
        f"{path.relative_to(ROOT)}:{line}": text
        for path in sources()
        if path.name not in STYLES
        for line, text in literals(path)
    }
    for path in MARKDOWN:
        by_place |= {f"{path.relative_to(ROOT)}:{line}": text for line, text in written(path)}
    return by_place


def commands() -> dict[str, set[str]]:
    """Return the options of each command, a subcommand as "data fetch"."""
    root = typer.main.get_command(app)
    found: dict[str, set[str]] = {}

    def add(name: str, command: object) -> None:
        inner = getattr(command, "commands", {})
        found[name] = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}  # type: ignore[attr-defined]
        for key, value in inner.items():
            add(f"{name} {key}".strip(), value)

    add("", root)
    return found


COMMANDS = commands()
COMMANDS["bundle"] |= COMMANDS["bundle build"]  # the command that `safeml bundle RUN` is


@cache
def options() -> set[str]:
    """Return every option of a command or script."""
    return set().union(*COMMANDS.values()) | script_options() | device_options() | FOREIGN


def device_options() -> set[str]:
    """Return the options of each command of `safeml-edge`."""
    [subparsers] = [action for action in parser()._actions if hasattr(action, "choices") and action.choices]
    return {
        option
        for command in subparsers.choices.values()
        for action in command._actions
        for option in action.option_strings
    }


def script_options() -> set[str]:
    """Return the options of the scripts that safeml ships beside its commands, from their calls of add_argument."""
    return {
        argument.value
        for path in sources()
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "add_argument"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def tables() -> dict[str, set[str]]:
    """Return the keys of each table of safeml.toml, of a recipe and of quantize.toml; `stages.NAME` also as `stages.{}`."""
    keys: dict[str, set[str]] = {}
    for root in (Config, Recipe, QuantizeSettings):
        for name, model in _tables(root, ""):
            keys.setdefault(name.replace("[", "").replace("]", ""), set()).update(model.model_fields)
    keys["stages.{}"] = set.intersection(*(keys[f"stages.{stage.name}"] for stage in OWN))
    keys["data.{}"] = keys["data.test"]
    return keys


TABLES = tables()
KEYS = set().union(*TABLES.values())
METRICS = {
    row.name
    for stage in OWN
    for row in (*stage.records(stage.settings()), *losses(stage.records(stage.settings())))
}


def faults_of_commands(text: str, place: str = "") -> list[str]:
    faults = []
    for snippet in COMMAND.findall(text):
        words = snippet.split()
        if not words or not words[0][0].islower() or HOLE in words[0] or words[0].startswith("-"):
            continue
        name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS), None)
        if name is None:
            faults.append(f"no command `safeml {words[0]}`")
            continue
        faults += [f"`safeml {name}` has no {o}" for o in OPTION.findall(snippet) if o not in COMMANDS[name]]
    return faults + [f"no command has {option}" for option in OPTION.findall(text) if option not in options()]


def faults_of_settings(text: str, place: str = "safeml/") -> list[str]:
    faults = [f"no table [{t}]" for t in TABLE.findall(text) if t not in TABLES and t not in DIMENSIONS]
    for table, key in KEY_AFTER.findall(text):
        if table in TABLES and key not in TABLES[table] and f"{table}.{key}" not in TABLES:
            faults.append(f"[{table}] has no {key}")
    for key, table in KEY_BEFORE.findall(text):
        if table in TABLES and key not in TABLES[table]:
            faults.append(f"[{table}] has no {key}")
    for dotted in DOTTED.findall(text) if place.startswith("safeml/") else ():
        table, _, key = dotted.rpartition(".")
        if not FILES.search(dotted) and dotted not in TABLES and key not in TABLES.get(table, set()):
            faults.append(f"no setting {dotted}")
    return faults


def faults_of_pages(text: str, place: str = "") -> list[str]:
    return [f"no page {page}" for page in PAGE.findall(text) if not (ROOT / page).is_file()]


@pytest.mark.parametrize("check", [faults_of_commands, faults_of_settings, faults_of_pages])
def test_what_a_text_names_exists(check: object) -> None:
    found = [f"{place}: {fault}" for place, text in texts().items() for fault in check(text, place)]  # type: ignore[operator]
    assert not found, "\n".join(found)


@cache
def remedies() -> dict[str, str]:
    """Return the texts of arguments and constants named remedy, by place."""
    found = {}
    for path in sources():
        for node in nodes(path):
            named = (isinstance(node, ast.keyword) and node.arg == "remedy") or (
                isinstance(node, ast.Assign)
                and any(isinstance(t, ast.Name) and "remed" in t.id.lower() for t in node.targets)
            )
            if named:
                words = [
                    part.value
                    for part in ast.walk(node.value)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]  # type: ignore[attr-defined]
                found[f"{path.relative_to(ROOT)}:{node.value.lineno}"] = " ".join(words)  # type: ignore[attr-defined]
    return found


def test_a_remedy_names_only_settings_and_metrics_that_exist() -> None:
    """A word with an underscore in a remedy is a key, a metric, or one of the words of an API that it quotes."""
    quoted = {"save_format", "track_id"}
    found = [
        f"{place}: {word}"
        for place, text in remedies().items()
        for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text)
        if word not in KEYS | METRICS | quoted
        and not any(word in name for name in METRICS)
        and f'"{word}"' not in text
    ]
    assert not found, "\n".join(found)


def test_every_link_of_the_documents_leads_to_a_file() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in MARKDOWN
        for target in LINK.findall(path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("run `safeml audit --quick`", faults_of_commands),
        ("run `safeml judge`", faults_of_commands),
        ("give --acept-quick", faults_of_commands),
        ("set [stages.performance] boot_strap", faults_of_settings),
        ("set frame_per_sign in [data.test]", faults_of_settings),
        ("in [stages.performence]", faults_of_settings),
        ("set run.responsable", faults_of_settings),
        ("see docs/absent.md", faults_of_pages),
    ],
)
def test_the_checks_see_a_slip(text: str, check: object) -> None:
    assert check(text)  # type: ignore[operator]


def test_the_walk_reads_many_texts() -> None:
    named = sum(
        bool(COMMAND.search(text) or OPTION.search(text) or TABLE.search(text)) for text in texts().values()
    )
    assert named > 150
    assert len(remedies()) > 50
