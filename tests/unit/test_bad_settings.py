"""Bad settings, recipes and command lines: exit code 2, one sentence that names the place, at once, and nothing written.

Each hostile file differs in one thing from settings that are good; that these are good is shown by what they fail on: their
data, which do not exist. An error that names the settings therefore came before anything was opened.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from safeml.config.audit import load_config, parse_config
from safeml.config.recipe import load_recipe
from safeml.errors import ConfigError
from tests.refusals import GOOD, LONG, RECIPE, Call, changed, refused

pytestmark = pytest.mark.timeout(30)  # a pipe that is read waits for ever


GATE = '[[gates]]\nid = "b"\nstage = "{}"\nmetric = "{}"\nop = "{}"\nthreshold = {}\n'


ATTACKS = "[stages.adversarial]\n"


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
    "waiver of a day that is none": (GOOD + "[gates.waiver]\nowner='a'\nreason='b'\nuntil='2026-02-30'\n", ("2026-02-30", "gates.0.waiver.until", "not a valid date")),
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
