"""The balance stage in a plan: the counts, which do not depend on a model, and a model without mistakes."""

from __future__ import annotations

import numpy as np

from safeml.audits.balance.counts import split_metrics
from safeml.audits.balance.coverage import run_of_regression
from safeml.audits.balance.leakage import leakage_metrics
from safeml.audits.balance.recall import class_recall, size_metric
from safeml.audits.balance.split import splits_of
from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Call, Perfect
from safeml.results import StageResult
from safeml.stages.balance import BALANCE, BalanceSettings


def _run(inputs: AuditInputs, settings: BalanceSettings) -> StageResult:
    splits = splits_of(inputs)
    if inputs.test.targets is not None:
        return run_of_regression(inputs, settings, splits)
    recall = class_recall(inputs.test, inputs.train, np.ones(len(inputs.test), bool))
    metrics = [
        *leakage_metrics(splits),
        *(metric for split in splits for metric in split_metrics(split, settings)),
        size_metric(recall, inputs.seed, settings.bootstrap),
    ]
    return StageResult(stage=BALANCE.name, title=BALANCE.title, metrics=metrics)


def _calls(inputs: AuditInputs, settings: BalanceSettings, gradient: bool) -> list[Call]:
    return [] if inputs.test.targets is not None else [Call("predictions", len(inputs.test))]


PERFECT = Perfect(run=_run, calls=_calls, pixels=True, before_training=True)
