"""Gradients and queries of the adversarial stage: the schedule of an earlier commit, the full bill, and spending where it counts.

    python benchmarks/attack_cost.py MODEL [SPLIT [COUNT [NORM [EPSILON [SCHEDULE ...]]]]]   # lenet-gtsrb, test, 256, linf, 4/255

MODEL is a folder of models/, or of models_third_party/ beside the data (see `strangers.py`). SPLIT is `valid` (for choices) or
`test` (for the record). EPSILON may be several, as 1/255,2/255,4/255,8/255: one campaign at all of them. Schedules: `earlier` is that of commit 7029431 (PGD and APGD-CE on the
plain cross entropy, no APGD-PM, no DDN), `full` and `where_it_counts` are the two values of `spend`. Each schedule starts from
the same images and seed. What is counted is what the attacks ask of the model, so the speed of the machine has no part in it.
Attacks on a sample with at most 100 survivors whose verdict cannot change pay the full bill under both.
`most_that_order_or_starts_can_save` is what the expensive attacks spent on images that they broke: at the full bill a survivor pays
every attempt in whatever order and from whatever start, so no order, and no start from a smaller epsilon, saves more, unless it breaks
an image that survives today.
The aim, set before the measurement: at most 0.333 of the gradients and 0.2 of the queries of `earlier`, with no more survivors. It is
missed wherever at most 100 images survive the first attempts, because nothing is spared there.
The record is benchmarks/results/attack_cost.json: counts by attack, survivors, and the images on which the schedules differ.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf
from strangers import EXPECTED

from safeml.attacks import registry
from safeml.attacks.apgd import AutoProjectedGradient
from safeml.attacks.base import AttackOutcome, Budget
from safeml.attacks.norms import NORMS
from safeml.attacks.pgd import ProjectedGradient
from safeml.attacks.rows import ROWS
from safeml.attacks.slots import attack
from safeml.audits.adversarial.accuracy import robust_metric
from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.items import Items
from safeml.audits.adversarial.measure import Measured
from safeml.audits.base import AuditInputs
from safeml.classifiers.load import load_model
from safeml.data.dataset import ImageDataset
from safeml.settings.model import InputSettings
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "attack_cost.json"
SHARED = Path(os.environ.get("SAFEML_SHARED", ROOT.parent / "shared"))
SEED = 2026
EARLIER = ("fgsm", "pgd", "fmn", "apgd_ce", "apgd_t", "square")
SCHEDULES = ("earlier", "full", "where_it_counts")


def cross_entropy(logits: Any, labels: Any, targets: Any) -> Any:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def earlier_pgd(
    classifier: Any, images: np.ndarray, labels: np.ndarray, threat: Threat, budget: Budget, ids: np.ndarray
) -> AttackOutcome:
    size = NORMS[threat.norm].step(threat.epsilon, budget.steps)
    method = ProjectedGradient(step_size=size, loss=cross_entropy)
    return attack(classifier, images, labels, threat, method, budget, ids)


def earlier_apgd_ce(
    classifier: Any, images: np.ndarray, labels: np.ndarray, threat: Threat, budget: Budget, ids: np.ndarray
) -> AttackOutcome:
    method = AutoProjectedGradient(loss=cross_entropy)
    return attack(classifier, images, labels, threat, method, budget, ids)


@dataclass(eq=False)
class Counted(Campaign):
    """A campaign that keeps what each image cost. spent: int64 [N] by attack and threat."""

    spent: dict[tuple[str, Threat], np.ndarray] = field(default_factory=dict)

    def record(self, name: str, threat: Threat, rows: np.ndarray, measured: Measured, view: str = "") -> None:
        spent = self.spent.setdefault((name, threat), np.zeros(len(self.items.clean.labels), np.int64))
        spent[rows] += measured.evaluations
        super().record(name, threat, rows, measured, view)

    def on_broken(self) -> dict[str, int]:
        """Return the gradients and queries of the expensive attacks on images that do not survive at their threat."""
        totals = {"gradients": 0, "queries": 0}
        for (name, threat), spent in self.spent.items():
            if not ROWS[name].every_threat:
                kind = "gradients" if ROWS[name].gradient else "queries"
                totals[kind] += int(spent[~self.survivors(threat)].sum())
        return totals


def run(classifier: Any, data: ImageDataset, threats: tuple[Threat, ...], schedule: str) -> dict[str, Any]:
    """Attack all images by one schedule; return what it spent and left."""
    settings = AdversarialSettings(
        images=len(data),
        threats=threats,
        certify=False,
        spend="where_it_counts" if schedule == "where_it_counts" else "full",
        **({"attacks": EARLIER} if schedule == "earlier" else {}),
    )
    ours = dict(registry.ATTACKS)
    if schedule == "earlier":
        registry.ATTACKS.update({"pgd": earlier_pgd, "apgd_ce": earlier_apgd_ce})
    try:
        inputs = AuditInputs(classifier, data)
        campaign = Counted(Items.of(inputs, data, settings), settings, settings.main, lambda *step: None)
        campaign.run(settings.attacks)
    finally:
        registry.ATTACKS.update(ours)
    [norm] = {threat.norm for threat in threats}
    spent = {name: 0 for name in settings.attacks if norm in ROWS[name].norms}
    broken = dict.fromkeys(spent, 0)
    for record in campaign.records:
        spent[record.attack] += record.evaluations
        broken[record.attack] += record.broken
    return {
        "gradients": sum(count for name, count in spent.items() if ROWS[name].gradient),
        "queries": sum(count for name, count in spent.items() if not ROWS[name].gradient),
        "by_attack": spent,
        "broken_by_attack": broken,
        "most_that_order_or_starts_can_save": campaign.on_broken(),
        **left(campaign, data, max(threats, key=lambda threat: threat.epsilon)),
        **({"by_threat": {at.label: left(campaign, data, at) for at in threats}} if len(threats) > 1 else {}),
    }


def left(campaign: Campaign, data: ImageDataset, threat: Threat) -> dict[str, Any]:
    """Return robust accuracy at a threat, the survivors, and what was spared there."""
    survivors = campaign.survivors(threat)
    metric = robust_metric(campaign, "robust", "", survivors, threat)
    saving = campaign.savings.get(threat)
    return {
        "robust_accuracy": metric.value,
        "low_end": metric.low,
        "survivors": data.ids[survivors].tolist() if data.ids is not None else [],
        "saving": None
        if saving is None
        else {
            "survivors_of_the_first_attempts": saving.survivors,
            "verdict_can_change": saving.near,
            "drawn": saving.drawn,
            "spared": saving.count,
            "full_bill_because": saving.why_full,
        },
    }


def images_of(split: str, count: int, classes: int) -> ImageDataset:
    with np.load(SHARED / "data" / "gtsrb" / f"{split}.npz") as arrays:
        rows = np.sort(np.random.default_rng(SEED).permutation(len(arrays["labels"]))[:count])
        names = tuple(str(number) for number in range(classes))
        labels = arrays["labels"][rows].astype(np.int64)
        return ImageDataset(split, arrays["images"][rows], labels, names, ids=rows, frames_per_sign=1)


def classifier_of(model: str, names: tuple[str, ...]) -> Any:
    """Return a model of this project, or a stranger's under the contract that its author documents."""
    for file, channels, ends, _ in EXPECTED:
        if file.startswith(f"{model}/"):
            contract = InputSettings.model_validate({"channels": channels, "range": ends})
            return load_model(SHARED / "models_third_party" / file).model.fed(contract, names, model)
    [own] = (ROOT / "models" / model).glob("*.keras")
    return load_model(own).model.fed(InputSettings(), names, model)


def main(model: str, split: str, count: int, norm: str, epsilon: str, schedules: tuple[str, ...]) -> None:
    if not (SHARED / "data" / "gtsrb" / f"{split}.npz").is_file():
        print(f"skipped: the {split} images of GTSRB are not there")
        return
    data = images_of(split, count, 43)
    classifier = classifier_of(model, data.class_names)
    threats = tuple(Threat(norm=norm, epsilon=float(Fraction(each))) for each in epsilon.split(","))
    key = f"{model}, {count} {split} images, {', '.join(threat.label for threat in threats)}"
    for schedule in schedules:
        entry = run(classifier, data, threats, schedule)
        record = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        runs = {**record.get(key, {}), schedule: entry}
        record[key] = {**runs, **compared({name: runs[name] for name in SCHEDULES if name in runs})}
        RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        shown = {name: entry[name] for name in ("gradients", "queries", "robust_accuracy", "saving")}
        print(key, schedule, json.dumps(shown), flush=True)


def compared(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The images on which a schedule differs from the first one, and what it spends of that one's bill."""
    (first, base), *others = runs.items()
    return {
        f"{name} against {first}": {
            "only_this_one_breaks": sorted(set(base["survivors"]) - set(other["survivors"])),
            "only_the_other_one_breaks": sorted(set(other["survivors"]) - set(base["survivors"])),
            "share_of_the_gradients": round(other["gradients"] / max(base["gradients"], 1), 3),
            "share_of_the_queries": round(other["queries"] / max(base["queries"], 1), 3),
        }
        for name, other in others
    }


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        given[0] if given else "lenet-gtsrb",
        given[1] if len(given) > 1 else "test",
        int(given[2]) if len(given) > 2 else 256,
        given[3] if len(given) > 3 else "linf",
        given[4] if len(given) > 4 else "4/255",
        tuple(given[5:]) or SCHEDULES,
    )
