"""The balance stage in a plan: the counts, which do not depend on a model, without the tables."""

from __future__ import annotations

from safeml.audits.balance.leakage import leakage_metrics
from safeml.audits.balance.run import split_metrics
from safeml.audits.balance.split import Split
from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Perfect
from safeml.metrics.duplicates import pixel_digests
from safeml.results import StageResult
from safeml.stages.balance import BALANCE, BalanceSettings


def _run(inputs: AuditInputs, settings: BalanceSettings) -> StageResult:
    roles = (("test", inputs.test), ("train", inputs.train), ("valid", inputs.valid))
    splits = [Split(role, data, pixel_digests(data.images)) for role, data in roles if data is not None]
    metrics = [*leakage_metrics(splits), *(metric for split in splits for metric in split_metrics(split))]
    return StageResult(stage=BALANCE.name, title=BALANCE.title, metrics=metrics)


PERFECT = Perfect(run=_run, pixels=True)
