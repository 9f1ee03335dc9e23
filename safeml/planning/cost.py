"""The amount of computation of a stage and its duration, from its slices. Legend: N images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from safeml.audits.perfect import Call
from safeml.planning.base import Seconds
from safeml.planning.perfect import PerfectWork, images_of
from safeml.sealed import Arrays, Form
from safeml.work import FORWARD, Cost, Work

# A rough factor for the effect of load, memory and clock on a short measurement.
FASTER, SLOWER = 0.7, 1.6
# An attack ends with its last survivor, on a weak model long before its last step.
ATTACK_FASTER = 0.4


@dataclass(frozen=True)
class Rates:
    """Seconds on this machine.

    forward: one forward pass of `forward_batch` images.
    step: by graph of an attack (`Cost.graph`), one gradient step of `attack_batch` images.
    turn: by graph, the cost of a start beside its steps.
    compiling: by graph, "forward" included.
    """

    forward: float
    forward_batch: int
    attack_batch: int = 1
    step: Mapping[str, float] = field(default_factory=dict)
    turn: Mapping[str, float] = field(default_factory=dict)
    compiling: Mapping[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class DryWork:
    """A `Work` that reads stored results, simulates the others and stores nothing.

    calls: the requests, in order.
    """

    kept: Work
    pretended: PerfectWork
    calls: list[Call] = field(default_factory=list)

    def __call__(
        self,
        item: str,
        parts: Mapping[str, Any],
        form: Form,
        measure: Callable[[], Arrays],
        cost: Cost = FORWARD,
    ) -> Arrays:
        """See `Work`."""
        pretended = self.pretended.arrays(item, parts, form)
        try:
            arrays, found = self.kept(item, parts, form, _absent), True
        except _Absent:
            arrays, found = pretended, False
        self.calls.append(Call(item, images_of(form), cost, kept=found))
        return arrays


class _Absent(Exception):
    """The error raised instead of a measurement: nothing is computed or stored."""


def _absent() -> Arrays:
    raise _Absent


def forward_passes(calls: Sequence[Call]) -> int:
    """Count images in passes without gradients: an attack predicts before and after each start; the audit predicts again."""
    return sum(call.images * _answers(call) for call in calls)


def _answers(call: Call) -> int:
    if not call.cost.steps:
        return call.cost.passes
    return 2 + call.cost.attempts + (0 if call.cost.gradient else call.cost.steps)


def gradient_steps(calls: Sequence[Call]) -> int:
    """Count images in passes with gradients, if no image is misclassified before the last step."""
    return sum(call.images * call.cost.steps for call in calls if call.cost.gradient)


def seconds_of(calls: Sequence[Call], rates: Rates, beside: float, workers: int = 1) -> Seconds | None:
    """Return the duration of the calls without stored results, plus `beside` seconds without the model.

    workers: that share the slices of an item; the next item waits for all of them, and work beside the model is not shared.
    None if an attack has no rate.
    """
    fixed, attacking = beside, 0.0
    if any(call.cost.steps and not call.kept and call.cost.graph not in rates.step for call in calls):
        return None
    for _, item in groupby((call for call in calls if not call.kept), key=lambda call: call.item):
        shared = [(0.0, 0.0)] * workers
        for call in item:
            least = min(range(workers), key=lambda place: sum(shared[place]))
            answer, attack = _seconds(call, rates)
            shared[least] = (shared[least][0] + answer, shared[least][1] + attack)
        longest = max(shared, key=sum)
        fixed, attacking = fixed + longest[0], attacking + longest[1]
    return Seconds(low=FASTER * fixed + ATTACK_FASTER * attacking, high=SLOWER * (fixed + attacking))


def _seconds(call: Call, rates: Rates) -> tuple[float, float]:
    """Return the seconds of the forward passes of a call, and those of its attack."""
    batches = math.ceil(call.images / rates.forward_batch)
    answering = (1 if call.cost.steps else call.cost.passes) * batches * rates.forward
    if not call.cost.steps:
        return answering, 0.0
    if not call.cost.gradient:
        return answering, call.cost.steps * batches * rates.forward
    graph = call.cost.graph
    each = call.cost.steps * rates.step[graph] + call.cost.attempts * rates.turn[graph]
    return answering, math.ceil(call.images / rates.attack_batch) * each


def about(seconds: float) -> Seconds:
    """Return the range around one measured time."""
    return Seconds(low=FASTER * seconds, high=SLOWER * seconds)


def together(parts: Sequence[Seconds | None]) -> Seconds | None:
    """Return the sum of ranges; None if none was timed."""
    timed = [part for part in parts if part is not None]
    return Seconds(low=sum(p.low for p in timed), high=sum(p.high for p in timed)) if timed else None
