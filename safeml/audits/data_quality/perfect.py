"""The data quality stage in a plan: counts of identical images, of tables and of poor images, without the search and without a model."""

from __future__ import annotations

from safeml.audits.balance.split import splits_of
from safeml.audits.base import AuditInputs
from safeml.audits.data_quality.generated import generated_images
from safeml.audits.data_quality.near import Search, all_pairs, near_metrics
from safeml.audits.data_quality.quality import judged, quality_metrics
from safeml.audits.perfect import Call, Perfect
from safeml.results import StageResult
from safeml.stages.data_quality import DATA_QUALITY, DataQualitySettings


def _run(inputs: AuditInputs, settings: DataQualitySettings) -> StageResult:
    """Measure what needs no search; the best case is that only identical images are copies."""
    splits = splits_of(inputs)
    search = Search(inputs, settings.most_images, only_identical=True)
    metrics = [
        *near_metrics(all_pairs(search, splits), splits[0]),
        *generated_images(splits, search).metrics,
        *quality_metrics(judged(splits)),
    ]
    return StageResult(stage=DATA_QUALITY.name, title=DATA_QUALITY.title, metrics=metrics)


def _calls(inputs: AuditInputs, settings: DataQualitySettings, gradient: bool) -> list[Call]:
    by_role = {"test": inputs.test, "valid": inputs.valid, "train": inputs.train}
    given = [(role, by_role[role]) for role in settings.label_splits]
    return [Call(f"labels-{role}", len(data)) for role, data in given if data is not None]


PERFECT = Perfect(run=_run, calls=_calls, pixels=True)
