"""What the physical stage will compute, from its data and settings alone. Legend: N images."""

from __future__ import annotations

import math

from safeml.attacks.signs.sticker import STARTS, TRIES
from safeml.attacks.signs.universal import PLACES
from safeml.audits.base import AuditInputs
from safeml.audits.linearity import PROBE_SIZE
from safeml.audits.perfect import Call, Perfect
from safeml.audits.physical.items import VIEWS
from safeml.audits.physical.patch import halves
from safeml.stages.physical import PhysicalSettings
from safeml.work import Cost

# Of the universal patch: first colours at each place, predictions that choose between first and last patch, images per step.
COLOURS, LAST_QUERIES, MOST_IN_A_STEP = 3, 2, 32


def physical_calls(inputs: AuditInputs, settings: PhysicalSettings, gradient: bool) -> list[Call]:
    """Count the predictions and gradients of the stage, at most: an image leaves a search at its first misclassification.

    inputs: the data around the model; the model is not run.
    gradient: whether the model has one; without it there is no sticker and no patch.
    """
    images = min(settings.images, len(inputs.test))
    candidates = {
        "shadow": settings.shadow_shapes * len(settings.shadow_factors),
        "graffiti": settings.graffiti_shapes,
        "transform": settings.grid_points,
    }
    calls = [Call("clean", images), Call("views", images * VIEWS)]
    # Each search predicts the clean image first, and the audit predicts the result again.
    calls += [Call(name, images * (2 + count)) for name, count in candidates.items()]
    if not gradient:
        return calls
    return [*calls, _linearity(images), *_sticker(settings, images), *_patch(inputs, settings)]


def _linearity(images: int) -> Call:
    """One gradient per image, and one prediction after the step."""
    return Call("linearity", min(images, PROBE_SIZE), Cost(2, 1, graph="linf"))


def _sticker(settings: PhysicalSettings, images: int) -> list[Call]:
    """A search over places and first colours; then each attempt takes steps, and predicts the result of its last one."""
    places = settings.sticker_places**2
    tries = min(TRIES, places)
    whole = math.ceil(images / settings.batch) * settings.batch  # batches are filled up
    climb = Call("sticker", whole, Cost(1 + tries * (settings.sticker_steps + 1), tries, graph="linf"))
    return [Call("sticker-places", images * (1 + places * STARTS)), climb]


def _patch(inputs: AuditInputs, settings: PhysicalSettings) -> list[Call]:
    """Nothing where the data have no such pair of classes."""
    found = halves(inputs, settings)
    if isinstance(found, str):
        return []
    training = len(found.training)
    queries = PLACES**2 * COLOURS + LAST_QUERIES
    step = min(settings.batch, training, MOST_IN_A_STEP)
    return [
        Call("patch-places", training, Cost(PLACES**2, 1, graph="linf")),
        Call("patch-queries", training * queries),
        Call("patch", step, Cost(settings.patch_steps, 1, graph="linf")),
        Call("patch-judged", 3 * len(found.held_out)),
        _linearity(len(found.held_out)),
    ]


# An attack on the sign ends at the first incorrect classification, so no dry run can count its candidates.
PERFECT = Perfect(calls=physical_calls, gates=False)
