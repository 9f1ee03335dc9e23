"""Audits record what their stages declare, and gates that read what is not declared are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from safeml.audits.balance import run as balance
from safeml.audits.base import AuditInputs
from safeml.audits.performance import run as performance
from safeml.config.gate_checks import check_gates
from safeml.errors import ConfigError
from safeml.results import Gate, Metric
from safeml.stages import STAGES, StageSettings, settings_of
from safeml.stages.adversarial import AdversarialSettings
from safeml.stages.base import Declared
from safeml.stages.performance import PerformanceSettings
from safeml.stages.physical import PhysicalSettings
from safeml.store.files import read_run
from safeml.threats import Threat
from tests.fakes import dataset, oracle

pytestmark = pytest.mark.timeout(30)  # a pipe that is read waits for ever


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
