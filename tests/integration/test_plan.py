"""`safeml plan` as a command: against what an audit of an oracle really does, and on real data where they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.data.load import load_dataset
from safeml.store.files import read_run
from tests import tiny
from tests.integration.trained import RECIPE
from tests.opening import command_here as safeml
from tests.subjects import Subject, constant

pytestmark = pytest.mark.slow

SHARED = Path(os.environ.get("SAFEML_SHARED", Path(__file__).parents[3] / "shared"))
ROOT = Path(__file__).parents[2]
SIZE, IMAGES = 16, 430
ATTACKED = {
    "images": 128,
    "threats": [{"norm": "linf", "epsilon": "1/255"}, {"norm": "linf", "epsilon": "2/255"}],
}
# The oracle knows the test images by heart, and there are too few training images for the others.
OFF = {"enabled": False}
CONFIG = f"""
[model]
path = "oracle.keras"
[data.test]
kind = "rendered"
images = {IMAGES}
size = {SIZE}
seed = 3
[data.train]
kind = "rendered"
images = 129
size = {SIZE}
seed = 1
{tiny.toml(adversarial=ATTACKED, privacy=OFF, explainability=OFF, monitors=OFF)}
"""
GATE = """
[[gates]]
id = "ID"
stage = "STAGE"
metric = "METRIC"
op = "OP"
threshold = LIMIT
"""


def gate(gate_id: str, stage: str, metric: str, op: str, limit: float) -> str:
    words = {"ID": gate_id, "STAGE": stage, "METRIC": metric, "OP": op, "LIMIT": str(limit)}
    text = GATE
    for word, value in words.items():
        text = text.replace(word, value)
    return text


PROVABLE = (
    gate("accuracy", "performance", "clean_accuracy", ">=", 0.8)
    + gate("robust", "adversarial", "robust_accuracy.linf_2", ">=", 0.5)
    + gate("shared", "balance", "shared_duplicates", "==", 0)
)
# So few images cannot exclude masking, and the logits of the oracle are too close for its accuracy; an owner accepts both.
ACCEPTED = """
[[accepted]]
stage = "adversarial"
metric = "masking_flags"
reason = "Too few images for the masking checks."
owner = "A. Owner"
[[accepted]]
stage = "calibration"
reason = "The oracle ranks classes and states no confidence."
owner = "A. Owner"
[[accepted]]
stage = "perturbation"
metric = "corruption_ece_mean"
reason = "The oracle ranks classes and states no confidence."
owner = "A. Owner"
"""
PROVABLE += ACCEPTED
UNPROVABLE = gate("strict", "performance", "clean_accuracy", ">=", 0.99)
UNMEASURED = gate("valid", "training", "validation_accuracy_chosen", ">=", 0.5)


def planned(*arguments: object) -> dict[str, Any]:
    done = safeml("plan", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write_oracle(file: Path) -> None:
    """A Keras model that answers each rendered image with the class of the nearest one: itself, also when a little changed.

    |x - c|^2 = |x|^2 - 2 x c + |c|^2, and |x|^2 is the same for all classes, so a dense layer and a maximum suffice.
    """
    import keras

    data = load_dataset("rendered", images=IMAGES, seed=3, size=SIZE)
    pixels = data.images.reshape(len(data), -1) / 255.0
    counts = np.bincount(data.labels)
    most = counts.max()
    rows = np.concatenate([np.resize(np.flatnonzero(data.labels == k), most) for k in range(data.classes)])
    scale = 0.2
    inputs = keras.Input((SIZE, SIZE, 3))
    near = keras.layers.Dense(len(rows))(keras.layers.Flatten()(inputs))
    apart = keras.layers.Reshape((data.classes, most))(near)
    best = keras.layers.GlobalMaxPooling1D()(keras.layers.Permute((2, 1))(apart))
    model = keras.Model(inputs, best)
    weights = [2 * scale * pixels[rows].T, -scale * (pixels[rows] ** 2).sum(axis=1)]
    model.layers[2].set_weights(weights)
    model.save(file)


class Counted:
    """A subject that counts the images it is asked for: one by one as an answer, or inside a compiled attack."""

    def __init__(self, inner: Subject, gradient: bool) -> None:
        self.inner, self.answers, self.in_graphs = inner, 0, 0
        for name in ("name", "classes", "spec", "parameters", "fingerprint", "notes"):
            setattr(self, name, getattr(inner, name))
        if gradient:
            self.logits = self._logits

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        self.answers += len(images)
        return self.inner.predict_logits(images)

    def features(self, images: np.ndarray) -> np.ndarray:
        return self.inner.features(images)

    def _logits(self, pixels: Any) -> Any:
        import tensorflow as tf

        def add(count: Any) -> None:
            self.in_graphs += int(count)

        with tf.control_dependencies([tf.py_function(add, [tf.shape(pixels)[0]], [])]):
            return self.inner.logits(tf.identity(pixels))


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a perfect model of rendered signs, and settings whose gates it passes."""
    folder = tmp_path_factory.mktemp("oracle")
    write_oracle(folder / "oracle.keras")
    (folder / "safeml.toml").write_text(CONFIG + PROVABLE)
    return folder


def listing(folder: Path) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.stat().st_mtime for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def first_plan(oracle: Path) -> dict[str, Any]:
    """The plan of the settings of `oracle`, with a probe, before anything was run."""
    before = listing(oracle)
    plan = planned("--config", oracle / "safeml.toml", "--out", oracle / "run")
    assert listing(oracle) == before
    return plan


@pytest.fixture(scope="module")
def run(oracle: Path, first_plan: dict[str, Any]) -> Path:
    """The folder of an audit of the oracle."""
    done = safeml("audit", "--config", oracle / "safeml.toml", "--out", oracle / "run")
    assert done.returncode == 0, done.stdout + done.stderr
    return oracle / "run"


def test_the_best_exit_and_the_intervals_are_those_of_an_audit_of_the_oracle(
    first_plan: dict[str, Any], run: Path
) -> None:
    assert first_plan["best_exit_code"] == read_run(run).verdict.exit_code == 0
    assert 0 < first_plan["seconds"]["low"] < first_plan["seconds"]["high"]
    best = {found["gate"]["id"]: found["best"] for found in first_plan["gates"]}
    measured = {found.gate.id: found.metric for found in read_run(run).verdict.gates}
    for gate_id in ("accuracy", "shared", "robust"):
        metric = measured[gate_id]
        assert metric is not None
        assert (metric.low, metric.high) == (best[gate_id]["low"], best[gate_id]["high"])


@pytest.mark.parametrize("gradient", [True, False])
def test_a_plan_of_the_physical_stage_is_at_least_what_it_asks_for(gradient: bool) -> None:
    """On a model that nothing moves no image leaves early, and the plan is what is asked for, but for what is filled up."""
    from safeml.audits.base import AuditInputs
    from safeml.audits.physical.perfect import physical_calls
    from safeml.audits.physical.run import run
    from safeml.planning.cost import forward_passes, gradient_steps
    from tests.integration.test_physical_audit import K, grey_signs, settings

    asked = settings(images=20, batch=8, patch_steps=15)
    test, valid = grey_signs(72), grey_signs(36, "valid", seed=1)
    counted = Counted(constant(K), gradient)
    inputs = AuditInputs(counted, test.take(np.flatnonzero(test.labels == 0)), valid=valid)
    result = run(inputs, asked)
    calls = physical_calls(inputs, asked, gradient)
    robust = {metric.name: metric.value for metric in result.metrics}
    assert robust["physical_accuracy.random_view"] == 1
    assert robust["physical_accuracy.worst"] == (1 if gradient else None)
    steps, answers = gradient_steps(calls), forward_passes(calls)
    # Of the patch, the engine asks in its own graph for some answers that are no steps.
    queries = sum(call.images for call in calls if call.item == "patch-queries")
    assert (queries > 0) == gradient
    assert counted.answers <= answers - queries
    assert counted.in_graphs <= steps + queries
    assert counted.answers + counted.in_graphs > 0.85 * (answers + steps)
    assert (steps > 0) == (counted.in_graphs > 0) == gradient


def test_the_physical_stage_is_counted_without_a_probe_too(oracle: Path, first_plan: dict[str, Any]) -> None:
    plans = [first_plan, planned("--config", oracle / "safeml.toml", "--no-probe")]
    counts = [
        {s["stage"]: (s["state"], s["forward_passes"], s["gradient_steps"]) for s in plan["stages"]}
        for plan in plans
    ]
    assert counts[0]["physical"] == counts[1]["physical"]
    assert min(counts[0]["physical"][1:]) > 0


def test_a_gate_on_the_physical_stage_depends_on_the_model(oracle: Path) -> None:
    config = oracle / "physical.toml"
    limit = gate("signs", "physical", "physical_accuracy.worst", ">=", 0.5)
    config.write_text(CONFIG + PROVABLE + limit)
    plan = planned("--config", config, "--no-probe")
    states = {found["gate"]["id"]: found["state"] for found in plan["gates"]}
    assert (states["signs"], plan["best_exit_code"]) == ("depends", 0)
    config.write_text(
        CONFIG.replace("[stages.physical]", "[stages.physical]\nenabled = false") + PROVABLE + limit
    )
    plan = planned("--config", config, "--no-probe")
    states = {found["gate"]["id"]: found["state"] for found in plan["gates"]}
    assert (states["signs"], plan["best_exit_code"]) == ("missing", 4)


def test_what_the_folder_holds_is_done(oracle: Path, run: Path) -> None:
    config = oracle / "safeml.toml"
    held = listing(oracle)
    plan = planned("--config", config, "--out", run)
    states = {stage["stage"]: stage["state"] for stage in plan["stages"]}
    assert {states[stage] for stage in ("performance", "balance", "adversarial", "physical")} == {"done"}
    assert listing(oracle) == held


@pytest.mark.parametrize(
    ("extra", "code"),
    [pytest.param(UNPROVABLE, 3, id="unprovable"), pytest.param(UNPROVABLE + UNMEASURED, 4, id="unmeasured")],
)
def test_what_no_model_can_pass_the_oracle_does_not(oracle: Path, run: Path, extra: str, code: int) -> None:
    config = oracle / f"other{len(extra)}.toml"
    config.write_text(CONFIG + PROVABLE + extra)
    plan = planned("--config", config, "--no-probe")
    done = safeml("gate", run, "--config", config)
    assert done.returncode == plan["best_exit_code"] == code, done.stdout + done.stderr


def test_without_probe_no_framework_is_started_and_the_tables_fit(oracle: Path) -> None:
    code = (
        "import sys; from safeml.cli.main import main; sys.argv = ['safeml', 'plan', '--no-probe', '-c', sys.argv[1]]\n"
        "try: main()\n"
        "finally: print([m for m in ('tensorflow', 'keras', 'art', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(oracle / "safeml.toml")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "[]"
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
    assert any(line.startswith("accuracy") and "yes" in line for line in lines)
    assert "A good enough model can pass (exit code 0)." in lines


def test_a_recipe_is_timed_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    config = tmp_path / "safeml.toml"
    config.write_text(
        CONFIG.replace('path = "oracle.keras"', 'recipe = "recipe.toml"').replace("size = 16", "size = 32")
        + PROVABLE
    )
    before = listing(tmp_path)
    plan = planned("--config", config)
    assert listing(tmp_path) == before
    training = plan["training"]
    assert (training["epochs"], training["steps"], training["images"]) == (
        6,
        54,
        860,
    )  # 860 images in batches of 16
    assert 0 < training["first_epoch"]["low"] < training["seconds"]["low"] < plan["seconds"]["low"]


def test_errors_are_those_of_an_audit(oracle: Path, tmp_path: Path) -> None:
    assert safeml("plan", "--config", tmp_path / "none.toml").returncode == 2
    (oracle / "bad.toml").write_text(CONFIG.replace("rendered", "npz") + PROVABLE)
    assert safeml("plan", "--config", oracle / "bad.toml", "--no-probe").returncode == 2
    (tmp_path / "broken.keras").write_bytes(b"no model")
    for code, arguments in (
        (5, ("--model", tmp_path / "broken.keras")),
        (2, ("--model", tmp_path / "absent.keras", "--no-probe")),
    ):
        done = safeml("plan", "--config", oracle / "safeml.toml", *arguments)
        assert done.returncode == code
        assert done.stderr.splitlines()[-1].startswith("safeml: ")
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(
    not (SHARED / "data/gtsrb/test.npz").is_file(), reason="GTSRB is not at SAFEML_SHARED/data/gtsrb"
)
def test_on_gtsrb_a_good_enough_model_can_pass_all_default_gates() -> None:
    plan = planned(
        "--config", ROOT / "models/resnet-gtsrb/safeml.toml", "--data-root", SHARED / "data", "--no-probe"
    )
    states = {found["gate"]["id"]: found["state"] for found in plan["gates"]}
    assert states["worst-family-recall"] == "provable"
    assert states["clean-accuracy"] == "provable"
    assert plan["best_exit_code"] == 3
    assert "cannot pass: 2 accepted entries name no owner." in plan["sentence"]  # every gate is provable
    assert plan["seconds"] is None
