"""The alarms of each stage: a metric has a default gate, an alarm or a reason, and the alarms follow the settings."""

from __future__ import annotations

from safeml.stages import STAGES, StageSettings, settings_of
from safeml.stages.alarms import NO_LIMIT, default_accepted
from safeml.stages.physical import PATCH, PHYSICAL, WORST, PhysicalSettings


def test_every_metric_is_gated_by_default_or_has_an_alarm_or_a_reason() -> None:
    for row in STAGES:
        settings = settings_of(StageSettings(), row)
        gated = {found.metric for found in row.gates}
        alarmed = {alarm.metric for alarm in row.alarms(settings)}
        names = {record.name for record in row.records(settings)}
        assert alarmed <= names, row.name
        for record in row.records(settings):
            speaks = record.name in gated or record.name in alarmed
            assert speaks or record.context, f"{row.name}: {record.name} is silent"
        assert not names or gated or alarmed or all(r.context for r in row.records(settings)), row.name


def test_an_alarm_has_the_direction_of_its_metric_and_names_a_metric_that_replaces_it() -> None:
    for row in STAGES:
        settings = settings_of(StageSettings(), row)
        declared = {record.name: record for record in row.records(settings)}
        for alarm in row.alarms(settings):
            record = declared[alarm.metric]
            assert alarm.direction == record.direction
            assert record.low <= alarm.level <= record.high
            assert set(alarm.slices) <= set(record.slices)
            assert not alarm.unless or alarm.unless in declared
            assert alarm.sentence.endswith(".")


def test_the_alarms_follow_the_settings() -> None:
    row = next(row for row in STAGES if row.name == "adversarial")
    settings = row.settings.model_validate(
        {"threats": [{"norm": "l2", "epsilon": 0.5}, {"norm": "linf", "epsilon": "2/255"}]}
    )
    names = [alarm.metric for alarm in row.alarms(settings)]
    assert names == ["masking_flags", "robust_accuracy.l2_0.5", "robust_accuracy.linf_2"]
    patch = PHYSICAL.alarms(PhysicalSettings(patch_pair=("Yield", "Stop")))[-1]
    assert '"Yield" into "Stop"' in patch.sentence


def test_the_product_signs_for_no_user() -> None:
    entries = [one for row in STAGES for one in default_accepted(row, row.settings())]
    assert [(one.stage, one.metric, one.owner, one.reason) for one in entries] == [
        ("physical", WORST, "", NO_LIMIT),
        ("physical", PATCH, "", NO_LIMIT),
    ]
