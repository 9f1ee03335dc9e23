"""The figures of thresholds, of sign encounters with an alarm, and of corruptions that are detected without labels."""

from __future__ import annotations

from safeml.audits.monitors.measure import Measured
from safeml.audits.monitors.numbers import IN, Numbers
from safeml.corruptions.rows import CORRUPTIONS
from safeml.results import Column, Curve, Scalar, Series, Table
from safeml.stages.monitors import CLEAN, COMPARED, MonitorsSettings
from safeml.wording import interval


def alarm_table(measured: Measured, numbers: Numbers, settings: MonitorsSettings) -> Table:
    """List the thresholds, and the false alarms on signs that they were not calibrated on."""
    rows: list[list[Scalar]] = []
    fitted = measured.fitted
    for key, limit, what in (
        ("score", fitted.threshold, COMPARED[fitted.deployed]),
        ("distance", fitted.distance_limit, f"{settings.distance.replace('_', '-')} distance"),
        ("inputs", None, "checks of the image"),
    ):
        metric = numbers.one("false_alarms_per_1000", key)
        rows.append(
            [
                what,
                *(
                    (None, None, None, None)
                    if limit is None
                    else (limit.value, limit.tracks, limit.needed, 1000 * settings.false_alarm_rate)
                ),
                metric.value,
                "" if metric.low is None else interval(metric.low, metric.high, unit="ratio"),
                metric.n or None,
            ]
        )
    return Table(
        id="false-alarms",
        title="Thresholds, and false alarms per 1,000 sign encounters",
        columns=[
            Column(key="monitor", label="Monitor"),
            Column(key="threshold", label="Threshold", kind="number"),
            Column(key="tracks", label="Calibration signs", kind="number"),
            Column(key="needed", label="Least signs for the rate", kind="number"),
            Column(key="declared", label="Declared rate", kind="number"),
            Column(key="measured", label="Measured", kind="number"),
            Column(key="interval", label="95 % interval"),
            Column(key="signs", label="Signs measured on", kind="number"),
        ],
        rows=rows,
        caption="An encounter has a false alarm if any frame of the sign has one although its prediction is correct (score), or if its "
        "buffer differs from the reference (distance), or if the image fails a check; the checks have no declared rate.",
    )


def delay_figure(numbers: Numbers) -> Curve:
    """Draw the share of sign encounters with an alarm of the distance after so many frames."""
    longest = int(max(passed.frames.max() for passed in numbers.passes.values()))
    x = list(range(1, longest + 1))
    series = []
    for name, passed in numbers.passes.items():
        shares = [float(((passed.first > 0) & (passed.first <= frame)).mean()) for frame in x]
        label = IN[CLEAN] if name == CLEAN else CORRUPTIONS[name].title.lower()
        series.append(
            Series(name=label, x=[float(v) for v in x], y=shares, role="main" if name == CLEAN else "context")
        )
    return Curve(
        id="delay",
        title="Sign encounters with an alarm of the distance, by frames since the sign came into view",
        x_label="frames of the sign so far",
        y_label="encounters with an alarm",
        series=series,
        percent=True,
        caption="On clean images every alarm is false. A corruption that the model itself tolerates need not raise one.",
    )


def shift_table(numbers: Numbers, settings: MonitorsSettings) -> Table:
    """List, by corruption, detection and delay of the distance, and the accuracy estimated without labels."""
    rows: list[list[Scalar]] = []
    for slice in ("all", *settings.corruptions):
        made = numbers.estimates.get(slice)
        error = numbers.one("accuracy_estimate_error", slice)
        detected = None if slice == "all" else numbers.one("shift_detected", slice).value
        delay = None if slice == "all" else numbers.one("detection_delay", slice).value
        rows.append(
            [
                IN[CLEAN] if slice == "all" else CORRUPTIONS[slice].title,
                detected,
                delay,
                None if made is None else made[3],
                None if made is None else made[0],
                "" if made is None else interval(made[1], made[2]),
                error.value,
            ]
        )
    return Table(
        id="shifts",
        title="Corruptions seen without labels",
        columns=[
            Column(key="images", label="Images"),
            Column(key="detected", label="Sign encounters with an alarm", kind="percent"),
            Column(key="delay", label="Frames until it, at least", kind="number"),
            Column(key="accuracy", label="Accuracy", kind="percent"),
            Column(key="estimate", label="Estimated without labels", kind="percent"),
            Column(key="interval", label="95 % interval of the estimate"),
            Column(key="error", label="Error of the estimate", kind="percent"),
        ],
        rows=rows,
        caption="The interval covers chance alone. Where the error is larger, the scores of misclassified images are not low under this corruption.",
    )
