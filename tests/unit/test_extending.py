"""docs/extending.md, applied: each of its diffs in order to a copy of the tree, and the result run in a child."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extending.md"
DIFFS = re.findall(r"^```diff\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
METRIC, ATTACK, STAGE, CORRUPTION = range(4)

USE_METRIC = """
import numpy as np
from safeml.audits.base import AuditInputs
from safeml.audits.performance.run import run
from safeml.stages.performance import PERFORMANCE, PerformanceSettings
from tests.fakes import Answers, dataset

labels = np.repeat(np.arange(2), 10)
answers = np.where(np.arange(20) < 2, 1, labels)  # two images of class 0 predicted as class 1
data = dataset(labels, frames_per_sign=1.0)
metrics = run(AuditInputs(Answers(np.eye(2)[answers]), data), PerformanceSettings(bootstrap=100)).metrics
[metric] = [metric for metric in metrics if metric.name == "macro_precision"]
assert abs(metric.value - (1 + 10 / 12) / 2) < 1e-12, metric.value
assert "macro_precision" in {record.name for record in PERFORMANCE.records(PerformanceSettings())}
"""

USE_ATTACK = """
import numpy as np
from safeml.attacks.base import SURVIVED, Budget
from safeml.attacks.registry import ATTACKS
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat

class Bright:
    '''Class 1 where the mean pixel is above 0.5.'''
    def predict_logits(self, images):
        mean = images.mean(axis=(1, 2, 3))
        return np.stack([0.5 - mean, mean - 0.5], axis=1)

images = np.stack([np.full((4, 4, 1), value, np.float32) for value in (0.499, 0.1, 0.6)])
labels = np.array([0, 0, 0])  # near the boundary, far from it, misclassified already
threat = Threat(norm="linf", epsilon=0.1)
outcome = ATTACKS["noise"](Bright(), images, labels, threat, Budget(50, 1, 7, 64), np.arange(3))
assert outcome.first_step[0] > 0 and outcome.first_step[1] == SURVIVED and outcome.first_step[2] == 0
assert np.abs(outcome.adversarial - images).max() <= 0.1 + 1e-6
assert "noise" in AdversarialSettings().attacks
"""

USE_STAGE = """
import numpy as np
from safeml.audits.base import AuditInputs
from safeml.audits.sensor import CORRUPTIONS, run
from safeml.config.audit import parse_config
from safeml.defaults import new_config
from safeml.gates import decide
from safeml.planning.best_case import BestCase, PlanData
from safeml.planning.provable import plan_gates
from safeml.stages import STAGES
from safeml.stages.sensor import SENSOR, SensorSettings
from tests.fakes import Answers, dataset

class Centre:
    '''Class 1 where the centre pixel is above 0.5.'''
    name, fingerprint, parameters, notes = "centre", "f" * 64, 0, ()
    def predict_logits(self, images):
        centre = images[:, 8, 8, 0]
        return np.stack([0.5 - centre, centre - 0.5], axis=1)

data = dataset(np.arange(100) % 2, frames_per_sign=1.0)
images = np.where(data.labels[:, None, None, None] == 1, 255, 0).astype(np.uint8) * np.ones((1, 16, 16, 1), np.uint8)
images[:, 0, 0, 0] = np.arange(100)
data = type(data)("grey", images, data.labels, data.class_names, frames_per_sign=1.0)
result = run(AuditInputs(Centre(), data), SensorSettings())
values = {metric.name: metric.value for metric in result.metrics}
assert values["sensor_accuracy.noise"] == 1.0, values
assert set(values) == {f"sensor_accuracy.{name}" for name in CORRUPTIONS} == {r.name for r in SENSOR.records(SensorSettings())}
assert decide([result], SENSOR.gates, "2026-01-01").exit_code == 0
assert STAGES[-1] is SENSOR and 'stage = "sensor"' in new_config("m.keras", "t.npz", 1)
gate = SENSOR.gates[0].model_dump()
config = parse_config({"model": {"path": "m"}, "data": {"test": {"kind": "npz", "path": "t"}}, "gates": [gate]}, "safeml.toml")
[plan], code = plan_gates(BestCase(PlanData(config, data, None, None, "m")), config.gates, "2026-01-01")
assert (plan.state, code, plan.allowed.of) == ("provable", 0, 100), plan
"""

USE_CORRUPTION = """
import numpy as np
from safeml.corruptions.engine import corrupt
from safeml.stages.perturbation import PERTURBATION, PerturbationSettings

dusty = corrupt(np.full((20, 32, 32, 3), 90, np.uint8), "dust", 5)
assert set(np.unique(dusty)) == {30, 90}
assert abs((dusty == 30).mean() - 0.2) < 0.02, (dusty == 30).mean()
[record] = [r for r in PERTURBATION.records(PerturbationSettings()) if r.name == "corruption_accuracy"]
assert {"dust", "dust-5"} <= set(record.slices)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("safeml", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_the_page_has_a_diff_for_each_kind() -> None:
    assert len(DIFFS) == 4
    headings = re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == ["A metric", "An attack", "A stage", "A corruption"]


@pytest.mark.slow
def test_every_diff_applies_and_works(tree: Path) -> None:
    """In one tree, in the page's order: each change also stands beside the ones before it."""
    for diff, use in zip(DIFFS, (USE_METRIC, USE_ATTACK, USE_STAGE, USE_CORRUPTION), strict=True):
        applied = subprocess.run(
            ["git", "apply", "--unidiff-zero", "-"],
            cwd=tree,
            input=diff,
            text=True,
            capture_output=True,
            check=False,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "GIT_CEILING_DIRECTORIES": str(tree.parent)},
        )
        assert applied.returncode == 0, applied.stderr
        child = subprocess.run(
            [sys.executable, "-c", use], cwd=tree, capture_output=True, text=True, check=False
        )
        assert child.returncode == 0, child.stderr
