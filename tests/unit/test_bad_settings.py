"""Bad settings, recipes and command lines: exit code 2, one sentence that names the place, at once, and nothing written.

Each hostile file differs in one thing from settings that are good; that these are good is shown by what they fail on: their
data, which do not exist. An error that names the settings therefore came before anything was opened.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from typer.main import get_command

from safeml.audits.balance import run as balance
from safeml.audits.base import AuditInputs
from safeml.audits.performance import run as performance
from safeml.cli import main as program
from safeml.config.audit import load_config, parse_config
from safeml.config.gate_checks import check_gates
from safeml.config.recipe import load_recipe
from safeml.errors import ConfigError
from safeml.results import Gate, Metric
from safeml.stages import STAGES, StageSettings, settings_of
from safeml.stages.adversarial import AdversarialSettings
from safeml.stages.base import Declared
from safeml.stages.performance import PerformanceSettings
from safeml.stages.physical import PhysicalSettings
from safeml.store.files import atomic_write, read_run, to_json
from safeml.threats import Threat
from tests.fakes import dataset, numbered_images, oracle
from tests.sample_run import run_with

pytestmark = pytest.mark.timeout(30)  # a pipe that is read waits for ever

GOOD = """[model]
path = "m.keras"
[data.test]
kind = "npz"
path = "absent.npz"
[[gates]]
id = "a"
stage = "performance"
metric = "clean_accuracy"
op = ">="
threshold = 0.9
"""
RECIPE = """name = "r"
architecture = "lenet"
epochs = 1
[data.train]
kind = "npz"
path = "absent.npz"
[data.valid]
kind = "npz"
path = "other.npz"
"""
GATE = '[[gates]]\nid = "b"\nstage = "{}"\nmetric = "{}"\nop = "{}"\nthreshold = {}\n'
ATTACKS = "[stages.adversarial]\n"
LONG = "n" * 300


class Said(NamedTuple):
    code: int
    out: str
    err: str
    seconds: float


Call = Callable[..., Said]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """The console script, in this process and in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAFEML_DATA_ROOT", raising=False)
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}

    def run(*arguments: object) -> Said:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["safeml", *map(str, arguments)])
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            gc.freeze()  # what other tests left in this process is not the command's to collect
            began = time.process_time()
            with pytest.raises(SystemExit) as left:
                program.main()
            seconds = time.process_time() - began
            gc.unfreeze()
            sys.stdout.flush()
            shown = sys.stdout.buffer.getvalue().decode()  # type: ignore[attr-defined]
        return Said(int(left.value.code or 0), shown, err.getvalue(), seconds)

    yield run
    for number, handler in kept.items():
        signal.signal(number, handler)


def changed(old: str, new: str, text: str = GOOD) -> str:
    assert old in text
    return text.replace(old, new, 1)


def refused(said: Said, *words: str, code: int = 2) -> None:
    """One sentence on standard error, with the words, the code and no delay."""
    assert said.code == code, said
    assert said.err.startswith("safeml: ")
    assert said.err.count("\n") == 1
    assert said.err.rstrip("\n").endswith((".", "?"))
    assert "Traceback" not in said.err
    assert len(said.err) < 600
    for word in words:
        assert word in said.err, said.err
    assert said.seconds < 1.5  # of the processor; most of it imports, the first time


def test_the_good_settings_come_as_far_as_their_data(call: Call) -> None:
    Path("safeml.toml").write_text(GOOD)
    said = call("audit")
    assert said.code == 2
    assert "safeml: absent.npz: does not exist" in said.err
    Path("recipe.toml").write_text(RECIPE)
    assert "absent.npz: does not exist" in call("train", "recipe.toml").err


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.encode() + b"# filler\n" * 100_000,
        GOOD.encode() + b"#" + b"." * 500 + b"\n",
        GOOD.encode() + b'[gates.waiver]\nowner = "A"\nreason = "known"\nuntil = 2027-01-31\n',
        changed("0.9", "1").encode(),
        changed("m.keras", "a b'c\\nd.keras").encode(),
        GOOD.encode() + ATTACKS.encode() + b'threats = [{norm = "linf", epsilon = "1/255"}]\n',
    ],
    ids=["bom", "crlf", "900 kB", "ruler", "date", "whole limit", "odd path", "fraction"],
)
def test_unusual_settings_that_mean_what_they_say_are_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "safeml.toml").write_bytes(content)
    assert [entry.id for entry in load_config(tmp_path / "safeml.toml").gates] == ["a"]


MANY = "".join(
    GATE.format("performance", "clean_accuracy", ">=", k / 4000).replace('"b"', f'"g{k}"')
    for k in range(3000)
)
# name -> content, and what the sentence says
FILES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "empty": (b"", ("model is missing",)),
    "nul": (b'a = "\x00"', ("TOML",)),
    "latin-1": (changed("m.keras", "m\u00e9").encode("latin-1"), ("UTF-8", "0xe9")),
    "utf-16": (GOOD.encode("utf-16"), ("UTF-8",)),
    "10 MB": (GOOD.encode() + b"# x\n" * 2_600_000, ("10,4", "at most")),
    "nested lists": (b"x = " + b"[" * 50_000, ("nested too deeply",)),
    "nested tables": (b"x = " + b"{a=" * 5_000, ("nested too deeply",)),
    "dotted key": (b".".join([b"a"] * 50_000) + b" = 1", ("line 1", "49,999 dots")),
    "dotted table": (b"\n[" + b".".join([b"a"] * 50_000) + b"]\n", ("line 2", "dots")),
    "long integer": (changed("0.9", "9" * 5000), ("thousands of digits",)),
    "long hexadecimal": (changed("0.9", "0x" + "f" * 5000), ("gates.0.threshold", "20,000 bits")),
    "long hexadecimal count": (GOOD + ATTACKS + "images = 0x" + "f" * 5000, ("images", "20,000 bits")),
    "long key": ("k" * 500_000 + " = 1\n" + GOOD, ("unknown key", "known are")),
    "long text": (changed(">=", "x" * 500_000), ("gates.0.op", "500,000 characters")),
    "a key twice": (GOOD + "threshold = 0.8\n", ("TOML", "line 12")),
    "a table twice": (GOOD + "[model]\n", ("TOML", "model")),
    "a list for a table": (changed("[model]", "[[model]]"), ("model is a list of 1", "a table")),
    "a table for a list": (changed("[[gates]]", "[gates]"), ("gates is a table", "a list")),
    "a list for text": ("title = [1]\n" + GOOD, ("title is a list of 1", "text in quotes")),
    "a number for text": ("title = 3\n" + GOOD, ("title is 3", "text in quotes")),
    "a gate that cannot fail": (changed("0.9", "0.0"), ("threshold is 0", "cannot fail")),
    "an error of at most all": (changed('"clean_accuracy"', '"clean_error"').replace('">="', '"<="').replace("0.9", "1.0"), ("threshold is 1", "cannot fail")),
    "3,000 gates and one twice": (GOOD + MANY + MANY[: MANY.index("[[", 2)], ('"g0"', "2 times")),
    # unknown keys, each with the nearest known one
    "misspelt table": (changed("[model]", "[modle]"), ("unknown key modle", 'did you mean "model"?')),
    "misspelt stage": (GOOD + "[stages.adverserial]\n", ("stages.adverserial", '"adversarial"?')),
    "misspelt setting": (GOOD + ATTACKS + "step = 3\n", ("stages.adversarial.step", '"steps"?')),
    "misspelt threat": (GOOD + ATTACKS + 'threats = [{norm = "l2", epsilom = 1}]\n', ("threats.0.epsilom", '"epsilon"?')),
    "misspelt data": (changed("kind =", "frames_per_sing = 3\nkind ="), ("data.test.frames_per_sing", '"frames_per_sign"?')),
    "misspelt input": (GOOD + "[model.input]\nchanels = 'rgb'\n", ("model.input.chanels", '"channels"?')),
    "misspelt gate": (changed("threshold", "treshold"), ("gates.0.treshold", '"threshold"?')),
    "a gate that only warns": (GOOD + 'severity = "warn"\n', ("gates.0.severity", "known are")),
    # types: nothing is turned into what it is not
    "limit in quotes": (changed("0.9", '"0.9"'), ('gates.0.threshold is "0.9"', "a number")),
    "limit true": (changed("0.9", "true"), ("gates.0.threshold is true", "a number")),
    "seed in quotes": (GOOD + "[run]\nseed = '7'\n", ('run.seed is "7"', "a whole number")),
    "seed 7.0": (GOOD + "[run]\nseed = 7.0\n", ("run.seed is 7.0", "a whole number")),
    "seed negative": (GOOD + "[run]\nseed = -1\n", ("run.seed is -1",)),
    "seed 2^64": (GOOD + "[run]\nseed = 18446744073709551616\n", ("run.seed",)),
    "enabled no": (GOOD + '[stages.balance]\nenabled = "no"\n', ("enabled", "true or false")),
    "enabled 1": (GOOD + "[stages.balance]\nenabled = 1\n", ("enabled is 1", "true or false")),
    "kind a list": (changed('"npz"', '["npz"]'), ("data.test.kind is a list of 1",)),
    "title a date": ("title = 2026-01-01\n" + GOOD, ("title is the date 2026-01-01",)),
    # limits
    "nan": (changed("0.9", "nan"), ("gates.0.threshold is nan", "finite")),
    "inf": (changed("0.9", "inf"), ("gates.0.threshold is inf", "finite")),
    "1e999": (changed("0.9", "1e999"), ("gates.0.threshold is inf", "finite")),
    "percent": (changed("0.9", "95"), ('gate "a"', "write 0.95")),
    "percent, cost": (GOOD + GATE.format("performance", "hazard_weighted_error", "<=", 2), ('gate "b"', "write 0.02")),
    "negative": (changed("0.9", "-0.1"), ('gate "a"', "threshold is -0.1", "0 to 1")),
    "beyond percent": (changed("0.9", "950"), ("threshold is 950", "0 to 1")),
    "negative count": (GOOD + GATE.format("adversarial", "masking_flags", "<=", -1), ("threshold is -1", "0 or more")),
    "half a flag": (GOOD + GATE.format("adversarial", "masking_flags", "==", 0.5), ("is a whole number",)),
    "=>": (changed(">=", "=>"), ('gates.0.op is "=>"',)),
    "less of what should be much": (changed(">=", "<="), ("higher is better", "use >=")),
    "more of what should be little": (GOOD + GATE.format("performance", "clean_error", ">=", 0.1), ("lower is better", "use <=")),
    "equality of an estimate": (changed(">=", "=="), ("cannot prove an equality",)),
    "min_n 10^12": (GOOD + "min_n = 1000000000000\n", ("min_n",)),
    "min_n 0": (GOOD + "min_n = 0\n", ("gates.0.min_n is 0",)),
    # what gates read
    "no gates": (GOOD[: GOOD.index("[[gates]]")], ("no [[gates]]", "safeml init")),
    "empty gates": ("gates = []\n" + GOOD[: GOOD.index("[[gates]]")], ("no [[gates]]",)),
    "unknown stage": (changed('"performance"', '"perfomance"'), ('"perfomance"', '"performance"?')),
    "unknown metric": (changed('"clean_accuracy"', '"clean_acuracy"'), ('"clean_acuracy"', '"clean_accuracy"?')),
    "metric of another stage": (changed('"clean_accuracy"', '"masking_flags"'), ("performance does not record",)),
    "stage without metrics": (GOOD + GATE.format("model", "parameters", "<=", 5), ("records no metrics",)),
    "threat that is not attacked": (GOOD + GATE.format("adversarial", "robust_accuracy.linf_16", ">=", 0.5), ("linf_16", "under these settings")),
    "attack that is not run": (GOOD + ATTACKS + 'attacks = ["pgd"]\n' + GATE.format("adversarial", "robust_accuracy.linf_4.fgsm", ">=", 0.5), ("linf_4.fgsm",)),
    "transfer without a surrogate": (GOOD + GATE.format("adversarial", "transfer_success.linf_4", "<=", 0.5), ("transfer_success.linf_4", "under these settings")),
    "transfer, which a weak surrogate passes": (
        GOOD + ATTACKS + 'surrogate = {path = "copy.keras"}\n' + GATE.format("adversarial", "transfer_success.linf_4", "<=", 0.5),
        ("which may be weak", "robust_accuracy.linf_4"),
    ),
    "surrogate without a path": (GOOD + ATTACKS + 'surrogate = {}\n', ("stages.adversarial.surrogate.path",)),
    "surrogate of nothing": (GOOD + ATTACKS + 'surrogate = {path = ""}\n', ("stages.adversarial.surrogate.path",)),
    "surrogate with a recipe": (GOOD + ATTACKS + 'surrogate = {path = "a", recipe = "b"}\n', ("stages.adversarial.surrogate.recipe",)),
    "surrogate with classes left out": (
        GOOD + ATTACKS + 'surrogate = {path = "a", input = {class_order = [0, 2]}}\n', ("stages.adversarial.surrogate", "class_order has 2 entries"),
    ),
    "surrogate with another range": (GOOD + ATTACKS + 'surrogate = {path = "a", input = {range = [1, 1]}}\n', ("surrogate.input", "equal ends")),
    "success rate of a side threat": (GOOD + GATE.format("adversarial", "attack_success_rate.linf_8", "<=", 0.5), ("attack_success_rate.linf_8",)),
    "unknown slice": (GOOD + 'slice = "night"\n', ('slice is "night"', '"all"')),
    "recall of everything": (GOOD + GATE.format("performance", "recall", ">=", 0.5), ('slice is "all"', "class:NAME or family:NAME")),
    "recall of a class without a name": (GOOD + GATE.format("performance", "recall", ">=", 0.5) + 'slice = "class:"\n', ('slice is "class:"',)),
    "split that is none": (GOOD + GATE.format("balance", "small_classes", "==", 0) + 'slice = "split:dev"\n', ('slice is "split:dev"',)),
    "the same id": (GOOD + GATE.format("balance", "test_duplicates", "==", 0).replace('"b"', '"a"'), ('"a" is used 2 times',)),
    "the same gate twice": (GOOD + GATE.format("performance", "clean_accuracy", ">=", 0.9), ('"a" and "b" set the same',)),
    "contradiction": (
        GOOD + GATE.format("balance", "test_duplicates", "==", 3) + GATE.format("balance", "test_duplicates", "<=", 2).replace('"b"', '"c"'),
        ('"b" and "c" contradict', "== 3 and <= 2"),
    ),
    "two equalities": (
        GOOD + GATE.format("balance", "test_duplicates", "==", 3) + GATE.format("balance", "test_duplicates", "==", 2).replace('"b"', '"c"'),
        ("contradict",),
    ),
    "id with a path": (changed('"a"', '"../a"'), ("gates.0.id",)),
    "waiver of a day that is none": (GOOD + "[gates.waiver]\nowner='a'\nreason='b'\nuntil='2026-02-30'\n", ("2026-02-30", 'gate "a"')),
    "waiver for ever": (GOOD + "[gates.waiver]\nowner='a'\nreason='b'\nuntil='never'\n", ("waiver.until",)),
    "waiver of nobody": (GOOD + "[gates.waiver]\nowner=' '\nreason='b'\nuntil='2027-01-31'\n", ("waiver.owner", "blank")),
    "waiver with an hour": (GOOD + "[gates.waiver]\nowner='a'\nreason='b'\nuntil=2027-01-31T10:00:00\n", ("waiver.until is the datetime",)),
    # threats and effort
    "epsilon 0": (GOOD + ATTACKS + 'threats = [{norm = "linf", epsilon = 0}]\n', ("epsilon is 0",)),
    "epsilon negative": (GOOD + ATTACKS + 'threats = [{norm = "l2", epsilon = -1}]\n', ("epsilon is -1",)),
    "epsilon 8": (GOOD + ATTACKS + 'threats = [{norm = "linf", epsilon = 8}]\n', ('"8/255"',)),
    "epsilon 300, l2": (GOOD + ATTACKS + 'threats = [{norm = "l2", epsilon = 300}]\n', ('"300/255"',)),
    "epsilon 1e-9": (GOOD + ATTACKS + 'threats = [{norm = "linf", epsilon = 1e-9}]\n', ("1e-09", "at least 1e-05")),
    "epsilon 1e-9, l2": (GOOD + ATTACKS + 'threats = [{norm = "l2", epsilon = 1e-9}]\n', ("1e-09", "at least 0.001")),
    "epsilon that fills the memory": (GOOD + ATTACKS + 'threats = [{norm = "l2", epsilon = "1e999999999"}]\n', ("fraction",)),
    "epsilon nan": (GOOD + ATTACKS + 'threats = [{norm = "l2", epsilon = nan}]\n', ("epsilon is nan",)),
    "epsilon true": (GOOD + ATTACKS + 'threats = [{norm = "l2", epsilon = true}]\n', ("epsilon is true",)),
    "a threat twice": (GOOD + ATTACKS + 'threats = [{norm = "l2", epsilon = 1}, {norm = "l2", epsilon = "1"}]\n', ("repeat",)),
    "no threats": (GOOD + ATTACKS + "threats = []\n", ("threats",)),
    "an attack twice": (GOOD + ATTACKS + 'attacks = ["pgd", "pgd"]\n', ("attacks repeat",)),
    "an unknown attack": (GOOD + ATTACKS + 'attacks = ["pgm"]\n', ("attacks.0",)),
    "steps 0": (GOOD + ATTACKS + "steps = 0\n", ("steps is 0",)),
    "APGD steps 0": (GOOD + ATTACKS + "apgd_steps = 0\n", ("apgd_steps is 0",)),
    "queries 0": (GOOD + ATTACKS + "queries = 0\n", ("queries is 0",)),
    "a full ensemble at no threat": (GOOD + ATTACKS + 'full_ensemble = ["linf_44"]\n', ('"linf_44"', "linf_4,")),
    "breadth of an unknown attack": (GOOD + ATTACKS + 'breadth = ["deepfol"]\n', ('"deepfol"', '"deepfool"?')),
    "images 0": (GOOD + ATTACKS + "images = 0\n", ("images is 0",)),
    "images 10^18": (GOOD + ATTACKS + "images = 1000000000000000000\n", ("images",)),
    "batch 0": (GOOD + ATTACKS + "batch = 0\n", ("batch is 0",)),
    "batch 10^9": (GOOD + ATTACKS + "batch = 1000000000\n", ("batch",)),
    "bootstrap 1": (GOOD + "[stages.performance]\nbootstrap = 1\n", ("bootstrap is 1",)),
    # data and paths
    "no path": (changed("absent.npz", ""), ("data.test", "path is missing")),
    "path with nul": (changed("absent.npz", "a\\u0000"), ("data.test.path", "NUL")),
    "model path with nul": (changed("m.keras", "a\\u0000"), ("model.path", "NUL")),
    "path of 300 letters": (changed("absent.npz", LONG), ("data.test.path", "300 characters")),
    "reports of 300 letters": (GOOD + f'[run]\nreports = "{LONG}"\n', ("run.reports",)),
    "drawn signs with a path": (changed('"npz"', '"rendered"'), ("data.test", "remove it")),
    "split off what is not split": (changed("kind =", "valid_fraction = 0.2\nkind ="), ("valid_fraction", "gtsrb")),
    "validation set of GTSRB": (changed('"npz"', '"gtsrb"\nsplit = "valid"'), ("data.test", "valid_fraction")),
    "model and recipe": (changed("path =", "recipe = 'r'\npath ="), ("model", "set one of path")),
    "class order that is none": (GOOD + "[model.input]\nclass_order = [0, 0, 2]\n", ("class_order", "each of 0-2 once")),
    "class order from 1": (GOOD + "[model.input]\nclass_order = [1, 2, 3]\n", ("class_order",)),
    "range without width": (GOOD + "[model.input]\nrange = [1, 1]\n", ("model.input", "equal ends")),
    "range of three": (GOOD + "[model.input]\nrange = [0, 1, 2]\n", ("model.input.range",)),
    "std 0": (GOOD + "[model.input]\nstd = [1, 0, 1]\n", ("model.input", "std")),
    "frames 10^300": (changed("kind =", "frames_per_sign = 1e300\nkind ="), ("frames_per_sign",)),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_bad_settings_are_one_sentence(name: str, call: Call, tmp_path: Path) -> None:
    content, words = FILES[name]
    Path("safeml.toml").write_bytes(content.encode() if isinstance(content, str) else content)
    refused(call("audit"), "safeml.toml: ", *words)
    assert os.listdir(tmp_path) == ["safeml.toml"]


RECIPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "empty": ("", ("name is missing",)),
    "misspelt": (changed("epochs", "epoch", RECIPE), ("unknown key epoch", '"epochs"?')),
    "unknown architecture": (changed("lenet", "alexnet", RECIPE), ('architecture is "alexnet"', "lenet")),
    "epochs 0": (changed("epochs = 1", "epochs = 0", RECIPE), ("epochs is 0",)),
    "epochs 1.0": (changed("epochs = 1", "epochs = 1.0", RECIPE), ("epochs is 1.0", "a whole number")),
    "rate in quotes": ('learning_rate = "0.1"\n' + RECIPE, ('learning_rate is "0.1"', "a number")),
    "rate nan": ("learning_rate = nan\n" + RECIPE, ("learning_rate is nan",)),
    "batch 10^9": ("batch = 1000000000\n" + RECIPE, ("batch",)),
    "name with a path": (changed('"r"', '"../r"', RECIPE), ("name",)),
    "a flip": (RECIPE + "[augment]\nflip = true\n", ("augment.flip", "known are")),
    "chosen on what it is trained on": (changed("other.npz", "absent.npz", RECIPE), ("the same",)),
    "settings instead": (GOOD, ("unknown key",)),
}


@pytest.mark.parametrize("name", RECIPES)
def test_bad_recipes_are_one_sentence(name: str, call: Call, tmp_path: Path) -> None:
    content, words = RECIPES[name]
    Path("recipe.toml").write_text(content)
    refused(call("train", "recipe.toml"), "recipe.toml: ", *words)
    assert os.listdir(tmp_path) == ["recipe.toml"]


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


def test_numbers_stay_what_they_are() -> None:
    """A recorded configuration, which is JSON, is the same settings again."""
    values = {"model": {"path": "m"}, "data": {"test": {"kind": "npz", "path": "t"}}}
    gates = [{"id": "a", "stage": "performance", "metric": "clean_error", "op": "<=", "threshold": 0}]
    config = parse_config({**values, "gates": gates}, "here")
    assert parse_config(config.model_dump(mode="json"), "here") == config
    assert config.gates[0].threshold == 0.0


def test_a_looser_gate_may_stand_under_a_stricter_one() -> None:
    """A waiver of the strict one leaves the loose one in force."""
    values = {"model": {"path": "m"}, "data": {"test": {"kind": "npz", "path": "t"}}}
    asked = {"stage": "performance", "metric": "clean_accuracy", "op": ">="}
    gates = [{"id": "aim", "threshold": 0.95, **asked}, {"id": "floor", "threshold": 0.8, **asked}]
    assert len(parse_config({**values, "gates": gates}, "here").gates) == 2


def test_a_recipe_of_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "recipe.toml")
    with pytest.raises(ConfigError, match="not a regular file"):
        load_recipe(tmp_path / "recipe.toml")


ROWS = {stage.name: stage for stage in STAGES}


def declared(where: str, stages: StageSettings) -> tuple[Declared, ...]:
    return ROWS[where].records(settings_of(stages, ROWS[where]))


def agrees(found: Metric, where: str, stages: StageSettings) -> None:
    """The metric that the stage `where` recorded is the one that it is declared to record."""
    rows = {row.name: row for row in declared(where, stages)}
    row = rows[found.name]
    assert found.direction == row.direction, found.name
    assert any(
        found.slice.startswith(entry) if entry.endswith(":") else found.slice == entry for entry in row.slices
    ), (found.name, found.slice)
    assert found.value is None or row.low <= found.value <= row.high, found.name
    assert found.status != "ok" or row.counted == (found.clustering == "census"), found.name
    assert not row.is_share or found.unit in ("proportion", "cost"), found.name


@pytest.mark.parametrize("sample", ["reports/sample", "reports/sample-int8"])
def test_the_sample_report_recorded_what_is_declared(sample: str) -> None:
    run = read_run(Path(sample))
    stages = StageSettings.model_validate(
        {k: v for k, v in run.configuration["stages"].items() if k in StageSettings.model_fields}
    )
    recorded = {(entry.stage, found.name) for entry in run.stages for found in entry.metrics}
    for entry in run.stages:
        for found in entry.metrics:
            agrees(found, entry.stage, stages)
    assert {entry.stage for entry in run.stages if entry.status != "ok"} <= {"training"}  # of an INT8 file
    promised = {(entry.stage, row.name) for entry in run.stages for row in declared(entry.stage, stages)}
    assert recorded <= promised
    assert {  # with groups: test_group_table
        (entry.stage, row.name)
        for entry in run.stages
        for row in declared(entry.stage, stages)
        if not row.requires and entry.status == "ok"
    } <= recorded


@pytest.mark.parametrize("families", [False, True])
def test_audits_record_what_is_declared(families: bool) -> None:
    labels = np.repeat(np.arange(3), 10)
    data = dataset(labels, ("a", "b", "c"), tracks=np.arange(30) // 2)
    if families:
        data = type(data)(**{**vars(data), "groups": {"family": np.array(["x", "x", "y"])[labels]}})
    inputs = AuditInputs(oracle(labels, 3), data, train=data, valid=data)
    stages = StageSettings()
    for module in (performance, balance):
        settings = PerformanceSettings(bootstrap=100) if module is performance else stages.balance
        for found in module.run(inputs, settings).metrics:  # type: ignore[arg-type]
            agrees(found, module.__name__.split(".")[2], stages)


@pytest.mark.parametrize(
    ("threats", "full", "main"),
    [
        (("linf_1", "linf_4", "linf_8"), (), "linf_4"),
        (("linf_1", "linf_2", "linf_8"), (), "linf_8"),  # never the smallest, where nothing happens
        (("linf_1", "linf_4", "linf_8"), ("linf_1",), "linf_1"),
        (("l2_0.25", "l2_0.5"), (), "l2_0.5"),
    ],
)
def test_the_main_threat_is_one_that_all_attacks_see(threats, full, main) -> None:
    given = tuple(
        Threat(norm=norm, epsilon=float(size) / (255 if norm == "linf" else 1))
        for norm, size in (label.split("_") for label in threats)
    )
    assert AdversarialSettings(threats=given, full_ensemble=full).main.label == main


@pytest.mark.parametrize(
    ("changes", "metric", "words"),
    [
        ({"attacks": ("fgsm",)}, "robust_accuracy.linf_4", "without pgd, apgd_ce, apgd_t, square"),
        ({"steps": 1}, "robust_accuracy.linf_4", "steps = 1"),
        ({"apgd_steps": 9}, "robust_accuracy.linf_4", "apgd_steps = 9"),
        ({"queries": 1}, "robust_accuracy.linf_4", "queries = 1"),
        ({"attacks": ("fgsm",), "steps": 1}, "masking_flags", "without pgd"),
        ({"full_ensemble": ("linf_8",)}, "robust_accuracy.linf_4", 'add "linf_4" to full_ensemble'),
        ({"full_ensemble": ("linf_8",)}, "robust_accuracy.linf_4.fmn", "the worst case"),
        ({"attacks": ("pgd",)}, "attack_success_rate.linf_4", "without apgd_ce"),
    ],
)
def test_no_gate_reads_what_half_an_ensemble_left(changes, metric, words) -> None:
    stages = StageSettings(adversarial=AdversarialSettings(**changes))
    down = metric.startswith(("attack", "masking"))
    gate = Gate(
        id="g",
        title="g",
        stage="adversarial",
        metric=metric,
        op="<=" if down else ">=",
        threshold=0.5,
        rationale="r",
    )
    with pytest.raises(ConfigError, match=words):
        check_gates([gate], stages, "safeml.toml")


@pytest.mark.parametrize("metric", ["transform", "random_view", "worst"])
def test_no_gate_reads_other_views_where_there_are_none(metric: str) -> None:
    gate = Gate(id="g", title="g", stage="physical", metric=f"physical_accuracy.{metric}", op=">=", threshold=0.5, rationale="r")  # fmt: skip
    check_gates([gate], StageSettings(), "safeml.toml")
    alone = PhysicalSettings(
        rotation_degrees=0, shift=0, zoom=0, rotation_points=1, shift_points=1, zoom_points=1
    )
    with pytest.raises(ConfigError, match="without any transformation"):
        check_gates([gate], StageSettings(physical=alone), "safeml.toml")


def test_gates_of_the_settings_are_wrong_before_the_results_are_read(call: Call) -> None:
    atomic_write(Path("results.json"), to_json(run_with("pass")))
    Path("safeml.toml").write_text(changed("clean_accuracy", "clean_acuracy"))
    refused(call("gate", "results.json", "--config", "safeml.toml"), "did you mean")
    Path("safeml.toml").write_text(GOOD)
    assert call("gate", "results.json", "--config", "safeml.toml").code == 0
