"""A metric, a stage and a gate with defaults, and evidence in every state that a gate can meet."""

from __future__ import annotations

from safeml.results import Gate, Metric, StageResult, Waiver

TODAY = "2026-06-15"


def metric(value=0.9, low=0.88, high=0.92, **fields) -> Metric:
    given = {"name": "acc", "title": "Accuracy", "n": 1000, "signs": 100.0, "clustering": "tracks"} | fields
    return Metric(value=value, low=low, high=high, **given)


def stage(*metrics, name="clean", **fields) -> StageResult:
    return StageResult(**({"stage": name, "title": name.title(), "metrics": list(metrics)} | fields))


def gate(threshold=0.8, op=">=", **fields) -> Gate:
    return Gate(**({"id": "g", "stage": "clean", "metric": "acc", "op": op, "threshold": threshold} | fields))


def waiver(until="2026-12-31") -> Waiver:
    return Waiver(owner="R. Owner", reason="Known and accepted", until=until)


UNDEFINED = metric(None, None, None, status="undefined", reason="no images of this class")
NAN = float("nan")
STATES = {
    "pass": (stage(metric()), gate()),
    "fail": (stage(metric()), gate(0.95)),
    "open": (stage(metric()), gate(0.9)),
    "no interval": (stage(metric(0.99, None, None, clustering="unknown")), gate()),
    "too few": (stage(metric()), gate(min_n=1001)),
    "just enough": (stage(metric()), gate(min_n=1000)),
    "undefined": (stage(UNDEFINED), gate()),
    "metric error": (stage(metric(None, None, None, status="error", reason="crashed")), gate()),
    "no metric": (stage(), gate()),
    "no slice": (stage(metric()), gate(slice="night")),
    "right slice": (stage(metric(), metric(0.3, 0.2, 0.4, slice="night")), gate(slice="night")),
    "two metrics": (stage(metric(), metric()), gate()),
    "stage error": (stage(metric(), status="error", reason="out of memory"), gate()),
    "stage skipped": (stage(metric(), status="skipped", reason="no training data"), gate()),
    "stage not run": (stage(metric(), name="other"), gate()),
    "nan value": (
        stage().model_copy(update={"metrics": [metric().model_copy(update={"value": NAN})]}),
        gate(),
    ),
    "nan low": (stage().model_copy(update={"metrics": [metric().model_copy(update={"low": NAN})]}), gate()),
    "infinite low": (
        stage().model_copy(update={"metrics": [metric().model_copy(update={"low": float("inf")})]}),
        gate(),
    ),
    "nan limit": (stage(metric()), gate().model_copy(update={"threshold": NAN})),
    "one end": (stage().model_copy(update={"metrics": [metric().model_copy(update={"high": None})]}), gate()),
    "low above value": (stage(metric(0.9, 0.91, 0.92)), gate()),
    "high below value": (stage(metric(0.9, 0.85, 0.89)), gate()),
    "weak level": (stage(metric(level=0.949)), gate()),
    "strong level": (stage(metric(level=0.99)), gate()),
    "waived fail": (stage(metric()), gate(0.95, waiver=waiver())),
    "waived open": (stage(metric()), gate(0.9, waiver=waiver())),
    "waived skipped": (stage(name="other"), gate(waiver=waiver())),
    "waived error": (stage(UNDEFINED), gate(waiver=waiver())),
    "waived pass": (stage(metric()), gate(waiver=waiver())),
    "waived on its last day": (stage(metric()), gate(0.95, waiver=waiver(TODAY))),
    "expired fail": (stage(metric()), gate(0.95, waiver=waiver("2026-06-14"))),
    "expired open": (stage(metric()), gate(0.9, waiver=waiver("2026-06-14"))),
    "expired skipped": (stage(name="other"), gate(waiver=waiver("2026-06-14"))),
    "expired error": (stage(UNDEFINED), gate(waiver=waiver("2026-06-14"))),
    "expired pass": (stage(metric()), gate(waiver=waiver("2026-06-14"))),
}
