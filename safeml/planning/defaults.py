"""The default gates that given data can feed; the others become accepted entries without an owner, so that nothing vanishes."""

from __future__ import annotations

from dataclasses import dataclass

from safeml.config.audit import Config
from safeml.data.place import Place
from safeml.defaults import ACCEPTED, GATES
from safeml.planning.plan import make_plan
from safeml.planning.subject import KnownPlace
from safeml.planning.words import MISSING
from safeml.results import Accepted, Gate
from safeml.stages import STAGES

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

    config: with model and data; its gates are not read. Starts no framework. Raises ConfigError and InputRefused as the audit
    would, for the data or an absent model. If the data can feed no gate, all gates are returned, because a verdict needs one.
    """
    known = KnownPlace(place.base, place.data_root)  # reads the data once
    test = known.test(config.data, config.hazard)
    planned = make_plan(config.model_copy(update={"gates": GATES, "accepted": ()}), known, timing=False)
    reasons = {plan.gate.id: _sentence(plan.message) for plan in planned.gates if plan.state in IMPASSABLE}
    rows = {stage.name: stage for stage in STAGES}
    for gate in GATES:
        unsuited = rows[gate.stage].unsuited(gate.metric, test.class_names, test.costs is not None)
        if unsuited:
            reasons[gate.id] = unsuited
    kept = tuple(gate for gate in GATES if gate.id not in reasons)
    clustered = test.tracks is not None or test.frames_per_sign is not None
    if not kept:
        return DefaultLimits(GATES, ACCEPTED, False, clustered)
    replaced = tuple(
        Accepted(stage=gate.stage, metric=gate.metric, slice=gate.slice, reason=reasons[gate.id])
        for gate in GATES
        if gate.id in reasons
    )
    named = {(entry.stage, entry.metric, entry.slice) for entry in replaced}
    others = tuple(entry for entry in ACCEPTED if (entry.stage, entry.metric, entry.slice) not in named)
    return DefaultLimits(kept, (*replaced, *others), True, clustered)


def _sentence(message: str) -> str:
    text = message.removeprefix(MISSING)
    return text[:1].upper() + text[1:]
