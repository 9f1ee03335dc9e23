"""Command lines and files that cannot be meant: one sentence, the right exit code, no waiting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

from safeml.cli import main as program
from safeml.config.audit import load_config
from safeml.store.files import atomic_write, to_json
from tests.fakes import numbered_images
from tests.refusals import GOOD, LONG, RECIPE, Call, changed, refused
from tests.sample_run import run_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(30)]  # a pipe that is read waits for ever


def test_what_is_no_file_is_not_waited_for(call: Call) -> None:
    Path("folder").mkdir()
    os.mkfifo("pipe")
    os.symlink("loop", "loop")
    for path, words in {
        "folder": "Is a directory",
        "pipe": "not a regular file",
        "/dev/null": "not a regular file",
        "loop": "symbolic links",
        "absent": "No such file",
        LONG: "File name too long",
    }.items():
        refused(call("audit", "--config", path), words)
        refused(call("train", path), words)
        refused(call("gate", "x", "--config", path), words)
    for path in ("pipe", "/dev/null"):
        refused(call("gate", path), f"{path}: is not a regular file", code=5)
        refused(call("report", path), f"{path}: is not a regular file", code=5)
    assert sorted(os.listdir()) == ["folder", "loop", "pipe"]


INIT = ("init", "--model", "m.keras", "--data", "d.npz", "--out")


COMMANDS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "settings over a folder": ((*INIT, "folder", "--force"), 2, "not a regular file"),
    "settings over a pipe": ((*INIT, "pipe", "--force"), 2, "not a regular file"),
    "settings over settings": ((*INIT, "safeml.toml"), 2, "exists already"),
    "settings into nothing": ((*INIT, "absent/safeml.toml"), 2, "is not a folder"),
    "settings of 300 letters": ((*INIT, LONG), 2, "255 between slashes"),
    "a model of 300 letters": (("init", "--model", LONG, "--data", "d", "--out", "x"), 2, "255 between"),
    "data of 300 letters": (("init", "--model", "m", "--data", LONG, "--out", "x"), 2, "255 between"),
    "a model without a name": (("init", "--model", "", "--data", "d", "--out", "x"), 2, "empty path"),
    "a model that is not there": (
        ("init", "--model", "absent", "--data", "d", "--out", "x"),
        2,
        "absent: there is no such file",
    ),
    "costs that are not there": (
        ("init", "--model", "safeml.toml", "--data", "safeml.toml", "--costs", "absent", "--out", "x"),
        2,
        "absent: there is",
    ),
    "a model in no alphabet": (("init", "--model", "m\udcff", "--data", "d", "--out", "x"), 2, "UTF-8"),
    "inspect nothing": (("inspect", "m", "--data", "absent.npz", "--out", "x"), 2, "does not exist"),
    "inspect over a pipe": (("inspect", "m", "--data", "d", "--out", "pipe", "--force"), 2, "regular"),
    "inspect frames": (
        ("inspect", "m", "--data", "d", "--out", "x", "--frames-per-sign", "inf"),
        2,
        "--data",
    ),
    "inspect in no alphabet": (("inspect", "m\udcff", "--data", "d", "--out", "x"), 2, "UTF-8"),
    "inspect into a file": (("inspect", "m", "--data", "d", "--out", "x", "--report", "pipe"), 2, "a file"),
    "fetch the unknown": (("data", "fetch", "cifar"), 2, "expected gtsrb"),
    "fetch over a file": (("data", "fetch", "gtsrb", "--root", "safeml.toml"), 2, "is a file"),
    "preview the unknown": (("data", "preview", "csv"), 2, "expected npz"),
    "preview of drawn signs": (("data", "preview", "rendered", "x"), 2, "remove it"),
    "preview without a path": (("data", "preview", "npz"), 2, "path is missing"),
    "preview as text": (("data", "preview", "rendered", "--out", "x.txt"), 2, ".png"),
    "preview into nothing": (("data", "preview", "rendered", "--out", "absent/x.png"), 2, "not a folder"),
    "gate of nothing": (("gate", "absent"), 2, "absent: there is no such file"),
    "gate of settings": (("gate", "safeml.toml"), 5, "not valid JSON"),
    "gate of 300 letters": (("gate", LONG), 2, "255 between slashes"),
    "report of nothing": (("report", "absent"), 2, "absent: there is no such file"),
    "train into 300 letters": (("train", "recipe.toml", "--out", LONG), 2, "255 between slashes"),
    "scan nothing": (("scan", "absent"), 2, "no such file"),
    "scan a pipe": (("scan", "pipe"), 5, "not a regular file"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_arguments_are_one_sentence(name: str, call: Call) -> None:
    Path("safeml.toml").write_text(GOOD)
    Path("recipe.toml").write_text(RECIPE)
    Path("folder").mkdir()
    os.mkfifo("pipe")
    before = sorted(os.listdir())
    arguments, code, words = COMMANDS[name]
    refused(call(*arguments), words, code=code)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("nope",),
        ("audit", "--nope"),
        ("audit", "extra"),
        ("audit", "--profile", "slow"),
        ("init",),
        ("inspect", "m", "--data", "d", "--images", "5"),
        ("inspect", "m", "--data", "d", "--seed", "-1"),
        ("data", "preview", "rendered", "--seed", "99999999999999"),
        ("data", "preview", "rendered", "--images", "0"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_says_what_is_wrong(arguments: tuple[str, ...], call: Call) -> None:
    said = call(*arguments)
    assert said.code == 2
    assert any(word in said.err for word in ("Error: ", "safeml: "))
    assert "Traceback" not in said.err
    assert os.listdir() == []


def commands(group: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the program that takes the path of an input, with its parameters."""
    group = group or get_command(program.app)
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*words, name))
    if not getattr(group, "commands", {}) and words not in (("data", "fetch"), ("data", "preview")):
        arguments = [one for one in group.params if one.param_type_name == "argument"]
        needed = [one.opts[0] for one in group.params if one.param_type_name == "option" and one.required]
        paths = [
            one.opts[0]
            for one in group.params
            if one.opts[0] in ("--config", "--model", "--baseline", "--public")
        ]
        if arguments or needed or paths:
            yield words, (len(arguments), needed, paths)


COMMANDS_OF_PATHS = list(commands())


@pytest.mark.parametrize(
    "value", ["loop", LONG, "a\nb", "/dev/null"], ids=["loop", "long", "line break", "device"]
)
@pytest.mark.parametrize(
    ("words", "takes"),
    COMMANDS_OF_PATHS,
    ids=lambda value: " ".join(value) if isinstance(value[0], str) else "",
)
def test_no_command_ends_in_a_traceback_for_a_path_that_cannot_be_read(
    words: tuple[str, ...], takes: tuple[int, list[str], list[str]], value: str, call: Call
) -> None:
    os.symlink("loop", "loop")
    arguments, needed, paths = takes
    given = [value] * arguments
    for option in {*needed, *paths}:
        given += [option, value]
    said = call(*words, *given)
    assert said.code in (2, 4, 5), said
    assert "Traceback" not in said.err
    assert said.err.count("\n") == 1
    assert os.listdir() == ["loop"]


@pytest.mark.parametrize(
    "error",
    [SystemExit(0), SystemExit(), SystemExit("bye"), RecursionError("deep"), MemoryError(), KeyError("x")],
    ids=repr,
)
def test_an_unexpected_end_is_missing_evidence_and_no_verdict(
    error: BaseException, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0 is a pass and 1 a failed gate; where a library ends the command, no gate was decided."""

    def ends(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("safeml.config.audit.load_config", ends)
    said = call("audit")
    assert said.code == 4
    assert said.err.splitlines()[-1].startswith(
        f"safeml: the command ended by an unexpected {type(error).__name__}, "
    )
    assert "Traceback" in said.err  # for the report of the defect


def test_what_the_system_refuses_is_one_sentence(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "reports/x\n")

    monkeypatch.setattr("safeml.config.audit.load_config", full)
    refused(call("audit"), "safeml: reports/x\\x0a: the system refuses it (No space left on device)", code=4)


def test_strange_names_survive_init(call: Call) -> None:
    np.savez("d.npz", images=numbered_images(40), labels=np.arange(40) % 4)
    for number, name in enumerate(
        ("-rf", "a b", "a\nb", 'quo"te', "back\\slash", "del\x7f", "\u00e9\u4e2d", " ")
    ):
        out = Path(f"{number}.toml")
        Path(name).touch()
        assert call("init", "--model", name, "--data", "d.npz", "--out", out).code == 0
        assert load_config(out).model.path == name


def test_gates_of_the_settings_are_wrong_before_the_results_are_read(call: Call) -> None:
    atomic_write(Path("results.json"), to_json(run_with("pass")))
    Path("safeml.toml").write_text(changed("clean_accuracy", "clean_acuracy"))
    refused(call("gate", "results.json", "--config", "safeml.toml"), "did you mean")
    Path("safeml.toml").write_text(GOOD)
    assert call("gate", "results.json", "--config", "safeml.toml").code == 0
