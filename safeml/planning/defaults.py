"""The default gates that given data can feed; the others become accepted entries without an owner, so that nothing vanishes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safeml.config.audit import Config
from safeml.data.place import Place
from safeml.defaults import accepted_of
from safeml.planning.best_case import BestCase
from safeml.planning.provable import plan_gates
from safeml.planning.subject import KnownPlace, planned
from safeml.planning.words import MISSING
from safeml.results import Accepted, Gate
from safeml.scan.formats import ONNX
from safeml.scan.sources import find_model
from safeml.stages import STAGES, settings_of
from safeml.stages.base import Stage
from safeml.stages.comparison import COMPARISON
from safeml.subject import records_beside
from safeml.waivers import today_utc

# The data cannot feed a gate in one of these states. A gate that fails for every model stays: it found a fault of the data.
IMPASSABLE = ("not_provable", "missing")


@dataclass(frozen=True)
class DefaultLimits:
    """Gates and accepted entries for given data.

    fed: whether a model can pass at least one of the gates.
    clustered: whether sign tracks are known or declared, without which there are no intervals.
    """

    gates: tuple[Gate, ...]
    accepted: tuple[Accepted, ...]
    fed: bool = True
    clustered: bool = True


def default_limits(config: Config, place: Place) -> DefaultLimits:
    """Return the default gates that a model can pass with the data of `config`, and the accepted entries of the others.

    The stages of an INT8 file are included where its records lie beside it, and the comparison where a reference is set.
    config: with model and data; its gates are not read. Starts no framework. Raises ConfigError and InputRefused as the audit
    would, for the data or an absent model. If the data can feed no gate, all gates are returned, because a verdict needs one.
    """
    known = KnownPlace(place.base, place.data_root)  # reads the data once
    test = known.test(config.data, config.hazard)
    stages = _stages(config, place)
    defaults = tuple(gate for stage in stages for gate in stage.gates)
    subject = planned(config.model_copy(update={"gates": defaults, "accepted": ()}), known)
    today = today_utc()
    plans, _ = plan_gates(BestCase(subject.known), defaults, today, allowances=False)
    reasons = {plan.gate.id: _sentence(plan.message) for plan in plans if plan.state in IMPASSABLE}
    rows = {stage.name: stage for stage in STAGES}
    for gate in defaults:
        unsuited = rows[gate.stage].unsuited(gate.metric, test.class_names, test.costs is not None)
        if unsuited:
            reasons[gate.id] = unsuited
    kept = tuple(gate for gate in defaults if gate.id not in reasons)
    clustered = test.tracks is not None or test.frames_per_sign is not None
    if not kept:
        return DefaultLimits(defaults, accepted_of(stages), False, clustered)
    replaced = tuple(
        Accepted(stage=gate.stage, metric=gate.metric, slice=gate.slice, reason=reasons[gate.id])
        for gate in defaults
        if gate.id in reasons
    )
    named = {(entry.stage, entry.metric, entry.slice) for entry in replaced}
    others = tuple(
        entry for entry in accepted_of(stages) if (entry.stage, entry.metric, entry.slice) not in named
    )
    return DefaultLimits(kept, (*replaced, *others), True, clustered)


def _stages(config: Config, place: Place) -> list[Stage[Any]]:
    """Return the stages that have something to measure with this model."""
    file = find_model(place.base / config.model.path).file
    resources = {
        **records_beside(file),
        "reference": settings_of(config.stages, COMPARISON).reference,
        "targets": config.data.targets or None,
    }
    if file.suffix not in ONNX.suffixes:  # the checks of an export are about its files
        resources["export"] = None
    return [
        stage
        for stage in STAGES
        if (stage.only_with is None or resources.get(stage.only_with) is not None)
        and config.head in stage.heads
    ]


def _sentence(message: str) -> str:
    text = message.removeprefix(MISSING)
    return text[:1].upper() + text[1:]
